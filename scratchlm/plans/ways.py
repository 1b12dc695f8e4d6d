"""All divisions of labour that there are for a model, a step and some machines; what each holds, and how long it takes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.model.architectures import Model, shape_only
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.layout import ALONE, AXES, ROWS, WEIGHTS, Layout
from scratchlm.parallel.precision import Dtype
from scratchlm.parallel.world import World
from scratchlm.plans.foretold import Forecast, forecast
from scratchlm.plans.hardware import Machines
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import Held, fullest
from scratchlm.shares.schedules import parts
from scratchlm.train.choose import SHARE
from scratchlm.train.spans import check

RECOMPUTE = ("none", "selective", "full")
LONGEST_PIPELINE, WIDEST_CONTEXT = 64, 64


@dataclass(frozen=True)
class Asked:
    """What is to be trained, and on what."""

    outline: Outline
    optimizer: OptimizerConfig
    rows: int
    """Of a step."""
    machines: Machines
    dtype: Dtype
    layout: Layout = ALONE
    """The recipe's own, of which all stays that is not chosen here."""

    @cached_property
    def shape(self) -> Model:
        """What there is to ask of the model before it exists."""
        return shape_only(self.outline.config.model_copy(update={"layers": 1}))

    @property
    def light(self) -> bool:
        """Whether weights that are cut had best travel as bfloat16."""
        return self.dtype != "float32" and self.machines.device.gpu

    @property
    def room(self) -> float:
        """Bytes of a device that a step may take by its formula."""
        return SHARE * self.machines.device.memory_bytes

    def way(self, division: Division) -> "Way":
        """What a division holds and how long it takes."""
        return Way(division, fullest(division, self.optimizer), self.forecast(division))

    def forecast(self, division: Division) -> Forecast:
        """How long it takes."""
        return forecast(division, self.machines, self.dtype, self.optimizer)

    def refusal(self, layout: Layout, sizes: Mapping[str, int]) -> str | None:
        """Why training would not begin so divided; None where it would."""
        try:
            if self.machines.count > 1:
                check(self.shape, World(device="cuda" if self.machines.device.gpu else "cpu", layout=layout, sizes=sizes))
        except UsageError as error:
            return str(error)
        return None

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


def as_set(asked: Asked, layout: Layout, rows_at_once: int | None) -> Way:
    """A division that is given, with the most rows at once that fit unless they are given, too; UsageError where it cannot be."""
    whole = asked.divided(layout, rows_at_once)
    if reason := asked.refusal(layout, whole.sizes):
        raise UsageError(reason)
    tried = [rows_at_once] if rows_at_once else reversed(_divisors(whole.rows, whole.rows))
    ways = [asked.way(asked.divided(layout, rows)) for rows in tried]
    return next((way for way in ways if way.held.total <= asked.room), ways[-1])


def shapes(asked: Asked) -> Iterator[Mapping[str, int]]:
    """Sizes of all axes that the model, a step's rows and the machines allow."""
    config, count, outline, node = asked.outline.config, asked.machines.count, asked.outline, asked.machines.device.per_node
    heads, by_heads = math.gcd(config.heads, dict(config).get("kv_heads", config.heads)), asked.layout.context_by == "ulysses"
    for tensor in _divisors(count, node):
        astride = asked.machines.nodes > 1 and node % tensor
        if astride or heads % tensor or config.context % tensor or not outline.even(tensor):
            continue
        for pipeline in _divisors(count // tensor, min(LONGEST_PIPELINE, config.layers)):
            for context in _divisors(count // tensor // pipeline, 1 if outline.lookback else WIDEST_CONTEXT):
                rest = count // tensor // pipeline // context
                if by_heads and heads // tensor % context:
                    continue
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
    """(schedule, recomputation, ZeRO): what else can be chosen where the sizes are given; what makes no difference stays as it is."""
    cut, piped = cut_by(sizes), sizes["pipeline"] > 1
    layers, own = asked.outline.config.layers, asked.layout
    # In a pipeline torch keeps whole weights and gradients whatever ``zero`` says, so what sends least is best.
    zeros = (1,) if cut and piped else (1, 2, 3) if cut else (own.zero,)
    turns = ("interleaved", "zero_bubble") if 2 * sizes["pipeline"] <= layers else ()
    for schedule in ("1f1b", *turns) if piped else (own.schedule,):
        if asked.refusal(_layout(asked, sizes, schedule), sizes) is None:
            for recompute in RECOMPUTE:
                yield from ((schedule, recompute, zero) for zero in zeros)


def divisions(asked: Asked, sizes: Mapping[str, int], schedule: str, recompute: str, zero: int) -> Iterator[Division]:
    """With more and more rows at once, as long as a pipeline has a micro-batch for each of its processes."""
    chosen = {"recompute": recompute, "zero": zero}
    if cut_by(sizes):
        chosen["gathered"] = "bfloat16" if asked.light else "float32" if asked.dtype == "float32" else asked.layout.gathered
    layout, rows = _layout(asked, sizes, schedule, **chosen), asked.rows // math.prod(sizes[axis] for axis in ROWS)
    for at_once in parts(rows, schedule, sizes["pipeline"]):
        if rows // at_once >= sizes["pipeline"]:
            yield asked.divided(layout, at_once)


def cut_by(sizes: Mapping[str, int]) -> bool:
    """Whether weights are cut."""
    return math.prod(sizes[axis] for axis in WEIGHTS) > 1


def _layout(asked: Asked, sizes: Mapping[str, int], schedule: str, **chosen: Any) -> Layout:
    """The recipe's own with what was chosen; its stretches stay where they are as many as the schedule takes and the layers allow."""
    own, piped = asked.layout, sizes["pipeline"] > 1
    as_they_are = not piped or (schedule == own.schedule and sizes["pipeline"] * (own.spans or 1) <= asked.outline.config.layers)
    return own.model_copy(update={**sizes, "schedule": schedule, "spans": own.spans if as_they_are else None, **chosen})


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]


def named(division: Division) -> str:
    """A division in words: ``pipeline 2 x shard 4 x tensor 8``, and what else was chosen."""
    named = [f"{axis} {size}" for axis, size in division.sizes.items() if size > 1] or ["one process"]
    layout = division.layout
    more = [f"ZeRO-{layout.zero}"] if division.cut > 1 and not division.piped else []
    more += [layout.schedule] if division.piped else []
    more += [f"{layout.spans} spans each"] if division.piped and layout.spans_each > 2 else []
    more += ["ulysses"] if division.how.by_heads else []
    more += ["offloaded"] if layout.offload and division.cut > 1 else []
    more += ["gradients in bfloat16"] if layout.reduced == "bfloat16" and division.cut > 1 else []
    more += [f"{layout.recompute} recomputation"] if layout.recompute != "none" else []
    return ", ".join([" x ".join(named), *more, f"{division.rows} row{'s' * (division.rows > 1)} at once"])
