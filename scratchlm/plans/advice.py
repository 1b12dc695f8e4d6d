"""Which division of labour would be the fastest of those that memory holds? All are tried by formula, in a second or two.

Those with fewer kinds of division come first, and one that could not be faster even if no message took time is passed over.
"""

import json
import math
import shlex
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.model import cost
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.layout import AXES, ROWS, WEIGHTS, Layout
from scratchlm.parallel.precision import Dtype
from scratchlm.plans.foretold import FORTH, SELECTIVE, Forecast, forecast
from scratchlm.plans.hardware import Machines
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import Held, fullest
from scratchlm.shares.schedules import SINGLE, idle, parts
from scratchlm.train.choose import SHARE

RECOMPUTE = ("none", "selective", "full")
MORE = {"none": 0.0, "selective": SELECTIVE, "full": FORTH}
LONGEST_PIPELINE, WIDEST_CONTEXT = 64, 64
CHOSEN = ("zero", "schedule", "recompute", "gathered")
"""Fields of a layout that are chosen beside the sizes."""
CLOSE, WORTH_TELLING = 0.005, 1.25
"""A way must be so much faster to be worth another kind of division; one that takes so many times as long is not told of."""


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

    def way(self, division: Division) -> "Way":
        """What a division holds and how long it takes."""
        return Way(division, fullest(division, self.optimizer), forecast(division, self.machines, self.dtype))

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
    """The fastest of each other division of the processes that fits and is not much slower, the next one first."""


def advise(asked: Asked) -> Advice:
    """UsageError where no division fits, with what would do."""
    fit, best = list[Way](), math.inf
    for sizes in sorted(shapes(asked), key=lambda sizes: (_kinds(sizes), *sizes.values())):
        for choice in choices(asked, sizes):
            if _at_least(asked, sizes, *choice[:2]) > best * WORTH_TELLING:
                continue
            for way in ways(asked, list(divisions(asked, sizes, *choice)), within_s=best * WORTH_TELLING):
                fit.append(way)
                best = min(best, way.forecast.seconds)
    if not fit:
        raise UsageError(_why_not(asked))
    chosen = min((way for way in fit if way.forecast.seconds <= best * (1 + CLOSE)), key=_preferred)
    others = dict[tuple[int, ...], Way]()
    for way in sorted(fit, key=lambda way: (way.forecast.seconds, _preferred(way))):
        if way.forecast.seconds <= best * WORTH_TELLING:
            others.setdefault(tuple(way.division.sizes.values()), way)
    others.pop(tuple(chosen.division.sizes.values()))
    return Advice(chosen, list(others.values()))


def ways(asked: Asked, divided: Sequence[Division], *, within_s: float) -> Iterator[Way]:
    """Those of ``divided``, which have more and more rows at once, that memory holds and that may be as fast.

    The more rows at once, the less often weights are gathered; only in a pipeline fewer are better, for others wait less.
    """
    if not divided:
        return
    piped = divided[0].piped
    if forecast(divided[0 if piped else -1], asked.machines, asked.dtype).seconds > within_s:
        return
    fitting = bisect_right(divided, asked.room, key=lambda division: fullest(division, asked.optimizer).total)
    for way in map(asked.way, divided[:fitting] if piped else divided[max(0, fitting - 1) : fitting]):
        if way.held.total <= asked.room:
            yield way


def as_set(asked: Asked, layout: Layout, rows_at_once: int | None) -> Way:
    """A division that is given, with the most rows at once that fit unless they are given, too; UsageError where it cannot be."""
    whole = asked.divided(layout, rows_at_once)
    tried = [rows_at_once] if rows_at_once else reversed(_divisors(whole.rows, whole.rows))
    ways = [asked.way(asked.divided(layout, rows)) for rows in tried]
    return next((way for way in ways if way.held.total <= asked.room), ways[-1])


def _preferred(way: Way) -> tuple[float | int, ...]:
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


def _why_not(asked: Asked) -> str:
    """What stands in the way, and what would do."""
    count, name = asked.machines.count, asked.machines.name
    lean = (next(divisions(asked, sizes, "1f1b", "full", 3), None) for sizes in shapes(asked))
    held = [(fullest(division, asked.optimizer).total, division) for division in lean if division is not None]
    if not held:
        return (
            f"--devices {count}x{name}: {asked.rows} rows of a step cannot be shared out among so many processes, nor their positions. "
            f"Set pretrain.rows to a multiple of {count}, or take {math.gcd(asked.rows, count)} devices."
        )
    size, division = min(held, key=lambda each: each[0])
    enough = 2 ** math.ceil(math.log2(count * size / asked.room))
    return (
        f"--devices {count}x{name}: the least that a division was found to take is {size / 1e9:,.1f} GB for each process "
        f"({named(division)}), and {SHARE:.0%} of a {name} is {asked.room / 1e9:,.1f} GB. "
        f"Take {enough} devices or so, a shorter model.context, or a smaller model."
    )


def named(division: Division) -> str:
    """A division in words: ``pipeline 2 x shard 4 x tensor 8``, and what else was chosen."""
    named = [f"{axis} {size}" for axis, size in division.sizes.items() if size > 1] or ["one process"]
    layout = division.layout
    more = [f"ZeRO-{layout.zero}"] if division.cut > 1 and not division.piped else []
    more += [layout.schedule] if division.piped else []
    more += [f"{layout.recompute} recomputation"] if layout.recompute != "none" else []
    return ", ".join([" x ".join(named), *more, f"{division.rows} row{'s' * (division.rows > 1)} at once"])


def commands(name: str, asked: Asked, best: Way, layout: Layout, rows_at_once: int | None) -> list[str]:
    """What to type for the division that was found, as far as the recipe does not say it."""
    division, machines = best.division, asked.machines
    old, new = layout.model_dump(), division.layout.model_dump()
    changed = {field: new[field] for field in (*AXES, *CHOSEN) if new[field] != old[field] and (field, old[field]) != ("shard", None)}
    sets = [f"--set=pretrain.parallel={json.dumps(changed)}"] if changed else []
    sets += [f"--set=pretrain.rows_at_once={division.rows}"] if rows_at_once != division.rows else []
    words = ["pretrain", name, *sets]
    if machines.count == 1:
        return ["", shlex.join(["scratchlm", *words])]
    processes = min(machines.count, machines.device.per_node)
    alone, meeting = ["--standalone"], ["--nnodes", str(machines.nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", "HOST:29500"]
    where = [*(alone if machines.nodes == 1 else meeting), "--nproc-per-node", str(processes)]
    more = ["launch", name, "--nodes", str(machines.nodes), "--processes", str(processes), *sets]
    return [
        "",
        shlex.join(["torchrun", *where, "-m", "scratchlm", *words]),
        "",
        "With checks before, or as a job:",
        shlex.join(["scratchlm", *more]),
    ]


def shapes(asked: Asked) -> Iterator[Mapping[str, int]]:
    """Sizes of all axes that the model, a step's rows and the machines allow."""
    config, count, outline = asked.outline.config, asked.machines.count, asked.outline
    heads = math.gcd(config.heads, dict(config).get("kv_heads", config.heads))
    for tensor in _divisors(count, asked.machines.device.per_node):
        if heads % tensor or config.context % tensor or not outline.even(tensor):
            continue
        for pipeline in _divisors(count // tensor, min(LONGEST_PIPELINE, config.layers)):
            for context in _divisors(count // tensor // pipeline, 1 if outline.lookback else WIDEST_CONTEXT):
                rest = count // tensor // pipeline // context
                if asked.rows % rest == 0 and (context == 1 or config.context % (2 * context * tensor) == 0):
                    for replicate, expert, shard in _seeing_rows(asked, rest, tensor * context):
                        yield dict(zip(AXES, (pipeline, replicate, expert, shard, context, tensor), strict=True))


def _seeing_rows(asked: Asked, processes: int, inside: int) -> Iterator[tuple[int, int, int]]:
    """(replicate, expert, shard) of so many processes, each of which is ``inside`` many that see the same rows.

    Replicas are of what one process has, or a machine, or four, or sixteen; between these little changes.
    """
    node, experts = asked.machines.device.per_node, dict(asked.outline.config).get("experts", 1)
    for expert in _divisors(processes, experts):
        for replicate in _divisors(processes // expert, processes):
            shard = processes // expert // replicate
            alike = replicate == 1 or expert * shard == 1 or expert * shard * inside in (node, 4 * node, 16 * node)
            if experts % expert == 0 and alike:
                yield replicate, expert, shard


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


def divisions(asked: Asked, sizes: Mapping[str, int], schedule: str, recompute: str, zero: int) -> Iterator[Division]:
    """With more and more rows at once."""
    told: dict[str, Any] = {**sizes, "schedule": schedule, "recompute": recompute, "zero": zero}
    if asked.dtype != "float32" and asked.machines.device.gpu and math.prod(sizes[axis] for axis in WEIGHTS) > 1:
        told["gathered"] = "bfloat16"
    layout, rows = Layout.model_validate(told), asked.rows // math.prod(sizes[axis] for axis in ROWS)
    for at_once in parts(rows, schedule, sizes["pipeline"]):
        yield asked.divided(layout, at_once)


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]
