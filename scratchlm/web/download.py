"""Downloads that arrive whole or say why not: resumed after every break, checked against their hash, given their name only at the end.

Beside a file ``NAME.sha256`` keeps its hash, so that what was fetched without a known hash is at least what was fetched the first time,
ever after; it is read again only when its size or time of change is another one.
"""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from scratchlm.core.artifact import sha256_of, sync_directory
from scratchlm.core.errors import ArtifactError, DataError
from scratchlm.units.known import keep, kept, known
from scratchlm.web.transfer import Broken, Patience, Progress, Transfer, bring

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PATIENT = Patience()
CHUNK = 2**18
"""Bytes that are copied at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to have."""

    url: str
    """http, https, file, or the path of a file on this machine."""
    path: Path
    sha256: str | None = None
    """What it must be; None: what it was the first time."""
    size_bytes: int | None = None


def fetch_all(
    wanted: Sequence[Wanted],
    *,
    parallel: int = 2,
    patience: Patience = PATIENT,
    progress: Progress = lambda name, done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """The paths of all files, in their order, at most ``parallel`` under way at a time; the first error ends the others too."""
    lock, stop = threading.Lock(), threading.Event()

    def told(name: str, done: int, total: int) -> None:
        with lock:
            progress(name, done, total)

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        try:
            running = [pool.submit(_fetch, one, _transfer(one, patience, told, sleep, stop)) for one in wanted]
            wait(running, return_when=FIRST_EXCEPTION)
            for future in running:
                if future.done():
                    future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    return [one.path for one in wanted]


def fetch(
    wanted: Wanted,
    *,
    patience: Patience = PATIENT,
    progress: Progress = lambda name, done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The SHA-256 of the file, which lies at its path now; one that lay there already is only checked.

    DataError when it cannot be had; ArtifactError when the one that is there is not the one that was fetched.
    """
    return _fetch(wanted, _transfer(wanted, patience, progress, sleep, threading.Event()))


def _transfer(wanted: Wanted, patience: Patience, progress: Progress, sleep: Callable[[float], None], stop: threading.Event) -> Transfer:
    return Transfer(wanted.url, wanted.path, wanted.sha256 is not None, patience, progress, sleep, stop)


def _fetch(wanted: Wanted, job: Transfer) -> str:
    path = wanted.path
    if path.exists():
        return _checked(wanted)
    with _disk(job):
        path.parent.mkdir(parents=True, exist_ok=True)
        if urlsplit(wanted.url).scheme in ("http", "https"):
            resumed = job.notes() is not None
            bring(job)
            found = sha256_of(job.partial)
            if resumed and _fault(wanted, job.have(), found):  # it may be made of two versions: the whole will tell
                job.forget()
                bring(job)
                found = sha256_of(job.partial)
        else:
            _copy(job)
            found = sha256_of(job.partial)
        if fault := _fault(wanted, job.have(), found):
            job.forget()
            raise DataError(f"{wanted.url}: {fault}. Nothing was kept: it is damaged, or not the version that was asked for.")
        with job.partial.open("rb") as file:
            os.fsync(file.fileno())
        job.partial.replace(path)
        sync_directory(path.parent)
        job.notes_file.unlink(missing_ok=True)
        keep(path, found)
    return found


def _checked(wanted: Wanted) -> str:
    """The hash of a file that is there; ArtifactError when it is not what it was or should be."""
    found, before = known(wanted.path), kept(wanted.path)
    due = wanted.sha256 or before
    if found is None:
        found = sha256_of(wanted.path)
    if due is not None and found != due.lower():
        raise ArtifactError(f"{wanted.path}: its SHA-256 is {found[:16]}…, not {due[:16]}…: it changed. Remove it to fetch it again.")
    if known(wanted.path) is None:
        with suppress(OSError):  # a folder that only may be read costs reading the file again
            keep(wanted.path, found)
    return found


def _fault(wanted: Wanted, size: int, found: str) -> str | None:
    """What is wrong with a file that has come and has this size and hash."""
    if wanted.size_bytes is not None and size != wanted.size_bytes:
        return f"it has {size:,} bytes, not {wanted.size_bytes:,}"
    if wanted.sha256 is not None and found != wanted.sha256.lower():
        return f"its SHA-256 is {found[:16]}…, not {wanted.sha256[:16]}…"
    return None


def _copy(job: Transfer) -> None:
    """A file of this machine, by its path or file address."""
    parts = urlsplit(job.url)
    source = Path(url2pathname(parts.path) if parts.scheme == "file" else job.url)
    if not source.is_file():
        raise DataError(f"{source}: there is no such file. Give the path of a file, or an http or https address.")
    try:
        with source.open("rb") as file:
            job.write(iter(lambda: file.read(CHUNK), b""), 0, source.stat().st_size)
    except Broken as error:
        raise DataError(f"{source}: {error}; somebody is writing to it. Try again when it is whole.") from None


@contextmanager
def _disk(job: Transfer) -> Iterator[None]:
    """Answer for the disk in one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DataError(
                f"{job.path}: the disk is full. {job.have():,} bytes are kept: free some space and run again to go on."
            ) from None
        raise DataError(f"{job.path}: cannot be written ({error.strerror or error}). Check the folder.") from None
