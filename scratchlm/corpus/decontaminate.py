"""Which tests stand in a text? Runs of 13 words that an eval item has too, and whole texts of items that are shorter.

Words are runs of letters and digits in lower case, so punctuation, quotes and line breaks make no difference; of scripts without blanks
each sign is a word. Hashes only point at a place; every hit is compared with the item, word by word, so no accident of a hash is a hit.
A text too short to be sure of by its words ("How much is 88+76?") must stand as a line, a cell or a sentence of its own, sign by sign.
Thirteen words: Brown et al. 2020, appendix C, arXiv:2005.14165.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError
from scratchlm.corpus.eval_sets import EvalSet
from scratchlm.privacy.pii_pattern import lowered
from scratchlm.rules import clean
from scratchlm.rules.word_hashes import Lookup, Words, grams, words_of

NGRAM = 13
LEAST = 6
"""Words of the shortest text of an item that is looked for anywhere; a shorter one is said by chance too often."""
LEAST_CHARACTERS = 24
LEAST_ALONE, LEAST_ALONE_CHARACTERS = 4, 12
"""Words and characters of the shortest one that is looked for where it stands by itself; a sum ("17*94=") may be shorter."""
COMMON = 10
"""A run of words that more different texts of a set share is its phrasing, not an item; so is a whole text that more items have."""
SIGNS = frozenset("+-*/^=<>×÷−")
"""One of them makes digits a sum."""
OP = "eval item"
"""What an edit is called that cuts a hit."""
VERSION = b"2"
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("set", "item", "text", "exact")] + [("grams", pa.list_(pa.uint64()))],
    metadata={"scratchlm.evals": VERSION},
)
"""A row for each text of each item. ``text``: its words; ``exact``: its signs but blanks, where only they tell it from another."""


class Policy(Settings):
    """What is done about a document that holds eval items."""

    action: Literal["document", "cut"] = "document"
    """Drop the document, or cut the hits out of it."""
    least_hits: int = Field(default=1, ge=1)
    """Different items that a document must hold before it is dropped."""
    least_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the document's characters that hits must cover before it is dropped; a whole book for one quotation may be too much."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One place that says what an item says."""

    set: str
    item: str
    """Its number in the set, from 0."""
    start: int
    end: int
    kind: Literal["ngram", "question"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many items of a set can be found at all."""

    items: int
    ngram: int
    question: int
    """Found as a whole text only."""

    @property
    def nothing(self) -> int:
        """Items too short to be found."""
        return self.items - self.ngram - self.question


@dataclass(frozen=True, slots=True)
class Caught:
    """Why a document goes."""

    reason: str
    value: int | float
    threshold: int | float


class Index:
    """The n-grams and short texts of eval sets, ready to be looked up."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.sets, self.items, self.texts, self._exact = (table[name].to_pylist() for name in ("set", "item", "text", "exact"))
        lengths = np.diff(table["grams"].combine_chunks().offsets.to_numpy())
        every = table["grams"].combine_chunks().flatten().to_numpy()
        texts = np.repeat(np.arange(len(table), dtype=np.int32), lengths)
        at = (np.arange(len(every)) - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.int32)
        self._long = Lookup(*self._rare(every, texts, at))
        self._whole = self._short_texts()

    def _short_texts(self) -> dict[int, Lookup]:
        """Those that are looked for as a whole, by how many of their first words they are looked up."""
        items: dict[tuple[str, str], set[str]] = {}
        for name, item, text in zip(self.sets, self.items, self.texts, strict=True):
            items.setdefault((name, text), set()).add(item)
        found: dict[int, tuple[list[int], list[str]]] = {}
        for number, (name, text, exact) in enumerate(zip(self.sets, self.texts, self._exact, strict=True)):
            words = text.split(" ")
            if len(words) < NGRAM and (exact or _says_enough(words)) and len(items[name, text]) <= COMMON:
                numbers, starts = found.setdefault(min(LEAST, len(words)), ([], []))
                numbers.append(number)
                starts += words[:LEAST]
        return {
            size: Lookup(grams(words_of(" ".join(starts)).hashes, size)[::size], np.array(numbers, dtype=np.int32))
            for size, (numbers, starts) in sorted(found.items())
        }

    def _rare(self, every: np.ndarray, texts: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Without the n-grams that many different texts of one set share; the same passage before many questions is one text."""
        names: dict[str, int] = {}
        sets = np.array([names.setdefault(name, len(names)) for name in self.sets], dtype=np.int32)[texts]
        known: dict[tuple[str, str], int] = {}
        pairs = zip(self.sets, self.texts, strict=True)
        owners = np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int32)[texts]
        order = np.lexsort((owners, sets, every))
        first = np.ones(len(every), dtype=np.bool_)
        first[1:] = (np.diff(every[order]) != 0) | (np.diff(sets[order]) != 0)
        another = first.copy()
        another[1:] |= np.diff(owners[order]) != 0
        counts = np.add.reduceat(another.astype(np.int32), np.flatnonzero(first)) if len(every) else another
        kept = order[(counts <= COMMON)[np.cumsum(first) - 1]]
        return every[kept], texts[kept], at[kept]

    @classmethod
    def build(cls, sets: Sequence[EvalSet]) -> "Index":
        """From the texts of eval sets."""
        rows = [
            (found.name, str(number), lowered(clean.normalise(text)), is_asked)
            for found in sets
            for number, texts in enumerate(found.items)
            for text, is_asked in _parts(texts)
        ]
        words = words_of("\n\n".join(text for _, _, text, _ in rows))
        origins = words.starts if words.places is None else words.places[words.starts]
        ends = np.searchsorted(origins, np.cumsum([len(text) + 2 for _, _, text, _ in rows]))
        runs, every, said = list(pairwise([0, *ends.tolist()])), grams(words.hashes, NGRAM), words.read()
        columns: dict[str, list[Any]] = {
            "set": [name for name, *_ in rows],
            "item": [item for _, item, *_ in rows],
            "text": [" ".join(said[start:end]) for start, end in runs],
            "exact": [_exact(words, *run) if is_asked else None for run, (*_, is_asked) in zip(runs, rows, strict=True)],
            "grams": [every[start : max(start, end - NGRAM + 1)] for start, end in runs],
        }
        return cls(pa.table(columns, schema=SCHEMA))

    def save(self, path: Path) -> Path:
        """Write one Parquet file; the same sets give the same bytes."""
        pq.write_table(self.table, path, compression="zstd")
        return path

    @classmethod
    def load(cls, path: Path) -> "Index":
        """Read what `save` wrote."""
        table = pq.read_table(path)
        if (table.schema.metadata or {}).get(b"scratchlm.evals") != VERSION:
            raise ArtifactError(f"{path}: this is no index of eval sets, or one of another version. Build it anew from the sets.")
        return cls(table)

    def coverage(self) -> dict[str, Coverage]:
        """For each set how many of its items can be found, and how."""
        long, short = set(self._long.texts.tolist()), {number for lookup in self._whole.values() for number in lookup.texts.tolist()}
        ways: dict[str, dict[str, int]] = {}
        for number, (name, item) in enumerate(zip(self.sets, self.items, strict=True)):
            best = 2 if number in long else 1 if number in short else 0
            of_set = ways.setdefault(name, {})
            of_set[item] = max(of_set.get(item, 0), best)
        return {name: Coverage(len(way), *(list(way.values()).count(best) for best in (2, 1))) for name, way in ways.items()}

    def hits(self, text: str) -> list[Hit]:
        """Every place of ``text`` that says what an item says, from left to right; one for each item and place."""
        words = words_of(lowered(text))
        found = [*self._runs(words), *self._wholes(words)]
        merged: dict[tuple[str, str], list[Hit]] = {}
        for number, first, last, kind in sorted(found, key=lambda each: each[1:3]):
            name, item, (start, end) = self.sets[number], self.items[number], words.span(first, last)
            own = merged.setdefault((name, item), [])
            if own and start <= own[-1].end:
                start, end, kind = own[-1].start, max(end, own[-1].end), "ngram" if "ngram" in (kind, own[-1].kind) else kind
                own.pop()
            own.append(Hit(name, item, start, end, kind))
        return sorted((hit for own in merged.values() for hit in own), key=lambda hit: (hit.start, hit.end, hit.set, int(hit.item)))

    def _runs(self, words: Words) -> Iterator[tuple[int, int, int, Literal["ngram", "question"]]]:
        """Text, first word, last word of every run of n-grams that lies in the same order in both."""
        place, texts, at = self._long.find(grams(words.hashes, NGRAM))
        order = np.lexsort((place, place - at, texts))
        place, texts, at = place[order], texts[order], at[order]
        new = (np.diff(texts) != 0) | (np.diff(place - at) != 0) | (np.diff(place) != 1)
        for run in np.split(np.arange(len(place)), np.flatnonzero(new) + 1) if len(place) else ():
            first, length = int(place[run[0]]), len(run) + NGRAM - 1
            said = self.texts[texts[run[0]]].split(" ")[at[run[0]] : at[run[0]] + length]
            if said == words.read(first, first + length):
                yield int(texts[run[0]]), first, first + length - 1, "ngram"

    def _wholes(self, words: Words) -> Iterator[tuple[int, int, int, Literal["ngram", "question"]]]:
        for size, lookup in self._whole.items():
            place, texts, _ = lookup.find(grams(words.hashes, size))
            for first, number in zip(place.tolist(), texts.tolist(), strict=True):
                said, exact = self.texts[number].split(" "), self._exact[number]
                behind = first + len(said)
                if said == words.read(first, behind) and (
                    not exact or (words.is_alone(first, behind) and exact == words.signs(first, behind))
                ):
                    yield number, first, behind - 1, "question"


def _parts(texts: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each text of an item, and whether it holds the question; of a question with its answer only the words around where they meet."""
    answers: dict[str, tuple[str, str]] = {}
    asked_before: list[str] = []
    for text in texts:
        if question := next((each for each in asked_before if text.startswith(f"{each} ")), ""):
            answers[text] = question, text[len(question) + 1 :]
        elif text:
            asked_before.append(text)
    alone = {answer for _, answer in answers.values()}
    tails = {question: _end(question) for question, _ in answers.values()}
    for text in dict.fromkeys(texts):
        if text in answers:
            question, answer = answers[text]
            yield f"{tails[question]} {_start(answer) if answer in texts else answer}", True
        else:
            yield text, text not in alone


def _end(text: str) -> str:
    """The last words of a text, too few to be an n-gram."""
    words = words_of(text)
    return text if len(words) < NGRAM else text[words.span(len(words) - NGRAM + 1, len(words) - 1)[0] :]


def _start(text: str) -> str:
    """The first words, too few to be an n-gram."""
    if text.isascii() and len(text) < 2 * NGRAM - 1:
        return text
    words = words_of(text)
    return text if len(words) < NGRAM else text[: words.span(0, NGRAM - 2)[1]]


def _says_enough(words: Sequence[str]) -> bool:
    """Whether a text can be told by its words alone."""
    return len(words) >= LEAST and len(" ".join(words)) >= LEAST_CHARACTERS


def _exact(words: Words, first: int, behind: int) -> str | None:
    """The signs by which a short text is told; None where words are enough, or where it is too short for anything."""
    said = words.read(first, behind)
    if not said or len(said) >= NGRAM or _says_enough(said):
        return None
    signs = words.signs(first, behind)
    is_sum = len(said) > 1 and not SIGNS.isdisjoint(signs) and any(map(str.isdigit, said))
    return signs if is_sum or (len(said) >= LEAST_ALONE and len(signs) >= LEAST_ALONE_CHARACTERS) else None


def refusal(hits: Sequence[Mapping[str, Any]], characters: int, policy: Mapping[str, Any]) -> Caught | None:
    """Why a document with these hits goes under a policy, if it goes: enough items, and enough of its characters."""
    items = sorted({(hit["set"], hit["item"]) for hit in hits})
    if policy["action"] != "document" or len(items) < policy["least_hits"]:
        return None
    covered, behind = 0, 0
    for start, end in sorted((hit["start"], hit["end"]) for hit in hits):
        covered += max(0, end - max(start, behind))
        behind = max(behind, end)
    if covered < policy["least_share"] * characters:
        return None
    name, item = items[0]
    more = f" and {len(items) - 1} more" if len(items) > 1 else ""
    return Caught(f"it holds item {item} of {name}{more}", len(items), policy["least_hits"])
