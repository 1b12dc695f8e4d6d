"""Which division of labour would be the fastest of those that memory holds? All are tried by formula, in a second or two.

Those with fewer kinds of division come first, and one that could not be faster even if no message took time is passed over.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.model import cost
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.layout import AXES, ROWS, Layout
from scratchlm.parallel.precision import Dtype
from scratchlm.plans.division import Division, Outline
from scratchlm.plans.foretold import FORTH, SELECTIVE, Forecast, forecast
from scratchlm.plans.hardware import Machines
from scratchlm.plans.held import Held, held
from scratchlm.plans.schedules import SINGLE, goes, idle
from scratchlm.train.choose import SHARE

RECOMPUTE = ("none", "selective", "full")
MORE = {"none": 0.0, "selective": SELECTIVE, "full": FORTH}
LONGEST_PIPELINE, WIDEST_CONTEXT = 64, 64
CLOSE = 0.005
"""A way must be so much faster to be worth another kind of division."""


@dataclass(frozen=True)
class Asked:
    """What is to be trained, and on what."""

    outline: Outline
    optimizer: OptimizerConfig
    rows: int
    """Of a step."""
    machines: Machines
    dtype: Dtype

    @property
    def room(self) -> float:
        """Bytes of a device that a step may take by its formula."""
        return SHARE * self.machines.device.memory_bytes

    def divided(self, layout: Layout, rows_at_once: int | None = None) -> Division:
        """A step so divided, as many rows at once as are given or one process has; UsageError where it cannot be."""
        sizes = dict(layout.sizes(self.machines.count))
        seen = math.prod(sizes[axis] for axis in ROWS)
        if self.rows % seen:
            raise UsageError(
                f"parallel: {self.rows} rows of a step cannot be shared out evenly among {seen} processes. Set a multiple of {seen}."
            )
        rows = min(rows_at_once or self.rows // seen, self.rows // seen)
        half, gpu = self.dtype != "float32", self.machines.device.gpu
        return Division(self.outline, layout, sizes, rows, math.ceil(self.rows // seen / rows), half, gpu)


@dataclass(frozen=True)
class Way:
    """One division, what it holds and how long it takes."""

    division: Division
    held: Held
    forecast: Forecast


@dataclass(frozen=True)
class Advice:
    """The fastest way that fits, and what else was found."""

    best: Way
    others: Sequence[Way]
    """The fastest of each other division of the processes that fits, the next one first."""
    least: Way
    """What holds least of all that were looked at."""


def advise(asked: Asked) -> Advice:
    """UsageError where no division fits, with what would do."""
    fit, best, least = list[Way](), math.inf, None
    for sizes in sorted(shapes(asked), key=lambda sizes: (_kinds(sizes), *sizes.values())):
        for choice in choices(asked, sizes):
            if _at_least(asked, sizes, *choice[:2]) > best * (1 + CLOSE):
                continue
            for way in ways(asked, sizes, *choice):
                if least is None or way.held.total < least.held.total:
                    least = way
                if way.held.total > asked.room:
                    break
                fit.append(way)
                best = min(best, way.forecast.seconds)
    if not fit or least is None:
        raise UsageError(_why_not(asked, least))
    chosen = min((way for way in fit if way.forecast.seconds <= best * (1 + CLOSE)), key=_preferred)
    others = dict[tuple[int, ...], Way]()
    for way in sorted(fit, key=lambda way: (way.forecast.seconds, _preferred(way))):
        others.setdefault(tuple(way.division.sizes.values()), way)
    others.pop(tuple(chosen.division.sizes.values()))
    return Advice(chosen, list(others.values()), least)


def _preferred(way: Way) -> tuple[float, ...]:
    """Among ways as fast as each other: fewer kinds of division, less computed twice, more rows at once, and what holds less."""
    division = way.division
    return _kinds(division.sizes), RECOMPUTE.index(division.layout.recompute), -division.rows, way.held.total


def _kinds(sizes: Mapping[str, int]) -> int:
    """In how many ways work is divided."""
    return sum(size > 1 for size in sizes.values())


def _at_least(asked: Asked, sizes: Mapping[str, int], schedule: str, recompute: str) -> float:
    """Seconds of a step that takes no message's time, as many micro-batches as can be."""
    a, config = asked.outline.anatomy, asked.outline.config
    device, flops = asked.machines.device, cost.training_flops(config)
    whole = asked.rows * config.context * flops / (asked.machines.count * device.peak(asked.dtype) * device.share)
    again = 1 + MORE[recompute] * (1 - 6 * a.head / flops)
    most = asked.rows // math.prod(sizes[axis] for axis in ROWS)
    return whole * again * (1 + idle(schedule, sizes["pipeline"], most, 1 if schedule in SINGLE else 2) / most)


def _why_not(asked: Asked, least: Way | None) -> str:
    """What stands in the way, and what would do."""
    count, name = asked.machines.count, asked.machines.name
    if least is None:
        some = math.gcd(asked.rows, count)
        return (
            f"--devices {count}x{name}: {asked.rows} rows of a step cannot be shared out among {count} processes, of which at most "
            f"{asked.machines.device.per_node} can share a matrix. Set pretrain.rows to a multiple of {count}, or take {some} devices."
        )
    enough = 2 ** math.ceil(math.log2(count * least.held.total / asked.room))
    return (
        f"--devices {count}x{name}: the least that any division takes is {least.held.total / 1e9:,.1f} GB for each process "
        f"({told(least.division)}), and {SHARE:.0%} of a {name} is {asked.room / 1e9:,.0f} GB. "
        f"Take {enough} devices or so, a shorter model.context, or a smaller model."
    )


def told(division: Division) -> str:
    """A division in words: ``pipeline 2 x shard 4 x tensor 8``, and what else was chosen."""
    named = [f"{axis} {size}" for axis, size in division.sizes.items() if size > 1] or ["one process"]
    layout = division.layout
    more = [f"ZeRO-{layout.zero}"] if division.cut > 1 and not division.piped else []
    more += [layout.schedule] if division.piped else []
    more += [f"{layout.recompute} recomputation"] if layout.recompute != "none" else []
    return ", ".join([" x ".join(named), *more, f"{division.rows} rows at once"])


def shapes(asked: Asked) -> Iterator[Mapping[str, int]]:
    """Sizes of all axes that the model, a step's rows and the machines allow."""
    config, count = asked.outline.config, asked.machines.count
    facts = dict(config)
    heads = math.gcd(facts["heads"], facts.get("kv_heads", facts["heads"]))
    node = asked.machines.device.per_node
    for tensor in (t for t in _divisors(count, node) if heads % t == 0 and config.context % t == 0 and asked.outline.even(t)):
        for pipeline in _divisors(count // tensor, min(LONGEST_PIPELINE, config.layers)):
            for context in _divisors(count // tensor // pipeline, WIDEST_CONTEXT):
                if context > 1 and (config.context % (2 * context * tensor) or facts["kind"] == "swift"):
                    continue
                rest = count // tensor // pipeline // context
                for expert in (e for e in _divisors(rest, facts.get("experts", 1)) if facts.get("experts", 1) % e == 0):
                    if asked.rows % rest == 0:
                        for replicate in _divisors(rest // expert, rest):
                            shard = rest // expert // replicate
                            # Replicas of what one machine has, or four, or sixteen; or of all.
                            if replicate == 1 or expert * shard * context * tensor in (tensor * context, node, 4 * node, 16 * node):
                                yield dict(zip(AXES, (pipeline, replicate, expert, shard, context, tensor), strict=True))


def choices(asked: Asked, sizes: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """(schedule, recomputation, ZeRO): what else can be chosen where the sizes are given."""
    cut, piped = sizes["expert"] * sizes["shard"] * sizes["context"] > 1, sizes["pipeline"] > 1
    layers = asked.outline.config.layers
    # In a pipeline torch keeps whole weights and gradients whatever ``zero`` says, so what sends least is best.
    zeros = (1,) if cut and piped else (1, 2, 3) if cut else (3,)
    turns = ("interleaved", "zero_bubble") if 2 * sizes["pipeline"] <= layers else ()
    for schedule in ("1f1b", *turns) if piped else ("1f1b",):
        for recompute in RECOMPUTE:
            yield from ((schedule, recompute, zero) for zero in zeros)


def ways(asked: Asked, sizes: Mapping[str, int], schedule: str, recompute: str, zero: int) -> Iterator[Way]:
    """With more and more rows at once; the fullest process of a pipeline is the first, the second or the last."""
    told: dict[str, Any] = {**sizes, "schedule": schedule, "recompute": recompute, "zero": zero}
    if asked.dtype != "float32":
        told["gathered"] = "bfloat16"
    layout, ranks = Layout.model_validate(told), sizes["pipeline"]
    rows = asked.rows // math.prod(sizes[axis] for axis in ROWS)
    for at_once in _divisors(rows, rows):
        if ranks == 1 or goes(schedule, ranks, rows // at_once):
            division = asked.divided(layout, at_once)
            full = max((held(division, asked.optimizer, rank) for rank in {0, min(1, ranks - 1), ranks - 1}), key=lambda each: each.total)
            yield Way(division, full, forecast(division, asked.machines, asked.dtype))


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]
