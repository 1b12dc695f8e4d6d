"""Every way to compute a model gives the same; which one is taken is measured, written down, and risked only where it can pay."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SHAPES, VOCAB, may_have_window, tiny
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask

from scratchlm.core.tensors import Attend, positions_of
from scratchlm.kernels.attention import first_seen
from scratchlm.model import attention
from scratchlm.model.architectures import Model
from scratchlm.parallel.precision import Precision
from scratchlm.train import choose, forward
from scratchlm.train.choose import COMPILE_S, POSITIONS, RISK, WAYS, compiled_times, even_parts
from scratchlm.train.forward import Compiled, Forward, plainly

# The same operations in another order, in float32: some last bits of numbers of the size of the largest.
BOUND = 2e-5
WHOLE = torch.zeros(2, 16, dtype=torch.long)
PACKED = torch.tensor([[0] * 7 + [1] * 9, [0] * 3 + [1] * 8 + [2] * 5])
FLOAT32 = Precision("float32")


def computed(model: Model, how: Forward, segments_BT: Tensor, attend: Callable[[Tensor], Attend]) -> dict[str, Tensor]:
    """The scores of two rows and all gradients of a loss on them."""
    generator = torch.Generator().manual_seed(3)
    tokens_BT, wanted_BTV = torch.randint(VOCAB, (2, 16), generator=generator), torch.randn(2, 16, VOCAB, generator=generator)
    for parameter in model.parameters():
        parameter.grad = None
    x_BTD, wished = how(model, tokens_BT, positions_of(segments_BT), attend(segments_BT))
    scores_BTV = model.logits(x_BTD)
    ((scores_BTV * wanted_BTV).sum() + 10 * wished).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"scores": scores_BTV.detach()} | found


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor], *, to: float = BOUND) -> None:
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    for name, value in wanted.items():
        assert float((found[name] - value).abs().max()) <= to * largest, name


def shaped(kind: str, window: int | None) -> Model:
    return tiny(kind) if window is None else tiny(kind, window=window)


CASES = [(kind, window) for kind, shape in SHAPES.items() for window in ((None, 5) if may_have_window(shape) else (None,))]


@pytest.mark.parametrize("segments_BT", [WHOLE, PACKED], ids=["whole", "packed"])
@pytest.mark.parametrize(("kind", "window"), CASES)
def test_every_attention_is_the_one_written_out(kind: str, window: int | None, segments_BT: Tensor):
    model = shaped(kind, window)
    wanted = computed(model, plainly, segments_BT, attention.reference)
    for way in WAYS.values():
        if not way.kernels:  # those compute bfloat16 and have tests of their own
            assert_alike(computed(model, plainly, segments_BT, way.attention), wanted)


def test_only_whole_micro_batches_and_their_halves_are_compiled():
    seen: list[int] = []

    def program(model: Any, tokens_BT: Tensor, *_: Any) -> tuple[Tensor, float]:
        seen.append(len(tokens_BT))
        return torch.zeros(0), 0.0

    model, whole = tiny("qwen3"), Compiled(program, rows=8, length=16, graphs=False)
    for rows, length in ((8, 16), (5, 16), (8, 9), (4, 16), (16, 16), (3, 16), (2, 16)):
        tokens_BT = torch.zeros(rows, length, dtype=torch.long)
        x_BTD, _ = whole(model, tokens_BT, positions_of(tokens_BT), attention.packed(tokens_BT))
        assert x_BTD.shape[0] in (0, rows)
    assert seen == [8, 4]


@pytest.mark.parametrize("window", [None, 7, 150])
@pytest.mark.parametrize("length", [40, 128, 300])
def test_squares_that_nobody_may_see_are_passed_over(length: int, window: int | None):
    segments_BT = torch.zeros(2, length, dtype=torch.long)
    segments_BT[0, length // 3 :] = 1
    segments_BT[0, length // 2 :] = 2
    found = attention.blocks_of(first_seen(segments_BT, window))
    allowed_BTT = attention.allowed_by(segments_BT, window)
    wanted = create_block_mask(lambda b, h, q, k: allowed_BTT[b, q, k], 2, None, length, length, device="cpu", BLOCK_SIZE=attention.BLOCK)
    assert torch.equal(found.to_dense(), wanted.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))
    seen_BTT = found.mask_mod(*torch.meshgrid(*(torch.arange(n) for n in (2, 1, length, length)), indexing="ij"))[:, 0]
    assert torch.equal(seen_BTT, allowed_BTT)


def test_rows_of_one_document_need_no_mask(monkeypatch: pytest.MonkeyPatch):
    made: list[tuple[int | None, bool]] = []
    allowed_by, model = attention.allowed_by, tiny("llama", window=5, layers=3)
    monkeypatch.setattr(attention, "allowed_by", lambda s, w, *asking: made.append((w, bool((s > 0).any()))) or allowed_by(s, w, *asking))
    computed(tiny("qwen3"), plainly, WHOLE, attention.packed)
    assert made == []
    computed(tiny("qwen3"), plainly, PACKED, attention.packed)
    computed(model, plainly, WHOLE, attention.packed)
    computed(model, plainly, PACKED, attention.reference)
    assert made == [(None, True), (5, False), (5, True)]  # one for all layers


def test_a_step_is_cut_evenly():
    assert [even_parts(rows, 64) for rows in (None, 100, 64, 65, 7, 1)] == [64, 50, 64, 33, 7, 1]
    assert even_parts(100, 1) == 1


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, float]]:
    """(milliseconds, seconds to compile) of each way, to be changed by a test; ways that are absent fail."""
    told = {"torch": (100.0, 0.0), "explicit": (50.0, 0.0), "compiled torch": (20.0, 30.0), "compiled explicit": (40.0, 30.0)}

    def look(model: Model, precision: Precision, way: choose.Way, rows: int, length: int) -> tuple[float, float]:
        name = next(name for name, own in WAYS.items() if own is way)
        if name not in told:
            raise RuntimeError("Triton is missing\nand more")
        return told[name]

    monkeypatch.setattr(choose, "milliseconds", look)
    return told


LONG = int(RISK * COMPILE_S * POSITIONS / 0.05)
"""Tokens of a run that is just long enough to risk a compiler, at 50 ms."""


def tried(tokens: int, *, device: str = "cpu", found: dict[str, float] | None = None) -> choose.Trial:
    eager = {"torch": 100.0, "explicit": 50.0} if found is None else found
    return compiled_times(tiny("qwen3"), Precision("bfloat16", device), eager, rows=4, tokens=tokens)


def test_a_compiler_is_tried_where_a_run_is_long_enough(timed: dict[str, tuple[float, float]]):
    short, long = tried(LONG - 1000), tried(LONG)
    assert short.ways_ms == short.compile_s == {}
    assert "too short to risk 60 s on a compiler" in short.left_out["compiled explicit"]
    assert long.ways_ms == {"explicit": 50.0, "compiled explicit": 40.0}
    assert long.compile_s == {"compiled explicit": 30.0}
    assert long.left_out["compiled torch"] == "explicit has the faster attention"
    assert long.left_out["graphs torch"] == "it is made for GPUs"


@pytest.mark.parametrize(("ms", "taken"), [(47.4, True), (47.6, False), (60.0, False)])
def test_it_is_taken_where_it_saves_more_than_it_took(ms: float, taken: bool, timed: dict[str, tuple[float, float]]):
    timed["compiled explicit"] = (ms, 30.0)  # of 600 s at 50 ms
    found = tried(LONG)
    assert ("compiled explicit" in found.ways_ms) is taken
    assert ("compiled explicit" in found.left_out) is not taken
    if not taken:
        assert "and takes 30 s to compile" in found.left_out["compiled explicit"]


def test_a_compiler_that_fails_is_a_reason(timed: dict[str, tuple[float, float]]):
    del timed["compiled explicit"]
    assert tried(LONG).left_out["compiled explicit"] == "it cannot be had here (RuntimeError: Triton is missing and more)"


def test_kernels_leave_nothing_to_compile(timed: dict[str, tuple[float, float]]):
    found = tried(100 * LONG, found={"torch": 100.0, "kernels": 40.0})
    assert found.ways_ms == {}
    assert set(found.left_out) == {name for name, way in WAYS.items() if way.compiler}


def test_a_gpu_tries_graphs_and_squares_as_long_as_each_can_pay(timed: dict[str, tuple[float, float]]):
    timed |= {"torch": (50.0, 0.0), "compiled torch": (20.0, 30.0), "compiled blocks": (10.0, 30.0), "graphs torch": (5.0, 30.0)}
    found = tried(3 * LONG, device="cuda", found={"torch": 50.0})
    assert set(found.ways_ms) == {"torch", "compiled torch", "compiled blocks", "graphs torch"}
    assert "more memory than a GPU's own attention" in found.left_out["compiled explicit"]
    assert "too short" in found.left_out["graphs blocks"]
    assert "too short" in tried(2 * LONG, device="cuda", found={"torch": 50.0}).left_out["graphs torch"]


def test_a_graph_is_not_replayed_over_gradients_that_are_kept(timed: dict[str, tuple[float, float]]):
    timed |= {"torch": (50.0, 0.0), "compiled torch": (20.0, 30.0), "compiled blocks": (10.0, 30.0), "graphs torch": (5.0, 30.0)}
    parts = compiled_times(tiny("qwen3"), Precision("bfloat16", "cuda"), {"torch": 50.0}, rows=4, tokens=9 * LONG, whole=False)
    assert set(parts.ways_ms) == {"torch", "compiled torch", "compiled blocks"}
    assert "several micro-batches" in parts.left_out["graphs torch"]


def test_trials_leave_a_model_as_it_was():
    model = tiny("moe").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found, left_out = choose.times(model, FLOAT32)
    assert found.keys() == {"torch"}
    assert left_out.keys() == {"explicit", "kernels"}
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert forward.plainly is plainly


@pytest.mark.soak
def test_compiled_is_eager(request: pytest.FixtureRequest):
    """In a process of its own: see there."""
    mark = request.config.getoption("-m")
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:logging"]
    command += [str(Path(__file__).with_name("compiled_ways.py")), *(["-m", mark] if mark else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
