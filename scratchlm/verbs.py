"""What can be typed: the verbs of the command line, their options, and what each is for. Nothing heavy is imported."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class Verb:
    """One row of the command line."""

    summary: str
    own: tuple[str, ...] = ()
    """Names of options that only this verb has."""


ASKED = {"corpus": ("explain", "removed"), "vocab": ("inspect",)}
"""Options of stages that ask what they left and build nothing."""
COMMON = ("recipe", "set", "home", "from", "again", "seed", "json")
OF_VIEWS = ("recipe", "home", "from")
ADOPT = "adopt"
"""It starts from no recipe."""
OF_ADOPT = ("directory", "set", "home", "again", "json")
VERBS = {
    "run": Verb("The whole road: every stage of a recipe, from text to a model that answers.", ("data", "budget")),
    "corpus": Verb("Gather, clean and split the text to learn from; or tell a document's story.", ("data", "engine", *ASKED["corpus"])),
    "vocab": Verb("Train the tokenizer; or show how it cuts a text.", ASKED["vocab"]),
    "tokenize": Verb("Turn the text into shards of token ids."),
    "pretrain": Verb("Train the base model on the shards.", ("budget",)),
    "sft": Verb("Teach the base model to answer.", ("chats",)),
    "prefer": Verb("Tune it on pairs of a better and a worse answer.", ("pairs",)),
    "reinforce": Verb("Tune it on answers of its own that can be checked.", ()),
    "evaluate": Verb("Measure every model of the run, with intervals."),
    "export": Verb("Write the model for other runtimes, and check what they make of it.", ("format",)),
    "report": Verb("Write one HTML page about the run."),
    ADOPT: Verb("Make a home from a model that somebody else trained."),
    "plan": Verb(
        "Tell what a recipe's model costs before anything is built: parameters, arithmetic, memory.",
        ("set", "budget", "devices", "dry_run"),
    ),
    "launch": Verb(
        "Print how to train a recipe by many processes, or write a job file for Slurm or Kubernetes; nothing is started.",
        ("set", "again", "verb", "nodes", "processes", "slurm", "kubernetes", "partition", "account", "image", "volume", "hours"),
    ),
    "chat": Verb("Talk to the newest model of the run.", ("model", "prompt", "complete")),
    "serve": Verb("Answer over HTTP, as the OpenAI interface does, with a chat page.", ("model", "host", "port", "api_key")),
}
VIEWS = ("plan", "launch", "chat", "serve")
"""Verbs that make no artifact: ``scratchlm.views.NAME.show(home, **own options)``."""
OF_RECIPES = {"plan": ("asked",), "launch": ("asked",)}
"""Views of a recipe: they are given the ``recipe`` in place of the options that change it, and what else is named here."""
FIELDS = {
    "engine": "corpus.engine.kind",
    "chats": "sft.chats",
    "pairs": "prefer.pairs",
    "budget": "pretrain.budget",
    "format": "export.formats",
}
"""Options of stages that are a shorter way to write ``--set``."""

START = """\b
Start:           scratchlm run laptop
Your own text:   scratchlm run laptop --data FOLDER
A quick try:     scratchlm run smoke"""
"""The end of ``--help``; the first line keeps the others as they are."""
OPTIONS: dict[str, Any] = {
    "recipe": Annotated[str | None, typer.Argument(help="A recipe's name, module:function, a .toml file, or the folder of a run.")],
    "directory": Annotated[Path, typer.Argument(help="A model as Hugging Face writes it: config.json, safetensors, a tokenizer.")],
    "set": Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the recipe; may be repeated.")],
    "home": Annotated[Path | None, typer.Option("--home", metavar="DIR", help="Where the run lives; runs/RECIPE unless given.")],
    "from": Annotated[list[str] | None, typer.Option("--from", metavar="NAME=DIR", help="Take an artifact from another place.")],
    "again": Annotated[bool, typer.Option("--again", help="Accept a changed recipe and build anew; write over a job file.")],
    "seed": Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of everything random.")],
    "json": Annotated[bool, typer.Option("--json", help="Print events as lines of JSON.")],
    "data": Annotated[str | None, typer.Option("--data", metavar="FOLDER", help="Learn from this folder of text, or s3://bucket/folder.")],
    "engine": Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="local (small processes here) or ray (a running cluster).")
    ],
    "explain": Annotated[str | None, typer.Option("--explain", metavar="ID", help="Tell one document's story: its id, file or address.")],
    "inspect": Annotated[str | None, typer.Option("--inspect", metavar="TEXT", help="Show the pieces of a text and their ids.")],
    "removed": Annotated[str | None, typer.Option("--removed", metavar="TEXT", help="Tell why a text is not in the corpus.")],
    "chats": Annotated[Path | None, typer.Option("--chats", metavar="FILE", help="Conversations to learn from, one JSON object per line.")],
    "pairs": Annotated[Path | None, typer.Option("--pairs", metavar="FILE", help="Preference pairs, one JSON object per line.")],
    "budget": Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="Pre-train for so long, as 90s, 30m or 2h: size, tokens and rates are chosen."),
    ],
    "devices": Annotated[
        str | None, typer.Option("--devices", metavar="NxKIND", help="How many of which share the work out, such as 8xH100: the best way.")
    ],
    "dry_run": Annotated[
        bool, typer.Option("--dry-run", help="Start the real code as a few of these processes, without numbers: half a minute or so.")
    ],
    "format": Annotated[str | None, typer.Option("--format", metavar="NAME", help="hf, gguf, or both as hf,gguf.")],
    "model": Annotated[str | None, typer.Option("--model", metavar="NAME", help="base, sft, preferred or reinforced.")],
    "prompt": Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="Ask once, print the answer and end.")],
    "complete": Annotated[bool, typer.Option("--complete", help="Continue the text instead of answering it.")],
    "verb": Annotated[str, typer.Option("--verb", metavar="VERB", help="What is to train: pretrain, sft, prefer, reinforce or run.")],
    "nodes": Annotated[int, typer.Option("--nodes", metavar="N", help="Machines.")],
    "processes": Annotated[int, typer.Option("--processes", metavar="N", help="Processes on each, one for each GPU.")],
    "slurm": Annotated[Path | None, typer.Option("--slurm", metavar="FILE", help="Write a job file for Slurm's sbatch.")],
    "kubernetes": Annotated[Path | None, typer.Option("--kubernetes", metavar="FILE", help="Write a Service and a Job for kubectl.")],
    "partition": Annotated[str | None, typer.Option("--partition", metavar="NAME", help="Slurm's partition.")],
    "account": Annotated[str | None, typer.Option("--account", metavar="NAME", help="Slurm's account.")],
    "image": Annotated[str | None, typer.Option("--image", metavar="NAME", help="Image of the pods; scratchlm:VERSION unless given.")],
    "volume": Annotated[
        str | None, typer.Option("--volume", metavar="NAME", help="Claim of the volume that pods share; scratchlm unless given.")
    ],
    "hours": Annotated[
        float | None, typer.Option("--hours", metavar="N", help="Time limit of a job; 24 for Slurm, none for Kubernetes unless given.")
    ],
    "host": Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")],
    "port": Annotated[int, typer.Option("--port", metavar="N", help="Port to listen on.")],
    "api_key": Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="Ask callers for this key.")],
}
DEFAULTS = {
    "directory": inspect.Parameter.empty,
    "again": False,
    "json": False,
    "complete": False,
    "dry_run": False,
    "verb": "pretrain",
    "nodes": 1,
    "processes": 8,
    "host": "127.0.0.1",
    "port": 8000,
}


def options_of(verb: str) -> list[str]:
    """Names of all options that a verb takes, its own last."""
    return [*(OF_ADOPT if verb == ADOPT else OF_VIEWS if verb in VIEWS else COMMON), *VERBS[verb].own]
