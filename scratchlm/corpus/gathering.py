"""Where text comes from: a folder, a crawl, a public data set, the documentation of this Python; and the units that read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.corpus import reading
from scratchlm.corpus.reading import Place
from scratchlm.corpus.road import Road
from scratchlm.sources import python_docs
from scratchlm.sources.file import Reading
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


@dataclass(frozen=True)
class Sources:
    """All sources of a corpus."""

    data: str | None
    columns: Mapping[Named, str]
    more: Sequence[Extra]
    packages: Sequence[str]

    @property
    def names(self) -> list[str]:
        """What documents may be booked under; none when the documentation of Python is read, which has one source for each package."""
        return [*([OWN] if self.data is not None else []), *(name for extra in self.more for name in extra.names)]

    @property
    def where(self) -> str:
        """Their names for a reader."""
        said = [*([self.data] if self.data is not None else []), *(extra.name for extra in self.more)]
        return ", ".join(said) or "the documentation of the installed Python"

    def look(self, road: Road, how: Reading, fetched: Path, journal: Journal) -> tuple[list[Unit], list[Any]]:
        """The units that read every source, and what its contents are known by. Crawls and downloads are done first, into ``fetched``."""
        if not self.names:
            versions = python_docs.versions(self.packages)
            return [road.unit("read", "reading:python", [], packages=list(self.packages), versions=versions)], [versions]
        own = [replace(reading.place(OWN, self.data), columns=self.columns)] if self.data is not None else []
        more = [place for extra in self.more for place in _found(extra, fetched / extra.name, journal)]
        units, prints = [], []
        for place in [*own, *(_within_reach(place, road.root) for place in more)]:
            units += reading.plan(road, place, how)
            prints.append([place.source, dict(place.columns), dict(place.facts), reading.digest_of(place)])
        return units, prints


def _found(extra: Extra, target: Path, journal: Journal) -> list[Place]:
    """Where the files of a source lie; a crawl and a public data set are first fetched into ``target``."""

    def progress(label: str, done: int, total: int) -> None:
        journal.progress(label, done, total, "pages" if extra.crawl else "bytes")

    facts = {"licence": extra.licence} if extra.licence else {}
    if extra.crawl is not None:
        previous = Path(extra.previous) if extra.previous else None
        pages = crawl.run(extra.crawl, target, previous=previous, progress=progress)
        if not pages:
            raise DataError(f"{extra.name}: the crawl found no page. {target}/crawl.jsonl tells what every address answered.")
        places = [(target, pages), *([(previous, crawl.pages_in(previous))] if previous else [])]
        found = zip(extra.names, places, strict=True)
        return [replace(reading.place(name, str(root), [path.name for path in paths]), facts=facts) for name, (root, paths) in found]
    if extra.dataset is not None:
        paths = datasets.fetch(extra.dataset, target, most_files=extra.files, progress=progress)
        row = datasets.DATASETS[extra.dataset]
        names = [path.relative_to(target).as_posix() for path in paths]
        return [replace(reading.place(extra.name, str(target), names), columns=row.columns, facts=row.facts() | facts)]
    assert extra.folder is not None, "one of the three is given"
    return [replace(reading.place(extra.name, extra.folder), columns=extra.columns, facts=facts)]


def _within_reach(place: Place, root: str) -> Place:
    """The place itself; where the work is done in an object store, a copy there of what was fetched onto this machine."""
    if not storage.is_remote(root) or storage.is_remote(place.root):
        return place
    copy = storage.join(root, "fetched", place.source)
    for name in place.names:
        here, there = (storage.join(base, *name.split("/")) for base in (place.root, copy))
        if not (storage.exists(there) and storage.size(there) == storage.size(here)):
            storage.commit(Path(here), there)
    return replace(place, root=copy)
