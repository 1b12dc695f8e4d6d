"""What loss do so many weights reach on so many bytes? A law fitted to a ladder of small runs, with the interval that it has earned.

L = hardness (E + A / N^alpha + B / D^beta): Hoffmann et al. 2022, arXiv:2203.15556, approach 3, with N the weights without embeddings
and head (Kaplan et al. 2020, arXiv:2001.08361) and D in bytes, so that one law serves every vocabulary. The first factor is of the text:
what a count of its characters leaves unsaid. Text read again is worth less than new text: Muennighoff et al. 2023, arXiv:2305.16264.
"""

import functools
import importlib.resources
import json
import math
from dataclasses import dataclass

from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError

FILE = "scaling.json"
WORTH_OF_REPEATS = 15.39
"""R* of Muennighoff et al.: how many epochs' worth of new text all repetitions together can give, in the end."""


class Law(Settings):
    """The fit of one architecture."""

    floor: float
    """E: what no size and no amount of text takes away."""
    a: float
    alpha: float
    b: float
    beta: float
    spread: float
    """Half of the 95 % interval, of the logarithm of the loss: how far off a further text is, as much as those of the ladder differ."""
    points: int
    least: tuple[float, float]
    """Fewest weights and bytes of the ladder."""
    most: tuple[float, float, float]
    """Most weights, most bytes, and most of both multiplied: the widest of its models did not see the most bytes."""


@dataclass(frozen=True)
class Predicted:
    """Bits per byte to expect, and the interval that nineteen of twenty runs fall in."""

    value: float
    low: float
    high: float
    beyond: float
    """How many times further than the ladder this is, in weights or in bytes; at most 1 within it."""


@functools.cache
def laws() -> dict[str, Law]:
    """The committed fits by kind of architecture; `benchmarks/ladder.py` makes them."""
    plain = json.loads(importlib.resources.files("scratchlm.train").joinpath(FILE).read_text(encoding="utf-8"))
    return {kind: Law.model_validate(law) for kind, law in plain.items()}


def law_of(kind: str) -> Law:
    """The fit of an architecture; UsageError where none was made."""
    if kind not in laws():
        raise UsageError(f"pretrain.budget: no ladder was run for '{kind}'. Choose {' or '.join(laws())}, or set size and tokens by hand.")
    return laws()[kind]


def worth(seen: float, unique: float) -> float:
    """Bytes of new text that are worth as much as ``seen`` bytes of a text that has ``unique`` ones, read over and over."""
    if seen <= unique:
        return seen
    return unique * (1 + WORTH_OF_REPEATS * -math.expm1(-(seen / unique - 1) / WORTH_OF_REPEATS))


def loss(law: Law, *, weights: float, seen: float, hardness: float) -> float:
    """Bits per byte; ``seen`` counts repetitions by their ``worth``."""
    return hardness * (law.floor + law.a * weights**-law.alpha + law.b * seen**-law.beta)


def predicted(law: Law, *, weights: float, seen: float, hardness: float) -> Predicted:
    """The loss with its interval."""
    value = loss(law, weights=weights, seen=seen, hardness=hardness)
    beyond = max(
        *(x / most for x, most in zip((weights, seen, weights * seen), law.most, strict=True)),
        *(least / x for x, least in zip((weights, seen), law.least, strict=True)),
    )
    half = law.spread * (1 + max(0.0, math.log2(beyond)) / 4)  # a quarter more for each doubling that nobody has tried
    return Predicted(value, value * math.exp(-half), value * math.exp(half), max(1.0, beyond))
