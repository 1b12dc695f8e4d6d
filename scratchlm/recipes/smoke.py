"""Every stage once, with numbers so small that only the road is tested."""

from scratchlm.evals.mixture import PAIRS, SIZES
from scratchlm.model import qwen3
from scratchlm.optim import adamw, muon
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, export, prefer, pretrain, reinforce, sft, tokenize, vocab


def smoke() -> Recipe:
    """Every stage of the road in under a minute: a test of the machinery, not of learning."""
    return Recipe(
        name="smoke",
        corpus=corpus.Config(packages=(), minimum_bytes=5_000),
        vocab=vocab.Config(size=512),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=qwen3.Config(vocab=512, context=64, layers=2, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64),
            tokens=10_000,
            rows=4,
            optimizer=muon.Config(),
            checkpoint_steps=10,
            validation_steps=20,
            validation_tokens=2_000,
            sample_steps=20,
        ),
        sft=sft.Config(epochs=1, rows=4, facts=20, sizes=dict.fromkeys(SIZES, 20), optimizer=muon.Config(lr=0.01), checkpoint_steps=5),
        prefer=prefer.Config(sizes=dict.fromkeys(PAIRS, 8), pairs_per_step=4, optimizer=adamw.Config(lr=1e-4), checkpoint_steps=2),
        reinforce=reinforce.Config(steps=6, prompts=2, group=2, max_tokens=12, optimizer=adamw.Config(lr=1e-4), checkpoint_steps=2),
        evaluate=evaluate.Config(examples=8, pairs=4, test_tokens=4_000, baseline_bytes=200_000, max_tokens=24),
        export=export.Config(),
    )
