"""How much of what this machine can do is done? Arithmetic that a step needs by formula, over what products alone would do in its time.

Called model FLOPs utilisation, MFU: Chowdhery et al. 2022, arXiv:2204.02311. The peak is no data sheet's, but measured when the run began.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlm.core.journal import by_step
from scratchlm.model import cost
from scratchlm.model.architectures import AnyConfig


@dataclass(frozen=True)
class Meter:
    """Of one model on one machine."""

    config: AnyConfig
    peak_gflops: float

    def share(self, shapes: Iterable[Sequence[int]], seconds: float) -> float:
        """Of the peak, that a step on rows of these (count, length) reached; 1 is all."""
        flops = sum(rows * length * cost.training_flops(self.config, length) for rows, length in shapes)
        return flops / (seconds * self.peak_gflops * 1e9)


def usual_share(journal: Path) -> float | None:
    """The median over a run's steps, as its journal has them; None before the first."""
    shares = [event["mfu"] for event in by_step(journal, "step") if "mfu" in event]
    return statistics.median(shares) if shares else None
