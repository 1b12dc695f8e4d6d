"""A document at rest: one row of Parquet, with where it came from, what was edited in it and how much others use it.

Columns that are unknown are null. Identifiers are 32 hexadecimal digits.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core.errors import ArtifactError
from scratchlm.core.records import Document

ROWS = 65_536
"""Rows of one Parquet row group."""

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


def write(path: Path, documents: Iterable[Document]) -> Path:
    """Write documents in their order; the same documents give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=3) as writer:
        rows: list[dict[str, Any]] = []
        for document in documents:
            rows.append(_row(document))
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    return path


def read(path: Path) -> Iterator[Document]:
    """The documents of a file in their order; facts hold the columns that are known."""
    if not path.exists():
        raise ArtifactError(f"{path}: there is no such file of documents. Run `scratchlm corpus` first.")
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                yield _document(row)


def write_dropped(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write what a stage dropped, one row per document, with the reason."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=DROPPED), path, compression="zstd", compression_level=3)
    return path


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
