"""The results of a run as a table: models × measures, every value with its 95 % interval and its n."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ORDER = ("base", "sft", "preferred", "reinforced")
TITLES = {
    "bits_per_byte": "bits per byte, held out",
    "ngram": "best n-gram",
    "xz": "xz -9e, primed",
    "zstd": "zstd, primed",
}
LOWER_IS_BETTER = ("bits_per_byte", "perplexity", "loss")


@dataclass(frozen=True)
class Cell:
    """One measured value."""

    value: float | int
    low: float | int | None
    high: float | int | None
    n: int | None
    rate: bool
    """Whether it is a share between 0 and 1, shown as a percentage."""

    @property
    def text(self) -> str:
        return self._shown(self.value)

    @property
    def interval(self) -> str:
        """``61.2 – 70.4 %``; empty when it was not measured."""
        if self.low is None or self.high is None:
            return ""
        return f"{100 * self.low:.1f} – {100 * self.high:.1f} %" if self.rate else f"{self.low:.3f} – {self.high:.3f}"

    def _shown(self, value: float | int) -> str:
        return f"{100 * value:.1f} %" if self.rate else f"{value:.3f}"


@dataclass(frozen=True)
class Scores:
    """``scores.json``, ready to be shown."""

    plain: Mapping[str, Any]

    @property
    def models(self) -> list[str]:
        found = self.plain.get("models", {})
        return [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]

    @property
    def measures(self) -> list[str]:
        names = dict.fromkeys(name for model in self.models for name in self.plain["models"][model] if self.cell(model, name))
        return sorted(names, key=lambda name: name not in LOWER_IS_BETTER)

    @property
    def baselines(self) -> dict[str, float]:
        """Bits per byte of other ways to predict the same text."""
        given = self.plain.get("baselines", {})
        values = {name: value.get("value") if isinstance(value, Mapping) else value for name, value in given.items()}
        return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}

    @property
    def notes(self) -> list[str]:
        return [str(note) for note in self.plain.get("notes", [])]

    def cell(self, model: str, measure: str) -> Cell | None:
        """One value, None where that model was not measured so."""
        found = self.plain["models"][model].get(measure)
        if not isinstance(found, Mapping) or not isinstance(found.get("value"), int | float):
            return None
        rate = measure not in LOWER_IS_BETTER and 0 <= found["value"] <= 1
        return Cell(found["value"], found.get("low"), found.get("high"), found.get("n"), rate)


def read(path: Path) -> Scores | None:
    """The scores in a file, None when there is none."""
    return Scores(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def title(measure: str) -> str:
    """A measure's name for readers."""
    return TITLES.get(measure, measure.replace("_", " "))
