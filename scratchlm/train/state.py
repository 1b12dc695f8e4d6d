"""All that changes while training: nothing else does, so what is saved here is enough to go on bit for bit.

Sample order, dropout and schedules are pure functions of seed and step; they need no saving.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scratchlm.model.architectures import Model
from scratchlm.optim import OPTIMIZERS, OptimizerConfig
from scratchlm.optim.groups import trainable
from scratchlm.train.guard import Guard


@dataclass
class TrainState:
    """Parameters, optimizer, counters, the guard's window and the loss scaler."""

    model: Model
    optimizers: list[torch.optim.Optimizer]
    seed: int
    scaler: "torch.amp.GradScaler | None" = None
    guard: Guard = field(default_factory=Guard)
    step: int = 0
    """Steps done; also the cursor of the data."""
    tokens: int = 0
    """Positions computed so far."""
    rows_at_once: int = 1 << 30
    """Rows of a micro-batch at most; it falls when memory is short."""

    @classmethod
    def begin(cls, model: Model, optimizer: OptimizerConfig, *, seed: int, scaler: "torch.amp.GradScaler | None" = None) -> "TrainState":
        """The state before the first step."""
        made = OPTIMIZERS[optimizer.kind].build(optimizer, trainable(model))  # pyright: ignore[reportArgumentType]
        for group in (group for part in made for group in part.param_groups):
            group["peak_lr"] = group["lr"]
        return cls(model, made, seed, scaler)

    def optimizer_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor an optimizer remembers, by ``optimizer.parameter.name``."""
        for number, optimizer in enumerate(self.optimizers):
            for index, entries in optimizer.state_dict()["state"].items():
                yield from ((f"{number}.{index}.{name}", value) for name, value in entries.items() if isinstance(value, Tensor))

    def load_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what ``optimizer_tensors`` gave."""
        for number, optimizer in enumerate(self.optimizers):
            whole = optimizer.state_dict()
            whole["state"] = {}
            for key, tensor in tensors.items():
                owner, index, name = key.split(".", 2)
                if int(owner) == number:
                    whole["state"].setdefault(int(index), {})[name] = tensor
            optimizer.load_state_dict(whole)

    def set_lr(self, factor: float) -> float:
        """Give each group its peak learning rate times ``factor``; the first group's rate comes back."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = group["peak_lr"] * factor
        return self.optimizers[0].param_groups[0]["lr"]
