"""What is each idea worth? One small decoder, changed by one idea at a time, on equal text and tokens; bits per byte of held-out text.

    python -m benchmarks.ablation HOME [--tokens 600_000] [--seeds 3]

HOME is a run that has got as far as ``tokenize``. The ladder begins with what ``minillm`` does and ends with what ``qwen3`` does; each rung
keeps the changes of those below it, and about their number of parameters. Beside the ladder stand a mixture of experts with as many active
parameters, and ``swift``. All of them take the same steps of the same AdamW in float32, with the same seeds, so that pairs differ in the
idea alone: the interval is Student's t over the seeds' differences to the rung below. One learning rate suits no two models equally well:
what is within a hundredth of a bit here may come out otherwise elsewhere.
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from benchmarks import machine
from benchmarks.evidence import T95
from scratchlm.batches.rows import TokenRows
from scratchlm.batches.shards import open_split
from scratchlm.core.tensors import Attend
from scratchlm.evals import bits
from scratchlm.model import architectures, decoder, moe, swift
from scratchlm.model.attention import packed
from scratchlm.model.minillm import sinusoids
from scratchlm.model.rotary import Rotation, rotation
from scratchlm.parallel.precision import Precision
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train.forward import plainly
from scratchlm.train.objectives import NextToken

CONTEXT, LAYERS, WIDTH, HEADS, HEAD_DIM = 256, 3, 128, 4, 32
ROWS = 8
"""Rows of a step."""
LR, WEIGHT_DECAY, WARMUP, CLIP = 2e-3, 0.1, 0.05, 1.0
THETA, EPS = 10000.0, 1e-6
VALIDATION_TOKENS = 40_000


@dataclass(frozen=True)
class Rung:
    """One decoder of the ladder."""

    positions: Literal["sinusoids", "learned", "rotary"] = "sinusoids"
    louder: bool = False
    """Whether embeddings are multiplied by the root of the width, as where sinusoids come from (Vaswani et al. 2017, section 3.4)."""
    norm: Literal["layer", "rms"] = "layer"
    feed: Literal["gelu", "swiglu"] = "gelu"
    hidden: int = 4 * WIDTH
    kv_heads: int = HEADS
    qk_norm: bool = False


LADDER = [
    ("sinusoids, LayerNorm, GELU", start := Rung()),
    ("embeddings as loud as sinusoids, as minillm", replace(start, louder=True)),
    ("learned positions, as gpt2", replace(start, positions="learned")),
    ("rotary positions", turned := replace(start, positions="rotary")),
    ("RMSNorm, no biases", lean := replace(turned, norm="rms")),
    ("SwiGLU, as wide as its third matrix costs", gated := replace(lean, feed="swiglu", hidden=8 * WIDTH // 3)),
    ("two queries share a key, as llama", shared := replace(gated, kv_heads=HEADS // 2, hidden=8 * WIDTH // 3 + 43)),
    ("norms on queries and keys, as qwen3", replace(shared, qk_norm=True)),
]  # fmt: skip
BESIDE = {
    "four of sixteen experts, as moe": lambda vocab: moe.Config(
        vocab=vocab, context=CONTEXT, layers=LAYERS, width=WIDTH, heads=HEADS, kv_heads=HEADS // 2, head_dim=HEAD_DIM,
        experts=16, experts_per_token=4, expert_hidden=96,
    ),
    "swift": lambda vocab: swift.Config(vocab=vocab, context=CONTEXT, layers=LAYERS, width=WIDTH, heads=HEADS // 2, head_dim=2 * HEAD_DIM),
}  # fmt: skip


class Gelu(nn.Module):
    """The feed-forward of the first decoders; a bias where LayerNorm has one."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BTD)))


class Decoder(nn.Module):
    """A rung as a language model."""

    lookback = 0

    def __init__(self, rung: Rung, vocab: int) -> None:
        super().__init__()
        self.rung, self.config = rung, BESIDE["swift"](vocab)  # of the configuration only the context is read
        self.embedding = nn.Embedding(vocab, WIDTH)
        self.position_embedding = nn.Embedding(CONTEXT, WIDTH) if rung.positions == "learned" else None
        self.layers = nn.ModuleList(self._block() for _ in range(LAYERS))
        self.norm = self._norm()
        self.head = nn.Linear(WIDTH, vocab, bias=False)

    def _block(self) -> decoder.Block:
        rung, bias = self.rung, self.rung.norm == "layer"
        attention = decoder.Attention(
            WIDTH, heads=HEADS, kv_heads=rung.kv_heads, head_dim=HEAD_DIM, window=None, qk_norm_eps=EPS if rung.qk_norm else None, bias=bias
        )
        feed: Any = decoder.FeedForward(WIDTH, rung.hidden) if rung.feed == "swiglu" else Gelu(WIDTH, rung.hidden, bias=bias)
        block = decoder.Block(attention, feed, width=WIDTH, norm_eps=EPS, dropout=0.0)
        block.attention_norm, block.feed_norm = self._norm(), self._norm()
        return block

    def _norm(self) -> Any:
        return nn.LayerNorm(WIDTH) if self.rung.norm == "layer" else nn.RMSNorm(WIDTH, eps=EPS)

    def features(self, tokens_BL: Tensor, positions_BT: Tensor, attend: Attend) -> Tensor:
        x_BTD = self.embedding(tokens_BL) * (math.sqrt(WIDTH) if self.rung.louder else 1.0)
        if self.position_embedding is not None:
            x_BTD = x_BTD + self.position_embedding(positions_BT)
        elif self.rung.positions == "sinusoids":
            x_BTD = x_BTD + sinusoids(positions_BT, WIDTH)
        rotate = rotation(positions_BT, HEAD_DIM, theta=THETA)
        if self.rung.positions != "rotary":
            rotate = Rotation(torch.ones_like(rotate.cos_BT1C), torch.zeros_like(rotate.sin_BT1C))
        for layer, block in enumerate(self.layers):
            x_BTD = block(x_BTD, layer, rotate, attend)
        return self.norm(x_BTD)

    def logits(self, x_BTD: Tensor) -> Tensor:
        return self.head(x_BTD)


def built(what: Any, vocab: int, seed: int) -> Any:
    """A rung, or a row of ARCHITECTURES, with fresh weights."""
    if not isinstance(what, Rung):
        return architectures.build(what(vocab), seed=seed)
    made = Decoder(what, vocab)
    decoder.initialise(what, made.named_parameters(), torch.Generator().manual_seed(seed))
    return made


def trained(model: Any, rows: TokenRows, steps: int) -> None:
    """Plain training: the gradient of the mean loss of each step, clipped; a cosine behind a short warm-up."""
    objective = NextToken(model)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95))
    model.train()
    for step in range(steps):
        batch = rows.batch(step)
        inputs = batch.inputs
        given = (inputs.tokens_BT, inputs.positions_BT, packed(inputs.segments_BT))
        x_BTD, zero = (model.features(*given), 0.0) if isinstance(model, Decoder) else plainly(model, *given)
        loss, _ = objective.loss(x_BTD, batch)
        (loss / batch.weight + zero).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1.0, (step + 1) / (WARMUP * steps)) * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        optimizer.step()
        optimizer.zero_grad()


def measured(name: str, home: Path, tokens: int, seed: int) -> tuple[float, int, float]:
    """Bits per byte of the validation split, parameters and seconds."""
    what = (dict(LADDER) | BESIDE)[name]
    tokenizer = tokenizers.load(home / "tokenizer")
    model = built(what, tokenizer.size, seed)
    rows = TokenRows(open_split(home / "shards", "train"), CONTEXT, ROWS, seed)
    begun = time.process_time()
    trained(model, rows, tokens // (ROWS * CONTEXT))
    seconds = time.process_time() - begun
    found = bits.windows(open_split(home / "shards", "validation"), CONTEXT, most_tokens=VALIDATION_TOKENS)
    costs = bits.bits_of_documents(model, found, Precision("float32"), pad=tokenizer.end_of_text, unknown=tokenizer.unknown)
    return bits.bits_per_byte(costs, found).value, architectures.parameters_of(model), seconds


def differing(own: Sequence[float], other: Sequence[float]) -> str:
    """The mean difference with its 95 % interval over seeds."""
    apart = [mine - theirs for mine, theirs in zip(own, other, strict=True)]
    if len(apart) < 2:
        return f"{apart[0]:+.4f}"
    wide = T95[len(apart)] * statistics.stdev(apart) / math.sqrt(len(apart))
    return f"{statistics.mean(apart):+.4f} ± {wide:.4f}"


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--tokens", type=int, default=600_000)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--workers", type=int, default=1, help="models that are trained at the same time")
    asked = parser.parse_args()
    print(f"{machine.where()}, {asked.tokens:,} tokens")
    print(f"{'':44} {'parameters':>10} {'bits per byte':>13}   to the one compared with   s CPU")
    before: list[float] = []
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        for name, what in [*LADDER, *BESIDE.items()]:
            runs = list(pool.map(partial(measured, name, asked.home, asked.tokens), range(asked.seeds)))
            found = [run[0] for run in runs]
            apart = differing(found, before) if before else ""
            seconds = statistics.mean(run[2] for run in runs)
            print(f"{name:44} {runs[0][1]:10,} {statistics.mean(found):13.4f}   {apart:24} {seconds:7.0f}", flush=True)
            if isinstance(what, Rung):
                before = found  # what stands beside the ladder is compared with its end


if __name__ == "__main__":
    main()
