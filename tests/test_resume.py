"""A run that was cut off ends as one that was not, bit for bit; a damaged checkpoint is named and never believed."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parted import files_of_at_most
from tiny import Like, features, random_tokens
from trainee import Spoiled, begun, differences, items, plan, snapshot, train

from scratchlm.core.artifact import Draft, files_under, write_atomically
from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import Every
from scratchlm.generate.speaker import Speaker
from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.optim import OPTIMIZERS, muon
from scratchlm.parallel.precision import Dtype, Precision, Speeds
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train import checkpoint, decisions, pieces
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.loop import Probe
from scratchlm.train.objectives import NextToken
from scratchlm.train.session import Session, steps_for
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState


def restored(path: Path, state: TrainState) -> list[Event]:
    """Put the newest good checkpoint into ``state``; what the journal says of it."""
    events: list[Event] = []
    Keeper(path).restore(state, Journal(events.append))
    return events


CASES: list[tuple[str, Dtype]] = [
    *((kind, "float32") for kind in OPTIMIZERS),
    ("adamw", "float16"),
    ("muon", "float16"),
    ("muon", "bfloat16"),
]


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_five_steps_a_new_process_and_five_more_are_ten(kind: str, dtype: Dtype, tmp_path: Path):
    whole, half, resumed = begun(kind, dtype=dtype), begun(kind, dtype=dtype), begun(kind, dtype=dtype, weights=7)
    train(whole, plan(tmp_path, 10, dtype=dtype))
    train(half, plan(tmp_path, 5, dtype=dtype))
    Keeper(tmp_path).save(half)
    torch.manual_seed(99)
    restored(tmp_path, resumed)
    assert differences(snapshot(half), snapshot(resumed)) == []
    train(resumed, plan(tmp_path, 10, dtype=dtype))
    assert differences(snapshot(whole), snapshot(resumed)) == []
    assert resumed.step == 10


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "qwen3"])
def test_every_architecture_resumes(architecture: str, tmp_path: Path):
    whole, half, resumed = (begun("muon", architecture=architecture, weights=weights) for weights in (0, 0, 7))
    train(whole, plan(tmp_path, 4))
    train(half, plan(tmp_path, 2))
    Keeper(tmp_path).save(half)
    restored(tmp_path, resumed)
    train(resumed, plan(tmp_path, 4))
    assert differences(snapshot(whole), snapshot(resumed)) == []


def test_half_precision_trains_and_its_scale_is_saved(tmp_path: Path):
    state, resumed = begun(dtype="float16"), begun(dtype="float16")
    train(state, plan(tmp_path, 5, dtype="float16"), asked=Spoiled(state, float("inf"), steps=[1, 3], gradients_only=True))
    Keeper(tmp_path).save(state)
    restored(tmp_path, resumed)
    assert state.scaler is not None
    assert resumed.scaler is not None
    assert resumed.scaler.get_scale() == state.scaler.get_scale() == 2.0**14  # halved twice from 2**16
    assert state.guard.skipped == 2
    assert Precision("float32").scaler() is Precision("bfloat16").scaler() is None


def test_the_guards_window_goes_on_where_it_was(tmp_path: Path):
    state, resumed = begun(), begun()
    train(state, plan(tmp_path, 20), asked=Spoiled(state, float("nan"), steps=[19]))
    Keeper(tmp_path).save(state)
    restored(tmp_path, resumed)
    assert resumed.guard == state.guard
    assert (len(resumed.guard.losses), resumed.guard.skipped, resumed.guard.in_a_row) == (19, 1, 1)


def saved(path: Path, *steps: int) -> TrainState:
    """A run that saved after each of ``steps``."""
    state, keeper = begun(), Keeper(path)
    for step in steps:
        train(state, plan(path, step))
        keeper.save(state)
    return state


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


PART = "part-00000-of-00001.safetensors"
FILES = (PART, "state.json", "manifest.json")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(file: str, damage: Callable[[Path], None], tmp_path: Path):
    saved(tmp_path, 2, 4)
    damage(tmp_path / "step-00000004" / file)
    state = begun(weights=7)
    told, resumed = restored(tmp_path, state)
    assert (told["event"], told["path"], told["fault"] in told["message"]) == ("damaged", "step-00000004", True)
    assert file in told["fault"] or file == "manifest.json"
    assert (resumed["event"], resumed["step"], state.step) == ("resumed", 2, 2)


def test_a_run_that_lost_its_newest_checkpoint_still_ends_the_same(tmp_path: Path):
    whole, resumed = begun(), begun(weights=7)
    train(whole, plan(tmp_path / "whole", 6))
    saved(tmp_path, 2, 4)
    flip(tmp_path / "step-00000004" / PART)
    restored(tmp_path, resumed)
    train(resumed, plan(tmp_path, 6))
    assert differences(snapshot(whole), snapshot(resumed)) == []


def test_without_a_good_checkpoint_nothing_is_resumed(tmp_path: Path):
    state = begun()
    assert not Keeper(tmp_path / "nowhere").restore(state, Journal())
    saved(tmp_path, 1)
    flip(tmp_path / "step-00000001" / PART)
    before = snapshot(state)
    assert not Keeper(tmp_path).restore(state, Journal())
    assert differences(before, snapshot(state)) == []


def test_only_the_newest_two_are_kept(tmp_path: Path):
    saved(tmp_path, 1, 2, 3, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


def test_what_a_kill_left_half_written_is_not_a_checkpoint(tmp_path: Path):
    saved(tmp_path, 2)
    partial = tmp_path / "step-00000003.partial"
    shutil.copytree(tmp_path / "step-00000002", partial)
    (partial / "junk").write_text("junk")
    assert [path.name for path in Keeper(tmp_path).found()] == ["step-00000002"]
    state = begun(weights=7)
    assert [event["step"] for event in restored(tmp_path, state)] == [2]
    train(state, plan(tmp_path, 3))
    made = Keeper(tmp_path).save(state)
    assert not partial.exists()
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)


def test_a_manifest_that_was_changed_into_another_good_one_is_not_believed(tmp_path: Path):
    saved(tmp_path, 2, 4)
    manifest = tmp_path / "step-00000004" / "manifest.json"
    said = json.loads(manifest.read_text())
    del said["files"][PART]
    manifest.write_text(json.dumps(said))
    assert [event["event"] for event in restored(tmp_path, begun())] == ["damaged", "resumed"]


class PowerCut(Exception):
    """Ends a run without a checkpoint."""


@pytest.mark.parametrize("done", range(6))
def test_wherever_a_save_is_cut_off_the_checkpoint_before_it_is_taken(done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = saved(tmp_path, 2)
    train(state, plan(tmp_path, 3))
    left = iter(range(done))

    def until_the_cut(act: Callable[..., Any]) -> Callable[..., Any]:
        def cut_off(*given: Any) -> Any:
            if next(left, None) is None:
                raise PowerCut
            return act(*given)

        return cut_off

    monkeypatch.setattr(pieces, "save_file", until_the_cut(pieces.save_file))  # 1st
    monkeypatch.setattr(checkpoint, "write_atomically", until_the_cut(checkpoint.write_atomically))  # 2nd and 5th: state, manifest
    monkeypatch.setattr(checkpoint, "sha256_of", until_the_cut(checkpoint.sha256_of))  # 3rd and 4th
    monkeypatch.setattr(Path, "rename", until_the_cut(Path.rename))  # 6th
    with pytest.raises(PowerCut):
        Keeper(tmp_path).save(state)
    monkeypatch.undo()
    assert [(event["event"], event["step"]) for event in restored(tmp_path, begun(weights=7))] == [("resumed", 2)]


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing_that_looks_whole(tmp_path: Path):
    pytest.importorskip("resource", reason="no limit on the size of files here")
    state = saved(tmp_path, 2)
    train(state, plan(tmp_path, 3))
    said = r"step-00000003\.partial: process 0 cannot work here \(.*too large.*\)\. Make room"
    with files_of_at_most(1000), pytest.raises(ArtifactError, match=said):
        Keeper(tmp_path).save(state)
    assert [event["step"] for event in restored(tmp_path, begun())] == [2]


def test_what_an_earlier_version_wrote_is_refused_and_not_begun_anew(tmp_path: Path):
    old = tmp_path / "step-00000002"
    for name in ("weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"):
        write_atomically(old / name, b"{}")
    with pytest.raises(ArtifactError, match=r"step-00000002: a checkpoint of an earlier version, .* --again\.$"):
        restored(tmp_path, begun())


def test_what_a_later_version_wrote_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "FORMAT", 3)
        saved(tmp_path, 2)
    with pytest.raises(ArtifactError, match=r"step-00000002: a checkpoint of format 3, and this version reads 2\. .* --again\.$"):
        restored(tmp_path, begun())


def test_a_checkpoint_of_another_model_is_refused_by_the_name_of_what_differs(tmp_path: Path):
    saved(tmp_path, 2)
    with pytest.raises(ArtifactError, match=r"state\.json: '.*' is of shape \[12, 14\] in this checkpoint and of shape \[8, 14\] in this"):
        restored(tmp_path, begun(architecture="llama"))
    with pytest.raises(
        ArtifactError, match=r"state\.json: '.*' is of shape .* in this checkpoint and absent in this run's model\. .* --again\.$"
    ):
        restored(tmp_path, begun(architecture="moe"))
    double = begun()
    for part in double.parts:
        part.own.data = part.own.data.double()
    with pytest.raises(ArtifactError, match=PART + r": '.*' is \[.*\] in torch\.float32 there and \[.*\] in torch\.float64 in this run"):
        restored(tmp_path, double)


def test_a_checkpoint_may_be_saved_twice(tmp_path: Path):
    state = saved(tmp_path, 2)
    Keeper(tmp_path).save(state)
    assert [event["step"] for event in restored(tmp_path, begun())] == [2]


def test_checkpoints_are_due_by_steps_or_by_minutes(tmp_path: Path):
    assert [step for step in range(1, 10) if Keeper(tmp_path, steps=3).due(step)] == [3, 6, 9]
    assert not Keeper(tmp_path).due(5)
    assert not Keeper(tmp_path, minutes=2.0).due(5)
    late = Keeper(tmp_path, minutes=2.0, _last=time.monotonic() - 121)
    assert late.due(5)
    late.save(begun())
    assert not late.due(6)


def test_the_loop_saves_when_it_is_due(tmp_path: Path):
    how = plan(tmp_path, 7)
    train(begun(), replace(how, keeper=Keeper(tmp_path, steps=3)))
    assert [path.name for path in Keeper(tmp_path).found()] == ["step-00000006", "step-00000003"]


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch):
    """What this machine is found to be, as a list that a test may change; the process is put back as it was."""
    found = [Speeds(float32=50.0, bfloat16=10.0)]
    monkeypatch.setattr(decisions, "measured_speeds", lambda device: found[0])
    threads = torch.get_num_threads()
    yield found
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


CONFIG = Training(optimizer=muon.Config(), checkpoint_steps=2, checkpoint_minutes=None, device="cpu")


def test_what_was_measured_is_decided_once(speeds: list[Speeds], tmp_path: Path):
    first = Session.open(Draft(tmp_path), CONFIG, Journal(), Like(begun().model))
    speeds[0] = Speeds(float32=10.0, bfloat16=50.0)
    second, elsewhere = (Session.open(Draft(path), CONFIG, Journal(), Like(begun().model)) for path in (tmp_path, tmp_path / "else"))
    assert [each.precision.dtype for each in (first, second, elsewhere)] == ["float32", "float32", "bfloat16"]
    assert json.loads((tmp_path / "decisions.json").read_text())["float32_gflops"] == 50.0


@pytest.mark.parametrize(("bfloat16", "dtype"), [(64.0, "float32"), (66.0, "bfloat16")])
def test_bfloat16_must_be_clearly_faster(bfloat16: float, dtype: str):
    assert Speeds(float32=50.0, bfloat16=bfloat16).faster == dtype


def test_a_named_dtype_is_taken_whatever_is_faster(speeds: list[Speeds]):
    speeds[0] = Speeds(float32=10.0, bfloat16=50.0)
    assert decisions.decide(CONFIG.model_copy(update={"dtype": "float16"}), begun().model, Journal()).dtype == "float16"


def stage(path: Path, *, dies_at: int | None = None) -> TrainState:
    """What a training stage does, up to a power cut if there is one."""

    def measure(state: TrainState) -> dict[str, int]:
        if state.step == dies_at:
            raise PowerCut
        return {}

    work = Session.open(Draft(path), CONFIG, Journal(), Like(begun().model))
    return work.train(items, NextToken(work.model), steps=7, probes=(Probe("cut", Every(1), measure),))


@pytest.mark.parametrize("dies_at", [1, 5])
def test_a_stage_goes_on_from_its_last_checkpoint(dies_at: int, speeds: list[Speeds], tmp_path: Path):
    whole = stage(tmp_path / "whole")
    with pytest.raises(PowerCut):
        stage(tmp_path / "cut", dies_at=dies_at)
    resumed = stage(tmp_path / "cut")
    assert differences(snapshot(whole), snapshot(resumed)) == []
    steps = [json.loads(line) for line in (tmp_path / "cut" / "journal.jsonl").read_text().splitlines()]
    done = [event["step"] for event in steps if event["event"] == "step"]
    assert done == [*range(1, dies_at + 1), *range(dies_at // 2 * 2 + 1, 8)]


def test_a_stage_leaves_a_model_that_stands_alone(speeds: list[Speeds], tmp_path: Path):
    words = tmp_path / "tokenizer"
    tokenizers.train("byte", [], size=259).save(words)
    for name in ("manifest.json", "plan.json"):
        (words / name).write_text("{}")
    state = stage(tmp_path / "base")
    Session.open(Draft(tmp_path / "base"), CONFIG, Journal(), Like(state.model)).leave(state, words)
    speaker = Speaker.load(tmp_path / "base")
    tokens_BT = random_tokens(1, 9)
    assert torch.equal(features(speaker.model, tokens_BT), features(state.model.eval(), tokens_BT))
    left = {path.relative_to(tmp_path / "base").as_posix() for path in files_under(tmp_path / "base")}
    assert not any("manifest" in name or "plan" in name or "checkpoint" in name for name in left)
    assert {"model.safetensors", "model.json", "tokenizer/tokenizer.json", "decisions.json", "journal.jsonl"} < left


@pytest.mark.parametrize(("tokens", "per_step", "steps"), [(1, 100, 1), (100, 100, 1), (101, 100, 2), (1000, 7, 143)])
def test_a_horizon_is_whole_steps(tokens: int, per_step: int, steps: int):
    assert steps_for(tokens, per_step=per_step) == steps
