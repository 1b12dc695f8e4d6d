"""The corpus engine from files to splits: what is planted is found, every text is accounted for, and no choice of workers shows."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tales import HERE, SPLITS, built, report, story, texts, verdicts, write_stories

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.records import Document
from scratchlm.corpus import road
from scratchlm.corpus.beside import Quality
from scratchlm.corpus.copies import CopyRules
from scratchlm.corpus.gathering import Extra
from scratchlm.corpus.mix import MixConfig, Share
from scratchlm.corpus.substrings import PassageRules
from scratchlm.rules import filters, words
from scratchlm.rules.filters import RULES
from scratchlm.sources import record
from scratchlm.stages import corpus
from scratchlm.units.engine import Engine
from scratchlm.views.corpus import show

QUESTION = "A farmer has seventeen sheep and all but nine run away over the hill, so how many sheep does the farmer have left at home?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty stories, a copy, a near copy, an address, a question of an exam, and junk."""
    made = write_stories(tmp_path / "texts", 30)
    (made / "copy.txt").write_text(story(3))
    (made / "near.txt").write_text(story(4).replace("number4x8", "a new word here"))
    (made / "mail.txt").write_text(story(40) + "\nWrite to jane.doe@example.org or call +1 202 555 0143 today.")
    (made / "exam.txt").write_text(story(41) + "\n" + QUESTION)
    (made / "junk.txt").write_bytes(bytes(range(256)) * 8)
    return made


def bytes_of(made: Artifact) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(made.path.rglob("*.parquet"))}


def test_every_planted_thing_is_found_and_every_text_accounted_for(folder: Path, tmp_path: Path):
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps({"question": QUESTION, "answer": "9"}))
    made = built(tmp_path / "home", data=str(folder), evals=(str(exam),))
    told = verdicts(made)
    gone = {name: (row["stage"], row["rule"]) for name, row in told.items() if row["split"] is None}
    assert set(gone) == {"copy.txt", "near.txt", "exam.txt"} or set(gone) == {"story03.txt", "story04.txt", "exam.txt"}
    assert gone["exam.txt"] == ("contamination", "eval item")
    assert {gone[name] for name in set(gone) - {"exam.txt"}} == {("exact", "exact copy"), ("near", "near copy")}
    kept = texts(made)["mail.txt"]
    assert "<email>" in kept
    assert "<phone>" in kept
    assert "jane.doe" not in kept
    (unread,) = pq.read_table(made.path / "dropped" / "unread.parquet").to_pylist()
    assert (unread["locator"], unread["rule"]) == ("junk.txt#file", "not text")
    books = report(made)["conservation"]
    assert books["documents_in"] == 35 == books["documents_kept"] + books["documents_dropped"]
    edited = books["characters_kept"] + books["characters_dropped"] + books["characters_edited_away"]
    assert books["characters_in"] == edited


def test_a_copy_is_dropped_for_a_document_that_is_kept(folder: Path, tmp_path: Path):
    told = verdicts(built(tmp_path / "home", data=str(folder)))
    by_id = {row["doc_id"]: row for row in told.values()}
    copies = [row for row in told.values() if row["dup_of"]]
    assert len(copies) == 2
    assert all(by_id[row["dup_of"]]["split"] is not None for row in copies)


def test_edits_say_where_they_were_made_and_never_what_stood_there(folder: Path, tmp_path: Path):
    made = built(tmp_path / "home", data=str(folder))
    (mail,) = [d for split in SPLITS for d in record.read(made.path / f"{split}.parquet") if d.facts["locator"] == "mail.txt"]
    before = (folder / "mail.txt").read_text()
    edits = json.loads(str(mail.facts["edits"]))
    assert [before[edit["start"] : edit["end"]] for edit in edits] == ["jane.doe@example.org", "+1 202 555 0143"]
    assert "jane" not in json.dumps(edits)


def test_processes_and_this_process_write_the_same_bytes(folder: Path, tmp_path: Path):
    one = built(tmp_path / "one", data=str(folder))
    two = built(tmp_path / "two", data=str(folder), engine=Engine(workers=2))
    assert bytes_of(one) == bytes_of(two)
    assert one.fingerprint == two.fingerprint


def test_another_limit_reads_and_measures_nothing_anew(folder: Path, tmp_path: Path):
    done: list[tuple[str, int]] = []

    def watch(event: Event) -> None:
        if event["event"] == "units":
            done.extend((step, event["to_do"]) for step in event["steps"])

    home = Home(tmp_path / "home")
    corpus.run(corpus.Config(minimum_bytes=1, data=str(folder), engine=HERE), home, Journal())
    changed = corpus.Config(minimum_bytes=1, data=str(folder), engine=HERE, thresholds={"too_many_words": 170})
    made = corpus.run(changed, home, Journal(watch))
    assert ("read", 0) in done
    assert ("measure", 0) in done
    assert dict(done)["judge"] > 0
    assert {row["rule"]: row["first"] for row in report(made)["rules"]}["too_many_words"] >= 2


def test_what_was_finished_before_a_kill_is_not_done_again(folder: Path, tmp_path: Path):
    home = tmp_path / "home"
    first = bytes_of(built(home, data=str(folder)))
    for step in ("select", "judge"):
        shutil.rmtree(home / "units" / step)
    shutil.rmtree(home / "corpus")
    assert bytes_of(built(home, data=str(folder))) == first


def test_rules_are_counted_first_at_all_and_alone(folder: Path, tmp_path: Path):
    (folder / "short.txt").write_text("the man and his dog go out to see the sun")
    made = built(tmp_path / "home", data=str(folder), thresholds={"too_few_words": 20, "words_too_short": 5})
    rows = {row["rule"]: row for row in report(made)["rules"]}
    failing = verdicts(made)["short.txt"]["failing"]
    assert failing[0] == "too_few_words"
    assert len(failing) > 1
    assert (rows["too_few_words"]["first"], rows["too_few_words"]["any"], rows["too_few_words"]["alone"]) == (1, 1, 0)


def test_a_mix_sees_a_source_as_often_as_it_says_in_an_order_of_its_own(folder: Path, tmp_path: Path):
    more = tmp_path / "more"
    more.mkdir()
    for number in range(50, 56):
        (more / f"extra{number}.txt").write_text(story(number))
    mix = MixConfig(sources={"folder": Share(epochs=1), "more": Share(epochs=2)})
    extra = Extra(name="more", folder=str(more))
    made = built(tmp_path / "home", data=str(folder), more=(extra,), mix=mix)
    train = list(record.read(made.path / "train.parquet"))
    names = [str(d.facts["locator"]) for d in train if d.source == "more"]
    assert sorted(names) == sorted([*set(names), *set(names)])
    assert [d.id for d in train] != sorted(d.id for d in train)
    again = built(tmp_path / "again", data=str(folder), more=(extra,), mix=mix)
    assert [d.id for d in record.read(again.path / "train.parquet")] == [d.id for d in train]


def test_a_passage_that_stands_twice_is_cut_from_one(folder: Path, tmp_path: Path):
    passage = story(77, words=40).replace("\n", " ")
    for name in ("story05.txt", "story06.txt"):
        (folder / name).write_text((folder / name).read_text() + "\n" + passage)
    made = built(tmp_path / "home", data=str(folder), passages=PassageRules(least=100), copies=CopyRules(near=None))
    kept = texts(made)
    assert sum(passage[20:-20] in kept[name] for name in ("story05.txt", "story06.txt")) == 1
    assert {row["op"] for row in report(made)["edits"]} >= {"repeated passage"}


def test_only_the_languages_asked_for_are_kept(folder: Path, tmp_path: Path):
    german = "Der alte Mann ging mit seinem Hund durch den Wald und sprach nicht ein einziges Wort, denn es war schon spät geworden. " * 3
    (folder / "german.txt").write_text(german)
    (folder / "english.txt").write_text(
        "The old man walked through the forest with his dog and did not say a single word, because it was late. " * 3
    )
    told = verdicts(
        built(tmp_path / "home", data=str(folder), languages=("en",), thresholds={"duplicate_5_gram": 1, "duplicate_10_gram": 1})
    )
    assert told["german.txt"]["rule"] == "other language"
    assert told["english.txt"]["rule"] != "other language"


def test_the_story_of_a_document_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    built(tmp_path / "home", data=str(folder))
    show(Home(tmp_path / "home"), explain="mail.txt")
    told = capsys.readouterr().out
    assert "kept in" in told
    assert "pii:email: 1 place," in told
    assert "too_few_words" in told
    with pytest.raises(UsageError, match="--removed"):
        show(Home(tmp_path / "home"), explain="nobody.txt")


def test_the_story_ends_with_the_original_read_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    more = tmp_path / "more"
    more.mkdir()
    rows = [{"said": f"{story(60 + number)} jane{number}@example.org", "at": number} for number in range(3)]
    (more / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    extra = Extra(name="more", folder=str(more), columns={"text": "said"})
    built(tmp_path / "home", data=str(folder), more=(extra,))

    def last(locator: str) -> str:
        show(Home(tmp_path / "home"), explain=locator)
        return capsys.readouterr().out.splitlines()[-1]

    begins = " ".join(story(7).split())[:60]
    assert last("story07.txt").startswith(f"original  {folder}: story07.txt, {len(story(7)):,} characters: {begins}")
    assert last("rows.jsonl#2").startswith(
        f"original  {more}: rows.jsonl#2, {len(rows[1]['said']):,} characters: {' '.join(story(61).split())[:60]}"
    )
    (folder / "mail.txt").write_text("Write to jane.doe@example.org, who has moved")
    assert last("mail.txt").endswith("mail.txt, 44 characters: Write to <email>, who has moved")
    (folder / "story07.txt").unlink()
    assert last("story07.txt") == "original  story07.txt is not there any more"
    shutil.rmtree(more)
    assert last("rows.jsonl#2").startswith("original  cannot be read again: ")


def test_what_was_not_compared_and_what_was_measured_in_part_is_counted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "long.txt").write_text(story(70, 400))
    monkeypatch.setattr(words, "MEASURED", 2_000)
    told = report(built(tmp_path / "home", data=str(folder), passages=PassageRules(least=80)))
    assert told["sampled"] == 1
    assert told["passages"] == {"crowded": 0, "apart": 0, "blocks_in_the_way": 0}
    assert report(built(tmp_path / "other", data=str(folder)))["passages"] == {}


def test_a_text_that_is_not_in_the_corpus_has_its_reason(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    built(tmp_path / "home", data=str(folder))
    show(Home(tmp_path / "home"), removed="jane.doe@example.org")
    assert "cut there: pii:email" in capsys.readouterr().out
    show(Home(tmp_path / "home"), removed="never written anywhere")
    assert "No document" in capsys.readouterr().out


def test_a_text_is_found_though_it_is_broken_into_lines_or_written_otherwise(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "mail.txt").write_text(story(40) + "\nHe undid the\nrope from\u00a0the Tree (jane.doe@example.org) and ÄHNLICH.\n")
    built(tmp_path / "home", data=str(folder))
    show(Home(tmp_path / "home"), removed="  he undid  the rope FROM the tree (jane.doe@example.org) and ähnlich.")
    assert "cut there: pii:email" in capsys.readouterr().out
    show(Home(tmp_path / "home"), removed="he undid the rope from the tree")
    told = capsys.readouterr().out
    assert "mail.txt" in told
    assert "kept in" in told
    assert "cut there" not in told
    for nothing in ("", " \n"):
        with pytest.raises(UsageError, match="--removed: give some words of the text that you miss"):
            show(Home(tmp_path / "home"), removed=nothing)


def test_a_text_that_is_not_found_may_stand_in_what_could_not_be_read(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "posts.jsonl").write_text(json.dumps({"text": story(50)}) + "\n{ a torn Line of\tours\n")
    made = built(tmp_path / "home", data=str(folder))
    unread = pq.read_table(made.path / "dropped" / "unread.parquet").num_rows
    assert unread == 2
    show(Home(tmp_path / "home"), removed="never written anywhere")
    assert f"2 records could not be read, listed in {made.path}/dropped/unread.parquet." in capsys.readouterr().out
    show(Home(tmp_path / "home"), removed="a torn line of ours")
    told = capsys.readouterr().out
    assert "No document" in told
    assert "posts.jsonl#" in told
    assert "not read: " in told


def test_a_file_of_several_documents_and_one_that_was_not_read_are_explained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [{"text": story(50 + n), "url": f"https://example.org/{n % 2}"} for n in range(3)]
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    (folder / "many.jsonl").write_text("".join(json.dumps({"text": story(60 + n)}) + "\n" for n in range(12)))
    (folder / "one.jsonl").write_text(json.dumps({"text": story(90)}) + "\n")
    told = verdicts(built(tmp_path / "home", data=str(folder)))

    def explained(name: str) -> str:
        show(Home(tmp_path / "home"), explain=name)
        return capsys.readouterr().out

    (one,) = [name for name in told if name.startswith("one.jsonl")]
    assert explained("one.jsonl").startswith(one)
    assert "not read: " in explained("junk.txt")
    assert explained("https://example.org/1").startswith("posts.jsonl#")
    assert explained(told["story05.txt"]["doc_id"][:12]).startswith("story05.txt")
    posts = sorted(name for name in told if name.startswith("posts.jsonl"))
    with pytest.raises(UsageError, match=f"posts.jsonl was read as 2 documents: {', '.join(posts)}. Name one."):
        explained("posts.jsonl")
    many = sorted((name for name in told if name.startswith("many.jsonl")), key=lambda name: (len(name), name))
    with pytest.raises(UsageError, match=f"many.jsonl was read as 12 documents: {many[0]}, {many[1]} … {many[-1]}. Name one."):
        explained("many.jsonl")
    with pytest.raises(UsageError, match=r"no document .* Did you mean 'story05.txt'"):
        explained("Story05.tx")


def test_a_folder_with_too_little_says_what_became_of_it(tmp_path: Path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "one.txt").write_text("too short")
    with pytest.raises(DataError, match="few"):
        corpus.run(corpus.Config(data=str(tmp_path / "few"), engine=HERE), Home(tmp_path / "home"), Journal())


def test_unknown_names_are_answered_with_the_nearest(folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="too_few_words"):
        built(tmp_path / "home", data=str(folder), thresholds={"too_few_word": 3})
    with pytest.raises(UsageError, match="email"):
        built(tmp_path / "home", data=str(folder), private=corpus.Private(kinds=("emails",)))


def test_changed_code_makes_everything_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = Home(tmp_path / "home")
    config = corpus.Config(minimum_bytes=1, data=str(folder), engine=HERE)
    corpus.run(config, home, Journal())
    before = sorted(path.name for path in (home.path / "units" / "read").iterdir())
    monkeypatch.setattr(road, "code_version", lambda: "other")
    home.renew("corpus")
    corpus.run(config, home, Journal())
    assert set(before) < {path.name for path in (home.path / "units" / "read").iterdir()}


def test_a_question_added_to_an_exam_or_a_host_to_a_list_makes_another_corpus(folder: Path, tmp_path: Path):
    exam, hosts = tmp_path / "exam.jsonl", tmp_path / "hosts.txt"
    exam.write_text(json.dumps({"question": "Who was it that lived in the old house on the hill for all of those long years?"}))
    hosts.write_text("never.example\n")
    (folder / "pages.jsonl").write_text(
        "\n".join(json.dumps({"text": story(90 + n), "url": f"https://site{n}.example/"}) for n in range(3))
    )
    config = {"data": str(folder), "evals": (str(exam),), "blocklists": (str(hosts),)}
    assert verdicts(built(tmp_path / "home", **config))["exam.txt"]["rule"] is None
    exam.write_text(exam.read_text() + "\n" + json.dumps({"question": QUESTION}))
    hosts.write_text("never.example\nsite1.example\n")
    told = verdicts(built(tmp_path / "home", **config))
    assert told["exam.txt"]["rule"] == "eval item"
    assert {name: told[f"pages.jsonl#{name}"]["rule"] for name in (1, 2, 3)} == {1: None, 2: "blocked address", 3: None}


def test_a_judge_of_quality_learns_from_two_folders_and_drops_what_is_like_the_second(folder: Path, tmp_path: Path):
    def spam(number: int) -> str:
        return "\n".join(f"BUY {number * k} NOW!!! click >> {k}{number} << $$$ {k * 7}" for k in range(20))

    for name, of in (("good", story), ("bad", spam)):
        (tmp_path / name).mkdir()
        for number in range(30):
            (tmp_path / name / f"{number}.txt").write_text(of(1000 + number))
    for number in range(3):
        (folder / f"spam{number}.txt").write_text("\n".join(f"BUY {k + number} NOW!!! click >> {k} << $$$ {k}" for k in range(30)))
    rules = Quality(like=str(tmp_path / "good"), unlike=str(tmp_path / "bad"))
    told = verdicts(built(tmp_path / "home", data=str(folder), quality=rules, copies=CopyRules(near=None)))
    assert {told[f"spam{number}.txt"]["rule"] for number in range(3)} <= {"poor quality", *RULES}
    assert {"poor quality" in told[f"spam{number}.txt"]["failing"] for number in range(3)} == {True}
    assert [name for name, row in told.items() if row["rule"] == "poor quality" and name.startswith("story")] == []


def test_mistakes_in_names_are_told_before_any_work(folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"corpus\.mix\.sources: no source 'folders'.*Did you mean 'folder'"):
        built(tmp_path / "home", data=str(folder), mix=MixConfig(sources={"folders": Share(epochs=1)}))
    extra = Extra(name="more", folder=str(folder))
    with pytest.raises(ValueError, match="two sources are called 'more'"):
        corpus.Config(more=(extra, extra))
    with pytest.raises(ValueError, match="'folder' is what"):
        Extra(name="folder", folder=str(folder))
    with pytest.raises(DataError, match=r"absent\.txt: there is no such file"):
        built(tmp_path / "home", data=str(folder), blocklists=(str(tmp_path / "absent.txt"),))
    assert not (tmp_path / "home" / "units").exists()


def test_a_document_that_kills_whoever_measures_it_is_left_out_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    measure = filters.values

    def values(document: Document, lang: str) -> dict[str, Any]:
        if document.facts["locator"] == "story11.txt" and document.text:
            raise RecursionError("too much of it")
        return measure(document, lang)

    monkeypatch.setattr(filters, "values", values)
    made = built(tmp_path / "home", data=str(folder))
    told = verdicts(made)
    assert (told["story11.txt"]["stage"], told["story11.txt"]["rule"]) == ("measure", "quarantined")
    assert told["story11.txt"]["n_chars"] == len(story(11))
    assert [name for name, row in told.items() if row["rule"] == "quarantined"] == ["story11.txt"]
