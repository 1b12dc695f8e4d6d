"""A tiny model of every architecture: all sizes differ, so that a swapped axis fails."""

from dataclasses import dataclass
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from scratchlm.core.tensors import positions_of
from scratchlm.model import attention, gpt2, llama, minillm, moe, olmo2, qwen3, swift
from scratchlm.model.architectures import AnyConfig, Model, Take, build

VOCAB = 23
SHAPES: dict[str, AnyConfig] = {
    "qwen3": qwen3.Config(vocab=VOCAB, context=16, layers=2, width=14, heads=4, kv_heads=2, head_dim=6, hidden=20),
    "minillm": minillm.Config(vocab=VOCAB, context=16, layers=2, width=12, heads=3),
    "gpt2": gpt2.Config(vocab=VOCAB, context=16, layers=2, width=12, heads=3, hidden=20, tied=False),
    "llama": llama.Config(vocab=VOCAB, context=16, layers=2, width=14, heads=6, kv_heads=2, head_dim=4, hidden=20, window=7),
    "olmo2": olmo2.Config(vocab=VOCAB, context=16, layers=2, width=14, heads=6, kv_heads=2, head_dim=4, hidden=20),
    "moe": moe.Config(
        vocab=VOCAB, context=16, layers=2, width=14, heads=4, kv_heads=2, head_dim=6, experts=5, experts_per_token=3, expert_hidden=10
    ),
    "swift": swift.Config(vocab=VOCAB, context=16, layers=3, width=14, heads=4, head_dim=6, bigrams=31, trigrams=29),
}


def may_have_window(shape: AnyConfig) -> bool:
    """Whether its settings can name one."""
    field = type(shape).model_fields.get("window")
    return field is not None and field.annotation is not NoneType


def fresh(name: str, *, seed: int = 0, **changes: Any) -> Model:
    """The model as training begins with it."""
    return build(SHAPES[name].model_copy(update=changes), seed=seed)


def tiny(name: str, *, seed: int = 0, **changes: Any) -> Model:
    """A model whose every parameter was moved, so that no path is silent as the zero-initialised ones of a fresh model are."""
    model = fresh(name, seed=seed, **changes)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


@dataclass(frozen=True)
class Like:
    """The weights of a model, as a run begins with them."""

    model: Model

    @property
    def config(self) -> AnyConfig:
        return self.model.config

    def give(self, take: Take) -> None:
        for name, parameter in self.model.named_parameters():
            take(name, parameter.detach())


def random_tokens(batch: int, time: int, *, seed: int = 2) -> Tensor:
    return torch.randint(VOCAB, (batch, time), generator=torch.Generator().manual_seed(seed))


def features(model: Model, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
    """``x_BTD`` as training computes it; one document per row unless ``segments_BT`` says otherwise."""
    segments_BT = torch.zeros_like(tokens_BT) if segments_BT is None else segments_BT
    return model.features(tokens_BT, positions_of(segments_BT), attention.packed(segments_BT))


def logits(model: Model, tokens_BT: Tensor) -> Tensor:
    return model.logits(features(model, tokens_BT))
