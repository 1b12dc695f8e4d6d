"""One engine for everything that speaks: chat, server, evaluation and reinforcement.

Prompts of different lengths run as one batch: a prefill, then one token per row and tick; rows that are done leave the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from scratchlm.core import seeds
from scratchlm.core.errors import UsageError
from scratchlm.generate.cache import Cache
from scratchlm.generate.sample import Sampling, choose
from scratchlm.model.architectures import Model

Finish = Literal["stop", "length"]


@dataclass
class Answer:
    """What was generated after one prompt; the stop token is in ``ids`` too."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """Of each id under the model itself (temperature 1, no limits), in nats."""
    finish: Finish | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token of one row."""

    row: int
    id: int
    logprob: float
    finish: Finish | None


@dataclass(frozen=True)
class Engine:
    """A model that continues prompts, in float32."""

    model: Model
    context: int
    stop: frozenset[int]
    """Ids that end an answer."""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next(self.model.parameters()).device

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Answer]:
        """An answer to each prompt. Row r draws from the stream of (seed, r), whatever stands beside it."""
        answers = [Answer() for _ in prompts]
        for token in self.tokens(prompts, sampling):
            answer = answers[token.row]
            answer.ids.append(token.id)
            answer.logprobs.append(token.logprob)
            answer.finish = token.finish
        return answers

    def tokens(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[Token]:
        """Tokens of all rows as they come, tick by tick; UsageError when a prompt leaves no room for an answer."""
        for prompt in prompts:
            if not 0 < len(prompt) < self.context:
                raise UsageError(f"prompt: {len(prompt)} tokens, but the model reads 1 to {self.context - 1}. Shorten it or start anew.")
        self.model.eval()
        coming = self._ticks(prompts, sampling)
        while True:
            with torch.inference_mode():  # only while computing: what the caller does between two tokens is not ours
                token = next(coming, None)
            if token is None:
                return
            yield token

    def _ticks(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[Token]:
        ids = [list(prompt) for prompt in prompts]
        limits = [min(len(prompt) + sampling.max_tokens, self.context) for prompt in prompts]
        streams = [seeds.derive(sampling.seed, "sample", row=sampling.first_row + row) for row in range(len(ids))]
        draws = [torch.Generator().manual_seed(stream) for stream in streams]
        active = list(range(len(ids)))
        cache = Cache(rows=len(ids), length=max(limits))
        logits_BV = self._prefill(ids, cache)
        while active:
            uniform_B = torch.stack([torch.rand((), generator=draws[row]) for row in active]).to(logits_BV.device)
            chosen_B = choose(logits_BV, uniform_B, sampling)
            logprobs_B = logits_BV.float().log_softmax(-1).gather(1, chosen_B[:, None])[:, 0]
            going = []
            for place, (row, id, logprob) in enumerate(zip(active, chosen_B.tolist(), logprobs_B.tolist(), strict=True)):
                ids[row].append(id)
                finish = "stop" if id in self.stop else "length" if len(ids[row]) >= limits[row] else None
                yield Token(row, id, logprob, finish)
                if finish is None:
                    going.append(place)
            if len(going) < len(active):
                cache.keep(torch.tensor(going, dtype=torch.long, device=logits_BV.device))
                active = [active[place] for place in going]
            if active:
                logits_BV = self._next([ids[row] for row in active], cache)

    def _prefill(self, ids: list[list[int]], cache: Cache) -> Tensor:
        """Scores of the token after each prompt. Padding behind a short prompt is overwritten before anything looks at it."""
        longest = max(len(prompt) for prompt in ids)
        tokens_BT = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in ids], device=self.device)
        positions_BT = torch.arange(longest, device=self.device).expand(len(ids), longest)
        x_BTD = self.model.features(tokens_BT, positions_BT, cache.attend(positions_BT))
        last_B = torch.tensor([len(prompt) - 1 for prompt in ids], device=self.device)
        return self.model.logits(x_BTD[torch.arange(len(ids), device=self.device), last_B])

    def _next(self, ids: list[list[int]], cache: Cache) -> Tensor:
        """Scores after the newest token of each row."""
        tokens_BL: Int[Tensor, "B L"] = torch.tensor([_tail(row, 1 + self.model.lookback) for row in ids], device=self.device)
        positions_BT = torch.tensor([[len(row) - 1] for row in ids], device=self.device)
        return self.model.logits(self.model.features(tokens_BL, positions_BT, cache.attend(positions_BT))[:, -1])


def _tail(ids: list[int], length: int) -> list[int]:
    return [0] * (length - len(ids)) + ids[-length:]
