"""The command line: one verb per stage, errors to one line, nothing else.

Parsing comes first and imports nothing heavy, so that ``--help`` answers at once; only then is the verb's own module loaded.
"""

import gc
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import scratchlm
from scratchlm.core.errors import ScratchError, UsageError, refusal
from scratchlm.stages import STAGES
from scratchlm.verbs import ADOPT, ASKED, DEFAULTS, FIELDS, OF_RECIPES, OPTIONS, START, VERBS, VIEWS, options_of

if TYPE_CHECKING:
    from scratchlm.core.artifact import Home
    from scratchlm.core.company import Company
    from scratchlm.core.config import Settings
    from scratchlm.core.journal import Journal

Values = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", DO_NOT_TRACK="1", TOKENIZERS_PARALLELISM="true")
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # by default training beside a busy program slows eightfold (decision 6)
    signal.signal(signal.SIGTERM, _as_interrupt)
    gc.disable()  # until all is imported: none of that is garbage, and to look for some takes a fifth of the time
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
        code, line = 1, refusal(error)
    finally:
        gc.enable()
    typer.echo(f"scratchlm{_rank()}: {line}", err=True)
    sys.exit(code)


def _rank() -> str:
    """Which of several processes speaks; nothing for the one that leads."""
    rank = os.environ.get("RANK", "0")
    return "" if rank == "0" else f" (process {rank})"


def answer(arguments: list[str]) -> int:
    """Parse the arguments, do what they ask, return the exit code."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in VERBS:
        from scratchlm.core.config import nearest

        raise UsageError(f"{arguments[0]}: no such verb.{nearest(arguments[0], VERBS)}")
    parsed = parse(arguments or ["--help"])
    if not isinstance(parsed, tuple):  # --help and --version have been answered
        return int(parsed or 0)
    verb, values = parsed
    if verb == ADOPT:
        from scratchlm.recipes import adopted

        _imported()
        asked = {"sets": values["set"] or (), "again": values["again"], "as_json": values["json"]}
        return adopted.make_home(values["directory"], values["home"], **asked)
    if values["recipe"] is None:
        return _list_recipes(verb)
    asks = any(values[name] is not None for name in ASKED.get(verb, ()))
    if asks:
        _only_asks(verb, values)
    return view(verb, values, ASKED[verb] if asks else VERBS[verb].own) if verb in VIEWS or asks else build(verb, values)


def _only_asks(verb: str, values: Values) -> None:
    """UsageError where a question is put together with what would change an answer that was given long ago."""
    question = next(name for name in ASKED[verb] if values[name] is not None)
    options = ("set", "again", "seed", "json", *(name for name in FIELDS if name in values))
    if idle := [f"--{name}" for name in options if values[name] is not None and values[name] is not False and values[name] != []]:
        raise UsageError(f"--{question}: it shows what is there and builds nothing, so {' and '.join(idle)} would be lost. Leave it out.")


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


LEARNS = ("run", "pretrain", "sft", "prefer", "reinforce")
"""Verbs that train."""
CLICK_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What parsing raises: click's own class, or typer's copy of it in newer versions."""


def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        typer.echo(f"scratchlm {scratchlm.__version__}")


def _command(verb: str) -> Callable[..., tuple[str, Values]]:
    """A function with the verb's options as its signature; it returns them and does nothing."""
    names = options_of(verb)
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
    from scratchlm.kernels import build as kernels

    if verb in LEARNS:
        kernels.begin()  # the compiler works while Python imports
    from scratchlm.core import machine
    from scratchlm.core.artifact import Home
    from scratchlm.core.config import to_plain
    from scratchlm.core.journal import Journal, written_to
    from scratchlm.recipes import store
    from scratchlm.report import console

    asked, path = _asked(values)
    given = _sources(values["from"] or [])
    company = _company()
    if not company.is_main:
        return _follow(verb, asked, Home(path, given, company))
    if new := not path.exists():
        _stages(verb, store.resolved(asked))  # a mistake must not leave an empty home behind
    home = Home(path, given, company)
    with home.lock(), store.change(path, new=new) as change, console.view(as_json=values["json"]) as shown:
        kept = store.kept(path, asked, again=values["again"], whole=verb == "run")
        recipe = store.settle(path, asked, again=values["again"], whole=verb == "run")
        _imported()
        company.told(to_plain(recipe))
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


def _company() -> "Company":
    """The processes that torchrun started with this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        from scratchlm.core.company import Alone

        return Alone()
    from scratchlm.parallel.company import Together

    return Together.met()


def _follow(verb: str, asked: Any, home: "Home") -> int:
    """The same stages by the recipe that the leading process settled on: training together with it, waiting for all else."""
    from scratchlm.core.config import from_plain
    from scratchlm.core.journal import Journal
    from scratchlm.recipes import store

    recipe = from_plain(type(store.load(asked.recipe)), home.company.told({}), "recipe")
    _imported()
    for name in _stages(verb, recipe):
        if STAGES[name] not in home.sources:
            importlib.import_module(f"scratchlm.stages.{name}").run(_config(recipe, name), home, Journal())
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
    from scratchlm.recipes import store

    asked, path = _asked(values)
    home = Home(path, _sources(values["from"] or []))
    given: Values = {name: values[name] for name in own}
    if verb in OF_RECIPES:
        changed = {"recipe": store.followed(path, asked), "asked": asked}
        given = {name: value for name, value in given.items() if name not in ("set", *FIELDS)}
        given |= {name: changed[name] for name in ("recipe", *OF_RECIPES[verb])}
    module = importlib.import_module(f"scratchlm.views.{verb}")
    _imported()
    module.show(home, **given)
    return 0


def _imported() -> None:
    """From here on look for garbage, though not among what is here already: neither now nor at the process's end."""
    gc.freeze()
    gc.enable()


def _asked(values: Values) -> tuple[Any, Path]:
    """What was asked for, and the home it belongs to."""
    from scratchlm.recipes import store

    name, folder, data = values["recipe"], Path(values["recipe"]), values.get("data")
    stored = store.stored_in(folder) if folder.is_dir() else None  # the folder of a run stands for its recipe
    if not stored:
        store.refuse_folder(name)
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
