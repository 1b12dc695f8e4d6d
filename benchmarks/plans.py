"""The plans of the recipes for many GPUs, as a page: which division of labour, what it holds, what it sends, how long it takes.

    python -m benchmarks.plans

Nothing is run: these are formulas, which tests hold against counted bytes of small runs. A test compares the page with what this makes.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scratchlm.core.artifact import Home
from scratchlm.plans.labour import told_of
from scratchlm.plans.words import words_of
from scratchlm.recipes import store
from scratchlm.views.plan import shape_of

PAGE = Path(__file__).parent / "results" / "plans.md"
PLANS = (("node", "8xH100"), ("cluster_7b", "128xH100"), ("cluster_70b", "1024xH200"))
HEAD = """<!-- made by benchmarks/plans.py -->

# Plans

Reckoned by formula, and none of them run: what `scratchlm plan RECIPE --devices NxKIND` tells. Memory is held to counted bytes of real
runs of 2 and 4 processes (`tests/test_plans.py`); times rest on what others measured of a GPU's peak, and on data sheets of links.
"""


def page() -> str:
    """All plans, below each other."""
    return "\n".join([HEAD, *(line for name, devices in PLANS for line in told(name, devices))])


def told(name: str, devices: str) -> Iterator[str]:
    """One of them: a table for each section, then what to type."""
    typed = store.Asked(recipe=name)
    config: Any = dict(store.resolved(typed))["pretrain"]
    sections, lines = told_of(config, devices, words_of("pretrain", Home(store.home_of(typed)), dict(typed))[1:], dry_run=False)
    yield f"## `scratchlm plan {name} --devices {devices}`\n"
    yield f"{shape_of(config.model)}; {config.tokens:,} tokens, {config.rows} rows a step.\n"
    for heading, rows in sections.items():
        yield f"| {heading} | | |\n|---|---|---|"
        yield from (f"| {name} | {value} | {meaning} |" for name, value, meaning in rows)
        yield ""
    yield f"```sh\n{lines[1]}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    print(shlex.join(["written:", str(PAGE)]))
