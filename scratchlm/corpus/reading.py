"""From files to documents: which files a unit reads, and how what it finds is cleaned and booked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from scratchlm.core.artifact import fingerprint_of
from scratchlm.core.config import to_plain
from scratchlm.core.records import Document
from scratchlm.corpus.road import Road
from scratchlm.corpus.shown import excerpt
from scratchlm.rules import clean
from scratchlm.sources import folder, parts, pieces, record, repository
from scratchlm.sources.file import Input, Limits, Part, Reading
from scratchlm.sources.found import EXCERPT, Dropped, Found
from scratchlm.sources.repository import Repository
from scratchlm.units import storage
from scratchlm.units.desk import Desk
from scratchlm.units.unit import Unit

Facts = Mapping[str, str | int | float | None]
UNIT_BYTES = 64 * 2**20
"""Of files that one unit reads; a larger file is many units where it can be read in parts, else one of its own."""


@dataclass(frozen=True)
class Place:
    """A folder of files, here or in a store, as a source of documents."""

    source: str
    """The name that its documents carry."""
    root: str
    names: Sequence[str]
    """Of its files, below ``root`` with '/'."""
    refused: Sequence[Mapping[str, Any]] = ()
    """Rows for files and folders that cannot be read at all."""
    repositories: Sequence[Repository] = ()
    """Checkouts among the files."""
    usual: int = pieces.USUAL
    """Characters of the pieces that long texts are cut into."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of tables: our column by theirs."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Of every document that does not say it of itself: licence, language, and what kind of text the rows of a table are."""


def place(source: str, root: str, only: Sequence[str] | None = None) -> Place:
    """The files below a folder, or ``only`` some of them, in the order of their names, and what of it cannot be read."""
    wanted = None if only is None else set(only)
    items = [item for item in folder.inputs(root, source) if wanted is None or _name_of(item) in wanted]
    files = [item for item in items if isinstance(item, Input)]
    names = [file.name for file in files]
    refused = [asdict(item) for item in items if isinstance(item, Dropped)]
    return Place(source, root, names, refused, folder.repositories(root, names), folder.usual_of(files))


def _name_of(item: Input | Dropped) -> str:
    return item.name if isinstance(item, Input) else item.locator.removesuffix("#file")


def digest_of(place: Place) -> str:
    """What the contents of a place are known by: names and digests of all its files."""
    return fingerprint_of([[name, storage.digest(storage.join(place.root, *name.split("/")))] for name in place.names])


def plan(road: Road, place: Place, reading: Reading) -> list[Unit]:
    """Units of about ``UNIT_BYTES`` that read the files of a place in the order of their names; a large file may be many of them."""
    limits = to_plain(reading.limits)
    settings = {"extraction": reading.extraction, "usual": place.usual, "columns": dict(place.columns), "limits": limits}
    about = {"source": place.source, "facts": dict(place.facts)}
    units = []
    for names, part in list(packed(place)) or [([], None)]:
        own = {"names": names, "part": part, "refused": [] if units else place.refused}
        around = [asdict(one) for one in repository.around(names, place.repositories)]
        urls = [storage.join(place.root, *name.split("/")) for name in names]
        units.append(road.unit("read", "reading:files", urls, repositories=around, **own, **about, **settings))
    return units


def packed(place: Place) -> Iterator[tuple[list[str], Part | None]]:
    """The names of the files that go together, or one file and the part of it that is read."""
    held: list[str] = []
    size = 0
    for name in place.names:
        url = storage.join(place.root, *name.split("/"))
        own = storage.size(url)
        if held and size + own > UNIT_BYTES:
            yield held, None
            held, size = [], 0
        found = parts.splits(Input(name, partial(storage.open_stream, url), own, place.source), UNIT_BYTES) if own > UNIT_BYTES else []
        if len(found) > 1:
            yield from (([name], part) for part in found)
            continue
        held.append(name)
        size += own
    if held:
        yield held, None


def files(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read files into ``documents.parquet``; what gave no document goes into ``refused.parquet`` with the reason."""
    from scratchlm.sources.dispatch import documents_of

    limits = Limits(**config["limits"])
    reading = Reading(extraction=config["extraction"], usual=config["usual"], columns=config["columns"], limits=limits, at=desk.at)
    around = [Repository(**row) for row in config["repositories"]]
    part = tuple(config["part"]) if config["part"] else None

    def found() -> Found:
        yield from (Dropped(**row) for row in config["refused"])
        for name, url in zip(config["names"], desk.inputs, strict=True):
            file = Input(name, partial(desk.ranges if part else desk.open, url), storage.size(url), config["source"], part=part)
            yield from documents_of(file, reading, around)

    return book(desk, found(), limits, partial(described, usual=config["facts"]))


def described(facts: Facts, usual: Mapping[str, str]) -> Facts:
    """A document's facts, and what is usual of its source where it does not say it of itself."""
    own = dict(facts)
    if facts.get("licence", "unknown") == "unknown" and "licence" in usual:
        own |= {"licence": usual["licence"], "licence_evidence": usual.get("licence_evidence", "of the whole source")}
    if facts.get("doc_type") == "rows" and "doc_type" in usual:
        own["doc_type"] = usual["doc_type"]
    if not facts.get("lang") and "lang" in usual:
        own["lang"] = usual["lang"]
    return own


def python(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The documentation of the installed Python and of ``config["packages"]``, as ``files`` leaves it."""
    from scratchlm.sources import python_docs

    def progress(label: str, done: int, total: int) -> None:
        desk.at(f"{label} {done} of {total}")

    return book(desk, python_docs.documents(config["packages"], progress), Limits(), lambda facts: facts)


def book(desk: Desk, found: Found, limits: Limits, about: Callable[[Facts], Facts]) -> Mapping[str, Any]:
    """Clean and write documents, and the rows of what is refused."""
    writer, refused = record.Writer(desk.path("documents.parquet")), record.DroppedWriter(desk.path("refused.parquet"))
    mended = 0
    for item in found:
        if isinstance(item, Document):
            document = clean.normalise_document(replace(item, facts=about(item.facts)))
            mended += document.text != item.text
            fault = unfit(document, limits)
            if fault is None:
                writer.write(document)
                continue
            item = fault
        refused.write(asdict(item) | {"excerpt": excerpt(item.excerpt)})
    desk.at("")  # what is lost from here on is no record's fault
    writer.close()
    refused.close()
    documents = sum(count for count, _ in writer.groups)
    return {"documents": documents, "refused": refused.count, "mended": mended, "groups": writer.groups}


def unfit(document: Document, limits: Limits) -> Dropped | None:
    """Why a document cannot be one, if it cannot."""
    size = len(document.text)
    if not document.text.strip():
        rule, reason, threshold = "empty", "no text is left", 1
    elif size > limits.document_characters:
        rule, reason, threshold = "too large", f"{size} characters", limits.document_characters
    else:
        return None
    locator = str(document.facts.get("locator", ""))
    excerpt = document.text[:EXCERPT]
    return Dropped(document.id, locator, document.source, "clean", rule, reason, size, threshold, size, excerpt)
