"""A device is held against the processor before it is trusted, and a dtype is measured before it is promised."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import Like, fresh

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import ArtifactError, CheckFailed, UsageError
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import ModelInputs
from scratchlm.model import qwen3
from scratchlm.optim import adamw
from scratchlm.parallel import world
from scratchlm.parallel.precision import Speeds, peak_gflops
from scratchlm.train import choose, decisions, session
from scratchlm.train import devices as trusted
from scratchlm.train.devices import BOUND, chosen, fault_of, gradients, peak_of
from scratchlm.train.session import Session
from scratchlm.train.settings import Training


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Measurements of products take no time; the process is put back as it was."""
    monkeypatch.setattr(decisions, "measured_speeds", lambda device: Speeds(float32=50.0, bfloat16=10.0))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def wrong_on(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Apple's GPU is there, and computes what the processor computes, but for ``change``."""
    monkeypatch.setattr(trusted, "devices", lambda: ["mps", "cpu"])
    monkeypatch.setattr(trusted, "gradients", lambda device: gradients("cpu") if device == "cpu" else change(gradients("cpu")))


def test_the_processor_agrees_with_itself():
    assert fault_of("cpu") is None


def test_a_device_that_computes_the_same_is_taken(monkeypatch: pytest.MonkeyPatch):
    wrong_on(monkeypatch, lambda found: {name: value * (1 + 0.5 * BOUND) for name, value in found.items()})
    assert chosen("auto", Journal()) == chosen("mps", Journal()) == "mps"


@pytest.mark.parametrize("factor", [1.01, -1.0, 0.0, float("nan")])
def test_a_device_that_computes_otherwise_is_left_out_with_a_note(factor: float, monkeypatch: pytest.MonkeyPatch):
    name = "the gradient of layers.0.attention.key.weight"
    wrong_on(monkeypatch, lambda found: found | {name: found[name] * factor})
    events: list[Event] = []
    assert chosen("auto", Journal(events.append)) == "cpu"
    assert "mps is left out" in events[0]["note"]
    assert name in events[0]["note"]
    with pytest.raises(CheckFailed, match="'mps' does not compute what the processor computes"):
        chosen("mps", Journal())


def test_a_device_that_lacks_an_operation_is_left_out(monkeypatch: pytest.MonkeyPatch):
    def lacking(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        raise NotImplementedError("The operator 'aten::gather' is not implemented for the MPS device")

    wrong_on(monkeypatch, lacking)
    assert "aten::gather" in str(fault_of("mps"))
    assert chosen("auto", Journal()) == "cpu"


def test_no_weight_of_the_model_that_is_tried_stands_outside_the_test():
    found = gradients("cpu")
    assert len(found) == 1 + len(list(fresh("qwen3").parameters()))
    assert all(float(value.abs().max()) > 0 for value in found.values())


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trusted, "devices", lambda: ["cpu"])
    with pytest.raises(UsageError, match=r"'mps' is asked for, but torch finds none here. Set device to auto or cpu"):
        chosen("mps", Journal())


def test_gpus_come_before_the_processor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert world.devices() == ["mps", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert world.devices()[0] == "cuda"


def test_apples_gpus_promise_no_determinism():
    try:
        world.steady(device="mps")
        assert not torch.are_deterministic_algorithms_enabled()
        world.steady(device="cpu")
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_run_begun_on_a_device_that_is_gone_says_so(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Session.open(Draft(tmp_path), Training(device="cpu"), Journal(), Like(fresh("qwen3")))
    path = tmp_path / "decisions.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "cuda"').replace('"device":"cpu"', '"device":"cuda"'))
    monkeypatch.setattr(session, "devices", lambda: ["cpu"])
    with pytest.raises(ArtifactError, match=r"begun on cuda, and torch finds none here now. Start it anew with --again"):
        Session.open(Draft(tmp_path), Training(device="cpu"), Journal(), Like(fresh("qwen3")))


def test_a_dtype_without_arithmetic_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trusted, "peak_gflops", lambda dtype, device: 2.5)
    with pytest.raises(UsageError, match=r"products of float16 reach 2.5 GFLOP/s, those of float32 210 on cpu here.*Set dtype to auto"):
        peak_of("float16", "cpu", float32=210.0)
    assert peak_of("float16", "cpu", float32=40.0) == peak_of("bfloat16", "cpu", float32=210.0) == 2.5

    def absent(dtype: str, device: str) -> float:
        raise RuntimeError("torch._scaled_mm is only supported on CUDA devices with compute capability >= 8.9\nand more")

    monkeypatch.setattr(trusted, "peak_gflops", absent)
    with pytest.raises(
        UsageError, match=r"no products of float8 on cuda here \(torch._scaled_mm is only supported .* >= 8.9\)\. Set dtype"
    ):
        peak_of("float8", "cuda", float32=50_000.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float8"])
def test_peaks_are_measured(dtype: decisions.Dtype):
    assert peak_gflops(dtype, seconds=0.0) > 0


def test_a_model_without_whole_matrices_has_no_use_for_float8(quick: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decisions, "peak_of", lambda *_, **__: 1.0)
    with pytest.raises(UsageError, match=r"with sides of multiples of 16, and this model has none. Set dtype to bfloat16"):
        decisions.decide(Training(device="cpu", dtype="float8"), fresh("qwen3"), Journal())


def test_a_row_that_no_memory_here_holds_is_refused_before_anything_is_computed(quick: None, monkeypatch: pytest.MonkeyPatch):
    model, config = fresh("qwen3"), Training(device="cpu")
    least = choose.least_bytes(model.config, config.optimizer)
    monkeypatch.setattr(decisions, "all_bytes", lambda device: least + 1)
    assert decisions.decide(config, model, Journal()).rows_at_once >= 1
    monkeypatch.setattr(decisions, "all_bytes", lambda device: least - 1)
    monkeypatch.setattr(decisions, "times", lambda model, precision: 1 / 0)
    with pytest.raises(UsageError, match=r"a step of one row takes .* GB at least, and cpu has .* GB here. Set a smaller model"):
        decisions.decide(config, model, Journal())


def test_a_row_is_refused_only_where_no_way_and_no_dtype_would_do():
    shape = qwen3.Config(context=4096)
    least, usual = choose.least_bytes(shape, adamw.Config()), choose.bytes_of(shape, adamw.Config(), 1, "torch")
    assert least < choose.bytes_of(shape, adamw.Config(), 1, "kernels") < usual < choose.bytes_of(shape, adamw.Config(), 1, "explicit")


def test_the_memory_of_a_container_is_all_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choose.machine, "memory", lambda: choose.machine.Memory(total=3e9, free=2e9))
    assert (choose.all_bytes("cpu"), choose.free_bytes("cpu"), choose.free_bytes("mps")) == (3e9, 2e9, 2e9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA or AMD GPU here")
def test_what_goes_to_a_gpu_arrives():
    inputs = ModelInputs(*(torch.arange(12).view(3, 4) + n for n in range(3)))
    there = inputs.to(torch.device("cuda"))
    for given, arrived in zip((inputs.tokens_BT, inputs.segments_BT), (there.tokens_BT, there.segments_BT), strict=True):
        assert torch.equal(given, arrived.cpu())
    assert fault_of("cuda") is None
