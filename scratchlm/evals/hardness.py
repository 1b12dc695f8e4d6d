"""How hard is a text to predict, before any network sees it? Between what a count of its bytes and what a compressor makes of it.

Neither alone tells how a network will fare: counting misses what is said again far away, of which code is full, and a compressor misses
much that never comes twice in the same words.
"""

import math
from collections.abc import Iterator

from scratchlm.batches.shards import Shards
from scratchlm.evals import baselines
from scratchlm.tokenizer.interface import Tokenizer

ORDER = 5
"""Bytes of context that are counted."""
COUNTED, COMPRESSED, ASKED = 2_000_000, 1_000_000, 200_000
"""Bytes that are read, and bytes that are predicted: always the same, so that a larger corpus is no easier."""


def hardness(train: Shards, held_out: Shards, tokenizer: Tokenizer) -> float:
    """The geometric mean of an n-gram's and of xz's bits per byte (``evals.baselines``), on documents of the shards."""
    asked = list(texts(held_out, tokenizer, ASKED))
    counted = baselines.ngrams(list(texts(train, tokenizer, COUNTED)), asked, orders=[ORDER])[ORDER].value
    return math.sqrt(counted * baselines.xz(list(texts(train, tokenizer, COMPRESSED)), asked))


def texts(shards: Shards, tokenizer: Tokenizer, most: int) -> Iterator[str]:
    """The first documents of a split, ``most`` bytes of text together; the last one is cut."""
    ends = [*shards.starts[1:].tolist(), shards.tokens]
    for start, end in zip(shards.starts.tolist(), ends, strict=True):
        text = tokenizer.decode(shards.window(start + 1, end - start - 1)[0].tolist()).encode()[: max(0, most)]
        if most <= 0:
            return
        most -= len(text)
        yield text.decode(errors="ignore")
