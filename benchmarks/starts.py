"""How long does it take to start a block's operations, and a message? Both with next to nothing in them, so that only starting is left.

    OMP_NUM_THREADS=1 python -m benchmarks.starts
    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 -m benchmarks.starts

The fastest of many tries counts: what else a machine does makes others slower, never faster. `plans/hardware.py` plans with these.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from scratchlm.model import attention, gpt2, llama, moe, qwen3
from scratchlm.model.architectures import AnyConfig, build

TRIES, CONTEXT = 60, 8
LAYERS = (2, 10)
"""What more layers take is the blocks' own time."""
SHAPE: dict[str, Any] = {"vocab": 64, "context": CONTEXT, "width": 16, "heads": 2}
LLAMA: dict[str, Any] = SHAPE | {"kv_heads": 2, "head_dim": 8}
KINDS: dict[str, AnyConfig] = {
    "llama": llama.Config(**LLAMA, hidden=32),
    "qwen3": qwen3.Config(**LLAMA, hidden=32),
    "gpt2": gpt2.Config(**SHAPE, hidden=32),
    "moe": moe.Config(**LLAMA, experts=4, experts_per_token=2, expert_hidden=32),
}


def fastest(act: Callable[[], Any]) -> float:
    """Seconds of the fastest of some tries."""
    best = math.inf
    for _ in range(TRIES):
        begun = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - begun)
    return best


def seconds(config: AnyConfig, *, half: bool) -> float:
    """Of one row forth and back."""
    model: Any = build(config, seed=0)
    tokens_BT, positions_BT = torch.zeros(1, CONTEXT, dtype=torch.long), torch.arange(CONTEXT)[None]
    attend = attention.packed(torch.zeros_like(tokens_BT))

    def forth_and_back() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            carried = model.through(model.entered(tokens_BT, positions_BT), positions_BT, attend)
        carried[0].sum().backward()

    return fastest(forth_and_back)


def blocks() -> None:
    """Of each architecture."""
    few, many = LAYERS
    for half in (False, True):
        for name, config in KINDS.items():
            taken = [seconds(config.model_copy(update={"layers": layers}), half=half) for layers in LAYERS]
            dtype = "bfloat16" if half else "float32"
            print(f"{name:6} {dtype:8} {1e6 * (taken[1] - taken[0]) / (many - few):6.0f} us a block")


def messages() -> None:
    """Among the processes that torchrun started."""
    dist.init_process_group("gloo")
    small, all_ = torch.zeros(CONTEXT), list(torch.zeros(dist.get_world_size(), CONTEXT))
    gather = fastest(lambda: dist.all_gather(all_, small))
    if dist.get_rank() == 0:
        print(f"{1e6 * gather:.0f} us a gather among {dist.get_world_size()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    (messages if "RANK" in os.environ else blocks)()
