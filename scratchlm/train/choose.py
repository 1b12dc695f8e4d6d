"""Which of several ways to compute the same thing is the fastest here? Each is run on the shapes at hand; the winner is written down."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scratchlm.core import machine
from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import Attend, positions_of
from scratchlm.kernels import attention as kernel
from scratchlm.kernels import pointwise
from scratchlm.kernels.build import Unavailable
from scratchlm.model import attention as plain
from scratchlm.model import cost
from scratchlm.model.architectures import AnyConfig, Model
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World, neighbours
from scratchlm.shares.division import Division, Outline
from scratchlm.shares.held import fullest
from scratchlm.shares.schedules import parts
from scratchlm.train.forward import FAILURES, GRAPHS, Compiled, Forward, first_lines, plainly


@dataclass(frozen=True)
class Way:
    """How a model is computed; all ways give the same up to rounding."""

    attention: Callable[[Tensor], Attend]
    """Given the segments of packed rows, how their positions see each other."""
    kernels: bool = False
    """Whether kernels compute what stands between matrix products."""
    compiler: str | None = None
    """The mode of torch.compile that writes a program for all of it; None: one operation after another."""
    gpu: bool = False
    """Whether it is made for GPUs of NVIDIA and AMD only."""

    def forward(self, rows: int, length: int) -> Forward:
        """What computes micro-batches of so many rows."""
        return plainly if self.compiler is None else Compiled.begin(self.compiler, rows=rows, length=length)


WAYS = {
    "torch": Way(plain.packed),
    "explicit": Way(plain.reference),
    "kernels": Way(kernel.packed, kernels=True),
    "compiled torch": Way(plain.packed, compiler="default"),
    "compiled explicit": Way(plain.reference, compiler="default"),
    "compiled blocks": Way(plain.blockwise, compiler="default", gpu=True),
    "graphs torch": Way(plain.packed, compiler=GRAPHS, gpu=True),
    "graphs blocks": Way(plain.blockwise, compiler=GRAPHS, gpu=True),
}
POSITIONS = 1024
"""Of the rows on which ways are tried; times are told for so many."""
ROUNDS = 2
LONGEST_WRITTEN_OUT = 256
"""Positions of a row from which on its scores, written out, take more memory than all else."""
COMPILE_S = 60.0
"""What a compilation may take: 41 to 66 s were measured on one busy core of two, 12 to 59 s on both."""
RISK = 10.0
"""A run must last so many times as long before one is tried: then a trial in vain costs a tenth of the run at most."""
SHARE = 0.8
"""Of the free memory that a step may take by its formula."""
KEPT = 0.6
"""Of what the way back needs in float32, the least that bfloat16 was seen to keep (``cost.activation_bytes``)."""
MOST_ROWS = 4096


def times(model: Model, precision: Precision) -> tuple[dict[str, float], dict[str, str]]:
    """Milliseconds of each way without a compiler, forth and back through ``model``; and why others are left out."""
    reasons = {name: why(model, precision) for name, why in (("explicit", unfit_written_out), ("kernels", unfit))}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    length = min(model.config.context, POSITIONS)
    rows = max(1, POSITIONS // length)
    tried = [name for name, way in WAYS.items() if way.compiler is None and name not in left_out]
    return {name: milliseconds(model, precision, WAYS[name], rows, length)[0] for name in tried}, left_out


@dataclass(frozen=True)
class Trial:
    """What came of trying to compile."""

    ways_ms: dict[str, float]
    compile_s: dict[str, float]
    """How long each compilation took."""
    left_out: dict[str, str]


def compiled_times(model: Model, precision: Precision, found: dict[str, float], *, rows: int, tokens: int, whole: bool = True) -> Trial:
    """The same for ways with a compiler, on micro-batches of ``rows``, where a run on ``tokens`` is long enough to take the risk.

    A way that saves less time over the run than its compilation took is left out. The fastest way without is timed on these rows, too.
    ``whole`` says that a step is one micro-batch: a graph that is replayed writes over the gradients that the last one left.
    """
    fastest, length = min(found, key=lambda name: found[name]), model.config.context
    names = [name for name, way in WAYS.items() if way.compiler is not None]
    trial = Trial({}, {}, {name: reason for name in names if (reason := unfit_to_compile(name, fastest, precision.device, whole=whole))})
    seconds = found[fastest] / 1e3 * tokens / POSITIONS
    if "torch._dynamo" in sys.modules:  # else no compiler has been loaded yet, and to ask it loads it
        torch.compiler.reset()  # an earlier stage's programs
    for name in (name for name in names if name not in trial.left_out):
        if seconds < RISK * COMPILE_S * (1 + len(trial.compile_s)):
            trial.left_out[name] = f"the run lasts {seconds:.0f} s or so, too short to risk {COMPILE_S:.0f} s on a compiler"
            continue
        if fastest not in trial.ways_ms:
            trial.ways_ms[fastest] = milliseconds(model, precision, WAYS[fastest], rows, length)[0]
        try:
            taken_ms, first_s = milliseconds(model, precision, WAYS[name], rows, length)
        except FAILURES as error:
            trial.left_out[name] = f"it cannot be had here ({type(error).__name__}: {first_lines(error)})"
            continue
        trial.compile_s[name] = round(first_s, 1)
        if (saved := (trial.ways_ms[fastest] - taken_ms) / 1e3 * tokens / POSITIONS) > first_s:
            trial.ways_ms[name] = taken_ms
        else:
            saves = f"saves {saved:.0f} s of the run" if saved > 0 else "is no faster"
            trial.left_out[name] = f"it {saves} and takes {first_s:.0f} s to compile"
    return trial


def unfit_to_compile(name: str, fastest: str, device: str, *, whole: bool = True) -> str | None:
    """Why a way with a compiler is not tried on ``device``, where ``fastest`` is the fastest without; None where it is."""
    if WAYS[name].gpu and device != "cuda":
        return "it is made for GPUs"
    if WAYS[name].compiler == GRAPHS and not whole:
        return "a step is several micro-batches, and a graph writes over the gradients of the one before"
    if WAYS[fastest].kernels:
        # 50 against 57 and 99 against 137 ms in bfloat16 on one core, models of 4 x 128 and 3 x 192 (docs/logbook.md).
        return "kernels do already what a compiler would do, and attention too"
    if device == "cuda":
        return "written out, scores take more memory than a GPU's own attention" if name == "compiled explicit" else None
    return None if name == f"compiled {fastest}" else f"{fastest} has the faster attention"


def unfit_written_out(model: Model, precision: Precision) -> str | None:
    """Why attention is not tried as the formula says."""
    if precision.device != "cpu" or precision.dtype == "float32":
        # In bfloat16 torch's own goes back through rows of 64 and 256 1.4 to 1.6 times as slowly, in float32 up to 1.2 times as fast.
        return "torch's own attention is slow on the CPU in half precision only"
    if model.config.context > LONGEST_WRITTEN_OUT:
        return f"scores of rows of {model.config.context} positions take too much memory"
    return None


def unfit(model: Model, precision: Precision) -> str | None:
    """Why kernels cannot compute ``model``; None where they can."""
    if precision.device != "cpu" or precision.dtype != "bfloat16":
        return f"they compute bfloat16 on the CPU, not {precision.dtype} on {precision.device}"
    if (channels := channels_of(model)) % kernel.LANES:
        return f"{channels} channels of a head are no multiple of {kernel.LANES}"
    try:
        kernel.library()
        pointwise.library()
    except Unavailable as reason:
        return str(reason)
    return None


def channels_of(model: Model) -> int:
    """Of a head."""
    seen: list[int] = []

    def attend(_layer: int, q_BTHC: Tensor, _k_BTGC: Tensor, _v_BTGC: Tensor, _window: int | None) -> Tensor:
        seen.append(q_BTHC.shape[3])
        return q_BTHC

    one = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
    with torch.no_grad():
        model.features(one, one, attend)
    return seen[0]


def rows_that_fit(config: AnyConfig, optimizer: OptimizerConfig, device: str, *, way: str = "torch") -> int:
    """The most rows, a power of two, whose step takes no more than its share of the memory that is free; at least one."""
    free = SHARE * free_bytes(device)
    rows = 1
    while rows < MOST_ROWS and bytes_of(config, optimizer, 2 * rows, way) <= free:
        rows *= 2
    return rows


def own_rows_that_fit(config: AnyConfig, optimizer: OptimizerConfig, world: World, *, half: bool, rows: int | None) -> int:
    """The most rows at once of this process's ``rows`` of a step, where processes share a model out; UsageError where not one fits.

    Where a step's rows are not known, the most of all: a power of two.
    """
    outline, free, ranks = Outline(config), SHARE * free_bytes(world.device) / own_share(world.device), world.sizes["pipeline"]
    tried = [2**power for power in range(MOST_ROWS.bit_length())] if rows is None else parts(rows, world.layout.schedule, ranks)
    fit, least = 0, math.inf
    for at_once in tried:
        micro_batches = ranks if rows is None else rows // at_once
        divided = Division(outline, world.layout, world.sizes, at_once, micro_batches, half, world.device != "cpu")
        taken = fullest(divided, optimizer).total
        fit, least = (at_once if taken <= free else fit), min(least, taken)
    if tried and not fit:
        raise UsageError(
            f"parallel: a step takes {least / 1e9:,.1f} GB at the fullest process at least, and it may take {free / 1e9:,.1f} GB of "
            f"{world.device} here. Start more processes, set parallel.recompute=full, or ask `scratchlm plan --devices`."
        )
    return fit or 1


def own_share(device: str) -> int:
    """Processes that take from the same memory."""
    return neighbours() if device == "cpu" else 1


def even_parts(rows: int | None, most: int) -> int:
    """At most so many rows at once, such that a step of ``rows`` is cut evenly: 100 rows of which 64 fit are two times 50."""
    return most if rows is None else math.ceil(rows / math.ceil(rows / most))


def least_bytes(config: AnyConfig, optimizer: OptimizerConfig) -> float:
    """What a step of one row takes in any dtype and any way: no masks, and of what the way back needs what bfloat16 keeps of it."""
    parts = cost.training_bytes(config, 1, optimizer.kind, momentum=momentum_of(optimizer), masked=False)
    return sum(parts.values()) - (1 - KEPT) * parts["activations"]


def bytes_of(config: AnyConfig, optimizer: OptimizerConfig, rows: int, way: str) -> int:
    """Memory of a step by formula. Where scores are written out six bytes of each stay, and one layer takes ten more."""
    attention = WAYS[way].attention
    scores = rows * config.heads * config.context**2 * (6 * config.layers + 10) if attention is plain.reference else 0
    masked = attention in (plain.packed, plain.reference)
    return scores + sum(cost.training_bytes(config, rows, optimizer.kind, momentum=momentum_of(optimizer), masked=masked).values())


def free_bytes(device: str) -> float:
    """Memory that a run may take now; without end where the system does not say."""
    if device == "cuda":  # what torch keeps for later is free, too
        return float(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    return machine.memory().free


def all_bytes(device: str) -> float:
    """Memory that there is, taken or not."""
    return float(torch.cuda.mem_get_info()[1]) if device == "cuda" else machine.memory().total


def momentum_of(optimizer: OptimizerConfig) -> float:
    """Of an optimizer that may have one."""
    return float(dict(optimizer).get("momentum", 0.0))


def milliseconds(model: Model, precision: Precision, way: Way, rows: int, length: int) -> tuple[float, float]:
    """(of POSITIONS positions, the best of some rounds after a first one; how many seconds the first one took longer)."""
    device, taken = next(model.parameters()).device, list[float]()
    tokens_BT = torch.arange(rows * length, device=device).view(rows, length) % model.config.vocab
    segments_BT = (torch.arange(length) >= length // 2).long().expand(rows, length)  # rows of two documents, as packed rows have several
    positions_BT, segments_BT = positions_of(segments_BT).to(device), segments_BT.to(device)
    forward = way.forward(rows, length)
    with training(model):
        for _ in range(1 + ROUNDS):
            started = time.perf_counter()
            with replace(precision, kernels=way.kernels).autocast():
                x_BTD, wished = forward(model, tokens_BT, positions_BT, way.attention(segments_BT))
            (x_BTD.float().sum() + wished).backward()
            float(next(p.grad for p in model.parameters() if p.grad is not None).flatten()[0])  # reading a number waits for the device
            taken.append(time.perf_counter() - started)
            for parameter in model.parameters():
                parameter.grad = None
    best = min(taken[1:])
    return round(best * 1e3 * POSITIONS / tokens_BT.numel(), 3), max(0.0, taken[0] - best)


@contextmanager
def training(model: Model) -> Iterator[None]:
    """As the loop will call it, and then as it was; what dropout draws meanwhile changes nothing, for a step begins with its own seed."""
    was = model.training
    model.train()
    try:
        yield
    finally:
        model.train(was)
