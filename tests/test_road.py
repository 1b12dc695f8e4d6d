"""The whole road in processes of its own: it ends, it goes on after `kill -9` anywhere, and bad input is answered in one line."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import village
from filelock import FileLock

from scratchlm import cli
from scratchlm.core import journal as journals
from scratchlm.core.artifact import Home, read_artifact, sha256_of
from scratchlm.stages import STAGES

TRAINED = {"pretrain": "base", "sft": "sft", "prefer": "preferred", "reinforce": "reinforced"}
# One thread and one dtype, whatever the machine: two runs are compared bit for bit.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SETS = [word for stage in TRAINED for field in ('device="cpu"', 'dtype="float32"') for word in ("--set", f"{stage}.{field}")]
COMPARED = (*(f"{name}/model.safetensors" for name in TRAINED.values()), "export/hf/model.safetensors", "scores/scores.json")


@dataclass(frozen=True)
class Road:
    """A finished run of `smoke`, and the text it learned from. Nothing is changed in it."""

    data: Path
    home: Path

    def words(self, home: Path) -> list[str]:
        return ["run", "smoke", "--data", str(self.data), "--home", str(home), *SETS]

    def start(self, home: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "scratchlm", *self.words(home)]
        return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self, home: Path) -> None:
        """Run to the end, without a word of complaint."""
        process = self.start(home)
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """Made once, by whichever test process comes first."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = Road(base / "village", base / "road")
    with FileLock(base / "road.lock"):
        if not (base / "road.made").exists():
            village.write(made.data)
            made.finish(made.home)
            (base / "road.made").touch()
    return made


def contents(home: Path) -> dict[str, str]:
    """Hash of everything that must come out alike, however often a run was cut off."""
    return {name: sha256_of(home / name) for name in COMPARED}


def finished(home: Path) -> list[str]:
    return [name for name in STAGES.values() if read_artifact(home / name, name)]


def test_every_stage_leaves_files_that_are_what_its_manifest_says(road: Road):
    assert finished(road.home) == list(STAGES.values())
    for name in STAGES.values():
        artifact = Home(road.home).open(name)
        artifact.verify()
        assert artifact.manifest.files
        assert not artifact.path.with_name(artifact.path.name + ".partial").exists()


def test_a_second_run_returns_what_is_there(road: Road):
    before = {name: Home(road.home).open(name).fingerprint for name in STAGES.values()}
    road.finish(road.home)
    events = [event for event in journals.read(road.home / "journal.jsonl") if event["event"] == "stage"]
    last = {event["artifact"]: event for event in events[-2 * len(STAGES) :] if event["state"] == "finished"}
    assert {name: event["fingerprint"] for name, event in last.items()} == before
    assert all(event["kept"] for event in last.values())


@pytest.mark.parametrize("name", TRAINED.values())
def test_what_a_manifest_counts_can_be_recomputed_from_the_journal(name: str, road: Road):
    counts = Home(road.home).open(name).counts
    steps = journals.by_step(road.home / name / "journal.jsonl", "step")
    assert [event["step"] for event in steps] == list(range(1, len(steps) + 1))
    assert (counts["steps"], counts["tokens"]) == (len(steps), steps[-1]["tokens"])
    assert counts["skipped"] == sum("skipped" in event for event in steps)


def test_the_base_model_learned_something(road: Road):
    found = journals.by_step(road.home / "base" / "journal.jsonl", "validation")
    assert found[-1]["bits_per_byte"] < found[0]["bits_per_byte"] < 4


def test_the_newest_model_speaks(road: Road, capsys: pytest.CaptureFixture[str]):
    assert answered(["chat", str(road.home), "--prompt", "Hello"], capsys) == (0, "")
    assert answered(["chat", str(road.home), "--model", "base", "--complete", "--prompt", "The old"], capsys) == (0, "")


Sign = str | int
"""When to strike: a file in the unfinished artifact, or a number of training steps."""
STRIKES: tuple[tuple[str, Sign, signal.Signals], ...] = (
    ("corpus", "plan.json", signal.SIGKILL),
    ("tokenizer", "plan.json", signal.SIGKILL),
    ("shards", "train/*", signal.SIGKILL),
    ("base", 23, signal.SIGKILL),
    ("sft", 3, signal.SIGINT),
    ("sft", 12, signal.SIGKILL),
    ("preferred", 5, signal.SIGKILL),
    ("reinforced", 3, signal.SIGKILL),
    ("scores", "parts/sft.json", signal.SIGKILL),
    ("export", "hf/*.safetensors", signal.SIGKILL),
)


def seen(partial: Path, sign: Sign) -> bool:
    if isinstance(sign, str):
        return any(partial.glob(sign))
    journal = partial / "journal.jsonl"
    return journal.exists() and journal.read_bytes().count(b'"event": "step"') >= sign


def struck(road: Road, home: Path, strike: tuple[str, Sign, signal.Signals]) -> tuple[int, str] | None:
    """Start the run and strike it while it makes the artifact; its exit code and last words, None when it was too fast."""
    name, sign, number = strike
    partial = (home / name).with_name((home / name).name + ".partial")
    process = road.start(home)
    while process.poll() is None and not seen(partial, sign) and not (home / name).exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.003)
    process.send_signal(signal.SIGKILL if (home / name).exists() else number)
    _, errors = process.communicate()
    if read_artifact(home / name, name) is None:
        return process.returncode, errors
    shutil.rmtree(home / name)
    return None


def test_after_a_kill_in_every_stage_the_weights_are_those_of_an_uninterrupted_run(road: Road, tmp_path: Path):
    home = tmp_path / "home"
    for strike in STRIKES:
        name, _, number = strike
        ended = next(filter(None, (struck(road, home, strike) for _ in range(9))))
        assert ended[0] == (-signal.SIGKILL if number == signal.SIGKILL else 130), ended
        for made in finished(home):
            Home(home).open(made).verify()
        assert finished(home) == list(STAGES.values())[: list(STAGES.values()).index(name)]
    road.finish(home)
    assert contents(home) == contents(road.home)
    for name in ("corpus", "tokenizer", "shards"):
        assert Home(home).open(name).fingerprint == Home(road.home).open(name).fingerprint
    for name in TRAINED.values():
        assert any(event["event"] == "resumed" for event in journals.read(home / name / "journal.jsonl")), name


@pytest.mark.soak
def test_after_fifty_kills_at_random_moments_the_weights_are_the_same(road: Road, tmp_path: Path):
    chance, kills, homes = random.Random(50), 0, 0
    while kills < 50:
        home = tmp_path / f"home{homes}"
        homes += 1
        while finished(home) != list(STAGES.values()):
            process = road.start(home)
            began = len(list(journals.read(home / "journal.jsonl")))
            while process.poll() is None and len(list(journals.read(home / "journal.jsonl"))) == began:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 6))
            process.kill()
            process.communicate()
            assert process.returncode in (0, -signal.SIGKILL)
            kills += process.returncode != 0
            for made in finished(home):
                Home(home).open(made).verify()
        assert contents(home) == contents(road.home)


def answered(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of a command, run in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with some bad input in it; what a stage sets in the process is put back."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("A file. " * 999)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "junk.txt").write_bytes(random.Random(3).randbytes(60_000))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "junk.txt").write_bytes(bytes(random.Random(3).choices(range(0x21, 0x7F), k=60_000)))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes(random.Random(3).randbytes(9_000))
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "short.txt").write_text("The road is short. It ends soon.\n" * 3)
    village.write(tmp_path / "some", chapters=4)
    monkeypatch.chdir(tmp_path)
    threads, terminate = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, terminate)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def up_to(verb: str, road: Road, home: Path) -> list[str]:
    """A home in which everything before ``verb`` is finished; the names of that."""
    made = [STAGES[each] for each in list(STAGES)[: list(STAGES).index(verb)]]
    home.mkdir()
    for name in made:
        shutil.copytree(road.home / name, home / name)
    shutil.copy(road.home / "recipe.json", home)
    return made


@pytest.mark.parametrize("verb", ["sft", "prefer", "reinforce", "evaluate"])
def test_a_stage_by_itself_makes_what_it_makes_on_the_road(verb: str, road: Road, here: Path, capsys: pytest.CaptureFixture[str]):
    up_to(verb, road, here / "home")
    assert answered([verb, "home"], capsys) == (0, "")
    result = "scores.json" if verb == "evaluate" else "model.safetensors"
    assert sha256_of(here / "home" / STAGES[verb] / result) == sha256_of(road.home / STAGES[verb] / result)


BAD = {
    "unknown recipe": (["run", "smok"], 2, "Did you mean 'smoke'?"),
    "unknown field": (["run", "smoke", "--set", "pretrain.optimiser.lr=1"], 2, "Did you mean 'optimizer'?"),
    "unknown field of a kind": (["run", "smoke", "--set", 'pretrain.model={"kind": "qwen3", "layer": 3}'], 2, "Did you mean 'layers'?"),
    "unknown kind": (["run", "smoke", "--set", 'pretrain.model={"kind": "gpt9"}'], 2, "pretrain.model"),
    "value of another type": (["run", "smoke", "--set", "pretrain.rows=many"], 2, "pretrain.rows: 'many'"),
    "value out of bounds": (["run", "smoke", "--set", "sft.epochs=0"], 2, "sft.epochs"),
    "values that disagree": (["run", "smoke", "--set", "pretrain.model.kv_heads=5"], 2, "must be a multiple of kv_heads"),
    "missing folder": (["run", "smoke", "--data", "nowhere"], 2, "nowhere: there is no such folder"),
    "empty folder": (["run", "smoke", "--data", "empty"], 2, "empty: no file in it"),
    "a file": (["run", "smoke", "--data", "file.txt"], 2, "a file, where a folder is needed"),
    "binary junk": (["run", "smoke", "--data", "junk"], 2, "0 characters of usable text (dropped: 1 × not text)"),
    "junk of letters": (["run", "smoke", "--data", "letters"], 2, "0 bytes of usable text (dropped:"),
    "nothing readable": (["run", "smoke", "--data", "pictures"], 2, "0 characters of usable text (dropped: 1 × other kind)"),
    "too little text": (["run", "smoke", "--data", "short"], 2, "98 characters of usable text, and 5,000 bytes are needed"),
    "unknown filter": (["run", "smoke", "--data", "some", "--set", 'corpus.thresholds={"too_few_word": 1}'], 2, "'too_few_words'"),
    "unknown tokenizer": (["run", "smoke", "--data", "some", "--set", "vocab.kind=bqe"], 2, "Did you mean 'bpe'?"),
    "tokenizer too large": (["run", "smoke", "--data", "some", "--set", "pretrain.model.vocab=300"], 2, "pretrain.model.vocab"),
    "too little for a step": (["run", "smoke", "--data", "some", "--set", "pretrain.rows=640"], 2, "one step takes 640"),
    "missing chats": (["run", "smoke", "--data", "some", "--set", "sft.chats=no.jsonl", "--set", "pretrain.tokens=1"], 2, "no.jsonl"),
    "no stage before": (["sft", "smoke", "--data", "some"], 2, "--data"),
    "nothing to start from": (["sft", "smoke"], 1, "there is no finished 'base' here"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_that_looks_whole(case: str, here: Path, capsys: pytest.CaptureFixture[str]):
    words, code, told = BAD[case]
    found, errors = answered([*words, "--home", "home"], capsys)
    assert found == code
    assert errors.startswith("scratchlm: ")
    assert errors.count("\n") == 1
    assert told in errors
    made = finished(here / "home")
    for name in made:
        Home(here / "home").open(name).verify()
    assert set(made) <= {"corpus", "tokenizer", "shards", "base"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_named(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "some").chmod(0)
    found, errors = answered(["run", "smoke", "--data", "some"], capsys)
    (here / "some").chmod(0o755)
    assert (found, errors.count("\n")) == (2, 1)
    assert "cannot be read" in errors


def test_a_second_process_on_the_same_run_is_refused(road: Road, tmp_path: Path):
    with Home(tmp_path / "home").lock():
        process = road.start(tmp_path / "home")
        _, errors = process.communicate()
    assert process.returncode == 2
    assert (
        errors
        == f"scratchlm: {tmp_path / 'home'}: another process is at work here. " + "Wait for it, or choose another folder with --home.\n"
    )


@pytest.mark.parametrize(
    ("verb", "room"),
    [
        ("corpus", 0),
        pytest.param("corpus", 1, marks=pytest.mark.soak),
        pytest.param("corpus", 4, marks=pytest.mark.soak),
        ("vocab", 2),
        ("tokenize", 5),
        ("pretrain", 4),
        ("pretrain", 35),
    ],
)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    verb: str, room: int, road: Road, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """``room``: how many more files can be brought to the disk."""
    home = here / "home"
    before = up_to(verb, road, home)
    words = [verb, str(home)]
    synced, real = iter(range(room)), os.fsync

    def fsync(handle: int) -> None:
        if next(synced, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        code, errors = answered(words, capsys)
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith("scratchlm: ")
    assert "the disk is full" in errors
    assert finished(home) == before
    assert answered(words, capsys) == (0, "")
    made = Home(home).open(STAGES[verb])
    made.verify()
    weights = "model.safetensors"
    assert made.manifest.files.get(weights) == Home(road.home).open(STAGES[verb]).manifest.files.get(weights)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('pretrain.model={"kind": "swift"}', "set export=null"),
        ('sft.sizes={"jokes": 5}', "no chats of 'jokes'"),
        ('prefer.sizes={"facts": -1}', "-1 is below 0"),
        ("pretrain.schedule.decay=1", "more than the whole run"),
    ],
)
def test_what_cannot_end_well_is_refused_before_the_first_stage(wrong: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    home = tmp_path / "home"
    schedule = ["--set", 'pretrain.schedule={"kind": "wsd"}']
    code, errors = answered(["run", "smoke", "--home", str(home), *schedule, "--set", wrong], capsys)
    assert code == 2
    assert says in errors
    assert not home.exists()
