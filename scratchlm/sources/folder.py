"""A folder of text as documents: plain text, Markdown, reStructuredText, HTML, JSON lines and Parquet, each compressed or not.

What is not read is booked with its reason: files of other kinds, files that are no text, files that cannot be opened.
"""

import bz2
import codecs
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from scratchlm.core.errors import DataError, UsageError
from scratchlm.sources import formats, pieces, record
from scratchlm.sources.found import Dropped, Found

LARGEST_FILE = 512 * 2**20
"""Bytes after decompression; more is a bomb, or a corpus that wants to be several files."""

Reader = Callable[[formats.File], Found]
READERS: dict[str, Reader] = {
    ".txt": formats.plain,
    ".text": formats.plain,
    ".md": formats.markdown,
    ".markdown": formats.markdown,
    ".rst": formats.restructured,
    ".html": formats.html,
    ".htm": formats.html,
    ".jsonl": formats.json_lines,
    ".ndjson": formats.json_lines,
    ".parquet": formats.parquet,
}
"""By the file's ending, which also may be followed by one of ``PACKED``."""

PACKED = (".gz", ".zst", ".bz2")
FEW_FILES = 20
"""With fewer the end of each one is kept aside, so that a folder with one file splits too."""
LEAST_PIECE, LEAST_PIECES = 500, 40
"""Characters of the smallest pieces that a small folder is cut into, and how many of them it should give."""
DECLARED = re.compile(rb"charset=[\"']?([A-Za-z0-9_-]{2,20})")
CONTROLS = re.compile(rb"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def documents(root: Path, progress: Callable[[str, int, int], None]) -> Found:
    """Every document below ``root`` in the order of file names; UsageError or DataError when there is nothing to read at all."""
    files = list(files_under(root))
    usual = _usual_piece(files)
    for done, path in enumerate(files):
        progress("read", done, len(files))
        yield from _documents_of(root, path, usual)


def files_under(root: Path) -> Iterator[Path]:
    """All visible files, sorted by name; links to folders are not followed."""
    if not root.exists():
        raise UsageError(f"{root}: there is no such folder. Give one that holds .txt, .md, .rst, .html, .jsonl or .parquet files.")
    if root.is_file():
        raise UsageError(f"{root}: a file, where a folder is needed. Put it into a folder of its own and give that.")
    try:
        os.listdir(root)
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror}). Check its permissions.") from None
    found = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                found += 1
                yield Path(folder, name)
    if not found:
        raise DataError(f"{root}: no file in it. Put .txt, .md, .rst, .html, .jsonl or .parquet files there (.gz, .zst, .bz2 too).")


def digest_of(root: Path) -> str:
    """One hash over the names and contents of all files below ``root``."""
    total = hashlib.blake2b(digest_size=32)
    for path in files_under(root):
        total.update(path.relative_to(root).as_posix().encode("utf-8", "surrogateescape") + b"\0")
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).digest())
        except OSError:
            total.update(b"unreadable")
    return total.hexdigest()


def _documents_of(root: Path, path: Path, usual: int) -> Found:
    name = path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()
    kind = _kind(path)
    if kind is None:
        is_file = path.is_file()
        yield _refused(name, "other kind", f"files ending in '{path.suffix}' are not read" if is_file else "it is no regular file")
        return
    try:
        data = _unpacked(path)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield _refused(name, "unreadable", f"it cannot be read: {reason}")
        return
    if len(data) > LARGEST_FILE:
        yield _refused(name, "file too large", f"more than {LARGEST_FILE // 2**20} MiB", len(data), LARGEST_FILE)
        return
    text, charset, reason = ("", "", "") if kind == ".parquet" else decoded(data, kind)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if reason:
        yield _refused(name, "not text", reason)
        return
    found = 0
    try:
        for document in READERS[kind](formats.File(name, data, text, charset, usual)):
            found += 1
            yield document
    except formats.Unreadable as error:
        yield _refused(name, "unreadable", str(error))
        return
    if not found:
        yield _refused(name, "nothing in it", "no text was found in it")


def decoded(data: bytes, kind: str = ".txt") -> tuple[str, str, str]:
    """Text, encoding, and why it is no text (empty when it is). UTF-8 first, UTF-16 with its mark, at last Windows' Western page."""
    for mark, charset in MARKS:
        if data.startswith(mark):
            try:
                return data.decode(charset), charset, ""
            except UnicodeDecodeError:
                return "", charset, f"it starts as {charset} and is not"
    if b"\0" in data:
        return "", "", "it holds NUL bytes"
    if len(CONTROLS.findall(data)) > 0.01 * len(data):
        return "", "", "more than one byte in a hundred is a control character"
    try:
        return data.decode("utf-8"), "utf-8", ""
    except UnicodeDecodeError:
        pass
    if (declared := DECLARED.search(data[:2048])) and kind in (".html", ".htm"):
        try:
            return data.decode(declared.group(1).decode()), declared.group(1).decode().lower(), ""
        except (UnicodeDecodeError, LookupError):
            pass
    if sum(map(data.count, map(bytes, zip(range(128, 256), strict=False)))) > 0.3 * len(data):
        return "", "", "it is neither UTF-8 nor a Western text"
    try:
        return data.decode("cp1252"), "cp1252", ""
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1", ""


def _usual_piece(files: list[Path]) -> int:
    """Characters of a piece: fewer where a folder has few files and these are short, so that some pieces can be kept aside."""
    readable = [path for path in files if _kind(path)]
    size = sum(path.stat().st_size for path in readable)
    return pieces.USUAL if len(readable) >= FEW_FILES else min(pieces.USUAL, max(LEAST_PIECE, size // LEAST_PIECES))


def _kind(path: Path) -> str | None:
    """The reader's ending; None for other endings, and for pipes and devices, which would be read for ever."""
    suffixes = [suffix.lower() for suffix in path.suffixes] if path.is_file() else []
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def _unpacked(path: Path) -> bytes:
    """The file's bytes, at most one more than allowed."""
    ending = path.suffix.lower()
    if ending == ".gz":
        with gzip.open(path, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    if ending == ".bz2":
        with bz2.open(path, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    if ending == ".zst":
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as file:
            return io.BufferedReader(file).read(LARGEST_FILE + 1)
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def _refused(name: str, rule: str, reason: str, value: int | None = None, threshold: int | None = None) -> Dropped:
    locator = f"{name}#file"
    return Dropped(record.identify(formats.SOURCE, locator), locator, formats.SOURCE, "read", rule, reason, value, threshold)
