"""What processes hold and what they send each other in a step: live bytes, and every message by the numbers in it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from live import Live
from shared_out import CONTEXT, VOCAB, Case, begun, trained
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scratchlm.model import attention, llama
from scratchlm.model.architectures import build
from scratchlm.optim import adamw
from scratchlm.parallel.layout import Layout
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.train.forming import formed
from scratchlm.train.state import TrainState

DEEP = llama.Config(vocab=VOCAB, context=CONTEXT, layers=24, width=128, heads=4, kv_heads=4, head_dim=32, hidden=512)
"""So many weights that activations of one row are small beside them."""


class Messages(TorchDispatchMode):
    """Numbers in float32 that this process sends, by the kind of message, where all processes are in every one."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func.namespace == "c10d":
            self.sent[func._opname] += numbers(func._opname, args, dist.get_rank(), dist.get_world_size())
        return func(*args, **(kwargs or {}))


def numbers(what: str, args: tuple[Any, ...], rank: int, size: int) -> int:
    """Of one message; sums, gathers and scatters go in rings."""
    first = args[0]
    given: Sequence[Tensor] = first if isinstance(first, list) else (first,)
    if given[0].dtype != torch.float32:
        return 0
    if what == "allreduce_":
        return 2 * (size - 1) * sum(t.numel() for t in given) // size
    if what == "_allgather_base_":
        return (size - 1) * args[1].numel()
    if what == "_reduce_scatter_base_":
        return (size - 1) * args[0].numel()
    if what == "alltoall_base_":
        rows = args[4]
        return args[1].numel() // max(1, sum(rows)) * (sum(rows) - rows[rank])
    return given[0].numel() if what == "send" else 0


def told(case: Case) -> tuple[dict[str, int], int, int]:
    """What a process sends in a step, and how many numbers its blocks and the rest have, cut evenly with what fills the last part up."""
    state = begun(case)
    sizes = Counter[bool]()
    for part in state.parts:
        rows, among = part.shape[0], state.crew.world.size("shard", "context")
        sizes[part.name.startswith("layers.")] += -(-rows // among) * among * part.shape.numel() // rows
    trained(state, case, range(1))
    with Messages() as messages:
        trained(state, case, range(1, 2))
    return dict(messages.sent), sizes[True], sizes[False]


def held(layout: Layout) -> tuple[float, float]:
    """Bytes for each weight that a process holds between two steps, and in a step at most."""
    crew = formed(build(DEEP, seed=0), World.start(1, layout=layout))
    crew.computes(attention.packed, Precision("float32"))
    state, case = TrainState.begin(crew.model, adamw.Config(), seed=0, crew=crew), Case("llama", layout)
    state.rows_at_once = 1
    trained(state, case, range(1))
    whole = sum(part.shape.numel() for part in state.parts)
    with Live() as live:
        live.register([*(part.own for part in state.parts), *(tensor for _, _, tensor in state.optimizer_tensors())])
        rest = live.bytes
        trained(state, case, range(1, 2))
        return rest / whole, live.peak / whole
