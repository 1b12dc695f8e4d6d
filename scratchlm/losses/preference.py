"""Which of two answers is better? Losses over pairs of sequence log-probabilities."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


@dataclass(frozen=True, slots=True)
class PairLogprobs:
    """Log-probabilities of whole answers, SUMMED over their tokens, in nats."""

    chosen_P: Float[Tensor, " P"]
    rejected_P: Float[Tensor, " P"]


def dpo(policy: PairLogprobs, reference: PairLogprobs, *, beta: float) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """One loss per pair, in nats, exactly ln 2 while policy equals reference; and the implicit reward margin of each pair.

    Log-probabilities are summed over answer tokens, as in eq. 7 of Rafailov et al. 2023, arXiv:2305.18290.
    """
    margin_P = beta * ((policy.chosen_P - policy.rejected_P) - (reference.chosen_P - reference.rejected_P))
    return -F.logsigmoid(margin_P), margin_P
