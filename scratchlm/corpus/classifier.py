"""Like this, not like that: a judge of texts that learns from two heaps of them.

Logistic regression on the numbers of ``hashed.py``. Calibration: Platt 1999. Limited-memory BFGS: Nocedal and Wright 2006, algorithm 7.4.
Interval of the AUC: DeLong et al. 1988.

On 250 web documents that people marked as good or bad (``benchmarks/quality.py``, five folds, mean of five seeds) words alone have an AUC
of .885, with runs of characters .894, with shape .900, with both .907. Weights for rare words cost .02 of it, naive Bayes ratios .03.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scratchlm.core import seeds
from scratchlm.core.errors import ArtifactError, DataError
from scratchlm.corpus.hashed import PLACES, SHAPED, Rows, features, shape

MOST = 1_500
"""Texts of each heap that are learned from, drawn by the seed: 2,000 took 1.5 GB while they were learned from."""
FEWEST = 10
FOLDS = 5
PENALTY = 0.03
"""Of the squared weights, half of it, beside the sum of the losses."""
SHAPE = 0.06
"""Weight of all numbers of shape together, where each block of counts has half."""
STEPS, MEMORY = 100, 10
FILES = ("weights.safetensors", "facts.json")


@dataclass(frozen=True)
class Classifier:
    """What was learned. ``score`` is the probability that a text came from the first heap, both being equally large."""

    weights: np.ndarray
    """One per place of the two blocks."""
    shape: np.ndarray
    """Three rows: weight, mean and spread of each number of shape."""
    line: tuple[float, float, float]
    """The bias, and slope and offset of the calibration."""
    facts: Mapping[str, Any]
    """What it was trained on and how well it tells the heaps apart."""

    def margin(self, rows: Rows) -> np.ndarray:
        """Before calibration: above zero is more like the first heap."""
        weight, mean, spread = self.shape
        return rows.times(self.weights) + ((rows.shapes - mean) / spread) @ weight + self.line[0]

    def score(self, text: str) -> float:
        """Between 0 and 1, the higher the more like the first heap."""
        _, slope, offset = self.line
        return float(_sigmoid(slope * self.margin(features([text])) + offset)[0])

    def save(self, folder: Path) -> None:
        """Two files: the weights, and the facts in JSON."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"weights": self.weights, "shape": self.shape, "line": np.array(self.line)}
        save_file({name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}, folder / FILES[0])
        (folder / FILES[1]).write_text(json.dumps(self.facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> Classifier:
    """A classifier that was saved; ArtifactError when there is none or it is another version's."""
    from safetensors.numpy import load_file

    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ArtifactError(f"{folder}: no classifier is here ({missing[0]} is missing). Train one first.")
    arrays, facts = load_file(folder / FILES[0]), json.loads((folder / FILES[1]).read_text(encoding="utf-8"))
    if {name: array.shape for name, array in arrays.items()} != {"weights": (PLACES,), "shape": (3, len(shape("")))} | {"line": (3,)}:
        raise ArtifactError(f"{folder / FILES[0]}: not the weights of this version's classifier. Train it again.")
    bias, slope, offset = (float(value) for value in arrays["line"])
    return Classifier(arrays["weights"], arrays["shape"], (bias, slope, offset), facts)


def train(like: Iterable[str], unlike: Iterable[str], /, seed: int, **facts: str) -> Classifier:
    """Learn to tell the heaps apart; ``facts`` such as their names are kept with it.

    The same texts in the same order and the same seed give the same weights. DataError when a heap has fewer than ten texts.
    """
    heaps = [_drawn(heap, seeds.derive(seed, "heap", of=name)) for name, heap in (("like", like), ("unlike", unlike))]
    for name, heap in zip(("like this", "not like that"), heaps, strict=True):
        if len(heap) < FEWEST:
            raise DataError(f"classifier: {len(heap)} texts of '{name}' are too few to learn from; {FEWEST} are needed. Add texts.")
    rows = features([*heaps[0], *heaps[1]])
    labels = np.repeat([1.0, 0.0], [len(heap) for heap in heaps])
    margins = held_out(rows, labels, seed)
    slope, offset = _calibrate(margins, labels)
    area, low, high = auc(margins, labels)
    known = {"texts_like": len(heaps[0]), "texts_unlike": len(heaps[1]), "seed": seed, "folds": FOLDS}
    made = fit(rows, labels)
    areas = {"auc": area, "auc_low": low, "auc_high": high}
    return Classifier(made.weights, made.shape, (made.line[0], slope, offset), known | areas | facts)


def _drawn(texts: Iterable[str], seed: int) -> list[str]:
    """At most ``MOST`` of the texts, each as likely as any other, in their order."""
    drawn: list[tuple[int, str]] = []
    chance = np.random.default_rng(seed)
    for number, text in enumerate(texts):
        if len(drawn) < MOST:
            drawn.append((number, text[:SHAPED]))
        elif (place := int(chance.integers(number + 1))) < MOST:
            drawn[place] = (number, text[:SHAPED])
    return [text for _, text in sorted(drawn)]


def held_out(rows: Rows, labels: np.ndarray, seed: int) -> np.ndarray:
    """The margin of each text from a classifier that was fitted without its fold, shape's means and all."""
    fold = np.zeros(len(labels), dtype=np.int64)
    chance = np.random.default_rng(seeds.derive(seed, "folds"))
    for label in (0.0, 1.0):
        members = chance.permutation(np.flatnonzero(labels == label))
        fold[members] = np.arange(len(members)) % FOLDS
    margins = np.zeros(len(labels))
    for number in range(FOLDS):
        kept, left = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        margins[left] = fit(rows.pick(kept), labels[kept]).margin(rows.pick(left))
    return margins


def auc(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """How often a text of the first heap scores above one of the second, ties half, and the ends of the 95 % interval."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    above = (np.searchsorted(negative, positive) + np.searchsorted(negative, positive, side="right")) / 2 / len(negative)
    below = 1 - (np.searchsorted(positive, negative) + np.searchsorted(positive, negative, side="right")) / 2 / len(positive)
    error = float(np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)))
    area = float(above.mean())
    return area, max(0.0, area - 1.96 * error), min(1.0, area + 1.96 * error)


def fit(rows: Rows, labels: np.ndarray) -> Classifier:
    """Weights of the smallest loss, by L-BFGS from zero; both heaps weigh the same however large they are."""
    mean, spread = rows.shapes.mean(0), rows.shapes.std(0) + 1e-6
    scale = np.sqrt(SHAPE / rows.shapes.shape[1])
    shapes = (rows.shapes - mean) / spread * scale
    balance = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    is_used = np.bincount(rows.places, minlength=PLACES) > 0
    used = np.flatnonzero(is_used)
    met, size = replace(rows, places=(np.cumsum(is_used, dtype=np.int32) - 1)[rows.places]), len(used)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        margin = met.times(point[:size]) + shapes @ point[size:-1] + point[-1]
        errors = (_sigmoid(margin) - labels) * balance
        slope = np.concatenate((met.spread(errors, size), shapes.T @ errors, [errors.sum()]))
        slope[:-1] += PENALTY * point[:-1]
        value = float((balance * (np.logaddexp(0, margin) - labels * margin)).sum() + PENALTY / 2 * (point[:-1] @ point[:-1]))
        return value, slope

    point = _smallest(loss, np.zeros(size + shapes.shape[1] + 1))
    weights = np.zeros(PLACES)
    weights[used] = point[:size]
    return Classifier(weights, np.stack([point[size:-1] * scale, mean, spread]), (float(point[-1]), 1.0, 0.0), {})


def _smallest(loss: Any, point: np.ndarray) -> np.ndarray:
    """Where a smooth convex function is smallest, within a thousandth of its slope at the start."""
    value, slope = loss(point)
    least, moves = 1e-3 * float(np.linalg.norm(slope)), []
    for _ in range(STEPS):
        direction = _direction(slope, moves)
        size, downhill = 1.0 if moves else 1 / max(1.0, float(np.linalg.norm(slope))), float(direction @ slope)
        while (step := loss(point + size * direction))[0] > value + 1e-4 * size * downhill and size > 1e-9:
            size /= 2
        moves = [*moves, (size * direction, step[1] - slope)][-MEMORY:]
        point, (value, slope) = point + size * direction, step
        if float(np.linalg.norm(slope)) < least:
            break
    return point


def _direction(slope: np.ndarray, moves: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Downhill, bent by what the last moves told of the curvature."""
    direction, kept = -slope, []
    for move, change in reversed(moves):
        part = float(move @ direction) / float(move @ change)
        kept.append(part)
        direction = direction - part * change
    if moves:
        move, change = moves[-1]
        direction = direction * (float(move @ change) / float(change @ change))
    for (move, change), part in zip(moves, reversed(kept), strict=True):
        direction = direction + move * (part - float(change @ direction) / float(move @ change))
    return direction


def _calibrate(margins: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Slope and offset that make margins probabilities, by Newton's method; a slope below zero would turn the order around."""
    line, data = np.array([1.0, 0.0]), np.stack([margins, np.ones(len(margins))], axis=1)
    weight = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    for _ in range(50):
        chance = _sigmoid(data @ line)
        slope = data.T @ (weight * (chance - labels)) + 1e-3 * (line - [1.0, 0.0])
        line = line - np.linalg.solve((data.T * (weight * chance * (1 - chance))) @ data + 1e-3 * np.eye(2), slope)
    return max(1e-3, float(line[0])), float(line[1])


def _sigmoid(margins: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * margins))
