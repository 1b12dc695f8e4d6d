"""What a run would take is what it takes: weights to the number, memory to some per cent, messages and pipelines as reckoned by hand."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from counted import MODELS, Case, counted, division_of, foretold, started
from crowd import Crowd
from test_shared_out import FOUR, PAIR, can_be
from tiny import SHAPES
from torch.distributed.pipelining import ScheduleInterleaved1F1B, ScheduleZBVZeroBubble
from trainee import OPTIMIZER_CONFIGS

from benchmarks import plans
from scratchlm.core.config import with_sets
from scratchlm.core.errors import UsageError
from scratchlm.model import cost, llama
from scratchlm.model.anatomy import Manner
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, build, shape_only
from scratchlm.model.sizes import SIZES
from scratchlm.optim import adamw, muon
from scratchlm.parallel.layout import AXES, Layout
from scratchlm.parallel.tensor import Lane, divide_
from scratchlm.parallel.world import World
from scratchlm.plans import ways
from scratchlm.plans.advice import AS_FAST, CLOSE, SIMPLER, Advice, advise, enough
from scratchlm.plans.dry_run import rehearsed
from scratchlm.plans.foretold import Message, flops, forecast, messages
from scratchlm.plans.hardware import BETWEEN_S, BLOCK_S, DEVICES, FLOAT8, INSIDE_S, STARTED_S, WIRE, Machines
from scratchlm.plans.typed import changes, commands
from scratchlm.plans.ways import Asked, Way, as_set, choices, divisions, named, shapes
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import PARTS, fullest, optimizer_bytes
from scratchlm.shares.schedules import goes, idle, under_way
from scratchlm.train.choose import SHARE
from scratchlm.train.spans import spans_of

ALL = {**SHAPES, **SIZES}
WITHIN = 0.05
"""Of what is held: what torch keeps for itself besides, such as a number for each parameter, is not foretold."""


def sizes_of(**given: int) -> dict[str, int]:
    return dict.fromkeys(AXES, 1) | given


def division(config: AnyConfig, *, rows: int = 1, micro_batches: int = 1, half: Any = False, **layout: Any) -> Division:
    """A division whose sizes are those of its layout."""
    sizes = {axis: layout.get(axis, 1) for axis in AXES}
    return Division(Outline(config), Layout.model_validate({"shard": 1, **layout}), sizes, rows, micro_batches, half, gpu=False)


# Devices


def test_figures_of_devices_are_of_dense_products_and_one_direction():
    for name, device in DEVICES.items():
        assert device.float8 is None or device.float8 == pytest.approx(2 * device.bfloat16, rel=0.03), name
        assert device.between <= device.inside
        assert device.float32 < device.bfloat16
        assert 0 < device.share < 1
    assert DEVICES["A100-80"].peak("float8") == DEVICES["A100-80"].bfloat16


@pytest.mark.parametrize(("typed", "count", "name"), [("8xH100", 8, "H100"), (" 16 x h200 ", 16, "H200"), ("4xcpu", 4, "cpu")])
def test_devices_are_read_as_they_are_typed(typed: str, count: int, name: str):
    assert Machines.read(typed) == Machines(count, name)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("8", "such as 8xH100"),
        ("0xH100", "such as 8xH100"),
        ("9999999xcpu", "such as 8xH100"),
        ("8xH10", "Did you mean 'H100'"),
        ("12xH100", "Write 8 or 16"),
    ],
)
def test_devices_that_nobody_knows_are_refused_in_a_line(typed: str, said: str):
    with pytest.raises(UsageError, match=said) as refused:
        Machines.read(typed)
    assert "\n" not in str(refused.value)


def test_rings_between_machines_use_every_neighbour_s_card():
    machines, device = Machines(64, "H100"), DEVICES["H100"]
    wide = sizes_of(shard=8, tensor=8)
    assert machines.neighbours(wide, "tensor") == 8
    assert machines.neighbours(wide, "shard") == 1  # the next one along ``shard`` sits in the next machine
    assert machines.ring(wide, "tensor") == WIRE * device.inside
    assert machines.ring(wide, "shard") == WIRE * device.between
    flat = sizes_of(shard=64)
    assert machines.ring(flat, "expert", "shard", "context") == WIRE * 8 * device.between
    assert machines.direct(flat, "shard") == pytest.approx(WIRE * device.between * 63 / 56)
    assert machines.delay(flat, "shard") == pytest.approx(STARTED_S + 56 * INSIDE_S + 7 * BETWEEN_S)
    assert machines.delay(wide, "tensor") == pytest.approx(STARTED_S + 7 * INSIDE_S)


# Who holds what


@pytest.mark.parametrize("name", ALL)
def test_an_outline_has_every_parameter(name: str):
    outline, model = Outline(ALL[name]), shape_only(ALL[name])
    assert division(ALL[name]).weights(0).all_.own == cost.parameters(ALL[name]) == sum(p.numel() for p in model.parameters())
    hidden = sum(p.numel() for n, p in model.named_parameters() if n.startswith("layers.") and p.ndim == 2)
    assert division(ALL[name]).weights(0).all_.hidden == hidden
    assert optimizer_bytes(10, 4, muon.Config()) == 4 * (2 * 10 - 4)
    assert outline.anatomy.matrices + outline.anatomy.idle == hidden


@pytest.mark.parametrize("cut", [2, 3, 5, 64])
@pytest.mark.parametrize("name", SHAPES)
def test_a_cut_parameter_has_as_many_rows_as_torch_gives_it(name: str, cut: int):
    chunks = [(p.chunk(cut)[0], p) for p in shape_only(SHAPES[name]).parameters()]
    weights = division(SHAPES[name], shard=cut).weights(0)
    assert weights.all_.own == sum(own.numel() for own, _ in chunks)
    assert weights.all_.whole == weights.all_.gathered == sum(whole.numel() for _, whole in chunks)
    assert weights.all_.sent == cut * weights.all_.own


@pytest.mark.parametrize("name", SHAPES)
def test_a_shared_matrix_is_as_wide_as_the_model_cuts_it(name: str):
    even = SHAPES[name].model_copy(update={"heads": 4} | ({"kv_heads": 2} if "kv_heads" in type(SHAPES[name]).model_fields else {}))
    model = build(even, seed=0)
    divide_(model, ARCHITECTURES[even.kind].SHARDING, Lane(None, 0, 2))
    assert division(even, tensor=2).weights(0).all_.own == sum(p.numel() for p in model.parameters())
    assert Outline(even).even(2)
    assert not Outline(even).even(16)


def test_experts_stay_where_they_are():
    outline = Outline(SHAPES["moe"].model_copy(update={"experts": 6}))
    expert = 3 * 14 * 10
    alone, shared = (division(outline.config, **layout).weights(0) for layout in ({}, {"expert": 3}))
    dense = alone.blocks.own - 2 * 6 * expert
    assert shared.blocks.gathered == dense
    assert shared.blocks.own < dense / 2 + 2 * 2 * expert
    again = division(outline.config, expert=3, shard=2).weights(0)
    assert again.blocks.gathered == dense + 2 * 2 * expert


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved", "zero_bubble"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_pipeline_s_stages_are_those_that_a_model_is_cut_into(schedule: str, tied: bool):
    config = MODELS["qwen3"].model_copy(update={"layers": 9, "tied": tied})
    layout = Layout(pipeline=2, schedule=schedule)  # pyright: ignore[reportArgumentType]
    divided = division(config, pipeline=2, schedule=schedule)
    for rank, stage in enumerate(divided.stages):
        _, spans = spans_of(build(config, seed=0), World(rank, layout=layout, sizes=sizes_of(pipeline=2)), None)
        found = {name: p for span in spans for name, p in span.model.named_parameters()}
        assert divided.weights(rank).all_.own == sum(p.numel() for p in found.values())
        assert [len(span) for span in stage.spans] == [len(list(span.model.layers.children())) for span in spans]
    assert sorted(layer for stage in divided.stages for span in stage.spans for layer in span) == list(range(9))


# Pipelines

Order = Mapping[int, Sequence[tuple[str, int, Any]]]
"""What each rank does: kind, stretch, micro-batch."""
KINDS = {"FORWARD": "F", "FULL_BACKWARD": "B", "BACKWARD_INPUT": "I", "BACKWARD_WEIGHT": "W"}
LASTS = {"F": 1, "B": 2, "I": 1, "W": 1}


def order(schedule: str, ranks: int, micro_batches: int, spans: int) -> Order:
    """As torch has it, of which the plain two are written out here."""
    if schedule in ("gpipe", "1f1b"):
        found = {}
        for rank in range(ranks):
            ahead = micro_batches if schedule == "gpipe" else min(micro_batches, ranks - rank)
            forth = [("F", rank, n) for n in range(micro_batches)]
            back = [("B", rank, n) for n in range(micro_batches)]
            turns = [each for pair in zip(back, forth[ahead:], strict=False) for each in pair]
            found[rank] = [*forth[:ahead], *turns, *back[micro_batches - ahead :]]
        return found
    kind = ScheduleInterleaved1F1B if schedule == "interleaved" else ScheduleZBVZeroBubble
    rounds = max(1, micro_batches // ranks)
    made = SimpleNamespace(
        pp_group_size=ranks, n_local_stages=spans, _n_microbatches=micro_batches, num_stages=ranks * spans, number_of_rounds=rounds,
        microbatches_per_round=micro_batches // rounds,
    )  # fmt: skip
    told = {rank: kind._calculate_single_rank_operations(made, rank) for rank in range(ranks)}  # pyright: ignore[reportArgumentType]
    return {
        rank: [(KINDS[each.computation_type.name], each.stage_index, each.microbatch_index) for each in acts if each is not None]
        for rank, acts in told.items()
    }


def most_under_way(acts: Sequence[tuple[str, int, int]]) -> int:
    """Micro-batches of any stretch that have gone forth and are not done."""
    here, most = 0, 0
    for kind, _, _ in acts:
        here += {"F": 1, "I": 0}.get(kind, -1)
        most = max(most, here)
    return most


def played(acts: Order, last: int) -> float:
    """When the last is done, where the way forth of a stretch takes 1 and the way back 2."""
    done, clock, left = dict[tuple[str, int, int], int](), Counter[int](), {rank: list(each) for rank, each in acts.items()}
    while any(left.values()):
        for rank, todo in left.items():
            while todo:
                kind, stage, n = todo[0]
                before = ("F", stage - 1, n) if kind == "F" else ("I", stage, n) if kind == "W" else ("I", stage + 1, n)
                before = ("F", stage, n) if kind in "BI" and stage == last else before
                if before not in done and not (kind == "F" and stage == 0):
                    break
                clock[rank] = max(clock[rank], done.get(before, 0)) + LASTS[kind]
                done["I" if kind == "B" else kind, stage, n] = clock[rank]
                todo.pop(0)
    return max(clock.values())


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize(("schedule", "spans"), [("gpipe", 1), ("1f1b", 1), ("interleaved", 2), ("interleaved", 3), ("zero_bubble", 2)])
def test_pipelines_wait_and_hold_as_torch_s_orders_say(schedule: str, spans: int, ranks: int):
    for micro_batches in (ranks, 2 * ranks, 5 * ranks):
        acts = order(schedule, ranks, micro_batches, spans)
        for rank in range(ranks):
            assert sum(under_way(schedule, ranks, rank, micro_batches, spans)) == most_under_way(acts[rank])
        waits = played(acts, ranks * spans - 1) / (3 * spans) - micro_batches
        assert idle(schedule, ranks, micro_batches, spans) == pytest.approx(waits)


def test_orders_that_torch_refuses_are_not_planned():
    assert [goes("1f1b", 4, n) for n in (3, 4, 9)] == [False, True, True]
    assert [goes("interleaved", 4, n) for n in (3, 8, 9, 10)] == [True, True, False, True]
    assert goes("zero_bubble", 4, 3)


# Memory


@pytest.mark.parametrize("kind", OPTIMIZER_CONFIGS)
def test_optimizers_remember_of_a_part_what_they_remember_of_all(kind: str):
    config = OPTIMIZER_CONFIGS[kind]
    all_ = division(SHAPES["qwen3"]).weights(0).all_
    remembered = cost.optimizer_bytes(SHAPES["qwen3"], kind, momentum=dict(config).get("momentum", 0.0))
    assert optimizer_bytes(all_.own, all_.hidden, config) == remembered


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("model", MODELS)
def test_one_process_holds_what_is_foretold(model: str, recompute: str):
    case = Case(model, Layout(recompute=recompute))  # pyright: ignore[reportArgumentType]
    hold([counted(case)], case)


@pytest.mark.parametrize("model", MODELS)
def test_half_precision_holds_what_is_foretold(model: str):
    case = Case(model, dtype="bfloat16")
    hold([counted(case)], case)


def hold(found: Sequence[Any], case: Case) -> None:
    """What the processes of a crowd held against what was foretold: weights and optimizer of each, and the height of the fullest."""
    told = foretold(case, len(found))
    assert [(each.weights, each.optimizer) for each in found] == [(each.weights, each.optimizer) for each in told]
    assert max(each.peak for each in told) == pytest.approx(max(each.peak for each in found), rel=WITHIN)


@pytest.fixture(scope="module")
def pair() -> Iterator[Crowd]:
    crowd = Crowd(2)
    yield crowd
    crowd.end()


@pytest.fixture(scope="module")
def four() -> Iterator[Crowd]:
    crowd = Crowd(4)
    yield crowd
    crowd.end()


EVEN = (("kv_heads", 4),)


def case_of(model: str, layout: dict[str, Any]) -> Case:
    """Two rows at once, heads that four processes can share, and as many layers as are shared out."""
    made = Layout(**layout)
    layers = (("layers", max(4, made.pipeline * made.spans_each)),)
    return Case(model, made, rows_at_once=2, changes=layers if model == "gpt2" else EVEN + layers)


SHORT = [
    ("copies", "llama"),
    ("zero 1", "gpt2"),
    ("zero 3", "qwen3"),
    ("tensor", "llama"),
    ("keys gathered", "llama"),
    ("one forth, one back", "qwen3"),
    ("experts", "moe"),
    ("recomputed", "llama"),
]


@pytest.mark.parametrize(("name", "model"), SHORT)
def test_two_processes_hold_what_is_foretold(name: str, model: str, pair: Crowd):
    case = case_of(model, PAIR[name])
    hold(pair.run(counted, case), case)


@pytest.mark.parametrize("name", ["zero 3", "tensor", "one forth, one back"])
def test_a_model_that_is_shared_out_never_lies_whole_anywhere(name: str, pair: Crowd):
    case = case_of("llama", PAIR[name])
    whole = cost.parameters(case.shape) * 4
    for peak, kept, largest in pair.run(started, case):
        assert kept < 0.75 * whole
        assert kept <= peak < kept + 2 * largest + 4096
        assert peak < 0.9 * whole


def whole_matrix(table: Mapping[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Every way with every model that it can be done with."""
    return [(name, model) for name, layout in table.items() for model in MODELS if can_be(layout, model)]


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), whole_matrix(PAIR))
def test_every_way_of_two_holds_what_is_foretold(name: str, model: str, pair: Crowd):
    case = case_of(model, PAIR[name])
    hold(pair.run(counted, case), case)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), whole_matrix(FOUR))
def test_every_way_of_four_holds_what_is_foretold(name: str, model: str, four: Crowd):
    case = case_of(model, FOUR[name])
    hold(four.run(counted, case), case)


def test_every_part_has_a_name_and_offloaded_ones_weigh_nothing():
    shared = {"shard": 4, "tensor": 2}
    here, there = (fullest(division(SIZES["llama-1b"], offload=off, **shared), adamw.Config()) for off in (False, True))
    assert set(here.parts) <= set(PARTS)
    assert here.parts["weights"] == 2 * here.parts["optimizer"] / 4 > there.parts["weights"] == there.parts["optimizer"] == 0
    assert here.total - there.total == here.parts["weights"] + here.parts["optimizer"]


def test_less_is_kept_the_more_is_computed_again():
    kept = [cost.block_bytes(SIZES["llama-7b"], 1, Manner(recompute=how)) for how in ("none", "selective", "full")]
    assert kept[0][0] == kept[0][1] > kept[1][1] > kept[2][1] == 4 * 4096 * 4096
    assert kept[0][0] == kept[1][0] == kept[2][0]
    assert cost.activation_bytes(SIZES["llama-7b"], 1) == 32 * kept[0][0] + cost.end_bytes(SIZES["llama-7b"], 1, Manner(), last=True)


# Messages

TINY = llama.Config(vocab=40, context=16, layers=2, width=8, heads=4, kv_heads=4, head_dim=2, hidden=12)
BLOCK, ENDS = 4 * 8 * 8 + 3 * 8 * 12 + 2 * 8, 2 * 40 * 8 + 8
"""Weights of a block, and of embedding, head and last norm."""


def sent(**layout: Any) -> Mapping[str, float]:
    """Bytes by kind of a process's step of three micro-batches of two rows."""
    made = division(TINY, rows=2, micro_batches=3, **layout)
    return {name: each.size_bytes for name, each in messages(made, Machines(8, "H100"), 1.0, adamw.Config()).items() if each.size_bytes}


def test_weights_and_gradients_travel_as_reckoned_by_hand():
    half = (2 * BLOCK + ENDS) * 4 // 2  # of two processes each needs the other's half
    assert sent(shard=2, zero=1) == {"weights gathered": half, "gradients scattered": half}
    assert sent(shard=2, zero=2) == {"weights gathered": half, "gradients scattered": 3 * half}
    again = 3 * half + 3 * 2 * BLOCK * 4 // 2  # blocks a second time on the way back
    assert sent(shard=2, zero=3) == {"weights gathered": again, "gradients scattered": 3 * half}
    assert sent(replicate=4) == {"gradients summed": 2 * (2 * BLOCK + ENDS) * 4 * 3 / 4}
    both = sent(shard=2, replicate=2, zero=2, gathered="bfloat16", reduced="bfloat16")
    assert both == {"weights gathered": half / 2, "gradients scattered": 3 * half / 2, "gradients summed": half / 2}


def test_positions_travel_as_reckoned_by_hand():
    position = 3 * 2 * 16 * 8 * 4  # of all micro-batches, in the stream
    # A gather and a scatter around each of two parts of two blocks, and back; one of each at embedding and head.
    assert sent(tensor=2) == {"positions gathered, scattered": (2 * 2 * 2 * 2 + 2 * 2) * position / 2}
    # What is computed again ends before the last scatter of a block.
    assert sent(tensor=2, recompute="full")["positions gathered, scattered"] == (2 * (4 + 4 + 3) + 2 * 2) * position / 2
    keys = 2 * 2 * 2 * position / 2  # keys and values of two blocks, forth and back, of half of the positions
    assert sent(context=2)["keys and values"] == keys
    assert sent(context=2, context_by="ulysses")["keys and values"] == 2 * 2 * 4 * position / 2 / 2
    assert sent(pipeline=2) == {"between layers": 2 * position / 2}
    tied = division(TINY.model_copy(update={"tied": True}), rows=2, micro_batches=3, pipeline=2)
    assert messages(tied, Machines(8, "H100"), 1.0, adamw.Config())["tied embedding"].size_bytes == 40 * 8 * 4


def test_experts_are_asked_over_there_and_answer():
    config = MODELS["moe"]
    made = division(config, rows=2, micro_batches=3, expert=2)
    positions = 3 * 2 * 64 * 2  # each asks two experts
    assert messages(made, Machines(8, "H100"), 1.0, adamw.Config())["positions to experts"].size_bytes == 4 * 2 * 2 * positions * 32 * 4 / 2


def heard(case: Case, processes: int) -> Mapping[str, float]:
    """Bytes by kind of the same step as the dry run hears them. In a process of its own, for types are checked here."""
    return {name: each.size_bytes for name, each in rehearsed(division_of(case, processes), case.optimizer).sent.items()}


@pytest.fixture(scope="module")
def alone() -> Iterator[Crowd]:
    crowd = Crowd(1)
    yield crowd
    crowd.end()


def compare(case: Case, processes: int, alone: Crowd) -> None:
    """What travels by the formulas against what is sent. Sums of single vectors, which weigh next to nothing, are not foretold."""
    machines, sent = Machines(8, "H100"), alone.run(heard, case, processes)[0]
    told = {
        name: each.size_bytes
        for name, each in messages(division_of(case, processes), machines, 1.0, case.optimizer).items()
        if each.size_bytes
    }
    assert told == pytest.approx({name: sent.get(name) for name in told}, rel=0.01)
    assert sum(told.values()) > 0.95 * sum(sent.values())


@pytest.mark.parametrize(("name", "model"), SHORT)
def test_two_processes_send_what_is_foretold(name: str, model: str, alone: Crowd):
    compare(case_of(model, PAIR[name]), 2, alone)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), whole_matrix(FOUR))
def test_every_way_of_four_sends_what_is_foretold(name: str, model: str, alone: Crowd):
    compare(case_of(model, FOUR[name]), 4, alone)


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("llama", {"shard": 4, "tensor": 2}),
        ("moe", {"expert": 2, "shard": 2}),
        pytest.param("llama", {"shard": 2}, marks=pytest.mark.soak),
        pytest.param("moe", {"expert": 2}, marks=pytest.mark.soak),
        pytest.param("qwen3", {"pipeline": 2, "shard": 2}, marks=pytest.mark.soak),
        pytest.param("gpt2", {"replicate": 2, "shard": 2, "context": 2}, marks=pytest.mark.soak),
    ],
)
def test_matrices_of_muon_travel_as_foretold(model: str, layout: dict[str, Any], alone: Crowd):
    case = replace(case_of(model, layout), optimizer=muon.Config())
    processes = math.prod(layout.values())
    told = messages(division_of(case, processes), Machines(8, "H100"), 1.0, case.optimizer)["matrices of Muon"]
    assert told.size_bytes == alone.run(heard, case, processes)[0]["matrices of Muon"]
    assert told.waited == told.seconds > 0


def test_what_travels_while_something_is_computed_is_not_waited_for():
    assert Message(1.0, 3.0, between=True, hidden=2.0).waited == 1.0
    assert Message(1.0, 3.0, between=True, hidden=4.0).waited == 0.0


def test_a_step_takes_its_arithmetic_and_what_is_waited_for():
    machines, config = Machines(8, "H100"), SIZES["llama-7b"]
    made = division(config, rows=2, micro_batches=4, half=True, shard=8, gathered="bfloat16")
    found = forecast(made, machines, "bfloat16", adamw.Config())
    flops = 8 * 2 * 4 * config.context * cost.training_flops(config)
    assert found.arithmetic_s == pytest.approx(flops / (8 * machines.device.bfloat16 * machines.device.share))
    assert found.mfu == pytest.approx(flops / (found.seconds * 8 * machines.device.bfloat16))
    assert found.tokens_per_s == pytest.approx(8 * 2 * 4 * config.context / found.seconds)
    again = forecast(division(config, rows=2, micro_batches=4, half=True, shard=8, recompute="full"), machines, "bfloat16", adamw.Config())
    assert 1.3 < again.arithmetic_s / found.arithmetic_s < 4 / 3
    piped = forecast(division(config, rows=1, micro_batches=8, half=True, pipeline=8), machines, "bfloat16", adamw.Config())
    assert piped.idle_s == pytest.approx(piped.arithmetic_s * 7 / 8)


# Advice


def asked(config: AnyConfig, devices: str, *, rows: int = 1024, dtype: Any = "bfloat16") -> Asked:
    return Asked(Outline(config), adamw.Config(), rows, Machines.read(devices), dtype)


LARGE = SIZES["llama-70b"].model_copy(update={"context": 8192})


@pytest.fixture(scope="module")
def large() -> Advice:
    return advise(asked(LARGE, "1024xH200"))


def test_the_best_way_fits_and_no_other_that_was_found_is_faster(large: Advice):
    room = asked(LARGE, "1024xH200").room
    assert large.best.held.total <= room == SHARE * 141e9
    assert all(way.forecast.seconds >= (1 - CLOSE - SIMPLER) * large.best.forecast.seconds for way in large.others)
    assert all(way.held.total <= room for way in large.others)
    assert [way.forecast.seconds for way in large.others] == sorted(way.forecast.seconds for way in large.others)


def test_no_division_that_could_be_faster_was_passed_over(monkeypatch: pytest.MonkeyPatch):
    """All of them, looked at one by one; and how many the search looks at, on which its time depends."""
    what = asked(SIZES["qwen3-1b"].model_copy(update={"context": 4096}), "16xH100", rows=64)
    every = [what.way(divided) for sizes in shapes(what) for choice in choices(what, sizes) for divided in divisions(what, sizes, *choice)]
    fastest = min((way for way in every if way.held.total <= what.room), key=lambda way: way.forecast.seconds)
    looked_at: list[Division] = []
    monkeypatch.setattr(ways, "forecast", lambda divided, *given: looked_at.append(divided) or forecast(divided, *given))
    found = advise(what)
    assert found.best.forecast.seconds <= fastest.forecast.seconds * (1 + SIMPLER)
    assert len(looked_at) < len(every) / 4


def test_what_is_enough_is_not_divided_further():
    small = advise(asked(SIZES["qwen3-1b"].model_copy(update={"context": 2048}), "8xH100"))
    assert {axis for axis, size in small.best.division.sizes.items() if size > 1} == {"shard"}
    assert small.best.division.layout.recompute == "none"
    alone = advise(asked(SIZES["gpt2-124m"], "1xH100"))
    assert named(alone.best.division).startswith("one process, ")
    assert alone.others == []


def test_matrices_are_shared_where_rows_are_too_few():
    few = advise(asked(SIZES["llama-7b"], "64xH100", rows=8))
    assert few.best.division.sizes["shard"] * few.best.division.sizes["replicate"] <= 8
    assert 8 % few.best.division.rows == 0


def test_where_nothing_fits_it_is_said_what_would():
    with pytest.raises(UsageError, match=r"the least that a division was found to take is [\d.]+ GB .* Take \d+ devices, a") as refused:
        advise(asked(LARGE, "8xRTX4090", rows=64))
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="5 rows of a step cannot be shared out among so many processes"):
        advise(asked(SIZES["gpt2-124m"].model_copy(update={"context": 1021, "layers": 1}), "7xH100", rows=5))


def test_a_division_that_is_given_takes_as_many_rows_as_fit():
    what = asked(SIZES["llama-7b"], "8xH100", rows=64)
    way = as_set(what, Layout(gathered="bfloat16"), None)
    assert way.held.total <= what.room
    larger = as_set(what, Layout(gathered="bfloat16"), 2 * way.division.rows)
    assert larger.held.total > what.room
    with pytest.raises(UsageError, match="Set a multiple of 8"):
        as_set(asked(SIZES["llama-7b"], "8xH100", rows=20), Layout(), None)


def of(what: Asked, count: int) -> Asked:
    """The same on another number of devices."""
    return replace(what, machines=Machines(count, what.machines.name))


def test_a_step_takes_no_less_than_starting_its_operations():
    machines, layers = Machines(8, "H100"), TINY.layers
    small = {
        name: forecast(division(TINY, **given), machines, "bfloat16", adamw.Config())
        for name, given in {
            "one": {"shard": 8},
            "two": {"shard": 8, "micro_batches": 2},
            "again": {"shard": 8, "recompute": "full"},
            "piped": {"pipeline": 2, "shard": 4, "micro_batches": 2},
        }.items()
    }
    started = {name: found.arithmetic_s + found.started_s + found.idle_s for name, found in small.items()}
    assert started["one"] == pytest.approx(layers * BLOCK_S)
    assert started["two"] == pytest.approx(2 * layers * BLOCK_S)
    assert started["again"] == pytest.approx(4 / 3 * layers * BLOCK_S)
    assert started["piped"] == pytest.approx((2 + 1) * layers / 2 * BLOCK_S)
    large = forecast(division(SIZES["llama-7b"], shard=8), machines, "bfloat16", adamw.Config())
    assert large.started_s == 0.0


def test_a_pipeline_has_a_micro_batch_for_each_of_its_processes():
    what = asked(SIZES["qwen3-1b"], "8xH100", rows=64)
    every = [each for sizes in shapes(what) for choice in choices(what, sizes) for each in divisions(what, sizes, *choice)]
    assert any(each.layout.schedule == "interleaved" for each in every if each.piped)
    assert all(each.micro_batches >= each.sizes["pipeline"] for each in every)


def test_small_models_are_divided_in_one_way_and_it_is_said_that_more_devices_gain_nothing():
    tiny = asked(
        SHAPES["llama"].model_copy(update={"context": 256, "layers": 6, "width": 192, "heads": 8, "kv_heads": 8}), "8xH100", rows=64
    )
    best = advise(tiny).best
    assert sum(size > 1 for size in best.division.sizes.values()) == 1
    assert best.forecast.seconds >= 6 * BLOCK_S
    count = enough(tiny, best)
    assert count is not None
    assert advise(of(tiny, count)).best.forecast.seconds <= AS_FAST * best.forecast.seconds
    large = asked(SIZES["llama-7b"], "8xH100")
    assert enough(large, advise(large).best) is None


def test_messages_of_processors_are_not_hidden_behind_what_they_compute():
    made = division(TINY, rows=2, micro_batches=3, shard=2)
    hidden = {name: [m.hidden for m in messages(made, Machines(2, name), 1.0, adamw.Config()).values()] for name in ("H100", "cpu")}
    assert any(hidden["H100"])
    assert not any(hidden["cpu"])


def test_eight_bits_are_of_the_blocks_matrices_and_as_fast_as_they_were_measured():
    """Llama 3.1 8B on 8 H100 by torchtitan: 6,667 and 8,532 tokens/s each."""
    config = llama.Config(vocab=128_256, context=8192, layers=32, width=4096, heads=32, kv_heads=8, head_dim=128, hidden=14_336)
    assert cost.training_flops(config) == pytest.approx(57.9e9, rel=0.001)
    made = division(config, half=True, shard=8, gathered="bfloat16")
    half, eighth = (forecast(made, Machines(8, "H100"), dtype, adamw.Config()) for dtype in ("bfloat16", "float8"))
    assert half.tokens / half.arithmetic_s / 8 == pytest.approx(6667, rel=0.005)
    assert eighth.tokens / eighth.arithmetic_s / 8 == pytest.approx(8532, rel=0.005)
    device, (blocks, rest) = DEVICES["H100"], flops(config)
    assert device.float8 is not None
    assert eighth.least_s == pytest.approx(eighth.tokens / 8 * (blocks / device.float8 + rest / device.bfloat16))
    assert device.rates("float8") == (FLOAT8 * device.share * device.float8, device.share * device.bfloat16)
    assert DEVICES["A100-80"].rates("float8") == DEVICES["A100-80"].rates("bfloat16")


OWN = [
    (Layout(schedule="interleaved", spans=4, pipeline=2), "8xH100", 12),
    (Layout(schedule="interleaved", spans=4, replicate=2), "8xH100", 64),
    (Layout(offload=True, reduced="bfloat16"), "8xH100", 64),
    (Layout(context_by="ulysses", context=2), "16xH100", 8),
    (Layout(zero=1, tensor=4, gathered="bfloat16"), "8xH100", 64),
    (Layout(gathered="bfloat16"), "1xH100", 64),
]


@pytest.mark.parametrize(("own", "devices", "rows"), OWN)
def test_the_best_way_is_the_recipe_s_own_with_what_is_printed_changed(own: Layout, devices: str, rows: int):
    what = replace(asked(SIZES["qwen3-1b"], devices, rows=rows), layout=own)
    best = advise(what).best
    assert with_sets(own, [f"{field}={json.dumps(value)}" for field, value in changes(what, best).items()]) == told_layout(own, best)
    for way in (best, *advise(what).others):
        assert (way.division.layout.offload, way.division.layout.context_by, way.division.layout.reduced) == (
            (own.offload, own.context_by, own.reduced)
        )
        assert what.refusal(way.division.layout, way.division.sizes) is None


def told_layout(own: Layout, best: Way) -> Layout:
    """The best way's, where what the recipe leaves open is left open."""
    return best.division.layout.model_copy(update={} if own.shard else {"shard": None})


def test_what_the_recipe_has_of_its_own_is_named():
    what = asked(SIZES["qwen3-1b"], "8xH100", rows=64)
    own = Layout(offload=True, reduced="bfloat16", context_by="ulysses", context=2, gathered="bfloat16")
    assert named(as_set(what, own, 1).division) == "shard 4 x context 2, ZeRO-3, ulysses, offloaded, gradients in bfloat16, 1 row at once"
    piped = Layout(schedule="interleaved", spans=4, pipeline=2)
    assert "interleaved, 4 spans each" in named(as_set(what, piped, 1).division)


def test_what_training_would_refuse_is_no_way():
    what = asked(SIZES["qwen3-1b"].model_copy(update={"tied": True}), "8xH100", rows=64)
    assert all(schedule != "zero_bubble" for sizes in shapes(what) for schedule, *_ in choices(what, sizes) if sizes["shard"] > 1)
    with pytest.raises(UsageError, match="an embedding that is the head as well cannot be cut"):
        as_set(what, Layout(pipeline=2, schedule="zero_bubble"), None)
    with pytest.raises(UsageError, match="weights are in the processor's memory already"):
        advise(replace(asked(SIZES["gpt2-124m"], "4xcpu", rows=64), layout=Layout(offload=True)))


def test_matrices_are_not_shared_out_across_machines():
    heads = SIZES["llama-7b"].model_copy(update={"heads": 24, "kv_heads": 24, "width": 24 * 128, "hidden": 3 * 2048, "context": 24 * 64})
    tensors = {count: {sizes["tensor"] for sizes in shapes(asked(heads, f"{count}xH100", rows=24))} for count in (6, 24)}
    assert tensors == {6: {1, 2, 3, 6}, 24: {1, 2, 4, 8}}


def test_the_number_of_devices_that_is_proposed_will_do():
    config = SIZES["llama-70b"].model_copy(update={"context": 8192})
    with pytest.raises(UsageError, match=r"take (\d+) devices\.$") as refused:
        advise(asked(config, "1000xH100"))
    count = int(re.findall(r"take (\d+) devices", str(refused.value))[0])
    assert 8 < count < 1000
    assert advise(asked(config, f"{count}xH100")).best.held.total <= asked(config, "8xH100").room
    with pytest.raises(UsageError, match=r"80% of one RTX4090 is .*Take (\d+) devices, a shorter") as refused:
        advise(asked(SIZES["llama-7b"], "1xRTX4090", rows=64))
    assert "one process" in str(refused.value)
    more = int(re.findall(r"Take (\d+) devices", str(refused.value))[0])
    assert advise(asked(SIZES["llama-7b"], f"{more}xRTX4090", rows=64)).best.held.total <= asked(SIZES["llama-7b"], "1xRTX4090").room
    with pytest.raises(UsageError, match="or take 1 device"):
        advise(asked(SIZES["gpt2-124m"].model_copy(update={"context": 1021, "layers": 1}), "7xH100", rows=1))


WORDS = ["mine.toml", "--home", "my home", "--set", "pretrain.tokens=9"]


def test_what_is_typed_names_only_what_the_recipe_does_not_say(large: Advice):
    what, best = asked(LARGE, "1024xH200"), large.best
    _, line, _, _, launched = commands(WORDS, what, best, None)
    start = "torchrun --nnodes 128 --rdzv-backend c10d --rdzv-endpoint HOST:29500 --nproc-per-node 8 -m scratchlm pretrain"
    assert line.startswith(f"{start} mine.toml --home 'my home' --set pretrain.tokens=9 --set ")
    assert launched.startswith("scratchlm launch mine.toml --home 'my home' --set pretrain.tokens=9 --set ")
    assert '"shard"' not in line
    assert '"gathered": "bfloat16"' in line
    own = replace(what, layout=best.division.layout)
    assert commands(WORDS, own, best, best.division.rows)[1].endswith("--set pretrain.tokens=9")
    one = replace(asked(SIZES["gpt2-124m"], "1xH100"), layout=Layout(gathered="bfloat16", zero=2))
    rows = advise(one).best.division.rows
    assert commands(["mine"], one, advise(one).best, None) == ["", f"scratchlm pretrain mine --set pretrain.rows_at_once={rows}"]


def test_the_committed_plans_are_those_of_today():
    assert plans.PAGE.read_text(encoding="utf-8") == plans.page(), "run `python -m benchmarks.plans`"
