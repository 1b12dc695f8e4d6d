"""Archives: each member is a file of its own, named ``ARCHIVE!MEMBER`` and read like any other.

Nothing is written under a member's name, so a name cannot harm; one that climbs is refused all the same, because no honest tool writes it.
"""

import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import islice

from scratchlm.sources import licence, repository, zips
from scratchlm.sources.dispatch import documents_of, kind_by_name
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Found
from scratchlm.sources.repository import Repository
from scratchlm.sources.streams import FAULTS, Chunks, Opening, Refused, Stream, budget_of, counted, fault_of, kept, seekable

LARGEST_HEADER = 2**20
"""Bytes of a tar header that extends another one: a long name, a list of attributes."""
EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
PORTION = 10_240
"""Bytes of a member that are taken at once: as many are lost at most where an archive breaks."""
MOST_NOTED, MOST_NOTED_BYTES = 200_000, 32 * 2**20
"""Members of a tar file among which repositories are looked for, and bytes of their licences and the like that are held meanwhile."""
TELLING = re.compile(r"(?:^|/)\.git(?:/(?:HEAD|config|packed-refs|refs/.{1,200}))?$")
"""Names below ``.git`` that tell where a repository starts, and which commit and origin it is of."""
LEFT_OUT = "__MACOSX"
"""The folder in which one system keeps the attributes of files."""
CLIMBING = re.compile(r"(^|[/\\])\.\.([/\\]|$)|^[/\\]|^[A-Za-z]:[/\\]")


def read_zip(file: Input, reading: Reading) -> Found:
    """The documents of all members, in the order of the archive's list."""
    _check_depth(file, reading)
    budget = budget_of(file, reading.limits)
    seen: set[int] = set()
    with seekable(file) as stream, zips.opened(stream, reading.limits) as archive:
        repositories = _repositories(archive, file)
        for info in archive.infolist():
            if info.filename.endswith("/") or _is_hidden(info.filename):
                continue
            opening = zips.opening(archive, info, budget)
            member = Input(_name(file, info.filename), opening, info.compress_size, file.source, file.depth + 1)
            reason = _fault(member.name, info.filename, seen) or _zip_fault(info)
            if reason:
                yield member.refuse("file", *reason)
            else:
                yield from documents_of(member, reading, repositories)


def read_tar(file: Input, reading: Reading) -> Found:
    """The documents of all members, in their order; the archive is read once, from start to end, and twice when source code is in it."""
    _check_depth(file, reading)
    budget = budget_of(file, reading.limits)
    seen: set[int] = set()
    repositories: list[Repository] | None = None
    with file.open() as stream, _tar(stream) as archive:
        for number, info in enumerate(_headers(archive), start=1):
            if number > reading.limits.members:
                raise Refused("bomb", f"it holds more than {reading.limits.members:,} members")
            if info.isdir() or _is_hidden(info.name):
                continue
            member = Input(_name(file, info.name), file.open, info.size, file.source, file.depth + 1)
            reason = _fault(member.name, info.name, seen) or _tar_fault(info)
            if reason:
                yield member.refuse("file", *reason)
                continue
            if repositories is None and kind_by_name(member.name) == "code":
                repositories = _noted(file)
            with counted(_chunks(archive, info), budget) as once, kept(once) as again:
                yield from documents_of(replace(member, open=Opening(again, budget)), reading, repositories or ())


class _Header(tarfile.TarInfo):
    """A header that is not followed where it asks for memory: names of gigabytes, lists of holes without an end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """The header in a block of 512 bytes."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENDED and header.size > LARGEST_HEADER:
            raise Refused("bomb", f"a header in it has {header.size:,} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise Refused("unreadable", "it stores files with holes, which are not read")
        return header


def _tar(stream: Stream) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header)
    except FAULTS as error:
        raise fault_of(error, "no tar file") from None


def _repositories(archive: zipfile.ZipFile, file: Input) -> list[Repository]:
    """The checkouts that lie in the archive, which often is one."""
    inside = {_name(file, name): name for name in archive.namelist()}

    def start_of(name: str) -> bytes | None:
        try:
            return zips.part(archive, inside[name], licence.LONGEST) if name in inside else None
        except Unreadable:
            return None

    return repository.find(inside, start_of, whole=file.name)


def _noted(file: Input) -> list[Repository]:
    """The checkouts in a tar file, by a pass of its own over it, for a licence may stand behind what it is of; up to where it breaks."""
    names: list[str] = []
    texts: dict[str, bytes] = {}
    left = MOST_NOTED_BYTES
    try:
        with file.open() as stream, _tar(stream) as archive:
            for info in islice(_headers(archive), MOST_NOTED):
                name, base, is_git = _name(file, info.name), info.name.rpartition("/")[2], ".git" in info.name.split("/")
                if not info.isreg() or (is_git and not TELLING.search(info.name)):
                    continue
                names.append(name)
                if is_git or licence.is_file(base) or base in licence.METADATA:
                    data = archive.extractfile(info)
                    texts[name] = data.read(min(left, licence.LONGEST)) if data else b""
                    left -= len(texts[name])
    except (Unreadable, *FAULTS) as fault:
        fault_of(fault)  # raised when it is this machine's; what else is wrong is told where the members are read
    return repository.find(names, texts.get, whole=file.name)


def _headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            info = archive.next()
        except tarfile.ReadError as error:
            raise fault_of(EOFError() if "end of data" in str(error) else error) from None
        except FAULTS as error:
            raise fault_of(error) from None
        if info is None:
            return
        yield info
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - missing in its types; else it grows with the archive


def _chunks(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Chunks:
    data = archive.extractfile(info)
    left = info.size
    while data and left > 0:
        try:
            chunk = data.read(min(left, PORTION))
        except tarfile.ReadError:
            raise EOFError from None
        if not chunk:
            raise EOFError
        left -= len(chunk)
        yield chunk


def _check_depth(file: Input, reading: Reading) -> None:
    if file.depth >= reading.limits.depth:
        raise Refused("too deep", f"it lies in {file.depth} archives")


def _name(file: Input, inside: str) -> str:
    return f"{file.name}!{os.fsencode(inside).decode('utf-8', 'backslashreplace')}"


def _is_hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == LEFT_OUT or any(part.startswith(".") and part.strip(".") for part in parts)


def _fault(name: str, inside: str, seen: set[int]) -> tuple[str, str] | None:
    """Why a member is refused for its name."""
    if not inside or "\0" in inside or CLIMBING.search(inside):
        return "unsafe name", "its name leads out of the archive, or nowhere"
    mark = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
    if mark in seen:
        return "same name", "another member has the same name"
    seen.add(mark)
    return None


def _zip_fault(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    if zips.is_link(info):
        return "link", "links in archives are not followed"
    if zips.is_encrypted(info):
        return "encrypted", "it needs a password"
    return None


def _tar_fault(info: tarfile.TarInfo) -> tuple[str, str] | None:
    if info.issym() or info.islnk():
        return "link", "links in archives are not followed"
    return None if info.isreg() else ("not a file", "it is a pipe or a device")
