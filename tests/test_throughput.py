"""Benchmarks of speed: every peer trains the same model on the same tokens, programs take turns, and the table says what was measured."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import machine, peers, throughput, trainer
from benchmarks.peers import BUILDERS, CHOSEN, COMPILED, FLOAT8, OURS, PRODUCTS, Given, Load, missing, product_speed
from benchmarks.throughput import LOAD, measured, table
from benchmarks.turns import Step, Told, in_turn, peak_memory
from scratchlm.model import gpt2, qwen3
from scratchlm.train.crew import Crew

pytestmark = pytest.mark.usefixtures("put_back")

SMALL = qwen3.Config(vocab=65, context=16, layers=2, width=32, heads=2, kv_heads=2, head_dim=16, hidden=64)
TINY = Load(SMALL, rows=3, dtype="float32")
PROGRAM = """
import json, sys
print(json.dumps({"set_up": 1.5, "first": 0.5}), flush=True)
for number, _ in enumerate(sys.stdin):
    if number == int(sys.argv[2]):
        sys.exit(3)
    with open(sys.argv[3], "a") as file:
        file.write(sys.argv[1])
    print(json.dumps({"seconds": number + 0.25}), flush=True)
print(json.dumps({"memory": 7, "device_memory": 8}), flush=True)
"""


def built(name: str, load: Load = TINY) -> Step:
    with tempfile.TemporaryDirectory() as scratch:
        return BUILDERS[name](load, Given(Path(scratch)))


TRAINER = "transformers Trainer as shipped"


@pytest.mark.parametrize("name", [OURS, "plain PyTorch as written", "transformers as shipped", TRAINER])
def test_a_step_learns_what_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch):
    """The gradient is cut from the norm it had before clipping to nothing by some steps on one batch."""
    if reason := missing(name, None):
        pytest.skip(reason)
    norms: list[float] = []
    clip, squares = torch.nn.utils.clip_grad_norm_, Crew.squares

    def noted(*given: Any, **named: Any) -> torch.Tensor:
        norms.append(float(clip(*given, **named)))
        return torch.tensor(norms[-1])

    def noted_squares(crew: Crew) -> float:
        norms.append(squares(crew) ** 0.5)
        return norms[-1] ** 2

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
    monkeypatch.setattr(Crew, "squares", noted_squares)  # ours counts each number once, whoever has it
    step = built(name, replace(TINY, rows=1))
    for _ in range(4):
        step()
    assert len(norms) == 4
    assert len(set(norms)) == 4
    assert all(norm > 0 for norm in norms)


def test_all_train_as_many_weights():
    """Those that are multiplied: the formula counts them once for everybody."""
    weights = LOAD.flops - 12 * 6 * 384 * 256
    assert weights == 6 * (12 * 6 * 384**2 + 65 * 384)
    plain = peers.baseline.GPT(LOAD.shape)
    assert sum(w.numel() for n, w in plain.named_parameters() if w.ndim == 2 and "positions" not in n) == weights // 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_of_a_square_product(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(peers.PRODUCT, "cpu", 50)
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(torch, "mm", lambda a, b: seen.extend([a, b]))
    peers.product(TINY, dtype)()
    assert [(tuple(each.shape), each.dtype) for each in seen] == [((50, 50), dtype)] * 2
    assert product_speed(TINY, 0.5) == pytest.approx(2 * 50**3 / 0.5 / 1e9)


@pytest.mark.skipif(missing(TRAINER, None) is not None, reason=f"{missing(TRAINER, None)}")
def test_the_loop_of_trainer_takes_one_step_whenever_it_is_asked(tmp_path: Path):
    """As many rows as a step has are read for each, all positions of a row learn, and weights stand still in between."""

    class Watched(trainer.Rows):
        def __getitem__(self, at: int) -> dict[str, torch.Tensor]:
            seen.append(super().__getitem__(at))
            return seen[-1]

    seen: list[dict[str, torch.Tensor]] = []
    model = peers.llama_of_transformers(TINY)
    losses: list[float] = []
    model.register_forward_hook(lambda _model, _inputs, made: losses.append(float(made["loss"].detach())))
    step = trainer.stepwise(model, Watched(torch.arange(64), 16), 3, tmp_path, device="cpu")
    assert not losses
    for number in range(1, 4):
        before = [weight.detach().clone() for weight in model.parameters()]
        step()
        after = [weight.detach().clone() for weight in model.parameters()]
        assert len(losses) == number
        assert 3 * number <= len(seen) <= 3 * (number + 1)  # the next rows may be drawn ahead
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) or number == 1  # a rate may begin at nothing
    row = seen[0]
    assert torch.equal(row["labels"], row["input_ids"] + 1)
    assert row["shift_labels"] is row["labels"]


@pytest.mark.skipif(missing(TRAINER, None) is not None, reason=f"{missing(TRAINER, None)}")
def test_a_loop_of_trainer_that_ends_is_an_error_and_not_a_wait(tmp_path: Path):
    model = peers.llama_of_transformers(TINY)
    step = trainer.stepwise(model, trainer.Rows(torch.full((64,), 10**6), 16), 3, tmp_path, device="cpu")
    with pytest.raises(RuntimeError, match="ended") as ended:
        step()
    assert isinstance(ended.value.__cause__, IndexError)  # no embedding is that long


def test_who_is_not_there_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing("nanoGPT at its best", None) == "no checkout is given (--nanogpt FOLDER)"
    assert missing("litgpt as shipped", Path()) == "litgpt is not installed"
    assert missing("transformers at its best", Path()) == "transformers is not installed"
    assert missing(TRAINER, Path()) == "transformers and accelerate are not installed"
    alone = [name for name in BUILDERS if missing(name, None) is None]
    assert alone == [OURS, COMPILED, CHOSEN, FLOAT8, "plain PyTorch as written", "plain PyTorch at its best", *PRODUCTS]


def program(name: str, log: Path, *, fails_at: int = -1) -> list[str]:
    return [sys.executable, "-c", PROGRAM, name, str(fails_at), str(log)]


def test_programs_take_turns_and_one_that_fails_is_left_out(tmp_path: Path):
    log = tmp_path / "log"
    commands = {"a": program("a", log), "b": program("b", log), "c": program("c", log, fails_at=1), "d": [sys.executable, "-c", "1 / 1"]}
    found = in_turn(commands, rounds=3)
    assert log.read_text() == "abcabab"
    assert found == {name: Told(1.5, 0.5, [0.25, 1.25, 2.25], memory=7, device_memory=8) for name in "ab"}


def test_a_process_knows_what_it_held():
    before = peak_memory()
    held = torch.ones(60_000_000, dtype=torch.uint8)
    assert before <= peak_memory()
    assert peak_memory() > held.numel()


def test_the_table_has_shares_of_the_peak_and_ratios_of_pairs():
    tokens, second = LOAD.tokens, LOAD.tokens * LOAD.flops / 1e9
    told = {
        OURS: Told(2.0, 1.0, [1.0, 2.0, 4.0], memory=500_000_000),
        "somebody": Told(3.0, 1.0, [3.0, 4.0, 8.0], memory=1_000_000_000),
        PRODUCTS[0]: Told(0, 0, [1.0]),
        PRODUCTS[1]: Told(0, 0, [0.25, 0.2]),
    }
    peak = product_speed(LOAD, 0.2)
    first, _, own, other = table(told, LOAD)
    assert first == f"peak: {product_speed(LOAD, 1.0):,.0f} GF/s of a product in float32, {peak:,.0f} GF/s of a product in bfloat16"
    assert own.split() == ["ours", f"{tokens / 2:,.0f}", f"{second / 2 / peak:.0%}", "1.00", "(1.00", "to", "1.00)", "3.0", "500"]
    assert other.split() == ["somebody", f"{tokens / 4:,.0f}", f"{second / 4 / peak:.0%}", "2.00", "(2.00", "to", "3.00)", "4.0", "1,000"]


@pytest.mark.parametrize(("words", "said"), [(["--nanogpt", "nowhere"], "no model.py is there"), (["--rounds", "0"], "'0' is no count")])
def test_what_cannot_be_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        throughput.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_row_has_every_round_and_what_comes_of_them():
    told = {
        OURS: Told(2.0, 1.0, [1.0, 2.0, 4.0], memory=5),
        "somebody": Told(3.0, 1.0, [3.0, 4.0, 8.0], memory=10),
        PRODUCTS[1]: Told(0, 0, [0.25, 0.5, 0.5]),
    }
    made, tokens = measured(told, LOAD), LOAD.tokens
    assert made[OURS] == {"rounds": [tokens, tokens / 2, tokens / 4], "median": tokens / 2, "ready_s": 3.0, "memory": 5, "ours_to_it": 1.0}
    assert made["somebody"]["ours_to_it"] == 2.0
    assert made[PRODUCTS[1]]["median"] == product_speed(LOAD, 0.5)
    assert "ours_to_it" not in measured({name: told[name] for name in told if name != OURS}, LOAD)["somebody"]


def test_a_row_says_where_it_was_measured(tmp_path: Path):
    out = tmp_path / "new" / "bench.jsonl"
    for rounds in (3, 4):
        machine.append(out, "something", settings={"rounds": rounds}, measured={"a": [1.5]}, left_out={"b": "it is not installed"})
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["settings"] for row in rows] == [{"rounds": 3}, {"rounds": 4}]
    assert {name: rows[0][name] for name in ("benchmark", "date", "commit", "measured", "left_out")} == {
        "benchmark": "something", "date": machine.today(), "commit": machine.commit(), "measured": {"a": [1.5]},
        "left_out": {"b": "it is not installed"},
    }  # fmt: skip
    found = rows[0]["machine"]
    assert found == machine.facts()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["torch"] == importlib.metadata.version("torch")
    for word in (found["cpu"], f"{found['cores']} cores", f"torch {found['torch']}", f"commit {machine.commit()}"):
        assert word in machine.where()


def test_a_processor_is_named_where_the_system_says(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    assert machine.processor(tmp_path)  # something is said everywhere
    (tmp_path / "proc" / "cpuinfo").write_text("processor : 0\nmodel name\t: Quick 9000 @ 2 GHz\nmodel name : another\n")
    assert machine.processor(tmp_path) == "Quick 9000 @ 2 GHz"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_commit_says_whether_something_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.commit(tmp_path) == "unknown"
    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    clean = machine.commit(tmp_path)
    assert len(clean) >= 7
    assert " " not in clean
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "bench.jsonl").write_text("{}")
    assert machine.commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert machine.commit(tmp_path) == f"{clean} and changes"
    monkeypatch.setenv("PATH", "")
    assert machine.commit(tmp_path) == "unknown"


def test_gpt2_has_no_twin_in_a_llama():
    with pytest.raises(AssertionError, match="another model"):
        built("transformers as shipped", Load(gpt2.Config(vocab=65), rows=1))


@pytest.mark.soak
def test_the_whole_benchmark_runs_without_any_peer(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    out = tmp_path / "bench.jsonl"
    throughput.main(["--rounds", "1", "--out", str(out)])
    said = capfd.readouterr().out
    assert "nanoGPT as shipped: left out" in said
    assert [line.split("  ")[0] for line in said.splitlines()[3:6]] == ["ours", "plain PyTorch as written", "plain PyTorch at its best"]
    assert "it failed" not in said
    (row,) = (json.loads(line) for line in out.read_text(encoding="utf-8").splitlines())
    assert row["left_out"]["nanoGPT as shipped"] == "no checkout is given (--nanogpt FOLDER)"
    assert row["measured"].keys() | row["left_out"].keys() == BUILDERS.keys() - {COMPILED, CHOSEN, FLOAT8}
    assert row["settings"]["rounds"] == len(row["measured"][OURS]["rounds"]) == 1
