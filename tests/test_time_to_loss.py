"""Time to the same loss: every process learns for real, is measured on the very last tenth, and the row says who reached whom and when."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tales
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks import baseline, machine, time_to_loss, trainer
from benchmarks.baseline import Recipe, Shape
from benchmarks.peers import missing
from benchmarks.time_to_loss import Run, comparisons, copied, in_rounds, medians, nanogpt, ours, peer, prepared, table
from benchmarks.time_to_loss_peers import LEARNERS, transformers_trainer
from scratchlm.core.artifact import Home
from scratchlm.model import attention, store
from scratchlm.tokenizer import store as tokenizers

pytestmark = pytest.mark.usefixtures("put_back")

TEXT = "\n".join(tales.story(number) for number in range(9))
STEPS = 3
PREPARE = """
import array, pathlib
text = pathlib.Path("input.txt").read_text(encoding="utf-8")
known = {character: number for number, character in enumerate(sorted(set(text)))}
cut = int(len(text) * 0.9)
for name, part in (("train", text[:cut]), ("val", text[cut:])):
    pathlib.Path(name + ".bin").write_bytes(array.array("H", [known[character] for character in part]).tobytes())
"""
MODEL = """
import sys
from dataclasses import dataclass
sys.path[:0] = [{root!r}]
from benchmarks import baseline

@dataclass
class GPTConfig:
    vocab_size: int
    n_embd: int

class GPT(baseline.GPT):
    def __init__(self, config):
        super().__init__(baseline.Shape(config.vocab_size, layers=1, width=config.n_embd))
        print("number of parameters: few")
    def forward(self, idx, targets):
        return None, super().forward(idx, targets)
"""
TRAIN = """
import pathlib, sys, torch
from model import GPT, GPTConfig
pathlib.Path("words.txt").write_text("\\n".join(sys.argv[1:]))
sizes = {"vocab_size": len(set(pathlib.Path("data/shakespeare_char/input.txt").read_text(encoding="utf-8"))), "n_embd": 8}
torch.manual_seed(1337)
model = GPT(GPTConfig(**sizes))
pathlib.Path("out-shakespeare-char").mkdir(exist_ok=True)
torch.save({"model": model.state_dict(), "model_args": sizes, "iter_num": 0}, "out-shakespeare-char/ckpt.pt")
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a checkout of nanoGPT has of which we make use."""
    data = tmp_path / "checkout" / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    (data / "prepare.py").write_text(PREPARE)
    (tmp_path / "checkout" / "model.py").write_text(MODEL.format(root=str(machine.ROOT)))
    (tmp_path / "checkout" / "train.py").write_text(TRAIN)
    return tmp_path / "checkout"


def nats(scores_of: Callable[[Tensor], Tensor], ids: list[int]) -> float:
    """One window of 64 after the other, one character after the other."""
    found: list[float] = []
    with torch.no_grad():
        for begin in range(0, len(ids) - 64, 64):
            scores_TV = scores_of(torch.tensor([ids[begin : begin + 64]]))[0].double()
            found += [float(scores_TV[at].logsumexp(0) - scores_TV[at, ids[begin + at + 1]]) for at in range(64)]
    return sum(found) / len(found)


def held_out() -> list[int]:
    """The last tenth, its characters numbered in their order."""
    known = sorted(set(TEXT))
    return [known.index(character) for character in TEXT[int(0.9 * len(TEXT)) :]]


def scores_of(model: baseline.GPT) -> Callable[[Tensor], Tensor]:
    """Of the plain model, which by itself gives its loss alone."""

    def scores(x_BT: Tensor) -> Tensor:
        x_BTD = model.embedding(x_BT) + model.positions.weight[: x_BT.shape[1]]
        for block in model.blocks:
            x_BTD = block(x_BTD)
        return F.linear(model.norm(x_BTD), model.embedding.weight)

    return scores


def test_the_plain_process_says_the_loss_of_what_it_learned(text: Path):
    run = peer("plain PyTorch", text, STEPS, seed=5)
    learned, _, vocab = baseline.characters(TEXT)
    model = baseline.train(learned, Shape(vocab), Recipe(STEPS), 5)
    assert run.loss == pytest.approx(nats(scores_of(model), held_out()), rel=1e-5)  # float32 here and there
    assert 0 < run.evaluation < run.seconds


@pytest.mark.skipif(missing("transformers Trainer", None) is not None, reason=f"{missing('transformers Trainer', None)}")
def test_the_process_of_trainer_says_the_loss_of_what_it_learned(text: Path, monkeypatch: pytest.MonkeyPatch):
    run = peer("transformers Trainer", text, STEPS, seed=5)
    kept: list[torch.nn.Module] = []
    learn = trainer.learn
    monkeypatch.setattr(trainer, "learn", lambda model, *rest: (kept.append(model), learn(model, *rest)))
    learned, _, vocab = baseline.characters(TEXT)
    transformers_trainer(learned, Shape(vocab), Recipe(STEPS), 5)
    assert run.loss == pytest.approx(nats(lambda x_BT: kept[0](input_ids=x_BT).logits, held_out()), rel=1e-5)
    assert 0 < run.evaluation < run.seconds


@pytest.mark.skipif(missing("transformers Trainer", None) is not None, reason=f"{missing('transformers Trainer', None)}")
def test_trainer_goes_through_the_same_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Rates along the same warm-up and cosine, as many steps and rows, the same decay."""
    recipe, loops = Recipe(steps=30, rows=5, warmup=10), list[Any]()

    def watched(*given: Any, **named: Any) -> SimpleNamespace:
        loops.append(original(*given, **named))
        return SimpleNamespace(train=lambda: None)

    original = trainer.trainer
    monkeypatch.setattr(trainer, "trainer", watched)
    trainer.learn(torch.nn.Linear(1, 1), trainer.Rows(torch.arange(99), 64), recipe, 0, tmp_path)
    (loop,) = loops
    loop.create_optimizer_and_scheduler(recipe.steps)
    rates = []
    for _ in range(recipe.steps):
        rates.append(loop.lr_scheduler.get_last_lr()[0])
        loop.optimizer.step()
        loop.lr_scheduler.step()
    # Its warm-up begins at nothing, one step of a hundred later than ours.
    assert rates == pytest.approx([baseline.rate(recipe, step) for step in range(recipe.steps)], abs=recipe.lr / recipe.warmup)
    decays, stays = loop.optimizer.param_groups
    assert (decays["weight_decay"], stays["weight_decay"], decays["betas"]) == (0.1, 0.0, (0.9, 0.99))
    assert (loop.args.max_steps, loop.args.per_device_train_batch_size, loop.args.max_grad_norm) == (30, 5, 1.0)


def test_nanogpt_is_measured_by_what_it_saved(text: Path, checkout: Path, tmp_path: Path):
    copied(checkout, text, tmp_path / "copy")
    run = nanogpt(tmp_path / "copy", 2000)
    words = (tmp_path / "copy" / "words.txt").read_text().splitlines()
    assert words == [*time_to_loss.NANOGPT, "--max_iters=2000", "--lr_decay_iters=2000"]
    saved = torch.load(tmp_path / "copy" / "out-shakespeare-char" / "ckpt.pt", weights_only=True)
    model = baseline.GPT(Shape(saved["model_args"]["vocab_size"], layers=1, width=8))
    model.load_state_dict(saved["model"])
    assert run.loss == pytest.approx(nats(scores_of(model), held_out()), rel=1e-5)
    assert 0 < run.evaluation < run.seconds
    assert not (checkout / "words.txt").exists()


def test_ours_is_measured_on_the_same_characters(tmp_path: Path):
    home = tmp_path / "home"
    prepared(TEXT, Home(home))
    run = ours(home, tmp_path, 1, ["pretrain.rows=4", "pretrain.tokens=1024"])
    model, tokenizer = store.load(tmp_path / "run-1" / "base")[1], tokenizers.load(home / "tokenizer")
    model.eval()

    def scores(x_BT: Tensor) -> Tensor:
        positions_BT = torch.arange(x_BT.shape[1]).expand_as(x_BT)
        return model.logits(model.features(x_BT, positions_BT, attention.packed(torch.zeros_like(x_BT)))).float()

    ids = list(tokenizer.encode(TEXT[int(0.9 * len(TEXT)) :]))
    assert run.loss == pytest.approx(nats(scores, ids), rel=1e-5)
    assert run.training is not None
    assert 0 < run.training < run.seconds
    assert (tmp_path / "kernels").is_dir() or not shutil.which("g++")


FAST, SLOW = Run(seconds=5.0, evaluation=1.0, loss=1.9, training=2.0), Run(seconds=20.0, evaluation=1.0, loss=1.6, training=17.0)
FOUND = {
    "ours, 100 tokens": [FAST, Run(seconds=4.0, evaluation=1.0, loss=1.8, training=1.0), FAST],
    "ours, 900 tokens": [SLOW, SLOW, SLOW],
    "somebody": [Run(seconds=each, evaluation=1.0, loss=1.85) for each in (40.0, 60.0, 50.0)],
}


def test_what_is_compared_are_pairs_of_a_round():
    first, second = comparisons(FOUND)
    assert first == {"ours": "ours, 100 tokens", "to": "somebody", "rounds": 3, "times_as_fast": [15.0], "median": 15.0}
    assert second == {"ours": "ours, 900 tokens", "to": "somebody", "rounds": 3, "times_as_fast": [2.0, 3.0, 2.5], "median": 2.5}
    assert medians(FOUND)["somebody"] == {"seconds": 50.0, "loss": 1.85}


def test_the_table_says_who_reached_whom():
    lines = [" ".join(line.split()) for line in table(FOUND)]
    assert lines[1:] == [
        "ours, 100 tokens 5.0 (4.0 to 5.0) 2.00 1.9000 (1.8000 to 1.9000)",
        "ours, 900 tokens 20.0 (20.0 to 20.0) 17.00 1.6000 (1.6000 to 1.6000)",
        "somebody 50.0 (40.0 to 60.0) 1.8500 (1.8500 to 1.8500)",
        "ours, 100 tokens: reached the loss of somebody in 1 of 3 rounds, 15.00 times as fast (15.00 to 15.00)",
        "ours, 900 tokens: reached the loss of somebody in 3 of 3 rounds, 2.50 times as fast (2.00 to 3.00)",
    ]


def test_no_speed_is_told_where_nobody_was_reached():
    slower = {"ours, 100 tokens": [FAST] * 3, "somebody": [Run(seconds=40.0, evaluation=1.0, loss=1.0)] * 3}
    assert table(slower)[-1] == "ours, 100 tokens: reached the loss of somebody in 0 of 3 rounds"
    assert comparisons(slower)[0]["times_as_fast"] == []


def failing(_seed: int) -> Run:
    time_to_loss.subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)
    return FAST


def test_programs_take_turns_and_one_that_fails_is_left_out():
    seeds: list[tuple[str, int]] = []

    def program(name: str) -> Callable[[int], Run]:
        return lambda seed: (seeds.append((name, seed)), FAST)[1]

    found = in_rounds({"ours": program("ours"), "a": failing, "b": program("b")}, rounds=2)
    assert found == {"ours": [FAST, FAST], "b": [FAST, FAST]}
    assert seeds == [("ours", 0), ("b", 0), ("ours", 1), ("b", 1)]
    with pytest.raises(SystemExit, match="ours, 5 tokens: it failed"):
        in_rounds({"ours, 5 tokens": failing, "b": program("b")}, rounds=1)


def test_a_row_is_added_and_who_is_absent_is_named(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(time_to_loss, "ours", lambda home, scratch, seed, sets: (asked.append((str(seed), sets)), FAST)[1])
    monkeypatch.setattr(time_to_loss, "peer", lambda name, path, steps, seed: Run(seconds=50.0, evaluation=1.0, loss=2.0 + seed))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = tmp_path / "results" / "bench.jsonl"
    words = ["--text", str(text), "--rounds", "2", "--tokens", "700", "--set", "pretrain.rows=4", "--steps", "9", "--out", str(out)]
    time_to_loss.main(words)
    time_to_loss.main(words)
    said = capsys.readouterr().out
    assert said.count("transformers Trainer: left out; transformers and accelerate are not installed") == 2
    assert said.count("nanoGPT: left out; no checkout is given (--nanogpt FOLDER)") == 2
    first, second = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert first == second
    assert (first["benchmark"], first["commit"], first["machine"]) == ("time to loss", machine.commit(), machine.facts())
    assert first["left_out"].keys() == {"transformers Trainer", "nanoGPT"}
    made = first["measured"]
    assert [Run(**run) for run in made["runs"]["ours, 700 tokens"]] == [FAST, FAST]
    assert [run["loss"] for run in made["runs"]["plain PyTorch"]] == [2.0, 3.0]
    assert made["medians"]["plain PyTorch"] == {"seconds": 50.0, "loss": 2.5}
    assert made["ratios"] == comparisons({name: [Run(**run) for run in runs] for name, runs in made["runs"].items()})
    assert first["settings"] | {"sha256": ""} == {
        "text": "text.txt", "characters": len(TEXT), "sha256": "", "rounds": 2, "tokens": [700], "sets": ["pretrain.rows=4"],
        "steps": 9, "nanogpt": None,
    }  # fmt: skip
    assert [seed for seed, _ in asked] == ["0", "1"] * 2
    assert all(sets[-2:] == ["pretrain.rows=4", "pretrain.tokens=700"] for _, sets in asked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt: it cannot be read"),
        (["--text", "{short}"], "7 characters are too few"),
        (["--text", "{bytes}"], "Give a file of text in UTF-8."),
        (["--nanogpt", "nowhere"], "no train.py is there"),
        (["--tokens", "none"], "'none' is no count"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "short").write_text("too few")
    (tmp_path / "bytes").write_bytes(b"\xff" * 3000)
    with pytest.raises(SystemExit) as ended:
        time_to_loss.main([word.format(short=tmp_path / "short", bytes=tmp_path / "bytes") for word in words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.soak
def test_without_a_text_the_library_describes_itself_and_the_whole_benchmark_runs(tmp_path: Path, checkout: Path):
    known = time_to_loss.default_text()
    assert len(known) == time_to_loss.DEFAULT_LENGTH
    assert known == time_to_loss.default_text()
    assert "\r" not in known
    out = tmp_path / "bench.jsonl"
    small = ["--rounds", "1", "--steps", "2", "--tokens", "512", "1024", "--set", "pretrain.rows=4"]
    time_to_loss.main([*small, "--out", str(out), "--nanogpt", str(checkout)])
    (row,) = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    runs = row["measured"]["runs"]
    assert runs.keys() | row["left_out"].keys() == {"ours, 512 tokens", "ours, 1,024 tokens", *LEARNERS, "nanoGPT"}
    assert all(0 < run["loss"] < 6 for each in runs.values() for run in each)
    assert row["settings"]["text"] == "Python's documentation"
    assert row["settings"]["nanogpt"] == "unknown"
