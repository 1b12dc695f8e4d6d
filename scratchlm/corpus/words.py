"""What the rules count in a text, each thing counted once: words, lines, phrases, kinds of characters.

Words are what stands between white space. Code blocks that ``structure`` marks are cut out first: rules for prose judge prose only.
"""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from scratchlm.core.records import Document
from scratchlm.corpus.language import LANGUAGES, UNKNOWN, Language

LETTER, ALPHANUMERIC, SPACE, MARK, DIGIT, DATA, CAPITAL = 1, 2, 4, 8, 16, 32, 64
"""Kinds of characters, as bits; DIGIT and DATA are what tables of numbers and dumps of bytes are written in."""
KNOWN = 0x20000
"""Code points that are classed one by one; what lies above is Chinese, but for a few that no text holds."""
CLOSERS = "\"'”’»)]"
"""What may stand between the end of a sentence and the end of a line."""
PARAGRAPHS = re.compile(r"\n{2,}+")
MIXER = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=1)
def _kinds_by_code() -> np.ndarray:
    def kind(letter: str) -> int:
        is_mark = unicodedata.category(letter)[0] in "PSC" and not letter.isspace()
        is_data = letter in "0123456789abcdefABCDEFxX,;:.+-()[]{} \t\\\"'"
        bits = (letter.isalpha(), letter.isalnum(), letter.isspace(), is_mark, letter in "0123456789", is_data, letter.isupper())
        return sum(bit << place for place, bit in enumerate(bits))

    kinds = np.array([kind(chr(code)) for code in range(KNOWN + 1)], dtype=np.uint8)
    kinds[KNOWN] = LETTER | ALPHANUMERIC
    return kinds


def kinds_of(text: str) -> np.ndarray:
    """The bits of each character."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return _kinds_by_code()[np.minimum(codes, KNOWN)]


def share(some: float | int | np.number, of: float | int | np.number) -> float:
    """Nothing has no share."""
    return float(some) / float(of) if of else 0.0


@dataclass(frozen=True)
class Words:
    """A text and what several rules count in it."""

    text: str
    """Without its code blocks."""
    whole: str
    """As it stands."""
    lang: str = UNKNOWN
    lang_score: float = float("nan")
    """How sure the identification is; not a number where nobody asked."""

    @classmethod
    def of(cls, document: Document, lang: str) -> "Words":
        """The words of a document in the language that it is taken to be in."""
        score = document.facts.get("lang_score")
        return cls(prose(document), document.text, lang.partition("-")[0], float("nan") if score is None else float(score))

    @cached_property
    def language(self) -> Language | None:
        return LANGUAGES.get(self.lang)

    @cached_property
    def all(self) -> list[str]:
        return self.text.split()

    @cached_property
    def lower(self) -> str:
        return self.text.lower()

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def paragraphs(self) -> list[str]:
        return [part for part in PARAGRAPHS.split(self.text.strip()) if part]

    @cached_property
    def repeated_lines(self) -> tuple[int, int]:
        return repeats(self.lines)

    @cached_property
    def repeated_paragraphs(self) -> tuple[int, int]:
        return repeats(self.paragraphs)

    @cached_property
    def code_lines(self) -> list[str]:
        return self.whole.split("\n")

    @cached_property
    def kinds(self) -> np.ndarray:
        return kinds_of(self.text)

    @cached_property
    def whole_kinds(self) -> np.ndarray:
        return self.kinds if self.whole is self.text else kinds_of(self.whole)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each word begins."""
        is_word = np.concatenate(([False], (self.kinds & SPACE) == 0))
        return np.flatnonzero(is_word[1:] & ~is_word[:-1])

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.fromiter(map(len, self.all), dtype=np.int64, count=len(self.all))

    def hold(self, kind: int, *, wanted: bool = True) -> np.ndarray:
        """For each word, whether it holds a character of this kind (or with ``wanted`` off: one that is neither of it nor a space)."""
        if not len(self.starts):
            return np.zeros(0, dtype=bool)
        hits = (self.kinds & kind) != 0 if wanted else (self.kinds & (kind | SPACE)) == 0
        return np.logical_or.reduceat(hits, self.starts)

    @cached_property
    def plain(self) -> np.ndarray:
        """The lengths of the words that are more than symbols."""
        return self.lengths[self.hold(MARK, wanted=False)]

    @cached_property
    def words_of_code(self) -> int:
        """Words in the blocks that were cut out."""
        return 0 if self.whole is self.text else max(0, len(self.whole.split()) - len(self.all))

    @cached_property
    def phrases(self) -> dict[int, "Phrases"]:
        """Every run of 2 to 10 words as a number; equal runs have equal numbers (modulo 2**64, so chance hits are negligible)."""
        known: dict[str, int] = {}
        ids = np.fromiter((known.setdefault(word, len(known)) for word in self.all), dtype=np.uint64, count=len(self.all))
        found, numbers, any_twice = {}, (ids + np.uint64(1)) * MIXER, True
        for n in range(2, 11):
            numbers = numbers[: max(0, len(ids) - n + 1)] ^ (numbers[: max(0, len(ids) - n + 1)] >> np.uint64(29))
            numbers = (numbers + ids[n - 1 :] + np.uint64(1)) * MIXER
            found[n] = Phrases.count(numbers, n) if any_twice else Phrases(n)
            any_twice = found[n].most > 1  # where no run of n words stands twice, no longer run does
        return found

    def commonest_phrase(self, n: int) -> int:
        """Characters in the commonest phrase of ``n`` words, spaces between them included, wherever it stands; 0 when none stands twice."""
        phrases = self.phrases[n]
        return phrases.most * (int(self.lengths[phrases.first : phrases.first + n].sum()) + n - 1) if phrases.most > 1 else 0

    def repeated_phrases(self, n: int) -> int:
        """Characters, spaces aside, in phrases of ``n`` words that stood before; reading goes on behind a repeated phrase."""
        phrases, seen, behind, characters = self.phrases[n], set(), 0, 0
        for place, number in zip(phrases.places, phrases.numbers, strict=True):
            if place < behind:
                continue
            if number in seen:
                characters += int(self.lengths[place : place + n].sum())
                behind = place + n
            seen.add(number)
        return characters


@dataclass(frozen=True)
class Phrases:
    """The runs of ``n`` words that stand more than once."""

    n: int
    most: int = 0
    """How often the commonest stands."""
    first: int = 0
    """Where it stands first; of equally common ones the first."""
    places: tuple[int, ...] = ()
    """Where any of them begins, in their order."""
    numbers: tuple[int, ...] = ()
    """Which of them that is."""

    @classmethod
    def count(cls, numbers: np.ndarray, n: int) -> "Phrases":
        """Sort once and look at what has an equal neighbour."""
        if not len(numbers):
            return cls(n)
        _, first, number, times = np.unique(numbers, return_index=True, return_inverse=True, return_counts=True)
        most = int(times.max())
        places = np.flatnonzero(times[number] > 1) if most > 1 else np.zeros(0, dtype=np.int64)
        return cls(n, most, int(first[times == most].min()), tuple(places.tolist()), tuple(number[places].tolist()))


def repeats(items: list[str]) -> tuple[int, int]:
    """How many items stood before, and their characters."""
    count = Counter(items)
    return len(items) - len(count), sum((times - 1) * len(item) for item, times in count.items() if times > 1)


def prose(document: Document) -> str:
    """The text without the code blocks that ``structure`` marks; code within a line stays, as a word of its sentence."""
    structure = str(document.facts.get("structure") or "")
    if '"code"' not in structure:
        return document.text
    parts, behind = [], 0
    for span in sorted(json.loads(structure), key=lambda span: span["start"]):
        start, end = span["start"], span["end"]
        block = span["kind"] == "code" and ("\n" in document.text[start:end] or document.text[max(0, start - 1) : start] in ("", "\n"))
        if block and start >= behind:
            parts.append(document.text[behind:start].strip("\n"))
            behind = end
    parts.append(document.text[behind:].strip("\n"))
    return "\n\n".join(part for part in parts if part) if behind else document.text
