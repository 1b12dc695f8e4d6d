"""What a compiler makes of a model is what it is without: tests for a process without type checks, which no compiler sees through.

Only tests have those checks. `test_ways.py` starts this file; by hand: ``pytest -o addopts= tests/compiled_ways.py``.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_ways import BOUND, PACKED, assert_alike, computed, shaped
from tiny import SHAPES, VOCAB, Like, tiny
from trainee import batch, begun, differences, objective, plan, snapshot

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import CheckFailed
from scratchlm.core.journal import Event, Journal
from scratchlm.core.tensors import positions_of
from scratchlm.model import attention
from scratchlm.parallel.precision import Speeds
from scratchlm.train import choose, decisions
from scratchlm.train.choose import WAYS
from scratchlm.train.forward import Compiled, plainly
from scratchlm.train.loop import accumulated, fit
from scratchlm.train.session import Session
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No compiled program outlives a test."""
    yield
    torch.compiler.reset()


SOON = ("qwen3", "gpt2", "moe", "swift")
KINDS = [kind if kind in SOON else pytest.param(kind, marks=pytest.mark.soak) for kind in SHAPES]


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_is_eager(kind: str):
    """As the compiler takes a model apart; that its kernels are right too, the long test below sees.

    A dense model is one program, for whatever interrupts it costs time at every step; a mixture asks the data which expert is next.
    """
    model = tiny(kind)
    program = Compiled.begin("default", rows=2, length=16, backend="eager")
    for name in ("compiled torch", "compiled explicit"):
        torch._dynamo.utils.counters.clear()  # pyright: ignore[reportAttributeAccessIssue]
        assert_alike(computed(model, program, PACKED, WAYS[name].attention), computed(model, plainly, PACKED, attention.reference))
        assert (kind == "moe") == bool(torch._dynamo.utils.counters["graph_break"])  # pyright: ignore[reportAttributeAccessIssue]


def test_a_compiler_is_told_that_all_is_deterministic():
    """`World.start` tells torch, and nothing that loads a compiler before there is one."""
    import torch._inductor.config as inductor

    for mode, told in (("error", True), ("default", False)):
        torch.set_deterministic_debug_mode(mode)
        Compiled.begin("default", rows=2, length=16)
        assert inductor.deterministic is told


@pytest.mark.parametrize("kind", ["gpt2", pytest.param("llama", marks=pytest.mark.soak), pytest.param("swift", marks=pytest.mark.soak)])
def test_gradients_that_a_compiler_derives_are_right_too(kind: str):
    model = tiny(kind)
    program = Compiled.begin("default", rows=2, length=16, backend="aot_eager")
    assert_alike(computed(model, program, PACKED, attention.packed), computed(model, plainly, PACKED, attention.reference))


@pytest.mark.soak
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", ["compiled torch", "compiled explicit"])
def test_compiled_kernels_are_eager(kind: str, name: str):
    model = tiny(kind)
    assert_alike(
        computed(model, WAYS[name].forward(2, 16), PACKED, WAYS[name].attention), computed(model, plainly, PACKED, attention.packed)
    )


def test_a_step_is_the_same_when_it_is_compiled(tmp_path: Path):
    found = []
    for rows in (2, None):
        state = begun(dropout=0.0)
        state.rows_at_once = 2
        how = plan(tmp_path, 1)
        if rows:
            how = replace(how, forward=Compiled.begin("default", rows=rows, length=11, backend="eager"))
        loss, _ = accumulated(state, [batch(5)], objective(state), how, scale=0.1)
        found.append((loss, {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert_alike(found[0][1], found[1][1])


def test_what_cannot_be_compiled_is_one_line():
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found\nand a page of its search path")

    program = Compiled.begin("default", rows=2, length=16, backend=broken)  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        CheckFailed, match=r"no program came of this model \(.*no C\+\+ compiler was found.*\)\. Start it anew with --again"
    ):
        computed(tiny("gpt2"), program, PACKED, attention.packed)


@pytest.mark.parametrize(("kind", "window"), [("llama", 5), ("gpt2", None)])
def test_attention_by_squares_is_the_one_written_out(kind: str, window: int | None):
    """Forth only: on a CPU torch does not derive it."""
    model = shaped(kind, window).requires_grad_(False)
    program = Compiled.begin("default", rows=2, length=16, backend="eager")
    given = torch.randint(VOCAB, (2, 16), generator=torch.Generator().manual_seed(3)), positions_of(PACKED)
    with torch.no_grad():
        found, wanted = program(model, *given, attention.blockwise(PACKED))[0], plainly(model, *given, attention.reference(PACKED))[0]
    torch.testing.assert_close(found, wanted, atol=BOUND, rtol=BOUND)


def test_the_choice_is_frozen_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decisions, "measured_speeds", lambda device: Speeds(float32=50.0, bfloat16=10.0))
    monkeypatch.setattr(decisions, "times", lambda model, precision: ({"torch": 1e6}, {"kernels": "none"}))
    monkeypatch.setattr(choose, "RISK", 1e-6)
    compile_with = Compiled.begin
    monkeypatch.setattr(Compiled, "begin", lambda mode, *, rows, length: compile_with(mode, rows=rows, length=length, backend="eager"))
    monkeypatch.setattr(choose, "ROUNDS", 1)
    looked = choose.milliseconds
    monkeypatch.setattr(choose, "milliseconds", lambda *given: (1e6 if given[2].compiler is None else 1.0, looked(*given)[1]))
    events: list[Event] = []
    threads = torch.get_num_threads()
    try:
        first = Session.open(
            Draft(tmp_path), Training(device="cpu"), Journal(events.append), Like(tiny("qwen3", dropout=0.0)), tokens=10**6, rows=6
        )
        monkeypatch.setattr(choose, "milliseconds", lambda *_: 1 / 0)
        again = Session.open(Draft(tmp_path), Training(device="cpu"), Journal(), Like(tiny("qwen3", dropout=0.0)))
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    decided = json.loads((tmp_path / "decisions.json").read_text())
    assert (decided["way"], decided["rows_at_once"]) == ("compiled torch", 6)
    assert decided["compile_s"].keys() == {"compiled torch"}
    (told,) = [event["note"] for event in events if event["event"] == "decisions"]
    assert "by compiled torch (compiled torch 1 ms, torch 1e+06 ms), 6 rows at once" in told
    assert isinstance(first.forward, Compiled)
    assert isinstance(again.forward, Compiled)
    assert (again.forward.rows, again.forward.length) == (first.forward.rows, first.forward.length) == (6, 16)
    assert again.attend is first.attend is attention.packed


def test_a_compiled_run_goes_on_as_it_would_have(tmp_path: Path):
    """Programs are made anew from the same text, so they compute the same bits."""

    def run(path: Path, *stops: int) -> TrainState:
        state = begun(dropout=0.0)
        for stop in stops:
            torch.compiler.reset()
            state = begun(dropout=0.0)
            how = replace(plan(path, stop), forward=Compiled.begin("default", rows=3, length=11, backend="eager"))
            how.keeper.restore(state, Journal())
            fit(state, lambda step: [batch(3, seed=step)], objective(state), how, (), Journal())
            how.keeper.save(state)
        return state

    assert differences(snapshot(run(tmp_path / "whole", 4)), snapshot(run(tmp_path / "parts", 2, 4))) == []
