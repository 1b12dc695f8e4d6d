"""A model cut between layers: stretches that know which layers they are, the first with the embedding, the last with the head."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import Attend
from scratchlm.model import attention, cost
from scratchlm.model.architectures import Model
from scratchlm.model.stretch import AT_THE_END
from scratchlm.parallel.crossing import sendable
from scratchlm.parallel.layout import ROWS, WEIGHTS
from scratchlm.parallel.pipeline import cut_evenly, places
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.tensor import Lane
from scratchlm.parallel.world import World
from scratchlm.shares.schedules import parts
from scratchlm.train.forward import ended

AttendBy = Callable[[Tensor], Attend]
"""Given the segments of packed rows, how their positions see each other."""


class Span(nn.Module):
    """A stretch of a model's layers as a module: what torch cuts, copies and puts into pipelines."""

    def __init__(self, model: Model, *, first: bool, last: bool, lane: Lane | None) -> None:
        super().__init__()
        self.model, self.first, self.last, self.lane = model, first, last, lane
        self.precision = Precision("float32")
        self.attend: AttendBy = attention.packed

    def forward(self, *given: Tensor, positions_BT: Tensor, segments_BT: Tensor) -> Any:
        """From tokens, or what the stretch before left; ``Made`` at the end of the model, else what the next one is given."""
        model: Any = self.model
        with self.precision.autocast():
            carried = model.entered(*given, positions_BT) if self.first else tuple(map(sendable, given))
            carried = model.through(carried, positions_BT, self.attend(segments_BT))
            if not self.last:
                return carried
            x_BTD, wished = ended(model, carried, positions_BT)
            x_BTD = x_BTD if self.lane is None else self.lane.entered(x_BTD)
            return x_BTD, wished if isinstance(wished, Tensor) else x_BTD.new_zeros(())


def spans_of(model: Model, world: World, lane: Lane | None) -> tuple[list[int], list[Span]]:
    """This process's stretches of ``model``, which keeps only what they need, and their numbers."""
    count = world.sizes["pipeline"]
    if count == 1:
        return [0], [Span(model, first=True, last=True, lane=lane)]
    layout = world.layout
    each, total = layout.spans_each, count * layout.spans_each
    anatomy = cost.anatomy(model.config)
    layer = (anatomy.matrices + anatomy.idle) / model.config.layers
    cuts = cut_evenly([layer] * model.config.layers, float(anatomy.head), total)
    numbers = places(world.place["pipeline"], count, each, layout.schedule)
    assert sorted(n for rank in range(count) for n in places(rank, count, each, layout.schedule)) == [*range(total)]
    blocks, spans = dict(model.layers.named_children()), list[Span]()
    for number in numbers:
        first, last = number == 0, number == total - 1
        kept = stretch_of(model, {str(layer): blocks[str(layer)] for layer in cuts[number]}, first=first, last=last)
        spans.append(Span(kept, first=first, last=last, lane=lane))
    model.layers = nn.ModuleDict({name: block for span in spans for name, block in span.model.layers.named_children()})
    ends = 0 in numbers, total - 1 in numbers
    for name in [name for name, module in model.named_children() if name != "layers" and not _needed(model, name, module, *ends)]:
        setattr(model, name, None)
    return numbers, spans


def stretch_of(model: Model, blocks: dict[str, nn.Module], *, first: bool, last: bool) -> Model:
    """The same modules, of which only those stay that a stretch needs."""
    kept: Any = copy.copy(model)
    kept._modules = dict(model._modules)
    kept.layers = nn.ModuleDict(blocks)
    for name, module in model.named_children():
        if name != "layers" and not _needed(model, name, module, first, last):
            setattr(kept, name, None)
    return kept


def _needed(model: Model, name: str, module: nn.Module, first: bool, last: bool) -> bool:
    """Whether a module that is no layer belongs to the beginning or the end, as far as these are here."""
    if not list(module.parameters()) and name != "balance":
        return True
    if name == "embedding" and last and model.head is None:
        return True
    return last if name in AT_THE_END else first


def check_step(world: World, *, within: bool) -> None:
    """UsageError where a stage shares rows out only (not ``within`` them or the model), and the layout says otherwise."""
    if not within and world.size("tensor", "context", "pipeline") > 1:
        raise UsageError("parallel: only pretrain and sft share layers, matrices or positions out. Set tensor, context and pipeline to 1.")


def micro_batches(share: int, world: World) -> Sequence[int]:
    """Rows at once into which a process's ``share`` of a step can be cut, the fewest first; UsageError where no pipeline takes them."""
    ranks, schedule = world.sizes["pipeline"], world.layout.schedule
    if not (can := parts(share, schedule, ranks)):
        raise UsageError(
            f"parallel.pipeline: {share} rows of a step cannot be cut into as many micro-batches as {ranks} processes take "
            f"by '{schedule}'. Set rows to a multiple of {ranks * world.size(*ROWS)}."
        )
    return can


def check(model: Model, world: World) -> None:
    """UsageError where a model cannot be shared out as the layout says, with what would do."""
    config, sizes = model.config, world.sizes
    facts = dict(config)
    for name in ("heads", "kv_heads"):
        if (heads := facts.get(name, facts["heads"])) % sizes["tensor"]:
            raise UsageError(
                f"parallel.tensor: {sizes['tensor']} processes cannot share {heads} {name} out evenly. Set a number that divides them."
            )
        if world.layout.context_by == "ulysses" and (own := heads // sizes["tensor"]) % sizes["context"]:
            raise UsageError(
                f"parallel.context_by: {sizes['context']} processes cannot share {own} {name} out evenly. Set context_by=gather."
            )
    least = sizes["tensor"] * (2 * sizes["context"] if sizes["context"] > 1 else 1)
    if config.context % least:
        raise UsageError(
            f"parallel: rows of {config.context} positions cannot be cut into {least}. Set model.context to a multiple of {least}."
        )
    if sizes["context"] > 1 and model.lookback:
        raise UsageError(
            f"parallel.context: a '{config.kind}' model reads the tokens before each position, which may be elsewhere. Set context=1."
        )
    if sizes["expert"] > 1 and "experts" not in facts:
        raise UsageError(f"parallel.expert: a '{config.kind}' model has no experts. Set parallel.expert=1.")
    if facts.get("tied") and sizes["pipeline"] > 1 and world.layout.schedule == "zero_bubble" and world.size("replicate", *WEIGHTS) > 1:
        raise UsageError(
            "parallel.schedule: where both ends of the pipeline meet, an embedding that is the head as well cannot be cut. "
            "Set parallel.schedule=interleaved, or model.tied=false."
        )
    if sizes["pipeline"] > 1 and world.layout.schedule == "zero_bubble" and sizes["replicate"] > 1 and world.size(*WEIGHTS) == 1:
        raise UsageError(
            "parallel.schedule: plain copies hear of no gradient that zero_bubble makes late. "
            "Set parallel.schedule=interleaved, or shard in place of replicate."
        )
    if (sizes["tensor"] - 1) * -(-config.vocab // sizes["tensor"]) >= config.vocab:
        raise UsageError(
            f"parallel.tensor: of {config.vocab} pieces some of {sizes['tensor']} processes would have none. Set a smaller number."
        )
    if world.layout.offload and world.device == "cpu":
        raise UsageError("parallel.offload: weights are in the processor's memory already. Leave it out.")
    if world.layout.offload and world.size(*WEIGHTS) == 1:
        raise UsageError("parallel.offload: only weights that are shared out can be kept elsewhere. Set parallel.shard to 2 or more.")
