"""Who computes what: the one place that knows how many processes there are. On one process every collective is the identity."""

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from scratchlm.core.errors import UsageError

R = TypeVar("R")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class World:
    """The processes of a run and this one's place among them."""

    rank: int
    data_ranks: int
    threads: int
    device: str

    @classmethod
    def start(cls, threads: int | None = None, *, device: str = "cpu") -> "World":
        """This process as a world of its own, computing on ``threads`` cores (all by default): deterministically, but on Apple's GPUs.

        There torch has no deterministic version of much that training needs, so two runs may differ in the last digits.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("torchrun: this version trains in one process. Start it without torchrun.")
        if threads is not None:
            torch.set_num_threads(threads)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
        torch.set_deterministic_debug_mode("default" if device == "mps" else "error")  # loads no compiler, as its other name does
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]  # costs 5 % of a step
        keep_freed_memory()
        return cls(rank=0, data_ranks=1, threads=torch.get_num_threads(), device=device)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, value: float) -> float:
        """The sum of ``value`` over all data ranks."""
        return value

    def only_main(self, act: Callable[[], R]) -> R | None:
        """Do ``act`` on rank 0 alone."""
        return act() if self.is_main else None


def devices() -> list[str]:
    """What torch can compute on here, the fastest first: NVIDIA's or AMD's GPUs, Apple's, the processor."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [device for device, found in there.items() if found]


def keep_freed_memory() -> bool:
    """Ask glibc to keep big blocks for the next step instead of giving them back to the system; whether it was asked.

    Every step frees and takes the same tensors again; with the default thresholds each of them is mapped and page-faulted anew,
    which on two cores took 10 to 45 % of a training step. A no-op where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, KEEP_BYTES))
