"""What every training stage does around the loop: decide once, resume, train, and leave a model that stands alone."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from scratchlm.core.artifact import CHECKPOINTS, Draft, files_under
from scratchlm.core.config import FREE, Settings, with_sets
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.core.journal import Journal, written_to
from scratchlm.core.tensors import Attend
from scratchlm.model import architectures, cost, store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, Origin, shape_only, whole
from scratchlm.optim import OptimizerConfig, adamw
from scratchlm.optim.schedule import Cosine, ScheduleConfig, factor
from scratchlm.parallel.float8 import UNIT, convert_
from scratchlm.parallel.layout import ROWS, Layout
from scratchlm.parallel.precision import Dtype, Precision, measured_speeds
from scratchlm.parallel.world import World, devices
from scratchlm.report.tensorboard import tensorboard_view
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.choose import WAYS, all_bytes, compiled_times, even_parts, least_bytes, rows_that_fit, times, unfit
from scratchlm.train.crew import Crew, alone, formed
from scratchlm.train.devices import chosen, peak_of
from scratchlm.train.forward import Forward
from scratchlm.train.loop import Items, Objective, Plan, Probe, fit
from scratchlm.train.meter import Meter, usual_share
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

DECISIONS, JOURNAL = "decisions.json", "journal.jsonl"
REMEDY = "Start it anew with --again."
ALONE_ONLY = ("float8", "float16")
"""Dtypes whose scales each process would choose for itself."""
LAYERS_TRIED = 2
"""Of a model that no process holds whole, when ways to compute it are timed."""


class Training(Settings):
    """The fields that every training stage has."""

    optimizer: OptimizerConfig = Field(default=adamw.Config(), discriminator="kind")
    schedule: ScheduleConfig = Field(default=Cosine(), discriminator="kind")
    clip: float | None = Field(default=1.0, gt=0)
    """Gradient norm above which gradients are scaled down; None: never."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where training runs; auto takes a GPU where there is one that computes what the processor computes."""
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float8"] = "auto"
    """Of matrix products; auto measures once whether bfloat16 is the faster one here. float8 is for large models on recent GPUs."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Save after every so many steps; None: only by minutes and on a stop."""
    checkpoint_minutes: float | None = Field(default=1.0, gt=0)
    """Save when so many minutes have passed; None: only by steps and on a stop."""
    rows_at_once: int | None = Field(default=None, ge=1)
    """Rows of a micro-batch; None: as many of the step's rows as memory holds."""
    seed: int = 0
    parallel: Layout = Field(default=Layout(), json_schema_extra=FREE)
    """How the processes that torchrun starts share the work; a run may go on with another division."""


class Decisions(Settings):
    """Choices made by measuring, frozen before the first step and read again on resume."""

    device: str
    dtype: Dtype
    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    peak_gflops: float
    """Of products in the dtype that was chosen, without casts: what a step's share is a share of."""
    way: str
    """A row of WAYS."""
    way_ms: dict[str, float]
    """Of each that was tried, for so many positions as ways are tried on."""
    compile_s: dict[str, float]
    """What torch.compile took for those that have it."""
    left_out: dict[str, str]
    """Why others were not tried, or did not pay."""
    rows_at_once: int
    """Of a micro-batch at most: what memory held."""
    torch: str

    def told(self) -> str:
        """The choices in a line."""
        times = ", ".join(f"{name} {ms:.4g} ms" for name, ms in sorted(self.way_ms.items(), key=lambda each: each[1]))
        return f"{self.dtype} on {self.device} ({self.peak_gflops:,.0f} GFLOP/s) by {self.way} ({times}), {self.rows_at_once} rows at once"


@dataclass(frozen=True)
class Session:
    """A training stage at work."""

    out: Draft
    config: Training
    crew: Crew
    precision: Precision
    attend: Callable[[Tensor], Attend]
    rows_at_once: int
    journal: Journal
    forward: Forward
    meter: Meter
    origin: Origin
    """Of the weights, where there is no checkpoint."""

    @property
    def model(self) -> Model:
        """What learns, or what of it is here."""
        return self.crew.model

    @property
    def world(self) -> World:
        """The processes that train together."""
        return self.crew.world

    @classmethod
    def open(
        cls, out: Draft, config: Training, journal: Journal, origin: Origin, *, tokens: int | None = None, rows: int | None = None
    ) -> "Session":
        """Decide (or read what was decided), and send events to this artifact's own journal and to TensorBoard too.

        For ``tokens`` and ``rows`` see ``decide``.
        """
        log = journal.also(written_to(out.path / JOURNAL), tensorboard_view(out.path / "tensorboard")) if out.writes else journal
        path = out.path / DECISIONS
        before = read_decisions(path) if path.exists() else None
        if before is not None and before.device not in devices():
            raise ArtifactError(f"{path}: this run was begun on {before.device}, and torch finds none here now. {REMEDY}")
        world = World.start(device=before.device if before else chosen(config.device, log), layout=config.parallel)
        model = whole(origin) if world.alone else shape_only(origin.config)
        decisions = before or decided(config, out, log, model, world, tokens=tokens, rows=rows)
        torch.set_num_threads(decisions.threads)
        way = WAYS[decisions.way]
        if world.alone:
            model.to(world.device)
        precision = Precision(decisions.dtype, decisions.device, way.kernels)
        if way.kernels and (reason := unfit(model if world.alone else small(model.config), precision)):
            raise ArtifactError(f"{path}: this run was begun with kernels, which cannot be had here now: {reason}. {REMEDY}")
        prepare_(model, decisions.dtype)
        crew = formed(model, world)
        crew.computes(way.attention, precision)
        at_once = decisions.rows_at_once if rows is None else crew.even_rows(rows, decisions.rows_at_once)
        forward = way.forward(at_once, model.config.context)
        meter = Meter(model.config, decisions.peak_gflops * world.processes)
        return cls(out, config, crew, precision, way.attention, at_once, log, forward, meter, origin)

    def beside(self, origin: Origin) -> Crew:
        """Another model, shared out in the same way and computed as this one is."""
        if self.world.alone:
            crew = alone(whole(origin).to(self.world.device))
        else:
            crew = formed(shape_only(origin.config), self.world)
            crew.begin(origin)
        crew.computes(self.attend, self.precision)
        return crew

    def train(self, items: Items, objective: Objective, *, steps: int, probes: tuple[Probe, ...] = (), shared: bool = False) -> TrainState:
        """Train the model for ``steps`` steps, from its newest checkpoint if there is one; for ``shared`` see ``Plan``."""
        config = self.config
        if not isinstance(objective, NextToken) and self.world.size("tensor", "context", "pipeline") > 1:
            raise UsageError(
                "parallel: only pretrain and sft share layers, matrices or positions out. Set tensor, context and pipeline to 1."
            )
        state = TrainState.begin(self.model, config.optimizer, seed=config.seed, scaler=self.precision.scaler(), crew=self.crew)
        keeper = Keeper(self.out.path / CHECKPOINTS, self.world, steps=config.checkpoint_steps, minutes=config.checkpoint_minutes)
        state.rows_at_once = self.rows_at_once
        if not keeper.restore(state, self.journal):
            if not self.world.alone:
                self.crew.begin(self.origin)
            self.journal.event("begin", steps=steps, parameters=cost.parameters(self.model.config), dtype=self.precision.dtype)
        plan = Plan(
            steps,
            lambda step: factor(config.schedule, step, steps),
            self.precision,
            keeper,
            config.clip,
            self.attend,
            self.forward,
            self.meter,
            falls=isinstance(objective, NextToken),
            shared=shared,
        )
        fit(state, items, objective, plan, probes, self.journal)
        return state

    def leave(self, state: TrainState, tokenizer: Path, *beside: Path) -> None:
        """Write the finished model, with its tokenizer and files of an earlier one beside it."""
        model = state.crew.whole()
        if model is not None:
            store.save_model(model, self.out.path)
        for file in files_under(tokenizer):
            self.out.write_bytes(f"tokenizer/{file.relative_to(tokenizer).as_posix()}", file.read_bytes())
        for file in beside:
            self.out.write_bytes(file.name, file.read_bytes())
        self.out.count(
            parameters=cost.parameters(state.model.config),
            steps=state.step,
            tokens=state.tokens,
            skipped=state.guard.skipped,
            dtype=self.precision.dtype,
        )
        if (share := usual_share(self.out.path / JOURNAL)) is not None:
            self.out.count(mfu=round(share, 4))


def decided(
    config: Training, out: Draft, journal: Journal, model: Model, world: World, *, tokens: int | None, rows: int | None
) -> Decisions:
    """What the main process measures and chooses; all hear of it."""

    def measure() -> str:
        share = rows // world.size(*ROWS) if rows else rows
        made = decide(config, model, journal, tokens=tokens, rows=share, world=world)
        out.write_json(DECISIONS, json.loads(made.model_dump_json()))
        journal.event("decisions", **made.model_dump(), note=made.told())
        return made.model_dump_json()

    return Decisions.model_validate_json(world.told(world.only_main(measure)) or "")


def read_decisions(path: Path) -> Decisions:
    """What was decided when the run began; ArtifactError where another version of this program wrote it."""
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path}: not decisions that this version understands. {REMEDY}") from None


def decide(
    config: Training, model: Model, journal: Journal, *, tokens: int | None = None, rows: int | None = None, world: World | None = None
) -> Decisions:
    """Measure this machine; dtype, way and rows follow unless the recipe names them.

    ``tokens`` are those of the whole run, ``rows`` those of a step, where they are known: what takes long to try is tried only where
    ``tokens`` says that it can pay, and no more rows are computed at once than a step has. Where many processes share a model out, ways
    are tried on some of its layers.
    """
    world = world or World.start(device=chosen(config.device, journal))
    device, threads = world.device, torch.get_num_threads()
    if world.alone and (least := least_bytes(model.config, config.optimizer)) > (there := all_bytes(device)):
        raise UsageError(
            f"model: a step of one row takes {least / 1e9:,.1f} GB at least, and {device} has {there / 1e9:,.1f} GB here. "
            "Set a smaller model or a shorter model.context."
        )
    speeds = measured_speeds(device)
    dtype = speeds.faster if config.dtype == "auto" else config.dtype
    if dtype in ALONE_ONLY and not world.alone:
        raise UsageError(f"dtype: {dtype} is for one process, and there are {world.processes}. Set dtype to bfloat16 or auto.")
    peak = peak_of(dtype, device, float32=speeds.float32)
    precision, tried = Precision(dtype, device), model if world.alone else small(model.config)
    if eights := prepare_(tried.to(device), dtype):
        journal.event("float8", note=f"{eights} matrices are multiplied in 8 bits where a micro-batch has a multiple of {UNIT} positions")
    found, left_out = times(tried, precision)
    if (reason := left_out.get("kernels")) and dtype == "bfloat16" and device == "cpu":
        journal.event("way", note=f"torch's own operations are taken: there are no kernels for this ({reason})")
    way = min(found, key=lambda name: found[name])
    at_once = config.rows_at_once or even_parts(rows, rows_that_fit(model.config, config.optimizer, device, way=way))
    whole = rows is not None and rows <= at_once
    trial = compiled_times(tried, precision, found, rows=at_once, tokens=tokens or 0 if world.alone else 0, whole=whole)
    comparable = trial.ways_ms or found  # a trial is on the run's own rows, all others are on some
    found |= trial.ways_ms
    return Decisions(
        device=device,
        dtype=dtype,
        threads=threads,
        float32_gflops=round(speeds.float32, 1),
        bfloat16_gflops=round(speeds.bfloat16, 1),
        peak_gflops=round(peak, 1),
        way=min(comparable, key=lambda name: comparable[name]),
        way_ms=found,
        compile_s=trial.compile_s,
        left_out=left_out | trial.left_out,
        rows_at_once=at_once,
        torch=torch.__version__,
    )


def small(config: AnyConfig) -> Model:
    """A model of the same shape with few layers."""
    return architectures.build(with_sets(config, [f"layers={min(config.layers, LAYERS_TRIED)}"]), seed=0)


def prepare_(model: Model, dtype: Dtype) -> int:
    """Let ``model`` multiply in 8 bits where that is the dtype; how many of its matrices do."""
    count = convert_(model, ARCHITECTURES[model.config.kind].SHARDING) if dtype == "float8" else 0
    if dtype == "float8" and not count:
        raise UsageError(f"dtype: float8 takes matrices with sides of multiples of {UNIT}, and this model has none. Set dtype to bfloat16.")
    return count


def steps_for(tokens: int, *, per_step: int) -> int:
    """Whole steps that see at least ``tokens`` tokens."""
    return max(1, math.ceil(tokens / per_step))
