"""Which parameter belongs to which optimizer group: by its name and number of dims, never by its values."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Named = list[tuple[str, nn.Parameter]]
Act = Callable[[Tensor], Tensor]
"""(matrices of one shape, stacked) -> what each becomes."""


@runtime_checkable
class Matrices(Protocol):
    """Whole matrices, wherever their parts are."""

    def kind(self, parameter: nn.Parameter) -> Hashable:
        """What matrices that may be stacked have in common."""
        ...

    def shape(self, parameter: nn.Parameter) -> torch.Size:
        """Of the whole matrix."""
        ...

    def changed(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor], act: Act) -> list[Tensor]:
        """What ``act`` makes of the whole matrices of one kind that ``values`` are parts of, again in parts."""
        ...


class Here:
    """All of every matrix is here."""

    def kind(self, parameter: nn.Parameter) -> Hashable:
        return parameter.shape

    def shape(self, parameter: nn.Parameter) -> torch.Size:
        return parameter.shape

    def changed(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor], act: Act) -> list[Tensor]:
        return list(act(torch.stack(list(values))).unbind())


def trainable(model: nn.Module) -> Named:
    """Every parameter that learns, with its name, in the model's order."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: matrices yes; norms, biases, scalars and embedding tables no."""
    return parameter.ndim >= 2 and "embedding" not in name


def hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix between two hidden states: what Muon is for."""
    return parameter.ndim == 2 and name.startswith("layers.") and "embedding" not in name


def by_decay(named: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float) -> list[dict]:
    """Two torch parameter groups, with and without weight decay; empty ones are left out."""
    named = list(named)
    groups = [
        {"params": [p for n, p in named if decayed(n, p)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not decayed(n, p)], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
