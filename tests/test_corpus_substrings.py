"""Repeated passages: the law is a plain look at every pair of positions; cuts keep characters, words and code blocks whole."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import DataError
from scratchlm.corpus import cuts, substrings

WORDS = [f"word{n}" for n in range(30)]


def prose(words: int, seed: int) -> str:
    dice = random.Random(seed)
    return " ".join(dice.choice(WORDS) + str(dice.randrange(10**4)) for _ in range(words))


def joined(texts: list[bytes]) -> tuple[bytes, np.ndarray]:
    return substrings.SEPARATOR.join([*texts, b""]), np.cumsum([len(text) + 1 for text in texts]).astype(np.int64) - 1


def by_all_pairs(texts: list[bytes], least: int) -> list[tuple[int, int]]:
    """A position is repeated if its next bytes, all in one text, also start at least so many bytes earlier in all texts."""
    blob, _ = joined(texts)
    covered = set()
    for place in range(len(blob) - least + 1):
        piece = blob[place : place + least]
        if b"\xff" not in piece and blob.find(piece, 0, place) >= 0:
            covered |= set(range(place, place + least))
    return cuts.merged((place, place + 1) for place in covered)


texts_of_few_letters = st.lists(st.text(alphabet="ab\x00", max_size=60).map(str.encode), min_size=1, max_size=5)


@given(texts_of_few_letters, st.integers(16, 20))
@settings(max_examples=150, deadline=None)
def test_repeated_bytes_are_those_of_all_pairs(texts: list[bytes], least: int):
    texts = [*texts, texts[0] + b"x" + texts[-1], b"ab" * 30]
    blob, ends = joined(texts)
    assert [tuple(span) for span in substrings.repeated(blob, ends, least).tolist()] == by_all_pairs(texts, least)


def test_chunks_of_neighbours_do_not_show(monkeypatch: pytest.MonkeyPatch):
    texts = [prose(40, seed % 5).encode() for seed in range(12)] + [b"na" * 200]
    blob, ends = joined(texts)
    whole = substrings.repeated(blob, ends, 30)
    monkeypatch.setattr(substrings, "CHUNK", 17)
    assert len(whole) > 5
    assert np.array_equal(substrings.repeated(blob, ends, 30), whole)


def test_all_planted_passages_are_found_and_the_first_ones_stay():
    planted = [prose(60, 500 + n)[:400] for n in range(30)]
    texts = [f"{prose(50, n)} {passage} {prose(50, 100 + n)}" for n, passage in enumerate([*planted, *planted])]
    found, _ = substrings.passages(texts, [None] * 60)
    assert found[:30] == [[]] * 30
    for text, spans, passage in zip(texts[30:], found[30:], planted, strict=True):
        ((start, end),) = spans
        place = text.index(passage)
        assert start <= place + substrings.WORD  # half words at its ends stay
        assert end >= place + 400 - substrings.WORD
        assert place - 8 <= start < end <= place + 408
        assert cuts.apply(text, spans).split()[:50] == text.split()[:50]


def test_a_passage_twice_in_one_text_stays_once():
    passage = prose(40, 1)
    (spans,), _ = substrings.passages([f"{passage}\n{prose(9, 2)}\n{passage}\n"], [None])
    assert cuts.apply(f"{passage}\n{prose(9, 2)}\n{passage}\n", spans).count(passage) == 1


def test_what_repeats_itself_keeps_its_first_bytes():
    blob, ends = joined([b"ha" * 500])
    assert substrings.repeated(blob, ends, 100).tolist() == [[100, 1000]]


def test_nothing_is_found_across_the_border_of_two_texts():
    one, other = prose(20, 1)[:80], prose(20, 2)[:80]
    found, _ = substrings.passages([one, other, one, other], [None] * 4)
    assert found == [[]] * 4


@given(st.lists(st.text(alphabet="aé中😀 \n", min_size=10, max_size=80), min_size=1, max_size=4), st.integers(16, 24))
@settings(max_examples=100, deadline=None)
def test_no_character_is_torn_and_every_cut_stands_earlier(texts: list[str], least: int):
    texts = [*texts, "".join(texts)]
    found, _ = substrings.passages(texts, [None] * len(texts), least)
    for number, (text, spans) in enumerate(zip(texts, found, strict=True)):
        assert spans == cuts.merged(spans)
        for start, end in spans:
            before = "\n\x01".join([*texts[:number], text[: end - 1]])
            window = max(1, least // 4 - 1)  # characters of at most four bytes
            assert all(text[place : place + window] in before for place in range(start, end - window + 1))


def test_a_code_block_goes_whole_or_stays_whole():
    code, tail = prose(30, 7), prose(30, 8)
    first = f"{code}\n{tail}\n"
    second = f"Look:\n{code}\nxx{tail[5:]} end"
    inside = [{"kind": "code", "start": 6, "end": 6 + len(code)}]
    torn = [{"kind": "code", "start": 6 + len(code) - 40, "end": len(second)}]
    (_, (whole, _)), stepped = substrings.passages([first, second], [None, inside])
    assert (whole, stepped) == ((6, 7 + len(code)), 0)
    (_, left), stepped = substrings.passages([first, second], [None, torn])
    assert (left, stepped) == ([(6, 6 + len(code) - 40)], 2)


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@given(spans, spans)
@settings(max_examples=200, deadline=None)
def test_around_leaves_whole_blocks_and_takes_all_else(some: list[cuts.Span], whole: list[cuts.Span]):
    some, whole = cuts.merged(some), cuts.merged(whole)
    left, stepped = cuts.around(some, whole)
    taken, given_, torn = ({place for start, end in rows for place in range(start, end)} for rows in (left, some, []))
    for start, end in whole:
        block = set(range(start, end))
        assert block <= taken or not block & taken
        torn |= block if not block <= given_ else set()
    assert taken == given_ - torn
    assert (stepped > 0) == bool(given_ & torn)
    assert left == [span for span in left if span[0] < span[1]]


@given(st.lists(st.integers(0, 200), max_size=40), st.integers(201, 400))
def test_shards_hold_every_text_once_and_never_too_much(sizes: list[int], most: int):
    found = substrings.shards(sizes, most)
    assert [size for part in found for size in sizes[part]] == sizes
    assert all(sum(sizes[part]) + len(sizes[part]) <= most for part in found)


def test_what_is_too_large_is_refused_by_name():
    with pytest.raises(DataError, match="a shard at most"):
        substrings.shards([substrings.LARGEST])
    with pytest.raises(DataError, match="Cut it up"):
        substrings.repeated(b"a" * (substrings.LARGEST + 1), np.array([substrings.LARGEST]), 100)


@pytest.mark.parametrize("letter", ["a", "\x00", "é", "ab\n"])
def test_a_megabyte_of_one_letter_is_soon_done(letter: str):
    text = letter * (2**20 // len(letter.encode()))
    (spans,), _ = substrings.passages([text], [None])
    assert len(cuts.apply(text, spans)) < 200


def test_no_text_and_short_texts_have_no_passages():
    assert substrings.passages([], []) == ([], 0)
    assert substrings.shards([]) == []
    assert substrings.passages(["a", "", "a"], [None] * 3)[0] == [[], [], []]
    assert cuts.table([("a" * 32, [(1, 5)])], substrings.OP).to_pylist() == [
        {"doc_id": "a" * 32, "op": "repeated passage", "start": 1, "end": 5}
    ]
