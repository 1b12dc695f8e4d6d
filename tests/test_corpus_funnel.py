"""What is told of a corpus: no private value in it, books that hold after a mix, both sides of every limit, one document's story."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from tales import SPLITS, built, report, story, verdicts, write_stories

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.records import Document
from scratchlm.corpus import limits, selection
from scratchlm.corpus.copies import CopyRules
from scratchlm.corpus.funnel import STAGES, conservation
from scratchlm.corpus.gathering import Extra
from scratchlm.corpus.mix import MixConfig, Share
from scratchlm.corpus.shown import Mask, excerpt
from scratchlm.corpus.tables import Tables
from scratchlm.privacy import pii
from scratchlm.sources import record
from scratchlm.sources.found import EXCERPT
from scratchlm.views.corpus import show


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_stories(tmp_path / "texts", 30)


# Private values


def everything_in(made: Artifact) -> Iterator[tuple[str, str]]:
    """All files of an artifact as text: columns of tables decoded, the rest as it is."""
    for path in sorted(path for path in made.path.rglob("*") if path.is_file()):
        told = json.dumps(pq.read_table(path).to_pylist(), default=str) if path.suffix == ".parquet" else path.read_text()
        yield path.relative_to(made.path).as_posix(), told


def test_no_private_value_stands_in_any_file_of_the_artifact(folder: Path, tmp_path: Path):
    (folder / "title.txt").write_text("Notes of jane.title@example.org\n\n" + story(40))
    (folder / "phone.txt").write_text("Call +1 202 555 0143\n\n" + story(41) + "\nCall +1 202 555 0143 today.")
    (folder / "dropped.txt").write_text("Mail joe.dropped@example.org")
    (folder / "near.txt").write_text("Mail ann.near@example.org now.\n" + story(4))
    long = "a" * 40 + "-title-which-goes-on-and-on " * 3 + "of max.cut@example.org"
    page = {
        "text": story(42) + "\nwrite to eve.address@example.org",
        "title": long,
        "url": "https://site.example/?mail=eve.address%40example.org",
    }
    (folder / "pages.jsonl").write_text(json.dumps(page))
    planted = ("jane.title", "202 555", "joe.dropped", "ann.near", "max.cut", "eve.address")
    made = built(tmp_path / "home", data=str(folder), thresholds={"too_few_words": 20})
    told = verdicts(made)
    assert told["dropped.txt"]["rule"] == "too_few_words"
    assert [told[name]["dup_of"] is not None for name in ("near.txt", "story04.txt")].count(True) == 1
    for name, content in everything_in(made):
        assert [value for value in planted if value in content] == [], name
    titles = {d.facts["locator"]: d.facts.get("title") for split in SPLITS for d in record.read(made.path / f"{split}.parquet")}
    assert titles["title.txt"] == "Notes of <email>"
    assert titles["phone.txt"] == "Call <phone>"
    assert told["dropped.txt"]["excerpt"] == "Mail <email>"
    assert "<email>" in report(made)["masked"]["pii:email"][0]["shown"]
    assert {row["url"] for row in pq.read_table(made.path / "attributes.parquet").to_pylist() if row["url"]} == {
        "https://site.example/?mail=<email>"
    }


def test_an_excerpt_shows_no_part_of_a_value_at_its_end():
    mail = "jane.doe@example.org"
    for before in range(EXCERPT - 120, EXCERPT + 1):
        text = ("word " * EXCERPT)[: before - 1] + " " + mail + " and so on" * 50
        for given in (text, text[:EXCERPT]):
            assert "jane" not in excerpt(given)
            assert len(excerpt(given)) <= EXCERPT
    assert excerpt("Ask jane.doe@example.org") == "Ask <email>"
    assert len(excerpt("字" * 1000)) > EXCERPT / 2


def test_a_known_value_is_masked_without_its_context_and_where_it_is_cut_off():
    text = "Please call me: (202) 555-0143, or mail jane.doe@example.org."
    mask = Mask(pii.DEFAULT).knowing(text, pii.find(text))
    assert mask.text("List of (202) 555-0143") == "List of <phone>"
    assert mask.text("A title that ends with jane.doe@exa") == "A title that ends with <email>"
    assert mask.facts({"extra": json.dumps({"heading": "To:\njane.doe@example.org"}), "host": "x"}) == {
        "extra": '{"heading": "To:\\n<email>"}', "host": "x"
    }  # fmt: skip
    assert Mask(kinds=()).text(text) == text


# Edits


def test_a_mask_that_begins_inside_a_cut_masks_the_rest_of_its_value():
    text = "Write to jane.doe@example.org today."
    cut = {"op": "repeated passage", "start": 0, "end": text.index(".doe"), "repl": "", "stage": "cut"}
    mask = {"op": "pii:email", "start": text.index("jane"), "end": text.index(" today"), "repl": "<email>", "stage": "pii"}
    assert selection.parts(text, selection.apart([mask, cut])) == "<email> today."
    inside = {"op": "repeated passage", "start": text.index(".doe"), "end": text.index(".org"), "repl": "", "stage": "cut"}
    assert selection.parts(text, selection.apart([mask, inside])) == "Write to <email> today."


def test_blocks_that_were_all_cut_are_gone():
    block = [{"kind": "table", "start": 0, "end": 10}]
    document = Document("x" * 10 + "and words", "1" * 32, "folder", {"structure": json.dumps(block)})
    known = {"cuts": [], "pii": [], "hits": []}
    config = {"decontamination": {"action": "document"}, "pii_mode": "placeholder", "seed": 0}
    edited, _ = selection.apply(document, known, [{"op": "repeated passage", "start": 0, "end": 10}], config)
    assert (edited.text, edited.facts["structure"]) == ("and words", "[]")


# Rules, limits, examples


def test_a_rule_that_is_never_first_is_counted_and_shown(folder: Path, tmp_path: Path):
    (folder / "short.txt").write_text("the man and his dog go out to see the sun")
    made = built(tmp_path / "home", data=str(folder), thresholds={"too_few_words": 20, "words_too_short": 5})
    told = report(made)
    (row,) = [row for row in told["rules"] if row["rule"] == "words_too_short"]
    assert (row["stage"], row["first"], row["any"], row["alone"]) == ("filter", 0, 1, 0)
    (example,) = told["dropped"]["filter: words_too_short"]
    assert example["reason"].startswith("dropped first by too_few_words")
    assert example["excerpt"] == "the man and his dog go out to see the sun"
    (refused,) = [each for each in told["near"]["words_too_short"] if each["dropped"]]
    assert refused["locator"] == "short.txt"
    assert {split["split"] for split in told["splits"]} == set(SPLITS)
    assert [split["split"] for split in told["splits"]] == list(SPLITS)


def test_just_kept_is_kept_in_a_split_and_each_limit_has_its_own(folder: Path, tmp_path: Path):
    (folder / "copy.txt").write_text(story(3))
    for number in range(4):
        (folder / f"tiny{number}.txt").write_text(story(60 + number, words=16))
    made = built(tmp_path / "home", data=str(folder), thresholds={"too_few_words": 30})
    near, told = report(made)["near"]["too_few_words"], verdicts(made)
    assert [told[each["locator"]]["rule"] for each in near if each["dropped"]] == ["too_few_words"] * 4
    kept = [each for each in near if not each["dropped"]]
    assert len(kept) == limits.EXAMPLES
    assert all(told[each["locator"]]["split"] for each in kept)
    assert all(each["excerpt"] and each["threshold"] == 30 for each in near)


def asked(values: Mapping[str, list[float]], limit: Mapping[str, float]) -> Tables:
    """Documents of two profiles, and what one rule measured in them."""
    rows = [
        {"doc_id": f"{name}{n:04}", "split": None if value > limit[name] else "train", "rule": "gibberish" if value > limit[name] else None,
         "failing": ["gibberish"] if value > limit[name] else [], "stage": "filter" if value > limit[name] else None, "value": value,
         "threshold": limit[name]}
        for name, own in values.items() for n, value in enumerate(own)
    ]  # fmt: skip
    schema = pa.schema(
        [(name, pa.string()) for name in ("doc_id", "split", "rule", "stage")]
        + [(name, pa.float64()) for name in ("value", "threshold")]
        + [("failing", pa.list_(pa.string()))]
    )
    nothing = dict.fromkeys((limits.MEASURE + rule for rule in limits.RULES), float("nan"))
    measured = [
        nothing | {"doc_id": row["doc_id"], "profile": "web", "limits": json.dumps({"gibberish": row["threshold"]}), "quality": None,
                   limits.MEASURE + "gibberish": row["value"]}
        for row in rows
    ]  # fmt: skip
    return Tables({"verdicts": pa.Table.from_pylist(rows, schema=schema), "attributes": pa.Table.from_pylist(measured)}, "")


def test_languages_of_one_profile_have_limits_of_their_own():
    with asked({"en": [4.0, 4.4, 4.6, 5.0], "de": [5.0, 5.4, 5.6]}, {"en": 4.5, "de": 5.5}) as tables:
        found = limits.prepare(tables, {}, None)
        assert [row["limit"] for row in found["gibberish"]] == [4.5, 5.5]
        near = limits.nearest(tables, "gibberish")
        assert {(each["doc_id"], each["threshold"]) for each in near if each["dropped"]} == {
            ("en0002", 4.5),
            ("en0003", 4.5),
            ("de0002", 5.5),
        }
        assert {each["doc_id"] for each in near if not each["dropped"]} == {"en0000", "en0001", "de0000", "de0001"}


def test_a_histogram_shows_the_limit_and_what_lies_beyond_it():
    with asked({"en": [0.0] * 990 + [3.0] * 10}, {"en": 2.0}) as tables:
        (each,) = limits.histograms(tables, limits.prepare(tables, {}, None))
    assert each["low"] <= 0 < 2.0 < each["high"]
    assert (sum(each["counts"]), sum(each["refused"]), each["refused"][-1]) == (1000, 10, 10)
    assert each["counts"][0] == 990


@pytest.mark.parametrize(
    ("points", "ends", "own", "scale"),
    [
        ([1.0, 1.0, 1.0], (1.0, 1.0), [], "linear"),
        ([0.0, 0.0, 0.0], (0.0, 12.0), [0.0], "linear"),
        ([60.0, 300.0, 900.0], (8.0, 5e5), [50.0, 100_000.0], "log"),
        ([0.2, 0.4, 0.9], (0.0, 1.0), [0.3], "linear"),
    ],
)
def test_an_axis_holds_every_limit_and_has_a_length(points: list[float], ends: tuple[float, float], own: list[float], scale: str):
    axis = limits.axis_of(points, ends, own)
    assert axis["scale"] == scale
    assert axis["low"] < axis["high"]
    assert all(axis["low"] <= limit <= axis["high"] for limit in own)
    assert all(limit < axis["high"] for limit in own)


def test_every_stage_that_loses_documents_is_told_source_by_source(folder: Path, tmp_path: Path):
    more = tmp_path / "more"
    more.mkdir()
    for number in range(50, 56):
        (more / f"extra{number}.txt").write_text(story(number))
    (more / "copy.txt").write_text(story(3))
    (more / "junk.txt").write_bytes(bytes(range(256)) * 8)
    exam = tmp_path / "exam.jsonl"
    question = "A farmer has seventeen sheep and all but nine run away over the hill, so how many sheep does the farmer have left at home?"
    exam.write_text(json.dumps({"question": question}))
    (folder / "exam.txt").write_text(story(41) + "\n" + question)
    extra = Extra(name="more", folder=str(more))
    made = built(tmp_path / "home", data=str(folder), more=(extra,), evals=(str(exam),), mix=MixConfig(sources={"more": Share(epochs=0.5)}))
    told = report(made)
    stages = list(dict.fromkeys(row["stage"] for row in told["stages"]))
    assert stages == sorted(stages, key=STAGES.index)
    lost = {(row["stage"], row["source"]): row["documents_lost"] for row in told["stages"]}
    assert (lost["read", "more"], lost["read", "folder"], lost["contamination", "folder"]) == (1, 0, 1)
    for source in ("folder", "more"):
        own = [row for row in told["stages"] if row["source"] == source]
        for row, following in pairwise(own):
            assert following["documents_in"] == row["documents_in"] - row["documents_lost"]
        kept = sum(row["documents_kept"] for row in told["sources"] if row["source"] == source)
        assert own[-1]["documents_in"] - own[-1]["documents_lost"] == kept
    (row,) = [row for row in told["coverage"] if row["set"] == "exam"]
    assert (row["found"], row["documents"], row["removed"], row["gone"], row["cut"]) == (1, 1, 1, 0, 0)


# The mix


def test_the_books_say_what_the_mix_left_out_and_what_it_repeats(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    extras = []
    for name, first in (("none", 50), ("twice", 60)):
        (tmp_path / name).mkdir()
        for number in range(first, first + 6):
            (tmp_path / name / f"{name}{number}.txt").write_text(story(number))
        extras.append(Extra(name=name, folder=str(tmp_path / name)))
    mix = MixConfig(sources={"none": Share(weight=0), "twice": Share(epochs=2), "folder": Share(epochs=0.5)})
    made = built(tmp_path / "home", data=str(folder), more=tuple(extras), mix=mix)
    told, books = verdicts(made), report(made)
    written = list(record.read(made.path / "train.parquet"))
    for name, row in told.items():
        assert row["times"] == (
            sum(d.facts["locator"] == name for d in written) if row["split"] != "test" and row["split"] != "validation" else 1
        )
        assert (row["split"] is None) == (row["times"] == 0)
    gone = {name for name, row in told.items() if row["stage"] == "mix"}
    assert any(name.startswith("none") for name in gone)
    assert any(name.startswith("story") for name in gone)
    (train,) = [row for row in books["splits"] if row["split"] == "train"]
    assert (train["seen"], train["documents"]) == (len(written), len({d.id for d in written}))
    assert train["bytes"] == sum(len(d.text.encode()) for d in written) == made.counts["train_bytes"]
    dropped = {row["locator"]: row for row in pq.read_table(made.path / "dropped" / "documents.parquet").to_pylist()}
    assert gone <= set(dropped)
    assert books["conservation"]["documents_dropped"] == len(dropped)
    show(Home(tmp_path / "home"), removed=next(story(n).split("\n")[0] for n in range(50, 56) if f"none{n}.txt" in gone))
    assert "dropped by mix: left out by the mix – the mix takes 0% of what 'none' holds" in capsys.readouterr().out
    seen_twice = next(name for name, row in told.items() if row["times"] == 2)
    show(Home(tmp_path / "home"), removed=story(int(seen_twice[5:7])).split("\n")[0], explain=seen_twice)
    assert capsys.readouterr().out.count("kept in train, seen 2 times") == 2


def test_counts_that_differ_from_what_was_written_end_the_run(folder: Path, tmp_path: Path):
    made = built(tmp_path / "home", data=str(folder))
    units = tmp_path / "home" / "units"
    found = {"verdicts": [made.path / "verdicts.parquet"], "documents": list(units.glob("read/*/documents.parquet"))}
    found["refused"] = list(units.glob("read/*/refused.parquet"))
    written = {split: pq.read_metadata(made.path / f"{split}.parquet").num_rows for split in SPLITS}
    with Tables({name: ds.dataset([str(path) for path in paths]) for name, paths in found.items()}, str(tmp_path)) as tables:
        assert conservation(tables, written)["documents_kept"] == sum(written.values())
        with pytest.raises(CheckFailed, match="were written"):
            conservation(tables, written | {"train": 1})


# One document's story


def test_a_limit_that_the_user_gave_is_the_one_that_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "copy.txt").write_text(story(3))
    made = built(tmp_path / "home", data=str(folder), thresholds={"too_many_words": 1234})
    (gone,) = [row for row in verdicts(made).values() if row["dup_of"]]
    kept = next(row["locator"] for row in verdicts(made).values() if row["doc_id"] == gone["dup_of"])
    show(Home(tmp_path / "home"), explain=kept)
    told = capsys.readouterr().out
    assert "at most 1,234" in told
    assert f"in its favour left: {gone['locator']} (exact copy, 100%)" in told
    show(Home(tmp_path / "home"), explain=gone["locator"])
    assert f"kept in its place: {kept}" in capsys.readouterr().out


def test_removed_reads_what_made_the_corpus_wherever_it_lies(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home, store = tmp_path / "home", tmp_path / "store"
    first = story(7).split("\n")[0]
    built(home, data=str(folder), store=str(store), copies=CopyRules(near=None))
    (folder / "story07.txt").write_text(story(77))
    built(home, data=str(folder), store=str(store), copies=CopyRules(near=None))
    assert len(list(store.glob("read/*"))) == 2
    show(Home(home), removed=first)
    assert "No document that was read holds this text." in capsys.readouterr().out
    show(Home(home), removed=story(77).split("\n")[0])
    assert capsys.readouterr().out.count("story07.txt") == 1
    for path in store.glob("read/*/documents.parquet"):
        path.unlink()
    with pytest.raises(UsageError, match="are gone"):
        show(Home(home), removed=first)
