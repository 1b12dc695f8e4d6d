"""Size, tokens and batch for a given time: chosen from the law of ``scaling`` and from how fast this machine was just seen to be."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError
from scratchlm.model import cost
from scratchlm.model.architectures import AnyConfig
from scratchlm.optim import muon
from scratchlm.optim.schedule import Wsd
from scratchlm.train import scaling

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TIME = re.compile(rf"([0-9]+(?:\.[0-9]+)?)([{''.join(UNITS)}])")
WIDTHS = (64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096)
HEAD = 64
"""Channels of a head, and what widths are multiples of."""
STEP_TOKENS, STEP_FROM, STEP_POWER = 2048, 1_000_000, 0.5
"""Tokens of a step of a run of STEP_FROM; a longer run takes larger ones: Zhang et al. 2024, arXiv:2410.21676."""
FEWEST_STEPS = 20
MOST_EPOCHS = 4
"""Text read so often is worth nearly as much as new text (Muennighoff et al. 2023, arXiv:2305.16264); the ladder went no further either."""
TUNED: dict[str, Any] = {
    "optimizer": muon.Config(lr=0.01, embedding_lr=0.08, head_lr=0.01),
    "schedule": Wsd(decay=0.6),
    "clip": 1.0,
    "length_warmup": 0.4,
}
"""What the ladder's runs were made with, whatever their width: one setting serves all (`benchmarks/transfer.py`)."""
USED = 0.97
"""Of the time left; the rest is for what nobody saw coming."""
GUESS = 0.4
"""Of the measured speed of products, before a step was timed."""


@dataclass(frozen=True)
class Text:
    """What there is to learn from."""

    tokens: int
    bytes: int
    hardness: float
    """Bits per byte of a simple count."""


class Choice(Settings):
    """What was chosen before the first step, and what is to come of it."""

    width: int
    layers: int
    weights: int
    """Without embeddings and head."""
    tokens: int
    rows: int
    steps: int
    lr: float
    """Peak step of the hidden matrices; embeddings and head have theirs."""
    epochs: float
    bits_per_byte: float
    """To be expected of the held-out text, with its interval of 95 %."""
    low: float
    high: float
    beyond: float
    """How many times further than the ladder this is; 1 within it."""
    seconds: float | None = None
    """Of the whole stage, to be expected."""
    gigabytes: float | None = None
    """Of a step, by formula, if it is computed at once."""


def seconds_of(budget: str) -> float:
    """``90s``, ``30m``, ``2h`` or ``1d`` in seconds; 0 for what is no time."""
    found = TIME.fullmatch(budget)
    return float(found[1]) * UNITS[found[2]] if found else 0.0


def shaped(model: AnyConfig, width: int) -> AnyConfig:
    """The same architecture as wide as asked and as deep as goes with it: a layer for every 64 channels, two at least."""
    heads = width // HEAD
    shared = next(count for count in range(max(1, heads // 2), 0, -1) if heads % count == 0)
    new: dict[str, Any] = {"width": width, "layers": max(2, heads), "heads": heads, "head_dim": HEAD}
    new |= {"kv_heads": shared, "hidden": math.ceil(width * 8 / 3 / HEAD) * HEAD}
    return model.model_validate(model.model_dump() | {name: value for name, value in new.items() if name in type(model).model_fields})


def rows_for(tokens: float, context: int) -> int:
    """Rows of a step of a run of so many tokens."""
    return max(1, round(STEP_TOKENS * (tokens / STEP_FROM) ** STEP_POWER / context))


def choose(
    model: AnyConfig, text: Text, *, left: Callable[[], float], idle: float, gflops: float, speed: Callable[[AnyConfig, float], float]
) -> tuple[Choice, dict[int, int]]:
    """The width of least expected loss among those that were timed, with the tokens a second of each: from the best by a guess on.

    ``left`` gives the seconds left for training, in which what is not training takes the time of ``idle`` tokens; ``speed`` times a
    model for a run on so many tokens, in tokens a second, and gives 0 where memory does not hold it.
    """
    law, least = scaling.law_of(model.kind), "Give more time."
    if left() <= 0:
        raise UsageError(f"pretrain.budget: the time is up before the first step. {least}")
    shapes = [shaped(model, width) for width in WIDTHS]
    guesses = [GUESS * gflops * 1e9 / cost.training_flops(shape) for shape in shapes]
    speeds: dict[int, float] = {}

    def loss(place: int, tokens_per_s: float) -> float:
        run = planned(law, shapes[place], text, USED * left() * tokens_per_s - idle)
        return run.bits_per_byte if run else math.inf

    def timed(place: int) -> float:
        if place not in speeds:
            speeds[place] = speed(shapes[place], max(1, min(guesses[place] * left(), float(MOST_EPOCHS * text.tokens))))
        return loss(place, speeds[place])

    place = min(range(len(shapes)), key=lambda p: loss(p, guesses[p]))
    while (better := min((p for p in (place, place - 1, place + 1) if 0 <= p < len(shapes)), key=timed)) != place:
        place = better
    best = planned(law, shapes[place], text, USED * left() * speeds[place] - idle)
    if best is None:
        seconds = max(0.0, left())
        raise UsageError(f"pretrain.budget: {seconds:.0f} s are left after timing, too few for {FEWEST_STEPS} steps of any model. {least}")
    return best, {WIDTHS[p]: round(found) for p, found in sorted(speeds.items())}


def planned(law: scaling.Law, shape: AnyConfig, text: Text, tokens: float) -> Choice | None:
    """A run of a model on about so many tokens, and the loss to expect; None where they are too few to learn anything."""
    tokens = min(tokens, float(MOST_EPOCHS * text.tokens))
    rows = rows_for(max(1.0, tokens), shape.context)
    steps = int(tokens / (rows * shape.context))
    if steps < FEWEST_STEPS:
        return None
    seen, weights = steps * rows * shape.context * text.bytes / text.tokens, cost.body_parameters(shape)
    expected = scaling.predicted(law, weights=float(weights), seen=scaling.worth(seen, float(text.bytes)), hardness=text.hardness)
    return Choice(
        width=shape.width,
        layers=shape.layers,
        weights=weights,
        tokens=steps * rows * shape.context,
        rows=rows,
        steps=steps,
        lr=TUNED["optimizer"].lr,
        epochs=round(seen / text.bytes, 3),
        bits_per_byte=round(expected.value, 4),
        low=round(expected.low, 4),
        high=round(expected.high, 4),
        beyond=round(expected.beyond, 2),
    )
