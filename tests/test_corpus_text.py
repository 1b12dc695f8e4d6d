"""Cleaning, masking, cutting and judging single texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchlm.core.records import Document
from scratchlm.corpus import clean, filters
from scratchlm.corpus.filters import FILTERS, PROFILES, Words
from scratchlm.sources import pieces


def document(text: str, **facts: str | float) -> Document:
    return Document(text=text, id="0" * 32, source="test", facts={"doc_type": "web", "host": "a", "locator": "a", **facts})


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str):
    once = clean.normalise(text)
    assert clean.normalise(once) == once


@given(st.text())
def test_normalised_text_holds_no_control_character_and_can_be_written(text: str):
    once = clean.normalise(text)
    assert not any((ord(letter) < 32 and letter not in "\t\n") or 127 <= ord(letter) < 160 for letter in once)
    assert once.encode("utf-8").decode() == once


def test_line_ends_and_accents_have_one_form():
    assert clean.normalise("e\u0301a \r\nb\rc\x00d\n\n\n\n\n\ne\ufeff") == "éa\nb\ncd\n\n\ne"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe+x@mail.example.org.", "write to <email>."),
        ("at 8.8.8.8, not 192.168.0.1 or 127.0.0.1", "at <ip>, not 192.168.0.1 or 127.0.0.1"),
        ("2606:4700:4700::1111 but a[::2] and std::cout", "<ip> but a[::2] and std::cout"),
        ("@property and x @ y and version 1.2.3", "@property and x @ y and version 1.2.3"),
    ],
)
def test_addresses_of_people_and_machines_are_masked_and_others_are_not(text: str, masked: str):
    assert clean.mask(document(text)).text == masked


@given(st.lists(st.sampled_from(["a@b.org", "8.8.8.8", "2606:4700::1", " word ", "\n", "x"])))
def test_masking_removes_what_the_edits_say_and_nothing_is_left_to_mask(parts: list[str]):
    before = document(" ".join(parts))
    after = clean.mask(before)
    assert len(before.text) - len(after.text) == sum(removed for _, removed in clean.masked(after))
    assert clean.mask(document(after.text)).text == after.text


def test_an_edit_tells_the_place_and_kind_but_not_the_secret():
    masked = clean.mask(document("to a@b.org now"))
    assert json.loads(str(masked.facts["edits"])) == [{"op": "email", "start": 3, "end": 10, "repl": "<email>", "stage": "mask"}]


@given(st.text(alphabet="ab \n#I.", max_size=400), st.integers(10, 80))
def test_cutting_loses_nothing_but_white_space(text: str, usual: int):
    parts = pieces.split(text, least=usual // 3, usual=usual)
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    assert all(len(part.text) <= 2 * usual for part in parts)


def test_a_novel_is_cut_at_its_chapters():
    chapters = [f"CHAPTER {name}\n\n" + "It was a fine day. " * 150 for name in ("I", "II", "III")]
    parts = pieces.split("\n\n".join(chapters))
    assert [part.heading for part in parts] == ["CHAPTER I", "CHAPTER II", "CHAPTER III"]


def test_every_limit_belongs_to_a_filter_and_every_filter_is_used():
    assert {rule for limits in PROFILES.values() for rule in limits} == set(FILTERS)


SENTENCE = "The {} of the house is near to the river, and that we have seen with a lamp."
PAGE = "\n".join(SENTENCE.format(f"side{n} wall{n * 7} door{n * 3} roof{n * 5} yard{n * 11} gate{n * 13}") for n in range(9))


def test_a_plain_page_passes_every_rule():
    assert filters.refusal(document(PAGE), {"one_phrase": 0.3, "repeated_phrases": 0.9}) is None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("too_few_words", "The cat sat."),
        ("too_few_letters", "12 34 the 56 78 || 90 -- == 1"),
        ("words_too_long", "aGVsbG8gd29ybGQhISEhISEh" * 4),
        ("words_too_short", "a b c d e f"),
        ("too_many_symbols", "# a # b # c"),
        ("too_many_bullets", "- one\n- two\n- three"),
        ("too_many_ellipses", "read more...\nand more..."),
        ("no_stop_words", "colourless green ideas sleep furiously"),
        ("repeated_lines", "this very line is longer than thirty\n" * 5),
        ("one_phrase", "buy now " * 20),
        ("repeated_phrases", "one two three four five six seven eight nine ten eleven twelve " * 4),
        ("lines_without_end", "home\nabout\ncontact"),
        ("short_lines", "home.\nabout.\ncontact."),
        ("more_lines_than_text", "a\n\nb\n\nc\n\nd"),
        ("placeholder_text", "Lorem ipsum dolor"),
        ("too_many_words", "word " * 100_001),
    ],
)
def test_a_rule_says_what_it_found_and_where_its_limit_is(rule: str, text: str):
    limit = PROFILES["web"][rule]
    verdict = FILTERS[rule](Words(text), limit)
    assert verdict is not None
    assert verdict.reason
    assert verdict.value != limit


def test_a_one_line_entry_of_a_reference_is_kept_where_a_web_page_is_not():
    text = "math.sqrt(x)\n\nReturn the square root of x."
    assert filters.refusal(document(text, doc_type="code"), {}) is None
    assert filters.refusal(document(text), {}) is not None


@pytest.mark.parametrize(
    "text", ["这是一个关于河流和房子的长故事。" * 8, "Der Hund und die Katze sind nicht in dem Haus, das ist mit Holz gebaut."]
)
def test_other_languages_are_not_judged_by_english_words(text: str):
    for rule in ("words_too_long", "no_stop_words", "too_few_letters"):
        assert FILTERS[rule](Words(text), PROFILES["web"][rule]) is None
