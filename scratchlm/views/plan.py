"""What a recipe's model costs, before a single token is read, or one that was adopted: parameters, arithmetic, memory, sizes on disk."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
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
from scratchlm.plans.labour import Row, short, told_of
from scratchlm.plans.words import words_of
from scratchlm.report.words import share
from scratchlm.train.session import steps_for

ROWS_AT_ONCE = 16
"""Of a micro-batch in this plan, where the recipe leaves it to the machine."""
COMPUTE_OPTIMAL = 20
"""Tokens per parameter at which a budget of FLOPs gives the lowest loss: Hoffmann et al. 2022, arXiv:2203.15556."""
EXPORTS = {"hf": (32.0, 32.0), "gguf f16": (16.0, 16.0), "gguf q8_0": (8.5, 8.5), "gguf q4_0": (4.5, 8.5)}
"""Bits of a weight within blocks, and of one in embeddings and head; q8_0 and q4_0 give every 32 weights a float16 scale."""


def show(home: Home, *, recipe: Settings, asked: Settings, devices: str | None = None, dry_run: bool = False) -> None:
    """Print what training by ``recipe`` takes, and what the model takes afterwards; one that came with ``home`` is only fine-tuned.

    With ``devices``, such as 8xH100, also how they would best share pre-training out; a ``dry_run`` is what the real code says of it.
    ``asked`` is what was typed of the recipe, and is to be typed again.
    """
    stages, console = dict(recipe), Console(highlight=False, emoji=False)
    name, pretrain = stages["name"], stages["pretrain"]
    model = pretrain.model if pretrain else shape_here(home, name)
    told, typed = sections(model, pretrain, stages["sft"], alone=devices is None), list[str]()
    if devices is not None:
        if pretrain is None:
            raise UsageError(f"--devices: '{name}' has no pretrain stage whose work could be shared out. Name a recipe that has.")
        words = words_of("pretrain", home, dict(asked))[1:]
        with console.status("dry run") if dry_run else nullcontext():
            more, typed = told_of(pretrain, devices, words, dry_run=dry_run)
        told = {**told, **more}
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


def sections(model: AnyConfig, pretrain: Any | None, sft: Any | None, *, alone: bool = True) -> Mapping[str, Sequence[Row]]:
    """All that is told, by heading: of pre-training where there is one, else of a step of fine-tuning, if there is that.

    What a step holds is of one process that has all of it, so it is told of where it is ``alone``.
    """
    told: dict[str, Sequence[Row]] = {"Parameters": parameters(model)}
    if pretrain:
        told["Training"] = training(pretrain)
        told |= {"Memory of a step": memory(model, pretrain)} if alone else {}
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
