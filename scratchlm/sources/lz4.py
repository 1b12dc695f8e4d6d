"""LZ4 files, block by block: what is whole is given before a break is told, and the end mark and the sums of a frame are checked.

Frames of the current format, of the old one (``lz4 -l``), and such as are to be passed over may follow one another. pyarrow unpacks one
block at a time: each is handed to it as a frame of its own, behind what the block may look back to.
"""

import bisect
import struct
from collections.abc import Generator

import xxhash

from scratchlm.sources.file import Chunks, Stream

MAGIC, OLD_MAGIC = b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"
HISTORY = 65_536
"""Bytes that a block may look back."""
OLD_BLOCK = 8 * 2**20
"""Bytes that a block of the old format unpacks to, all but the last."""
OLD_LARGEST = OLD_BLOCK + OLD_BLOCK // 255 + 16
"""Bytes that it may take; a larger number is the start of another frame."""
STORED = 0x8000_0000
"""In the size of a block: it is not packed."""
VERSION, IS_APART, HAS_SUMS, HAS_SIZE, HAS_SUM, HAS_DICTIONARY = 0x40, 0x20, 0x10, 0x08, 0x04, 0x01
"""In the first byte of a frame's head: blocks are independent, each has a checksum, the frame has its size, a checksum, a dictionary."""


def unpacked(raw: Stream) -> Chunks:
    """The bytes of all frames; EOFError where the last one does not end, ValueError at what is no frame, or a broken one."""
    magic = raw.read(4)
    while magic:
        (number,) = struct.unpack("<I", magic.ljust(4, b"\0"))
        if magic == MAGIC:
            yield from _frame(raw)
        elif magic == OLD_MAGIC:
            magic = yield from _old_frame(raw)
            continue
        elif number >> 4 == 0x0184_D2A5:
            _passed(raw, *struct.unpack("<I", _exactly(raw, 4)))
        elif magic.strip(b"\0"):  # archives on tape are padded
            raise ValueError("no LZ4 frame starts behind the last one")
        magic = raw.read(4)


def _frame(raw: Stream) -> Chunks:
    """The bytes of a frame behind its magic number."""
    head = _exactly(raw, 2)
    flags, form = head
    head += _exactly(raw, 8 * bool(flags & HAS_SIZE))
    if flags >> 6 != VERSION >> 6 or flags & HAS_DICTIONARY or not 4 <= form >> 4 <= 7:
        raise ValueError("an LZ4 frame of a kind that is not read")
    if _exactly(raw, 1)[0] != _sum_of_head(head):
        raise ValueError("the head of an LZ4 frame is damaged")
    largest, history, length, whole = 1 << 8 + 2 * (form >> 4), b"", 0, xxhash.xxh32()
    while size := _number(raw):
        if size & ~STORED > largest:
            raise ValueError(f"a block of an LZ4 frame has {size & ~STORED:,} bytes, more than its head allows")
        block = _exactly(raw, size & ~STORED)
        if flags & HAS_SUMS and _number(raw) != xxhash.xxh32_intdigest(block):
            raise ValueError("a block of an LZ4 frame is damaged")
        data = block if size & STORED else _block(block, form, history)
        history = b"" if flags & IS_APART else (history + data)[-HISTORY:]
        length += len(data)
        whole.update(data)
        yield data
    if flags & HAS_SUM and _number(raw) != whole.intdigest():
        raise ValueError("the checksum of an LZ4 frame is another one")
    if flags & HAS_SIZE and struct.unpack_from("<Q", head, 2)[0] != length:
        raise ValueError("an LZ4 frame has another size than its head says")


def _block(block: bytes, form: int, history: bytes) -> bytes:
    """What a packed block holds; ``history`` is what came before it, where it may look back."""
    import pyarrow as pa  # heavy: only for files packed so

    head = bytes([VERSION | (0 if history else IS_APART), form])
    before = struct.pack("<I", STORED | len(history)) + history if history else b""
    frame = b"".join([MAGIC, head, bytes([_sum_of_head(head)]), before, struct.pack("<I", len(block)), block, bytes(4)])
    with pa.CompressedInputStream(pa.BufferReader(frame), "lz4") as stream:
        return stream.read()[len(history) :]


def _old_frame(raw: Stream) -> Generator[bytes, None, bytes]:
    """The bytes of a frame of the old format, which has no end; returns the next frame's magic number, nothing behind the last one."""
    import pyarrow as pa  # heavy: only for files packed so

    codec = pa.Codec("lz4_raw")
    while start := raw.read(4):
        if len(start) < 4:
            raise EOFError
        (size,) = struct.unpack("<I", start)
        if not 0 < size <= OLD_LARGEST:
            return start
        block = _exactly(raw, size)

        def is_room(length: int, block: bytes = block) -> bool:
            try:
                codec.decompress(block, decompressed_size=length)
            except OSError:
                return False
            return True

        # Its length stands nowhere: it is the least that is room enough, which for all blocks but the last is known.
        is_full = not is_room(OLD_BLOCK - 1)
        length = OLD_BLOCK if is_full else bisect.bisect_left(range(OLD_BLOCK), True, key=is_room)
        yield codec.decompress(block, decompressed_size=length, asbytes=True)
    return b""


def _sum_of_head(head: bytes) -> int:
    return xxhash.xxh32_intdigest(head) >> 8 & 0xFF


def _number(raw: Stream) -> int:
    return struct.unpack("<I", _exactly(raw, 4))[0]


def _exactly(raw: Stream, size: int) -> bytes:
    data = raw.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _passed(raw: Stream, size: int) -> None:
    while size:
        size -= len(_exactly(raw, min(size, HISTORY)))
