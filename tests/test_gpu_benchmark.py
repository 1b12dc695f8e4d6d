"""The GPU set, tried on a CPU: its checks hold, find what is wrong, and its row is what was measured."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_checks
from benchmarks.gpu import COLUMNS, LOADS, SMALL, WHO, append, cell, lines, load_of, row
from benchmarks.gpu_checks import SHAPES, Check, apart, begun, cut_apart, differing, gradients, loss_apart, resumed, trained
from benchmarks.peers import BUILDERS, COMPILED, OURS, PRODUCTS, Given, product_speed
from benchmarks.turns import Told
from scratchlm.model import cost
from scratchlm.model.architectures import ARCHITECTURES

TESTS = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("put_back")


def test_every_architecture_is_checked():
    assert set(SHAPES) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_limits_hold_on_a_cpu_and_a_wrong_gradient_is_found(name: str):
    whole, half = gradients(name, "cpu", "float32"), gradients(name, "cpu", "bfloat16")
    limit = gpu_checks.HALF_EXPERTS if name == "moe" else gpu_checks.HALF_GRADIENT
    assert 0 < apart(half, whole) <= limit
    assert 0 < loss_apart(half, whole) <= gpu_checks.HALF_LOSS
    assert apart(whole, gradients(name, "cpu", "float32")) == 0
    for wrong in whole.keys() - {"loss"}:  # every single weight's gradient would be missed
        assert apart(whole | {wrong: whole[wrong] * 0.5}, whole) > gpu_checks.SAME_MATHS


@pytest.mark.parametrize("name", ["qwen3", "moe"])
def test_steps_are_the_same_again_and_after_a_stop(name: str):
    once = trained(name, "cpu")
    assert differing(once, trained(name, "cpu")) == 0
    assert differing(once, resumed(name, "cpu")) == 0
    assert differing(once, begun(name, "cpu")) > 10


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "moe", "swift"])
def test_shards_of_one_process_are_the_plain_model(name: str):
    assert cut_apart(name, "cpu") <= (gpu_checks.SAME_MATHS if name == "swift" else 0)


def test_one_bit_is_a_difference():
    one, other = trained("gpt2", "cpu"), trained("gpt2", "cpu")
    with torch.no_grad():
        weight = next(other.model.parameters())
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    assert differing(one, other) == 1


@pytest.mark.parametrize(("found", "holds"), [(0.0, True), (0.1, True), (0.11, False), (float("nan"), False)])
def test_a_check_holds_within_its_limit(found: float, holds: bool):
    check = Check("something", found, 0.1)
    assert check.holds == holds
    assert str(check).startswith("right" if holds else "WRONG")


def test_where_something_is_wrong_no_speed_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(gpu, "checks", lambda device, backend: iter([Check("a", 0.0, 0), Check("b", 1.0, 0), Check("c", 0.0, 0)]))
    monkeypatch.setattr(gpu, "measured", lambda asked: pytest.fail("speed was measured"))
    assert gpu.main(["--device", "cpu", "--small"]) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["right", "WRONG", "right", "not"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_device_the_reason_is_said(capsys: pytest.CaptureFixture[str]):
    assert gpu.main([]) == 0
    (said,) = capsys.readouterr().out.splitlines()
    assert "finds no CUDA device" in said


def test_sizes_are_what_their_names_say():
    weights = {name: cost.parameters(load.config) for name, load in LOADS.items()}
    assert weights == pytest.approx({"124M": 124.4e6, "1B llama": 1.236e9, "1B qwen3": 1.07e9}, rel=0.01)
    assert set(SMALL) == set(LOADS) == set(WHO)
    assert all(type(SMALL[name]) is type(load.config) for name, load in LOADS.items())


@pytest.mark.parametrize(("load", "name"), [pair for pair in COLUMNS if pair[1] == OURS] + [("1B llama", "transformers as shipped")])
def test_small_ones_train(load: str, name: str, tmp_path: Path):
    step = BUILDERS[name](load_of(load, "cpu", small=True), Given(tmp_path))
    step()
    step()


def told(seconds: float, device_memory: int = 0) -> Told:
    return Told(1.0, 2.0, [seconds] * 3, memory=3 * 10**9, device_memory=device_memory)


def test_the_row_is_what_was_measured(tmp_path: Path):
    found = {
        "124M": {OURS: told(0.5, 10**10), COMPILED: told(0.25), "plain PyTorch at its best": told(0.4), PRODUCTS[1]: told(0.004)},
        "1B llama": {OURS: told(4.0)},
        "1B qwen3": {},
    }
    load = LOADS["124M"]
    peak = product_speed(load, 0.004)
    share = load.tokens / 0.5 * cost.training_flops(load.config) / 1e9 / peak
    wanted = f"{load.tokens / 0.5:,.0f} tokens/s, {share:.1%}, 10.0 GB, first steps 2.0 s"
    assert cell(found["124M"][OURS], load, peak) == wanted
    cells = row(found, LOADS, "a machine")
    assert cells[1:4] == ["a machine", f"{peak / 1e3:,.1f} TF/s", wanted]
    assert cells[3 + COLUMNS.index(("1B qwen3", OURS))] == "–"
    said = lines(found, LOADS)
    assert said[0] == f"peak: {peak:,.0f} GF/s"
    assert said[1 + COLUMNS.index(("124M", "plain PyTorch at its best"))].endswith("; ours to it: 0.80 (ours), 1.60 (ours compiled)")
    path = tmp_path / "gpu.md"
    append(path, cells)
    append(path, cells)
    rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {line.count("|") for line in rows} == {len(COLUMNS) + 4}
    assert rows[2] == rows[3]


@pytest.fixture
def small_run() -> Callable[..., list[str]]:
    """The lines of the whole script on small models, in a process of its own."""

    def run(*words: str) -> list[str]:
        command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--device", "cpu", "--rounds", "1", *words]
        return subprocess.run(command, cwd=TESTS.parent, check=True, capture_output=True, text=True).stdout.splitlines()

    return run


@pytest.mark.soak
def test_the_whole_set_runs_on_small_models(small_run: Callable[..., list[str]]):
    table = gpu.RESULTS.read_bytes() if gpu.RESULTS.exists() else None
    said = small_run()
    assert sum(line.startswith("right") for line in said) == 7 * len(ARCHITECTURES) - 1
    assert not any(line.startswith("WRONG") for line in said)
    measured = [line for line in said if "tokens/s" in line]
    assert [line.split(":")[0] for line in measured] == [f"{load}, {name}" for load, name in COLUMNS if not name.startswith("nanoGPT")]
    assert (gpu.RESULTS.read_bytes() if gpu.RESULTS.exists() else None) == table


def test_a_program_of_the_set_answers_in_its_turn():
    """Compiled ours, as the set starts it: ready, one turn, and what it held."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--device", "cpu", "--work", "1B qwen3", COMPILED]
    done = subprocess.run(command, cwd=TESTS.parent, input="go\n", check=True, capture_output=True, text=True)
    ready, turn, held = done.stdout.splitlines()
    assert '"first"' in ready
    assert '"seconds"' in turn
    assert '"device_memory": 0' in held
