"""The processes that compute a step together: what of the model and of each step is this one's."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import Among, Batch, Item, ModelInputs
from scratchlm.export import safetensors_writer
from scratchlm.export.safetensors_writer import Entry
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.model import attention, store
from scratchlm.model.architectures import Model, Origin, shape_only
from scratchlm.parallel import parts, shard
from scratchlm.parallel.context import Context, by_gathering, by_heads
from scratchlm.parallel.layout import AXES, ROWS
from scratchlm.parallel.parts import Part
from scratchlm.parallel.pipeline import Pipeline
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.train.forward import Forward, Made, plainly
from scratchlm.train.spans import AttendBy, Span, micro_batches

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
        share = self.world.share(rows)
        mine: Any = item.split(share)[self.world.place_along(*ROWS)] if share < rows else item
        if self.positions is None:
            return mine
        if not isinstance(mine, Batch):
            raise UsageError("parallel.context: only pretrain and sft share positions out. Set parallel.context=1.")
        chosen: Any = mine.columns(self.positions.columns(mine.targets_BT.shape[1]))
        return chosen

    def even_rows(self, rows: int, most: int) -> int:
        """At most so many rows at once, such that this process's share of a step's ``rows`` is cut evenly, and fills a pipeline.

        UsageError where a pipeline cannot take them.
        """
        if self.world.alone:
            return most
        can = micro_batches(self.world.share(rows), self.world)
        return max((count for count in can if count <= most), default=can[0])

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

    def save(self, path: Path) -> None:
        """Write all of the model into the directory ``path``, one parameter after another; all take part, the main process writes."""
        weights = parts.assembled(self.parts, self.world)
        if not self.world.is_main:
            for _ in weights:
                pass
            return

        def come(name: str) -> Tensor:
            came, numbers = next(weights)
            assert came == name
            assert numbers is not None
            return numbers

        shapes = {name: parameter.shape for name, parameter in sorted(shape_only(self.model.config).named_parameters())}
        dtype = self.parts[0].own.dtype
        safetensors_writer.write(path, {name: Entry(dtype, tuple(shape)) for name, shape in shapes.items()}, come, most=None)
        store.save_shape(self.model.config, path)

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
