"""Which of several ways to compute the same thing is the fastest here? Each is run on the shapes at hand; the winner is written down."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from scratchlm.core.tensors import Attend
from scratchlm.kernels import attention as kernel
from scratchlm.kernels.build import Unavailable
from scratchlm.model import attention as plain
from scratchlm.model import cost
from scratchlm.model.architectures import AnyConfig, Model
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.precision import Precision

ATTENTIONS: dict[str, Callable[[Tensor], Attend]] = {"torch": plain.packed, "kernel": kernel.packed}
"""Given the segments of packed rows, how their positions see each other."""
POSITIONS = 4096
"""Of the rows on which attention is tried."""
ROUNDS = 3
SHARE = 0.8
"""Of the free memory that a step may take by its formula."""
MOST_ROWS = 4096


def attention_times(model: Model, precision: Precision) -> tuple[dict[str, float], str | None]:
    """Milliseconds of each attention that can be had, there and back, for the heads of ``model``; and why one cannot be had."""
    q_BTHC, k_BTGC = heads_of(model, precision)
    found = {"torch": _milliseconds(ATTENTIONS["torch"], q_BTHC, k_BTGC)}
    if reason := unfit(q_BTHC):
        return found, reason
    return found | {"kernel": _milliseconds(ATTENTIONS["kernel"], q_BTHC, k_BTGC)}, None


def unfit(q_BTHC: Tensor) -> str | None:
    """Why the compiled attention cannot compute these heads; None where it can."""
    if q_BTHC.device.type != "cpu" or q_BTHC.dtype != torch.bfloat16:
        return f"{q_BTHC.dtype} on {q_BTHC.device.type} is none of its: it computes bfloat16 on the CPU"
    if q_BTHC.shape[3] % kernel.LANES:
        return f"{q_BTHC.shape[3]} channels of a head are no multiple of {kernel.LANES}"
    try:
        kernel.library()
    except Unavailable as reason:
        return str(reason)
    return None


def heads_of(model: Model, precision: Precision) -> tuple[Tensor, Tensor]:
    """Queries and keys as the first layer of ``model`` would give them, of rows as long as its context, filled with noise."""
    device = next(model.parameters()).device
    seen: list[tuple[Tensor, Tensor]] = []

    def attend(_layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, _window: int | None) -> Tensor:
        seen.append((q_BTHC, k_BTGC))
        return q_BTHC

    one = torch.zeros(1, 1, dtype=torch.long, device=device)
    with torch.no_grad(), precision.autocast():
        model.features(one, one, attend)
    T = model.config.context
    shape = (max(1, POSITIONS // T), T)
    q, k = (torch.randn(*shape, *part.shape[2:], device=device, dtype=part.dtype) for part in seen[0])
    return q.requires_grad_(), k.requires_grad_()


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


def _milliseconds(attention: Callable[[Tensor], Attend], q_BTHC: Tensor, k_BTGC: Tensor) -> float:
    """The best of some rounds; keys are their own values."""
    attend = attention(torch.zeros(q_BTHC.shape[:2], dtype=torch.long, device=q_BTHC.device))
    best = float("inf")
    for _ in range(ROUNDS + 1):  # the first one warms up
        started = time.perf_counter()
        grads = torch.autograd.grad(attend(0, q_BTHC, k_BTGC, k_BTGC, None).float().sum(), [q_BTHC, k_BTGC])
        float(grads[0].flatten()[0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - started)
    return round(best * 1e3, 3)
