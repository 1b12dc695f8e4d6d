"""The words of a text and their hashes, computed for all words at once.

A word is a run of letters, digits and their accents or vowel signs; of scripts without blanks each sign is one. Characters that are not
seen (soft hyphens, joiners) and hyphens at the end of a line are no part of it, so that a word is the same however it was set.

A word's hash is a polynomial of its characters, taken from running sums and then mixed; the hash of n words in a row is a polynomial of
theirs. Both are computed in whole columns of numbers, which reads a text ten times as fast as hashing its words one by one.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from scratchlm.rules.language import WITHOUT_BLANKS

BLOCK = 1 << 18
"""Characters that are hashed together; a longer word counts by its beginning."""
BASE, STEP = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
"""Odd numbers, so that they have an inverse modulo 2^64."""
KNOWN = 0x40000
INSIDE, ALONE, JOINED, UNSEEN = 1, 2, 3, 4
"""Kinds of characters: part of a word, a word of its own, part of the word before it, as if it were not there; 0: between words."""
EDGES = "\"'“”‘’«»„()[]{}.,;:!?…。！？،؟*_`#|"
"""Signs at both ends of a text that are no part of it."""
BORDER = re.compile(r"[\n\t|<>.!?…:;。！？\"“”«»„]")
"""One of these stands between a text of its own and the words around it."""
BETWEEN = np.zeros(1, dtype=np.uint8)
BROKEN = re.compile("(?<=[^\\W\\d_])[-\u2010\u00ad]\\n[ \\t]*+(?=[^\\W\\d_])")
"""Where a word is broken at the end of a line."""


@dataclass(frozen=True)
class Words:
    """Where the words of a text are, and their hashes."""

    text: str
    """Without what is not seen."""
    starts: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray
    places: np.ndarray | None = None
    """Of each character of ``text``, where it stands in the text that was given; None where nothing was left out."""

    def __len__(self) -> int:
        return len(self.starts)

    def read(self, first: int = 0, last: int | None = None) -> list[str]:
        """The words from ``first`` up to, not including, ``last``."""
        places = zip(self.starts[first:last].tolist(), self.ends[first:last].tolist(), strict=True)
        return [self.text[start:end] for start, end in places]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Where the words from ``first`` to ``last`` stand in the text that was given."""
        start, end = int(self.starts[first]), int(self.ends[last])
        return (start, end) if self.places is None else (int(self.places[start]), int(self.places[end - 1]) + 1)

    def signs(self, first: int, behind: int) -> str:
        """All signs of some words but blanks, and those that touch them at both ends."""
        start, end = int(self.starts[first]), int(self.ends[behind - 1])
        before = self.text[int(self.ends[first - 1]) if first else 0 : start]
        after = self.text[end : int(self.starts[behind]) if behind < len(self) else None]
        left = [] if before[-1:].isspace() else before.split()[-1:]
        right = [] if after[:1].isspace() else after.split()[:1]
        return "".join([*left, *self.text[start:end].split(), *right]).strip(EDGES)

    def is_alone(self, first: int, behind: int) -> bool:
        """Whether some words stand as a line, a cell or a sentence of their own."""
        before = self.text[int(self.ends[first - 1]) : int(self.starts[first])] if first else "\n"
        after = self.text[int(self.ends[behind - 1]) : int(self.starts[behind])] if behind < len(self) else "\n"
        return bool(BORDER.search(before) and BORDER.search(after))


@lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    """The kind of each code point; the last entry stands for all above."""
    kinds = np.array([_kind(chr(code)) for code in range(KNOWN)] + [0], dtype=np.uint8)
    for low, high in WITHOUT_BLANKS:
        part = kinds[low : high + 1]
        part[part == INSIDE] = ALONE
    return kinds


def _kind(letter: str) -> int:
    category = unicodedata.category(letter)
    if category == "Cf" or 0xFE00 <= ord(letter) <= 0xFE0F:  # these only choose between forms of the sign before them
        return UNSEEN
    return JOINED if category in ("Mn", "Mc") else INSIDE if letter.isalnum() else 0


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
    places = None
    if "\n" in text and (cuts := [span for match in BROKEN.finditer(text) for span in match.span()]):
        borders = [0, *cuts, len(text)]
        parts = list(zip(borders[::2], borders[1::2], strict=True))
        places = np.concatenate([np.arange(start, end) for start, end in parts])
        text = "".join(text[start:end] for start, end in parts)
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        kinds = _kinds()[:128][codes]
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        kinds = _kinds()[np.minimum(codes, KNOWN)]
        if (unseen := kinds == UNSEEN).any():
            seen = np.flatnonzero(~unseen)
            places = seen if places is None else places[seen]
            codes, kinds = codes[seen], kinds[seen]
            text = codes.tobytes().decode("utf-32-le", "surrogatepass")
        kinds = _joined(kinds)
    kinds = np.concatenate((BETWEEN, kinds, BETWEEN))
    is_word = kinds > 0
    first = is_word & (kinds != JOINED)
    first[1:] &= ~is_word[:-1] | (kinds[1:] == ALONE) | (kinds[:-1] == ALONE)
    starts = np.flatnonzero(first) - 1
    ends = np.flatnonzero(is_word[:-1] & (~is_word[1:] | first[1:]))
    return Words(text, starts, ends, _hashes(codes, starts, ends), places)


def _joined(kinds: np.ndarray) -> np.ndarray:
    """Accents and vowel signs that follow no word are no part of one."""
    if not (joined := kinds == JOINED).any():
        return kinds
    base = np.maximum.accumulate(np.where(joined, 0, np.arange(len(kinds))))
    return np.where(joined & np.isin(kinds[base], (0, JOINED)), np.uint8(0), kinds)


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
        hashes[first:last] = mixed((sums[high] - sums[low]) * inverses[low])
        first = last
    return hashes


def mixed(hashes: np.ndarray) -> np.ndarray:
    """Each bit made to depend on all others (finaliser of splitmix64, Steele et al. 2014)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def extended(runs: np.ndarray, hashes: np.ndarray, n: int) -> np.ndarray:
    """The hash of every ``n`` things in a row, from ``runs``, those of every ``n - 1``, and the hashes of the things."""
    length = max(0, len(hashes) - n + 1)
    return mixed(runs[:length] * np.uint64(STEP) + hashes[len(hashes) - length :])


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
    return mixed(total)


class Lookup:
    """Places of hashes: a sorted column, behind a table of bytes that says at once of most hashes that they are not there."""

    def __init__(self, hashes: np.ndarray, texts: np.ndarray, at: np.ndarray | None = None) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes, self.texts, self._at = hashes[order], texts[order], np.zeros_like(texts) if at is None else at[order]

    @cached_property
    def _bits(self) -> int:
        return max(10, (8 * len(self._hashes)).bit_length())

    @cached_property
    def _known(self) -> np.ndarray:
        known = np.zeros(1 << self._bits, dtype=np.bool_)
        known[self._hashes >> np.uint64(64 - self._bits)] = True
        return known

    def find(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each entry with one of the hashes: the place in ``asked``, the text, and the place in the text."""
        likely = np.flatnonzero(self._known[asked >> np.uint64(64 - self._bits)])
        low, high = (np.searchsorted(self._hashes, asked[likely], side=side) for side in ("left", "right"))
        count = high - low
        entry = np.repeat(low, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(likely, count), self.texts[entry], self._at[entry]
