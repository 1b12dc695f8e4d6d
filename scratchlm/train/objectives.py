"""What is asked of the model: the next token, the better of two answers, or more of what was rewarded."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scratchlm.batches.chat import PreferenceBatch
from scratchlm.core.tensors import Among, Batch, Facts, ModelInputs, moved
from scratchlm.losses.likelihood import Head, chunked_cross_entropy, token_logprobs
from scratchlm.losses.policy import grpo
from scratchlm.losses.preference import PairLogprobs, dpo
from scratchlm.model.architectures import Model

CLIP = 0.2
"""How far a step may move a token's probability ratio before the loss goes flat; it binds only when rollouts are used twice."""


def head_parameters(model: torch.nn.Module) -> list[Tensor]:
    """The parameters that ``logits`` reads: the head's, or the embedding's where they are tied."""
    head = model.head if isinstance(model.head, torch.nn.Linear) else model.embedding
    assert isinstance(head, torch.nn.Linear | torch.nn.Embedding)
    return [head.weight]


@dataclass(frozen=True)
class NextToken:
    """Negative log-likelihood of each target: pre-training and supervised fine-tuning."""

    model: Model
    among: Among | None = None
    """The processes that share the head out; None: all of it is here."""

    def inputs(self, item: Batch) -> ModelInputs:
        return item.inputs

    def loss(self, x_BTD: Tensor, item: Batch) -> tuple[Tensor, Facts]:
        given, parameters = (x_BTD, item.targets_BT, item.weights_BT), head_parameters(self.model)
        return chunked_cross_entropy(self.model.logits, *given, parameters=parameters, among=self.among), {}


@dataclass(frozen=True)
class PairItem:
    """Pairs and what the frozen reference says of them."""

    batch: PreferenceBatch
    reference: PairLogprobs

    def to(self, device: torch.device) -> "PairItem":
        """The same on another device."""
        return PairItem(
            self.batch.to(device), PairLogprobs(moved(self.reference.chosen_P, device), moved(self.reference.rejected_P, device))
        )

    def split(self, rows: int) -> "list[PairItem]":
        """Parts of at most so many rows, though never less than a pair."""
        parts = self.batch.split(rows)
        said = zip(*(t.split(parts[0].pairs) for t in (self.reference.chosen_P, self.reference.rejected_P)), strict=True)
        return [PairItem(part, PairLogprobs(*own)) for part, own in zip(parts, said, strict=True)]

    @property
    def weight(self) -> float:
        return self.batch.weight

    @property
    def tokens(self) -> int:
        return self.batch.tokens


def answer_logprobs(logprobs_BT: Float[Tensor, "B T"], weights_BT: Float[Tensor, "B T"]) -> PairLogprobs:
    """Summed log-probabilities of the first half's answers (chosen) and the second half's (rejected)."""
    sums_B = (logprobs_BT * weights_BT).sum(dim=1)
    P = sums_B.shape[0] // 2
    return PairLogprobs(sums_B[:P], sums_B[P:])


@dataclass(frozen=True)
class Better:
    """DPO with a likelihood anchor on the chosen answers, which keeps the skills that the pairs say nothing about.

    The anchor is the RPO term of Pang et al. 2024, arXiv:2404.19733: ``anchor`` nats per nat of mean negative log-likelihood.
    """

    head: Head
    beta: float
    anchor: float

    def inputs(self, item: PairItem) -> ModelInputs:
        return item.batch.rows.inputs

    def loss(self, x_BTD: Tensor, item: PairItem) -> tuple[Tensor, Facts]:
        batch = item.batch.rows
        policy = answer_logprobs(token_logprobs(self.head(x_BTD), batch.targets_BT), batch.weights_BT)
        losses_P, margins_P = dpo(policy, item.reference, beta=self.beta)
        lengths_P = batch.weights_BT.sum(dim=1)[: losses_P.shape[0]].clamp(min=1)
        anchor_P = -policy.chosen_P / lengths_P
        facts = {
            "accuracy": float((margins_P > 0).float().sum()),
            "margin": float(margins_P.detach().sum()),
            "chosen_nll": float(anchor_P.detach().sum()),
        }
        return (losses_P + self.anchor * anchor_P).sum(), facts


@dataclass(frozen=True)
class Rollouts:
    """Sampled answers, each with its reward's advantage, and what sampler and reference said of every token."""

    batch: Batch
    """Weights are 1 on sampled tokens."""
    sampled_BT: Float[Tensor, "B T"]
    reference_BT: Float[Tensor, "B T"]
    advantages_B1: Float[Tensor, "B 1"]
    rewards_B: Float[Tensor, " B"]
    tokens_per_answer: float
    """Over all answers of the step: facts are divided by tokens in the loop, and a reward is per answer."""

    def to(self, device: torch.device) -> "Rollouts":
        """The same on another device."""
        there = (moved(t, device) for t in (self.sampled_BT, self.reference_BT, self.advantages_B1, self.rewards_B))
        return Rollouts(self.batch.to(device), *there, tokens_per_answer=self.tokens_per_answer)

    def split(self, rows: int) -> "list[Rollouts]":
        """Parts of at most so many answers."""
        own = zip(*(t.split(rows) for t in (self.sampled_BT, self.reference_BT, self.advantages_B1, self.rewards_B)), strict=True)
        parts = zip(self.batch.split(rows), own, strict=True)
        return [Rollouts(part, *of, tokens_per_answer=self.tokens_per_answer) for part, of in parts]

    @property
    def weight(self) -> float:
        return self.batch.weight

    @property
    def tokens(self) -> int:
        return self.batch.tokens


@dataclass(frozen=True)
class Rewarded:
    """GRPO: more of what did better than its siblings, over all sampled tokens of the step (Yu et al. 2025, arXiv:2503.14476)."""

    head: Head
    kl: float

    def inputs(self, item: Rollouts) -> ModelInputs:
        return item.batch.inputs

    def loss(self, x_BTD: Tensor, item: Rollouts) -> tuple[Tensor, Facts]:
        weights_BT = item.batch.weights_BT
        logprobs_BT = token_logprobs(self.head(x_BTD), item.batch.targets_BT)
        losses_BT, kl_BT = grpo(logprobs_BT, item.sampled_BT, item.reference_BT, item.advantages_B1, clip=CLIP, kl=self.kl)
        facts = {"reward": float(item.rewards_B.sum()) * item.tokens_per_answer, "kl": float((kl_BT.detach() * weights_BT).sum())}
        return (losses_BT * weights_BT).sum(), facts
