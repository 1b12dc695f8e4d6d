"""WARC and WET files: each page that was fetched as a document, every other answer with the reason why it is none.

The locator of a document is ``NAME#OFFSET``: the byte in the *unpacked* stream where its record starts, whatever the file is packed in.
PDF, EPUB and DOCX files that were fetched are read by their own readers, as files of the name ``NAME#OFFSET``.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from scratchlm.core.records import Document
from scratchlm.sources import charset, html, zips
from scratchlm.sources.dispatch import documents_of
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.plain import Facts
from scratchlm.sources.streams import CHUNK, Opening, Refused, shared_budget, unpacked
from scratchlm.sources.warc_frames import Frame, Frames

PAGES = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
UNSURE = ("", "application/octet-stream", "unknown/unknown", "application/unknown", "application/x-unknown", "text/xml", "application/xml")
"""Types that say nothing of what a payload is; then its first bytes do."""
TELLING = (b"<html", b"<!doctype html", b"<body", b"<head>", b"<head ", b"<title")
"""One of these within the first 4 KiB makes a page."""
FEEDS = (b"<rss", b"<feed", b"<urlset", b"<sitemapindex", b"<rdf:rdf", b"<opml")
PDF = b"%PDF-"
PDF_WITHIN = 1024
"""Bytes before the start of a PDF file that readers of it pass over."""
ZIP = b"PK\x03\x04"
OTHERS = {b"\x89PNG": "an image", b"GIF8": "an image", b"\xff\xd8\xff": "an image", ZIP: "an archive", b"\x1f\x8b": "packed"}
"""What a payload is by its first bytes, whatever is said of it."""
FILES = ("pdf", "epub", "docx")
"""Kinds of payloads that have readers of their own."""
LOOKED_AT = 4096
LONGEST_HEAD = 256 * 1024
"""Bytes of the header of an HTTP response."""
ABOUT = {"request", "metadata", "warcinfo"}
"""Records about others; they are passed over."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record is about: its bytes without all headers, and what these say of it."""

    data: bytes
    mime: str
    charset: str | None
    status: int | None


def read(file: Input, reading: Reading) -> Found:
    """One document or one ``Dropped`` for each answer; behind a break one more that says how far the file was read."""
    file, _ = unpacked(file, reading.limits)
    with file.open() as stream:
        frames = Frames(stream, reading.limits.record_bytes)
        count = 0
        for count, frame in enumerate(frames, start=1):  # noqa: B007 - told behind a break
            yield from _answers(file, frame, reading)
        if frames.broken is not None:
            rule = frames.broken.rule if isinstance(frames.broken, Refused) else "unreadable"
            if rule == "bomb":
                raise frames.broken
            reason = f"it was read up to byte {frames.offset:,}, {count:,} records: {frames.broken}"
            yield file.refuse("file", rule, reason, value=frames.offset)


def reopen(file: Input, inside: str, reading: Reading) -> Document | None:
    """The document at ``inside``, what stands behind '#' in its locator; None when none is there.

    Jumps to the record where the stream can, else unpacks all before it.
    """
    offset = inside.partition("#")[0]
    if not (offset.isascii() and offset.isdecimal()):
        return None
    file, _ = unpacked(file, reading.limits)
    with file.open() as stream:
        left = int(offset)
        if stream.seekable():
            stream.seek(left)
            left = 0
        while left and (data := stream.read(min(left, CHUNK))):
            left -= len(data)
        frames = Frames(stream, reading.limits.record_bytes)
        frames.offset = int(offset)
        frame = next(iter(frames), None)
    if not frame or left or frame.offset != int(offset):
        return None
    found = (item for item in _answers(file, frame, reading) if isinstance(item, Document))
    return next((item for item in found if item.facts["locator"] == f"{file.name}#{inside}"), None)


def _answers(file: Input, frame: Frame, reading: Reading) -> Iterator[Document | Dropped]:
    """What becomes of a record: one row or document, several of a file that was fetched, nothing when it is about another record."""
    inside = str(frame.offset)
    if not frame.head or frame.fault == "too large":
        value = frame.length if frame.fault == "too large" else None
        yield file.refuse(inside, frame.fault, frame.note, value=value, threshold=reading.limits.record_bytes if value else None)
        return
    if not reading.at(f"{file.name}#{inside}"):
        yield file.refuse(inside, "quarantined", "reading it failed twice")
        return
    try:
        fields, payload = _payload(frame, reading.limits.record_bytes)
        if fields.get("warc-type") in ABOUT:
            return
        kind = _kind(payload, reading)
        if refusal := _refusal(fields, payload, kind):
            yield file.refuse(inside, *refusal, value=payload.status if refusal[0] == "status" else None)
        elif kind in FILES:
            yield from _fetched(file, frame, fields, payload, reading)
        else:
            yield _document(file, frame, fields, payload, reading, is_page=kind == "page")
    except Refused as fault:
        yield file.refuse(inside, fault.rule, str(fault))


def _payload(frame: Frame, most: int) -> tuple[dict[str, str], Payload]:
    """The header of a record by lower-case names, and its payload as it was before it was packed for the way."""
    from fastwarc.warc import WarcRecord  # heavy: only for such files

    lines = frame.head.removeprefix(b"\xef\xbb\xbf").splitlines()
    lines = [line for line in lines if not line.lower().startswith(b"content-length")] + [b"Content-Length: %d" % len(frame.block)]
    whole = b"\r\n".join(lines) + b"\r\n\r\n" + frame.block
    try:
        record = WarcRecord.from_bytes(whole)
    except (OSError, ValueError) as error:
        raise Refused("broken record", f"its header cannot be read: {error}") from None
    fields = {name.lower(): value for name, value in reversed(record.headers.to_tuples())}
    if not (record.is_http and fields.get("warc-type") in ("response", "revisit")):
        return fields, Payload(frame.block, _type(fields.get("content-type", "")), None, None)
    data = None
    for decoding in ("all", "none"):  # many files keep the header of a packed body and the body unpacked
        record = WarcRecord.from_bytes(whole)
        try:
            record.parse_http(auto_decode=decoding, max_header_len=LONGEST_HEAD)
            data = record.reader.read(most + 1)
            break
        except (OSError, ValueError):
            continue
    if data is None:
        raise Refused("broken record", "its HTTP header cannot be read")
    if len(data) > most:
        raise Refused("too large", f"its page unpacks to more than {most:,} bytes")
    mime = _type(record.http_content_type or fields.get("warc-identified-payload-type", ""))
    return fields, Payload(data, mime, record.http_charset, record.http_headers.status_code)


def _type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _refusal(fields: dict[str, str], payload: Payload, found: str) -> tuple[str, str] | None:
    """Rule and reason for a record that holds no page; None when it may."""
    kind = fields.get("warc-type", "")
    if kind == "revisit":
        return "revisit", "the page is the same as at an earlier visit"
    if kind not in ("response", "resource", "conversion"):
        return "no page", f"records of type {kind[:40]!r} are not read"
    if payload.status is not None and payload.status != 200:
        return "status", f"the server answered {payload.status}"
    if kind == "response" and payload.status is None and fields.get("content-type", "").lower().startswith("application/http"):
        return "status", "the server's answer has no status"
    if not payload.data.strip():
        return "nothing in it", "its page has no bytes"
    return None if found in ("page", "text", *FILES) else ("other type", f"it is {found}, and that is not read")


def _kind(payload: Payload, reading: Reading) -> str:
    """``page``, ``text``, one of ``FILES``, or what else it is: what is said of it, checked against its first bytes."""
    start = payload.data[:LOOKED_AT].lstrip().lower()
    if payload.data.startswith(PDF) or (payload.mime == "application/pdf" and PDF in payload.data[:PDF_WITHIN]):
        return "pdf"
    if payload.data.startswith(ZIP):
        try:
            return zips.kind_of(_file("", payload.data), reading.limits) or "an archive"
        except Unreadable:
            return "an archive that cannot be read"
    if other := next((name for magic, name in OTHERS.items() if payload.data.startswith(magic)), ""):
        return other
    is_page, is_feed = any(mark in start for mark in TELLING), any(mark in start[:1024] for mark in FEEDS)
    if payload.mime in PAGES:
        return "a feed" if is_feed and not is_page else "page" if is_page or b"<" in payload.data else "marked as a page and has no tag"
    if payload.mime == "text/plain":
        return "page" if start.startswith((b"<!doctype html", b"<html")) else "text"
    return ("page" if is_page and not is_feed else "of no known type") if payload.mime in UNSURE else payload.mime


def _file(name: str, data: bytes) -> Input:
    return Input(name, lambda: io.BytesIO(data), len(data))


def _fetched(file: Input, frame: Frame, fields: dict[str, str], payload: Payload, reading: Reading) -> Iterator[Document | Dropped]:
    """The documents of a PDF, EPUB or DOCX file that was fetched, which say where from."""
    data = payload.data[max(0, payload.data.find(PDF, 0, PDF_WITHIN)) :]
    inner = replace(_file(f"{file.name}#{frame.offset}", data), source=file.source, depth=file.depth + 1)
    if budget := shared_budget(file):
        inner = replace(inner, open=Opening(inner.open, budget))
    for item in documents_of(inner, reading):
        if isinstance(item, Document):
            extra = json.loads(str(item.facts.get("extra") or "{}")) | _extra(frame, fields)
            known = {name: value for name, value in _facts(file, fields, payload).items() if value is not None}
            item = replace(item, facts={**item.facts, **known, "extra": json.dumps(extra, ensure_ascii=False)})
        yield item


def _document(
    file: Input, frame: Frame, fields: dict[str, str], payload: Payload, reading: Reading, *, is_page: bool
) -> Document | Dropped:
    inside, limits = str(frame.offset), reading.limits
    text, name, reason = charset.decoded(payload.data, declared=payload.charset, is_markup=is_page)
    if reason:
        return file.refuse(inside, "not text", reason)
    facts = _facts(file, fields, payload) | {"mime": payload.mime or None, "charset": name, "raw_bytes": len(payload.data)}
    if is_page:
        page = html.extract(text, reading.extraction, str(facts["url"]) if facts["url"] else None)
        text = page.text
        facts |= html.facts_of(page)
        if page.structure:
            facts["structure"] = json.dumps(page.structure)
    else:
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        facts |= {"doc_type": "web", "extractor": "text"}
    if not text.strip():
        return file.refuse(inside, "nothing in it", "its page has no text without its programs")
    if len(text) > limits.document_characters:
        return file.refuse(inside, "too large", "its text is too long", value=len(text), threshold=limits.document_characters)
    facts["extra"] = json.dumps(_extra(frame, fields), ensure_ascii=False)
    return file.document(inside, text, {key: value for key, value in facts.items() if value is not None})


def _facts(file: Input, fields: dict[str, str], payload: Payload) -> Facts:
    """What the record says of where its payload came from."""
    url = fields.get("warc-target-uri", "").strip("<> ")
    return {
        "http_status": payload.status,
        "url": url or None,
        "fetched_at": fields.get("warc-date") or None,
        "host": _host(url) or file.name,
    }


def _extra(frame: Frame, fields: dict[str, str]) -> dict[str, str]:
    """What else it says."""
    names = {"clipped": frame.note if frame.fault else "", "length": "" if frame.fault else frame.note}
    names |= {"truncated": fields.get("warc-truncated", ""), "languages": fields.get("warc-identified-content-language", "")}
    names["record"] = fields.get("warc-record-id", "").strip("<> ")
    return {key: value for key, value in names.items() if value}


def _host(url: str) -> str:
    """The host of an address, lower case; empty when it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
