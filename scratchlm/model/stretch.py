"""A model is an entry, numbered blocks and an end; a process of a pipeline has a stretch of it, and the rest is elsewhere."""

from collections.abc import Iterator

from jaxtyping import Float, Int
from torch import Tensor, nn

from scratchlm.core.tensors import Attend, Carried

AT_THE_END = ("norm", "head", "balance")
"""Modules that the last layer's output goes through; what is neither these nor layers is at the beginning."""


class Stretch(nn.Module):
    """What every architecture says in three parts: ``entered``, ``through`` and ``ended``."""

    layers: nn.Module
    """Each block under its number in the whole model."""
    lookback = 0

    def entered(self, tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        """See ``core.tensors.LanguageModel``, here and below."""
        raise NotImplementedError

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        raise NotImplementedError

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        raise NotImplementedError

    def features(self, tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"], attend: Attend) -> Float[Tensor, "B T D"]:
        return self.ended(self.through(self.entered(tokens_BL, positions_BT), positions_BT, attend), positions_BT)

    def blocks(self) -> Iterator[tuple[int, nn.Module]]:
        """The blocks that are here, each with its number."""
        return ((int(number), block) for number, block in self.layers.named_children())
