"""EPUB: the chapters of a book in the order of reading, each a document of its own; the table of contents is left out."""

import json
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources import charset, layout, zips
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Found
from scratchlm.sources.plain import Facts, Structure, cut, titled
from scratchlm.sources.streams import Refused, budget_of, seekable
from scratchlm.sources.tree import tree_of

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Ways in which only fonts are scrambled."""
PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
LONGEST_TAG = 40
"""Characters of the name of a language."""
LEFT_OUT = ("script", "style", "nav", "noscript", "template", "svg", "head", "iframe")


@dataclass(frozen=True, slots=True)
class _Chapter:
    text: str
    structure: Structure
    charset: str


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
            data = b""
            try:
                data = zips.part(archive, name, zips.LARGEST_PART)
                chapter = _chapter(data)
                own: Facts = {"charset": chapter.charset}
                yield from cut(file, reading, [chapter.text], facts | own, inside=name, structure=chapter.structure)
            except Unreadable as fault:
                yield file.refuse(name, fault.rule if isinstance(fault, Refused) else "unreadable", str(fault))
            budget.spend(len(data))


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
    markup, name, reason = charset.decoded(data, is_markup=True)
    if reason:
        raise Refused("not text", reason)
    # As HTML, not as XML: many books are not well-formed, and nothing in HTML can be declared and then expanded.
    tree, _ = tree_of(markup)
    if tree is None:
        raise Refused("nothing in it", "it is empty")
    etree.strip_elements(tree, *LEFT_OUT, with_tail=False)
    text, structure = layout.write(tree)
    if not text:
        raise Refused("nothing in it", "it holds no text")
    return _Chapter(text, structure, name)


def _facts(package: Any, file: Input) -> Facts:
    def said(name: str) -> str:
        return next((text for node in _named(package, name) if (text := layout.flat("".join(node.itertext())))), "")

    facts: Facts = {"doc_type": "book", "mime": "application/epub+zip", "extractor": "epub", "title": titled(said("title"), file)}
    known = {"published_at": said("date")[:10]}
    if rights := said("rights")[:200]:
        known |= {"licence": "unknown", "licence_evidence": f"the book says: {rights}"}
    # The language is that of the text itself: many books declare that of the program that made them.
    more = {"author": said("creator")[:200], "lang_declared": said("language")[:LONGEST_TAG]}
    if any(more.values()):
        known["extra"] = json.dumps({name: value for name, value in more.items() if value}, ensure_ascii=False)
    return facts | {name: value for name, value in known.items() if value}


def _named(tree: Any, name: str) -> Iterator[Any]:
    """The elements of a name, in whatever namespace."""
    return tree.iter("{*}" + name)
