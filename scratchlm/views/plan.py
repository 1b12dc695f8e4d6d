"""What a recipe's model costs, before a single token is read, or one that was adopted: parameters, arithmetic, memory, sizes on disk."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scratchlm.core.artifact import Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import scored_at_once
from scratchlm.model import cost, store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig
from scratchlm.parallel.layout import ALONE, AXES, Layout
from scratchlm.parallel.precision import GAIN_TO_SWITCH
from scratchlm.plans.advice import Advice, Asked, Way, advise, as_set, commands, named
from scratchlm.plans.hardware import Machines
from scratchlm.report.words import duration, share
from scratchlm.shares.division import Outline
from scratchlm.shares.held import held
from scratchlm.train.session import steps_for

PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
ROWS_AT_ONCE = 16
"""Of a micro-batch in this plan, where the recipe leaves it to the machine."""
COMPUTE_OPTIMAL = 20
"""Tokens per parameter at which a budget of FLOPs gives the lowest loss: Hoffmann et al. 2022, arXiv:2203.15556."""
EXPORTS = {"hf": (32.0, 32.0), "gguf f16": (16.0, 16.0), "gguf q8_0": (8.5, 8.5), "gguf q4_0": (4.5, 8.5)}
"""Bits of a weight within blocks, and of one in embeddings and head; q8_0 and q4_0 give every 32 weights a float16 scale."""

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


def show(home: Home, *, recipe: Settings, devices: str | None = None, dry_run: bool = False) -> None:
    """Print what training by ``recipe`` takes, and what the model takes afterwards; one that came with ``home`` is only fine-tuned.

    With ``devices``, such as 8xH100, also how they would best share pre-training out; a ``dry_run`` is what the real code says of it.
    """
    stages, console = dict(recipe), Console(highlight=False, emoji=False)
    name, pretrain = stages["name"], stages["pretrain"]
    model = pretrain.model if pretrain else shape_here(home, name)
    told, typed = sections(model, pretrain, stages["sft"]), list[str]()
    if devices is not None:
        if pretrain is None:
            raise UsageError(f"--devices: '{name}' has no pretrain stage whose work could be shared out. Name a recipe that has.")
        asked = asked_of(pretrain, Machines.read(devices))
        advice = advise(asked)
        told = {**told, **shared_out(asked, advice, pretrain)}
        typed = commands(name, asked, advice.best, pretrain.parallel, pretrain.rows_at_once)
        if dry_run:
            with console.status("dry run"):
                told = {**told, "Dry run": rehearsed(asked, advice, pretrain)}
    elif dry_run:
        raise UsageError("--dry-run: say of how many devices, such as --devices 1024xH200.")
    console.print(f"[bold]{escape(name)}[/]: {shape_of(model)} [dim]({escape(str(home.path))})[/]\n", soft_wrap=True)
    console.print(drawn(told))
    for line in typed:
        console.print(line, soft_wrap=True, markup=False)
    if pretrain and pretrain.budget:
        told = f"Within {pretrain.budget} size, tokens, rows and rates are chosen when pre-training begins; these are those without it."
        console.print(f"\n[bold]{escape(told)}[/]")
    if pretrain:
        console.print("\n[dim]vocab is an upper bound: the model gets a row for each piece of the tokenizer, and may turn out smaller.[/]")


def shape_here(home: Home, name: str) -> AnyConfig:
    """The shape of the model that ``home`` began with."""
    made = home.find("base", "sft")
    if made is None:
        raise UsageError(f"{home.path}: '{name}' has no pretrain stage, and no model is here. Bring one with `scratchlm adopt DIRECTORY`.")
    return store.shape_in(made.path)


def shape_of(model: AnyConfig) -> str:
    """The model in a line."""
    told = dict(model)
    parts = [f"{model.layers} layers of width {model.width}", f"vocab {model.vocab:,}", f"context {model.context:,}"]
    if told.get("window"):
        parts.append(f"window {told['window']:,}")
    if told.get("experts"):
        parts.append(f"{told['experts_per_token']} of {told['experts']} experts")
    return f"{model.kind}, {', '.join(parts)}"


def sections(model: AnyConfig, pretrain: Any | None, sft: Any | None) -> Mapping[str, Sequence[Row]]:
    """All that is told, by heading: of pre-training where there is one, else of a step of fine-tuning, if there is that."""
    told: dict[str, Sequence[Row]] = {"Parameters": parameters(model)}
    if pretrain:
        told |= {"Training": training(pretrain), "Memory of a step": memory(model, pretrain)}
    elif sft:
        told |= {"Memory of a step of fine-tuning": memory(model, sft)}
    return told | {"Memory of speaking": speaking(model), "On disk": exports(model)}


def parameters(model: AnyConfig) -> list[Row]:
    """How many numbers it learns."""
    total, active, body = cost.parameters(model), cost.active_parameters(model), cost.body_parameters(model)
    asked = [("active", f"{active:,}", f"touch one token, {share(active, total)} of all")] if active < total else []
    return [
        ("total", f"{total:,}", short(total, "")),
        *asked,
        ("without embeddings and head", f"{body:,}", f"{share(body, total)}, N of scaling laws"),
    ]


def training(config: Any) -> list[Row]:
    """How far it goes, and how much arithmetic that is."""
    model, per_step = config.model, config.rows * config.model.context
    steps = steps_for(config.tokens, per_step=per_step)
    tokens, flops, active = steps * per_step, cost.training_flops(model), cost.active_parameters(model)
    return [
        ("tokens", f"{tokens:,}", f"{steps:,} steps of {config.rows} rows of {model.context:,}"),
        ("tokens per parameter", f"{tokens / active:.3g}", f"about {COMPUTE_OPTIMAL} are compute-optimal"),
        ("FLOPs per token", short(flops, "FLOP"), "6 N + 12 L H C T"),
        ("FLOPs of the run", short(flops * tokens, "FLOP"), f"{flops * tokens:.3g}"),
    ]


def memory(model: AnyConfig, config: Any) -> list[Row]:
    """What a step of a training so configured holds at once."""
    optimizer, rows = config.optimizer, config.rows_at_once or min(config.rows, ROWS_AT_ONCE)
    parts = cost.training_bytes(model, rows, optimizer.kind, momentum=dict(optimizer).get("momentum", 0.0))
    means = {
        "weights": "float32",
        "gradients": "float32",
        "optimizer": optimizer.kind,
        "activations": f"{rows} of {config.rows} rows at once; bfloat16 keeps about 0.7",
        "loss": f"scores of {scored_at_once(model.vocab):,} positions at a time, and the head's gradients",
    }
    return [*((name, short(size, "B"), means[name]) for name, size in parts.items()), ("together", short(sum(parts.values()), "B"), "")]


def speaking(model: AnyConfig) -> list[Row]:
    """What answering holds at once."""
    weights, whole = cost.weight_bytes(model, 32.0, 32.0), cost.cache_bytes(model, model.context)
    window = cost.window_of(model)
    reach = f"a window of {window:,}" if window and window < model.context else f"{model.context:,} tokens"
    return [
        ("weights", short(weights, "B"), "float32"),
        ("keys and values of a token", short(cost.cache_bytes(model, 1), "B"), "in all layers, float32"),
        ("of a full context", short(whole, "B"), f"{reach}, each conversation"),
    ]


def exports(model: AnyConfig) -> list[Row]:
    """How large the files are that others read."""
    sizes = {name: cost.weight_bytes(model, *bits) for name, bits in EXPORTS.items()}
    if ARCHITECTURES[model.kind].HF_NAMES is None:
        return [("model.safetensors", short(sizes["hf"], "B"), f"float32; no other runtime reads a '{model.kind}' model")]
    return [(name, short(size, "B"), "float32" if name == "hf" else "about") for name, size in sizes.items()]


def asked_of(config: Any, machines: Machines) -> Asked:
    """What is to be divided; dtype ``auto`` is bfloat16 where its products are that much faster."""
    dtype, device = config.dtype, machines.device
    if dtype == "auto":
        dtype = "bfloat16" if device.bfloat16 >= GAIN_TO_SWITCH * device.float32 else "float32"
    return Asked(Outline(config.model), config.optimizer, config.rows, machines, dtype)


def shared_out(asked: Asked, advice: Advice, config: Any) -> dict[str, Sequence[Row]]:
    """How the devices would best share a step, what each holds of it and sends, and how long the run takes."""
    best, machines = advice.best, asked.machines
    nodes = f"{machines.nodes:,} machines of {machines.device.per_node}" if machines.nodes > 1 else "in one machine"
    rows: list[Row] = [
        ("devices", str(machines), f"{nodes}, {short(machines.device.peak(asked.dtype), 'FLOP/s')} of {asked.dtype} each at the peak"),
        ("best", lasting(best.forecast.seconds), f"a step: {named(best.division)}"),
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
    return f"{100 * (way.forecast.seconds / best.forecast.seconds - 1):+.1f} %"


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
    waiting = share(time.idle_s, time.arithmetic_s + time.idle_s)
    bubble = [("idle in the pipeline", lasting(time.idle_s), f"{waiting}, by schedule {layout.schedule}")] if best.division.piped else []
    return [
        (
            "arithmetic",
            lasting(time.arithmetic_s),
            f"at {machines.device.share:.0%} of the peak, as was measured on large models; small ones reach less",
        ),
        *bubble,
        ("messages waited for", lasting(time.seconds - time.arithmetic_s - time.idle_s), ""),
        ("together", lasting(time.seconds), f"{time.mfu:.1%} of the peak (MFU); what is computed twice counts once"),
        ("tokens a second", f"{time.tokens_per_s:,.0f}", f"{time.tokens_per_s / machines.count:,.0f} by each device"),
        ("the run", lasting(seconds), f"{machines.count * seconds / 3600:,.0f} hours of one {machines.name}; reckoned, not tried"),
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


def drawn(told: Mapping[str, Sequence[Row]]) -> Table:
    """The sections below each other, numbers in one column."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for place, (heading, rows) in enumerate(told.items()):
        if place:
            table.add_row()
        table.add_row(f"[bold cyan]{heading}[/]")
        for name, value, meaning in rows:
            table.add_row(f"  {name}", f"[bold]{value}[/]" if name in ("total", "together") else value, escape(meaning))
    return table
