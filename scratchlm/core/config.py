"""Settings are frozen, typed values; what a user may type is checked here and answered in one sentence."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from scratchlm.core.errors import UsageError

S = TypeVar("S", bound=BaseModel)
FREE: dict[str, JsonValue] = {"free": True}
"""Marks a field that changes nothing of a result, such as how many processes make it: ``Field(json_schema_extra=FREE)``."""


class Settings(BaseModel):
    """The root of every Config and Recipe: frozen, no unknown fields, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())


def to_plain(settings: BaseModel) -> dict[str, Any]:
    """The resolved settings as JSON would hold them."""
    return settings.model_dump(mode="json")


def binding(settings: BaseModel) -> dict[str, Any]:
    """The resolved settings that decide a result: all but the ``FREE`` ones."""
    plain = to_plain(settings)
    for name, field in type(settings).model_fields.items():
        if field.json_schema_extra == FREE:
            del plain[name]
        elif isinstance(value := getattr(settings, name), BaseModel):
            plain[name] = binding(value)
    return plain


def from_plain(kind: type[S], plain: Mapping[str, Any], where: str) -> S:
    """Settings of ``kind`` from a plain mapping; UsageError names the field and, if one is near, the right one."""
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        raise UsageError(_sentence(kind, error, where)) from None


def with_sets(settings: S, assignments: Iterable[str], where: str = "--set") -> S:
    """``settings`` with each ``path.to.field=value`` applied; the value is JSON, or text when it is not JSON.

    A mapping given to a field that is one of several kinds (a model, an optimizer) replaces it whole when it names another
    ``kind``, and otherwise changes only the fields it names.
    """
    plain = to_plain(settings)
    for assignment in assignments:
        path, found, text = assignment.partition("=")
        if not found:
            raise UsageError(f"{where}: '{assignment}' has no '='. Write PATH=VALUE, for example pretrain.optimizer.lr=6e-4.")
        value = _value(text)
        names = _names(type(settings), path.strip().split("."))
        if _is_open(type(settings), names):
            _parent(plain, names).setdefault(names[-1], None)
        _assign(plain, names, value, f"{where} {path.strip()}")
        if isinstance(value, dict):  # filled with the defaults of its kind, so that a later assignment finds its fields
            plain = to_plain(from_plain(type(settings), plain, where))
    return from_plain(type(settings), plain, where)


def read_toml(path: Path) -> dict[str, Any]:
    """The mapping in a TOML file; UsageError when it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML ({error}). Check the file.") from None


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or the list of names, ready to end a sentence."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(names)}."


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(plain: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    here: Any = plain
    for depth, name in enumerate(path):
        if not isinstance(here, dict):
            raise UsageError(f"{where}: '{'.'.join(path[:depth])}' is a plain value and has no field '{name}'.")
        if name not in here:
            raise UsageError(f"{where}: no field '{name}'.{nearest(name, here)}")
        if depth < len(path) - 1:
            here = here[name]
    old = here[path[-1]]
    same_kind = isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
    here[path[-1]] = old | value if same_kind else value


def _names(kind: type[BaseModel], path: list[str]) -> list[str]:
    """The path with all that follows a mapping to plain values as one key, for keys may hold dots."""
    mapping = _mapping(kind, path)
    return path if mapping is None or _models(get_args(mapping[1])) else [*path[: mapping[0] + 1], ".".join(path[mapping[0] + 1 :])]


def _is_open(kind: type[BaseModel], path: list[str]) -> bool:
    """Whether the last name of a path stands in a mapping whose keys the user chooses, such as limits by rule."""
    mapping = _mapping(kind, path)
    return mapping is not None and mapping[0] == len(path) - 2


def _mapping(kind: type[BaseModel], path: list[str]) -> tuple[int, Any] | None:
    """The place in a path of the first name that is a mapping, and its type."""
    for depth, name in enumerate(path[:-1]):
        annotation = kind.model_fields[name].annotation if name in kind.model_fields else None
        if get_origin(annotation) is dict:
            return depth, annotation
        if not (inner := _models((annotation, *get_args(annotation)))):
            return None
        kind = inner[0]
    return None


def _models(types: Iterable[Any]) -> list[type[BaseModel]]:
    return [each for each in types if isinstance(each, type) and issubclass(each, BaseModel)]


def _parent(plain: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The mapping that holds the last name of a path."""
    for name in path[:-1]:
        plain = plain[name]
    return plain


def _sentence(kind: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    place = ".".join(parts) or kind.__name__
    if first["type"] == "extra_forbidden":
        return f"{where}: {place}: no field '{parts[-1]}'.{nearest(parts[-1], _fields_beside(kind, parts))}"
    if first["type"] == "missing":
        return f"{where}: {place} is not given. Add it."
    return f"{where}: {place}: {first['input']!r} will not do: {first['msg'].removeprefix('Value error, ')}."


def _fields_beside(kind: type[BaseModel], parts: list[str]) -> list[str]:
    """Names of the fields that could have stood where the unknown one does."""
    known: dict[str, Any] = dict(kind.model_fields)
    for part in parts[:-1]:
        options = _models_in(known[part].annotation) if part in known else [m for m in [known.get("__kinds__", {}).get(part)] if m]
        if not options:
            return list(kind.model_fields)
        known = {name: field for option in options for name, field in option.model_fields.items()}
        known["__kinds__"] = {str(o.model_fields["kind"].default): o for o in options if "kind" in o.model_fields}
    return [name for name in known if name != "__kinds__"]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
