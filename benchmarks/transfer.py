"""Which rates are best at which width? One rate after another, halved and doubled, on equal tokens: what goes with the width shows.

    python -m benchmarks.transfer HOME [--tokens 600000] [--widths 64 128 256] [--seeds 1] [--of lr head_lr embedding_lr] [--factors .5 1 2]

HOME has the tokenizer and shards of a run. All train `qwen3` as `--budget` shapes it, with `laptop`'s optimizer and schedule, 2,048 tokens
a step. A rate that is to serve all widths has its best factor at the same place at each (Yang et al. 2022, arXiv:2203.03466).
"""

import argparse
import tempfile
from pathlib import Path

from scratchlm.core.artifact import Home
from scratchlm.core.config import with_sets
from scratchlm.core.journal import Journal
from scratchlm.model import qwen3
from scratchlm.recipes.laptop import laptop
from scratchlm.stages import pretrain
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train.budget import shaped

CONTEXT, ROWS = 256, 8
VALIDATION = 200_000


def run(home: Home, width: int, tokens: int, sets: list[str]) -> float:
    """Bits per byte of the held-out text."""
    shards, vocabulary = home.open("shards"), home.open("tokenizer")
    recipe = laptop().pretrain
    assert recipe
    model = shaped(qwen3.Config(vocab=tokenizers.load(vocabulary.path).size, context=CONTEXT), width)
    often = {"validation_steps": tokens, "validation_tokens": VALIDATION, "sample_steps": tokens, "checkpoint_minutes": None}
    config = with_sets(recipe.model_copy(update={"model": model, "tokens": tokens, "rows": ROWS} | often), sets)
    events: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        sources = {"shards": shards.path, "tokenizer": vocabulary.path}
        pretrain.run(config, Home(Path(scratch), sources), Journal(events.append))
    (found,) = (event["bits_per_byte"] for event in events if event["event"] == "validation")
    return found


def main() -> None:
    """Print each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--of", nargs="+", default=["lr", "head_lr", "embedding_lr"])
    parser.add_argument("--factors", type=float, nargs="+", default=[0.25, 0.5, 1, 2, 4])
    parser.add_argument("--set", action="append", default=[], help="of pretrain, before the factors, such as optimizer.lr=0.01")
    asked = parser.parse_args()
    recipe = laptop().pretrain
    assert recipe
    base = dict(with_sets(recipe, asked.set).optimizer)
    for width in asked.widths:
        for rate in asked.of:
            for factor in asked.factors:
                sets = [*asked.set, f"optimizer.{rate}={base[rate] * factor}"]
                found = [run(Home(asked.home), width, asked.tokens, [*sets, f"seed={seed}"]) for seed in range(asked.seeds)]
                print(f"width {width}, {rate} {base[rate] * factor:.4g}: {' '.join(f'{each:.4f}' for each in found)}", flush=True)


if __name__ == "__main__":
    main()
