"""The road from found documents to three splits: copies, groups, books."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import ArtifactError, CheckFailed, DataError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import dedup, split
from scratchlm.corpus.ledger import Ledger, Verdict
from scratchlm.corpus.prepare import Prepared, Rules, prepare
from scratchlm.corpus.report import report
from scratchlm.sources import record
from scratchlm.sources.found import Dropped

RULES = Rules({"validation": 0.1, "test": 0.1}, {"pinned"}, {}, 0.8, 1, "here", seed=3)


def story(number: int, host: str = "", **facts: str | float) -> Document:
    text = " ".join(f"word{number}x{place}" for place in range(40))
    host = host or f"group{number}"
    return Document(text, record.identify("test", str(number)), "test", {"host": host, "doc_type": "book", "locator": str(number), **facts})


def prepared(documents: list[Document | Dropped], rules: Rules = RULES) -> Prepared:
    return prepare(documents, rules, Journal())


def test_a_document_comes_back_from_disk_as_it_was(tmp_path: Path):
    written = story(1, title="One", score=2.0, licence="MIT", edits='[{"op": "email", "start": 1, "end": 2, "repl": "x", "stage": "mask"}]')
    (back,) = record.read(record.write(tmp_path / "a.parquet", [written]))
    assert (back.text, back.id, back.source) == (written.text, written.id, written.source)
    assert back.facts.items() >= written.facts.items()


def test_the_same_documents_give_the_same_bytes(tmp_path: Path):
    one, other = (record.write(tmp_path / name, [story(n) for n in range(9)]).read_bytes() for name in ("a.parquet", "b.parquet"))
    assert one == other


def test_reading_what_is_not_there_names_the_next_step(tmp_path: Path):
    with pytest.raises(ArtifactError, match="scratchlm corpus"):
        next(record.read(tmp_path / "none.parquet"))


@given(st.lists(st.tuples(st.sampled_from(["", "a b", "mail me@x.org " * 9, "word " * 40]), st.integers(0, 5)), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_what_came_in_is_kept_or_dropped_and_counted(texts: list[tuple[str, int]]):
    found = [replace(story(n, f"group{group}"), text=text + f" end{group}" * group) for n, (text, group) in enumerate(texts)]
    done = prepared([*found, *(story(1000 + n) for n in range(30))], replace_minimum(1))
    books = report(done)["conservation"]
    assert books["documents_in"] == len(texts) + 30 == books["documents_kept"] + books["documents_dropped"]
    assert books["characters_in"] == books["characters_kept"] + books["characters_dropped"] + books["characters_masked_away"]


def replace_minimum(minimum: int) -> Rules:
    return replace(RULES, minimum_bytes=minimum)


def test_a_document_that_is_lost_or_kept_twice_is_noticed():
    ledger = Ledger()
    ledger.enter(story(1))
    with pytest.raises(CheckFailed, match="not accounted for"):
        ledger.check([])
    with pytest.raises(CheckFailed, match="not accounted for"):
        ledger.check([story(1), story(1)])
    with pytest.raises(CheckFailed, match="characters"):
        ledger.check([replace(story(1), text="cut")])
    with pytest.raises(CheckFailed, match="twice"):
        ledger.enter(story(1))


def test_of_equal_texts_the_first_is_kept_and_named():
    twin = replace(story(2), text=story(1).text)
    kept, (copy,) = dedup.exact([story(1), twin, story(3)])
    assert [document.facts["locator"] for document in kept] == ["1", "3"]
    assert (copy.document, copy.of) == (twin, story(1))


def test_a_near_copy_is_verified_and_a_different_text_stays():
    words = story(1).text.split()
    near, far = replace(story(2), text=" ".join([*words, "end"])), replace(story(3), text=" ".join(words[:20] + story(3).text.split()[:20]))
    kept, copies = dedup.near([story(1), near, far], least=0.8, seed=5)
    assert [document.facts["locator"] for document in kept] == ["1", "3"]
    assert copies[0].verdict.value == pytest.approx(36 / 37)
    assert dedup.jaccard(dedup.shingles(story(1)), dedup.shingles(far)) < 0.8


def test_short_documents_are_never_near_copies():
    short = [replace(story(n), text=f"Return the square root of {name}") for n, name in enumerate("xy")]
    assert dedup.near(short, least=0.1, seed=0)[1] == []


def test_entries_of_a_reference_are_compared_below_their_heading():
    one, other = (
        replace(story(n, doc_type="code", title=t), text=f"{t}(a)\n\nJoin them.") for n, t in ((1, "os.path.join"), (2, "shlex.join"))
    )
    different = replace(other, text="shlex.quote(a)\n\nJoin them.", facts={**other.facts, "title": "shlex.quote"})
    assert len(dedup.exact([one, other])[1]) == 1
    assert dedup.exact([one, different], spared={one.id, different.id})[1] == []


def test_groups_stay_together_and_pinned_ones_train():
    documents = [story(n, "pinned" if n % 10 == 0 else f"group{n // 4}") for n in range(200)]
    split_of = split.assign(documents, fractions={"validation": 0.1, "test": 0.1}, pinned={"pinned"}, seed=1)
    by_group: dict[str, set[str]] = {}
    for document in documents:
        by_group.setdefault(str(document.facts["host"]), set()).add(split_of[document.id])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert by_group["pinned"] == {"train"}
    assert set(split_of.values()) == set(split.SPLITS)


def test_the_split_depends_on_the_seed_and_on_nothing_else():
    documents = [story(n) for n in range(100)]
    one, same, other = (split.assign(documents, fractions={"validation": 0.1, "test": 0.1}, pinned=(), seed=s) for s in (1, 1, 2))
    assert one == same != other


def test_a_single_file_keeps_its_end_aside():
    documents = [story(n, "one.txt") for n in range(40)]
    split_of = split.assign(documents, fractions={"validation": 0.05, "test": 0.05}, pinned=(), seed=1)
    assert [split_of[document.id] for document in documents] == ["train"] * 36 + ["validation"] * 2 + ["test"] * 2


def test_of_two_copies_the_held_out_one_stays_and_nothing_leaks():
    documents = [story(n) for n in range(100)]
    held = next(d for d in prepared([*documents]).splits["test"])
    twin = replace(story(500, "pinned2"), text=held.text)
    done = prepared([twin, *documents], replace(RULES, pinned={"none"}))
    assert [d.text for documents in done.splits.values() for d in documents].count(held.text) == 1
    texts = {name: {d.text for d in documents} for name, documents in done.splits.items()}
    assert not texts["train"] & (texts["test"] | texts["validation"])


def test_too_little_text_says_how_much_was_found_and_what_was_dropped():
    lost = Dropped(record.identify("x", "y"), "y", "x", "read", "not text", "it holds NUL bytes")
    with pytest.raises(DataError, match=r"here: 309 bytes of usable text \(dropped: 1 × not text\), and 5,000 are needed"):
        prepared([replace(story(1), text="a" * 309), lost], replace_minimum(5_000))


def test_the_report_counts_each_rule_and_shows_examples():
    documents = [story(n) for n in range(30)]
    facts = report(prepared([*documents, replace(story(99), text="12 34 56 78 90 11"), replace(story(98), text=story(1).text)]))
    assert facts["dropped"]["filter: too_few_letters"]["documents"] == 1
    assert facts["dropped"]["exact: exact copy"]["examples"][0]["dup_of"]
    assert facts["sources"]["test"]["documents_in"] == 32
    assert facts["copies"]["sizes"] == {"1": 1}


def test_a_verdict_holds_the_number_and_the_limit():
    ledger = Ledger()
    ledger.enter(story(1))
    ledger.drop(story(1), "filter", "rule", Verdict("why", 1.0, 2.0))
    (row,) = ledger.by_stage()["filter"]
    assert (row["value"], row["threshold"], row["reason"]) == (1.0, 2.0, "why")
    assert len(row["excerpt"]) <= 300


def test_a_pinned_file_of_a_small_folder_keeps_its_end():
    documents = [story(n, host="pinned" if n % 2 else "other") for n in range(40)]
    split_of = split.assign(documents, fractions={"validation": 0.1, "test": 0.1}, pinned={"pinned"}, seed=1)
    ends = {document.facts["host"] for document in documents if split_of[document.id] != "train"}
    assert ends == {"other"}
