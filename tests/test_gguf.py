"""GGUF: what is written is what we have, llama.cpp computes what we compute, and a hostile file is refused in one line."""

import dataclasses
import importlib.util
import math
import struct
import sys
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_export
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_export import exported, home_with

from scratchlm.core.config import to_plain
from scratchlm.core.errors import ArtifactError, CheckFailed, UsageError
from scratchlm.export import gguf, gguf_check, gguf_reader, llama_cpp, safetensors_reader
from scratchlm.model import gpt2, llama, moe, olmo2, qwen3, store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, build
from scratchlm.stages import export
from scratchlm.tokenizer import template
from scratchlm.train.crew import alone

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="gguf, the package that writes the files, is not installed"
)
needs_llama_cpp = pytest.mark.skipif(not llama_cpp.installed(), reason="xllamacpp, the runtime to compare with, is not installed")
VOCAB = 40
COMMON: dict[str, Any] = {"context": 64, "layers": 2, "width": 64, "heads": 4}
GROUPED = COMMON | {"kv_heads": 2, "head_dim": 24}
WHOLE = COMMON | {"kv_heads": 2, "head_dim": 16}
YARN = {"kind": "yarn", "factor": 4.0, "original_context": 16, "fast": 16.0, "slow": 1.0, "attention_factor": 1.5}
LLAMA3 = {"kind": "llama3", "factor": 4.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 16}
CASES: dict[str, AnyConfig] = {
    "gpt2": gpt2.Config(**COMMON, hidden=96),
    "gpt2-untied": gpt2.Config(**COMMON, hidden=96, tied=False),
    "llama": llama.Config(**GROUPED, hidden=96),
    "llama-biases": llama.Config(**GROUPED, hidden=96, attention_bias=True),
    "llama-llama3": llama.Config(**GROUPED, hidden=96, rope_scaling=LLAMA3, tied=True),
    "llama-linear": llama.Config(**GROUPED, hidden=96, rope_scaling={"kind": "linear", "factor": 2.0}),
    "qwen3": qwen3.Config(**GROUPED, hidden=96, rope_theta=5000.0),
    "qwen3-tied-yarn": qwen3.Config(**GROUPED, hidden=96, tied=True, rope_scaling=YARN),
    "olmo2": olmo2.Config(**WHOLE, hidden=96, rope_theta=5000.0),
    "olmo2-yarn": olmo2.Config(**WHOLE, hidden=96, rope_scaling=YARN),
    "moe": moe.Config(**GROUPED, experts=4, experts_per_token=2, expert_hidden=32),
    "moe-twelve": moe.Config(**GROUPED, experts=12, experts_per_token=2, expert_hidden=32),
}  # pyright: ignore[reportArgumentType]
KINDS = ("f32", "f16", "q8_0", "q4_0")


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights say as much in 4 tokens as in 32."""
    monkeypatch.setattr(export, "LONGEST", 4)
    monkeypatch.setattr(export, "PROMPTS", 3)


def words(vocab: int = VOCAB) -> gguf.Words:
    tokens = [chr(ord("!") + place) for place in range(vocab)]
    return gguf.Words("gpt2", "qwen2", tokens, [1] * vocab, None, ["! !"], None, False, vocab - 2, vocab - 1, "{{ messages }}")


def described(model: Model, path: Path) -> gguf.Model:
    """The model as a run has it: saved, which sorts its weights by their names, and read back."""
    alone(model).save(path)
    weights = dict(safetensors_reader.open_weights(path))
    row = ARCHITECTURES[model.config.kind]
    assert row.HF_NAMES is not None
    return gguf.Model(to_plain(model.config), weights, {name: tuple(tensor.shape) for name, tensor in weights.items()}, row.HF_NAMES)


def random_model(case: str) -> Model:
    model = build(CASES[case].model_copy(update={"vocab": VOCAB}), seed=3).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def written(path: Path, case: str, quantise: gguf.Quantise) -> tuple[Path, list[gguf.Entry], gguf.Model]:
    model = described(random_model(case), path)
    return path / "m.gguf", gguf.write(path / "m.gguf", model, words(), name="m", quantise=quantise), model


@needs_llama_cpp
@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_what_we_compute(case: str, tmp_path: Path):
    made, events = exported(home_with(tmp_path, CASES[case], name="sft"), formats=("gguf",))
    (fact,) = [event for event in events if event["event"] == "parity"]
    assert (fact["table"] > 0) == case.startswith("gpt2")
    assert fact["table"] < llama_cpp.GELU / 2
    assert fact["largest_difference"] <= llama_cpp.EXACT + llama_cpp.TWICE * fact["table"]
    assert fact["equal_likeliest"] == fact["likeliest"] > 10
    assert fact["equal_answers"] == fact["prompts"] == 3
    assert fact["rounding"] == 0
    assert [path.name for path in (made.path / "gguf").iterdir()] == ["tiny-sft-f32.gguf"]
    assert not (made.path / "hf").exists()


@needs_llama_cpp
@pytest.mark.parametrize("quantise", KINDS[1:])
@pytest.mark.parametrize("case", ["gpt2", "llama", "qwen3", "olmo2", "moe"])
def test_llama_cpp_adds_no_more_than_the_rounding_does(case: str, quantise: str, tmp_path: Path):
    made, events = exported(home_with(tmp_path, CASES[case]), formats=("gguf",), quantise=quantise)
    (fact,) = [event for event in events if event["event"] == "parity"]
    most_seen = {"f16": 0.02, "q8_0": 0.2, "q4_0": 0.3}[quantise]
    if (case, quantise) != ("moe", "q4_0"):  # there another expert may be chosen, and nothing is near any more
        assert 0 < fact["largest_difference"] < most_seen
    assert any("before it is rounded, llama.cpp's log-probabilities differ" in event.get("note", "") for event in events)
    assert [path.name for path in (made.path / "gguf").iterdir()] == [f"tiny-sft-{quantise}.gguf"]


@needs_llama_cpp
@pytest.mark.parametrize("broken", ["template", "merges", "pre"])
def test_a_file_that_reads_prompts_otherwise_is_not_finished(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    honest = export.words_of
    changes: dict[str, Any] = {
        "template": {"template": template.JINJA.replace("'<|im_start|>assistant", "'<|im_start|>Assistant")},
        "merges": {"merges": ["t h"]},
        "pre": {"pre": "gpt-2"},
    }
    monkeypatch.setattr(export, "PROMPTS", 20)
    monkeypatch.setattr(test_export, "TEXT", "the __init__.py and a_b-c/d, print(x[0]) " * 9)
    monkeypatch.setattr(export, "words_of", lambda *given: dataclasses.replace(honest(*given), **changes[broken]))
    home = home_with(tmp_path, CASES["qwen3"])
    with pytest.raises(CheckFailed, match=r"gguf: llama\.cpp reads the prompt .* as other ids"):
        exported(home, formats=("gguf",))
    assert home.find("export") is None


@needs_llama_cpp
def test_a_rounded_file_of_another_function_is_noticed_before_it_is_rounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gguf, "is_turned", lambda entry, shape: False)
    monkeypatch.setattr(gguf_check, "is_turned", lambda entry, shape: False)
    with pytest.raises(CheckFailed, match=r"exact\.gguf: the log-probabilities of llama\.cpp differ"):
        exported(home_with(tmp_path, CASES["llama"]), formats=("gguf",), quantise="q4_0")


@needs_llama_cpp
def test_a_base_model_continues_alike_in_llama_cpp(tmp_path: Path):
    _, events = exported(home_with(tmp_path, CASES["qwen3"], name="base"), formats=("gguf",))
    assert events[-1]["equal_answers"] == 3


@needs_llama_cpp
def test_queries_and_keys_in_the_wrong_order_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gguf, "is_turned", lambda entry, shape: False)
    monkeypatch.setattr(gguf_check, "is_turned", lambda entry, shape: False)
    home = home_with(tmp_path, CASES["llama"])
    with pytest.raises(CheckFailed, match=r"the log-probabilities of llama\.cpp differ"):
        exported(home, formats=("gguf",))
    assert home.find("export") is None


def test_without_llama_cpp_the_export_says_that_nothing_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama_cpp, "installed", lambda: False)
    made, events = exported(home_with(tmp_path, CASES["qwen3"]), formats=("gguf",), quantise="q8_0")
    assert made.counts["parity_gguf"] == "not checked"
    assert "pip install xllamacpp" in events[-1]["reason"]


@pytest.mark.parametrize("quantise", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_file_holds_our_weights_within_the_bound_of_their_rounding(case: str, quantise: gguf.Quantise, tmp_path: Path):
    path, entries, model = written(tmp_path, case, quantise)
    found = gguf_check.rounding(path, entries, model)
    assert 0 <= found <= gguf_check.STEPS[quantise] + gguf_check.HALF
    assert (found == 0) == (quantise == "f32")
    back = dict(gguf_check.rounded(path, entries, model))
    assert set(back) == set(model.weights)
    if quantise == "f32":
        assert all(torch.equal(back[name], model.weights[name]) for name in back)


def test_experts_stand_in_the_order_that_their_router_knows(tmp_path: Path):
    path, _, model = written(tmp_path, "moe-twelve", "f32")
    gates = [name for name in model.weights if name.startswith("layers.1.") and name.endswith("gate.weight")]
    assert ".experts.10." in gates[2]  # so they come in another order
    file = gguf_reader.read(path)
    for part in ("gate", "up", "down"):
        expected = torch.stack([model.weights[f"layers.1.feed.experts.{expert}.{part}.weight"] for expert in range(12)])
        np.testing.assert_array_equal(gguf_reader.dequantised(file, f"blk.1.ffn_{part}_exps.weight"), expected.numpy())


def test_blocks_are_those_of_the_reference(tmp_path: Path):
    import gguf as reference

    for quantise in ("q8_0", "q4_0"):
        path, entries, model = written(tmp_path, "qwen3", quantise)
        file = gguf_reader.read(path)
        for entry in (each for each in entries if each.kind == quantise):
            kind = reference.GGMLQuantizationType[entry.kind.upper()]
            expected = reference.quants.quantize(gguf.values_of(entry, model), kind)
            assert file.data(entry.name).tobytes() == expected.tobytes()
            again = reference.quants.dequantize(expected, kind)
            np.testing.assert_array_equal(gguf_reader.dequantised(file, entry.name), again)


def test_the_package_reads_what_we_read(tmp_path: Path):
    import gguf as reference

    path, _, _ = written(tmp_path, "moe", "q8_0")
    ours, theirs = gguf_reader.read(path), reference.GGUFReader(path)
    plain = {name: field.tolist() if isinstance(field, np.ndarray) else field for name, field in ours.fields.items()}
    assert {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")} == plain
    assert [(each.name, tuple(reversed(each.shape.tolist())), each.data_offset, each.n_bytes) for each in theirs.tensors] == [
        (each.name, each.shape, each.start, each.size_bytes) for each in ours.tensors.values()
    ]


def test_rows_that_are_no_multiple_of_a_block_stay_in_half_precision(tmp_path: Path):
    assert gguf.kind_of("blk.0.ffn_up.weight", (96, 60), "q4_0") == "f16"
    assert gguf.kind_of("blk.0.ffn_up.weight", (96, 64), "q4_0") == "q4_0"
    assert gguf.kind_of("token_embd.weight", (96, 64), "q4_0") == "q8_0"
    assert {gguf.kind_of(name, (64, 64), "q4_0") for name in ("position_embd.weight", "blk.1.ffn_gate_inp.weight")} == {"f32"}
    assert gguf.kind_of("output_norm.weight", (64,), "q4_0") == "f32"


def test_weights_that_cannot_be_stored_are_refused(tmp_path: Path):
    model = described(random_model("qwen3"), tmp_path)
    entry = next(gguf.entries_of(model, "f16"))
    model.weights[entry.sources[0]][0, 0] = 70000.0
    with pytest.raises(UsageError, match="beyond what f16 can hold"):
        gguf.values_of(entry, model)
    model.weights[entry.sources[0]][0, 0] = float("nan")
    with pytest.raises(ArtifactError, match="not a finite number"):
        gguf.values_of(entry, model)


def test_the_expert_whose_weight_is_not_finite_is_named(tmp_path: Path):
    model = described(random_model("moe-twelve"), tmp_path)
    entry = next(entry for entry in gguf.entries_of(model, "f16") if entry.stacked)
    model.weights[entry.sources[7]][0, 0] = float("-inf")
    with pytest.raises(ArtifactError, match=r"\.experts\.7\..*: a weight is not a finite number"):
        gguf.values_of(entry, model)


class Asked(llama_cpp.LlamaCpp):
    """Stands for llama.cpp: it gives these log-probabilities to the tokens 0, 1, ..."""

    def __init__(self, *logprobs: float) -> None:
        self._logprobs = logprobs

    def likeliest(self, ids: Sequence[int], *, shown: int) -> list[tuple[int, float]]:
        return list(enumerate(self._logprobs))


@pytest.mark.parametrize("side", ["theirs", "ours", "exact"])
def test_a_log_probability_that_is_no_number_is_a_difference(side: str):
    rows, nothing = [[1] * llama_cpp.EVERY * 2], torch.full((llama_cpp.EVERY * 2, 9), float("nan"))
    level, theirs = torch.zeros(llama_cpp.EVERY * 2, 9), [-math.log(9)] * 2
    assert (found := compared(Asked(*theirs), rows, level, level)).agrees, found
    given: Any = {"theirs": Asked(theirs[0], math.nan), "ours": level, "exact": level}
    if side != "theirs":
        given["theirs"] = Asked(*theirs)
        given[side] = torch.where(torch.arange(len(level))[:, None] == llama_cpp.EVERY - 1, nothing, level)  # at the first place asked
    assert not compared(given["theirs"], rows, given["ours"], given["exact"]).agrees


@needs_llama_cpp
def test_a_model_whose_scores_overflow_is_not_finished(tmp_path: Path):
    home = home_with(tmp_path, CASES["qwen3"])
    _, model = store.load(path := home.open("sft").path)
    with torch.no_grad():
        model.get_parameter("head.weight").mul_(3e38).clamp_(-3e38, 3e38)
    alone(model).save(path)
    with pytest.raises(CheckFailed, match=r"log-probabilities of llama\.cpp differ from ours by nan"):
        exported(home, formats=("gguf",))
    assert home.find("export") is None


@pytest.mark.parametrize(("length", "asked"), [(3, 1), (8, 1), (15, 1), (16, 2)])
def test_of_a_short_row_one_position_is_asked(length: int, asked: int):
    level = torch.zeros(length, 9)
    assert compared(Asked(-math.log(9)), [[1] * length], level, level).asked == asked


def compared(theirs: Any, rows: list[list[int]], ours_TV: torch.Tensor, exact_TV: torch.Tensor) -> llama_cpp.Comparison:
    return llama_cpp.compared(theirs, rows, [ours_TV], [exact_TV], [exact_TV], shown=0)


class Watched(Mapping[str, torch.Tensor]):
    """Weights that count how many of them are in memory at once, and how often each is asked for."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self._weights, self._alive, self.most, self.asked = weights, weakref.WeakSet[torch.Tensor](), 0, Counter[str]()

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._weights[name].clone()
        self._alive.add(tensor)
        self.most = max(self.most, sum(each.numel() for each in self._alive))
        self.asked[name] += 1
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


@pytest.mark.parametrize("case", ["llama", "moe"])
def test_weights_pass_through_memory_one_tensor_at_a_time(case: str, tmp_path: Path):
    model = described(random_model(case), tmp_path)
    watched = Watched(model.weights)
    entries = gguf.write(tmp_path / "m.gguf", dataclasses.replace(model, weights=watched), words(), name="m", quantise="q8_0")
    first, *others = watched  # the type checker of the test run looks at the first item of a mapping
    assert watched.asked[first] >= 1
    assert {watched.asked[name] for name in others} == {1}
    assert watched.most <= 2 * max(math.prod(entry.shape) for entry in entries)


@pytest.mark.parametrize(("quantise", "at", "changed"), [("q8_0", 40, b"\x55"), ("q8_0", 34, b"\xff\xff"), ("f32", 36, b"\xff" * 4)])
def test_a_changed_weight_is_noticed(quantise: gguf.Quantise, at: int, changed: bytes, tmp_path: Path):
    path, entries, model = written(tmp_path, "qwen3", quantise)
    place = gguf_reader.read(path).tensors["blk.1.ffn_up.weight"].start + at
    data = bytearray(path.read_bytes())
    data[place : place + len(changed)] = changed  # a number, the scale of a block and a number that are none
    path.write_bytes(data)
    with pytest.raises(CheckFailed, match=r"blk\.1\.ffn_up\.weight: a stored weight is further from ours"):
        gguf_check.rounding(path, entries, model)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (CASES["moe"].model_copy(update={"normalised_routing": False}), "weights sum to 1"),
        (qwen3.Config(**GROUPED, rope_scaling=LLAMA3), "llama3's rope scaling for llama only"),  # pyright: ignore[reportArgumentType]
        (olmo2.Config(**WHOLE, rope_scaling=LLAMA3), "llama3's rope scaling for llama only"),  # pyright: ignore[reportArgumentType]
        (olmo2.Config(**WHOLE, tied=True), "an olmo2 with a head of its own"),
        (olmo2.Config(**GROUPED), "an olmo2 whose heads are together as wide as the model"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(config: AnyConfig, why: str, tmp_path: Path):
    with pytest.raises(UsageError, match=why):
        exported(home_with(tmp_path, config), formats=("gguf",))


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "char", "byte"])
def test_what_gguf_cannot_say_is_found_out_before_anything_is_written(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "write_huggingface", lambda *_: pytest.fail("hf was written first"))
    home = home_with(tmp_path, qwen3.Config(**GROUPED, hidden=96), kind=kind, size=600)
    with pytest.raises(UsageError, match=r"only byte pairs are written for llama\.cpp|llama\.cpp needs merges"):
        exported(home, formats=("hf", "gguf"))
    assert sorted(path.name for path in (home.path / "export.partial").iterdir()) == ["plan.json"]


def test_without_the_package_that_writes_gguf_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export, "write_huggingface", lambda *_: pytest.fail("hf was written first"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match="pip install gguf"):
        exported(home_with(tmp_path, qwen3.Config(**GROUPED, hidden=96)), formats=("hf", "gguf"))


def test_a_window_becomes_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llama_cpp, "installed", lambda: False)
    made, events = exported(home_with(tmp_path, llama.Config(**GROUPED, window=20)), formats=("gguf",))
    assert any("it reads 20 tokens, not 64" in event.get("note", "") for event in events)
    (file,) = (made.path / "gguf").iterdir()
    assert gguf_reader.read(file).fields["llama.context_length"] == 20


def header(*, tensors: int = 0, fields: int = 0, body: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, fields) + body


def string(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def one_tensor(shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return string(b"t") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + header()[4:],
        header(tensors=2**60),
        header(fields=2**60),
        header(fields=1, body=string(b"k", 2**62)),
        header(fields=1, body=string(b"k") + struct.pack("<I", 99)),
        header(fields=1, body=string(b"k") + struct.pack("<IIQ", 9, 8, 2**61)),
        header(fields=1, body=string(b"k") + struct.pack("<IIQ", 9, 4, 2**61)),
        header(fields=1, body=string(b"k") + struct.pack("<IIQ", 9, 9, 1)),
        header(fields=1, body=string(b"\xff\xfe") + struct.pack("<IB", 0, 1)),
        header(fields=2, body=(string(b"k") + struct.pack("<IB", 0, 1)) * 2),
        header(fields=2, body=(string(b"a\nb") + struct.pack("<IB", 0, 1)) * 2),
        header(tensors=1, body=string(b"a\nb") + struct.pack("<I", 2**31)),
        header(tensors=1, body=string(b"a\nb") + struct.pack("<IQIQ", 1, 4, 77, 0) + bytes(64)),
        header(tensors=1, body=one_tensor((2**40, 2**40)) + bytes(64)),
        header(tensors=1, body=one_tensor((4,), kind=77) + bytes(64)),
        header(tensors=1, body=one_tensor((4,), offset=3) + bytes(64)),
        header(tensors=1, body=one_tensor((33,), kind=8) + bytes(96)),
        header(tensors=1, body=string(b"t") + struct.pack("<I", 2**31)),
        header(tensors=2, body=one_tensor((4,)) + string(b"u") + one_tensor((4,))[9:] + bytes(64)),
    ],
)
def test_a_lying_file_is_refused_in_one_line(data: bytes, tmp_path: Path):
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(UsageError, match=r"m\.gguf: ") as caught:
        gguf_reader.read(tmp_path / "m.gguf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "packed", "values"),
    [
        (0, struct.pack("<3B", 0, 1, 255), [0, 1, 255]),
        (3, struct.pack("<2h", -5, 7), [-5, 7]),
        (6, struct.pack("<2f", 0.5, -2.0), [0.5, -2.0]),
        (7, bytes((0, 1, 2)), [False, True, True]),
        (10, struct.pack("<1Q", 2**64 - 1), [2**64 - 1]),
        (11, b"", []),
    ],
)
def test_numbers_in_a_row_are_read(kind: int, packed: bytes, values: list[Any], tmp_path: Path):
    (tmp_path / "m.gguf").write_bytes(header(fields=1, body=string(b"k") + struct.pack("<IIQ", 9, kind, len(values)) + packed))
    found = gguf_reader.read(tmp_path / "m.gguf").fields["k"]
    assert found.tolist() == values


def test_numbers_in_a_row_take_about_as_much_memory_as_in_the_file(tmp_path: Path):
    size = 1 << 20
    (tmp_path / "m.gguf").write_bytes(header(fields=1, body=string(b"k") + struct.pack("<IIQ", 9, 0, size) + b"\1" * size))
    tracemalloc.start()
    try:
        found = gguf_reader.read(tmp_path / "m.gguf").fields["k"]
        assert tracemalloc.get_traced_memory()[1] < 2 * size
    finally:
        tracemalloc.stop()
    assert (len(found), int(found.sum())) == (size, size)


@settings(max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=9), cut=st.floats(0, 1))
def test_a_damaged_file_is_read_or_refused_and_never_more(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, place: float, value: bytes, cut: float
):
    start = int(place * 3000)
    data = (whole[:start] + value + whole[start + len(value) :])[: max(1, int(cut * 1.3 * len(whole)))]
    path = tmp_path_factory.getbasetemp() / "fuzzed.gguf"
    path.write_bytes(data)
    try:
        found = gguf_reader.read(path)
    except UsageError:
        return
    assert sum(tensor.size_bytes for tensor in found.tensors.values()) <= len(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path, _, _ = written(tmp_path_factory.mktemp("whole"), "qwen3", "q8_0")
    return path.read_bytes()
