"""All units of a step: those that are finished are left out, the others go through an engine."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache

from scratchlm.core.errors import DataError
from scratchlm.units import cluster, local, storage
from scratchlm.units.engine import Engine, Event, ignore
from scratchlm.units.unit import Done, Job, Unit, find, ready, stamp

ENGINES: dict[str, Callable[[Sequence[Job], Engine, Event], Generator[Done, None, None]]] = {"local": local.run, "ray": cluster.run}
"""Each does jobs in any order and yields what is done; the rows of ``--engine``."""
Progress = Callable[..., None]
"""Told how many units are done and of how many, and facts: documents and megabytes per second in this run."""
READERS = 8
"""Files that are hashed or asked for at a time while a plan is made; hashing lets go of the interpreter."""


def map_units(units: Sequence[Unit], desk_root: str, engine: Engine, *, progress: Progress = ignore, event: Event = ignore) -> list[Done]:
    """Every unit finished, in the order given; those whose manifest and files are there already are not done again.

    ``progress(done, total, documents_s=…, mb_s=…)`` is called at the start and after each unit, ``event(kind, **facts)`` for what
    a journal keeps. Two units with one id are done once. One driver at a time may use ``desk_root``: on this machine UsageError tells a
    second one, in an object store nothing does.
    Raises DataError when a unit cannot be done, or when more records were left out than the engine allows.
    """
    root = storage.absolute(desk_root)
    jobs, finished = _plan(units, root, engine, event)
    missing = list({job.id: job for job in jobs if job.id not in finished}.values())
    steps = sorted({job.unit.step for job in jobs})
    event("units", steps=steps, total=len(jobs), to_do=len(missing), engine=engine.kind, workers=engine.workers,
          memory_bytes=engine.memory_bytes, record_seconds=engine.record_seconds)  # fmt: skip
    with storage.held(root):
        _work(missing, finished, engine, _Meter(jobs, finished, progress), event)
        for step in steps:
            storage.sweep(storage.join(root, step))
    _check_quarantine(list(finished.values()), engine)
    return [finished[job.id] for job in jobs]


def _plan(units: Sequence[Unit], root: str, engine: Engine, event: Event) -> tuple[list[Job], dict[str, Done]]:
    known = cache(stamp)
    with ThreadPoolExecutor(READERS) as pool:
        jobs = list(pool.map(lambda unit: ready(unit, root, known), units))
        found = list(pool.map(find, jobs))
    for job, (_, wrong) in zip(jobs, found, strict=True):
        if wrong:
            event("made again", unit=f"{job.unit.step} unit {job.id[:8]}", reason=wrong)
    return jobs, {job.id: done for job, (done, _) in zip(jobs, found, strict=True) if done and not (engine.retry and done.skipped)}


def _work(missing: Sequence[Job], finished: dict[str, Done], engine: Engine, meter: "_Meter", event: Event) -> None:
    meter.show()
    if missing:
        with closing(ENGINES[engine.kind](missing, engine, event)) as results:
            for done in results:
                finished[done.id] = meter.add(done)
                meter.show()


class _Meter:
    """How far, and how fast in this run. Units that read one file, each a part of it, share its bytes."""

    def __init__(self, jobs: Sequence[Job], finished: Mapping[str, Done], progress: Progress) -> None:
        self._units = Counter(job.id for job in jobs)
        inputs = {job.id: dict(zip(job.unit.inputs, job.stamps, strict=True)) for job in jobs}
        readers = Counter(url for own in inputs.values() for url in own)
        self._bytes = {id_: sum(stamp.size / readers[url] for url, stamp in own.items()) for id_, own in inputs.items()}
        self._done = sum(self._units[id_] for id_ in finished)
        self._documents, self._read, self._start = 0, 0.0, time.monotonic()
        self._progress = progress

    def add(self, done: Done) -> Done:
        """Count a unit of this run, and tell it its bytes."""
        self._done += self._units[done.id]
        self._documents += done.documents
        self._read += self._bytes[done.id]
        return replace(done, read_bytes=round(self._bytes[done.id]))

    def show(self) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rates = {"documents_s": round(self._documents / seconds, 1), "mb_s": round(self._read / 1e6 / seconds, 2)}
        self._progress(self._done, self._units.total(), **rates)


def _check_quarantine(finished: Sequence[Done], engine: Engine) -> None:
    skipped, records = sum(len(done.skipped) for done in finished), sum(done.records for done in finished)
    if not engine.allows(skipped, records):
        first = next(locator for done in finished for locator in done.skipped)
        raise DataError(
            f"{skipped} of {records} records were left out because workers were lost at them (the first at {first}), more than the share "
            f"of {engine.quarantine_share:g} and the {engine.quarantine_least} that may be. Look at them, or raise quarantine_share."
        )
