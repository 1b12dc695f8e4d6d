"""Slowed-down angles: value for value those of transformers, and what each way promises."""

import math
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from scratchlm.model.rotary import Linear, Llama3, Yarn, rates, rotation

LLAMA31 = Llama3(factor=8, low_frequency_factor=1, high_frequency_factor=4, original_context=8192)
QWEN25 = Yarn(factor=4, original_context=32768)
CASES: dict[str, tuple[Linear | Llama3 | Yarn, dict[str, Any]]] = {
    "linear": (Linear(factor=2.5), {"rope_type": "linear", "factor": 2.5}),
    "llama3": (
        LLAMA31,
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    ),
    "llama3, short": (
        Llama3(factor=3, low_frequency_factor=0.5, high_frequency_factor=6, original_context=64),
        {"rope_type": "llama3", "factor": 3.0, "low_freq_factor": 0.5, "high_freq_factor": 6.0, "original_max_position_embeddings": 64},
    ),
    "yarn": (QWEN25, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    "yarn, told": (
        Yarn(factor=40, original_context=4096, fast=20, slow=2, attention_factor=0.9),
        {
            "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096,
            "beta_fast": 20.0, "beta_slow": 2.0, "attention_factor": 0.9,
        },
    ),
    "yarn, short": (Yarn(factor=2, original_context=16), {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}),
    "yarn, not longer": (Yarn(factor=1, original_context=64), {"rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 64}),
}  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES)


@every_case
@pytest.mark.parametrize("theta", [100.0, 10_000.0, 1_000_000.0])
@pytest.mark.parametrize("channels", [8, 64, 128])
def test_rates_are_those_of_transformers(case: str, theta: float, channels: int):
    ours, theirs = CASES[case]
    config = LlamaConfig(head_dim=channels, max_position_embeddings=131_072, rope_parameters=theirs | {"rope_theta": theta})
    expected_K, stretch = ROPE_INIT_FUNCTIONS[theirs["rope_type"]](config, torch.device("cpu"))
    rates_K, found = rates(channels, theta, ours)
    # A power and its reciprocal round differently: some steps of float32.
    assert_close(rates_K, expected_K, rtol=2e-6, atol=0)
    assert found == pytest.approx(stretch, rel=1e-12)


def test_without_scaling_the_rates_are_a_geometric_row():
    rates_K, stretch = rates(8, 10_000.0)
    assert_close(rates_K, torch.tensor([1.0, 0.1, 0.01, 0.001]))
    assert stretch == 1


@every_case
def test_no_channel_is_slowed_down_more_than_by_the_factor_and_none_is_sped_up(case: str):
    scaling, _ = CASES[case]
    plain_K, _ = rates(64, 10_000.0)
    slowed_K, _ = rates(64, 10_000.0, scaling)
    ratios_K = plain_K / slowed_K
    assert (ratios_K >= 1 - 1e-6).all()
    assert (ratios_K <= scaling.factor * (1 + 1e-6)).all()
    assert (ratios_K.diff() > -1e-5).all()  # the slower a channel turns, the more it is slowed down


@pytest.mark.parametrize("scaling", [LLAMA31, QWEN25])
def test_fast_channels_are_left_alone_and_slow_ones_slowed_down_whole(scaling: Llama3 | Yarn):
    plain_K, _ = rates(128, 500_000.0)
    slowed_K, _ = rates(128, 500_000.0, scaling)
    assert slowed_K[0] == plain_K[0] == 1
    assert_close(slowed_K[-1] * scaling.factor, plain_K[-1])


def test_linear_scaling_moves_positions_closer_together():
    stretched = rotation(torch.tensor([[0, 4, 8, 100]]), 16, theta=10_000.0, scaling=Linear(factor=4))
    plain = rotation(torch.tensor([[0, 1, 2, 25]]), 16, theta=10_000.0)
    assert_close(stretched.cos_BT1C, plain.cos_BT1C)
    assert_close(stretched.sin_BT1C, plain.sin_BT1C)


def test_yarn_sharpens_scores_by_the_square_of_its_factor():
    x_BTHC = torch.randn(1, 1, 1, 16, generator=torch.Generator().manual_seed(4))
    turned_BTHC = rotation(torch.tensor([[7]]), 16, theta=100.0, scaling=Yarn(factor=4, original_context=32))(x_BTHC)
    assert_close(turned_BTHC.norm(), x_BTHC.norm() * (0.1 * math.log(4) + 1))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Linear, {"factor": 0.5}),
        (Llama3, {"factor": 2, "original_context": 8, "low_frequency_factor": 4}),
        (Yarn, {"factor": 2, "original_context": 8, "fast": 1, "slow": 2}),
        (Yarn, {"factor": 2}),
    ],
)
def test_impossible_scaling_is_refused(kind, wrong: dict[str, float]):
    with pytest.raises(ValueError, match=r"factor|slow|original_context"):
        kind(**wrong)
