"""What a step would hold at its height, by formula: so much for weights, so much for what is kept for the way back.

Three moments are candidates: in the loss, on the way back through the last block, and at its end, where embeddings and head get their
gradients. What torch itself holds meanwhile is counted as it was found to be (2.13; tests hold the sums against counted bytes): of what
FSDP gathers the block in use and, going back, the one before; its last messages' buffers till the next; DDP's buckets; for a pipeline a
buffer for each message of a step. Not counted are the step's own tokens and an optimizer's scratch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from scratchlm.model import cost
from scratchlm.model.anatomy import FLOAT_BYTES, HALF_BYTES
from scratchlm.optim import OptimizerConfig
from scratchlm.shares.division import Division, Stage
from scratchlm.shares.schedules import SINGLE, under_way

PARTS = ("weights", "gradients", "optimizer", "gathered weights", "activations", "loss", "messages")


@dataclass(frozen=True)
class Held:
    """By one process at one moment."""

    moment: str
    parts: Mapping[str, float | int]

    @property
    def total(self) -> float | int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class _Process:
    """One process of a division; all numbers are bytes."""

    division: Division
    rank: int
    """In the pipeline."""

    @property
    def stage(self) -> Stage:
        return self.division.stages[self.rank]

    def activations(self) -> float:
        """Of all micro-batches that are under way, with what a pipeline's spans were given and gave."""
        d, total, (_, kept) = self.division, 0.0, self.block
        for place, (span, count) in enumerate(zip(self.stage.spans, self.counts, strict=True)):
            first, last = place == 0 and self.stage.first, place + 1 == len(self.stage.spans) and self.stage.last
            ends = cost.end_bytes(d.config, d.rows, d.how, last=last)
            # A span's output stays till it goes back; its input is a buffer that is counted among messages.
            total += count * (len(span) * kept + ends + (d.stream_bytes * ((not last) - (not first)) if d.piped else 0.0))
        return total

    @cached_property
    def block(self) -> tuple[float, float]:
        """What the way back through a block needs, and what of it is kept till then."""
        return cost.block_bytes(self.division.config, self.division.rows, self.division.how)

    @cached_property
    def counts(self) -> Sequence[int]:
        """Micro-batches under way in each span."""
        d = self.division
        if not d.piped:
            return [1]
        return under_way(d.layout.schedule, d.sizes["pipeline"], self.rank, d.micro_batches, len(self.stage.spans))

    def piped_bytes(self) -> float:
        """Buffers for every message of a step, forth and back; where spans take turns, what was sent stays till its end, too."""
        d, stage, counts = self.division, self.stage, self.counts
        if not d.piped:
            return 0.0
        spans, turns = len(stage.spans), d.layout.schedule not in SINGLE
        messages = d.micro_batches * (2 * spans - stage.first - stage.last)
        for place, count in enumerate(counts if turns else ()):
            ends = (place == 0 and stage.first) + (place + 1 == spans and stage.last)
            messages += (d.micro_batches - count) * (2 - ends)
        return messages * d.stream_bytes

    def passing(self) -> float:
        """What is made on the way back through a block and gone after it; where weights' gradients wait, through a whole span."""
        d, (whole, kept) = self.division, self.block
        if d.piped and d.layout.schedule == "zero_bubble":
            a, layers = cost.anatomy(d.config).block, max(map(len, self.stage.spans))
            waiting = (a.products - cost.anatomy(d.config).inner) / d.how.tensor + a.sums
            return layers * (whole - kept + d.positions * FLOAT_BYTES * waiting)
        features = FLOAT_BYTES * d.positions * d.config.width if self.stage.last else 0
        return whole - kept + cost.passing_bytes(d.config, d.rows, d.how) + features

    def moments(self, optimizer: OptimizerConfig) -> Sequence[Held]:
        """All that may be the height."""
        d, w, fsdp = self.division, self.division.weights(self.rank), _Fsdp.of(self.division, self.rank)
        several, states = d.micro_batches > 1, 0 if d.layout.offload else 1
        buckets = FLOAT_BYTES * w.all_.own * (d.cut == 1 and d.sizes["replicate"] > 1 and several)  # DDP's, beside gradients
        casts = HALF_BYTES * w.blocks.matrices if d.how.half and not d.how.light else 0
        head = fsdp.weight * -(-d.config.vocab // d.how.tensor) * d.config.width * self.stage.last
        sums = FLOAT_BYTES * -(-d.config.vocab // d.how.tensor) * d.config.width * self.stage.last
        losses = (self.counts[-1] - 1) * (sums + 2 * FLOAT_BYTES * d.positions * d.config.width) if self.stage.last else 0
        activations, passing, messages = self.activations(), self.passing(), buckets + self.piped_bytes()
        # The last block's gradients wait till the next one's are sent; by then what was kept of it is gone.
        sent_back = max(fsdp.last_message, fsdp.block_message - self.block[1])
        resting = {
            "weights": FLOAT_BYTES * w.all_.own * states,
            "optimizer": optimizer_bytes(w.all_.own, w.all_.hidden, optimizer) * states,
            "gathered weights": fsdp.resting,
        }
        going_back = {
            "gradients": max(fsdp.gradients * several, head) + (head if fsdp.scatters else 0),
            "gathered weights": fsdp.resting + fsdp.two_blocks + casts * (d.layout.recompute == "none"),
            "activations": activations + passing,
            "loss": losses + (head if d.cut == 1 else 0),
            "messages": messages + sent_back + max(0, fsdp.block_gradients - passing),  # gradients come as what passes goes
        }
        ended = {"gradients": fsdp.gradients + fsdp.end_gradients, "messages": messages + fsdp.end_message}
        found = [Held("on the way back", resting | going_back), Held("at the end of the way back", resting | ended)]
        if self.stage.last:
            in_the_loss = {
                "gradients": fsdp.gradients * several,
                "gathered weights": fsdp.resting + casts,
                "activations": activations,
                "loss": losses + cost.loss_bytes(d.config, d.rows, None, d.how),
                "messages": messages + fsdp.last_message,
            }
            found.append(Held("in the loss", resting | in_the_loss))
        return found


@dataclass(frozen=True)
class _Fsdp:
    """What torch's FSDP holds beside a process's own part; nothing where weights are not cut."""

    weight: int
    """Of a gathered weight, and of its gradient before it travels."""
    resting: int
    """Of weights that are whole all the time: embedding, norm and head, or all."""
    two_blocks: int
    """The block in use, and as it comes the one that is next."""
    gradients: int
    """From the first micro-batch on."""
    scatters: bool
    """Whether they are whole for one block at a time only."""
    block_gradients: int
    end_gradients: int
    last_message: int
    """What was sent at the end of the micro-batch before, which stays till something else is sent."""
    end_message: int
    block_message: int

    @classmethod
    def of(cls, d: Division, rank: int) -> "_Fsdp":
        w, layout = d.weights(rank), d.layout
        weight = HALF_BYTES if layout.gathered == "bfloat16" and d.cut > 1 else FLOAT_BYTES
        sent = HALF_BYTES if layout.reduced == "bfloat16" else FLOAT_BYTES
        stay = layout.zero < 3 or d.piped
        scatters = d.cut > 1 and layout.zero > 1 and not d.piped
        message = sent * w.ends.sent * scatters
        return cls(
            weight,
            resting=weight * (w.all_.gathered if stay else w.ends.gathered),
            two_blocks=0 if stay else weight * (w.block.gathered + w.block.sent),
            gradients=FLOAT_BYTES * w.all_.own if scatters or d.cut == 1 else sent * w.all_.whole,
            scatters=scatters,
            block_gradients=weight * w.block.gathered * scatters,
            end_gradients=weight * w.ends.gathered * scatters,
            last_message=message * (d.micro_batches > 1),
            end_message=message,
            block_message=sent * w.block.sent * scatters * (d.stages[rank].layers > 1),
        )


def optimizer_bytes(own: int, hidden: int, optimizer: OptimizerConfig) -> int:
    """What it remembers of so many numbers, of which ``hidden`` are Muon's."""
    moving = own if dict(optimizer).get("momentum", 0.0) else 0
    return FLOAT_BYTES * {"adamw": 2 * own, "muon": 2 * own - hidden, "rmsprop": own + moving, "sgd": moving}[optimizer.kind]


def held(division: Division, optimizer: OptimizerConfig, rank: int = 0) -> Held:
    """At the height of a step by the fullest process of a place in the pipeline."""
    return max(_Process(division, rank).moments(optimizer), key=lambda each: each.total)


def fullest(division: Division, optimizer: OptimizerConfig) -> Held:
    """By the fullest process of all: of a pipeline the first, which has most under way, the last, which has the loss, or the second."""
    ranks = division.sizes["pipeline"]
    return max((held(division, optimizer, rank) for rank in sorted({0, min(1, ranks - 1), ranks - 1})), key=lambda each: each.total)
