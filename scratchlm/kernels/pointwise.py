"""What stands between matrix products, in one pass over memory each where the kernels are chosen; the plain expression otherwise.

``chosen`` says for a stretch of a program, as ``torch.autocast`` does, that kernels compute what they can: bfloat16 results on a CPU with
AVX512_BF16. Everything else, and everybody who never heard of it, gets torch's own operations.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from scratchlm.kernels import build

LANES = 16
PARTS = 64
"""Into which rows are cut, as in ``pointwise.cpp``."""
MOST_CHANNELS = 1024
HALF = torch.bfloat16
_CHOSEN: ContextVar[bool] = ContextVar("kernels", default=False)


def library() -> ctypes.CDLL:
    """The compiled kernels; raises build.Unavailable."""
    return build.library("pointwise")


@contextmanager
def chosen(on: bool) -> Iterator[None]:
    """Within it, kernels compute what they can; raises build.Unavailable when there are none."""
    if on:
        library()
    token = _CHOSEN.set(on)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def rms_norm(x: Float[Tensor, "*B D"], gain: Float[Tensor, " D"], eps: float) -> Float[Tensor, "*B D"]:
    """Each vector over its root mean square, times ``gain``. Zhang & Sennrich 2019, arXiv:1910.07467."""
    if _fits(x, LANES):
        return _Norm.apply(x, gain, None, eps, False)  # pyright: ignore[reportReturnType]
    return F.rms_norm(x, x.shape[-1:], gain, eps)


def layer_norm(
    x: Float[Tensor, "*B D"], gain: Float[Tensor, " D"] | None = None, bias: Float[Tensor, " D"] | None = None, eps: float = 1e-5
) -> Float[Tensor, "*B D"]:
    """Each vector less its mean, over its deviation. Ba et al. 2016, arXiv:1607.06450."""
    if _fits(x, LANES):
        return _Norm.apply(x, gain, bias, eps, True)  # pyright: ignore[reportReturnType]
    return F.layer_norm(x, x.shape[-1:], gain, bias, eps)


class RMSNorm(nn.RMSNorm):
    """``rms_norm`` with its gain."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.eps is not None
        return rms_norm(x, self.weight, self.eps)


class LayerNorm(nn.LayerNorm):
    """``layer_norm`` with its gain and bias."""

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.weight, self.bias, self.eps)


def gated(gate: Float[Tensor, "*B F"], up: Float[Tensor, "*B F"]) -> Float[Tensor, "*B F"]:
    """``silu(gate) * up``: the middle of SwiGLU. Shazeer 2020, arXiv:2002.05202."""
    if _fits(gate, LANES) and gate.dtype == up.dtype == HALF and gate.shape == up.shape:
        return _Gated.apply(gate, up)  # pyright: ignore[reportReturnType]
    return F.silu(gate) * up


def squared(x: Float[Tensor, "*B F"]) -> Float[Tensor, "*B F"]:
    """``max(x, 0)²``. So et al. 2021, arXiv:2109.08668."""
    if _fits(x, LANES) and x.dtype == HALF:
        return _Squared.apply(x)  # pyright: ignore[reportReturnType]
    return F.relu(x).square()


def turned(
    x_BTHC: Float[Tensor, "B T H C"],
    cos_BT1C: Float[Tensor, "B T 1 C"],
    sin_BT1C: Float[Tensor, "B T 1 C"],
    norm: RMSNorm | LayerNorm | None = None,
) -> Float[Tensor, "B T H C"]:
    """Heads normalised if ``norm`` says how, then turned by their positions' angles (Su et al. 2021, arXiv:2104.09864), as they came in.

    The sine is signed: of each channel's partner, half the channels away, it says how much comes in.
    """
    has_bias = isinstance(norm, LayerNorm) and norm.bias is not None
    if _fits(x_BTHC, 2 * LANES) and x_BTHC.dtype == HALF and x_BTHC.shape[-1] <= MOST_CHANNELS and not has_bias:
        gain, eps, mode = (None, 0.0, 0) if norm is None else (norm.weight, norm.eps, 2 if isinstance(norm, LayerNorm) else 1)
        return _Turned.apply(x_BTHC, cos_BT1C, sin_BT1C, gain, eps, mode)  # pyright: ignore[reportReturnType]
    # Angles and gains are float32, and torch fuses a norm only where input and gain are of one dtype.
    wide_BTHC = x_BTHC if x_BTHC.dtype == torch.float64 else x_BTHC.float()
    if norm is not None:
        wide_BTHC = norm(wide_BTHC)
    swapped_BTHC = torch.roll(wide_BTHC, wide_BTHC.shape[-1] // 2, dims=-1)
    return (wide_BTHC * cos_BT1C + swapped_BTHC * sin_BT1C).to(x_BTHC.dtype)


def loss_and_slope(
    logits_NV: Float[Tensor, "N V"], targets_N: Int[Tensor, " N"], weights_N: Float[Tensor, " N"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "N V"]] | None:
    """The weighted SUM of negative log-likelihoods and its derivative by the logits; None where no kernel computes it.

    Raises IndexError for a target that is no row of the vocabulary.
    """
    if not _CHOSEN.get() or logits_NV.dtype != HALF or logits_NV.device.type != "cpu":
        return None
    N, V = logits_NV.shape
    logits_NV, targets_N, weights_N = logits_NV.contiguous(), targets_N.long().contiguous(), _plain(weights_N)
    losses_N, slope_NV = torch.empty(N), torch.empty_like(logits_NV)
    library().likelihood(_long(N), _int(V), *_at(logits_NV, targets_N, weights_N, losses_N, slope_NV), _threads())
    if bool(((targets_N < 0) | (targets_N >= V)).any()):
        raise IndexError(f"a target is out of bounds: the vocabulary has {V} rows")
    return losses_N.sum(), slope_NV


@overload
def _plain(x: Tensor) -> Tensor: ...
@overload
def _plain(x: None) -> None: ...
def _plain(x: Tensor | None) -> Tensor | None:
    """As the kernels read what is no row: float32, one number after another."""
    return None if x is None else x.float().contiguous()


def _fits(x: Tensor, unit: int) -> bool:
    # A compiler makes kernels of its own from the plain expressions, and can neither follow calls into ours nor read the choice.
    if torch.compiler.is_compiling() or not _CHOSEN.get():
        return False
    return x.device.type == "cpu" and x.dtype in (HALF, torch.float32) and x.shape[-1] % unit == 0 and x.numel() > 0


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None, eps: float, centred: bool) -> Tensor:
        x, gain, bias, D = x.contiguous(), _plain(gain), _plain(bias), x.shape[-1]
        N = x.numel() // D
        out, mean_N, scale_N = torch.empty(x.shape, dtype=HALF), torch.empty(N), torch.empty(N)
        shape = (_long(N), _int(D), *_at(x), _int(x.dtype == HALF), *_at(gain))
        library().norm_forward(*shape, *_at(bias), ctypes.c_float(eps), _int(centred), *_at(out, mean_N, scale_N), _threads())
        ctx.save_for_backward(x, gain, mean_N, scale_N)
        ctx.centred, ctx.has_bias = centred, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, gain, mean_N, scale_N = ctx.saved_tensors
        slope, D = grad_outputs[0].to(HALF).contiguous(), x.shape[-1]
        x_slope = torch.empty_like(x)
        gains, biases = (torch.empty(PARTS, D) if there else None for there in (gain is not None, ctx.has_bias))
        shape = (_long(len(mean_N)), _int(D), *_at(x), _int(x.dtype == HALF), *_at(gain, mean_N, scale_N), _int(ctx.centred))
        library().norm_backward(*shape, *_at(slope, x_slope, gains, biases), _threads())
        return x_slope, None if gains is None else gains[0], None if biases is None else biases[0], None, None


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTHC: Tensor, cos_BT1C: Tensor, sin_BT1C: Tensor, gain: Tensor | None, eps: float, mode: int) -> Tensor:
        B, T, H, C = x_BTHC.shape
        x_BTHC, gain = x_BTHC.contiguous(), _plain(gain)
        cos_BT1C, sin_BT1C = (_plain(t.expand(B, T, 1, C)) for t in (cos_BT1C, sin_BT1C))
        out_BTHC, mean, scale = torch.empty_like(x_BTHC), torch.empty(B * T * H), torch.empty(B * T * H)
        sizes = (_long(B * T), _int(H), _int(C))
        kept = _at(cos_BT1C, sin_BT1C, out_BTHC, mean, scale)
        library().turn_forward(*sizes, *_at(x_BTHC, gain), ctypes.c_float(eps), _int(mode), *kept, _threads())
        ctx.save_for_backward(x_BTHC, cos_BT1C, sin_BT1C, gain, mean, scale)
        ctx.mode = mode
        return out_BTHC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x_BTHC, cos_BT1C, sin_BT1C, gain, mean, scale = ctx.saved_tensors
        B, T, H, C = x_BTHC.shape
        slope_BTHC, x_slope_BTHC = grad_outputs[0].to(HALF).contiguous(), torch.empty_like(x_BTHC)
        gains = None if gain is None else torch.empty(PARTS, C)
        sizes = (_long(B * T), _int(H), _int(C))
        kept = _at(cos_BT1C, sin_BT1C, mean, scale, slope_BTHC, x_slope_BTHC, gains)
        library().turn_backward(*sizes, *_at(x_BTHC, gain), _int(ctx.mode), *kept, _threads())
        return x_slope_BTHC, None, None, None if gains is None else gains[0], None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        library().gate_forward(_long(gate.numel()), *_at(gate, up, out), _threads())
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gate, up = ctx.saved_tensors
        slope, slopes = grad_outputs[0].to(HALF).contiguous(), (torch.empty_like(gate), torch.empty_like(up))
        library().gate_backward(_long(gate.numel()), *_at(gate, up, slope, *slopes), _threads())
        return slopes


class _Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        library().square_forward(_long(x.numel()), *_at(x, out), _threads())
        ctx.save_for_backward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        slope, x_slope = grad_outputs[0].to(HALF).contiguous(), torch.empty_like(x)
        library().square_backward(_long(x.numel()), *_at(x, slope, x_slope), _threads())
        return x_slope


_long, _int = ctypes.c_long, ctypes.c_int


def _at(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where numbers lie; null for those that are not there."""
    return [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]


def _threads() -> ctypes.c_int:
    return ctypes.c_int(torch.get_num_threads())
