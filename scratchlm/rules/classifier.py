"""Like this, not like that: a judge of texts that learns from two heaps of them.

Logistic regression on the numbers of ``hashed.py``. Calibration: Platt 1999. Limited-memory BFGS: Nocedal and Wright 2006, algorithm 7.4.
Interval of the AUC: DeLong et al. 1988.

On 250 web documents that people marked as good or bad (``benchmarks/quality.py``, five folds, mean of five seeds) words alone have an AUC
of .885, with runs of characters .894, with shape .900, with both .910. Weights for rare words cost .02 of it, naive Bayes ratios .03. These
choices were made on the same documents, so that others will be judged somewhat worse.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from scratchlm.core import seeds
from scratchlm.core.errors import ArtifactError, DataError
from scratchlm.rules.hashed import PLACES, SHAPED, Rows, features, shape

MOST = 1_500
"""Texts of each heap that are learned from, drawn by the seed: 2,000 took 1.5 GB while they were learned from."""
FEWEST = 10
FOLDS = 5
PENALTY = 0.03
"""Of the squared weights, half of it, beside the sum of the losses."""
SHAPE = 0.06
"""Weight of all numbers of shape together, where each block of counts has half."""
STEPS, MEMORY = 100, 10
SURE = 1.959964
"""Standard errors to each side of a normal mean that hold 95 % of it."""


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

    def save(self, path: Path) -> None:
        """One file: the weights, with the facts in its header."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"weights": self.weights, "shape": self.shape, "line": np.array(self.line)}
        plain = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
        save_file(plain, path, {"facts": json.dumps(self.facts, sort_keys=True)})


def load(path: Path) -> Classifier:
    """A classifier that was saved; ArtifactError when there is none or it is another version's."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ArtifactError(f"{path}: no classifier is here. Train one first.")
    wanted = {"weights": (PLACES,), "shape": (3, len(shape(""))), "line": (3,)}
    try:
        with safe_open(path, "numpy") as file:
            arrays, facts = {name: file.get_tensor(name) for name in wanted}, json.loads((file.metadata() or {}).get("facts", "null"))
    except SafetensorError as error:
        raise ArtifactError(f"{path}: no file of weights ({error}). Train it again.") from None
    if facts is None or {name: array.shape for name, array in arrays.items()} != wanted:
        raise ArtifactError(f"{path}: not the weights of this version's classifier. Train it again.")
    bias, slope, offset = (float(value) for value in arrays["line"])
    return Classifier(arrays["weights"], arrays["shape"], (bias, slope, offset), facts)


Example = tuple[str, str]
"""A text and the file that it is from."""


def train(like: Iterable[Example], unlike: Iterable[Example], /, seed: int, about: Mapping[str, str] | None = None) -> Classifier:
    """Learn to tell the heaps apart; what is ``about`` them, such as their names, is kept with it.

    A text that comes twice counts once, and one that is in both heaps not at all. The same texts in the same order and the same seed give
    the same weights. DataError when fewer than ten texts are left of a heap.
    """
    heaps = _distinct([list(like), list(unlike)])
    drawn = [_drawn(heap, seeds.derive(seed, "heap", of=name)) for name, heap in zip(("like", "unlike"), heaps, strict=True)]
    for name, heap in zip(("like this", "not like that"), drawn, strict=True):
        if len(heap) < FEWEST:
            raise DataError(
                f"classifier: {len(heap)} texts of '{name}', not counting copies and what both heaps hold, are too few to learn from; "
                f"{FEWEST} are needed. Add texts."
            )
    examples = [*drawn[0], *drawn[1]]
    rows = features([text for text, _ in examples])
    labels = np.repeat([1.0, 0.0], [len(heap) for heap in drawn])
    files = _groups([file for _, file in examples], labels)
    margins = held_out(rows, labels, seed, files)
    slope, offset = _calibrate(margins, labels)
    area, low, high = auc(margins, labels)
    known = {"texts_like": len(drawn[0]), "texts_unlike": len(drawn[1]), "seed": seed, "folds": FOLDS}
    known |= {"auc": area, "auc_low": low, "auc_high": high, "files_apart": files is not None}
    made = fit(rows, labels)
    return Classifier(made.weights, made.shape, (made.line[0], slope, offset), {**(about or {}), **known})


def _distinct(heaps: Sequence[Sequence[Example]]) -> list[list[Example]]:
    """Each heap without texts that stood before in it or are in the other; white space and case aside."""
    said: list[dict[int, Example]] = [{}, {}]
    for own, heap in zip(said, heaps, strict=True):
        for text, file in heap:
            own.setdefault(xxhash.xxh3_128_intdigest(" ".join(text.lower().split()).encode("utf-8", "surrogatepass")), (text, file))
    return [[example for key, example in own.items() if key not in other] for own, other in (said, said[::-1])]


def _drawn(examples: Iterable[Example], seed: int) -> list[Example]:
    """At most ``MOST`` of the texts, each as likely as any other, in their order."""
    drawn: list[tuple[int, Example]] = []
    chance = np.random.default_rng(seed)
    for number, (text, file) in enumerate(examples):
        if len(drawn) < MOST:
            drawn.append((number, (text[:SHAPED], file)))
        elif (place := int(chance.integers(number + 1))) < MOST:
            drawn[place] = (number, (text[:SHAPED], file))
    return [example for _, example in sorted(drawn)]


def _groups(files: Sequence[str], labels: np.ndarray) -> np.ndarray | None:
    """The number of each text's file; None where a heap has too few files to put whole ones into every fold, such as one of many rows."""
    names, groups = np.unique(np.array(files), return_inverse=True)
    fewest = min(len(np.unique(groups[labels == label])) for label in (0.0, 1.0))
    return groups if len(names) and fewest >= FOLDS else None


def held_out(rows: Rows, labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """The margin of each text from a classifier that was fitted without its fold, shape's means and all.

    Texts of one of ``groups`` are in one fold; None: each text is its own.
    """
    fold = folds(labels, np.arange(len(labels)) if groups is None else groups, seed)
    margins = np.zeros(len(labels))
    for number in range(FOLDS):
        kept, left = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        margins[left] = fit(rows.pick(kept), labels[kept]).margin(rows.pick(left))
    return margins


def folds(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each text: whole groups, the largest first and equal ones by chance, to where there are fewest of their labels."""
    chance = np.random.default_rng(seeds.derive(seed, "folds"))
    members = np.stack([np.bincount(groups, labels == label) for label in (0.0, 1.0)], axis=1)
    order = chance.permutation(len(members))
    order = order[np.argsort(-members[order].sum(1), kind="stable")]
    shares, loads = members / np.maximum(1, members.sum(0)), np.zeros((FOLDS, 2))
    place = np.zeros(len(members), dtype=np.int64)
    for group in order:
        place[group] = int(np.argmin(loads @ shares[group]))
        loads[place[group]] += shares[group]
    return place[groups]


def auc(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """How often a text of the first heap scores above one of the second, ties half, and the ends of the 95 % interval."""
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    above = (np.searchsorted(negative, positive) + np.searchsorted(negative, positive, side="right")) / 2 / len(negative)
    below = 1 - (np.searchsorted(positive, negative) + np.searchsorted(positive, negative, side="right")) / 2 / len(positive)
    error = float(np.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)))
    area = float(above.mean())
    return area, max(0.0, area - SURE * error), min(1.0, area + SURE * error)


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
    for _ in range(STEPS if least else 0):  # where nothing tells the heaps apart, the start is the smallest
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
