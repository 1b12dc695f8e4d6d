"""What is computed in C++ equals its plain version in torch, and without a compiler the plain one is taken and said."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SHAPES, Like, tiny
from torch import Tensor

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Event, Journal
from scratchlm.kernels import attention, build, pointwise
from scratchlm.model import attention as plain
from scratchlm.parallel.precision import Precision, measured_speeds
from scratchlm.train import choose
from scratchlm.train.session import Session
from scratchlm.train.settings import Training


def here() -> bool:
    """Whether this machine can build and run the kernel."""
    try:
        attention.library()
    except build.Unavailable:
        return False
    return True


BUILT = pytest.mark.skipif(not here(), reason="the compiled attention needs AVX512_BF16 and a C++ compiler")
BF16 = 2.0**-8
"""What rounding to bfloat16 may change, of a number."""


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def documents(rows: list[list[int]]) -> Tensor:
    """Segments of rows with documents of these lengths."""
    return torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in rows])


def both_ways(attend: object, inputs: tuple[Tensor, ...], slope: Tensor, window: int | None) -> list[Tensor]:
    """What comes out, and the gradients of queries, keys and values."""
    given = [t.detach().clone().requires_grad_() for t in inputs]
    out = attend(0, *given, window)  # pyright: ignore[reportCallIssue]
    return [out.detach(), *torch.autograd.grad(out, given, slope.to(out.dtype))]


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm().clamp(min=1e-30))


CASES = [
    (2, 2, 32, [[64], [64]], None),
    (4, 2, 64, [[100], [30, 70]], None),
    (6, 6, 64, [[256]], None),
    (4, 1, 96, [[1, 127, 129], [200, 57]], None),
    (2, 2, 128, [[60, 70]], 17),
    (2, 1, 16, [[31]], None),
    (2, 2, 48, [[5] * 40], 3),
    (1, 1, 16, [[1]], None),
]


@BUILT
@pytest.mark.parametrize(("H", "G", "C", "lengths", "window"), CASES)
def test_attention_is_no_further_from_the_formula_than_rounding(H: int, G: int, C: int, lengths: list[list[int]], window: int | None):
    segments_BT = documents(lengths)
    shape = tuple(segments_BT.shape)
    inputs = (noise(*shape, H, C, seed=1), noise(*shape, G, C, seed=2), noise(*shape, G, C, seed=3))
    slope = noise(*shape, H, C, seed=4)
    wanted = both_ways(plain.reference(segments_BT), tuple(t.double() for t in inputs), slope, window)
    found = both_ways(attention.packed(segments_BT), inputs, slope, window)
    assert all(t.dtype == torch.bfloat16 for t in found)
    assert max(apart(own, theirs) for own, theirs in zip(found, wanted, strict=True)) < BF16


@BUILT
@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
    heads=st.sampled_from([(1, 1), (2, 1), (3, 3), (4, 2)]),
    channels=st.sampled_from([16, 32, 80]),
    window=st.none() | st.integers(1, 100),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_attention_of_any_shape(lengths: list[int], heads: tuple[int, int], channels: int, window: int | None, size: float):
    segments_BT = documents([lengths])
    shape = tuple(segments_BT.shape)
    (H, G), scale = heads, torch.tensor(size).bfloat16()
    inputs = (scale * noise(*shape, H, channels, seed=5), noise(*shape, G, channels, seed=6), noise(*shape, G, channels, seed=7))
    slope = noise(*shape, H, channels, seed=8)
    wanted = both_ways(plain.reference(segments_BT), tuple(t.double() for t in inputs), slope, window)
    found = both_ways(attention.packed(segments_BT), inputs, slope, window)
    assert apart(found[0], wanted[0]) < BF16
    torchs = both_ways(plain.packed(segments_BT), inputs, slope, window)
    for own, theirs, right in zip(found[1:], torchs[1:], wanted[1:], strict=True):  # where gradients cancel out, rounding does not
        errors = [float((each.double() - right).norm()) for each in (own, theirs)]
        assert errors[0] < max(BF16 * float(right.norm()), 2 * errors[1], 1e-5 * max(1.0, size))


@BUILT
def test_attention_does_not_depend_on_the_number_of_threads():
    segments_BT = documents([[40, 90], [130], [1, 129]])
    inputs = tuple(noise(3, 130, heads, 32, seed=heads) for heads in (4, 2, 2))
    slope = noise(3, 130, 4, 32, seed=9)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(both_ways(attention.packed(segments_BT), inputs, slope, None))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@BUILT
def test_attention_reads_parts_of_a_larger_tensor_as_they_lie():
    """As queries, keys and values that were made by one product."""
    fused = noise(2, 70, 3 * 2 * 32, seed=10)
    parts = tuple(part.view(2, 70, 2, 32) for part in fused.split(64, dim=2))
    segments_BT = documents([[70], [35, 35]])
    slope = noise(2, 70, 2, 32, seed=11)
    lain, packed = (both_ways(attention.packed(segments_BT), given, slope, None) for given in (parts, tuple(t.contiguous() for t in parts)))
    assert all(torch.equal(a, b) for a, b in zip(lain, packed, strict=True))


@BUILT
@pytest.mark.parametrize("kind", ["qwen3", "gpt2", "swift", "moe"])
def test_a_model_trains_alike_with_either(kind: str):
    model = tiny(kind, width=48) if kind == "gpt2" else tiny(kind, head_dim=16)
    assert choose.unfit(model, Precision("bfloat16")) is None
    tokens_BT = torch.randint(0, 23, (2, 16), generator=torch.Generator().manual_seed(0))
    positions_BT = torch.arange(16).expand(2, 16)
    segments_BT = torch.zeros(2, 16, dtype=torch.long)
    found = []
    half = Precision("bfloat16")
    for precision, way in ((Precision("float32"), "torch"), (half, "torch"), (replace(half, kernels=True), "kernels")):
        with precision.autocast():
            x_BTD = model.features(tokens_BT, positions_BT, choose.WAYS[way].attention(segments_BT))
            loss = model.logits(x_BTD).float().square().mean()
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found.append((x_BTD.detach().double(), torch.cat([g.flatten() for g in grads if g is not None]).double()))
    exact, plainly, quickly = found
    for own, theirs, right in zip(quickly, plainly, exact, strict=True):
        assert apart(own, right) < 1.5 * apart(theirs, right)


def reason_of(act: object) -> str:
    with pytest.raises(build.Unavailable) as caught:
        act()  # pyright: ignore[reportCallIssue]
    return str(caught.value)


def forget() -> None:
    build.library.cache_clear()
    build._begun.cache_clear()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A room with a kernel of one function, and a folder of its own for what is built."""
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    monkeypatch.setenv(build.CACHE, str(tmp_path / "built"))
    monkeypatch.setattr(build, "features", lambda: frozenset({build.NEEDS}))
    forget()
    (tmp_path / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    yield tmp_path / "one.cpp"
    forget()


@pytest.mark.skipif(build.shutil.which("g++") is None, reason="there is no g++")
def test_a_kernel_is_built_once_for_each_text(source: Path):
    assert build.library("one").one() == 1
    first = sorted((source.parent / "built").iterdir())
    forget()
    assert build.library("one").one() == 1
    assert sorted((source.parent / "built").iterdir()) == first
    forget()
    source.write_text('extern "C" int one() { return 2; }\n')
    assert build.library("one").one() == 2
    assert len(list((source.parent / "built").iterdir())) == 2


@pytest.mark.skipif(build.shutil.which("g++") is None, reason="there is no g++")
def test_kernels_can_be_built_beforehand(source: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(build, "features", lambda: frozenset())
        build.begin()
        assert not (source.parent / "built").exists()
    build.begin()
    build.finish()
    assert list((source.parent / "built").glob("one-*.so"))
    assert build.library("one").one() == 1


def test_speeds_are_measured_when_no_compiler_is_at_work(source: Path):
    measured_speeds(seconds=0.0)
    assert all(future.done() for future in build._begun().values())


def test_why_there_is_no_kernel_is_said(source: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(build, "features", lambda: frozenset())
        assert "no avx512_bf16" in reason_of(lambda: build.library("one"))
    with monkeypatch.context() as away:
        away.setenv("PATH", "")
        forget()
        assert "no C++ compiler" in reason_of(lambda: build.library("one"))
    if build.shutil.which("g++"):
        source.write_text("this is no program\n")
        forget()
        assert "cannot build one.cpp" in reason_of(lambda: build.library("one"))
        source.write_text('extern "C" int one() { return 1; }\n')
        forget()
        monkeypatch.setenv(build.CACHE, str(source))  # a file where a folder should be
        assert "cannot be built" in reason_of(lambda: build.library("one"))


def test_training_without_a_kernel_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def absent() -> None:
        raise build.Unavailable("there is no C++ compiler here (g++)")

    monkeypatch.setattr(attention, "library", absent)
    events: list[Event] = []
    config = Training(dtype="bfloat16", device="cpu")
    work = Session.open(Draft(tmp_path), config, Journal(events.append), Like(tiny("qwen3", head_dim=16)))
    assert work.attend in (plain.packed, plain.reference)
    assert any("no C++ compiler" in str(event.get("note")) for event in events)


def wide(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def compared(act: object, inputs: list[Tensor], slope: Tensor, *, to: float = BF16) -> None:
    """``act`` computed by kernels, beside the plain expression in float64: what comes out and all gradients."""
    found, wanted = [], []
    for kernels, numbers, out in ((True, inputs, found), (False, [t.double() for t in inputs], wanted)):
        leaves = [t.detach().clone().requires_grad_() for t in numbers]
        with pointwise.chosen(kernels):
            made = act(*leaves)  # pyright: ignore[reportCallIssue]
        out += [made.detach(), *torch.autograd.grad(made, leaves, slope.to(made.dtype))]
    for own, theirs, like in zip(found, wanted, [slope, *inputs], strict=True):
        assert own.shape == theirs.shape == like.shape
        assert apart(own, theirs) < to


@BUILT
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 16), (3, 5, 48), (2, 70, 192), (700, 32)])
def test_norms_are_those_of_torch(shape: tuple[int, ...], dtype: torch.dtype):
    x, slope, D = (2 * wide(*shape, seed=1) + 0.3).to(dtype), noise(*shape, seed=2), shape[-1]
    gain, bias = 1 + 0.3 * wide(D, seed=3), wide(D, seed=4)
    compared(lambda x, gain: pointwise.rms_norm(x, gain, 1e-5), [x, gain], slope)
    compared(lambda x, gain, bias: pointwise.layer_norm(x, gain, bias, 1e-5), [x, gain, bias], slope)
    compared(lambda x: pointwise.layer_norm(x), [x], slope)


@BUILT
def test_gates_and_squares_are_those_of_torch():
    gate, up, slope = 4 * noise(3, 7, 64, seed=1), noise(3, 7, 64, seed=2), noise(3, 7, 64, seed=3)
    compared(pointwise.gated, [gate, up], slope)
    compared(pointwise.squared, [gate], slope)
    with pointwise.chosen(True):
        assert pointwise.gated(torch.full((1, 16), -200.0).bfloat16(), torch.ones(1, 16).bfloat16()).abs().max() == 0
        assert (pointwise.gated(torch.full((1, 16), 200.0).bfloat16(), torch.ones(1, 16).bfloat16()) == 200).all()


@BUILT
@pytest.mark.parametrize("kind", ["none", "rms", "layer"])
@pytest.mark.parametrize(("H", "C"), [(1, 32), (3, 64), (2, 96)])
def test_turned_heads_are_those_of_torch(kind: str, H: int, C: int):
    x_BTHC, slope = noise(2, 9, H, C, seed=1), noise(2, 9, H, C, seed=2)
    angles = wide(2, 9, 1, C // 2, seed=3)
    cos, sin = torch.cat((angles.cos(), angles.cos()), -1), torch.cat((-angles.sin(), angles.sin()), -1)
    norms = {"none": None, "rms": pointwise.RMSNorm(C, eps=1e-6), "layer": pointwise.LayerNorm(C, elementwise_affine=False)}

    def act(x: Tensor, *gain: Tensor) -> Tensor:
        norm = norms[kind]
        if gain:
            norm = pointwise.RMSNorm(C, eps=1e-6)
            del norm.weight
            norm.weight = gain[0]  # pyright: ignore[reportAttributeAccessIssue]
        return pointwise.turned(x, cos.to(gain[0].dtype if gain else torch.float32), sin, norm)

    gains = [1 + 0.3 * wide(C, seed=4)] if kind == "rms" else []
    compared(act, [x_BTHC, *gains], slope, to=2 * BF16)


@BUILT
@pytest.mark.parametrize("V", [1, 15, 16, 65, 400])
def test_the_loss_of_scores_is_that_of_torch(V: int):
    N = 130
    scores = 5 * noise(N, V, seed=1)
    targets = torch.randint(V, (N,), generator=torch.Generator().manual_seed(2))
    weights = torch.rand(N, generator=torch.Generator().manual_seed(3))
    with pointwise.chosen(True):
        found = pointwise.loss_and_slope(scores, targets, weights)
    assert found is not None
    leaf = scores.double().requires_grad_()
    loss = (torch.nn.functional.cross_entropy(leaf, targets, reduction="none") * weights).sum()
    assert float(found[0]) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-5)
    (slope,) = torch.autograd.grad(loss, leaf)
    assert float((found[1].double() - slope).abs().max()) < BF16
    with pytest.raises(IndexError, match="out of bounds"), pointwise.chosen(True):
        pointwise.loss_and_slope(scores, targets.fill_(V), weights)


@BUILT
def test_what_does_not_fit_a_kernel_is_computed_plainly():
    narrow, gain = wide(3, 7, seed=1), torch.ones(7)
    plainly = torch.nn.functional.rms_norm(narrow, (7,), gain, 1e-5)
    with pointwise.chosen(True):
        assert torch.equal(pointwise.rms_norm(narrow, gain, 1e-5), plainly)
        assert pointwise.squared(wide(2, 16, seed=2)).dtype == torch.float32
        assert pointwise.loss_and_slope(wide(2, 16, seed=3), torch.zeros(2, dtype=torch.long), torch.ones(2)) is None
    assert pointwise.squared(noise(2, 16, seed=2)).dtype == torch.bfloat16


@BUILT
def test_kernels_do_not_depend_on_the_number_of_threads():
    x, slope, gain = wide(300, 48, seed=1), noise(300, 48, seed=2), 1 + wide(48, seed=3)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            leaves = [x.clone().requires_grad_(), gain.clone().requires_grad_()]
            with pointwise.chosen(True):
                made = pointwise.layer_norm(leaves[0], leaves[1])
            found.append([made.detach(), *torch.autograd.grad(made, leaves, slope)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@BUILT
def test_a_number_that_is_none_stays_in_its_step():
    """Nothing of a step that was skipped is left behind in a kernel's own memory."""
    spoiled = [noise(1, 64, 1, 32, seed=seed) for seed in range(3)]
    both_ways(attention.packed(documents([[64]])), tuple(spoiled), torch.full((1, 64, 1, 32), float("nan")), None)
    clean = tuple(noise(1, 61, 1, 32, seed=seed) for seed in range(3))
    found = both_ways(attention.packed(documents([[61]])), clean, noise(1, 61, 1, 32, seed=4), None)
    assert all(bool(t.isfinite().all()) for t in found)


@BUILT
def test_what_is_no_number_is_not_hidden():
    x = noise(1, 130, 1, 32, seed=1)
    keys = x.clone()
    keys[:, :64] = float("nan")
    out = attention.packed(documents([[130]]))(0, x, keys, x, None)
    assert bool(out.isnan().all())
    with pointwise.chosen(True):
        assert bool(pointwise.squared(torch.full((1, 16), float("nan")).bfloat16()).isnan().all())


@BUILT
@pytest.mark.parametrize("kind", list(SHAPES))
def test_the_stream_between_blocks_is_float32_either_way(kind: str):
    seen: list[torch.dtype] = []
    model = tiny(kind, width=48) if kind in ("gpt2", "minillm") else tiny(kind, head_dim=16, width=48)
    for block in model.layers:  # pyright: ignore[reportGeneralTypeIssues]
        block.register_forward_pre_hook(lambda _module, given: seen.append(given[0].dtype))
    tokens_BT = torch.zeros(1, 8, dtype=torch.long)
    for way in choose.WAYS.values():
        with Precision("bfloat16", kernels=way.kernels).autocast():
            model.features(tokens_BT, torch.arange(8)[None], way.attention(tokens_BT))
    assert set(seen) == {torch.float32}


@BUILT
def test_what_comes_in_another_layout_is_put_right():
    scores, targets, weights = noise(33, 40, seed=1), torch.arange(40, dtype=torch.int32), torch.ones(40, dtype=torch.float64)
    with pointwise.chosen(True):
        turned_over, straight = (pointwise.loss_and_slope(t, targets % 33, weights) for t in (scores.T, scores.T.contiguous()))
        assert turned_over is not None
        assert straight is not None
        assert torch.equal(turned_over[1], straight[1])
        gains = torch.ones(64)[::2].bfloat16()
        assert torch.equal(
            pointwise.rms_norm(noise(3, 32, seed=2), gains, 1e-5), pointwise.rms_norm(noise(3, 32, seed=2), torch.ones(32), 1e-5)
        )
    with pytest.raises(AssertionError, match="multiple"):
        both_ways(attention.packed(documents([[8]])), (noise(1, 8, 1, 8, seed=3),) * 3, noise(1, 8, 1, 8, seed=4), None)


def test_a_run_begun_with_kernels_says_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config, model = Training(dtype="bfloat16", device="cpu"), Like(tiny("qwen3", head_dim=16))
    Session.open(Draft(tmp_path), config, Journal(), model)
    path = tmp_path / "decisions.json"
    decided = json.loads(path.read_text())
    assert decided["rows_at_once"] >= 1
    path.write_text(json.dumps(decided | {"way": "kernels"}))
    monkeypatch.setattr(build, "features", lambda: frozenset())
    forget()
    with pytest.raises(ArtifactError, match="begun with kernels, which cannot be had here now: this processor has no avx512_bf16"):
        Session.open(Draft(tmp_path), config, Journal(), model)
    forget()
    path.write_text(json.dumps({"device": "cpu"}))
    with pytest.raises(ArtifactError, match="not decisions that this version understands"):
        Session.open(Draft(tmp_path), config, Journal(), model)


def test_no_home_folder_is_a_reason(source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(build.CACHE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory.")))
    if build.shutil.which("g++"):
        assert "no home folder" in reason_of(lambda: build.library("one"))
