"""What every tokenizer is: a two-way map between text and ids, with a few ids that text can never reach."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt32

from scratchlm.core.artifact import write_atomically
from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError

END_OF_TEXT, TURN_START, TURN_END = CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Names of the control tokens; their ids come after all others, in this order."""
UNKNOWN = "\ufffd"
"""What stands for a character that cannot be shown."""
FILE = "tokenizer.json"
FACTS_FILE = "tokenizer_facts.json"


@dataclass(frozen=True, slots=True)
class Ragged:
    """The ids of several texts in one array, for an id of its own takes nine times the memory as a Python number."""

    flat: UInt32[np.ndarray, " ids"]
    """One text after another."""
    lengths: Int[np.ndarray, " texts"]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> "Ragged":
        """From a list of ids for each text."""
        rows = list(rows)
        lengths = np.array([len(row) for row in rows], np.int64)
        return cls(np.fromiter(chain.from_iterable(rows), np.uint32, count=int(lengths.sum())), lengths)

    def __iter__(self) -> Iterator[UInt32[np.ndarray, " ids"]]:
        """The ids of each text, not copied."""
        end = 0
        for length in self.lengths.tolist():
            yield self.flat[end : end + length]
            end += length

    def lists(self) -> list[list[int]]:
        """A list of ids for each text."""
        return [row.tolist() for row in self]


@runtime_checkable
class Tokenizer(Protocol):
    """A two-way map between text and ids."""

    kind: str
    size: int
    """Rows of the embedding it needs, control tokens included."""
    end_of_text: int
    """Separates documents."""
    unknown: int | None
    """What a character never seen in training becomes; None where every text has ids of its own."""
    control: Mapping[str, int]

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``; none of them is a control token, whatever the text says."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        """``encode`` of each text, faster than one by one where the engine can."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, control tokens left out; bytes that are no UTF-8 become U+FFFD."""
        ...

    def piece(self, id: int) -> bytes:
        """The bytes of one token; of a control token its name."""
        ...

    def save(self, path: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_facts.json`` into the directory ``path``."""
        ...


@runtime_checkable
class Separates(Protocol):
    """The part of a tokenizer that says what stands between two texts."""

    end_of_text: int


def begin_of_chat(tokenizer: Separates) -> int | None:
    """What stands before a conversation: nothing with our own kinds; a model from elsewhere may expect a token before all it reads."""
    return getattr(tokenizer, "begin", None)


def begin_of_text(tokenizer: Separates) -> int:
    """What stands before a text: the same, or else what ends the text before it."""
    own = begin_of_chat(tokenizer)
    return tokenizer.end_of_text if own is None else own


def ends_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Every id at which an answer ends: of a turn, of a text, and what the makers of a model from elsewhere name besides."""
    return tuple(dict.fromkeys([tokenizer.control[TURN_END], tokenizer.end_of_text, *getattr(tokenizer, "ends", ())]))


@dataclass(frozen=True)
class Kind:
    """One row of the table: how a kind is trained, and how it comes back from its ``tokenizer.json``."""

    train: Callable[[Iterable[str], int, str], Tokenizer]
    """Texts, the most rows it may have, and the row of ``SPLITS`` that cuts them into words where the kind has any."""
    read: Callable[[str], Tokenizer]
    fewest: int
    """Rows it needs before it has learned anything."""
    read_fast: Callable[[str], Tokenizer | None] | None = None
    """The same with a faster engine, which gives the same ids; None where that cannot be had."""


class TokenizerFacts(Settings):
    """What stands beside ``tokenizer.json``: enough to load it and to know that it is whole."""

    kind: str
    size: int
    end_of_text: int
    unknown: int | None
    control: dict[str, int]
    begin: int | None = None
    """What a model from elsewhere expects before all it reads."""
    ends: tuple[int, ...] = ()
    """At which its answers end, beside our own."""
    sha256: str
    """Of ``tokenizer.json``; shards carry it to say whose ids they hold."""


def control_after(size: int) -> dict[str, int]:
    """Ids of the control tokens behind ``size`` ordinary ones."""
    return {name: size + place for place, name in enumerate(CONTROL)}


def check_ids(ids: Sequence[int], size: int) -> None:
    """UsageError for an id that is no row of a tokenizer of ``size`` rows."""
    if ids and not (min(ids) >= 0 and max(ids) < size):
        wrong = next(id for id in ids if not 0 <= id < size)
        raise UsageError(f"decode: the id {wrong} is none of this tokenizer's, which are 0 to {size - 1}. Give ids that it made.")


def well_formed(text: str) -> str:
    """``text`` with halves of characters (lone surrogates, which JSON can carry and UTF-8 cannot) shown as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def write(tokenizer: Tokenizer, text: str, path: Path) -> None:
    """Write ``text`` as the ``tokenizer.json`` in ``path``, with the facts of ``tokenizer`` beside it."""
    data = text.encode("utf-8")
    facts = TokenizerFacts(
        kind=tokenizer.kind,
        size=tokenizer.size,
        end_of_text=tokenizer.end_of_text,
        unknown=tokenizer.unknown,
        control=dict(tokenizer.control),
        begin=begin_of_chat(tokenizer),
        ends=getattr(tokenizer, "ends", ()),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    write_atomically(path / FILE, data)
    write_atomically(path / FACTS_FILE, (facts.model_dump_json(indent=1) + "\n").encode())
