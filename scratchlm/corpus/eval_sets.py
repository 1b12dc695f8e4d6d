"""What must not be learned from: the questions that models are tested with, read from JSON lines of any usual shape.

The column that holds the question, and those that hold answers or continuations, are found by name; nested lists of choices are unfolded.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scratchlm.core.errors import DataError

QUESTIONS = (
    "question", "query", "problem", "prompt", "context", "context_options", "goal", "premise", "passage", "ctx", "instruction", "sentence",
    "sentence1", "text", "input", "stem", "article",
)  # fmt: skip
"""Columns whose text is the question itself; where there are several, all of them are."""
ANSWERS = (
    "choices", "continuation", "endings", "options", "answer", "answers", "target", "completion", "chain_of_thought", "canonical_solution",
    "solution", "sol1", "sol2", "hypothesis", "sentence2", "output", "response",
)  # fmt: skip
"""Columns whose text follows a question; each is looked for behind it and alone."""
PREFIXES = ("question:", "q:", "problem:")
"""Words before a question that only tell a model what it is."""


@dataclass(frozen=True, slots=True)
class EvalSet:
    """The texts of a set of tests: for each item those that would give it away."""

    name: str
    items: Sequence[Sequence[str]]
    """The first text of an item is its question."""


def files_of(places: Iterable[Path]) -> list[Path]:
    """The files, and of each folder every ``.jsonl`` file in it, in the order of their names; DataError when a folder has none."""
    files = []
    for place in places:
        found = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
        if not found:
            raise DataError(f"{place}: there is no .jsonl file in this folder. Give files of questions, one JSON object on each line.")
        files += found
    return files


def read_all(places: Iterable[Path], taken: Iterable[str] = ()) -> list[EvalSet]:
    """A set for each file, none of the name of another or of one that is ``taken``."""
    files = files_of(places)
    names = {file.absolute(): _names(file) for file in files}  # a file that is given twice is one set
    given = Counter([*taken, *(name for own in names.values() for name in own)])
    return [replace(read(file), name=next(name for name in own if given[name] == 1)) for file, own in names.items()]


def _names(file: Path) -> list[str]:
    """What a file may be called, the shortest first: its stem, with the folder, with the folder above that, and so on."""
    parts = file.absolute().with_suffix("").parts
    return ["/".join(parts[at:]) for at in range(len(parts) - 1, -1, -1)]


def read(path: Path) -> EvalSet:
    """The set in a file of JSON lines, named after the file."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            rows = [_row(line, f"{path}: line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: this cannot be read as lines of JSON ({error}). Give a .jsonl file in UTF-8.") from None
    if not rows:
        raise DataError(f"{path}: the file is empty. Give a file of questions, one JSON object on each line.")
    known = questions_of(rows, path)
    return EvalSet(path.stem, [texts_of(row, known) for row in rows])


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DataError(f'{where} is no JSON object. Each line must be one, such as {{"question": "…", "answer": "…"}}.')
    return row


def questions_of(rows: Sequence[Mapping[str, Any]], path: Path) -> list[str]:
    """The columns that hold questions: those with a known name, else the one with the most text."""
    columns = sorted({column for row in rows for column in row})
    if known := [name for name in QUESTIONS if any(column.lower() == name for column in columns)]:
        return [column for name in known for column in columns if column.lower() == name]
    sizes = {column: sum(len(text) for row in rows for text in strings(row.get(column))) for column in columns}
    longest = max(columns, key=lambda column: sizes[column], default="")
    if not columns or sizes[longest] < 15 * len(rows):
        raise DataError(
            f"{path}: none of its columns ({', '.join(columns) or 'none'}) holds questions. "
            f"Name the one that does {', '.join(QUESTIONS[:3])} or {QUESTIONS[3]}."
        )
    return [longest]


def texts_of(row: Mapping[str, Any], questions: Sequence[str]) -> list[str]:
    """The question, then what the row has beside it: each further question, each answer behind each question, each answer alone."""
    asked = [bare(text) for column in questions for text in strings(row.get(column))]
    answers = [text for column in row if column.lower() in ANSWERS and column not in questions for text in strings(row[column])]
    return [*asked, *(f"{question} {answer}" for question in asked for answer in answers), *answers] or [""]


def strings(value: Any) -> Iterator[str]:
    """Every text in a value, however deeply it is nested; labels such as "A" are left out."""
    if isinstance(value, str):
        if len(value.strip()) > 1:
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from strings(inner)


def bare(question: str) -> str:
    """The question without the word "Question:" before it."""
    question = question.strip()
    for prefix in PREFIXES:
        if question.lower().startswith(prefix):
            return question[len(prefix) :].strip()
    return question
