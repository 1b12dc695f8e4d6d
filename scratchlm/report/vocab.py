"""The tokenizer's part of the report: how short it makes text, by language and source, what comes back, and which pieces it has."""

from collections.abc import Mapping
from typing import Any

from scratchlm.core.artifact import Artifact
from scratchlm.report import gather, words

ROWS = 12
"""Languages and sources in a table; the rest are counted."""
PIECES = 24
"""In each list."""
NAMED = 5
"""Documents and bytes that a sentence names."""
FEW = 10
"""Held-out documents below which a figure may be chance."""
LABELS = {"kind": "Kind", "size": "Pieces", "bytes_per_token": "Bytes per token", "engine": "Encodes with"}
TABLES = {"languages": "language", "sources": "source"}
LISTS = {"most_frequent": "Most frequent pieces", "longest": "Longest pieces", "idle": "Pieces that held-out text never needs"}


def section(artifact: Artifact) -> dict[str, Any]:
    """What the page shows of a tokenizer; what its own account does not tell is left out."""
    told = (gather.plain(artifact.path / "pieces.json") or {}) | (gather.plain(artifact.path / "decisions.json") or {}).get("compared", {})
    return {
        "counts": {label: artifact.counts[name] for name, label in LABELS.items() if name in artifact.counts},
        "other": told.get("other", "the other"),
        "said": [said for said in sentences(told, artifact.counts) if said],
        "tables": [table(name, told, column) for column, name in TABLES.items() if told.get(column)],
        "lists": {title: [row["shown"] for row in told[name][:PIECES]] for name, title in LISTS.items() if told.get(name)},
    }


def sentences(told: Mapping[str, Any], counts: Mapping[str, Any]) -> tuple[str, ...]:
    """What there is to say, empty where it is not known."""
    return learned(counts), comes_back(told), known(told), in_use(told, counts.get("size")), few(told)


def learned(counts: Mapping[str, Any]) -> str:
    """From which text, as sentences; the share only where something was left out."""
    if not {"text_documents", "text_bytes", "text_bytes_of"} <= counts.keys():
        return ""
    used, there = counts["text_bytes"], counts["text_bytes_of"]
    whole = "all the training text" if used == there else f"a sample of the {words.size(there)} of training text"
    said = f"It was made from {counts['text_documents']:,} documents, {words.size(used)}: {whole}."
    share = counts.get("learned_share", 1)
    return said if share == 1 else f"{said} Its training had room for {words.share(share, 1)} of that."


def few(told: Mapping[str, Any]) -> str:
    """That there was little to measure on, as a sentence."""
    documents = (told.get("round_trip") or {}).get("documents", FEW)
    if documents >= FEW:
        return ""
    what = f"The comparison with {told['other']} rests" if "other" in told else "These figures rest"
    return f"{what} on only {documents} held-out document{'' if documents == 1 else 's'}: others may give other figures."


def table(name: str, told: Mapping[str, Any], column: str) -> dict[str, Any]:
    """A row for each language or source and, when there are several, one for all."""
    rows = [{"name": key, **row} for key, row in told[column].items()]
    best = max(row["bytes_per_token"] for row in rows)
    keys = set(rows[0]) - {"name"}
    whole = {"name": "all", **{key: told[key] for key in keys}} if len(rows) > 1 and keys <= told.keys() else None
    return {
        "name": name,
        "rows": [beside(row, best) for row in rows[:ROWS]],
        "more": max(0, len(rows) - ROWS),
        "whole": beside(whole, best) if whole else None,
        "compared": all(row.get("other_tokens") for row in rows),
    }


def beside(row: Mapping[str, Any], best: float | int) -> dict[str, Any]:
    """A row with its share of the ``best`` rate and how many tokens fewer than the other's it has, below zero for more."""
    other = row.get("other_tokens")
    return {**row, "bar": row["bytes_per_token"] / best if best else 0.0, "fewer": 1 - row["tokens"] / other if other else 0.0}


def comes_back(told: Mapping[str, Any]) -> str:
    """Whether text comes back from its ids, as a sentence."""
    found = told.get("round_trip")
    if not found:
        return ""
    lost, bytes_lost = found["documents_lost"], found["bytes_lost"]
    said = [f"{len(lost):,} of {found['documents']:,} held-out documents do not come back from their ids ({named(lost)})"] if lost else []
    said += [f"{len(bytes_lost)} of {found['bytes']} bytes are lost ({named(bytes_lost)})"] if bytes_lost else []
    if said:
        return f"{', and '.join(said)}."
    whole = f"All {found['documents']:,} held-out documents come back from their ids as they were"
    return f"{whole}, and so does each of the {found['bytes']} bytes that text can have."


def known(told: Mapping[str, Any]) -> str:
    """How many characters have ids of their own, as a sentence; empty where it was not measured or nothing was."""
    found = told.get("coverage")
    if not found or not found["characters"]:
        return ""
    if not found["unknown"]:
        return f"Each of {found['characters']:,} characters has ids of its own."
    share = words.share(found["characters"] - found["unknown"], found["characters"])
    return f"{share} of {found['characters']:,} characters have ids of their own; {found['unknown']:,} became the one for what is unknown."


def in_use(told: Mapping[str, Any], size: Any) -> str:
    """How many pieces held-out text needed, as a sentence."""
    if "pieces_used" not in told or not isinstance(size, int):
        return ""
    never = f"; {told['never_used']:,} were never needed there" if told.get("never_used") else ""
    return f"Held-out text used {told['pieces_used']:,} of {size:,} pieces{never}."


def named(items: list[str]) -> str:
    """The first few, and how many more."""
    return ", ".join(items[:NAMED]) + (f" and {len(items) - NAMED:,} more" if len(items) > NAMED else "")
