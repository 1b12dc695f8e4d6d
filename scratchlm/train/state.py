"""All that changes while training: nothing else does, so what is saved here is enough to go on bit for bit.

Sample order, dropout and schedules are pure functions of seed and step; they need no saving.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scratchlm.model.architectures import Model
from scratchlm.optim import OPTIMIZERS, OptimizerConfig
from scratchlm.parallel.matrices import Matrices
from scratchlm.parallel.parts import Part, by_name
from scratchlm.train.crew import Crew, alone
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
    crew: Crew = None  # pyright: ignore[reportAssignmentType]  # alone unless given
    """This process's share of the model and of each step."""

    def __post_init__(self) -> None:
        self.crew = self.crew or alone(self.model)

    @property
    def parts(self) -> Sequence[Part]:
        """What this process holds of each parameter that learns: all of it, where there is one process."""
        return self.crew.parts

    @classmethod
    def begin(
        cls,
        model: Model,
        optimizer: OptimizerConfig,
        *,
        seed: int,
        scaler: "torch.amp.GradScaler | None" = None,
        crew: Crew | None = None,
    ) -> "TrainState":
        """The state before the first step; one process has all of the model unless a ``crew`` is given."""
        crew = crew or alone(model)
        matrices = None if crew.world.alone else Matrices(crew.parts, crew.world)
        made = OPTIMIZERS[optimizer.kind].build(optimizer, list(by_name(crew.parts)), matrices)  # pyright: ignore[reportArgumentType]
        for group in (group for part in made for group in part.param_groups):
            group["peak_lr"] = group["lr"]
        return cls(model, made, seed, scaler, crew=crew)

    def optimizer_tensors(self) -> Iterator[tuple[Part, str, Tensor]]:
        """Every tensor that an optimizer remembers: of which parameter, under which name; of no dims, or of those of ``part.own``."""
        remembered = {parameter: entries for optimizer in self.optimizers for parameter, entries in optimizer.state.items()}
        for part in self.parts:
            yield from ((part, name, value) for name, value in remembered.get(part.own, {}).items() if isinstance(value, Tensor))

    def load_optimizer_tensors(self, tensors: Iterable[tuple[Part, str, Tensor]]) -> None:
        """Put back what ``optimizer_tensors`` gave."""
        owners = {p: optimizer for optimizer in self.optimizers for group in optimizer.param_groups for p in group["params"]}
        for optimizer in self.optimizers:
            optimizer.state.clear()
        for part, name, tensor in tensors:
            owners[part.own].state[part.own][name] = tensor.to(part.own.device)

    def set_lr(self, factor: float) -> float:
        """Give each group its peak learning rate times ``factor``; the first group's rate comes back."""
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = group["peak_lr"] * factor
        return self.optimizers[0].param_groups[0]["lr"]
