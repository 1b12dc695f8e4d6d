"""Stochastic gradient descent, with momentum if wanted: the plain rule that all others refine. Robbins & Monro 1951."""

from typing import Literal

import torch
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.optim.groups import Matrices, Named, by_decay


class Config(Settings):
    """Settings of SGD."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)


def build(config: Config, named: Named, _matrices: Matrices | None = None) -> list[torch.optim.Optimizer]:
    """One SGD over all parameters."""
    return [torch.optim.SGD(by_decay(named, weight_decay=config.weight_decay), lr=config.lr, momentum=config.momentum)]
