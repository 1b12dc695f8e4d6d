"""Would training begin, shared out as a recipe says? Asked of the code that would refuse it later, after a night in a queue."""

from collections.abc import Mapping
from typing import Any

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError
from scratchlm.model import store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, shape_only
from scratchlm.parallel.experts import share_out_
from scratchlm.parallel.tensor import Lane, cut_of, divide_
from scratchlm.parallel.world import World
from scratchlm.shares.division import PERIOD, Outline
from scratchlm.train.decisions import check_dtype
from scratchlm.train.spans import check, check_step, micro_batches

ROWS_OF = {
    "pretrain": ("rows", "rows"),
    "sft": ("rows", "rows"),
    "prefer": ("pairs_per_step", "pairs"),
    "reinforce": ("prompts", "prompts"),
}
"""The field of each stage that says how much a step has, and of what."""
WHOLE_ROWS = ("prefer", "reinforce")
"""Stages that share rows out, and nothing within a row or a model but weights."""


def refuse_what_would_not_begin(stages: Mapping[str, Any], recipe: Mapping[str, Any], home: Home, processes: int) -> None:
    """UsageError of the first stage that so many processes would not train, in the words in which training would say it."""
    for verb, stage in stages.items():
        sizes = stage.parallel.sizes(processes)
        world = World(device="cpu" if stage.device == "cpu" else "cuda", layout=stage.parallel, sizes=sizes)
        try:
            _refuse_step(verb, stage, world)
            shape = recipe["pretrain"].model if verb == "pretrain" else shape_before(home, recipe)
            if shape is not None and processes > 1:
                _refuse_shape(shape, world)
        except UsageError as error:
            raise UsageError(f"{verb}.{error}") from None


def shape_before(home: Home, recipe: Mapping[str, Any]) -> AnyConfig | None:
    """The shape of the model that stages after pre-training start from; None where it is not known yet."""
    if (made := home.find("base", "sft")) is not None:
        return store.shape_in(made.path)
    return recipe["pretrain"].model if recipe["pretrain"] else None


def _refuse_step(verb: str, stage: Any, world: World) -> None:
    """What does not depend on the model."""
    if stage.dtype != "auto":
        check_dtype(stage.dtype, world)
    if world.processes > 1 and dict(stage).get("budget"):
        raise UsageError("budget: what a time is worth is measured on one process. Take --processes 1, or leave budget out.")
    check_step(world, within=verb not in WHOLE_ROWS)
    field, what = ROWS_OF[verb]
    micro_batches(world.share(dict(stage)[field], what), world)


def _refuse_shape(shape: AnyConfig, world: World) -> None:
    """Heads, positions, layers, matrices and experts that cannot be shared out."""
    sizes, layout = world.sizes, world.layout
    few, sharding = shape_only(shape.model_copy(update={"layers": min(PERIOD, shape.layers)})), ARCHITECTURES[shape.kind].SHARDING
    check(few, world)
    if sizes["pipeline"] > 1:
        Outline(shape).stages(sizes["pipeline"], layout.spans_each, layout.schedule)
    for bank in [module for path, module in few.named_modules() if cut_of(path, sharding) == "experts"]:
        share_out_(bank, None, 0, sizes["expert"])
    if sizes["tensor"] > 1:
        divide_(few, sharding, Lane(None, 0, sizes["tensor"]))
