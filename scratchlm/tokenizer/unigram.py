"""The unigram model: every piece has a probability, and of all ways to spell a word the likeliest is taken.

Kudo 2018, arXiv:1804.10959. Learned by ``unigram_train``, our own, because the trainer of the `tokenizers` library gives other scores in
every run; run by that library. Every byte is a piece, so nothing is unknown: what SentencePiece calls byte fallback is here the rule.
"""

from collections.abc import Iterable, Iterator, Mapping

import tokenizers
from tokenizers import models

from scratchlm.tokenizer import splits, unigram_train
from scratchlm.tokenizer.bytelevel import ByteLevel, byte_level, spelled, with_control
from scratchlm.tokenizer.interface import CONTROL, well_formed
from scratchlm.tokenizer.pairs import count_words

FEWEST = 256 + len(CONTROL)


def train(texts: Iterable[str], size: int, split: str = splits.DEFAULT) -> ByteLevel:
    """At most ``size`` rows: 256 bytes, longer pieces, the likeliest first, control tokens."""
    whole = 0

    def counted() -> Iterator[str]:
        nonlocal whole
        for text in map(well_formed, texts):
            whole += len(text.encode())
            yield text

    words = unigram_train.to_learn_from(count_words(counted(), split))
    vocab = [(spelled(piece), score) for piece, score in unigram_train.learn(words, size - len(CONTROL))]
    share = sum(len(word) * times for word, times in words.items()) / whole if whole else 1.0
    return ByteLevel(with_control(byte_level(models.Unigram(vocab), split)), "unigram", learned_share=share)


def read(text: str) -> ByteLevel:
    """The tokenizer a ``tokenizer.json`` of this kind describes."""
    return ByteLevel(tokenizers.Tokenizer.from_str(text), "unigram")


def likeliest(word: str, scores: Mapping[str, float]) -> list[str]:
    """The pieces of ``word`` whose log-probabilities add up to most; every character of it must be a piece.

    Viterbi 1967: the best way to spell the first n characters ends with some piece, and what stands before that is spelled in its best way.
    Of equally good ways the one whose last piece is longest.
    """
    longest = max(map(len, scores))
    best = [0.0]
    begins = [0]
    for end in range(1, len(word) + 1):
        starts = (start for start in range(max(0, end - longest), end) if word[start:end] in scores)
        start = max(starts, key=lambda start: best[start] + scores[word[start:end]])  # the first of equals
        best.append(best[start] + scores[word[start:end]])
        begins.append(start)
    found: list[str] = []
    end = len(word)
    while end:
        found.append(word[begins[end] : end])
        end = begins[end]
    return found[::-1]
