"""PDF: the text of all pages as one flowing text, without what is printed on every page, and with the words whole that lines broke.

A page gives lines, not paragraphs: a line that is about as long as most goes on in the next one, a shorter one ends there.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from statistics import median
from typing import Any

from scratchlm.sources.file import Input, Reading
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.plain import Facts, cut, first_line, titled
from scratchlm.sources.streams import Refused, seekable

MOST_PAGES = 20_000
MOST_BROKEN = 100
"""Pages that cannot be read, after which the file is given up."""
EDGE = 3
"""Lines at the top and at the bottom of a page that may be printed on every page."""
REPEATED, LEAST_REPEATED, LEAST_NUMBERED = 0.5, 3, 2
"""Share of all pages, or of the left or the right ones, that show a line which is no part of the text; how many at least, and how many when
it is a number alone."""
NEAR, LEAST_LETTERS = 2, 4
"""Pages before and after that may share the heading of a chapter: with another page number one is enough; and letters that it must have,
for rows of a table differ in numbers alone."""
MOST_NUMBERS = 2
"""Numbers of a line that has no letters and yet is no row of a table: a page, and how many there are."""
FULL = 0.8
"""Of the length of most lines: a shorter line ends its paragraph."""
SHORT = 30
"""Characters; lines up to this length say nothing of the width of the column."""

BROKEN = re.compile("[\x02\ufffe]\n?|[-\u2010\u00ad]\n")
"""Where a word goes on in the next line: PDFium's own mark, which stands instead of hyphen and line end, or both of these."""
BEFORE, AFTER = re.compile(r"[^\W\d_]{1,60}\Z"), re.compile(r"[^\W\d_]{1,60}")
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
ITEM = re.compile(r"(?:[•◦▪‣·*–—-]|\(?\d{1,3}[.)])\s")
SECTION = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,4}\.?\s[^\W\d_a-z]")
"""The start of a numbered heading."""
LEADERS = re.compile(r"(?: ?\.){5,}")
"""The dots between a heading and its page in a table of contents."""
ROMAN = re.compile(r"[ivxlcdm]{1,8}")
DAY = re.compile(r"D:(\d{4})(\d\d)(\d\d)")
ENDS = (".", "!", "?", ":", '"', "”", "’", ")")


def read(file: Input, reading: Reading) -> Found:
    """The text of the file, in pieces when it is long, and a row for each page that gives none."""
    import pypdfium2  # heavy: its library is loaded when the first PDF comes

    with seekable(file) as stream:
        try:
            book = pypdfium2.PdfDocument(stream)
        except pypdfium2.PdfiumError as error:
            is_locked = "assword" in str(error)
            raise Refused("encrypted" if is_locked else "unreadable", "it needs a password" if is_locked else f"no PDF: {error}") from None
        with closing(book):
            if len(book) > MOST_PAGES:
                raise Refused("too large", f"it has {len(book):,} pages, more than {MOST_PAGES:,}")
            pages: list[list[str]] = []
            for page in _pages(book, file, reading):
                if isinstance(page, Dropped):
                    yield page
                else:
                    pages.append(page)
            title, made = _said(book, "Title"), _said(book, "CreationDate")
    lines = [line for page in without_edges(pages) for line in page] or [line for page in pages for line in page]
    if not lines:
        raise Refused("no text in it", f"none of its {len(pages)} pages holds text: it is scanned, or drawn")
    facts: Facts = {"doc_type": "pdf", "mime": "application/pdf", "extractor": f"pypdfium2@{version('pypdfium2')};flowing"}
    if day := DAY.match(made):
        facts["published_at"] = "-".join(day.groups())
    text = flowing(mended(lines))
    yield from cut(file, reading, [text], {"title": titled(title or first_line(text), file)} | facts)


def without_edges(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """The pages without what their edges share, numbers not compared: with most pages, with most left or right ones, or with neighbours."""
    edges = [{True: _forms(page[:EDGE]), False: _forms(page[-EDGE:])} for page in pages]
    count = Counter((is_top, number % 2, form) for number, edge in enumerate(edges) for is_top in edge for form in edge[is_top])
    sides = (len(pages) - len(pages) // 2, len(pages) // 2)

    def is_shared(line: str, number: int, is_top: bool) -> bool:
        form = _form(line)
        letters = sum(map(str.isalpha, form))
        if (is_top and letters and not number) or (not letters and form.count("#") > MOST_NUMBERS):
            return False  # what the first page starts with is the title of the whole
        least = LEAST_REPEATED if letters else LEAST_NUMBERED
        both = [count[is_top, side, form] for side in (0, 1)]
        if sum(both) >= max(least, REPEATED * len(pages)) or both[number % 2] >= max(least, REPEATED * sides[number % 2]):
            return True
        around = [
            edges[near][is_top].get(form) for near in range(max(0, number - NEAR), min(len(pages), number + NEAR + 1)) if near != number
        ]
        found = [other for other in around if other]
        return letters >= LEAST_LETTERS and (len(found) >= LEAST_REPEATED - 1 or any(other != line for other in found))

    return [list(_inner(page, number, is_shared)) for number, page in enumerate(pages)]


def mended(lines: Iterable[str]) -> list[str]:
    """The lines with broken words made whole; the hyphen stays where the text elsewhere writes the word with one."""
    text = "\n".join(lines)
    if not BROKEN.search(text):
        return text.split("\n")
    known = {match.group().casefold() for match in WORD.finditer(text)}
    parts: list[str] = []
    end = 0
    for match in BROKEN.finditer(text):
        before = BEFORE.search(text, max(end, match.start() - 60), match.start())
        after = AFTER.match(text, match.end())
        parts.append(text[end : match.start()])
        if before and after:
            whole, joined = before.group() + after.group(), f"{before.group()}-{after.group()}"
            is_compound = whole.casefold() not in known and (joined.casefold() in known or not after.group()[0].islower())
            parts.append("-" if is_compound else "")
        else:
            is_range = text[match.start() - 1 : match.start()].isdigit() and text[match.end() : match.end() + 1].isdigit()
            parts.append("-" if is_range else match.group().translate({0x02: "-", 0xFFFE: "-", 0xAD: "-"}))
        end = match.end()
    return "".join([*parts, text[end:]]).split("\n")


def flowing(lines: Sequence[str]) -> str:
    """Lines as paragraphs."""
    widths = [len(line) for line in lines if len(line) > SHORT]
    full = FULL * median(widths) if widths else SHORT
    parts: list[str] = []
    before = ""
    for line in lines:
        goes_on = len(before) >= full and not ITEM.match(line) and not (len(line) < full and SECTION.match(line))
        is_close = len(before) < full and len(line) < full and not before.endswith(ENDS)
        parts += [" " if goes_on else "\n" if is_close else "\n\n", line] if before else [line]
        before = line
    return "".join(parts)


def _pages(book: Any, file: Input, reading: Reading) -> Iterator[list[str] | Dropped]:
    """The lines of each page that are not empty."""
    import pypdfium2

    left, broken = reading.limits.document_characters, 0
    for number in range(1, len(book) + 1):
        inside = f"page {number}"
        if not reading.at(f"{file.name}#{inside}"):
            yield file.refuse(inside, "quarantined", "reading it failed twice")
            continue
        try:
            with closing(book[number - 1]) as page, closing(page.get_textpage()) as shown:
                text = shown.get_text_bounded(errors="replace")
        except pypdfium2.PdfiumError as error:
            broken += 1
            if broken > MOST_BROKEN:
                raise Refused("unreadable", f"more than {MOST_BROKEN} of its pages cannot be read") from None
            yield file.refuse(inside, "unreadable", f"the page cannot be read: {error}")
            continue
        left -= len(text)
        if left < 0:
            raise Refused("too large", f"it has more than {reading.limits.document_characters:,} characters")
        text = LEADERS.sub(" … ", text.replace("\r", "\n").replace("\0", ""))
        yield [line for row in text.split("\n") if (line := " ".join(row.split()))]


def _said(book: Any, name: str) -> str:
    """What the file says of itself; empty when it says nothing, or nothing that is text."""
    try:
        return book.get_metadata_value(name)
    except UnicodeDecodeError:
        return ""


def _inner(page: Sequence[str], number: int, is_shared: Callable[[str, int, bool], bool]) -> Sequence[str]:
    start, end = 0, len(page)
    while start < min(EDGE, end) and is_shared(page[start], number, True):
        start += 1
    while end > max(start, len(page) - EDGE) and is_shared(page[end - 1], number, False):
        end -= 1
    return page[start:end]


def _forms(lines: Iterable[str]) -> dict[str, str]:
    return {_form(line): line for line in lines}


def _form(line: str) -> str:
    """What is the same in a line on every page: its words, but not its numbers."""
    line = line.casefold()
    return "#" if ROMAN.fullmatch(line) else re.sub(r"\d+", "#", line)
