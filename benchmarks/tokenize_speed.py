"""How fast is the whole ``tokenize`` stage, documents to shards, with each engine; and how long do byte pairs take to learn?

    python -m benchmarks.tokenize_speed CORPUS [--size 32768] [--rounds 3]

CORPUS is the ``corpus/`` of a home. The stage runs with each engine in turn, round after round, so that a busy machine slows both alike;
the ratio is that of the best times. Each engine has a home of its own that is removed in the end. Both use every core, as on the command
line.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks import machine
from scratchlm.core.artifact import Home
from scratchlm.core.journal import Journal
from scratchlm.sources import record
from scratchlm.stages import tokenize, vocab
from scratchlm.tokenizer import fast, store

SIZE = 32_768


def learned(corpus: Path, size: int) -> tuple[float, int]:
    """Wall seconds in which byte pairs are learned from the whole training split, read from its file, and how many rows there are."""
    begun = time.perf_counter()
    tokenizer = store.train("bpe", (document.text for document in record.read(corpus / "train.parquet")), size=size)
    return time.perf_counter() - begun, tokenizer.size


def encoded(home: Home) -> tuple[float, int]:
    """Wall seconds of one ``tokenize``, from nothing, and the bytes of text that it encoded."""
    home.renew("shards")
    begun = time.perf_counter()
    made = tokenize.run(tokenize.Config(), home, Journal())
    seconds = time.perf_counter() - begun
    return seconds, sum(int(made.counts[f"{split}_bytes"]) for split in tokenize.SPLITS)


def main() -> None:
    """Print seconds to learn, megabytes a second of each engine, and how many times as fast one is as the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    print(machine.where())
    engines = [name for name in fast.ENGINES if name != fast.NAME or fast.installed()]
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Home(Path(folder) / name, {"corpus": asked.corpus}) for name in engines}
        seconds, rows = learned(asked.corpus, asked.size)
        print(f"byte pairs, {rows:,} rows, learned in {seconds:.1f} s")
        for name, home in homes.items():
            vocab.run(vocab.Config.model_validate({"size": asked.size, "engine": name}), home, Journal())
        best: dict[str, float] = {}
        for _ in range(asked.rounds):
            for name, home in homes.items():
                seconds, size = encoded(home)
                best[name] = min(seconds, best.get(name, seconds))
                print(f"tokenize with {name}: {size / seconds / 1e6:.1f} MB/s", flush=True)
    if len(best) == len(fast.ENGINES):
        print(f"{fast.NAME} : {fast.PLAIN} = {best[fast.PLAIN] / best[fast.NAME]:.1f}")


if __name__ == "__main__":
    main()
