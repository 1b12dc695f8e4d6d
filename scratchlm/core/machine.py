"""What a run was made with: versions and machine, for the journal. And how much memory there is for it."""

import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import scratchlm

NAMED = ("torch", "tokenizers", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Of scratchlm, Python and the libraries that decide numbers."""
    return {"scratchlm": scratchlm.__version__, "python": platform.python_version()} | {name: version(name) for name in NAMED}


def described() -> str:
    """System, architecture and processors."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


@dataclass(frozen=True)
class Memory:
    """Bytes that this process may take; without end where the system does not say."""

    total: float
    free: float


def memory(root: Path = Path("/")) -> Memory:
    """Of the machine, or of the smallest control group that this process is in: a container sees all memory but may take its share only.

    Files read meanwhile and kept in case they are read again count as free, as Linux counts them.
    """
    found = _of_machine(root)
    for limit, used in _groups(root):
        found = Memory(min(found.total, limit), min(found.free, max(0.0, limit - used)))
    return found


def _of_machine(root: Path) -> Memory:
    try:
        lines = (line.split() for line in (root / "proc/meminfo").read_text(encoding="utf-8").splitlines())
        kilobytes = {words[0]: float(words[1]) for words in lines if len(words) > 1}
        return Memory(1024 * kilobytes["MemTotal:"], 1024 * kilobytes["MemAvailable:"])
    except (OSError, KeyError, ValueError):
        pass
    try:  # macOS says how much there is, not how much is free
        total = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return Memory(math.inf, math.inf)
    return Memory(total, total)


def _groups(root: Path) -> Iterator[tuple[float, float]]:
    """(limit, bytes taken) of each control group, of either version, that this process is in and that has a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, "Memory Interface Files"; and cgroup-v1/memory.html.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inner = mount / path.lstrip("/")
        # A container's files may begin at its own group while the path does not: what is not there is passed over.
        for folder in (place for place in (inner, *inner.parents) if place.is_relative_to(mount)):
            if limits := _limit(folder, *names):
                yield limits


def _limit(folder: Path, limit: str, used: str, idle: str) -> tuple[float, float] | None:
    try:
        most = float((folder / limit).read_text(encoding="utf-8"))
        taken = float((folder / used).read_text(encoding="utf-8"))
        facts = dict(line.split(maxsplit=1) for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return most, taken - float(facts.get(idle, 0))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
