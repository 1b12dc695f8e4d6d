"""Experts share the work: the gradient is that of the published loss, padding has no part in it, and the loop divides it once."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_families import FAMILIES, in_our_names, theirs
from tiny import SHAPES, build, features, random_tokens, tiny
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close
from trainee import batch, objective, plan
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from scratchlm.core.tensors import Batch, ModelInputs, Regularised, positions_of
from scratchlm.model import attention, moe
from scratchlm.model.architectures import ARCHITECTURES, shape_only
from scratchlm.model.balance import Balance, Route, also_asked
from scratchlm.optim import adamw
from scratchlm.parallel.precision import Precision
from scratchlm.train.loop import backward, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

assert_near = partial(assert_close, atol=1e-6, rtol=1e-5)
"""Sums of some dozen float32 products in another order."""


POSITIONS_BT = torch.tensor([[0, 1, 2, 3, 0, 1, 2], [0, 1, 0, 1, 2, 3, 4]])
"""Two rows of two documents."""
many_layers = pytest.mark.parametrize("layers", [1, 2, 3])


def routed(layers: int, *, experts: int = 5, per_token: int = 3) -> tuple[list[Tensor], list[Route], Tensor]:
    """Routers' scores that learn, what follows from them, and what the last layer gave."""
    generator = torch.Generator().manual_seed(3)
    scores = [torch.randn(14, experts, generator=generator).requires_grad_() for _ in range(layers)]
    probabilities = [scores_NE.softmax(-1) for scores_NE in scores]
    routes = [(probabilities_NE, probabilities_NE.topk(per_token).indices) for probabilities_NE in probabilities]
    return scores, routes, torch.randn(2, 7, 4, generator=generator).requires_grad_()


def balanced(x_BTD: Tensor, positions_BT: Tensor, routes: list[Route]) -> tuple[Tensor, Tensor]:
    """As the model does it: counts go from layer to layer, and the last one's output through ``Balance``."""
    asked_BTE = torch.zeros(*positions_BT.shape, routes[0][0].shape[1])
    for route in routes:
        asked_BTE = also_asked(asked_BTE, route)
    return Balance(len(routes))(x_BTD, positions_BT, asked_BTE)


def written_out(routes: list[Route], counted_N: Tensor) -> Tensor:
    """E · Σ f · P, with f and P as means over the counted positions of all layers: Fedus et al. 2021, eq. 4 to 6."""
    probabilities_NE = torch.cat([probabilities_NE[counted_N] for probabilities_NE, _ in routes])
    chosen_NK = torch.cat([chosen_NK[counted_N] for _, chosen_NK in routes])
    N, E = probabilities_NE.shape
    share_E = torch.stack([(chosen_NK == expert).sum() for expert in range(E)]) / N
    return E * (share_E * probabilities_NE.mean(dim=0)).sum()


@many_layers
def test_the_gradient_is_that_of_the_published_loss(layers: int):
    scores, routes, x_BTD = routed(layers)
    same_BTD, zero = balanced(x_BTD, POSITIONS_BT, routes)
    found = torch.autograd.grad(same_BTD.sum() + 0.5 * zero, scores, retain_graph=True)
    expected = torch.autograd.grad(0.5 * written_out(routes, torch.ones(14, dtype=torch.bool)), scores)
    assert zero == 0
    assert torch.equal(same_BTD, x_BTD)
    assert all(expected_NE.abs().max() > 1e-3 for expected_NE in expected)
    for found_NE, expected_NE in zip(found, expected, strict=True):
        assert_near(found_NE, expected_NE)


@many_layers
def test_it_is_the_one_of_transformers(layers: int):
    """And with their mask where a document has no part in the loss."""
    mask_BT = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1] * 7])
    for asked_BT, mask in ((torch.ones(2, 7), None), (mask_BT, mask_BT)):
        scores, routes, x_BTD = routed(layers)
        same_BTD, zero = balanced(x_BTD, POSITIONS_BT, routes)
        found = torch.autograd.grad((same_BTD * asked_BT[..., None]).sum() + zero, scores, retain_graph=True)
        asked: Any = load_balancing_loss_func(tuple(scores), num_experts=5, top_k=3, attention_mask=mask)  # pyright: ignore[reportArgumentType]
        for found_NE, expected_NE in zip(found, torch.autograd.grad(asked, scores), strict=True):
            assert_near(found_NE, expected_NE)


def test_all_of_a_document_counts_when_anything_of_it_matters_to_the_loss():
    scores, routes, x_BTD = routed(2)
    same_BTD, zero = balanced(x_BTD, POSITIONS_BT, routes)
    found = torch.autograd.grad(same_BTD[0, 2].sum() + same_BTD[1, 6].sum() + zero, scores, retain_graph=True)
    counted_BT = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1]]).bool()
    expected = torch.autograd.grad(written_out(routes, counted_BT.flatten()), scores)
    for found_NE, expected_NE in zip(found, expected, strict=True):
        assert_near(found_NE, expected_NE)
        assert (found_NE[~counted_BT.flatten()] == 0).all()


def test_where_nothing_matters_nothing_is_asked():
    scores, routes, x_BTD = routed(2)
    same_BTD, zero = balanced(x_BTD, POSITIONS_BT, routes)
    for found_NE in torch.autograd.grad(0 * same_BTD.sum() + zero, scores):
        assert (found_NE == 0).all()


def test_only_the_mixture_of_experts_asks_for_anything():
    assert [name for name in ARCHITECTURES if isinstance(tiny(name), Regularised)] == ["moe"]


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def routers(model: nn.Module) -> list[nn.Linear]:
    return [module for name, module in model.named_modules() if name.endswith("router") and isinstance(module, nn.Linear)]


def state_with(balance: float, *, layers: int = 2) -> TrainState:
    shape = SHAPES["moe"].model_copy(update={"balance": balance, "layers": layers})
    return TrainState.begin(build(shape, seed=0), adamw.Config(), seed=5)


def of_step(given: list[Batch], *, balance: float, layers: int = 2) -> dict[str, Tensor]:
    """Gradients of one whole step, before the optimizer takes them: none is clipped."""
    state = state_with(balance, layers=layers)
    weight = sum(item.weight for item in given)
    for item in given:
        backward(state, item, objective(state), Precision("float32"), scale=1 / weight)
    return gradients(state.model)


def routes_of(state: TrainState, item: Batch) -> list[Route]:
    """Who is asked in each layer, as the routers' own scores say."""
    seen: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, scores_NE: Tensor) -> None:
        seen.append(scores_NE)

    hooks = [router.register_forward_hook(note) for router in routers(state.model)]
    inputs = item.inputs
    state.model.features(inputs.tokens_BT, inputs.positions_BT, attention.packed(inputs.segments_BT))
    for hook in hooks:
        hook.remove()
    return [(scores_NE.softmax(-1), scores_NE.topk(3).indices) for scores_NE in seen]


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("trained", [1.0, 0.5, 0.1])
def test_it_counts_beside_a_nat_of_loss_whatever_part_is_trained(layers: int, trained: float):
    """The gradient of losses / weight + balance · the mean over all positions, prompts among them."""
    rows = batch(3, 20)
    weights_BT = (torch.arange(20) % 10 >= 10 - 10 * trained).float().expand(3, 20).clone()
    weights_BT[:, 3] = 0.5  # of the first document, too
    item = Batch(rows.inputs, rows.targets_BT, weights_BT)
    state = state_with(0.5, layers=layers)
    routes = routes_of(state, item)
    asked = written_out(routes, torch.ones(60, dtype=torch.bool))
    names = dict(state.model.named_parameters())
    expected = torch.autograd.grad(0.5 * asked, list(names.values()), allow_unused=True)
    found, plain = (of_step([item], balance=balance, layers=layers) for balance in (0.5, 0.0))
    for (name, parameter), gradient in zip(names.items(), expected, strict=True):
        # The difference of two sums is as far off as they are.
        assert_close(found[name] - plain[name], torch.zeros_like(parameter) if gradient is None else gradient, atol=1e-6, rtol=1e-4)
    assert (found["layers.0.feed.router.weight"] - plain["layers.0.feed.router.weight"]).abs().max() > 1e-3


def their_name(name: str) -> str:
    return moe.HF_NAMES[re.sub(r"(?<=\.)\d+", "{}", name)].format(*re.findall(r"(?<=\.)\d+", name))


@pytest.mark.parametrize("layers", [2, 3])
def test_loss_and_balance_add_up_as_in_transformers(layers: int, tmp_path: Path):
    """Every gradient of a step on two rows with prompts, one of them padded: ``balance`` is ``router_aux_loss_coef``."""
    kind, fields, shape = FAMILIES["qwen3_moe"]
    other = theirs(kind, fields | {"num_hidden_layers": layers, "router_aux_loss_coef": 0.5})
    other.save_pretrained(tmp_path)
    ours = shape_only(shape.model_copy(update={"layers": layers, "balance": 0.5}))
    ours.load_state_dict(in_our_names(ours, load_file(tmp_path / "model.safetensors")), assign=True)
    tokens_BT = random_tokens(2, 12)
    length_B1 = torch.tensor([[12], [7]])
    trained_BT = (torch.arange(12) >= 4) & (torch.arange(12) < length_B1 - 1)  # the answer's first token stands behind position 4
    labels_BT = torch.where(trained_BT.roll(1, dims=1), tokens_BT, -100)
    segments_BT = (torch.arange(12) >= length_B1).long()
    said = other(tokens_BT, attention_mask=1 - segments_BT, labels=labels_BT, output_router_logits=True)
    said.loss.backward()
    item = Batch(ModelInputs(tokens_BT, positions_of(segments_BT), segments_BT), tokens_BT.roll(-1, dims=1), trained_BT.float())
    state = TrainState.begin(ours, adamw.Config(), seed=5)
    loss, _ = backward(state, item, objective(state), Precision("float32"), scale=1 / item.weight)
    assert loss / item.weight + 0.5 * said.aux_loss.item() == pytest.approx(said.loss.item(), rel=1e-5)
    expected = gradients(other)
    found = {their_name(name): gradient for name, gradient in gradients(ours).items()}
    shared = found.keys() & expected.keys()
    assert sum(name.endswith("mlp.gate.weight") for name in shared) == layers
    for name in shared:
        assert_close(found[name], expected[name], atol=1e-5, rtol=1e-4)


def padded(item: Batch, more: int) -> Batch:
    """The same rows with a segment of padding behind each."""
    tokens_BT = F.pad(item.inputs.tokens_BT, (0, more), value=7)
    segments_BT = F.pad(item.inputs.segments_BT, (0, more), value=9)
    inputs = ModelInputs(tokens_BT, positions_of(segments_BT), segments_BT)
    return Batch(inputs, F.pad(item.targets_BT, (0, more)), F.pad(item.weights_BT, (0, more)))


def test_padding_changes_no_gradient():
    item = batch(3)
    plain, longer = (of_step([each], balance=0.5) for each in (item, padded(item, 4)))
    for name, gradient in plain.items():
        assert_near(longer[name], gradient)


def test_a_step_may_be_cut_anywhere_where_the_shares_are_the_same():
    """Two micro-batches of the same rows weigh as much as one of them twice as heavy."""
    item = batch(3)
    twice, once = of_step([item, item], balance=0.5), of_step([item], balance=0.5)
    for name, gradient in once.items():
        assert_near(twice[name], gradient)


def test_a_loss_scaler_scales_it_too():
    """With float16's scaler the gradients come out as large as without."""
    item = batch(3)
    plain = of_step([item], balance=0.5)
    state = replace(state_with(0.5), scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    backward(state, item, objective(state), Precision("float32"), scale=1 / item.weight)
    for name, gradient in gradients(state.model).items():
        assert_near(gradient / 1024, plain[name])


def shares(model: nn.Module, tokens_BT: Tensor) -> Tensor:
    """Which part of the positions asks each expert."""
    found: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, scores_NE: Tensor) -> None:
        found.append(scores_NE)

    hook = routers(model)[0].register_forward_hook(note)
    with torch.no_grad():
        features(model, tokens_BT)  # pyright: ignore[reportArgumentType]
    hook.remove()
    return found[0].argmax(-1).bincount(minlength=5) / len(found[0])


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_a_favourite_loses_its_privilege_only_when_balance_is_asked_for(balance: float, tmp_path: Path):
    model = build(SHAPES["moe"].model_copy(update={"experts_per_token": 1, "balance": balance, "layers": 1}), seed=0)
    tokens_BT = random_tokens(8, 12)
    with torch.no_grad():
        routers(model)[0].weight[2] += 4 * F.normalize(model.embedding(tokens_BT).mean(dim=(0, 1)), dim=0)
    before_E = shares(model, tokens_BT)
    state = TrainState.begin(model, adamw.Config(lr=0.01, weight_decay=0.0), seed=0)
    segments_BT = torch.zeros_like(tokens_BT)
    inputs = ModelInputs(tokens_BT, positions_of(segments_BT), segments_BT)
    item = Batch(inputs, tokens_BT.roll(-1, dims=1), torch.ones(tokens_BT.shape))
    asked = NextToken(model)
    for _ in range(40):
        update(state, [item], asked, plan(tmp_path, 40))
    after_E = shares(model, tokens_BT)
    assert before_E.max() > 0.5
    assert (after_E.max() < 0.35) == (balance > 0), (before_E, after_E)
