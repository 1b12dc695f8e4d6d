"""What the model makes of a micro-batch: one operation after another, or by a program that torch.compile wrote for its shape."""

import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scratchlm.core.errors import CheckFailed
from scratchlm.core.tensors import Attend, Carried, Regularised
from scratchlm.model.architectures import Model

Made = tuple[Tensor, Tensor | float]
"""(x_BTD, a zero that brings the gradient of what the model asks of itself)."""
Forward = Callable[[Model, Tensor, Tensor, Attend], Made]
"""(model, tokens_BT, positions_BT, attend) -> Made."""
GRAPHS = "reduce-overhead"
"""The mode of torch.compile that records what a GPU is told and repeats it in one go (CUDA graphs)."""
FAILURES = (CheckFailed, RuntimeError, ImportError, OSError, subprocess.SubprocessError)
"""How a compiler says that it cannot, or memory that it is short; the last three come from a C++ compiler or Triton."""


def plainly(model: Model, tokens_BT: Tensor, positions_BT: Tensor, attend: Attend) -> Made:
    """One operation after another."""
    return ended(model, model.through(model.entered(tokens_BT, positions_BT), positions_BT, attend), positions_BT)


def ended(model: Model, carried: Carried, positions_BT: Tensor) -> Made:
    """What comes of what the last block left."""
    if isinstance(model, Regularised):
        return model.regularised(carried, positions_BT)
    return model.ended(carried, positions_BT), 0.0


@dataclass(frozen=True)
class Compiled:
    """``plainly`` as compiled for micro-batches of one shape; the head and the loss, whose chunks differ in size, stay as they are.

    Every other shape would take another compilation, as long as the first. So the rest of a step that is no whole micro-batch goes the
    plain way, while half of one, which comes when memory runs short, is compiled anew.
    """

    program: Forward
    rows: int
    length: int
    graphs: bool

    @classmethod
    def begin(cls, mode: str, *, rows: int, length: int, backend: str = "inductor") -> "Compiled":
        """Nothing is compiled until it is called, and what was compiled for the same model and shape before is found again."""
        torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())  # tells the compiler what `World` told the rest
        with warnings.catch_warnings(action="ignore"):
            known = mode if backend == "inductor" else None  # others have no modes
            program = torch.compile(plainly, backend=backend, mode=known, dynamic=False)
        return cls(program, rows, length, mode == GRAPHS)

    def __call__(self, model: Model, tokens_BT: Tensor, positions_BT: Tensor, attend: Attend) -> Made:
        rows, length = tokens_BT.shape
        if length != self.length or rows not in (self.rows, self.rows // 2):
            return plainly(model, tokens_BT, positions_BT, attend)
        from torch._dynamo.exc import TorchDynamoException  # loads the compiler

        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last step left behind may be written over
        try:
            with warnings.catch_warnings(action="ignore"):  # what a compiler thinks of torch's own code
                return self.program(model, tokens_BT, positions_BT, attend)
        except TorchDynamoException as error:
            raise CheckFailed(f"torch.compile: no program came of this model ({first_lines(error)}). Start it anew with --again.") from None


def first_lines(error: Exception) -> str:
    """What an error says first, shortened; torch's compiler says on a second line what went wrong."""
    return " ".join(str(error).split("\n")[:2]).strip()[:160] or "it gave no reason"
