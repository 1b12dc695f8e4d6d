"""Characters, one after another: the classic first language model, on a text file that you give."""

from scratchlm.model import swift
from scratchlm.optim import muon
from scratchlm.optim.schedule import Wsd
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, pretrain, tokenize, vocab


def shakespeare() -> Recipe:
    """A character-level model of a text given with --data, within a minute: corpus to base, evaluation and report, no chat."""
    return Recipe(
        name="shakespeare",
        corpus=corpus.Config(),
        vocab=vocab.Config(kind="char", size=1024),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=swift.Config(vocab=1024, context=64, layers=2, width=128, heads=2, head_dim=64, trigrams=16_384),
            tokens=1_638_400,
            rows=64,
            optimizer=muon.Config(lr=0.04, embedding_lr=0.1, head_lr=0.02),
            schedule=Wsd(decay=0.6),
            clip=None,
            sample_prompt="ROMEO:",
        ),
        evaluate=evaluate.Config(),
    )
