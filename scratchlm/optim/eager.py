"""What Muon and AdamW have in common: they are torch's, less what would load its compiler before the first step: most of a second."""

from typing import Any

import torch


class Eager(torch.optim.Optimizer):
    """An optimizer whose groups are lists of parameters, each in one of them only."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take one more group; what it does not say is as for all."""
        taken = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        assert taken.isdisjoint(map(id, param_group["params"]))
        self.param_groups.append(self.defaults | param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient."""
        assert set_to_none
        for parameter in (parameter for group in self.param_groups for parameter in group["params"]):
            parameter.grad = None
