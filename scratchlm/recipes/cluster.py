"""LLaMA's sizes in a modern shape, for hundreds of GPUs: 7 and 70 billion weights, each on twenty tokens for every weight.

Which division of labour the machines at hand want, `scratchlm plan cluster_70b --devices 1024xH200` says (benchmarks/results/plans.md).
"""

from scratchlm.model import qwen3
from scratchlm.optim import adamw
from scratchlm.optim.schedule import Cosine
from scratchlm.parallel.layout import Layout
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, export, pretrain, sft, tokenize, vocab

VOCAB = 131_072


def cluster_7b() -> Recipe:
    """6.7 billion parameters on 135 billion tokens of --data, for 128 GPUs or so: planned by formula, not run."""
    model = qwen3.Config(vocab=VOCAB, context=8192, layers=32, width=4096, heads=32, kv_heads=8, head_dim=128, hidden=11_008)
    return on_a_cluster("cluster_7b", model, tokens=135_000_000_000, rows=512, lr=3e-4)


def cluster_70b() -> Recipe:
    """70.6 billion parameters on 1.4 trillion tokens of --data, for 1,024 GPUs or so: planned by formula, not run."""
    model = qwen3.Config(vocab=VOCAB, context=8192, layers=80, width=8192, heads=64, kv_heads=8, head_dim=128, hidden=28_672)
    return on_a_cluster("cluster_70b", model, tokens=1_400_000_000_000, rows=1024, lr=1.5e-4)


def on_a_cluster(name: str, model: qwen3.Config, *, tokens: int, rows: int, lr: float) -> Recipe:
    """What both have in common; rates are those that models of such sizes were published with (Touvron et al. 2023, arXiv:2302.13971)."""
    return Recipe(
        name=name,
        corpus=corpus.Config(minimum_bytes=10_000_000_000),
        vocab=vocab.Config(size=VOCAB, max_bytes=8_000_000_000),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=model.model_copy(update={"rope_theta": 500_000.0}),
            tokens=tokens,
            rows=rows,
            optimizer=adamw.Config(lr=lr),
            schedule=Cosine(warmup=0.01, floor=0.1),
            dtype="bfloat16",
            parallel=Layout(gathered="bfloat16"),
            checkpoint_minutes=30,
            validation_steps=500,
            validation_tokens=2_000_000,
            sample_steps=None,
        ),
        sft=sft.Config(
            epochs=2, optimizer=adamw.Config(lr=lr / 10), dtype="bfloat16", parallel=Layout(gathered="bfloat16"), sample_steps=None
        ),
        evaluate=evaluate.Config(),
        export=export.Config(),
    )
