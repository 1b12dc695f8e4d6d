"""Where a web page leads, and what it asks of crawlers.

Five elements are of interest, so the page is scanned for them and no tree is built: libxml2 took 25 s for 5 MB of nested ``<div>``, this
scan takes the same few milliseconds for any bytes.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from scratchlm.web import robots, urls

MOST = 5_000
"""Links of one page that are looked at; more is a list for machines."""
# Neither part of a tag may hold a '<', so that each byte is looked at once however many tags are opened and never closed.
TAG = re.compile(r"""<(?:(!--)|(script|style|template|textarea)\b|(a|area|frame|base|meta)\s((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>)""", re.I)
END = {"!--": re.compile("-->")} | {name: re.compile(f"</{name}", re.I) for name in ("script", "style", "template", "textarea")}
ATTRIBUTE = re.compile(r"""(?<![^\s"'])([a-z-]{1,40}+)\s{0,9}+=\s{0,9}+(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.I)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says to a crawler."""

    links: tuple[str, ...]
    """Normal addresses in the order of their first mention, each once; none when the page asks not to follow them."""
    directives: frozenset[str]
    """Of its robots meta elements."""


def read(body: bytes, url: str, charset: str | None, agent: str) -> Page:
    """Links and directives of an HTML page at ``url``; what is broken in it is passed over."""
    base, hrefs, directives = "", list[str](), set[str]()
    for tag, attributes in _elements(_text(body, charset)):
        if tag == "meta" and attributes.get("name", "").lower() in ("robots", agent.lower()):
            directives |= robots.directives(attributes.get("content", ""), agent)
        elif tag == "meta" and attributes.get("http-equiv", "").lower() == "refresh":
            hrefs.append(attributes.get("content", "").partition("=")[2].strip(" '\""))
        elif tag == "base":
            base = base or urls.normal(attributes.get("href", ""), url) or ""
        elif "nofollow" not in attributes.get("rel", "").lower().split():
            hrefs.append(attributes.get("src" if tag == "frame" else "href", ""))
    found = [] if "nofollow" in directives else [urls.normal(href, base or url) for href in hrefs[:MOST] if href]
    return Page(tuple(dict.fromkeys(link for link in found if link)), frozenset(directives))


def _text(body: bytes, charset: str | None) -> str:
    """The page as text: addresses are mostly ASCII, so that a wrong charset costs little, unless it hides the very signs of markup."""
    try:
        text = body.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset that nobody knows, or a codec that is none of text
        text = ""
    return text if "<" in text else body.decode("utf-8", "replace")


def _elements(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and attributes of the elements of interest, outside comments and what is no text of the page."""
    place = 0
    while tag := TAG.search(text, place):
        comment, opaque, name, inside = tag.groups()
        place = tag.end()
        if name:
            pairs = (attribute.groups(default="") for attribute in ATTRIBUTE.finditer(inside))
            yield name.lower(), {key.lower(): html.unescape(one or two or bare) for key, one, two, bare in reversed(list(pairs))}
        elif end := END["!--" if comment else opaque.lower()].search(text, place):
            place = end.end()
        else:
            return
