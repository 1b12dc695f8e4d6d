"""What runs are planned for: how fast a device multiplies, how much it holds, and how fast devices tell each other anything.

Data sheets say what a device could do; a run reaches a share of it, and the share is somebody's measurement. Products are dense: data
sheets also tell twice as much for matrices in which every second number is zero, and links in both directions at once.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.parallel.layout import AXES
from scratchlm.parallel.precision import Dtype

G, GB, T = 10**9, 1e9, 1e12
HOPPER = 0.39
"""Of the data sheet's bfloat16, that training reaches where messages are hidden: torchtitan's Llama 3.1 8B on 8 H100, compiled, 6,667
tokens/s each (its own benchmarks), times 57.9 GFLOP of a token of 8,192, over 989.5 TFLOP/s. Blackwell and Ada, of which we know no
published figure, are planned with it, too."""
FLOAT8 = 0.72
"""Of that share, what products of 8-bit numbers reach of their own peak, casts included: the same run with these in its blocks makes
8,532 tokens/s. The other 16.0 GFLOP of a token (attention and head) take 41.5 of its 117.2 us, so the blocks' 41.9 make 28 % of 1,979."""
AMPERE = 0.50
"""Megatron on A100: 51.4 % at 175 billion weights, 56.0 % at 530 (Korthikanti et al. 2022, arXiv:2205.05198, table 5)."""
CDNA3 = 0.30
"""The fastest products alone reach about half of this data sheet (AMD's own "max achievable FLOPs"), on H100 three quarters."""
OWN = 0.70
"""This program's on two cores, of what products alone reached in the same run (benchmarks/results/throughput.md)."""
WIRE = 0.8
"""Of a link, that long messages reach: nccl-tests show 360 of 450 GB/s for an all-gather among 8 H100."""
STARTED_S, INSIDE_S, BETWEEN_S = 8.4e-6, 3.4e-6, 9.6e-6
"""Seconds of a collective beside its bytes: its start, a ring's step inside a machine, one to the next (NCCL, src/graph/tuning.cc)."""
GLOO_S = 60e-6
"""The same of each by gloo, where a gather between two processes of one machine took 95 to 180 us (benchmarks/starts.py)."""
BLOCK_S = 330e-6
"""In which a processor's core starts all operations of a block forth and back, one after another, however little each has to do: measured
with next to nothing in them, for `llama` in float32 (benchmarks/starts.py; `gpt2` 180, `qwen3` 430, `moe` 780 us, in bfloat16 a quarter
more). A GPU's are started by such a core, too, and are planned with the same, which was not measured. A compiled block starts fewer."""
MOST_DEVICES = 1_000_000


@dataclass(frozen=True)
class Device:
    """One of those that a run is planned for."""

    memory_bytes: int
    bfloat16: float
    """FLOP/s of dense products, here and below."""
    float32: float
    """Without TF32, which rounds factors to ten bits; training here does not use it."""
    float8: float | None
    """None: it has no arithmetic for them, and float8 is planned as bfloat16."""
    inside: float
    """Bytes a second that one sends to others in its machine, one way."""
    between: float
    """The same to another machine, by a network card of its own or its part of one."""
    per_node: int
    """In a machine."""
    share: float
    """Of the peak, that a step's arithmetic reaches."""
    gpu: bool = True
    delays_s: tuple[float, float, float] = (STARTED_S, INSIDE_S, BETWEEN_S)
    """Of a message: its start, a step inside a machine, one to the next."""

    def peak(self, dtype: Dtype) -> float:
        """FLOP/s of products in ``dtype``."""
        if dtype == "float32":
            return self.float32
        return self.float8 or self.bfloat16 if dtype == "float8" else self.bfloat16

    def rates(self, dtype: Dtype) -> tuple[float, float]:
        """FLOP/s that a step reaches in its blocks' matrices, and in all else: only the former are ever in 8 bits."""
        if dtype == "float8" and self.float8 is not None:
            return FLOAT8 * self.share * self.float8, self.share * self.bfloat16
        return self.share * self.peak(dtype), self.share * self.peak(dtype)


DEVICES: Mapping[str, Device] = {
    # NVIDIA H100 SXM5: 80 GB; 1,979 TFLOP/s of bfloat16 "with sparsity", so half; NVLink 4 of 900 GB/s both ways; a 400 Gb/s card each.
    "H100": Device(80 * G, 989.5 * T, 67 * T, 1979 * T, 450 * GB, 50 * GB, 8, HOPPER),
    # NVIDIA H200 SXM: the same processor with 141 GB.
    "H200": Device(141 * G, 989.5 * T, 67 * T, 1979 * T, 450 * GB, 50 * GB, 8, HOPPER),
    # NVIDIA HGX B200 at 1,000 W: 180 GB, 4.5 PFLOP/s of bfloat16 with sparsity; NVLink 5 of 1.8 TB/s both ways; a 400 Gb/s card each.
    "B200": Device(180 * G, 2250 * T, 80 * T, 4500 * T, 900 * GB, 50 * GB, 8, HOPPER),
    # NVIDIA A100 SXM4: 312 TFLOP/s, no 8-bit floats; NVLink 3 of 600 GB/s both ways; DGX A100 with a 200 Gb/s card each.
    "A100-80": Device(80 * G, 312 * T, 19.5 * T, None, 300 * GB, 25 * GB, 8, AMPERE),
    "A100-40": Device(40 * G, 312 * T, 19.5 * T, None, 300 * GB, 25 * GB, 8, AMPERE),
    # NVIDIA L40S: 48 GB, 733 TFLOP/s with sparsity; PCIe 4 x16 of 64 GB/s both ways; two 400 Gb/s cards for eight are usual.
    "L40S": Device(48 * G, 362 * T, 91.6 * T, 733 * T, 32 * GB, 12.5 * GB, 8, HOPPER),
    # NVIDIA GeForce RTX 4090: 165.2 TFLOP/s where sums are float32 (Ada white paper, appendix A), 330.3 of 8 bits; PCIe 4 x16 through the
    # processor; in one machine up to eight behind one 100 Gb/s card.
    "RTX4090": Device(24 * G, 165.2 * T, 82.6 * T, 330.3 * T, 32 * GB, 1.6 * GB, 8, HOPPER),
    # AMD Instinct MI300X: 192 GB, 1,307 TFLOP/s without sparsity; seven links of 128 GB/s both ways; a 400 Gb/s card each.
    "MI300X": Device(192 * G, 1307.4 * T, 163.4 * T, 2614.9 * T, 448 * GB, 50 * GB, 8, CDNA3),
    # One core of the machine of benchmarks/results/throughput.md (AMD EPYC with AVX512_BF16): products as `precision.peak_gflops` measures
    # them, 4 GB of its 25; gloo moved 0.63 GB/s from one process to another there, and 10 Gb/s Ethernet no more.
    "cpu": Device(4 * G, 0.486 * T, 0.105 * T, None, 0.63 * GB, 0.63 * GB, 64, OWN, False, (GLOO_S, GLOO_S, GLOO_S)),
}  # fmt: skip
"""By the name that is typed, as in ``1024xH200``."""


@dataclass(frozen=True)
class Machines:
    """So many devices of a kind."""

    count: int
    name: str

    @classmethod
    def read(cls, text: str) -> "Machines":
        """What ``--devices`` was given; UsageError where that is nothing we know."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*[x×*]\s*(\S+)\s*", text)
        if found is None or not 1 <= int(found[1]) <= MOST_DEVICES:
            raise UsageError(f"--devices {text}: write how many of which, such as 8xH100 (1 to {MOST_DEVICES:,}).")
        name = next((name for name in DEVICES if name.casefold() == found[2].casefold()), None)
        if name is None:
            raise UsageError(f"--devices {text}: no figures of a '{found[2]}' are here.{nearest(found[2], DEVICES)}")
        count, node = int(found[1]), DEVICES[name].per_node
        if not cls(count, name).comes_in(count):
            whole = count // node * node
            raise UsageError(f"--devices {text}: a machine has {node} {name}. Write {whole} or {whole + node}.")
        return cls(count, name)

    @property
    def device(self) -> Device:
        return DEVICES[self.name]

    @property
    def nodes(self) -> int:
        """Machines that hold them."""
        return -(-self.count // self.device.per_node)

    def comes_in(self, count: int) -> bool:
        """Whether so many of the kind are whole machines, or part of one."""
        return count <= self.device.per_node or count % self.device.per_node == 0

    @property
    def typed(self) -> str:
        """As ``read`` takes it."""
        return f"{self.count}x{self.name}"

    def __str__(self) -> str:
        return f"{self.count:,} x {self.name}"

    def neighbours(self, sizes: Mapping[str, int], *axes: str) -> int:
        """Of the processes that differ along ``axes`` only, those in one machine; the last axis of a mesh counts its places fastest."""
        among = math.prod(sizes[axis] for axis in axes)
        apart = math.prod(sizes[axis] for axis in AXES[AXES.index(axes[-1]) + 1 :])
        return max(1, min(among, self.device.per_node // apart))

    def ring(self, sizes: Mapping[str, int], *axes: str) -> float:
        """Bytes a second that each sends where all along ``axes`` hand on what they hear, in rings side by side, one for each neighbour."""
        here, among = self.neighbours(sizes, *axes), math.prod(sizes[axis] for axis in axes)
        return WIRE * (self.device.inside if here == among else min(self.device.inside, here * self.device.between))

    def delay(self, sizes: Mapping[str, int], *axes: str) -> float:
        """Seconds that a gather or a scatter along ``axes`` takes however little it moves."""
        among = math.prod(sizes[axis] for axis in axes)
        nodes, (start, inside, between) = among // self.neighbours(sizes, *axes), self.device.delays_s
        return start + (among - nodes) * inside + (nodes - 1) * between

    def direct(self, sizes: Mapping[str, int], *axes: str) -> float:
        """The same where each has something of its own for every other one: what goes to another machine takes its own card."""
        here, among = self.neighbours(sizes, *axes), math.prod(sizes[axis] for axis in axes)
        return WIRE * (self.device.inside if here == among else self.device.between * (among - 1) / (among - here))
