"""Eval items in a text: found where they are, whatever the punctuation, and nowhere else."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import ArtifactError, DataError
from scratchlm.corpus import decontaminate, eval_sets
from scratchlm.corpus.decontaminate import Hit, Index, Policy, refusal
from scratchlm.corpus.eval_sets import EvalSet
from scratchlm.corpus.word_hashes import grams, words_of

LONG = "A baker has forty loaves of rye bread and sells three of them to each of his nine neighbours"
SHORT = "Which small yellow bird sings before the rain comes?"
SET = EvalSet("tests", [[LONG, f"{LONG} how many are left thirteen"], [SHORT], ["yes"]])
INDEX = Index.build([SET])
FILLER = "It was a fine day, and nobody said a word. "


def said(text: str) -> list[tuple[str, str]]:
    return [(hit.item, text[hit.start : hit.end]) for hit in INDEX.hits(text)]


@given(st.text())
@settings(max_examples=200)
def test_words_are_runs_of_letters_and_digits(text: str):
    words = words_of(text)
    assert all(start < end for start, end in zip(words.starts, words.ends, strict=True))
    assert "".join(words.read()) == "".join(letter for letter in text if letter.isalnum())
    assert all(word.isalnum() for word in words.read())


@given(st.lists(st.sampled_from(["a", "b", "ab", "é", "字"]), max_size=40), st.integers(1, 14))
@settings(max_examples=200)
def test_runs_of_words_have_one_hash_exactly_if_they_are_the_same(parts: list[str], n: int):
    words = words_of(" ".join(parts))
    runs = [tuple(words.read(place, place + n)) for place in range(len(words) - n + 1)]
    hashes = grams(words.hashes, n).tolist()
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


def test_words_hash_alike_wherever_they_stand_and_however_long_the_text():
    long = words_of("x" * 300_000 + " the cat " + "y z " * 150_000 + "the cat é")
    short = words_of("the cat")
    at = len(long) - 3
    assert long.hashes[1:3].tolist() == short.hashes.tolist() == long.hashes[at : at + 2].tolist()


@pytest.mark.parametrize("written", [LONG, LONG.upper(), LONG.replace(" ", " , "), LONG.replace(" ", "\n"), f"«{LONG}»"])
def test_an_item_is_found_however_it_is_set(written: str):
    ((item, found),) = said(FILLER + written + " " + FILLER)
    assert item == "0"
    assert found == written.strip("«»")


def test_twelve_words_in_a_row_are_no_item():
    words = LONG.split()
    assert said(FILLER + " ".join([*words[:12], "then", *words[13:]]) + FILLER) == []
    assert said(" ".join(words[2:15])) == [("0", " ".join(words[2:15]))]


def test_a_short_question_is_found_whole_and_a_word_is_not():
    text = FILLER + SHORT.upper() + " yes, " + SHORT[:-9]
    assert [hit.kind for hit in INDEX.hits(text)] == ["question"]
    assert said(text) == [("1", SHORT.upper()[:-1])]


def test_places_count_characters_in_any_script():
    text = "Füße – “naïve” 字字 😀 " + LONG + " ‼"
    assert said(text) == [("0", LONG)]


@given(st.lists(st.sampled_from([*LONG.split(), "loaf", "."]), max_size=60))
@settings(max_examples=200, deadline=None)
def test_hits_are_those_of_a_plain_search(parts: list[str]):
    plain = LONG.lower().split()
    text = " ".join(parts)
    words = [word.lower() for word in parts if word != "."]
    runs = {tuple(plain[place : place + 13]) for place in range(len(plain) - 12)}
    covered = {place + step for place in range(len(words) - 12) if tuple(words[place : place + 13]) in runs for step in range(13)}
    found = {number for hit in INDEX.hits(text) for number in range(*(len(words_of(text[:at])) for at in (hit.start, hit.end)))}
    assert found == covered


def test_a_hash_that_lies_is_not_believed(tmp_path: Path):
    columns = INDEX.table.to_pydict() | {"text": [text.replace("baker", "butcher") for text in INDEX.table["text"].to_pylist()]}
    forged = Index(pa.table(columns, schema=decontaminate.SCHEMA))
    assert [hit.start for hit in forged.hits(LONG)] == []


def test_phrasing_that_many_items_share_is_no_item():
    frame = "choose the one right answer to the question that follows from the list below it and"
    index = Index.build([EvalSet("framed", [[f"{frame} {word * 3}"] for word in map(chr, range(97, 117))])])
    assert index.hits(frame) == []
    assert index.coverage()["framed"].ngram == 20  # the last n-gram of each holds its own word


def test_coverage_counts_what_can_be_found_at_all():
    covered = INDEX.coverage()["tests"]
    assert (covered.items, covered.ngram, covered.question, covered.nothing) == (3, 1, 1, 1)


def test_an_index_comes_back_from_disk_and_has_the_same_bytes_again(tmp_path: Path):
    one, other = (Index.build([SET]).save(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert one.read_bytes() == other.read_bytes()
    assert Index.load(one).hits(LONG + SHORT) == INDEX.hits(LONG + SHORT)
    pq.write_table(pa.table({"set": ["x"]}), one)
    with pytest.raises(ArtifactError, match="no index of eval sets"):
        Index.load(one)


def test_nothing_to_look_for_finds_nothing():
    assert Index.build([]).hits(LONG) == []
    assert INDEX.hits("") == []


def rows(*hits: Hit) -> list[dict[str, object]]:
    return [{"set": hit.set, "item": hit.item, "start": hit.start, "end": hit.end, "kind": hit.kind} for hit in hits]


def test_a_policy_says_how_much_is_too_much():
    hits = rows(Hit("tests", "0", 0, 50, "ngram"), Hit("tests", "1", 40, 90, "question"))
    default = Policy().model_dump()
    caught = refusal(hits, 1000, default)
    assert caught is not None
    assert caught.reason == "it holds item 0 of tests and 1 more"
    assert refusal([], 1000, default) is None
    assert refusal(hits, 1000, default | {"action": "cut"}) is None
    assert refusal(hits, 1000, default | {"least_hits": 3}) is None
    assert refusal(hits, 1000, default | {"least_share": 0.09}) is not None
    assert refusal(hits, 1000, default | {"least_share": 0.091}) is None


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"question": "Why so?", "answer": "42"}, ["Why so?", "Why so? 42", "42"]),
        ({"query": "Question: Why so?\n", "choices": ["One", "Two"], "gold": 0}, ["Why so?", "Why so? One", "Why so? Two", "One", "Two"]),
        ({"goal": "Mend it", "choices": {"text": ["glue"], "label": ["A"]}}, ["Mend it", "Mend it glue", "glue"]),
        (
            {"context_options": ["He came", "She came"], "continuation": "late"},
            ["He came", "She came", "He came late", "She came late", "late"],
        ),
        ({"id": 7, "body_of_the_riddle": "What has a neck and no head?"}, ["What has a neck and no head?"]),
    ],
)
def test_the_shape_of_a_file_is_guessed(row: dict, texts: list[str], tmp_path: Path):
    file = tmp_path / "riddles.jsonl"
    file.write_text(json.dumps(row) + "\n\n" + json.dumps(row), encoding="utf-8")
    found = eval_sets.read(file)
    assert (found.name, len(found.items)) == ("riddles", 2)
    assert list(found.items[0]) == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"[1, 2]", "line 1 is no JSON object"),
        (b'{"a": 1}\n{', "line 2 is no JSON object"),
        (b'{"a": 1, "b": "x"}', r"none of its columns \(a, b\) holds questions"),
        (b"\xff\xfe", "cannot be read as lines of JSON"),
        (b"[" * 100_000, "line 1 is no JSON object"),
    ],
)
def test_a_file_that_holds_no_questions_is_refused_in_one_sentence(content: bytes, message: str, tmp_path: Path):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        eval_sets.read(file)
    with pytest.raises(DataError, match=r"no \.jsonl file"):
        eval_sets.read_all([(tmp_path / "empty").mkdir() or tmp_path / "empty"])


@pytest.fixture(scope="module")
def real(real_data: Path) -> tuple[Index, list[EvalSet]]:
    folder = real_data / "evals"
    if not folder.is_dir():
        pytest.skip(f"{folder}: not here")
    sets = eval_sets.read_all([folder])
    return Index.build(sets), sets


def test_every_real_set_is_read_and_most_of_its_items_can_be_found(real: tuple[Index, list[EvalSet]]):
    index, sets = real
    covered = index.coverage()
    assert {found.name: len(found.items) for found in sets} == {name: each.items for name, each in covered.items()}
    for name, each in covered.items():
        # Sums such as "25-759=" have no words to be known by.
        assert each.nothing <= (each.items if "arithmetic" in name else 0.2 * each.items), name


def test_planted_items_are_found_in_novels_and_nothing_else_is(real: tuple[Index, list[EvalSet]], real_data: Path):
    index, sets = real
    planted = {found.name: found for found in sets}["gsm8k"]
    for number, file in enumerate(sorted((real_data / "novels").glob("*.txt"))[:6]):
        text = file.read_text(encoding="utf-8", errors="replace")[:200_000]
        assert index.hits(text) == []
        item, at = 97 * number, 30_000 * number
        spoiled = f"{text[:at]}\n{planted.items[item][0].upper()}\n{text[at:]}"
        hits = index.hits(spoiled)
        assert {(hit.set, hit.item) for hit in hits} == {("gsm8k", str(item))}
        assert at <= hits[0].start
        assert hits[-1].end <= at + len(planted.items[item][0]) + 1


def test_a_copied_set_is_found_item_by_item(real: tuple[Index, list[EvalSet]]):
    index, sets = real
    for found in sets:
        if found.name in ("gsm8k", "human_eval", "lambada_openai"):
            assert {hit.item for number in range(60) for hit in index.hits(found.items[number][0])} >= set(map(str, range(60)))


def test_hits_come_from_left_to_right_whatever_the_order_of_the_sets(real: tuple[Index, list[EvalSet]]):
    index, sets = real
    text = " ".join(item[0] for found in sets for item in found.items[:3])
    hits = index.hits(text)
    assert [hit.start for hit in hits] == sorted(hit.start for hit in hits)
    other = Index.build(sets[::-1]).hits(text)
    assert sorted(hits, key=repr) == sorted(other, key=repr)
    assert np.all(np.array([hit.end - hit.start for hit in hits]) > 0)
