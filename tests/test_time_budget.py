"""A budget of time: read, spent on the size that promises most, frozen, and held against what came of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import trainee
from pydantic import BaseModel

from benchmarks.time_to_loss import prepared
from scratchlm.cli import main
from scratchlm.core.artifact import Home
from scratchlm.core.config import with_sets
from scratchlm.core.errors import ArtifactError, CheckFailed, MemoryShort, UsageError
from scratchlm.core.journal import Journal
from scratchlm.model import cost, gpt2, llama, minillm, qwen3, swift
from scratchlm.model.architectures import AnyConfig, build
from scratchlm.recipes.smoke import smoke
from scratchlm.stages import pretrain
from scratchlm.train import budget, pace, scaling
from scratchlm.train.budget import Text
from scratchlm.train.scaling import Law

LAW = Law(floor=0.3, a=12.0, alpha=0.35, b=90.0, beta=0.33, spread=0.05, points=9, least=(1e5, 1e6), most=(1e7, 1e9, 1e16))
TEXT = Text(tokens=50_000_000, bytes=170_000_000, hardness=2.1)
GFLOPS = 500.0


@pytest.fixture
def law(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law above, whatever the ladder says today."""
    monkeypatch.setattr(scaling, "laws", lambda: {"qwen3": LAW})


def honest(shape: AnyConfig, _tokens: float) -> float:
    """A machine that computes as fast as it multiplies, but for small ones."""
    return GFLOPS * 1e9 / (cost.training_flops(shape) + 2e7)


def typed(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_times_are_read():
    assert [budget.seconds_of(each) for each in ("90s", "30m", "1.5h", "2d")] == [90, 1800, 5400, 172_800]


@pytest.mark.parametrize("wrong", ["30", "m", "-3m", "1e3s", "half an hour", "0s", "0.0m"])
def test_what_is_no_time_is_refused_in_one_line(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert typed("pretrain", "smoke", "--home", str(tmp_path / "home"), f"--budget={wrong}") == 2
    told = capsys.readouterr().err
    assert "pretrain.budget" in told
    assert "such as 90s, 30m or 2h" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("kind", [qwen3, llama, swift, gpt2, minillm], ids=lambda kind: kind.__name__.rpartition(".")[2])
@pytest.mark.parametrize("width", [64, 320, 448, 4096])
def test_every_width_is_a_model_of_the_same_kind(kind: Any, width: int):
    shape = budget.shaped(kind.Config(vocab=300, context=64), width)
    assert (shape.kind, shape.width, shape.vocab, shape.context) == (kind.Config().kind, width, 300, 64)
    assert shape.layers == max(2, width // 64)
    if width < 100:
        assert sum(p.numel() for p in build(shape, seed=0).parameters()) == cost.parameters(shape)


@pytest.mark.usefixtures("law")
@pytest.mark.parametrize("seconds", [20.0, 300.0, 7200.0, 1e6])
def test_no_other_width_promises_more_in_the_same_time(seconds: float):
    base = qwen3.Config(vocab=4096, context=256)
    choice, timed = budget.choose(base, TEXT, left=lambda: seconds, idle=1000.0, gflops=GFLOPS, speed=honest)
    every = [budget.shaped(base, width) for width in budget.WIDTHS]
    others = [budget.planned(LAW, shape, TEXT, budget.USED * seconds * honest(shape, 1.0) - 1000.0) for shape in every]
    assert choice.bits_per_byte == min(other.bits_per_byte for other in others if other)
    assert choice.width in timed
    assert len(timed) <= 6
    assert choice.tokens / honest(budget.shaped(base, choice.width), 1.0) <= seconds
    assert choice.low < choice.bits_per_byte < choice.high
    assert choice.tokens <= budget.MOST_EPOCHS * TEXT.tokens
    assert choice.tokens == choice.steps * choice.rows * 256


@pytest.mark.usefixtures("law")
def test_what_does_not_fit_into_memory_is_not_chosen_and_longer_runs_take_larger_steps():
    base = qwen3.Config(vocab=4096, context=256)

    def chosen(seconds: float, most: int) -> budget.Choice:
        speed = lambda shape, tokens: honest(shape, tokens) if shape.width <= most else 0.0  # noqa: E731
        return budget.choose(base, TEXT, left=lambda: seconds, idle=0.0, gflops=GFLOPS, speed=speed)[0]

    assert chosen(7200.0, 4096).width > 192
    assert chosen(7200.0, 192).width == 192
    assert chosen(7200.0, 4096).rows > chosen(60.0, 4096).rows
    with pytest.raises(UsageError, match="5 s are left after timing, too few for 20 steps"):
        chosen(5.0, 0)
    for late in (0.0, -3.0):
        with pytest.raises(UsageError, match="the time is up before the first step"):
            chosen(late, 4096)


@pytest.mark.usefixtures("law")
def test_a_short_text_is_not_read_more_often_than_it_is_good_for():
    asked: list[float] = []
    little, base = Text(tokens=25_000, bytes=80_000, hardness=2.1), qwen3.Config(vocab=500, context=64)
    speed = lambda shape, tokens: asked.append(tokens) or honest(shape, tokens)  # noqa: E731
    choice, _ = budget.choose(base, little, left=lambda: 86_400.0, idle=0.0, gflops=GFLOPS, speed=speed)
    most = budget.MOST_EPOCHS * little.tokens
    assert asked
    assert max(asked) <= most
    assert 0.9 * most < choice.tokens <= most


def test_an_architecture_without_a_ladder_is_refused_with_the_recipe():
    base = smoke().pretrain
    assert base
    with pytest.raises(UsageError, match="no ladder was run for 'gpt2'"):
        with_sets(base, ["budget=6s", 'model={"kind": "gpt2"}'])


def test_a_context_that_cannot_be_cut_in_four_is_refused_where_rows_are_short_at_first():
    base = smoke().pretrain
    assert base
    assert with_sets(base, ["model.context=30"]).model.context == 30
    for short in ("budget=6s", "length_warmup=0.2"):
        with pytest.raises(UsageError, match="a context of 30 is no multiple of 4"):
            with_sets(base, ["model.context=30", short])


@pytest.mark.usefixtures("law")
def test_a_stage_freezes_its_choice_and_holds_it_against_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, events = Home(tmp_path), list[dict[str, Any]]()
    prepared(" ".join(f"{number} and {number + 1} make {2 * number + 1}." for number in range(2000)), home)
    monkeypatch.setattr(pretrain, "tokens_per_s", lambda shape, *_, **__: 2e4 * 64 / shape.width)
    base = smoke().pretrain
    assert base
    config = with_sets(base, ["budget=6s"])
    with monkeypatch.context() as broken:
        broken.setattr(pretrain, "outcome", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pretrain.run(config, home, Journal(events.append))
    frozen = (tmp_path / "base.partial" / "budget.json").read_bytes()
    monkeypatch.setattr(pretrain, "tokens_per_s", lambda *_, **__: 1 / 0)  # nothing is timed again
    made = pretrain.run(config, home, Journal(events.append))
    assert (made.path / "budget.json").read_bytes() == frozen
    timed = [event["note"] for event in events if event["event"] == "timed"]  # from which width on is the machine's
    assert {"width 64: 20,000 tokens/s", "width 128: 10,000 tokens/s"} <= set(timed)
    assert len(timed) == len(set(timed))
    choice = json.loads(frozen)
    (told,) = (event for event in events if event["event"] == "budget")
    (outcome,) = (event for event in events if event["event"] == "outcome")
    assert made.counts["steps"] == choice["steps"] == told["steps"]
    assert made.counts["tokens"] == choice["tokens"]
    assert json.loads((made.path / "model.json").read_text())["width"] == choice["width"] == 64
    for name, value in budget.TUNED.items():
        assert made.manifest.config[name] == (value.model_dump(mode="json") if isinstance(value, BaseModel) else value)
    named = [event["note"] for event in events if event["event"] == "rates"]
    assert set(named) == {
        "a budget takes optimizer, schedule, length_warmup from the ladder that its prediction comes from, not from the recipe"
    }
    peaks = {event["lr"] for event in events if event["event"] == "step"}
    assert max(peaks) == choice["lr"] == budget.TUNED["optimizer"].lr != config.optimizer.lr
    assert outcome["predicted"] == choice["bits_per_byte"] == made.counts["predicted"]
    assert outcome["inside"] == (choice["low"] <= outcome["reached"] <= choice["high"])
    validations = [event["bits_per_byte"] for event in events if event["event"] == "validation"]
    assert outcome["reached"] == validations[-1]
    assert len(validations) >= pretrain.LOOKS


def test_a_choice_of_another_version_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "budget.json"
    for damaged in ("{}", "not JSON", '{"width": 64}'):
        path.write_text(damaged)
        with pytest.raises(ArtifactError, match=r"budget\.json: not a choice that this version understands\. Start it anew with --again\."):
            pretrain.read_choice(path)


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (MemoryShort("no"), None),
        (RuntimeError("CUDA out of memory"), None),
        (CheckFailed("it diverges"), "diverges"),
        (RuntimeError("wrong"), "wrong"),
    ],
)
def test_only_what_memory_does_not_hold_has_no_pace(fails: Exception, said: str | None, monkeypatch: pytest.MonkeyPatch):
    def steps(*_: Any) -> list[float]:
        raise fails

    monkeypatch.setattr(pace, "steps", steps)
    base = smoke().pretrain
    assert base
    given = lambda: pace.tokens_per_s(base.model, base, trainee.batch(), device="cpu", tokens=1000)  # noqa: E731
    if said is None:
        assert given() == 0
    else:
        with pytest.raises(type(fails), match=said):
            given()
