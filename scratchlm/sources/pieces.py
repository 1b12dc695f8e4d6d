"""A long text as several documents, cut where its author paused: at chapters, then paragraphs, then lines, then words."""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LEAST, USUAL = 2_000, 6_000
"""Characters: a chapter border ends a piece that has ``LEAST``; any paragraph border ends one that would pass ``USUAL``."""

NUMBER = r"(?:[IVXLC]+|\d+|[A-Z][A-Za-z-]+)"
HEADING = re.compile(
    r"^[ \t]*(?:(?:CHAPTER|Chapter|BOOK|Book|PART|Part|ACT|Act|SCENE|Scene|LETTER|Letter|VOLUME|Volume|CANTO|Canto|STAVE|Stave)"
    rf"[ \t]+{NUMBER}\b.{{0,80}}"
    r"|(?:PROLOGUE|EPILOGUE|PREFACE|INTRODUCTION|CONCLUSION)\.?|[IVXLC]{1,7}\.?|\#{1,3}[ \t]\S.{0,100})$"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text, and the heading it stands under (empty when there is none)."""

    text: str
    heading: str
    start: int = 0
    """Where it stands in the whole, in characters."""


def split(text: str, *, least: int = LEAST, usual: int = USUAL) -> list[Piece]:
    """``text`` in pieces of about ``least`` to ``usual`` characters; nothing but white space is lost between them."""
    return list(stream(io.StringIO(text, newline="\n"), least=least, usual=usual))


def stream(lines: Iterable[str], *, least: int = LEAST, usual: int = USUAL) -> Iterator[Piece]:
    """The same of a text that comes in lines with their ends, a piece as soon as it is whole."""
    held: list[str] = []
    start, size, heading, next_heading = 0, 0, "", ""
    for atom in _atoms(lines, usual):
        first_line = atom.lstrip("\n").partition("\n")[0]
        if is_heading := bool(HEADING.match(first_line)):
            next_heading = first_line.strip(" \t#")
        if held and ((is_heading and size >= least) or (size + len(atom) > usual and size >= least)):
            yield from _piece("".join(held), heading, start)
            start += size
            held, size, heading = [], 0, next_heading
        held.append(atom)
        heading = heading or next_heading
        size += len(atom)
    yield from _piece("".join(held), heading, start)


def _piece(text: str, heading: str, start: int) -> Iterator[Piece]:
    if text.strip():
        inner = text.lstrip("\n")
        yield Piece(inner.rstrip("\n"), heading, start + len(text) - len(inner))


def _atoms(lines: Iterable[str], usual: int) -> Iterator[str]:
    """The text in its smallest parts: paragraphs, or lines where paragraphs are long or headings stand among them."""
    held: list[str] = []
    size, is_over, is_long = 0, False, False
    for line in lines:
        if is_over and line != "\n":
            yield from _paragraph(held, usual)
            held, size, is_over, is_long = [], 0, False, False
        if is_long and line == "\n":
            is_over = True
            yield line
            continue
        is_over = is_over or line == "\n"
        held.append(line)
        size += len(line)
        is_long = is_long or size > usual // 3
        if is_long:
            yield from _short(held, usual)
            held = []
    yield from _paragraph(held, usual)


def _paragraph(held: list[str], usual: int) -> Iterator[str]:
    """A paragraph that is not long, in one part unless a heading stands in it."""
    if held and not any(HEADING.match(line.rstrip("\n")) for line in held[1:]):
        yield "".join(held)
    else:
        yield from _short(held, usual)


def _short(held: list[str], usual: int) -> Iterator[str]:
    for line in "".join(held).splitlines(keepends=True):
        if len(line) <= usual // 2:
            yield line
        else:
            yield from (part.group() for part in re.finditer(rf".{{1,{usual // 2}}}(?:\s+|$)|.{{1,{usual // 2}}}", line, re.DOTALL))
