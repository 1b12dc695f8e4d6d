"""An artifact is a directory with a manifest; finished means the manifest is there.

A stage builds in ``NAME.partial/``; files are synced, the manifest is written last, the directory is renamed. A home is a folder
of artifacts that one process at a time may change. Same configuration and inputs: the finished artifact is returned at once.
"""

import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel, ValidationError

import scratchlm
from scratchlm.core.company import Alone, Company
from scratchlm.core.config import Settings, binding
from scratchlm.core.errors import ArtifactError, CheckFailed, UsageError

FORMAT = 1
MANIFEST = "manifest.json"
PLAN = "plan.json"
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
"""Directory of a draft that is no part of the artifact; it goes when the artifact is whole, not before."""
LOGS = (".jsonl", ".tfevents", "decisions.json")
"""Files with times or speeds in them: kept and hashed, but no part of the fingerprint."""


class FileFact(Settings):
    """What a file must be to be the one we wrote."""

    size: int
    sha256: str


class Manifest(Settings):
    """What an artifact says of itself."""

    kind: str
    format: int
    config: dict[str, Any]
    inputs: dict[str, str]
    """Fingerprint of each input by its name."""
    code: str
    """Version of scratchlm that wrote it; machine and Python beside it."""
    counts: dict[str, float | int | str]
    files: dict[str, FileFact]
    fingerprint: str
    """SHA-256 over kind, format, config, inputs and the contents of all files but logs."""


@dataclass(frozen=True)
class Artifact:
    """A finished directory."""

    path: Path
    manifest: Manifest
    name: str
    """What it is in this run, such as ``base``, wherever its directory lies."""

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def counts(self) -> dict[str, float | int | str]:
        return self.manifest.counts

    def verify(self) -> None:
        """Read every file again; ArtifactError names the first that is missing, cut or changed."""
        for name, fact in self.manifest.files.items():
            path = self.path / name
            if not path.exists():
                raise ArtifactError(f"{path}: missing, though the manifest lists it. Run the stage again with --again.")
            if path.stat().st_size != fact.size or sha256_of(path) != fact.sha256:
                raise ArtifactError(f"{path}: its contents are not those the manifest lists. Run the stage again with --again.")


class Draft:
    """An artifact while it is built: a directory that a kill may leave behind and a later run may continue.

    Where several processes build it together the leader alone ``writes``; what the others write is left out.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.counts: dict[str, float | int | str] = {}

    def count(self, **counts: float | int | str) -> None:
        """Put numbers (or short words) into the manifest; CheckFailed for one that is no finite number, which JSON cannot hold."""
        strange = next((name for name, value in counts.items() if isinstance(value, float) and not math.isfinite(value)), None)
        if strange is not None:
            raise CheckFailed(f"{self.path}: {strange} came out as {counts[strange]}. Look at what this stage was given.")
        self.counts.update(counts)

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file as a whole or not at all."""
        return self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file as a whole or not at all."""
        return write_atomically(self.path / name, data) if self.writes else self.path / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file as a whole or not at all."""
        return self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class Home:
    """A run's folder: the artifacts of all its stages, and the recipe they follow."""

    def __init__(self, path: Path, sources: Mapping[str, Path] | None = None, company: Company | None = None) -> None:
        self.path, self.company = path, company or Alone()
        self.sources = dict(sources or {})
        """Artifacts taken from elsewhere (``--from NAME=DIR``)."""
        self._anew: set[str] = set()

    def open(self, name: str) -> Artifact:
        """A finished artifact by name; ArtifactError says which verb makes it."""
        path = self.sources.get(name, self.path / name)
        artifact = read_artifact(path, name)
        if artifact is None:
            raise ArtifactError(f"{path}: there is no finished '{name}' here. Run the stage that makes it first, or `scratchlm run`.")
        return artifact

    def find(self, *names: str) -> Artifact | None:
        """The first of ``names`` that is finished."""
        return next((made for name in names if (made := read_artifact(self.sources.get(name, self.path / name), name))), None)

    def build(
        self,
        name: str,
        config: BaseModel,
        inputs: Sequence[Artifact] | Mapping[str, str],
        make: Callable[[Draft], None],
        *,
        together: bool = False,
    ) -> Artifact:
        """The artifact ``name`` made by ``make`` from ``inputs``, or the one that is already there if nothing differs.

        What an interrupted run left in ``NAME.partial/`` is handed to ``make`` again when its plan is the same, else removed. Of several
        processes the leader makes it, or, ``together``, all do.
        """
        prints = dict(inputs) if isinstance(inputs, Mapping) else {made.name: made.fingerprint for made in inputs}
        plan = {"kind": name, "format": FORMAT, "config": binding(config), "inputs": prints}
        final, leads = self.path / name, self.company.is_main
        made = self._standing(name, plan) if leads else None
        if self.company.told(made is not None):
            return made or self.open(name)
        draft = Draft(_partial(final, plan) if leads else _partial_path(final), writes=leads)
        self.company.told("the draft is there")
        if leads or together:
            self.company.meet(lambda: make(draft))
        made = _finish(draft, final, plan) if leads else None
        self.company.told("it is whole")
        return made or self.open(name)

    def _standing(self, name: str, plan: dict[str, Any]) -> Artifact | None:
        """What is there already, made by the same plan and not to be renewed."""
        final = self.path / name
        if name in self._anew:
            self._anew.discard(name)
            if (partial := _partial_path(final)).exists():
                shutil.rmtree(partial)
            return None
        return made if (made := read_artifact(final, name)) and _plan_of(made.manifest) == plan else None

    def renew(self, name: str) -> None:
        """Let the next build of ``name`` start from nothing; what is there stays until the new one is whole, for that may yet fail."""
        self._anew.add(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for this process; UsageError when another one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise UsageError(f"{self.path}: another process is at work here. Wait for it, or choose another folder with --home.") from None
        try:
            yield
        finally:
            lock.release()


def read_artifact(path: Path, name: str) -> Artifact | None:
    """The artifact at ``path`` under the name it has in a run, None when there is none.

    ArtifactError when its manifest is damaged or of another format.
    """
    file = path / MANIFEST
    if not file.exists():
        return None
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{file}: not a manifest this version understands. Run the stage again with --again.") from None
    if manifest.format != FORMAT:
        raise ArtifactError(f"{file}: written by format {manifest.format}, this version reads {FORMAT}. Run the stage again with --again.")
    return Artifact(path, manifest, name)


def write_atomically(path: Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` so that a reader sees all of it or none, and a power cut keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(value: Any) -> str:
    """SHA-256 of a JSON value in its canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def files_under(path: Path) -> list[Path]:
    """All files below ``path``, sorted; our own manifest and plan and the checkpoints left out."""
    own = {path / MANIFEST, path / PLAN}
    inside = (file for file in path.rglob("*") if file.is_file() and file not in own)
    return sorted(file for file in inside if path / CHECKPOINTS not in file.parents)


def facts_of(path: Path) -> dict[str, FileFact]:
    """Size and hash of every file below ``path``, by its name relative to it; each is synced to disk first."""
    facts = {}
    for file in files_under(path):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        facts[file.relative_to(path).as_posix()] = FileFact(size=file.stat().st_size, sha256=sha256_of(file))
    return facts


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` survive a power cut; a no-op where directories cannot be opened (Windows)."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plan_of(manifest: Manifest) -> dict[str, Any]:
    return {"kind": manifest.kind, "format": manifest.format, "config": manifest.config, "inputs": manifest.inputs}


def _partial_path(final: Path) -> Path:
    return final.with_name(final.name + ".partial")


def _partial(final: Path, plan: dict[str, Any]) -> Path:
    partial = _partial_path(final)
    plan_file = partial / PLAN
    (partial / MANIFEST).unlink(missing_ok=True)  # a kill between manifest and rename: the work is redone from what it left
    if partial.exists() and not (plan_file.exists() and json.loads(plan_file.read_text(encoding="utf-8")) == plan):
        shutil.rmtree(partial)
    if not partial.exists():
        write_atomically(plan_file, json.dumps(plan, indent=1, ensure_ascii=False).encode())
    return partial


def _finish(draft: Draft, final: Path, plan: dict[str, Any]) -> Artifact:
    facts = facts_of(draft.path)
    contents = {name: fact.sha256 for name, fact in facts.items() if not any(mark in name for mark in LOGS)}
    made_by = f"scratchlm {scratchlm.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print_ = fingerprint_of(plan | {"files": contents})
    manifest = Manifest(**plan, code=made_by, counts=draft.counts, files=facts, fingerprint=print_)
    write_atomically(draft.path / MANIFEST, manifest.model_dump_json(indent=1).encode())
    sync_directory(draft.path)
    previous = final.with_name(final.name + ".previous")
    if previous.exists():
        shutil.rmtree(previous)
    if final.exists():
        final.rename(previous)
    draft.path.rename(final)
    sync_directory(final.parent)
    (final / PLAN).unlink()
    shutil.rmtree(final / CHECKPOINTS, ignore_errors=True)
    if previous.exists():
        shutil.rmtree(previous)
    return Artifact(final, manifest, plan["kind"])
