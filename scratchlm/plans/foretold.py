"""How long a step would take, by formula: arithmetic at a share of the peak, messages over links, and what of them nothing hides.

However little there is to compute, a processor must start it: operation by operation, block by block, for every micro-batch.

A gather or a scatter among n takes (n - 1) / n of what is gathered from each process, a sum over all twice that (rings: Patarasuk & Yuan
2009, doi:10.1016/j.jpdc.2008.09.002).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scratchlm.model import cost
from scratchlm.model.anatomy import FLOAT_BYTES, HALF_BYTES, product_bytes
from scratchlm.model.architectures import AnyConfig
from scratchlm.optim import OptimizerConfig
from scratchlm.parallel.layout import WEIGHTS
from scratchlm.parallel.precision import Dtype
from scratchlm.plans.hardware import BLOCK_S, Device, Machines
from scratchlm.shares.division import PERIOD, Division, Parameter, Stage
from scratchlm.shares.schedules import idle

SELECTIVE = 0.04
"""Of a block's time, what computing again all that stands between products adds: Korthikanti et al. 2022, arXiv:2205.05198, table 4."""
FORTH, BACK = 1 / 3, 2 / 3
"""Of a micro-batch's time: what comes by a message for the next block travels meanwhile."""


@dataclass(frozen=True)
class Message:
    """What one process sends of a kind in a step."""

    size_bytes: float
    seconds: float
    between: bool
    """Whether it goes to other machines."""
    hidden: float = 0.0
    """Seconds of arithmetic behind which it travels."""

    @property
    def waited(self) -> float:
        return max(0.0, self.seconds - self.hidden)


@dataclass(frozen=True)
class Forecast:
    """Of a step, by its slowest process."""

    arithmetic_s: float
    started_s: float
    """In which a device has nothing to do, for the processor has not started it yet."""
    idle_s: float
    """In which a process of a pipeline has nothing to do."""
    messages: Mapping[str, Message]
    least_s: float
    """That all devices together would take at their data sheets' peak; what is computed twice counts once."""
    tokens: int

    @property
    def waited_s(self) -> float:
        """For messages."""
        return sum((each.waited for each in self.messages.values()), 0.0)

    @property
    def seconds(self) -> float:
        return self.arithmetic_s + self.started_s + self.idle_s + self.waited_s

    @property
    def mfu(self) -> float:
        """Of the data sheet's peak."""
        return self.least_s / self.seconds

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


def forecast(division: Division, machines: Machines, dtype: Dtype, optimizer: OptimizerConfig) -> Forecast:
    """A step of ``division``."""
    d, device = division, machines.device
    arithmetic = max(stage_seconds(d, stage, device, dtype) for stage in d.stages)
    micro = max(arithmetic, max(stage.layers for stage in d.stages) * BLOCK_S * (1 + FORTH * (d.layout.recompute != "none")))
    waiting = idle(d.layout.schedule, d.sizes["pipeline"], d.micro_batches, d.layout.spans_each) if d.piped else 0.0
    found = {name: each for name, each in messages(d, machines, micro, optimizer).items() if each.size_bytes}
    tokens = d.rows * d.micro_batches * d.config.context * d.sizes["replicate"] * d.sizes["expert"] * d.sizes["shard"]
    blocks, rest = flops(d.config)
    least = tokens * (blocks / device.peak(dtype) + rest / (device.bfloat16 if dtype == "float8" else device.peak(dtype))) / machines.count
    return Forecast(arithmetic * d.micro_batches, (micro - arithmetic) * d.micro_batches, micro * waiting, found, least, tokens)


def flops(config: AnyConfig) -> tuple[int, int]:
    """Arithmetic of a token in the blocks' matrices, and in all else."""
    blocks = 6 * cost.anatomy(config).matrices
    return blocks, cost.training_flops(config) - blocks


def stage_seconds(d: Division, stage: Stage, device: Device, dtype: Dtype) -> float:
    """In which the arithmetic of one micro-batch is done at one process of a pipeline's place, what is computed twice included."""
    a, (blocks, rest) = d.outline.anatomy, flops(d.config)
    here, head = stage.layers / a.layers, 6 * a.head
    again = {"none": 0.0, "selective": SELECTIVE, "full": FORTH}[d.layout.recompute]
    fast, usual = device.rates(dtype)
    return d.positions / d.sizes["tensor"] * ((1 + again) * here * (blocks / fast + (rest - head) / usual) + head * stage.last / usual)


def messages(d: Division, machines: Machines, micro_s: float, optimizer: OptimizerConfig) -> Mapping[str, Message]:
    """All that one process sends in a step, by kind; ``micro_s`` is the time of a micro-batch."""
    rank = max(range(len(d.stages)), key=lambda rank: d.stages[rank].layers)
    told = {**_of_weights(d, rank, machines, micro_s), **_of_activations(d, d.stages[rank], machines)}
    if not machines.device.gpu:  # gloo sends by the core that would compute meanwhile
        told = {name: replace(each, hidden=0.0) for name, each in told.items()}
    return told | ({"matrices of Muon": _of_matrices(d, d.stages[rank], machines)} if optimizer.kind == "muon" else {})


def _of_matrices(d: Division, stage: Stage, machines: Machines) -> Message:
    """Matrices of one shape come together whole, each on one process, and go out again as bfloat16: ``parallel/matrices.py``."""
    t, turns = d.sizes["tensor"], Counter(layer % PERIOD for span in stage.spans for layer in span)
    alike, ones = Counter[tuple[int, int, int]](), dict[tuple[int, int, int], Parameter]()
    for turn, layers in turns.items():
        for one, count in d.outline.parameters[str(turn)].items():
            expert = d.sizes["expert"] if one.bank else 1
            if one.hidden and d.cut // expert * t > 1:
                kind = one.rows, one.width, d.cut // expert
                alike[kind], ones[kind] = alike[kind] + layers * count // expert, one
    size = 0.0
    for kind, count in alike.items():
        (rows, width), cut = ones[kind].on(t), kind[-1]
        own, here = -(-rows // cut) * width, -(-count // (cut * t))  # numbers of a matrix, and matrices that are whole at the first process
        size += FLOAT_BYTES * (count - here) * own + HALF_BYTES * here * (t * rows * width - own)
    axes = (*WEIGHTS, "tensor")
    seconds = size / machines.direct(d.sizes, *axes) + 2 * len(alike) * machines.delay(d.sizes, *axes)
    return Message(size, seconds, machines.neighbours(d.sizes, *axes) < d.cut * t)


def _of_weights(d: Division, rank: int, machines: Machines, micro_s: float) -> Mapping[str, Message]:
    w, sizes, M, zero, layers = d.weights(rank), d.sizes, d.micro_batches, d.layout.zero, d.stages[rank].layers
    sharp = HALF_BYTES if d.layout.gathered == "bfloat16" else FLOAT_BYTES
    summed = HALF_BYTES if d.layout.reduced == "bfloat16" else FLOAT_BYTES
    # In a pipeline weights stay till the step's end, and where it goes to and fro both ends are one process's.
    often, once = (2 * M, M) if zero == 3 and not d.piped else (1, 1)
    scatters, apart = 1 if d.piped or zero == 1 else M, d.piped and d.layout.schedule != "zero_bubble"
    gathered = float(sharp * (often * w.blocks.received + once * w.ends.received))
    scattered = float(summed * scatters * w.all_.received)
    copies = 2 * (1 - 1 / sizes["replicate"]) * (summed if d.cut > 1 else FLOAT_BYTES) * w.all_.own
    tied = FLOAT_BYTES * d.config.vocab * d.config.width / sizes["tensor"] / d.cut if apart and d.outline.anatomy.tied else 0.0
    ring, delay, between = machines.ring(sizes, *WEIGHTS), machines.delay(sizes, *WEIGHTS), machines.neighbours(sizes, *WEIGHTS) < d.cut
    gathering, scattering = gathered / ring + delay * (often * layers + once), scattered / ring + delay * scatters * (layers + 1)
    copying = copies / machines.ring(sizes, "replicate") + 2 * (layers + 1) * machines.delay(sizes, "replicate")
    # The first block waits for its weights, and the step for the last block's gradients; all others travel while one is computed.
    hidden = micro_s * (1 - 1 / layers)
    if zero == 3 and not d.piped:
        forth = min(gathering / 2, FORTH * hidden * M) + min(gathering / 2, BACK * hidden * M)
        back = max(0.0, BACK * hidden * M - gathering / 2)
    else:
        forth, back = FORTH * hidden, BACK * hidden * scatters
    return {
        "weights gathered": Message(gathered, gathering, between, forth),
        "gradients scattered": Message(scattered, scattering, between, back),
        "gradients summed": Message(copies, copying, machines.neighbours(sizes, "replicate") < sizes["replicate"], hidden * BACK),
        "tied embedding": Message(tied, tied / machines.direct(sizes, "pipeline"), machines.neighbours(sizes, "pipeline") == 1),
    }


def _of_activations(d: Division, stage: Stage, machines: Machines) -> Mapping[str, Message]:
    a, sizes, M, D = d.outline.anatomy, d.sizes, d.micro_batches, d.config.width
    t, c, e = sizes["tensor"], sizes["context"], sizes["expert"]
    wide, made = HALF_BYTES if d.how.light else FLOAT_BYTES, product_bytes(d.how)
    asked = dict(d.config).get("experts_per_token", 1)
    times = 2 + (d.layout.recompute != "none")  # there, back, and there again
    N, layers = d.positions, stage.layers * M
    # Around attention and around the feed-forward positions are gathered before and scattered after; once each for embedding and head.
    # What is computed again ends before the last message of a block, unless that is needed to weigh what experts said.
    joined = (a.inner + a.kv_inner) * FLOAT_BYTES if a.block.joined else 0
    there = (1 + asked) * D * (wide + made) + joined
    again = there - (0 if a.idle else D * made) if times == 3 else 0
    around = N * layers * (2 * there + again) + 2 * M * N * D * (made * stage.first + wide * stage.last)
    seen = 2 * (a.inner + a.kv_inner) / c if d.how.by_heads else 2 * a.kv_inner
    stretches = 2 * len(stage.spans) - stage.first - stage.last
    sent = {
        "positions gathered, scattered": ("tensor", around * (1 - 1 / t), 4 * times * layers),
        "keys and values": ("context", times * layers * N * seen / t * made * (c - 1), (4 if d.how.by_heads else 2) * times * layers),
        # Each process of the tensor axis sends all that they have together, of which it asks its share of each expert.
        "positions to experts": ("expert", times * layers * N * asked * D * (wide + made) * (1 - 1 / e), 3 * times * layers),
        "between layers": ("pipeline", M * stretches * d.stream_bytes * d.piped, M * stretches),
    }
    found = {}
    for name, (axis, size, calls) in sent.items():
        rings = axis == "tensor" or (axis == "context" and not d.how.by_heads)
        speed = (machines.ring if rings else machines.direct)(sizes, axis)
        delay = machines.device.delays_s[0] if axis == "pipeline" else machines.delay(sizes, axis)
        found[name] = Message(size, size / speed + calls * delay, machines.neighbours(sizes, axis) < sizes[axis])
    return found
