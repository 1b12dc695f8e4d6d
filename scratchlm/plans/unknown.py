"""Training without numbers: tensors that know their shapes only, and a group of processes of which one is there.

Weights and all that is computed from them are torch's fake tensors, which take no memory. What is known beforehand keeps its numbers:
tokens, positions, which process is asked for what. So the real code runs as it is, and where it asks for a number that nobody knows it
gets one that lets it go on.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from scratchlm.core.errors import UsageError
from scratchlm.plans.overheard import Overheard

aten = torch.ops.aten
MOST_KNOWN = 1 << 24
"""Numbers of a tensor that are worth computing, as which position may see which; nobody asks for those of a larger one."""
LOSS = 1.0
"""What every loss and every norm is said to be."""


class Unknown(FakeTensorMode):
    """Within it new tensors of floats have no numbers; ``overheard`` is told of every message."""

    def __init__(self, overheard: Overheard | None = None) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.overheard = overheard

    def dispatch(self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        """An operation: answered, computed, or asked of torch, which tells the shapes of what comes of it."""
        kwargs = kwargs or {}
        if self.overheard is not None:
            self.overheard.hear(func, args)
        if not types:
            return self._known(func, args, kwargs)
        if func in ANSWERS:
            return ANSWERS[func](*args)
        if func is aten.index.Tensor:
            args = args[0], _places(args[1])
        return super().dispatch(func, types, args, kwargs)

    def _known(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation that reads nothing unknown."""
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if func is torch.ops.c10d.recv_.default:  # the only numbers that torch waits for are votes of a pipeline's other stages
            for t in read:
                t.fill_(1)
        if read and _together(read) <= MOST_KNOWN:
            return func(*args, **kwargs)
        out = super().dispatch(func, (), args, kwargs)
        if isinstance(out, Tensor) and (out.numel() > MOST_KNOWN or (not read and out.is_floating_point())):
            return out
        return func(*args, **kwargs)


def _together(read: Sequence[Tensor]) -> int:
    """How many numbers come of tensors that are put together entry by entry."""
    try:
        return math.prod(torch.broadcast_shapes(*(t.shape for t in read)))
    except RuntimeError:  # they are not
        return max(t.numel() for t in read)


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """A mask whose numbers are known, as the places that it means."""
    found = list[Tensor | None]()
    for index in indices:
        masks = index is not None and index.dtype == torch.bool and not isinstance(index, FakeTensor)
        found += index.nonzero().unbind(1) if masks and index is not None else [index]
    return found


def _evenly(chosen: Tensor, _weights: Tensor | None = None, count: int = 0) -> Tensor:
    """How often each number was chosen: all equally often, as a router is taught to."""
    return torch.tensor([chosen.numel() // count + (number < chosen.numel() % count) for number in range(count)])


ANSWERS: Mapping[Any, Callable[..., Any]] = {aten._local_scalar_dense.default: lambda _t: LOSS, aten.bincount.default: _evenly}
"""To operations that ask for unknown numbers."""


class Alike(TorchFunctionMode):
    """Within it what is cut into many pieces is one piece many times: to make a tensor of each would take minutes.

    Only for what computes nothing with them, as ``fully_shard`` does, which keeps one.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is not torch.chunk or not isinstance(args[0], FakeTensor):
            return func(*args, **(kwargs or {}))
        x, count, dim = (*args, *(kwargs or {}).values())
        each = -(-x.shape[dim] // count)
        whole, rest = divmod(x.shape[dim], each)
        pieces = [x.narrow(dim, 0, each)] * whole
        return [*pieces, x.narrow(dim, 0, rest)] if rest else pieces


@contextmanager
def one_of(processes: int, rank: int) -> Iterator[None]:
    """Within it this process is one of so many; what it tells the others is lost, and what they would say is what it says itself."""
    from torch.testing._internal.distributed.fake_pg import FakeStore  # tells torch of the backend, too

    if dist.is_initialized():
        raise UsageError("--dry-run: this process works together with others already. Start it alone, without torchrun.")
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=processes)
    try:
        yield
    finally:
        dist.destroy_process_group()
