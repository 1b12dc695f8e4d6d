"""A small assistant for Python's library, from text to chat, on two CPU cores within ten minutes."""

from scratchlm.model import qwen3
from scratchlm.optim import adamw, muon
from scratchlm.optim.schedule import Cosine, Wsd
from scratchlm.recipes.recipe import Recipe
from scratchlm.stages import corpus, evaluate, export, prefer, pretrain, reinforce, sft, tokenize, vocab


def laptop() -> Recipe:
    """The whole road on the documentation of the installed Python (or --data FOLDER): minutes on two CPU cores."""
    return Recipe(
        name="laptop",
        corpus=corpus.Config(),
        vocab=vocab.Config(size=4096),
        tokenize=tokenize.Config(),
        pretrain=pretrain.Config(
            model=qwen3.Config(vocab=4096, context=256, layers=3, width=192, heads=4, kv_heads=2, head_dim=64, hidden=512),
            tokens=3_500_000,
            length_warmup=0.4,
            optimizer=muon.Config(lr=0.01, embedding_lr=0.08, head_lr=0.01),
            schedule=Wsd(decay=0.6),
        ),
        sft=sft.Config(epochs=4, rows=8, optimizer=muon.Config(lr=0.02), schedule=Wsd(decay=0.8)),
        prefer=prefer.Config(optimizer=adamw.Config(lr=5e-5, weight_decay=0.0)),
        reinforce=reinforce.Config(
            task="addition",
            steps=50,
            max_tokens=48,
            optimizer=adamw.Config(lr=1e-4, weight_decay=0.0),
            schedule=Cosine(warmup=0.1),
        ),
        evaluate=evaluate.Config(),
        export=export.Config(),
    )
