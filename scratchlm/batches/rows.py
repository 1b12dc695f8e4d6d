"""In what order are tokens seen? Rows cut from the shards, shuffled anew for each epoch: a pure function of seed and step."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scratchlm.batches.shards import Shards
from scratchlm.core import seeds
from scratchlm.core.errors import DataError
from scratchlm.core.tensors import Batch, ModelInputs, positions_of


@dataclass(frozen=True)
class TokenRows:
    """Rows of ``context`` tokens; each epoch starts at another offset, so that borders fall elsewhere."""

    shards: Shards
    context: int
    rows: int
    """Rows of one micro-batch."""
    seed: int
    warmup: int = 0
    """So many micro-batches at first have shorter rows, in pieces: see ``starts``."""

    def __post_init__(self) -> None:
        if self.warmup and self.context % 4:
            raise DataError(f"rows: a context of {self.context} cannot be cut in four, which a warm-up does. Set a multiple of 4.")
        found = max(0, self.rows_per_epoch)
        if found < self.rows:
            raise DataError(
                f"shards: {self.shards.tokens} tokens give {found} rows of {self.context}, one step takes {self.rows}. "
                "Give more text, or set a smaller pretrain.rows or pretrain.model.context."
            )

    @property
    def rows_per_epoch(self) -> int:
        """Whole rows that fit behind any offset; each needs one token more than its context for the last target."""
        return (self.shards.tokens - 1) // self.context - 1

    def batch(self, number: int) -> Batch:
        """The micro-batch of that number, counted over the whole run."""
        starts = self.starts(number)
        piece = self.context * self.rows // len(starts)
        windows = [self.shards.window(start, piece + 1) for start in starts]
        tokens_PS = torch.from_numpy(np.stack([ids for ids, _ in windows]).astype(np.int64))
        segments_PS = torch.from_numpy(np.stack([segments for _, segments in windows]).astype(np.int64))
        tokens_BT, targets_BT, segments_BT = (
            t.reshape(self.rows, self.context) for t in (tokens_PS[:, :-1], tokens_PS[:, 1:], segments_PS[:, :-1])
        )
        segments_BT = in_pieces(segments_BT, piece)
        inputs = ModelInputs(tokens_BT, positions_of(segments_BT), segments_BT)
        return Batch(inputs, targets_BT=targets_BT, weights_BT=torch.ones(segments_BT.shape))

    def starts(self, number: int) -> list[int]:
        """Where each row of a micro-batch, or each piece of one, begins in the split's tokens: enough to find its documents again.

        In the first half of the warm-up each row is four pieces, in the second two, and those of all rows that a half has of an epoch are
        mixed. A piece sees only itself, so that short contexts are learnt first (Li et al. 2022, arXiv:2108.06084).
        """
        middle, samples = self.warmup // 2, range(number * self.rows, (number + 1) * self.rows)
        if number >= self.warmup:
            return [self._start(sample) for sample in samples]
        parts, first, last = (4, 0, middle) if number < middle else (2, middle, self.warmup)
        return [start for sample in samples for start in self._pieces(sample, parts, first * self.rows, last * self.rows)]

    def _pieces(self, sample: int, parts: int, first: int, last: int) -> list[int]:
        """Where the pieces begin that take a row's place, among those of samples ``first`` to ``last`` of the same epoch."""
        epoch = sample // self.rows_per_epoch
        first, last = max(first, epoch * self.rows_per_epoch), min(last, (epoch + 1) * self.rows_per_epoch)
        order = shuffled((last - first) * parts, seeds.derive(self.seed, "pieces", parts=parts, epoch=epoch))
        chosen = order[(sample - first) * parts :][:parts]
        return [self._start(first + int(at) // parts) + int(at) % parts * (self.context // parts) for at in chosen]

    def _start(self, sample: int) -> int:
        epoch, place = divmod(sample, self.rows_per_epoch)
        offset = seeds.derive(self.seed, "row offset", epoch=epoch) % self.context
        return offset + self.context * int(shuffled(self.rows_per_epoch, seeds.derive(self.seed, "rows", epoch=epoch))[place])


def in_pieces(segments_BT: Int[Tensor, "B T"], piece: int) -> Int[Tensor, "B T"]:
    """Segments with a further border before every ``piece`` positions, counted from 0."""
    borders_BT = torch.arange(segments_BT.shape[1]).expand_as(segments_BT) % piece == 0
    borders_BT[:, 1:] |= segments_BT[:, 1:] != segments_BT[:, :-1]
    return borders_BT.cumsum(dim=1) - 1


@functools.lru_cache(maxsize=4)  # an epoch asks for its order once per row, and so do pieces of rows
def shuffled(count: int, seed: int) -> np.ndarray:
    """A permutation of ``range(count)``."""
    return np.random.default_rng(seed).permutation(count)
