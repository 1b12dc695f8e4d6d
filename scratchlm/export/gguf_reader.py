"""A GGUF file read back: its fields, its tensors' places and their values. Every count is checked against the bytes that are left.

The format: magic, version, two counts; then fields (name, type, value), then tensors (name, shape, type, offset), then the data, each
aligned. Files of our own are read to check them; a damaged or lying file is refused in one line, and nothing is allocated for it.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scratchlm.core.errors import UsageError
from scratchlm.export.fields import shown

MAGIC, VERSION = b"GGUF", 3
ALIGNMENT = 32
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MOST_DIMS = 4
LAYOUTS = {0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 8: ("q8_0", 32, 34), 30: ("bf16", 1, 2)}
"""GGML's number of a type -> its name, the weights in a block, the bytes of a block."""


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies."""

    name: str
    shape: tuple[int, ...]
    """The slowest dim first, as everywhere here; the file has it the other way round."""
    kind: str
    start: int
    """Byte of the file."""
    size_bytes: int


@dataclass(frozen=True)
class Gguf:
    """A file's contents but for the data."""

    path: Path
    fields: dict[str, Any]
    """Numbers, texts, lists of texts, and numbers in a row as arrays."""
    tensors: dict[str, Tensor]

    def data(self, name: str) -> NDArray[np.uint8]:
        """The bytes of one tensor, mapped from the file."""
        tensor = self.tensors[name]
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=tensor.start, shape=(tensor.size_bytes,))


class _Cursor:
    """Reads from the front of a file and never past its end."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path, self._data, self.place = path, data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self.place

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise self.wrong(f"{size:,} bytes are claimed where {self.left:,} are left")
        self.place += size
        return self._data[self.place - size : self.place].tobytes()

    def number(self, letter: str) -> Any:
        return struct.unpack(f"<{letter}", self.take(struct.calcsize(f"<{letter}")))[0]

    def count(self, *, least: int) -> int:
        """How many things follow, each of at least ``least`` bytes."""
        claimed = self.number("Q")
        if claimed > self.left // least:
            raise self.wrong(f"{claimed:,} things are claimed where {self.left:,} bytes are left")
        return claimed

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("a text is not UTF-8") from None

    def wrong(self, reason: str) -> UsageError:
        return UsageError(f"{self.path}: not a whole GGUF file: at byte {self.place:,} {reason}. Export it again.")


def read(path: Path) -> Gguf:
    """The fields and the tensors' places; UsageError says where the file is wrong."""
    if not path.is_file() or path.stat().st_size < 24:
        raise UsageError(f"{path}: no GGUF file is here. Export one with --set export.formats=gguf.")
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    cursor = _Cursor(path, mapped)
    if cursor.take(4) != MAGIC or (version := cursor.number("I")) != VERSION:
        raise UsageError(f"{path}: not a GGUF file of version {VERSION}. Export it again.")
    tensor_count, field_count = cursor.number("Q"), cursor.number("Q")
    # The shortest field is an empty name, a type and a byte; the shortest tensor has an empty name and no dims.
    if field_count > cursor.left // 13 or tensor_count > cursor.left // 24:
        raise cursor.wrong(f"{field_count:,} fields and {tensor_count:,} tensors are claimed, version {version}")
    fields: dict[str, Any] = {}
    for _ in range(field_count):
        if (name := cursor.text()) in fields:
            raise cursor.wrong(f"the field {shown(name, 60)} stands twice")
        fields[name] = _value(cursor, cursor.number("I"))
    listed = [_tensor(cursor) for _ in range(tensor_count)]
    alignment = fields.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or isinstance(alignment, bool) or not 8 <= alignment <= 1 << 16:
        raise cursor.wrong(f"general.alignment is {str(alignment)[:20]}")
    begin = math.ceil(cursor.place / alignment) * alignment
    return Gguf(path, fields, _placed(cursor, listed, begin, alignment, len(mapped)))


def dequantised(file: Gguf, name: str) -> NDArray[np.float32]:
    """A tensor's values; quantised blocks by the `gguf` package."""
    import gguf

    tensor, data = file.tensors[name], file.data(name)
    kind = getattr(gguf.GGMLQuantizationType, tensor.kind.upper())
    last = len(data) // math.prod(tensor.shape[:-1])
    return gguf.quants.dequantize(data.reshape(*tensor.shape[:-1], last), kind).reshape(tensor.shape)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind in SCALARS:
        return cursor.number(SCALARS[kind])
    if kind == STRING:
        return cursor.text()
    if kind != ARRAY:
        raise cursor.wrong(f"there is no type {kind}")
    inner = cursor.number("I")
    if inner == STRING:
        return [cursor.text() for _ in range(cursor.count(least=8))]
    if inner not in SCALARS:
        raise cursor.wrong(f"an array is of type {inner}")
    if SCALARS[inner] == "?":
        return np.frombuffer(cursor.take(cursor.count(least=1)), np.uint8) != 0
    dtype = np.dtype(f"<{SCALARS[inner]}")
    return np.frombuffer(cursor.take(cursor.count(least=dtype.itemsize) * dtype.itemsize), dtype)


def _tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """(name, shape, type, offset)."""
    name, dims = cursor.text(), cursor.number("I")
    if dims > MOST_DIMS:
        raise cursor.wrong(f"{shown(name, 60)} has {dims:,} dims")
    shape = tuple(cursor.number("Q") for _ in range(dims))[::-1]
    return name, shape, cursor.number("I"), cursor.number("Q")


def _placed(
    cursor: _Cursor, listed: list[tuple[str, tuple[int, ...], int, int]], begin: int, alignment: int, end: int
) -> dict[str, Tensor]:
    """The tensors by name, each wholly inside the file and none inside another."""
    found: dict[str, Tensor] = {}
    for name, shape, number, offset in listed:
        if name in found or number not in LAYOUTS or not shape:
            raise cursor.wrong(f"{shown(name, 60)} stands twice, has no dims or is of an unknown type {number}")
        kind, weights, size = LAYOUTS[number]
        size_bytes = math.prod(shape) // weights * size
        if shape[-1] % weights or offset % alignment or begin + offset + size_bytes > end or not size_bytes:
            raise cursor.wrong(f"{shown(name, 60)} does not lie within the file's {end:,} bytes")
        found[name] = Tensor(name, shape, kind, begin + offset, size_bytes)
    reached = begin
    for tensor in sorted(found.values(), key=lambda each: each.start):
        if tensor.start < reached:
            raise cursor.wrong(f"{shown(tensor.name, 60)} overlaps another tensor")
        reached = tensor.start + tensor.size_bytes
    return found
