"""Blocks of text under one another: what a reader writes on, and what is chosen from and joined afterwards."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Structure = list[dict[str, str | int]]
"""``{"kind": "table", "start": 120, "end": 480}``, offsets into the text."""


WIDEST = 36
"""Characters of indentation before the innermost item, twelve lists in each other: each line carries it, however short it is."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a heading, a whole list, a table or a piece of code."""

    text: str
    kind: str
    """heading, list, table, code; a paragraph has an empty one."""
    linked: int  # characters of it that are links
    structure: tuple[tuple[str, int, int], ...]
    """Kind, start and end of what is told apart in it, itself too; a list may hold lists and code."""


class Sheet:
    """Text in the making: blocks one under another, each line behind the indentation of the list that it stands in."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._indents: list[str] = []
        self._marker = ""
        self._in_list = False
        self._outermost: list[tuple[int, int, str, int]] = []
        self.structure: Structure = []

    def block(self, text: str, kind: str = "", linked: int = 0) -> None:
        """Write lines as one block, ``linked`` characters of which are links; empty ones are left out."""
        if not text.strip():
            return
        gap = self._gap()
        indent = "".join(self._indents[:-1])[:WIDEST] + "".join(self._indents[-1:])
        first = indent[: len(indent) - len(self._marker)] + self._marker
        lines = text.split("\n")
        written = "\n".join([first + lines[0], *(indent + line if line else "" for line in lines[1:])])
        self._marker = ""
        self._in_list = bool(self._indents)
        start = self._length + len(gap)
        self._parts += [gap, written]
        self._length = start + len(written)
        if gap == "\n":
            first_start, _, first_kind, before = self._outermost.pop()
            self._outermost.append((first_start, self._length, first_kind, before + linked))
        else:
            self._outermost.append((start, self._length, "list" if self._indents else kind, linked))
        if kind:
            self.mark(kind, start + len(first))

    def mark(self, kind: str, start: int) -> None:
        """Remember that all from ``start`` to here is a heading, list, table or code."""
        if start < self._length:
            self.structure.append({"kind": kind, "start": start, "end": self._length})

    @contextmanager
    def item(self, marker: str) -> Iterator[None]:
        """What is written within stands behind ``marker``."""
        self._marker = marker
        self._indents.append(" " * len(marker))
        yield
        self._indents.pop()
        self._marker = ""

    def next_block(self) -> int:
        """Where the next block will start; the first block of a list stands apart from what is above the list."""
        self._in_list = self._in_list and bool(self._indents)
        return self._length + len(self._gap())

    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def blocks(self) -> list[Block]:
        """What was written, block by block."""
        text, at = self.text(), 0
        marks = sorted((int(part["start"]), int(part["end"]), str(part["kind"])) for part in self.structure)
        found: list[Block] = []
        for start, end, kind, linked in self._outermost:
            first = at
            while at < len(marks) and marks[at][0] < end:
                at += 1
            inside = tuple((mark[2], mark[0] - start, mark[1] - start) for mark in marks[first:at])
            found.append(Block(text[start:end], kind, linked, inside))
        return found

    def _gap(self) -> str:
        return "" if not self._parts else "\n" if self._in_list and self._indents else "\n\n"


def join(parts: Iterable[Block]) -> tuple[str, Structure]:
    """Blocks one under another with a blank line between them, and their structure in the order of starts."""
    texts: list[str] = []
    structure: list[tuple[int, int, str]] = []
    length = 0
    for block in parts:
        structure += [(start + length, end + length, kind) for kind, start, end in block.structure]
        texts.append(block.text)
        length += len(block.text) + 2
    structure.sort(key=lambda mark: (mark[0], -mark[1], mark[2]))
    return "\n\n".join(texts), [{"kind": kind, "start": start, "end": end} for start, end, kind in structure]
