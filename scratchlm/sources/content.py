"""Which part of a page is its content? Two libraries that agree little on details, and what the measurements showed that each one lacks.

``chosen`` (trafilatura, "quality") misses articles that stand in several boxes of one kind, and keeps rows of links below an article.
``kept`` (resiliparse, "bulk") drops every ``<ul>`` and flattens tables, misses boxes that are hidden from some readers, and keeps captions,
dates and advertisements around an article. Whichever comes first, the other one is asked where it found little.
benchmarks/extraction.py measures both.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources import layout
from scratchlm.sources.layout import flat
from scratchlm.sources.sheet import Block

PROSE = 80
"""Characters of a paragraph that somebody wrote, rather than a label."""
ENDED = re.compile(r"[.!?:;…。！？»”\"')\]]\s*$")
PRIVATE = "\ue000"
"""Around the number that stands in for an element; of the area that Unicode leaves to everyone, and removed from pages before."""
PLACE = re.compile(f"{PRIVATE}([0-9]{{1,6}}){PRIVATE}")

MOST_LINKED = 0.8
"""Share of links of a block that only leads elsewhere."""
TAIL = 0.3
"""Of a page's characters: more is no tail that can be cut off."""
FEWEST_NEW = 400
"""Characters that twins must add, and they must add half as much again as was found (0.2 took advertisements in on 3 of 990 pages)."""

AROUND = ("nav", "footer", "aside")
"""Elements that are never content, but for the pages that never close one."""
SMALL_PRINT = 0.05
"""Of a page's text: what paragraphs may hold that stand in these elements, when no paragraph stands elsewhere."""
DRESS = (
    "abbr", "acronym", "area", "b", "bdi", "bdo", "big", "cite", "data", "dfn", "em", "font", "i", "img", "input", "ins", "kbd", "link",
    "mark", "meta", "nobr", "param", "picture", "samp", "small", "source", "tt", "u", "var", "wbr",
)  # fmt: skip
"""Elements that hold nothing, or text whose tags trafilatura strips."""
BOXES = ("div", "span", "section", "p", "li", "ul", "h1", "h2", "h3", "h4", "h5", "h6", "label", "figure", "article", "header")
"""Elements that say nothing when they are empty. An empty link does: trafilatura drops a paragraph that holds nothing else."""
PRELOADED = "data-preloaded"
"""The id of the element whose attributes hold the thread of a Discourse forum, which trafilatura reads."""
GONE = "gone"
SIZE = etree.XPath("string-length(normalize-space(//body))")
CAPTIONS = ["[class*='caption' i]"]
"""Of images: left in they cost 0.013 of F1."""
STEP, HEADING, UNSURE = 20.0, 10.0, 30.0
"""What a paragraph, a heading, and a list or table must outweigh, in characters, to be content. With 40 or 60 for the first, short
paragraphs at both ends go and F1 falls by 0.001 to 0.008."""
LEAST_WEIGHT = 200
"""Of the best run: a page with less has no article to find."""
MOST_WEIGHT = 400
"""Of a list, a table or code: a long one is no better proof of content than a paragraph."""


def strip_around(tree: Any) -> None:
    """Take out what leads around the site, unless the page stands in it, as all that follows a ``<nav>`` that is never closed does."""
    if not _is_all_around(tree):
        etree.strip_elements(tree, *AROUND, with_tail=False)


def size_of(tree: Any) -> int:
    """Characters of all text of a page, each run of white space one."""
    return int(SIZE(tree))


def prose_of(tree: Any) -> int:
    """Characters of the paragraphs of a page, labels left out."""
    texts = (flat("".join(node.itertext())) for node in tree.iter("p") if next(node.iterancestors("p"), None) is None)
    return sum(len(text) for text in texts if len(text) >= PROSE)


def words(text: str) -> str:
    """Only letters and digits, lower case: to tell whether two texts are the same but for their dress."""
    return re.sub(r"\W+", "", text).casefold()


def chosen(tree: Any) -> list[Block] | None:
    """The content as trafilatura sees it, without what it appends; None when it sees none. ``tree`` may lose the rest, and its twins."""
    _lighten(tree)
    body = _main(tree)
    if body is None:
        return None
    twins = _twins(tree, body)
    if twins:
        for twin in twins[1:]:
            twins[0].extend(list(twin))
        body = _main(tree)
    return _without_tail(layout.blocks(body)) if body is not None else None


def kept(tree: Any, titles: Iterable[str]) -> list[Block]:
    """The content as resiliparse sees it, lists, tables and code restored, what stands around it left out. ``tree`` is taken apart."""
    from resiliparse.extract.html2text import extract_plain_text  # heavy: only for pages

    etree.strip_elements(tree, "script", with_tail=False)
    taken = _stand_ins(tree)
    page = etree.tostring(tree, encoding="unicode", method="html")
    found = extract_plain_text(
        page,
        main_content=True,
        preserve_formatting="minimal_html",
        alt_texts=False,
        comments=False,
        post_meta=False,
        skip_elements=CAPTIONS,
    )
    if not found.strip():
        return []
    body = _with_paragraphs(etree.fromstring(f"<body>{found}</body>", etree.HTMLParser(huge_tree=True)).find("body"))
    for place in list(body.iter("p")):
        match = PLACE.fullmatch((place.text or "").strip())
        if match and not len(place) and int(match.group(1)) < len(taken):
            element = taken[int(match.group(1))]
            element.tail = place.tail
            place.getparent().replace(place, element)
    return _weightiest(layout.blocks(body), {words(title) for title in titles} - {""})


def all_of(tree: Any) -> list[Block]:
    """Everything that is left of the page but its forms."""
    etree.strip_elements(tree, "script", "form", with_tail=False)
    return layout.blocks(tree)


def without_title(page: Sequence[Block], titles: Iterable[str]) -> list[Block]:
    """The blocks without the title before them: it is a fact of the document, and would stand there twice."""
    known = {words(title) for title in titles}
    for at, block in enumerate(page[:3]):
        said = words(block.text)
        if said in known or (block.kind == "heading" and len(said) > 10 and any(said in title for title in known)):
            return [*page[:at], *page[at + 1 :]]
        if block.kind != "heading":
            break
    return list(page)


def _is_all_around(tree: Any) -> bool:
    """Whether every paragraph stands in what leads around the site, and they are no mere small print."""
    depth = size = 0
    for event, node in etree.iterwalk(tree, events=("start", "end"), tag=(*AROUND, "p")):
        if node.tag != "p":
            depth += 1 if event == "start" else -1
        elif not depth:
            return False
        elif event == "start":
            size += len(node.text or "")
    return size > SMALL_PRINT * size_of(tree)


def _lighten(tree: Any) -> None:
    """Take out of a tree what trafilatura takes out later or passes over: it asks each element a dozen questions before."""
    etree.strip_tags(tree, *DRESS)
    for node in reversed(list(tree.iter(*BOXES))):
        is_empty = not (node.text or "").strip() and all(child.tag == GONE and not (child.tail or "").strip() for child in node)
        if is_empty and node.get("id") != PRELOADED:
            node.tag = GONE
    etree.strip_tags(tree, GONE)  # not one by one: that would copy the text around each


def _main(tree: Any) -> Any:
    from trafilatura import bare_extraction  # heavy: only for pages

    found = bare_extraction(tree, options=_options())
    body = found.body if found is not None and not isinstance(found, dict) else None
    return body if body is not None and "".join(body.itertext()).strip() else None


@cache
def _options() -> Any:
    """Not made for each page: reading trafilatura's settings takes as long as parsing a small one."""
    import logging

    from trafilatura.settings import Extractor  # heavy: only for pages

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it writes a line for each page without content; we count those
    return Extractor(fast=True, comments=False)


def _twins(tree: Any, body: Any) -> list[Any]:
    """The boxes of the kind that the content stands in, when the others hold at least half as much text that is not in ``body``."""
    found = {_start(node) for node in body.iter("p", "item", "quote", "cell", "head")}
    home = next((node.getparent() for node in tree.iter("p") if (start := _start(node)) and start in found), None)
    name = home.get("class") if home is not None else None
    if home is None or not name:
        return []
    twins = [node for node in tree.iter(home.tag) if node.get("class") == name and any(_start(part) for part in node.findall("p"))]
    boxes = set(twins)
    if len(twins) < 2 or any(above in boxes for node in twins for above in node.iterancestors(home.tag)):
        return []
    new = [part for node in twins for part in node.findall("p") if (start := _start(part)) and start not in found]
    size = len(words("".join(body.itertext())))
    return twins if sum(len(words("".join(part.itertext()))) for part in new) >= max(FEWEST_NEW, size / 2) else []


def _start(node: Any) -> str:
    """The first letters of a paragraph that somebody wrote; empty for labels."""
    text = flat("".join(node.itertext()))
    return words(text[:PROSE]) if len(text) >= PROSE else ""


def _without_tail(page: list[Block]) -> list[Block]:
    """The blocks without headings, rows of links and labels below the last paragraph."""
    end, cut, total = len(page), 0, sum(len(block.text) for block in page)
    while end and _is_tail(page[end - 1]) and (cut := cut + len(page[end - 1].text)) <= TAIL * total:
        end -= 1
    return page[:end]


def _is_tail(block: Block) -> bool:
    is_label = not block.kind and len(block.text) < 60 and not ENDED.search(block.text)
    return block.kind == "heading" or is_label or (block.kind != "code" and block.linked >= MOST_LINKED * len(block.text))


def _stand_ins(tree: Any) -> list[Any]:
    """Take lists, tables and code out of the tree, a paragraph with a number in the place of each, and return them by these numbers."""
    found: list[Any] = []
    inside: set[Any] = set()
    for node in list(tree.iter("ul", "ol", "dl", "table", "pre")):
        above = node.getparent()
        if above is None or any(outer in inside for outer in node.iterancestors("ul", "ol", "dl", "table")):
            continue
        is_content = node.tag == "pre" or bool(layout.data_rows(node) if node.tag == "table" else _is_list_of_content(node))
        if not is_content:
            continue
        inside.add(node)
        place = etree.Element("p")
        place.text, place.tail, node.tail = f"{PRIVATE}{len(found)}{PRIVATE}", node.tail, None
        above.replace(node, place)
        found.append(node)
    return found


def _is_list_of_content(node: Any) -> bool:
    """Whether a list says something, rather than lead somewhere."""
    text = flat("".join(node.itertext()))
    items = sum(1 for _ in node.iter("li", "dt"))
    linked = sum(len(part) for link in node.iter("a") for part in link.itertext())
    is_said = linked < 0.1 * len(text) or (linked < 0.4 * len(text) and len(text) >= 15 * items)
    return len(text) >= 40 and is_said


def _with_paragraphs(body: Any) -> Any:
    """The body with each loose line between its elements as a paragraph."""
    made = etree.Element("body")
    for node in [None, *body]:
        if node is not None:
            made.append(node)
        loose = body.text if node is None else node.tail
        if node is not None:
            node.tail = None
        for line in (loose or "").split("\n"):
            if line.strip():
                etree.SubElement(made, "p").text = layout.sound(line)
    return made


def _weightiest(page: list[Block], titles: set[str]) -> list[Block]:
    """The run of blocks whose weights have the largest sum: what stands before and after it is furniture."""
    best = (0.0, 0, len(page))
    total, start = 0.0, 0
    for at, block in enumerate(page):
        if total <= 0:
            total, start = 0.0, at
        is_title = len(block.text) < 2 * PROSE and words(block.text) in titles
        total = -1.0 if is_title else total + _weight(block)
        if total > best[0]:
            best = (total, start, at + 1)
    if best[0] < LEAST_WEIGHT:
        return page
    return page[best[1] : best[2]]


def _weight(block: Block) -> float:
    size = len(block.text)
    if block.kind == "heading":
        return -HEADING
    if block.kind:
        return min(size, MOST_WEIGHT) - UNSURE
    if ENDED.search(block.text):
        return size - STEP
    return size / 2 - STEP if size >= PROSE else -STEP
