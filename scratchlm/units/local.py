"""Units in small processes on this machine: started fresh, watched, stopped when they cost too much."""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from scratchlm.units import desk, memory, worker
from scratchlm.units.cases import Case
from scratchlm.units.engine import Engine, Event
from scratchlm.units.slate import Slate
from scratchlm.units.unit import Done, Job

LOOK_SECONDS = 0.1
"""Between two looks at what a worker holds and where it is."""
LONGEST_LOOK = 0.5
"""More between two looks is time that this process itself stood still, and is not held against a worker."""
TAIL = 2_000
"""Bytes of what a lost worker wrote last that are told."""


def run(jobs: Sequence[Job], engine: Engine, event: Event) -> Generator[Done, None, None]:
    """Each unit as it is finished; an error of the tree in ``core/errors.py`` when one cannot be."""
    cases = deque(Case(job, engine, event) for job in jobs)
    return _here(cases) if engine.workers == 0 else _in_processes(cases, engine)


class Worker:
    """A process and the case it is at."""

    def __init__(self, engine: Engine, inbox: "queue.SimpleQueue[tuple[Worker, bytes]]") -> None:
        self._engine, self._inbox = engine, inbox
        self._slate = Slate.create()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        # A session of its own, so that with it ends what it started.
        self._process = subprocess.Popen(
            worker.command(self._slate.path, engine.memory_bytes),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._verdict = ""
        self._taken = 0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def take(self, case: Case) -> None:
        """Start a case."""
        self.case = case
        self._taken += 1
        self._slate.wipe()
        self._moves, self._stayed, self._looked = self._slate.read()[0], 0.0, time.monotonic()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"job": case.job.pack(), "skip": case.skip}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it died before; the end of its answers says so too

    def look(self) -> None:
        """Stop it when it holds too much or stays too long."""
        if self._verdict:
            return
        held, now = memory.resident(self._process.pid), time.monotonic()
        moves, _, locator = self._slate.read()
        self._stayed = self._stayed + min(now - self._looked, LONGEST_LOOK) if moves == self._moves else 0.0
        self._moves, self._looked = moves, now
        allowed = self._engine.record_seconds if locator else self._engine.silent_seconds
        if held > self._engine.memory_bytes:
            self._stop(f"held {held / 1e6:.0f} MB of memory, more than the {self._engine.memory_bytes / 1e6:.0f} MB that a worker may")
        elif self._stayed > allowed:
            self._stop(f"stayed longer than {allowed:g} s {'there' if locator else 'between records'}")

    def answer(self, line: bytes) -> dict[str, Any]:
        """The outcome of its case: what it wrote, or what its death says."""
        return json.loads(line) if line.endswith(b"\n") else {"fault": "lost", "reason": self._last(), "trace": self._tail()}

    def where(self) -> tuple[str, int]:
        """The locator it is at, and how many records it met."""
        _, records, locator = self._slate.read()
        return locator, records

    @property
    def may_go_on(self) -> bool:
        """Whether it takes another case."""
        return not self._verdict and self._taken < self._engine.recycle

    def close(self) -> None:
        """End it, whatever it does, and wait until it is gone."""
        self._stop("was not needed any more")
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._errors.close()
        self._slate.close()

    def _stop(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        if self._process.poll() is not None:
            return
        if os.name == "posix":
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._inbox.put((self, line))
        self._inbox.put((self, b""))

    def _last(self) -> str:
        code = self._process.wait()
        if self._verdict:
            return self._verdict
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        return f"was killed by {name}{', perhaps because the machine ran out of memory' if -code == signal.SIGKILL else ''}"

    def _tail(self) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - TAIL))
        return self._errors.read().decode("utf-8", "replace")


def _here(cases: deque[Case]) -> Generator[Done, None, None]:
    for case in cases:
        slate = Slate.inline()
        while "done" not in (outcome := desk.attempt(case.job, case.skip, slate)):
            _, records, locator = slate.read()
            case.lose(outcome, locator, records)
        yield Done.of(outcome["done"])


def _in_processes(cases: deque[Case], engine: Engine) -> Generator[Done, None, None]:
    inbox: queue.SimpleQueue[tuple[Worker, bytes]] = queue.SimpleQueue()
    workers: list[Worker] = []
    try:
        while cases or workers:
            while cases and len(workers) < engine.workers:
                workers.append(Worker(engine, inbox))
                workers[-1].take(cases.popleft())
            for one in workers:
                one.look()
            try:
                one, line = inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if one in workers:  # one that was closed has nothing to say any more
                yield from _settle(one, line, cases, workers)
    finally:
        for one in workers:
            one.close()


def _settle(one: Worker, line: bytes, cases: deque[Case], workers: list[Worker]) -> Generator[Done, None, None]:
    """What follows from a worker's word: a unit done, or its case tried again by a fresh worker."""
    outcome = one.answer(line)
    if "done" in outcome and cases and one.may_go_on:
        one.take(cases.popleft())
    else:
        workers.remove(one)
        lost, (locator, records) = one.case, one.where()
        one.close()
        if "done" not in outcome:
            lost.lose(outcome, locator, records)
            cases.appendleft(lost)
    if "done" in outcome:
        yield Done.of(outcome["done"])
