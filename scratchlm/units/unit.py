"""A piece of work: its name is a hash of all that decides its bytes, and it is finished when its manifest is there.

Outputs lie in ``ROOT/STEP/ID/`` beside ``manifest.json``, which is written last. A change of code version, of settings or of an
input's contents gives another id, so what a run finds is never out of date. Neither id nor manifest knows an address, a
time or a machine: a folder may move, and every engine leaves the same bytes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import ValidationError

from scratchlm.core.artifact import FileFact
from scratchlm.core.config import Settings
from scratchlm.units import storage

FORMAT = 1
MANIFEST = "manifest.json"
ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Unit:
    """What is to be done: a function, its inputs, its settings."""

    step: str
    """The folder of its outputs, such as ``ingest``."""
    work: str
    """``package.module:function``, called in a worker with a ``Desk`` and ``config``."""
    inputs: tuple[str, ...]
    """Addresses of the files it reads; they do not enter the id, so an output that names them must be told how in ``config``."""
    config: Mapping[str, Any]
    """Plain JSON: everything else that decides its bytes, versions of code included."""


@dataclass(frozen=True)
class Stamp:
    """What an input must be to be the same."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Job:
    """A unit made ready to travel: known by its id, its addresses good in every process."""

    unit: Unit
    root: str
    id: str
    stamps: tuple[Stamp, ...]

    @property
    def folder(self) -> str:
        """Where its outputs lie."""
        return storage.join(self.root, self.unit.step, self.id)

    def pack(self) -> str:
        """The job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> "Job":
        """The job that ``pack`` wrote."""
        plain = json.loads(text)
        unit = Unit(**plain["unit"] | {"inputs": tuple(plain["unit"]["inputs"])})
        return cls(unit, plain["root"], plain["id"], tuple(Stamp(**stamp) for stamp in plain["stamps"]))


class Manifest(Settings):
    """What a finished unit says of itself."""

    format: int
    step: str
    work: str
    config: dict[str, Any]
    inputs: list[tuple[str, int, str]]
    """Name, size and digest of each."""
    files: dict[str, FileFact]
    facts: dict[str, Any]
    """What the work function returned: counts."""
    records: int
    """How many it met, as told to ``Desk.at``."""
    skipped: list[str]
    """Locators of records left out because workers died on them."""


@dataclass(frozen=True)
class Done:
    """A finished unit."""

    id: str
    files: Mapping[str, str]
    """Address of each output by its name."""
    facts: Mapping[str, Any]
    records: int
    skipped: tuple[str, ...]
    seconds: float = 0.0
    """Of work in this run; 0 when it was finished before."""
    peak_bytes: int = 0
    """Largest resident memory of its worker in this run."""
    read_bytes: int = 0
    """Its share of the inputs of all units it was done with; 0 when it was finished before."""

    @property
    def documents(self) -> int:
        """How many it was about: ``documents`` as its facts say, else its records."""
        return int(self.facts.get("documents", self.records))

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Done":
        """What ``asdict`` made of one, perhaps by way of JSON."""
        fields: dict[str, Any] = {**plain, "skipped": tuple(plain["skipped"])}
        return cls(**fields)


def canonical(value: Any) -> str:
    """JSON that is the same for equal values; ValueError for a number that JSON has no word for."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def ready(unit: Unit, root: str, stamp: Callable[[str], Stamp]) -> Job:
    """The unit with its id: BLAKE2b-128 over step, work, settings, and name, size and digest of each input in order."""
    inputs = tuple(storage.absolute(url) for url in unit.inputs)
    stamps = tuple(stamp(url) for url in inputs)
    plain = {"step": unit.step, "work": unit.work, "config": unit.config, "inputs": [asdict(one) for one in stamps]}
    text = canonical(plain)
    name = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    # Settings go through JSON here, so that work in this process sees what work in another one does.
    return Job(Unit(unit.step, unit.work, inputs, json.loads(text)["config"]), root, name, stamps)


def stamp(url: str) -> Stamp:
    """What a file is now: of an output of an earlier unit what its manifest recorded, of any other what its bytes say."""
    beside = storage.beside(url, MANIFEST)
    is_ours = ID.fullmatch(beside.replace("\\", "/").split("/")[-2])
    manifest = _read(storage.read_bytes(beside)) if is_ours else None
    if manifest and (fact := manifest.files.get(storage.name_of(url))):
        return Stamp(storage.name_of(url), fact.size, f"sha256:{fact.sha256}")
    return Stamp(storage.name_of(url), storage.size(url), storage.digest(url))


def find(job: Job) -> tuple[Done | None, str]:
    """The finished unit, or None and what is wrong with what lies there (nothing when there is nothing).

    Files on this machine are read and compared with their digests, objects of a store with their sizes only.
    """
    address = storage.join(job.folder, MANIFEST)
    data = storage.read_bytes(address)
    manifest = _read(data)
    if manifest is None:
        return None, "" if data is None else f"{address} is not whole, or of another format"
    for name, fact in manifest.files.items():
        url = storage.join(job.folder, name)
        if not storage.exists(url):
            return None, f"{url} is missing"
        if storage.size(url) != fact.size or not (storage.is_remote(url) or storage.sha256(url) == fact.sha256):
            return None, f"{url} is not what its manifest lists"
    return done(job, manifest), ""


def done(job: Job, manifest: Manifest, *, seconds: float = 0.0, peak_bytes: int = 0) -> Done:
    """What ``map_units`` returns for a manifest."""
    files = {name: storage.join(job.folder, name) for name in manifest.files}
    return Done(job.id, files, manifest.facts, manifest.records, tuple(manifest.skipped), seconds, peak_bytes)


def _read(data: bytes | None) -> Manifest | None:
    try:
        manifest = Manifest.model_validate_json(data) if data else None
    except ValidationError:
        return None
    return manifest if manifest and manifest.format == FORMAT else None
