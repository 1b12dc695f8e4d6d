"""Our own byte pairs: what is learned and how words are spelled, by hand, against the engine, and GPT-2's tables against tiktoken."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.tokenizer import bpe, pairs, splits
from scratchlm.tokenizer.bytelevel import ByteLevel, byte_letters, byte_level, read_back, with_control
from scratchlm.tokenizer.interface import CONTROL

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=80)
FEW = st.lists(st.text("ab- ", max_size=40), min_size=1, max_size=8)
"""So few letters that counts tie, runs overlap and pieces come about in two ways."""
ANY = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=6)
every_split = pytest.mark.parametrize("split", splits.SPLITS)


def merges_of(tokenizer: ByteLevel, path: Path) -> list[pairs.Merge]:
    """As they stand in the file."""
    tokenizer.save(path)
    found = json.loads((path / "tokenizer.json").read_text())["model"]["merges"]
    return [(read_back(left), read_back(right)) for left, right in found]


def engine(texts: Sequence[str], size: int, split: str, fewest: int) -> ByteLevel:
    """The library's own training, with the fewest sightings of a pair as an argument."""
    inner = byte_level(tokenizers.models.BPE(), split)
    alphabet = sorted(byte_letters())
    inner.train_from_iterator(
        texts,
        tokenizers.trainers.BpeTrainer(vocab_size=size, min_frequency=fewest, show_progress=False, initial_alphabet=alphabet),
    )
    return ByteLevel(with_control(inner), "bpe")


def read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def sample(real_data: Path) -> list[str]:
    """A little of every kind of text at hand."""
    novels = [read(path)[:30_000] for path in sorted((real_data / "novels").glob("*.txt"))[::8]]
    peps = [read(path) for path in sorted((real_data / "peps").glob("*.rst"))[::100]]
    return [*novels, *peps, read(real_data / "tinyshakespeare" / "input.txt")[:60_000]]


# By hand


def test_the_most_frequent_pair_is_merged_first():
    words = {b"low": 5, b"lowest": 2, b"newer": 6}
    # we 8 times (2 in lowest, 6 in newer) and lo 7 times; then n|e, e|we and we|r 6 times each, of which e has the smallest number.
    assert pairs.learn(words, 256 + 3) == [(b"w", b"e"), (b"l", b"o"), (b"e", b"we")]


def test_of_equally_frequent_pairs_the_smaller_numbers_win():
    words = {b"zy": 3, b"ab": 3, b"ac": 3, b"! ": 3}
    # A blank is shown as a letter behind all printable ones, "!" is the first of them.
    assert pairs.learn(words, 256 + 4) == [(b"!", b" "), (b"a", b"b"), (b"a", b"c"), (b"z", b"y")]
    assert pairs.BYTES.index(b"!") == 0
    assert pairs.BYTES.index(b" ") > pairs.BYTES.index(b"z")


def test_a_run_counts_twice_and_is_merged_from_the_left():
    assert pairs.merged([7, 7, 7, 8], (7, 7), 9) == ([9, 7, 8], [(7, 7)], [(9, 7)])
    assert pairs.learn({b"aaa": 1}, 258) == [(b"a", b"a")]  # aa is counted twice, aa + a once only
    assert pairs.learn({b"aaa": 1}, 258, fewest=1) == [(b"a", b"a"), (b"aa", b"a")]


def test_what_is_gone_and_what_came_are_the_neighbours():
    assert pairs.merged([1, 2, 3, 1, 2], (1, 2), 9) == ([9, 3, 9], [(2, 3), (3, 1)], [(9, 3), (3, 9)])
    assert pairs.merged([1, 2, 1, 2], (1, 2), 9) == ([9, 9], [(2, 1), (9, 1)], [(9, 1), (9, 9)])


def test_a_pair_seen_too_rarely_ends_the_training():
    assert pairs.learn({b"abc": 2, b"xy": 1}, 999) == [(b"a", b"b"), (b"ab", b"c")]
    assert pairs.learn({b"abc": 2, b"xy": 1}, 999, fewest=3) == []
    assert pairs.learn({}, 999) == []


def test_words_are_counted_over_all_texts():
    assert pairs.count_words(["so so", "so"]) == {b"so": 2, b" so": 1}


def test_merges_are_applied_in_the_order_in_which_they_were_learned():
    speller = pairs.Speller([(b"b", b"c"), (b"a", b"b")])
    assert [speller.ids[piece] for piece in (b"a", b"bc")] == speller.spell(b"abc")  # a + b could not have been before b + c
    assert speller.spell(b"") == []
    assert speller.spell(b"ab") == [257]


# Against the engine


@every_split
def test_learning_is_the_engines_merge_for_merge_on_real_text(split: str, real_data: Path, tmp_path: Path):
    texts = sample(real_data)
    found = pairs.learn(pairs.count_words(texts, split), 1500)
    assert len(found) == 1500 - 256
    assert found == merges_of(bpe.train(texts, 1500 + len(CONTROL), split), tmp_path)


@every_split
def test_spelling_is_the_engines_id_for_id_on_real_text(split: str, real_data: Path, tmp_path: Path):
    texts = sample(real_data)
    tokenizer = bpe.train(texts[::2], 1500, split)
    speller = pairs.Speller(merges_of(tokenizer, tmp_path), split=split)
    assert [speller.encode(text) for text in texts] == tokenizer.encode_batch(texts).lists()


@LAW
@given(texts=st.one_of(FEW, ANY), split=st.sampled_from(sorted(splits.SPLITS)), fewest=st.integers(0, 3))
def test_learning_and_spelling_are_the_engines_on_any_text(
    texts: list[str], split: str, fewest: int, tmp_path_factory: pytest.TempPathFactory
):
    tokenizer = engine(texts, 256 + 40, split, fewest)
    found = pairs.learn(pairs.count_words(texts, split), 256 + 40, fewest=fewest)
    assert found == merges_of(tokenizer, tmp_path_factory.mktemp("engine"))
    speller = pairs.Speller(found, split=split)
    assert [speller.encode(text) for text in texts] == [tokenizer.encode(text) for text in texts]


@LAW
@given(word=st.text("ab- ", max_size=200).map(str.encode), learned=FEW)
def test_the_heap_spells_as_the_plain_loop_does(word: bytes, learned: list[str]):
    speller = pairs.Speller(pairs.learn(pairs.count_words(learned), 256 + 40, fewest=1))
    ids = [speller.ids[bytes([byte])] for byte in word]
    assert speller.by_heap(ids) == speller.by_loop(ids) == speller.spell(word)
    pieces = {id: piece for piece, id in speller.ids.items()}
    assert b"".join(pieces[id] for id in speller.spell(word)) == word


# GPT-2's own tables


def gpt2_merges(real_data: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges as OpenAI published them, in letters."""
    vocab = json.loads(read(real_data / "gpt2_bpe" / "encoder.json"))
    lines = read(real_data / "gpt2_bpe" / "vocab.bpe").splitlines()[1:]
    return vocab, [(left, right) for left, right in (line.split(" ") for line in lines if line)]


def novels_peps_and_plays(real_data: Path) -> Iterator[str]:
    folders = [real_data / name for name in ("novels", "peps", "tinyshakespeare")]
    yield from (read(path) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


def both(real_data: Path):
    """Our tokenizer of GPT-2's tables, its merges, and tiktoken's made of the same files."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    vocab, merges = gpt2_merges(real_data)
    ranks = {read_back(name): id for name, id in vocab.items() if name != CONTROL[0]}
    theirs = tiktoken.Encoding("gpt2", pat_str=splits.SPLITS["gpt2"], mergeable_ranks=ranks, special_tokens={CONTROL[0]: 50256})
    ours = ByteLevel(with_control(byte_level(tokenizers.models.BPE(vocab=vocab, merges=merges), "gpt2")), "bpe")
    own = pairs.Speller([(read_back(left), read_back(right)) for left, right in merges], ids=ranks, split="gpt2")
    return ours, own, theirs


def test_gpt2s_tables_give_tiktokens_ids(real_data: Path):
    ours, own, theirs = both(real_data)
    for text in sample(real_data)[::3]:
        expected = theirs.encode_ordinary(text)
        assert ours.encode(text) == own.encode(text) == expected
    assert ours.encode("Hello world") == [15496, 995]
    assert ours.encode(CONTROL[0]) == theirs.encode_ordinary(CONTROL[0]) != [50256]


@pytest.mark.soak
def test_gpt2s_tables_give_tiktokens_ids_on_all_real_text(real_data: Path):
    ours, own, theirs = both(real_data)
    for text in novels_peps_and_plays(real_data):
        expected = theirs.encode_ordinary(text)
        assert ours.encode(text) == expected
        assert own.encode(text) == expected


def test_of_too_many_words_the_rarest_so_far_are_forgotten():
    texts = ["the the the cat", "the cat", "hat"]
    assert pairs.count_words(texts) == {b"the": 2, b" the": 2, b" cat": 2, b"hat": 1}
    assert pairs.count_words(texts, most=3) == {b"the": 2, b" the": 2, b" cat": 2}
    assert len(pairs.count_words([" ".join(f"w{chr(97 + n)}" for n in range(20))], most=5)) == 0
