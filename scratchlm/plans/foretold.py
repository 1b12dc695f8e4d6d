"""How long a step would take, by formula: arithmetic at a share of the peak, messages over links, and what of them nothing hides.

A gather or a scatter among n takes (n - 1) / n of what is gathered from each process, a sum over all twice that (rings: Patarasuk & Yuan
2009, doi:10.1016/j.jpdc.2008.09.002).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scratchlm.model import cost
from scratchlm.model.anatomy import FLOAT_BYTES, HALF_BYTES, product_bytes
from scratchlm.parallel.layout import WEIGHTS
from scratchlm.parallel.precision import Dtype
from scratchlm.plans.hardware import STARTED_S, Machines
from scratchlm.shares.division import Division, Stage
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
    idle_s: float
    """In which a process of a pipeline has nothing to do."""
    messages: Mapping[str, Message]
    mfu: float
    """Of the data sheet's peak; what is computed twice counts once."""
    tokens_per_s: float

    @property
    def seconds(self) -> float:
        return self.arithmetic_s + self.idle_s + sum(each.waited for each in self.messages.values())


def forecast(division: Division, machines: Machines, dtype: Dtype) -> Forecast:
    """A step of ``division``."""
    d, count = division, machines.count
    flops, peak = cost.training_flops(d.config), machines.device.peak(dtype)
    micro = max(stage_flops(d, stage) for stage in d.stages) / (peak * machines.device.share)
    waiting = idle(d.layout.schedule, d.sizes["pipeline"], d.micro_batches, d.layout.spans_each) if d.piped else 0.0
    found = {name: each for name, each in messages(d, machines, micro).items() if each.size_bytes}
    tokens = d.rows * d.micro_batches * d.config.context * d.sizes["replicate"] * d.sizes["expert"] * d.sizes["shard"]
    told = Forecast(micro * d.micro_batches, micro * waiting, found, 0.0, 0.0)
    return Forecast(told.arithmetic_s, told.idle_s, found, flops * tokens / (told.seconds * count * peak), tokens / told.seconds)


def stage_flops(d: Division, stage: Stage) -> float:
    """Arithmetic of one micro-batch at one process of a pipeline's place, what is computed twice included."""
    a, seen = d.outline.anatomy, min(d.config.context, cost.window_of(d.config) or d.config.context)
    blocks = stage.layers * (6 * a.matrices / a.layers + 12 * a.inner * seen)
    again = {"none": 0.0, "selective": SELECTIVE, "full": FORTH}[d.layout.recompute]
    return d.positions / d.sizes["tensor"] * (blocks * (1 + again) + 6 * a.head * stage.last)


def messages(d: Division, machines: Machines, micro_s: float) -> Mapping[str, Message]:
    """All that one process sends in a step, by kind; ``micro_s`` is the arithmetic of a micro-batch."""
    rank = max(range(len(d.stages)), key=lambda rank: d.stages[rank].layers)
    return {**_of_weights(d, rank, machines, micro_s), **_of_activations(d, d.stages[rank], machines)}


def _of_weights(d: Division, rank: int, machines: Machines, micro_s: float) -> Mapping[str, Message]:
    w, sizes, M, zero, layers = d.weights(rank), d.sizes, d.micro_batches, d.layout.zero, d.stages[rank].layers
    sharp = HALF_BYTES if d.layout.gathered == "bfloat16" else FLOAT_BYTES
    summed = HALF_BYTES if d.layout.reduced == "bfloat16" else FLOAT_BYTES
    # In a pipeline weights stay from the way back of one micro-batch to the way forth of another.
    often, once = (1, 1) if zero < 3 else (M + 1, 1) if d.piped else (2 * M, M)
    scatters = 1 if d.piped or zero == 1 else M
    gathered = float(sharp * (often * w.blocks.received + once * w.ends.received))
    scattered = float(summed * scatters * w.all_.received)
    copies = 2 * (1 - 1 / sizes["replicate"]) * (summed if d.cut > 1 else FLOAT_BYTES) * w.all_.own
    tied = FLOAT_BYTES * d.config.vocab * d.config.width / sizes["tensor"] / d.cut if d.piped and d.outline.anatomy.tied else 0.0
    ring, delay, between = machines.ring(sizes, *WEIGHTS), machines.delay(sizes, *WEIGHTS), machines.neighbours(sizes, *WEIGHTS) < d.cut
    gathering, scattering = gathered / ring + delay * (often * layers + once), scattered / ring + delay * scatters * (layers + 1)
    copying = copies / machines.ring(sizes, "replicate") + 2 * (layers + 1) * machines.delay(sizes, "replicate")
    # The first block waits for its weights, and the step for the last block's gradients; all others travel while one is computed.
    hidden = micro_s * (1 - 1 / layers)
    if zero == 3:
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
        delay = STARTED_S if axis == "pipeline" else machines.delay(sizes, axis)
        found[name] = Message(size, size / speed + calls * delay, machines.neighbours(sizes, axis) < sizes[axis])
    return found
