"""What became of a document, and why a text is not in the corpus: answered from the corpus's own tables."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import DataError, UsageError
from scratchlm.corpus.gathering import Sources
from scratchlm.corpus.schema import MEASURE
from scratchlm.corpus.shown import excerpt
from scratchlm.corpus.tables import Tables, read_in
from scratchlm.rules import filters
from scratchlm.rules.filters import RULES
from scratchlm.rules.profiles import Profile
from scratchlm.units import storage

MOST = 10
"""Documents that are told about one text, and copies that are named."""
MOST_NAMES = 4
"""Names that an error lists; of more it has the first two and the last."""
LEAST_OF_ID = 4
"""Digits that can stand for a whole id."""
WAYS = (
    "doc_id = $1",
    "locator = $1",
    "url = $1",
    "starts_with(locator, $1 || '#') OR starts_with(locator, $1 || '!')",
    "starts_with(doc_id, $1)",
)
"""How a name is understood: the first that finds something; the last is the beginning of an id."""
KEPT = ("train", "validation", "test")
TABLES = {"attributes": "attributes", "verdicts": "verdicts", "unread": "dropped/unread"}


def show(home: Home, *, explain: str | None = None, removed: str | None = None) -> None:
    """Print the story of the document ``explain`` (as in ``document``), or of every document that held the text ``removed``."""
    if removed is not None and not removed.split():
        raise UsageError("--removed: give some words of the text that you miss.")
    corpus = home.open("corpus")
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    with asked_of(corpus) as tables:
        if explain is not None:
            row = document(tables, explain)
            story(console, tables, row, corpus.manifest.config)
            if "n_chars" in row:
                console.print(original(row, corpus.manifest.config, home.path / "fetched"))
        if removed is not None:
            found = texts_with(tables, removed, read_in(corpus.path, corpus.path.parent))
            absence(console, tables, found)
            unread(console, tables, removed, None if found else corpus.path / f"{TABLES['unread']}.parquet")


@contextmanager
def asked_of(corpus: Artifact) -> Iterator[Tables]:
    """The tables of a finished corpus; ``kept`` is what was written for the three splits."""
    files = {name: [corpus.path / f"{file}.parquet"] for name, file in TABLES.items()}
    files["kept"] = [corpus.path / f"{split}.parquet" for split in KEPT]
    found = {name: storage.dataset([str(path) for path in paths]) for name, paths in files.items()}
    with TemporaryDirectory() as spill, Tables(found, spill) as tables:
        yield tables


def document(tables: Tables, name: str) -> dict[str, Any]:
    """What is known and what was decided of a document, or why it was not read.

    ``name``: its id, locator or web address, the file or archive that it came from, or the beginning of its id. UsageError when it is
    none of them, or stands for several documents.
    """
    tables.do(
        """CREATE TABLE names AS SELECT v.doc_id, v.locator, a.url, true AS known FROM verdicts v JOIN attributes a USING (doc_id)
           UNION ALL SELECT id, locator, NULL, false FROM unread"""
    )
    found: list[dict[str, Any]] = []
    for way in WAYS if len(name) >= LEAST_OF_ID else WAYS[:-1]:
        found = found or tables.rows(f"SELECT * FROM names WHERE {way} ORDER BY length(locator), locator, doc_id", name)
    if not found:
        raise UsageError(
            f"--explain {name}: no document has this id, locator or address.{near_names(tables, name)}"
            " `scratchlm corpus RECIPE --removed TEXT` finds ids by text."
        )
    if len(found) > 1:
        raise UsageError(f"--explain: {several(name, found)}")
    (row,) = found
    if row["known"]:
        both = "SELECT a.* EXCLUDE (source), v.* FROM attributes a JOIN verdicts v USING (doc_id) WHERE v.doc_id = ?"
        return tables.one(both, row["doc_id"])
    return tables.one("SELECT *, id AS doc_id FROM unread WHERE id = ? AND locator = ?", row["doc_id"], row["locator"])


def near_names(tables: Tables, name: str) -> str:
    """The locators that are most like a name, as a sentence behind a blank; nothing when none is."""
    like = "jaro_winkler_similarity(lower(locator), lower($1))"
    rows = tables.rows(f"SELECT DISTINCT locator, {like} AS near FROM names WHERE {like} >= 0.8 ORDER BY near DESC, locator LIMIT 3", name)
    return f" Did you mean {' or '.join(repr(row['locator']) for row in rows)}?" if rows else ""


def several(name: str, found: list[dict[str, Any]]) -> str:
    """What a name stands for that is no single document's: each by its locator, or where two have the same, by its id."""
    known = sum(row["known"] for row in found)
    by = "locator" if len({row["locator"] for row in found}) == len(found) else "doc_id"
    names = [row[by] for row in found]
    listed = f"{', '.join(names[:2])} … {names[-1]}" if len(names) > MOST_NAMES else ", ".join(names)
    rest = f", and {len(found) - known:,} could not be read" if known < len(found) else ""
    return f"{name} was read as {known:,} document{'' if known == 1 else 's'}{rest}: {listed}. Name one."


def pattern(text: str) -> str:
    """What finds a text however its words are spaced and broken into lines; asked with 'i', which folds case."""
    return r"[\s\p{Z}]+".join(re.escape(word) for word in text.split())


def texts_with(tables: Tables, text: str, urls: list[str]) -> list[dict[str, Any]]:
    """Documents as they were read that hold ``text``, with their verdicts, and whether what was kept of them holds it still."""
    if gone := [url for url in urls if not storage.exists(url)]:
        raise UsageError(
            f"--removed: the texts as they were read are gone ({gone[0]} and {len(gone) - 1} more). Run `scratchlm corpus RECIPE --again`."
        )
    tables.register("documents", storage.dataset(urls))
    tables.do(
        """CREATE TABLE held AS SELECT doc_id, strpos(text, words) AS place, length(words) AS size
           FROM (SELECT doc_id, text, regexp_extract(text, $1, 0, 'i') AS words FROM documents) WHERE words <> ''""",
        pattern(text),
    )
    return tables.rows(
        f"""SELECT v.doc_id, v.locator, v.split, v.times, v.stage, v.rule, v.reason, v.dup_of,
        coalesce(k.still, false) AS still, k.edits AS edits, held.place AS place, held.size AS size,
        count(*) OVER () AS n
        FROM held JOIN verdicts v USING (doc_id)
        LEFT JOIN (SELECT doc_id, any_value(regexp_matches(text, ?, 'i')) AS still, any_value(edits) AS edits
                   FROM kept WHERE doc_id IN (SELECT doc_id FROM held) GROUP BY doc_id) k USING (doc_id)
        ORDER BY still, v.locator LIMIT {MOST}""",
        pattern(text),
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
        console.print(f"{edit['op']}: {edit['places']} place{'' if edit['places'] == 1 else 's'}, {edit['characters']} characters fewer")
    for hit in row["hits"] or ():
        console.print(f"holds item {hit['item']} of {escape(hit['set'])} ({hit['kind']}, characters {hit['start']} to {hit['end']})")
    if row["quality"] is not None:
        least = config["quality"]["least"] if config.get("quality") else 0.0
        console.print(f"{row['quality']:.2f} of 1 like the good examples, wanted is at least {least:g}")
    console.print(measures(row, config.get("thresholds", {})))


def original(row: dict[str, Any], config: dict[str, Any], fetched: Path) -> str:
    """How the document begins when it is read again from where it was found; private values are masked."""
    sources = Sources.model_validate({name: config[name] for name in Sources.model_fields})
    where = escape(row["locator"])
    if not sources.names:
        return f"[dim]original[/]  {where}, in the documentation of the installed Python"
    try:
        found = sources.reopen(row["source"], row["locator"], fetched)
    except (UsageError, DataError) as error:
        return f"[dim]original[/]  cannot be read again: {escape(str(error))}"
    if found is None:
        return f"[dim]original[/]  {where} is not there any more"
    root, again = found
    return f"[dim]original[/]  {escape(root)}: {where}, {len(again.text):,} characters: {escape(' '.join(excerpt(again.text).split()))}"


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


def absence(console: Console, tables: Tables, found: list[dict[str, Any]]) -> None:
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
            console.print(f"  [green]kept[/] in {row['split']}{seen}, but cut there: {cut_by(row)}")
    if found and found[0]["n"] > MOST:
        console.print(f"and {found[0]['n'] - MOST:,} more documents that hold it")


def unread(console: Console, tables: Tables, text: str, listed: Path | None) -> None:
    """Records that could not be read and begin with a text that holds ``text``; and how many there are in all, if told where they lie."""
    for row in tables.rows("SELECT * FROM unread WHERE regexp_matches(excerpt, ?, 'i') ORDER BY locator LIMIT ?", pattern(text), MOST):
        console.print(f"[bold]{escape(row['locator'])}[/]  [dim]{row['id']}[/]")
        console.print(f"  [red]not read[/]: {row['rule']} – {escape(str(row['reason']))}")
    count = tables.one("SELECT count(*) AS n FROM unread")["n"]
    if listed and count:
        console.print(f"{count:,} record{'' if count == 1 else 's'} could not be read, listed in {escape(str(listed))}.")


def cut_by(row: dict[str, Any]) -> str:
    """The kinds of edits that touch the place."""
    first, size = int(row["place"]) - 1, int(row["size"])
    own = [edit for edit in row["edits"] or () if edit["stage"] != "clean"]  # what cleaning mended was counted before the text was read
    kinds = {edit["op"] for edit in own if edit["start"] < first + size and edit["end"] > first}
    return ", ".join(sorted(kinds)) or "by an edit before it"
