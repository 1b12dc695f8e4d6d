"""However many processes share a training out, and however they do it, it is the same training."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from crowd import Crowd
from shared_out import MODELS, Case, refused, resumed, run, saved, whole_after
from torch.distributed import HashStore

from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.model.architectures import shape_only
from scratchlm.parallel.company import Together
from scratchlm.parallel.layout import WEIGHTS, Layout
from scratchlm.parallel.world import World, agree
from scratchlm.train.decisions import check_dtype
from scratchlm.train.spans import check

PAIR: dict[str, dict[str, Any]] = {
    "copies": {"replicate": 2, "shard": 1},
    "zero 1": {"zero": 1},
    "zero 2": {"zero": 2},
    "zero 3": {"zero": 3},
    "tensor": {"tensor": 2},
    "keys gathered": {"context": 2},
    "heads for positions": {"context": 2, "context_by": "ulysses"},
    "gpipe": {"pipeline": 2, "schedule": "gpipe"},
    "one forth, one back": {"pipeline": 2},
    "interleaved": {"pipeline": 2, "schedule": "interleaved"},
    "zero bubble": {"pipeline": 2, "schedule": "zero_bubble"},
    "experts": {"expert": 2},
    "selective": {"zero": 2, "recompute": "selective"},
    "recomputed": {"zero": 3, "recompute": "full"},
}
"""Of two processes, every way to share the work out."""
FOUR: dict[str, dict[str, Any]] = {
    **{name: {axis: 4 if size == 2 and axis != "zero" else size for axis, size in layout.items()} for name, layout in PAIR.items()},
    "hybrid": {"replicate": 2, "shard": 2},
    "shards x tensor": {"shard": 2, "tensor": 2},
    "copies x tensor": {"replicate": 2, "shard": 1, "tensor": 2},
    "tensor x pipeline": {"tensor": 2, "pipeline": 2},
    "shards x context": {"shard": 2, "context": 2},
    "shards x pipeline": {"shard": 2, "pipeline": 2},
    "copies x pipeline": {"replicate": 2, "shard": 1, "pipeline": 2},
    "context x pipeline": {"context": 2, "pipeline": 2},
    "context x tensor": {"context": 2, "tensor": 2},
    "experts x tensor": {"expert": 2, "tensor": 2},
    "experts x shards": {"expert": 2, "shard": 2},
    "experts x copies": {"expert": 2, "replicate": 2, "shard": 1},
    "experts x pipeline": {"expert": 2, "pipeline": 2},
    "shards x tensor, recomputed": {"shard": 2, "tensor": 2, "recompute": "full"},
    "tensor x pipeline, zero bubble": {"tensor": 2, "pipeline": 2, "schedule": "zero_bubble"},
    "shards x pipeline, zero bubble": {"shard": 2, "pipeline": 2, "schedule": "zero_bubble"},
    "context x pipeline, zero bubble": {"context": 2, "pipeline": 2, "schedule": "zero_bubble"},
    "experts x pipeline, zero bubble": {"expert": 2, "pipeline": 2, "schedule": "zero_bubble"},
    "shards x pipeline, interleaved": {"shard": 2, "pipeline": 2, "schedule": "interleaved"},
}
"""Of four, the same and their products."""
SHORT = [
    *((name, model) for name, model in zip(PAIR, ["llama", "moe", "gpt2", "qwen3"] * 4, strict=False) if name != "experts"),
    ("tensor", "moe"),
    ("tensor", "gpt2"),
    ("one forth, one back", "qwen3"),
    ("experts", "moe"),
]
"""Every way once, and where models differ more than once."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Crowd]:
    crowd = Crowd(2)
    yield crowd
    crowd.end()


@pytest.fixture(scope="module")
def three() -> Iterator[Crowd]:
    crowd = Crowd(3)
    yield crowd
    crowd.end()


@pytest.fixture(scope="module")
def four() -> Iterator[Crowd]:
    crowd = Crowd(4)
    yield crowd
    crowd.end()


def apart(found: Sequence[Any], alone: Sequence[Any], what: str) -> float:
    """The largest difference of a fact of any step, whichever process tells it."""
    assert all(len(of_process) == len(alone) for of_process in found)
    return max(abs(step[what] - other[what]) for of_process in found for step, other in zip(of_process, alone, strict=True))


@cache
def alone(case: Case) -> list[dict[str, Any]]:
    """What one process finds; asked for often, computed once."""
    return run(case)


def hold(crowd: Crowd, case: Case, *, loss: float, norm: float) -> None:
    """The crowd's training against that of one process."""
    whole, found = alone(replace(case, layout=Layout())), crowd.run(run, case)
    assert apart(found, whole, "weight") == apart(found, whole, "tokens") == 0
    assert apart(found, whole, "loss") <= loss
    assert apart(found, whole, "grad_norm") <= norm


@pytest.mark.parametrize(("name", "model"), SHORT)
def test_two_processes_train_as_one_does(name: str, model: str, pair: Crowd):
    hold(pair, Case(model, Layout(**PAIR[name])), loss=1e-12, norm=1e-12)


@pytest.mark.parametrize("name", ["zero 3", "tensor", "interleaved"])
def test_matrices_that_are_cut_are_made_orthogonal_whole(name: str, pair: Crowd):
    hold(pair, Case("qwen3", Layout(**PAIR[name]), optimizer="muon"), loss=1e-12, norm=1e-12)


@pytest.mark.parametrize("name", ["zero 3", "tensor", "keys gathered", "one forth, one back"])
def test_what_is_brought_together_again_is_the_model_of_one_process(name: str, pair: Crowd):
    case = Case("gpt2", Layout(**PAIR[name]), steps=2)
    alone, (found, *others) = whole_after(replace(case, layout=Layout())), pair.run(whole_after, case)
    assert others == [None]
    assert alone is not None
    assert found is not None
    assert found.keys() == alone.keys()
    assert max(float((found[weight] - alone[weight]).abs().max()) for weight in alone) < 1e-12


def goes_on(before: Case, after: Case, first: Crowd, then: Crowd | None, path: Path) -> None:
    """Three steps by some processes and three by others are six of one."""
    first.run(saved, replace(before, steps=3), path)
    whole = run(replace(before, steps=6, layout=Layout()))[3:]
    found = [resumed(after, path, 6)] if then is None else then.run(resumed, after, path, 6)
    assert apart(found, whole, "loss") < 1e-12
    assert apart(found, whole, "grad_norm") < 1e-12


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_shared_matrices_out_goes_on_as_a_pipeline(optimizer: str, pair: Crowd, tmp_path: Path):
    before, after = (Case("qwen3", Layout(**PAIR[name]), optimizer=optimizer) for name in ("tensor", "one forth, one back"))
    goes_on(before, after, pair, pair, tmp_path)


def test_what_two_began_one_ends(pair: Crowd, tmp_path: Path):
    goes_on(Case("moe", Layout(**PAIR["experts"])), Case("moe"), pair, None, tmp_path)


def test_what_one_began_two_end(pair: Crowd, tmp_path: Path):
    saved(Case("gpt2", steps=3), tmp_path)
    found = pair.run(resumed, Case("gpt2", Layout(**PAIR["keys gathered"])), tmp_path, 6)
    assert apart(found, run(Case("gpt2", steps=6))[3:], "loss") < 1e-12


@pytest.mark.soak
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("name", ["zero 3", "hybrid", "shards x tensor", "tensor x pipeline", "experts x tensor"])
def test_what_four_began_any_number_ends(name: str, optimizer: str, four: Crowd, pair: Crowd, three: Crowd, tmp_path: Path):
    before = Case("moe", Layout(**FOUR[name]), optimizer=optimizer)
    for place, (then, layout) in enumerate([(None, {}), (pair, {}), (three, {}), (pair, {"tensor": 2}), (pair, {"pipeline": 2})]):
        goes_on(before, replace(before, layout=Layout(**layout)), four, then, tmp_path / str(place))


SENTENCES = {
    "heads": ("qwen3", {"tensor": 2}, {"kv_heads": 1}, "2 processes cannot share 1 kv_heads out evenly"),
    "hidden": ("llama", {"tensor": 2}, {"hidden": 47}, "cannot share the outputs of layers.0.feed.gate of 47 out evenly"),
    "positions": (
        "llama",
        {"context": 2},
        {"context": 34},
        "rows of 34 positions cannot be cut into 4",
    ),
    "experts": ("llama", {"expert": 2}, {}, "a 'llama' model has no experts"),
    "uneven experts": ("moe", {"expert": 2}, {"experts": 3}, "2 processes cannot share 3 experts out evenly"),
    "layers": ("llama", {"pipeline": 2, "schedule": "interleaved"}, {"layers": 3}, "3 layers cannot be cut into 4 stretches"),
    "pieces": ("llama", {"tensor": 2}, {"vocab": 1}, "of 1 pieces some of 2 processes would have none"),
    "offload": ("llama", {"offload": True}, {}, "weights are in the processor's memory already"),
    "processes": ("llama", {"tensor": 3}, {}, "tensor 3 take a multiple of 3 processes, and there are 2"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_what_cannot_be_shared_out_is_said_in_a_line(name: str, pair: Crowd):
    model, layout, changes, sentence = SENTENCES[name]
    for said in pair.run(refused, Case(model, Layout(**layout)), changes):
        assert sentence in said
        assert "\n" not in said


def test_a_layout_says_what_does_not_go_together():
    with pytest.raises(ValueError, match="takes one stretch of layers for each process"):
        Layout(pipeline=2, spans=2)
    with pytest.raises(ValueError, match="takes two stretches of layers for each process, one from either end"):
        Layout(pipeline=2, spans=3, schedule="zero_bubble")
    with pytest.raises(ValueError, match="takes several stretches"):
        Layout(pipeline=2, spans=1, schedule="interleaved")
    with pytest.raises(UsageError, match="shard 4 x tensor 2 take 8 processes, and there are 4"):
        Layout(shard=4, tensor=2).sizes(4)
    assert Layout(tensor=2).sizes(8)["shard"] == 4


def test_copies_are_not_left_without_gradients():
    layout = Layout(replicate=2, shard=1, pipeline=2, schedule="zero_bubble")
    with pytest.raises(UsageError, match="plain copies hear of no gradient that zero_bubble makes late"):
        check(shape_only(MODELS["llama"]), World(layout=layout, sizes=layout.sizes(4)))


def test_rows_and_dtypes_that_processes_cannot_share_are_named():
    layout = Layout(gathered="bfloat16")
    world = World(layout=layout, sizes=layout.sizes(4))
    assert [world.share(rows) for rows in (4, 12)] == [1, 3]
    with pytest.raises(UsageError, match=r"6 pairs of a step cannot be shared out evenly among 4 processes. Set a multiple of 4"):
        world.share(6, "pairs")
    check_dtype("bfloat16", world)
    with pytest.raises(UsageError, match="weights that come in bfloat16 are computed with in bfloat16, and dtype is float32"):
        check_dtype("float32", world)


def test_a_process_on_another_kind_of_device_is_named():
    store, patience = HashStore(), timedelta(seconds=1)
    agree("cuda", store, 0, patience)
    agree("cuda", store, 1, patience)
    with pytest.raises(UsageError, match=r"process 2, on \S+, computes on cpu, and process 0 on cuda"):
        agree("cpu", store, 2, patience)


def test_who_is_left_alone_says_so_in_a_line():
    together = Together(HashStore(), 0)
    assert together.meet(lambda: 3) == 3
    with pytest.raises(CheckFailed, match="another process ended, or did not answer in time"):
        together.meet(lambda: lost("Connection closed by peer"))
    with pytest.raises(RuntimeError, match="shapes"):
        together.meet(lambda: lost("shapes do not fit"))


def lost(said: str) -> None:
    raise RuntimeError(said)


@pytest.mark.parametrize("name", ["one forth, one back", "zero 3"])
def test_what_dropout_draws_after_a_restart_is_what_it_would_have_drawn(name: str, pair: Crowd, tmp_path: Path):
    case = Case("gpt2", Layout(**PAIR[name]), dropout=0.2)
    pair.run(saved, case, tmp_path)
    whole = pair.run(run, replace(case, steps=4))[0]
    assert [step["loss"] for step in pair.run(resumed, case, tmp_path, 4)[0]] == [step["loss"] for step in whole[2:]]


def test_copies_send_gradients_in_the_dtype_that_they_are_told(pair: Crowd):
    case = Case("gpt2", Layout(replicate=2, shard=1, reduced="bfloat16"), steps=2)
    whole, found = alone(replace(case, layout=Layout())), pair.run(run, case)
    assert 1e-5 < apart(found, whole, "grad_norm") < 0.01 * max(step["grad_norm"] for step in whole)


def last_places(value: float) -> float:
    """Four units in the last place of a float32 of this size."""
    return 4 * 2.0 ** (math.floor(math.log2(value)) - 23)


def hold_in_float32(crowd: Crowd, case: Case) -> None:
    case = replace(case, steps=5, dtype="float32")
    whole, found = alone(replace(case, layout=Layout())), crowd.run(run, case)
    for of_process in found:
        for step, other in zip(of_process, whole, strict=True):
            assert abs(step["loss"] - other["loss"]) <= last_places(other["loss"]), (case, step["loss"], other["loss"])


@pytest.mark.parametrize(("name", "model"), [("zero 3", "llama"), ("tensor", "gpt2")])
def test_in_float32_only_the_last_places_differ(name: str, model: str, pair: Crowd):
    hold_in_float32(pair, Case(model, Layout(**PAIR[name])))


def every(layouts: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Each way with each model that it can be done with."""
    return [(name, model) for name in layouts for model in MODELS if can_be(layouts[name], model)]


def can_be(layout: dict[str, Any], model: str) -> bool:
    """Whether there are experts to share out, and no tied head is cut where both ends of a pipeline meet, which is refused."""
    if "expert" in layout and model != "moe":
        return False
    tied, cut = dict(MODELS[model]).get("tied"), any(layout.get(axis, 1) > 1 for axis in WEIGHTS)
    return not (tied and cut and layout.get("schedule") == "zero_bubble")


def case_of(model: str, layout: Layout) -> Case:
    """With as many layers as are shared out."""
    return Case(model, layout, layers=max(4, layout.pipeline * layout.spans_each))


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), every(PAIR))
def test_twenty_steps_of_two(name: str, model: str, pair: Crowd):
    case = case_of(model, Layout(**PAIR[name]))
    hold(pair, replace(case, steps=20), loss=1e-9, norm=1e-9)
    hold_in_float32(pair, case)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["tensor x pipeline", "tensor x pipeline, zero bubble", "context x pipeline", "shards x pipeline"])
@pytest.mark.parametrize("model", ["moe", "llama"])
def test_several_rows_at_once_of_four(name: str, model: str, four: Crowd):
    hold(four, replace(case_of(model, Layout(**FOUR[name])), rows_at_once=3), loss=1e-12, norm=1e-12)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), every(FOUR))
def test_twenty_steps_of_four(name: str, model: str, four: Crowd):
    case = case_of(model, Layout(**FOUR[name]))
    hold(four, replace(case, steps=20), loss=1e-9, norm=1e-9)
    hold_in_float32(four, case)
