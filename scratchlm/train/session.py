"""What every training stage does around the loop: decide once, resume, train, and leave a model that stands alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scratchlm.core.artifact import CHECKPOINTS, Draft, files_under
from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Journal, written_to
from scratchlm.core.tensors import Attend
from scratchlm.model import cost
from scratchlm.model.architectures import Model, Origin, shape_only, whole
from scratchlm.optim.schedule import factor
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World, devices
from scratchlm.report.tensorboard import tensorboard_view
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.choose import WAYS, unfit
from scratchlm.train.crew import Crew, alone
from scratchlm.train.decisions import DECISIONS, REMEDY, check_dtype, decided, prepare_, read_decisions, rows_here, small
from scratchlm.train.devices import chosen
from scratchlm.train.forming import formed
from scratchlm.train.forward import Forward
from scratchlm.train.loop import Items, Objective, Plan, Probe, fit
from scratchlm.train.meter import Meter, usual_share
from scratchlm.train.objectives import NextToken
from scratchlm.train.settings import Training
from scratchlm.train.spans import check_step
from scratchlm.train.state import TrainState

JOURNAL = "journal.jsonl"


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
        if rows is not None:
            world.share(rows)
        model = whole(origin) if world.alone else shape_only(origin.config)
        decisions = before or decided(config, out, log, model, world, tokens=tokens, rows=rows)
        check_dtype(decisions.dtype, world)
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
        at_once = rows_here(decisions, config, origin.config, world, rows)
        if rows is not None:
            at_once = crew.even_rows(rows, at_once)
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
        check_step(self.world, within=isinstance(objective, NextToken))
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
        state.crew.save(self.out.path)
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


def steps_for(tokens: int, *, per_step: int) -> int:
    """Whole steps that see at least ``tokens`` tokens."""
    return max(1, math.ceil(tokens / per_step))
