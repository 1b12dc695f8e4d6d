"""A long text as several documents, cut where its author paused: at chapters, then paragraphs, then lines, then words."""

import re
from collections.abc import Iterator
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


def split(text: str, *, least: int = LEAST, usual: int = USUAL) -> list[Piece]:
    """``text`` in pieces of about ``least`` to ``usual`` characters; nothing but white space is lost between them."""
    done: list[Piece] = []
    held: list[str] = []
    size, heading, next_heading = 0, "", ""
    for atom in _atoms(text, usual):
        first_line = atom.lstrip("\n").partition("\n")[0]
        if is_heading := bool(HEADING.match(first_line)):
            next_heading = first_line.strip(" \t#")
        if held and ((is_heading and size >= least) or (size + len(atom) > usual and size >= least)):
            done.append(Piece("".join(held).strip("\n"), heading))
            held, size, heading = [], 0, next_heading
        held.append(atom)
        heading = heading or next_heading
        size += len(atom)
    if held:
        rest = "".join(held).strip("\n")
        done.append(Piece(rest, heading))
    return [piece for piece in done if piece.text.strip()]


def _atoms(text: str, usual: int) -> Iterator[str]:
    """The text in its smallest parts: paragraphs, or lines where paragraphs are long or headings stand among them."""
    for paragraph in re.findall(r"(?:[^\n]|\n(?!\n))+\n*|\n+", text):
        if len(paragraph) <= usual // 3 and not any(HEADING.match(line) for line in paragraph.split("\n")[1:]):
            yield paragraph
            continue
        for line in paragraph.splitlines(keepends=True):
            if len(line) <= usual // 2:
                yield line
            else:
                yield from re.findall(rf".{{1,{usual // 2}}}(?:\s+|$)|.{{1,{usual // 2}}}", line, re.DOTALL)
