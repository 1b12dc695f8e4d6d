"""What became of a document, and why a text is not in the corpus: answered from the corpus's own tables."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError
from scratchlm.corpus.filters import RULES
from scratchlm.corpus.schema import MEASURE

MOST = 10
"""Documents that are told about one text."""
KEPT = ("train", "validation", "test")


def show(home: Home, *, explain: str | None = None, removed: str | None = None) -> None:
    """Print the story of the document ``explain`` (its id or locator), or of every document that held the text ``removed``."""
    corpus = home.open("corpus").path
    console = Console(highlight=False, emoji=False)
    asked = Tables(corpus, home.path / "units")
    if explain is not None:
        story(console, asked, asked.document(explain))
    if removed is not None:
        absence(console, asked, removed)


class Tables:
    """Queries over the tables of a finished corpus."""

    def __init__(self, corpus: Path, units: Path) -> None:
        import duckdb  # heavy: only when something is asked

        self._base = duckdb.connect(config={"memory_limit": "1GB", "threads": 1})
        for name in ("attributes", "verdicts", "dropped/unread"):
            self._base.read_parquet(str(corpus / f"{name}.parquet")).create_view(name.rpartition("/")[2])
        self._base.read_parquet([str(corpus / f"{split}.parquet") for split in KEPT]).create_view("kept")
        self._texts = sorted(str(path) for path in units.glob("read/*/documents.parquet"))

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """An answer as dictionaries."""
        cursor = self._base.execute(query, list(values))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def document(self, name: str) -> dict[str, Any]:
        """What is known and what was decided of a document; UsageError when there is none of that name."""
        found = self.rows("SELECT * FROM attributes JOIN verdicts USING (doc_id) WHERE doc_id = ? OR attributes.locator = ?", name, name)
        if found:
            return found[0]
        unread = self.rows("SELECT * FROM unread WHERE id = ? OR locator = ?", name, name)
        if unread:
            return unread[0] | {"doc_id": unread[0]["id"]}
        raise UsageError(
            f"--explain {name}: no document has this id or locator. `scratchlm corpus RECIPE --removed TEXT` finds ids by text."
        )

    def texts_with(self, text: str) -> list[dict[str, Any]]:
        """Documents as they were read that hold ``text``, with their verdicts, and whether what was kept of them holds it still."""
        if not self._texts:
            raise UsageError(
                "--removed: the texts as they were read are gone (the folder 'units' of the run). Run `scratchlm corpus RECIPE --again`."
            )
        return self.rows(
            f"""SELECT d.doc_id, d.locator, v.split, v.stage, v.rule, v.reason, v.dup_of,
            coalesce(contains(k.text, $1), false) AS still, k.edits AS edits, strpos(d.text, $1) AS place
            FROM (SELECT DISTINCT ON (doc_id) doc_id, locator, text FROM read_parquet($2) WHERE contains(text, $1)) d
            JOIN verdicts v USING (doc_id) LEFT JOIN kept k USING (doc_id) ORDER BY still, d.locator LIMIT {MOST}""",
            text, self._texts,
        )  # fmt: skip


def story(console: Console, asked: Tables, row: dict[str, Any]) -> None:
    """One document from where it was found to what became of it."""
    console.print(f"[bold]{escape(str(row['locator']))}[/]  {row['doc_id']}")
    if "n_chars" not in row:
        console.print(f"not read: {row['rule']} – {escape(str(row['reason']))}")
        return
    console.print(
        f"source {row['source']} · {row['doc_type']} · language {row['lang']} ({row['lang_score']:.0%}) · rules of '{row['profile']}'"
    )
    console.print(outcome(row))
    if row["dup_of"]:
        (twin,) = asked.rows("SELECT locator FROM verdicts WHERE doc_id = ?", row["dup_of"])
        console.print(f"kept in its place: {escape(twin['locator'])}  {row['dup_of']}")
    for edit in row["edits"] or ():
        console.print(f"{edit['op']}: {edit['places']} places, {edit['characters']} characters fewer")
    limits = json.loads(row["limits"])
    table = Table("rule", "value", "limit", "", box=None, header_style="dim")
    for name, rule in RULES.items():
        if name in limits:
            mark = "[red]refused[/]" if name in row["failing"] else "[green]passed[/]"
            table.add_row(name, f"{row[MEASURE + name]:.3g}", f"{rule.keeps} {limits[name]:g}", mark)
    console.print(table)


def outcome(row: dict[str, Any]) -> str:
    """Kept or dropped, in a line."""
    if row["split"]:
        return f"[green]kept[/] in {row['split']}: {row['kept_chars']:,} of {row['n_chars']:,} characters"
    return f"[red]dropped[/] by {row['stage']}: {row['rule']} – {escape(str(row['reason']))}"


def absence(console: Console, asked: Tables, text: str) -> None:
    """Where a text was found, and what became of it there."""
    found = asked.texts_with(text)
    if not found:
        console.print("No document that was read holds this text.")
    for row in found:
        name = f"{escape(row['locator'])}  [dim]{row['doc_id']}[/]"
        if row["split"] is None:
            console.print(f"{name}\n  dropped by {row['stage']}: {row['rule']} – {escape(str(row['reason']))}")
        elif row["still"]:
            console.print(f"{name}\n  kept in {row['split']}")
        else:
            console.print(f"{name}\n  kept in {row['split']}, but cut there: {cut_by(row, len(text))}")


def cut_by(row: dict[str, Any], size: int) -> str:
    """The kinds of edits that touch the place."""
    first = int(row["place"]) - 1
    kinds = {edit["op"] for edit in row["edits"] or () if edit["start"] < first + size and edit["end"] > first}
    return ", ".join(sorted(kinds)) or "by an edit before it"
