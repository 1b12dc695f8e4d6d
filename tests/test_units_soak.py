"""Units under fire: drivers and workers killed again and again, here and on a cluster; what is left at the end is always the same."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scratchlm.core.errors import UsageError
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Unit

TESTS = Path(__file__).parent
pytestmark = [pytest.mark.soak, pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for workers that outlive their driver")]
DRIVER = f"""
import sys
sys.path[:0] = {[str(TESTS), str(TESTS.parent)]!r}
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Unit
units = [Unit("count", "toil:count", (file,), {{}}) for file in sys.argv[3:]]
engine = Engine(kind=sys.argv[1], workers=2, record_seconds=20, memory_bytes=250_000_000, recycle=3)
print(sum(len(done.skipped) for done in map_units(units, sys.argv[2], engine)))
"""


def written(folder: Path, texts: list[str]) -> list[str]:
    """Files with these texts."""
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number:03}.txt").write_text(text)
    return sorted(str(path) for path in folder.iterdir())


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def workers_of(mark: str) -> list[int]:
    """Processes that have ``mark`` in their command or environment."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def start(kind: str, out: Path, files: list[str], **told: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, kind, str(out), *files], stdout=subprocess.PIPE, text=True, env=os.environ | told
    )


def skipped_by(driver: subprocess.Popen[str]) -> int:
    """What a driver printed at its end; Ray prints there too when a process of its own was killed."""
    lines = driver.communicate()[0].splitlines()
    assert driver.returncode == 0
    (number,) = (int(line) for line in lines if line.isdecimal())
    return number


def test_a_driver_killed_at_any_moment_leaves_nothing_wrong(tmp_path: Path):
    trouble = [f"one\n!die-once {tmp_path / 'first'}\n", "one\n!die\ntwo\n", "!hog\nthree\n"]
    files = written(tmp_path / "in", [f"line {number} of\nmany\n" for number in range(40)] + trouble)
    chance, kills, out = random.Random(5), 0, tmp_path / "killed"
    for attempt in range(60):
        mark = f"UNDER_FIRE_{os.getpid()}_{attempt}"
        driver = start("local", out, files, UNDER_FIRE=mark)
        try:
            driver.wait(timeout=chance.uniform(0.3, 4.0))
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            kills += 1
            deadline = time.monotonic() + 30
            while workers_of(mark):
                assert time.monotonic() < deadline, "workers outlive their driver"
                time.sleep(0.05)
        assert driver.stdout
        driver.stdout.close()
        if driver.returncode == 0:
            break
    else:
        driver = start("local", out, files)
        driver.communicate()
    assert driver.returncode == 0
    assert kills > 0, "no driver was killed, so nothing was shown"
    unharmed = start("local", tmp_path / "unharmed", files)
    assert skipped_by(unharmed) == 2
    assert contents(out) == contents(tmp_path / "unharmed")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster that knows nothing of our modules."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as short:
        command = [sys.executable, str(TESTS / "ray_head.py"), short]
        head = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        assert head.stdin
        assert head.stdout
        yield head.stdout.readline().strip()
        head.communicate()


def test_a_cluster_joined_by_its_address_leaves_the_bytes_of_this_machine(cluster: str, tmp_path: Path):
    marks = [tmp_path / name for name in ("worker", "supervisor")]
    texts = [f"line {number} of\nmany\n" for number in range(12)]
    texts += [f"one\n!die-once {marks[0]}\n", f"!supervisor-dies-once {marks[1]}\ntwo\n", "one\n!die\ntwo\n", "!hog\nthree\n"]
    files = written(tmp_path / "in", texts)
    there = start("ray", tmp_path / "there", files, RAY_ADDRESS=cluster)
    assert skipped_by(there) == 2
    assert all(mark.exists() for mark in marks)
    here = start("local", tmp_path / "here", files)
    assert skipped_by(here) == 2
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_driver_of_a_cluster_that_is_killed_is_followed_by_one_that_finishes(cluster: str, tmp_path: Path):
    files = written(tmp_path / "in", [f"line {number}\n" for number in range(6)] + [f"!wait-once {tmp_path / 'mark'}\ntwo\n"])
    first = start("ray", tmp_path / "there", files, RAY_ADDRESS=cluster)
    while not (tmp_path / "mark").exists():
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert skipped_by(start("ray", tmp_path / "there", files, RAY_ADDRESS=cluster)) == 0
    map_units([Unit("count", "toil:count", (file,), {}) for file in files], str(tmp_path / "here"), Engine(workers=0))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_no_cluster_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (file,) = written(tmp_path / "in", ["one\n"])
    with pytest.raises(UsageError, match=r"ray: cannot join the cluster at .*ray start --head"):
        map_units([Unit("count", "toil:count", (file,), {})], str(tmp_path / "out"), Engine(kind="ray"))
