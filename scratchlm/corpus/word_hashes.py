"""The words of a text and their hashes, computed for all words at once.

A word's hash is a polynomial of its characters, taken from running sums and then mixed; the hash of n words in a row is a polynomial of
theirs. Both are computed in whole columns of numbers, which reads a text ten times as fast as hashing its words one by one.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BLOCK = 1 << 18
"""Characters that are hashed together; a longer word counts by its beginning."""
BASE, STEP = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
"""Odd numbers, so that they have an inverse modulo 2^64."""
# Thai and Lao, Burmese, Khmer, Kana, Chinese (four blocks).
ALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)  # fmt: skip
"""Scripts that are written without blanks: each sign counts as a word."""
KNOWN = 0x40000


@dataclass(frozen=True)
class Words:
    """Where the words of a text are, and their hashes."""

    text: str
    starts: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, first: int = 0, last: int | None = None) -> list[str]:
        """The words from ``first`` up to, not including, ``last``."""
        places = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return [self.text[start:end] for start, end in places]


@lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    """Of each code point: 0 not part of a word, 1 part of one, 2 a word of its own; the last entry stands for all above."""
    kinds = np.array([chr(code).isalnum() for code in range(KNOWN)] + [False], dtype=np.uint8)
    for low, high in ALONE:
        kinds[low : high + 1] *= 2
    return kinds


@lru_cache(maxsize=1)
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """BASE to the powers 0 to BLOCK, and their inverses."""
    inverse = pow(BASE, -1, 1 << 64)
    tables = []
    for number in (BASE, inverse):
        factors = np.full(BLOCK + 1, number, dtype=np.uint64)
        factors[0] = 1
        tables.append(np.multiply.accumulate(factors))
    return tables[0], tables[1]


def words_of(text: str) -> Words:
    """The words of a text in lower case."""
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        kinds = _kinds()[:128][codes]
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        kinds = _kinds()[np.minimum(codes, KNOWN)]
    inside = np.zeros(len(codes) + 2, dtype=np.uint8)
    inside[1:-1] = kinds
    border = (inside[1:] != inside[:-1]) | (inside[1:] == 2)
    starts = np.flatnonzero(border & (inside[1:] > 0))
    ends = np.flatnonzero(border & (inside[:-1] > 0))
    return Words(text, starts, ends, _hashes(codes, starts, ends))


def _hashes(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    powers, inverses = _powers()
    hashes = np.empty(len(starts), dtype=np.uint64)
    first = 0
    while first < len(starts):
        offset = starts[first]
        last = max(first + 1, int(np.searchsorted(ends, offset + BLOCK, side="right")))
        low = starts[first:last] - offset
        high = np.minimum(ends[first:last] - offset, BLOCK)
        sums = np.zeros(high[-1] + 1, dtype=np.uint64)
        np.cumsum(codes[offset : offset + high[-1]] * powers[: high[-1]], out=sums[1:])
        hashes[first:last] = _mixed((sums[high] - sums[low]) * inverses[low])
        first = last
    return hashes


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Each bit made to depend on all others (the finaliser of splitmix64, Steele et al. 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def grams(hashes: np.ndarray, n: int) -> np.ndarray:
    """The hash of every ``n`` words in a row; none where there are fewer."""
    length = len(hashes) - n + 1
    if length <= 0:
        return np.empty(0, dtype=np.uint64)
    # Doubling: the hash of 2k words is that of k, moved on by k places, and that of the next k.
    total, covered, double, width = np.zeros(length, dtype=np.uint64), 0, hashes, 1
    while covered < n:
        if n & width:
            total = total * np.uint64(pow(STEP, width, 1 << 64)) + double[covered : covered + length]
            covered += width
        if covered < n:
            double = double[:-width] * np.uint64(pow(STEP, width, 1 << 64)) + double[width:]
            width *= 2
    return _mixed(total)
