"""The processes that compute a step together: where a model meets the division of labour that its architecture declares.

From outside, in a fixed order: experts, matrices, layers, recomputation, shards. The model never knows. On one process nothing is done.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import Among, Batch, Item, ModelInputs
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.model import attention
from scratchlm.model.architectures import ARCHITECTURES, Model, Origin, shape_only
from scratchlm.parallel import parts, recompute, shard, tensor
from scratchlm.parallel.context import POSITIONS, Context, by_gathering, by_heads
from scratchlm.parallel.experts import share_out_
from scratchlm.parallel.layout import AXES, ROWS, WEIGHTS
from scratchlm.parallel.parts import Part
from scratchlm.parallel.pipeline import Pipeline, ends_apart
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.tensor import Lane
from scratchlm.parallel.world import World
from scratchlm.train.forward import Forward, Made, plainly
from scratchlm.train.spans import AttendBy, Span, check, spans_of

I = TypeVar("I", bound=Item)  # noqa: E741


@dataclass
class Crew:
    """This process's share of a model and of each step."""

    world: World
    model: Model
    parts: Sequence[Part]
    spans: Sequence[Span] = ()
    """Its stretches of layers; none where the model is as it was."""
    roots: Sequence[nn.Module] = ()
    """The same as torch has wrapped them."""
    announce: shard.Announce = lambda _last: None
    positions: Context | None = None
    among: Among | None = None
    pipe: Pipeline | None = None
    learned: Sequence[tuple[Part, nn.Parameter]] = ()
    """Which parameter of the model each part is of."""
    attend: AttendBy = attention.packed
    precision: Precision = field(default_factory=lambda: Precision("float32"))

    @property
    def has_loss(self) -> bool:
        """Whether the end of the model is here."""
        return self.pipe is None or self.pipe.has_last

    def computes(self, attend: AttendBy, precision: Precision) -> None:
        """How positions see each other, and in which precision, from here on."""
        self.attend, self.precision = attend, precision
        for span in self.spans:
            span.precision, span.attend = precision, self._attend(attend)

    def _attend(self, usual: AttendBy) -> AttendBy:
        if self.positions is None:
            return usual
        if self.world.layout.context_by == "gather":
            return by_gathering(self.positions, attention.packed)
        return by_heads(self.positions, usual)

    def own(self, item: I, rows: int) -> I:
        """This process's share of an item of so many rows."""
        size = self.world.size(*ROWS)
        if rows % size:
            raise UsageError(
                f"parallel: {rows} rows of a step cannot be shared out evenly among {size} processes. Set a multiple of {size}."
            )
        mine: Any = item.split(rows // size)[self.world.place_along(*ROWS)] if size > 1 else item
        if self.positions is None:
            return mine
        if not isinstance(mine, Batch):
            raise UsageError("parallel.context: only pretrain and sft share positions out. Set parallel.context=1.")
        chosen: Any = mine.columns(self.positions.columns(mine.targets_BT.shape[1]))
        return chosen

    def even_rows(self, rows: int, most: int) -> int:
        """At most so many rows at once, such that this process's share of a step's ``rows`` is cut evenly, and fills a pipeline."""
        if self.world.alone:
            return most
        share = rows // self.world.size(*ROWS)
        most = min(most, max(1, share // self.world.sizes["pipeline"]))
        return max((count for count in range(1, share + 1) if share % count == 0 and count <= most), default=1)

    def whole_everywhere(self) -> Model:
        """All of the model at every process: itself where there is one, else a copy."""
        model = self.whole() or shape_only(self.model.config).to_empty(device=self.world.device)
        return model if self.world.alone else self.world.as_main_has_it(model.to(self.world.device))

    def whole(self) -> Model | None:
        """All of the model at the main process, None at the others."""
        if self.world.alone:
            return self.model
        whole = {name: tensor for name, tensor in parts.assembled(self.parts, self.world) if tensor is not None}
        if not self.world.is_main:
            return None
        model = shape_only(self.model.config)
        model.load_state_dict(whole, assign=True)
        return model

    def made(self, inputs: ModelInputs, attend: AttendBy, forward: Forward) -> Made:
        """What the model makes of a micro-batch, where it is no pipeline; by ``forward`` where all of it is here."""
        if not self.roots:
            return forward(self.model, inputs.tokens_BT, inputs.positions_BT, attend(inputs.segments_BT))
        return self.roots[0](inputs.tokens_BT, positions_BT=inputs.positions_BT, segments_BT=inputs.segments_BT)

    def logprobs(self, batch: Batch) -> Tensor:
        """Log-probability of every target of a batch, as training computes it; all processes that share its rows out come here together."""
        self.model.eval()
        for span in self.spans:
            span.eval()
        batch = batch.to(torch.device(self.world.device))
        mine = batch if self.positions is None else batch.columns(self.positions.columns(batch.targets_BT.shape[1]))
        with torch.no_grad(), self.precision.autocast():
            given = mine.inputs
            if self.pipe is None:
                made = self.made(given, self.attend, plainly)
            else:
                made = self.pipe.forth(given.tokens_BT, given.positions_BT, given.segments_BT)
            found_BT = torch.zeros(mine.targets_BT.shape, device=batch.targets_BT.device)
            if made is not None:
                parts_of_rows = zip(made[0].split(1), mine.targets_BT.split(1), strict=True)
                found_BT = torch.cat([token_logprobs(self.model.logits(x), targets, self.among) for x, targets in parts_of_rows])
            self.world.sum_([found_BT], "pipeline")
            return found_BT if self.positions is None else self.positions.whole(found_BT)

    def settle(self) -> None:
        """Make every part's gradient complete: a SUM over all that saw rows, positions or heads of it."""
        for part, parameter in self.learned:
            part.own.grad = local(parameter.grad)
        for axes in sorted({part.summed for part in self.parts if part.summed}):
            among = [part.own for part in self.parts if part.summed == axes]
            for own in among:
                own.grad = torch.zeros_like(own) if own.grad is None else own.grad
            self.world.sum_([own.grad for own in among if own.grad is not None], *axes)
        if self.pipe is not None:
            self.pipe.add_ends([part.own.grad for part in self.parts if part.at_both_ends and part.own.grad is not None])

    def begin(self, origin: Origin) -> None:
        """Take what is here of the weights that ``origin`` hands over."""

        def take(name: str, numbers: Tensor) -> None:
            for part in here[name]:
                for piece in part.pieces:
                    parts.at(part.own.detach(), piece.here).copy_(parts.at(numbers, piece.there))

        here: dict[str, list[Part]] = defaultdict(list)
        for part in self.parts:
            here[part.name].append(part)
        origin.give(take)

    def forget(self) -> None:
        """Every gradient."""
        for part, parameter in self.learned:
            part.own.grad = parameter.grad = None

    def squares(self) -> float:
        """The sum of squares of the whole model's gradient; each number is counted once, whoever has it."""
        mine = [part.own.grad for part in self.parts if part.owner and part.own.grad is not None and part.own.grad.numel()]
        norms = torch._foreach_norm(mine) if mine else []  # pyright: ignore[reportPrivateImportUsage]
        return self.world.sum(float(torch.stack(norms).double().square().sum()) if norms else 0.0, *AXES)


def local(tensor: Tensor | None) -> Tensor | None:
    """What of a cut tensor is here."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def alone(model: Model) -> Crew:
    """One process that has all of the model."""
    return Crew(World(), model, parts.of(model))


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
    banks = {path: module for path, module in model.named_modules() if cut_of(path, sharding) == "experts"}
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
        for balance in (module for path, module in model.named_modules() if cut_of(path, sharding) == "statistics"):
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


def cut_of(path: str, sharding: Mapping[str, str]) -> str | None:
    """What the table says of a module."""
    return next((cut for pattern, cut in sharding.items() if tensor.speaks_of(pattern, path)), None)


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
