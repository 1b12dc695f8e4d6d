"""Word pieces: BERT's algorithm by hand, the engine's spelling, and text that BERT would lose."""

import json
import re
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.tokenizer import splits, wordpiece
from scratchlm.tokenizer.bytelevel import ALPHABET, spelled
from scratchlm.tokenizer.interface import CONTROL, FILE, Tokenizer
from scratchlm.tokenizer.wordpiece import CONTINUES, FEWEST, INSIDE, LONGEST, longest_first

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=80)
SHORT = st.sets(st.text("abc", min_size=1, max_size=4))
# Vocabulary and cases of `tokenization_test.py` in Google's BERT, and more of the same kind.
BERT = ["want", "##want", "##ed", "wa", "un", "runn", "##ing", "##n", "a", "##a", "##ab", "abc", "##bcd", "##c"]
TABLE = {
    "": [],
    "unwanted": ["un", "##want", "##ed"],
    "running": ["runn", "##ing"],
    "unwantedX": None,  # one character too many loses the whole word
    "want": ["want"],  # the longest, not wa + ...
    "wanting": ["want", "##ing"],
    "wan": ["wa", "##n"],
    "abcd": None,  # abc is taken, though a + ##bcd would have gone on: it never looks back
    "abcc": ["abc", "##c"],
    "aaab": ["a", "##a", "##ab"],
    "ing": None,  # stands inside a word only
    "a" * 100: ["a"] + ["##a"] * 99,
    "a" * 101: None,  # too long
}
TEXTS = ["The unwanted runner wanted to run, unwanting; running ran.\n", "naïve #hash ### C# ##ed\n"] * 6
MADE = wordpiece.train(TEXTS, 600)


@pytest.mark.parametrize("word", TABLE)
def test_berts_algorithm_by_hand(word: str):
    assert longest_first(word, set(BERT)) == TABLE[word]


def test_the_engine_spells_the_same_table():
    vocab = {piece: id for id, piece in enumerate([*BERT, "[UNK]"])}
    model = tokenizers.models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=LONGEST)
    for word, pieces in TABLE.items():
        assert [token.value for token in model.tokenize(word)] == (["[UNK]"] if pieces is None else pieces)


@LAW
@given(word=st.text("abc", max_size=12), heads=SHORT, inside=SHORT)
def test_our_spelling_is_the_engines_on_any_vocabulary(word: str, heads: set[str], inside: set[str]):
    pieces = heads | {CONTINUES + piece for piece in inside}
    vocab = {piece: id for id, piece in enumerate([*sorted(pieces), "[UNK]"])}
    model = tokenizers.models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=LONGEST)
    ours = longest_first(word, pieces)
    assert [token.value for token in model.tokenize(word)] == (["[UNK]"] if ours is None else ours)


def vocabulary(tokenizer: Tokenizer, path: Path) -> dict[str, int]:
    """Names and ids as they stand in the file."""
    tokenizer.save(path)
    return json.loads((path / FILE).read_text())["model"]["vocab"]


@pytest.mark.parametrize("split", splits.SPLITS)
def test_a_trained_tokenizer_spells_as_the_algorithm_says(split: str, real_data: Path, tmp_path: Path):
    text = (real_data / "tinyshakespeare" / "input.txt").read_text()[:60_000] + "# a##b C# " + "long" * 60
    tokenizer = wordpiece.train([text], 1200, split)
    vocab = vocabulary(tokenizer, tmp_path)
    parts = [part for word in splits.words(text, split) for part in re.findall("#|[^#]{1,100}", spelled(word.encode()))]
    assert tokenizer.encode(text) == [vocab[piece] for part in parts for piece in longest_first(part, vocab) or ["[UNK]"]]
    assert tokenizer.size == 1200


def test_every_byte_is_a_piece_inside_a_word_and_at_its_beginning(tmp_path: Path):
    tokenizer = wordpiece.train(TEXTS, FEWEST)
    assert list(vocabulary(tokenizer, tmp_path)) == [*ALPHABET, *INSIDE]
    assert tokenizer.size == FEWEST == 256 + 255 + len(CONTROL)
    assert tokenizer.unknown is None


@LAW
@given(text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("##ab [UNK]"))))
def test_what_bert_would_lose_comes_back(text: str):
    assert MADE.decode(MADE.encode(text)) == text


def test_a_word_that_is_too_long_is_cut_and_not_given_up():
    assert MADE.decode(MADE.encode("run" * 500)) == "run" * 500
    assert b"un" in {MADE.piece(id) for id in MADE.encode("run" * 500)}


def test_capitals_accents_and_blanks_are_kept():
    ids = MADE.encode("The  naïve\tTHE")
    assert b"".join(map(MADE.piece, ids)).decode() == "The  naïve\tTHE"


def test_no_piece_holds_the_mark_as_text(tmp_path: Path):
    names = vocabulary(wordpiece.train(["## ##a a##b #### " * 9], 560), tmp_path)
    assert [name for name in names if "#" in name.removeprefix(CONTINUES)] == ["#"]
