"""Documents at rest, and which of them are kept aside."""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import ArtifactError
from scratchlm.core.records import Document
from scratchlm.corpus import split
from scratchlm.sources import record


def story(number: int, host: str = "", **facts: str | float) -> Document:
    text = " ".join(f"word{number}x{place}" for place in range(40))
    host = host or f"group{number}"
    return Document(text, record.identify("test", str(number)), "test", {"host": host, "doc_type": "book", "locator": str(number), **facts})


def splits(
    documents: Sequence[Document], fractions: Mapping[str, float], *, pinned: Collection[str] = (), seed: int = 1, files: int = 3
) -> dict[str, str]:
    """The split of each document by its id; documents come in files."""
    tables = []
    for part in range(files):
        rows = [
            {"doc_id": d.id, "doc_type": d.facts["doc_type"], "host": d.facts["host"], "n_chars": len(d.text),
             "parents": str(d.facts.get("parents", "")).split()}
            for d in documents[part * len(documents) // files : (part + 1) * len(documents) // files]
        ]  # fmt: skip
        tables.append(pa.Table.from_pylist(rows, schema=ROWS))
    codes = split.assign(lambda: tables, pinned=pinned, fractions=fractions, seed=seed)
    return {document.id: split.SPLITS[code] for document, code in zip(documents, codes.tolist(), strict=True)}


ROWS = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "doc_type", "host")] + [("n_chars", pa.int64()), ("parents", pa.list_(pa.string()))]
)
TENTHS = {"validation": 0.1, "test": 0.1}


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
    split_of = splits(documents, TENTHS, pinned={"pinned"})
    by_group: dict[str, set[str]] = {}
    for document in documents:
        by_group.setdefault(str(document.facts["host"]), set()).add(split_of[document.id])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert by_group["pinned"] == {"train"}
    assert set(split_of.values()) == set(split.SPLITS)


def test_the_split_depends_on_the_seed_and_on_nothing_else():
    documents = [story(n) for n in range(100)]
    one, same, other = (splits(documents, TENTHS, seed=seed, files=files) for seed, files in ((1, 3), (1, 1), (2, 3)))
    assert one == same != other


def test_a_single_file_keeps_its_end_aside():
    documents = [story(n, "one.txt") for n in range(40)]
    split_of = splits(documents, {"validation": 0.05, "test": 0.05})
    assert [split_of[document.id] for document in documents] == ["train"] * 36 + ["validation"] * 2 + ["test"] * 2


def test_a_pinned_file_of_a_small_folder_keeps_its_end():
    documents = [story(n, host="pinned" if n % 2 else "other") for n in range(40)]
    split_of = splits(documents, TENTHS, pinned={"pinned"})
    ends = {document.facts["host"] for document in documents if split_of[document.id] != "train"}
    assert ends == {"other"}


@given(st.integers(0, 10**6), st.sampled_from([3, 60]))
@settings(max_examples=40, deadline=None)
def test_a_document_and_its_parents_are_in_one_split(seed: int, groups: int):
    dice = random.Random(seed)
    total = groups * 8
    parents = {dice.randrange(total): dice.randrange(total + 20) for _ in range(10)}  # some of them are not there
    more = {child: {"parents": record.identify("test", str(parent))} for child, parent in parents.items()}
    documents = [story(n, f"g{n // 8}", **more.get(n, {})) for n in range(total)]
    split_of = list(splits(documents, TENTHS, pinned={"g1"}, seed=seed).values())
    of_parent: dict[int, set[str]] = {}
    for child, parent in parents.items():
        of_parent.setdefault(parent, set()).add(split_of[child])
        if parent < total:
            of_parent[parent].add(split_of[parent])
    assert all(len(found) == 1 for found in of_parent.values())
    assert set(split_of[8:16]) == {"train"}
    assert set(split_of) == set(split.SPLITS)
    if groups == 60:  # and so are their groups
        assert all(len(set(split_of[n : n + 8])) == 1 for n in range(0, total, 8))


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_components_are_those_of_the_plain_union(pairs: list[tuple[int, int]]):
    label = list(range(30))
    for one, other in pairs:
        keep, drop = sorted((label[one], label[other]))
        label = [keep if value == drop else value for value in label]
    one, other = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    assert split.components(lambda: [(one[:9], other[:9]), (one[9:], other[9:])], 30).tolist() == label


def test_a_long_path_is_one_component():
    path = np.random.default_rng(1).permutation(20_000)
    assert not split.components(lambda: [(path[:-1], path[1:])], 20_000).any()


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.a.org", "a.org"), ("a.org", "a.org"), ("EN.m.a.org.", "a.org"), ("www.bbc.co.uk", "bbc.co.uk"), ("co.uk", "co.uk"),
        ("x.u.ac.jp", "u.ac.jp"), ("shop.a.com.au", "a.com.au"), ("a.de", "a.de"), ("www.a.com", "a.com"), ("com.a.io", "a.io"),
        ("127.0.0.1:8080", "127.0.0.1:8080"), ("10.0.0.1", "10.0.0.1"), ("localhost:80", "localhost"), ("[::1]", "[::1]"), ("", ""),
    ],
)  # fmt: skip
def test_the_registered_domain_of_a_host(host: str, domain: str):
    assert split.registered(host) == domain


def test_hosts_of_one_domain_are_one_group_and_train_if_one_is_pinned():
    hosts = [f"{front}site{n}.org" for n in range(60) for front in ("www.", "", "en.")]
    documents = [story(n, host, doc_type="web") for n, host in enumerate(hosts)]
    split_of = list(splits(documents, TENTHS, pinned={"en.site7.org"}).values())
    assert all(len(set(split_of[n : n + 3])) == 1 for n in range(0, 180, 3))
    assert split_of[21] == "train"
    assert set(split_of) == set(split.SPLITS)
    books = [story(n, host) for n, host in enumerate(hosts)]  # names of files are no domains
    assert any(len(set(list(splits(books, TENTHS).values())[n : n + 3])) > 1 for n in range(0, 180, 3))
