"""How fast, how right and how frugal is the search for copies?

    python -m benchmarks.dedup [--texts FOLDER] [--datatrove PYTHON] [--documents 20000]

Signatures per second of processor time on one core: this project's, its numpy reference's and, given an interpreter that has it,
datatrove's, from the same texts in the same run. Then what becomes of planted copies. Memory is measured by ``corpus_memory``.
"""

import argparse
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import machine
from scratchlm.corpus import copies, minhash, places

CHARACTERS = 5_500
"""Of a document cut from a book."""
RATES = (0.01, 0.05, 0.10, 0.20)
LEAST = 0.8
BUCKETS = 16
DATATROVE = """
import importlib.metadata, json, sys, tempfile, time
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
texts = json.load(open(sys.argv[1]))
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
step = MinhashDedupSignature(tempfile.mkdtemp(), config)
step.get_signature(step.get_shingles(texts[0]))
start = time.process_time()
step.run((Document(text=text, id=str(n)) for n, text in enumerate(texts)), 0, 1)
print(json.dumps([time.process_time() - start, importlib.metadata.version("datatrove")]))
"""


def documents(folder: Path, most: int) -> list[str]:
    """The texts of a folder as pieces of the size of a web page."""
    found: list[str] = []
    for path in sorted(folder.glob("**/*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)]
    return found[:most]


def speed(texts: Sequence[str], other: Path | None) -> None:
    """Signatures per second of processor time, text to signature."""
    minhash.check_golden()

    def seconds(some: Sequence[str], compute: Callable[..., np.ndarray]) -> float:
        start = time.process_time()
        for low in range(0, len(some), 64):
            compute(*minhash.shingles([minhash.substance(text) for text in some[low : low + 64]]))
        return time.process_time() - start

    few = texts[: max(1, len(texts) // 20)]
    rates = {"scratchlm": len(texts) / seconds(texts, minhash.signatures), "numpy reference": len(few) / seconds(few, minhash.reference)}
    if other:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "texts.json").write_text(json.dumps(few), encoding="utf-8")
            done = subprocess.run([other, "-c", DATATROVE, f"{folder}/texts.json"], check=True, capture_output=True, text=True)
        taken, version = json.loads(done.stdout.splitlines()[-1])
        rates[f"datatrove {version}"] = len(few) / taken
    for name, rate in rates.items():
        print(f"{name:20} {rate:10,.0f} documents/s   scratchlm / this: {rates['scratchlm'] / rate:6.1f}")


def story(words: int, seed: int) -> list[str]:
    """Words drawn from 3,000."""
    return [f"word{number}" for number in random.Random(seed).choices(range(3000), k=words)]


def edited(words: Sequence[str], rate: float, seed: int) -> list[str]:
    """Each word is replaced with this probability."""
    dice = random.Random(seed)
    return [f"other{dice.randrange(3000)}" if dice.random() < rate else word for word in words]


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of common phrases, counted."""
    first, second = ({tuple(words[n : n + 5]) for n in range(len(words) - 4)} for words in (one, other))
    return len(first & second) / len(first | second)


def dropped(texts: Sequence[str]) -> dict[int, int]:
    """Which text goes in favour of which, through all steps."""
    total, nothing = len(texts), np.zeros(len(texts), np.bool_)
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    own = pa.table({"scope": np.zeros(total, np.uint64), "place": np.arange(total), "pinned": nothing, "held_out": nothing})
    own = own.append_column("brief", copies.packed(minhash.brief(signatures))).filter(pa.array(enough))
    keys = minhash.band_keys(signatures[enough]).ravel()
    bucket = places.bucket_of(keys, BUCKETS)
    parts = (copies.band_rows(own, keys, np.flatnonzero(bucket == number)) for number in range(BUCKETS))
    links = copies.joined([copies.links(part, near=LEAST, held_out=LEAST)[0] for part in parts])
    result = pa.concat_tables(copies.settle([links], total))
    return dict(zip(result["place"].to_pylist(), result["of"].to_pylist(), strict=True))


def planted(count: int = 2000, copied: int = 400, words: int = 400) -> None:
    """Recall on documents that are edited copies, by their true similarity, and merges of different ones."""
    print(f"\n{count} documents, {copied} of them copies with edited words; limit {LEAST}")
    print("edited   mean similarity   truly above the limit   found of these   found below it   different ones merged")
    originals = [story(words, seed) for seed in range(count - copied)]
    for rate in RATES:
        changed = [edited(originals[number], rate, number) for number in range(copied)]
        of = dropped([" ".join(text) for text in [*originals, *changed]])
        true = np.array([jaccard(originals[number], changed[number]) for number in range(copied)])
        found = np.array([of.get(len(originals) + number) == number for number in range(copied)])
        wrong = sum(one - len(originals) != other for one, other in of.items())
        above = true >= LEAST
        recall = f"{found[above].mean():15.1%}" if above.any() else f"{'–':>15}"
        print(f"{rate:6.0%} {true.mean():15.3f} {above.sum():21} {recall} {found[~above].sum():16} {wrong:20}")


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=Path(__file__).parent.parent.parent / "shared/data/novels")
    parser.add_argument("--datatrove", type=Path, help="an interpreter whose environment has datatrove")
    parser.add_argument("--documents", type=int, default=20_000)
    asked = parser.parse_args()
    texts = documents(asked.texts, asked.documents)
    print(f"{machine.where()}: {len(texts)} documents from {asked.texts}")
    speed(texts, asked.datatrove)
    planted()


if __name__ == "__main__":
    main()
