"""Where text comes from: a folder, a crawl, a public data set, the documentation of this Python; and the units that read it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import reading
from scratchlm.corpus.reading import Place
from scratchlm.corpus.road import Road
from scratchlm.sources import folder, python_docs
from scratchlm.sources.file import Extraction, Limits, Reading
from scratchlm.sources.python_docs import PACKAGES
from scratchlm.units import storage
from scratchlm.units.unit import Unit
from scratchlm.web import crawl, datasets
from scratchlm.web.crawl_config import CrawlConfig

OWN = "folder"
"""The name of what ``data`` holds."""
Named = Literal["text", "title", "url", "host", "licence", "lang", "lang_score", "score", "published_at"]
"""What the columns of a table may be named for."""


class Extra(Settings):
    """A source beside ``data``: a folder here or in a store, a crawl, or a public data set. One of the three is given."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,60}$")
    """What its documents are booked under."""
    folder: str | None = None
    """Of files of any kind, here or in a store."""
    crawl: CrawlConfig | None = None
    dataset: str | None = None
    """A row of DATASETS; it is downloaded once."""
    files: int | None = Field(default=None, ge=1)
    """Of a dataset, only so many of its files, the first ones."""
    previous: str | None = None
    """Of a crawl, the folder of an earlier one: its pages are asked for on condition that they have changed, and read as NAME-earlier."""
    columns: dict[Named, str] = Field(default_factory=dict)
    """Of tables in the folder, our column by theirs: {"text": "body", "url": "meta.source"}."""
    licence: str | None = None
    """Of documents that bring none of their own, as an SPDX name."""

    @model_validator(mode="after")
    def _is_one(self) -> "Extra":
        if sum(given is not None for given in (self.folder, self.crawl, self.dataset)) != 1:
            raise ValueError("give one of folder, crawl and dataset")
        if self.columns and "text" not in self.columns:
            raise ValueError("columns: name the one that is the text, too")
        if self.name == OWN:
            raise ValueError(f"name: '{OWN}' is what corpus.data is booked under; choose another")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What its documents may be booked under."""
        return (self.name, f"{self.name}-earlier") if self.previous else (self.name,)


class Sources(Settings):
    """All sources of a corpus, and how they are read."""

    data: str | None = None
    """Folder or URL (s3://bucket/folder) of files of any kind in READERS; None: the documentation of the installed Python."""
    columns: dict[Named, str] = Field(default_factory=dict)
    """Of tables in it, our column by theirs, a dot leads into a nested one: {"text": "body", "title": "meta.name"}; empty: by name."""
    more: tuple[Extra, ...] = ()
    """Sources beside it."""
    packages: tuple[str, ...] = PACKAGES
    """Packages whose docstrings join the embedded documentation; those not installed are counted and left out."""
    extraction: Extraction = "quality"
    """Of web pages: the best main text, or nearly as good a one at almost twice the speed."""
    limits: Limits = Limits()
    """What a single file may cost."""

    @model_validator(mode="after")
    def _names_differ(self) -> "Sources":
        names = [name for extra in self.more for name in extra.names]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"more: two sources are called '{twice[0]}'; give each a name of its own")
        if self.columns and "text" not in self.columns:
            raise ValueError("columns: name the one that is the text, too")
        return self

    @property
    def names(self) -> list[str]:
        """What documents may be booked under; none when the documentation of Python is read, which has one source for each package."""
        return [*([OWN] if self.data is not None else []), *(name for extra in self.more for name in extra.names)]

    @property
    def where(self) -> str:
        """Their names for a reader."""
        said = [*([self.data] if self.data is not None else []), *(extra.name for extra in self.more)]
        return ", ".join(said) or "the documentation of the installed Python"

    def look(self, road: Road, fetched: Path, journal: Journal) -> tuple[list[Unit], list[Any]]:
        """The units that read every source, and what its contents are known by. Crawls and downloads are done first, into ``fetched``."""
        if not self.names:
            versions = python_docs.versions(self.packages)
            return [road.unit("read", "reading:python", [], packages=list(self.packages), versions=versions)], [versions]
        for extra in self.more:
            _fetch(extra, fetched / extra.name, journal)
        units, prints = [], []
        for place in self._places(fetched):
            units += reading.plan(road, _within_reach(place, fetched, road.root), self._how)
            prints.append([place.source, dict(place.columns), dict(place.facts), reading.digest_of(place)])
        return units, prints

    def reopen(self, source: str, locator: str, fetched: Path) -> tuple[str, Document] | None:
        """A document read again from where it was found, and the folder of that; None when it is not there any more."""
        for place in self._places(fetched):
            own = replace(self._how, usual=place.usual, columns=place.columns)
            if place.source == source and (found := folder.reopen(place.root, locator, own, source)):
                return place.root, found
        return None

    @property
    def _how(self) -> Reading:
        return Reading(extraction=self.extraction, limits=self.limits)

    def _places(self, fetched: Path) -> list[Place]:
        own = [replace(reading.place(OWN, self.data), columns=self.columns)] if self.data is not None else []
        return [*own, *(place for extra in self.more for place in _places(extra, fetched / extra.name))]


def _fetch(extra: Extra, target: Path, journal: Journal) -> None:
    """Bring what lies on the web into ``target``."""

    def progress(label: str, done: int, total: int) -> None:
        journal.progress(label, done, total, "pages" if extra.crawl else "bytes")

    if extra.crawl is not None:
        pages = crawl.run(extra.crawl, target, previous=Path(extra.previous) if extra.previous else None, progress=progress)
        journal.event("crawl", note=f"{extra.name}: {', '.join(f'{count:,} {what}' for what, count in crawl.counts(target).items())}")
        if not pages:
            raise DataError(f"{extra.name}: the crawl found no page. {target}/crawl.jsonl tells what every address answered.")
    elif extra.dataset is not None:
        datasets.fetch(extra.dataset, target, most_files=extra.files, progress=progress)


def _places(extra: Extra, target: Path) -> list[Place]:
    """Where the files of a source lie; what comes from the web has been fetched into ``target``."""
    facts = {"licence": extra.licence} if extra.licence else {}
    if extra.crawl is not None:
        roots = (target, *([Path(extra.previous)] if extra.previous else []))
        found = [(name, root, [path.name for path in crawl.pages_in(root)]) for name, root in zip(extra.names, roots, strict=True)]
        return [replace(reading.place(name, str(root), names), facts=facts) for name, root, names in found]
    if extra.dataset is not None:
        row = datasets.DATASETS[extra.dataset]
        names = [file.path.relative_to(target).as_posix() for file in datasets.wanted(extra.dataset, target, extra.files)]
        return [replace(reading.place(extra.name, str(target), names), columns=row.columns, facts=row.facts() | facts)]
    assert extra.folder is not None, "one of the three is given"
    return [replace(reading.place(extra.name, extra.folder), columns=extra.columns, facts=facts)]


def _within_reach(place: Place, fetched: Path, root: str) -> Place:
    """The place itself; where the work is done in an object store, a copy there of what was fetched onto this machine."""
    if not storage.is_remote(root) or storage.is_remote(place.root) or not Path(place.root).is_relative_to(fetched):
        return place
    copy = storage.join(root, "fetched", f"{place.source}-{reading.digest_of(place)[:16]}")
    for name in place.names:
        here, there = (storage.join(base, *name.split("/")) for base in (place.root, copy))
        if not storage.exists(there):
            storage.commit(Path(here), there)
    return replace(place, root=copy)
