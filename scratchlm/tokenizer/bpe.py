"""Byte-level byte-pair encoding: bytes, and the pairs of pieces that stand together most often, merged one after another.

Sennrich et al. 2016, arXiv:1508.07909; over bytes: Radford et al. 2019 (GPT-2). Trained and run by the `tokenizers` library; ``pairs``
shows in our own words what it does, and ``fast`` names a second engine that encodes alike.
"""

from collections.abc import Iterable

import tokenizers
from tokenizers import models, trainers

from scratchlm.tokenizer import fast, splits
from scratchlm.tokenizer.bytelevel import ByteLevel, byte_letters, byte_level, with_control
from scratchlm.tokenizer.interface import CONTROL

FEWEST = 256 + len(CONTROL)
# A pair seen once says nothing about the language: merging it would only memorise a line of the training text.
FEWEST_SIGHTINGS = 2


def train(texts: Iterable[str], size: int, split: str = splits.DEFAULT) -> ByteLevel:
    """At most ``size`` rows: 256 bytes, merges, control tokens. The same texts in the same order give the same file."""
    inner = byte_level(models.BPE(), split)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(CONTROL),
        min_frequency=FEWEST_SIGHTINGS,
        show_progress=False,
        initial_alphabet=sorted(byte_letters()),
    )
    inner.train_from_iterator(splits.to_learn_from(texts), trainer)
    return ByteLevel(with_control(inner), "bpe")


def read(text: str) -> ByteLevel:
    """The tokenizer a ``tokenizer.json`` describes."""
    return ByteLevel(tokenizers.Tokenizer.from_str(text), "bpe")


def read_fast(text: str) -> ByteLevel | None:
    """The same, encoding batches with gigatoken; None where that is not installed, or not shown to give the same ids."""
    batch = fast.encoder(text)
    return None if batch is None else ByteLevel(tokenizers.Tokenizer.from_str(text), "bpe", batch=batch)
