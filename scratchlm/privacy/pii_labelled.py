"""How well are private values found? Precision and recall of each kind on sentences that were labelled by hand.

``pii_labelled.jsonl`` holds two parts: the patterns were written with ``tune`` in sight, the figures that count are those of ``held``,
whose sentences, layouts and languages are others. Values are invented, from ranges for examples where there are such. In a row's text
a value stands as ⟦kind|value⟧; ``¦`` within it is left out, so that programs that look for keys in a repository find none. Rows without
a value tempt one kind: version numbers, ISBNs, hashes, timestamps, code, and numbers of things that pass the kind's own check.

Whoever wrote ``held`` had not seen the patterns, only the policy of what counts; it was whole before they were first run on it, and no
pattern was changed because of it: the figures are those of the first run. (Three earlier sets of that kind are in ``tune``, since patterns
were mended after a look at them, but for rows whose sentence stands in ``held`` too.) Rows of one sentence with other values say little
more than one row does. So beside each share stands how many independent sentences it is worth (Kish 1965, "Survey Sampling", the values of
a sentence as one cluster); an interval is to be computed from that number.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from scratchlm.privacy.pii import KINDS, Span, find

LABELLED = Path(__file__).parent / "pii_labelled.jsonl"
MARK = re.compile(r"⟦(\w+)\|([^⟧]*)⟧")
VARYING = re.compile(r"[A-ZÀ-Þ][a-zà-ÿ'’-]+(?: [A-ZÀ-Þ][a-zà-ÿ'’-]+)+|[\w+/=-]{16,}|\w*\d\w*")
"""Names, runs of letters longer than most words, and whatever holds a digit."""
Part = Literal["tune", "held"]


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text."""

    part: Part
    text: str
    spans: tuple[Span, ...]
    tempts: str | None
    """The kind that it seems to hold and does not."""
    sentence: str
    """The text without its values, numbers and names: rows that have the same are clones."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How well one kind is found; a find is right when kind, start and end are those of the label."""

    precision: float
    """Of what was found, the share that is right; 0 where nothing was found."""
    precision_sentences: int
    """From how many independent sentences the precision comes; 0 without a find."""
    recall: float
    recall_sentences: int
    n_positive: int
    """Labelled values."""
    n_negative: int
    """Rows that tempt this kind."""
    n_found: int
    false_alarms: int


def labelled(path: Path = LABELLED) -> list[Row]:
    """The rows in their order, with marks taken out and spans counted in what is left."""
    with path.open(encoding="utf-8") as lines:
        return [_row(json.loads(line)) for line in lines]


def _row(row: dict[str, Any]) -> Row:
    parts, spans, sentence, length, position = [], [], [], 0, 0
    for match in MARK.finditer(row["text"]):
        plain, value = row["text"][position : match.start()], match[2].replace("¦", "")
        spans.append(Span(length + len(plain), length + len(plain) + len(value), match[1]))
        parts += [plain, value]
        sentence += [VARYING.sub("0", plain), f"⟦{match[1]}⟧"]
        length, position = spans[-1].end, match.end()
    rest = row["text"][position:]
    return Row(row["part"], "".join([*parts, rest]), tuple(spans), row.get("tempts"), "".join([*sentence, VARYING.sub("0", rest)]))


@cache
def table(part: Part = "held") -> dict[str, dict[str, Any]]:
    """The figures of one part for a report: plain JSON, by kind. Measured once in a process, since they are the same in every report."""
    return {kind: asdict(found) for kind, found in measure([row for row in labelled() if row.part == part]).items()}


def measure(rows: Sequence[Row]) -> dict[str, Measured]:
    """Precision and recall of each kind over ``rows``."""
    found = [find(row.text) for row in rows]
    return {kind: _measured(kind, rows, found) for kind in KINDS}


def _measured(kind: str, rows: Sequence[Row], found: Sequence[Sequence[Span]]) -> Measured:
    labels = {(number, span) for number, row in enumerate(rows) for span in row.spans if span.kind == kind}
    finds = {(number, span) for number, spans in enumerate(found) for span in spans if span.kind == kind}
    right = len(labels & finds)
    return Measured(
        precision=right / len(finds) if finds else 0.0,
        precision_sentences=worth(rows[number].sentence for number, _ in finds),
        recall=right / len(labels) if labels else 0.0,
        recall_sentences=worth(rows[number].sentence for number, _ in labels),
        n_positive=len(labels),
        n_negative=sum(row.tempts == kind for row in rows),
        n_found=len(finds),
        false_alarms=len(finds) - right,
    )


def worth(sentences: Iterable[str]) -> int:
    """The size of as telling a sample without clones, rounded down: the square of all over the sum of squares, when clones agree."""
    sizes = Counter(sentences).values()
    return sum(sizes) ** 2 // sum(size**2 for size in sizes) if sizes else 0
