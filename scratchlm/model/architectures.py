"""The table of architectures; a row is a module with ``Config``, ``Model``, ``initialise``, ``SHARDING`` and ``HF_NAMES``.

Where a tensor elsewhere is the transpose of ours, the row names it in ``HF_TRANSPOSED``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn
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


Take = Callable[[str, Tensor], object]
"""Given the name of a parameter and all of its numbers, which are gone afterwards."""


@runtime_checkable
class Origin(Protocol):
    """Where a model's first weights come from, one after another: who holds a part of a model needs no memory for all of it."""

    @property
    def config(self) -> AnyConfig:
        """Of the model."""
        ...

    def give(self, take: Take) -> None:
        """Hand every parameter over."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Fresh weights, the same for the same seed on every machine and at every process."""

    config: AnyConfig
    seed: int

    def give(self, take: Take) -> None:
        """Draw every parameter and hand it over."""

        def each() -> Iterator[tuple[str, Tensor]]:
            for name, parameter in shape_only(self.config).named_parameters():
                drawn = torch.empty(parameter.shape)
                yield name, drawn
                take(name, drawn)

        generator = torch.Generator().manual_seed(seeds.derive(self.seed, "initialise"))
        ARCHITECTURES[self.config.kind].initialise(self.config, each(), generator)  # pyright: ignore[reportArgumentType]


def whole(origin: Origin) -> Model:
    """All of a model, in the processor's memory."""
    model, found = shape_only(origin.config), dict[str, Tensor]()
    origin.give(lambda name, numbers: found.update({name: numbers.to(torch.float32, copy=True)}))
    model.load_state_dict(found, assign=True)
    return model


def build(config: AnyConfig, *, seed: int) -> Model:
    """A model of ``config``'s kind with fresh weights, the same for the same seed on every machine."""
    return whole(Drawn(config, seed))


def parameters_of(model: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in model.parameters())
