"""Units of work: finished means the manifest is there, whatever is killed, and the bytes are always the same."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scratchlm.core.errors import ArtifactError, CheckFailed, DataError, UsageError
from scratchlm.units import cluster, memory, storage
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.shuffle import read_bucket, write_buckets
from scratchlm.units.slate import LONGEST, Slate
from scratchlm.units.unit import Done, Unit, ready, stamp

HERE = Engine(workers=0)
ONE = Engine(workers=1)


def counting(folder: Path, *texts: str, **config: Any) -> list[Unit]:
    """One unit for each text."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return [Unit("count", "toil:count", (str(path),), config) for path in paths]


def contents(root: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def lines_of(done: Done) -> list[str]:
    return pq.read_table(done.files["words.parquet"])["line"].to_pylist()


class Ear:
    """Hears events."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, /, **facts: Any) -> None:
        self.heard.append((kind, facts))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [facts for name, facts in self.heard if name == kind]


def identify(unit: Unit) -> str:
    return ready(unit, "/root", stamp).id


def test_an_id_follows_from_contents_and_settings_and_not_from_where_things_lie(tmp_path: Path):
    first, moved, other = (counting(tmp_path / name, text)[0] for name, text in (("a", "one"), ("b", "one"), ("c", "two")))
    assert identify(first) == identify(moved)
    changed = [
        other,
        Unit("other", first.work, first.inputs, {}),
        Unit("count", "toil:nothing", first.inputs, {}),
        Unit("count", first.work, first.inputs, {"times": 2}),
        Unit("count", first.work, (), {}),
    ]
    assert len({identify(unit) for unit in [first, *changed]}) == 6
    assert identify(Unit("s", "w:f", (), {"a": 1, "b": (2, 3)})) == identify(Unit("s", "w:f", (), {"b": [2, 3], "a": 1}))


def test_settings_that_json_cannot_tell_apart_are_refused():
    with pytest.raises(ValueError):
        identify(Unit("s", "w:f", (), {"a": float("nan")}))


def test_an_input_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"absent\.txt: there is no such file"):
        map_units([Unit("count", "toil:count", (str(tmp_path / "absent.txt"),), {})], str(tmp_path / "out"), HERE)


def test_results_come_in_the_order_of_units_and_a_second_run_does_nothing(tmp_path: Path):
    units = counting(tmp_path / "in", "one\ntwo two\n", "three\n", "one\ntwo two\n")
    seen: list[tuple[int, int]] = []
    done = map_units(units, str(tmp_path / "out"), HERE, progress=lambda done, total, **rates: seen.append((done, total)))
    assert [one.facts["documents"] for one in done] == [2, 1, 2]
    assert [one.records for one in done] == [2, 1, 2]
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)
    ear = Ear()
    again = map_units(units, str(tmp_path / "out"), HERE, event=ear)
    assert ear.of("units")[0]["to_do"] == 0
    assert [one.files for one in again] == [one.files for one in done]
    assert {one.seconds for one in again} == {0.0}


def test_processes_leave_the_bytes_that_work_in_this_process_leaves(tmp_path: Path):
    units = counting(tmp_path / "in", *(f"line {number}\nlast\n" for number in range(5)), times=3)
    map_units(units, str(tmp_path / "here"), HERE)
    ear = Ear()
    done = map_units(units, str(tmp_path / "there"), Engine(workers=2, recycle=2), event=ear)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert all(one.peak_bytes > 10_000_000 and one.seconds > 0 for one in done)
    assert ear.of("units")[0]["memory_bytes"] == 1_500_000_000


def test_no_output_knows_where_or_when_it_was_made(tmp_path: Path):
    (done,) = map_units(counting(tmp_path / "in", "one\n"), str(tmp_path / "out"), HERE)
    manifest = Path(done.files["words.parquet"]).with_name("manifest.json").read_text()
    assert str(tmp_path) not in manifest
    assert set(json.loads(manifest)) == {"format", "step", "work", "config", "inputs", "files", "facts", "records", "skipped"}


def test_a_worker_killed_once_is_replaced_and_the_bytes_are_the_same(tmp_path: Path):
    units = counting(tmp_path / "in", f"one\n!die-once {tmp_path / 'mark'}\nthree\n")
    ear = Ear()
    (done,) = map_units(units, str(tmp_path / "killed"), ONE, event=ear)
    assert ear.of("unit lost")[0]["locator"] == "0#1"
    assert "SIGKILL" in ear.of("unit lost")[0]["reason"]
    assert lines_of(done) == ["0#0", "0#1", "0#2"]
    map_units(units, str(tmp_path / "unharmed"), HERE)
    assert contents(tmp_path / "killed") == contents(tmp_path / "unharmed")


def test_a_record_that_kills_or_hangs_or_hogs_is_left_out_and_named(tmp_path: Path):
    units = counting(tmp_path / "in", "one\n!die\nthree\n", "one\n!hang\n", "!hog\ntwo\n", "!leap\ntwo\n!raise\n")
    ear = Ear()
    engine = Engine(workers=2, memory_bytes=200_000_000, record_seconds=1.0)
    done = map_units(units, str(tmp_path / "out"), engine, event=ear)
    assert [list(one.skipped) for one in done] == [["0#1"], ["0#1"], ["0#0"], ["0#0", "0#2"]]
    assert [lines_of(one) for one in done] == [["0#0", "0#2"], ["0#0"], ["0#1"], ["0#1"]]
    assert [one.records for one in done] == [3, 2, 2, 3]
    reasons = " ".join(facts["reason"] for facts in ear.of("quarantined"))
    for said in ("SIGKILL", "stayed longer than 1 s there", "more than the 200 MB", "asked for more memory", "a line that cannot be read"):
        assert said in reasons
    assert max(one.peak_bytes for one in done) < 200_000_000


def test_what_was_left_out_is_tried_again_when_asked(tmp_path: Path):
    units = counting(tmp_path / "in", f"one\n!die-once {tmp_path / 'a'}\n!raise\n", "four\n")
    assert [one.skipped for one in map_units(units, str(tmp_path / "out"), HERE.model_copy(update={"workers": 1}))] == [("0#2",), ()]
    ear = Ear()
    map_units(units, str(tmp_path / "out"), HERE, event=ear)
    assert [facts["to_do"] for facts in ear.of("units")] == [0]
    map_units(units, str(tmp_path / "out"), HERE.model_copy(update={"retry": True}), event=ear)
    assert [facts["to_do"] for facts in ear.of("units")] == [0, 1]


def test_a_second_driver_in_one_folder_is_told(tmp_path: Path):
    units = counting(tmp_path / "in", "one\n")
    with storage.held(str(tmp_path / "out")), pytest.raises(UsageError, match="another process is at work here"):
        map_units(units, str(tmp_path / "out"), HERE)


def test_too_many_records_left_out_end_the_work(tmp_path: Path):
    units = counting(tmp_path / "in", "!raise\ntwo\n!raise\n!raise\n")
    with pytest.raises(DataError, match="workers were lost at 2 of the first 3 records"):
        map_units(units, str(tmp_path / "out"), Engine(workers=0, quarantine_least=1))
    units = counting(tmp_path / "in", "!raise\none\n", "!raise\n")
    with pytest.raises(DataError, match=r"2 of 3 records were left out .* share of 0\.001 and the 1"):
        map_units(units, str(tmp_path / "out"), Engine(workers=0, quarantine_least=1))
    with pytest.raises(DataError, match="2 of 3 records were left out"):  # the second run finds all units done, and says it again
        map_units(units, str(tmp_path / "out"), Engine(workers=0, quarantine_least=1))
    assert len(map_units(units, str(tmp_path / "out"), Engine(workers=0, quarantine_least=1, quarantine_share=0.7))) == 2


def test_a_unit_lost_at_no_record_is_named_with_its_inputs_and_what_it_held(tmp_path: Path):
    unit = counting(tmp_path / "in", "one\n")[0]
    engine = Engine(workers=1, memory_bytes=200_000_000)
    with pytest.raises(DataError, match=r"count unit \w+: 3 workers were lost, never at a record; the last held .* 200 MB .*0\.txt"):
        map_units([Unit("count", "toil:hog", unit.inputs, {})], str(tmp_path / "out"), engine)
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize("name", ["toil:absent", "no_such_module:work", "__main__:work"])
def test_work_that_cannot_be_imported_is_said_once(name: str, tmp_path: Path):
    with pytest.raises(UsageError, match="import"):
        map_units([Unit("count", name, (), {})], str(tmp_path / "out"), HERE)


def test_a_promised_output_must_be_written(tmp_path: Path):
    with pytest.raises(CheckFailed, match="did not write it"):
        map_units([Unit("count", "toil:nothing", (), {})], str(tmp_path / "out"), HERE)


@pytest.mark.parametrize("harm", ["manifest gone", "manifest torn", "file gone", "file cut", "file changed"])
def test_what_is_not_whole_is_made_again(harm: str, tmp_path: Path):
    units, out = counting(tmp_path / "in", "one\ntwo\n", "three\n"), tmp_path / "out"
    done = map_units(units, str(out), HERE)
    before = contents(out)
    file = Path(done[0].files["words.parquet"])
    manifest = file.with_name("manifest.json")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    harms: dict[str, Callable[[], Any]] = {
        "manifest gone": manifest.unlink,
        "manifest torn": lambda: manifest.write_bytes(manifest.read_bytes()[:50]),
        "file gone": file.unlink,
        "file cut": lambda: file.write_bytes(data[:-3]),
        "file changed": lambda: file.write_bytes(data),
    }
    harms[harm]()
    ear = Ear()
    map_units(units, str(out), HERE, event=ear)
    assert ear.of("units")[0]["to_do"] == 1
    assert len(ear.of("made again")) == (harm != "manifest gone")
    assert contents(out) == before


DRIVER = """
import sys
sys.path[:0] = {path!r}
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Unit
map_units([Unit("count", "toil:count", (file,), {{}}) for file in sys.argv[2:]], sys.argv[1], Engine(workers=2))
"""


def wait_for(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def runs(process: int) -> bool:
    """Whether a process is there and not only its exit code."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether the orphan ended")
def test_a_driver_killed_takes_its_workers_along_and_the_next_one_finishes(tmp_path: Path):
    mark, out = tmp_path / "mark", tmp_path / "out"
    units = counting(tmp_path / "in", "one\n", f"!wait-once {mark}\ntwo\n", "three\n")
    script = tmp_path / "driver.py"  # without a guard, as people write them
    script.write_text(DRIVER.format(path=[str(Path(__file__).parent), str(Path(__file__).parent.parent)]))
    driver = subprocess.Popen([sys.executable, str(script), str(out), *(unit.inputs[0] for unit in units)])
    finished = [Path(map_units([units[n]], str(tmp_path / "unharmed"), HERE)[0].files["words.parquet"]).parent.name for n in (0, 2)]
    wait_for(lambda: mark.exists() and bool(mark.read_text()) and all((out / "count" / n / "manifest.json").exists() for n in finished))
    driver.kill()
    driver.wait()
    wait_for(lambda: not runs(int(mark.read_text())))
    assert list(out.rglob("*.tmp.*"))
    ear = Ear()
    map_units(units, str(out), HERE, event=ear)
    assert ear.of("units")[0]["to_do"] == 1
    map_units(units, str(tmp_path / "unharmed"), HERE)
    assert contents(out) == contents(tmp_path / "unharmed")


def test_rows_meet_in_their_bucket_in_a_fixed_order(tmp_path: Path):
    rng = np.random.default_rng(3)
    keys = [rng.integers(0, 4, size=size) for size in (50, 0, 17)]
    keys[0][keys[0] == 2] = 3  # one bucket of one file is empty
    files = [str(tmp_path / f"{number}.parquet") for number in range(3)]
    for number, (key, file) in enumerate(zip(keys, files, strict=True)):
        table = pa.table({"key": key, "row": np.arange(len(key)), "file": np.full(len(key), number)})
        write_buckets(Path(file), table, key, 5)
        assert pq.ParquetFile(file).num_row_groups == 5
    for bucket in range(5):
        rows = read_bucket(files, bucket, ["file", "row"]).to_pylist()
        assert rows == [{"file": n, "row": r} for n, key in enumerate(keys) for r in np.flatnonzero(key == bucket).tolist()]
    with pytest.raises(ArtifactError, match="has 5 buckets, asked for number 5"):
        read_bucket(files, 5)


def test_buckets_travel_through_units_and_a_changed_input_changes_only_what_follows_from_it(tmp_path: Path):
    root = str(tmp_path / "out")

    def all_steps(*texts: str) -> tuple[list[Done], Ear]:
        ear = Ear()
        counted = map_units(counting(tmp_path / "in", *texts), root, HERE, event=ear)
        scatter = [Unit("scatter", "toil:scatter", (one.files["words.parquet"],), {}) for one in counted]
        scattered = map_units(scatter, root, HERE, event=ear)
        files = tuple(one.files["buckets.parquet"] for one in scattered)
        return map_units([Unit("gather", "toil:gather", files, {"bucket": n}) for n in range(3)], root, HERE, event=ear), ear

    gathered, _ = all_steps("one\ntwo two\n", "three three three\n")
    assert [one.facts["words"] for one in gathered] == [3, 1, 2]
    gathered, ear = all_steps("one\ntwo two\n", "two two\nthree three three\n")
    assert [one.facts["words"] for one in gathered] == [3, 1, 4]
    assert [facts["to_do"] for facts in ear.of("units")] == [1, 1, 3]


def test_a_slate_holds_every_locator():
    slate = Slate.inline()
    for locator in ("plain", "größer 🦊", "\ud800 alone", "x" * (2 * LONGEST), "🦊" * LONGEST, ""):
        slate.write(locator)
        assert slate.read()[2] == locator[:LONGEST]
    assert slate.read()[:2] == (6, 5)


def test_what_a_worker_writes_the_driver_reads_and_the_file_has_no_name_any_more():
    created = Slate.create()
    opened = Slate.open(created.path)
    opened.write("far")
    assert created.read() == (1, 1, "far")
    assert not created.path.exists()
    opened.close()
    created.close()


def test_what_dead_processes_left_is_removed_and_what_living_ones_hold_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = storage.temporary().rpartition(f".{os.getpid()}.")[0]
    mine, others = storage.scratch("s3://texts/unit"), tmp_path / "somebody.tmp.else"
    others.touch()
    (tmp_path / f"{host}.{gone.pid}.folder").mkdir()
    (tmp_path / f"{host}.{gone.pid}.file").touch()
    beside = storage.scratch(str(tmp_path / "out" / "unit"))
    storage.sweep(str(tmp_path / "out"))
    assert sorted(tmp_path.iterdir()) == sorted([mine, others, tmp_path / "out"])
    assert not beside.exists()


def test_memory_is_told_of_this_process_and_of_another():
    mine = memory.resident(os.getpid())
    assert 10_000_000 < mine <= memory.peak()
    assert memory.resident(2**22 + 1) == 0


def test_paths_never_load_the_client_of_object_stores(tmp_path: Path):
    code = (
        "import sys; from scratchlm.units.engine import Engine; from scratchlm.units.run import map_units;"
        "from scratchlm.units.unit import Unit;"
        f"map_units([Unit('count', 'toil:count', ({str(tmp_path / 'a.txt')!r},), {{}})], {str(tmp_path / 'out')!r}, Engine(workers=0));"
        "print([name for name in ('fsspec', 'ray', 'torch') if name in sys.modules])"
    )
    (tmp_path / "a.txt").write_text("one\n")
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path})
    assert shown.stdout.strip() == "[]"


def test_addresses_of_paths_and_of_objects_are_joined_alike(tmp_path: Path):
    for root in (str(tmp_path), "s3://bucket/folder"):
        url = storage.join(root, "step", "file.parquet")
        assert storage.name_of(url) == "file.parquet"
        assert storage.beside(url, "manifest.json") == storage.join(root, "step", "manifest.json")
        assert storage.absolute(url) == url
    with pytest.raises(UsageError, match="no kind of storage"):
        storage.size("nonsense://x/y")


def test_an_object_store_is_read_and_written_like_a_folder(bucket: str, tmp_path: Path):
    local = counting(tmp_path / "in", "one\ntwo two\n", "three three three\n")
    import fsspec

    for unit in local:
        fsspec.filesystem("s3").put_file(unit.inputs[0], storage.join(bucket, "in", Path(unit.inputs[0]).name))
    units = [Unit(unit.step, unit.work, (url,), {}) for unit, url in zip(local, storage.files_under(f"{bucket}/in"), strict=True)]
    done = map_units(units, f"{bucket}/out", ONE)
    scattered = map_units([Unit("scatter", "toil:scatter", (one.files["words.parquet"],), {}) for one in done], f"{bucket}/out", HERE)
    words = read_bucket([one.files["buckets.parquet"] for one in scattered], 0, ["words"])["words"].to_pylist()
    assert words == [3]
    for one, unit in zip(done, local, strict=True):
        (same,) = map_units([unit], str(tmp_path / "out"), HERE)
        assert storage.read_bytes(one.files["words.parquet"]) == Path(same.files["words.parquet"]).read_bytes()
    ear = Ear()
    storage.remove(done[0].files["words.parquet"])
    map_units(units, f"{bucket}/out", HERE, event=ear)
    assert [facts["to_do"] for facts in ear.of("units")] == [1]
    with pytest.raises(DataError, match="there is no such file"):
        storage.size(f"{bucket}/absent")
    assert not list(Path("/tmp").glob(f"{storage.temporary()}*"))


CLUSTER = """
import json, sys
import ray_head
from scratchlm.units.engine import Engine
from scratchlm.units.run import map_units
from scratchlm.units.unit import Unit
ray_head.start(sys.argv[1])
units = [Unit("count", "toil:count", (file,), {}) for file in sys.argv[3:]]
heard = []
map_units(units, sys.argv[2], Engine(kind="ray", memory_bytes=300_000_000), event=lambda kind, /, **facts: heard.append(kind))
print(json.dumps(heard))
ray_head.ray.shutdown()
"""


def test_a_cluster_leaves_the_bytes_of_this_machine_even_when_a_worker_is_killed(tmp_path: Path):
    pytest.importorskip("ray", reason="the cluster's library is not installed")
    units = counting(tmp_path / "in", "one\ntwo two\n", f"three\n!die-once {tmp_path / 'mark'}\n")
    modules = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    # The cluster is a process of its own, so that what it leaves to the interpreter's end is not ours; sockets need a short path.
    told = {"PYTHONPATH": modules, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as short:
        command = [sys.executable, "-c", CLUSTER, short, str(tmp_path / "there"), *(unit.inputs[0] for unit in units)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | told)
    assert shown.returncode == 0, shown.stderr[-3000:]
    assert json.loads(shown.stdout.splitlines()[-1]) == ["units", "unit lost"]
    map_units(units, str(tmp_path / "here"), HERE)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize(
    ("message", "advised"),
    [
        ("Could not find any running Ray instance.", "ray start --head"),
        ("Version mismatch: The cluster was started with:\n    Ray: 2.9", "same Python and the same ray"),
        ("InvalidAuthToken: Authentication token is missing", "RAY_AUTH_TOKEN_PATH"),
        ("ModuleNotFoundError: No module named 'pyarrow'", "Install scratchlm's dependencies"),
        ("Ray Client cannot reach it", "RAY_ADDRESS is its address"),
    ],
)
def test_what_ray_says_is_answered_with_advice(message: str, advised: str):
    assert advised in cluster.advice(message)


def test_rates_count_each_input_once_and_only_what_was_done_in_this_run(tmp_path: Path):
    units = counting(tmp_path / "in", "one two\n" * 100)
    slices = [dataclasses.replace(units[0], config={"times": times}) for times in range(1, 6)]
    size = storage.size(units[0].inputs[0])
    first = map_units(slices[:2], str(tmp_path / "out"), HERE)
    assert [one.read_bytes for one in first] == [size / 2] * 2
    again = map_units(slices, str(tmp_path / "out"), HERE)
    assert [one.read_bytes for one in again] == [0, 0, *[size / 5] * 3]
    assert [one.seconds > 0 for one in again] == [False, False, True, True, True]
