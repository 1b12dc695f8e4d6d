"""What to type for the division of labour that was found."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from scratchlm.parallel.layout import AXES
from scratchlm.plans.ways import Asked, Way, cut_by

CHOSEN = ("zero", "schedule", "spans", "recompute")
"""Fields of a layout that are chosen beside the sizes."""


def commands(words: Sequence[str], asked: Asked, best: Way, rows_at_once: int | None) -> list[str]:
    """Lines to type, given the ``words`` that name the recipe, its home and what was changed: these, and what the best way changes."""
    division, machines = best.division, asked.machines
    changed = changes(asked, best)
    sets = ["--set", f"pretrain.parallel={json.dumps(changed)}"] if changed else []
    sets += ["--set", f"pretrain.rows_at_once={division.rows}"] if rows_at_once != division.rows else []
    training = ["scratchlm", "pretrain", *words, *sets]
    if machines.count == 1:
        return ["", shlex.join(training)]
    processes = min(machines.count, machines.device.per_node)
    alone, meeting = ["--standalone"], ["--nnodes", str(machines.nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", "HOST:29500"]
    where = [*(alone if machines.nodes == 1 else meeting), "--nproc-per-node", str(processes)]
    return [
        "",
        shlex.join(["torchrun", *where, "-m", *training]),
        "",
        "With checks before, or as a job:",
        shlex.join(["scratchlm", "launch", *words, *sets, "--nodes", str(machines.nodes), "--processes", str(processes)]),
    ]


def changes(asked: Asked, best: Way) -> dict[str, Any]:
    """Fields of the recipe's layout that the best way has otherwise."""
    division = best.division
    fields = [*AXES, *CHOSEN, *(["gathered"] if cut_by(division.sizes) else [])]
    old, new = dict(asked.layout), dict(division.layout)
    return {field: new[field] for field in fields if new[field] != old[field] and (field, old[field]) != ("shard", None)}
