"""Characters, one after another: the classic first language model, on a text file that you give."""

from scratchlm.model import qwen3
from scratchlm.optim import muon
from scratchlm.optim.schedule import Wsd
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, pretrain, tokenize, vocab


def shakespeare() -> Recipe:
    """A character-level model of a text given with --data: corpus to base, evaluation and report, no chat."""
    return Recipe(
        name="shakespeare",
        corpus=corpus.Config(),
        vocab=vocab.Config(kind="char", size=1024),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=qwen3.Config(vocab=1024, context=256, layers=4, width=192, heads=2, kv_heads=1, head_dim=96, hidden=512),
            tokens=2_000_000,
            optimizer=muon.Config(lr=0.02),
            schedule=Wsd(decay=0.6),
            sample_prompt="ROMEO:",
        ),
        evaluate=evaluate.Config(),
    )
