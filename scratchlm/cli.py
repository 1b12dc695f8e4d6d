"""The command line: one verb per stage, errors to one line, nothing else.

Parsing comes first and imports nothing heavy, so that ``--help`` answers at once; only then is the verb's own module loaded.
"""

import errno
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import scratchlm
from scratchlm.core.errors import ScratchError, UsageError
from scratchlm.stages import STAGES

if TYPE_CHECKING:
    from scratchlm.core.artifact import Home
    from scratchlm.core.config import Settings
    from scratchlm.core.journal import Journal

Values = dict[str, Any]


@dataclass(frozen=True)
class Verb:
    """One row of the command line."""

    summary: str
    own: tuple[str, ...] = ()
    """Names of options that only this verb has."""


ASKED = ("explain", "removed")
"""Options of ``corpus`` that ask a finished one and build nothing."""
COMMON = ("recipe", "set", "home", "from", "again", "seed", "json")
OF_VIEWS = ("recipe", "home", "from")
VERBS = {
    "run": Verb("The whole road: every stage of a recipe, from text to a model that answers.", ("data",)),
    "corpus": Verb("Gather, clean and split the text to learn from; or tell what became of a document.", ("data", "engine", *ASKED)),
    "vocab": Verb("Train the tokenizer."),
    "tokenize": Verb("Turn the text into shards of token ids."),
    "pretrain": Verb("Train the base model on the shards."),
    "sft": Verb("Teach the base model to answer.", ("chats",)),
    "prefer": Verb("Tune it on pairs of a better and a worse answer.", ("pairs",)),
    "reinforce": Verb("Tune it on answers of its own that can be checked.", ()),
    "evaluate": Verb("Measure every model of the run, with intervals."),
    "export": Verb("Write the model for other runtimes."),
    "report": Verb("Write one HTML page about the run."),
    "chat": Verb("Talk to the newest model of the run.", ("model", "prompt", "complete")),
    "serve": Verb("Answer over HTTP, as the OpenAI interface does, with a chat page.", ("model", "host", "port", "api_key")),
}
VIEWS = ("chat", "serve")
"""Verbs that make no artifact: ``scratchlm.views.NAME.show(home, **own options)``."""
FIELDS = {"engine": "corpus.engine.kind", "chats": "sft.chats", "pairs": "prefer.pairs"}
"""Options of stages that are a shorter way to write ``--set``."""

START = """\b
Start:           scratchlm run laptop
Your own text:   scratchlm run laptop --data FOLDER
A quick try:     scratchlm run smoke"""
"""The end of ``--help``; the first line keeps the others as they are."""
OPTIONS: dict[str, Any] = {
    "recipe": Annotated[str | None, typer.Argument(help="A recipe's name, module:function, a .toml file, or the folder of a run.")],
    "set": Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change one field of the recipe; may be repeated.")
    ],
    "home": Annotated[Path | None, typer.Option("--home", metavar="DIR", help="Where the run lives; runs/RECIPE unless given.")],
    "from": Annotated[list[str] | None, typer.Option("--from", metavar="NAME=DIR", help="Take an artifact from another place.")],
    "again": Annotated[bool, typer.Option("--again", help="Accept a changed recipe and build anew.")],
    "seed": Annotated[int | None, typer.Option("--seed", metavar="N", help="The seed of everything random.")],
    "json": Annotated[bool, typer.Option("--json", help="Print events as lines of JSON.")],
    "data": Annotated[
        str | None, typer.Option("--data", metavar="FOLDER", help="Learn from the text in this folder, or s3://bucket/folder.")
    ],
    "engine": Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="local (small processes here) or ray (a running cluster).")
    ],
    "explain": Annotated[str | None, typer.Option("--explain", metavar="ID", help="Tell one document's story: its id, file or address.")],
    "removed": Annotated[str | None, typer.Option("--removed", metavar="TEXT", help="Tell why a text is not in the corpus.")],
    "chats": Annotated[Path | None, typer.Option("--chats", metavar="FILE", help="Conversations to learn from, one JSON object per line.")],
    "pairs": Annotated[Path | None, typer.Option("--pairs", metavar="FILE", help="Preference pairs, one JSON object per line.")],
    "model": Annotated[str | None, typer.Option("--model", metavar="NAME", help="base, sft, preferred or reinforced.")],
    "prompt": Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="Ask once, print the answer and end.")],
    "complete": Annotated[bool, typer.Option("--complete", help="Continue the text instead of answering it.")],
    "host": Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")],
    "port": Annotated[int, typer.Option("--port", metavar="N", help="Port to listen on.")],
    "api_key": Annotated[str | None, typer.Option("--api-key", metavar="KEY", help="Ask callers for this key.")],
}
DEFAULTS = {"again": False, "json": False, "complete": False, "host": "127.0.0.1", "port": 8000}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", DO_NOT_TRACK="1", TOKENIZERS_PARALLELISM="false")
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # by default training beside a busy program slows eightfold (decision 6)
    signal.signal(signal.SIGTERM, _as_interrupt)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        sys.exit(answer(arguments))
    except ScratchError as error:
        code, line = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, line = 130, "stopped. The same command goes on from here."
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains while it ends
        sys.exit(1)
    except OSError as error:
        code, line = 1, _sentence(error)
    typer.echo(f"scratchlm: {line}", err=True)
    sys.exit(code)


def answer(arguments: list[str]) -> int:
    """Parse the arguments, do what they ask, return the exit code."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in VERBS:
        from scratchlm.core.config import nearest

        raise UsageError(f"{arguments[0]}: no such verb.{nearest(arguments[0], VERBS)}")
    parsed = parse(arguments or ["--help"])
    if not isinstance(parsed, tuple):  # --help and --version have been answered
        return int(parsed or 0)
    verb, values = parsed
    if values["recipe"] is None:
        return _list_recipes(verb)
    own = ASKED if verb == "corpus" and any(values[name] is not None for name in ASKED) else VERBS[verb].own
    return view(verb, values, own) if verb in VIEWS or own == ASKED else build(verb, values)


def parse(arguments: list[str]) -> Any:
    """``(verb, values)`` of a command, or the exit code of one that only prints help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Build a large language model from scratch and talk to it.")
    app.callback(invoke_without_command=True, epilog=START)(_root)
    for name, verb in VERBS.items():
        app.command(name, help=verb.summary, short_help=verb.summary)(_command(name))
    try:
        return app(arguments, standalone_mode=False, prog_name="scratchlm")
    except CLICK_ERROR as error:
        raise UsageError(" ".join(error.format_message().split())) from None  # pyright: ignore[reportAttributeAccessIssue]


CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What parsing raises: click's own class, or typer's copy of it in newer versions."""


def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        typer.echo(f"scratchlm {scratchlm.__version__}")


def _command(verb: str) -> Callable[..., tuple[str, Values]]:
    """A function with the verb's options as its signature; it returns them and does nothing."""
    names = [*(OF_VIEWS if verb in VIEWS else COMMON), *VERBS[verb].own]
    python_names = {name: "from_" if name == "from" else name for name in names}

    def command(**values: Any) -> tuple[str, Values]:
        return verb, {name: values[python_names[name]] for name in names}

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(python_names[n], keyword, default=DEFAULTS.get(n), annotation=OPTIONS[n]) for n in names]
    command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def build(verb: str, values: Values) -> int:
    """Build one stage's artifact, or all of a recipe's for ``run``."""
    from scratchlm.core import machine
    from scratchlm.core.artifact import Home
    from scratchlm.core.journal import Journal, written_to
    from scratchlm.recipes import store
    from scratchlm.report import console

    asked, path = _asked(values)
    given = _sources(values["from"] or [])
    if new := not path.exists():
        _stages(verb, store.resolved(asked))  # a mistake must not leave an empty home behind
    home = Home(path, given)
    with home.lock(), store.change(path, new=new) as change, console.view(as_json=values["json"]) as shown:
        kept = store.kept(path, asked, again=values["again"], whole=verb == "run")
        recipe = store.settle(path, asked, again=values["again"], whole=verb == "run")
        journal = Journal(written_to(path / store.JOURNAL), shown)
        journal.event("command", argv=["scratchlm", *sys.argv[1:]], versions=machine.versions(), machine=machine.described())
        if kept:
            journal.event("changed_in_this_home", note=", ".join(kept))
        for name in _stages(verb, recipe):
            if STAGES[name] in given:
                journal.event("stage", name=name, state="given", artifact=STAGES[name], path=str(given[STAGES[name]]))
            elif _stage(name, recipe, home, journal, again=values["again"]):
                change.stands = True
    console.show_end(path, store.next_commands(home, asked.recipe, _stages("run", recipe)), verb=verb, as_json=values["json"])
    return 0


def _stages(verb: str, recipe: "Settings") -> list[str]:
    """The stages a verb stands for."""
    has = [name for name in STAGES if _config(recipe, name)]
    if verb not in ("run", *has):
        raise UsageError(f"{verb}: the recipe '{_config(recipe, 'name')}' has no such stage. It has: {', '.join(has)}.")
    return has if verb == "run" else [verb]


def _stage(verb: str, recipe: "Settings", home: "Home", journal: "Journal", *, again: bool) -> bool:
    """One stage and its two lines in the journal; whether anything was built."""
    name, journal = STAGES[verb], journal.also(stage=verb)
    before = None if again else home.find(name)
    if again:
        home.renew(name)
    journal.event("stage", name=verb, state="started")
    begun = time.monotonic()
    made = importlib.import_module(f"scratchlm.stages.{verb}").run(_config(recipe, verb), home, journal)
    kept = before is not None and before.manifest == made.manifest
    facts = {"seconds": round(time.monotonic() - begun, 3), "artifact": name, "fingerprint": made.fingerprint, "counts": made.counts}
    journal.event("stage", name=verb, state="finished", kept=kept, **facts)
    return not kept


def view(verb: str, values: Values, own: tuple[str, ...]) -> int:
    """Show something about a home; nothing is built."""
    from scratchlm.core.artifact import Home

    _, path = _asked(values)
    home = Home(path, _sources(values["from"] or []))
    importlib.import_module(f"scratchlm.views.{verb}").show(home, **{name: values[name] for name in own})
    return 0


def _asked(values: Values) -> tuple[Any, Path]:
    """What was asked for, and the home it belongs to."""
    from scratchlm.recipes import store

    name, folder, data = values["recipe"], Path(values["recipe"]), values.get("data")
    stored = store.stored_in(folder) if folder.is_dir() else None  # the folder of a run stands for its recipe
    remote = data is not None and "://" in data
    if data is not None and not remote and not Path(data).exists():
        raise UsageError(f"--data {data}: there is no such folder. Give one that holds text.")
    if data is None and stored:
        data = stored.asked.data  # what a home learns from is no change that --again forgets
    elif data is not None and not remote:
        data = str(Path(data).resolve())
    short = tuple(f"{FIELDS[option]}={_plain(values[option])}" for option in FIELDS if values.get(option) is not None)
    asked = store.Asked(
        recipe=stored.asked.recipe if stored else name,
        data=data,
        sets=(*(values.get("set") or ()), *short),
        seed=values.get("seed"),
    )
    return asked, values["home"] or (folder if stored else store.home_of(asked))


def _plain(value: Any) -> str:
    return str(value.resolve()) if isinstance(value, Path) else str(value)


def _sources(given: list[str]) -> Mapping[str, Path]:
    from scratchlm.core.config import nearest

    pairs = [each.partition("=") for each in given]
    for name, found, path in pairs:
        if not found or name not in STAGES.values():
            raise UsageError(f"--from {name}{found}{path}: write NAME=DIR.{nearest(name, STAGES.values())}")
        if not Path(path).is_dir():
            raise UsageError(f"--from {name}={path}: there is no such folder. Give a finished artifact's.")
    return {name: Path(path) for name, _, path in pairs}


def _config(recipe: "Settings", verb: str) -> Any:
    return dict(recipe)[verb]


def _list_recipes(verb: str) -> int:
    from scratchlm.recipes import store

    typer.echo(f"Which recipe? scratchlm {verb} RECIPE, where RECIPE is one of\n")
    for name, summary in store.summaries().items():
        typer.echo(f"  {name:<12} {summary}")
    typer.echo("\nor module:function, a .toml file, or the folder of a run.")
    return 2


def _as_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _sentence(error: OSError) -> str:
    """What an operating system's refusal means for the user; errors that are none of these keep their traceback."""
    place = error.filename or "writing"
    if error.errno == errno.ENOSPC:
        return f"{place}: the disk is full. Free some space and run the same command again; what is finished is kept."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: {error.strerror}. Allow it there, or choose another folder with --home."
    raise error
