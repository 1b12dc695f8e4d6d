"""Layers shared out: each process computes some, one behind the other, and while one micro-batch goes back the next go forth.

torch.distributed.pipelining moves the activations and keeps the order. GPipe: Huang et al. 2018, arXiv:1811.06965; one forth, one back,
also with several stretches of layers each: Narayanan et al. 2021, arXiv:2104.04473; zero bubble, where the weights' gradients fill the
gaps: Qi et al. 2023, arXiv:2401.10241.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scratchlm.core.errors import UsageError
from scratchlm.parallel.world import World


def places(rank: int, ranks: int, each: int, schedule: str) -> list[int]:
    """Which stretches a process of the pipeline has: every ``ranks``-th, or, where they go to and fro, one from either end."""
    if schedule == "zero_bubble":
        return [rank, 2 * ranks - 1 - rank]
    return [rank + ranks * turn for turn in range(each)]


def ends_apart(world: World) -> bool:
    """Whether the first and the last stretch are on different processes."""
    return world.sizes["pipeline"] > 1 and world.layout.schedule != "zero_bubble"


def cut_evenly(costs: Sequence[float], last: float, count: int) -> list[range]:
    """``count`` stretches of consecutive layers, such that the dearest is as cheap as can be; ``last`` is what the end costs the last one.

    UsageError where there are fewer layers than stretches.
    """
    layers = len(costs)
    if layers < count:
        raise UsageError(
            f"parallel.pipeline: {layers} layers cannot be cut into {count} stretches. Set fewer processes or spans, or more layers."
        )
    total = [0.0]
    for cost in costs:
        total.append(total[-1] + cost)
    # best[n][end]: the dearest of n stretches that end before layer `end`, and where the last of them begins.
    best = [{0: (0.0, 0)}]
    for n in range(1, count + 1):
        extra = last if n == count else 0.0
        best.append(
            {
                end: min((max(best[n - 1][start][0], total[end] - total[start] + extra), -start) for start in best[n - 1] if start < end)
                for end in range(n, layers - count + n + 1)
            }
        )
    cuts, end = list[range](), layers
    for n in range(count, 0, -1):
        start = -best[n][end][1]
        cuts.insert(0, range(start, end))
        end = start
    return cuts


Loss = Callable[[Any, int], Tensor]
"""(what the last stretch gave, number of the micro-batch) -> what to go back from."""


Shapes = dict[int, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
"""What each stretch is given and what it leaves, as tensors without numbers."""


@dataclass
class Pipeline:
    """One process of a pipeline: its stretches, and what torch was told of them for so many micro-batches."""

    stretches: Sequence[nn.Module]
    numbers: Sequence[int]
    """Of the stretches, counted over all processes."""
    world: World
    shapes: Shapes = field(default_factory=dict)
    """Found out before the first step where they are not given."""
    _made: tuple[int, Any] = (0, None)
    _loss: Loss | None = None

    @property
    def count(self) -> int:
        """Stretches of all processes."""
        return self.world.sizes["pipeline"] * len(self.numbers)

    @property
    def has_last(self) -> bool:
        """Whether the last stretch is here, and with it the loss."""
        return self.count - 1 in self.numbers

    def step(self, given: Sequence[tuple[Tensor, ...]], loss: Loss) -> None:
        """All micro-batches forth and back; of each ``given`` has tokens, positions and segments."""
        self._loss = loss
        if not self.shapes:  # torch would find out by sending pickled objects, which nobody should read
            drawing = [torch.cuda.current_device()] if self.world.device == "cuda" else []
            with torch.no_grad(), torch.random.fork_rng(drawing):  # what dropout draws here must not change what it draws in the step
                self.forth(*given[0], shapes=self.shapes)
        tokens, positions, segments = (torch.cat(each) for each in zip(*given, strict=True))
        target = {"target": torch.arange(len(given))} if self.has_last else {}
        first = (tokens,) if 0 in self.numbers else ()
        schedule = self._schedule(len(given))
        schedule.step(*first, positions_BT=positions, segments_BT=segments, losses=[], return_outputs=False, **target)

    def forth(self, tokens_BT: Tensor, positions_BT: Tensor, segments_BT: Tensor, shapes: Shapes | None = None) -> Any:
        """One micro-batch forth only: what the last stretch gives, None where that is elsewhere; ``shapes`` is filled in if given."""
        group, ranks = self.world.group("pipeline"), self.world.sizes["pipeline"]
        here, given, out = self.world.place["pipeline"], (tokens_BT,), None
        owners = {number: place for place in range(ranks) for number in places(place, ranks, len(self.numbers), self.world.layout.schedule)}
        for number in range(self.count):
            if owners[number] != here:
                continue
            if number and owners[number - 1] != here:
                given = received(owners[number - 1], group, self.world.device)
            out = self.stretches[self.numbers.index(number)](*given, positions_BT=positions_BT, segments_BT=segments_BT)
            if shapes is not None:
                shapes[number] = tuple(map(like, given)), tuple(map(like, out))
            if number + 1 < self.count and owners[number + 1] != here:
                send(out, owners[number + 1], group)
            given = out
        return out if self.has_last else None

    def add_ends(self, grads: Sequence[Tensor]) -> None:
        """Replace what both ends have by its sum."""
        here, last = self.world.place["pipeline"], self.world.sizes["pipeline"] - 1
        group = self.world.group("pipeline")
        if not grads or here not in (0, last) or group is None:
            return
        peer = dist.get_global_rank(group, last - here)
        for grad in grads:
            other = torch.empty_like(grad)
            sent = [dist.P2POp(dist.isend, grad, peer, group), dist.P2POp(dist.irecv, other, peer, group)]
            for work in dist.batch_isend_irecv(sent):
                work.wait()
            grad.add_(other)

    def _schedule(self, micro_batches: int) -> Any:
        if self._made[0] != micro_batches:
            self._made = micro_batches, self._new_schedule(micro_batches)
        return self._made[1]

    def _new_schedule(self, micro_batches: int) -> Any:
        from torch.distributed import pipelining

        device, group = torch.device(self.world.device), self.world.group("pipeline")
        stages = [
            pipelining.PipelineStage(module, number, self.count, device, *self.shapes[number], group=group)
            for module, number in zip(self.stretches, self.numbers, strict=True)
        ]
        kinds: dict[str, Any] = {
            "gpipe": pipelining.ScheduleGPipe,
            "1f1b": pipelining.Schedule1F1B,
            "interleaved": pipelining.ScheduleInterleaved1F1B,
            "zero_bubble": pipelining.ScheduleZBVZeroBubble,
        }
        kind = self.world.layout.schedule
        try:
            return kinds[kind](
                stages if kind in ("interleaved", "zero_bubble") else stages[0], micro_batches, self._lost, scale_grads=False
            )
        except ValueError as error:
            raise UsageError(
                f"parallel.schedule: '{kind}' does not take {micro_batches} micro-batches ({error}). Set rows_at_once."
            ) from None

    def _lost(self, out: Any, target: Tensor) -> Tensor:
        assert self._loss is not None
        return self._loss(out, int(target))


def like(t: Tensor) -> Tensor:
    """Its shape and dtype."""
    return torch.empty_like(t, device="meta").requires_grad_(t.is_floating_point())


HEAD, DIMS = 32, 4
"""Numbers that tell of the tensors that follow; dims of each at most."""
SENT = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def send(tensors: Sequence[Tensor], place: int, group: dist.ProcessGroup | None) -> None:
    """Tensors, and before them what they are."""
    assert group is not None
    to, head = dist.get_global_rank(group, place), torch.zeros(HEAD, dtype=torch.long)
    told = [[SENT.index(t.dtype), t.ndim, *t.shape, *[0] * (DIMS - t.ndim)] for t in tensors]
    head[: 1 + len(told) * (2 + DIMS)] = torch.tensor([len(told), *(number for each in told for number in each)])
    dist.send(head.to(tensors[0].device), to, group=group)
    for t in tensors:
        dist.send(t.contiguous(), to, group=group)


def received(place: int, group: dist.ProcessGroup | None, device: str) -> tuple[Tensor, ...]:
    """What ``send`` sent."""
    assert group is not None
    source, head = dist.get_global_rank(group, place), torch.zeros(HEAD, dtype=torch.long, device=device)
    dist.recv(head, source, group=group)
    count, *told = head.tolist()
    found = list[Tensor]()
    for kind, dims, *shape in (told[first : first + 2 + DIMS] for first in range(0, count * (2 + DIMS), 2 + DIMS)):
        found.append(torch.empty(shape[:dims], dtype=SENT[kind], device=device))
        dist.recv(found[-1], source, group=group)
    return tuple(found)
