"""The fields of a foreign ``config.json``, asked for one by one: absent, of another type or out of range is one line each."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchlm.core.errors import UsageError

ORIGIN = "origin.json"
"""What an adopted model keeps of where it came from."""
MOST_BYTES = 64 << 20
"""Of a JSON file that is read whole: the index of the largest models has a few megabytes."""
MOST = 1 << 40
"""Of a count in a config: beyond what any machine holds, and safe to multiply."""


class Fields:
    """A config and the name of the file it stands in."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def whole(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """A count; ``default`` where the field is absent or null."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise self.refuse(name, f"a whole number from {least} on is expected")
        return value

    def whole_or_none(self, name: str) -> int | None:
        """A count that may be absent."""
        return None if self.values.get(name) is None else self.whole(name)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number of 0 or more; ``default`` where the field is absent or null."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST or math.isnan(value):
            raise self.refuse(name, "a number is expected")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A number that may be absent."""
        return None if self.values.get(name) is None else self.number(name)

    def flag(self, name: str, default: bool) -> bool:
        """True or false; ``default`` where the field is absent or null."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "true or false is expected")
        return default if value is None else value

    def must(self, name: str, *allowed: Any) -> None:
        """UsageError when the field is there and is none of ``allowed``: it would be another function."""
        if name in self.values and not any(self.values[name] == each for each in (None, *allowed)):
            raise self.refuse(name, f"here it can only be {' or '.join(json.dumps(each) for each in allowed)}")

    def refuse(self, name: str, reason: str) -> UsageError:
        """The sentence for a field that will not do."""
        if name not in self.values:
            return UsageError(f"{self.where}: {name}: it is not there; {reason}. Take a complete config.json.")
        return UsageError(f"{self.where}: {name}: {self.shown(name)} will not do: {reason}. Take another model.")

    def shown(self, name: str) -> str:
        """The value as the file has it, cut to what fits into a line."""
        text = json.dumps(self.values.get(name), default=str)
        return text if len(text) <= 60 else text[:57] + "..."


def shown(text: str, most: int = 80) -> str:
    """A stranger's text as it may stand in a line: cut, and without what moves a cursor or breaks the line."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of bounded size; UsageError when it is none."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: no plain file. Give the directory of a model as Hugging Face writes it.")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"{path}: more than {MOST_BYTES:,} bytes, where a few thousand are usual. Take another copy of the model.")
        found = json.loads(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Give the directory of a model as Hugging Face writes it.") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not JSON. Take another copy of the model.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: a mapping is expected, not a {type(found).__name__}. Take another copy of the model.")
    return found
