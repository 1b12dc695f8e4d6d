"""A text as a row of numbers that a linear judge can weigh: hashed counts of what stands in it, and a few numbers about its shape.

Counts are of words, pairs of words, and runs of 3 to 5 characters; each of the two blocks has the same length. Hashing: Weinberger et al.
2009, arXiv:0902.2206.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import xxhash

from scratchlm.rules.word_hashes import extended
from scratchlm.rules.words import CAPITAL, CLOSERS, DIGIT, LETTER, MARK, SPACE, Words, share

BITS = 18
PLACES = 2 << BITS
"""Of the two blocks; a document of 4,000 characters fills some 7,000 of them."""
COUNTED, SHAPED = 4_000, 20_000
"""Characters that are read of a text for its counts, and for its shape. With counts of 10,000 the AUC that ``classifier.py`` names is the
same, .910, and learning takes twice the memory."""
NGRAMS = (3, 4, 5)
TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix: the filled places of each document, one after another, and its numbers of shape."""

    places: np.ndarray
    values: np.ndarray
    ends: np.ndarray
    """Where each row ends in the two above."""
    shapes: np.ndarray

    def pick(self, rows: np.ndarray) -> "Rows":
        """Some of the rows."""
        starts = np.concatenate(([0], self.ends[:-1]))
        spans = [np.arange(int(starts[row]), int(self.ends[row])) for row in rows]
        kept = np.concatenate(spans)
        return Rows(self.places[kept], self.values[kept], np.cumsum([len(span) for span in spans]), self.shapes[rows])

    def times(self, weights: np.ndarray) -> np.ndarray:
        """One sum per row."""
        parts = np.asarray(weights, dtype=np.float32)[self.places]  # the largest array of all: half the memory of doubles, which sum it up
        parts *= self.values
        sums = np.concatenate(([0.0], np.cumsum(parts, dtype=np.float64)))
        return np.diff(sums[np.concatenate(([0], self.ends))])

    def spread(self, errors: np.ndarray, size: int) -> np.ndarray:
        """One sum for each of ``size`` places: the transpose of ``times``."""
        lengths = np.diff(np.concatenate(([0], self.ends)))
        return np.bincount(self.places, self.values * np.repeat(errors.astype(np.float32), lengths), minlength=size)


def features(texts: Iterable[str]) -> Rows:
    """What is counted in each text."""
    rows = [
        (_block(_words(text[:COUNTED]), 0, np.sqrt), _block(_runs(text[:COUNTED]), 1 << BITS, np.log1p), shape(text[:SHAPED]))
        for text in texts
    ]
    places = [np.concatenate((words[0], runs[0])) for words, runs, _ in rows]
    values = [np.concatenate((words[1], runs[1])) for words, runs, _ in rows]
    ends = np.cumsum([len(row) for row in places])
    return Rows(np.concatenate(places), np.concatenate(values).astype(np.float32), ends, np.stack([shape for _, _, shape in rows]))


def _block(numbers: np.ndarray, first: int, damp: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where hashes fall and their damped counts; the squares of all sum to one half."""
    places, times = np.unique((numbers >> np.uint64(64 - BITS)).astype(np.int32), return_counts=True)
    damped = damp(times)
    return places + np.int32(first), damped / max(1e-9, float(np.sqrt(2 * (damped @ damped))))


def _words(text: str) -> np.ndarray:
    """A hash for each word or mark and each two in a row, case aside."""
    known: dict[str, int] = {}
    tokens = TOKEN.findall(text.lower())
    for token in tokens:
        if token not in known:
            known[token] = xxhash.xxh3_64_intdigest(token.encode("utf-8", "surrogatepass"))
    one = np.fromiter(map(known.__getitem__, tokens), dtype=np.uint64, count=len(tokens))
    return np.concatenate((one, extended(one, one, 2)))


def _runs(text: str) -> np.ndarray:
    """A hash for each run of 3, 4 and 5 characters, case and kinds of white space aside."""
    plain = " ".join(text.lower().split()).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(plain, dtype=np.uint32).astype(np.uint64) + np.uint64(1)
    found, runs = [], codes
    for n in range(2, max(NGRAMS) + 1):
        runs = extended(runs, codes, n)
        found += [runs] if n in NGRAMS else []
    return np.concatenate(found)


def shape(text: str) -> np.ndarray:
    """Numbers that tell an article from a menu in any language."""
    words = Words(text, text)
    lines, number = words.lines, len(words.all)
    count = {kind: int((words.kinds & kind > 0).sum()) for kind in (LETTER, SPACE, MARK, DIGIT, CAPITAL)}
    distinct = len(set(words.lower.split()))
    return np.array(
        [
            np.log1p(number), np.log1p(len(lines)), np.log1p(share(number, len(lines))), share(words.lengths.sum(), number),
            share(sum(line.rstrip(CLOSERS).endswith((".", "!", "?", "…")) for line in lines), len(lines)),
            share(sum(len(line) <= 30 for line in lines), len(lines)), np.log1p(max(map(len, lines), default=0)),
            *(share(count[kind], len(text)) for kind in count), share(text.count(",") + text.count("."), len(text)),
            share(distinct, number), share(distinct, np.sqrt(number)), share((words.lengths <= 3).sum(), number),
        ]
    )  # fmt: skip
