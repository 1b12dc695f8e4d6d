"""A run that goes wrong says so in one line before time is lost, one that goes well is left alone; and how much of the peak it reaches."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import Like, fresh
from trainee import Spoiled, batch, begun, items, objective, plan, train

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import CheckFailed, DataError, ScratchError
from scratchlm.core.journal import Journal, written_to
from scratchlm.core.tensors import Batch, Every
from scratchlm.model import cost, llama, qwen3
from scratchlm.model.architectures import build
from scratchlm.optim import adamw
from scratchlm.parallel.precision import Precision
from scratchlm.train import guard as guards
from scratchlm.train.crew import alone
from scratchlm.train.guard import FEWEST, LEAST, LOST, WINDOW, Guard
from scratchlm.train.loop import Plan, Probe
from scratchlm.train.meter import Meter, usual_share
from scratchlm.train.objectives import Better
from scratchlm.train.session import Session
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState


def told(*losses: float) -> Guard:
    """A guard that saw these losses, and no spike in them: that is not what is asked here."""
    guard = Guard()
    for loss in losses:
        guard.verdict(loss, 1.0)
    return guard


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that skips nothing that is finite."""
    monkeypatch.setattr(guards, "SIGMAS", math.inf)


@pytest.mark.usefixtures("patient")
def test_a_loss_that_loses_a_third_of_what_was_learned_has_risen():
    fallen = [8.0, *[4.0 - 0.01 * n for n in range(100)], *[3.0] * FEWEST]
    limit = 3.0 + LOST * (8.0 - 3.0)
    assert told(*fallen, *[limit - 0.01] * FEWEST).risen() is None
    assert (
        told(*fallen, *[limit + 0.01] * FEWEST).risen()
        == f"the loss was 3.000 at its lowest and is {limit + 0.01:.3f}, a mean over 32 steps"
    )
    assert told(*fallen, *[limit + 1] * 5).risen() is None  # a few bad steps are no end


@pytest.mark.usefixtures("patient")
def test_where_little_was_learned_noise_is_no_rise():
    assert told(*[1.0] * 40, *[1.0 + LEAST - 0.01] * 40).risen() is None
    assert told(*[1.0] * 40, *[1.0 + LEAST + 0.01] * 40).risen() is not None


@pytest.mark.usefixtures("patient")
def test_a_loss_that_never_fell_has_risen_after_a_whole_window():
    assert told(4.0, *[4.0 + LEAST + 0.1] * (WINDOW - 2)).risen() is None
    assert told(4.0, *[4.0 + LEAST + 0.1] * WINDOW).risen() == "the loss was 4.000 at first and is 4.600, a mean over 128 steps"
    assert told(4.0, *[4.0 + LEAST - 0.1] * 999).risen() is None


@pytest.mark.usefixtures("patient")
def test_what_the_guard_knows_of_a_rise_outlives_a_stop():
    guard = told(8.0, *[3.0] * 200, *[3.5] * 20)
    back = Guard.from_plain(json.loads(json.dumps(guard.to_plain())))
    assert (back.first, back.lowest) == (guard.first, guard.lowest) == (8.0, pytest.approx(3.0))
    for _ in range(FEWEST):
        back.verdict(7.0, 1.0)
    assert back.risen() is not None
    assert Guard.from_plain(json.loads(json.dumps(Guard().to_plain()))) == Guard()


def small_run(lr: float, path: Path, *, steps: int = 90, falls: bool = True) -> TrainState:
    """A model without norms on queries and keys, which a large rate breaks; on ever the same rows, which a right one learns by heart."""
    model = build(llama.Config(vocab=23, context=16, layers=2, width=16, heads=2, kv_heads=1, head_dim=8, hidden=32), seed=0)
    state = TrainState.begin(model, adamw.Config(lr=lr), seed=0)
    train(state, replace(plan(path, steps), factor=lambda step: 1.0, falls=falls), given=lambda step: [batch(4)])
    return state


@pytest.mark.usefixtures("patient")
def test_a_rate_that_diverges_ends_the_run_with_what_to_set(tmp_path: Path):
    with pytest.raises(
        CheckFailed, match=r"it diverges. By step \d+ the loss was .* and is .* at a learning rate of 10\. Set an optimizer\.lr"
    ) as told:
        small_run(10.0, tmp_path)
    assert "well below 10, such as 2.5, or a longer schedule.warmup" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("from_step", [20, 89])
def test_weights_that_broke_are_said_before_anything_is_asked_of_them(from_step: int, tmp_path: Path):
    state = begun()
    asked: list[int] = []
    probe = Probe("sample", Every(1), lambda state: asked.append(state.step) or {})

    def given(step: int) -> list[Batch]:
        if step == from_step:
            with torch.no_grad():
                next(state.model.parameters()).fill_(math.nan)
        return [batch(4)]

    with pytest.raises(CheckFailed, match=rf"by step {from_step + 1} the weights are broken, .* Set rates of the optimizer well below"):
        train(state, plan(tmp_path, 90), probe, given=given)
    assert asked == list(range(1, from_step + 1))


def test_a_probe_that_fails_on_a_loss_that_is_no_number_blames_the_rates(tmp_path: Path):
    def fail(state: TrainState) -> dict[str, float]:
        raise DataError(f"no scores at step {state.step}")

    for spoiled, said in (([3], "by step 4 the weights are broken"), ([], "no scores at step 4")):
        state = begun()
        with pytest.raises(ScratchError, match=said):
            train(state, plan(tmp_path, 6), Probe("sample", Every(4), fail), asked=Spoiled(state, math.nan, steps=spoiled))


def test_a_rate_that_learns_is_left_alone(tmp_path: Path):
    state = small_run(0.01, tmp_path)
    assert state.guard.lowest is not None
    assert state.guard.lowest < 1.5


@pytest.mark.usefixtures("patient")
def test_only_a_likelihood_must_fall(tmp_path: Path):
    assert small_run(10.0, tmp_path, falls=False).step == 90


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_first_loss_that_is_no_number_is_said_at_once(factor: float, tmp_path: Path):
    state = begun()
    with pytest.raises(CheckFailed, match=r"the loss is (nan|inf) at step 1 already.* Set dtype to float32 \(it is float32\)"):
        train(state, plan(tmp_path, 40), asked=Spoiled(state, factor, steps=range(99)))
    assert state.step == 1


def test_a_first_gradient_that_is_no_number_is_what_a_loss_scaler_is_for(tmp_path: Path):
    state = begun()
    train(state, plan(tmp_path, 4), asked=Spoiled(state, math.inf, steps=[0, 1], gradients_only=True))
    assert (state.step, state.guard.skipped) == (4, 2)


def test_a_share_of_the_peak_is_arithmetic_over_time():
    shape = qwen3.Config()
    meter = Meter(shape, peak_gflops=100.0)
    flops = 3 * 64 * cost.training_flops(shape, 64) + 2 * 9 * cost.training_flops(shape, 9)
    assert meter.share([(3, 64), (2, 9)], 0.5) == pytest.approx(flops / 0.5 / 100e9)


def test_every_step_tells_its_share(tmp_path: Path):
    state = begun()
    events = train(state, replace(plan(tmp_path, 3), meter=Meter(state.model.config, 1.0)))
    for event in events:
        wanted = 5 * 11 * cost.training_flops(state.model.config, 11) / (event["seconds"] * 1e9)
        assert event["mfu"] == pytest.approx(wanted, rel=0.05, abs=1e-3)  # seconds are rounded
    assert "mfu" not in train(begun(), plan(tmp_path, 1))[0]


def test_the_usual_share_is_the_median_and_a_step_done_twice_counts_once(tmp_path: Path):
    journal = Journal(written_to(tmp_path / "journal.jsonl"))
    assert usual_share(tmp_path / "journal.jsonl") is None
    for step, share in ((1, 0.1), (2, 0.9), (2, 0.4), (3, 0.5)):
        journal.event("step", step=step, mfu=share)
    assert usual_share(tmp_path / "journal.jsonl") == 0.4


def test_a_stage_holds_likelihoods_to_it_and_leaves_the_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plans: list[Plan] = []
    monkeypatch.setattr("scratchlm.train.session.fit", lambda state, items, objective, plan, *_: plans.append(plan))
    out = Draft(tmp_path / "base")
    model = fresh("qwen3")
    meter = Meter(model.config, 100.0)
    work = Session(out, Training(), alone(model), Precision("float32"), Plan.attend, 4, Journal(), Plan.forward, meter, Like(model))
    work.train(items, objective(TrainState(model, [], seed=0)), steps=3)
    work.train(items, Better(model.logits, beta=0.1, anchor=0.0), steps=3)
    assert [(plan.falls, plan.meter) for plan in plans] == [(True, meter), (False, meter)]
    Journal(written_to(out.path / "journal.jsonl")).event("step", step=1, mfu=0.25)
    words = tmp_path / "words"
    words.mkdir()
    work.leave(TrainState(model, [], seed=0), words)
    assert out.counts["mfu"] == 0.25
