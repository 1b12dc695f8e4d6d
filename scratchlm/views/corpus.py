"""What became of a document, and why a text is not in the corpus: answered from the corpus's own tables."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import UsageError
from scratchlm.corpus.schema import MEASURE
from scratchlm.corpus.tables import Tables, read_in
from scratchlm.rules import filters
from scratchlm.rules.filters import RULES
from scratchlm.rules.profiles import Profile
from scratchlm.units import storage

MOST = 10
"""Documents that are told about one text, and copies that are named."""
KEPT = ("train", "validation", "test")
TABLES = {"attributes": "attributes", "verdicts": "verdicts", "unread": "dropped/unread"}


def show(home: Home, *, explain: str | None = None, removed: str | None = None) -> None:
    """Print the story of the document ``explain`` (its id or locator), or of every document that held the text ``removed``."""
    corpus = home.open("corpus")
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    with asked_of(corpus) as tables:
        if explain is not None:
            story(console, tables, document(tables, explain), corpus.manifest.config)
        if removed is not None:
            absence(console, tables, removed, texts_with(tables, removed, read_in(corpus.path, corpus.path.parent)))


@contextmanager
def asked_of(corpus: Artifact) -> Iterator[Tables]:
    """The tables of a finished corpus; ``kept`` is what was written for the three splits."""
    files = {name: [corpus.path / f"{file}.parquet"] for name, file in TABLES.items()}
    files["kept"] = [corpus.path / f"{split}.parquet" for split in KEPT]
    found = {name: storage.dataset([str(path) for path in paths]) for name, paths in files.items()}
    with TemporaryDirectory() as spill, Tables(found, spill) as tables:
        yield tables


def document(tables: Tables, name: str) -> dict[str, Any]:
    """What is known and what was decided of a document; UsageError when there is none of that name."""
    found = tables.rows("SELECT a.* EXCLUDE (source), v.* FROM attributes a JOIN verdicts v USING (doc_id) WHERE v.doc_id = ?", name)
    found = found or tables.rows(
        "SELECT a.* EXCLUDE (source), v.* FROM attributes a JOIN verdicts v USING (doc_id) WHERE v.locator = ? ORDER BY v.doc_id", name
    )
    if found:
        return found[0]
    unread = tables.rows("SELECT *, id AS doc_id FROM unread WHERE id = ? OR locator = ? ORDER BY id", name, name)
    if unread:
        return unread[0]
    raise UsageError(f"--explain {name}: no document has this id or locator. `scratchlm corpus RECIPE --removed TEXT` finds ids by text.")


def texts_with(tables: Tables, text: str, urls: list[str]) -> list[dict[str, Any]]:
    """Documents as they were read that hold ``text``, with their verdicts, and whether what was kept of them holds it still."""
    if gone := [url for url in urls if not storage.exists(url)]:
        raise UsageError(
            f"--removed: the texts as they were read are gone ({gone[0]} and {len(gone) - 1} more). Run `scratchlm corpus RECIPE --again`."
        )
    tables.register("documents", storage.dataset(urls))
    tables.do("CREATE TABLE held AS SELECT doc_id, strpos(text, $1) AS place FROM documents WHERE contains(text, $1)", text)
    return tables.rows(
        f"""SELECT v.doc_id, v.locator, v.split, v.times, v.stage, v.rule, v.reason, v.dup_of,
        coalesce(k.still, false) AS still, k.edits AS edits, held.place AS place,
        count(*) OVER () AS n
        FROM held JOIN verdicts v USING (doc_id)
        LEFT JOIN (SELECT doc_id, any_value(contains(text, ?)) AS still, any_value(edits) AS edits
                   FROM kept WHERE doc_id IN (SELECT doc_id FROM held) GROUP BY doc_id) k USING (doc_id)
        ORDER BY still, v.locator LIMIT {MOST}""",
        text,
    )


def story(console: Console, tables: Tables, row: dict[str, Any], config: dict[str, Any]) -> None:
    """One document from where it was found to what became of it, under the settings of its corpus."""
    console.print(f"[bold]{escape(str(row['locator']))}[/]  {row['doc_id']}")
    if "n_chars" not in row:
        console.print(f"not read: {row['rule']} – {escape(str(row['reason']))}")
        return
    sure = f" ({row['lang_score']:.0%} sure)" if row["lang_score"] is not None else ""
    console.print(
        f"source {escape(row['source'])} · {row['doc_type']} · language {row['lang']}{sure} · {row['n_words']:,} words"
        f" · rules of '{row['profile']}'"
    )
    console.print(outcome(row))
    for line in relations(tables, row):
        console.print(line)
    for edit in row["edits"] or ():
        console.print(f"{edit['op']}: {edit['places']} places, {edit['characters']} characters fewer")
    for hit in row["hits"] or ():
        console.print(f"holds item {hit['item']} of {escape(hit['set'])} ({hit['kind']}, characters {hit['start']} to {hit['end']})")
    if row["quality"] is not None:
        least = config["quality"]["least"] if config.get("quality") else 0.0
        console.print(f"{row['quality']:.2f} of 1 like the good examples, wanted is at least {least:g}")
    console.print(measures(row, config.get("thresholds", {})))


def measures(row: dict[str, Any], thresholds: dict[str, float]) -> Table:
    """What each rule measured, beside the limit that it was held against."""
    table = Table("rule", "value", "limit", "", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in table.columns[1:3]:
        column.justify = "right"
    profile = Profile(row["profile"], json.loads(row["limits"]))
    for name, limit in filters.limits(profile, thresholds).items():
        value, given = row[MEASURE + name], "" if profile.limits.get(name) == limit else " (corpus.thresholds)"
        mark = "[red]refused[/]" if name in row["failing"] else "[dim]not measured[/]" if isnan(value) else "[green]passed[/]"
        table.add_row(name, f"{value:,.4g}", f"{RULES[name].keeps} {limit:,.10g}", f"{mark}[dim]{given}[/]")
    return table


def relations(tables: Tables, row: dict[str, Any]) -> list[str]:
    """The document that is kept in its place, and those that are gone in favour of it."""
    found = []
    if row["dup_of"]:
        (twin,) = tables.rows("SELECT doc_id, locator, split FROM verdicts WHERE doc_id = ?", row["dup_of"])
        said = "kept in its place" if twin["split"] else "it is a copy of, which is gone as well"
        found.append(f"{said}: {escape(twin['locator'])}  {twin['doc_id']}")
    if row["cluster"] and row["cluster"] != row["dup_of"]:
        (head,) = tables.rows("SELECT doc_id, locator FROM verdicts WHERE doc_id = ?", row["cluster"])
        found.append(f"of the copies around {escape(head['locator'])}  {head['doc_id']}")
    own = tables.rows("SELECT locator, rule, value, count(*) OVER () AS n FROM verdicts WHERE dup_of = ? ORDER BY locator", row["doc_id"])
    found += [f"in its favour left: {escape(copy['locator'])} ({copy['rule']}, {copy['value']:.0%})" for copy in own[:MOST]]
    return [*found, *([f"and {own[0]['n'] - MOST} more copies"] if len(own) > MOST else [])]


def outcome(row: dict[str, Any]) -> str:
    """Kept or dropped, in a line."""
    if row["split"]:
        seen = f", seen {row['times']} times" if row["times"] > 1 else ""
        return f"[green]kept[/] in {row['split']}{seen}: {row['kept_chars']:,} of {row['n_chars']:,} characters"
    return f"[red]dropped[/] by {row['stage']}: {row['rule']} – {escape(str(row['reason']))}"


def absence(console: Console, tables: Tables, text: str, found: list[dict[str, Any]]) -> None:
    """Where a text was found, and what became of it there."""
    if not found:
        console.print("No document that was read holds this text.")
    for row in found:
        console.print(f"[bold]{escape(row['locator'])}[/]  [dim]{row['doc_id']}[/]")
        seen = f", seen {row['times']} times" if row["times"] > 1 else ""
        if row["split"] is None:
            console.print(f"  [red]dropped[/] by {row['stage']}: {row['rule']} – {escape(str(row['reason']))}")
            for line in relations(tables, row | {"cluster": None}):
                console.print(f"  {line}")
        elif row["still"]:
            console.print(f"  [green]kept[/] in {row['split']}{seen}")
        else:
            console.print(f"  [green]kept[/] in {row['split']}{seen}, but cut there: {cut_by(row, len(text))}")
    if found and found[0]["n"] > MOST:
        console.print(f"and {found[0]['n'] - MOST:,} more documents that hold it")


def cut_by(row: dict[str, Any], size: int) -> str:
    """The kinds of edits that touch the place."""
    first = int(row["place"]) - 1
    own = [edit for edit in row["edits"] or () if edit["stage"] != "clean"]  # what cleaning mended was counted before the text was read
    kinds = {edit["op"] for edit in own if edit["start"] < first + size and edit["end"] > first}
    return ", ".join(sorted(kinds)) or "by an edit before it"
