"""How a file is packed, by its first bytes, and its bytes unpacked on the way: all streams that stand in it one behind the other."""

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import zstandard

from scratchlm.sources import lz4
from scratchlm.sources.file import Chunks, Stream

Start = Callable[[], Stream]
Packing = Callable[[Start, int], Chunks]
"""The unpacked bytes of what is opened, which may look back so many bytes."""

ZSTD = b"\x28\xb5\x2f\xfd"
MAGICS = {
    b"\x1f\x8b\x08": "gzip", b"\xfd7zXZ\0": "xz", ZSTD: "zstd", lz4.MAGIC: "lz4", lz4.OLD_MAGIC: "lz4",
}  # fmt: skip
BZIP2 = (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
"""The first block of bzip2, or the end of an empty file, behind ``BZh`` and a digit."""
PASSED_OVER = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18(.{4})", re.DOTALL)
"""The start of a frame of zstd or lz4 that is passed over, and its length: tools keep their tables in such."""


def packing_of(head: bytes) -> str | None:
    """How a file with this start is packed; None when it is not."""
    while frame := PASSED_OVER.match(head):
        head = head[8 + struct.unpack("<I", frame.group(1))[0] :] or ZSTD  # longer than what is seen: zstd has long ones
    if head[:3] == b"BZh" and head[4:10] in BZIP2:
        return "bzip2"
    return next((name for magic, name in MAGICS.items() if head.startswith(magic)), None)


def _frames(begin: Callable[[int], Any], portion: int, start: Start, window: int) -> Chunks:
    """The bytes of all packed streams in a file, one behind the other; EOFError when the last one does not end."""
    with start() as raw:
        data = raw.read(portion)
        while data:
            frame = begin(window)
            while not frame.eof:
                if not data and not (data := raw.read(portion)):
                    raise EOFError
                if chunk := frame.decompress(data):
                    yield chunk
                data = b""
            data = frame.unused_data.lstrip(b"\0")  # archives on tape are padded
            while not data and (more := raw.read(portion)):
                data = more.lstrip(b"\0")


def _lz4(start: Start, window: int) -> Chunks:
    with start() as raw:
        yield from lz4.unpacked(raw)


# Small portions, because an unpacker that is given more gives all that comes of it at once: 16 KiB of gzip are at most 17 MB, a kilobyte
# of bzip2 20 MB, of xz 7 MB and of zstd 64 MB.
PACKINGS: dict[str, Packing] = {
    "gzip": partial(_frames, lambda window: zlib.decompressobj(31), 16_384),
    "bzip2": partial(_frames, lambda window: bz2.BZ2Decompressor(), 1024),
    "xz": partial(_frames, lambda window: lzma.LZMADecompressor(memlimit=window), 1024),
    "zstd": partial(_frames, lambda window: zstandard.ZstdDecompressor(max_window_size=window).decompressobj(), 1024),
    "lz4": _lz4,
}
