"""Whole sites of Stack Exchange as they are given away: a .7z file with ``Posts.xml`` in it, which is unpacked into a temporary folder."""

import io
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from scratchlm.sources import stackexchange
from scratchlm.sources.beat import Beat
from scratchlm.sources.file import Input, Reading, Stream
from scratchlm.sources.found import Found
from scratchlm.sources.streams import Budget, Refused, budget_of, fault_of, seekable
from scratchlm.units import storage

POSTS = "posts.xml"
ADVICE = "a .7z file needs py7zr: pip install 'scratchlm[sevenzip]'"


def read(file: Input, reading: Reading) -> Found:
    """The questions and answers of ``Posts.xml``; the other members, tables of users, votes and the like, are refused one by one."""
    try:
        import py7zr  # noqa: F401 - heavy and LGPL: only for .7z files, and only where it is installed
    except ImportError:
        yield file.refuse("file", "needs py7zr", ADVICE)
        return
    with tempfile.TemporaryDirectory(prefix=storage.temporary()) as folder:
        path = Path(folder, POSTS)
        names: list[str] = []
        fault: Refused | None = None
        try:
            with seekable(file) as stream, path.open("wb") as out:
                _unpack(_Heard(stream, Beat(file, reading)), out, budget_of(file, reading.limits), names)
        except Refused as error:  # what was unpacked before a break is read all the same
            fault = error
        chosen = next((name for name in names if _is_posts(name)), None)
        for name in names:
            if name != chosen:
                rule, reason = (
                    ("other table", "only Posts.xml holds text to read") if chosen else ("other kind", "no Posts.xml lies beside it")
                )
                yield replace(file, name=f"{file.name}!{_shown(name)}").refuse("file", rule, reason)
        size = path.stat().st_size
        if chosen and size and not (fault and fault.rule == "bomb"):
            inner = replace(file, name=f"{file.name}!{_shown(chosen)}", open=lambda: path.open("rb"), size=size, depth=file.depth + 1)
            yield from stackexchange.read(inner, reading)
        if fault:
            raise fault


def _is_posts(name: str) -> bool:
    return name.replace("\\", "/").rpartition("/")[2].lower() == POSTS


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:300]


class _Heard(io.RawIOBase):
    """A file that tells of what is read of it: members before the wanted one are unpacked too, and nobody else hears of that."""

    def __init__(self, stream: Stream, beat: Beat) -> None:
        super().__init__()
        self._stream, self.beat = stream, beat

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.beat(len(data))
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _unpack(stream: _Heard, out: Stream, budget: Budget, names: list[str]) -> None:
    """Add the names of all members, then write the first ``Posts.xml`` of them; Refused where it breaks or is too large."""
    import py7zr
    from py7zr.io import Py7zIO, WriterFactory

    class Kept(Py7zIO):
        """A member that is written to a file as it is unpacked."""

        _size = 0

        def write(self, s: bytes | bytearray) -> int:
            budget.spend(len(s))
            stream.beat(len(s))
            self._size += len(s)
            return out.write(s)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            out.flush()

        def size(self) -> int:
            return self._size

    class Factory(WriterFactory):
        def create(self, filename: str) -> Py7zIO:
            return Kept()

    try:
        with py7zr.SevenZipFile(cast(BinaryIO, stream)) as archive:
            members = [member for member in archive.list() if not member.is_directory]
            names += [member.filename for member in members]
            chosen = next((member for member in members if _is_posts(member.filename)), None)
            if chosen:
                _check_room(int(chosen.uncompressed))
                budget.spend(_before(archive.files, chosen.filename))
                archive.extract(targets=[chosen.filename], factory=Factory())
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - its parser raises whatever it meets on damaged bytes
        raise fault_of(error, "no .7z file that can be read") from None


def _before(members: Iterable[Any], name: str) -> int:
    """Bytes that are unpacked, and thrown away, before the member ``name``: those of all before it in the same solid block."""
    sizes: dict[int, int] = {}
    for member in members:
        block = id(getattr(member, "folder", None))
        if member.filename == name:
            return sizes.get(block, 0)
        sizes[block] = sizes.get(block, 0) + (0 if member.emptystream else int(member.uncompressed))
    return 0


def _check_room(size: int) -> None:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if size > free:
        raise Refused("too large", f"Posts.xml in it unpacks to {size:,} bytes, and the temporary folder has room for {free:,}")
