"""Tables and lists of records with a column of text: JSON lines, JSON, Parquet, CSV and TSV; each row is a document.

A broken row, or an object without a text (``text``, ``content``, or the column that is named), is refused alone; a table without such a
column as a whole. The locator is the number of the row, and what is read of a row depends on no other one.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from scratchlm.core.records import Document
from scratchlm.sources import columns
from scratchlm.sources.columns import Row
from scratchlm.sources.file import Input, Reading, Unreadable, mended
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.streams import Budget, Refused, Stream, bare, budget_of, counted, fault_of, seekable
from scratchlm.sources.texts import lines, opened

LONGEST_ROW = 24_000_000
"""Characters of one row of JSON; as empty objects these would be 500 MB in memory."""
BLOCK = 16 * 2**20
"""Bytes of CSV that are taken apart at once; no row is longer."""
MOST_WRONG = 100
"""Records at the start that are no objects with a text, with which a file is something else."""
BETWEEN = re.compile(r"[\s,\[\]]*")
"""What stands between the objects of a JSON file: white space, and the marks of a list."""


def json_lines(file: Input, reading: Reading) -> Found:
    """One document per line."""
    take = _Taker(file, reading, "application/jsonl")
    most = min(LONGEST_ROW, reading.limits.record_bytes)
    first = file.part[2] if file.part else 1
    if first > 1:
        take.check(_start_of(file, most))
    with opened(file) as text:
        for number, line in enumerate(lines(text.chunks, most), start=first):
            if line is None:
                yield file.refuse(str(number), "line too long", f"line {number} has more than {most:,} characters", threshold=most)
            elif line.strip():
                yield take(number, _object(line), line)


def _start_of(file: Input, most: int) -> Iterator[tuple[int, Row | None]]:
    """The first records of a file that is read in parts."""
    with opened(replace(file, part=None)) as text:
        yield from ((number, _object(line)) for number, line in enumerate(lines(text.chunks, most), start=1) if line and line.strip())


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
            wanted = columns.of([field.name for field in schema if _is_text(field.type)], schema.names, reading.columns)
            stream.seek(0)
            table = pq.ParquetFile(stream, read_dictionary=[wanted["text"]], buffer_size=2**20)
            start, end, first = file.part or (0, table.num_row_groups, 1)
            names = columns.present(wanted, schema.names)
            batches = table.iter_batches(batch_size=256, row_groups=list(range(start, end)), columns=names, use_threads=False)
            for number, row in enumerate(_rows(batches), start=first):
                yield take(number, row)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise fault_of(error, "no Parquet") from None


def separated(file: Input, reading: Reading) -> Found:
    """One document per row of CSV, or of TSV by the file's ending; the first row names the columns."""
    import pyarrow as pa
    from pyarrow import csv

    wrong: deque[csv.InvalidRow] = deque()

    def note(row: csv.InvalidRow) -> str:
        wrong.append(row)
        return "skip"

    is_tabbed = bare(file.name).endswith(".tsv")
    take = _Taker(file, reading, "text/tab-separated-values" if is_tabbed else "text/csv")
    split = csv.ParseOptions(delimiter="\t" if is_tabbed else ",", newlines_in_values=True, invalid_row_handler=note)
    portions = csv.ReadOptions(block_size=BLOCK, use_threads=False)
    number = 0
    try:
        with _utf8(file, reading) as stream:
            names = csv.open_csv(stream, portions, split).schema.names
        wrong.clear()
        wanted = columns.present(columns.of(names, names, reading.columns), names)
        convert = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()))
        with _utf8(file, reading) as stream:
            # Rows of a block are all taken apart before the first of them comes, so those that are none are known by then.
            for row in _rows(csv.open_csv(stream, portions, split, convert)):
                number += 1
                while wrong and wrong[0].number == number + 1:  # the names are its first row
                    yield _no_row(file, number, wrong.popleft())
                    number += 1
                yield take(number, row)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise fault_of(error, "no table") from None
    for row in wrong:
        number += 1
        yield _no_row(file, number, row)


def _no_row(file: Input, number: int, row: Any) -> Dropped:
    reason = f"it has {row.actual_columns} columns, the first row {row.expected_columns}"
    return file.refuse(str(number), "no row", reason, excerpt=row.text)


class _Taker:
    """Rows of a file become documents."""

    def __init__(self, file: Input, reading: Reading, mime: str) -> None:
        self._file, self._reading, self._mime = file, reading, mime
        self._is_table = False
        self._budget = budget_of(file, reading.limits)

    def check(self, rows: Iterable[tuple[int, Row | None]]) -> None:
        """Look at the first of ``rows`` for one with a text; Unreadable when there is none among so many that the file is given up."""
        for number, row in rows:
            if self._place(number, row) is not None:
                return

    def __call__(self, number: int, row: Row | None, shown: str = "") -> Document | Dropped:
        inside, file, most = str(number), self._file, self._reading.limits.document_characters
        place = self._place(number, row)
        if not self._reading.at(f"{file.name}#{number}"):
            return file.refuse(inside, "quarantined", "reading it failed twice")
        if row is None:
            return file.refuse(inside, "no JSON object", f"record {number} is no JSON object", excerpt=shown)
        if place is None:
            return file.refuse(inside, "unreadable", columns.no_column(list(row), self._reading.columns), excerpt=shown)
        text = mended(columns.said(columns.nested(row, place))).replace("\r\n", "\n").replace("\r", "\n")
        if not text.strip():
            return file.refuse(inside, "nothing in it", f"its column '{place}' holds no text")
        if len(text) > most:
            reason = f"more than {most:,} characters"
            return file.refuse(inside, "too large", reason, value=len(text), threshold=most, excerpt=text)
        self._budget.spend(len(text))
        facts = columns.facts(self._reading.columns)
        told = {name: columns.nested(row, theirs) for name, theirs in facts.items()}
        known: dict[str, str | int | float | None] = {
            name: fact for name, value in told.items() if (fact := columns.fact(name, value)) is not None
        }
        own = {"doc_type": "rows", "mime": self._mime, "extractor": "row", "raw_bytes": len(text.encode("utf-8"))}
        host = {"host": host} if (host := _host(str(known.get("url", "")))) else {}
        return file.document(inside, text, own | host | known)

    def _place(self, number: int, row: Row | None) -> str | None:
        """Where in this row its text stands; None when it has no such place, Unreadable when that makes too many."""
        place = columns.text_column(row, row, self._reading.columns) if row is not None else None
        self._is_table = self._is_table or place is not None
        if not self._is_table and number > MOST_WRONG:
            raise Unreadable(f"none of its first {MOST_WRONG} records is a JSON object with a text")
        return place


def _host(url: str) -> str:
    """Whose page a row is; empty when it does not say."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    """The rows of Arrow batches, one at a time: a text that a whole batch shares becomes a string of Python only when its row comes."""
    for batch in batches:
        values = {name: batch.column(number) for number, name in enumerate(batch.schema.names)}
        for place in range(batch.num_rows):
            yield {name: _value(column, place) for name, column in values.items()}


def _value(column: Any, place: int) -> Any:
    try:
        return column[place].as_py()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "replace")
    except ValueError:  # a time with more digits than Python's
        return column[place].cast("string").as_py()


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
