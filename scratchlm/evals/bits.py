"""Bits per byte of held-out text: how well a model predicts, whatever its tokenizer.

Each document stands alone, opened by the end-of-text token. One longer than the context is read in windows that overlap by half,
and only the newer half of each later window counts, so that every token but a document's first few is predicted from at least half
a context.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scratchlm.batches.chat import Encoded, batch_of, packed
from scratchlm.batches.shards import Shards
from scratchlm.core.tensors import Attend, Batch
from scratchlm.evals.intervals import Measured, ratio
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.model import attention
from scratchlm.model.architectures import Model
from scratchlm.parallel.precision import Precision

POSITIONS = 8192
"""Computed at once."""
SCORES = 2_000_000
"""Of those whose scores exist at once."""
LN2 = float(np.log(2.0))
UNKNOWN_BITS = float(np.log2(0x110000))
"""What naming one character costs that the vocabulary does not have, beside saying that there is one."""

Scored = Callable[[Batch], Tensor]
"""The log-probability of every target of a batch, in nats."""


@dataclass(frozen=True)
class Windows:
    """Documents cut to windows, and which document each belongs to."""

    encoded: list[Encoded]
    owners: list[int]
    bytes: list[int]
    """Of each document's text."""


def windows(shards: Shards, context: int, *, most_tokens: int | None = None, decode: Callable[[list[int]], str] | None = None) -> Windows:
    """The first documents of a split, up to about ``most_tokens`` tokens, as windows of at most ``context`` predictions.

    The last document is read to its end; with ``decode`` it is cut where the tokens are enough, and its bytes in proportion.
    """
    encoded: list[Encoded] = []
    owners: list[int] = []
    sizes: list[int] = []
    ends = [*shards.starts[1:].tolist(), shards.tokens]
    for start, end, size in zip(shards.starts.tolist(), ends, shards.sizes.tolist(), strict=True):
        if most_tokens is not None and start >= most_tokens and sizes:
            break
        ids = shards.window(start, end - start)[0].tolist()
        if decode and most_tokens is not None and end > most_tokens:
            part = ids[: max(2, most_tokens - start)]
            written = [len(decode(each[1:]).encode()) for each in (part, ids)]  # the first is the separator
            ids, size = part, round(size * written[0] / max(1, written[1]))
        for part in cut(ids, context):
            encoded.append(part)
            owners.append(len(sizes))
        sizes.append(size)
    return Windows(encoded, owners, sizes)


def cut(ids: list[int], context: int) -> Iterator[Encoded]:
    """A document as windows; each token after the first is marked exactly once."""
    half = context // 2
    done = 1  # the separator is given, never predicted
    while done < len(ids):
        first = max(0, done - half) if done > 1 else 0
        last = min(len(ids), first + context + 1)
        yield ids[first:last], [first + place >= done for place in range(last - first)]
        done = last


def bits_of_documents(
    model: Model,
    found: Windows,
    precision: Precision,
    *,
    pad: int,
    unknown: int | None = None,
    attend: Callable[[Tensor], Attend] = attention.packed,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Bits that each document costs under ``model``; a character that became ``unknown`` costs what naming it outright would."""
    model.eval()

    def scored(batch: Batch) -> Tensor:
        return logprobs(model, batch, precision, attend)

    return bits_by(scored, found, model.config.context, pad=pad, unknown=unknown, progress=progress)


def bits_by(
    scored: Scored,
    found: Windows,
    context: int,
    *,
    pad: int,
    unknown: int | None = None,
    share: tuple[int, int] = (0, 1),
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """The same, given what tells log-probabilities of targets: of the n-th of so many shares of the rows; those of all add up.

    However few rows a share has, ``scored`` is asked as often as in the others.
    """
    rows = packed([len(ids) for ids, _ in found.encoded], context + 1)
    bits = np.zeros(len(found.bytes))
    at_once = max(1, POSITIONS // context)
    place, of = share
    mine = rows[place::of]
    for start in range(0, -(-len(rows) // of), at_once):
        some = mine[start : start + at_once]
        batch = batch_of([[found.encoded[window] for window in row] for row in some or rows[:1]], length=context, pad=pad)
        costs_BT = costs_of(scored(batch), batch, unknown=unknown)
        for row, costs in zip(some, costs_BT[: len(some)], strict=True):
            place = 0
            for window in row:
                length = len(found.encoded[window][0])
                bits[found.owners[window]] += costs[place : place + length].sum()
                place += length
        if progress:
            progress(min(start + at_once, len(rows)), len(rows))
    return bits.tolist()


def logprobs(model: Model, batch: Batch, precision: Precision, attend: Callable[[Tensor], Attend]) -> Tensor:
    """Of every target, by one process that has all of the model."""
    batch = batch.to(next(model.parameters()).device)
    inputs = batch.inputs
    with torch.inference_mode(), precision.autocast():
        x_BTD = model.features(inputs.tokens_BT, inputs.positions_BT, attend(inputs.segments_BT))
        part = max(1, SCORES // (x_BTD.shape[1] * model.config.vocab))
        chunks = zip(x_BTD.split(part), batch.targets_BT.split(part), strict=True)
        return torch.cat([token_logprobs(model.logits(x), targets) for x, targets in chunks])


def costs_of(logprobs_BT: Tensor, batch: Batch, *, unknown: int | None) -> np.ndarray:
    """Bits of every weighted target, in its row and place."""
    costs_BT = -logprobs_BT.cpu().double() / LN2  # Apple's GPUs have no float64
    if unknown is not None:
        costs_BT += UNKNOWN_BITS * (batch.targets_BT == unknown).cpu()
    return (costs_BT * batch.weights_BT.cpu()).numpy()


def bits_per_byte(bits: Sequence[float], found: Windows) -> Measured:
    """The split's bits per byte with its interval over documents; documents without text count nothing."""
    kept = [(cost, size) for cost, size in zip(bits, found.bytes, strict=True) if size]
    return ratio([cost for cost, _ in kept], [size for _, size in kept])
