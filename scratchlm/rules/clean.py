"""Text that is safe to learn from: one Unicode form, one kind of line end, letters as they were meant, no control characters.

Mojibake is text whose bytes were read in the wrong encoding (``cafÃ©``). It is mended by ftfy (Speer 2019), line by line, with everything
switched off that changes what a writer meant: quotes stay curled, entities, ligatures and wide letters stay. Code is never mended.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from scratchlm.core.records import Document

LARGEST = 20_000_000
"""Characters; a longer document is refused, because one row must fit a worker's memory several times."""

# Everything of category Cc but tab and newline, the byte order mark, and halves of surrogate pairs that no UTF-8 can hold.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
# Possessive, and only from where a run begins: a megabyte of blanks before a letter is read once, not once for each of them.
TRAILING = re.compile(r"(?<![ \t\xa0])[ \t\xa0]++$", re.MULTILINE)
MANY_BLANK_LINES = re.compile(r"\n{4,}")
LINE_ENDS = re.compile("\r\n?|[\f\u2028\u2029]")
OUTER_LINES = re.compile(r"\A\n+|(?<!\n)\n++\Z")


def normalise(text: str) -> str:
    """``text`` in NFC, with ``\\n`` line ends, no control characters, no trailing blanks and at most two empty lines in a row.

    Applying it twice changes nothing.
    """
    text = unicodedata.normalize("NFC", CONTROL.sub("", LINE_ENDS.sub("\n", text)))
    text = TRAILING.sub("", text)
    return MANY_BLANK_LINES.sub("\n\n\n", text).strip("\n")


def normalise_document(document: Document) -> Document:
    """``document`` with its text mended and normalised, and the offsets of ``structure`` moved along; code keeps its letters.

    ``edits`` gains one "mojibake" of stage "clean" for each line that was mended, with its place in the text as it was extracted.
    """
    spans = json.loads(str(document.facts.get("structure") or "[]"))
    text, places = document.text, sorted({span[side] for span in spans for side in ("start", "end")})
    mended = [] if document.facts.get("doc_type") == "code" else list(_mended(text, spans, places))
    moved = _replace(text, mended, places)
    for pattern, instead in ((LINE_ENDS, "\n"), (CONTROL, "")):
        moved = _replace(moved[0], ((*match.span(), instead) for match in pattern.finditer(moved[0])), moved[1])
    moved = _composed(*moved)
    for pattern, instead in ((TRAILING, ""), (MANY_BLANK_LINES, "\n\n\n"), (OUTER_LINES, "")):
        moved = _replace(moved[0], ((*match.span(), instead) for match in pattern.finditer(moved[0])), moved[1])
    if moved[0] == text:
        return document
    facts, place = dict(document.facts), dict(zip(places, moved[1], strict=True))
    if spans:
        facts["structure"] = json.dumps([span | {side: place[span[side]] for side in ("start", "end")} for span in spans])
    if mended:
        edits = [{"op": "mojibake", "start": start, "end": end, "repl": "", "stage": "clean"} for start, end, _ in mended]
        facts["edits"] = json.dumps(json.loads(str(facts.get("edits") or "[]")) + edits)
    return replace(document, text=moved[0], facts=facts)


def _mended(text: str, spans: list[dict[str, Any]], places: list[int]) -> Iterator[tuple[int, int, str]]:
    """The lines outside of code that are mojibake, cut where structure begins or ends, with what was meant."""
    if text.isascii() and "\x1b" not in text:
        return
    import ftfy  # heavy: a tenth of a second, and only for text that is more than ASCII

    meant = ftfy.TextFixerConfig(
        unescape_html=False, uncurl_quotes=False, fix_character_width=False, fix_latin_ligatures=False, fix_line_breaks=False,
        remove_control_chars=False, normalization=None, explain=False,
    )  # fmt: skip
    code = sorted(((span["start"], span["end"]) for span in spans if span["kind"] == "code"), reverse=True)
    for start, end in pairwise([0, *places, len(text)]):
        while code and code[-1][1] <= start:
            code.pop()
        if start == end or (code and code[-1][0] <= start):
            continue
        for line in text[start:end].splitlines(keepends=True):
            if not (line.isascii() and "\x1b" not in line) and (fixed := ftfy.fix_text(line, config=meant)) != line:
                yield start, start + len(line), fixed
            start += len(line)


def _replace(text: str, changes: Iterable[tuple[int, int, str]], places: list[int]) -> tuple[str, list[int]]:
    """The text with each (start, end, instead) done, and where the sorted places are then."""
    parts, behind, moved, shift, at = [], 0, [], 0, 0
    for start, end, instead in changes:
        while at < len(places) and places[at] <= start:
            moved.append(places[at] + shift)
            at += 1
        while at < len(places) and places[at] < end:
            moved.append(start + shift + min(places[at] - start, len(instead)))
            at += 1
        parts += [text[behind:start], instead]
        behind, shift = end, shift + len(instead) - (end - start)
    return "".join([*parts, text[behind:]]), moved + [place + shift for place in places[at:]]


def _composed(text: str, places: list[int]) -> tuple[str, list[int]]:
    """The text in NFC; a place between a letter and its accent moves behind both."""
    if unicodedata.is_normalized("NFC", text):
        return text, places
    moved, length, before = [], 0, 0
    for place in places:
        while place < len(text) and unicodedata.combining(text[place]):
            place += 1
        if place > before:
            length, before = length + len(unicodedata.normalize("NFC", text[before:place])), place
        moved.append(length)
    whole = unicodedata.normalize("NFC", text)
    return whole, [min(place, len(whole)) for place in moved]
