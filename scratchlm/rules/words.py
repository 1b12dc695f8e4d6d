"""What the rules count in a text, each thing counted once: words, lines, phrases, kinds of characters.

Words are what stands between white space. Code blocks that ``structure`` marks are cut out first: rules for prose judge prose only.
A text of more than ``MEASURED`` characters is measured on pieces of it: what a rule counts is scaled up, and what stands only between the
pieces (one copy of two, a single long line) is not seen.
"""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from scratchlm.core.records import Document
from scratchlm.rules.language import LANGUAGES, UNKNOWN, Language, canonical, sampled
from scratchlm.rules.word_hashes import extended, mixed

LETTER, ALPHANUMERIC, SPACE, MARK, DIGIT, DATA, CAPITAL = 1, 2, 4, 8, 16, 32, 64
"""Kinds of characters, as bits; DIGIT and DATA are what tables of numbers and dumps of bytes are written in."""
KNOWN = 0x20000
"""Code points that are classed one by one; what lies above is Chinese, but for a few that no text holds."""
CLOSERS = "\"'”’»)]"
"""What may stand between the end of a sentence and the end of a line."""
PARAGRAPHS = re.compile(r"\n{2,}+")
ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{64,}+")
"""Base64 or hexadecimal digits, whatever stands around them: 64 characters is the width at which encoders break lines."""
ESCAPES = re.compile(r"(?:\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3})){8,}+")
FEWEST_SIGNS = 10
"""Different characters of encoded data at least: a ruler is not meant."""
LEAST_LINE = 30
"""Characters; a shorter line of numbers tells nothing."""
PIECE, PIECES = 250_000, 8
"""Characters of a piece, and how many pieces are taken at even distances, the beginning and the end among them."""
MEASURED = PIECE * PIECES
"""Characters that are measured: 300 MB at most while they are."""


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
    scale: float = 1.0
    """How many times as long the document's prose is as ``text``."""
    whole_scale: float = 1.0
    """How many times as long the document is as ``whole``."""

    @classmethod
    def of(cls, document: Document, lang: str) -> "Words":
        """The words of a document in the language that it is taken to be in."""
        score, text = document.facts.get("lang_score"), prose(document)
        whole = sampled(document.text, PIECE, PIECES)
        part = whole if text is document.text else sampled(text, PIECE, PIECES)
        scales = [len(long) / max(1, len(short)) for long, short in ((text, part), (document.text, whole))]
        return cls(part, whole, canonical(lang), float("nan") if score is None else float(score), *scales)

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
        if self.whole is self.text:
            return 0
        return max(0, round(len(self.whole.split()) * self.whole_scale - len(self.all) * self.scale))

    @cached_property
    def number(self) -> float:
        """Words of the document that are more than symbols, and those of its code."""
        return len(self.plain) * self.scale + self.words_of_code

    @cached_property
    def phrases(self) -> dict[int, "Phrases"]:
        """Every run of 2 to 10 words as a number; equal runs have equal numbers (modulo 2**64, so chance hits are negligible)."""
        known: dict[str, int] = {}
        ids = np.fromiter((known.setdefault(word, len(known)) for word in self.all), dtype=np.uint64, count=len(self.all))
        ids = mixed(ids + np.uint64(1))
        found, runs, any_twice = {}, ids, True
        for n in range(2, 11):
            runs = extended(runs, ids, n)
            found[n] = Phrases.count(runs, n) if any_twice else Phrases(n)
            any_twice = found[n].most > 1  # where no run of n words stands twice, no longer run does
        return found

    def commonest_phrase(self, n: int) -> int:
        """Characters in the commonest phrase of ``n`` words, spaces between them included, wherever it stands; 0 when none stands twice."""
        phrases = self.phrases[n]
        return phrases.most * (int(self.lengths[phrases.first : phrases.first + n].sum()) + n - 1) if phrases.most > 1 else 0

    def repeated_phrases(self, n: int) -> int:
        """Characters, spaces aside, in phrases of ``n`` words that stood before; reading goes on behind a repeated phrase."""
        phrases, seen, behind, characters = self.phrases[n], set(), 0, 0
        for place, number in zip(phrases.places.tolist(), phrases.numbers.tolist(), strict=True):
            if place < behind:
                continue
            if number in seen:
                characters += int(self.lengths[place : place + n].sum())
                behind = place + n
            seen.add(number)
        return characters


def _nothing() -> np.ndarray:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Phrases:
    """The runs of ``n`` words that stand more than once."""

    n: int
    most: int = 0
    """How often the commonest stands."""
    first: int = 0
    """Where it stands first; of equally common ones the first."""
    places: np.ndarray = field(default_factory=_nothing)
    """Where any of them begins, in their order."""
    numbers: np.ndarray = field(default_factory=_nothing)
    """Which of them that is."""

    @classmethod
    def count(cls, runs: np.ndarray, n: int) -> "Phrases":
        """Sort once and look at what has an equal neighbour."""
        if not len(runs):
            return cls(n)
        _, first, number, times = np.unique(runs, return_index=True, return_inverse=True, return_counts=True)
        most = int(times.max())
        if most == 1:
            return cls(n, most)
        places = np.flatnonzero(times[number] > 1)
        return cls(n, most, int(first[times == most].min()), places.astype(np.int32), number[places].astype(np.int32))


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


def data_like(words: Words) -> float:
    """Encoded runs, and lines that are numbers by nine tenths."""
    text, kinds = words.whole, words.whole_kinds
    is_data = np.zeros(len(text), dtype=np.bool_)
    borders = np.cumsum([0, *(len(line) + 1 for line in words.code_lines)])
    lengths = np.diff(borders) - 1
    kinds = np.append(kinds, np.uint8(0))  # the end of the last line
    data, digits = (np.add.reduceat(kinds & kind > 0, borders[:-1], dtype=np.int64) for kind in (DATA, DIGIT))
    is_numbers = (lengths > LEAST_LINE) & (data > 0.9 * lengths) & (digits > 0.2 * lengths)
    for line in np.flatnonzero(is_numbers).tolist():
        is_data[borders[line] : borders[line] + lengths[line]] = True
    for pattern in (ENCODED, ESCAPES):
        for match in pattern.finditer(text):
            if pattern is ESCAPES or _is_encoded(match.group()):
                is_data[match.start() : match.end()] = True
    return share(int(is_data.sum()), len(text))


def _is_encoded(run: str) -> bool:
    """Whether a run of letters and digits is encoded data, not a long name, a path or a ruler."""
    kinds = (any(map(test, run)) for test in (str.isdigit, str.isupper, str.islower))
    return len(set(run)) >= FEWEST_SIGNS and (all(kinds) or set(run) <= set("0123456789abcdefABCDEF"))
