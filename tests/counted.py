"""What the processes of a crowd really hold in a step, in counted bytes of live tensors, and what was foretold of it."""

import gc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from live import Live

from scratchlm.core.tensors import Batch, ModelInputs, positions_of
from scratchlm.model import attention, gpt2, llama, moe, qwen3
from scratchlm.model.architectures import AnyConfig, Drawn, build, shape_only
from scratchlm.optim import OptimizerConfig, adamw
from scratchlm.parallel.layout import ROWS, Layout
from scratchlm.parallel.precision import Dtype, Precision
from scratchlm.parallel.world import World
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import held
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forming import formed
from scratchlm.train.loop import Plan, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

SIZE: dict[str, Any] = {"vocab": 512, "context": 64, "layers": 4, "width": 32, "heads": 4}
MODELS: dict[str, AnyConfig] = {
    "llama": llama.Config(**SIZE, kv_heads=2, head_dim=8, hidden=64),
    "qwen3": qwen3.Config(**SIZE, kv_heads=2, head_dim=8, hidden=64, tied=True),
    "gpt2": gpt2.Config(**SIZE, hidden=128),
    "moe": moe.Config(**SIZE, kv_heads=2, head_dim=8, experts=4, experts_per_token=2, expert_hidden=32),
}
"""As large as the recipe `smoke`, but for heads and layers that can be shared out."""
IDS = 8
LONG = 4 * IDS + 4
"""Bytes of a position of a row: token, position, segment and target, and how much it weighs."""


@dataclass(frozen=True)
class Case:
    """A model, a division, and how much at once."""

    model: str
    layout: Layout = field(default_factory=Layout)
    rows: int = 16
    """Of a step."""
    rows_at_once: int = 4
    optimizer: OptimizerConfig = field(default_factory=adamw.Config)
    dtype: Dtype = "float32"
    changes: tuple[tuple[str, int], ...] = ()
    """Of the model."""

    @property
    def shape(self) -> AnyConfig:
        return MODELS[self.model].model_copy(update=dict(self.changes))


@dataclass(frozen=True)
class Found:
    """Bytes at one process."""

    weights: int
    optimizer: int
    peak: int
    """In the second step, the rows that it was given left out."""


def rows_of(case: Case) -> Batch:
    """Rows of two documents, of which every position counts."""
    shape = case.shape
    tokens_BS = torch.randint(shape.vocab, (case.rows, shape.context + 1), generator=torch.Generator().manual_seed(0))
    segments_BT = (torch.arange(shape.context) > 9).long().expand(case.rows, shape.context)
    inputs = ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT)
    return Batch(inputs, tokens_BS[:, 1:], torch.ones(case.rows, shape.context))


def counted(case: Case) -> Found:
    """By the meter, in this process."""
    gc.collect()
    with Live() as live:
        model = build(case.shape, seed=0)
        crew = formed(model, World.start(1, layout=case.layout))
        precision = Precision(case.dtype)
        crew.computes(attention.packed, precision)
        state = TrainState.begin(model, case.optimizer, seed=0, crew=crew)
        state.rows_at_once = case.rows_at_once
        plan, objective = Plan(2, lambda step: 1.0, precision, Keeper(Path("nowhere"))), NextToken(model, crew.among)
        given = rows_of(case)
        update(state, [given], objective, plan)
        gc.collect()
        live.forget_peak()
        update(state, [given], objective, plan)
        weights = sum(part.own.untyped_storage().nbytes() for part in crew.parts)
        remembered = sum(tensor.nbytes for _, _, tensor in state.optimizer_tensors() if tensor.ndim)
        peak = live.peak
    positions = [case.rows * case.shape.context * LONG]
    share = case.rows // crew.world.size(*ROWS) * case.shape.context // crew.world.size("context")
    positions += [share * LONG] * (crew.world.size("context") > 1)  # its own columns are picked out
    positions += [share * 3 * IDS] * (crew.world.size("pipeline") > 1)  # its micro-batches are joined, but for targets and weights
    return Found(weights, remembered, peak - sum(positions))


def started(case: Case) -> tuple[int, int, int]:
    """Bytes at most while this process comes to its part of a model with fresh weights; of that part, of the largest parameter."""
    with Live() as live:
        crew = formed(shape_only(case.shape), World.start(1, layout=case.layout))
        crew.begin(Drawn(case.shape, seed=0))
        kept = sum(part.own.untyped_storage().nbytes() for part in crew.parts)
        return live.peak, kept, max(4 * part.shape.numel() for part in crew.parts)


def division_of(case: Case, processes: int) -> Division:
    """The step of ``case`` among so many processes."""
    sizes = case.layout.sizes(processes)
    share = case.rows // (sizes["replicate"] * sizes["expert"] * sizes["shard"])
    rows = min(case.rows_at_once, share)
    return Division(Outline(case.shape), case.layout, sizes, rows, -(-share // rows), case.dtype != "float32", gpu=False)


def foretold(case: Case, processes: int) -> list[Found]:
    """By the formulas, at each process."""
    division, found = division_of(case, processes), []
    for rank in range(processes):
        at_height = held(division, case.optimizer, rank // (processes // division.sizes["pipeline"]))
        parts = at_height.parts
        found.append(Found(round(parts["weights"]), round(parts["optimizer"]), round(at_height.total)))
    return found
