"""Markup of web pages as a tree, whoever wrote it: within bounds that keep the parser quick, and never short of what is nested deep."""

from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types
from lxml import html as lxml_html

from scratchlm.sources.streams import Refused

LONGEST = 20_000_000
"""Characters of a page."""
MOST_TAGS = 1_000_000
"""Each costs about 150 bytes once parsed."""
STRIDE, MOST_ATTRIBUTES = 10_000, 2_000
"""A longer tag is looked at; the parser compares each attribute of a tag with all others."""

ELEMENTS = etree.ElementDefaultClassLookup(element=lxml_html.HtmlElement)
"""What trafilatura asks for. The parser of lxml.html would ask a function in Python for the class of each element."""


def tree_of(markup: str) -> tuple[Any, bool]:
    """The tree without comments, None when there is nothing, and whether it is deeper than 255 levels.

    What a page declares is never expanded or fetched. Refused when the page is larger, or nested deeper, than can be parsed.
    """
    _bound(markup)
    data = markup.encode("utf-8", "replace")
    for is_deep in (False, True):
        parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True, huge_tree=is_deep)
        parser.set_element_class_lookup(ELEMENTS)
        try:
            tree = etree.fromstring(data, parser) if markup.strip() else None
        except (etree.LxmlError, ValueError) as error:
            raise Refused("unreadable", f"no page: {str(error).splitlines()[0]}") from None
        if not any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
            return tree, is_deep
    raise Refused("bomb", "its elements are nested more than 2,000 levels deep")


def _bound(markup: str) -> None:
    """Refused when parsing would cost too much."""
    if len(markup) > LONGEST:
        raise Refused("too large", f"a page has more than {LONGEST:,} characters")
    if len(markup) > MOST_TAGS and markup.count("<") > MOST_TAGS:
        raise Refused("bomb", f"a page has more than {MOST_TAGS:,} tags")
    if all(markup.find("<", at, at + STRIDE) >= 0 for at in range(0, len(markup), STRIDE)):
        return
    for tag in [tag for tag in markup.split("<") if len(tag) > STRIDE and tag[0].isalpha()]:
        if not 0 <= tag.find(">") <= STRIDE and sum(len(part.split()) for part in tag.split('"')[::2]) > MOST_ATTRIBUTES:
            raise Refused("bomb", f"a tag has more than {MOST_ATTRIBUTES:,} attributes")
