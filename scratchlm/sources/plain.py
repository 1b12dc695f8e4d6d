"""Plain text, Markdown and reStructuredText: a short file is one document, a long one is cut where its author paused, while it is read."""

import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, count
from pathlib import PurePosixPath

from scratchlm.core.records import Document
from scratchlm.sources import pieces
from scratchlm.sources.file import Input, Reading
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.markup import plain_roles
from scratchlm.sources.sheet import Structure
from scratchlm.sources.streams import ENDINGS, bare
from scratchlm.sources.texts import lines, opened

SPLIT_ABOVE = 16_000
"""Characters; a longer text is cut into pieces of ``pieces.USUAL``, and both shrink alike where the folder is small."""
LOOKED_AT = 16_000
"""Characters of the start in which a title is looked for."""
LONGEST_TITLE = 200
FIELD = re.compile(r"\A(?:[A-Z][\w-]*:.*\n(?:[ \t].*\n)*)*?Title:[ \t]*(\S.*)$", re.MULTILINE)
UNDERLINE = re.compile(r"^([=\-~^\"'#*+])\1{2,}\s*$")
ENDING = re.compile(r"\.[A-Za-z]\w{0,9}\Z")

Facts = dict[str, str | int | float | None]


def text(file: Input, reading: Reading) -> Found:
    """Plain text; its title is its first short line, else its name."""
    yield from _read(file, reading, {"doc_type": "book", "mime": "text/plain"}, first_line)


def markdown(file: Input, reading: Reading) -> Found:
    """Markdown as it stands; its title is its first heading."""
    yield from _read(file, reading, {"doc_type": "markup", "mime": "text/markdown"}, _heading)


def restructured(file: Input, reading: Reading) -> Found:
    """reStructuredText with its roles made plain; its title is its ``Title:`` field or the first underlined line."""
    yield from _read(file, reading, {"doc_type": "markup", "mime": "text/x-rst"}, _underlined, plain_roles)


def cut(file: Input, reading: Reading, text: Iterable[str], facts: Facts, *, inside: str = "", structure: Structure | None = None) -> Found:
    """The whole text when it is short, else its pieces, as documents at ``inside`` and ``inside:0``, ``inside:1``, ...

    ``text`` comes in chunks of any size. Each piece is told before it is read. A line that is longer than a record may be is refused
    alone, as ``inside:line 12``; a text with ``structure`` is in memory already, and none of its lines is too long.
    """
    longest = SPLIT_ABOVE * reading.usual // pieces.USUAL
    chunks = iter(text)
    start: list[str] = []
    while sum(map(len, start)) <= longest and (chunk := next(chunks, None)) is not None:
        start.append(chunk)
    if sum(map(len, start)) <= longest:
        yield _part(file, inside, "".join(start), facts, structure or [])
        return
    before, refused = f"{inside}:" if inside else "", deque[Dropped]()
    most = reading.limits.record_bytes if structure is None else sys.maxsize
    rows = _bounded(lines(chain(start, chunks), most), lambda number: refused.append(_too_long(file, f"{before}line {number}", most)))
    known = json.loads(str(facts.get("extra") or "{}"))
    parts = _marked(pieces.stream(rows, least=reading.usual // 3, usual=reading.usual), structure or [])
    for number in count():
        is_wanted = reading.at(f"{file.name}#{before}{number}")
        piece, marks = next(parts, (None, []))
        while refused:
            yield refused.popleft()
        if piece is None:
            return
        if not is_wanted:
            yield file.refuse(f"{before}{number}", "quarantined", "reading it failed twice")
            continue
        extra = json.dumps(known | {"part": number, "heading": piece.heading}, ensure_ascii=False)
        yield _part(file, f"{before}{number}", piece.text, facts | {"extra": extra}, marks)


def stem(file: Input) -> str:
    """The file's name as a title."""
    name = PurePosixPath(file.name.rpartition("!")[2]).name
    while name.lower().endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return ENDING.sub("", name).replace("_", " ").strip() or bare(file.name)


def titled(title: str, file: Input) -> str:
    """``title`` in one line that is not too long, else the file's name."""
    return " ".join(title.split())[:LONGEST_TITLE] or stem(file)


def first_line(start: str) -> str:
    """The first line when it looks like a title: short, and no sentence; else nothing."""
    line = next((line.strip() for line in start[:2000].split("\n") if line.strip()), "")
    return line if len(line) <= 80 and not line.endswith((",", ";", ":", ".")) else ""


def _read(file: Input, reading: Reading, facts: Facts, title_of: Callable[[str], str], plain: Callable[[str], str] | None = None) -> Found:
    with opened(file) as text:
        first = next(text.chunks, "")
        title = titled(title_of(first[:LOOKED_AT]), file)
        about: Facts = {"title": title, "charset": text.charset, "extractor": "text"}
        for found in cut(file, reading, chain([first], text.chunks), facts | about):
            if plain and isinstance(found, Document):
                found = replace(found, text=plain(found.text))
            if isinstance(found, Dropped) or found.text.strip():
                yield found


def _part(file: Input, inside: str, text: str, facts: Facts, structure: Structure) -> Document:
    own: Facts = {"raw_bytes": len(text.encode("utf-8", "replace"))}
    return file.document(inside, text, own | facts | ({"structure": json.dumps(structure)} if structure else {}))


def _marked(parts: Iterable[pieces.Piece], structure: Structure) -> Iterator[tuple[pieces.Piece, Structure]]:
    """Each piece with what of the structure lies in it, as offsets into the piece; ``structure`` is in the order of starts."""
    waiting = deque(structure)
    begun: Structure = []
    for piece in parts:
        end = piece.start + len(piece.text)
        while waiting and int(waiting[0]["start"]) < end:
            begun.append(waiting.popleft())
        begun = [mark for mark in begun if int(mark["end"]) > piece.start]
        places = [(max(0, int(mark["start"]) - piece.start), min(end, int(mark["end"])) - piece.start) for mark in begun]
        yield piece, [mark | {"start": first, "end": last} for mark, (first, last) in zip(begun, places, strict=True)]


def _bounded(rows: Iterable[str | None], tell: Callable[[int], None]) -> Iterator[str]:
    """The lines that are not too long, the numbers of the others told as they are passed over."""
    for number, row in enumerate(rows, start=1):
        if row is None:
            tell(number)
        else:
            yield row


def _too_long(file: Input, inside: str, most: int) -> Dropped:
    return file.refuse(inside, "line too long", f"the line has more than {most:,} characters", threshold=most)


def _heading(start: str) -> str:
    for line in start.split("\n"):
        marks = len(line) - len(line.lstrip("#"))
        if 1 <= marks <= 3 and line[marks : marks + 1] in (" ", "\t") and (title := line[marks:].strip(" \t").rstrip(" \t#")):
            return title
    return ""


def _underlined(start: str) -> str:
    start = plain_roles(start)
    if field := FIELD.search(start):
        return field.group(1).strip()
    rows = start[:4000].split("\n")
    return next((rows[n - 1].strip() for n in range(1, len(rows)) if UNDERLINE.match(rows[n]) and rows[n - 1].strip()), "")
