"""A window narrows what a position sees: the same in training, in packed rows and from the cache, and equal to the written-out mask."""

from functools import partial

import pytest
import torch
from test_generate import FREE, PROMPTS, plain_logprobs
from tiny import SHAPES, VOCAB, features, logits, may_have_window, random_tokens, tiny
from torch import Tensor
from torch.testing import assert_close

from scratchlm.core.tensors import Attend, positions_of
from scratchlm.generate.cache import Cache
from scratchlm.generate.engine import Engine
from scratchlm.generate.sample import Sampling
from scratchlm.model import attention
from scratchlm.model.attention import allowed_by, packed, reference, written_out

assert_near = partial(assert_close, atol=1e-5, rtol=1e-5)
"""Sums of some dozen float32 products in another order."""
WINDOWED = [name for name, shape in SHAPES.items() if may_have_window(shape)]
SEGMENTS = {
    "one document": torch.zeros(2, 13, dtype=torch.long),
    "packed": torch.tensor([[0] * 6 + [1] * 7, [3] * 2 + [5] * 11]),
}
every_windowed = pytest.mark.parametrize("name", WINDOWED)
in_rows = pytest.mark.parametrize("segments_BT", SEGMENTS.values(), ids=list(SEGMENTS))


def by_hand(segments_BT: Tensor, window: int) -> Tensor:
    """Who sees whom, one pair at a time."""
    B, T = segments_BT.shape
    allowed = [[[s <= t and t - s < window and bool(row[s] == row[t]) for s in range(T)] for t in range(T)] for row in segments_BT[:B]]
    return torch.tensor(allowed)


def test_the_families_with_a_window_are_those_of_llama():
    assert WINDOWED == ["qwen3", "llama", "moe"]


@in_rows
@pytest.mark.parametrize("window", [1, 2, 5, 13, 99])
def test_the_mask_is_the_one_written_by_hand(segments_BT: Tensor, window: int):
    assert torch.equal(allowed_by(segments_BT, window), by_hand(segments_BT, window))


@in_rows
@pytest.mark.parametrize("window", [1, 2, 5, 13, 99])
def test_packed_attention_with_a_window_equals_the_formula(segments_BT: Tensor, window: int):
    generator = torch.Generator().manual_seed(6)
    q_BTHC, k_BTGC, v_BTGC = (torch.randn(2, 13, heads, 5, generator=generator) for heads in (6, 2, 2))
    mixed = written_out(q_BTHC, k_BTGC, v_BTGC, by_hand(segments_BT, window))
    for attend in (packed(segments_BT), reference(segments_BT)):
        # Fused softmax and written-out softmax round differently: 2e-6 is about eight steps of float32 at one.
        assert_close(attend(0, q_BTHC, k_BTGC, v_BTGC, window), mixed, atol=2e-6, rtol=0)


def test_layers_with_and_without_a_window_may_take_turns():
    generator = torch.Generator().manual_seed(6)
    q_BTHC, k_BTGC, v_BTGC = (torch.randn(2, 13, heads, 5, generator=generator) for heads in (6, 2, 2))
    for segments_BT in SEGMENTS.values():
        fast, plain = packed(segments_BT), reference(segments_BT)
        for layer, window in enumerate((None, 3, None, 4, 3)):
            assert_near(fast(layer, q_BTHC, k_BTGC, v_BTGC, window), plain(layer, q_BTHC, k_BTGC, v_BTGC, window))


def masked_by_hand(segments_BT: Tensor, window: int) -> Attend:
    """An attention that is told of no window and keeps one."""
    allowed_BTS = by_hand(segments_BT, window)

    def attend(_layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, told: int | None) -> Tensor:
        assert told is None
        return written_out(q_BTHC, k_BTGC, v_BTGC, allowed_BTS)

    return attend


@every_windowed
@in_rows
def test_a_model_with_a_window_is_one_without_behind_the_mask(name: str, segments_BT: Tensor):
    narrow, wide, tokens_BT = tiny(name, window=3), tiny(name, window=None), random_tokens(2, 13)
    expected_BTD = wide.features(tokens_BT, positions_of(segments_BT), masked_by_hand(segments_BT, 3))
    assert_near(features(narrow, tokens_BT, segments_BT), expected_BTD)
    assert (features(wide, tokens_BT, segments_BT) - expected_BTD).abs().max() > 0.1


@every_windowed
def test_each_layer_reaches_one_window_further(name: str):
    model, tokens_BT = tiny(name, window=3), random_tokens(2, 13)
    edited_BT = tokens_BT.clone()
    edited_BT[:, 2] = (edited_BT[:, 2] + 1) % VOCAB
    # An expert's product rounds by how many positions ask it: more than that is meant.
    changed_BT = ((features(model, tokens_BT) - features(model, edited_BT)).abs() > 1e-4).any(-1)
    reached = [2 <= t <= 2 + model.config.layers * (3 - 1) for t in range(13)]
    assert changed_BT.tolist() == [reached, reached]


@every_windowed
@pytest.mark.parametrize("window", [13, 16, 99])
def test_a_window_as_long_as_the_text_is_none(name: str, window: int):
    tokens_BT = random_tokens(2, 13)
    assert torch.equal(features(tiny(name, window=window), tokens_BT), features(tiny(name, window=None), tokens_BT))


@every_windowed
@pytest.mark.parametrize("window", [1, 2, 3, 6])
@pytest.mark.parametrize("sampling", [Sampling(max_tokens=9), FREE])
def test_a_cache_with_a_window_says_what_the_whole_pass_says(name: str, window: int, sampling: Sampling):
    speaks = Engine(tiny(name, window=window), 16, frozenset())
    for prompt, answer in zip(PROMPTS, speaks.generate(PROMPTS, sampling), strict=True):
        assert answer.logprobs == pytest.approx(plain_logprobs(speaks.model, prompt, answer), abs=2e-5)


@every_windowed
@pytest.mark.parametrize("parts", [[13], [1] * 13, [5, 1, 3, 1, 1, 2], [2, 6, 5], [1, 1, 11]])
def test_a_text_may_come_to_the_cache_in_parts_of_any_length(name: str, parts: list[int]):
    model, tokens_BT = tiny(name, window=4), random_tokens(2, 13)
    cache, positions_BT = Cache(rows=2, length=16), torch.arange(13).expand(2, 13)
    with torch.no_grad():
        found = [
            model.features(tokens, positions, cache.attend(positions))
            for tokens, positions in zip(tokens_BT.split(parts, dim=1), positions_BT.split(parts, dim=1), strict=True)
        ]
    assert_near(torch.cat(found, dim=1), features(model, tokens_BT))


def test_the_cache_forgets_what_no_window_reaches():
    model, cache = tiny("llama", window=4), Cache(rows=2, length=16)
    sizes = []
    for part in torch.arange(11).expand(2, 11).split([8, 1, 1, 1], dim=1):
        with torch.no_grad():
            model.features(torch.ones_like(part), part, cache.attend(part))
        sizes.append(cache.size_bytes)
    assert sizes[1] == sizes[2] == sizes[3] == 4 * sizes[0] / 11


def test_rows_that_leave_take_their_window_with_them():
    model, tokens_BT = tiny("qwen3", window=3), random_tokens(3, 12)
    positions_BT = torch.arange(12).expand(3, 12)
    cache, rows = Cache(rows=3, length=12), torch.tensor([2, 0])
    with torch.no_grad():
        model.features(tokens_BT[:, :10], positions_BT[:, :10], cache.attend(positions_BT[:, :10]))
        model.features(tokens_BT[:, 10:11], positions_BT[:, 10:11], cache.attend(positions_BT[:, 10:11]))
        cache.keep(rows)
        last_BTD = model.features(tokens_BT[rows, 11:], positions_BT[rows, 11:], cache.attend(positions_BT[rows, 11:]))
    assert_near(last_BTD, features(model, tokens_BT)[rows, 11:])


def test_gradients_pass_through_a_window():
    model, tokens_BT = tiny("llama", window=2), random_tokens(2, 9)
    logits(model, tokens_BT).square().sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    segments_BT = torch.zeros_like(tokens_BT)
    x_BTD = model.features(tokens_BT, positions_of(segments_BT), attention.reference(segments_BT))
    model.logits(x_BTD).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert_close(found[name], parameter.grad, atol=1e-4, rtol=1e-4)
