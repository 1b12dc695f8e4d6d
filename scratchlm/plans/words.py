"""The words of a command that say what a user has asked for, to be typed again."""

from collections.abc import Mapping
from typing import Any

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError


def words_of(verb: str, home: Home, asked: Mapping[str, Any]) -> list[str]:
    """The words behind ``scratchlm``: this recipe, home, artifacts from elsewhere and changed fields."""
    sources = [word for name, path in home.sources.items() for word in ("--from", f"{name}={path}")]
    sets = [word for each in asked["sets"] for word in ("--set", each)]
    return [one_line(word) for word in (verb, asked["recipe"], "--home", str(home.path), *sources, *sets)]


def one_line(word: str) -> str:
    """The word itself; UsageError for one that a line of a file cannot hold."""
    if not word.isprintable():
        raise UsageError(f"{word!r}: it holds a line break or another letter that cannot be printed, so it is no word of a command.")
    return word
