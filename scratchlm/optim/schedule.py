"""Learning-rate schedules: pure functions of the step, so that nothing about them needs saving."""

import math
from typing import Literal

from pydantic import Field, model_validator

from scratchlm.core.config import Settings


class Cosine(Settings):
    """Warm-up, then half a cosine. Loshchilov & Hutter 2017, arXiv:1608.03983."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(default=0.02, ge=0, le=1)
    """Share of all steps."""
    floor: float = Field(default=0.1, ge=0, le=1)
    """Factor that is left at the end."""


class Wsd(Settings):
    """Warm-up, a stable plateau, then a linear decay: the run can be lengthened while it is on the plateau.

    Hu et al. 2024, arXiv:2404.06395.
    """

    kind: Literal["wsd"] = "wsd"
    warmup: float = Field(default=0.02, ge=0, le=1)
    """Share of all steps."""
    decay: float = Field(default=0.5, ge=0, le=1)
    """Share of all steps, at the end."""
    floor: float = Field(default=0.0, ge=0, le=1)
    """Factor that is left at the end."""

    @model_validator(mode="after")
    def _fits(self) -> "Wsd":
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup ({self.warmup}) and decay ({self.decay}) together are more than the whole run")
        return self


ScheduleConfig = Cosine | Wsd


def cosine(step: int, *, warmup: int, total: int, floor: float) -> float:
    """Factor of the peak at ``step`` (counted from 0) of ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))


def wsd(step: int, *, warmup: int, decay: int, total: int, floor: float) -> float:
    """Factor of the peak at ``step`` (counted from 0) of ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    left = total - step
    return 1.0 if left >= decay else floor + (1 - floor) * left / decay


def factor(config: ScheduleConfig, step: int, total: int) -> float:
    """Factor of the peak learning rate at ``step`` of ``total``."""
    warmup = round(config.warmup * total)
    if isinstance(config, Cosine):
        return cosine(step, warmup=warmup, total=total, floor=config.floor)
    return wsd(step, warmup=warmup, decay=round(config.decay * total), total=total, floor=config.floor)
