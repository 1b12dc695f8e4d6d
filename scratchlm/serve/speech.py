"""What serving asks of a speaker, and what it does with the text that comes: stop texts, fitting a history into the context."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from scratchlm.core.errors import UsageError
from scratchlm.core.records import Message
from scratchlm.generate.sample import Sampling

Finish = Literal["stop", "length"]


@runtime_checkable
class Encodes(Protocol):
    """The part of a tokenizer that plain continuation needs."""

    end_of_text: int

    def encode(self, text: str) -> list[int]: ...


@runtime_checkable
class Said(Protocol):
    """One token's worth of text; the last one says why it is the last."""

    @property
    def text(self) -> str: ...
    @property
    def finish(self) -> Finish | None: ...


@runtime_checkable
class Speaks(Protocol):
    """A model that turns a prompt into text; `generate.speaker.Speaker` is one."""

    @property
    def name(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def tokenizer(self) -> Encodes: ...
    def prompt_ids(self, messages: Sequence[Message]) -> list[int]: ...
    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Said]: ...


@dataclass(frozen=True)
class Part:
    """What a reader sees of one token: its text (often empty while a stop text may be under way) and the end, if it is the end."""

    text: str
    finish: Finish | None = None


def parts(pieces: Iterable[Said], *, stops: Sequence[str] = ()) -> Iterator[Part]:
    """One part for each token; ends before the first of ``stops``, which is never shown, not even its beginning."""
    held = ""
    for piece in pieces:
        held += piece.text
        if (cut := _first(held, stops)) is not None:
            yield Part(held[:cut], "stop")
            return
        keep = 0 if piece.finish else _open_end(held, stops)
        shown, held = held[: len(held) - keep], held[len(held) - keep :]
        yield Part(shown, piece.finish)


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the earliest of ``stops`` begins in ``text``."""
    return min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)


def _open_end(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of ``text`` could still become one of ``stops``."""
    sizes = (size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size]))
    return max(sizes, default=0)


@dataclass(frozen=True)
class Fitted:
    """A history that leaves room for an answer."""

    ids: list[int]
    messages: tuple[Message, ...]
    dropped: int
    """How many of the oldest messages were left out."""


def fit(speaker: Speaks, messages: Sequence[Message], *, room: int) -> Fitted:
    """The longest end of ``messages`` that leaves ``room`` tokens of the context; system messages at the start always stay.

    Whole turns go first to last, so what is left begins with a question. UsageError when the last question alone is too long.
    """
    lead = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    system, turns = tuple(messages[:lead]), list(messages[lead:])
    dropped, last = 0, max(0, len(turns) - 1)
    while True:
        kept = (*system, *turns[dropped:])
        ids = ids_or_none(speaker, kept)
        alone = dropped >= last
        if ids is not None and len(ids) + (1 if alone else room) <= speaker.context:
            return Fitted(ids, kept, dropped)
        if alone:
            raise UsageError(f"The message is too long: {speaker.name} reads {speaker.context} tokens at once. Shorten it.")
        dropped += 1
        while dropped < last and turns[dropped].role != "user":
            dropped += 1


def ids_or_none(speaker: Speaks, messages: Sequence[Message]) -> list[int] | None:
    """The prompt of ``messages``, None when the speaker finds it too long."""
    try:
        return speaker.prompt_ids(messages)
    except UsageError:
        return None


def plain(text: str) -> str:
    """``text`` without control characters but newline and tab, so that no answer can drive a terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
