"""Which of several ways to compute the same thing is the fastest here? Each is run on the shapes at hand; the winner is written down."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from scratchlm.core.tensors import Attend
from scratchlm.kernels import attention as kernel
from scratchlm.kernels import pointwise
from scratchlm.kernels.build import Unavailable
from scratchlm.model import attention as plain
from scratchlm.model import cost
from scratchlm.model.architectures import AnyConfig, Model
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.precision import Precision


@dataclass(frozen=True)
class Way:
    """How a model is computed; all ways give the same up to rounding."""

    attention: Callable[[Tensor], Attend]
    """Given the segments of packed rows, how their positions see each other."""
    kernels: bool
    """Whether kernels compute what stands between matrix products."""


WAYS = {"torch": Way(plain.packed, kernels=False), "kernels": Way(kernel.packed, kernels=True)}
POSITIONS = 1024
"""Of the rows on which ways are tried."""
ROUNDS = 2
SHARE = 0.8
"""Of the free memory that a step may take by its formula."""
MOST_ROWS = 4096


def times(model: Model, precision: Precision) -> tuple[dict[str, float], str | None]:
    """Milliseconds of each way that can be had, forth and back through ``model``; and why one cannot be had."""
    reason = unfit(model, precision)
    tried = ("torch",) if reason else WAYS
    return {name: _milliseconds(model, precision, WAYS[name]) for name in tried}, reason


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


def rows_that_fit(config: AnyConfig, optimizer: OptimizerConfig, device: str) -> int:
    """The most rows, a power of two, whose step takes no more than its share of the memory that is free; at least one."""
    free = SHARE * free_bytes(device)
    rows = 1
    while rows < MOST_ROWS and sum(cost.training_bytes(config, 2 * rows, optimizer.kind, momentum=_momentum(optimizer)).values()) <= free:
        rows *= 2
    return rows


def free_bytes(device: str) -> float:
    """Memory that a run may take now; without end where the system does not say."""
    if device == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), math.inf)


def _momentum(optimizer: OptimizerConfig) -> float:
    return float(dict(optimizer).get("momentum", 0.0))


def _milliseconds(model: Model, precision: Precision, way: Way) -> float:
    """The best of some rounds after a first one, on rows as long as the context or as all positions tried."""
    device, T = next(model.parameters()).device, min(model.config.context, POSITIONS)
    tokens_BT = torch.arange(max(1, POSITIONS // T) * T, device=device).view(-1, T) % model.config.vocab
    positions_BT, segments_BT = torch.arange(T, device=device).expand_as(tokens_BT), torch.zeros_like(tokens_BT)
    best = math.inf
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        with replace(precision, kernels=way.kernels).autocast():
            x_BTD = model.features(tokens_BT, positions_BT, way.attention(segments_BT))
        x_BTD.float().sum().backward()
        float(next(p.grad for p in model.parameters() if p.grad is not None).flatten()[0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - started)
        for parameter in model.parameters():
            parameter.grad = None
    return round(best * 1e3, 3)
