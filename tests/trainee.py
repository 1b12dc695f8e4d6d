"""A small training run, for tests of the loop and of its checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny import VOCAB, fresh
from torch import Tensor

from scratchlm.core import seeds
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import Batch, Facts, ModelInputs, positions_of
from scratchlm.optim import OptimizerConfig, adamw, muon, rmsprop, sgd
from scratchlm.parallel.precision import Dtype, Precision
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.loop import Plan, Probe, fit
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

OPTIMIZER_CONFIGS: dict[str, OptimizerConfig] = {
    "adamw": adamw.Config(lr=0.01),
    "muon": muon.Config(lr=0.02, weight_decay=0.1),
    "rmsprop": rmsprop.Config(lr=0.003, momentum=0.5),
    "sgd": sgd.Config(lr=0.1, momentum=0.9),
}


def batch(rows: int = 3, time: int = 11, *, seed: int = 0) -> Batch:
    """Random rows of two documents each, with weights of 0, 0.5, 1 and 1.5."""
    generator = torch.Generator().manual_seed(seeds.derive(seed, "rows"))
    tokens_BS = torch.randint(VOCAB, (rows, time + 1), generator=generator)
    segments_BT = (torch.arange(time).expand(rows, time) >= 4).long()
    weights_BT = torch.randint(4, (rows, time), generator=generator).float() / 2
    inputs = ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT)
    return Batch(inputs, tokens_BS[:, 1:], weights_BT)


def part_of(whole: Batch, rows: slice, *, weight: float = 1.0) -> Batch:
    """Some rows of a batch, their weights times ``weight``."""
    inputs = ModelInputs(whole.inputs.tokens_BT[rows], whole.inputs.positions_BT[rows], whole.inputs.segments_BT[rows])
    return Batch(inputs, whole.targets_BT[rows], whole.weights_BT[rows] * weight)


def items(step: int) -> list[Batch]:
    """Two micro-batches for each step."""
    return [batch(2, seed=2 * step), batch(3, seed=2 * step + 1)]


def begun(
    kind: str = "adamw", *, dtype: Dtype = "float32", weights: int = 0, architecture: str = "qwen3", dropout: float = 0.1
) -> TrainState:
    model = fresh(architecture, seed=weights, dropout=dropout)
    return TrainState.begin(model, OPTIMIZER_CONFIGS[kind], seed=5, scaler=Precision(dtype).scaler())


def objective(state: TrainState) -> NextToken:
    return NextToken(state.model)


@dataclass
class Spoiled:
    """The usual objective, but at some steps its loss or its gradients are ``factor`` times as large."""

    state: TrainState
    factor: float
    steps: Sequence[int]
    gradients_only: bool = False

    def inputs(self, item: Batch) -> ModelInputs:
        return item.inputs

    def loss(self, x_BTD: Tensor, item: Batch) -> tuple[Tensor, Facts]:
        loss, facts = objective(self.state).loss(x_BTD, item)
        if self.state.step not in self.steps:
            return loss, facts
        if not self.gradients_only:
            return loss * self.factor, facts
        same = loss * 1.0
        same.register_hook(lambda gradient: gradient * self.factor)
        return same, facts


def plan(path: Path, steps: int, *, dtype: Dtype = "float32", clip: float | None = 1.0) -> Plan:
    """``steps`` of twenty, so that a run which stops early follows the same schedule."""
    return Plan(steps, lambda step: 1 - step / 20, Precision(dtype), Keeper(path), clip)


def train(state: TrainState, how: Plan, *probes: Probe, asked: Any = None, given: Any = items) -> list[Event]:
    """Train up to the plan's last step; the journal's events come back."""
    events: list[Event] = []
    fit(state, given, asked or objective(state), how, probes, Journal(events.append))
    return [event for event in events if event["event"] != "progress"]


def snapshot(state: TrainState) -> dict[str, Any]:
    """All that changes while training, as values that can be compared bit for bit."""
    weights = {name: weight.clone() for name, weight in state.model.state_dict().items()}
    counters = {"step": state.step, "tokens": state.tokens, "guard": state.guard.to_plain()}
    scaler = None if state.scaler is None else state.scaler.state_dict()
    remembered = {f"optimizer.{part.name}.{name}": value.clone() for part, name, value in state.optimizer_tensors()}
    return weights | remembered | counters | {"scaler": scaler}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what differs in the least bit."""

    def same(a: Any, b: Any) -> bool:
        return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b

    return [name for name in {**one, **other} if name not in one or name not in other or not same(one[name], other[name])]
