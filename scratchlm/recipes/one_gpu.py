"""GPT-2's size in a modern shape: what one data-centre GPU trains within a day."""

from scratchlm.model import qwen3
from scratchlm.optim import muon
from scratchlm.optim.schedule import Wsd
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, export, pretrain, sft, tokenize, vocab


def one_gpu() -> Recipe:
    """115 million parameters on 2.5 billion tokens of a folder given with --data: planned, its first steps tried on a CPU."""
    return Recipe(
        name="one_gpu",
        corpus=corpus.Config(minimum_bytes=50_000_000),
        vocab=vocab.Config(size=32_768, max_bytes=2_000_000_000),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=qwen3.Config(vocab=32_768, context=1024, layers=12, width=768, heads=12, kv_heads=4, head_dim=64, hidden=2560, tied=True),
            tokens=2_500_000_000,
            rows=256,
            optimizer=muon.Config(lr=0.02, weight_decay=0.01),
            schedule=Wsd(warmup=0.01, decay=0.4),
            checkpoint_minutes=10,
            validation_steps=250,
            sample_steps=500,
        ),
        sft=sft.Config(epochs=2, optimizer=muon.Config(lr=0.005), schedule=Wsd(decay=0.8)),
        evaluate=evaluate.Config(),
        export=export.Config(),
    )
