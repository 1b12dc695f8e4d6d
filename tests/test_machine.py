"""How much memory there is: of the machine, or of the container that a process is in."""

import math
import os
from pathlib import Path

import pytest

from scratchlm.core.machine import Memory, memory

KB = 1024.0


def machine_in(root: Path, files: dict[str, str]) -> Path:
    """A machine of 8,000 kB, of which 5,000 are free, with more files."""
    for name, text in ({"proc/meminfo": "MemTotal: 8000 kB\nMemFree: 100 kB\nMemAvailable: 5000 kB\n"} | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder: str, names: tuple[str, str, str], limit: str, used: float, idle: float) -> dict[str, str]:
    most, current, inactive = names
    return {f"{folder}/{most}": limit, f"{folder}/{current}": str(used), f"{folder}/memory.stat": f"anon 7\n{inactive} {idle}\n"}


NEW = ("memory.max", "memory.current", "inactive_file")
OLD = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def test_without_groups_the_machine_is_all_there_is(tmp_path: Path):
    assert memory(machine_in(tmp_path, {})) == Memory(8000 * KB, 5000 * KB)


@pytest.mark.parametrize(
    ("line", "mount", "names", "without_limit"),
    [("0::/box/job", "sys/fs/cgroup", NEW, "max"), ("4:cpu,memory:/box/job", "sys/fs/cgroup/memory", OLD, "9223372036854771712")],
)
def test_a_container_has_no_more_than_its_limit(line: str, mount: str, names: tuple[str, str, str], without_limit: str, tmp_path: Path):
    files = {"proc/self/cgroup": f"3:pids:/else\n{line}\n"}
    files |= group(f"{mount}/box/job", names, without_limit, 900 * KB, 0.0)
    assert memory(machine_in(tmp_path, files)) == Memory(8000 * KB, 5000 * KB)
    files |= group(
        f"{mount}/box", names, str(int(2000 * KB)), 1500 * KB, 400 * KB
    )  # the limit of a group around it, and files kept in case
    assert memory(machine_in(tmp_path, files)) == Memory(2000 * KB, 900 * KB)
    files |= group(f"{mount}/box/job", names, str(int(1000 * KB)), 1500 * KB, 0.0)
    assert memory(machine_in(tmp_path, files)) == Memory(1000 * KB, 0.0)


def test_a_container_that_sees_only_its_own_group_finds_it(tmp_path: Path):
    files = {"proc/self/cgroup": "0::/outside/never/mounted\n"} | group("sys/fs/cgroup", NEW, str(int(3000 * KB)), 1000 * KB, 0.0)
    assert memory(machine_in(tmp_path, files)) == Memory(3000 * KB, 2000 * KB)


def test_where_the_system_is_silent_nothing_is_ruled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory(tmp_path) == Memory(4096000.0, 4096000.0)

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert memory(tmp_path) == Memory(math.inf, math.inf)


def test_this_machine_has_memory():
    found = memory()
    assert 0 < found.free <= found.total
