"""Word pieces: a word is spelled with the longest piece that begins it, then the longest that goes on, marked ``##``, to its end.

Schuster & Nakajima 2012 (voice search in Japanese and Korean); the way of spelling is that of BERT, Devlin et al. 2018, arXiv:1810.04805.
Trained and run by the `tokenizers` library, which learns the pieces by counting pairs as byte pairs do, not by the paper's likelihood.

Where BERT loses text this keeps it: pieces are made of bytes and every byte is one, inside a word and at its beginning, so there is no
``[UNK]``; capitals, accents and blanks stay; ``#`` is always a word of its own, so that no text looks like the mark; and a word longer than
``LONGEST`` bytes is cut into several instead of being given up.
"""

from collections.abc import Collection, Iterable

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from scratchlm.tokenizer import splits
from scratchlm.tokenizer.bpe import FEWEST_SIGHTINGS
from scratchlm.tokenizer.bytelevel import ALPHABET, ByteLevel, byte_level, with_control
from scratchlm.tokenizer.interface import CONTROL

CONTINUES = "##"
INSIDE = [CONTINUES + letter for letter in ALPHABET if letter != "#"]
LONGEST = 100
"""Characters (here: bytes) of a word at most, as in BERT. Looking for the longest piece takes time that grows with their square."""
FEWEST = len(ALPHABET) + len(INSIDE) + len(CONTROL)


def train(texts: Iterable[str], size: int, split: str = splits.DEFAULT) -> ByteLevel:
    """At most ``size`` rows: bytes at the beginning of a word and inside it, longer pieces, control tokens."""
    learner = _engine(models.WordPiece(), split)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size - len(CONTROL),
        min_frequency=FEWEST_SIGHTINGS,
        show_progress=False,
        initial_alphabet=ALPHABET,
        # Left to itself the trainer numbers these as it meets them, in another order in every run, and numbers decide between equals.
        special_tokens=INSIDE,
    )
    learner.train_from_iterator(splits.to_learn_from(texts), trainer)
    id_of = learner.get_vocab()
    longer = sorted(id_of.keys() - {*ALPHABET, *INSIDE}, key=id_of.__getitem__)
    vocab = {piece: id for id, piece in enumerate([*ALPHABET, *INSIDE, *longer])}
    model = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=LONGEST, continuing_subword_prefix=CONTINUES)
    return ByteLevel(with_control(_engine(model, split)), "wordpiece", prefix=CONTINUES)


def read(text: str) -> ByteLevel:
    """The tokenizer a ``tokenizer.json`` of this kind describes."""
    return ByteLevel(tokenizers.Tokenizer.from_str(text), "wordpiece", prefix=CONTINUES)


def longest_first(word: str, pieces: Collection[str], *, longest: int = LONGEST) -> list[str] | None:
    """BERT's way to spell ``word``; None, shown as ``[UNK]``, where no piece goes on or the word is longer than ``longest``."""
    found: list[str] = []
    start = 0
    while start < len(word) <= longest:
        mark = CONTINUES if start else ""
        end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in pieces), None)
        if end is None:
            return None
        found.append(mark + word[start:end])
        start = end
    return found if start == len(word) else None


def _engine(model: models.Model, split: str) -> tokenizers.Tokenizer:
    """``#`` and blanks beside it are cut apart, then long words; other runtimes take the mark off before they read the letters."""
    alone, short = Regex("#"), Regex(rf"[\s\S]{{1,{LONGEST}}}")
    inner = byte_level(model, split, pre_tokenizers.Split(alone, "isolated"), pre_tokenizers.Split(short, "isolated"))
    unmarked = decoders.Replace(Regex(rf"\A{CONTINUES}"), "")
    inner.decoder = decoders.Sequence([unmarked, decoders.ByteLevel()])  # pyright: ignore[reportAttributeAccessIssue]
    return inner
