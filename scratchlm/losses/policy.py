"""Was that answer better than its siblings? Policy-gradient losses over sampled tokens."""

import torch
from jaxtyping import Float
from torch import Tensor


def group_advantages(rewards_PG: Float[Tensor, "P G"], *, eps: float = 1e-4) -> Float[Tensor, "P G"]:
    """How much better than its group's mean each answer is, in the group's standard deviations; 0 where all are alike.

    Shao et al. 2024, arXiv:2402.03300, section 4.1.2.
    """
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    return centred_PG / (rewards_PG.std(dim=1, keepdim=True, unbiased=False) + eps)


def grpo(
    logprobs_BT: Float[Tensor, "B T"],
    sampled_BT: Float[Tensor, "B T"],
    reference_BT: Float[Tensor, "B T"],
    advantages_B1: Float[Tensor, "B 1"],
    *,
    clip: float,
    kl: float,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """One loss per token (mask it, then sum), and the estimated KL divergence to the reference per token, in nats.

    Clipped importance ratio against the policy that sampled, and the always positive KL estimate exp(d) - d - 1 with
    d = reference - policy: eq. 3 and 4 of Shao et al. 2024, arXiv:2402.03300.
    """
    ratio_BT = torch.exp(logprobs_BT - sampled_BT)
    clipped_BT = ratio_BT.clamp(1 - clip, 1 + clip)
    gain_BT = torch.minimum(ratio_BT * advantages_B1, clipped_BT * advantages_B1)
    gap_BT = reference_BT - logprobs_BT
    kl_BT = torch.exp(gap_BT) - gap_BT - 1
    return -(gain_BT - kl * kl_BT), kl_BT
