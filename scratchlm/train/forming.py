"""How a model comes to be shared out: what of it stays at this process, in a fixed order.

Experts, matrices, layers, recomputation, shards. From outside: the model never knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from scratchlm.core.tensors import Among
from scratchlm.model.architectures import ARCHITECTURES, Model
from scratchlm.parallel import parts, recompute, shard, tensor
from scratchlm.parallel.context import POSITIONS, Context
from scratchlm.parallel.experts import share_out_
from scratchlm.parallel.layout import WEIGHTS
from scratchlm.parallel.parts import Part
from scratchlm.parallel.pipeline import Pipeline, ends_apart
from scratchlm.parallel.tensor import Lane
from scratchlm.parallel.world import World
from scratchlm.train.crew import Crew
from scratchlm.train.spans import Span, check, spans_of


def formed(model: Model, world: World) -> Crew:
    """``model`` shared out, in place, as the world's layout says; UsageError where it cannot be.

    A model on the meta device gets memory for what stays here, and no numbers: those come by ``Crew.begin`` or from a checkpoint.
    """
    if world.mesh is None:
        recomputed_(model, world)
        real_(model, world.device)
        return Crew(world, model, parts.of(model))
    sharding = ARCHITECTURES[model.config.kind].SHARDING
    check(model, world)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    banks = {path: module for path, module in model.named_modules() if tensor.cut_of(path, sharding) == "experts"}
    if (group := world.group("expert")) is not None:
        for bank in banks.values():
            share_out_(bank, group, world.place["expert"], world.sizes["expert"])
    lane, held = None, tensor.Held()
    if (group := world.group("tensor")) is not None:
        lane = Lane(group, world.place["tensor"], world.sizes["tensor"])
        held = tensor.divide_(model, sharding, lane)
    positions = None
    if (group := world.group("context")) is not None:
        positions = Context(group, world.place["context"], world.sizes["context"])
        for balance in (module for path, module in model.named_modules() if tensor.cut_of(path, sharding) == "statistics"):
            whole_rows_(balance, positions)
    recomputed_(model, world)
    numbers, spans = spans_of(model, world, lane)
    wrapped, announces = zip(*(wrap(span, banks, world) for span in spans), strict=True)
    found = {name: parameter for span in spans for name, parameter in span.model.named_parameters()}
    learned = [(part_of(name, parameter, shapes[name], held, banks, world), parameter) for name, parameter in found.items()]

    if ends_apart(world) and dict(model.config).get("tied"):
        learned = [(at_both_ends(part, world) if part.name == "embedding.weight" else part, parameter) for part, parameter in learned]

    def announce(last: bool) -> None:
        for each in announces:
            each(last)

    return Crew(
        world,
        model,
        parts=[part for part, _ in learned],
        spans=spans,
        roots=wrapped,
        announce=announce,
        positions=positions,
        among=among(lane, model.config.vocab),
        pipe=Pipeline(wrapped, numbers, world) if world.sizes["pipeline"] > 1 else None,
        learned=learned,
    )


def recomputed_(model: Model, world: World) -> None:
    """Let every block forget what is computed again."""
    for block in model.layers.children():
        recompute.apply_(block, world.layout.recompute)


def whole_rows_(balance: Any, positions: Context) -> None:
    """Let a module that counts over all positions see those of the other processes, too."""
    gathered, own = balance.gathered, balance.own
    balance.gathered = lambda t: positions.whole(gathered(t))
    balance.summed = positions.summed
    balance.own = lambda t: own(t.index_select(POSITIONS, positions.columns(t.shape[POSITIONS]).to(t.device)))


def wrap(span: Span, banks: Mapping[str, nn.Module], world: World) -> tuple[nn.Module, shard.Announce]:
    """A span whose weights are cut or copied, as the layout says."""
    if world.size(*WEIGHTS) > 1:
        here = set(span.modules())
        announce = shard.cut_(span, span.model.layers.children(), [bank for bank in banks.values() if bank in here], world)
        real_(span, "cpu" if world.layout.offload else world.device)
        return span, announce
    real_(span, world.device)
    return shard.copied(span, world) if world.sizes["replicate"] > 1 else (span, lambda _last: None)


def real_(module: nn.Module, device: str) -> None:
    """Give parameters that are shapes only a place in memory."""
    if any(parameter.is_meta for parameter in module.parameters()):
        module._apply(lambda t: torch.empty_like(t, device=device) if t.is_meta else t)


def part_of(name: str, parameter: nn.Parameter, shape: torch.Size, held: tensor.Held, banks: Iterable[str], world: World) -> Part:
    """What of a parameter is here, after all cuts."""
    from torch.distributed.tensor import DTensor

    pieces, own, place = held.get(name) or parts.whole_piece(shape), parameter, world.place
    in_bank = name.startswith(tuple(f"{path}." for path in banks))
    axes = ("shard", "context") if in_bank and world.sizes["expert"] > 1 else WEIGHTS
    if isinstance(parameter, DTensor):
        each = -(-len(parameter) // world.size(*axes))
        first = min(world.place_along(*axes) * each, len(parameter))
        pieces = parts.cut(pieces, 0, first, min(first + each, len(parameter)))
        own = nn.Parameter(parameter.to_local().detach())
    whole_along_tensor = name not in held
    owner = place["replicate"] == 0 and not (whole_along_tensor and place["tensor"])
    summed = ("tensor",) if whole_along_tensor and world.sizes["tensor"] > 1 else ()
    return Part(name, shape, own, pieces, owner, cut_along=(*axes, "tensor"), summed=summed)


def at_both_ends(part: Part, world: World) -> Part:
    """A tied embedding, which both ends of the pipeline hold: the first one owns it."""
    return replace(part, at_both_ends=True, owner=part.owner and world.place["pipeline"] == 0)


def among(lane: Lane | None, vocab: int) -> Among | None:
    """How processes that have some rows of the head each come to a loss."""
    if lane is None:
        return None
    return Among(lane.chunk(vocab)[0], vocab, lane.largest, lane.total)
