"""Bytes at rest as bytes to read: unpacked on the way, never more of them than allowed, and from a temporary file where a reader jumps.

The first bytes say how a file is packed, not its ending. What was read before a break is given before the break is told.
"""

import errno
import io
import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import zstandard

from scratchlm.sources.file import Chunks, Input, Limits, Stream, Unreadable
from scratchlm.sources.packings import PACKINGS, packing_of
from scratchlm.units import storage

HEAD = 4096
"""Bytes that are enough to tell the kind of a file."""
CHUNK = 2**20
HELD = 8 * 2**20
"""Bytes of a file that is read from memory; a longer one goes through a temporary file where its reader has to jump."""
PEEKED = 8192
"""Bytes that are shown ahead to who looks for the end of a line."""
HARMLESS = 64 * 2**20
"""Bytes that any file may grow to, whatever the ratio: a small file of blanks is no bomb."""
ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".lz4")
FAULTS = (
    EOFError, OSError, ValueError, IndexError, RuntimeError, struct.error, zlib.error, lzma.LZMAError, zstandard.ZstdError,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""What unpackers raise when bytes are not what they should be."""
MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.ETIMEDOUT})
"""Faults of this machine, its disks or its network: another file would meet them too, and the same file may be read tomorrow."""
WIDE = ("too much memory", "Memory usage limit")
"""In what unpackers say of a stream that looks back further than they may."""


class Refused(Unreadable):
    """``Unreadable`` with the rule that it is booked under."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Exhausted(Refused):
    """A ``Budget`` that is spent: a bomb, which ends all that shares the budget."""


class Budget:
    """How many more bytes may come out of one file, over everything packed in it."""

    def __init__(self, limits: Limits, size: int) -> None:
        self._most = min(limits.unpacked_bytes, max(HARMLESS, int(limits.ratio * size))) if size else limits.unpacked_bytes
        self._left = self._most

    @property
    def is_spent(self) -> bool:
        """Whether more was asked for than there is."""
        return self._left < 0

    def spend(self, count: int) -> None:
        """Book ``count`` bytes; Exhausted when they are more than are left."""
        self._left -= count
        if self.is_spent:
            raise Exhausted("bomb", f"it unpacks to more than {self._most:,} bytes, which is more than a file of its size may hold")


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


def fault_of(error: BaseException, what: str = "it cannot be read") -> Refused:
    """The reason for a reader of the report: what an unpacker or the file system said. What is no fault of the bytes is raised again."""
    is_network = isinstance(error, TimeoutError | ConnectionError)
    if is_network or isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in MACHINE):
        raise error
    if isinstance(error, EOFError):
        return Refused("clipped", "it ends in the middle: what comes before was read, the rest is missing")
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
    if any(word in said for word in WIDE):
        return Refused("too large", "its packer looked back further than limits.window_bytes: raise that, and engine.memory_bytes with it")
    return Refused("unreadable", f"{what}: {said or type(error).__name__}")


def shared_budget(file: Input) -> Budget | None:
    """The budget of the archive that ``file`` lies in; None when it lies in none."""
    return file.open.budget if isinstance(file.open, Opening) else None


def budget_of(file: Input, limits: Limits) -> Budget:
    """The budget that ``file`` shares with the archive it lies in, or one of its own."""
    return shared_budget(file) or Budget(limits, file.size)


def head_of(file: Input) -> bytes:
    """The first bytes; what is there when it breaks before."""
    with file.open() as stream:
        return stream.read(HEAD)


def bare(name: str) -> str:
    """The file's name without its folder and the endings of packed files, lower case."""
    name = name.rpartition("!")[2].rpartition("/")[2].lower()
    while name.endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return name


def unpacked(file: Input, limits: Limits) -> tuple[Input, bytes]:
    """``file`` without its wrappings, however many (as many as archives may nest), and its first bytes."""
    shared = shared_budget(file)
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
        return counted(PACKINGS[packing](file.open, limits.window_bytes), shared or Budget(limits, file.size))

    return start


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read of a stream, to be opened again and again, and why it was not all; at the end of each opening that is raised."""

    start: Callable[[], Stream]
    fault: Unreadable | None

    def __call__(self) -> Stream:
        return counted(_up_to(self.start, self.fault), Budget(Limits(), 0)) if self.fault else self.start()


@contextmanager
def kept(stream: Stream) -> Iterator[Kept]:
    """The rest of ``stream``, up to a break: in memory while it is short, else in a temporary file. Exhausted when it is a bomb."""
    data, fault = _portion(stream, HELD + 1)
    if len(data) <= HELD:
        yield Kept(lambda: io.BytesIO(data), fault)
        return
    with tempfile.NamedTemporaryFile(prefix=storage.temporary()) as copy:
        while data:
            copy.write(data)
            data, fault = (b"", fault) if fault else _portion(stream, CHUNK)
        copy.flush()
        yield Kept(partial(open, copy.name, "rb"), fault)


@contextmanager
def seekable(file: Input) -> Iterator[Stream]:
    """The file open for jumping to and fro; Unreadable when it is packed and breaks."""
    with file.open() as stream:
        if stream.seekable():
            yield stream
            return
        with kept(stream) as again:
            if again.fault:
                raise again.fault
            with again() as copy:
                yield copy


def _portion(stream: Stream, size: int) -> tuple[bytes, Unreadable | None]:
    """The next ``size`` bytes, fewer before the end or before a fault, and the fault."""
    data = b""
    try:
        data = stream.read(size)
        if len(data) < size:
            stream.read(1)  # a fault comes with the call behind the bytes before it
    except Exhausted:
        raise
    except Unreadable as fault:
        return data, fault
    return data, None


def _up_to(start: Callable[[], Stream], fault: Unreadable) -> Chunks:
    with start() as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
    raise fault
