"""The same training by one process and by several: what the processes of a crowd run, and what they tell."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tiny import Like
from torch import Tensor

from scratchlm.core import seeds
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch, ModelInputs, positions_of
from scratchlm.model import attention, gpt2, llama, moe, qwen3
from scratchlm.model.architectures import AnyConfig, build, shape_only
from scratchlm.optim import OptimizerConfig, adamw, muon
from scratchlm.parallel.layout import Layout
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forming import formed
from scratchlm.train.loop import Plan, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

VOCAB, CONTEXT, ROWS = 131, 32, 12
MODELS: dict[str, AnyConfig] = {
    "llama": llama.Config(vocab=VOCAB, context=CONTEXT, layers=4, width=32, heads=4, kv_heads=4, head_dim=8, hidden=48),
    "qwen3": qwen3.Config(vocab=VOCAB, context=CONTEXT, layers=4, width=32, heads=8, kv_heads=4, head_dim=6, hidden=64, tied=True),
    "gpt2": gpt2.Config(vocab=VOCAB, context=CONTEXT, layers=4, width=32, heads=4, hidden=64),
    "moe": moe.Config(
        vocab=VOCAB, context=CONTEXT, layers=4, width=32, heads=4, kv_heads=4, head_dim=8, experts=4, experts_per_token=2, expert_hidden=24,
        balance=0.1,
    ),
}  # fmt: skip
OPTIMIZERS: dict[str, OptimizerConfig] = {"adamw": adamw.Config(lr=0.003), "muon": muon.Config(lr=0.01)}


@dataclass(frozen=True)
class Case:
    """A model, a division and how it learns."""

    model: str
    layout: Layout = field(default_factory=Layout)
    steps: int = 2
    dtype: str = "float64"
    optimizer: str = "adamw"
    rows_at_once: int = 1
    clip: float | None = 0.5
    layers: int = 4
    dropout: float = 0.0

    @property
    def shape(self) -> AnyConfig:
        return MODELS[self.model].model_copy(update={"layers": self.layers, "dropout": self.dropout})


def rows_of(step: int) -> Batch:
    """Rows of several documents, some positions of which weigh nothing."""
    generator = torch.Generator().manual_seed(seeds.derive(3, "rows", step=step))
    tokens_BS = torch.randint(VOCAB, (ROWS, CONTEXT + 1), generator=generator)
    border_B1 = torch.randint(3, CONTEXT, (ROWS, 1), generator=generator)
    segments_BT = (torch.arange(CONTEXT)[None] >= border_B1).long()
    weights_BT = (torch.rand(ROWS, CONTEXT, generator=generator) < 0.8).float()
    return Batch(ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT), tokens_BS[:, 1:], weights_BT)


def begun(case: Case) -> TrainState:
    """As this process holds it."""
    model = build(case.shape, seed=0).to(getattr(torch, case.dtype))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # so that no path is silent, as zero-initialised ones are
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.05)
    crew = formed(shape_only(model.config).to(getattr(torch, case.dtype)), World.start(1, layout=case.layout))
    crew.begin(Like(model))
    crew.computes(attention.packed, Precision("float32"))
    state = TrainState.begin(crew.model, OPTIMIZERS[case.optimizer], seed=0, crew=crew)
    state.rows_at_once = case.rows_at_once
    return state


def trained(state: TrainState, case: Case, steps: range) -> list[dict[str, Any]]:
    """What each step said."""
    plan = Plan(100, lambda step: 1.0, Precision("float32"), Keeper(Path("nowhere")), case.clip)
    objective, told = NextToken(state.model, state.crew.among), []
    for step in steps:
        told.append(update(state, [rows_of(step)], objective, plan))
        state.step += 1
    return told


def whole_after(case: Case) -> dict[str, Tensor] | None:
    """The weights after a training, where all of them come together."""
    state = begun(case)
    trained(state, case, range(case.steps))
    model = state.crew.whole()
    return None if model is None else {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def saved(case: Case, path: Path) -> None:
    """Train some steps and leave a checkpoint."""
    state = begun(case)
    trained(state, case, range(case.steps))
    Keeper(path, state.crew.world).save(state)


def resumed(case: Case, path: Path, last: int) -> list[dict[str, Any]]:
    """Go on from the checkpoint that is there, up to a step."""
    state = begun(case)
    with torch.no_grad():
        for part in state.parts:
            part.own.fill_(7.0)
    assert Keeper(path, state.crew.world).restore(state, Journal())
    return trained(state, case, range(state.step, last))


def refused(case: Case, changes: dict[str, Any]) -> str:
    """What is said of a division that cannot be, of a model with other numbers."""
    try:
        formed(shape_only(case.shape.model_copy(update=changes)), World.start(1, layout=case.layout))
    except UsageError as error:
        return str(error)
    return "nothing"


def run(case: Case) -> list[dict[str, Any]]:
    """A whole training."""
    return trained(begun(case), case, range(case.steps))
