"""Every kind of file that is read: its endings, how its first bytes look, and who reads it.

A reader is imported when the first file of its kind comes, because some bring large libraries along.
"""

import re
from collections.abc import Callable

from scratchlm.sources.file import Input, Reader, Reading
from scratchlm.sources.found import Found
from scratchlm.sources.languages import ENDINGS

DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,99}(?:<\?xml[^>]{0,200}\?>)?\s{0,99}(?:<!--[^>]{0,500}-->)?\s{0,99}")
GUESSED = frozenset({"html"})
"""Kinds whose first bytes also start templates and programs: these count only where the ending says "text" or is proved wrong."""


def _text(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import plain

    return plain.text(file, reading)


def _markdown(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import plain

    return plain.markdown(file, reading)


def _restructured(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import plain

    return plain.restructured(file, reading)


def _html(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import html

    return html.read(file, reading)


def _json_lines(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import rows

    return rows.json_lines(file, reading)


def _json(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import rows

    return rows.json_values(file, reading)


def _parquet(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import rows

    return rows.parquet(file, reading)


def _separated(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import rows

    return rows.separated(file, reading)


def _pdf(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import pdf

    return pdf.read(file, reading)


def _epub(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import epub

    return epub.read(file, reading)


def _docx(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import docx

    return docx.read(file, reading)


def _code(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import code

    return code.read(file, reading)


def _warc(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import warc

    return warc.read(file, reading)


def _mediawiki(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import mediawiki

    return mediawiki.read(file, reading)


def _stackexchange(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import stackexchange

    return stackexchange.read(file, reading)


def _sevenzip(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import sevenzip

    return sevenzip.read(file, reading)


def _zip(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import archives

    return archives.read_zip(file, reading)


def _tar(file: Input, reading: Reading) -> Found:
    from scratchlm.sources import archives

    return archives.read_tar(file, reading)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _root(name: bytes) -> Callable[[bytes], bool]:
    """Whether a file is XML whose outermost element is ``name``."""

    def is_meant(head: bytes) -> bool:
        match = DECLARATION.match(head)
        return bool(match) and head[match.end() :].lower().startswith(b"<" + name)

    return is_meant


def _is_html(head: bytes) -> bool:
    return _root(b"!doctype html")(head) or _root(b"html")(head)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


READERS: dict[str, Reader] = {
    "text": Reader((".txt", ".text", ""), _text),
    "markdown": Reader((".md", ".markdown"), _markdown),
    "restructured": Reader((".rst",), _restructured),
    "html": Reader((".html", ".htm", ".xhtml"), _html, _is_html),
    "json_lines": Reader((".jsonl", ".ndjson"), _json_lines),
    "json": Reader((".json",), _json),
    "table": Reader((".csv", ".tsv"), _separated),
    "parquet": Reader((".parquet",), _parquet, _starts(b"PAR1")),
    "pdf": Reader((".pdf",), _pdf, _starts(b"%PDF-")),
    "epub": Reader((".epub",), _epub, lambda head: head[30:58] == b"mimetypeapplication/epub+zip"),
    "docx": Reader((".docx",), _docx),
    "warc": Reader((".warc",), _warc, _starts(b"WARC/")),
    "wet": Reader((".wet",), _warc, _starts(b"WARC/")),
    "mediawiki": Reader((), _mediawiki, _root(b"mediawiki")),
    "stackexchange": Reader((), _stackexchange, _root(b"posts")),
    "archive_7z": Reader((".7z",), _sevenzip, _starts(b"7z\xbc\xaf\x27\x1c")),
    "code": Reader(tuple(ENDINGS), _code),
    "archive_zip": Reader((".zip",), _zip, _starts(b"PK\x03\x04", b"PK\x05\x06")),
    "archive_tar": Reader((".tar", ".tgz", ".tbz2", ".txz"), _tar, _is_tar),
}
