"""Settings are frozen, typed values; what a user may type is checked here and answered in one sentence."""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

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

    A mapping given to settings changes only the fields it names, unless they are of several kinds (a model, an optimizer) and it
    names another ``kind``. A mapping given to a field whose keys the user chooses (limits by rule) replaces it whole.
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
        _assign(plain, names, value, f"{where} {path.strip()}", whole=_is_mapping(_at(type(settings), names)))
        if isinstance(value, dict):  # filled with the defaults of its kind, so that a later assignment finds its fields
            plain = _filled(type(settings), plain)
    return from_plain(type(settings), plain, where)


def _filled(kind: type[BaseModel], plain: dict[str, Any]) -> dict[str, Any]:
    """``plain`` with all defaults; as it is where it will not do yet, for a later assignment may mend it."""
    try:
        return to_plain(kind.model_validate(plain))
    except ValidationError:
        return plain


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


def _assign(plain: dict[str, Any], path: list[str], value: Any, where: str, *, whole: bool) -> None:
    here: Any = plain
    for depth, name in enumerate(path):
        if here is None:
            raise UsageError(f"{where}: '{'.'.join(path[:depth])}' is null. Give it as a whole, a mapping of its fields.")
        if not isinstance(here, dict):
            raise UsageError(f"{where}: '{'.'.join(path[:depth])}' is a plain value and has no field '{name}'.")
        if name not in here:
            raise UsageError(f"{where}: no field '{name}'.{nearest(name, here)}")
        if depth < len(path) - 1:
            here = here[name]
    old = here[path[-1]]
    same_kind = isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
    here[path[-1]] = old | value if same_kind and not whole else value


def _names(kind: type[BaseModel], path: list[str]) -> list[str]:
    """The path with all that follows a mapping to plain values as one key, for keys may hold dots."""
    depth = _mapping(kind, path)
    if depth is None or any(map(_is_model, _within(_at(kind, path[: depth + 1]), ""))):
        return path
    return [*path[: depth + 1], ".".join(path[depth + 1 :])]


def _is_open(kind: type[BaseModel], path: list[str]) -> bool:
    """Whether the last name of a path stands in a mapping whose keys the user chooses, such as limits by rule."""
    return _mapping(kind, path) == len(path) - 2


def _mapping(kind: type[BaseModel], path: list[str]) -> int | None:
    """The place in a path of the first name but the last that is a mapping."""
    return next((depth for depth in range(len(path) - 1) if _is_mapping(_at(kind, path[: depth + 1]))), None)


def _parent(plain: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The mapping that holds the last name of a path."""
    for name in path[:-1]:
        plain = plain[name]
    return plain


def _sentence(kind: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    place, reason = ".".join(parts), first["msg"].removeprefix("Value error, ")
    if not parts:  # fields that do not go together: the reason names them
        return f"{where}: {reason}."
    if first["type"] == "extra_forbidden":
        return f"{where}: {place}: no field '{parts[-1]}'.{nearest(parts[-1], _fields(_at(kind, parts[:-1])))}"
    if first["type"] == "missing":
        return f"{where}: {place} is not given. Add it."
    if first["type"] in ("model_type", "model_attributes_type") and (names := _fields(_at(kind, parts))):
        return f"{where}: {place}: {first['input']!r} will not do: give a mapping of its fields, which are {', '.join(names)}."
    given = "" if isinstance(first["input"], Mapping) else f"{first['input']!r} will not do: "
    return f"{where}: {place}: {given}{reason}."


def _at(kind: type[BaseModel], path: Iterable[str]) -> list[Any]:
    """The types that may stand at a path of names, keys, places in lists and kinds; none where nothing may."""
    types: list[Any] = [kind]
    for part in path:
        types = _within(types, part)
    return types


def _within(types: Iterable[Any], part: str) -> list[Any]:
    """The types that may stand under one part of a path in values of ``types``."""
    found = []
    for each in types:
        if _is_model(each):
            if part in each.model_fields:
                found += _options(each.model_fields[part].annotation)
            elif "kind" in each.model_fields and part == str(each.model_fields["kind"].default):
                found.append(each)  # where a value may be of several kinds, pydantic names the one it was checked as
        elif get_origin(each) in (dict, list, tuple):
            found += _options(get_args(each)[get_origin(each) is dict])
    return found


def _options(annotation: Any) -> list[Any]:
    """The types of a union, or the one type that it is."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [option for each in get_args(annotation) for option in _options(each)]
    return [annotation]


def _fields(types: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for each in types if _is_model(each) for name in each.model_fields))


def _is_mapping(types: Iterable[Any]) -> bool:
    return any(get_origin(each) is dict for each in types)


def _is_model(each: Any) -> bool:
    return isinstance(each, type) and issubclass(each, BaseModel)
