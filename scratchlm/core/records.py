"""What travels between rooms as text: documents, conversations, preferences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text and where it came from."""

    text: str
    id: str
    """32 hexadecimal digits: BLAKE2b-128 of source and locator, so it survives a new extraction."""
    source: str
    facts: Mapping[str, str | int | float | None] = field(default_factory=dict)
    """Columns of the record at rest (``sources/record.py``): locator, title, licence, … absent means unknown."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; only what the assistant says is ever trained on."""

    messages: tuple[Message, ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def ask(cls, question: str, answer: str, **facts: str) -> "Conversation":
        """One question and its answer."""
        return cls((Message("user", question), Message("assistant", answer)), facts)


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to one prompt, the better one first."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    facts: Mapping[str, str] = field(default_factory=dict)
