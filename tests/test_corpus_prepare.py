"""Documents at rest, and which of them are kept aside."""

from pathlib import Path

import pytest

from scratchlm.core.errors import ArtifactError
from scratchlm.core.records import Document
from scratchlm.corpus import split
from scratchlm.sources import record


def story(number: int, host: str = "", **facts: str | float) -> Document:
    text = " ".join(f"word{number}x{place}" for place in range(40))
    host = host or f"group{number}"
    return Document(text, record.identify("test", str(number)), "test", {"host": host, "doc_type": "book", "locator": str(number), **facts})


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


def test_a_pinned_file_of_a_small_folder_keeps_its_end():
    documents = [story(n, host="pinned" if n % 2 else "other") for n in range(40)]
    split_of = split.assign(documents, fractions={"validation": 0.1, "test": 0.1}, pinned={"pinned"}, seed=1)
    ends = {document.facts["host"] for document in documents if split_of[document.id] != "train"}
    assert ends == {"other"}
