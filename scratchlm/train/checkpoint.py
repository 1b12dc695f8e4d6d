"""Checkpoints: a directory per saved step, whole or absent, checked by hash before it is believed.

``step-00001000/`` holds what each process owns of weights and optimizer (``part-00000-of-00004.safetensors`` and so on), ``state.json``
and, written last, ``manifest.json``. It is read by as many processes as there are then, however they share the model out. All of them
see one folder; each writes, hashes and reads its share, and what ends one of them ends all.
"""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from scratchlm.core.artifact import FileFact, fingerprint_of, sha256_of, sync_directory, write_atomically
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Journal
from scratchlm.parallel.layout import AXES
from scratchlm.parallel.parts import named
from scratchlm.parallel.world import World
from scratchlm.train import pieces
from scratchlm.train.guard import Guard
from scratchlm.train.pieces import AGAIN
from scratchlm.train.state import TrainState

FORMAT = 2
PARTS, STATE, MANIFEST = "part-*.safetensors", "state.json", "manifest.json"
EARLIER = "weights.safetensors"
"""In every checkpoint of format 1, and in none since."""
Facts = dict[str, dict[str, Any]]
"""A ``FileFact`` for each file by its name, as plain values."""
FULL = os.strerror(errno.ENOSPC)
R = TypeVar("R")


class Manifest(Settings):
    """What a checkpoint says of its files."""

    format: int
    files: dict[str, FileFact]
    fingerprint: str
    """SHA-256 of the above."""


@dataclass
class Keeper:
    """Saves a run's state by steps and by minutes, keeps the newest few, and finds the newest good one again.

    Every process has one, and all of them call the same methods at the same steps.
    """

    path: Path
    world: World = field(default_factory=World)
    steps: int | None = None
    """Save after every so many steps."""
    minutes: float | None = None
    """Save when so many minutes have passed since the last one, on the main process's clock."""
    keep: int = 2
    _last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Whether to save after ``step`` steps: at every process the same."""
        by_steps = self.steps is not None and step % self.steps == 0
        if by_steps or self.minutes is None:
            return by_steps
        return self.world.told(time.monotonic() - self._last >= 60 * self.minutes)

    def save(self, state: TrainState) -> Path:
        """Write ``state``; the directory appears under its name only when all of it is on disk. ArtifactError where a process cannot."""
        assert not list(state.model.named_buffers()), "a model has tensors that are no parameters, and nobody saves those"
        final = self.path / f"step-{state.step:08d}"
        draft = final.with_suffix(".partial")
        parameters = named(state.parts, self.world)
        by_main(self.world, draft, lambda: _emptied(draft))
        facts = together(self.world, draft, lambda: self._written(state, draft, parameters))
        by_main(self.world, draft, lambda: self._publish(draft, final, facts))
        self._last = time.monotonic()
        return final

    def _written(self, state: TrainState, draft: Path, parameters: dict[str, list[int]]) -> Facts:
        """Write what this process has to write; what became of it."""
        file = draft / f"part-{self.world.rank:05d}-of-{self.world.size(*AXES):05d}.safetensors"
        made = [file] if pieces.write(file, state.parts, state.optimizer_tensors()) else []
        if self.world.is_main:
            plain = _plain(state) | {"sizes": dict(self.world.sizes), "schedule": self.world.layout.schedule, "parameters": parameters}
            made.append(write_atomically(draft / STATE, json.dumps(plain).encode()))
        return {file.name: _synced(file).model_dump() for file in made}

    def _publish(self, draft: Path, final: Path, facts: list[Facts]) -> None:
        """Give the draft its name, now that all is in it; remove the oldest."""
        for rank, wrote in enumerate(facts):
            for name, fact in wrote.items():
                if not (draft / name).exists() or (draft / name).stat().st_size != fact["size"]:
                    raise ArtifactError(
                        f"{draft / name}: process {rank} wrote it, and process 0 does not see it. "
                        "Checkpoints go into a folder that all machines share; choose one with --home."
                    )
        files = {name: fact for wrote in facts for name, fact in wrote.items()}
        said = {"format": FORMAT, "files": files}
        write_atomically(draft / MANIFEST, json.dumps(said | {"fingerprint": fingerprint_of(said)}).encode())
        sync_directory(draft)
        if final.exists():
            shutil.rmtree(final)
        draft.rename(final)
        sync_directory(self.path)
        for old in self.found()[self.keep :]:
            shutil.rmtree(old)

    def found(self) -> list[Path]:
        """Saved steps, newest first."""
        return sorted((p for p in self.path.glob("step-*") if p.suffix != ".partial"), reverse=True)

    def restore(self, state: TrainState, journal: Journal) -> bool:
        """Put the newest good checkpoint into ``state``; whether there was one. A damaged one is named, and the one before is taken.

        ``state.rows_at_once`` stays as it is where the processes shared the work out in another way. ArtifactError where a good
        checkpoint is of another model, or of an earlier version.
        """
        for name in self.world.told([path.name for path in self.found()]):
            path = self.path / name
            files, fault = examined(path, self.world)
            if fault:
                journal.event("damaged", path=name, fault=fault, message=f"{path}: {fault}; going back to the checkpoint before it")
                continue
            self._load(state, path, sorted(path / name for name in files if fnmatchcase(name, PARTS)))
            journal.event("resumed", step=state.step, tokens=state.tokens)
            return True
        return False

    def _load(self, state: TrainState, path: Path, files: list[Path]) -> None:
        plain = by_main(self.world, path, lambda: json.loads((path / STATE).read_bytes()))
        _compare(plain["parameters"], named(state.parts, self.world), path / STATE)
        first = self.world.rank * len(files) // self.world.size(*AXES)  # begin with those that were written where this process stands now
        together(self.world, path, lambda: state.load_optimizer_tensors(pieces.fill_(state.parts, files[first:] + files[:first])))
        state.step, state.tokens, state.guard = plain["step"], plain["tokens"], Guard.from_plain(plain["guard"])
        if plain["sizes"] == dict(self.world.sizes) and plain.get("schedule") == self.world.layout.schedule:
            state.rows_at_once = plain["rows_at_once"]
        if state.scaler is not None:
            state.scaler.load_state_dict(plain["scaler"])


def examined(path: Path, world: World) -> tuple[Facts, str | None]:
    """The files of a checkpoint directory and what is wrong with them, or None; each process looks at some."""
    files, fault = by_main(world, path, lambda: _listed(path))
    share = sorted(files)[world.rank :: world.size(*AXES)]
    wrong = next((found for name in share if (found := _fault_of_file(path / name, files[name]))), None)
    return files, fault or next((found for found in world.gathered(wrong, *AXES) if found), None)


def together(world: World, path: Path, act: Callable[[], R]) -> list[R]:
    """What ``act`` gives at each process, as JSON holds it; where one fails at ``path``, all of them end with the same ArtifactError."""
    gave, failed = None, None
    try:
        gave = act()
    except ArtifactError as error:
        failed = str(error)
    except (OSError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        fault = "the disk is full" if FULL in said else said
        failed = (
            f"{path}: process {world.rank} cannot work here ({fault}). Make room or allow it; the same command goes on from what is whole."
        )
    said = world.gathered({"gave": gave, "failed": failed}, *AXES)
    if failure := next((each["failed"] for each in said if each["failed"]), None):
        raise ArtifactError(failure)
    return [each["gave"] for each in said]


def by_main(world: World, path: Path, act: Callable[[], R]) -> R:
    """What ``act`` gives at the main process, which alone does it, at every process; ArtifactError as above."""
    return together(world, path, lambda: world.only_main(act))[0]  # pyright: ignore[reportReturnType]  # the first is the main process


def _listed(path: Path) -> tuple[Facts, str | None]:
    """The files that a checkpoint should have, or what is wrong with its manifest; ArtifactError where another version wrote it."""
    if (path / EARLIER).exists():
        raise ArtifactError(f"{path}: a checkpoint of an earlier version, from which this one cannot go on. {AGAIN}")
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        return {}, "it has no manifest"
    except ValidationError:
        return {}, "its manifest is not the one that was written"
    said = manifest.model_dump(exclude={"fingerprint"})
    if fingerprint_of(said) != manifest.fingerprint:
        return {}, "its manifest is not the one that was written"
    if manifest.format != FORMAT:
        raise ArtifactError(f"{path}: a checkpoint of format {manifest.format}, and this version reads {FORMAT}. {AGAIN}")
    return said["files"], None


def _fault_of_file(file: Path, fact: dict[str, Any]) -> str | None:
    try:
        if not file.exists():
            return f"{file.name} is missing"
        if file.stat().st_size != fact["size"] or sha256_of(file) != fact["sha256"]:
            return f"{file.name} is not the file that was written"
    except OSError as error:
        return f"{file.name} cannot be read ({error.strerror})"
    return None


def _synced(file: Path) -> FileFact:
    """What a file is, now that it is on disk."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    return FileFact(size=file.stat().st_size, sha256=sha256_of(file))


def _emptied(draft: Path) -> None:
    """What an earlier attempt left is removed."""
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)


def _compare(there: dict[str, list[int]], here: dict[str, list[int]], file: Path) -> None:
    """ArtifactError names the first parameter that a checkpoint and this run's model do not have in common."""
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            was, is_now = (f"of shape {shapes[name]}" if name in shapes else "absent" for shapes in (there, here))
            raise ArtifactError(f"{file}: '{name}' is {was} in this checkpoint and {is_now} in this run's model. {AGAIN}")


def _plain(state: TrainState) -> dict[str, Any]:
    scaler = None if state.scaler is None else state.scaler.state_dict()
    return {
        "step": state.step,
        "tokens": state.tokens,
        "rows_at_once": state.rows_at_once,
        "seed": state.seed,
        "guard": state.guard.to_plain(),
        "scaler": scaler,
        "torch": torch.__version__,
    }
