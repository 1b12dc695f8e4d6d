"""A billion weights: what the eight GPUs of one machine train within a day."""

from scratchlm.model import qwen3
from scratchlm.optim import muon
from scratchlm.optim.schedule import Wsd
from scratchlm.parallel.layout import Layout
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, export, pretrain, sft, tokenize, vocab


def node() -> Recipe:
    """1.1 billion parameters on 22 billion tokens of --data, for 8 GPUs of one machine: planned by formula, not run."""
    return Recipe(
        name="node",
        corpus=corpus.Config(minimum_bytes=1_000_000_000),
        vocab=vocab.Config(size=65_536, max_bytes=4_000_000_000),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=qwen3.Config(
                vocab=65_536, context=4096, layers=20, width=2048, heads=16, kv_heads=8, head_dim=128, hidden=5632, tied=True
            ),
            tokens=22_000_000_000,
            rows=512,
            optimizer=muon.Config(lr=0.015, weight_decay=0.01),
            schedule=Wsd(warmup=0.01, decay=0.4),
            dtype="bfloat16",
            parallel=Layout(gathered="bfloat16"),
            checkpoint_minutes=15,
            validation_steps=250,
            sample_steps=500,
        ),
        sft=sft.Config(epochs=2, optimizer=muon.Config(lr=0.005), schedule=Wsd(decay=0.8)),
        evaluate=evaluate.Config(),
        export=export.Config(),
    )
