"""Zip files that nobody vouches for: what is in one, and a member's bytes, before anything of it is believed."""

import stat
import struct
import zipfile
from typing import Any, cast

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - its compiled part has no types

from scratchlm.sources.file import Input, Limits, Unreadable
from scratchlm.sources.streams import CHUNK, FAULTS, Budget, Chunks, Opening, Refused, Stream, counted, fault_of, seekable

END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
LARGEST_LIST = 128 * 2**20
"""Bytes of the list of members, which is held in memory eight times over."""
LARGEST_PART = 8 * 2**20
"""Bytes of a part that is read as a whole: a chapter, a list of styles. As nothing but empty elements it takes 300 MB."""
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Ways of packing whose memory is bounded by the format."""
KINDS = {"META-INF/container.xml": "epub", "word/document.xml": "docx"}
"""What a zip file with such a member is."""


def opened(stream: Stream, limits: Limits) -> zipfile.ZipFile:
    """The archive; Refused when its list is too long, or its members lie over each other to look like more than they are."""
    stream.seek(0, 2)
    size = stream.tell()
    tail_size = min(size, 66_000)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    for mark, form, place in ((END, "<I", 12), (END_64, "<Q", 40)):
        start = tail.rfind(mark)
        if start >= 0 and len(tail) >= start + place + 8:
            (length,) = struct.unpack_from(form, tail, start + place)
            if LARGEST_LIST < length < 2**32 - 1 or (length > LARGEST_LIST and mark == END_64):
                raise Refused("bomb", f"its list of members has {length:,} bytes")
    try:
        archive = zipfile.ZipFile(stream)
    except FAULTS as error:
        raise fault_of(error, "no zip file") from None
    if len(archive.infolist()) > limits.members:
        raise Refused("bomb", f"it holds {len(archive.infolist()):,} members, more than {limits.members:,}")
    _check_places(archive.infolist(), size)
    return archive


def _check_places(members: list[zipfile.ZipInfo], size: int) -> None:
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Refused("bomb", "its members lie over each other")
        end = info.header_offset + 30 + info.compress_size
        if info.header_offset < 0 or end > size:
            raise Refused("clipped", "a member lies beyond its end")


def kind_of(file: Input, limits: Limits) -> str | None:
    """ "epub" or "docx" when the zip file is one of these."""
    with seekable(file) as stream, opened(stream, limits) as archive:
        names = set(archive.namelist())
    return next((kind for name, kind in KINDS.items() if name in names), None)


def is_link(info: zipfile.ZipInfo) -> bool:
    """Whether the member is a symbolic link of Unix."""
    return stat.S_ISLNK(info.external_attr >> 16)


def is_encrypted(info: zipfile.ZipInfo) -> bool:
    """Whether a password would be needed."""
    return bool(info.flag_bits & 1)


def opening(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> Opening:
    """How to open a member; it spends from the budget of its archive."""
    return Opening(lambda: counted(_chunks(archive, info), budget), budget)


def part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a small member; Unreadable when it is missing, broken or longer than ``most``."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise Unreadable(f"its part {name} is missing") from None
    _check_packing(info)
    try:
        with archive.open(info) as stream:
            data = stream.read(most + 1)
    except FAULTS as error:
        raise fault_of(error) from None
    if len(data) > most:
        raise Refused("bomb", f"its part {name} unpacks to more than {most:,} bytes")
    return data


def tree(archive: zipfile.ZipFile, name: str) -> Any:
    """The root of a small part that is XML; nothing that it declares is expanded, and nothing outside of it is opened."""
    parser = etree.XMLParser(resolve_entities=False, huge_tree=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(part(archive, name, LARGEST_PART), parser)
    except (etree.LxmlError, ValueError) as error:
        raise Unreadable(f"its part {name} is no XML: {str(error).splitlines()[0]}") from None


def _check_packing(info: zipfile.ZipInfo) -> None:
    if info.compress_type not in READABLE:
        raise Unreadable(f"it is packed by method {info.compress_type}, which is not read")


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Chunks:
    _check_packing(info)
    with cast(zipfile.ZipExtFile, archive.open(info)) as stream:
        while chunk := stream.read1(CHUNK):
            yield chunk
