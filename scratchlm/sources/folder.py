"""A folder of files as documents, here or in an object store, and any of its documents again by its locator.

What is not read is booked with its reason: files of other kinds, files that are no text, files and folders that cannot be opened.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.records import Document
from scratchlm.sources import licence, pieces, repository
from scratchlm.sources.dispatch import documents_of, kind_by_name
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.repository import Repository
from scratchlm.sources.streams import Stream
from scratchlm.units import storage

SOURCE = "folder"
FEW_FILES = 20
"""With fewer the end of each one is kept aside, so that a folder with one file splits too."""
LEAST_PIECE, LEAST_PIECES = 500, 40
"""Characters of the smallest pieces that a small folder is cut into, and how many of them it should give."""
EXAMPLES = ".txt, .md, .rst, .html, .jsonl, .parquet, .pdf, .epub, .docx or .zip"


def documents(root: str | Path, progress: Callable[[str, int, int], None]) -> Found:
    """Every document below ``root`` in the order of file names; UsageError or DataError when there is nothing to read at all."""
    items = list(inputs(root))
    files = [item for item in items if isinstance(item, Input)]
    reading, around = Reading(usual=usual_of(files)), repositories(root, [file.name for file in files])
    for done, item in enumerate(items):
        progress("read", done, len(items))
        if isinstance(item, Input):
            yield from documents_of(item, reading, around)
        else:
            yield item


def inputs(root: str | Path, source: str = SOURCE) -> Iterator[Input | Dropped]:
    """All visible files below ``root`` in the order of their names, and a row for each file or folder that cannot be read.

    Links to files are followed, links to folders are not. ``root`` is a path, or the URL of a folder in an object store.
    """
    found = 0
    for item in _stored(str(root), source) if storage.is_remote(str(root)) else _walked(_checked(Path(root)), source):
        found += 1
        yield item
    if not found:
        raise DataError(f"{root}: no file in it. Put {EXAMPLES} files there (.gz, .zst, .bz2, .xz too).")


def usual_of(files: Sequence[Input]) -> int:
    """Characters of a piece: fewer where a folder has few files and these are short, so that some pieces can be kept aside."""
    readable = [file for file in files if kind_by_name(file.name)]
    size = sum(file.size for file in readable)
    return pieces.USUAL if len(readable) >= FEW_FILES else min(pieces.USUAL, max(LEAST_PIECE, size // LEAST_PIECES))


def repositories(root: str | Path, names: Sequence[str]) -> list[Repository]:
    """The checkouts among the files ``names`` below ``root``; in an object store they are known by their sources alone."""
    marks: list[str] = []
    if not storage.is_remote(str(root)):
        folders = {folder for name in names for folder in [*map(str, PurePosixPath(name).parents)]}
        places = [PurePosixPath(folder, mark) for folder in sorted(folders) for mark in (".git", ".git/HEAD")]
        marks = [str(place) for place in places if Path(root, place).is_file()]

    def start_of(name: str) -> bytes | None:
        try:
            with storage.open_stream(storage.join(str(root), name)) as stream:
                return stream.read(licence.LONGEST)
        except (DataError, OSError):
            return None

    return repository.find([*names, *marks], start_of, whole=SOURCE)


def reopen(root: str | Path, locator: str, reading: Reading | None = None, source: str = SOURCE) -> Document | None:
    """The document at ``locator`` read again from its file; None when it is not there any more.

    ``reading`` must be the one it was first read with, for that decides where a long text is cut; None: the folder's own.
    Of a WARC file one record is read, of others the file up to the document.
    """
    is_code = kind_by_name(locator) == "code"
    files = [item for item in inputs(root, source) if isinstance(item, Input)] if is_code or reading is None else []
    reading = reading or Reading(usual=usual_of(files))
    around = repositories(root, [file.name for file in files]) if is_code else []
    file = _file_of(str(root), locator, source)
    if file is None:
        return None
    if kind_by_name(file.name) in ("warc", "wet"):
        from scratchlm.sources import warc  # heavy: only for such files

        return warc.reopen(file, locator[len(file.name) + 1 :], reading)

    def is_on_the_way(place: str) -> bool:
        """Whether the record at ``place`` is the wanted one, holds it or is a part of it."""
        place = place.removesuffix("#file")
        return locator.startswith(place) or place.startswith(locator)

    # Most readers tell a record by the locator of its document, so all others can be passed over; the rest are read in full.
    for way in (replace(reading, at=is_on_the_way), replace(reading, at=lambda place: True)):
        for item in documents_of(file, way, around):
            if isinstance(item, Document) and item.facts.get("locator") == locator:
                return item
    return None


def _checked(root: Path) -> Path:
    if not root.exists():
        raise UsageError(f"{root}: there is no such folder. Give one that holds {EXAMPLES} files.")
    if root.is_file():
        raise UsageError(f"{root}: a file, where a folder is needed. Put it into a folder of its own and give that.")
    try:
        os.listdir(root)
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror}). Check its permissions.") from None
    return root


def _walked(root: Path, source: str) -> Iterator[Input | Dropped]:
    """Files in the order of their whole names, as an object store lists them; a folder's name ends with '/'."""
    todo = [""]
    while todo:
        name = todo.pop()
        if name and not name.endswith("/"):
            yield _local(root, name, source)
            continue
        try:
            with os.scandir(root / name) as entries:
                inside = [
                    f"{name}{entry.name}/" if entry.is_dir(follow_symlinks=False) else f"{name}{entry.name}"
                    for entry in entries
                    if not entry.name.startswith(".")
                ]
        except OSError as error:
            yield _nowhere(name, source).refuse("file", "unreadable", f"the folder cannot be read: {error.strerror}")
            continue
        todo += sorted(inside, reverse=True)


def _local(root: Path, name: str, source: str) -> Input | Dropped:
    path = root / name
    if name != _shown(name):
        return _nowhere(name, source).refuse("file", "unreadable", "its name is no UTF-8: give it another one")
    try:
        facts = path.stat()
    except OSError as error:
        if not path.is_symlink():
            return _nowhere(name, source).refuse("file", "unreadable", f"it cannot be read: {error.strerror}")
        reason = "the link leads in a circle" if error.errno == errno.ELOOP else "the link leads nowhere"
        return _nowhere(name, source).refuse("file", "link", reason)
    if stat.S_ISDIR(facts.st_mode):
        return _nowhere(name, source).refuse("file", "link", "links to folders are not followed")
    if not stat.S_ISREG(facts.st_mode):
        return _nowhere(name, source).refuse("file", "not a file", "it is a pipe or a device, which may have no end")
    return Input(name, partial(path.open, "rb"), facts.st_size, source)


def _stored(root: str, source: str) -> Iterator[Input | Dropped]:
    base = storage.absolute(root)
    above = base.partition("://")[2].strip("/") + "/"
    for url in storage.files_under(base):
        name = url.partition("://")[2].lstrip("/").removeprefix(above)
        if not any(part.startswith(".") for part in name.split("/")):
            yield _object(base, name, source)


def _object(root: str, name: str, source: str) -> Input | Dropped:
    url = storage.join(root, name)
    try:
        return Input(name, partial(_fetched, url), storage.size(url), source)
    except DataError as error:
        return _nowhere(name, source).refuse("file", "unreadable", str(error))


def _fetched(url: str) -> Stream:
    try:
        return storage.open_stream(url)
    except DataError as error:
        raise Unreadable(str(error)) from None


def _file_of(root: str, locator: str, source: str) -> Input | None:
    """The file that a locator lies in; a name may hold '#' and '!' itself, so each of them may be where the file's name ends."""
    ends = [place for place, letter in enumerate(locator) if letter in "#!"] + [len(locator)]
    for end in ends:
        name = locator[:end]
        if not name or name.startswith("/") or ".." in name.split("/"):
            continue
        if storage.is_remote(root):
            item = _object(storage.absolute(root), name, source) if storage.exists(storage.join(root, name)) else None
        else:
            item = _local(Path(root), name, source) if Path(root, name).is_file() else None
        if isinstance(item, Input):
            return item
    return None


def _nowhere(name: str, source: str) -> Input:
    """A file that cannot be opened, to be refused."""
    return Input(_shown(name), partial(open, os.devnull, "rb"), 0, source)


def _shown(name: str) -> str:
    """A file's name as text: bytes in it that are no UTF-8 stand as ``\\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
