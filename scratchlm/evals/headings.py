"""Headings of a plain text and the first sentence under each: Markdown, reStructuredText, ``Title:`` lines, chapters of a novel."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from scratchlm.core.records import Document
from scratchlm.evals.sentences import first_sentence, simple

MARKDOWN = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
UNDERLINE = re.compile(r"^([=\-~^\"'+*#.:_`])\1{2,}\s*$")
FIELD = re.compile(r"^(?:Title|Subject):\s+(.+)$")
CHAPTER = re.compile(r"^(?:chapter|book|part|volume|letter|section|act|scene|canto)\s+(?:[ivxlc]+|\d+|[a-z]+)\b.{0,60}$", re.IGNORECASE)
CAPITALS = re.compile(r"^[A-Z][A-Z .,;:'’\-&]{3,58}[A-Z.!?]$")
FIELDS_WITHIN = 30
"""Lines at the top of a document in which a ``Title:`` line counts."""
LONGEST = 70
BODY = 4000
"""Characters under a heading that are looked at for its first sentence."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, the document it is in, and the first sentence under it."""

    name: str
    document: str
    sentence: str


def headings(document: Document) -> list[Heading]:
    """All headings of the document under which a sentence stands, its title first."""
    lines = document.text.split("\n")
    label = label_of(document)
    found = list(_marked(lines))
    ends = [line for line, _, _ in [*found[1:], (len(lines), 0, "")]][: len(found)]
    pairs = [
        (name, first_sentence("\n".join(lines[start:end])[:BODY], cut=True)) for (_, start, name), end in zip(found, ends, strict=True)
    ]
    title = (simple(str(document.facts.get("title") or "")) or _field(lines)) if _is_beginning(document) else ""
    if title and title not in {name for name, sentence in pairs if sentence}:
        pairs.insert(0, (title, _opening(lines, found)))
    return [Heading(name, label, sentence) for name, sentence in pairs if sentence and 3 <= len(name) <= LONGEST]


def label_of(document: Document) -> str:
    """What to call the document: its file's name without endings, or its title where a file holds many."""
    title = str(document.facts.get("title") or "")
    file = str(document.facts.get("host") or document.facts.get("locator") or "").partition("#")[0]
    stem = PurePosixPath(file.replace("\\", "/")).name.partition(".")[0].replace("_", " ")
    return (title or stem) if document.facts.get("doc_type") == "rows" else (stem or title or document.source)


def _is_beginning(document: Document) -> bool:
    """Whether it is a whole text or the first piece of one, so that the title stands over it."""
    return not json.loads(str(document.facts.get("extra") or "{}")).get("part")


def _marked(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(line of the heading, line its text starts at, name) for every heading, in order."""
    for at, line in enumerate(lines):
        text, below = line.strip(), lines[at + 1].strip() if at + 1 < len(lines) else ""
        if match := MARKDOWN.match(line):
            yield at, at + 1, simple(match[1])
        elif text and text[0].isalnum() and UNDERLINE.match(below) and len(below) >= min(len(text), LONGEST) and len(text) <= LONGEST:
            yield at, at + 2, simple(text)
        elif _stands_out(lines, at, text):
            yield at, at + 1, simple(text).rstrip(".")


def _stands_out(lines: Sequence[str], at: int, text: str) -> bool:
    """A chapter line, or a line of capitals alone in its paragraph."""
    if CHAPTER.match(text):
        return not re.search(r"[,;:]$", text) and (at == 0 or not lines[at - 1].strip() or text[:2].isupper())
    alone = (at == 0 or not lines[at - 1].strip()) and (at + 1 == len(lines) or not lines[at + 1].strip())
    return alone and bool(CAPITALS.match(text))


def _field(lines: Sequence[str]) -> str:
    return next((simple(match[1]) for line in lines[:FIELDS_WITHIN] if (match := FIELD.match(line))), "")


def _opening(lines: Sequence[str], found: Sequence[tuple[int, int, str]]) -> str | None:
    """The first sentence of the document, or of its first part that has one."""
    starts = [0, *(start for _, start, _ in found)]
    ends = [*(line for line, _, _ in found), len(lines)]
    sentences = (first_sentence("\n".join(lines[start:end])[:BODY], cut=True) for start, end in zip(starts, ends, strict=True))
    return next((sentence for sentence in sentences if sentence), None)
