"""DOCX: headings, paragraphs, lists, tables and notes of a Word file as Markdown, element by element: none is kept longer than needed.

What was deleted or moved away while changes were tracked is left out, and so is the second form in which a text box is stored.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources import zips
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Found
from scratchlm.sources.layout import MOST_COLUMNS, WIDEST_CELL, Sheet, flat
from scratchlm.sources.plain import Facts, cut, titled
from scratchlm.sources.streams import Budget, Refused, budget_of, seekable

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
MATHS = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
LEFT_OUT = {f"{WORD}moveFrom", "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
MAIN, STYLES, ABOUT = "word/document.xml", "word/styles.xml", "docProps/core.xml"
NOTES = {"word/footnotes.xml": ("footnote", ""), "word/endnotes.xml": ("endnote", "e")}
"""Parts that hold notes, what one is called, and what sets their numbers apart."""
SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
DEEPEST = 8
"""Levels of lists that are told apart."""
HELD = frozenset({"p", "tbl", "tr", "tc", "footnoteReference", "endnoteReference", *SIGNS})
PER_ELEMENT = 16
"""Characters that each of these counts for, since something of it is held until all is written."""
LONGEST_TAG = 40
"""Characters of the name of a language, which is often that of the program and not of the text."""
LONGEST_NUMBER = 20
"""Characters of the number of a note, which stands before each of its paragraphs."""
ENOUGH = ("bomb", "too large", "encrypted")
"""Rules of faults with which nothing that was read before is worth having."""


def read(file: Input, reading: Reading) -> Found:
    """The text of the file, in pieces when it is long; without what it can do without where that is broken, which is told."""
    faults: dict[str, Unreadable] = {}
    with seekable(file) as stream, zips.opened(stream, reading.limits) as archive:
        about, styles = _about(_tree(archive, ABOUT, faults)), _styles(_tree(archive, STYLES, faults))
        page, budget = _Page(styles, reading.limits.document_characters), budget_of(file, reading.limits)
        for name, note in {MAIN: ("", ""), **NOTES}.items():
            if name == MAIN or name in archive.namelist():
                try:
                    with _part(archive, name, budget) as events:
                        page.read(events, *note)
                except Unreadable as fault:
                    if isinstance(fault, Refused) and fault.rule in ENOUGH:
                        raise
                    page.close()
                    faults[name] = fault
    facts: Facts = {"doc_type": "office", "mime": "application/vnd.openxmlformats-officedocument.wordprocessingml.document"}
    text = page.sheet.text()
    if text:
        known = {"title": titled(about.pop("title", ""), file), "extractor": "docx"} | about
        yield from cut(file, reading, [text], facts | known, structure=page.sheet.structure)
    for name, fault in faults.items():
        if name != MAIN:
            yield file.refuse(name, fault.rule if isinstance(fault, Refused) else "unreadable", str(fault))
    if MAIN in faults:
        raise faults[MAIN]


@dataclass(slots=True)
class _Paragraph:
    parts: list[str] = field(default_factory=list)
    style: str = ""
    level: int | None = None
    """Of a list; None: it is no item."""


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    cell: list[str] = field(default_factory=list)


class _Page:
    """What was read so far: open paragraphs and tables, which stand in each other, and the sheet that closed ones are written on."""

    def __init__(self, styles: Mapping[str, str], most: int) -> None:
        self.sheet = Sheet()
        self._styles, self._most, self._size = styles, most, 0
        self._open: list[_Paragraph] = []
        self._tables: list[_Table] = []
        self._left_out = 0
        self._note = ""

    def read(self, events: Any, note: str = "", prefix: str = "") -> None:
        """All elements of a part; with ``note`` only those in elements of this name."""
        try:
            for event, node in events:
                tag = str(node.tag)
                self._left_out += (event == "start") - (event == "end") if tag in LEFT_OUT else 0
                name = tag.removeprefix(WORD).removeprefix(STRICT).removeprefix(MATHS)
                if note and name == note:
                    is_text = not _value(node, "type")  # the others are the lines between text and notes
                    self._note = f"[^{prefix}{_value(node, 'id')[:LONGEST_NUMBER]}]: " if event == "start" and is_text else ""
                elif not self._left_out and (not note or self._note):
                    if event == "start":
                        self._spend(PER_ELEMENT if name in HELD else 0)
                        self._start(name)
                    else:
                        self._end(name, node)
                if event == "end":
                    _let_go(node)
        except (etree.LxmlError, ValueError) as error:
            raise Unreadable(f"its text is no XML: {str(error).splitlines()[0]}") from None

    def close(self) -> None:
        """Write what is still open, where a part broke off."""
        for paragraph in self._open[::-1]:
            self._write(paragraph)
        while self._tables:
            table = self._tables.pop()
            table.rows.append(["\n".join(table.cell)])
            self._write_table(table)
        self._open, self._left_out, self._note = [], 0, ""

    def _spend(self, count: int) -> None:
        self._size += count
        if self._size > self._most:
            raise Refused("too large", f"it has more than {self._most:,} characters, or paragraphs and cells that take as much")

    def _start(self, name: str) -> None:
        if name == "p":
            self._open.append(_Paragraph())
        elif name == "tbl":
            self._tables.append(_Table())
        elif name == "tr" and self._tables:
            self._tables[-1].rows.append([])
        elif name == "tc" and self._tables:
            self._tables[-1].cell = []

    def _end(self, name: str, node: Any) -> None:
        here = self._open[-1] if self._open else _Paragraph()
        if name == "t":
            here.parts.append(node.text or "")
            self._spend(len(node.text or ""))
        elif name in SIGNS and node.getparent() is not None and str(node.getparent().tag).endswith("}r"):
            here.parts.append(SIGNS[name])
        elif name in ("footnoteReference", "endnoteReference"):
            here.parts.append(f"[^{'e' if name.startswith('end') else ''}{_value(node, 'id')[:LONGEST_NUMBER]}]")
        elif name == "pStyle":
            here.style = self._styles.get(_value(node, "val"), _value(node, "val"))
        elif name == "ilvl":
            here.level = min(DEEPEST, int(_value(node, "val") or 0)) if _value(node, "val").isdecimal() else 0
        elif name == "numId" and _value(node, "val") != "0":
            here.level = here.level or 0
        elif name == "tc" and self._tables and self._tables[-1].rows:
            self._tables[-1].rows[-1].append("\n".join(self._tables[-1].cell))
        elif name == "tbl" and self._tables:
            self._write_table(self._tables.pop())
        elif name == "p" and self._open:
            self._write(self._open.pop())

    def _write(self, paragraph: _Paragraph) -> None:
        text = "\n".join(line for row in "".join(paragraph.parts).split("\n") if (line := flat(row)))
        if not text:
            return
        heading = HEADING.fullmatch(paragraph.style)
        if self._tables:
            self._tables[-1].cell.append(text)
        elif heading or paragraph.style.lower() == "title":
            self.sheet.block("#" * int(heading.group(1) if heading else 1) + " " + flat(text), "heading")
        elif self._note:
            self.sheet.block(self._note + flat(text))
        elif paragraph.level is not None or paragraph.style.lower().startswith(("list bullet", "list number")):
            self._write_item(text, paragraph.level or 0)
        else:
            self.sheet.block(text)

    def _write_item(self, text: str, level: int) -> None:
        with self.sheet.item("  " * level), self.sheet.item("- "):
            start = self.sheet.next_block()
            self.sheet.block(text)
        before = self.sheet.structure[-1:]
        if before and before[0]["kind"] == "list" and int(before[0]["end"]) + 1 == start:  # the item before belongs to the same list
            start = int(self.sheet.structure.pop()["start"])
        self.sheet.mark("list", start)

    def _write_table(self, table: _Table) -> None:
        rows = [row for row in table.rows if any(row)]
        if not rows:
            return
        if self._tables:
            self._tables[-1].cell += [cell for row in rows for cell in row if cell]
        elif max(map(len, rows)) == 1 or max(len(cell) for row in rows for cell in row) > WIDEST_CELL:
            for cell in (cell for row in rows for cell in row):
                self.sheet.block(cell)
        else:
            rows = [[flat(cell).replace("|", "\\|") for cell in row[:MOST_COLUMNS]] for row in rows]
            width = max(map(len, rows))
            lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
            self.sheet.block("\n".join([lines[0], "|" + " --- |" * width, *lines[1:]]), "table")


@contextmanager
def _part(archive: zipfile.ZipFile, name: str, budget: Budget) -> Iterator[Any]:
    """The elements of a part as they start and end."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise Unreadable(f"its part {name} is missing") from None
    if zips.is_encrypted(info):
        raise Refused("encrypted", "it needs a password")
    with zips.opening(archive, info, budget)() as stream:
        yield etree.iterparse(stream, events=("start", "end"), resolve_entities=False, huge_tree=False, no_network=True, load_dtd=False)


def _let_go(node: Any) -> None:
    """Free an element that was read, and what stood before it."""
    node.clear(keep_tail=False)
    parent = node.getparent()  # of the root none, though a comment may stand before it
    while parent is not None and node.getprevious() is not None:
        del parent[0]


def _tree(archive: zipfile.ZipFile, name: str, faults: dict[str, Unreadable]) -> Any:
    """The root of a part that the text can do without; None when there is none, or when it is broken."""
    try:
        return zips.tree(archive, name) if name in archive.namelist() else None
    except Unreadable as fault:
        faults[name] = fault
        return None


def _styles(tree: Any) -> dict[str, str]:
    """The English names of styles by the names that a text calls them by, which differ with the language of the program."""
    found = {}
    for style in tree.iter(f"{WORD}style", f"{STRICT}style") if tree is not None else ():
        names = [_value(node, "val") for node in style.iter(f"{WORD}name", f"{STRICT}name")]
        found[_value(style, "styleId")] = names[0] if names else ""
    return found


def _about(tree: Any) -> dict[str, str]:
    """What the file says of itself."""
    texts = {str(node.tag).rpartition("}")[2]: (node.text or "").strip() for node in tree.iter()} if tree is not None else {}
    known = {"title": texts.get("title", ""), "published_at": texts.get("created", "")[:10]}
    if language := texts.get("language", "")[:LONGEST_TAG]:
        known["extra"] = json.dumps({"lang_declared": language}, ensure_ascii=False)
    return {name: value for name, value in known.items() if value}


def _value(node: Any, name: str) -> str:
    return node.get(f"{WORD}{name}") or node.get(f"{STRICT}{name}") or ""
