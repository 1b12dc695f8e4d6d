"""Which tests stand in a text? Runs of 13 words that an eval item has too, and whole questions that are shorter.

Words are runs of letters and digits in lower case, so punctuation, quotes and line breaks make no difference; of scripts without blanks
each sign is a word. Hashes only point at a place; every hit is compared with the item, word by word, so no accident of a hash is a hit.
Thirteen words: Brown et al. 2020, appendix C, arXiv:2005.14165.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from scratchlm.corpus.pii_pattern import lowered
from scratchlm.corpus.word_hashes import Words, grams, words_of

NGRAM = 13
LEAST = 6
"""Words of the shortest question that is looked for as a whole; a shorter one is said by chance too often."""
LEAST_CHARACTERS = 24
COMMON = 10
"""A run of words that more items of a set share is its phrasing, not an item."""
OP = "eval item"
"""What an edit is called that cuts a hit."""
SCHEMA = pa.schema([("set", pa.string()), ("item", pa.string()), ("text", pa.string()), ("grams", pa.list_(pa.uint64()))],
                   metadata={"scratchlm.evals": "1"})  # fmt: skip


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
    """Found as a whole question only."""

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
    """The n-grams and short questions of eval sets, ready to be looked up."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.sets, self.items, self.texts = (table[name].to_pylist() for name in ("set", "item", "text"))
        lengths = np.diff(table["grams"].combine_chunks().offsets.to_numpy())
        every = table["grams"].combine_chunks().flatten().to_numpy()
        texts = np.repeat(np.arange(len(table), dtype=np.int32), lengths)
        at = (np.arange(len(every)) - np.repeat(np.cumsum(lengths) - lengths, lengths)).astype(np.int32)
        self._long = Lookup(*self._distinct(every, texts, at))
        short = [(number, words) for number, words in enumerate(map(str.split, self.texts)) if self._is_short_question(number, words)]
        starts = np.array([grams(words_of(" ".join(words[:LEAST])).hashes, LEAST)[0] for _, words in short], dtype=np.uint64)
        self._short = Lookup(starts, np.array([number for number, _ in short], dtype=np.int32), np.zeros(len(short), dtype=np.int32))

    def _is_short_question(self, number: int, words: Sequence[str]) -> bool:
        first_of_item = number == 0 or (self.sets[number - 1], self.items[number - 1]) != (self.sets[number], self.items[number])
        return first_of_item and LEAST <= len(words) < NGRAM and len(self.texts[number]) >= LEAST_CHARACTERS

    def _distinct(self, every: np.ndarray, texts: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Without the n-grams that many items share."""
        numbers: dict[tuple[str, str], int] = {}
        owners = np.array([numbers.setdefault(pair, len(numbers)) for pair in zip(self.sets, self.items, strict=True)], dtype=np.int32)[
            texts
        ]
        order = np.lexsort((owners, every))
        first = np.ones(len(every), dtype=np.bool_)
        first[1:] = every[order][1:] != every[order][:-1]
        another = first.copy()
        another[1:] |= owners[order][1:] != owners[order][:-1]
        counts = np.add.reduceat(another.astype(np.int32), np.flatnonzero(first)) if len(every) else another
        kept = order[(counts <= COMMON)[np.cumsum(first) - 1]]
        return every[kept], texts[kept], at[kept]

    @classmethod
    def build(cls, sets: Sequence[EvalSet]) -> "Index":
        """From the texts of eval sets."""
        rows = [
            (found.name, str(number), lowered(text))
            for found in sets
            for number, texts in enumerate(found.items)
            for text in dict.fromkeys(texts)
        ]
        words = words_of("\n".join(text for *_, text in rows))
        ends = np.searchsorted(words.starts, np.cumsum([len(text) + 1 for *_, text in rows]))
        runs, every, said = list(pairwise([0, *ends.tolist()])), grams(words.hashes, NGRAM), words.read()
        columns: dict[str, list[Any]] = {
            "set": [name for name, *_ in rows],
            "item": [item for _, item, _ in rows],
            "text": [" ".join(said[start:end]) for start, end in runs],
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
        if (table.schema.metadata or {}).get(b"scratchlm.evals") != b"1":
            raise ArtifactError(f"{path}: this is no index of eval sets, or one of another version. Build it anew from the sets.")
        return cls(table)

    def coverage(self) -> dict[str, Coverage]:
        """For each set how many of its items can be found, and how."""
        long, short = (set(lookup.texts.tolist()) for lookup in (self._long, self._short))
        ways: dict[str, dict[str, int]] = {}
        for number, (name, item) in enumerate(zip(self.sets, self.items, strict=True)):
            best = 2 if number in long else 1 if number in short else 0
            of_set = ways.setdefault(name, {})
            of_set[item] = max(of_set.get(item, 0), best)
        return {name: Coverage(len(way), *(list(way.values()).count(best) for best in (2, 1))) for name, way in ways.items()}

    def hits(self, text: str) -> list[Hit]:
        """Every place of ``text`` that says what an item says, from left to right; one for each item and place."""
        words = words_of(lowered(text))
        found = [*self._runs(words), *self._questions(words)]
        merged: dict[tuple[str, str], list[Hit]] = {}
        for number, first, last, kind in sorted(found, key=lambda each: each[1:3]):
            name, item, start, end = self.sets[number], self.items[number], int(words.starts[first]), int(words.ends[last])
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

    def _questions(self, words: Words) -> Iterator[tuple[int, int, int, Literal["ngram", "question"]]]:
        place, texts, _ = self._short.find(grams(words.hashes, LEAST))
        for first, number in zip(place.tolist(), texts.tolist(), strict=True):
            said = self.texts[number].split(" ")
            if said == words.read(first, first + len(said)):
                yield number, first, first + len(said) - 1, "question"


class Lookup:
    """Places of hashes: a sorted column, behind a table of bytes that says at once of most hashes that they are not there."""

    def __init__(self, hashes: np.ndarray, texts: np.ndarray, at: np.ndarray) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes, self.texts, self._at = hashes[order], texts[order], at[order]

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
