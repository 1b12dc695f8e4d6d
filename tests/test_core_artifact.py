"""Finished means the manifest is there, wherever a kill falls."""

import json
import os
from pathlib import Path

import pytest

from scratchlm.core import artifact
from scratchlm.core.artifact import Artifact, Draft, Home, read_artifact
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError, CheckFailed, UsageError


class Config(Settings):
    size: int = 3


class Killed(BaseException):
    """Stands for a kill: no handler of ours may catch it."""


def words(draft: Draft) -> None:
    draft.write_text("words.txt", "one two three")
    draft.count(words=3)


def kill(*_: object) -> None:
    raise Killed


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path / "run")


def whole(home: Home) -> Artifact:
    """The artifact that an uninterrupted build makes, read back."""
    made = home.build("words", Config(), {}, words)
    made.verify()
    assert sorted(path.name for path in home.path.iterdir()) == ["words"]
    return made


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_count_that_is_no_number_is_refused(value: float, home: Home):
    with pytest.raises(CheckFailed, match=f"loss came out as {value}"):
        home.build("base", Settings(), {}, lambda draft: draft.count(steps=3, loss=value))
    assert home.find("base") is None


def test_an_artifact_lists_its_files_counts_and_inputs(home: Home):
    first = whole(home)
    second = home.build("more", Config(size=5), [first], words)
    assert second.counts == {"words": 3}
    assert second.manifest.inputs == {"words": first.fingerprint}
    assert second.manifest.config == {"size": 5}
    assert set(second.manifest.files) == {"words.txt"}


def test_the_same_plan_returns_at_once(home: Home):
    first = whole(home)
    assert home.build("words", Config(), {}, kill) == first


def test_another_configuration_or_input_builds_anew(home: Home):
    whole(home)
    with pytest.raises(Killed):
        home.build("words", Config(size=4), {}, kill)
    with pytest.raises(Killed):
        home.build("words", Config(), {"corpus": "other"}, kill)


def test_a_failed_rebuild_leaves_the_finished_artifact(home: Home):
    first = whole(home)
    with pytest.raises(Killed):
        home.build("words", Config(size=4), {}, kill)
    assert home.open("words") == first


def test_a_kill_while_making_leaves_nothing_that_looks_whole_and_its_work_is_continued(home: Home):
    def half(draft: Draft) -> None:
        draft.write_text("half.txt", "one")
        raise Killed

    def rest(draft: Draft) -> None:
        assert (draft.path / "half.txt").read_text() == "one"
        words(draft)

    with pytest.raises(Killed):
        home.build("words", Config(), {}, half)
    assert home.find("words") is None
    assert set(home.build("words", Config(), {}, rest).manifest.files) == {"half.txt", "words.txt"}


def test_what_a_kill_left_of_another_plan_is_thrown_away(home: Home):
    with pytest.raises(Killed):
        home.build("words", Config(size=4), {}, lambda draft: (draft.write_text("old.txt", "x"), kill()))
    assert set(whole(home).manifest.files) == {"words.txt"}


@pytest.mark.parametrize("step", ["facts_of", "write_atomically", "sync_directory"])
def test_a_kill_while_finishing_is_made_good_by_the_next_build(home: Home, monkeypatch: pytest.MonkeyPatch, step: str):
    expected = Home(home.path.with_name("other")).build("words", Config(), {}, words).fingerprint
    with monkeypatch.context() as patched, pytest.raises(Killed):
        home.build("words", Config(), {}, lambda draft: (words(draft), patched.setattr(artifact, step, kill)))
    assert home.find("words") is None
    assert whole(home).fingerprint == expected


@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_between_the_renames_of_a_rebuild_loses_nothing_that_the_next_build_does_not_make(
    home: Home, monkeypatch: pytest.MonkeyPatch, renames: int
):
    whole(home)
    done, rename = [], Path.rename

    def counted(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise Killed
        done.append(path)
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", counted)
        with pytest.raises(Killed):
            home.build("words", Config(size=4), {}, words)
    made = home.build("words", Config(size=4), {}, words)
    made.verify()
    assert sorted(path.name for path in home.path.iterdir()) == ["words"]


def test_a_kill_after_the_last_rename_is_a_finished_artifact(home: Home, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda path, missing_ok=False: None if missing_ok else kill())
        with pytest.raises(Killed):
            home.build("words", Config(), {}, words)
    made = home.build("words", Config(), {}, kill)
    made.verify()


def test_the_fingerprint_depends_on_contents_and_not_on_logs_or_place(home: Home, tmp_path: Path):
    def logged(text: str):
        return lambda draft: (words(draft), draft.write_text("journal.jsonl", text))

    prints = [Home(tmp_path / text).build("words", Config(), {}, logged(text)).fingerprint for text in ("a", "b")]
    other = Home(tmp_path / "c").build("words", Config(), {}, lambda draft: draft.write_text("words.txt", "changed") and None)
    assert prints[0] == prints[1] != other.fingerprint


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_file_is_named(home: Home, damage: str):
    made = whole(home)
    file = made.path / "words.txt"
    file.unlink() if damage == "missing" else file.write_text("one" if damage == "cut" else "one two tree!")
    with pytest.raises(ArtifactError, match=r"words\.txt.*--again"):
        made.verify()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "words"}'])
def test_a_damaged_manifest_is_an_error_that_says_what_would_do(home: Home, text: str):
    made = whole(home)
    (made.path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match="--again"):
        home.open("words")


def test_a_manifest_of_another_format_is_refused(home: Home):
    made = whole(home)
    path = made.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ArtifactError, match="format 99"):
        read_artifact(made.path, made.name)


def test_an_artifact_that_is_not_there_is_an_error_naming_its_place(home: Home):
    with pytest.raises(ArtifactError, match="no finished 'base'"):
        home.open("base")


def test_an_artifact_can_come_from_another_home(home: Home, tmp_path: Path):
    made = whole(home)
    assert Home(tmp_path / "second", {"words": made.path}).open("words") == made


def test_the_first_finished_of_several_is_found(home: Home):
    made = whole(home)
    assert home.find("reinforced", "words") == made
    assert home.find("reinforced", "sft") is None


def test_renewing_builds_once_from_nothing_and_removes_nothing_before(home: Home):
    made = whole(home)
    (home.path / "words.partial").mkdir()
    (home.path / "words.partial" / "old").touch()
    home.renew("words")
    assert home.find("words") == made
    left = []
    home.build("words", Config(), {}, lambda draft: left.extend(file.name for file in draft.path.iterdir()))
    assert left == ["plan.json"]
    assert home.build("words", Config(), {}, lambda _: pytest.fail("built twice")).path == made.path


def test_what_is_there_stays_when_its_renewal_fails(home: Home):
    made = whole(home)

    def fail(draft: Draft) -> None:
        draft.write_text("half", "written")
        raise UsageError("words: this cannot be. Give another.")

    home.renew("words")
    with pytest.raises(UsageError):
        home.build("words", Config(), {}, fail)
    assert home.open("words") == made
    made.verify()
    assert home.build("words", Config(), {}, lambda _: pytest.fail("built twice")) == made


def test_a_second_lock_on_a_home_is_refused_and_a_released_one_is_not(home: Home):
    with home.lock(), pytest.raises(UsageError, match="another process"), Home(home.path).lock():
        pass
    with Home(home.path).lock():
        pass


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = artifact.write_atomically(tmp_path / "a" / "b.txt", b"old")
    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(Killed):
        artifact.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_checkpoints_go_only_when_the_artifact_is_whole(tmp_path: Path):
    home = Home(tmp_path)

    def make(draft: Draft) -> None:
        draft.write_text("checkpoints/step-1/state.json", "{}")
        draft.write_text("model.json", "{}")

    made = home.build("base", Config(), [], make)
    assert set(made.manifest.files) == {"model.json"}
    assert not (made.path / "checkpoints").exists()


def test_an_artifact_goes_by_its_role_wherever_it_lies(tmp_path: Path):
    for run in ("one", "two"):
        Home(tmp_path / run).build("v1", Config(), [], lambda draft: None)
    home = Home(tmp_path / "here", {"sft": tmp_path / "one" / "v1", "preferred": tmp_path / "two" / "v1"})
    assert [home.open(name).name for name in ("sft", "preferred")] == ["sft", "preferred"]
