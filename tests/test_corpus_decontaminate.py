"""Eval items in a text: found where they are, whatever the punctuation, and nowhere else."""

import json
from pathlib import Path
from unicodedata import category, normalize

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
from scratchlm.evals.tasks import fixed_questions
from scratchlm.rules.word_hashes import extended, grams, words_of

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
    assert [letter for letter in "".join(words.read()) if letter.isalnum()] == [letter for letter in text if letter.isalnum()]
    assert all(word[0].isalnum() and all(sign.isalnum() or category(sign) in ("Mn", "Mc") for sign in word) for word in words.read())
    spans = [words.span(place, place) for place in range(len(words))]
    assert [[sign for sign in text[start:end] if sign.isalnum()] for start, end in spans] == [
        [sign for sign in word if sign.isalnum()] for word in words.read()
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("ex\u00adam\u200bple neigh-\n  bours well-known", ["example", "neighbours", "well", "known"]),
        ("❤\ufe0f \u0301x 字\u0301字", ["x", "字\u0301", "字"]),
        ("3-\n4 a-\n\nb", ["3", "4", "a", "b"]),
    ],
)
def test_accents_and_vowel_signs_belong_to_words_and_what_is_not_seen_does_not(text: str, words: list[str]):
    assert words_of(text).read() == words


@given(st.lists(st.sampled_from(["a", "b", "ab", "é", "字"]), max_size=40), st.integers(1, 14))
@settings(max_examples=200)
def test_runs_of_words_have_one_hash_exactly_if_they_are_the_same(parts: list[str], n: int):
    words = words_of(" ".join(parts))
    runs = [tuple(words.read(place, place + n)) for place in range(len(words) - n + 1)]
    hashes = grams(words.hashes, n).tolist()
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


@given(st.lists(st.sampled_from(["a", "b", "ab"]), max_size=30), st.integers(2, 6))
@settings(max_examples=100)
def test_longer_runs_made_from_shorter_ones_are_told_apart_too(parts: list[str], n: int):
    hashes = runs = words_of(" ".join(parts)).hashes
    for size in range(2, n + 1):
        runs = extended(runs, hashes, size)
    said = [tuple(parts[place : place + n]) for place in range(len(parts) - n + 1)]
    assert len(runs) == len(said)
    assert len(set(zip(said, runs.tolist(), strict=True))) == len(set(said)) == len(set(runs.tolist()))


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


def found_in(items: list[list[str]], text: str) -> list[tuple[str, str]]:
    return [(hit.item, text[hit.start : hit.end]) for hit in Index.build([EvalSet("own", items)]).hits(text)]


@pytest.mark.parametrize(
    "text",
    [
        "How much is 88+76?",
        f"{FILLER}how much is 88 + 76? {FILLER}",
        "| How much is 88+76? | 164 |",
        "He asked: “How much is 88+76?”",
        "1. How much\nis 88+76?\n2. How much is 3-2?",
    ],
)
def test_a_question_of_few_words_is_found_where_it_stands_by_itself(text: str):
    ((item, found),) = found_in([["How much is 88+76?"]], text)
    assert (item, "".join(found.lower().split())) == ("0", "howmuchis88+76")


@pytest.mark.parametrize(
    "text", ["How much is 88-76?", "How much is 88+761?", "Nobody knows how much is 88+76 and why", "how much is 88", "How much is 8.8+76?"]
)
def test_a_question_of_few_words_is_not_found_within_a_sentence_or_with_other_signs(text: str):
    assert found_in([["How much is 88+76?"]], text) == []


def test_every_question_of_our_own_tasks_is_found():
    asked = {name: questions for name, questions in fixed_questions().items() if questions}
    index = Index.build([EvalSet(name, [[text] for text in questions]) for name, questions in asked.items()])
    for name, questions in asked.items():
        assert index.coverage()[name].nothing == 0
        page = "\n".join(f"Q: {text}\nA: who knows?" for text in questions[:50])
        assert {hit.item for hit in index.hits(page)} == set(map(str, range(50)))


def test_a_sum_is_told_by_its_signs():
    sums = [["25-759=", "25-759= -734", "-734"], ["17*94=", "17*94= 1598", "1598"]]
    assert [item for item, _ in found_in(sums, "17*94=\nSee pp. 25-759.\n25 759\n25-759=-734\n-734\n")] == ["1", "0"]


def test_all_short_texts_of_an_item_are_found_whole():
    copa = [
        "The man broke his toe, because",
        "The man broke his toe, because he dropped a hammer on his foot.",
        "he dropped a hammer on his foot.",
    ]
    assert found_in([copa], f"{FILLER}The man broke his toe because he dropped a hammer on his foot, they say.") == [
        ("0", "The man broke his toe because he dropped a hammer on his foot")
    ]
    assert found_in([copa], "Then he dropped a hammer on his foot again.") == [("0", "he dropped a hammer on his foot")]
    assert found_in([["Why so?", "Why so? Because.", "Because."]], "Why so? Because.\nBecause.") == []


def test_a_passage_that_many_questions_are_about_is_found():
    passage = " ".join(f"word{number}" for number in range(40))
    items = [[passage, f"What of {n}?", f"{passage} yes it is {n}", f"What of {n}? yes it is {n}", f"yes it is {n}"] for n in range(12)]
    assert {item for item, _ in found_in(items, f"{FILLER} {passage.upper()}")} == set(map(str, range(12)))


def test_what_one_set_repeats_is_an_item_of_another():
    frame = "choose the one right answer to the question that follows from the list below it and"
    framed = EvalSet("framed", [[f"{frame} {word * 3}"] for word in map(chr, range(97, 117))])
    hits = Index.build([framed, EvalSet("other", [[frame]])]).hits(f"Now {frame} so on")
    assert {hit.set for hit in hits} == {"other"}


def test_a_short_text_that_many_items_share_is_no_item():
    items = [["Which one of these is right?", f"Which one of these is right? {'abc'[n % 3] * n}", f"{'abc'[n % 3] * n}"] for n in range(12)]
    assert found_in(items, "Which one of these is right?") == []


@pytest.mark.parametrize(
    "written",
    [
        LONG.replace("neighbours", "neigh-\nbours"),
        LONG.replace("forty", "for\u00adty").replace("bread", "br\u200bead"),
        LONG.replace("loaves", "loaves\u200d"),
    ],
)
def test_hyphens_and_signs_that_are_not_seen_make_no_difference_on_either_side(written: str):
    assert [found for _, found in found_in([[LONG]], FILLER + written)] == [written]
    assert [found for _, found in found_in([[written]], FILLER + LONG)] == [LONG]


def test_questions_are_normalised_as_documents_are():
    text = LONG.replace("baker", "café").replace("rye", "naïve")
    for form in ("NFC", "NFD"):
        assert [found for _, found in found_in([[normalize(form, text)]], text)] == [text]


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


def test_a_byte_order_mark_is_no_part_of_a_question(tmp_path: Path):
    (tmp_path / "riddles.jsonl").write_bytes(b'\xef\xbb\xbf{"question": "Why so?"}\n')
    assert eval_sets.read(tmp_path / "riddles.jsonl").items == [["Why so?"]]


def test_files_of_one_name_are_different_sets(tmp_path: Path):
    for folder in ("a/x", "b/x", "b/y"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "test.jsonl").write_text('{"question": "Why so?"}\n')
    (tmp_path / "addition.jsonl").write_text('{"question": "Why so?"}\n')
    found = eval_sets.read_all([tmp_path / "a/x", tmp_path / "b/x", tmp_path / "b/y/test.jsonl", tmp_path, tmp_path], taken=["addition"])
    assert [each.name for each in found] == ["a/x/test", "b/x/test", "y/test", f"{tmp_path.name}/addition"]


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
        # Of PIQA eight goals such as "dresser" are too short.
        assert each.nothing <= 0.01 * each.items, name


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
    few = [found for found in real[1] if found.name in ("copa", "svamp", "winograd_wsc")]
    text = " ".join(item[0] for found in few for item in found.items[:3])
    hits = Index.build(few).hits(text)
    assert [hit.start for hit in hits] == sorted(hit.start for hit in hits)
    other = Index.build(few[::-1]).hits(text)
    assert sorted(hits, key=repr) == sorted(other, key=repr)
    assert np.all(np.array([hit.end - hit.start for hit in hits]) > 0)
