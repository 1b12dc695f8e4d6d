"""Where words end: each pattern by hand, and the law that words are the text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import splits

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=100)
every_split = pytest.mark.parametrize("split", splits.SPLITS)


@every_split
@LAW
@given(text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \t\n\r'sS019.,-é\u0301"))))
def test_words_are_the_text(split: str, text: str):
    words = splits.words(text, split)
    assert "".join(words) == text
    assert "" not in words


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("gpt2", ["It", "'s", " IT", "'", "S", " 12345", "!!", "\n\n ", " x"]),
        ("gpt4", ["It", "'s", " IT", "'S", " ", "123", "45", "!!\n\n", " ", " x"]),
        ("llama3", ["It", "'s", " IT", "'S", " ", "123", "45", "!!\n\n", " ", " x"]),
        ("qwen2", ["It", "'s", " IT", "'S", " ", "1", "2", "3", "4", "5", "!!\n\n", " ", " x"]),
    ],
)
def test_each_pattern_cuts_in_its_own_way(split: str, words: list[str]):
    assert splits.words("It's IT'S 12345!!\n\n  x", split) == words


def test_qwen2s_pattern_is_spelled_as_other_programs_know_it():
    qwen2 = pytest.importorskip("transformers.models.qwen2.tokenization_qwen2", reason="transformers is not installed")
    assert splits.SPLITS["qwen2"] == qwen2.PRETOKENIZE_REGEX


@LAW
@given(text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \t\n\r'sS019.,-é\u0301"))))
def test_gpt2s_pattern_cuts_as_the_one_in_tiktoken_does(text: str):
    openai = pytest.importorskip("tiktoken_ext.openai_public", reason="tiktoken is not installed")
    regex = pytest.importorskip("regex", reason="regex, which comes with tiktoken, is not installed")
    assert regex.findall(openai.r50k_pat_str, text) == splits.words(text, "gpt2")


def test_a_run_that_is_too_long_is_learned_from_in_parts():
    most = splits.LONGEST_RUN
    long = "go " + "a" * (2 * most + 5) + " on" + "\n" * (most + 1) + "x"
    found = list(splits.to_learn_from(["short one", long, ""]))
    assert found == ["short one", "go " + "a" * most, "a" * most, "aaaaa on" + "\n" * most, "\nx", ""]
    assert list(splits.to_learn_from(["a" * most + " " + "b" * most])) == ["a" * most + " " + "b" * most]


def test_the_time_to_look_for_runs_grows_with_the_text_not_with_the_square_of_a_run():
    spent: dict[int, float] = {}
    for long in (256, splits.LONGEST_RUN - 1):
        text = ("a" * long + " ") * (2**20 // long)
        begun = time.process_time()
        assert list(splits.to_learn_from([text])) == [text]
        spent[long] = time.process_time() - begun
    # Both have a million characters. Looked at from each of its places, a run sixteen times as long would take sixteen times as much.
    assert spent[splits.LONGEST_RUN - 1] < 5 * spent[256]


def test_an_unknown_split_is_said_with_the_nearest():
    with pytest.raises(UsageError, match=r"no split 'gpt-2'\. Did you mean 'gpt2'"):
        splits.named("gpt-2")
