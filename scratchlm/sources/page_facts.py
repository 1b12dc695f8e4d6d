"""What a page says of itself: its titles, language, date and licence, each with where it says so."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources.layout import flat

UNKNOWN = ("unknown", "none given")
LONGEST_TITLE = 200
LONGEST_DATA = 200_000
"""Characters of structured data that are looked at."""
BETWEEN = re.compile(r"\s[|–—·»:•/-]\s")
"""What stands between a page's title and the name of its site."""
LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]{1,8}){0,3}", re.IGNORECASE)
DAY = re.compile(r"((?:19|20)\d\d)-?(\d\d)-?(\d\d)(?!\d)")
DATES = (
    "article:published_time", "datepublished", "og:published_time", "dc.date.issued", "dcterms.issued", "dc.date", "dcterms.date",
    "citation_publication_date", "publishdate", "pubdate", "parsely-pub-date", "sailthru.date", "date",
)  # fmt: skip
LICENCES = ("dcterms.license", "dc.rights.license", "dcterms.rights", "dc.rights", "license", "og:license", "copyright")
PUBLISHED = re.compile(r'"datePublished"\s{0,9}:\s{0,9}"([^"]{8,40})"')
LICENSED = re.compile(r'"license"\s{0,9}:\s{0,9}"([^"]{8,300})"')

CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z+-]{2,20})(?:/(\d\.\d))?", re.IGNORECASE)
ADDRESSES = (
    ("gnu.org/licenses/fdl-1.2", "GFDL-1.2-only"),
    ("gnu.org/licenses/old-licenses/fdl-1.2", "GFDL-1.2-only"),
    ("gnu.org/licenses/fdl", "GFDL-1.3-only"),
    ("gnu.org/copyleft/fdl", "GFDL-1.3-only"),
    ("apache.org/licenses/license-2.0", "Apache-2.0"),
    ("opensource.org/licenses/mit", "MIT"),
    ("opensource.org/license/mit", "MIT"),
    ("opensource.org/licenses/bsd-3-clause", "BSD-3-Clause"),
    ("opensource.org/licenses/bsd-2-clause", "BSD-2-Clause"),
    ("nationalarchives.gov.uk/doc/open-government-licence/version/3", "OGL-UK-3.0"),
    ("unlicense.org", "Unlicense"),
)
LINKED = etree.XPath("//a[contains(@href, 'creativecommons.org/')]/@href")
DATA = etree.XPath("//script[@type='application/ld+json']/text()")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What was found; empty where a page says nothing."""

    title: str
    titles: tuple[str, ...]
    """All that it calls itself, to know its title again in its text."""
    lang: str
    published_at: str
    licence: str
    licence_evidence: str


def of(tree: Any, markup: str) -> PageFacts:
    """The facts of a page, parsed and as it was; before anything is taken out of the tree."""
    nodes: dict[str, list[Any]] = {"meta": [], "title": [], "h1": [], "time": []}
    for node in tree.iter(*nodes):
        nodes[node.tag].append(node)
    said = _said(nodes["meta"])
    named, *headings = [flat("".join(node.itertext())) for node in nodes["title"][:1] + nodes["h1"][:3]] or [""]
    if not nodes["title"]:
        named, headings = "", [named, *headings]
    titles = [flat(said.get(name)) for name in ("og:title", "twitter:title", "dc.title")] + [named, *headings]
    titles += [part for part in BETWEEN.split(named) if len(part) > 3]
    data = "\n".join(DATA(tree))[:LONGEST_DATA] if "ld+json" in markup else ""
    licence, evidence = _licence(tree, said, data, markup)
    known = tuple(title for title in dict.fromkeys(titles) if title)
    return PageFacts(
        known[0][:LONGEST_TITLE] if known else "", known, _language(tree, said), _day(nodes["time"], said, data), licence, evidence
    )


def spdx_of(address: str) -> str | None:
    """The SPDX name of a licence by its address; None when it is not known here."""
    if match := CREATIVE_COMMONS.search(address):
        kind, name, version = match.group(1).lower(), match.group(2).lower(), match.group(3)
        if kind == "publicdomain":
            return {"zero": "CC0-1.0", "mark": "LicenseRef-PublicDomain"}.get(name)
        terms = set(name.split("-"))
        if not version or not terms <= {"by", "sa", "nd", "nc"}:
            return None
        return "-".join(["CC", *(term.upper() for term in ("by", "nc", "nd", "sa") if term in terms), version])
    lower = address.lower()
    return next((name for part, name in ADDRESSES if part in lower), None)


def _said(nodes: Sequence[Any]) -> dict[str, str]:
    """The first content of each ``meta`` by its name, lower case."""
    said: dict[str, str] = {}
    for node in nodes:
        name = (node.get("property") or node.get("name") or node.get("itemprop") or node.get("http-equiv") or "").lower()
        if name and (content := node.get("content")):
            said.setdefault(name, content)
    return said


def _language(tree: Any, said: Mapping[str, str]) -> str:
    root = tree if tree.tag == "html" else tree.getroottree().getroot()
    xml = "{http://www.w3.org/XML/1998/namespace}lang"
    for value in (root.get("lang"), root.get(xml), root.get("xml:lang"), said.get("content-language"), said.get("og:locale")):
        if value and (match := LANGUAGE.fullmatch(value.strip())):
            return match.group(1).lower()
    return ""


def _day(times: Sequence[Any], said: Mapping[str, str], data: str) -> str:
    values = [said.get(name, "") for name in DATES]
    match = PUBLISHED.search(data)
    values.append(match.group(1) if match else "")
    values += [node.get("datetime", "") for node in times if node.get("pubdate") is not None or "publ" in node.get("class", "")]
    return next((day for value in values if (day := _day_of(value))), "")


def _day_of(value: str) -> str:
    match = DAY.match(value.strip())
    if not match or not 1 <= int(match.group(2)) <= 12 or not 1 <= int(match.group(3)) <= 31:
        return ""
    return "-".join(match.groups())


def _licence(tree: Any, said: Mapping[str, str], data: str, markup: str) -> tuple[str, str]:
    """SPDX name and evidence. What is marked as the licence comes first; links to Creative Commons count when all lead to the same one."""
    unknown = UNKNOWN
    marked = LICENSED.search(data)
    related = (node for node in tree.iter("a", "link") if "licen" in node.get("rel", ""))
    claims = [("rel=license", node.get("href", "")) for node in related]
    claims += [(f"meta {name}", said[name]) for name in LICENCES if name in said]
    claims += [("structured data", marked.group(1))] if marked else []
    for where, value in claims:
        if spdx := spdx_of(value):
            return spdx, f"{where}: {flat(value)[:LONGEST_TITLE]}"
        if unknown is UNKNOWN and "/" in value:
            unknown = ("unknown", f"{where}: {flat(value)[:LONGEST_TITLE]}")
    linked = {spdx: str(value) for value in (LINKED(tree) if "creativecommons.org/" in markup else ()) if (spdx := spdx_of(str(value)))}
    if len(linked) == 1:
        spdx, value = next(iter(linked.items()))
        return spdx, f"link: {flat(value)[:LONGEST_TITLE]}"
    return unknown
