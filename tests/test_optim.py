"""Optimizers against their formulas, which parameter goes where, and schedules worked out by hand."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from tiny import fresh, logits, random_tokens, tiny
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.optim import OPTIMIZERS, OptimizerConfig, adamw, muon, sgd
from scratchlm.optim.groups import trainable
from scratchlm.optim.muon import POLAR_EXPRESS, Muon, orthogonalised
from scratchlm.optim.schedule import Cosine, ScheduleConfig, Wsd, cosine, factor, wsd

assert_in_band = partial(assert_close, atol=0.16, rtol=0)
"""Singular values come back between 0.85 and 1.15; where in this band, bfloat16 decides: five steep steps carry its rounding along."""
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


def gaussian(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_numpy(gradient: Tensor) -> np.ndarray:
    """The polar express without bfloat16."""
    x = gradient.double().numpy()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (1.01 * np.linalg.norm(x))
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def stepped(optimizers: list[torch.optim.Optimizer], named: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> None:
    for name, parameter in named.items():
        parameter.grad = gradients[name].clone()
    for optimizer in optimizers:
        optimizer.step()


def with_spectrum(rows: int, columns: int, *, smallest: float) -> Tensor:
    """A matrix with random directions and singular values from 1 down to ``smallest``."""
    few = min(rows, columns)
    u, v = (torch.linalg.qr(gaussian(size, few, seed=size)).Q for size in (rows, columns + 100))
    return u * torch.logspace(0, math.log10(smallest), few) @ v[:columns].mT


@pytest.mark.parametrize("shape", [(48, 12), (12, 48), (24, 24), (1, 9), (9, 1)])
def test_muon_brings_every_singular_value_near_one(shape: tuple[int, int]):
    values = torch.linalg.svdvals(orthogonalised(with_spectrum(*shape, smallest=0.02)).float())
    assert values.min() > 0.7
    assert values.max() < 1.2


@pytest.mark.parametrize("shape", [(10, 6), (6, 10), (7, 7)])
def test_muon_keeps_the_directions_of_a_matrix(shape: tuple[int, int]):
    gradient = with_spectrum(*shape, smallest=0.05)
    u, _, vt = torch.linalg.svd(gradient, full_matrices=False)
    assert_in_band(orthogonalised(gradient).float(), u @ vt)
    assert_in_band(orthogonalised(gradient).float(), torch.from_numpy(in_numpy(gradient)).float())


def test_muon_does_not_care_how_large_a_gradient_is():
    gradient = gaussian(5, 8)
    assert torch.equal(orthogonalised(gradient * 2**-13), orthogonalised(gradient * 2**10))


def test_a_tall_matrix_is_a_wide_one_lying_down():
    gradient = gaussian(9, 4)
    assert torch.equal(orthogonalised(gradient), orthogonalised(gradient.mT).mT)


def test_a_gradient_of_zero_changes_nothing():
    assert (orthogonalised(torch.zeros(3, 5)) == 0).all()


@pytest.mark.parametrize(("shape", "scale"), [((3, 5), 1.0), ((8, 2), 2.0)])
def test_the_first_step_of_muon_is_the_formula(shape: tuple[int, int], scale: float):
    weight, gradient = nn.Parameter(gaussian(*shape)), gaussian(*shape, seed=4)
    before = weight.detach().clone()
    stepped([Muon([weight], lr=0.1, momentum=0.95, weight_decay=0.2)], {"w": weight}, {"w": gradient})
    looked_ahead = gradient.lerp(gradient * (1 - 0.95), 0.95)  # the first running mean is a twentieth of the gradient
    assert_close(weight.detach(), before * (1 - 0.1 * 0.2) - 0.1 * scale * orthogonalised(looked_ahead).float())
    change = (before * (1 - 0.1 * 0.2) - weight.detach()) / (0.1 * scale)
    assert_in_band(change, torch.from_numpy(in_numpy(gradient)).float())


@pytest.mark.parametrize("gradient", [-3.0, 1e-3])
def test_a_matrix_of_one_number_moves_by_its_sign(gradient: float):
    weight = nn.Parameter(torch.tensor([[2.0]]))
    stepped([Muon([weight], lr=0.5, momentum=0.9, weight_decay=0.0)], {"w": weight}, {"w": torch.tensor([[gradient]])})
    assert_in_band(weight.detach(), torch.tensor([[2.0 - math.copysign(0.5, gradient)]]))


def test_momentum_is_a_running_mean_of_gradients():
    weight, gradients = nn.Parameter(gaussian(4, 3)), [gaussian(4, 3, seed=seed) for seed in (5, 6)]
    optimizer = Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    for gradient in gradients:
        stepped([optimizer], {"w": weight}, {"w": gradient})
    assert_close(optimizer.state[weight]["momentum"], 0.9 * 0.1 * gradients[0] + 0.1 * gradients[1])


def test_matrices_of_equal_shape_are_changed_each_by_its_own_gradient():
    names, alone = ["a", "b", "c"], {}
    gradients = {name: gaussian(6, 4, seed=seed) for seed, name in enumerate(names)}
    for name in names:
        alone[name] = nn.Parameter(torch.zeros(6, 4))
        stepped([Muon([alone[name]], lr=1.0, momentum=0.9, weight_decay=0.0)], {name: alone[name]}, gradients)
    together = {name: nn.Parameter(torch.zeros(6, 4)) for name in names}
    stepped([Muon(together.values(), lr=1.0, momentum=0.9, weight_decay=0.0)], together, gradients)
    for name in names:
        assert_in_band(together[name].detach(), alone[name].detach())


def test_muon_leaves_alone_what_has_no_gradient():
    weights = [nn.Parameter(gaussian(4, 3)) for _ in range(2)]
    weights[0].grad = gaussian(4, 3, seed=9)
    Muon(weights, lr=0.1, momentum=0.9, weight_decay=0.5).step()
    assert not torch.equal(weights[0], gaussian(4, 3))
    assert torch.equal(weights[1], gaussian(4, 3))


def test_the_first_step_of_adamw_is_the_formula():
    weight, gradient = nn.Parameter(gaussian(3, 4)), gaussian(3, 4, seed=4)
    before = weight.detach().clone()
    stepped(adamw.build(adamw.Config(lr=0.01, weight_decay=0.5), [("w", weight)]), {"w": weight}, {"w": gradient})
    # Bias correction makes both running means of one gradient that gradient itself.
    assert_close(weight.detach(), before * (1 - 0.01 * 0.5) - 0.01 * gradient / (gradient.abs() + 1e-8))


def test_adamw_is_the_one_of_torch():
    model, twin = tiny("qwen3"), tiny("qwen3")
    ours = adamw.build(adamw.Config(lr=0.02, beta1=0.8, beta2=0.9, weight_decay=0.3), trainable(model))
    decayed = [p for n, p in twin.named_parameters() if p.ndim == 2 and n != "embedding.weight"]
    plain = [p for n, p in twin.named_parameters() if p.ndim < 2 or n == "embedding.weight"]
    options = {"lr": 0.02, "betas": (0.8, 0.9), "foreach": False, "fused": False}
    theirs = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.3}, {"params": plain, "weight_decay": 0.0}], **options)
    for seed in range(4):
        gradients = {name: gaussian(*parameter.shape, seed=seed) for name, parameter in model.named_parameters()}
        stepped(ours, dict(model.named_parameters()), gradients)
        stepped([theirs], dict(twin.named_parameters()), gradients)
    for (name, ours_), theirs_ in zip(model.named_parameters(), twin.parameters(), strict=True):
        # Fused and plain AdamW divide and add in another order.
        assert_close(ours_, theirs_, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_is_the_fused_one_of_torch_bit_for_bit_though_it_stops_in_between(decay: float):
    weights, twins = ([nn.Parameter(gaussian(*shape)) for shape in ((5, 3), (7,))] for _ in range(2))
    options = {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-9}
    groups = [{"params": weights[:1], "weight_decay": decay}, {"params": weights[1:], "weight_decay": 0.0, "lr": 0.5}]
    ours = adamw.AdamW(groups, **options)
    copied = [group | {"params": part} for group, part in zip(groups, (twins[:1], twins[1:]), strict=True)]
    theirs = torch.optim.AdamW(copied, **options, fused=True)
    for seed in range(4):
        for one, other in zip(weights, twins, strict=True):
            one.grad, other.grad = gaussian(*one.shape, seed=seed), gaussian(*one.shape, seed=seed)
        weights[1].grad = twins[1].grad = None if seed == 2 else gaussian(7, seed=9)  # what has no gradient is left alone
        ours.step()
        theirs.step()
        again = adamw.AdamW(groups, **options)
        again.load_state_dict(ours.state_dict())
        ours = again
    assert all(torch.equal(one, other) for one, other in zip(weights, twins, strict=True))
    kept, wanted = ours.state_dict(), theirs.state_dict()
    assert kept["param_groups"] == wanted["param_groups"]
    assert_close(kept["state"], wanted["state"], atol=0, rtol=0)


@pytest.mark.parametrize("worst", [3.0, math.inf])
def test_adamw_leaves_out_a_step_whose_scaled_gradients_are_infinite(worst: float):
    weight, twin = (nn.Parameter(gaussian(3, 4)) for _ in range(2))
    (optimizer,), (plain,) = (adamw.build(adamw.Config(), [("w", parameter)]) for parameter in (weight, twin))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    gradient = gaussian(3, 4, seed=4).clamp(-1, 1)
    gradient[0, 0] = worst
    scaler.scale((weight * gradient).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    if worst < math.inf:
        stepped([plain], {"w": twin}, {"w": gradient})
    assert torch.equal(weight, twin)


@every_architecture
@every_optimizer
def test_every_parameter_belongs_to_exactly_one_group(kind: str, architecture: str):
    model = fresh(architecture)
    optimizers = OPTIMIZERS[kind].build(OPTIMIZERS[kind].Config(), trainable(model))
    owned = [parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]]
    assert len(owned) == len(list(model.parameters()))
    assert {id(parameter) for parameter in owned} == {id(parameter) for parameter in model.parameters()}


@every_architecture
@every_optimizer
def test_norms_biases_and_embeddings_do_not_decay(kind: str, architecture: str):
    model = fresh(architecture)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizers = OPTIMIZERS[kind].build(OPTIMIZERS[kind].Config(weight_decay=0.1), trainable(model))
    decay = {names[id(p)]: group["weight_decay"] for part in optimizers for group in part.param_groups for p in group["params"]}
    spared = {n for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n}
    assert {decay[name] for name in spared} == {0.0}
    assert {value for name, value in decay.items() if name.startswith("layers.") and name not in spared} == {0.1}


@every_architecture
def test_muon_takes_the_matrices_between_hidden_states_and_nothing_else(architecture: str):
    model = fresh(architecture)
    first, rest = muon.build(muon.Config(lr=0.5, embedding_lr=0.3, head_lr=0.2, scalar_lr=0.1), trainable(model))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = {names[id(p)] for group in first.param_groups for p in group["params"]}
    assert hidden == {n for n, p in model.named_parameters() if n.startswith("layers.") and p.ndim == 2}
    lrs = {names[id(p)]: group["lr"] for group in rest.param_groups for p in group["params"]}
    assert {lr for name, lr in lrs.items() if "embedding" in name} == {0.3}
    assert lrs["head.weight"] == 0.2
    assert {lr for name, lr in lrs.items() if name.startswith("layers.")} == {0.1}


def test_without_hidden_matrices_muon_is_adamw():
    (only,) = muon.build(muon.Config(), [("embedding.weight", nn.Parameter(gaussian(5, 3)))])
    assert isinstance(only, torch.optim.AdamW)


LEARNS: dict[str, OptimizerConfig] = {
    "adamw": adamw.Config(lr=0.02),
    "muon": muon.Config(),
    "rmsprop": OPTIMIZERS["rmsprop"].Config(lr=0.005),
    "sgd": sgd.Config(lr=0.5, momentum=0.9),
}


@every_optimizer
def test_every_optimizer_learns_a_few_rows_by_heart(kind: str):
    model, tokens_BT = fresh("qwen3"), random_tokens(2, 9)
    optimizers = OPTIMIZERS[kind].build(LEARNS[kind], trainable(model))  # pyright: ignore[reportArgumentType]
    losses = []
    for _ in range(60):
        loss = F.cross_entropy(logits(model, tokens_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten())
        losses.append(float(loss.detach()))
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    ("step", "wanted"), [(0, 1 / 4), (3, 1.0), (4, 1.0), (12, 0.1 + 0.9 / 2), (19, 0.1 + 0.45 * (1 + math.cos(15 / 16 * math.pi)))]
)
def test_cosine_by_hand(step: int, wanted: float):
    assert factor(Cosine(warmup=0.2, floor=0.1), step, 20) == pytest.approx(wanted)


@pytest.mark.parametrize(("step", "wanted"), [(0, 1 / 2), (1, 1.0), (2, 1.0), (12, 1.0), (13, 0.2 + 0.8 * 7 / 8), (19, 0.2 + 0.8 / 8)])
def test_wsd_by_hand(step: int, wanted: float):
    assert factor(Wsd(warmup=0.1, decay=0.4, floor=0.2), step, 20) == pytest.approx(wanted)


def test_both_schedules_end_on_their_floor():
    assert cosine(50, warmup=5, total=50, floor=0.1) == pytest.approx(0.1)
    assert cosine(99, warmup=5, total=50, floor=0.1) == pytest.approx(0.1)
    assert wsd(50, warmup=5, decay=20, total=50, floor=0.0) == 0.0


@pytest.mark.parametrize(
    "config", [Cosine(), Cosine(warmup=0, floor=1), Cosine(warmup=1), Wsd(), Wsd(warmup=0, decay=0), Wsd(warmup=0, decay=1)]
)
@pytest.mark.parametrize("total", [1, 2, 7, 300])
def test_a_schedule_is_a_pure_function_that_rises_and_then_falls(config: ScheduleConfig, total: int):
    factors = [factor(config, step, total) for step in range(total)]
    assert factors == [factor(config, step, total) for step in range(total)]
    assert all(0 < each <= 1 for each in factors)
    top = factors.index(max(factors))
    assert factors == sorted(factors[:top]) + sorted(factors[top:], reverse=True)
