"""Losses against their formulas: chunks change nothing, and every number that fits on paper is worked out on paper."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, features, random_tokens, tiny
from torch import Tensor
from torch.testing import assert_close

from scratchlm.batches.chat import PreferenceBatch, batch_of
from scratchlm.losses.likelihood import chunked_cross_entropy, cross_entropy, token_logprobs
from scratchlm.losses.policy import group_advantages, grpo
from scratchlm.losses.preference import PairLogprobs, dpo
from scratchlm.parallel.precision import Dtype, Precision
from scratchlm.train.objectives import Better, PairItem, Rewarded, Rollouts, answer_logprobs, head_parameters

assert_near = partial(assert_close, atol=2e-5, rtol=2e-5)
"""Some hundred float32 numbers added in another order."""


def weighted(batch: int, time: int) -> Tensor:
    """Weights of which some are 0, some 1 and some between."""
    return (torch.arange(batch * time).view(batch, time) % 4).float() / 2


def gradients_of(name: str, rows: int | None, **changes: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss and every parameter's gradient: plain, or in chunks of ``rows`` positions."""
    model, tokens_BT, weights_BT = tiny(name, **changes), random_tokens(3, 12), weighted(3, 11)
    x_BTD, targets_BT = features(model, tokens_BT[:, :-1]), tokens_BT[:, 1:]
    if rows is None:
        loss = cross_entropy(model.logits, x_BTD, targets_BT, weights_BT)
    else:
        loss = chunked_cross_entropy(model.logits, x_BTD, targets_BT, weights_BT, parameters=head_parameters(model), rows=rows)
    (loss / 7).backward()  # a scale on the way back, as the loop has one
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("rows", [1, 5, 24, 512])
@pytest.mark.parametrize(("name", "changes"), [("qwen3", {}), ("qwen3", {"tied": True}), ("minillm", {}), ("swift", {})])
def test_chunks_change_neither_loss_nor_gradients(name: str, changes: dict[str, Any], rows: int):
    (plain, wanted), (chunked, found) = gradients_of(name, None, **changes), gradients_of(name, rows, **changes)
    assert_near(chunked, plain)
    assert found.keys() == wanted.keys()
    for key in wanted:
        assert_near(found[key], wanted[key], msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("rows", [2, 512])
def test_chunks_without_gradients_are_the_same_sum(rows: int):
    model, tokens_BT, weights_BT = tiny("qwen3"), random_tokens(3, 12), weighted(3, 11)
    with torch.no_grad():
        x_BTD = features(model, tokens_BT[:, :-1])
        plain = cross_entropy(model.logits, x_BTD, tokens_BT[:, 1:], weights_BT)
        chunked = chunked_cross_entropy(model.logits, x_BTD, tokens_BT[:, 1:], weights_BT, parameters=[], rows=rows)
    assert_near(chunked, plain)


def test_a_loss_over_nothing_is_zero_and_so_are_its_gradients():
    model, tokens_BT = tiny("qwen3"), random_tokens(2, 6)
    x_BTD = features(model, tokens_BT[:, :-1])
    loss = chunked_cross_entropy(model.logits, x_BTD, tokens_BT[:, 1:], torch.zeros(2, 5), parameters=head_parameters(model))
    loss.backward()
    assert loss == 0
    assert all(parameter.grad is not None and (parameter.grad == 0).all() for parameter in model.parameters())


def test_the_gradient_made_on_the_way_forward_is_the_slope_of_the_loss():
    generator = torch.Generator().manual_seed(4)
    x_BTD = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    head_VD = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    targets_BT, weights_BT = torch.arange(10).view(2, 5) % 7, weighted(2, 5).double()

    def loss(x_BTD: Tensor, head_VD: Tensor) -> Tensor:
        return chunked_cross_entropy(lambda x: x @ head_VD.T, x_BTD, targets_BT, weights_BT, parameters=[head_VD], rows=4)

    assert torch.autograd.gradcheck(loss, (x_BTD, head_VD))


@pytest.mark.parametrize("rows", [2, 512])
def test_scores_of_any_size_are_no_trouble(rows: int):
    scores_BTV = torch.tensor([[[1e4, -1e4, 0.0], [-3e4, -3e4, -3e4], [88.0, 89.0, 90.0]]], requires_grad=True)
    targets_BT, weights_BT = torch.tensor([[1, 0, 2]]), torch.ones(1, 3)
    loss = chunked_cross_entropy(lambda x: x, scores_BTV, targets_BT, weights_BT, parameters=[], rows=rows)
    loss.backward()
    assert_close(loss.detach(), torch.tensor(2e4 + math.log(3) + math.log(1 + math.exp(-1) + math.exp(-2))))
    assert scores_BTV.grad is not None
    assert_close(scores_BTV.grad[0, :2], torch.tensor([[1.0, -1.0, 0.0], [-2 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_products_make_no_difference_between_plain_and_chunked(dtype: Dtype):
    with Precision(dtype).autocast():
        plain, wanted = gradients_of("qwen3", None)
        chunked, found = gradients_of("qwen3", 5)
    assert plain.dtype == chunked.dtype == torch.float32
    assert_near(chunked, plain)
    # The slope of the scores is rounded once to 1/256 (bfloat16) on the way back.
    assert all((found[key] - wanted[key]).norm() < 0.03 * wanted[key].norm() for key in wanted)


@pytest.mark.parametrize("target", [VOCAB, -1])
def test_a_target_outside_the_vocabulary_stops_the_training_step_too(target: int):
    model, targets_BT = tiny("qwen3"), torch.tensor([[1, target, 2]])
    x_BTD = features(model, random_tokens(1, 3))
    with pytest.raises((IndexError, RuntimeError), match="bounds"):
        chunked_cross_entropy(model.logits, x_BTD, targets_BT, torch.ones(1, 3), parameters=head_parameters(model))


def test_a_head_that_knows_nothing_is_surprised_by_ln_v_nats_a_token():
    targets_BT, weights_BT = random_tokens(2, 5), torch.ones(2, 5)
    loss = cross_entropy(lambda x: torch.zeros(*x.shape[:-1], VOCAB), torch.zeros(2, 5, 3), targets_BT, weights_BT)
    assert_close(loss, torch.tensor(10 * math.log(VOCAB)))


def test_logprobs_by_hand():
    logits_BTV = torch.tensor([[[math.log(1), math.log(2), math.log(5)], [0.0, 0.0, math.log(2)]]])
    found_BT = token_logprobs(logits_BTV, torch.tensor([[2, 0]]))
    assert_close(found_BT, torch.tensor([[math.log(5 / 8), math.log(1 / 4)]]))


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_probabilities_of_all_tokens_add_up_to_one(scores: list[float]):
    V = len(scores)
    found_B = token_logprobs(torch.tensor([scores] * V), torch.arange(V))
    assert_close(found_B.exp().sum(), torch.tensor(1.0))


def test_logprobs_are_wide_whatever_the_scores_are():
    targets_B = torch.tensor([1, 0])
    dtypes = {kind: token_logprobs(torch.randn(2, 4).to(kind), targets_B).dtype for kind in (torch.float16, torch.bfloat16, torch.float64)}
    assert dtypes == {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float64: torch.float64}


@pytest.mark.parametrize("target", [4, -1, 99])
def test_a_target_outside_the_vocabulary_is_an_error(target: int):
    with pytest.raises(IndexError):
        token_logprobs(torch.randn(1, 3, 4), torch.tensor([[0, target, 1]]))


def pairs(*values: tuple[float, float]) -> PairLogprobs:
    chosen_P, rejected_P = torch.tensor(values, dtype=torch.float64).T
    return PairLogprobs(chosen_P, rejected_P)


def test_dpo_begins_at_ln_2():
    losses_P, margins_P = dpo(pairs((-3, -9), (-8, -1)), pairs((-3, -9), (-8, -1)), beta=0.3)
    assert_close(losses_P, torch.full((2,), math.log(2), dtype=torch.float64))
    assert margins_P.tolist() == [0, 0]


def test_dpo_by_hand():
    losses_P, margins_P = dpo(pairs((-2, -7)), pairs((-4, -6)), beta=0.5)
    assert_close(margins_P, torch.tensor([0.5 * ((-2 + 7) - (-4 + 6))], dtype=torch.float64))
    assert_close(losses_P, torch.tensor([math.log(1 + math.exp(-1.5))], dtype=torch.float64))


def test_dpo_lifts_the_chosen_and_lowers_the_rejected_by_the_same():
    policy = pairs((-2, -7), (-9, -3))
    for side in (policy.chosen_P, policy.rejected_P):
        side.requires_grad_()
    dpo(policy, pairs((-4, -6), (-4, -6)), beta=0.5)[0].sum().backward()
    assert policy.chosen_P.grad is not None
    assert policy.rejected_P.grad is not None
    assert (policy.chosen_P.grad < 0).all()
    assert_close(policy.chosen_P.grad, -policy.rejected_P.grad)
    assert policy.chosen_P.grad[1] < policy.chosen_P.grad[0]  # the pair that is wrong pulls harder


def test_an_answers_logprob_is_the_sum_over_its_own_tokens():
    logprobs_BT = -torch.tensor([[1.0, 2, 4], [8, 16, 32], [64, 128, 256], [512, 1024, 2048]])
    weights_BT = torch.tensor([[0.0, 1, 1], [0, 0, 1], [1, 1, 0], [0, 0, 0]])
    found = answer_logprobs(logprobs_BT, weights_BT)
    assert found.chosen_P.tolist() == [-6, -32]
    assert found.rejected_P.tolist() == [-192, 0]


def test_the_preference_objective_begins_at_ln_2_and_its_anchor():
    model = tiny("qwen3")
    sides = [[([1, 5, 7, 9], [False, False, True, True])], [([1, 5, 3], [False, False, True])]]
    rows = batch_of(sides, length=3, pad=0)
    x_BTD = features(model, rows.inputs.tokens_BT)
    now = answer_logprobs(token_logprobs(model.logits(x_BTD), rows.targets_BT), rows.weights_BT)
    item = PairItem(PreferenceBatch(rows), PairLogprobs(now.chosen_P.detach(), now.rejected_P.detach()))
    loss, facts = Better(model.logits, beta=0.3, anchor=0.5).loss(x_BTD, item)
    assert_close(loss, torch.tensor(math.log(2)) - 0.5 * now.chosen_P[0] / 2)
    assert facts["chosen_nll"] == pytest.approx(-float(now.chosen_P[0].detach()) / 2)
    assert (facts["accuracy"], facts["margin"], item.weight) == (0, 0, 1)


def test_at_ratio_one_grpo_is_minus_the_advantage():
    advantages_B1 = torch.tensor([[1.5], [-0.5]])
    same_BT = -torch.rand(2, 4)
    losses_BT, kl_BT = grpo(same_BT, same_BT, same_BT, advantages_B1, clip=0.2, kl=0.1)
    assert_close(losses_BT, -advantages_B1.expand(2, 4))
    assert (kl_BT == 0).all()


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [(1.5, 2.0, 1.2 * 2), (0.5, 2.0, 0.5 * 2), (1.5, -2.0, -1.5 * 2), (0.5, -2.0, -0.8 * 2), (1.1, -2.0, -1.1 * 2)],
)
def test_grpo_clips_only_what_would_gain(ratio: float, advantage: float, gain: float):
    now_BT = torch.tensor([[math.log(ratio)]])
    losses_BT, _ = grpo(now_BT, torch.zeros(1, 1), now_BT, torch.tensor([[advantage]]), clip=0.2, kl=0.7)
    assert_close(losses_BT, torch.tensor([[-gain]]))


def test_beyond_the_clip_grpo_does_not_pull():
    now_BT = torch.tensor([[math.log(1.5), math.log(1.1)]], requires_grad=True)
    grpo(now_BT, torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[1.0]]), clip=0.2, kl=0.0)[0].sum().backward()
    assert_close(now_BT.grad, torch.tensor([[0.0, -1.1]]))


def test_the_divergence_is_by_hand_and_never_negative():
    now_BT = torch.linspace(-4, 0, 41).view(1, 41)
    reference_BT = torch.full((1, 41), -2.0)
    losses_BT, kl_BT = grpo(now_BT, now_BT, reference_BT, torch.zeros(1, 1), clip=0.2, kl=0.5)
    assert (kl_BT >= 0).all()
    assert_close(kl_BT[0, 0], torch.tensor(math.e**2 - 2 - 1))
    assert_close(losses_BT, 0.5 * kl_BT)


def test_answers_that_are_all_alike_have_no_advantage():
    advantages_PG = group_advantages(torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0], [0.3, 0.3, 0.3, 0.3]]))
    assert_close(advantages_PG, torch.zeros(3, 4), atol=1e-3, rtol=0)  # rounding of 0.3, divided by eps


def test_advantages_are_deviations_within_the_group():
    advantages_PG = group_advantages(torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0]]))
    assert_close(advantages_PG[1], torch.tensor([1.0, 1, -1, -1]), atol=1e-3, rtol=0)  # eps beside a deviation of 0.5
    assert_close(advantages_PG[0], torch.tensor([3**0.5, *([-(3**-0.5)] * 3)]), atol=1e-3, rtol=0)


def test_the_reward_of_a_step_is_the_mean_over_answers_of_any_length():
    rows = batch_of([[([4, 5, 6], [False, True, True])], [([4, 7], [False, True])]], length=2, pad=0)
    model = tiny("qwen3")
    x_BTD = features(model, rows.inputs.tokens_BT)
    now_BT = token_logprobs(model.logits(x_BTD), rows.targets_BT).detach()
    item = Rollouts(rows, now_BT, now_BT, torch.tensor([[1.0], [-1.0]]), torch.tensor([1.0, 0.0]), tokens_per_answer=1.5)
    loss, facts = Rewarded(model.logits, kl=0.1).loss(x_BTD, item)
    assert item.weight == 3
    assert facts["reward"] / item.weight == 0.5
    assert facts["kl"] == pytest.approx(0, abs=1e-6)
    assert_close(loss, torch.tensor(-2.0 + 1.0))


def test_the_head_s_gradient_is_summed_wide_whatever_it_is_of():
    """Of a head in bfloat16 many chunks are as exact as one: only the last rounding is to bfloat16."""
    generator = torch.Generator().manual_seed(0)
    x_BTD, weight = torch.randn(4, 64, 16, generator=generator), torch.randn(33, 16, generator=generator)
    targets_BT, weights_BT = torch.randint(33, (4, 64), generator=generator), torch.ones(4, 64)

    def gradient(rows: int, dtype: torch.dtype) -> Tensor:
        head = weight.bfloat16().to(dtype).requires_grad_()
        given = (x_BTD.bfloat16().to(dtype), targets_BT, weights_BT)
        chunked_cross_entropy(lambda x: x @ head.T, *given, parameters=[head], rows=rows).backward()
        assert head.grad is not None
        assert head.grad.dtype == dtype
        return head.grad.float()

    right = gradient(256, torch.float32)
    apart = [float((gradient(rows, torch.bfloat16) - right).norm() / right.norm()) for rows in (256, 4)]
    assert apart[0] < 0.01
    assert apart[1] < 1.2 * apart[0]
