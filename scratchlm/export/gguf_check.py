"""Does a GGUF file hold the weights it should? It is read back, every rounding is held against its bound, and the rounded model returns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scratchlm.core.errors import CheckFailed
from scratchlm.export import gguf_reader
from scratchlm.export.gguf import BLOCK, Entry, Model, is_turned, values_of

HALF = 2.0**-11
"""Half a step of float16, as a part of the number."""
TINY = 2.0**-25
"""Half the smallest step of float16, absolute."""
NORMAL = 2.0**-14
"""Below it float16 has steps of one size."""
STEPS = {"f32": 0.0, "f16": HALF, "q8_0": 1 / 254 + HALF, "q4_0": 1 / 8 + HALF}
"""How far a stored weight may lie from its own, as a part of the largest of its block: half of 1/127 in q8_0; in q4_0 a whole of 1/8,
for its steps reach from -8 to 7. The scale of a block is a float16, which adds ``HALF``."""
BLOCKS = {"f32": 1, "f16": 1, "q8_0": BLOCK, "q4_0": BLOCK}
LARGEST_STEPS = {"f32": 0, "f16": 1, "q8_0": 127, "q4_0": 8}


def rounding(path: Path, entries: Sequence[Entry], model: Model) -> float:
    """The largest distance of a stored weight from its own, as a part of the largest of its block.

    CheckFailed names the first tensor that is not what was to be written.
    """
    file = gguf_reader.read(path)
    if list(file.tensors) != [entry.name for entry in entries]:
        raise CheckFailed(f"{path}: it holds other tensors than were written. Export again with --again.")
    largest = 0.0
    for entry in entries:
        tensor = file.tensors[entry.name]
        if (tensor.shape, tensor.kind) != (entry.shape, entry.kind):
            raise CheckFailed(f"{path}: {entry.name} is {tensor.kind} of {tensor.shape}, not {entry.kind} of {entry.shape}. Export again.")
        ours = values_of(entry, model).astype(np.float64)
        off = np.abs(ours - gguf_reader.dequantised(file, entry.name))
        scale = np.abs(ours.reshape(-1, BLOCKS[entry.kind])).max(axis=1, keepdims=True)
        off = off.reshape(scale.shape[0], -1)
        if not (off <= STEPS[entry.kind] * scale + TINY * LARGEST_STEPS[entry.kind]).all():  # what is no number is within no bound
            raise CheckFailed(f"{path}: {entry.name}: a stored weight is further from ours than {entry.kind} may put it. Export again.")
        largest = max(largest, float((off / np.maximum(scale, NORMAL)).max()))
    return largest


def rounded(path: Path, entries: Sequence[Entry], model: Model) -> Iterator[tuple[str, Tensor]]:
    """Our parameters as the file has them, by our names."""
    file = gguf_reader.read(path)
    for entry in (each for each in entries if each.sources):
        values = torch.from_numpy(np.array(gguf_reader.dequantised(file, entry.name)))
        if is_turned(entry, model.shape):
            heads = model.shape["heads" if "attn_q" in entry.name else "kv_heads"]
            values = values.reshape(heads, -1, 2, *values.shape[1:]).transpose(1, 2).reshape(values.shape)
        yield from zip(entry.sources, values if entry.stacked else [values], strict=True)
