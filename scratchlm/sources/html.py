"""A web page as text: its content without what stands around it, and what it says of itself.

Worst case: neither library is linear (deep nesting, thousands of siblings or attributes), so a page whose tree is outside of the bounds
below is read whole, in one pass over the tree, and one that is outside of wider bounds is refused before it is parsed. Of 53 kinds of
hostile pages of ten million characters none took more than 3.4 s, of 53 just within the bounds none more than 0.6 s.
"""

import json
import re
from copy import deepcopy
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
UNSEEN = (
    "head", "script", "style", "noscript", "template", "svg", "iframe", "canvas", "object", "embed", "textarea", "button", "select",
)  # fmt: skip
"""What no reader sees, or what he presses."""
NUMBERS = re.compile("lineno|line-numbers|^gutter$")
"""In the classes of the columns of line numbers beside code."""
DATA = etree.XPath("//script[@type='application/ld+json']")
"""The scripts that trafilatura reads: some pages keep their article in one."""
COUNT = etree.XPath("count(//*)")
CODE = ("highlight", "language-", "lang-", "code", "source", "prettyprint", "brush:")
"""In the classes of preformatted text that is code, or of what it stands in."""
PRINTS = {"quality": "trafilatura", "bulk": "resiliparse", "whole": "lxml"}
SHARE_OF_PROSE = 0.8
"""Of the text of a page's paragraphs: where resiliparse finds less, trafilatura is asked too. On the pages below that is one in six; recall
rises from 0.905 to 0.932 and precision from 0.861 to 0.874. Shares from 0.75 to 0.95 differ by less than 0.003."""
LONG_ENOUGH, SHARE = 5_000, 0.25
"""A text with fewer characters is compared with the other library's, which counts when it is four times as long: on the 990 pages by which
trafilatura is developed, recall of marked passages rises from 0.928 to 0.935, and precision falls from 0.913 to 0.911."""


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
    tree, is_deep = tree_of(markup)
    if tree is None:
        return Page("", "", [], *page_facts.UNKNOWN, "", f"{_print('whole')};empty", "")
    facts = page_facts.of(tree, markup)
    _prepare(tree)
    blocks, used = _blocks(tree, _turns(tree, extraction, is_deep=is_deep), facts.titles)
    text, structure = join(content.without_title(blocks, facts.titles))
    return Page(text, facts.title, structure, facts.licence, facts.licence_evidence, facts.lang, used, facts.published_at)


def _prepare(tree: Any) -> None:
    """Take out what no reader sees and what leads around the site, make code plain, and keep cells in their bounds."""
    data = DATA(tree)
    etree.strip_elements(tree, *UNSEEN, with_tail=False)
    for script in data:
        script.tail = None
        tree.append(script)
    content.strip_around(tree)
    for node in list(tree.iter("pre", "td", "th", "sup")):
        if node.tag == "pre":
            _make_plain(node)
        elif node.tag == "sup":
            if _before(node)[-1:].isdigit() and not len(node) and (node.text or "").strip().lstrip("+-−").isdigit():
                node.text = layout.sound(f"^{(node.text or '').strip()}")
        elif node.tag == "td" and NUMBERS.search(node.get("class", "")):
            node.getparent().remove(node)
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


def _turns(tree: Any, extraction: Extraction, *, is_deep: bool) -> tuple[str, ...]:
    """Who is asked for the content, in turn: what is wanted comes first, and nobody is asked what the tree does not allow."""
    elements = COUNT(tree)
    if elements > MOST_ELEMENTS_BULK:
        return ()
    is_crowded = elements > MOST_CHILDREN and any(len(node) > MOST_CHILDREN for node in tree.iter())
    if is_deep or is_crowded or elements > MOST_ELEMENTS:
        return ("bulk",)
    return ("quality", "bulk") if extraction == "quality" else ("bulk", "quality")


def _blocks(tree: Any, turns: tuple[str, ...], titles: tuple[str, ...]) -> tuple[list[Block], str]:
    """The content, and who found it."""
    found = other = list[Block]()
    if turns[:1] == ("quality",):
        found = _chosen(tree)
        if not found or _size(found) < min(LONG_ENOUGH, SHARE * content.size_of(tree)):
            other = content.kept(tree, titles)
    elif turns:
        other = content.kept(deepcopy(tree), titles)
        if "quality" in turns and (not other or _size(other) < SHARE_OF_PROSE * content.prose_of(tree)):
            found = _chosen(tree)
    if found and _size(found) >= SHARE * _size(other):
        return found, f"{_print('quality')};quality"
    if other:
        return other, f"{_print('bulk')};bulk"
    return content.all_of(tree), f"{_print('whole')};whole"


def _size(blocks: list[Block]) -> int:
    """Characters of text."""
    return sum(len(block.text) for block in blocks)


def _chosen(tree: Any) -> list[Block]:
    """What trafilatura finds; nothing where it fails, which it does on pages that no person made."""
    try:
        return content.chosen(tree) or []
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError, RecursionError, etree.LxmlError):
        return []


@cache
def _print(mode: str) -> str:
    return f"{PRINTS[mode]}@{version(PRINTS[mode])}"
