"""A document at rest: one row of Parquet, with where it came from, what was edited in it and how much others use it.

Columns that are unknown are null. Identifiers are 32 hexadecimal digits.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core.errors import ArtifactError
from scratchlm.core.records import Document

ROWS, CHARACTERS = 4096, 4_000_000
"""Of one Parquet row group, about: what a writer and a reader hold, and the smallest part of a file that is worked on by itself."""

WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.large_string()),
        ("content_hash", pa.string()),
        ("source", WORD),
        ("locator", pa.string()),
        ("url", pa.string()),
        ("host", pa.string()),
        ("title", pa.string()),
        ("fetched_at", pa.string()),
        ("published_at", pa.string()),
        ("lang", WORD),
        ("lang_score", pa.float32()),
        ("mime", WORD),
        ("charset", WORD),
        ("http_status", pa.int32()),
        ("licence", WORD),
        ("licence_evidence", pa.string()),
        ("doc_type", WORD),
        ("extractor", WORD),
        ("raw_bytes", pa.int64()),
        ("n_chars", pa.int64()),
        ("n_words", pa.int64()),
        ("structure", pa.list_(pa.struct([("kind", pa.string()), ("start", pa.int64()), ("end", pa.int64())]))),
        ("parents", pa.list_(pa.string())),
        ("edits", pa.list_(pa.struct([(name, pa.string() if name in ("op", "repl", "stage") else pa.int64())
                                      for name in ("op", "start", "end", "repl", "stage")]))),
        ("extra", pa.string()),
        ("score", pa.float32()),
    ],
    metadata={"scratchlm.record": "1"},
)  # fmt: skip
NESTED = ("structure", "parents", "edits")
"""Columns that are lists at rest and JSON text in ``Document.facts``, whose values are plain."""

DROPPED = pa.schema(
    [(name, pa.string()) for name in ("id", "locator", "source", "stage", "rule", "reason", "excerpt", "dup_of")]
    + [("value", pa.float64()), ("threshold", pa.float64()), ("characters", pa.int64())]
)


def identify(source: str, locator: str) -> str:
    """The document's id: it stays the same when its text is extracted anew."""
    return digest(f"{source}\x1f{locator}")


def digest(text: str) -> str:
    """BLAKE2b-128 in hexadecimal."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Writer:
    """A file of documents while it is written; the same documents give the same bytes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=3)
        self._rows: list[dict[str, Any]] = []
        self._characters = 0
        self.groups: list[tuple[int, int]] = []
        """Documents and characters of each row group."""

    def write(self, document: Document) -> None:
        """Add a document."""
        self._rows.append(_row(document))
        self._characters += len(document.text)
        if len(self._rows) == ROWS or self._characters > CHARACTERS:
            self._flush()

    def close(self) -> None:
        """Write what is held."""
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        self.groups.append((len(self._rows), self._characters))
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._characters = [], 0


def write(path: Path, documents: Iterable[Document]) -> Path:
    """Write documents in their order."""
    writer = Writer(path)
    for document in documents:
        writer.write(document)
    writer.close()
    return path


def joined(path: Path, parts: Iterable[BinaryIO]) -> Path:
    """The rows of several open files of one kind in one file, a row group at a time; at least one part; closes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out: pq.ParquetWriter | None = None
    for part in parts:
        with part, pq.ParquetFile(part) as file:
            out = out or pq.ParquetWriter(path, file.schema_arrow, compression="zstd", compression_level=3)
            for number in range(file.num_row_groups):
                if file.metadata.row_group(number).num_rows:
                    out.write_table(file.read_row_group(number))
    assert out is not None, "there is a part"
    out.close()
    return path


def batches(stream: BinaryIO, most: int, groups: range | None = None, *, facts: Sequence[str] | None = None) -> Iterator[list[Document]]:
    """The documents of an open file, or of some of its row groups, at most so many at a time; of their facts only those named."""
    columns = None if facts is None else ["doc_id", "text", "source", *facts]
    with pq.ParquetFile(stream) as file:
        for batch in file.iter_batches(batch_size=most, row_groups=None if groups is None else list(groups), columns=columns):
            yield [_document(row) for row in batch.to_pylist()]


def read(path: Path, *, facts: Sequence[str] | None = None) -> Iterator[Document]:
    """The documents of a file in their order; facts hold the columns that are known, or of those the ones named, which is faster."""
    if not path.exists():
        raise ArtifactError(f"{path}: there is no such file of documents. Run `scratchlm corpus` first.")
    with path.open("rb") as stream:
        for batch in batches(stream, 4096, facts=facts):
            yield from batch


class DroppedWriter:
    """A file of what a stage dropped, a row of ``DROPPED`` for each, while it is written."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(path, DROPPED, compression="zstd", compression_level=3)
        self._rows: list[Mapping[str, Any]] = []
        self.count = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is held."""
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=DROPPED))
        self._rows = []


def _row(document: Document) -> dict[str, Any]:
    facts = {name: json.loads(str(value)) if name in NESTED and value else value for name, value in document.facts.items()}
    own = {
        "doc_id": document.id,
        "text": document.text,
        "content_hash": digest(document.text),
        "source": document.source,
        "n_chars": len(document.text),
        "n_words": len(document.text.split()),
    }
    return facts | own


def _document(row: dict[str, Any]) -> Document:
    facts = {
        name: json.dumps(value, ensure_ascii=False) if name in NESTED else value
        for name, value in row.items()
        if value is not None and name not in ("doc_id", "text", "source")
    }
    return Document(text=row["text"], id=row["doc_id"], source=row["source"], facts=facts)
