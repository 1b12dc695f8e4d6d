"""What a work function is given, and how its outputs come to be: all written aside, then each moved in place, the manifest last."""

import errno
import importlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.core import errors
from scratchlm.core.artifact import FileFact, sha256_of
from scratchlm.units import memory, storage
from scratchlm.units.arrays import Array
from scratchlm.units.slate import Slate, cut
from scratchlm.units.unit import FORMAT, MANIFEST, Job, Manifest, canonical, done

FULL = "disk full"
"""The fault of a unit that could not write; trying again would not help."""


class Desk:
    """The inputs to read, the outputs to write, and a line to say where one is."""

    def __init__(self, job: Job, scratch: Path, slate: Slate, skip: Sequence[str]) -> None:
        self.inputs = job.unit.inputs
        self.skipped: list[str] = []
        self.made: list[str] = []
        self._scratch, self._slate, self._skip = scratch, slate, frozenset(skip)

    def open(self, url: str) -> BinaryIO:
        """The bytes of an input from its start; close it after use."""
        return storage.open_stream(url)

    def table(self, url: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file, or some columns of it."""
        with storage.open_ranges(url) as source, pq.ParquetFile(source) as file:
            return file.read(columns=columns)

    def ranges(self, url: str) -> BinaryIO:
        """The bytes of an input for reading here and there; close it after use."""
        return storage.open_ranges(url)

    def local(self, url: str) -> str:
        """An input on this machine: the file itself, or of an object a copy that is gone when the unit is."""
        if not storage.is_remote(url):
            return url
        copy = self._scratch / f"input-{self.inputs.index(url)}-{storage.name_of(url)}"
        if not copy.exists():
            with storage.open_stream(url) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, storage.CHUNK)
        return str(copy)

    def array(self, url: str) -> Array:
        """An input in numpy's own format; a slice of it reads those rows."""
        return Array(url)

    def path(self, name: str) -> Path:
        """Where to write the output ``name``; it becomes one when the function returns."""
        assert Path(name).name == name != MANIFEST, f"{name}: the name of an output is plain, and not that of the manifest"
        if name not in self.made:
            self.made.append(name)
        return self._scratch / name

    def at(self, locator: str) -> bool:
        """Say before each costly record which one it is; False: leave it out, workers died on it.

        An empty locator says that no record is being worked on now: sorting, joining, writing.
        """
        self._slate.write(locator)
        if not self._skip or cut(locator) not in self._skip:
            return True
        self.skipped.append(cut(locator))
        return False


def attempt(job: Job, skip: Sequence[str], slate: Slate) -> dict[str, Any]:
    """Do a unit; what comes back is plain JSON: a manifest with its cost, or a fault with its reason."""
    start = time.perf_counter()
    memory.forget_peak()
    slate.wipe()
    try:
        manifest = _perform(job, skip, slate)
    except errors.ScratchError as error:
        return {"fault": type(error).__name__, "reason": str(error), "trace": ""}
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return {"fault": FULL, "reason": error.filename or job.folder, "trace": ""}
        return _fault(error)
    except MemoryError:
        return {"fault": "MemoryError", "reason": "asked for more memory than a worker may have", "trace": traceback.format_exc()}
    except Exception as error:  # noqa: BLE001  whatever a record does to a library is told to the driver, which tries again
        return _fault(error)
    cost = {"seconds": round(time.perf_counter() - start, 6), "peak_bytes": memory.peak()}
    return {"done": asdict(done(job, manifest, **cost))}


def _fault(error: Exception) -> dict[str, Any]:
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
    return {"fault": "Exception", "reason": reason.replace("\n", " ")[:500], "trace": traceback.format_exc()}


def work_of(name: str) -> Callable[[Desk, Mapping[str, Any]], Mapping[str, Any]]:
    """The function ``module:function``. UsageError when workers cannot import it."""
    module, _, function = name.partition(":")
    if module == "__main__":
        raise errors.UsageError(f"{name}: workers cannot import the script that was started. Put the function into a module of its own.")
    try:
        return vars(importlib.import_module(module))[function]
    except (ImportError, KeyError) as error:
        raise errors.UsageError(f"{name}: a worker cannot import it ({type(error).__name__}: {error}). Check the name.") from None


def _perform(job: Job, skip: Sequence[str], slate: Slate) -> Manifest:
    work = work_of(job.unit.work)
    scratch = storage.scratch(job.folder)
    try:
        desk = Desk(job, scratch, slate, skip)
        facts = dict(work(desk, job.unit.config))
        slate.write("")
        manifest = Manifest(
            format=FORMAT,
            step=job.unit.step,
            work=job.unit.work,
            config=dict(job.unit.config),
            inputs=[(stamp.name, stamp.size, stamp.digest) for stamp in job.stamps],
            files={name: _fact(job, scratch / name) for name in sorted(desk.made)},
            facts=json.loads(canonical(facts)),
            records=slate.read()[1],
            skipped=sorted(set(desk.skipped)),
        )
        (scratch / MANIFEST).write_text(canonical(manifest.model_dump(mode="json")) + "\n", encoding="utf-8")
        for name in [*manifest.files, MANIFEST]:
            storage.commit(scratch / name, storage.join(job.folder, name))
        return manifest
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fact(job: Job, made: Path) -> FileFact:
    if not made.is_file():
        raise errors.CheckFailed(f"{job.unit.work}: asked where to write '{made.name}' and did not write it. Mend the function.")
    return FileFact(size=made.stat().st_size, sha256=sha256_of(made))
