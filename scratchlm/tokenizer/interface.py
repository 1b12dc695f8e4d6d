"""What every tokenizer is: a two-way map between text and ids, with a few ids that text can never reach."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from scratchlm.core.artifact import write_atomically
from scratchlm.core.config import Settings

END_OF_TEXT, TURN_START, TURN_END = CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Names of the control tokens; their ids come after all others, in this order."""
UNKNOWN = "\ufffd"
"""What stands for a character that cannot be shown."""
FILE = "tokenizer.json"
FACTS_FILE = "tokenizer_facts.json"


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

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of each text, on all cores where the kind can."""
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


@dataclass(frozen=True)
class Kind:
    """One row of the table: how a kind is trained, and how it comes back from its ``tokenizer.json``."""

    train: Callable[[Iterable[str], int], Tokenizer]
    """Texts and the most rows it may have."""
    read: Callable[[str], Tokenizer]
    fewest: int
    """Rows it needs before it has learned anything."""


class TokenizerFacts(Settings):
    """What stands beside ``tokenizer.json``: enough to load it and to know that it is whole."""

    kind: str
    size: int
    end_of_text: int
    unknown: int | None
    control: dict[str, int]
    sha256: str
    """Of ``tokenizer.json``; shards carry it to say whose ids they hold."""


def control_after(size: int) -> dict[str, int]:
    """Ids of the control tokens behind ``size`` ordinary ones."""
    return {name: size + place for place, name in enumerate(CONTROL)}


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
        sha256=hashlib.sha256(data).hexdigest(),
    )
    write_atomically(path / FILE, data)
    write_atomically(path / FACTS_FILE, (facts.model_dump_json(indent=1) + "\n").encode())
