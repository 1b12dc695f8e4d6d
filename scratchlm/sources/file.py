"""One file to read, or one member of an archive, and how a reader is described.

A reader never sees where bytes lie: a folder, an object store and an archive all give it an ``Input``. It reads in one pass, holds at most
one document at a time, and answers every fault with a ``Dropped`` of its own, so that one bad record never costs the records around it.
"""

import io
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.core.records import Document
from scratchlm.sources import record
from scratchlm.sources.found import EXCERPT, Dropped, Found, Number

if TYPE_CHECKING:
    from typing import BinaryIO as Stream
else:
    Stream = io.IOBase  # a check of BinaryIO while tests run asks for a name and a mode, which bytes in memory have not

Chunks = Generator[bytes, None, None]
Extraction = Literal["quality", "bulk"]
Part = tuple[int, int, int]
"""Where a part of a file starts and ends, in bytes or in row groups of Parquet, and the number of its first record, from 1 on."""


class Limits(Settings):
    """What a single file may cost; more is a bomb, or a mistake."""

    document_characters: int = Field(default=20_000_000, ge=1)
    """A longer document is refused: one row must fit a worker's memory several times."""
    record_bytes: int = Field(default=64 * 2**20, ge=1)
    """Of one record of a larger file: a line, a page, a response."""
    unpacked_bytes: int = Field(default=2**40, ge=1)
    """Of one file after decompression; a dump of all Wikipedia or of Stack Overflow has a tenth of that."""
    ratio: float = Field(default=1_000.0, ge=1)
    """Bytes after decompression for each byte before: what tells a bomb from a large file."""
    window_bytes: int = Field(default=2**30, ge=2**20)
    """That a packed stream may look back, which are held in memory: ``zstd --long=31`` asks for 2**31, and for as much more of
    ``engine.memory_bytes``."""
    depth: int = Field(default=3, ge=0)
    """Archives in archives."""
    members: int = Field(default=5_000_000, ge=1)
    """Files in one archive."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read; part of what decides a document's text."""

    extraction: Extraction = "quality"
    """Of web pages: trafilatura first, or resiliparse first at almost twice the speed."""
    usual: int = 6_000
    """Characters of the pieces that a long plain text is cut into."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of rows of tables: our column by theirs, where a dot leads into a nested one; empty: the usual names."""
    limits: Limits = field(default_factory=Limits)
    at: Callable[[str], bool] = lambda locator: True
    """Told the locator of each record before it is read; False means: a worker died on it twice, leave it out."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file's address and its bytes, already decompressed when its ending says that it is packed."""

    name: str
    """Below the folder, with '/'; a member of an archive follows its archive and '!': ``books.zip!shelf/one.txt``."""
    open: Callable[[], Stream]
    """The bytes from the start, anew each time; guarded by ``Limits``: reading more than allowed raises ``Unreadable``."""
    size: int
    """Bytes at rest, before decompression; 0 when unknown."""
    source: str = "folder"
    """The name that documents carry, part of their id."""
    depth: int = 0
    """How many archives it lies in."""
    part: Part | None = None
    """What of it is read, by ``parts.splits``; None: all."""

    @property
    def inside(self) -> str:
        """How the whole of what is read is named behind '#': ``file``, or ``file from 1001`` for a part that starts at that record."""
        return f"file from {self.part[2]}" if self.part and self.part[2] > 1 else "file"

    def document(self, inside: str, text: str, facts: dict[str, str | int | float | None]) -> Document:
        """A document at ``NAME#INSIDE`` (only NAME when ``inside`` is empty); its group is the file unless ``facts`` name a ``host``."""
        locator = f"{self.name}#{inside}" if inside else self.name
        own: dict[str, str | int | float | None] = {"locator": locator, "host": self.name}
        licence = {} if "licence" in facts else {"licence": "unknown", "licence_evidence": "none given"}
        told = {name: mended(value) if isinstance(value, str) else value for name, value in (own | licence | facts).items()}
        return Document(text=mended(text), id=record.identify(self.source, locator), source=self.source, facts=told)

    def refuse(
        self, inside: str, rule: str, reason: str, *, value: Number | None = None, threshold: Number | None = None, excerpt: str = ""
    ) -> Dropped:
        """A record (or with ``inside`` "file" the whole file) that gives no document, and why."""
        locator = f"{self.name}#{inside}"
        told = (mended(reason), value, threshold, 0, mended(excerpt[:EXCERPT]))
        return Dropped(record.identify(self.source, locator), mended(locator), self.source, "read", rule, *told)


def mended(text: str) -> str:
    """``text`` with halves of surrogate pairs, which no file can hold, joined or replaced; notebooks and rows of JSON may bring them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Unreadable(Exception):
    """The bytes are not what the name says, or more than a file may hold; the message is the reason that is shown."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A row of ``READERS``: which files it is for, and how it reads them."""

    endings: tuple[str, ...]
    """Of file names, lower case, without the ending of a packed file."""
    read: Callable[[Input, Reading], Found]
    is_meant: Callable[[bytes], bool] | None = None
    """Whether the first 4 KiB are of this kind, asked before the ending is believed; None: only the ending tells."""
