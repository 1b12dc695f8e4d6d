"""Wikipedia and other MediaWiki dumps (``pages-articles.xml``): each article in its latest revision, as plain text that keeps its shape.

A dump is one XML document; the many bzip2 streams of a "multistream" dump are one stream here. Only the page being read is in memory.
The locator ``NAME#page=12,rev=716551092`` names page and revision, by which a dump is searched in one quick pass.
"""

import json
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from scratchlm.core.records import Document
from scratchlm.sources.beat import Beat
from scratchlm.sources.elements import Broken, Element, Elements
from scratchlm.sources.elements import read as elements_of
from scratchlm.sources.file import Input, Reading
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.wikitext import CATEGORIES, FILES, Names, plain

EXTRACTOR = "wikitext@1"
HEAD = ("sitename", "dbname", "base", "namespace")
ARTICLES, PICTURES, SORTED = "0", ("6", "-2"), "14"
"""Numbers of namespaces: the same in every wiki, while the names differ."""
REDIRECT = re.compile(r"\s{0,9}#\w{4,24}\s{0,9}:?\s{0,9}\[\[[^\[\]\n]{1,300}\]\]")
LONGEST_REDIRECT = 1_000
DISAMBIGUATION = re.compile(
    r"\((?:disambiguation|Begriffsklärung|homonymie|desambiguación|desambiguação|disambigua|doorverwijspagina|значения|曖昧さ回避)\)$"
)
WIKIMEDIA = re.compile(r"(?:^|\.)(?:wikipedia|wiktionary|wikibooks|wikiquote|wikisource|wikiversity|wikivoyage)\.org$")
CHANGED = "2023-06-07"
"""The day on which the terms of use of these wikis went from CC BY-SA 3.0 to 4.0."""
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{2,8})?")


@dataclass(frozen=True, slots=True)
class Site:
    """The wiki that a dump is of, as its head says."""

    base: str
    """Address of its main page; empty when the head has none."""
    lang: str
    names: Names
    spaces: dict[str, str]
    """Numbers of its namespaces by their names in lower case."""

    @property
    def host(self) -> str:
        """``en.wikipedia.org``; empty when unknown."""
        return urlsplit(self.base).hostname or "" if re.match(r"https?://[\w.-]+/", self.base) else ""

    def url(self, title: str) -> str | None:
        """The address of an article."""
        return self.base[: self.base.rfind("/") + 1] + quote(title.replace(" ", "_"), safe="/:(),'!*;@~$") if self.host else None

    def licence(self, date: str) -> tuple[str, str]:
        """SPDX name and evidence for a revision of this day (``2016-04-22``)."""
        if not WIKIMEDIA.search(self.host):
            return "unknown", f"the dump names no licence; its site is {self.host or 'not named'}"
        if date >= CHANGED:
            return "CC-BY-SA-4.0", f"text of {self.host} (siteinfo), revision of {date}: CC BY-SA 4.0 since {CHANGED}"
        return "CC-BY-SA-3.0", f"text of {self.host} (siteinfo), revision of {date or 'an unknown day'}: CC BY-SA 3.0 before {CHANGED}"


def read(file: Input, reading: Reading) -> Found:
    """One document for each article; redirects, disambiguation pages, other namespaces and broken pages are refused one by one."""
    elements = Elements((*HEAD, "page"), reading.limits.record_bytes)
    head: list[Element] = []
    site: Site | None = None
    with file.open() as stream:
        for found in elements_of(stream, elements, Beat(file, reading)):
            if isinstance(found, Broken):
                yield file.refuse(_inside(found.element) if found.element else "end", found.rule, found.reason)
            elif found.tag != "page":
                head.append(found)
            else:
                site = site or _site(head, elements.root)
                yield _page(file, reading, site, found)


def _inside(page: Element) -> str:
    """``page=12,rev=716551092``."""
    page_id, revision = page.values.get("id", ""), page.values.get("revision/id", "")
    return f"page={page_id if page_id.isdecimal() else '?'},rev={revision if revision.isdecimal() else '?'}"


def _page(file: Input, reading: Reading, site: Site, page: Element) -> Document | Dropped:
    inside, text = _inside(page), page.values.get("revision/text", "")
    if refused := _refused(page, site, reading, text):
        return file.refuse(inside, refused[0], refused[1], excerpt=text)
    if not reading.at(f"{file.name}#{inside}"):
        return file.refuse(inside, "quarantined", "a worker died on it twice")
    title = page.values["title"]
    made = plain(text, title, site.names)
    if made.is_disambiguation or DISAMBIGUATION.search(title):
        return file.refuse(inside, "disambiguation", "it only tells pages of the same name apart", excerpt=made.text)
    if not made.text:
        return file.refuse(inside, "nothing in it", "no text is left without templates, references and files", excerpt=text)
    most = reading.limits.document_characters
    if len(made.text) > most:
        return file.refuse(inside, "too large", f"more than {most:,} characters", value=len(made.text), threshold=most)
    stamp = page.values.get("revision/timestamp", "")
    stamp = stamp if TIMESTAMP.fullmatch(stamp) else ""
    licence, evidence = site.licence(stamp[:10])
    facts = {
        "title": title,
        "url": site.url(title),
        # Each article is a group of its own: with the whole wiki as one, no part of it could be kept aside.
        "host": f"{site.host or file.name}/{page.values['id']}",
        "lang": site.lang or None,
        "published_at": stamp or None,
        "licence": licence,
        "licence_evidence": evidence,
        "doc_type": "wiki",
        "mime": "text/x-wiki",
        "charset": "utf-8",
        "extractor": EXTRACTOR,
        "raw_bytes": len(text.encode("utf-8", "replace")),
        "structure": json.dumps(made.structure),
        "extra": json.dumps({"left_out": made.left_out}),
    }
    return file.document(inside, made.text, {name: value for name, value in facts.items() if value is not None})


def _refused(page: Element, site: Site, reading: Reading, text: str) -> tuple[str, str] | None:
    """Rule and reason for a page that is no article; None for one that is."""
    if page.characters > reading.limits.record_bytes:
        return "too large", f"the page has more than {reading.limits.record_bytes:,} characters, or elements that take as much"
    title = page.values.get("title", "").strip()
    if not title or "?" in _inside(page):
        return "broken record", "the page has no title, or no number"
    space = page.values.get("ns") or site.spaces.get(title.partition(":")[0].lower() if ":" in title else "", ARTICLES)
    if space != ARTICLES:
        return "other namespace", f"it is in namespace {space[:20]}, and articles are in {ARTICLES}"
    if "redirect" in page.marks or (len(text) <= LONGEST_REDIRECT and REDIRECT.match(text)):
        return "redirect", "it only sends its readers to another page"
    model = page.values.get("revision/model", "wikitext")
    if model != "wikitext":
        return "other model", f"its content is {model[:40]}, no wikitext"
    if "deleted" in page.marks.get("revision/text", {}):
        return "deleted", "its text was hidden by the wiki"
    return None if text.strip() else ("nothing in it", "the page is empty")


def _site(head: list[Element], root: dict[str, str]) -> Site:
    """What the elements before the first page say of the wiki."""
    said = {element.tag: element.values.get("", "").strip() for element in reversed(head) if element.tag != "namespace"}
    spaces = {
        element.values.get("", "").strip().lower(): element.attributes.get("key", "") for element in head if element.tag == "namespace"
    }
    base = said.get("base", "")
    lang = root.get("xml:lang", "") or said.get("dbname", "").removesuffix("wiki").replace("_", "-")
    if said.get("dbname") == "simplewiki":
        lang = "en"
    files = frozenset(name for name, key in spaces.items() if key in PICTURES and name)
    sorting = frozenset(name for name, key in spaces.items() if key == SORTED and name)
    return Site(base, lang if LANGUAGE.fullmatch(lang) else "", Names(FILES | files, CATEGORIES | sorting), spaces)
