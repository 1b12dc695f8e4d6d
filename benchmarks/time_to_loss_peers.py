"""The others' side of `benchmarks.time_to_loss`: each learns the characters of a text, is measured on its last tenth, and says the loss.

    python -m benchmarks.time_to_loss_peers NAME TEXT [--steps 2000] [--seed 0]

All follow the recipe that nanoGPT's README gives for a CPU (`benchmarks/baseline.py`): four layers of 128, rows of 64, twelve to a step.
The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks import baseline, trainer
from benchmarks.baseline import Recipe, Shape

Loss = Callable[[Tensor, Tensor], Tensor]
"""Tokens and targets -> mean nats."""


def plain(learned: Tensor, shape: Shape, recipe: Recipe, seed: int) -> Loss:
    """The loop of ``benchmarks/baseline.py``."""
    return baseline.train(learned, shape, recipe, seed)


def transformers_trainer(learned: Tensor, shape: Shape, recipe: Recipe, seed: int) -> Loss:
    """The Trainer of transformers, with its GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocab, n_positions=shape.context, n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(config)
    with tempfile.TemporaryDirectory() as folder:
        trainer.learn(model, trainer.Rows(learned, shape.context), recipe, seed, Path(folder))
    model.eval()
    return lambda x_BT, y_BT: F.cross_entropy(model(input_ids=x_BT).logits.flatten(0, 1), y_BT.flatten())


LEARNERS: dict[str, Callable[[Tensor, Shape, Recipe, int], Loss]] = {
    "plain PyTorch": plain,
    "transformers Trainer": transformers_trainer,
}


def main() -> None:
    """Learn, measure, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=LEARNERS)
    parser.add_argument("text", type=Path)
    parser.add_argument("--steps", type=baseline.positive, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    learned, held, vocab = baseline.characters(asked.text.read_text(encoding="utf-8"))
    shape = Shape(vocab)
    loss_of = LEARNERS[asked.name](learned, shape, Recipe(asked.steps), asked.seed)
    begun = time.perf_counter()
    loss = baseline.loss_on(loss_of, held, shape.context)
    print(json.dumps({"loss": loss, "evaluation": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
