"""What a step would hold at its height, by formula: so much for weights, so much for what is kept for the way back.

Three moments are candidates: in the loss, on the way back through the last block, and at its end, where embeddings and head get their
gradients. What torch itself holds meanwhile is counted as it was found to be (2.13; tests hold the sums against counted bytes): of what
FSDP gathers the block in use and, going back, the one before; its last messages' buffers till the next; DDP's buckets; for a pipeline a
buffer for each message of a step. Not counted are the step's own tokens and an optimizer's scratch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scratchlm.model import cost
from scratchlm.model.anatomy import FLOAT_BYTES, HALF_BYTES
from scratchlm.optim import OptimizerConfig
from scratchlm.plans.division import Division, Stage
from scratchlm.plans.schedules import SINGLE, under_way

PARTS = ("weights", "gradients", "optimizer", "gathered weights", "activations", "loss", "messages")


@dataclass(frozen=True)
class Held:
    """By one process at one moment."""

    moment: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True)
class _Process:
    """One process of a division; all numbers are bytes."""

    division: Division
    stage: Stage
    rank: int
    """In the pipeline."""

    def activations(self) -> float:
        """Of all micro-batches that are under way, with what a pipeline's spans were given and gave."""
        d, total = self.division, 0.0
        _, kept = cost.block_bytes(d.config, d.rows, d.how)
        for place, (span, count) in enumerate(zip(self.stage.spans, self.counts, strict=True)):
            first, last = place == 0 and self.stage.first, place + 1 == len(self.stage.spans) and self.stage.last
            ends = cost.end_bytes(d.config, d.rows, d.how, last=last)
            # A span's output stays till it goes back; its input is a buffer that is counted among messages.
            total += count * (len(span) * kept + ends + (d.stream_bytes * ((not last) - (not first)) if d.piped else 0.0))
        return total

    @property
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
        d = self.division
        whole, kept = cost.block_bytes(d.config, d.rows, d.how)
        if d.piped and d.layout.schedule == "zero_bubble":
            a, layers = cost.anatomy(d.config).block, max(map(len, self.stage.spans))
            waiting = (a.products - cost.anatomy(d.config).inner) / d.how.tensor + a.sums
            return layers * (whole - kept + d.positions * FLOAT_BYTES * waiting)
        features = FLOAT_BYTES * d.positions * d.config.width if self.stage.last else 0
        return whole - kept + cost.passing_bytes(d.config, d.rows, d.how) + features

    def moments(self, optimizer: OptimizerConfig) -> Sequence[Held]:
        """All that may be the height."""
        d, w, layout = self.division, self.division.weights(self.stage), self.division.layout
        sharp = HALF_BYTES if layout.gathered == "bfloat16" else FLOAT_BYTES  # of a gathered weight and of its gradient before it travels
        sent = HALF_BYTES if layout.reduced == "bfloat16" else FLOAT_BYTES
        cut, several = d.cut > 1, d.micro_batches > 1
        weights_stay, gradients_stay = cut and (layout.zero < 3 or d.piped), cut and (layout.zero == 1 or d.piped)
        after = sent * w.all_.whole if gradients_stay else FLOAT_BYTES * w.all_.own
        copies = FLOAT_BYTES * w.all_.own * (not cut and d.sizes["replicate"] > 1 and several)  # DDP's buckets
        casts = HALF_BYTES * (w.all_.matrices - w.ends.matrices) if d.how.half and not d.how.light else 0
        head = sharp * -(-d.config.vocab // d.how.tensor) * d.config.width * self.stage.last
        states = 0 if layout.offload else 1
        resting = {
            "weights": FLOAT_BYTES * w.all_.own * states,
            "optimizer": optimizer_bytes(w.all_.own, w.all_.hidden, optimizer) * states,
            "gathered weights": sharp * (w.all_.gathered if weights_stay else w.ends.gathered),
        }
        activations, messages = self.activations(), copies + self.piped_bytes()
        losses = (self.counts[-1] - 1) * (head + 2 * FLOAT_BYTES * d.positions * d.config.width) if self.stage.last else 0
        last_message = 0 if not cut or gradients_stay or not several else sent * w.ends.sent
        block = 0 if weights_stay else sharp * (w.block.gathered + w.block.sent)
        going_back = Held(
            "on the way back",
            resting
            | {
                "gradients": max(after * several, head) + (head if cut and not gradients_stay else 0),
                "gathered weights": resting["gathered weights"] + block + casts * (layout.recompute == "none"),
                "activations": activations + self.passing(),
                "loss": losses + (0 if cut else head),
                "messages": messages + last_message + (0 if gradients_stay else sharp * w.block.gathered),
            },
        )
        ended = Held(
            "at the end of the way back",
            resting
            | {"gradients": after + (0 if gradients_stay else sharp * w.ends.gathered)}
            | {"messages": messages + (0 if gradients_stay else sent * w.ends.sent)},
        )
        if not self.stage.last:
            return [going_back, ended]
        in_the_loss = Held(
            "in the loss",
            resting
            | {
                "gradients": after * several,
                "gathered weights": resting["gathered weights"] + casts,
                "activations": activations,
                "loss": losses + cost.loss_bytes(d.config, d.rows, None, d.how),
                "messages": messages + last_message,
            },
        )
        return [in_the_loss, going_back, ended]


def optimizer_bytes(own: int, hidden: int, optimizer: OptimizerConfig) -> int:
    """What it remembers of so many numbers, of which ``hidden`` are Muon's."""
    moving = own if dict(optimizer).get("momentum", 0.0) else 0
    return FLOAT_BYTES * {"adamw": 2 * own, "muon": 2 * own - hidden, "rmsprop": own + moving, "sgd": moving}[optimizer.kind]


def held(division: Division, optimizer: OptimizerConfig, rank: int = 0) -> Held:
    """At the height of a step by the fullest process of a place in the pipeline."""
    return max(_Process(division, division.stages[rank], rank).moments(optimizer), key=lambda each: each.total)


def fullest(division: Division, optimizer: OptimizerConfig) -> Held:
    """By the fullest process of all."""
    return max((held(division, optimizer, rank) for rank in range(division.sizes["pipeline"])), key=lambda each: each.total)
