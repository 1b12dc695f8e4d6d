"""What a model costs by formula is what it costs: counted parameters, counted products, tensors that are there."""

import inspect
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from tiny import SHAPES, VOCAB, features, may_have_window, random_tokens
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from trainee import OPTIMIZER_CONFIGS, batch, objective

from scratchlm.core.tensors import Batch, ModelInputs, positions_of, scored_at_once
from scratchlm.generate import engine
from scratchlm.generate.cache import Cache
from scratchlm.generate.sample import Sampling
from scratchlm.losses.likelihood import chunked_cross_entropy
from scratchlm.model import attention, cost
from scratchlm.model.anatomy import Manner
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, build, parameters_of, shape_only
from scratchlm.model.sizes import SIZES
from scratchlm.optim import OPTIMIZERS, OptimizerConfig, rmsprop, sgd
from scratchlm.parallel.precision import Precision
from scratchlm.train.loop import backward
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

LENGTH = 12


def variants() -> Iterator[tuple[str, AnyConfig]]:
    """Every architecture, and each of its options that changes a count."""
    for name, shape in SHAPES.items():
        yield name, shape
        fields = type(shape).model_fields
        options: dict[str, tuple[Any, ...]] = {
            "tied": (True, False), "attention_bias": (True,), "window": (3,), "experts_per_token": (1, 5), "normalised_routing": (False,),
            "layers": (1, 4),
        }  # fmt: skip
        for field in (fields.keys() & options.keys()) - (set() if may_have_window(shape) else {"window"}):
            yield from ((f"{name}, {field} {value}", shape.model_copy(update={field: value})) for value in options[field])


VARIANTS = dict(sorted(variants()))
every_variant = pytest.mark.parametrize("shape", VARIANTS.values(), ids=list(VARIANTS))


def test_every_architecture_has_an_anatomy():
    assert set(cost.ANATOMIES) == set(ARCHITECTURES)


@every_variant
def test_parameters_are_counted_right(shape: AnyConfig):
    model = shape_only(shape)
    assert cost.parameters(shape) == parameters_of(model)
    outside = [p.numel() for name, p in model.named_parameters() if "embedding" in name or name.startswith("head")]
    assert cost.body_parameters(shape) == parameters_of(model) - sum(outside)
    a = cost.anatomy(shape)
    assert a.matrices + a.idle == sum(p.numel() for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2)
    assert a.vectors == sum(p.numel() for p in model.parameters() if p.ndim == 1)


def test_experts_that_are_not_asked_are_not_active():
    shape = SHAPES["moe"].model_copy(update={"experts": 5, "experts_per_token": 2})
    expert = sum(p.numel() for name, p in shape_only(shape).named_parameters() if ".experts.0." in name)
    assert cost.parameters(shape) - cost.active_parameters(shape) == 3 * expert
    assert cost.active_parameters(SHAPES["qwen3"]) == cost.parameters(SHAPES["qwen3"])


def step(model: Model, tokens_BT: Tensor) -> None:
    """A training step's arithmetic with the attention of the formula, which computes every score."""
    segments_BT = torch.zeros_like(tokens_BT)
    x_BTD = model.features(tokens_BT, positions_of(segments_BT), attention.reference(segments_BT))
    F.cross_entropy(model.logits(x_BTD).flatten(0, 1), tokens_BT.flatten()).backward()


@every_variant
def test_the_products_of_a_step_are_those_of_the_formula(shape: AnyConfig):
    full = shape.model_copy(update={"window": None}) if "window" in type(shape).model_fields else shape
    model, tokens_BT = build(full, seed=0), random_tokens(3, LENGTH)
    with FlopCounterMode(display=False) as counter:
        step(model, tokens_BT)
    assert counter.get_total_flops() == tokens_BT.numel() * cost.training_flops(full, LENGTH)


def test_the_formula_is_the_one_of_the_paper():
    c = SHAPES["qwen3"]
    weights = parameters_of(shape_only(c)) - VOCAB * 14 - c.layers * (2 * 14 + 2 * 6) - 14  # no table is multiplied, no gain
    assert cost.training_flops(c) == 6 * weights + 12 * c.layers * 4 * 6 * c.context
    narrow = c.model_copy(update={"window": 5})
    assert cost.training_flops(narrow, 4) == cost.training_flops(c, 4)
    assert cost.training_flops(narrow, 9) == cost.training_flops(c, 5)


MOMENTUM: dict[str, OptimizerConfig] = {"rmsprop, plain": rmsprop.Config(), "sgd, plain": sgd.Config()}


@pytest.mark.parametrize("kind", [*OPTIMIZER_CONFIGS, *MOMENTUM])
@pytest.mark.parametrize("name", SHAPES)
def test_optimizers_remember_what_the_formula_says(name: str, kind: str):
    config = (OPTIMIZER_CONFIGS | MOMENTUM)[kind]
    state = TrainState.begin(build(SHAPES[name], seed=0), config, seed=0)
    step(state.model, random_tokens(4, LENGTH))
    for optimizer in state.optimizers:
        optimizer.step()
    found = sum(tensor.nbytes for _, _, tensor in state.optimizer_tensors() if tensor.ndim)
    counters = sum(tensor.nbytes for _, _, tensor in state.optimizer_tensors() if not tensor.ndim)
    assert cost.optimizer_bytes(SHAPES[name], config.kind, momentum=dict(config).get("momentum", 0.0)) == found
    assert counters <= 4 * len(list(state.model.parameters()))


def test_every_optimizer_has_a_formula():
    assert all(cost.optimizer_bytes(SHAPES["qwen3"], kind) >= 0 for kind in OPTIMIZERS)


def kept_for_the_way_back(model: Model, tokens_BT: Tensor, segments_BT: Tensor) -> int:
    """Bytes of all tensors that autograd saves, each counted once, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features(model, tokens_BT, segments_BT)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@every_variant
def test_activations_are_the_tensors_that_autograd_keeps(shape: AnyConfig):
    model, segments_BT = build(shape, seed=0).train(), (torch.arange(LENGTH) > 4).long().expand(2, LENGTH)
    assert kept_for_the_way_back(model, random_tokens(2, LENGTH), segments_BT) == cost.activation_bytes(shape, 2, LENGTH)


HALF = Manner(half=True)


@every_variant
def test_in_half_precision_autograd_keeps_what_products_copy(shape: AnyConfig):
    """Beside the activations each matrix of the blocks once more, as halves."""
    model, segments_BT = build(shape, seed=0).train(), (torch.arange(LENGTH) > 4).long().expand(2, LENGTH)
    with Precision("bfloat16").autocast():
        found = kept_for_the_way_back(model, random_tokens(2, LENGTH), segments_BT)
    halves = 2 * sum(p.numel() for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2)
    short = shape.model_copy(update={"context": LENGTH})
    assert found == halves + shape.layers * cost.block_bytes(short, 2, HALF)[0] + cost.end_bytes(short, 2, HALF, last=True)


def test_blocks_and_ends_are_all_that_is_kept():
    for shape in SHAPES.values():
        kept = shape.layers * cost.block_bytes(shape, 3, Manner())[1] + cost.end_bytes(shape, 3, Manner(), last=True)
        assert kept == cost.activation_bytes(shape, 3)


@every_variant
@pytest.mark.parametrize("length", [5, 16])
def test_the_cache_holds_what_the_formula_says(shape: AnyConfig, length: int):
    model, positions_BT = build(shape, seed=0).eval(), torch.arange(length).expand(2, length)
    cache = Cache(rows=2, length=length)
    with torch.no_grad():
        for part in (positions_BT[:, :-1], positions_BT[:, -1:]):
            model.features(torch.ones(2, part.shape[1] + model.lookback).long(), part, cache.attend(part))
    assert cache.size_bytes == 2 * cost.cache_bytes(shape, length)


@every_variant
def test_weights_on_disk_take_the_bits_they_are_given(shape: AnyConfig):
    model = shape_only(shape)
    inside = {name: p for name, p in model.named_parameters() if name.startswith("layers.") and p.ndim == 2}
    outside = {name: p for name, p in model.named_parameters() if name not in inside and p.ndim == 2}
    inner, outer, all_ = (sum(p.numel() for p in part) for part in (inside.values(), outside.values(), model.parameters()))
    assert cost.weight_bytes(shape, 32.0, 32.0) == 4 * all_
    assert cost.weight_bytes(shape, 16.0, 8.0) == 2 * inner + outer + 4 * (all_ - inner - outer)


def test_training_memory_is_the_sum_of_its_parts():
    c = SHAPES["llama"]
    parts = cost.training_bytes(c, 3, "adamw")
    assert parts == {
        "weights": 4 * cost.parameters(c),
        "gradients": 4 * cost.parameters(c),
        "optimizer": 8 * cost.parameters(c),
        "activations": cost.activation_bytes(c, 3, c.context),
        "loss": cost.loss_bytes(c, 3, c.context),
    }


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that was allocated at once while working, above what was there before; allocations and releases are counted one by one."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    results: Any = seen.profiler
    changes = sorted((each.start_ns(), each.nbytes()) for each in results.kineto_results.events() if each.name() == "[memory]")
    return max(itertools.accumulate(size for _, size in changes))


def test_allocations_are_counted_one_by_one():
    def work() -> None:
        for _ in range(3):
            one, other = torch.empty(1000), torch.empty(500)
            del one, other
        torch.empty(1200)

    assert peak_bytes(work) == 4 * 1500


def all_trained(rows: int, length: int, vocab: int) -> Batch:
    """Rows of two documents each, in which every position counts."""
    given = batch(rows, length)
    inputs = ModelInputs(given.inputs.tokens_BT % vocab, given.inputs.positions_BT, given.inputs.segments_BT)
    return Batch(inputs, given.targets_BT % vocab, torch.ones(rows, length))


def widened(name: str, vocab: int, width: int) -> AnyConfig:
    shape = SHAPES[name]
    hidden = {"hidden": 3 * width} if "hidden" in type(shape).model_fields else {}
    return shape.model_copy(update={"vocab": vocab, "width": width, "context": 96, **hidden})


LOSSES = {
    "one chunk, wide": (1009, 600, 2, 90),
    "one chunk, many pieces": (5003, 24, 2, 90),
    "three chunks, wide": (1009, 600, 8, 96),
    "three chunks, many pieces": (5003, 24, 8, 96),
}
"""Pieces, width, rows and their length: heads larger and smaller than the scores of a chunk."""


@pytest.mark.parametrize(("vocab", "width", "rows", "length"), LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("name", ["llama", "swift"])
def test_the_loss_holds_what_the_formula_says(name: str, vocab: int, width: int, rows: int, length: int):
    shape, item = widened(name, vocab, width), all_trained(rows, length, vocab)
    model = build(shape, seed=0)
    given = torch.randn(rows, length, width)

    def work() -> None:
        x_BTD = given.clone().requires_grad_()
        NextToken(model).loss(x_BTD, item)

    # Left out are a flag for each position and a few numbers for each of a chunk.
    assert peak_bytes(work) == pytest.approx(cost.loss_bytes(shape, rows, length), rel=0.01)


@pytest.mark.parametrize(("vocab", "width", "rows", "length"), LOSSES.values(), ids=list(LOSSES))
def test_in_half_precision_the_loss_holds_what_the_formula_says(vocab: int, width: int, rows: int, length: int):
    shape, item = widened("llama", vocab, width), all_trained(rows, length, vocab)
    model = build(shape, seed=0)
    given = torch.randn(rows, length, width)

    def work() -> None:
        x_BTD = given.clone().requires_grad_()
        with Precision("bfloat16").autocast():
            NextToken(model).loss(x_BTD, item)

    assert peak_bytes(work) == pytest.approx(cost.loss_bytes(shape, rows, length, HALF), rel=0.03)


def test_the_formula_knows_how_many_positions_a_chunk_has():
    assert inspect.signature(chunked_cross_entropy).parameters["rows"].default is None
    assert [scored_at_once(vocab) for vocab in (2, 68, 1024, 4096, 200_000)] == [131_072, 3855, 256, 256, 256]


@pytest.mark.parametrize(
    ("vocab", "width", "rows", "length", "most"),
    [(5003, 24, 8, 96, 1.02), (5003, 48, 2, 90, 1.02), (401, 48, 4, 64, 1.02), (23, 96, 8, 96, 1.2)],
)
@pytest.mark.parametrize("name", SHAPES)
def test_a_step_holds_what_is_planned(name: str, vocab: int, width: int, rows: int, length: int, most: float):
    """Its second micro-batch, above weights, gradients and optimizer. The factors stand in ``loss_bytes``."""
    shape, item = widened(name, vocab, width), all_trained(rows, length, vocab)
    state = TrainState.begin(build(shape, seed=0), OPTIMIZER_CONFIGS["adamw"], seed=0)
    add = partial(backward, state, item, objective(state), Precision("float32"), scale=1.0)
    add()
    planned = cost.activation_bytes(shape, rows, length) + cost.loss_bytes(shape, rows, length)
    assert 0.98 < peak_bytes(add) / planned < most


PUBLISHED = {
    "gpt2-124m": 124_439_808,
    "llama-1b": 1_235_814_400,
    "llama-7b": 6_738_415_616,
    "llama-70b": 70_553_706_496,
    "olmo2-7b": 7_298_617_344,
    "moe-30b-a3b": 30_532_122_624,
}
"""As their makers count them."""
OWN = {
    "llama-124m": 123_587_328,
    "llama-350m": 353_944_576,
    "qwen3-124m": 124_768_512,
    "qwen3-350m": 353_554_432,
    "qwen3-1b": 1_092_252_160,
    "qwen3-7b": 6_915_633_152,
    "qwen3-70b": 70_941_700_096,
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.soak if "30b" in name else []) for name in SIZES])
def test_every_size_is_constructible_without_memory_and_counts_exactly(name: str):
    model = shape_only(SIZES[name])
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert parameters_of(model) == cost.parameters(SIZES[name]) == (PUBLISHED | OWN)[name]


def test_the_sizes_are_what_their_names_say():
    units = {"m": 1e6, "b": 1e9}
    for name, config in SIZES.items():
        kind, size, *active = name.split("-")
        assert config.kind == kind
        assert cost.parameters(config) == pytest.approx(float(size[:-1]) * units[size[-1]], rel=0.25)
        for told in active:
            assert cost.active_parameters(config) == pytest.approx(float(told[1:-1]) * units[told[-1]], rel=0.25)
    assert {(c.kind, name.split("-")[1]) for name, c in SIZES.items()} >= {
        (kind, size) for kind in ("llama", "qwen3") for size in ("124m", "350m", "1b", "7b", "70b")
    }


def test_speaking_needs_the_weights_and_a_cache(monkeypatch: pytest.MonkeyPatch):
    """Greedy words of a windowed model: the cache that the engine fills is as large as the formula's, and no larger than the window."""
    sizes: list[int] = []

    class Noted(Cache):
        def keep(self, rows: Tensor) -> None:
            sizes.append(self.size_bytes)
            super().keep(rows)

    monkeypatch.setattr(engine, "Cache", Noted)
    shape = SHAPES["llama"].model_copy(update={"window": 4})
    (answer,) = engine.Engine(build(shape, seed=0), 16, frozenset()).generate([[1, 2, 3]], Sampling(max_tokens=13))
    assert len(answer.ids) == 13
    assert sizes == [cost.cache_bytes(shape, 16)]  # before its only row is done and leaves
    assert cost.cache_bytes(shape, 16) == cost.cache_bytes(shape, 4) == 4 * cost.cache_bytes(shape, 1)
