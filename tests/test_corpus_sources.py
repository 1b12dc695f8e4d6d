"""What is read from folders and from Python itself, and what a hostile folder gets for an answer."""

import ast
import bz2
import gzip
import json
import os
import types
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from scratchlm.core.artifact import Home
from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import reading
from scratchlm.sources import folder, members, python_docs, python_source, record, usage
from scratchlm.sources.found import Dropped
from scratchlm.stages import corpus

TEXT = "\n\n".join(f"Part {n} of the tale was told by number {n * n} to the king, and {n + 3} men heard it." for n in range(300))


def silent(label: str, done: int, total: int) -> None:
    pass


def read(root: Path) -> list[Document | Dropped]:
    return list(folder.documents(root, silent))


def kept(root: Path) -> list[Document]:
    return [item for item in read(root) if isinstance(item, Document)]


def refused(root: Path) -> dict[str, str]:
    return {item.locator: item.rule for item in read(root) if isinstance(item, Dropped)}


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_compressed_text_is_the_same_text(tmp_path: Path, ending: str, pack):
    (tmp_path / f"a.txt{ending}").write_bytes(pack(b"Some plain words."))
    assert [document.text for document in kept(tmp_path)] == ["Some plain words."]


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_usual_encodings_are_read(tmp_path: Path, charset: str):
    (tmp_path / "a.txt").write_bytes("Ça va très bien, merci – au revoir".encode(charset))
    (document,) = kept(tmp_path)
    assert (document.text, document.facts["charset"]) == ("Ça va très bien, merci – au revoir", charset)


def test_rows_of_json_and_parquet_are_documents(tmp_path: Path):
    rows = [{"content": "first text", "title": "One", "licence": "MIT"}, {"content": "second text"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    pq.write_table(pa.Table.from_pylist([{"text": "third text", "url": "https://x.org"}]), tmp_path / "b.parquet")
    assert [document.text for document in kept(tmp_path)] == ["first text", "second text", "third text"]
    assert [document.facts.get("title") for document in kept(tmp_path)] == ["One", None, None]
    assert refused(tmp_path) == {"a.jsonl#3": "no JSON object"}


def test_a_page_is_what_its_reader_sees(tmp_path: Path):
    body = "<h1>Head</h1><nav>menu</nav><script>x()</script><p>A <b>bold</b>\nword.</p><ul><li>one<li>two</ul><pre>if a:\n    b</pre>"
    (tmp_path / "a.html").write_text(f"<html><head><title>T &amp; U</title></head><body>{body}</body></html>")
    (document,) = kept(tmp_path)
    assert "A bold word." in document.text
    assert "x()" not in document.text
    assert document.facts["title"] == "T & U"


def test_titles_come_from_the_text(tmp_path: Path):
    (tmp_path / "a.md").write_text("intro\n\n# The *title*\n\nwords")
    (tmp_path / "b.rst").write_text("PEP: 8\nTitle: Style Guide\r\nAuthor: A,\n        B\n\nSee :pep:`257`.\n")
    (tmp_path / "c.txt").write_text("LORNA DOONE\n\nA romance.")
    assert [document.facts["title"] for document in kept(tmp_path)] == ["The *title*", "Style Guide", "LORNA DOONE"]
    assert "See PEP 257." in kept(tmp_path)[1].text


def test_what_cannot_be_read_is_booked_with_its_reason(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 9)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode())[:90])
    (tmp_path / "c.png").write_bytes(b"x")
    (tmp_path / "d.parquet").write_bytes(b"PAR1junk")
    (tmp_path / "e.jsonl").write_text('{"body": "x"}\n')
    (tmp_path / "f.html").write_text(" ")
    os.mkfifo(tmp_path / "g.txt")
    (tmp_path / "h.txt").symlink_to("nowhere")
    rules = ["not text", "clipped", "other kind", "unreadable", "unreadable", "nothing in it", "not a file", "link"]
    assert list(refused(tmp_path).values()) == rules


def test_a_deeply_nested_page_does_no_harm(tmp_path: Path):
    (tmp_path / "a.html").write_text("<p>words at the top</p>" + "<div>" * 20_000 + "deep" + "</div>" * 20_000)
    assert len(read(tmp_path)) == 1


def test_a_folder_without_text_is_answered_in_a_sentence(tmp_path: Path):
    with pytest.raises(DataError, match="no file in it"):
        read(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path / "none")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UsageError, match="a folder is needed"):
        read(tmp_path / "a.txt")


def build(root: Path, home: Path, **config) -> dict[str, float | int | str]:
    return corpus.run(corpus.Config(data=str(root), **config), Home(home), Journal()).counts


def test_one_file_becomes_three_splits_and_the_second_run_is_the_first(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "tale.txt").write_text(TEXT)
    counts = build(tmp_path / "in", tmp_path / "home", minimum_bytes=5_000)
    paths = [tmp_path / "home" / "corpus" / f"{split}.parquet" for split in ("train", "validation", "test")]
    assert all(list(record.read(path)) for path in paths)
    assert float(counts["validation_bytes"]) < float(counts["train_bytes"]) / 10
    before = [path.read_bytes() for path in paths]
    build(tmp_path / "in", tmp_path / "other", minimum_bytes=5_000)
    assert before == [(tmp_path / "other" / "corpus" / path.name).read_bytes() for path in paths]


def test_a_changed_file_is_another_corpus(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one")
    before = reading.digest_of(reading.place("folder", str(tmp_path)))
    (tmp_path / "a.txt").write_text("two")
    assert reading.digest_of(reading.place("folder", str(tmp_path))) != before


def test_too_small_a_corpus_and_an_unknown_filter_are_answered(tmp_path: Path):
    (tmp_path / "a.txt").write_text("only a few words here")
    with pytest.raises(DataError, match="21 characters of usable text"):
        build(tmp_path, tmp_path / "home")
    with pytest.raises(UsageError, match="Did you mean 'too_few_words'"):
        build(tmp_path, tmp_path / "home", thresholds={"too_few_word": 3})


def test_uses_are_counted_under_full_names():
    source = "import os.path as p\nfrom json import loads as l\nimport os\np.join(l(x), len(os.sep))\ndef f(max): return max(len(1))"
    assert usage.uses(ast.parse(source), "m") == Counter({"os.path.join": 1, "os.path": 1, "json.loads": 1, "len": 2, "os.sep": 1, "os": 1})


def test_docstrings_carry_the_name_and_signature_that_a_user_types():
    source = '"""Mod."""\nclass A:\n    """Cls."""\n    def go(self, a: int, *, b: str = "x") -> None:\n        """Go."""\n'
    found = [(e.name, e.kind, e.signature) for e in python_source.entries_of(ast.parse(source), "posixpath", "python")]
    assert found == [("os.path", "module", ""), ("os.path.A", "class", ""), ("os.path.A.go", "method", "(a, *, b='x')")]


@pytest.mark.parametrize(
    ("name", "text", "heading", "body"),
    [
        ("zip", "zip(*iterables) --> Yield tuples until one ends.\n\n>>> 1", "(*iterables)", "Yield tuples until one ends.\n\n>>> 1"),
        (
            "range",
            "range(stop) -> range object\nrange(a, b) -> range object\n\nReturn numbers.",
            "(stop) -> range object",
            "Return numbers.",
        ),
        ("f", "Return x.\n:copyright: by us\n", "", "Return x."),
        ("dict.pop", "D.pop(k) -> v, remove it.", "", "D.pop(k) -> v, remove it."),
        ("os.path.join", "See :func:`~os.path.split`.", "", "See `os.path.split`."),
    ],
)
def test_a_signature_in_a_docstring_moves_into_the_heading(name: str, text: str, heading: str, body: str):
    assert python_docs.heading_and_body(python_source.Entry("m", name, "function", "", text, "python")) == (heading, body)


def test_members_written_in_c_are_found_by_import():
    import math

    found = {row["name"]: row for row in members.records("math", math)}
    assert found["math.sqrt"]["signature"] == "(x, /)"
    assert found["math.sqrt"]["text"] == "Return the square root of x."
    assert "antigravity" not in members.module_names()


@pytest.fixture(scope="module")
def library() -> dict[str, Document]:
    """The documents of the standard library by title."""
    found = [item for item in python_docs.documents((), silent) if isinstance(item, Document)]
    assert len({item.id for item in found}) == len(found)
    return {str(item.facts["title"]): item for item in found}


def test_the_standard_library_is_told_under_public_names(library: dict[str, Document]):
    names = [
        "len",
        "print",
        "open",
        "str.split",
        "math.sqrt",
        "os.path.join",
        "json.loads",
        "json.JSONDecoder",
        "collections.deque",
        "re.match",
    ]
    assert [name for name in names if name not in library] == []
    assert not any(name.startswith(("posixpath.", "builtins.")) for name in library)
    assert library["os.path.join"].text.startswith("os.path.join(a, *p)\n\nJoin two or more")
    assert library["os.path.join"].facts["host"] == "os.path"


def test_what_the_library_uses_most_has_the_highest_score(library: dict[str, Document]):
    scores = {name: float(document.facts["score"] or 0) for name, document in library.items()}
    assert scores["len"] > scores["os.path.join"] > scores["math.sqrt"] > 0


def test_no_document_shows_this_machine(library: dict[str, Document]):
    import sys

    private = [name for name, document in library.items() if sys.base_prefix in document.text or str(Path.home()) + "/" in document.text]
    assert private == []


def test_a_member_that_its_module_cannot_give_is_told():
    module = types.ModuleType("shop", "A shop.")
    module.__dict__.update(__all__=["open", "closed"], open=lambda: None, __getattr__=lambda name: 1 / 0)
    assert {"failed": "shop.closed"} in list(members.records("shop", module))
