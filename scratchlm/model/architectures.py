"""The table of architectures; a row is a module with ``Config``, ``Model``, ``initialise``, ``SHARDING`` and ``HF_NAMES``."""

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from scratchlm.core import seeds
from scratchlm.model import minillm, qwen3, swift

ARCHITECTURES = {"qwen3": qwen3, "minillm": minillm, "swift": swift}

AnyConfig = qwen3.Config | minillm.Config | swift.Config
ModelConfig = Annotated[AnyConfig, Field(discriminator="kind")]
Model = qwen3.Model | minillm.Model | swift.Model
"""Each satisfies ``core.tensors.LanguageModel``."""


def shape_only(config: AnyConfig) -> Model:
    """A model on the meta device: all shapes, no memory."""
    with torch.device("meta"):
        return ARCHITECTURES[config.kind].Model(config)  # pyright: ignore[reportArgumentType]


def build(config: AnyConfig, *, seed: int) -> Model:
    """A model of ``config``'s kind with fresh weights, the same for the same seed on every machine."""
    model = shape_only(config).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seeds.derive(seed, "initialise"))
    ARCHITECTURES[config.kind].initialise(model, generator)  # pyright: ignore[reportArgumentType]
    return model


def parameters_of(model: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in model.parameters())
