"""In what order are tokens seen? Rows cut from the shards, shuffled anew for each epoch: a pure function of seed and step."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

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

    def __post_init__(self) -> None:
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
        return self._cut(self.starts(number))

    def starts(self, number: int) -> list[int]:
        """Where each row of a micro-batch begins in the split's tokens: enough to find its documents again."""
        return [self._start(number * self.rows + row) for row in range(self.rows)]

    def _start(self, sample: int) -> int:
        epoch, place = divmod(sample, self.rows_per_epoch)
        offset = seeds.derive(self.seed, "row offset", epoch=epoch) % self.context
        return offset + self.context * int(shuffled(self.rows_per_epoch, seeds.derive(self.seed, "rows", epoch=epoch))[place])

    def _cut(self, starts: list[int]) -> Batch:
        windows = [self.shards.window(start, self.context + 1) for start in starts]
        tokens_BS = torch.from_numpy(np.stack([ids for ids, _ in windows]).astype(np.int64))
        segments_BS = torch.from_numpy(np.stack([segments for _, segments in windows]).astype(np.int64))
        segments_BT = segments_BS[:, :-1]
        inputs = ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT)
        return Batch(inputs, targets_BT=tokens_BS[:, 1:], weights_BT=torch.ones(segments_BT.shape))


@functools.lru_cache(maxsize=2)  # an epoch asks for its order once per row
def shuffled(count: int, seed: int) -> np.ndarray:
    """A permutation of ``range(count)``."""
    return np.random.default_rng(seed).permutation(count)
