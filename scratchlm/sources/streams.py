"""Bytes at rest as bytes to read: unpacked on the way, never more of them than allowed, and from a temporary file where a reader jumps.

The first bytes say how a file is packed, not its ending. What was read before a break is given before the break is told.
"""

import bz2
import io
import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import zstandard

from scratchlm.sources.file import Input, Limits, Unreadable
from scratchlm.units import storage

if TYPE_CHECKING:
    from typing import BinaryIO as Stream
else:
    Stream = io.IOBase  # a check of BinaryIO while tests run asks for a name and a mode, which bytes in memory have not

Chunks = Generator[bytes, None, None]
HEAD = 4096
"""Bytes that are enough to tell the kind of a file."""
CHUNK = 2**20
HELD = 8 * 2**20
"""Bytes of a file that is read from memory; a longer one goes through a temporary file where its reader has to jump."""
PEEKED = 8192
"""Bytes that are shown ahead to who looks for the end of a line."""
HARMLESS = 64 * 2**20
"""Bytes that any file may grow to, whatever the ratio: a small file of blanks is no bomb."""
WIDEST_WINDOW = 2**27
"""Bytes that a packed stream may look back; a header that asks for more wants memory."""

MAGICS = {"gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18"}
BZIP2 = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
"""The first block of bzip2, or the end of an empty file, behind ``BZh`` and a digit."""
ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
FAULTS = (
    EOFError, OSError, ValueError, IndexError, RuntimeError, struct.error, zlib.error, lzma.LZMAError, zstandard.ZstdError,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""What unpackers raise when bytes are not what they should be."""


class Refused(Unreadable):
    """``Unreadable`` with the rule that it is booked under."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Budget:
    """How many more bytes may come out of one file, over everything packed in it."""

    def __init__(self, limits: Limits, size: int) -> None:
        self._most = min(limits.unpacked_bytes, max(HARMLESS, int(limits.ratio * size))) if size else limits.unpacked_bytes
        self._left = self._most

    def spend(self, count: int) -> None:
        """Book ``count`` bytes; Refused, as a bomb, when they are more than are left."""
        self._left -= count
        if self._left < 0:
            raise Refused("bomb", f"it unpacks to more than {self._most:,} bytes, which is more than a file of its size may hold")


@dataclass(frozen=True, slots=True)
class Opening:
    """How something packed is opened, with the budget of the archive it lies in, which what is packed in it spends from too."""

    start: Callable[[], Stream]
    budget: Budget | None

    def __call__(self) -> Stream:
        return self.start()


class Unpacked(io.BufferedIOBase):
    """A stream over chunks of bytes; a fault is raised at its place, after all before it was read."""

    def __init__(self, chunks: Chunks, budget: Budget) -> None:
        super().__init__()
        self._chunks, self._budget = chunks, budget
        self._held = memoryview(b"")
        self._fault: Unreadable | None = None

    def readable(self) -> bool:
        return True

    def peek(self, size: int = 0, /) -> bytes:
        """Some bytes that come next, without taking them; none at the end."""
        self._fill()
        return bytes(self._held[: max(size, PEEKED)])

    def read1(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes, fewer where a chunk ends."""
        self._fill()
        data = bytes(self._held[:size] if size >= 0 else self._held)
        self._held = self._held[len(data) :]
        return data

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, fewer only before the end or before a fault, which the next call raises."""
        parts: list[bytes] = []
        left = -1 if size is None else size
        while left:
            try:
                data = self.read1(left)
            except Unreadable:
                if parts and size is not None and size > 0:
                    break
                raise
            if not data:
                break
            parts.append(data)
            left -= len(data) if left > 0 else 0
        return b"".join(parts)

    def close(self) -> None:
        """Let go of what is below."""
        self._chunks.close()
        super().close()

    def _fill(self) -> None:
        """Hold at least one byte unless all were read; what went wrong once goes wrong again."""
        if self._fault:
            raise self._fault
        while not self._held:
            try:
                chunk = next(self._chunks, b"")
                self._budget.spend(len(chunk))
            except Unreadable as fault:
                self._fault = fault
                raise
            except FAULTS as error:
                self._fault = fault_of(error)
                raise self._fault from None
            if not chunk:
                return
            self._held = memoryview(chunk)


def counted(chunks: Chunks, budget: Budget) -> Stream:
    """A stream over chunks, each of which is booked."""
    return cast(Stream, Unpacked(chunks, budget))


def fault_of(error: BaseException) -> Refused:
    """The reason for a reader of the report: what an unpacker or the file system said."""
    if isinstance(error, EOFError):
        return Refused("clipped", "it ends in the middle: what comes before was read, the rest is missing")
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
    return Refused("unreadable", f"it cannot be read: {said or type(error).__name__}")


def budget_of(file: Input, limits: Limits) -> Budget:
    """The budget that ``file`` shares with the archive it lies in, or one of its own."""
    shared = file.open.budget if isinstance(file.open, Opening) else None
    return shared or Budget(limits, file.size)


def head_of(file: Input) -> bytes:
    """The first bytes; what is there when it breaks before."""
    with file.open() as stream:
        return stream.read(HEAD)


def packing_of(head: bytes) -> str | None:
    """How a file with this start is packed; None when it is not."""
    if head[:3] == b"BZh" and head[4:10] in BZIP2:
        return "bzip2"
    return next((name for name, magic in MAGICS.items() if head.startswith(magic)), None)


def bare(name: str) -> str:
    """The file's name without its folder and the endings of packed files, lower case."""
    name = name.rpartition("!")[2].rpartition("/")[2].lower()
    while name.endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return name


def unpacked(file: Input, limits: Limits) -> tuple[Input, bytes]:
    """``file`` without its wrappings, however many (as many as archives may nest), and its first bytes."""
    shared = file.open.budget if isinstance(file.open, Opening) else None
    head = head_of(file)
    for _ in range(limits.depth):
        packing = packing_of(head)
        if packing is None:
            return file, head
        file = replace(file, open=Opening(_unpacking(file, packing, limits, shared), shared))
        head = head_of(file)
    if packing_of(head):
        raise Refused("too deep", f"it is packed more than {limits.depth} times over")
    return file, head


def _unpacking(file: Input, packing: str, limits: Limits, shared: Budget | None) -> Callable[[], Stream]:
    """What opens a packed file anew each time."""

    def start() -> Stream:
        chunks = _lz4(file.open) if packing == "lz4" else _frames(file.open, *FRAMES[packing])
        return counted(chunks, shared or Budget(limits, file.size))

    return start


# Small portions, because an unpacker that is given more gives all that comes of it at once: 16 KiB of gzip are at most 17 MB, a kilobyte
# of bzip2 20 MB, of xz 7 MB and of zstd 64 MB.
FRAMES: dict[str, tuple[Callable[[], Any], int]] = {
    "gzip": (lambda: zlib.decompressobj(31), 16_384),
    "bzip2": (bz2.BZ2Decompressor, 1024),
    "xz": (lambda: lzma.LZMADecompressor(memlimit=WIDEST_WINDOW), 1024),
    "zstd": (lambda: zstandard.ZstdDecompressor(max_window_size=WIDEST_WINDOW).decompressobj(), 1024),
}


def _frames(start: Callable[[], Stream], begin: Callable[[], Any], portion: int) -> Chunks:
    """The bytes of all packed streams in a file, one behind the other; EOFError when the last one does not end."""
    with start() as raw:
        data = raw.read(portion)
        while data:
            frame = begin()
            while not frame.eof:
                if not data and not (data := raw.read(portion)):
                    raise EOFError
                if chunk := frame.decompress(data):
                    yield chunk
                data = b""
            data = frame.unused_data.lstrip(b"\0")  # archives on tape are padded
            while not data and (more := raw.read(portion)):
                data = more.lstrip(b"\0")


def _lz4(start: Callable[[], Stream]) -> Chunks:
    from fastwarc.stream_io import Lz4Reader  # heavy: only for files packed so

    with start() as raw:
        reader = Lz4Reader(raw)
        while chunk := reader.read(CHUNK):
            yield chunk


@contextmanager
def kept(stream: Stream) -> Iterator[Callable[[], Stream]]:
    """A way to open the rest of ``stream`` again and again: from memory while it is short, else from a temporary file."""
    data = stream.read(HELD + 1)
    if len(data) <= HELD:
        yield lambda: io.BytesIO(data)
        return
    with tempfile.NamedTemporaryFile(prefix=storage.temporary()) as copy:
        while data:
            copy.write(data)
            data = stream.read(CHUNK)
        copy.flush()
        yield partial(open, copy.name, "rb")


@contextmanager
def seekable(file: Input) -> Iterator[Stream]:
    """The file open for jumping to and fro."""
    with file.open() as stream:
        if stream.seekable():
            yield stream
            return
        with kept(stream) as again, again() as copy:
            yield copy
