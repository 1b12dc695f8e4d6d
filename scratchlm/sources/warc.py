"""WARC and WET files: each page that was fetched as a document, every other answer with the reason why it is none.

The locator of a document is ``NAME#OFFSET``: the byte in the *unpacked* stream where its record starts, whatever the file is packed in.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from scratchlm.core.records import Document
from scratchlm.sources import charset, html
from scratchlm.sources.file import Input, Reading
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.plain import Facts
from scratchlm.sources.streams import CHUNK, Refused, unpacked
from scratchlm.sources.warc_frames import Frame, Frames

PAGES = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
UNSURE = ("", "application/octet-stream", "unknown/unknown", "application/unknown", "application/x-unknown", "text/xml", "application/xml")
"""Types that say nothing of what a payload is; then its first bytes do."""
TELLING = (b"<html", b"<!doctype html", b"<body", b"<head>", b"<head ", b"<title")
"""One of these within the first 4 KiB makes a page."""
FEEDS = (b"<rss", b"<feed", b"<urlset", b"<sitemapindex", b"<rdf:rdf", b"<opml")
OTHERS = {
    b"%PDF-": "a PDF", b"\x89PNG": "an image", b"GIF8": "an image", b"\xff\xd8\xff": "an image", b"PK\x03\x04": "an archive",
    b"\x1f\x8b": "packed",
}  # fmt: skip
"""What a payload is by its first bytes, whatever is said of it."""
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
            if (answer := _answer(file, frame, reading)) is not None:
                yield answer
        if frames.broken is not None:
            rule = frames.broken.rule if isinstance(frames.broken, Refused) else "unreadable"
            if rule == "bomb":
                raise frames.broken
            reason = f"it was read up to byte {frames.offset:,}, {count:,} records: {frames.broken}"
            yield file.refuse("file", rule, reason, value=frames.offset)


def reopen(file: Input, inside: str, reading: Reading | None = None) -> Document | None:
    """The document at ``inside``, a number from a locator; None when none is there. Jumps where the stream can, else reads up to it."""
    reading = reading or Reading()
    if not (inside.isascii() and inside.isdecimal()):
        return None
    file, _ = unpacked(file, reading.limits)
    with file.open() as stream:
        left = int(inside)
        if stream.seekable():
            stream.seek(left)
            left = 0
        while left and (data := stream.read(min(left, CHUNK))):
            left -= len(data)
        frames = Frames(stream, reading.limits.record_bytes)
        frames.offset = int(inside)
        frame = next(iter(frames), None)
    found = _answer(file, frame, reading) if frame and not left and frame.offset == int(inside) else None
    return found if isinstance(found, Document) else None


def _answer(file: Input, frame: Frame, reading: Reading) -> Document | Dropped | None:
    """What becomes of a record; None when it is about another one."""
    inside = str(frame.offset)
    if not frame.head or frame.fault == "too large":
        value = frame.length if frame.fault == "too large" else None
        return file.refuse(inside, frame.fault, frame.note, value=value, threshold=reading.limits.record_bytes if value else None)
    if not reading.at(f"{file.name}#{inside}"):
        return file.refuse(inside, "quarantined", "reading it failed twice")
    try:
        fields, payload = _payload(frame, reading.limits.record_bytes)
        if fields.get("warc-type") in ABOUT:
            return None
        if refusal := _refusal(fields, payload):
            return file.refuse(inside, *refusal, value=payload.status if refusal[0] == "status" else None)
        return _document(file, frame, fields, payload, reading)
    except Refused as fault:
        return file.refuse(inside, fault.rule, str(fault))


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


def _refusal(fields: dict[str, str], payload: Payload) -> tuple[str, str] | None:
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
    found = _kind(payload)
    return None if found in ("page", "text") else ("other type", f"it is {found}, and only pages and plain text are read")


def _kind(payload: Payload) -> str:
    """``page``, ``text``, or what else it is: what is said of it, checked against its first bytes."""
    start = payload.data[:LOOKED_AT].lstrip().lower()
    if other := next((name for magic, name in OTHERS.items() if payload.data.startswith(magic)), ""):
        return other
    is_page, is_feed = any(mark in start for mark in TELLING), any(mark in start[:1024] for mark in FEEDS)
    if payload.mime in PAGES:
        return "a feed" if is_feed and not is_page else "page" if is_page or b"<" in payload.data else "marked as a page and has no tag"
    if payload.mime == "text/plain":
        return "page" if start.startswith((b"<!doctype html", b"<html")) else "text"
    return ("page" if is_page and not is_feed else "of no known type") if payload.mime in UNSURE else payload.mime


def _document(file: Input, frame: Frame, fields: dict[str, str], payload: Payload, reading: Reading) -> Document | Dropped:
    inside, limits = str(frame.offset), reading.limits
    kind = _kind(payload)
    text, name, reason = charset.decoded(payload.data, declared=payload.charset, is_markup=kind == "page")
    if reason:
        return file.refuse(inside, "not text", reason)
    url = fields.get("warc-target-uri", "").strip("<> ")
    facts: Facts = {"mime": payload.mime or None, "charset": name, "raw_bytes": len(payload.data), "http_status": payload.status}
    facts |= {"url": url or None, "fetched_at": fields.get("warc-date") or None, "host": _host(url) or file.name}
    if kind == "page":
        page = html.extract(text, reading.extraction, url or None)
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
    names = {"clipped": frame.note if frame.fault else "", "length": "" if frame.fault else frame.note}
    names |= {"truncated": fields.get("warc-truncated", ""), "languages": fields.get("warc-identified-content-language", "")}
    names["record"] = fields.get("warc-record-id", "").strip("<> ")
    facts["extra"] = json.dumps({key: value for key, value in names.items() if value}, ensure_ascii=False)
    return file.document(inside, text, {key: value for key, value in facts.items() if value is not None})


def _host(url: str) -> str:
    """The host of an address, lower case; empty when it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
