"""The corpus section of the page: what came in, what each rule took, and how near the limits documents lie."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from scratchlm.core import journal as journals
from scratchlm.core.artifact import Artifact, Home
from scratchlm.report import histogram
from scratchlm.report.gather import plain
from scratchlm.sources.found import EXCERPT

STAGES = {
    "read": "could not be read",
    "clean": "empty or too large",
    "measure": "workers died on it",
    "blocklist": "blocked address",
    "language": "other language",
    "filter": "refused by a rule",
    "classifier": "unlike the good examples",
    "contamination": "holds a test item",
    "exact": "exact copy",
    "address": "same address",
    "near": "near copy",
    "cut": "nothing left after cuts",
    "mix": "left out by the mix",
}
"""What is said of a document that a step lost."""
COLUMNS = 6
"""Sources that have a column of their own; the others share one."""
LANGUAGES = 3
"""Of a source, those that are named."""
NEAREST = 5
"""Documents shown on each side of a limit."""


def funnel(home: Home, corpus: Artifact) -> dict[str, Any]:
    """Every fact that the section shows."""
    told = plain(corpus.path / "report.json")
    favour(corpus, [each for examples in (*told["near"].values(), *told["dropped"].values()) for each in examples])
    return {
        "mix": None,
        **told,
        "steps": steps(told["conservation"]["documents_in"], told["stages"]),
        "matrix": matrix(told["stages"]),
        "figures": {each["rule"]: histogram.drawn(each, told["limits"].get(each["rule"], [])) for each in told["histograms"]},
        "about": {each["rule"]: each["about"] for each in told["histograms"]},
        "sides": {rule: sides(found) for rule, found in told["near"].items()},
        "by_source": by_source(told["sources"]),
        "kinds": kinds(told["edits"]),
        "copies": [came(told["clusters"]["sizes"]), compared(told["near_copies"]), sought(told["passages"])],
        "costs": costs(home),
    }


def favour(corpus: Artifact, examples: Sequence[dict[str, Any]]) -> None:
    """Tell each example that left as a copy which document it left in favour of, by its locator."""
    verdicts = ds.dataset(corpus.path / "verdicts.parquet")

    def of(column: str, ids: set[str]) -> dict[str, Any]:
        table = verdicts.to_table(["doc_id", column], filter=pc.field("doc_id").isin(pa.array(sorted(ids), pa.string())))
        return dict(zip(table["doc_id"].to_pylist(), table[column].to_pylist(), strict=True))

    twins = of("dup_of", {each["doc_id"] for each in examples})
    locators = of("locator", {twin for twin in twins.values() if twin})
    for each in examples:
        if twin := twins.get(each["doc_id"]):
            each["favoured"] = locators[twin]


def begun(excerpt: str) -> str:
    """How a text begins, without empty lines; "…" follows where it was cut off, which is at ``EXCERPT`` characters or behind a blank."""
    shown = re.sub("\n{2,}", "\n", excerpt.rstrip())
    return shown + "…" if len(excerpt) >= EXCERPT or excerpt[-1:].isspace() else shown


def came(sizes: Mapping[str, int]) -> str:
    """How many texts came how often, as a sentence; empty when each came once."""
    said = [f"{count:,} came {'twice' if size == '2' else f'{size} times'}" for size, count in sizes.items()]
    first = next(iter(sizes.values()), 0)
    return ", ".join(said).replace(" came", " text came" if first == 1 else " texts came", 1) + "." if sizes else ""


def compared(near: Mapping[str, int]) -> str:
    """Whether all pairs that may be near copies were compared, as a sentence."""
    if not near["pairs_left_out"]:
        return "Every pair that shares a band was compared."
    return f"{near['pairs_left_out']:,} pairs in {near['crowded_buckets']:,} crowds were not compared."


def sought(passages: Mapping[str, int]) -> str:
    """How repeated passages were sought, as a sentence; empty when they were not."""
    if not passages:
        return ""
    said = "every two places with one mark were compared"
    if passages["apart"]:
        said = f"{passages['apart']:,} places of {passages['crowded']:,} crowded marks were not all compared with each other"
    if count := passages["blocks_in_the_way"]:
        said += f", and {count:,} {'piece' if count == 1 else 'pieces'} of code stood in the way of a cut"
    return f"Repeated passages were sought: {said}."


def steps(documents: int, stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many documents are left after each step that lost some."""
    lost: Counter[str] = Counter()
    for row in stages:
        lost[row["stage"]] += row["documents_lost"]
    found, left = [{"name": "came in", "lost": 0, "left": documents}], documents
    for stage, count in lost.items():
        left -= count
        found.append({"name": STAGES[stage], "lost": count, "left": left})
    return found


def matrix(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What came to each step and what it lost, source by source; the largest sources first, and none when there is only one."""
    largest = list(dict.fromkeys(row["source"] for row in stages))
    own = largest if len(largest) <= COLUMNS + 1 else largest[:COLUMNS]
    names = [*own, *([f"{len(largest) - len(own)} others"] if len(own) < len(largest) else [])]
    rows: dict[str, list[dict[str, int]]] = {}
    for row in stages:
        cells = rows.setdefault(STAGES[row["stage"]], [{"came": 0, "lost": 0} for _ in names])
        cell = cells[own.index(row["source"]) if row["source"] in own else -1]
        cell["came"] += row["documents_in"]
        cell["lost"] += row["documents_lost"]
    left = [cell["came"] - cell["lost"] for cell in list(rows.values())[-1]] if rows else []
    return {"sources": names if len(names) > 1 else [], "rows": rows, "left": left}


def sides(near: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents on both sides of a limit: just dropped, then just kept."""
    words = {True: "just dropped", False: "just kept"}
    return [
        {"said": said, "examples": [each for each in near if each["dropped"] == dropped][:NEAREST]}
        for dropped, said in words.items()
        if any(each["dropped"] == dropped for each in near)
    ]


def by_source(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sources, all languages of each together, the largest first."""
    found: dict[str, Counter[str]] = {}
    spoken: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row["source"], Counter()).update({key: row[key] for key in row if key not in ("source", "lang")})
        if row["lang"]:
            spoken.setdefault(row["source"], Counter())[row["lang"]] += row["documents_in"]
    return [
        {"source": source, "languages": [lang for lang, _ in spoken.get(source, Counter()).most_common(LANGUAGES)],
         "more": max(0, len(spoken.get(source, ())) - LANGUAGES), **counts}
        for source, counts in sorted(found.items(), key=lambda pair: -pair[1]["characters_in"])
    ]  # fmt: skip


def kinds(edits: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Places of each kind of private value that were masked, of all sources together."""
    found: Counter[str] = Counter()
    for row in edits:
        if row["op"].startswith("pii:"):
            found[row["op"]] += row["places"]
    return dict(found.most_common())


def costs(home: Home) -> list[dict[str, Any]]:
    """What each step of the engine cost in the attempt that made most of the corpus: units, seconds of work, rates, largest memory."""
    events = [event for event in journals.read(home.path / "journal.jsonl") if event["event"] == "corpus" and "parts" in event]
    parts = max((event["parts"] for event in events), key=lambda part: sum(row["seconds"] for row in part.values()), default={})
    return [{"step": name, **row} for name, row in parts.items() if row["seconds"] >= 0.05]
