"""Questions to tables that lie in files: DuckDB reads them where they are and spills to disk, so memory stays flat."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchlm.units import storage

MEMORY = "400MB"
READ = "read.jsonl"
"""Of a corpus, where the documents lie as they were read, file by file."""


class Tables:
    """Named tables that can be asked in SQL; a context, which ends the connection."""

    def __init__(self, tables: Mapping[str, Any], spill: str) -> None:
        """``tables``: datasets or tables of pyarrow by their names; ``spill``: an empty folder for what memory cannot hold."""
        import duckdb  # heavy: only when something is asked

        self._connection = duckdb.connect(config={"memory_limit": MEMORY, "threads": 1, "temp_directory": spill})
        for name, table in tables.items():
            self.register(name, table)

    def register(self, name: str, table: Any) -> None:
        """One more table."""
        self._connection.register(name, table)

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The answer to a query, a dictionary per row."""
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        """The only row of an answer."""
        (row,) = self.rows(query, *values)
        return row

    def do(self, query: str, *values: Any) -> None:
        """A statement that has no answer."""
        self._connection.execute(query, values)

    def insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Rows at the end of a table."""
        if rows:
            self._connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in rows[0])})", rows)


def within(url: str, home: Path) -> str:
    """An address as ``READ`` has it: below the run's folder relative to it, because a run may be moved; else as it is."""
    return (
        url
        if storage.is_remote(url) or not Path(url).is_relative_to(home.absolute())
        else Path(url).relative_to(home.absolute()).as_posix()
    )


def read_in(corpus: Path, home: Path) -> list[str]:
    """The addresses that a corpus keeps in ``READ``."""
    urls = [json.loads(line)["documents"] for line in (corpus / READ).read_text(encoding="utf-8").splitlines()]
    return [url if storage.is_remote(url) else str(home / url) for url in urls]
