"""One reader per kind of file: from its bytes to documents with a title, an address inside the file and the file as their group."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types
from lxml import html as lxml_html

from scratchlm.core.records import Document
from scratchlm.sources import pieces, record
from scratchlm.sources.found import EXCERPT, Dropped, Found
from scratchlm.sources.markup import plain_roles

SOURCE = "folder"
SPLIT_ABOVE = 16_000
"""Characters; a longer plain text is cut into pieces of ``pieces.USUAL``."""
TEXT_COLUMNS = ("text", "content")
COLUMNS = ("title", "url", "licence", "lang", "published_at")
"""Columns of JSON lines and Parquet that are kept as facts when they hold text."""

DROPPED_TAGS = ("script", "style", "nav", "noscript", "template", "svg", "iframe", "button", "footer", "aside", "head")
BLOCKS = {
    "p", "div", "section", "article", "main", "ul", "ol", "dl", "dt", "dd", "table", "tr", "blockquote", "pre", "figure", "figcaption",
    "h1", "h2", "h3", "h4", "h5", "h6", "li", "br", "hr", "body", "html", "details", "summary", "address", "thead", "tbody", "caption",
}  # fmt: skip
PARAGRAPHS = {"p", "pre", "blockquote", "table", "ul", "ol", "dl", "h1", "h2", "h3", "h4", "h5", "h6"}
UNCLOSED = {"li", "tr", "dt", "dd", "br", "hr"}
"""Blocks whose end is where the next one starts."""
KEEPING = {"pre", "textarea"}
INTRODUCED = {"li": "- ", "td": " ", "th": " "}
UNDERLINE = re.compile(r"^([=\-~^\"'#*+])\1{2,}\s*$")


class Unreadable(Exception):
    """The file is not what its name says."""


@dataclass(frozen=True, slots=True)
class File:
    """A file's name below the folder, its bytes, and its text where it is text."""

    name: str
    data: bytes
    text: str
    charset: str
    usual: int = pieces.USUAL
    """Characters of a piece; fewer where the folder is small, so that its end can be kept aside."""


def plain(file: File) -> Iterator[Document]:
    """Plain text; its title is its first short line, else its name."""
    yield from _cut(file, file.text, _first_line(file.text) or _stem(file), "book", "text/plain")


def markdown(file: File) -> Iterator[Document]:
    """Markdown as it stands; its title is its first heading."""
    heading = re.search(r"^#{1,3}[ \t]+(.+?)[ \t#]*$", file.text, re.MULTILINE)
    yield from _cut(file, file.text, heading.group(1) if heading else _stem(file), "markup", "text/markdown")


def restructured(file: File) -> Iterator[Document]:
    """reStructuredText with its roles made plain; its title is its ``Title:`` field or the first underlined line."""
    text = plain_roles(file.text)
    field = re.search(r"\A(?:[A-Z][\w-]*:.*\n(?:[ \t]+.*\n)*)*?Title:[ \t]*(.+)$", text, re.MULTILINE)
    title = field.group(1).strip() if field else _underlined(text) or _stem(file)
    yield from _cut(file, text, title, "markup", "text/x-rst")


def html(file: File) -> Iterator[Document]:
    """What a reader sees of a page: headings, paragraphs, list items, table rows and code; menus and scripts are left out."""
    if not file.text.strip():
        return
    try:
        tree = lxml_html.document_fromstring(file.text.encode("utf-8"), parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=False))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise Unreadable(f"no HTML: {error}") from None
    title = next(
        (" ".join(text.split()) for tag in ("title", "h1") for node in tree.iter(tag) if (text := "".join(node.itertext())).strip()), ""
    )
    etree.strip_elements(tree, *DROPPED_TAGS, with_tail=False)
    etree.strip_elements(tree, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    text = visible(tree)
    if text:
        yield _document(file, file.name, text, {"title": title or _stem(file), "doc_type": "web", "mime": "text/html", "extractor": "lxml"})


def json_lines(file: File) -> Found:
    """One document per line from its column ``text`` or ``content``; a broken line is dropped alone."""
    column = ""
    for number, line in enumerate(file.text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            yield _lost(file, number, "no JSON object", line)
            continue
        column = column or _text_column(row)
        yield _row(file, number, row, column)


def parquet(file: File) -> Iterator[Document]:
    """One document per row from the column ``text`` or ``content``."""
    try:
        table = pq.ParquetFile(io.BytesIO(file.data))
        column = _text_column(dict.fromkeys(table.schema_arrow.names, ""))
        wanted = [name for name in (column, *COLUMNS) if name in table.schema_arrow.names]
        number = 0
        for batch in table.iter_batches(batch_size=1024, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield _row(file, number, row, column)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable(f"no Parquet: {str(error).splitlines()[0]}") from None


def visible(tree: Any) -> str:
    """The text of a tree, blocks on lines of their own, code as it stands, other white space as one blank."""
    parts: list[str] = []
    code = 0  # how many elements around us keep their white space; a walk without recursion, because pages nest thousands deep
    for event, node in etree.iterwalk(tree, events=("start", "end")):
        tag = node.tag if isinstance(node.tag, str) else ""
        around = "\n\n" if tag in PARAGRAPHS else "\n" if tag in BLOCKS else ""
        if event == "start":
            code += tag in KEEPING
            parts += [around, INTRODUCED.get(tag, ""), _flowing(node.text, code)]
        else:
            code -= tag in KEEPING
            parts += ["" if tag in UNCLOSED else around, _flowing(node.tail, code)]
    text = re.sub(r"(?<=\n) (?=\S)", "", "".join(parts))  # the blank that white space between two blocks became
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _flowing(text: str | None, code: int) -> str:
    if not text:
        return ""
    return text if code else re.sub(r"\s+", " ", text)


def _text_column(row: dict[str, Any]) -> str:
    column = next((name for name in TEXT_COLUMNS if name in row), "")
    if not column:
        found = ", ".join(sorted(map(str, row))[:8]) or "none"
        raise Unreadable(f"no column 'text' or 'content' (columns: {found})")
    return column


def _row(file: File, number: int, row: dict[str, Any], column: str) -> Document:
    text = row.get(column)
    known = {name: value for name in COLUMNS if isinstance(value := row.get(name), str) and value}
    kind = {"doc_type": "rows", "mime": "application/jsonl" if file.text else "application/parquet", "extractor": "row"}
    return _document(file, f"{file.name}#{number}", text if isinstance(text, str) else "", kind | known)


def _lost(file: File, number: int, rule: str, excerpt: str) -> Dropped:
    locator = f"{file.name}#{number}"
    reason = f"line {number} is {rule}"
    return Dropped(record.identify(SOURCE, locator), locator, SOURCE, "read", rule, reason, excerpt=excerpt[:EXCERPT])


def _cut(file: File, text: str, title: str, doc_type: str, mime: str) -> Iterator[Document]:
    """The whole text when it is short, else its pieces."""
    facts = {"title": " ".join(title.split())[:200], "doc_type": doc_type, "mime": mime, "extractor": "text"}
    is_long = len(text) > SPLIT_ABOVE * file.usual // pieces.USUAL
    parts = pieces.split(text, least=file.usual // 3, usual=file.usual) if is_long else [pieces.Piece(text, "")]
    for number, part in enumerate(parts):
        extra = json.dumps({"part": number, "parts": len(parts), "heading": part.heading}, ensure_ascii=False)
        yield _document(file, f"{file.name}#{number}" if len(parts) > 1 else file.name, part.text, facts | {"extra": extra})


def _document(file: File, locator: str, text: str, facts: dict[str, str]) -> Document:
    own = {"locator": locator, "host": file.name, "raw_bytes": len(text.encode("utf-8", "replace"))}
    about = {"charset": file.charset} if file.charset else {}
    licence = {} if "licence" in facts else {"licence": "unknown", "licence_evidence": "none given"}
    return Document(text=text, id=record.identify(SOURCE, locator), source=SOURCE, facts={**own, **about, **licence, **facts})


def _stem(file: File) -> str:
    return PurePosixPath(file.name).name.partition(".")[0].replace("_", " ")


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text[:2000].split("\n") if line.strip()), "")
    return line if len(line) <= 80 and not line.endswith((",", ";", ":", ".")) else ""


def _underlined(text: str) -> str:
    lines = text[:4000].split("\n")
    return next((lines[n - 1].strip() for n in range(1, len(lines)) if UNDERLINE.match(lines[n]) and lines[n - 1].strip()), "")
