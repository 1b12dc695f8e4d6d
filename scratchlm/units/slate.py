"""Where a worker writes which record it is at; a page shared by two processes, so it can be read when the worker is dead.

A pipe would cost the driver a message for each record and lose those that a killed worker had not sent. A write here takes
less than a microsecond and stays.
"""

import mmap
import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from scratchlm.units.storage import temporary

SIZE = 65_536
LONGEST = 16_000
"""Characters of a locator that are kept: four bytes each still fit the page."""
HEAD = struct.Struct("<QQI")


class Slate:
    """One line that a worker rewrites: the locator of its record, how often it moved on, and how many records it met."""

    def __init__(self, memory: mmap.mmap | bytearray, path: Path | None = None) -> None:
        self._memory = memory
        self._path = path
        self._moves, self._records, _ = HEAD.unpack_from(memory)

    @classmethod
    def inline(cls) -> "Slate":
        """One for work in this very process."""
        return cls(bytearray(SIZE))

    @classmethod
    def create(cls) -> "Slate":
        """A new one, to be opened by a worker at ``path``."""
        handle, name = tempfile.mkstemp(prefix=temporary())
        os.truncate(handle, SIZE)
        return cls._of(handle, Path(name))

    @classmethod
    def open(cls, path: Path) -> "Slate":
        """The driver's slate, in the worker; its name is removed at once, so that no kill can leave it behind."""
        handle = os.open(path, os.O_RDWR)
        with suppress(OSError):  # Windows keeps the names of open files; there the driver removes it
            path.unlink()
        return cls._of(handle, path)

    @classmethod
    def _of(cls, handle: int, path: Path) -> "Slate":
        try:
            return cls(mmap.mmap(handle, SIZE), path)
        finally:
            os.close(handle)

    @property
    def path(self) -> Path:
        """The file that a worker opens."""
        assert self._path is not None
        return self._path

    def write(self, locator: str) -> None:
        """Be at ``locator``; empty means between records."""
        data = cut(locator).encode("utf-8", "surrogatepass")
        self._moves += 1
        self._records += bool(locator)
        self._memory[HEAD.size : HEAD.size + len(data)] = data
        HEAD.pack_into(self._memory, 0, self._moves, self._records, len(data))

    def wipe(self) -> None:
        """Start a unit: no record met."""
        self._records = 0
        self.write("")

    def read(self) -> tuple[int, int, str]:
        """Moves, records and the locator that stand there; the empty locator when a kill tore it."""
        moves, records, length = HEAD.unpack_from(self._memory)
        try:
            return moves, records, bytes(self._memory[HEAD.size : HEAD.size + length]).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return moves, records, ""

    def close(self) -> None:
        """Give the page back."""
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def cut(locator: str) -> str:
    """The part of a locator that a slate holds, which is nearly always all of it."""
    return locator[:LONGEST]
