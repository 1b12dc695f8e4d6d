"""A web page as text: its content without what stands around it, and what it says of itself.

Worst case: neither library is linear (deep nesting, thousands of siblings or attributes), so a page whose tree is outside of the bounds
below is read whole, in one pass over the tree, and one that is outside of wider bounds is refused before it is parsed. Of 53 kinds of
hostile pages of ten million characters none took more than 3.4 s, of 53 just within the bounds none more than 0.6 s.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources import charset, content, layout, page_facts
from scratchlm.sources.file import Extraction, Input, Reading
from scratchlm.sources.found import Found
from scratchlm.sources.plain import Facts, cut, titled
from scratchlm.sources.sheet import Block, Structure, join
from scratchlm.sources.streams import Refused
from scratchlm.sources.tree import tree_of

MOST_ELEMENTS, MOST_CHILDREN = 20_000, 4_000
"""What trafilatura is asked to read: with 12,000 links in one element it takes more than 30 s."""
MOST_ELEMENTS_BULK = 60_000
WIDEST_SPAN = 12
"""Columns or rows of one cell; a page once had 9007199254740991."""
UNSEEN = ("style", "noscript", "template", "svg", "iframe", "canvas", "object", "embed", "textarea")
NUMBERS = etree.XPath(
    "//td[contains(@class, 'linenos') or contains(@class, 'lineno') or @class='gutter' or contains(@class, 'line-numbers')]"
)
"""The columns of line numbers beside code."""
CODE = ("highlight", "language-", "lang-", "code", "source", "prettyprint", "brush:")
"""In the classes of preformatted text that is code, or of what it stands in."""
PRINTS = {"quality": "trafilatura", "bulk": "resiliparse", "whole": "lxml"}
LONG_ENOUGH, SHARE = 5_000, 0.25
"""A text with fewer characters is compared with the other library's, which counts when it is four times as long: on the 990 pages by which
trafilatura is developed, recall of marked passages rises from 0.928 to 0.934, and precision falls from 0.914 to 0.911."""


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page and what it says of itself; empty where it says nothing."""

    text: str
    title: str
    structure: Structure
    licence: str
    licence_evidence: str
    lang_declared: str
    extractor: str
    """``name@version;mode``."""
    published_at: str


def read(file: Input, reading: Reading) -> Found:
    """The content of a page, in pieces when it is long."""
    limits = reading.limits
    with file.open() as stream:
        data = stream.read(limits.record_bytes + 1)
    if len(data) > limits.record_bytes:
        raise Refused("too large", f"a page has more than {limits.record_bytes:,} bytes")
    markup, name, reason = charset.decoded(data, is_markup=True)
    if reason:
        raise Refused("not text", reason)
    page = extract(markup, reading.extraction, None)
    if page.text:
        facts: Facts = {"mime": "text/html", "charset": name, "raw_bytes": len(data)} | facts_of(page)
        facts["title"] = titled(page.title, file)
        yield from cut(file, reading, [page.text], facts, structure=page.structure)


def facts_of(page: Page) -> Facts:
    """The facts of a document that is this page, but for where it came from."""
    declared = json.dumps({"lang_declared": page.lang_declared}) if page.lang_declared else ""  # many pages declare the wrong one
    known = {"title": page.title, "extra": declared, "published_at": page.published_at}
    own: Facts = {"doc_type": "web", "extractor": page.extractor, "licence": page.licence, "licence_evidence": page.licence_evidence}
    return own | {name: value for name, value in known.items() if value}


def extract(html_text: str, extraction: Extraction, url: str | None) -> Page:
    """The content of a page and its facts; the text is empty when it has none (a page that only a program fills).

    Refused when the page is larger, or nested deeper, than can be parsed.
    """
    markup = html_text.replace("\0", "").replace(content.PRIVATE, "")
    tree, is_deep = tree_of(markup, for_trafilatura=extraction == "quality")
    if tree is None:
        return Page("", "", [], *page_facts.UNKNOWN, "", f"{_print('whole')};empty", "")
    facts = page_facts.of(tree, markup)
    _prepare(tree, markup)
    mode = _mode(tree, extraction, is_deep=is_deep)
    blocks, used = _blocks(tree, mode, facts)
    text, structure = join(content.without_title(blocks, facts.titles))
    return Page(text, facts.title, structure, facts.licence, facts.licence_evidence, facts.lang, used, facts.published_at)


def _prepare(tree: Any, markup: str) -> None:
    """Take out what no reader sees, make code plain, and keep cells in their bounds."""
    etree.strip_elements(tree, *UNSEEN, with_tail=False)
    for node in NUMBERS(tree) if "linen" in markup or "gutter" in markup else ():
        if node.getparent() is not None:
            node.getparent().remove(node)
    for node in list(tree.iter("pre", "td", "th", "sup")):
        if node.tag == "pre":
            _make_plain(node)
        elif node.tag == "sup":
            if _before(node)[-1:].isdigit() and not len(node) and (node.text or "").strip().lstrip("+-−").isdigit():
                node.text = layout.sound(f"^{(node.text or '').strip()}")
        else:
            for name in ("colspan", "rowspan"):
                value = node.get(name, "1")
                if not (value.isascii() and value.isdecimal() and len(value) < 3 and int(value) <= WIDEST_SPAN):
                    del node.attrib[name]


def _before(node: Any) -> str:
    """The text right before an element."""
    previous, parent = node.getprevious(), node.getparent()
    return (previous.tail if previous is not None else parent.text if parent is not None else "") or ""


def _make_plain(node: Any) -> None:
    """Make preformatted text one element ``code``, the only one in which trafilatura keeps white space."""
    text = layout.verbatim(node)
    parent = node.getparent()
    names = f"{node.get('class', '')} {parent.get('class', '') if parent is not None else ''}"
    is_marked = node.find(".//code") is not None or any(name in names for name in CODE)
    node[:] = []
    node.text = None
    code = etree.SubElement(node, "code", {} if is_marked else {"class": layout.PLAIN})
    code.text = f"\n{layout.sound(text)}\n"


def _mode(tree: Any, extraction: Extraction, *, is_deep: bool) -> str:
    """``quality``, ``bulk`` or ``whole``: what is wanted, or what the tree allows."""
    elements = sum(1 for _ in tree.iter())
    if elements > MOST_ELEMENTS_BULK:
        return "whole"
    is_crowded = elements > MOST_CHILDREN and any(len(node) > MOST_CHILDREN for node in tree.iter())
    return "bulk" if extraction == "bulk" or is_deep or is_crowded or elements > MOST_ELEMENTS else "quality"


def _blocks(tree: Any, mode: str, facts: page_facts.PageFacts) -> tuple[list[Block], str]:
    """The content, and who found it."""
    if mode == "whole":
        return content.all_of(tree), f"{_print(mode)};whole"
    found = _chosen(tree) if mode == "quality" else []
    size = sum(len(block.text) for block in found)
    if size >= LONG_ENOUGH:
        return found, f"{_print('quality')};quality"
    other = content.kept(tree, facts.titles)
    if found and size >= SHARE * sum(len(block.text) for block in other):
        return found, f"{_print('quality')};quality"
    if other:
        return other, f"{_print('bulk')};bulk"
    return content.all_of(tree), f"{_print('whole')};whole"


def _chosen(tree: Any) -> list[Block]:
    """What trafilatura finds; nothing where it fails, which it does on pages that no person made."""
    try:
        return content.chosen(tree) or []
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError, RecursionError, etree.LxmlError):
        return []


@cache
def _print(mode: str) -> str:
    return f"{PRINTS[mode]}@{version(PRINTS[mode])}"
