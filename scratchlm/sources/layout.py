"""A tree of elements as blocks of plain text that keep their shape: headings, paragraphs, lists, tables and code.

The text is Markdown without emphasis, links and escapes: ``# Heading``, ``- item``, ``| cell | cell |``, fenced code with its indentation.
Both sets of names are understood: those of HTML, and those of the tree that trafilatura gives (``head``, ``list``, ``item``, ``row``, ...).
"""

import re
from collections.abc import Sequence
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources.sheet import Block, Sheet, Structure, join

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
UNSOUND = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
SHARE_OF_SIGNS = 0.015
"""Of preformatted text: 95 of 100 passages of Python, C or shell have more; 99 of 100 of plays and novels fewer than 0.012."""
PLAIN = "text"  # the class of ``code`` that only keeps its white space, unless its signs say otherwise


def blocks(tree: Any) -> list[Block]:
    """The blocks of a tree in their order."""
    sheet = Sheet()
    _Writer(sheet, _holding_blocks(tree)).contents(tree, 0)
    return sheet.blocks()


def write(tree: Any) -> tuple[str, Structure]:
    """The text of a tree and its structure in the order of starts."""
    return join(blocks(tree))


def flat(text: str | None) -> str:
    """The text in one line, each run of white space one blank."""
    return " ".join(text.split()) if text else ""


def sound(text: str) -> str:
    """The text without characters that no element may hold."""
    return UNSOUND.sub("", text)


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
        is_marked = any(part.get("class") != PLAIN and part.find("code") is None for part in node.iter("code"))
        if not is_marked and not is_code(text):
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
