"""Who computes what: the one place that knows how many processes there are. On one process every collective is the identity."""

import ctypes
import datetime
import json
import math
import os
import socket
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store, rendezvous  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from scratchlm.core.errors import UsageError
from scratchlm.parallel.crossing import GATHER
from scratchlm.parallel.layout import ALONE, AXES, ROWS, Layout

R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = (1 << 31) - 1
ONE: Mapping[str, int] = dict.fromkeys(AXES, 1)


@dataclass(frozen=True)
class World:
    """The processes of a run, this one's place among them, and what they tell each other."""

    rank: int = 0
    threads: int = 1
    device: str = "cpu"
    layout: Layout = ALONE
    sizes: Mapping[str, int] = field(default_factory=lambda: ONE)
    """Processes along each axis."""
    mesh: DeviceMesh | None = None
    """None: there is one process."""

    @classmethod
    def start(cls, threads: int | None = None, *, device: str = "cpu", layout: Layout = ALONE) -> "World":
        """This process among as many as were started, computing as ``steady`` says."""
        steady(threads, device=device)
        sizes = layout.sizes(processes())
        if processes() == 1:
            return cls(0, torch.get_num_threads(), device, layout)
        join(device, timeout_s=layout.timeout_s)
        mesh = init_device_mesh(device, tuple(sizes[axis] for axis in AXES), mesh_dim_names=AXES)
        return cls(dist.get_rank(), torch.get_num_threads(), device, layout, sizes, mesh)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is one process."""
        return self.mesh is None

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.size(*AXES)

    @property
    def place(self) -> Mapping[str, int]:
        """Where this process stands along each axis."""
        found, rest = {}, self.rank
        for axis in reversed(AXES):
            rest, found[axis] = divmod(rest, self.sizes[axis])
        return found

    def size(self, *axes: str) -> int:
        """Processes along all of these axes together."""
        return math.prod(self.sizes[axis] for axis in axes)

    def share(self, rows: int, what: str = "rows") -> int:
        """How many of so many rows of a step are this process's; UsageError where they cannot be shared out evenly."""
        size = self.size(*ROWS)
        if rows % size:
            raise UsageError(
                f"parallel: {rows} {what} of a step cannot be shared out evenly among {size} processes. Set a multiple of {size}."
            )
        return rows // size

    def place_along(self, *axes: str) -> int:
        """Which of these this one is, the last axis counting fastest."""
        place, found = self.place, 0
        for axis in axes:
            found = found * self.sizes[axis] + place[axis]
        return found

    def submesh(self, *axes: str) -> DeviceMesh:
        """The mesh along some axes, flattened to one, of which a process is the ``place_along``-th."""
        assert self.mesh is not None
        return self.mesh[axes[0]] if len(axes) == 1 else self.mesh[axes]._flatten("_".join(axes))

    def weights_mesh(self, *axes: str) -> DeviceMesh:
        """The mesh that weights are cut along, with that of replicas before it where there are any."""
        assert self.mesh is not None
        flat = self.submesh(*axes)
        if self.sizes["replicate"] == 1:
            return flat
        with warnings.catch_warnings(action="ignore"):  # of another name that later versions will have for it
            return self.mesh[("replicate", *(flat.mesh_dim_names or ()))]

    def group(self, *axes: str) -> dist.ProcessGroup | None:
        """The processes that differ from this one along some axes only; None where it is alone."""
        if self.size(*axes) == 1:
            return None
        wide = tuple(axis for axis in AXES if axis in axes and self.sizes[axis] > 1)
        return self.submesh(*wide).get_group()

    def sum(self, value: float, *axes: str) -> float:
        """The sum of ``value`` over the processes along ``axes``."""
        return self.sums([value], *axes)[0]

    def sums(self, values: list[float], *axes: str) -> list[float]:
        """The same of several values, in one message."""
        if (group := self.group(*axes)) is None:
            return values
        totals = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(totals, group=group)
        return totals.tolist()

    def sum_(self, tensors: list[Tensor], *axes: str) -> None:
        """Replace tensors of equal dtypes by their sums over the processes along ``axes``, in one message."""
        if (group := self.group(*axes)) is None or not tensors:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat, group=group)
        for t, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(total.view_as(t))

    def gathered(self, value: R, *axes: str) -> list[R]:
        """What each process along ``axes`` has, in their order; nothing that another wrote is ever run."""
        if (group := self.group(*axes)) is None:
            return [value]
        found: list[Any] = [None] * dist.get_world_size(group)
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        all_lengths = torch.empty(len(found), dtype=torch.long, device=self.device)
        GATHER(all_lengths, torch.tensor([len(said)], device=self.device), group=group)
        lengths = all_lengths.tolist()
        padded = torch.cat([said, said.new_zeros(max(lengths) - len(said))])
        all_said = torch.empty(len(found) * len(padded), dtype=torch.uint8, device=self.device)
        GATHER(all_said, padded, group=group)
        rows = all_said.cpu().view(len(found), -1).numpy()
        return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]

    def told(self, value: R) -> R:
        """The main process's value, at every process."""
        if (group := self.group(*AXES)) is None:
            return value
        said = torch.frombuffer(bytearray(json.dumps(value if self.is_main else None).encode()), dtype=torch.uint8).to(self.device)
        length = torch.tensor([len(said)], device=self.device)
        dist.broadcast(length, group=group, group_src=0)
        said = said if self.is_main else torch.empty(int(length), dtype=torch.uint8, device=self.device)
        dist.broadcast(said, group=group, group_src=0)
        return json.loads(said.cpu().numpy().tobytes())

    def as_main_has_it(self, module: M) -> M:
        """``module`` with the main process's parameters, at every process."""
        if not self.alone:
            for parameter in module.parameters():
                dist.broadcast(parameter.data, 0)
        return module

    def only_main(self, act: Callable[[], R]) -> R | None:
        """Do ``act`` on the main process alone."""
        return act() if self.is_main else None


def steady(threads: int | None = None, *, device: str = "cpu") -> None:
    """Compute on ``threads`` cores (all by default), deterministically but on Apple's GPUs.

    There torch has no deterministic version of much that training needs, so two runs may differ in the last digits.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.set_deterministic_debug_mode("default" if device == "mps" else "error")  # loads no compiler, as its other name does
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]  # costs 5 % of a step
    keep_freed_memory()


def unreachable(error: RuntimeError) -> bool:
    """Whether ``error`` says that another process is gone, or does not answer in time."""
    said = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Broken pipe")  # gloo; NCCL's have a type
    return isinstance(error, dist.DistError) or any(words in str(error) for words in said)


def processes() -> int:
    """How many were started together, as torchrun tells each of them before they meet."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def neighbours() -> int:
    """How many of them are on this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", processes()))


def join(device: str, *, timeout_s: float) -> None:
    """Meet the other processes, once; on GPUs each process takes its own."""
    if dist.is_initialized():
        return
    if device == "cuda":
        own_gpu()
    (store, rank, size), patience = met(), datetime.timedelta(seconds=timeout_s)
    agree(device, store, rank, patience)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=PrefixStore("training", store), rank=rank, world_size=size, timeout=patience)


def own_gpu() -> None:
    """Take the GPU that is this process's among those of this machine; UsageError where it has fewer."""
    place, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= there:
        raise UsageError(f"device: process {place} of this machine has no GPU, for {there} are here. Start as many processes as GPUs.")
    torch.cuda.set_device(place)


def agree(device: str, store: Store, rank: int, patience: datetime.timedelta) -> None:
    """UsageError where this process computes on another kind of device than the first one: they could not hear each other."""
    if rank == 0:
        store.set("device", device)
    store.wait(["device"], patience)
    if (first := store.get("device").decode()) != device:
        raise UsageError(
            f"device: process {rank}, on {socket.gethostname()}, computes on {device}, and process 0 on {first}. "
            f"Look at that machine's GPUs, or set device=cpu."
        )


def met() -> tuple[Store, int, int]:
    """Where the processes that were started together leave words for each other, which of them this is, and how many they are.

    When torchrun starts them again the words of the attempt before may still be there, and nobody must answer to these.
    """
    store, rank, size = next(rendezvous("env://", int(os.environ["RANK"]), processes()))
    return PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store), rank, size


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
