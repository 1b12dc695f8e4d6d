"""Which parameter belongs to which optimizer group: by its name and number of dims, never by its values."""

from collections.abc import Iterable

from torch import nn

Named = list[tuple[str, nn.Parameter]]


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
