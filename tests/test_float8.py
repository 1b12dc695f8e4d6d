"""Products of 8-bit numbers: what the processor computes is what the formats say."""

import pytest
import torch
from tiny import fresh
from torch import Tensor, nn
from torch.testing import assert_close

from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.parallel import float8
from scratchlm.parallel.float8 import BACKWARD, FORWARD, Linear8, convert_, scaled


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` as an 8-bit tensor holds it."""
    kept, scale = scaled(x, dtype)
    return kept.float() * scale


@pytest.mark.parametrize(("dtype", "step"), [(FORWARD, 2**-4), (BACKWARD, 2**-3)])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_a_tensor_of_any_size_keeps_its_digits(dtype: torch.dtype, step: float, size: float):
    x = (1 + numbers(40, 30, seed=0).abs()) * size
    kept = rounded(x, dtype)
    assert float(((kept - x) / x).abs().max()) <= step  # half of the last bit of the mantissa
    assert kept.max() == pytest.approx(float(x.max()))  # the largest number is the largest of the format


def test_zeros_stay_zeros_and_what_is_no_number_stays_none():
    assert bool((rounded(torch.zeros(3, 3), FORWARD) == 0).all())
    assert bool(rounded(torch.tensor([1.0, float("nan")]), FORWARD).isnan().any())


def layer(inputs: int, outputs: int, *, bias: bool) -> Linear8:
    made = nn.Linear(inputs, outputs, bias=bias)
    holder = nn.ModuleDict({"layers": nn.ModuleDict({"0": nn.ModuleDict({"up": made})})})
    assert convert_(holder, {"layers.*.up": "columns"}) == 1
    assert isinstance(made, Linear8)
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_and_its_gradients_are_products_of_rounded_numbers(bias: bool):
    own = layer(32, 48, bias=bias)
    x = numbers(2, 8, 32, seed=1).requires_grad_()
    slope = numbers(2, 8, 48, seed=2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = own(x)
    out.backward(slope)
    x8, w8, slope8 = (
        rounded(x.detach(), FORWARD).flatten(0, 1),
        rounded(own.weight.detach(), FORWARD),
        rounded(slope, BACKWARD).flatten(0, 1),
    )
    wanted = x8 @ w8.T + (own.bias.detach() if bias else 0)
    # What comes out is bfloat16: eight bits.
    assert_close(out.flatten(0, 1).float(), wanted, rtol=2**-7, atol=2**-7)
    assert x.grad is not None
    assert own.weight.grad is not None
    assert_close(x.grad.flatten(0, 1), slope8 @ w8, rtol=2**-7, atol=2**-7)
    assert_close(own.weight.grad, slope8.T @ x8, rtol=2**-7, atol=2**-6)
    assert out.dtype == torch.bfloat16
    assert x.grad.dtype == own.weight.grad.dtype == torch.float32
    if bias:
        assert own.bias.grad is not None
        assert_close(own.bias.grad, slope.flatten(0, 1).float().sum(0), rtol=2**-7, atol=2**-6)


def test_outside_training_and_on_odd_rows_a_layer_is_the_usual_one():
    own = layer(32, 48, bias=True)
    plain = nn.Linear(32, 48)
    plain.load_state_dict(own.state_dict())
    odd, even = numbers(3, 5, 32, seed=1), numbers(2, 8, 32, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(own(odd), plain(odd))
        assert not torch.equal(own(even), plain(even))
        own.eval()
        assert torch.equal(own(even), plain(even))
    own.train()
    assert torch.equal(own(even), plain(even))


def test_matrices_of_blocks_are_converted_and_nothing_else():
    changed = fresh("moe", width=32, head_dim=16, expert_hidden=48, vocab=64, experts=16)
    names = list(changed.state_dict())
    count = convert_(changed, ARCHITECTURES["moe"].SHARDING)
    eight = {name for name, module in changed.named_modules() if isinstance(module, Linear8)}
    assert count == len(eight) == 2 * (4 + 16 * 3)
    assert not any(word in name for name in eight for word in ("router", "head", "embedding"))
    assert list(changed.state_dict()) == names
    assert convert_(fresh("qwen3"), ARCHITECTURES["qwen3"].SHARDING) == 0  # 14 and 20 wide


def test_a_model_learns_with_it():
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))})
    convert_(model, {"layers.*": "rows"})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    x, wanted = numbers(64, 16, seed=3), numbers(64, 16, seed=4)
    losses = []
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (model["layers"](x).float() - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    assert float8.UNIT == 16
