"""Write WARC 1.1 (ISO 28500:2017): each record is a gzip member of its own, so that a reader can jump to it by its offset.

As in the public crawls, a body is kept as its text reads: unpacked and in one piece. What the transfer looked like stays in the headers,
under ``X-Crawl-`` names, and Content-Length is that of the body kept.
"""

import base64
import gzip
import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

UNCHANGED = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
"""Profile of a revisit record: the server said 304."""
OF_TRANSFER = (b"transfer-encoding", b"content-encoding", b"content-length")
LEVEL = 6
"""Of gzip."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, not yet numbered."""

    kind: str
    url: str
    at: datetime
    block: bytes
    payload: bytes | None = None
    """The part of the block that the payload digest is of; None: there is none."""
    fields: Mapping[str, str] | None = None
    """More WARC headers, such as WARC-Truncated."""


def digest(data: bytes) -> str:
    """SHA-1 in base 32: the form that readers of WARC check; it guards against decay, not against people."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode("ascii")


def http_head(version: str, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], length: int | None) -> bytes:
    """Status line and headers of a response as they are kept; ``length`` is that of the body, None without one (304)."""
    lines = [f"{version} {status} ".encode("ascii") + reason]
    for name, value in headers:
        renamed = b"X-Crawl-" + name if length is not None and name.lower() in OF_TRANSFER else name
        lines.append(renamed + b": " + value)
    if length is not None:
        lines.append(b"Content-Length: %d" % length)
    return b"\r\n".join(line.replace(b"\r", b" ").replace(b"\n", b" ") for line in lines) + b"\r\n\r\n"


class WarcFile:
    """A .warc.gz that only grows; ``end`` is where the next record goes."""

    def __init__(self, path: Path, info: Mapping[str, str], at: datetime, end: int = 0) -> None:
        """Open ``path`` and cut off what lies behind ``end``; an empty file gets a warcinfo record that says ``info``."""
        self.path = path
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(end)
        self._file.seek(end)
        self.end = end
        if not end:
            lines = "".join(f"{name}: {value}\r\n" for name, value in info.items())
            self.write(
                Record("warcinfo", "", at, lines.encode(), None, {"WARC-Filename": path.name, "Content-Type": "application/warc-fields"})
            )

    def write(self, *records: Record) -> str:
        """Append records; each names the first as the one it belongs to. Returns the id of the first."""
        first = ""
        for record in records:
            name = self._name(record)
            data = gzip.compress(_bytes(record, name, first), LEVEL, mtime=0)
            self._file.write(data)
            self.end += len(data)
            first = first or name
        return first

    def sync(self) -> None:
        """Have all that was written on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write what is left and let the file go."""
        self._file.close()

    def __enter__(self) -> "WarcFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _name(self, record: Record) -> str:
        """An id that nothing else has and that is the same when the same crawl is run on the same clock."""
        place = f"{self.path.name}:{self.end} {record.kind} {record.url} {record.at.isoformat()} {digest(record.block)}"
        return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, place)}>"


def _bytes(record: Record, name: str, first: str) -> bytes:
    fields = {"WARC-Type": record.kind, "WARC-Record-ID": name, "WARC-Date": record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    if record.url:
        fields["WARC-Target-URI"] = record.url
    if first:
        fields["WARC-Concurrent-To"] = first
    fields |= record.fields or {}
    fields["WARC-Block-Digest"] = digest(record.block)
    if record.payload is not None:
        fields["WARC-Payload-Digest"] = digest(record.payload)
    fields["Content-Length"] = str(len(record.block))
    head = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    return b"WARC/1.1\r\n" + head.encode() + b"\r\n" + record.block + b"\r\n\r\n"
