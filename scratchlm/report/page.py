"""One page about one run: everything on it comes from the run's own artifacts, and the browser needs nothing else."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scratchlm.core.artifact import Artifact, Home
from scratchlm.report import figures, funnel, gather, scores, vocab, words

HERE = Path(__file__).parent
EVIDENCE = HERE / "evidence.json"
"""Runs of the recipe ``MEASURED`` with several seeds, measured once and committed; shown beside the numbers of a run of the same recipe."""
MEASURED = "laptop"
MODELS = ("base", "sft", "preferred", "reinforced")
TITLES = {
    "base": "Pre-training",
    "sft": "Learning to answer",
    "preferred": "Preferring the better answer",
    "reinforced": "Practising what can be checked",
}
SAMPLES = 6


def render(home: Home, stages: Mapping[str, str]) -> str:
    """The page of ``home``; ``stages`` gives each verb's artifact in their order."""
    loader = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    loader.filters.update(short=words.short, duration=words.duration, size=words.size, title=scores.title, begun=funnel.begun)
    return loader.get_template("page.html").render(contents(home, stages))


def contents(home: Home, stages: Mapping[str, str]) -> dict[str, Any]:
    """Every fact the page shows."""
    found = {name: made for name in stages.values() if (made := home.find(name))}
    table = scores.read(found["scores"].path / "scores.json") if "scores" in found else None
    recipe = gather.plain(home.path / "recipe.json") or {}
    models = {name: gather.training(found[name]) for name in MODELS if name in found}
    typed = gather.commands(home)
    rows = [row for row in gather.road(home, dict(stages)) if row.artifact != "report"]
    return {
        "name": recipe.get("recipe", {}).get("name", home.path.name),
        "home": home.path.name,
        "rows": rows,
        "seconds": sum(row.seconds for row in rows),
        "corpus": gather.corpus(found["corpus"]) if "corpus" in found else None,
        "funnel": funnel.funnel(home, found["corpus"]) if "corpus" in found else None,
        "tokenizer": vocab.section(found["tokenizer"]) if "tokenizer" in found else None,
        "shards": found["shards"].counts if "shards" in found else {},
        "models": models,
        "figures": {name: _figures(model, table) for name, model in models.items()},
        "titles": TITLES,
        "samples": {name: spread(model.samples) for name, model in models.items()},
        "scores": table,
        "shares": _shares(table),
        "interval_figure": Markup(figures.intervals(table, _shares(table))) if table and _shares(table) else "",
        "answers": _answers(found.get("scores")),
        "evidence": gather.plain(EVIDENCE) if _as_measured(recipe.get("asked", {})) else None,
        "troubles": gather.troubles(home),
        "skipped": {name: model.skipped for name, model in models.items() if model.skipped},
        "commands": [shlex.join(event["argv"]) for event in typed],
        "versions": typed[-1]["versions"] if typed else {},
        "machine": typed[-1]["machine"] if typed else "",
        "recipe": json.dumps(recipe.get("recipe", {}), indent=2, ensure_ascii=False),
    }


def _as_measured(asked: Mapping[str, Any]) -> bool:
    """Whether what was typed is the recipe behind ``EVIDENCE`` and nothing else but perhaps a seed."""
    return asked.get("recipe") == MEASURED and not asked.get("data") and not asked.get("sets")


def spread(items: list[Any], most: int = SAMPLES) -> list[Any]:
    """At most ``most`` of the items, the first and the last among them, evenly apart."""
    if len(items) <= most:
        return items
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _figures(model: gather.Training, table: scores.Scores | None) -> list[Markup]:
    """What our own drawing made; the only text in it that is not ours is escaped by matplotlib and below."""
    if not model.steps:
        return []
    drawn = [figures.learning(model, table), figures.details(model)] if model.name == "base" else [figures.objectives(model)]
    return [Markup(each) for each in drawn if each]


def _shares(table: scores.Scores | None) -> list[str]:
    if table is None:
        return []
    cells = {measure: [table.cell(model, measure) for model in table.models] for measure in table.measures}
    return [measure for measure, row in cells.items() if any(row) and all(cell is None or cell.rate for cell in row)]


def _answers(artifact: Artifact | None) -> list[dict[str, Any]]:
    """Answers of the newest model that gave any: the one a reader would talk to."""
    found = gather.plain(artifact.path / "answers.json") if artifact else None
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    by_model = {name: [row for row in rows if row.get("model") == name] for name in MODELS}
    return next((by_model[name] for name in reversed(MODELS) if by_model[name]), rows)
