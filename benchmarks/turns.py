"""Programs that take steps in turn, each a process of its own, so that a busy machine slows all alike."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Step = Callable[[], None]


@dataclass
class Told:
    """What a program said of itself."""

    set_up: float
    """Seconds from the first import to a model that is ready to train."""
    first: float
    """Seconds of the first two steps: what is compiled is compiled in them."""
    seconds: list[float] = field(default_factory=list)
    """Of a step, in each round."""
    memory: int = 0
    """Bytes that the process held at most."""
    device_memory: int = 0
    """Bytes that its tensors took on the device at most; none beside it."""


def serve(build: Callable[[], Step], device: str, steps: int) -> None:
    """Be such a program: build, then take so many steps for each line that comes in; each answer is a line of JSON."""

    def timed(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # some say how large they are
        step = build()
        set_up = time.perf_counter() - begun
        first = timed(2)
    _say({"set_up": set_up, "first": first})
    for _ in sys.stdin:
        _say({"seconds": timed(steps) / steps})
    _say({"memory": peak_memory(), "device_memory": torch.cuda.max_memory_allocated() if device == "cuda" else 0})


def in_turn(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Told]:
    """Start all commands, let each take its turn in every round, and collect what they say; one that fails is left out.

    What it failed of stands on its standard error, which is this program's.
    """
    found: dict[str, Told] = {}
    with contextlib.ExitStack() as running:  # on leaving, inputs close, and a program whose input is closed ends
        workers: dict[str, subprocess.Popen[str]] = {}
        for name, command in commands.items():  # one after another, for some measure the machine before they begin
            workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            running.enter_context(workers[name])
            if said := _heard(workers[name]):
                found[name] = Told(**said)
        for _ in range(rounds):
            for name in list(found):
                if said := _asked(workers[name]):
                    found[name].seconds.append(said["seconds"])
                else:
                    del found[name]
        for name in list(found):
            rest, _ = workers[name].communicate()
            if rest:
                last = json.loads(rest)
                found[name].memory, found[name].device_memory = last["memory"], last["device_memory"]
            else:
                del found[name]
    return found


def peak_memory() -> int:
    """Bytes that this process held at most; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _say(facts: Mapping[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


def _asked(worker: subprocess.Popen[str]) -> dict[str, Any] | None:
    """What a program says of its next turn, or None where it ended instead."""
    assert worker.stdin is not None, "it was asked for"
    try:
        worker.stdin.write("go\n")
    except OSError:
        return None
    return _heard(worker)


def _heard(worker: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The next line of a program, or None where it ended instead."""
    assert worker.stdout is not None, "it was asked for"
    line = worker.stdout.readline()
    return json.loads(line) if line else None
