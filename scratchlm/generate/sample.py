"""From scores to a token: greedy, or drawn with temperature, top-k and nucleus limits.

Nucleus: Holtzman et al. 2020, arXiv:1904.09751.
"""

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from scratchlm.core.config import Settings
from scratchlm.core.errors import CheckFailed


class Sampling(Settings):
    """How the next token is chosen, and how many at most."""

    temperature: float = Field(default=0.0, ge=0, le=10, allow_inf_nan=False)
    """0 is greedy."""
    top_k: int | None = Field(default=None, ge=1)
    """Only among the k likeliest."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only among the likeliest that together have this probability."""
    max_tokens: int = Field(default=128, ge=1)
    seed: int = 0
    first_row: int = Field(default=0, ge=0)
    """Number of the first prompt: row r draws from the stream of (seed, first_row + r)."""


def choose(logits_BV: Float[Tensor, "B V"], uniform_B: Float[Tensor, " B"], sampling: Sampling) -> Int[Tensor, " B"]:
    """One token per row; ``uniform_B`` in [0, 1) is the only randomness, so a row's choice never depends on its neighbours.

    CheckFailed when a row has no largest score: one is no number, or beyond all.
    """
    if not bool(logits_BV.amax(dim=-1).isfinite().all()):
        raise CheckFailed("generate: the model's scores are not finite numbers, so none is the likeliest. Take a model with sound weights.")
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1)
    device = logits_BV.device
    if device.type == "mps":  # Apple's GPUs have no float64
        logits_BV, uniform_B = logits_BV.cpu(), uniform_B.cpu()
    scores_BV, order_BV = (logits_BV.double() / sampling.temperature).sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        scores_BV[:, sampling.top_k :] = -torch.inf
    probabilities_BV = scores_BV.softmax(dim=-1)
    if sampling.top_p is not None:
        before_BV = probabilities_BV.cumsum(dim=-1) - probabilities_BV
        probabilities_BV = torch.where(before_BV < sampling.top_p, probabilities_BV, 0)  # the likeliest always stays
    reached_BV = probabilities_BV.cumsum(dim=-1)
    place_B1 = torch.searchsorted(reached_BV, uniform_B.double()[:, None] * reached_BV[:, -1:], right=True)
    last_B1 = (probabilities_BV > 0).sum(dim=-1, keepdim=True) - 1  # rounding must not step behind the last possible token
    return order_BV.gather(1, torch.minimum(place_B1, last_B1))[:, 0].to(device)
