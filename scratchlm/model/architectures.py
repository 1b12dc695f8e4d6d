"""The table of architectures; a row is a module with ``Config``, ``Model``, ``initialise``, ``SHARDING`` and ``HF_NAMES``.

Where a tensor elsewhere is the transpose of ours, the row names it in ``HF_TRANSPOSED``.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.overrides import TorchFunctionMode

from scratchlm.core import seeds
from scratchlm.model import gpt2, llama, minillm, moe, olmo2, qwen3, swift

ARCHITECTURES = {"minillm": minillm, "gpt2": gpt2, "llama": llama, "qwen3": qwen3, "olmo2": olmo2, "moe": moe, "swift": swift}

AnyConfig = minillm.Config | gpt2.Config | llama.Config | qwen3.Config | olmo2.Config | moe.Config | swift.Config
ModelConfig = Annotated[AnyConfig, Field(discriminator="kind")]
Model = minillm.Model | gpt2.Model | llama.Model | qwen3.Model | olmo2.Model | moe.Model | swift.Model
"""Each satisfies ``core.tensors.LanguageModel``."""


class Unset(TorchFunctionMode):
    """Within it torch's modules draw no first values: ``initialise`` draws ours, and on the meta device to draw is to load a compiler."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        return None if getattr(func, "__module__", None) == nn.init.__name__ else func(*args, **(kwargs or {}))


def shape_only(config: AnyConfig) -> Model:
    """A model on the meta device: all shapes, no memory."""
    with torch.device("meta"), Unset():
        return ARCHITECTURES[config.kind].Model(config)  # pyright: ignore[reportArgumentType]


def build(config: AnyConfig, *, seed: int) -> Model:
    """A model of ``config``'s kind with fresh weights, the same for the same seed on every machine."""
    with Unset():
        model = ARCHITECTURES[config.kind].Model(config)  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(seeds.derive(seed, "initialise"))
    ARCHITECTURES[config.kind].initialise(model, generator)  # pyright: ignore[reportArgumentType]
    return model


def parameters_of(model: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in model.parameters())
