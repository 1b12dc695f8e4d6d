"""The others' side of `benchmarks.byte_pairs`: a model of nanoGPT's or nanochat's own code, trained for so many tokens or until a moment.

    python -m benchmarks.byte_pairs_peers NAME FOLDER IDS VOCAB OUT --settings JSON [--until SECONDS] [--seed N]

Model, optimizer and schedule are theirs, read from a checkout (https://github.com/karpathy/nanoGPT and .../nanochat). What their scripts
leave to the user is a field here and was tuned. In their favour: products in bfloat16 also on a CPU, a fused AdamW, and the same rows as
ours, no position of the text twice before all have been seen. ``--until`` is a time as `time.time()` gives it: some seconds of steps tell
the pace, they are undone, and the horizon is set to what fits.
"""

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

CALIBRATION_S = 5.0
RESERVE_S = 2.0
"""For writing the model and leaving Python."""
CAUTION = 0.98
"""Of the steps that should fit."""


@dataclass(frozen=True, kw_only=True)
class NanoGPT:
    """What its train.py takes from its config; shares of the run in place of numbers of steps."""

    layers: int = 6
    heads: int = 6
    width: int = 384
    context: int = 256
    rows: int = 16
    lr: float = 2e-3
    floor: float = 0.1
    """Of the peak rate, at the end of its cosine."""
    warmup: float = 0.05
    weight_decay: float = 0.1
    beta2: float = 0.99
    dropout: float = 0.0
    compiled: bool = True
    tokens: int | None = None
    """The horizon; None: as many as fit."""


@dataclass(frozen=True, kw_only=True)
class Nanochat:
    """What its base_train.py takes from the command line."""

    layers: int = 6
    heads: int = 6
    width: int = 384
    context: int = 256
    rows: int = 16
    scale: float = 0.25
    """Of all its learning rates. Its own rule, the root of a step's share of 2**19 tokens, gives 0.088 at 4,096."""
    matrix_lr: float = 0.02
    embedding_lr: float = 0.3
    unembedding_lr: float = 0.008
    scalar_lr: float = 0.5
    weight_decay: float = 0.0
    warmup_steps: int = 40
    warmdown: float = 0.65
    final: float = 0.05
    compiled: str = "all"
    """none, optimizer (its decorators) or all."""
    tokens: int | None = None


@dataclass(frozen=True)
class Contender:
    """A model of theirs, and how they train it."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[], torch.optim.Optimizer]
    schedule: Callable[[torch.optim.Optimizer, int, int], None]
    """Sets the rates of a step of so many."""
    clip: float | None


def nanogpt_model(folder: str, settings: NanoGPT, vocab: int) -> nn.Module:
    sys.path.insert(0, folder)
    from model import GPT, GPTConfig  # pyright: ignore[reportMissingImports]

    s = settings
    shape = {"block_size": s.context, "vocab_size": vocab, "n_layer": s.layers, "n_head": s.heads, "n_embd": s.width}
    return GPT(GPTConfig(**shape, dropout=s.dropout, bias=False))


def nanogpt(folder: str, settings: NanoGPT, vocab: int) -> Contender:
    """Its GPT, its groups for AdamW (as it builds them for a GPU: fused) and its cosine."""
    model: Any = nanogpt_model(folder, settings, vocab)
    run = torch.compile(model) if settings.compiled else model

    def loss(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run(tokens_BT, targets_BT)[1]

    def schedule(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
        warmup, peak = round(settings.warmup * steps), settings.lr
        if step < warmup:
            lr = peak * (step + 1) / (warmup + 1)
        else:
            share = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
            lr = peak * (settings.floor + share * (1 - settings.floor))
        for group in optimizer.param_groups:
            group["lr"] = lr

    def optimizer() -> torch.optim.Optimizer:
        return model.configure_optimizers(settings.weight_decay, settings.lr, (0.9, settings.beta2), "cuda")

    return Contender(model, loss, optimizer, schedule, clip=1.0)


def nanochat_model(folder: str, settings: Nanochat, vocab: int) -> nn.Module:
    sys.path.insert(0, folder)
    plain = mock.patch("torch.compile", return_value=_unchanged)
    with plain if settings.compiled == "none" else contextlib.nullcontext():
        from nanochat.gpt import GPT, GPTConfig  # pyright: ignore[reportMissingImports]

    s = settings
    config = GPTConfig(
        sequence_len=s.context, vocab_size=vocab, n_layer=s.layers, n_head=s.heads, n_kv_head=s.heads, n_embd=s.width, window_pattern="L",
    )  # fmt: skip
    model = GPT(config)
    model.init_weights()
    return model


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    """In the place of its optimizer's compiling decorators."""
    return function


def nanochat(folder: str, settings: Nanochat, vocab: int) -> Contender:
    """Its GPT with full attention, its Muon and AdamW, its trapezoid, its schedules of momentum and weight decay."""
    os.environ["NANOCHAT_DTYPE"] = "bfloat16"
    s = settings
    model: Any = nanochat_model(folder, s, vocab)
    run = torch.compile(model, dynamic=False) if s.compiled == "all" else model

    def schedule(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
        warmdown = round(s.warmdown * steps)
        left = (steps - step) / warmdown
        rate = (step + 1) / s.warmup_steps if step < s.warmup_steps else 1.0 if left >= 1 else left + (1 - left) * s.final
        late = 0.97 if left >= 1 else 0.90 + (0.97 - 0.90) * left
        momentum = late if step >= 400 else 0.85 + (0.97 - 0.85) * step / 400
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
            if group["kind"] == "muon":
                group["momentum"] = momentum
                group["weight_decay"] = s.weight_decay * 0.5 * (1 + math.cos(math.pi * step / steps))

    def optimizer() -> torch.optim.Optimizer:
        return model.setup_optimizer(
            unembedding_lr=s.unembedding_lr * s.scale,
            embedding_lr=s.embedding_lr * s.scale,
            scalar_lr=s.scalar_lr * s.scale,
            matrix_lr=s.matrix_lr * s.scale,
            weight_decay=s.weight_decay,
        )

    return Contender(model, lambda x, y: run(x, y), optimizer, schedule, clip=None)


PEERS: dict[str, tuple[type, Callable[[str, Any, int], Contender], Callable[[str, Any, int], nn.Module]]] = {
    "nanogpt": (NanoGPT, nanogpt, nanogpt_model),
    "nanochat": (Nanochat, nanochat, nanochat_model),
}


def batches(ids: np.ndarray, context: int, rows: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the text in a new order and from another offset in each epoch, as ours come."""
    random = np.random.default_rng(seed)
    while True:
        first = int(random.integers(context))
        starts = first + context * random.permutation((len(ids) - 1) // context - 1)
        for group in np.split(starts[: len(starts) // rows * rows], len(starts) // rows):
            rows_BS = torch.from_numpy(np.stack([ids[start : start + context + 1] for start in group]).astype(np.int64))
            yield rows_BS[:, :-1].contiguous(), rows_BS[:, 1:].contiguous()


def train(contender: Contender, given: Iterator[tuple[Tensor, Tensor]], *, steps: int, at_most_s: float = math.inf) -> list[float]:
    """Train for ``steps`` steps, or fewer where the seconds are up; the seconds of each step."""
    optimizer, seconds = contender.optimizer(), []
    begun = time.perf_counter()
    contender.model.train()
    while len(seconds) < steps and sum(seconds) < at_most_s:
        loss = contender.loss(*next(given))
        loss.backward()
        if contender.clip is not None:
            nn.utils.clip_grad_norm_(contender.model.parameters(), contender.clip)
        contender.schedule(optimizer, len(seconds), steps)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begun - sum(seconds))
        if len(seconds) % 50 == 0:
            print(f"step {len(seconds)} of {steps}: {loss.item():.4f}", file=sys.stderr)
    return seconds


def steps_until(contender: Contender, given: Iterator[tuple[Tensor, Tensor]], until: float) -> int:
    """How many steps fit: compiled by the first, timed by the next, and all of them undone."""
    before = {name: tensor.clone() for name, tensor in contender.model.state_dict().items()}
    train(contender, given, steps=2)
    pace = train(contender, given, steps=1_000_000, at_most_s=CALIBRATION_S)
    contender.model.load_state_dict(before)
    left, mean = until - RESERVE_S - time.time(), sum(pace) / len(pace)
    if left < mean:
        raise SystemExit("the time was up before the first step: give more minutes, or a quieter machine.")
    return int(CAUTION * left / mean)


def load(name: str, folder: str, out: Path, vocab: int) -> tuple[nn.Module, int]:
    """A finished model and its context, in float32."""
    kind, _, model_of = PEERS[name]
    os.environ["NANOCHAT_DTYPE"] = "float32"
    settings = kind(**json.loads((out / "settings.json").read_text(encoding="utf-8")))
    model = model_of(folder, settings, vocab)
    load_model(model, out / "model.safetensors")
    return model.float().eval(), settings.context


def main() -> None:
    """Train one, write it, and print what it took as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("folder")
    parser.add_argument("ids", type=Path)
    parser.add_argument("vocab", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--settings", default="{}")
    parser.add_argument("--until", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begun = time.perf_counter()
    torch.manual_seed(asked.seed)
    kind, build, _ = PEERS[asked.name]
    settings = kind(**json.loads(asked.settings))
    with contextlib.redirect_stdout(sys.stderr):  # they say how large they are
        contender = build(asked.folder, settings, asked.vocab)
        given = batches(np.fromfile(asked.ids, np.uint16), settings.context, settings.rows, asked.seed)
        per_step = settings.rows * settings.context
        steps = math.ceil(settings.tokens / per_step) if settings.tokens else steps_until(contender, given, asked.until)
        ready = time.perf_counter() - begun
        seconds = train(contender, given, steps=steps)
    asked.out.mkdir(parents=True, exist_ok=True)
    save_model(contender.model, str(asked.out / "model.safetensors"))
    (asked.out / "settings.json").write_text(json.dumps(asdict(settings)), encoding="utf-8")
    later = sorted(seconds[2:] or seconds)
    print(json.dumps({"tokens": steps * per_step, "before_s": ready + sum(seconds[:2]), "tokens_per_s": per_step / later[len(later) // 2]}))


if __name__ == "__main__":
    main()
