"""Parameters shared out by hand in several ways, each of its numbers its own: what the processes of a crowd save and read again."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import ceil, prod
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Event, Journal
from scratchlm.optim import muon
from scratchlm.parallel.layout import AXES, Layout
from scratchlm.parallel.parts import Part, Piece, assembled, at, cut, whole_piece
from scratchlm.parallel.world import World
from scratchlm.train import pieces
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.crew import Crew
from scratchlm.train.state import TrainState

SHAPES = {
    "embedding.weight": (23, 5),  # vocabulary: 12 and 11 rows of two, 6, 6, 6 and 5 of four
    "layers.0.qkv.weight": (18, 7),  # columns of three
    "layers.0.out.weight": (7, 6),  # rows, which are columns of the weight
    "norm.weight": (5,),  # of four processes the last has none
    "head.weight": (10, 5),
}
DIVISIONS: dict[str, dict[str, int]] = {
    "four by rows": {"shard": 4},
    "rows and matrices": {"shard": 2, "tensor": 2},
    "layers and copies": {"pipeline": 2, "replicate": 2},
    "three by rows": {"shard": 3},
    "two by matrices": {"tensor": 2},
    "one": {},
}
ENTRIES = {"layers.0": ("momentum",), "": ("exp_avg", "exp_avg_sq")}
"""What Muon and AdamW remember in the shape of a parameter whose name begins so."""


def numbers(name: str, entry: str | None = None) -> Tensor:
    """All of a parameter, or of what is remembered of it; no two numbers of them are alike."""
    place = [*SHAPES].index(name) * 4 + (None, "momentum", "exp_avg", "exp_avg_sq").index(entry)
    return 1000.0 * place + torch.arange(prod(SHAPES[name])).view(SHAPES[name])


def world_of(division: str) -> World | None:
    """The processes that share the work out so, the first of those there are; None: this is none of them."""
    sizes = dict.fromkeys(AXES, 1) | DIVISIONS[division]
    if (count := prod(sizes.values())) == dist_size():
        return World.start(1, layout=Layout.model_validate(sizes))
    mesh = DeviceMesh("cpu", torch.arange(count).view(tuple(sizes.values())), mesh_dim_names=AXES)
    if dist.get_rank() >= count:
        return None
    return World() if count == 1 else World(rank=dist.get_rank(), layout=Layout.model_validate(sizes), sizes=sizes, mesh=mesh)


def dist_size() -> int:
    World.start(1, layout=Layout())
    return dist.get_world_size()


def kept(own: Tensor, held: tuple[Piece, ...], dim: int, stretches: Iterable[tuple[int, int]]) -> tuple[Tensor, tuple[Piece, ...]]:
    """Of a tensor and what it is of the whole, some stretches along ``dim``."""
    tensors, left, done = [], list[Piece](), 0
    for first, last in stretches:
        tensors.append(own.narrow(dim, first, last - first))
        for piece in cut(held, dim, first, last):
            start, end = piece.here[dim]
            left.append(replace(piece, here=(*piece.here[:dim], (start + done, end + done), *piece.here[dim + 1 :])))
        done += last - first
    return torch.cat(tensors, dim), tuple(left)


def chunk(size: int, place: int, count: int) -> tuple[int, int]:
    """Of ``size`` rows those of the ``place``-th: as many for each, and what is left for the last ones."""
    each = ceil(size / count)
    return min(place * each, size), min(place * each + each, size)


def parts_of(world: World) -> list[Part]:
    """What this process holds."""
    place, sizes = world.place, world.sizes
    first_stage = ("embedding.weight", "layers.0.qkv.weight")
    names = [name for name in SHAPES if sizes["pipeline"] == 1 or (name in first_stage) == (place["pipeline"] == 0)]
    parts = []
    for name in names:
        own, held = numbers(name), whole_piece(SHAPES[name])
        along = (place["tensor"], sizes["tensor"])
        match name.split(".")[-2]:
            case "qkv":
                low, high = chunk(6, *along)
                own, held = kept(own, held, 0, [(third + low, third + high) for third in (0, 6, 12)])
            case "out":
                own, held = kept(own, held, 1, [chunk(6, *along)])
            case "embedding" | "head":
                own, held = kept(own, held, 0, [chunk(len(own), *along)])
        own, held = kept(own, held, 0, [chunk(len(own), place["shard"], sizes["shard"])])
        owner = place["replicate"] == 0 and (place["tensor"] == 0 or name != "norm.weight")
        parts.append(Part(name, torch.Size(SHAPES[name]), nn.Parameter(own.clone()), held, owner))
    return parts


def state_of(world: World) -> TrainState:
    """Parameters, and optimizers that have made a step and remember seven; every number of them is known."""
    state = TrainState.begin(nn.Module(), muon.Config(), seed=5, crew=Crew(world, nn.Module(), parts_of(world)))  # pyright: ignore[reportArgumentType]
    for part in state.parts:
        part.own.grad = torch.ones_like(part.own)
    for optimizer in state.optimizers:
        optimizer.step()
    fill_(state)
    state.step, state.tokens, state.rows_at_once = 7, 70, 3
    return state


def fill_(state: TrainState) -> None:
    """Give every tensor its numbers, and every counter 7; one of a process that has no number of its parameter counts for nothing."""
    for part in state.parts:
        spread_(part, part.own.detach(), numbers(part.name))
    for part, entry, tensor in state.optimizer_tensors():
        spread_(part, tensor, torch.tensor(7.0 if part.pieces else 99.0) if tensor.ndim == 0 else numbers(part.name, entry))


def spread_(part: Part, own: Tensor, everything: Tensor) -> None:
    for piece in part.pieces if own.ndim else whole_piece(()):
        at(own, piece.here).copy_(at(everything, piece.there))


def strange(state: TrainState) -> list[str]:
    """Names of what is not as ``fill_`` left it, or not there."""
    found = {(part.name, entry): tensor for part, entry, tensor in state.optimizer_tensors()}
    wrong = []
    for part in state.parts:
        entries = next(entries for start, entries in ENTRIES.items() if part.name.startswith(start))
        tensors = {None: part.own.detach()} | {entry: found.pop((part.name, entry)) for entry in entries}
        for entry, tensor in tensors.items():
            spread_(part, should := torch.zeros_like(part.own).detach(), numbers(part.name, entry))
            wrong += [] if torch.equal(should, tensor) else [f"{part.name} {entry}"]
    return wrong + [f"{name} {entry}" for (name, entry), tensor in found.items() if entry != "step" or float(tensor) != 7]


def saved(division: str, path: Path, steps: Sequence[int], most_bytes: Mapping[int, int] = {}) -> str | None:
    """Save after each of ``steps``, where no file of a process may be longer than ``most_bytes`` says; what was said where that failed."""
    if (world := world_of(division)) is None:
        return None
    state = state_of(world)
    try:
        with files_of_at_most(most_bytes.get(world.rank)):
            for state.step in steps:
                Keeper(path, world).save(state)
    except ArtifactError as error:
        return str(error)
    return None


@contextmanager
def files_of_at_most(size_bytes: int | None) -> Iterator[None]:
    """Within it this process cannot write longer ones, as if the disk were full then."""
    if size_bytes is None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def saved_apart(path: Path) -> str | None:
    """The same where each process has a folder of its own."""
    return saved("four by rows", path / os.environ["RANK"], [7])


def read_again(division: str, path: Path) -> tuple[list[str], list[Event], int, int] | None:
    """Put the newest good checkpoint into a state of zeros: what is wrong with it, what was told, its step and rows."""
    if (world := world_of(division)) is None:
        return None
    state, events = state_of(world), list[Event]()
    for part in state.parts:
        part.own.detach().zero_()
    for optimizer in state.optimizers:
        optimizer.state.clear()
    state.step, state.rows_at_once = 0, 64
    if not Keeper(path, world).restore(state, Journal(events.append)):
        return ["nothing"], events, state.step, state.rows_at_once
    return strange(state), events, state.step, state.rows_at_once


def refused(path: Path, division: str, names: Sequence[str]) -> str | None:
    """What is said where the model is to have these parameters only; each process tells."""
    if (world := world_of(division)) is None:
        return None
    state = state_of(world)
    state.crew.parts = [part for part in state.parts if part.name in names]
    try:
        Keeper(path, world).restore(state, Journal())
    except ArtifactError as error:
        return str(error)
    return None


def own_file_enough(path: Path) -> bool:
    """Whether the first of four reads its own file and no other."""
    world = world_of("four by rows")
    assert world is not None
    if world.is_main:
        pieces.fill_(parts_of(world), [path / "part-00000-of-00004.safetensors", path / "no such file"])
    return True


def brought_together(division: str) -> list[tuple[str, bool | None]] | None:
    """Each parameter by name: whether all of it came here as it should be; None where nothing came."""
    if (world := world_of(division)) is None:
        return None
    found = assembled(parts_of(world), world)
    return [(name, None if all_of_it is None else torch.equal(all_of_it, numbers(name))) for name, all_of_it in found]


def due(path: Path) -> list[bool]:
    """By the minute; the clock of the main process says that it is time, or that of all others."""
    world = world_of("four by rows")
    assert world is not None
    late, early = time.monotonic() - 121, time.monotonic() + 1000
    found = []
    for main, others in ((late, early), (early, late)):
        found.append(Keeper(path, world, minutes=2.0, _last=main if world.is_main else others).due(5))
    return [*found, Keeper(path, world, steps=5).due(5)]
