"""How much text does a token hold, by kind of tokenizer and number of rows?

    python -m benchmarks.tokenizers CORPUS [--sources folder peps] [--bytes 8000000] [--sizes 1024 4096 16384]

CORPUS is the ``corpus/`` of a home. Documents of its training split are drawn until there are as many bytes; each kind learns from them in
each size, and is measured on the validation split, whole. Seconds are those of the processor for learning.
"""

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from scratchlm.evals.vocabulary import measured
from scratchlm.sources import record
from scratchlm.tokenizer import store

SIZES = (1024, 4096, 16384)
PIECES = ("bpe", "wordpiece", "unigram")
LETTERS = ("char", "byte")
"""Kinds whose size the text decides: measured once."""


def drawn(path: Path, sources: Sequence[str], most: int, seed: int) -> list[str]:
    """Texts of ``sources``, or of all where none is named, of about ``most`` bytes together."""
    texts = [document.text for document in record.read(path) if not sources or document.source in sources]
    random.Random(seed).shuffle(texts)
    chosen: list[str] = []
    total = 0
    for text in texts:
        if total >= most:
            break
        chosen.append(text)
        total += len(text.encode())
    return chosen


def row(kind: str, size: int, texts: Sequence[str], held_out: Path) -> str:
    """A line of the table."""
    begun = time.process_time()
    tokenizer = store.train(kind, texts, size=size)
    seconds = time.process_time() - begun
    found = measured(tokenizer, record.read(held_out))
    unknown = f"{found['coverage']['unknown']:,} of {found['coverage']['characters']:,}"
    return f"{kind:10} {tokenizer.size:8,} {found['bytes_per_token']:16.2f} {unknown:>24} {seconds:9.1f}"


def main() -> None:
    """Print a line for each kind and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sources", nargs="*", default=(), help="of the training split; all unless given")
    parser.add_argument("--bytes", type=int, default=8_000_000)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--kinds", nargs="*", default=(*PIECES, *LETTERS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    texts = drawn(asked.corpus / "train.parquet", asked.sources, asked.bytes, asked.seed)
    print(machine.where())
    print(f"{sum(len(text.encode()) for text in texts):,} bytes in {len(texts):,} documents from {asked.corpus}")
    print(f"{'kind':10} {'rows':>8} {'bytes per token':>16} {'unknown characters':>24} {'seconds':>9}")
    for kind in asked.kinds:
        for size in asked.sizes if kind in PIECES else (store.MOST,):
            print(row(kind, size, texts, asked.corpus / "validation.parquet"), flush=True)


if __name__ == "__main__":
    main()
