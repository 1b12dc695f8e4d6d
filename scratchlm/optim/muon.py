"""Muon: momentum whose singular values are all brought to one, so that every direction of a matrix learns at the same pace.

Jordan et al. 2024, kellerjordan.github.io/posts/muon. Orthogonalisation by the polar express: Amsel et al. 2025, arXiv:2505.16932.
Hidden matrices go through Muon; embeddings, head and norms through AdamW.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from scratchlm.core.config import Settings
from scratchlm.optim.adamw import AdamW
from scratchlm.optim.eager import Eager
from scratchlm.optim.groups import Here, Matrices, Named, by_decay, hidden_matrix

# Each step's own coefficients minimise the worst-case error of all five together: Amsel et al. 2025, arXiv:2505.16932, for singular
# values in [1e-3, 1]. Computed by `benchmarks/polar_express.py`, which prints these very numbers.
POLAR_EXPRESS = (
    (8.20516041400557, -22.90193498705603, 16.460724910180296),
    (4.066395159942767, -2.861154086755138, 0.5183995226694736),
    (3.909594904437917, -2.8233517350395156, 0.5250369769390022),
    (3.2855640171986176, -2.4153019596359475, 0.4852940655279092),
    (2.3006520199548177, -1.6689039845747506, 0.41880731195256754),
)


class Config(Settings):
    """Settings of Muon and of the AdamW that takes what is no hidden matrix."""

    kind: Literal["muon"] = "muon"
    lr: float = Field(default=0.02, gt=0)
    """Peak step of a hidden matrix: the root mean square change of an entry is about lr / sqrt(inputs)."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    """Of the hidden matrices, times lr."""
    embedding_lr: float = Field(default=0.02, gt=0)
    head_lr: float = Field(default=0.004, gt=0)
    scalar_lr: float = Field(default=0.01, gt=0)
    """Norm gains and every other vector."""
    beta1: float = Field(default=0.8, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)


def orthogonalised(momentum: Float[Tensor, "*N Out In"]) -> Float[Tensor, "*N Out In"]:
    """Each matrix with its singular values brought near one (within some 15 %), in bfloat16.

    The products are exact enough in bfloat16: the iteration forgives rounding, and it costs a third to a seventh of float32.
    """
    x = momentum.bfloat16()
    wide = x.shape[-2] <= x.shape[-1]
    if not wide:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)  # the 1.01 keeps a rounded-up norm inside the interval
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else x.mT


class Muon(Eager):
    """Nesterov momentum, orthogonalised, over matrices batched by equal shape."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float, matrices: Matrices | None = None
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._matrices = matrices or Here()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Change every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            batches: dict[Hashable, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    batches[self._matrices.kind(parameter)].append(parameter)
            for batch in batches.values():
                self._change(batch, group)

    def _change(self, batch: list[nn.Parameter], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in batch if p.grad is not None]
        for parameter in batch:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[p]["momentum"] for p in batch]
        ahead = list[Tensor]()
        for momentum, gradient in zip(momenta, gradients, strict=True):
            momentum.lerp_(gradient, 1 - group["momentum"])
            ahead.append(gradient.lerp(momentum, group["momentum"]))
        changes = self._matrices.changed(batch, ahead, orthogonalised)
        # A tall matrix has more outputs than inputs; this keeps the change of each output the same size (Jordan et al. 2024).
        rows, columns = self._matrices.shape(batch[0])
        scale = max(1.0, rows / columns) ** 0.5
        for parameter, change in zip(batch, changes, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(change.to(parameter.dtype), alpha=group["lr"] * scale)


def build(config: Config, named: Named, matrices: Matrices | None = None) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the rest; ``matrices`` brings those together that are cut."""
    hidden = [p for n, p in named if hidden_matrix(n, p)]
    rest = [(n, p) for n, p in named if not hidden_matrix(n, p)]
    parts = [
        (config.embedding_lr, [(n, p) for n, p in rest if "embedding" in n]),
        (config.head_lr, [(n, p) for n, p in rest if n.startswith("head")]),
        (config.scalar_lr, [(n, p) for n, p in rest if "embedding" not in n and not n.startswith("head")]),
    ]
    groups = [group | {"lr": lr} for lr, part in parts for group in by_decay(part, weight_decay=0.0)]
    adamw = AdamW(groups, lr=config.scalar_lr, betas=(config.beta1, config.beta2), eps=1e-10)
    if not hidden:
        return [adamw]
    return [Muon(hidden, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, matrices=matrices), adamw]
