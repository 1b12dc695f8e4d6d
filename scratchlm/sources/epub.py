"""EPUB: the chapters of a book in the order of reading, each a document of its own; the table of contents is left out."""

import json
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types
from lxml import html as lxml_html

from scratchlm.sources import layout, zips
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Found
from scratchlm.sources.plain import Facts, Structure, cut, titled
from scratchlm.sources.streams import Refused, budget_of, seekable

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Ways in which only fonts are scrambled."""
PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
LEFT_OUT = ("script", "style", "nav", "noscript", "template", "svg", "head", "iframe")


@dataclass(frozen=True, slots=True)
class _Chapter:
    text: str
    structure: Structure


def read(file: Input, reading: Reading) -> Found:
    """The chapters of the book, long ones in pieces, and a row for each that cannot be read."""
    budget = budget_of(file, reading.limits)
    with seekable(file) as stream, zips.opened(stream, reading.limits) as archive:
        _check_open(archive)
        place, package = _package(archive)
        facts = _facts(package, file)
        for name in _spine(package, posixpath.dirname(place)):
            if not reading.at(f"{file.name}#{name}"):
                yield file.refuse(name, "quarantined", "reading it failed twice")
                continue
            try:
                data = zips.part(archive, name, zips.LARGEST_PART)
                chapter = _chapter(data)
            except Unreadable as fault:
                yield file.refuse(name, fault.rule if isinstance(fault, Refused) else "unreadable", str(fault))
                continue
            budget.spend(len(data))
            if chapter.text:
                yield from cut(file, reading, [chapter.text], facts, inside=name, structure=chapter.structure)


def _check_open(archive: zipfile.ZipFile) -> None:
    """Refused when the chapters are locked to a reader's device."""
    if ENCRYPTION not in archive.namelist():
        return
    methods = {node.get("Algorithm", "") for node in _named(zips.tree(archive, ENCRYPTION), "EncryptionMethod")}
    if methods - set(FONTS):
        raise Refused("encrypted", "its chapters are locked")


def _package(archive: zipfile.ZipFile) -> tuple[str, Any]:
    """Where the book's list of parts lies in the archive, and the list."""
    place = next((node.get("full-path", "") for node in _named(zips.tree(archive, CONTAINER), "rootfile")), "")
    if not place:
        raise Unreadable(f"{CONTAINER} names no list of its parts")
    return place, zips.tree(archive, place)


def _spine(package: Any, folder: str) -> Iterator[str]:
    """The names of the chapters in the archive, each once, without the table of contents and the cover."""
    contents = {node.get("href", "").partition("#")[0] for node in _named(package, "reference") if node.get("type") in ("toc", "cover")}
    parts = {node.get("id"): node for node in _named(package, "item")}
    seen = set()
    for reference in _named(package, "itemref"):
        part = parts.get(reference.get("idref"))
        if part is None or part.get("media-type", PAGES[0]) not in PAGES or "nav" in part.get("properties", "").split():
            continue
        href = part.get("href", "").partition("#")[0]
        name = posixpath.normpath(posixpath.join(folder, unquote(href)))
        if href and href not in contents and name not in seen:
            seen.add(name)
            yield name


def _chapter(data: bytes) -> _Chapter:
    if not data.strip():
        return _Chapter("", [])
    try:
        # As HTML, not as XML: many books are not well-formed, and nothing in HTML can be declared and then expanded.
        tree = lxml_html.document_fromstring(data, parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=False))
    except (etree.LxmlError, ValueError) as error:
        raise Unreadable(f"no page: {str(error).splitlines()[0]}") from None
    etree.strip_elements(tree, *LEFT_OUT, with_tail=False)
    etree.strip_elements(tree, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    text, structure = layout.write(tree)
    return _Chapter(text, structure)


def _facts(package: Any, file: Input) -> Facts:
    def said(name: str) -> str:
        return next((text for node in _named(package, name) if (text := layout.flat("".join(node.itertext())))), "")

    facts: Facts = {"doc_type": "book", "mime": "application/epub+zip", "extractor": "epub", "title": titled(said("title"), file)}
    known = {"lang": said("language")[:2].lower(), "published_at": said("date")[:10]}
    if rights := said("rights")[:200]:
        known |= {"licence": "unknown", "licence_evidence": f"the book says: {rights}"}
    if author := said("creator")[:200]:
        known["extra"] = json.dumps({"author": author}, ensure_ascii=False)
    return facts | {name: value for name, value in known.items() if value}


def _named(tree: Any, name: str) -> Iterator[Any]:
    """The elements of a name, in whatever namespace."""
    return tree.iter("{*}" + name)
