"""RMSProp: each step divided by a running root mean square of its gradient. Tieleman & Hinton 2012, Coursera lecture 6.5."""

from typing import Literal

import torch
from pydantic import Field

from scratchlm.core.config import Settings
from scratchlm.optim.groups import Matrices, Named, by_decay


class Config(Settings):
    """Settings of RMSProp."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(default=3e-4, gt=0)
    decay: float = Field(default=0.99, ge=0, lt=1)
    """Of the running mean of squares (torch calls it alpha)."""
    eps: float = Field(default=1e-8, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)


def build(config: Config, named: Named, _matrices: Matrices | None = None) -> list[torch.optim.Optimizer]:
    """One RMSProp over all parameters."""
    groups = by_decay(named, weight_decay=config.weight_decay)
    return [torch.optim.RMSprop(groups, lr=config.lr, alpha=config.decay, eps=config.eps, momentum=config.momentum)]
