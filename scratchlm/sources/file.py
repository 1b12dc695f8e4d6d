"""One file to read, or one member of an archive, and how a reader is described.

A reader never sees where bytes lie: a folder, an object store and an archive all give it an ``Input``. It reads in one pass, holds at most
one document at a time, and answers every fault with a ``Dropped`` of its own, so that one bad record never costs the records around it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from scratchlm.core.records import Document
from scratchlm.sources import record
from scratchlm.sources.found import EXCERPT, Dropped, Found, Number

Extraction = Literal["quality", "bulk"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a single file may cost; more is a bomb, or a mistake."""

    document_characters: int = 20_000_000
    """A longer document is refused: one row must fit a worker's memory several times."""
    record_bytes: int = 64 * 2**20
    """Of one record of a larger file: a line, a page, a response."""
    unpacked_bytes: int = 64 * 2**30
    """Of one file after decompression."""
    ratio: float = 1_000.0
    """Bytes after decompression for each byte before."""
    depth: int = 3
    """Archives in archives."""
    members: int = 1_000_000
    """Files in one archive."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read; part of what decides a document's text."""

    extraction: Extraction = "quality"
    """Of web pages: trafilatura, or resiliparse at eight times the speed."""
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
    open: Callable[[], BinaryIO]
    """The bytes from the start, anew each time; guarded by ``Limits``: reading more than allowed raises ``Unreadable``."""
    size: int
    """Bytes at rest, before decompression; 0 when unknown."""
    source: str = "folder"
    """The name that documents carry, part of their id."""
    depth: int = 0
    """How many archives it lies in."""

    def document(self, inside: str, text: str, facts: dict[str, str | int | float | None]) -> Document:
        """A document at ``NAME#INSIDE`` (only NAME when ``inside`` is empty); its group is the file unless ``facts`` name a ``host``."""
        locator = f"{self.name}#{inside}" if inside else self.name
        own: dict[str, str | int | float | None] = {"locator": locator, "host": self.name}
        licence = {} if "licence" in facts else {"licence": "unknown", "licence_evidence": "none given"}
        return Document(text=text, id=record.identify(self.source, locator), source=self.source, facts=own | licence | facts)

    def refuse(
        self, inside: str, rule: str, reason: str, *, value: Number | None = None, threshold: Number | None = None, excerpt: str = ""
    ) -> Dropped:
        """A record (or with ``inside`` "file" the whole file) that gives no document, and why."""
        locator = f"{self.name}#{inside}"
        shown = excerpt[:EXCERPT]
        return Dropped(record.identify(self.source, locator), locator, self.source, "read", rule, reason, value, threshold, 0, shown)


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
