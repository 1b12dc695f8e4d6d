"""Weights in safetensors files, read tensor by tensor; nothing is allocated from a length that was not checked against the file.

A file is: the header's length (8 bytes, little endian), the header (JSON: name -> dtype, shape, first and last byte), the data. It can
hold no code, which a ``.bin`` or ``.pt`` (a pickle) can: those are never opened.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scratchlm.core.errors import UsageError
from scratchlm.export.fields import read_json, shown

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What weights may be; anything else in a model's file is a buffer or a quantised weight."""
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
"""Bytes of an element."""
MOST_HEADER = 100_000_000
"""Bytes of a header: the limit of the safetensors library."""
MOST_DIMS = 8
ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class Place:
    """Where a tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Byte of the file."""
    size_bytes: int


class Weights(Mapping[str, Tensor]):
    """Tensors by name, each read from disk when it is asked for, in the dtype it is stored in."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.places = dict(places)

    def dtype(self, name: str) -> torch.dtype:
        """What a tensor is stored in; UsageError when that is nothing a weight can be."""
        place = self.places[name]
        if place.dtype not in DTYPES:
            known = ", ".join(DTYPES)
            raise UsageError(
                f"{place.file}: {shown(name)}: its dtype is {place.dtype}, where weights are one of {known}. Take another copy."
            )
        return DTYPES[place.dtype]

    def __getitem__(self, name: str) -> Tensor:
        place, dtype = self.places[name], self.dtype(name)
        if not place.size_bytes:
            return torch.empty(place.shape, dtype=dtype)
        data = bytearray(place.size_bytes)  # no more than the file has: its header was checked
        with place.file.open("rb", buffering=0) as file:
            file.seek(place.start)
            view = memoryview(data)
            while view:  # one call reads at most 2 GiB
                read = file.readinto(view)
                if not read:
                    raise UsageError(f"{place.file}: {shown(name)}: the file was cut while it was read. Copy it again.")
                view = view[read:]
        return torch.frombuffer(data, dtype=dtype).reshape(place.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def open_weights(directory: Path) -> Weights:
    """All tensors of a model's directory: of its one file, or of the shards its index lists; UsageError says what is wrong."""
    if (directory / ONE).is_file():
        return Weights(read_header(directory / ONE))
    if (directory / INDEX).is_file():
        return Weights(_shards(directory))
    pickles = sorted(path.name for path in directory.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise UsageError(
            f"{directory / pickles[0]}: a pickle, which can run code while it is read, so it is not. Take the copy with {ONE}, "
            "or convert it where you trust it: transformers' from_pretrained(DIR).save_pretrained(NEW)."
        )
    raise UsageError(f"{directory}: neither {ONE} nor {INDEX} is there. Give the directory of a model as Hugging Face writes it.")


def read_header(path: Path) -> dict[str, Place]:
    """Where each tensor of a file lies; the places follow one another without gap or overlap and end where the file does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 2 <= length <= min(size - 8, MOST_HEADER):
            raise UsageError(
                f"{path}: its header claims {length:,} bytes of a file of {size:,}, so it is cut or no safetensors. Copy it again."
            )
        text = file.read(length)
    header = _json(text, path)
    header.pop("__metadata__", None)
    places = {name: _place(path, name, entry, begin=8 + length, end=size) for name, entry in header.items()}
    reached = 8 + length
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].size_bytes)):
        if place.start != reached:
            raise UsageError(f"{path}: {shown(name)}: its data overlap another tensor's or leave a gap. Copy the file again.")
        reached += place.size_bytes
    if reached != size:
        raise UsageError(f"{path}: {size - reached:,} bytes at its end belong to no tensor. Copy the file again.")
    return places


def _json(text: bytes, path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        header = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UsageError(f"{path}: its header is not a mapping of names in JSON, each named once. Copy the file again.")
    return header


def _place(path: Path, name: str, entry: Any, *, begin: int, end: int) -> Place:
    """The entry of one tensor, checked against the ``end - begin`` bytes of data that the file has."""
    given = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = given.get("dtype"), _counts(given.get("shape")), _counts(given.get("data_offsets"))
    where = f"{path}: {shown(name)}"
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        raise UsageError(f"{where}: an unknown dtype {str(dtype)[:20]!r}. Take another copy of the model.")
    if shape is None or len(shape) > MOST_DIMS:
        raise UsageError(f"{where}: its shape is no list of up to {MOST_DIMS} sizes. Take another copy of the model.")
    if offsets is None or len(offsets) != 2 or not offsets[0] <= offsets[1] <= end - begin:
        raise UsageError(f"{where}: its data lie outside the file, which has {end - begin:,} bytes of them. Copy the file again.")
    size_bytes = offsets[1] - offsets[0]
    if math.prod(shape) * WIDTHS[dtype] != size_bytes:
        raise UsageError(f"{where}: {size_bytes:,} bytes cannot be {list(shape)} of {dtype}. Copy the file again.")
    return Place(path, dtype, shape, begin + offsets[0], size_bytes)


def _counts(value: Any) -> tuple[int, ...] | None:
    """A list of counts; None when it is something else."""
    if not isinstance(value, list) or not all(
        isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 1 << 62 for each in value
    ):
        return None
    return tuple(value)


def _shards(directory: Path) -> dict[str, Place]:
    index = directory / INDEX
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise UsageError(f"{index}: it has no weight_map. Take another copy of the model.")
    shards: dict[str, dict[str, Place]] = {}
    for name, shard in listed.items():
        if not isinstance(shard, str) or Path(shard).name != shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise UsageError(f"{index}: {shown(name)}: {str(shard)[:80]!r} is no safetensors file of this directory. Take another copy.")
        if shard not in shards:
            if not (directory / shard).is_file():
                raise UsageError(f"{directory / shard}: listed in {INDEX}, but not there. Copy it too.")
            shards[shard] = read_header(directory / shard)
        if name not in shards[shard]:
            raise UsageError(f"{directory / shard}: {shown(name)}: {INDEX} says it is here, but it is not. Take another copy of the model.")
    for shard, places in shards.items():
        for name in places:
            if listed.get(name) != shard:
                raise UsageError(
                    f"{directory / shard}: {shown(name)}: {INDEX} does not say that it is here. Take another copy of the model."
                )
    return {name: shards[shard][name] for name, shard in listed.items()}
