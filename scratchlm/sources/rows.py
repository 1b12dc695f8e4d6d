"""Tables and lists of records with a column of text: JSON lines, JSON, Parquet, CSV and TSV; each row is a document.

A broken row is dropped alone; a file without a column of text (``text``, ``content``, or the one that is named) as a whole.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from scratchlm.core.records import Document
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.streams import Budget, Refused, Stream, bare, counted, seekable
from scratchlm.sources.texts import lines, opened

TEXT_COLUMNS = ("text", "content")
COLUMNS = ("title", "url", "licence", "lang", "published_at")
"""Columns that are kept as facts when they hold text and no other columns are named."""
NUMBERS = ("lang_score", "score")
"""Facts that are numbers."""
NAMED = ("text", "host", *COLUMNS, *NUMBERS)
"""Columns that others may be named for."""
LONGEST_ROW = 24_000_000
"""Characters of one row of JSON; as empty objects these would be 500 MB in memory."""
BLOCK = 16 * 2**20
"""Bytes of CSV that are taken apart at once; no row is longer."""
MOST_WRONG = 100
"""Records at the start that are no objects, with which a file is something else."""
LONE = re.compile("[\ud800-\udfff]")
BETWEEN = re.compile(r"[\s,\[\]]*")
"""What stands between the objects of a JSON file: white space, and the marks of a list."""

Row = Mapping[str, Any]


def json_lines(file: Input, reading: Reading) -> Found:
    """One document per line."""
    take = _Taker(file, reading, "application/jsonl")
    most = min(LONGEST_ROW, reading.limits.record_bytes)
    with opened(file) as text:
        for number, line in enumerate(lines(text.chunks, most), start=1):
            if line is None:
                yield file.refuse(str(number), "line too long", f"line {number} has more than {most:,} characters", threshold=most)
            elif line.strip():
                yield take(number, _object(line), line)


def json_values(file: Input, reading: Reading) -> Found:
    """A list of objects, or objects one behind the other: one document of each."""
    take = _Taker(file, reading, "application/json")
    with opened(file) as text:
        for number, value in enumerate(_values(text.chunks, min(LONGEST_ROW, reading.limits.record_bytes)), start=1):
            yield take(number, value if isinstance(value, dict) else None, str(value)[:100])


def parquet(file: Input, reading: Reading) -> Found:
    """One document per row; row groups are read in small batches, and a text that many rows share is held once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    take = _Taker(file, reading, "application/parquet")
    with seekable(file) as stream:
        try:
            # The footer is read first, to know which column is to stay a dictionary instead of one copy per row.
            schema = pq.ParquetFile(stream).schema_arrow
            wanted = _columns([field.name for field in schema if _is_text(field.type)], schema.names, reading.columns)
            stream.seek(0)
            table = pq.ParquetFile(stream, read_dictionary=[wanted["text"]], buffer_size=2**20)
            batches = table.iter_batches(batch_size=256, columns=_present(wanted, schema.names), use_threads=False)
            yield from _taken(take, _rows(batches))
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise Unreadable(f"no Parquet: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None


def separated(file: Input, reading: Reading) -> Found:
    """One document per row of CSV, or of TSV by the file's ending; the first row names the columns."""
    import pyarrow as pa
    from pyarrow import csv

    wrong: list[csv.InvalidRow] = []

    def note(row: csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    is_tabbed = bare(file.name).endswith(".tsv")
    take = _Taker(file, reading, "text/tab-separated-values" if is_tabbed else "text/csv")
    split = csv.ParseOptions(delimiter="\t" if is_tabbed else ",", newlines_in_values=True, invalid_row_handler=note)
    portions = csv.ReadOptions(block_size=BLOCK, use_threads=False)
    try:
        with _utf8(file, reading) as stream:
            names = csv.open_csv(stream, portions, split).schema.names
        wrong.clear()
        wanted = _present(_columns(names, names, reading.columns), names)
        convert = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
        with _utf8(file, reading) as stream:
            yield from _taken(take, _rows(csv.open_csv(stream, portions, split, convert)))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise Unreadable(f"no table: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
    for order, row in enumerate(wrong, start=1):
        reason = f"it has {row.actual_columns} columns, the first row {row.expected_columns}"
        yield file.refuse(f"wrong {order}", "no row", reason, excerpt=row.text)


class _Taker:
    """Rows of a file become documents; the first row decides which column is the text."""

    def __init__(self, file: Input, reading: Reading, mime: str) -> None:
        self._file, self._reading, self._mime = file, reading, mime
        self._columns: dict[str, str] = {}
        self._budget = Budget(reading.limits, file.size)

    def __call__(self, number: int, row: Row | None, shown: str = "") -> Document | Dropped:
        inside, file, most = str(number), self._file, self._reading.limits.document_characters
        if not self._reading.at(f"{file.name}#{number}"):
            return file.refuse(inside, "quarantined", "reading it failed twice")
        if row is None:
            if not self._columns and number > MOST_WRONG:
                raise Unreadable(f"none of its first {MOST_WRONG} records is a JSON object")
            return file.refuse(inside, "no JSON object", f"record {number} is no JSON object", excerpt=shown)
        columns = self._columns = self._columns or _columns(list(row), list(row), self._reading.columns)
        text = _sound(_nested(row, columns["text"]))
        if not text.strip():
            return file.refuse(inside, "nothing in it", f"its column '{columns['text']}' holds no text")
        if len(text) > most:
            reason = f"more than {most:,} characters"
            return file.refuse(inside, "too large", reason, value=len(text), threshold=most, excerpt=text)
        self._budget.spend(len(text))
        said = {name: _nested(row, place) for name, place in columns.items() if name != "text"}
        known: dict[str, str | int | float | None] = {
            name: fact for name, value in said.items() if (fact := _fact(name, value)) is not None
        }
        own = {"doc_type": "rows", "mime": self._mime, "extractor": "row", "raw_bytes": len(text.encode("utf-8"))}
        host = {"host": host} if (host := _host(str(known.get("url", "")))) else {}
        return file.document(inside, text, own | host | known)


def _host(url: str) -> str:
    """Whose page a row is; empty when it does not say."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _taken(take: Callable[[int, Row], Document | Dropped], rows: Iterable[Row]) -> Found:
    for number, row in enumerate(rows, start=1):
        yield take(number, row)


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    """The rows of Arrow batches, one at a time: a text that a whole batch shares becomes a string of Python only when its row comes."""
    for batch in batches:
        columns = {name: batch.column(number) for number, name in enumerate(batch.schema.names)}
        for place in range(batch.num_rows):
            yield {name: _value(column, place) for name, column in columns.items()}


def _value(column: Any, place: int) -> Any:
    try:
        return column[place].as_py()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "replace")


@contextmanager
def _utf8(file: Input, reading: Reading) -> Iterator[Stream]:
    """The file in UTF-8, in whatever charset it is."""
    with opened(file) as text, counted((chunk.encode() for chunk in text.chunks), Budget(reading.limits, 0)) as stream:
        yield stream


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _columns(names: Sequence[Any], all_names: Sequence[Any], named: Mapping[str, str]) -> dict[str, str]:
    """Our column by theirs; Unreadable when there is no ``text`` among ``names``, the columns that may be one."""
    usual = next((name for name in TEXT_COLUMNS if name in names), "")
    columns = named or {"text": usual} | {name: name for name in COLUMNS}
    if not (named["text"].partition(".")[0] in all_names if named else usual):
        wanted = f"'{named['text']}'" if named else "'text' or 'content'"
        found = ", ".join(sorted(str(name)[:40] for name in all_names)[:8]) or "none"
        raise Unreadable(f"no column {wanted} that holds text (columns: {found})")
    return dict(columns)


def _present(columns: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The columns of a table that are to be read."""
    return sorted({place.partition(".")[0] for place in columns.values()}.intersection(names))


def _nested(row: Row, place: str) -> Any:
    """The value at ``a`` or ``a.b.c``; None where a part of the way is missing."""
    if place in row:
        return row[place]
    value: Any = row
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _fact(name: str, value: Any) -> str | float | None:
    """A value as the fact ``name``; None where it is none. The first of a list of names stands for it."""
    if name in NUMBERS:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None
    return _sound(value[0] if isinstance(value, list) and value else value) or None


def _object(line: str) -> Row | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _values(chunks: Iterable[str], most: int) -> Iterator[Any]:
    """The values of a JSON file as soon as each one is whole; Refused at the first that never is."""
    decoder = json.JSONDecoder()
    held, place = "", 0
    more = iter(chunks)
    while True:
        match = BETWEEN.match(held, place)
        place = match.end() if match else place
        try:
            value, place = decoder.raw_decode(held, place)
            yield value
            continue
        except (ValueError, RecursionError) as error:
            fault = "it is nested too deep" if isinstance(error, RecursionError) else f"no JSON: {error}"
        held, place, wanted = held[place:], 0, 2 * (len(held) - place)
        if len(held) > most:
            raise Refused("too large", f"a value in it has more than {most:,} characters, or it is broken: {fault}")
        parts = [held]
        while (chunk := next(more, None)) is not None:
            parts.append(chunk)
            if (wanted := wanted - len(chunk)) <= 0:
                break
        if len(parts) == 1:
            if held.strip():
                raise Refused("unreadable", fault)
            return
        held = "".join(parts)


def _sound(value: Any) -> str:
    """The text of a value, empty when it holds none; halves of surrogate pairs, which no file can hold, are replaced."""
    if not isinstance(value, str):
        return ""
    text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if LONE.search(value) else value
    return text.replace("\r\n", "\n").replace("\r", "\n")
