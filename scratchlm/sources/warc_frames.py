"""The records of a WARC stream, found again behind damage.

fastwarc stops at the first header that is none, and wants a file that it can jump in. Here a stream that only goes forward is cut into
records; where something is wrong, the reading goes on at the next line that starts a record, and what lies between is told.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from scratchlm.sources.file import Unreadable
from scratchlm.sources.streams import Stream

CHUNK = 2**18
LONGEST_HEAD = 64 * 1024
"""Bytes of the header of a record."""
START = re.compile(rb"WARC/[01]\.\d{1,2}[ \t]{0,9}\r?\n")
NEXT = re.compile(rb"\r?\n(?=WARC/[01]\.\d{1,2}[ \t]{0,9}\r?\n)")
LONGEST_START = 32
"""Bytes that a line which starts a record may have, with the line end before it."""
END = re.compile(rb"\r?\n\r?\n")
LENGTH = re.compile(rb"^Content-Length[ \t]{0,9}:[ \t]{0,9}(\d{1,15})[ \t]{0,9}\r?$", re.MULTILINE | re.IGNORECASE)
BLANKS = b"\r\n"
BLANK = re.compile(rb"[\r\n]*")


@dataclass(frozen=True, slots=True)
class Frame:
    """A record, or the bytes in the place of one."""

    offset: int
    """Of its first byte in the unpacked stream."""
    head: bytes
    """Its header lines, as they are; empty where no record was."""
    block: bytes
    """What follows the header; empty when it is too long to be held."""
    length: int
    """Bytes that the block has, whatever the header says."""
    fault: str = ""
    """clipped, too large, broken record; empty when all is well."""
    note: str = ""
    """What was odd, in a clause, also of a record that could be read."""


class Frames:
    """A stream cut into frames; ``offset`` tells how far it was read, ``broken`` why it ended early."""

    def __init__(self, stream: Stream, most: int) -> None:
        """``most`` bytes of a record are held; ``stream`` stands at a place where a record should start."""
        self._stream, self._most = stream, most
        self._held = bytearray()
        self._is_ended = False
        self.offset = 0
        self.broken: Unreadable | None = None

    def __iter__(self) -> Iterator[Frame]:
        while self._skip_blanks():
            yield self._next()

    def _next(self) -> Frame:
        self._fill(LONGEST_HEAD)
        if not START.match(self._held):
            return self._junk()
        end = END.search(self._held, 0, LONGEST_HEAD)
        if end is None:
            return self._clipped(b"", 0) if self._is_ended and not NEXT.search(self._held) else self._junk(skip=1)
        head, offset = bytes(self._held[: end.start()]), self.offset
        found = LENGTH.search(head)
        if found is None:
            return self._junk(skip=end.end(), note="its header gives no length")
        self._take(end.end())
        length = int(found.group(1))
        return self._record(offset, head, length) if length <= self._most else self._too_large(offset, head, length)

    def _record(self, offset: int, head: bytes, length: int) -> Frame:
        """The record whose header was read, its block as long as it is said to be, unless the next record shows another end."""
        self._fill(length + LONGEST_START)
        if self._is_boundary(length):
            return Frame(offset, head, self._take(length), length)
        mark = NEXT.search(self._held)
        while mark is None and not self._is_ended and len(self._held) <= self._most:
            seen = max(0, len(self._held) - LONGEST_START)
            self._fill(len(self._held) + CHUNK)
            mark = NEXT.search(self._held, seen)
        if mark is None and self._is_ended and length > len(self._held):
            return self._clipped(head, length, offset)
        if mark is None and not self._is_ended:
            return self._too_large(offset, head, length)
        block = self._take(mark.start() if mark else len(self._held)).rstrip(BLANKS)
        return Frame(offset, head, block, len(block), "", f"its header says {length:,} bytes, and it has {len(block):,}")

    def _is_boundary(self, length: int) -> bool:
        """Whether a block of this length ends where a record may end."""
        after = bytes(self._held[length : length + LONGEST_START])
        if len(self._held) < length:
            return False
        rest = after.lstrip(BLANKS)
        return (not rest and self._is_ended) or bool(START.match(rest)) or after.startswith((b"\r\n\r\n", b"\n\n"))

    def _too_large(self, offset: int, head: bytes, length: int) -> Frame:
        """Pass over a block that is not held, up to its end or to a line that starts a record."""
        passed = self._pass(length)
        note = f"it has {length:,} bytes" if passed == length else f"its header says {length:,} bytes, and {passed:,} are there"
        if passed < length and self._is_ended and not self._held:
            return Frame(offset, head, b"", passed, "clipped", note)
        return Frame(offset, head, b"", passed, "too large", note)

    def _junk(self, skip: int = 0, note: str = "no record starts here") -> Frame:
        """Pass over bytes that are no record, up to the next one."""
        offset = self.offset
        self._take(skip)
        self._pass(None)
        return Frame(offset, b"", b"", self.offset - offset, "broken record", f"{note}; {self.offset - offset:,} bytes are left out")

    def _clipped(self, head: bytes, length: int, offset: int | None = None) -> Frame:
        """What is there of the last record."""
        offset = self.offset if offset is None else offset
        block = self._take(len(self._held))
        note = f"{len(block):,} of {length:,} bytes are there" if head else "it ends in the header of a record"
        return Frame(offset, head, block if head else b"", len(block), "clipped", note)

    def _pass(self, most: int | None) -> int:
        """Read over at most ``most`` bytes, in pieces, up to the next line that starts a record; how many these were."""
        begun = self.offset
        while most is None or self.offset - begun < most:
            self._fill(CHUNK)
            if not self._held:
                break
            left = len(self._held) if most is None else min(len(self._held), most - (self.offset - begun))
            mark = NEXT.search(self._held, 0, min(len(self._held), left + LONGEST_START))
            if mark and mark.start() < left:
                self._take(mark.start())
                break
            self._take(left if self._is_ended or left < len(self._held) else max(1, left - LONGEST_START))
        return self.offset - begun

    def _skip_blanks(self) -> bool:
        """Go to the next byte that is no line end; whether there is one."""
        while True:
            self._fill(1)
            if not self._held:
                return False
            match = BLANK.match(self._held)
            if not match or not match.end():
                return True
            self._take(match.end())

    def _fill(self, count: int) -> None:
        """Hold ``count`` bytes, fewer only at the end."""
        while len(self._held) < count and not self._is_ended:
            try:
                data = self._stream.read(max(CHUNK, count - len(self._held)))
            except Unreadable as fault:
                self.broken, data = fault, b""
            self._is_ended = not data
            self._held += data

    def _take(self, count: int) -> bytes:
        with memoryview(self._held) as held:
            taken = bytes(held[:count])
        del self._held[:count]
        self.offset += len(taken)
        return taken
