"""Bytes as text, in chunks: the memory it takes does not grow with the file.

The first mebibyte tells the charset. A byte further on that is no UTF-8 is read as Windows' Western page, because it came from there: a
file that people wrote over years has lines of both.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scratchlm.sources import charset
from scratchlm.sources.file import Input
from scratchlm.sources.streams import CHUNK, Refused, Stream

WRONG = re.compile("[\udc80-\udcff\ufffd]")
WESTERN = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
FOLLOWING, LEADING = bytes(range(0x80, 0xC0)), bytes(range(0xC0, 0x100))
"""Bytes of UTF-8 inside a letter, and at the start of one of several bytes."""
MOST_WRONG = 0.05
"""Of the characters of a chunk: more are no slip of a pen, and the file is no text from there on."""


@dataclass(frozen=True, slots=True)
class Text:
    """The charset of a file, and its text in chunks, each line ending with a newline character."""

    charset: str
    chunks: Iterator[str]


@contextmanager
def opened(file: Input) -> Iterator[Text]:
    """The text of ``file``, or of the bytes that are its part, readable inside the block; Refused when it is none."""
    with file.open() as stream:
        head = stream.read(CHUNK)
        name = charset_of(head)
        data = _span(stream, *file.part[:2]) if file.part else _all(stream, head)
        yield Text(name, _newlines(_decoded(data, name)))


def charset_of(head: bytes) -> str:
    """The charset of a text that starts so; Refused when this is no text."""
    # A head that was cut ends at a line, for half a letter would look wrong; one with NUL bytes is of wide letters, and cut between them.
    whole = head if len(head) < CHUNK or b"\0" in head else head[: head.rfind(b"\n") + 1] or head.rstrip(FOLLOWING).rstrip(LEADING)
    _, name, reason = charset.decoded(whole)
    if reason:
        raise Refused("not text", reason)
    return name


def lines(chunks: Iterable[str], most: int) -> Iterator[str | None]:
    """The lines with their ends; None in the place of one with more than ``most`` characters."""
    held: list[str] = []
    size = 0
    for chunk in chunks:
        *whole, rest = chunk.split("\n")
        for part in whole:
            yield "".join([*held, part, "\n"]) if size + len(part) <= most else None
            held, size = [], 0
        size += len(rest)
        if size <= most:
            held.append(rest)
        else:
            held = []
    if size:
        yield "".join(held) if size <= most else None


def _all(stream: Stream, data: bytes) -> Iterator[bytes]:
    while data:
        yield data
        data = stream.read(CHUNK)


def _span(stream: Stream, start: int, end: int) -> Iterator[bytes]:
    stream.seek(start)
    while start < end and (data := stream.read(min(CHUNK, end - start))):
        start += len(data)
        yield data


def _decoded(portions: Iterable[bytes], name: str) -> Iterator[str]:
    is_utf8, is_wide = name.startswith("utf-8"), name.startswith(("utf-16", "utf-32"))
    decoder = codecs.getincrementaldecoder(name)("surrogateescape" if is_utf8 else "replace")
    for data in portions:
        if b"\0" in data and not is_wide:
            raise Refused("not text", "it holds NUL bytes")
        yield _repaired(decoder.decode(data))
    yield _repaired(decoder.decode(b"", True))


def _repaired(text: str) -> str:
    """The text with escaped bytes as letters; Refused when there are too many, or too many that could not even be escaped."""
    if not WRONG.search(text):
        return text
    if len(WRONG.findall(text)) > max(8, MOST_WRONG * len(text)):
        raise Refused("not text", f"more than {MOST_WRONG:.0%} of its bytes are in no charset")
    return text.translate(WESTERN)


def _newlines(chunks: Iterable[str]) -> Iterator[str]:
    """The text with newlines alone at line ends."""
    waiting = ""
    for chunk in chunks:
        text = waiting + chunk
        waiting = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r") if waiting else text
        yield text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    if waiting:
        yield "\n"
