"""A tree of elements as blocks of plain text that keep their shape: headings, paragraphs, lists, tables and code.

The text is Markdown without emphasis, links and escapes: ``# Heading``, ``- item``, ``| cell | cell |``, fenced code with its indentation.
Both sets of names are understood: those of HTML, and those of the tree that trafilatura gives (``head``, ``list``, ``item``, ``row``, ...).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
LISTS = {"list", "ul", "ol", "dl", "menu"}
ITEMS = {"item", "li", "dt", "dd"}
ROWS, CELLS = {"row", "tr"}, {"cell", "td", "th"}
VERBATIM = {"pre", "code"}
LINKS = {"a", "ref"}
BREAKS = {"lb", "br", "hr"}
BLOCKS = {
    *HEADINGS, *LISTS, *ITEMS, *ROWS, *CELLS, "head", "p", "pre", "quote", "blockquote", "table", "thead", "tbody", "tfoot", "caption",
    "div", "section", "article", "main", "body", "figure", "figcaption", "details", "summary", "address", "header", "hgroup", "html",
    "center", "fieldset", "form", "legend", "option",
}  # fmt: skip
WIDEST_CELL, MOST_COLUMNS = 300, 100
"""Characters, and cells of a row; a table with a longer cell lays out a page and is written as paragraphs."""
DEEPEST = 100
"""Levels of nesting that are told apart; what is nested deeper is written as one paragraph."""
SIGNS = re.compile(r"[{}()\[\];=<>$#\\/|_*+]")
SHARE_OF_SIGNS = 0.015
"""Of preformatted text: 95 of 100 passages of Python, C or shell have more; 99 of 100 of plays and novels fewer than 0.012."""
PLAIN = "text"  # the class of ``code`` that only keeps its white space, unless its signs say otherwise

Structure = list[dict[str, str | int]]
"""``{"kind": "table", "start": 120, "end": 480}``, offsets into the text."""


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
        indent = "".join(self._indents)
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


def blocks(tree: Any) -> list[Block]:
    """The blocks of a tree in their order."""
    sheet = Sheet()
    _Writer(sheet, _holding_blocks(tree)).contents(tree, 0)
    return sheet.blocks()


def write(tree: Any) -> tuple[str, Structure]:
    """The text of a tree and its structure in the order of starts."""
    return join(blocks(tree))


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


def flat(text: str | None) -> str:
    """The text in one line, each run of white space one blank."""
    return " ".join(text.split()) if text else ""


def is_code(text: str) -> bool:
    """Whether preformatted text is code, by the share of signs in it."""
    return len(SIGNS.findall(text)) >= SHARE_OF_SIGNS * len(text)


class _Writer:
    """A walk over a tree that puts each block on a sheet."""

    def __init__(self, sheet: Sheet, holding: set[Any]) -> None:
        self._sheet = sheet
        self._holding = holding

    def contents(self, node: Any, depth: int) -> None:
        """Write what is in ``node``: running text between blocks becomes paragraphs."""
        running, linked = [node.text or ""], 0
        for child in node:
            if isinstance(child.tag, str):
                if child.tag in BLOCKS or child in self._holding or _is_listing(child):
                    self._sheet.block(_lines(running), linked=linked)
                    running, linked = [], 0
                    self._block(child, depth + 1)
                else:
                    linked += _run_into(running, child)
            running.append(child.tail or "")
        self._sheet.block(_lines(running), linked=linked)

    def _block(self, node: Any, depth: int) -> None:
        if depth > DEEPEST:
            self._sheet.block(_spaced(node))
        elif node.tag in HEADINGS or node.tag == "head":
            level = HEADINGS.get(node.get("rend", "") if node.tag == "head" else node.tag, 2)
            text = _spaced(node)
            self._sheet.block("#" * level + " " + text if text else "", "heading", _linked(node))
        elif node.tag in VERBATIM:
            self._verbatim(node)
        elif node.tag in LISTS:
            start = self._sheet.next_block()
            self._items(node, depth)
            self._sheet.mark("list", start)
        elif node.tag == "table" and (rows := data_rows(node)):
            self._table(rows, _linked(node))
        else:
            self.contents(node, depth)

    def _verbatim(self, node: Any) -> None:
        text = verbatim(node)
        if not any(part.get("class") != PLAIN for part in node.iter("code")) and not is_code(text):
            self._sheet.block(text)
            return
        longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
        fence = "`" * (longest + 1)
        self._sheet.block(f"{fence}\n{text}\n{fence}", "code")

    def _items(self, node: Any, depth: int) -> None:
        number = 0
        is_ordered = "ol" in (node.tag, node.get("rend"))
        is_terms = "dl" in (node.tag, node.get("rend"))
        for item in node:
            if item.tag in ITEMS:
                number += 1
                is_term = item.tag == "dt" or str(item.get("rend", "")).startswith("dt")
                marker = "" if is_term else "  " if is_terms else f"{number}. " if is_ordered else "- "
                with self._sheet.item(marker):
                    self.contents(item, depth)
            elif item.tag in LISTS:  # a list that is a child of a list, without an item around it
                with self._sheet.item("  "):
                    self._block(item, depth + 1)
            elif isinstance(item.tag, str):
                with self._sheet.item(""):
                    self._block(item, depth + 1)

    def _table(self, rows: Sequence[Sequence[str]], linked: int) -> None:
        width = max(map(len, rows))
        lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in rows]
        lines.insert(1, "|" + " --- |" * width)
        self._sheet.block("\n".join(lines), "table", linked)


def data_rows(table: Any) -> list[list[str]]:
    """The cells of a table, each in one line; none when the table has one column or lays out a page."""
    if any(inner is not table for inner in table.iter("table", *LISTS, *HEADINGS, "head", "pre")):
        return []
    rows = [[_spaced(cell).replace("|", "\\|") for cell in row if cell.tag in CELLS][:MOST_COLUMNS] for row in table.iter(*ROWS)]
    rows = [row for row in rows if any(row)]
    is_data = len(rows) > 1 and max(map(len, rows)) > 1 and max(len(cell) for row in rows for cell in row) <= WIDEST_CELL
    return rows if is_data else []


def verbatim(node: Any) -> str:
    """Preformatted text as it stands, without blank lines around it and blanks at the ends of lines."""
    _run_into(running := [], node, is_verbatim=True)
    return "\n".join(line.rstrip() for line in "".join(running).replace("\0", "\n").split("\n")).strip("\n")


def _holding_blocks(tree: Any) -> set[Any]:
    """The elements that are no blocks and have some inside, such as a link around a heading."""
    holding: set[Any] = set()
    for node in tree.iter(*BLOCKS):
        above = node.getparent()
        while above is not None and above.tag not in BLOCKS and above not in holding:
            holding.add(above)
            above = above.getparent()
    return holding


def _is_listing(node: Any) -> bool:
    """Whether ``code`` is a block of its own: trafilatura calls both kinds so."""
    return node.tag == "code" and any("\n" in text for text in node.itertext())


def _run_into(parts: list[str], node: Any, *, is_verbatim: bool = False) -> int:
    """Add the running text of ``node``, line breaks as NUL, and say how much of it is links; no recursion, as pages nest thousands deep."""
    links = linked = 0
    for event, inner in etree.iterwalk(node, events=("start", "end")):
        links += (inner.tag in LINKS) * (1 if event == "start" else -1)
        if inner.tag == "code" and not is_verbatim:
            parts.append("`")
        if event == "end":
            text = "" if inner is node else inner.tail
        else:
            parts.append("\0" if inner.tag in BREAKS else "")
            text = inner.text if isinstance(inner.tag, str) else ""
        if text:
            parts.append(text)
            linked += len(text) if links else 0
    return linked


def _linked(node: Any) -> int:
    return sum(len(text) for link in node.iter(*LINKS) for text in link.itertext())


def _spaced(node: Any) -> str:
    """The text of ``node`` in one line, blanks between its blocks."""
    parts: list[str] = []
    for event, inner in etree.iterwalk(node, events=("start", "end")):
        gap = " " if inner.tag in BLOCKS or inner.tag in BREAKS else ""
        text = ("" if inner is node else inner.tail) if event == "end" else inner.text if isinstance(inner.tag, str) else ""
        parts += [gap, text or ""]
    return flat("".join(parts))


def _lines(parts: Sequence[str]) -> str:
    """Running text with its white space as single blanks; a line break stays one."""
    return "\n".join(line for part in "".join(parts).split("\0") if (line := flat(part)))
