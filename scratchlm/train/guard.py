"""A thin guard: a step whose loss or gradient norm is not finite, or far above its recent ones, never updates the model.

Six standard deviations over a window of 128 steps, as OLMo 2 skips steps (arXiv:2501.00656); here the window is part of the saved
state, and a non-finite value is never multiplied into anything.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any

WINDOW = 128
FEWEST = 32
"""Before this many steps a deviation means nothing."""
SIGMAS = 6.0


def _window() -> deque[float]:
    return deque(maxlen=WINDOW)


@dataclass
class Guard:
    """What recent good steps looked like."""

    losses: deque[float] = field(default_factory=_window)
    norms: deque[float] = field(default_factory=_window)
    skipped: int = 0
    in_a_row: int = 0

    def verdict(self, loss: float, grad_norm: float) -> str | None:
        """Why this step must not update the model, or None when it may; counted and remembered either way."""
        reason = _strange("loss", loss, self.losses) or _strange("gradient norm", grad_norm, self.norms)
        if reason:
            self.skipped += 1
            self.in_a_row += 1
            return reason
        self.in_a_row = 0
        if grad_norm > 0:  # a step with nothing to learn (no answer better than another) is no measure for those that have
            self.losses.append(loss)
            self.norms.append(grad_norm)
        return None

    def to_plain(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return {"losses": list(self.losses), "norms": list(self.norms), "skipped": self.skipped, "in_a_row": self.in_a_row}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Guard":
        """The guard that ``to_plain`` described."""
        window = {name: deque(plain[name], maxlen=WINDOW) for name in ("losses", "norms")}
        return cls(**window, skipped=plain["skipped"], in_a_row=plain["in_a_row"])


def _strange(name: str, value: float, recent: deque[float]) -> str | None:
    if not math.isfinite(value):
        return f"{name} is {value}"
    if len(recent) < FEWEST:
        return None
    limit = fmean(recent) + SIGMAS * pstdev(recent)
    return f"{name} {value:.3f} is above {limit:.3f}, {SIGMAS:g} deviations over the last {len(recent)} steps" if value > limit else None
