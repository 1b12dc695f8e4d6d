"""On what is computed? Whatever is not the processor is first held against it: a GPU that computes wrongly trains without complaint."""

import torch

from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import positions_of
from scratchlm.losses.likelihood import chunked_cross_entropy
from scratchlm.model import architectures, qwen3
from scratchlm.model.attention import packed
from scratchlm.parallel.precision import Dtype, peak_gflops
from scratchlm.parallel.world import devices, own_gpu, processes, steady

SHAPE = qwen3.Config(vocab=61, context=32, layers=2, width=48, heads=4, kv_heads=2, head_dim=16, hidden=80)
BOUND = 1e-3
"""Of the largest gradient. Other orders of summing differ by some 1e-6 of it; what is wrong differs by more than this."""
SLOWEST = 1 / 20
"""Of the speed of float32: a dtype below it is emulated, not computed."""


def chosen(asked: str, journal: Journal) -> str:
    """The device to train on: the one that is asked for, or the fastest that computes rightly.

    Of several processes each looks at its own GPU; of kinds of which a machine has one, only one process can take it.
    """
    if torch.cuda.is_available() and asked != "cpu":
        own_gpu()
    if processes() > 1 and asked == "mps":
        raise UsageError("device: several processes cannot share an Apple GPU. Set device to cpu, or start one process.")
    if asked != "auto":
        if asked not in devices():
            raise UsageError(f"device: '{asked}' is asked for, but torch finds none here. Set device to auto or {devices()[0]}.")
        if asked != "cpu" and (fault := fault_of(asked)):
            raise CheckFailed(f"device: '{asked}' does not compute what the processor computes: {fault}. Set device to cpu.")
        return asked
    for device in (each for each in devices() if each != "mps" or processes() == 1):
        fault = None if device == "cpu" else fault_of(device)
        if fault is None:
            return device
        journal.event("device", note=f"{device} is left out, for it does not compute what the processor computes: {fault}")
    raise AssertionError("the processor is always there")


def fault_of(device: str) -> str | None:
    """What ``device`` computes otherwise than the processor, of a small model's loss and gradients in float32; None where nothing."""
    steady(device=device)  # before the first product there, which settles how all others are computed
    try:
        own, right = gradients(device), gradients("cpu")
    except (RuntimeError, TypeError) as error:  # an operation or a dtype that the device does not have
        return f"{type(error).__name__}, {str(error).splitlines()[0][:120]}"
    for name, wanted in right.items():
        apart = float((own[name].cpu() - wanted).abs().max() / wanted.abs().max())
        if not apart <= BOUND:  # also where it is no number
            return f"{name} is {apart:.2g} of its largest value away"
    return None


def gradients(device: str) -> dict[str, torch.Tensor]:
    """The loss and all gradients of two packed rows."""
    model = architectures.build(SHAPE, seed=0)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):  # what is zero at first would hide what is wrong behind it
            parameter.add_(torch.sin(torch.arange(parameter.numel()) + number).view_as(parameter), alpha=0.1)
    model.to(device)
    tokens_BT = (torch.arange(2 * SHAPE.context) * 7 % SHAPE.vocab).view(2, -1)
    segments_BT = (torch.arange(SHAPE.context) > 12).long().expand(2, -1)
    given = [t.to(device) for t in (tokens_BT, positions_of(segments_BT), segments_BT)]
    x_BTD = model.features(given[0], given[1], packed(given[2]))
    head = [model.head.weight] if isinstance(model.head, torch.nn.Linear) else []
    loss = chunked_cross_entropy(model.logits, x_BTD, given[0].roll(-1, 1), torch.ones(2, SHAPE.context, device=device), parameters=head)
    loss.backward()
    return {"the loss": loss.detach()} | {
        f"the gradient of {name}": parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def peak_of(dtype: Dtype, device: str, *, float32: float) -> float:
    """GFLOP/s of products in ``dtype``; UsageError where the device has none, or only such as are put together from other arithmetic."""
    instead = "Set dtype to auto or float32."
    try:
        found = peak_gflops(dtype, device)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        said = str(error).splitlines()[0][:120]
        raise UsageError(f"dtype: there are no products of {dtype} on {device} here ({said}). {instead}") from None
    # Every processor computes bfloat16, if slowly; a run that was begun on another may need it.
    if dtype != "bfloat16" and found < SLOWEST * float32:
        speeds = f"{found:,.1f} GFLOP/s, those of float32 {float32:,.0f}"
        raise UsageError(f"dtype: products of {dtype} reach {speeds} on {device} here, which has no arithmetic for them. {instead}")
    return found
