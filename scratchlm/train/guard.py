"""A thin guard: a step whose loss or gradient norm is not finite, or far above its recent ones, never updates the model.

Six standard deviations over a window of 128 steps, as OLMo 2 skips steps (arXiv:2501.00656); here the window is part of the saved
state, and a non-finite value is never multiplied into anything.

Where a loss must fall, as a likelihood's does, the guard also sees when it rises for good: a learning rate that is too high.
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
LOST, LEAST = 1 / 3, 0.5
"""Of all that was learned, and in nats, what a loss must have lost again before it is said to rise: noise and new data do neither."""


def _window() -> deque[float]:
    return deque(maxlen=WINDOW)


@dataclass
class Guard:
    """What recent good steps looked like."""

    losses: deque[float] = field(default_factory=_window)
    norms: deque[float] = field(default_factory=_window)
    skipped: int = 0
    in_a_row: int = 0
    first: float | None = None
    """The loss before anything was learned."""
    lowest: float | None = None
    """The lowest mean of so many losses in a row as mean something."""

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
            self.first = loss if self.first is None else self.first
            if (now := self.recent()) is not None:
                self.lowest = now if self.lowest is None else min(now, self.lowest)
        return None

    def recent(self) -> float | None:
        """The mean of the newest losses; None before there are enough of them."""
        return fmean(list(self.losses)[-FEWEST:]) if len(self.losses) >= FEWEST else None

    def risen(self) -> str | None:
        """How a loss that should fall has risen for good; None where it has not.

        Above its lowest by LOST of what was learned till then; or, where nothing ever was, above the first one over a whole window.
        """
        now = self.recent()
        if now is None or self.first is None or self.lowest is None:
            return None
        if now > self.lowest + max(LEAST, LOST * (self.first - self.lowest)):
            return f"the loss was {self.lowest:.3f} at its lowest and is {now:.3f}, a mean over {FEWEST} steps"
        if len(self.losses) == WINDOW and fmean(self.losses) > self.first + LEAST:
            return f"the loss was {self.first:.3f} at first and is {fmean(self.losses):.3f}, a mean over {WINDOW} steps"
        return None

    def to_plain(self) -> dict[str, Any]:
        """As JSON would hold it."""
        windows = {"losses": list(self.losses), "norms": list(self.norms)}
        return windows | {"skipped": self.skipped, "in_a_row": self.in_a_row, "first": self.first, "lowest": self.lowest}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Guard":
        """The guard that ``to_plain`` described."""
        window = {name: deque(plain[name], maxlen=WINDOW) for name in ("losses", "norms")}
        return cls(**window, **{name: plain[name] for name in ("skipped", "in_a_row", "first", "lowest")})


def _strange(name: str, value: float, recent: deque[float]) -> str | None:
    if not math.isfinite(value):
        return f"{name} is {value}"
    if len(recent) < FEWEST:
        return None
    limit = fmean(recent) + SIGMAS * pstdev(recent)
    return f"{name} {value:.3f} is above {limit:.3f}, {SIGMAS:g} deviations over the last {len(recent)} steps" if value > limit else None
