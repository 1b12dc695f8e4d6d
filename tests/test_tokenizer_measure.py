"""What the report says of a tokenizer, by hand; and the stage that trains one: its settings, its engine, and what it refuses."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from foreign_models import write_tokenizer

from scratchlm import cli
from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.config import from_plain
from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.records import Document
from scratchlm.evals.vocabulary import IN_NO_TEXT, bytes_lost, character_with, measured
from scratchlm.report import vocab as page
from scratchlm.sources import record
from scratchlm.stages import vocab
from scratchlm.tokenizer import bpe, fast, splits, store
from scratchlm.tokenizer.bytelevel import ByteLevel
from scratchlm.tokenizer.foreign_files import adopt
from scratchlm.tokenizer.interface import FILE, Ragged

TEXTS = ["It's 12 o'clock; the naïve cat sat. <|im_start|> IT'S 12345\r\n"] * 8
BYTES = store.train("byte", [], size=259)


def document(text: str, source: str = "made", **facts: str) -> Document:
    return Document(text, record.identify(source, text), source, facts)


def corpus_in(home: Home, texts: list[str] = TEXTS) -> None:
    """A corpus of ``texts``, also held out."""

    def make(draft: Any) -> None:
        for split in ("train", "validation", "test"):
            found = [Document(text, record.identify(split, str(n)), "made") for n, text in enumerate(texts)]
            record.write(draft.path / f"{split}.parquet", found)

    home.build("corpus", vocab.Config(), {}, make)


def run(path: Path, texts: list[str] = TEXTS, **settings: Any) -> tuple[Artifact, list[Event]]:
    home, events = Home(path), []
    corpus_in(home, texts)
    return vocab.run(from_plain(vocab.Config, {"size": 600} | settings, "vocab"), home, Journal(events.append)), events


# Facts


def test_bytes_per_token_are_counted_by_language_and_source():
    documents = [document("abc", lang="en"), document("dé", lang="de"), document("x", "web", lang="en"), document("", "web")]
    facts = measured(BYTES, documents)
    one = {"documents": 2, "bytes": 4, "tokens": 4, "bytes_per_token": 1.0}
    assert facts["languages"] == {
        "en": one,
        "de": one | {"documents": 1, "bytes": 3, "tokens": 3},
        "unknown": dict.fromkeys(one, 0) | {"documents": 1},
    }
    assert [row["bytes"] for row in facts["sources"].values()] == [6, 1]
    assert list(facts["sources"]) == ["made", "web"]
    assert (facts["bytes"], facts["tokens"], facts["bytes_per_token"]) == (7, 7, 1.0)


def test_another_tokenizer_is_measured_on_the_same_text():
    pairs = bpe.train(["aaaaaaaa"], 262)
    facts = measured(pairs, [document("aaaaaaaa", lang="en")], BYTES)
    row = {"documents": 1, "bytes": 8, "tokens": 2, "bytes_per_token": 4.0, "other_tokens": 8, "other_bytes_per_token": 1.0}
    assert facts["languages"]["en"] == facts["sources"]["made"] == row
    assert {name: facts[name] for name in row} == row


def test_pieces_are_listed_longest_most_used_and_never_used():
    pairs = store.train("bpe", ["aaaa aaaa aaaa"], size=270)
    facts = measured(pairs, [document("aaaa"), document("b b")])
    assert facts["longest"][0]["piece"] == " aaaa"
    assert facts["longest"][0]["times"] == 0
    assert [(row["piece"], row["times"]) for row in facts["most_frequent"]] == [("b", 2), (" ", 1), ("aaaa", 1)]
    used = {id for text in ("aaaa", "b b") for id in pairs.encode(text)}
    assert facts["pieces_used"] == len(used)
    assert facts["never_used"] == pairs.size - 3 - len(used)
    assert not {row["id"] for row in facts["idle"]} & used


def test_coverage_is_the_share_of_characters_that_are_known():
    letters = store.train("char", ["abc"], size=20)
    facts = measured(letters, [document("abcé"), document("abc🎈")])
    assert facts["coverage"] == {"characters": 8, "unknown": 2, "share": 0.75}
    assert facts["round_trip"]["documents_lost"] == [document("abcé").id, document("abc🎈").id]
    assert measured(BYTES, [document("abcé")])["coverage"]["share"] == 1.0


def test_every_byte_of_utf8_is_tried_in_a_character_of_its_own():
    for byte in range(256):
        if byte not in IN_NO_TEXT:
            assert byte in character_with(byte).encode()
    every = {byte for code in range(0x110000) if not 0xD800 <= code < 0xE000 and not code % 61 for byte in chr(code).encode()}
    assert not every & set(IN_NO_TEXT)


@pytest.mark.parametrize("kind", [name for name in store.TOKENIZERS if name != "char"])
def test_no_byte_is_lost(kind: str):
    tokenizer = store.train(kind, TEXTS, size=600)
    assert bytes_lost(tokenizer) == []
    pieces = {tokenizer.piece(id) for id in range(tokenizer.size)}
    assert all(bytes([byte]) in pieces for byte in range(256))


def test_bytes_that_are_lost_are_named():
    lost = measured(store.train("char", ["ab"], size=20), [])["round_trip"]["bytes_lost"]
    assert {"61", "62"} & {*lost} == set()
    assert {"63", "f4"} <= {*lost}
    assert len(lost) == 256 - len(IN_NO_TEXT) - 2


def test_no_text_gives_no_share():
    facts = measured(BYTES, [])
    assert (facts["bytes_per_token"], facts["pieces_used"], facts["languages"]) == (0.0, 0, {})


# The stage


@pytest.mark.parametrize("split", splits.SPLITS)
def test_the_split_reaches_the_file(split: str, tmp_path: Path):
    made, _ = run(tmp_path, split=split)
    spec = json.loads((made.path / FILE).read_text())
    assert spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == splits.SPLITS[split]


@pytest.mark.parametrize("kind", store.TOKENIZERS)
def test_every_kind_is_made_measured_and_loaded(kind: str, tmp_path: Path):
    made, events = run(tmp_path, kind=kind)
    tokenizer, report = store.load(made.path), json.loads((made.path / "pieces.json").read_text())
    assert tokenizer.encode_batch(TEXTS).lists() == [tokenizer.encode(text) for text in TEXTS]
    assert report["round_trip"]["documents_lost"] == []
    assert report["tokens"] == sum(len(tokenizer.encode(text)) for text in TEXTS)
    told = {event["event"]: event for event in events}
    assert told["fewer_pieces"]["size"] == tokenizer.size == made.counts["size"]
    assert told["vocabulary"]["engine"] == made.counts["engine"] == store.engine_of(made.path)


@pytest.mark.skipif(not fast.installed(), reason="gigatoken is not installed")
def test_the_fastest_engine_is_taken_where_it_is_equal(tmp_path: Path):
    assert run(tmp_path / "one")[0].counts["engine"] == fast.NAME
    assert run(tmp_path / "two", engine=fast.PLAIN)[0].counts["engine"] == fast.PLAIN
    assert run(tmp_path / "three", kind="unigram")[0].counts["engine"] == fast.PLAIN
    assert run(tmp_path / "one")[0].fingerprint == run(tmp_path / "two", engine=fast.PLAIN)[0].fingerprint


@pytest.mark.skipif(not fast.installed(), reason="gigatoken is not installed")
def test_an_engine_asked_for_too_late_is_told_and_how_to_get_it(tmp_path: Path):
    quick, _ = run(tmp_path)
    for engine in ("fastest", fast.NAME):
        assert run(tmp_path, engine=engine) == (quick, [])
    again, (event,) = run(tmp_path, engine=fast.PLAIN)
    assert (again, store.engine_of(again.path)) == (quick, fast.NAME)
    assert f"encodes with {fast.NAME}: --again makes the same once more, for {fast.PLAIN}" in event["note"]
    plain, _ = run(tmp_path / "plain", engine=fast.PLAIN)
    for engine in ("fastest", fast.NAME):
        again, (event,) = run(tmp_path / "plain", engine=engine)
        assert again == plain
        assert f"for {fast.NAME}" in event["note"]


def test_no_other_engine_is_told_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast, "installed", lambda: False)
    monkeypatch.setattr(fast, "encoder", lambda text: None)
    made, _ = run(tmp_path)
    assert run(tmp_path) == (made, [])
    (made.path / store.DECISIONS).write_text(json.dumps({"encoding": fast.NAME}))  # as of another machine
    assert run(tmp_path) == (made, [])
    assert [event["event"] for event in run(tmp_path, engine=fast.PLAIN)[1]] == ["engine"]


@pytest.mark.parametrize(("kind", "installed", "said"), [("bpe", False, "not installed"), ("char", True, "not for 'char'")])
def test_an_engine_that_cannot_be_had_is_said(kind: str, installed: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast, "installed", lambda: installed)
    with pytest.raises(UsageError, match=said):
        run(tmp_path, kind=kind, engine=fast.NAME)


def test_an_engine_that_gives_other_ids_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def wrong(text: str):
        plain = bpe.read(text)
        return lambda texts: Ragged.of(ids[:-1] for ids in map(plain.encode, texts))

    monkeypatch.setattr(fast, "encoder", wrong)
    with pytest.raises(CheckFailed, match=r"two engines give document .* other ids"):
        run(tmp_path)


def test_a_text_that_does_not_come_back_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ByteLevel, "decode", lambda self, ids: "something else")
    with pytest.raises(CheckFailed, match="8 held-out documents do not come back"):
        run(tmp_path, engine=fast.PLAIN)


def test_gpt2_is_measured_beside_ours(real_data: Path, tmp_path: Path):
    made, _ = run(tmp_path, compare=str(real_data / "gpt2_bpe"))
    report = json.loads((made.path / store.DECISIONS).read_text())["compared"]
    section = page.section(made)
    assert section["other"] == "gpt2_bpe"
    assert [row["other_tokens"] for row in section["tables"][1]["rows"]] == [report["other_tokens"]]
    gpt2 = adopt(real_data / "gpt2_bpe").tokenizer
    assert report["other_tokens"] == sum(len(gpt2.encode(text)) for text in TEXTS)
    assert report["other_tokens"] == sum(row["other_tokens"] for row in report["sources"].values())
    assert report["other_bytes_per_token"] == round(report["bytes"] / report["other_tokens"], 4)


def test_a_comparison_changes_nothing_of_the_tokenizer(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain, _ = run(tmp_path / "one")
    monkeypatch.chdir(real_data)
    compared, events = run(tmp_path / "two", compare="gpt2_bpe")
    assert compared.fingerprint == plain.fingerprint
    assert "not_compared" not in {event["event"] for event in events}
    monkeypatch.chdir(tmp_path)
    again, events = run(tmp_path / "one", compare=str(real_data / "gpt2_bpe"))
    assert again == plain
    assert "--again makes the same once more" in next(event["note"] for event in events if event["event"] == "not_compared")


def test_another_folder_of_the_same_name_is_another_tokenizer(tmp_path: Path):
    for parent in ("a", "b"):
        write_tokenizer(tmp_path / parent / "tok", turns=False)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    made, _ = run(tmp_path / "home", compare=str(tmp_path / "a" / "tok"))
    for parent, told in (("a", []), ("link", []), ("b", ["not_compared"])):
        again, events = run(tmp_path / "home", compare=str(tmp_path / parent / "tok"))
        assert (again, [event["event"] for event in events]) == (made, told)


def test_a_finished_tokenizer_is_there_though_what_it_was_compared_with_is_gone(real_data: Path, tmp_path: Path):
    folder = tmp_path / "gpt2"
    shutil.copytree(real_data / "gpt2_bpe", folder)
    made, _ = run(tmp_path / "home", compare=str(folder))
    shutil.rmtree(folder)
    assert run(tmp_path / "home", compare=str(folder))[0] == made


def test_what_does_not_say_where_it_cuts_is_compared_by_the_split_that_is_named(tmp_path: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    lines = [base64.b64encode(bytes([byte])) + b" %d" % byte for byte in range(256)]
    (folder / "x.tiktoken").write_bytes(b"\n".join(lines))
    rows = {"256": {"content": "</s>", "special": True}}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": rows, "eos_token": "</s>"}))
    with pytest.raises(UsageError, match=r"--set vocab\.compare_split=NAME"):
        run(tmp_path / "home", compare=str(folder))
    made, _ = run(tmp_path / "home", compare=str(folder), compare_split="gpt4")
    assert json.loads((made.path / store.DECISIONS).read_text())["compared"]["other_bytes_per_token"] == 1.0


@pytest.mark.parametrize(
    "sets", [["vocab.kind=bpee"], ["vocab.size=100"], ["vocab.split=gpt9"], ["vocab.engine=gigatoken", "vocab.kind=unigram"]]
)
def test_a_setting_that_cannot_be_leaves_the_finished_tokenizer(sets: list[str], tmp_path: Path):
    path = tmp_path / "home"
    corpus_in(Home(path))
    words = ["vocab", "smoke", "--home", str(path)]
    assert cli.answer([*words, "--set", "vocab.size=400", "--json"]) == 0
    made = Home(path).open("tokenizer")
    with pytest.raises(UsageError, match="vocab"):
        cli.answer([*words, "--again", "--json", *(word for each in sets for word in ("--set", each))])
    assert Home(path).open("tokenizer") == made
    made.verify()
    assert cli.answer([*words, "--json"]) == 0  # the recipe is as it was, too
    assert Home(path).open("tokenizer") == made


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["vocab.compare=/nonexistent"], r"vocab\.compare: /nonexistent: no tokenizer is in it"),
        (["vocab.compare=HERE"], r"vocab\.compare: .*: no tokenizer is in it"),
        (["vocab.compare_split=nonsense"], r"vocab\.compare_split: 'nonsense' will not do: give one of cl100k, gpt-2"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_what_cannot_be_compared_is_refused_whether_or_not_it_is_finished(sets: list[str], said: str, finished: bool, tmp_path: Path):
    path = tmp_path / "home"
    corpus_in(Home(path))
    words = ["vocab", "smoke", "--home", str(path), "--json"]
    assert cli.answer([*words, "--set", "vocab.size=400"]) == 0
    if not finished:
        shutil.rmtree(path / "tokenizer")
    with pytest.raises(UsageError, match=said) as caught:
        cli.answer([*words, *(word for each in sets for word in ("--set", each.replace("HERE", str(tmp_path))))])
    assert ("\n" in str(caught.value), caught.value.exit_code, (path / "tokenizer").exists()) == (False, 2, finished)
    assert cli.answer(words) == 0  # nothing of it stuck


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "char", "size": 4}, "100.0 % of the held-out characters are unknown to it and do not come back. Give a larger"),
        ({"kind": "char", "size": 60}, None),
        ({"kind": "byte"}, None),
    ],
)
def test_a_tokenizer_that_does_not_know_the_text_says_so(settings: dict[str, Any], told: str | None, tmp_path: Path):
    notes = [event["note"] for event in run(tmp_path, **settings)[1] if event["event"] == "unknown_characters"]
    assert [note.startswith(str(told)) for note in notes] == [True] * (told is not None)


@pytest.mark.parametrize(
    ("unknown", "full", "told"), [(10, True, None), (11, True, "--set vocab.size=N, or a kind"), (11, False, "a text to")]
)
def test_one_in_a_hundred_may_be_unknown(unknown: int, full: bool, told: str | None):
    note = vocab.lossy({"characters": 1000, "unknown": unknown}, full=full)
    assert note is None if told is None else told in str(note) and str(note).startswith("1.1 %")


def test_how_much_of_the_text_was_learned_from_is_counted(tmp_path: Path):
    assert run(tmp_path / "one", kind="unigram")[0].counts["learned_share"] == 1.0
    assert run(tmp_path / "two", kind="byte")[0].counts["learned_share"] == 1.0


def test_pieces_that_were_never_used_are_shown_without_single_bytes_the_longest_first(tmp_path: Path):
    pairs = store.train("bpe", ["aaaa aaaa aaaa"], size=270)
    idle = [row["piece"] for row in measured(pairs, [document("b b")])["idle"]]
    assert idle == sorted(idle, key=len, reverse=True)
    assert min(map(len, idle)) > 1
    assert measured(pairs, [document("\x07\x07 a")])["most_frequent"][0]["shown"] == "<U+0007>"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "gpt5"}, r"no split 'gpt5'\. Did you mean 'gpt"),
        ({"kind": "wordpieces"}, r"no kind of tokenizer 'wordpieces'\. Did you mean 'wordpiece'"),
        ({"kind": "wordpiece", "size": 300}, "needs 514 rows"),
        ({"size": 2**40}, "Give fewer"),
        ({"engine": "other"}, "engine"),
        ({"compare": "/nowhere"}, "no tokenizer is in it"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(settings: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises(UsageError, match=said):
        run(tmp_path, **settings)
