"""One file over HTTP into a partial copy beside its place, in as many requests as it takes, each going on where the last one broke off.

``NAME.partial`` holds what has come, ``NAME.partial.json`` which version of the file that is. A part is only asked for on condition that
the file is still this version (If-Range, RFC 9110 13.1.5); a server that cannot promise it, or ignores it, sends the whole again.
"""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import scratchlm
from scratchlm.core.artifact import write_atomically
from scratchlm.core.errors import DataError
from scratchlm.web import urls

AGAIN = (408, 425, 429)
"""Statuses that mean: not now. Those from 500 on do too."""
PACKED = (".gz", ".tgz", ".svgz")
"""Endings of files that servers like to call packed on the way, though the packing is the file's own."""
RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")

Progress = Callable[[str, int, int], None]
"""Told a file's name, the bytes that are here, and how many there will be (0: the server does not say)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we try, and how much we take."""

    tries: int = 5
    """In a row that bring nothing new."""
    first_wait_s: float = 1.0
    """Before the second try; twice as long before each further one."""
    longest_wait_s: float = 60.0
    connect_s: float = 20.0
    read_s: float = 60.0
    """Without a single byte."""
    most_bytes: int = 2**40
    """Of one file."""


@dataclass(frozen=True, slots=True)
class Notes:
    """Which version of a file a partial copy is of."""

    url: str
    etag: str = ""
    """Only a strong one: a weak one does not promise the same bytes."""
    modified: str = ""
    total: int | None = None


@dataclass(slots=True)
class Transfer:
    """A file on its way."""

    url: str
    path: Path
    """Where it will be."""
    has_hash: bool
    """Whether a wrong mixture of parts would be found out."""
    patience: Patience
    progress: Progress
    sleep: Callable[[float], None]
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nobody wants it any more."""

    @property
    def partial(self) -> Path:
        return self.path.with_name(self.path.name + ".partial")

    @property
    def notes_file(self) -> Path:
        return self.path.with_name(self.path.name + ".partial.json")

    def have(self) -> int:
        """Bytes that are here."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def notes(self) -> Notes | None:
        """The notes on what is here, if it may be gone on with."""
        try:
            found = Notes(**json.loads(self.notes_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.url == self.url and (found.etag or found.modified or self.has_hash) and self.have() else None

    def forget(self) -> None:
        """Begin anew."""
        self.partial.unlink(missing_ok=True)
        self.notes_file.unlink(missing_ok=True)

    def write(self, chunks: Iterator[bytes], start: int, total: int | None) -> None:
        """Put ``chunks`` behind the first ``start`` bytes; DataError when they are more than may be, or than the disk holds."""
        size, most = start, self.patience.most_bytes
        if total is not None and total > most:
            raise DataError(f"{self.url}: {total:,} bytes, more than the {most:,} that a file may have. Raise most_bytes if it is right.")
        if total is not None and total - start > (free := shutil.disk_usage(self.partial.parent).free):
            raise DataError(f"{self.path}: needs {total - start:,} bytes more, the disk has {free:,}. Free some and run again.")
        with self.partial.open("r+b" if start else "wb") as file:
            if start:
                file.seek(start)
                file.truncate()
            for chunk in chunks:
                size += len(chunk)
                if size > most:
                    file.close()
                    self.forget()
                    raise DataError(f"{self.url}: more than the {most:,} bytes that a file may have. Raise most_bytes if it is right.")
                if self.stop.is_set():
                    raise DataError(f"{self.url}: given up, since another file failed. Run again to go on.")
                file.write(chunk)
                self.progress(self.path.name, size, total or 0)
        if total is not None and size != total:
            raise Broken(f"it broke off after {size:,} of {total:,} bytes")


class Broken(Exception):
    """A transfer that may go better the next time, with the wait that the server asks for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def bring(job: Transfer) -> None:
    """Get the whole file into its partial copy; DataError when nothing new comes for as many tries as patience lasts."""
    import httpx  # heavy: 0.1 s

    patience, barren, best = job.patience, 0, job.have()
    with httpx.Client(
        headers={"User-Agent": f"scratchlm/{scratchlm.__version__}", "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(patience.read_s, connect=patience.connect_s),
        trust_env=not urls.is_loopback(urlsplit(job.url).netloc),
        follow_redirects=True,
        max_redirects=10,
    ) as client:
        while True:
            try:
                with client.stream("GET", job.url, headers=_conditions(job.notes(), job.have())) as response:
                    _check_way(job, [*(step.url.scheme for step in response.history), response.url.scheme])
                    place = _place(job, response.status_code, response.headers)
                    if place:
                        # In pieces as they come: with a size given, httpx loses the piece that it is filling when a transfer breaks.
                        job.write(response.iter_raw(), *place)
                return
            except (Broken, httpx.TransportError) as error:
                barren, best = (0, job.have()) if job.have() > best else (barren + 1, best)
                if barren == patience.tries:
                    why = str(error) or type(error).__name__
                    kept = f" {job.have():,} bytes are kept: run again to go on." if job.notes() else " Try again later."
                    raise DataError(f"{job.url}: {why}, {barren} times in a row.{kept}") from None
                asked = error.wait_s if isinstance(error, Broken) else None
                job.sleep(min(patience.longest_wait_s, patience.first_wait_s * 2 ** max(0, barren - 1) if asked is None else asked))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise DataError(f"{job.url}: {error}. Check the address.") from None


def _conditions(notes: Notes | None, have: int) -> dict[str, str]:
    """Headers that ask for what is missing, if something is here that may be gone on with."""
    if notes is None:
        return {}
    mark = notes.etag or notes.modified
    return {"Range": f"bytes={have}-"} | ({"If-Range": mark} if mark else {})


def _check_way(job: Transfer, schemes: list[str]) -> None:
    if "https" in schemes and "http" in schemes[schemes.index("https") :]:
        raise DataError(f"{job.url}: leads from https to an address that anybody on the way could change. Use another one.")


def _place(job: Transfer, status: int, headers: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """Where the bytes to come belong, and how many the file has; None when all are here. Broken when they are of no use."""
    notes, have = job.notes(), job.have()
    if status >= 500 or status in AGAIN:
        asked = str(headers.get("retry-after", ""))
        raise Broken(f"status {status}", float(asked[:9]) if asked.isdecimal() else None)
    start, total = _parts(headers)
    if status == 416 and notes and total == have:
        return None
    if status == 416 or (status == 206 and notes is None):
        job.forget()
        raise Broken("the server and we do not agree on what is missing")
    if status not in (200, 206):
        raise DataError(f"{job.url}: status {status}. Check the address; it may have moved, or need an account.")
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity" and not job.path.name.endswith(PACKED):
        raise DataError(f"{job.url}: comes packed as '{encoding}', which we did not ask for. Use another address.")
    etag = str(headers.get("etag", ""))
    found = Notes(job.url, "" if etag.startswith("W/") else etag, str(headers.get("last-modified", "")), total)
    if status == 206 and notes:
        if start == have and all(new == old or not new or not old for new, old in zip(_marks(found), _marks(notes), strict=True)):
            return have, notes.total
        job.forget()
        raise Broken("the file changed while we fetched it")
    job.forget()
    length = str(headers.get("content-length", ""))
    found = Notes(found.url, found.etag, found.modified, int(length) if length.isdecimal() else None)
    write_atomically(job.notes_file, json.dumps(asdict(found)).encode())
    return 0, found.total


def _marks(notes: Notes) -> tuple[str, str, int | None]:
    return notes.etag, notes.modified, notes.total


def _parts(headers: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """First byte and whole length that a Content-Range names."""
    found = RANGE.fullmatch(str(headers.get("content-range", "")).strip())
    if not found:
        return None, None
    first, total = found.groups()
    return int(first) if first else None, int(total) if total != "*" else None
