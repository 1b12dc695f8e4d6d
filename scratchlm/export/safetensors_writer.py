"""Weights into safetensors files, tensor by tensor: a model larger than memory is copied as well as a small one."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from scratchlm.export.safetensors_reader import DTYPES, INDEX, ONE

NAME_OF = {dtype: name for name, dtype in DTYPES.items()}
MOST_SHARD = 4 << 30
"""Bytes of a file: more are cut into shards, as hubs and old file systems ask."""


@dataclass(frozen=True)
class Entry:
    """A tensor that is to be written."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write(out: Path, entries: Mapping[str, Entry], read: Callable[[str], Tensor], *, most: int | None = MOST_SHARD) -> None:
    """One file in the directory ``out``, or shards of at most ``most`` bytes and their index; ``read`` gives each tensor once."""
    out.mkdir(parents=True, exist_ok=True)
    shards = [dict(entries)] if most is None else list(_shards(entries, most))
    if len(shards) == 1:
        _write_file(out / ONE, shards[0], read)
        return
    files = {f"model-{place:05d}-of-{len(shards):05d}.safetensors": shard for place, shard in enumerate(shards, start=1)}
    for name, shard in files.items():
        _write_file(out / name, shard, read)
    index = {
        "metadata": {"total_size": sum(entry.size_bytes for entry in entries.values())},
        "weight_map": {tensor: name for name, shard in files.items() for tensor in shard},
    }
    (out / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(entries: Mapping[str, Entry], most: int) -> Iterator[dict[str, Entry]]:
    shard: dict[str, Entry] = {}
    size = 0
    for name, entry in entries.items():
        if shard and size + entry.size_bytes > most:
            yield shard
            shard, size = {}, 0
        shard[name] = entry
        size += entry.size_bytes
    yield shard


def _write_file(path: Path, entries: Mapping[str, Entry], read: Callable[[str], Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        header[name] = {
            "dtype": NAME_OF[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [end, end := end + entry.size_bytes],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data begin where any dtype may
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, entry in entries.items():
            _write_tensor(file, read(name), entry)
    temporary.replace(path)


def _write_tensor(file: BinaryIO, tensor: Tensor, entry: Entry) -> None:
    assert (tensor.dtype, tuple(tensor.shape)) == (entry.dtype, entry.shape)
    flat = tensor.detach().contiguous().reshape(-1)
    if flat.numel():
        flat.view(torch.uint8).numpy().tofile(file)
