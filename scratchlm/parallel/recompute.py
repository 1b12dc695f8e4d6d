"""Activations that are not kept but computed again on the way back: Chen et al. 2016, arXiv:1604.06174.

All of a block costs a third more arithmetic. Selectively, what products and attention gave is kept and only what stands between them is
computed again, which is cheap (Korthikanti et al. 2022, arXiv:2205.05198).
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint

KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}
"""Operations whose results are kept where recomputation is selective: those that cost most."""


def apply_(block: Any, how: str) -> None:
    """Let ``block`` keep less of its way forth: ``none``, ``selective`` or ``full``."""
    if how == "none":
        return
    settings: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        settings["context_fn"] = partial(checkpoint.create_selective_checkpoint_contexts, _policy)
    plainly = block.forward

    def forward(*given: Any) -> Any:
        return checkpoint.checkpoint(plainly, *given, **settings) if torch.is_grad_enabled() else plainly(*given)

    block.forward = forward


def _policy(_context: Any, operation: Any, *_given: Any, **_named: Any) -> checkpoint.CheckpointPolicy:
    return checkpoint.CheckpointPolicy.MUST_SAVE if operation in KEPT else checkpoint.CheckpointPolicy.PREFER_RECOMPUTE


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Those whose activations are forgotten one by one."""
    return list(model.get_submodule("layers").children())
