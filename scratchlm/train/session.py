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

from scratchlm.core.artifact import CHECKPOINTS, Draft, files_under, write_atomically
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.core.journal import Journal, written_to
from scratchlm.core.tensors import Attend
from scratchlm.model import store
from scratchlm.model.architectures import Model, parameters_of
from scratchlm.optim import OptimizerConfig, adamw
from scratchlm.optim.schedule import Cosine, ScheduleConfig, factor
from scratchlm.parallel.precision import Dtype, Precision, measured_speeds
from scratchlm.parallel.world import World, best_device
from scratchlm.report.tensorboard import tensorboard_view
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.choose import WAYS, rows_that_fit, times, unfit
from scratchlm.train.loop import Items, Objective, Plan, Probe, fit
from scratchlm.train.state import TrainState

DECISIONS = "decisions.json"
REMEDY = "Start it anew with --again."


class Training(Settings):
    """The fields that every training stage has."""

    optimizer: OptimizerConfig = Field(default=adamw.Config(), discriminator="kind")
    schedule: ScheduleConfig = Field(default=Cosine(), discriminator="kind")
    clip: float | None = Field(default=1.0, gt=0)
    """Gradient norm above which gradients are scaled down; None: never."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs; auto takes cuda where there is one."""
    dtype: Literal["auto"] | Dtype = "auto"
    """Of matrix products; auto measures once whether bfloat16 is the faster one here."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Save after every so many steps; None: only by minutes and on a stop."""
    checkpoint_minutes: float | None = Field(default=1.0, gt=0)
    """Save when so many minutes have passed; None: only by steps and on a stop."""
    rows_at_once: int | None = Field(default=None, ge=1)
    """Rows of a micro-batch; None: as many of the step's rows as memory holds."""
    seed: int = 0


class Decisions(Settings):
    """Choices made by measuring, frozen before the first step and read again on resume."""

    device: str
    dtype: Dtype
    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    way: str
    """A row of WAYS."""
    way_ms: dict[str, float]
    """Of each that could be had, on some rows."""
    rows_at_once: int
    """Of a micro-batch at most: what memory held."""
    torch: str


@dataclass(frozen=True)
class Session:
    """A training stage at work."""

    out: Draft
    config: Training
    world: World
    precision: Precision
    attend: Callable[[Tensor], Attend]
    rows_at_once: int
    journal: Journal

    @classmethod
    def open(cls, out: Draft, config: Training, journal: Journal, model: Model) -> "Session":
        """Decide (or read what was decided), and send events to this artifact's own journal and to TensorBoard too; moves the model."""
        log = journal.also(written_to(out.path / "journal.jsonl"), tensorboard_view(out.path / "tensorboard"))
        path = out.path / DECISIONS
        if path.exists():
            decisions = read_decisions(path)
        else:
            decisions = decide(config, model, log)
            out.write_json(DECISIONS, json.loads(decisions.model_dump_json()))
            log.event("decisions", **decisions.model_dump())
        world, way = World.start(decisions.threads, device=decisions.device), WAYS[decisions.way]
        model.to(world.device)
        precision = Precision(decisions.dtype, decisions.device, way.kernels)
        if way.kernels and (reason := unfit(model, precision)):
            raise ArtifactError(f"{path}: this run was begun with kernels, which cannot be had here now: {reason}. {REMEDY}")
        return cls(out, config, world, precision, way.attention, decisions.rows_at_once, log)

    def train(self, model: Model, items: Items, objective: Objective, *, steps: int, probes: tuple[Probe, ...] = ()) -> TrainState:
        """Train ``model`` for ``steps`` steps, from its newest checkpoint if there is one."""
        config = self.config
        state = TrainState.begin(model, config.optimizer, seed=config.seed, scaler=self.precision.scaler())
        keeper = Keeper(self.out.path / CHECKPOINTS, steps=config.checkpoint_steps, minutes=config.checkpoint_minutes)
        if not keeper.restore(state, self.journal):
            state.rows_at_once = self.rows_at_once
            self.journal.event("begin", steps=steps, parameters=parameters_of(model), dtype=self.precision.dtype)
        plan = Plan(steps, lambda step: factor(config.schedule, step, steps), self.precision, keeper, config.clip, self.attend)
        fit(state, items, objective, plan, probes, self.world, self.journal)
        return state

    def leave(self, state: TrainState, tokenizer: Path) -> None:
        """Write the finished model, with its tokenizer beside it."""
        store.save_model(state.model, self.out.path)
        for file in files_under(tokenizer):
            write_atomically(self.out.path / "tokenizer" / file.relative_to(tokenizer), file.read_bytes())
        self.out.count(
            parameters=parameters_of(state.model),
            steps=state.step,
            tokens=state.tokens,
            skipped=state.guard.skipped,
            dtype=self.precision.dtype,
        )


def read_decisions(path: Path) -> Decisions:
    """What was decided when the run began; ArtifactError where another version of this program wrote it."""
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path}: not decisions that this version understands. {REMEDY}") from None


def decide(config: Training, model: Model, journal: Journal) -> Decisions:
    """Measure this machine; dtype and way follow unless the recipe names a dtype."""
    threads = torch.get_num_threads()
    device = best_device() if config.device == "auto" else config.device
    if device == "cuda" and best_device() != "cuda":
        raise UsageError("device: 'cuda' is asked for, but torch finds no GPU here. Set device to auto or cpu.")
    speeds = measured_speeds(device)
    dtype = speeds.faster if config.dtype == "auto" else config.dtype
    World.start(threads, device=device)
    found, reason = times(model.to(device), Precision(dtype, device))
    if reason and dtype == "bfloat16" and device == "cpu":
        journal.event("way", note=f"torch's own operations are taken: there are no kernels for this ({reason})")
    return Decisions(
        device=device,
        dtype=dtype,
        threads=threads,
        float32_gflops=round(speeds.float32, 1),
        bfloat16_gflops=round(speeds.bfloat16, 1),
        way=min(found, key=lambda name: found[name]),
        way_ms=found,
        rows_at_once=config.rows_at_once or rows_that_fit(model.config, config.optimizer, device),
        torch=torch.__version__,
    )


def steps_for(tokens: int, *, per_step: int) -> int:
    """Whole steps that see at least ``tokens`` tokens."""
    return max(1, math.ceil(tokens / per_step))
