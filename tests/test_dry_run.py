"""A start without processes finds what a real one finds: who holds what, what each sends, and what cannot be."""

import math
import re
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from crowd import Crowd
from shared_out import MODELS
from test_cli import scratchlm
from test_shared_out import FOUR, PAIR, SENTENCES
from tiny import SHAPES
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.model import attention, cost
from scratchlm.model.architectures import AnyConfig, build
from scratchlm.optim import OptimizerConfig, adamw, muon
from scratchlm.parallel.layout import ROWS, Layout
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.plans import dry_run, labour
from scratchlm.plans.dry_run import Rehearsal, blank_rows, counted, fewest, rehearsed
from scratchlm.plans.overheard import Overheard, Sent
from scratchlm.plans.unknown import MOST_KNOWN, Alike, Unknown, one_of
from scratchlm.recipes import store
from scratchlm.shares.division import Division, Outline
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forming import formed
from scratchlm.train.loop import Plan, accumulated, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState


@dataclass(frozen=True)
class Case:
    """A step, and how it is divided."""

    config: AnyConfig
    layout: Layout
    optimizer: OptimizerConfig = field(default_factory=adamw.Config)
    rows: int = 8
    dtype: str = "float32"

    def division(self, processes: int) -> Division:
        """One row at once."""
        sizes = self.layout.sizes(processes)
        share = self.rows // math.prod(sizes[axis] for axis in ROWS)
        return Division(Outline(self.config), self.layout, sizes, 1, share, self.dtype == "bfloat16", gpu=False)


def case_of(name: str, model: str, layouts: Mapping[str, Mapping[str, Any]], *, layers: int = 1, **given: Any) -> Case:
    """As few layers as can be shared out."""
    layout = Layout(**layouts[name])
    layers = max(layers, layout.pipeline * layout.spans_each)
    return Case(MODELS[model].model_copy(update={"layers": layers}), layout, **given)


class Listening(TorchDispatchMode):
    """Within it every message is overheard."""

    def __init__(self, overheard: Overheard) -> None:
        super().__init__()
        self.overheard = overheard

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self.overheard.hear(func, args)
        return func(*args, **(kwargs or {}))


def really(case: Case) -> dict[str, Any]:
    """What a process of a crowd holds, and what it sends in its second step."""
    model, precision = build(case.config, seed=0), Precision(case.dtype)  # pyright: ignore[reportArgumentType]
    crew = formed(model, World.start(1, layout=case.layout))
    crew.computes(attention.packed, precision)
    state = TrainState.begin(model, case.optimizer, seed=0, crew=crew)
    state.rows_at_once = 1
    given, objective, overheard = blank_rows(case.rows, case.config.context), NextToken(model, crew.among), Overheard(crew.world)
    plan_ = Plan(9, lambda step: 1.0, precision, Keeper(Path("nowhere")))
    update(state, [given], objective, plan_)
    with Listening(overheard):
        update(state, [given], objective, plan_)
    accumulated(state, [crew.own(given, case.rows)], objective, plan_, scale=1.0)
    return {
        "layers": [[int(name) for name, _ in span.model.layers.named_children()] for span in crew.spans],
        "numbers": sum(part.own.numel() for part in state.parts),
        "weights": sum(part.own.nbytes for part in state.parts),
        "gradients": sum(part.own.grad.nbytes for part in state.parts if part.own.grad is not None),
        "optimizer": sum(tensor.nbytes for _, _, tensor in state.optimizer_tensors()),
        "owned": sum(piece.size for part in state.parts if part.owner for piece in part.pieces),
        "sent": overheard.sent,
    }


def rehearsal(case: Case, processes: int) -> Rehearsal:
    """What the dry run finds. In a process of its own: here types are checked, and those of a model that is shared out are others."""
    return rehearsed(case.division(processes), case.optimizer)


def hold(crowd: Crowd, alone: Crowd, case: Case) -> None:
    """The dry run against the crowd's processes."""
    real, (found,) = crowd.run(really, case), alone.run(rehearsal, case, crowd.size)
    assert found.numbers == cost.parameters(case.config) == sum(told["owned"] for told in real)
    assert {0, crowd.size - 1} <= {process.rank for process in found.processes}
    for process in found.processes:
        told = real[process.rank]
        assert process.layers == told["layers"]
        assert process.numbers == told["numbers"]
        assert process.weights_bytes == told["weights"] == told["gradients"]
        assert process.optimizer_bytes == told["optimizer"]
    sent = real[found.sender]["sent"]
    assert found.sent.keys() == sent.keys()
    for kind in found.sent:
        if kind == "positions to experts":  # whom a router asks depends on numbers; asked as often are all of them together
            sizes = [told["sent"][kind].size_bytes for told in real]
            assert found.sent[kind].messages == sent[kind].messages
            assert min(sizes) <= found.sent[kind].size_bytes <= max(sizes)
        else:
            assert found.sent[kind] == sent[kind], kind


def crowd_of(size: int) -> Any:
    """So many processes for all tests of this module."""

    @pytest.fixture(scope="module")
    def crowd() -> Iterator[Crowd]:
        found = Crowd(size)
        yield found
        found.end()

    return crowd


alone, pair, four = crowd_of(1), crowd_of(2), crowd_of(4)
USUAL = [(name, "moe" if name == "experts" else model) for name, model in zip(PAIR, ["llama", "gpt2", "qwen3"] * 5, strict=False)]


@pytest.mark.parametrize(("name", "model"), USUAL)
def test_two_processes_hold_and_send_what_was_rehearsed(name: str, model: str, pair: Crowd, alone: Crowd):
    hold(pair, alone, case_of(name, model, PAIR))


def test_matrices_that_are_brought_together_are_sent(pair: Crowd, alone: Crowd):
    case = case_of("tensor", "qwen3", PAIR, optimizer=muon.Config())
    hold(pair, alone, case)
    assert "matrices of Muon" in alone.run(rehearsal, case, 2)[0].sent


@pytest.mark.soak
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", PAIR)
def test_experts_and_half_precision_are_sent_as_rehearsed(name: str, dtype: str, pair: Crowd, alone: Crowd):
    layouts = {name: {**PAIR[name], "gathered": "bfloat16" if dtype == "bfloat16" and name != "copies" else "float32"}}
    hold(pair, alone, case_of(name, "moe", layouts, layers=3, dtype=dtype))


@pytest.mark.soak
@pytest.mark.parametrize(("name", "model"), [(name, model) for name in FOUR for model in (["moe"] if "experts" in name else MODELS)])
def test_four_processes_hold_and_send_what_was_rehearsed(name: str, model: str, four: Crowd, alone: Crowd):
    hold(four, alone, case_of(name, model, FOUR, layers=3, rows=16))


@pytest.mark.soak
@pytest.mark.parametrize("optimizer", [adamw.Config(), muon.Config()])
@pytest.mark.parametrize("layout", [{"zero": 3}, {"tensor": 2}, {"pipeline": 2}])
@pytest.mark.parametrize("kind", SHAPES)
def test_every_architecture_is_rehearsed_as_it_is(kind: str, layout: dict[str, Any], optimizer: OptimizerConfig, pair: Crowd, alone: Crowd):
    config = SHAPES[kind].model_copy(update={"heads": 4, "context": 16} | ({"kv_heads": 2} if "kv_heads" in dict(SHAPES[kind]) else {}))
    hold(pair, alone, Case(config, Layout(**layout), optimizer))


def test_one_process_is_rehearsed_too(alone: Crowd):
    case = Case(MODELS["llama"], Layout())
    (found,) = alone.run(rehearsal, case, 1)
    (process,) = found.processes
    assert process.numbers == found.numbers == cost.parameters(case.config)
    assert found.sent == {}


# What cannot be


def refusal(case: Case, changes: Mapping[str, Any]) -> str:
    """What the dry run says."""
    try:
        rehearsal(replace(case, config=case.config.model_copy(update=changes)), 2)
    except UsageError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize("name", SENTENCES)
def test_what_cannot_be_shared_out_is_said_as_a_start_says_it(name: str, alone: Crowd):
    model, layout, changes, sentence = SENTENCES[name]
    (said,) = alone.run(refusal, Case(MODELS[model], Layout(**layout)), changes)
    assert sentence in said


def said_among_others() -> str:
    """What a process that is one of several already is told."""
    World.start(1)
    before = dist.get_world_size()
    with pytest.raises(UsageError) as refused, one_of(8, 3):
        pass
    assert dist.get_world_size() == before
    return str(refused.value)


def test_one_of_several_processes_refuses(pair: Crowd):
    assert (
        pair.run(said_among_others) == ["--dry-run: this process works together with others already. Start it alone, without torchrun."] * 2
    )


def test_no_group_is_left_behind():
    for rank in (5, 2):
        with one_of(7, rank):
            assert (dist.get_world_size(), dist.get_rank()) == (7, rank)
        assert not dist.is_initialized()
    with pytest.raises(KeyError), one_of(7, 0):
        raise KeyError
    assert not dist.is_initialized()


def test_a_number_without_an_owner_is_found(alone: Crowd, monkeypatch: pytest.MonkeyPatch):
    case = Case(MODELS["qwen3"], Layout(pipeline=2))
    (found,) = alone.run(rehearsal, case, 2)
    first, last = found.processes
    assert counted(case.division(2), [first, last]) == cost.parameters(case.config)
    assert "embedding.weight" in first.owned
    assert "embedding.weight" not in last.owned  # it is tied, and the first process counts it
    short = cost.parameters(case.config) - case.config.vocab * case.config.width
    assert counted(case.division(2), [replace(first, owned=first.owned[1:]), last]) == short
    monkeypatch.setattr(dry_run, "counted", lambda division, firsts: short)
    with pytest.raises(CheckFailed, match=f"all processes together own {short:,} numbers, and the model has"):
        rehearsed(Case(MODELS["qwen3"].model_copy(update={"layers": 1}), Layout()).division(1), adamw.Config())


# Without numbers


def test_what_is_known_is_computed_and_the_rest_is_not():
    with Unknown():
        weight, positions = torch.empty(1 << 20, 1 << 20), torch.arange(9)
        later = positions[positions > 6]
        mixed = weight[:9] * positions[:, None]
        row = torch.arange(MOST_KNOWN)
        large = row[:, None] >= row
    assert later.tolist() == [7, 8]
    assert not isinstance(positions, FakeTensor)
    assert isinstance(mixed, FakeTensor)
    assert mixed.shape == (9, 1 << 20)
    assert isinstance(large, FakeTensor)


def test_what_nobody_knows_is_answered_such_that_training_goes_on():
    with Unknown():
        scores_NE = torch.empty(5, 4)
        assert float(scores_NE.sum()) == 1.0
        chosen_NK = scores_NE.topk(2, dim=-1).indices
        assert chosen_NK.flatten().bincount(minlength=4).tolist() == [3, 3, 2, 2]
        assert scores_NE[torch.tensor([True, False, True, True, False])].shape == (3, 4)


@pytest.mark.parametrize(("rows", "count"), [(12, 4), (13, 4), (3, 5)])
def test_pieces_that_are_alike_have_the_shapes_of_pieces(rows: int, count: int):
    usual = [tuple(piece.shape) for piece in torch.empty(2, rows).chunk(count, dim=1)]
    with Unknown(), Alike():
        pieces = torch.chunk(torch.empty(2, rows), count, dim=1)
    assert [tuple(piece.shape) for piece in pieces] == usual
    assert pieces[0] is pieces[usual.count(usual[0]) - 1]


@pytest.mark.parametrize(
    ("layout", "micro_batches", "found"),
    [
        ({}, 9, (1, 1)),
        ({}, 2, (2, 0)),
        ({"pipeline": 4}, 64, (4, 1)),
        ({"pipeline": 4}, 5, (5, 0)),
        ({"pipeline": 4, "schedule": "interleaved"}, 64, (8, 4)),
        ({"pipeline": 4, "schedule": "zero_bubble"}, 63, (63, 0)),
    ],
)
def test_few_micro_batches_stand_for_many(layout: dict[str, Any], micro_batches: int, found: tuple[int, int]):
    division = Case(MODELS["llama"], Layout(**layout), rows=micro_batches).division(Layout(**layout).pipeline)
    assert fewest(division) == found


def test_messages_add_up():
    assert Sent(1, 2.0) + (Sent(5, 9.0) - Sent(2, 3.0)) * 4 == Sent(13, 26.0)


# As it is typed


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put_back: None) -> None:
    """An empty working folder, and a terminal wide enough for every line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.usefixtures("wide")
def test_a_plan_ends_with_what_the_real_code_found(capsys):
    code, out, err = scratchlm(capsys, "plan", "smoke", "--devices", "2xcpu", "--dry-run", "--set", "pretrain.parallel.shard=2")
    assert (code, err) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.partition("Dry run")[2].splitlines() if line.startswith("  ")]
    found, config = {row[0]: row[1:] for row in rows}, dict(store.resolved(store.Asked(recipe="smoke")))["pretrain"]
    assert found["rehearsed"][0] == "2 of 2"
    assert found["numbers"][0] == f"{cost.parameters(config.model):,}"
    size, says = found["weights gathered"]
    assert says.startswith(f"by formula {size}; ")


def test_what_is_told_once_is_no_part_of_a_step(alone: Crowd):
    """Many micro-batches, of which a few stand for all: what only the first step has must not be taken off for each of the others."""
    for name, optimizer in (("tensor", muon.Config()), ("interleaved", adamw.Config())):
        few, many = (case_of(name, "qwen3", PAIR, optimizer=optimizer, rows=rows) for rows in (4, 40))
        told = [alone.run(rehearsal, case, 2)[0].sent["counts and sums"] for case in (few, many)]
        assert told[0] == told[1]
        assert told[0].messages > 0


@pytest.mark.usefixtures("wide")
def test_a_dry_run_is_of_some_devices(capsys):
    code, out, err = scratchlm(capsys, "plan", "smoke", "--dry-run")
    assert (code, out) == (2, "")
    assert "--dry-run: say of how many devices, such as --devices 1024xH200." in err


def large(recipe: str, devices: str, sets: tuple[str, ...]) -> tuple[int, int, float, int]:
    """Numbers, processes rehearsed, seconds of the processor, and bytes that this process took at most."""
    began = time.process_time()
    config = dict(store.resolved(store.Asked(recipe=recipe, sets=sets)))["pretrain"]
    asked = labour.asked_of(config, labour.Machines.read(devices))
    found = rehearsed(
        labour.advise(asked).best.division if not sets else labour.as_set(asked, config.parallel, 1).division, config.optimizer
    )
    return found.numbers, len(found.processes), time.process_time() - began, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.soak
@pytest.mark.parametrize(
    ("layout", "processes"),
    [({}, 3), ({"shard": 1024}, 3), ({"tensor": 8, "recompute": "full"}, 3), ({"tensor": 8, "pipeline": 8, "zero": 1}, 16)],
)
def test_a_thousand_processes_with_70_billion_weights_take_a_minute(layout: dict[str, Any], processes: int):
    crowd = Crowd(1)
    try:
        sets = tuple(f"pretrain.parallel.{field}={value}" for field, value in layout.items())
        ((numbers, rehearsed_, seconds, size),) = crowd.run(large, "cluster_70b", "1024xH200", sets)
    finally:
        crowd.end()
    assert numbers == 70_599_864_320
    assert rehearsed_ == processes
    assert seconds < 60
    assert size < 2_000_000_000
