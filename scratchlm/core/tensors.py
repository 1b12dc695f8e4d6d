"""The seams between model, training and generation, and the one legend of axis letters.

``B`` rows of a batch · ``T`` positions that ask · ``S`` positions that answer (T plus cache) · ``L`` tokens given (T plus lookback)
``D`` width · ``H`` query heads · ``G`` key-value heads · ``R`` query heads per key-value head · ``C`` channels of a head
``F`` feed-forward width · ``E`` experts · ``V`` vocabulary · ``P`` pairs or prompts
``N`` positions of all rows, one after another · ``K`` pairs of channels in ``rotary.py``, experts of a position in ``moe.py``
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Facts = Mapping[str, float]
"""Numbers to log: each is a SUM over the item, divided once by the step's weight."""

Attend = Callable[[int, Tensor, Tensor, Tensor, int | None], Tensor]
"""(layer, q_BTHC, k_BTGC, v_BTGC, window) -> mixed_BTHC: packed, cached, sharded or written out; the model never knows which.

A query sees the newest ``window`` positions of its document, its own included; None: all of them (decision 0009)."""


Carried = tuple[Tensor, ...]
"""What one block hands to the next, the stream ``x_BTD`` first; each has rows and positions as its first dims."""


FEWEST_AT_ONCE, SCORES_AT_ONCE = 256, 1 << 18


def scored_at_once(vocab: int) -> int:
    """Positions whose scores exist at once: enough to keep every core busy, and more where a position has few scores."""
    return max(FEWEST_AT_ONCE, SCORES_AT_ONCE // vocab)


@dataclass(frozen=True)
class Among:
    """Processes of which each has some rows of the head: which are here, and how what all have comes together."""

    first: int
    """Row of the whole head that this process's first one is."""
    vocab: int
    """Rows of the whole head."""
    largest: Callable[[Tensor], Tensor]
    total: Callable[[Tensor], Tensor]
    """Of what each process has, entry by entry."""


def moved(t: Tensor, device: torch.device) -> Tensor:
    """The same on another device. A copy to a GPU starts from memory that stays in its place, and nobody waits for it."""
    return t.pin_memory().to(device, non_blocking=True) if device.type == "cuda" and t.device.type == "cpu" else t.to(device)


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """What a model is a function of."""

    tokens_BT: Int[Tensor, "B T"]
    positions_BT: Int[Tensor, "B T"]
    """Counted from 0 at the start of each document."""
    segments_BT: Int[Tensor, "B T"]
    """Which document of the row a position belongs to; positions see only their own."""

    def to(self, device: torch.device) -> "ModelInputs":
        """The same on another device."""
        return ModelInputs(moved(self.tokens_BT, device), moved(self.positions_BT, device), moved(self.segments_BT, device))

    def taken(self, rows: slice) -> "ModelInputs":
        """Some of the rows."""
        return ModelInputs(self.tokens_BT[rows], self.positions_BT[rows], self.segments_BT[rows])


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows ready for a language-model loss: what goes in, what should come out, and how much each position counts."""

    inputs: ModelInputs
    targets_BT: Int[Tensor, "B T"]
    weights_BT: Float[Tensor, "B T"]
    """0 where nothing is asked (padding, prompts)."""

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(self.inputs.to(device), moved(self.targets_BT, device), moved(self.weights_BT, device))

    def split(self, rows: int) -> "list[Batch]":
        """Micro-batches of at most so many rows, in order."""
        return [self.taken(slice(first, first + rows)) for first in range(0, len(self.targets_BT), rows)]

    def taken(self, rows: slice) -> "Batch":
        """Some of the rows."""
        return Batch(self.inputs.taken(rows), self.targets_BT[rows], self.weights_BT[rows])

    def columns(self, chosen: "Tensor | slice") -> "Batch":
        """Some positions of every row."""
        i = self.inputs
        inputs = ModelInputs(i.tokens_BT[:, chosen], i.positions_BT[:, chosen], i.segments_BT[:, chosen])
        return Batch(inputs, self.targets_BT[:, chosen], self.weights_BT[:, chosen])

    @property
    def weight(self) -> float:
        """What the sum of the losses is divided by, together with all other micro-batches of the step."""
        return float(self.weights_BT.sum())

    @property
    def tokens(self) -> int:
        """Positions computed, whether trained on or not."""
        return self.targets_BT.numel()


@runtime_checkable
class LanguageModel(Protocol):
    """A function of tokens; it knows neither caches, nor ranks, nor packing."""

    lookback: int
    """How many tokens before a position its embedding reads; 0 for most. A caller that gives only the newest T positions
    gives ``L = T + lookback`` tokens; where fewer are given, the missing ones count as token 0."""

    def entered(self, tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        """What the first block is given."""
        ...

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        """What the last block leaves, of as many consecutive blocks as are here."""
        ...

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The last block's normalised output."""
        ...

    def features(self, tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"], attend: Attend) -> Float[Tensor, "B T D"]:
        """The three, one after another."""
        ...

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """The head; losses may call it in chunks."""
        ...


@runtime_checkable
class Regularised(Protocol):
    """A language model that asks something of itself beside the loss, such as that its experts share the work."""

    def regularised(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B T D"], Float[Tensor, ""]]:
        """``ended``, and a zero that brings the gradient of a MEAN: added to a SUM of losses, it is multiplied by their weight."""
        ...


@runtime_checkable
class Item(Protocol):
    """What one step learns from, or a micro-batch of it, whatever the objective."""

    def split(self, rows: int) -> "Sequence[Item]":
        """Micro-batches of at most so many rows (of one pair where rows come in pairs); their losses and weights add up to this one's."""
        ...

    def to(self, device: torch.device) -> "Item":
        """The same on the device that trains."""
        ...

    @property
    def weight(self) -> float: ...
    @property
    def tokens(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Every:
    """When a probe runs: each ``steps`` steps and, if ``at_end``, after the last one."""

    steps: int
    at_end: bool = True

    def due(self, step: int, last: int) -> bool:
        """Whether it runs after ``step`` updates of ``last``."""
        return step % self.steps == 0 or (self.at_end and step == last)


def positions_of(segments_BT: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Position of each token within its own segment: ``[0, 0, 1, 1, 1] -> [0, 1, 0, 1, 2]``."""
    B, T = segments_BT.shape
    index_BT = torch.arange(T).expand(B, T)
    starts_BT = torch.ones_like(segments_BT, dtype=torch.bool)
    starts_BT[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    return index_BT - torch.where(starts_BT, index_BT, 0).cummax(dim=1).values
