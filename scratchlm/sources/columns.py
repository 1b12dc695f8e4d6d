"""Which columns of a table, or fields of an object, are the text and the facts of a document."""

import math
from collections.abc import Container, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from scratchlm.sources.file import Unreadable

TEXT_COLUMNS = ("text", "content")
COLUMNS = ("title", "url", "licence", "lang", "published_at")
"""Columns that are kept as facts when they hold text, unless others are named for them."""
NUMBERS = ("lang_score", "score")
"""Facts that are numbers."""
MOST_NAMES, LONGEST_NAME = 4, 24
"""Columns that a reason lists, and characters of each."""

Row = Mapping[str, Any]


def of(texts: Container[str], names: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    """Our column by theirs; Unreadable when the text is not among ``texts``, those columns of a table that may be one."""
    place = text_column(texts, names, named)
    if place is None:
        raise Unreadable(no_column(names, named))
    return {**facts(named), "text": place}


def facts(named: Mapping[str, str]) -> dict[str, str]:
    """The columns of facts: the usual ones, but where others are named for them."""
    return {**{name: name for name in COLUMNS}, **{ours: theirs for ours, theirs in named.items() if ours != "text"}}


def text_column(texts: Container[str], names: Container[str], named: Mapping[str, str]) -> str | None:
    """The place of the text among the columns ``names``: the named one, else a usual one, which must be among ``texts``."""
    if named and _column_of(named["text"], names):
        return named["text"]
    return next((name for name in TEXT_COLUMNS if name in texts), None)


def no_column(names: Sequence[Any], named: Mapping[str, str]) -> str:
    """The reason for a table or an object that has no column of text."""
    wanted = f"{repr(named['text']) + ', ' if named else ''}'text' or 'content'"
    shown = sorted(str(name)[:LONGEST_NAME] for name in names)[:MOST_NAMES]
    rest = [f"{len(names) - len(shown):,} more"] if len(names) > len(shown) else []
    return f"no column {wanted} that holds text (columns: {', '.join([*shown, *rest]) or 'none'})"


def _column_of(place: str, names: Container[str]) -> str | None:
    """The column that ``a.b`` stands for or leads into; None when there is none."""
    return next((name for name in (place, place.partition(".")[0]) if name in names), None)


def present(columns: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """The columns of a table that are to be read."""
    return sorted({name for place in columns.values() if (name := _column_of(place, names))})


def nested(row: Row, place: str) -> Any:
    """The value at ``a`` or ``a.b.c``; None where a part of the way is missing."""
    if place in row:
        return row[place]
    value: Any = row
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def fact(name: str, value: Any) -> str | float | None:
    """A value as the fact ``name``; None where it is none. The first of a list of names stands for it."""
    if name in NUMBERS:
        return _number(value)
    return said(value[0] if isinstance(value, list) and value else value) or None


def _number(value: Any) -> float | None:
    """A number, also when it stands as text, as everything in CSV does."""
    try:
        number = float(value) if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def said(value: Any) -> str:
    """The text of a value, a day or time as ISO 8601 writes it; empty when it holds none."""
    return value.isoformat() if isinstance(value, date) else value if isinstance(value, str) else ""
