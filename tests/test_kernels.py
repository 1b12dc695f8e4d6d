"""What is computed in C++ equals its plain version in torch, and without a compiler the plain one is taken and said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny
from torch import Tensor

from scratchlm.core.artifact import Draft
from scratchlm.core.journal import Event, Journal
from scratchlm.kernels import attention, build
from scratchlm.model import attention as plain
from scratchlm.parallel.precision import Precision
from scratchlm.train import choose
from scratchlm.train.session import Session, Training


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
        assert errors[0] < max(BF16 * float(right.norm()), 2 * errors[1], 1e-5)


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
    assert choose.unfit(choose.heads_of(model, Precision("bfloat16"))[0]) is None
    tokens_BT = torch.randint(0, 23, (2, 16), generator=torch.Generator().manual_seed(0))
    positions_BT = torch.arange(16).expand(2, 16)
    segments_BT = torch.zeros(2, 16, dtype=torch.long)
    found = []
    for packed in (plain.packed, attention.packed):
        with Precision("bfloat16").autocast():
            x_BTD = model.features(tokens_BT, positions_BT, packed(segments_BT))
            loss = model.logits(x_BTD).float().square().mean()
        found.append((x_BTD.detach(), torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)))
    assert apart(found[1][0], found[0][0].double()) < 4 * BF16
    whole = [torch.cat([g.flatten() for g in grads if g is not None]) for _, grads in found]
    assert apart(whole[1], whole[0].double()) < 8 * BF16


def reason_of(act: object) -> str:
    with pytest.raises(build.Unavailable) as caught:
        act()  # pyright: ignore[reportCallIssue]
    return str(caught.value)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A room with a kernel of one function, and a folder of its own for what is built."""
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    monkeypatch.setenv(build.CACHE, str(tmp_path / "built"))
    monkeypatch.setattr(build, "features", lambda: frozenset({"fast"}))
    build.library.cache_clear()
    (tmp_path / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    yield tmp_path / "one.cpp"
    build.library.cache_clear()


@pytest.mark.skipif(build.shutil.which("g++") is None, reason="there is no g++")
def test_a_kernel_is_built_once_for_each_text(source: Path):
    assert build.library("one", "fast").one() == 1
    first = sorted((source.parent / "built").iterdir())
    build.library.cache_clear()
    assert build.library("one", "fast").one() == 1
    assert sorted((source.parent / "built").iterdir()) == first
    build.library.cache_clear()
    source.write_text('extern "C" int one() { return 2; }\n')
    assert build.library("one", "fast").one() == 2
    assert len(list((source.parent / "built").iterdir())) == 2


def test_why_there_is_no_kernel_is_said(source: Path, monkeypatch: pytest.MonkeyPatch):
    assert "no wings" in reason_of(lambda: build.library("one", "wings"))
    with monkeypatch.context() as away:
        away.setenv("PATH", "")
        assert "no C++ compiler" in reason_of(lambda: build.library("one", "fast"))
    if build.shutil.which("g++"):
        source.write_text("this is no program\n")
        assert "cannot build one.cpp" in reason_of(lambda: build.library("one", "fast"))
        source.write_text('extern "C" int one() { return 1; }\n')
        monkeypatch.setenv(build.CACHE, str(source))  # a file where a folder should be
        assert "cannot be built" in reason_of(lambda: build.library("one", "fast"))


def test_training_without_a_kernel_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def absent() -> None:
        raise build.Unavailable("there is no C++ compiler here (g++)")

    monkeypatch.setattr(attention, "library", absent)
    events: list[Event] = []
    config = Training(dtype="bfloat16", device="cpu")
    work = Session.open(Draft(tmp_path), config, Journal(events.append), tiny("qwen3", head_dim=16))
    assert work.attend is plain.packed
    assert any("no C++ compiler" in str(event.get("note")) for event in events)
