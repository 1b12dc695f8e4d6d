"""The minimal model that every tutorial starts from, with the tutorial's numbers."""

from scratchlm.model import minillm as architecture
from scratchlm.optim import adamw
from scratchlm.optim.schedule import Cosine
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, pretrain, tokenize, vocab


def minillm() -> Recipe:
    """MiniLLM as tutorials have it (50,257 pieces, 288 wide, 6 layers, 6 heads, 256 positions) on a text given with --data."""
    return Recipe(
        name="minillm",
        corpus=corpus.Config(),
        vocab=vocab.Config(size=50_257),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=architecture.Config(vocab=50_257, width=288, layers=6, heads=6, context=256),
            tokens=500_000,
            rows=32,
            optimizer=adamw.Config(lr=3e-4),
            schedule=Cosine(),
            validation_steps=20,
            sample_steps=20,
        ),
        evaluate=evaluate.Config(test_tokens=40_000),
    )
