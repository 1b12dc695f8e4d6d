"""The unigram model: the likeliest spelling by trying all, expectations by adding up all, and what training promises."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.tokenizer import splits, unigram, unigram_train
from scratchlm.tokenizer.bytelevel import ALPHABET, byte_level, spelled
from scratchlm.tokenizer.interface import CONTROL, FILE
from scratchlm.tokenizer.pairs import BYTES, count_words

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=60)
WORDS = {b"abab": 3, b"ababab": 2, b"cab": 4, b"b": 5, b"abc": 1}
PIECES = st.dictionaries(st.text("abc", min_size=2, max_size=4), st.floats(-20, 0), max_size=12)
SINGLE = st.fixed_dictionaries({letter: st.floats(-20, 0) for letter in "abc"})


def spellings(word: str, scores: Mapping[str, float]) -> Iterator[list[str]]:
    """All of them."""
    if not word:
        yield []
    for end in range(1, len(word) + 1):
        if word[:end] in scores:
            yield from ([word[:end], *rest] for rest in spellings(word[end:], scores))


def total(pieces: list[str], scores: Mapping[str, float]) -> float:
    return sum(scores[piece] for piece in pieces)


# Spelling


@LAW
@given(word=st.text("abc", max_size=9), longer=PIECES, single=SINGLE)
def test_no_spelling_is_likelier_than_the_one_taken(word: str, longer: dict[str, float], single: dict[str, float]):
    scores = longer | single
    found = unigram.likeliest(word, scores)
    assert "".join(found) == word
    best = max(total(pieces, scores) for pieces in spellings(word, scores))
    assert math.isclose(total(found, scores), best, abs_tol=1e-9)  # sums in another order


@LAW
@given(word=st.text("abc", min_size=1, max_size=30), longer=PIECES, single=SINGLE)
def test_our_spelling_is_the_engines_on_any_vocabulary(word: str, longer: dict[str, float], single: dict[str, float]):
    scores = longer | single
    model = tokenizers.models.Unigram(list(scores.items()))
    assert unigram.likeliest(word, scores) == [token.value for token in model.tokenize(word)]


def test_of_equal_spellings_the_one_with_the_longest_last_piece_is_taken():
    scores = {"a": -1.0, "b": -1.0, "c": -1.0, "ab": -1.0, "bc": -1.0}
    assert unigram.likeliest("abc", scores) == ["a", "bc"]


@pytest.mark.parametrize("split", splits.SPLITS)
def test_a_trained_tokenizer_spells_as_the_algorithm_says(split: str, real_data: Path, tmp_path: Path):
    text = (real_data / "tinyshakespeare" / "input.txt").read_text()[:40_000]
    tokenizer = unigram.train([text], 1000, split)
    tokenizer.save(tmp_path)
    vocab = json.loads((tmp_path / FILE).read_text())["model"]["vocab"]
    scores, ids = dict(vocab), {name: id for id, (name, _) in enumerate(vocab)}
    words = [spelled(word.encode()) for word in splits.words(text, split)]
    spelling = {word: unigram.likeliest(word, scores) for word in set(words)}
    assert tokenizer.encode(text) == [ids[piece] for word in words for piece in spelling[word]]


# Learning


def lattice(words: Mapping[bytes, int]) -> tuple[list[bytes], unigram_train.Lattice]:
    """The seeds of ``words``, and their lattice."""
    flat_N, made, _ = unigram_train.seeded(words, 1000)
    text = flat_N.tobytes()
    places = zip(made.place_P.tolist(), made.sizes_P.tolist(), strict=True)
    return [BYTES[at] if at < 256 else text[place : place + size] for at, (place, size) in enumerate(places)], made


def test_the_seeds_are_the_stretches_seen_twice():
    pieces, _ = lattice(WORDS)
    seen: Counter[bytes] = Counter()
    for word, times in WORDS.items():
        for start in range(len(word)):
            seen.update({word[start:end]: 0 for end in range(start + 2, len(word) + 1)})
            for end in range(start + 2, len(word) + 1):
                seen[word[start:end]] += times
    assert sorted(pieces[256:]) == sorted(piece for piece, times in seen.items() if times >= 2)
    assert pieces[:256] == list(BYTES)


def test_expectations_are_those_of_adding_up_all_spellings():
    pieces, made = lattice(WORDS)
    scores_P = unigram_train.shares(np.arange(1.0, len(pieces) + 1))
    counts_P, likelihood = unigram_train.expected(unigram_train.paths_of(made), scores_P)
    scores = {piece.decode("latin-1"): float(score) for piece, score in zip(pieces, scores_P, strict=True)}
    expected: Counter[str] = Counter()
    whole = 0.0
    for word, times in WORDS.items():
        ways = [(way, math.exp(total(way, scores))) for way in spellings(word.decode("latin-1"), scores)]
        chance = sum(each for _, each in ways)
        whole += times * math.log(chance)
        for way, each in ways:
            for piece in way:
                expected[piece] += times * each / chance  # pyright: ignore[reportArgumentType]
    assert counts_P == pytest.approx([expected[piece.decode("latin-1")] for piece in pieces], rel=1e-9, abs=1e-12)
    assert likelihood == pytest.approx(whole, rel=1e-9)


def test_each_round_makes_the_words_likelier():
    _, made = lattice(WORDS)
    paths, counts_P, before = unigram_train.paths_of(made), np.ones(len(made.sizes_P)), -math.inf
    for _ in range(8):
        counts_P, likelihood = unigram_train.expected(paths, np.log(counts_P / counts_P.sum() + 1e-300))
        assert likelihood > before
        before = likelihood


def test_what_a_piece_is_worth_is_measured_against_the_best_spelling_by_others():
    pieces, made = lattice(WORDS)
    scores_P = unigram_train.shares(np.arange(1.0, len(pieces) + 1))
    found = dict(zip(pieces, unigram_train.otherwise(made, scores_P).tolist(), strict=True))
    scores = {piece.decode("latin-1"): float(score) for piece, score in zip(pieces, scores_P, strict=True)}
    for piece in pieces[256:]:
        name = piece.decode("latin-1")
        others = {other: score for other, score in scores.items() if other != name}
        assert found[piece] == pytest.approx(max(total(way, others) for way in spellings(name, others)))
    assert found[b"a"] == -math.inf


def test_pieces_are_the_bytes_and_then_the_likeliest():
    learned = unigram_train.learn(WORDS, 258)
    assert [piece for piece, _ in learned[:256]] == list(BYTES)
    assert 256 < len(learned) <= 258
    assert [score for _, score in learned[256:]] == sorted((score for _, score in learned[256:]), reverse=True)
    assert all(-30 < score < 0 for _, score in learned)


def test_the_order_of_the_words_does_not_matter():
    assert unigram_train.learn(WORDS, 260) == unigram_train.learn(dict(reversed(WORDS.items())), 260)


def test_a_word_that_is_too_long_is_learned_from_in_parts():
    longest = unigram_train.LONGEST_WORD
    cut = {b"ab" * (longest // 2): 2 * 3, b"ab": 3}
    assert unigram_train.learn({b"ab" * (longest + 1): 3}, 400) == unigram_train.learn(cut, 400)


def test_it_learns_from_the_most_frequent_words_that_memory_holds_and_says_how_much_that_is(monkeypatch: pytest.MonkeyPatch):
    words = {b"aaaa": 9, b"bb": 5, b"cccc": 5, b"d": 1}
    assert unigram_train.to_learn_from(words, most=7) == {b"aaaa": 9, b"bb": 5}
    assert unigram_train.to_learn_from(words, most=11) == words
    texts = ["the cat"] * 8 + ["a hat"]
    assert unigram.train(texts, 300).learned_share == 1.0
    monkeypatch.setattr(unigram_train, "to_learn_from", lambda words: {word: times for word, times in words.items() if times == 8})
    assert unigram.train(texts, 300).learned_share == pytest.approx(8 * 7 / (8 * 7 + 5))


def test_it_shortens_text_at_least_as_well_as_the_librarys_trainer(real_data: Path):
    text = (real_data / "tinyshakespeare" / "input.txt").read_text()[:300_000]
    tokenizer = unigram.train([text], 1000 + len(CONTROL))
    theirs = byte_level(tokenizers.models.Unigram())
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=1000, show_progress=False, initial_alphabet=ALPHABET)
    theirs.train_from_iterator([text], trainer)
    assert tokenizer.size == 1003
    assert len(tokenizer.encode(text)) <= len(theirs.encode(text).ids)


def test_it_learns_from_words_not_over_their_borders():
    learned = dict(unigram_train.learn(count_words(["the cat sat. " * 30]), 300))
    assert b" cat" in learned
    assert not any(b" " in piece[1:] for piece in learned)
