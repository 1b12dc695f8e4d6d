"""The one loop: sums divided once, a guard that lets nothing strange through, and a stop between two steps."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import fresh
from torch import Tensor
from torch.testing import assert_close
from trainee import Spoiled, batch, begun, differences, items, objective, part_of, plan, snapshot, train

from scratchlm.core.errors import CheckFailed, Stopped
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import Batch, Every
from scratchlm.losses.likelihood import cross_entropy
from scratchlm.model import attention
from scratchlm.optim import sgd
from scratchlm.parallel.precision import Precision
from scratchlm.train import stop
from scratchlm.train.guard import FEWEST, WINDOW, Guard
from scratchlm.train.loop import Probe, backward, clipped_norm, update
from scratchlm.train.state import TrainState

FLOAT32 = Precision("float32")


def gradients_of(micro: list[Batch]) -> dict[str, Tensor]:
    """What the micro-batches of one step add up to."""
    state = begun(dropout=0.0)
    weight = sum(item.weight for item in micro)
    for item in micro:
        backward(state, item, objective(state), FLOAT32, scale=1 / weight)
    return {name: parameter.grad for name, parameter in state.model.named_parameters() if parameter.grad is not None}


def plain_loss(state: TrainState, batches: list[Batch]) -> float:
    """The weighted mean over all batches, without chunks, sums or accumulation."""
    total = 0.0
    with torch.no_grad():
        for each in batches:
            x_BTD = state.model.features(each.inputs.tokens_BT, each.inputs.positions_BT, attention.reference(each.inputs.segments_BT))
            total += float(cross_entropy(state.model.logits, x_BTD, each.targets_BT, each.weights_BT))
    return total / sum(each.weight for each in batches)


def test_four_rows_at_once_are_four_rows_one_by_one():
    whole = batch(4)
    together, apart = gradients_of([whole]), gradients_of([part_of(whole, slice(row, row + 1)) for row in range(4)])
    assert together.keys() == apart.keys()
    for name in together:
        # The same products, added up in another order.
        assert_close(together[name], apart[name], atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_a_masked_micro_batch_adds_nothing():
    whole = batch(4)
    masked = part_of(batch(2, seed=9), slice(None), weight=0.0)
    with_it, without = gradients_of([masked, whole, masked]), gradients_of([whole])
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def test_a_step_without_any_weight_changes_nothing_and_says_so(tmp_path: Path):
    state, masked = begun(), part_of(batch(2), slice(None), weight=0.0)
    before = snapshot(state)
    facts = update(state, [masked, masked], objective(state), plan(tmp_path, 1))
    assert facts["skipped"] == "no position of the step has weight"
    assert (facts["loss"], facts["grad_norm"]) == (0, 0)
    assert differences(before, snapshot(state)) == []


def test_the_loss_is_the_mean_over_all_weights_of_the_step(tmp_path: Path):
    state = begun(dropout=0.0)
    wanted = plain_loss(state, items(0))
    (event,) = train(state, plan(tmp_path, 1))
    means = [plain_loss(begun(dropout=0.0), [item]) for item in items(0)]
    assert event["loss"] == pytest.approx(wanted, rel=1e-5)
    assert event["weight"] == sum(item.weight for item in items(0))
    assert event["loss"] != pytest.approx(sum(means) / 2, rel=1e-4)


def test_a_step_of_plain_descent_is_the_weight_less_the_gradient(tmp_path: Path):
    state = TrainState.begin(fresh("qwen3"), sgd.Config(lr=0.5), seed=5)
    before, gradients = snapshot(state), gradients_of(items(0))
    update(state, items(0), objective(state), plan(tmp_path, 1, clip=None))
    for name, gradient in gradients.items():
        assert_close(state.model.state_dict()[name], before[name] - 0.5 * gradient)


def test_the_journal_tells_every_step(tmp_path: Path):
    state = begun()
    events = train(state, plan(tmp_path, 3))
    assert [(event["event"], event["step"], event["tokens"]) for event in events] == [("step", n, n * 5 * 11) for n in (1, 2, 3)]
    assert [event["lr"] for event in events] == pytest.approx([0.01, 0.01 * 0.95, 0.01 * 0.9])
    assert all(event["tokens_per_s"] > 0 and event["grad_norm"] > 0 for event in events)


def test_every_group_follows_the_schedule_from_its_own_peak():
    state = begun("muon")
    peaks = [group["lr"] for optimizer in state.optimizers for group in optimizer.param_groups]
    state.set_lr(0.25)
    state.set_lr(0.5)
    assert [group["lr"] for optimizer in state.optimizers for group in optimizer.param_groups] == [0.5 * peak for peak in peaks]
    assert len(set(peaks)) > 2


def gradient_norm(state: TrainState) -> Tensor:
    return torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None]).norm()


@pytest.mark.parametrize("clip", [0.1, None, 1e6])
def test_clipping_bounds_the_whole_gradient_and_keeps_its_direction(clip: float | None):
    state = begun()
    backward(state, batch(), objective(state), FLOAT32, scale=1.0)
    before = {name: p.grad.clone() for name, p in state.model.named_parameters() if p.grad is not None}
    norm = gradient_norm(state)
    found = clipped_norm(state, clip)
    assert found == pytest.approx(float(norm))
    wanted = min(1.0, clip / found) if clip else 1.0
    for name, parameter in state.model.named_parameters():
        assert_close(parameter.grad, before[name] * wanted, rtol=1e-4, atol=1e-7)  # torch divides by the norm plus 1e-6


def test_probes_run_when_they_are_due(tmp_path: Path):
    probes = [Probe(name, Every(steps), lambda state: {"seen": state.step}) for name, steps in (("often", 2), ("seldom", 99))]
    events = train(begun(), plan(tmp_path, 5), *probes)
    assert [(event["event"], event["seen"]) for event in events if event["event"] != "step"] == [
        ("often", 2), ("often", 4), ("often", 5), ("seldom", 5),
    ]  # fmt: skip
    assert not Every(2, at_end=False).due(5, 5)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_never_reaches_the_weights(factor: float, tmp_path: Path):
    state = begun()
    probe = Probe("look", Every(1), lambda state: {"weights": snapshot(state)})
    events = train(state, plan(tmp_path, 5), probe, asked=Spoiled(state, factor, steps=[2, 3]))
    before, during, after, later = ([event["weights"] for event in events if event["event"] == "look"][n] for n in (1, 2, 3, 4))
    assert set(differences(before, during)) == set(differences(before, after)) == {"step", "tokens", "guard"}
    assert "embedding.weight" in differences(after, later)
    skipped = [event for event in events if event["event"] == "skipped"]
    assert [event["step"] for event in skipped] == [3, 4]
    assert all("loss is" in event["reason"] and event["reason"] in event["message"] for event in skipped)
    assert (state.guard.skipped, state.guard.in_a_row) == (2, 0)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path: Path):
    state = begun()
    events = train(state, plan(tmp_path, 3), asked=Spoiled(state, math.nan, steps=[1], gradients_only=True))
    reasons = [event["reason"] for event in events if event["event"] == "skipped"]
    assert reasons == ["gradient norm is nan"]
    assert all(weights.isfinite().all() for weights in state.model.state_dict().values())


@pytest.mark.parametrize(("gradients_only", "name"), [(False, "loss"), (True, "gradient norm")])
def test_a_step_far_above_the_recent_ones_is_left_out(gradients_only: bool, name: str, tmp_path: Path):
    state, seen = begun(), []
    probe = Probe("look", Every(1), lambda state: {"seen": len(seen.append(snapshot(state)) or seen)})
    events = train(state, plan(tmp_path, 37), probe, asked=Spoiled(state, 1000.0, [34], gradients_only=gradients_only))
    (skipped,) = [event for event in events if event["event"] == "skipped"]
    assert skipped["step"] == 35
    assert skipped["reason"].startswith(name)
    assert "6 deviations over the last 34 steps" in skipped["reason"]
    assert set(differences(seen[33], seen[34])) == {"step", "tokens", "guard"}
    assert "embedding.weight" in differences(seen[34], seen[35])


def test_sixteen_steps_in_a_row_are_no_training(tmp_path: Path):
    state = begun()
    with pytest.raises(CheckFailed, match=r"16 steps in a row were skipped, the last at step 18 \(loss is nan\)"):
        train(state, plan(tmp_path, 40), asked=Spoiled(state, math.nan, steps=range(2, 99)))
    assert state.step == 18


def test_fifteen_in_a_row_are_forgiven(tmp_path: Path):
    state = begun()
    train(state, plan(tmp_path, 36), asked=Spoiled(state, math.nan, steps=[*range(2, 17), *range(18, 33)]))
    assert (state.guard.skipped, state.guard.in_a_row) == (30, 0)


def test_the_guard_waits_until_a_deviation_means_something():
    guard = Guard()
    assert [guard.verdict(5.0 + n % 2, 1.0 + n % 2) for n in range(FEWEST - 1)] == [None] * (FEWEST - 1)
    assert guard.verdict(1e9, 1.0) is None
    careful = Guard()
    assert [careful.verdict(5.0 + n % 2, 1.0 + n % 2) for n in range(FEWEST)] == [None] * FEWEST
    assert careful.verdict(5.5 + 6 * 0.5 + 0.01, 1.0) == "loss 8.510 is above 8.500, 6 deviations over the last 32 steps"
    assert careful.verdict(5.0, 1.5 + 6 * 0.5 - 0.01) is None


def test_the_guard_never_minds_a_fall():
    guard = Guard()
    assert [guard.verdict(5.0 + n % 2, 1.0) for n in range(FEWEST)] == [None] * FEWEST
    assert guard.verdict(-100.0, 1.0) is None


def test_steps_that_had_nothing_to_learn_say_nothing_about_those_that_have():
    guard = Guard()
    assert [guard.verdict(0.0, 0.0) for _ in range(2 * FEWEST)] == [None] * 2 * FEWEST
    assert [guard.verdict(0.1 * n, 0.5 * n) for n in range(1, 9)] == [None] * 8
    assert guard.verdict(math.nan, 0.0) == "loss is nan"


def test_the_guard_remembers_a_window_and_only_good_steps():
    guard = Guard()
    for n in range(300):
        guard.verdict(math.nan if n % 10 == 0 else float(n % 7), 1.0 + n % 3)
    assert len(guard.losses) == len(guard.norms) == WINDOW
    assert all(math.isfinite(value) for value in guard.losses)
    assert (guard.skipped, guard.in_a_row) == (30, 0)


def test_the_guard_comes_back_from_json_as_it_was():
    guard = Guard()
    for n in range(40):
        guard.verdict(0.1 * (n % 7), 1 / (n + 3))
    guard.verdict(math.inf, 1.0)
    back = Guard.from_plain(json.loads(json.dumps(guard.to_plain())))
    assert back == guard
    assert back.verdict(9.0, 1.0) == guard.verdict(9.0, 1.0)


def interrupt(at: int) -> Probe:
    """Ctrl-C in the middle of a step."""

    def measure(state: TrainState) -> dict[str, int]:
        if state.step == at:
            os.kill(os.getpid(), signal.SIGINT)
        return {}

    return Probe("interrupt", Every(1), measure)


@pytest.mark.parametrize("at", [3, 6])
def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_ends_as_if_nothing_had_been(at: int, tmp_path: Path):
    whole, stopped, resumed = begun(), begun(), begun(weights=7)
    train(whole, plan(tmp_path / "whole", 6))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match=f"stopped after step {at} of 6; a checkpoint was written") as told:
        train(stopped, plan(tmp_path, 6), interrupt(at))
    assert told.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is handler
    how = plan(tmp_path, 6)
    events: list[Event] = []
    assert how.keeper.restore(resumed, Journal(events.append))
    train(resumed, how)
    assert [event["step"] for event in events] == [at]
    assert differences(snapshot(whole), snapshot(resumed)) == []


def test_a_second_ctrl_c_is_obeyed_at_once():
    with stop.listening() as wish:
        os.kill(os.getpid(), signal.SIGTERM)
        assert wish.stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_is_not_for_several_may_send_one():
    with stop.listening() as wish:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert wish.stop


def test_where_training_stands_is_all_that_a_step_depends_on(tmp_path: Path):
    one, other = begun(), begun()
    train(one, plan(tmp_path, 3))
    for last in (1, 2, 3):
        torch.manual_seed(last * 1000)  # what others draw between steps
        train(other, plan(tmp_path, last))
    assert differences(snapshot(one), snapshot(other)) == []


def test_every_step_drops_other_units(tmp_path: Path):
    how = replace(plan(tmp_path, 3), factor=lambda step: 0.0)  # nothing is learned, so only dropout differs
    losses = [event["loss"] for event in train(begun(), how, given=lambda step: items(0))]
    assert len(set(losses)) == 3


def test_another_seed_drops_other_units(tmp_path: Path):
    one, other = begun(), begun()
    other.seed = 6
    for state in (one, other):
        update(state, items(0), objective(state), replace(plan(tmp_path, 1), clip=None))
    assert "embedding.weight" in differences(snapshot(one), snapshot(other))
