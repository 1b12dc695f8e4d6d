"""GPT-2 trained in plain PyTorch, as one writes it without any library of models: what others are measured against. Needs torch alone.

    python -m benchmarks.baseline --text input.txt [--steps 2000]
    python -m benchmarks.baseline --text input.txt --nanogpt FOLDER [--steps 300] [--rounds 15]

The first learns the characters of a text by the recipe that nanoGPT's README gives for a CPU (four layers of 128, rows of 64, twelve to a
step) and prints the loss of the text's last tenth, in nats. The second shows that this file is a fair measure: FOLDER is a checkout of
nanoGPT (https://github.com/karpathy/nanoGPT), whose loss curve and speed it is to follow (`benchmarks/beside_nanogpt.py`).

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", without biases and dropout. AdamW: Loshchilov & Hutter 2019,
arXiv:1711.05101; its cosine: the same, 2017, arXiv:1608.03983.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SHORTEST = 2000
"""Characters of a text, so that its last tenth holds some windows."""


@dataclass(frozen=True)
class Shape:
    """Of the model; as it stands, of nanoGPT's README for a CPU."""

    vocab: int
    context: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128


@dataclass(frozen=True)
class Recipe:
    """Of its training; as it stands, of nanoGPT's README for a CPU."""

    steps: int = 2000
    rows: int = 12
    lr: float = 1e-3
    least_lr: float = 1e-4
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    clip: float = 1.0


class Block(nn.Module):
    """Attention, then a feed-forward; each reads a norm of the stream and adds to it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        D, self.heads = shape.width, shape.heads
        self.attention_norm = nn.LayerNorm(D, bias=False)
        self.qkv = nn.Linear(D, 3 * D, bias=False)
        self.output = nn.Linear(D, D, bias=False)
        self.feed_norm = nn.LayerNorm(D, bias=False)
        self.up = nn.Linear(D, 4 * D, bias=False)
        self.down = nn.Linear(4 * D, D, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        parts = self.qkv(self.attention_norm(x_BTD)).split(D, dim=2)
        q_BHTC, k_BHTC, v_BHTC = (part.view(B, T, self.heads, D // self.heads).transpose(1, 2) for part in parts)
        mixed_BHTC = F.scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, is_causal=True)
        x_BTD = x_BTD + self.output(mixed_BHTC.transpose(1, 2).reshape(B, T, D))
        return x_BTD + self.down(F.gelu(self.up(self.feed_norm(x_BTD))))


class GPT(nn.Module):
    """Embeddings of tokens and positions, blocks, a last norm, and the token embedding again as head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # what writes to the stream starts smaller, by the root of how often that happens
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * shape.layers) if name.endswith(("output.weight", "down.weight")) else 0.02)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean negative log-likelihood of the targets, in nats."""
        x_BTD = self.embedding(tokens_BT) + self.positions(torch.arange(tokens_BT.shape[1], device=tokens_BT.device))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits_BTV = F.linear(self.norm(x_BTD), self.embedding.weight)
        return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())


def adamw(model: nn.Module, recipe: Recipe, *, fused: bool = False) -> torch.optim.AdamW:
    """Matrices and embeddings decay, gains do not."""
    decays = [weight for weight in model.parameters() if weight.ndim >= 2]
    stays = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": decays, "weight_decay": recipe.weight_decay}, {"params": stays, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=fused)


def rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, counted from 0: warm-up, then half a cosine."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / (recipe.warmup + 1)
    progress = min(1.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
    return recipe.least_lr + 0.5 * (1 + math.cos(math.pi * progress)) * (recipe.lr - recipe.least_lr)


def take(loss_of: Callable[[], Tensor], optimizer: torch.optim.Optimizer, recipe: Recipe, step: int) -> float:
    """One step of training; its loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate(recipe, step)
    loss = loss_of()
    loss.backward()
    nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], recipe.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def batch(ids: Tensor, context: int, rows: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows that begin anywhere, and the same one token later."""
    starts = torch.randint(len(ids) - context, (rows,), generator=chance).tolist()
    return torch.stack([ids[at : at + context] for at in starts]), torch.stack([ids[at + 1 : at + 1 + context] for at in starts])


def characters(text: str) -> tuple[Tensor, Tensor, int]:
    """Ids of the first nine tenths and of the rest, and how many characters there are."""
    known = {character: number for number, character in enumerate(sorted(set(text)))}
    ids, cut = torch.tensor([known[character] for character in text]), int(0.9 * len(text))
    return ids[:cut], ids[cut:], len(known)


@torch.no_grad()
def loss_on(loss_of: Callable[[Tensor, Tensor], Tensor], ids: Tensor, context: int) -> float:
    """Nats per token of all of ``ids``, in windows that do not overlap; ``loss_of`` gives the mean of some of them."""
    count = (len(ids) - 1) // context
    x_BT, y_BT = ids[: count * context].view(count, context), ids[1 : count * context + 1].view(count, context)
    return sum(float(loss_of(x, y)) * len(x) for x, y in zip(x_BT.split(128), y_BT.split(128), strict=True)) / count


def train(learned: Tensor, shape: Shape, recipe: Recipe, seed: int) -> GPT:
    """A model that has learned from these tokens."""
    chance = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = GPT(shape)
    optimizer = adamw(model, recipe)
    for step in range(recipe.steps):
        inputs, targets = batch(learned, shape.context, recipe.rows, chance)
        loss = take(lambda inputs=inputs, targets=targets: model(inputs, targets), optimizer, recipe, step)
        if step % 100 == 0 or step + 1 == recipe.steps:
            print(f"step {step:5}: {loss:.4f}", flush=True)
    return model


def positive(word: str) -> int:
    """A count of at least one, from the command line."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no count. Give a number from 1 on.")
    return int(word)


def main(arguments: list[str] | None = None) -> int:
    """Train, or follow nanoGPT; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--steps", type=positive, help="2000; beside nanoGPT 300")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=positive, default=15, help="turns of 20 steps, beside nanoGPT")
    asked = parser.parse_args(arguments)
    if not asked.text.is_file():
        parser.error(f"--text {asked.text}: no such file. Give a text to learn from.")
    text = asked.text.read_text(encoding="utf-8")
    if len(text) < SHORTEST:
        parser.error(f"--text {asked.text}: {len(text)} characters are too few. Give {SHORTEST:,} or more.")
    if asked.nanogpt is None:
        learned, held, vocab = characters(text)
        shape = Shape(vocab)
        model = train(learned, shape, Recipe(asked.steps or Recipe.steps), asked.seed)
        print(f"the last tenth: {loss_on(model, held, shape.context):.4f} nats")
        return 0
    if not (asked.nanogpt / "train.py").is_file():
        parser.error(f"--nanogpt {asked.nanogpt}: no train.py is there. Give a checkout of https://github.com/karpathy/nanoGPT.")
    from benchmarks import beside_nanogpt

    return beside_nanogpt.show(asked.nanogpt, text, steps=asked.steps or 300, rounds=asked.rounds)


if __name__ == "__main__":
    raise SystemExit(main())
