"""Shards hold every document once, in an order that is no accident, and refuse what is not theirs; the two stages that lead to them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scratchlm.batches import waiting
from scratchlm.batches.shards import Encoded, Layout, Shards, open_split, write_split
from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import ArtifactError, DataError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.records import Document
from scratchlm.sources import record
from scratchlm.stages import tokenize, vocab
from scratchlm.tokenizer import fast, store
from scratchlm.tokenizer.interface import UNKNOWN

END = 99
LENGTHS = [3, 0, 7, 1, 12, 5, 2, 4]
DOCUMENTS = [Encoded(record.identify("x", str(n)), [10 + n] * length, "ab"[n % 2], bytes=10 * length) for n, length in enumerate(LENGTHS)]
QUIET = Journal()


def layout(**changes: int) -> Layout:
    return Layout("the-tokenizer", **({"opening": END, "size": 100, "shard_tokens": 11, "seed": 5} | changes))


def written(path: Path, documents: list[Encoded] = DOCUMENTS, **changes: int) -> Shards:
    write_split(path / "train", documents, layout(**changes))
    return open_split(path, "train", tokenizer="the-tokenizer")


def all_tokens(shards: Shards) -> list[int]:
    return shards.window(0, shards.tokens)[0].tolist()


def test_every_document_is_there_once_behind_a_separator(tmp_path: Path):
    shards = written(tmp_path)
    ids, segments = shards.window(0, shards.tokens)
    found = sorted(tuple(ids[segments == ordinal]) for ordinal in range(shards.documents))
    assert found == sorted((END, *document.ids) for document in DOCUMENTS)
    assert shards.tokens == sum(LENGTHS) + len(LENGTHS)
    assert shards.bytes == 10 * sum(LENGTHS)
    assert ids[shards.starts].tolist() == [END] * len(DOCUMENTS)


@pytest.mark.parametrize("at_once", [1, 3, 4, 8])
def test_it_does_not_matter_how_many_rows_wait_together(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for shard_tokens in (11, 1000):
        here = written(tmp_path / "all", shard_tokens=shard_tokens)
        with monkeypatch.context() as patch:
            patch.setattr(waiting, "AT_ONCE", at_once)
            there = written(tmp_path / "some", shard_tokens=shard_tokens)
        assert all_tokens(there) == all_tokens(here)
        for file in sorted((tmp_path / "all" / "train").glob("*.parquet")):
            assert pq.read_table(file).to_pylist() == pq.read_table(tmp_path / "some" / "train" / file.name).to_pylist()


def test_ids_of_more_than_2_gib_are_found():
    ids = pa.array([f"{n:01024d}" for n in range(waiting.AT_ONCE)])
    numbers = pa.array(np.arange(waiting.AT_ONCE))
    batches = [pa.record_batch([ids if field.name == "doc_id" else numbers.cast(field.type) for field in waiting.ROWS], waiting.ROWS)] * 33
    found = waiting.taken(batches, np.array([33 * waiting.AT_ONCE - 1, 5, 7 * waiting.AT_ONCE + 6]))
    assert [int(id) for id in found["doc_id"].to_pylist()] == found["place"].to_pylist() == [waiting.AT_ONCE - 1, 5, 6]


def test_shards_are_full_but_never_too_full(tmp_path: Path):
    sizes = [len(shard.tokens) for shard in written(tmp_path).shards]
    assert len(sizes) > 2
    assert sorted(sizes)[-1] == 13  # the document of 12 tokens and its separator, alone
    assert all(size <= 11 for size in sizes if size != 13)


def test_the_order_is_the_seeds_and_not_the_sources(tmp_path: Path):
    here, there, other = written(tmp_path / "1"), written(tmp_path / "2", DOCUMENTS[::-1]), written(tmp_path / "3", seed=6)
    assert all_tokens(here) == all_tokens(there)
    assert all_tokens(here) != all_tokens(other)
    for file in (tmp_path / "1" / "train").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / "train" / file.name).read_bytes()


def test_a_window_is_a_slice_of_all_shards_on_end(tmp_path: Path):
    shards = written(tmp_path)
    everything = np.concatenate([shard.tokens for shard in shards.shards])
    ordinals = np.cumsum(everything == END) - 1
    for start in range(shards.tokens):
        for length in (0, 1, 5, 17, shards.tokens - start):
            if start + length <= shards.tokens:
                ids, segments = shards.window(start, length)
                assert ids.tolist() == everything[start : start + length].tolist()
                assert segments.tolist() == ordinals[start : start + length].tolist()


@pytest.mark.parametrize(("start", "length"), [(-1, 3), (0, 43), (42, 1)])
def test_a_window_outside_is_an_error(start: int, length: int, tmp_path: Path):
    with pytest.raises(IndexError):
        written(tmp_path).window(start, length)


def test_the_index_names_each_document(tmp_path: Path):
    shards = written(tmp_path)
    tables = [pq.read_table(file) for file in sorted((tmp_path / "train").glob("*.idx.parquet"))]
    rows = [row | {"shard": number} for number, table in enumerate(tables) for row in table.to_pylist()]
    assert [row["doc_ordinal"] for row in rows] == list(range(len(DOCUMENTS)))
    for row in rows:
        document = next(document for document in DOCUMENTS if document.id == row["doc_id"])
        tokens = shards.shards[row["shard"]].tokens[row["start"] : row["start"] + row["length"]]
        assert tokens.tolist() == [END, *document.ids]
        assert (row["source"], row["bytes"]) == (document.source, document.bytes)


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "<u2"), (65_537, "<u4")])
def test_ids_take_the_smallest_width_that_holds_them(size: int, dtype: str, tmp_path: Path):
    last = Encoded("one", [size - 1], "a", bytes=1)
    shards = written(tmp_path, [last], size=size)
    assert all_tokens(shards) == [END, size - 1]
    assert shards.shards[0].tokens.dtype == np.dtype(dtype)


def test_a_split_without_documents_is_empty_and_not_missing(tmp_path: Path):
    shards = written(tmp_path, [])
    assert (shards.tokens, shards.bytes, shards.documents) == (0, 0, 0)


def test_two_documents_with_one_id_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match=DOCUMENTS[0].id):
        written(tmp_path, [*DOCUMENTS, DOCUMENTS[0]])


def test_what_a_kill_left_does_not_matter(tmp_path: Path):
    written(tmp_path / "1", [*DOCUMENTS, Encoded("more", [1] * 30, "a", bytes=1)])
    (tmp_path / "1" / "train" / "unsorted.tmp").write_bytes(b"torn")
    assert all_tokens(written(tmp_path / "1")) == all_tokens(written(tmp_path / "2"))
    assert len(list((tmp_path / "1" / "train").iterdir())) == len(list((tmp_path / "2" / "train").iterdir()))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


@pytest.mark.parametrize("harm", [cut, Path.unlink])
@pytest.mark.parametrize("name", ["shard-00001.bin", "shard-00001.idx.parquet", "shard-00001.json"])
def test_a_cut_or_missing_file_is_refused(name: str, harm, tmp_path: Path):
    written(tmp_path)
    harm(tmp_path / "train" / name)
    with pytest.raises(ArtifactError, match="--again"):
        open_split(tmp_path, "train")


def test_shards_of_another_tokenizer_are_refused(tmp_path: Path):
    written(tmp_path)
    with pytest.raises(ArtifactError, match="another tokenizer"):
        open_split(tmp_path, "train", tokenizer="its-neighbour")


def corpus_in(home: Home, train: list[str]) -> Artifact:
    splits = {"train": train, "validation": ["hello there, naïve world\n"], "test": []}

    def make(draft) -> None:
        for split, texts in splits.items():
            documents = [Document(text, record.identify(split, str(n)), "made") for n, text in enumerate(texts)]
            record.write(draft.path / f"{split}.parquet", documents)

    return home.build("corpus", vocab.Config(), {}, make)


def road(path: Path, kind: str = "bpe", journal: Journal = QUIET, size: int = 300) -> tuple[Home, Artifact, Artifact]:
    home = Home(path)
    corpus_in(home, [f"hello world number {n}, hello naïve there\n<|endoftext|>" for n in range(40)])
    made = vocab.run(vocab.Config(kind=kind, size=size), home, journal)
    return home, made, tokenize.run(tokenize.Config(shard_tokens=100), home, journal)


@pytest.mark.parametrize("kind", store.TOKENIZERS)
def test_shards_hold_the_corpus(kind: str, tmp_path: Path):
    home, vocabulary, made = road(tmp_path, kind, size=600)
    tokenizer, facts = store.load(vocabulary.path), store.facts_of(vocabulary.path)
    for split in tokenize.SPLITS:
        shards = open_split(made.path, split, tokenizer=facts.sha256)
        ids, segments = shards.window(0, shards.tokens)
        texts = sorted(tokenizer.decode(ids[segments == n].tolist()) for n in range(shards.documents))
        assert texts == sorted(document.text for document in record.read(home.open("corpus").path / f"{split}.parquet"))
        assert shards.bytes == made.counts[f"{split}_bytes"] == sum(len(text.encode()) for text in texts)
        assert shards.tokens == made.counts[f"{split}_tokens"]
        assert (ids == tokenizer.end_of_text).sum() == shards.documents == made.counts[f"{split}_documents"]


def test_the_vocabulary_is_measured_on_held_out_text(tmp_path: Path):
    events: list[Event] = []
    _, made, _ = road(tmp_path, journal=Journal(events.append))
    report = json.loads((made.path / "pieces.json").read_text())
    tokenizer = store.load(made.path)
    text = "hello there, naïve world\n"
    assert made.counts["bytes_per_token"] == round(len(text.encode()) / len(tokenizer.encode(text)), 4)
    assert len(report["longest"][0]["piece"]) >= len(report["longest"][1]["piece"]) > 4
    fewer = next(event for event in events if event["event"] == "fewer_pieces")
    assert (fewer["asked"], fewer["size"]) == (300, made.counts["size"])


def test_the_shards_say_who_encoded_them_and_a_missing_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, vocabulary, made = road(tmp_path, size=600)
    assert made.counts["engine"] == store.engine_of(vocabulary.path)
    (vocabulary.path / store.DECISIONS).write_text(json.dumps({"encoding": fast.NAME}))
    monkeypatch.setattr(fast, "installed", lambda: False)
    home.renew("shards")
    events: list[Event] = []
    assert tokenize.run(tokenize.Config(), home, Journal(events.append)).counts["engine"] == fast.PLAIN
    (said,) = (event["note"] for event in events if event["event"] == "engine")
    assert said == "gigatoken is not installed here: tokenizers encodes, to the same ids but more slowly"


@pytest.mark.skipif(not fast.installed(), reason="gigatoken is not installed")
def test_documents_left_to_the_other_engine_are_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, vocabulary, made = road(tmp_path, size=600)
    (vocabulary.path / store.DECISIONS).write_text(json.dumps({"encoding": fast.NAME}))
    monkeypatch.setattr(fast, "cut_alike", lambda text: "number 7," not in text)
    home.renew("shards")
    events: list[Event] = []
    again = tokenize.run(tokenize.Config(shard_tokens=100), home, Journal(events.append))
    assert again.counts["left_by_engine"] == 40  # all that one batch holds
    assert again.fingerprint == made.fingerprint
    (said,) = (event["note"] for event in events if event["event"] == "engine")
    assert said.startswith("gigatoken: 40 documents, encoded together with a character that it may cut otherwise, were left to tokenizers")


def test_an_engine_that_is_none_is_told(tmp_path: Path):
    home, vocabulary, _ = road(tmp_path, size=600)
    (vocabulary.path / store.DECISIONS).write_text(json.dumps({"encoding": "quicktoken"}))
    home.renew("shards")
    events: list[Event] = []
    assert tokenize.run(tokenize.Config(), home, Journal(events.append)).counts["engine"] == fast.PLAIN
    (said,) = (event["note"] for event in events if event["event"] == "engine")
    assert "names an engine 'quicktoken', which is none: tokenizers encodes" in said


def test_characters_that_found_no_place_are_counted(tmp_path: Path):
    _, vocabulary, made = road(tmp_path, "char", size=10)
    text = store.load(vocabulary.path).decode(store.load(vocabulary.path).encode("hello there, naïve world\n"))
    assert made.counts["validation_unknown"] == text.count(UNKNOWN) > 0


def test_a_sample_is_the_same_in_any_order(tmp_path: Path):
    texts = [f"{n:04d}" for n in range(50)]
    documents = [Document(text, record.identify("x", text), "made") for text in texts]
    config = vocab.Config(max_bytes=30)
    drawn = [vocab.sampled(record.write(tmp_path / "some.parquet", order), config) for order in (documents, documents[::-1])]
    assert drawn[0] == drawn[1]
    assert drawn[0].bytes == 32
    assert drawn[0].of == 200


def test_a_corpus_without_text_is_said(tmp_path: Path):
    home = Home(tmp_path)
    corpus_in(home, [])
    with pytest.raises(DataError, match="no text"):
        vocab.run(vocab.Config(), home, QUIET)


def test_the_same_corpus_gives_the_same_shards(tmp_path: Path):
    prints = [[made.fingerprint for made in road(tmp_path / name)[1:]] for name in ("one", "two")]
    assert prints[0] == prints[1]
