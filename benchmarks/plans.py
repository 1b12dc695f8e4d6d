"""The plans of the recipes for many GPUs, as a page: which division of labour, what it holds, what it sends, how long it takes.

    python -m benchmarks.plans

Nothing is run: these are formulas, which tests hold against counted bytes of small runs. A test compares the page with what this makes.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scratchlm.plans.advice import advise, commands
from scratchlm.plans.hardware import Machines
from scratchlm.recipes import store
from scratchlm.views import plan

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
    config: Any = dict(store.load(name))["pretrain"]
    asked = plan.asked_of(config, Machines.read(devices))
    advice = advise(asked)
    yield f"## `scratchlm plan {name} --devices {devices}`\n"
    yield f"{plan.shape_of(config.model)}; {config.tokens:,} tokens, {config.rows} rows a step.\n"
    for heading, rows in plan.shared_out(asked, advice, config).items():
        yield f"| {heading} | | |\n|---|---|---|"
        yield from (f"| {name} | {value} | {meaning} |" for name, value, meaning in rows)
        yield ""
    yield f"```sh\n{commands(name, asked, advice.best, config.parallel, config.rows_at_once)[1]}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    print(shlex.join(["written:", str(PAGE)]))
