"""From what a user types to the one recipe a home follows: by name, ``module:function`` or TOML file, settled in ``recipe.json``."""

import ast
import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlm.core.artifact import CHECKPOINTS, LOCK, MANIFEST, Home, write_atomically
from scratchlm.core.config import Settings, binding, from_plain, nearest, read_toml, to_plain, with_sets
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.export.fields import ORIGIN
from scratchlm.recipes import RECIPES
from scratchlm.stages import STAGES

FILE = "recipe.json"
JOURNAL = "journal.jsonl"


class Asked(Settings):
    """What was typed, kept so that a later command can be compared with it."""

    recipe: str
    data: str | None = None
    """Absolute path of the folder to learn from; None for the recipe's own text."""
    sets: tuple[str, ...] = ()
    seed: int | None = None
    """None keeps the recipe's."""


class Stored(Settings):
    """What a home remembers: the words and the numbers they stood for."""

    asked: Asked
    recipe: dict[str, Any]


def load(name: str) -> Settings:
    """The recipe called ``name``: a row of RECIPES, ``module:function`` or the path of a TOML file."""
    if name.endswith(".toml"):
        return _from_toml(Path(name))
    if ":" in name:
        module, _, function = name.partition(":")
        sys.path.insert(0, os.getcwd())  # the console script, unlike `python -m`, does not look in the user's folder
        return _called(module, function)
    refuse_folder(name)
    if name not in RECIPES:
        raise UsageError(f"{name}: no such recipe.{nearest(name, RECIPES)} Your own: module:function, or a .toml file.")
    return _called(RECIPES[name], name)


def refuse_folder(name: str) -> None:
    """UsageError for a name that can only be a folder's, of which no run is known."""
    if not name.endswith(".toml") and ":" not in name and ("/" in name or os.sep in name):
        raise UsageError(f"there is no run in {name}. Give the folder of one; `scratchlm run RECIPE` makes runs/RECIPE.")


def resolved(asked: Asked) -> Settings:
    """The recipe with everything asked for put in; each stage's ``seed`` is the recipe's unless it is set by itself."""
    seeds = [f"seed={asked.seed}"] if asked.seed is not None else []
    data = [f"corpus.data={json.dumps(asked.data)}"] if asked.data is not None else []
    whole = [each for each in asked.sets if _path_of(each) == "seed"]
    recipe = with_seeds(with_sets(load(asked.recipe), whole + seeds))
    return with_sets(recipe, data + [each for each in asked.sets if each not in whole])


def with_seeds(recipe: Settings) -> Settings:
    """``recipe`` with its seed handed to every stage that has a field for it."""
    plain = to_plain(recipe)
    stages = {verb: plain[verb] | {"seed": plain["seed"]} for verb in STAGES if plain.get(verb) and "seed" in plain[verb]}
    return from_plain(type(recipe), plain | stages, "seed")


def home_of(asked: Asked) -> Path:
    """``runs/RECIPE``, or ``runs/RECIPE-FOLDER`` when it learns from a folder."""
    name = Path(asked.recipe).stem if asked.recipe.endswith(".toml") else asked.recipe.rpartition(":")[2]
    folder = f"-{Path(asked.data).name}" if asked.data else ""
    return Path("runs") / re.sub(r"[^\w.-]+", "-", name + folder)


def stored_in(home: Path) -> Stored | None:
    """What the home was made with, None when it is new."""
    path = home / FILE
    if not path.exists():
        return None
    try:
        return from_plain(Stored, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, UsageError):
        raise ArtifactError(
            f"{path}: not a recipe this version understands. Choose another folder with --home, or delete the file."
        ) from None


def settle(home: Path, asked: Asked, *, again: bool = False, whole: bool = False) -> Settings:
    """The recipe ``home`` follows from now on, written there.

    What is not asked for anew stays as the home has it. Other settings of a stage that has left something here are a UsageError
    unless ``again`` says that they are meant; ``whole`` with ``again`` also forgets what the home was asked before.
    """
    stored = stored_in(home)
    if stored and stored.asked.recipe == asked.recipe and not (again and whole):
        asked = _merged(stored.asked, asked)
    recipe = resolved(asked)
    plain = to_plain(recipe)
    before = _binding(stored.recipe, type(recipe)) if stored else None
    if before is not None and not again:
        kept = ["name", "seed", *(verb for verb, name in STAGES.items() if has_begun(home, name))]
        old, new = ({name: plain.get(name) for name in kept} for plain in (before, binding(recipe)))
        if old | {"seed": None} != new | {"seed": None}:  # the seed of each stage stands among its own settings
            raise UsageError(f"{home / FILE}: {_difference(old, new)}. Choose another folder with --home, or rebuild here with --again.")
    if stored is None or stored.recipe != plain or stored.asked != asked:
        text = json.dumps(to_plain(Stored(asked=asked, recipe=plain)), indent=1, ensure_ascii=False)
        write_atomically(home / FILE, (text + "\n").encode())
    return recipe


def has_begun(home: Path, name: str) -> bool:
    """Whether the stage that makes artifact ``name`` has left it here, or a checkpoint on the way to it; what was adopted is no stage's."""
    whole, partial = home / name, home / f"{name}.partial"
    made = (whole / MANIFEST).exists() and not (whole / ORIGIN).exists()
    return made or any((partial / CHECKPOINTS).glob("*"))


def followed(home: Path, asked: Asked) -> Settings:
    """The recipe ``home`` would follow with what is asked for now, earlier commands in it counted; nothing is written."""
    stored = stored_in(home)
    return resolved(_merged(stored.asked, asked) if stored and stored.asked.recipe == asked.recipe else asked)


@dataclass
class Change:
    """What a command does to a home."""

    stands: bool = False
    """Whether something was built by its settings, so that they stay whatever comes."""


@contextmanager
def change(home: Path, *, new: bool) -> Iterator[Change]:
    """A command in ``home``, which is locked: refused (UsageError, ArtifactError) before anything is built, it leaves the home as it was.

    A ``new`` home goes, unless it holds more than its recipe and its journal.
    """
    file, made = home / FILE, Change()
    before = file.read_bytes() if file.exists() else None
    try:
        yield made
    except (UsageError, ArtifactError):
        if not made.stands:
            _put_back(file, before)
            if new and {each.name for each in home.iterdir()} <= {JOURNAL, LOCK}:
                with suppress(PermissionError):  # Windows keeps a lock that is held
                    shutil.rmtree(home)
        raise


def _put_back(file: Path, before: bytes | None) -> None:
    if before is None:
        file.unlink(missing_ok=True)
    elif file.read_bytes() != before:
        write_atomically(file, before)


def kept(home: Path, asked: Asked, *, again: bool = False, whole: bool = False) -> list[str]:
    """``path=value`` of each field that earlier commands changed in ``home``: what is neither the recipe's own nor asked for now."""
    stored = stored_in(home)
    if stored is None or stored.asked.recipe != asked.recipe or (again and whole):
        return []
    merged = _merged(stored.asked, asked)
    own = dict(_leaves(to_plain(resolved(Asked(recipe=merged.recipe, data=merged.data, seed=merged.seed)))))
    now = tuple(f"{_path_of(each)}." for each in asked.sets)
    found = {path: value for path, value in _leaves(to_plain(resolved(merged))) if own.get(path, ...) != value}
    if asked.seed is None and stored.asked.seed not in (None, dict(load(asked.recipe))["seed"]):
        found = {"seed": stored.asked.seed} | found
    return [f"{path}={_typed(value)}" for path, value in found.items() if not f"{path}.".startswith(now)]


def _typed(value: Any) -> str:
    """A value as a user would type it: 300, not 300.0."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value, ensure_ascii=False)


CHAIN = ("corpus", "vocab", "tokenize", "pretrain", "sft", "prefer", "reinforce")
"""Stages of which each starts from what the one before left."""


def next_commands(home: Home, recipe: str, stages: list[str]) -> list[str]:
    """What to type next: the first stage that is not finished, or talking to the model."""
    target = recipe if home.path == home_of(Asked(recipe=recipe)) else str(home.path)
    there = [home.find(STAGES[verb]) is not None for verb in stages]
    learned = [place for place, verb in enumerate(stages) if there[place] and verb in CHAIN]
    # What came before something that is finished was given from elsewhere, then or now.
    missing = [verb for place, verb in enumerate(stages) if not there[place] and not (verb in CHAIN and place < max(learned, default=0))]
    adopted = "pretrain" not in stages and home.find("base") is not None
    if missing and not adopted:  # a model from elsewhere speaks at once, and what follows needs text or chats that only a user has
        given = [f"--from={name}={path}" for name, path in home.sources.items()]
        return [shlex.join(["scratchlm", missing[0], target, *given])]
    taught = home.find("reinforced", "preferred", "sft") if adopted else "sft" in stages
    talk = [] if taught else ["--complete"]
    return [shlex.join(["scratchlm", "chat", target, *talk]), shlex.join(["scratchlm", "serve", target])]


def _binding(plain: dict[str, Any], kind: type[Settings]) -> dict[str, Any]:
    """What of a stored recipe decides its results; all of it when this version cannot read it."""
    try:
        return binding(from_plain(kind, plain, FILE))
    except UsageError:
        return plain


def summaries() -> dict[str, str]:
    """Each recipe's name and the first line of its docstring, read without importing it."""
    found = {}
    for name, module in RECIPES.items():
        spec = importlib.util.find_spec(module)
        if spec and spec.origin:
            tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
            told = [ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
            found[name] = "".join(told).partition("\n")[0]
    return found


def _called(module: str, function: str) -> Settings:
    try:
        made = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not error.name or not (module + ".").startswith(error.name + "."):
            raise
        raise UsageError(
            f"{module}:{function}: there is no module '{error.name}' here. Write MODULE:FUNCTION, or a recipe's name."
        ) from None
    functions = {name: value for name, value in vars(made).items() if callable(value)}
    if function not in functions:
        raise UsageError(f"{module}: has no function '{function}'.{nearest(function, functions)}")
    recipe = functions[function]()
    if not isinstance(recipe, Settings) or not set(STAGES) <= set(type(recipe).model_fields):
        raise UsageError(
            f"{module}:{function}: returned a {type(recipe).__name__}, not a Recipe. Return scratchlm.recipes.recipe.Recipe(…)."
        )
    return recipe


def _from_toml(path: Path) -> Settings:
    plain = read_toml(path)
    start = plain.pop("recipe", None)
    if not isinstance(start, str) or start.endswith(".toml"):
        raise UsageError(f'{path}: does not say which recipe it changes. Begin it with a line such as recipe = "laptop".')
    return with_sets(load(start), ["name=" + json.dumps(path.stem), *_assignments(plain)], str(path))


def _assignments(plain: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in plain.items():
        if isinstance(value, Mapping) and value and "kind" not in value:
            yield from _assignments(value, f"{before}{name}.")
        else:
            yield f"{before}{name}={json.dumps(value, default=str)}"


def _path_of(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _merged(old: Asked, new: Asked) -> Asked:
    again = {_path_of(each) for each in new.sets}
    sets = (*(each for each in old.sets if _path_of(each) not in again), *new.sets)
    return Asked(
        recipe=new.recipe,
        data=new.data if new.data is not None else old.data,
        sets=sets,
        seed=new.seed if new.seed is not None else old.seed,
    )


def _leaves(plain: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(plain, dict) and plain:
        for name, value in plain.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, plain


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    paths = [path for path in {**before, **after} if before.get(path, ...) != after.get(path, ...)]
    first = paths[0]
    more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return f"made with {first} = {json.dumps(before.get(first))}, asked for {json.dumps(after.get(first))}{more}"
