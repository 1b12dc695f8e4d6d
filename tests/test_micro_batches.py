"""A step cut into micro-batches is the same step: for every objective, and when memory runs short on the way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SHAPES, features, fresh, random_tokens, tiny
from torch import Tensor
from torch.testing import assert_close
from trainee import OPTIMIZER_CONFIGS, batch, begun, differences, objective, plan, snapshot

from scratchlm.batches.chat import PreferenceBatch
from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import Batch, Facts, Item, ModelInputs, positions_of
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.losses.preference import PairLogprobs
from scratchlm.model.architectures import Model
from scratchlm.parallel.layout import AXES, Layout
from scratchlm.parallel.world import World
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import fullest
from scratchlm.shares.schedules import parts
from scratchlm.train import choose
from scratchlm.train.crew import alone
from scratchlm.train.loop import Objective, accumulated, fit
from scratchlm.train.objectives import Better, PairItem, Rewarded, Rollouts
from scratchlm.train.state import TrainState

ROWS = 6


def rows_of() -> Batch:
    tokens_BS = random_tokens(ROWS, 10)
    segments_BT = torch.zeros(ROWS, 9, dtype=torch.long)
    weights_BT = (torch.arange(9).expand(ROWS, 9) >= torch.arange(ROWS)[:, None]).float()
    return Batch(ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT), tokens_BS[:, 1:], weights_BT)


def likely(model: Model) -> tuple[Objective, Item]:
    return objective(TrainState(model, [], seed=0)), rows_of()


def preferred(model: Model) -> tuple[Objective, Item]:
    reference = PairLogprobs(torch.tensor([-3.0, -9.0, -5.0]), torch.tensor([-7.0, -4.0, -6.0]))
    return Better(model.logits, beta=0.3, anchor=0.5), PairItem(PreferenceBatch(rows_of()), reference)


def rewarded(model: Model) -> tuple[Objective, Item]:
    rows = rows_of()
    with torch.no_grad():
        said_BT = token_logprobs(model.logits(features(model, rows.inputs.tokens_BT)), rows.targets_BT)
    rewards_B = torch.tensor([1.0, 0, 0, 1, 0.5, 0])
    item = Rollouts(rows, said_BT + 0.1, said_BT - 0.2, (rewards_B - rewards_B.mean())[:, None], rewards_B, rows.weight / ROWS)
    return Rewarded(model.logits, kl=0.1), item


OBJECTIVES: dict[str, Callable[[Model], tuple[Objective, Item]]] = {"likely": likely, "preferred": preferred, "rewarded": rewarded}


def summed(name: str, rows: int, path: Path) -> tuple[float, dict[str, float], dict[str, Tensor]]:
    """The loss SUM, the sums of the facts and the gradients of a step, so many rows at once."""
    model = tiny("qwen3")
    asked, item = OBJECTIVES[name](model)
    state = TrainState(model, [], seed=0, rows_at_once=rows)
    loss, facts = accumulated(state, [item], asked, plan(path, 1), scale=1 / item.weight)
    return loss, dict(facts), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("rows", [1, 2, 3, 4, ROWS])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_is_the_same_however_many_rows_are_computed_at_once(name: str, rows: int, tmp_path: Path):
    loss, facts, gradients = summed(name, rows, tmp_path)
    whole_loss, whole_facts, whole_gradients = summed(name, 100, tmp_path)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert facts == pytest.approx(whole_facts, rel=1e-5, abs=1e-6)
    assert gradients.keys() == whole_gradients.keys()
    for parameter, gradient in gradients.items():
        assert_close(gradient, whole_gradients[parameter], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_parts_are_in_order_and_weigh_what_the_whole_weighs(name: str):
    _, item = OBJECTIVES[name](fresh("qwen3"))
    parts = item.split(4)
    assert len(parts) == 2
    assert sum(part.weight for part in parts) == pytest.approx(item.weight)
    assert sum(part.tokens for part in parts) == item.tokens
    again: Any = [part.split(4) for part in parts]
    assert [len(part) for part in again] == [1, 1]


@dataclass
class Cramped:
    """The usual objective in a memory that holds so many rows."""

    state: TrainState
    most: int
    tried: list[int]

    def inputs(self, item: Batch) -> ModelInputs:
        return item.inputs

    def loss(self, x_BTD: Tensor, item: Batch) -> tuple[Tensor, Facts]:
        self.tried.append(len(x_BTD))
        if len(x_BTD) > self.most:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            )
        return objective(self.state).loss(x_BTD, item)


def trained(most: int, path: Path, *, rows: int = 1 << 30) -> tuple[TrainState, Cramped, list[Event]]:
    state = begun(dropout=0.0)
    state.rows_at_once = rows
    asked, events = Cramped(state, most, []), list[Event]()
    fit(state, lambda step: [batch(6, seed=step)], asked, plan(path, 2), (), Journal(events.append))
    return state, asked, events


def test_where_memory_runs_short_fewer_rows_are_computed_at_once(tmp_path: Path):
    state, asked, events = trained(2, tmp_path / "a")
    assert asked.tried == [6, 3, *[1] * 6, *[1] * 6]
    assert [event["rows"] for event in events if event["event"] == "smaller"] == [1]
    calm, _, _ = trained(100, tmp_path / "b", rows=1)
    assert differences(snapshot(state), snapshot(calm)) == []


def test_a_row_that_memory_does_not_hold_is_one_line(tmp_path: Path):
    with pytest.raises(CheckFailed, match="does not hold a step of one row"):
        trained(0, tmp_path)


def test_another_error_stays_what_it_is(tmp_path: Path):
    state = begun()
    wrong = batch(2)
    wrong.targets_BT.fill_(10_000)
    with pytest.raises((IndexError, RuntimeError), match=r"bounds|range"):
        fit(state, lambda step: [wrong], objective(state), plan(tmp_path, 1), (), Journal())


def test_as_many_rows_are_tried_as_memory_holds(monkeypatch: pytest.MonkeyPatch):
    model, optimizer = fresh("qwen3"), OPTIMIZER_CONFIGS["muon"]
    one, two = (sum(choose.cost.training_bytes(model.config, rows, "muon", momentum=0.95).values()) for rows in (1, 2))
    for free, rows in ((0.5 * one, 1), (one, 1), (1.01 * two, 2), (100 * two, 64), (float("inf"), choose.MOST_ROWS)):
        monkeypatch.setattr(choose, "free_bytes", lambda device, free=free: free / choose.SHARE)
        found = choose.rows_that_fit(model.config, optimizer, "cpu")
        assert found == rows or (free == 100 * two and found >= rows)


SPREAD: dict[str, dict[str, Any]] = {
    "shards": {"shard": 4},
    "matrices": {"tensor": 2, "shard": 1},
    "layers": {"pipeline": 2, "shard": 1},
    "layers in turns": {"pipeline": 2, "schedule": "interleaved", "shard": 1},
}


def world_of(name: str) -> World:
    """One of so many processes, none of which is there."""
    layout = Layout.model_validate(SPREAD[name])
    return World(layout=layout, sizes={axis: getattr(layout, axis) for axis in AXES})


@pytest.mark.parametrize("name", SPREAD)
def test_several_processes_take_as_many_rows_as_the_fullest_of_them_holds(name: str, monkeypatch: pytest.MonkeyPatch):
    shape, optimizer, world = SHAPES["gpt2"].model_copy(update={"layers": 4, "heads": 4}), OPTIMIZER_CONFIGS["adamw"], world_of(name)
    can = parts(12, world.layout.schedule, world.sizes["pipeline"])
    outline = Outline(shape)
    takes = {n: fullest(Division(outline, world.layout, world.sizes, n, 12 // n, half=False, gpu=False), optimizer).total for n in can}
    assert len(can) > 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for rows, taken in takes.items():
        free = 2 * taken / choose.SHARE + 1  # for two processes on this machine
        monkeypatch.setattr(choose, "free_bytes", lambda device, free=free: free)
        found = choose.own_rows_that_fit(shape, optimizer, world, half=False, rows=12)
        assert found == max(n for n, other in takes.items() if other <= taken) >= rows
    monkeypatch.setattr(choose, "free_bytes", lambda device: 2 * min(takes.values()) / choose.SHARE - 2)
    with pytest.raises(UsageError, match=r"parallel: a step takes .+ GB at the fullest process at least, .+ Start more processes"):
        choose.own_rows_that_fit(shape, optimizer, world, half=False, rows=12)


def test_where_rows_of_a_step_are_not_known_as_many_as_fit_are_taken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choose, "free_bytes", lambda device: float("inf"))
    assert (
        choose.own_rows_that_fit(SHAPES["gpt2"], OPTIMIZER_CONFIGS["adamw"], world_of("shards"), half=True, rows=None) == choose.MOST_ROWS
    )


def test_rows_that_a_pipeline_cannot_take_are_told_of():
    crew = alone(fresh("qwen3"))
    assert crew.even_rows(12, 5) == 5
    crew.world = Divided(layout=world_of("layers in turns").layout, sizes=world_of("layers in turns").sizes)
    assert [crew.even_rows(12, most) for most in (1, 3, 6, 12)] == [1, 3, 6, 12]
    assert crew.even_rows(10, 9) == 5
    with pytest.raises(UsageError, match="1 rows of a step cannot be cut into as many micro-batches as 2 processes take by '1f1b'"):
        replace(crew, world=Divided(layout=world_of("layers").layout, sizes=world_of("layers").sizes)).even_rows(1, 4)


class Divided(World):
    """One of several, though there is no mesh."""

    alone = False
