"""Which reader is a file for? Its first bytes decide where they are telling, else its ending; what goes wrong is told in one row."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from scratchlm.core.errors import ScratchError
from scratchlm.core.records import Document
from scratchlm.sources import code, zips
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.languages import NAMES
from scratchlm.sources.readers import GUESSED, READERS
from scratchlm.sources.repository import Repository, holding
from scratchlm.sources.streams import Refused, bare, fault_of, shared_budget, unpacked


def documents_of(file: Input, reading: Reading, repositories: Sequence[Repository] = ()) -> Found:
    """The documents of a file, and a row for each record that gives none; at least one of either.

    Source code takes licence, group and address from the one of ``repositories``, in the order of their roots, that it lies in.
    A member that spends what is left of its archive's budget ends the whole archive: Exhausted comes through.
    Faults of this machine, such as a full disk, are raised as they are: they say nothing of the file.
    """
    if not reading.at(f"{file.name}#{file.inside}"):
        yield file.refuse(file.inside, "quarantined", "reading it failed twice")
        return
    found = False
    try:
        for item in _read(file, reading, repositories):
            found = True
            yield item
    except Unreadable as fault:
        budget = shared_budget(file)
        if budget and budget.is_spent:
            raise
        yield file.refuse(file.inside, fault.rule if isinstance(fault, Refused) else "unreadable", str(fault))
    except (ScratchError, MemoryError):
        raise
    except OSError as error:
        yield file.refuse(file.inside, "unreadable", str(fault_of(error)))
    except Exception as error:  # noqa: BLE001 - a parser may raise anything on bytes made to break it; the run goes on and tells
        yield file.refuse(file.inside, "reader failed", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    else:
        if not found and not file.part:
            yield file.refuse("file", "nothing in it", "no text was found in it")


def kind_by_name(name: str) -> str | None:
    """The row of ``READERS`` that a file's ending names, whatever it is packed in; None when there is none."""
    return "code" if bare(name) in NAMES else ENDINGS.get(ending_of(name))


def ending_of(name: str) -> str:
    """The last ending of a file's name, with its dot, below those of packed files; empty when there is none."""
    stem, dot, ending = bare(name).rpartition(".")
    return dot + ending if stem else ""


def kind_of(head: bytes, name: str) -> str | None:
    """The row of ``READERS`` for a file that starts with ``head``; None when there is none."""
    named = kind_by_name(name)
    proof = READERS[named].is_meant if named else None
    if named and proof and proof(head):
        return named
    is_open = named in (None, "text") or proof is not None  # an ending that is not proved wrong stands against a guess
    for kind, reader in READERS.items():
        if reader.is_meant and reader.is_meant(head) and (is_open or kind not in GUESSED):
            return kind
    return named


def _read(file: Input, reading: Reading, repositories: Sequence[Repository]) -> Iterator[Document | Dropped]:
    file, head = unpacked(file, reading.limits)
    if not head:
        return
    kind = kind_of(head, file.name)
    if kind == "archive_zip":
        kind = zips.kind_of(file, reading.limits) or kind
    if kind is None:
        ending = ending_of(file.name)
        raise Refused("other kind", f"files ending in '{ending}' are not read" if ending else "it is of no kind that is read")
    named = kind_by_name(file.name)
    note = {"read_as": kind, "named": ending_of(file.name)} if named not in (kind, None) else {}
    around = holding(file.name, repositories) if kind == "code" else None
    for item in code.read(file, reading, around) if around else READERS[kind].read(file, reading):
        yield _noted(item, note) if note and isinstance(item, Document) else item


def _noted(document: Document, note: dict[str, str]) -> Document:
    """The document with the kind that its file turned out to be."""
    extra = json.loads(str(document.facts.get("extra") or "{}"))
    return replace(document, facts={**document.facts, "extra": json.dumps(extra | note, ensure_ascii=False)})


ENDINGS = {ending: kind for kind, reader in READERS.items() for ending in reader.endings}
