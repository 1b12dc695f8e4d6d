"""The records of a very large XML file, one element at a time, in memory that does not grow with the file.

A DOCTYPE ends the reading: it is the only place where entities can be declared, and dumps have none. Other faults cost the record they are
in: characters that XML forbids become U+FFFD, and behind broken markup the reading goes on at the next record.
"""

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from scratchlm.sources.file import Stream, Unreadable

CHUNK = 2**16
LONGEST_TAG = 4 * 2**20
"""Bytes; the parser looks at an open tag anew with each chunk, so a tag without an end would cost the square of its length."""
MOST_BREAKS = 1_000
"""Places of broken markup in one file; with more it is no XML."""
DEEPEST = 4
"""Levels below a record; what is deeper is not kept."""
DEEPEST_OPEN, MOST_NAMES = 256, 10_000
"""Open tags at a time, and names of elements and attributes in a file: the parser holds each of them."""
PER_PATH = 200
"""Characters that an element below a record counts for beside its path, attributes and text: what it takes in memory."""
FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&(?!(?:lt|gt|amp|quot|apos|#x[9AD]|#10|#13|#9);)(?:#[0-9a-zA-Z]{1,9};)?")
"""Characters that XML does not allow, and every ``&`` but its five names and white space."""
LONGEST_REFERENCE = 16
"""Characters; an ``&`` so near the end of a chunk waits for the next one."""


@dataclass(slots=True)
class Element:
    """A record: its attributes, its own text under the path "", and that of elements below it (``revision/text``), the last of several."""

    tag: str
    attributes: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    """Attributes of the elements below that have some, by their path."""
    characters: int = 0
    """Of all that is kept of it, and of texts above the limit, which are not."""
    costs: dict[str, int] = field(default_factory=dict)
    """Characters of each element below, by its path."""

    def begin(self, path: str, attributes: dict[str, str]) -> None:
        """An element below starts: an earlier one of this path is forgotten."""
        self.values.pop(path, None)
        self.marks.pop(path, None)
        self.characters -= self.costs.pop(path, 0)
        self.charge(path, PER_PATH + len(path) + _length(attributes))
        if attributes:
            self.marks[path] = attributes

    def charge(self, path: str, count: int) -> None:
        """Count characters of the element at ``path``."""
        self.characters += count
        self.costs[path] = self.costs.get(path, 0) + count


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where the markup broke off."""

    rule: str
    """``clipped`` at the end of the file, else ``broken markup``."""
    reason: str
    element: Element | None
    """The record that it cost, as far as it was read."""


class Elements:
    """A parser that is fed bytes and gives the elements named ``wanted`` that they complete, each with at most ``limit`` characters."""

    root: dict[str, str]
    """Attributes of the outermost element, once it was seen."""

    def __init__(self, wanted: tuple[str, ...], limit: int) -> None:
        self._wanted, self._limit = wanted, limit
        self._record = re.compile(rf"<(?:{'|'.join(wanted)})[\s/>]".encode())
        self._decoder: codecs.IncrementalDecoder | None = None
        self._held = ""
        self._done: list[Element | Broken] = []
        self._total, self._breaks = 0, 0
        self._lost: bytes | None = None
        """Behind broken markup, while no record was found: the last bytes, where half a tag may stand."""
        self.root, self._root_name = {}, ""
        self._begin()

    def feed(self, data: bytes) -> list[Element | Broken]:
        """What is complete after ``data``, in the order of the file; Unreadable when it is no XML or means harm."""
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")("replace")
        text = self._held + self._decoder.decode(data)
        cut = text.rfind("&", max(0, len(text) - LONGEST_REFERENCE))
        cut = len(text) if cut < 0 else cut
        self._held = text[cut:]
        return self._parse(text[:cut])

    def end(self) -> list[Element | Broken]:
        """What is complete at the end of the file, and whether that came too early."""
        found = self._parse(self._held)
        if self._lost is None:
            try:
                self._parser.Parse(b"", True)
            except expat.ExpatError:
                self._break("clipped", "the file ends inside a record" if self._element else "the file ends before its last tag")
        return found + self._taken()

    def _begin(self) -> None:
        """A new parser: at the start, and behind broken markup."""
        self._fed = self._depth = 0
        self._element: Element | None = None
        self._above: list[str] = []
        self._parts: list[str] = []
        self._path: str | None = None
        """Of the innermost open element while only text was seen in it; None when it is too deep or not to be kept."""
        self._parser = expat.ParserCreate("utf-8")  # the text is decoded by now, whatever it declares
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = _refuse_doctype

    def _taken(self) -> list[Element | Broken]:
        taken, self._done = self._done, []
        return taken

    def _parse(self, text: str) -> list[Element | Broken]:
        rest = FORBIDDEN.sub(_allowed, text).encode("utf-8", "replace")
        end = self._total = self._total + len(rest)
        while rest and (rest := rest if self._lost is None else self._found_again(self._lost + rest)):
            try:
                self._parser.Parse(rest, False)
                self._fed += len(rest)
                break
            except expat.ExpatError as error:
                place = max(0, self._parser.ErrorByteIndex - self._fed)
                said = f"{expat.ErrorString(error.code)} near byte {max(0, end - len(rest) + place):,}"
            if not self._root_name or self._breaks >= MOST_BREAKS:
                raise Unreadable(f"no XML: {said}" if not self._root_name else f"its markup is broken in more than {MOST_BREAKS:,} places")
            self._breaks += 1
            self._break("broken markup", said)
            self._lost, rest = b"", rest[place + 1 :]
        if len(self._parser.intern) > MOST_NAMES:
            raise Unreadable(f"it has more than {MOST_NAMES:,} names of elements and attributes")
        if self._fed - self._parser.CurrentByteIndex > LONGEST_TAG:
            raise Unreadable(f"a tag is longer than {LONGEST_TAG:,} bytes")
        return self._taken()

    def _found_again(self, data: bytes) -> bytes:
        """``data`` from the next record on, which stands in a root of our own; nothing when none starts in it."""
        start = self._record.search(data)
        if not start:
            self._lost = data[-(max(map(len, self._wanted)) + 1) :]
            return b""
        self._lost = None
        self._begin()
        root = f"<{self._root_name}>".encode()
        self._parser.Parse(root, False)
        self._fed = len(root)
        return data[start.start() :]

    def _break(self, rule: str, reason: str) -> None:
        self._done.append(Broken(rule, reason, self._element))
        self._element = None

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST_OPEN:
            raise Unreadable(f"its elements are nested more than {DEEPEST_OPEN} levels deep")
        if not self._root_name:
            self._root_name, self.root = name, attributes
        if self._element is None:
            if name in self._wanted:
                self._element = Element(name, attributes, characters=_length(attributes))
                self._above, self._parts, self._path = [], [], ""
            return
        self._above.append(name)
        path = "/".join(self._above) if len(self._above) <= DEEPEST else ""
        is_kept = path and (path in self._element.costs or self._element.characters <= self._limit)
        self._parts, self._path = [], path if is_kept else None
        if is_kept:
            self._element.begin(path, attributes)

    def _close(self, name: str) -> None:
        self._depth -= 1
        if self._element is None:
            return
        if self._path is not None and self._parts:
            self._element.values[self._path] = "".join(self._parts)
        self._parts, self._path = [], None
        if self._above:
            self._above.pop()
        else:
            self._done.append(self._element)
            self._element = None

    def _characters(self, text: str) -> None:
        if self._element is None or self._path is None:
            return
        self._element.charge(self._path, len(text))
        if self._element.characters <= self._limit:
            self._parts.append(text)


def read(stream: Stream, elements: Elements, beat: Callable[[int], None]) -> Iterator[Element | Broken]:
    """All that ``elements`` finds in ``stream``; where the stream itself breaks, after what was complete and the record that it cost.

    ``beat`` is told how many bytes were read: a record may be gigabytes long, and many records give nothing.
    """
    fault: Unreadable | None = None
    while True:
        try:
            data = stream.read(CHUNK)
        except Unreadable as error:
            fault, data = error, b""
        if not data:
            break
        beat(len(data))
        yield from elements.feed(data)
    yield from elements.end()
    if fault:
        raise fault


def _length(attributes: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in attributes.items())


def _allowed(match: re.Match[str]) -> str:
    """What XML allows in the place of a forbidden character: ``&`` by its name, a number as it is when it stands for a character."""
    found = match.group()
    if found == "&":
        return "&amp;"
    if not found.startswith("&#"):
        return "\ufffd"
    number = found[2:-1]
    try:
        code = int(number[1:], 16) if number[0] == "x" else int(number)
    except ValueError:
        return "&amp;" + found[1:]
    is_allowed = 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
    return found if is_allowed else "\ufffd"


def _refuse_doctype(name: str, system_id: str | None, public_id: str | None, has_internal: int) -> None:
    raise Unreadable("it has a DOCTYPE, which can declare entities that grow without end; dumps have none")
