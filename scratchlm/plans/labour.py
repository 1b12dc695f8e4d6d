"""How many devices would best share a recipe's pre-training out: what each holds and sends, how long it takes, what to type."""

from collections.abc import Sequence
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.parallel.layout import ALONE, AXES, Layout
from scratchlm.parallel.precision import GAIN_TO_SWITCH
from scratchlm.plans.advice import Advice, advise, enough
from scratchlm.plans.hardware import Machines
from scratchlm.plans.typed import commands
from scratchlm.plans.ways import Asked, Way, as_set, named
from scratchlm.report.words import duration, share
from scratchlm.shares.division import Outline
from scratchlm.shares.held import held
from scratchlm.train.decisions import ALONE_ONLY
from scratchlm.train.session import steps_for

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
OTHERS = 2
"""Divisions that are told of beside the best."""
PART_OF = {
    "weights": "its own part, float32",
    "gradients": "what of them is whole at that moment included",
    "optimizer": "its own part",
    "gathered weights": "of others' parts, what is here at that moment, and copies in half precision",
    "activations": "of all micro-batches under way, and what passes",
    "loss": "scores of a chunk of positions and the head's gradients",
    "messages": "buffers",
}

Row = tuple[str, str, str]
"""What it is, how much, and what that means."""


def told_of(config: Any, devices: str, words: Sequence[str], *, dry_run: bool) -> tuple[dict[str, Sequence[Row]], list[str]]:
    """(rows by heading, lines to type) of pre-training by ``config``; ``words`` name the recipe and what was changed of it."""
    asked = asked_of(config, Machines.read(devices))
    advice = advise(asked)
    told = shared_out(asked, advice, config)
    if dry_run:
        told["Dry run"] = rehearsed(asked, advice, config)
    return told, commands(words, asked, advice.best, config.rows_at_once)


def asked_of(config: Any, machines: Machines) -> Asked:
    """What is to be divided; dtype ``auto`` is bfloat16 where its products are that much faster. UsageError for one of one process only."""
    dtype, device = config.dtype, machines.device
    if dtype == "auto":
        dtype = "bfloat16" if device.bfloat16 >= GAIN_TO_SWITCH * device.float32 else "float32"
    if dtype in ALONE_ONLY and machines.count > 1:
        raise UsageError(f"--devices {machines.typed}: dtype {dtype} is for one process. Set pretrain.dtype=bfloat16.")
    return Asked(Outline(config.model), config.optimizer, config.rows, machines, dtype, config.parallel)


def shared_out(asked: Asked, advice: Advice, config: Any) -> dict[str, Sequence[Row]]:
    """How the devices would best share a step, what each holds of it and sends, and how long the run takes."""
    best, machines = advice.best, asked.machines
    nodes = f"{machines.nodes:,} machines of {machines.device.per_node}" if machines.nodes > 1 else "in one machine"
    rows: list[Row] = [
        ("devices", str(machines), f"{nodes}, {short(machines.device.peak(asked.dtype), 'FLOP/s')} of {asked.dtype} each at the peak"),
        ("best", lasting(best.forecast.seconds), f"a step: {named(best.division)}"),
        *fewer_do(asked, best),
        *(("next", slower(way, best), named(way.division)) for way in advice.others[:OTHERS]),
    ]
    plain = {"gathered": best.division.layout.gathered}
    others = {
        "weights cut, nothing else": (Layout.model_validate(plain), None),
        "as the recipe has it": (config.parallel, config.rows_at_once),
    }
    told = {named(best.division): ("", "", "")}
    for name, (layout, at_once) in others.items():
        which, *what = set_way(asked, layout, at_once, best)
        told.setdefault(which, (name, what[0], what[1]))
    rows += list(told.values())[1:]
    return {
        "Division of labour": rows,
        f"Memory of a process {best.held.moment}": parts_of(asked, best),
        "Messages of a process in a step": messages_of(best),
        "Time of a step": time_of(asked, best, config),
    }


def fewer_do(asked: Asked, best: Way) -> list[Row]:
    """That more devices gain nothing, where they do not."""
    count, time = enough(asked, best), best.forecast
    if count is None:
        return []
    what = "operations must be started one after another" if time.started_s >= time.waited_s else "what more compute, messages take"
    return [("enough", f"{count} x {asked.machines.name}", f"takes no longer: {what}, so more gain nothing")]


def set_way(asked: Asked, layout: Layout, rows_at_once: int | None, best: Way) -> Row:
    """(which it is, how much slower it is, what it holds) of a division that is given; in place of all but the first why it cannot be."""
    try:
        way = as_set(asked, layout, rows_at_once)
    except UsageError as error:
        return str(error), "–", str(error)
    which, fits = named(way.division), ", too much" * (way.held.total > asked.room)
    return which, slower(way, best), f"{which}: {short(way.held.total, 'B')}{fits}"


def slower(way: Way, best: Way) -> str:
    """How much longer a step takes."""
    return f"{100 * (way.forecast.seconds / best.forecast.seconds - 1):+.1f} %".replace("-0.0", "+0.0")


def parts_of(asked: Asked, best: Way) -> list[Row]:
    """What the fullest process holds, by part; of a pipeline also what others hold."""
    division, memory = best.division, asked.machines.device.memory_bytes
    rows = [(name, short(size, "B"), PART_OF[name]) for name, size in best.held.parts.items() if size]
    rows.append(("together", short(best.held.total, "B"), f"{share(best.held.total, memory)} of one {asked.machines.name}"))
    for rank in sorted({0, 1, len(division.stages) - 1}) if division.piped else ():
        there, spans = held(division, asked.optimizer, rank), division.stages[rank].spans
        layers = " and ".join(f"{span.start} to {span.stop - 1}" for span in spans)
        rows.append((f"process {rank} of the pipeline", short(there.total, "B"), f"{there.moment}; layers {layers}"))
    return rows


def messages_of(best: Way) -> list[Row]:
    """What is sent, over which links, and how long it is waited for."""
    where = {True: "between machines", False: "inside a machine"}
    return [
        (name, short(m.size_bytes, "B"), f"{where[m.between]}, {lasting(m.seconds)}, of which {lasting(m.waited)} are waited for")
        for name, m in best.forecast.messages.items()
    ] or [("none", "0 B", "there is one process")]


def time_of(asked: Asked, best: Way, config: Any) -> list[Row]:
    """Where a step's time goes, and how long the run takes."""
    time, machines, layout = best.forecast, asked.machines, best.division.layout
    per_step = config.rows * config.model.context
    seconds = steps_for(config.tokens, per_step=per_step) * time.seconds
    hours = machines.count * seconds / 3600
    alone = f"{hours:,.0f} hours" if hours >= 1 else lasting(machines.count * seconds)
    waiting = share(time.idle_s, time.arithmetic_s + time.started_s + time.idle_s)
    bubble = [("idle in the pipeline", lasting(time.idle_s), f"{waiting}, by schedule {layout.schedule}")] if best.division.piped else []
    return [
        (
            "arithmetic",
            lasting(time.arithmetic_s),
            f"at {machines.device.share:.0%} of the peak, as was measured on large models; small ones reach less",
        ),
        *(
            [("starting operations", lasting(time.started_s), "beyond that: there is too little at once to compute")]
            if time.started_s
            else []
        ),
        *bubble,
        ("messages waited for", lasting(time.waited_s), ""),
        ("together", lasting(time.seconds), f"{time.mfu:.1%} of the peak (MFU); what is computed twice counts once"),
        ("tokens a second", f"{time.tokens_per_s:,.0f}", f"{time.tokens_per_s / machines.count:,.0f} by each device"),
        ("the run", lasting(seconds), f"{alone} of one {machines.name}; reckoned, not tried"),
    ]


def rehearsed(asked: Asked, advice: Advice, config: Any) -> Sequence[Row]:
    """What the real code finds that is started without numbers: divided as the recipe says, or, where it says nothing, the best way."""
    from scratchlm.plans import dry_run  # loads torch's compiler

    own = any(getattr(config.parallel, axis) != getattr(ALONE, axis) for axis in AXES)
    way = as_set(asked, config.parallel, config.rows_at_once) if own else advice.best
    return dry_run.told(dry_run.rehearsed(way.division, asked.optimizer), way, asked.optimizer, lambda size: short(size, "B"))


def lasting(seconds: float) -> str:
    """``12 ms`` and ``3.2 days`` where seconds or hours would be few or many."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds / 86400:,.1f} days" if seconds >= 2 * 86400 else duration(seconds)


def short(value: float | int, unit: str) -> str:
    """Three digits with the prefix that fits: ``69.1 MFLOP``, ``1.13 TB``, ``2.88 M``."""
    power = 0
    while value >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}{unit}".rstrip()
