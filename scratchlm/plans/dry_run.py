"""A start at N processes without them: the real code shares the model out and takes a step, as one process after another.

Nothing has numbers (``plans.unknown``), so what no memory here would hold is formed, cut, gathered, computed and summed in seconds; what
cannot be shared out so is refused by the code that would refuse it then, in its words. Weights that are kept in the processor's memory are
not: here they lie as if on the device.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scratchlm.core.errors import CheckFailed
from scratchlm.core.tensors import Batch, ModelInputs
from scratchlm.model import attention, cost
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, shape_only
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.layout import ROWS
from scratchlm.parallel.pipeline import Pipeline, Shapes, like
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.tensor import Lane, divide_
from scratchlm.parallel.world import World
from scratchlm.plans.overheard import Overheard, Sent
from scratchlm.plans.unknown import Alike, Unknown, one_of
from scratchlm.plans.ways import Way, named
from scratchlm.shares.division import Division
from scratchlm.shares.held import held
from scratchlm.shares.schedules import SINGLE
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forming import formed
from scratchlm.train.forward import ended
from scratchlm.train.loop import Plan, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.spans import check
from scratchlm.train.state import TrainState


@dataclass(frozen=True)
class Rehearsed:
    """One process of a division, as the real code formed it."""

    rank: int
    layers: Sequence[Sequence[int]]
    """Of each stretch that it has."""
    numbers: int
    """Of the model, that it holds,"""
    weights_bytes: int
    """and what they take; so much their gradients take, too."""
    optimizer_bytes: int
    owned: Sequence[str]
    """Parameters that are counted where they are held like here."""


@dataclass(frozen=True)
class Rehearsal:
    """A division that the real code could form and compute."""

    processes: Sequence[Rehearsed]
    """Each as the one of its rank."""
    numbers: int
    """Of the model, counted over all processes."""
    sender: int
    """The rank that has most layers,"""
    sent: Mapping[str, Sent]
    """and what it sends in a step, by kind."""


def rehearsed(division: Division, optimizer: OptimizerConfig) -> Rehearsal:
    """A step of ``division`` by the first and the last process of each place in the pipeline and one in the middle.

    UsageError where that cannot be, CheckFailed where some number of the model would have no owner or two.
    """
    d, count = division, math.prod(division.sizes.values())
    each = count // d.sizes["pipeline"]
    firsts = range(0, count, each)
    sender = max(firsts, key=lambda first: d.stages[first // each].layers)
    stepping = {0, firsts[len(firsts) // 2], count - 1}
    if count > 1:  # where weights would lie is asked here only: further on they lie nowhere
        check(shape_only(d.config), World(device="cuda" if d.gpu else "cpu", layout=d.layout, sizes=d.sizes))
    found, sent = list[Rehearsed](), {}
    for rank in sorted({sender, count // 2, *stepping, *firsts, *(first + each - 1 for first in firsts)}):
        with one_of(count, rank), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")  # of a norm that is slow, where one is
            process = _Process(d, optimizer)
            if rank == sender:
                sent = process.sent()
            elif rank in stepping:
                process.step(fewest(d)[0])
            found.append(process.holds())
    numbers = counted(d, [process for process in found if process.rank in firsts])
    if numbers != cost.parameters(d.config):
        raise CheckFailed(f"--dry-run: all processes together own {numbers:,} numbers, and the model has {cost.parameters(d.config):,}.")
    return Rehearsal(found, numbers, sender, sent)


def told(rehearsal: Rehearsal, way: Way, optimizer: OptimizerConfig, sized: Callable[[float], str]) -> list[tuple[str, str, str]]:
    """In rows: what it is, how much was counted at the process with most layers, and what the formulas say of it."""
    sizes, found = way.division.sizes, {process.rank: process for process in rehearsal.processes}
    count, sender = math.prod(sizes.values()), found[rehearsal.sender]
    each = count // sizes["pipeline"]
    layers = [str(sum(map(len, found[first].layers))) for first in range(0, count, each)]
    planned = held(way.division, optimizer, rehearsal.sender // each).parts
    rows = [
        ("rehearsed", f"{len(found)} of {count:,}", named(way.division)),
        ("numbers", f"{rehearsal.numbers:,}", "each is owned by one process"),
        *([("layers", " ".join(layers), "of each process of the pipeline")] if len(layers) > 1 else []),
        (
            "weights",
            sized(sender.weights_bytes),
            f"by formula {sized(planned['weights'])}; of process {rehearsal.sender}, as is what follows",
        ),
        ("optimizer", sized(sender.optimizer_bytes), f"by formula {sized(planned['optimizer'])}"),
    ]
    for kind in dict.fromkeys([*way.forecast.messages, *rehearsal.sent]):
        sent, formula = rehearsal.sent.get(kind, Sent()), way.forecast.messages.get(kind)
        says = "not reckoned with" if formula is None else f"by formula {sized(formula.size_bytes)}"
        rows.append((kind, sized(sent.size_bytes), f"{says}; {sent.messages:,} messages"))
    return rows


def counted(division: Division, firsts: Sequence[Rehearsed]) -> int:
    """Numbers that all processes own, given the first of each place in the pipeline.

    Those who share matrices out are asked one by one; along all other axes processes hold equal parts, or the same.
    """
    config, sizes, found = division.config, division.sizes, Counter[str]()
    for place in range(sizes["tensor"]):
        model = shape_only(config)
        lane = Lane(None, place, sizes["tensor"])
        held = divide_(model, ARCHITECTURES[config.kind].SHARDING, lane) if sizes["tensor"] > 1 else {}
        found.update({name: p.numel() for name, p in model.named_parameters() if place == 0 or name in held})
    return sum(found[name] * (sizes["expert"] if ".experts." in name else 1) for process in firsts for name in process.owned)


class _Process:
    """One process at work, as which the group of now takes this one."""

    def __init__(self, division: Division, optimizer: OptimizerConfig) -> None:
        self.division = division
        self.world = World.start(layout=division.layout.model_copy(update={"offload": False}))
        self.precision = Precision("bfloat16" if division.half else "float32")
        with Unknown():
            model = unknown(division.config)
            with Alike():
                crew = formed(model, self.world)
            crew.computes(attention.packed, self.precision)
            self.state = TrainState.begin(model, optimizer, seed=0, crew=crew)
            self.state.rows_at_once = division.rows
            if crew.pipe is not None:
                crew.pipe.shapes.update(self._shapes(crew.pipe))

    def step(self, micro_batches: int) -> Mapping[str, Sent]:
        """What is sent in a step of so many."""
        overheard, state = Overheard(self.world), self.state
        plan = Plan(1, lambda _step: 1.0, self.precision, Keeper(Path()))
        batch = blank_rows(self.division.rows * micro_batches * self.world.size(*ROWS), self.division.config.context)
        with Unknown(overheard):
            update(state, [batch], NextToken(state.model, state.crew.among), plan)
        return overheard.sent

    def sent(self) -> Mapping[str, Sent]:
        """In a whole step, of which some micro-batches are computed, and some more to see what these add; not in the first one.

        In that one Muon asks who holds what, and in the first of so many micro-batches the processes of a pipeline agree on their order.
        """
        count, more = fewest(self.division)
        self.step(count)
        before = self.step(count)
        if count == self.division.micro_batches:
            return before
        if self.division.piped:
            self.step(count + more)
        after, times = self.step(count + more), (self.division.micro_batches - count) // more
        found = {kind: before.get(kind, Sent()) + (sent - before.get(kind, Sent())) * times for kind, sent in after.items()}
        assert all(each.messages >= 0 and each.size_bytes >= 0 for each in found.values())
        return found

    def holds(self) -> Rehearsed:
        """What this process holds. Optimizers make their memory in their first step, so one of zeros is taken where there was none."""
        state, crew = self.state, self.state.crew
        if not list(state.optimizer_tensors()):
            with Unknown():
                for part in state.parts:
                    part.own.grad = torch.zeros_like(part.own)
                for optimizer in state.optimizers:
                    optimizer.step()
        layers = [[int(name) for name, _ in span.model.layers.named_children()] for span in crew.spans]
        own = [part.own for part in state.parts]
        return Rehearsed(
            self.world.rank,
            layers or [range(self.division.config.layers)],
            sum(p.numel() for p in own),
            sum(p.nbytes for p in own),
            sum(t.nbytes for _, _, t in state.optimizer_tensors()),
            [part.name for part in state.parts if part.owner],
        )

    def _shapes(self, pipe: Pipeline) -> Shapes:
        """What each stretch here is given and leaves, as in a model of one layer."""
        d, sizes = self.division, self.world.sizes
        few = unknown(d.config.model_copy(update={"layers": 1}), getattr(torch, d.layout.gathered) if d.cut > 1 else torch.float32)
        given = blank_rows(d.rows, d.config.context // sizes["context"]).inputs
        with torch.no_grad(), self.precision.autocast():
            carried = few.entered(given.tokens_BT, given.positions_BT)
            carried = few.through(carried, given.positions_BT, attention.packed(given.segments_BT))
            x_BTD, wished = ended(few, carried, given.positions_BT)
        made = x_BTD, wished if isinstance(wished, Tensor) else x_BTD.new_zeros(())
        between = tuple(own.narrow(1, 0, own.shape[1] // sizes["tensor"]) for own in carried)
        shapes = Shapes()
        for number in pipe.numbers:
            entering = (given.tokens_BT,) if number == 0 else between
            leaving = made if number == pipe.count - 1 else between
            shapes[number] = tuple(map(like, entering)), tuple(map(like, leaving))
        return shapes


def fewest(division: Division) -> tuple[int, int]:
    """Micro-batches of which a pipeline is full and its order repeats itself, and after how many more it does so again.

    All of them where they are no more, or would not come out even.
    """
    ranks, count = division.sizes["pipeline"], division.micro_batches
    full, more = (ranks, 1) if division.layout.schedule in SINGLE else (2 * ranks, ranks)
    return (full, more) if count > full + more and (count - full) % more == 0 else (count, 0)


def unknown(config: AnyConfig, dtype: torch.dtype = torch.float32) -> Model:
    """A model whose weights have no numbers."""
    model = shape_only(config)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, dtype=dtype)))
    return model


def blank_rows(rows: int, context: int) -> Batch:
    """Rows of one token and one document each, all of whose positions weigh the same; they lie in memory as one number."""
    zeros_BT = torch.zeros(1, 1, dtype=torch.long).expand(rows, context)
    positions_BT = torch.arange(context).expand(rows, context)
    return Batch(ModelInputs(zeros_BT, positions_BT, zeros_BT), zeros_BT, torch.ones(1, 1).expand(rows, context))
