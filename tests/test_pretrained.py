"""What others wrote is read by what it says, or refused in one line: config, safetensors, shards."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scratchlm.core.config import from_plain, to_plain
from scratchlm.core.errors import UsageError
from scratchlm.export import families, safetensors_reader, safetensors_writer
from scratchlm.export.huggingface import Names, is_transposed, their_name
from scratchlm.export.pretrained import Pretrained, licence_of
from scratchlm.export.safetensors_writer import Entry
from scratchlm.model import gpt2, llama, moe, olmo2, qwen3
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, shape_only
from scratchlm.stages import adopt

YARN = {"kind": "yarn", "factor": 4.0, "original_context": 16, "fast": 16.0, "slow": 1.5, "attention_factor": None}
LLAMA3 = {"kind": "llama3", "factor": 4.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 16}
SHAPES: list[AnyConfig] = [
    gpt2.Config(vocab=31, context=24, layers=2, width=20, heads=5, hidden=44, norm_eps=1e-4, tied=False),
    llama.Config(vocab=31, context=24, layers=2, width=20, heads=4, kv_heads=2, head_dim=6, hidden=28, rope_theta=777.0),
    llama.Config(vocab=31, context=24, window=9, heads=6, kv_heads=3, rope_scaling={"kind": "linear", "factor": 2.0}, tied=True),
    llama.Config(vocab=31, context=24, attention_bias=True, rope_scaling=YARN),
    llama.Config(vocab=31, context=24, attention_bias=True, window=9, rope_scaling=LLAMA3),
    qwen3.Config(vocab=31, context=24, window=9, rope_scaling=YARN | {"attention_factor": 1.5}),
    qwen3.Config(vocab=31, context=24, tied=True),
    moe.Config(vocab=31, context=24, experts=5, experts_per_token=3, expert_hidden=12, normalised_routing=False, balance=0.25),
    moe.Config(vocab=31, context=24, window=9),
    olmo2.Config(vocab=31, context=24, layers=2, width=20, heads=4, kv_heads=2, head_dim=6, hidden=28, norm_eps=1e-4, rope_scaling=YARN),
]  # pyright: ignore[reportArgumentType]
LLAMA = families.to_theirs(to_plain(SHAPES[1]))
QWEN3 = families.to_theirs(to_plain(SHAPES[6]))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.kind)
@pytest.mark.parametrize("version", [4, 5])
def test_a_shape_survives_the_way_there_and_back(shape: AnyConfig, version: int):
    theirs = families.to_theirs(to_plain(shape))
    for name in ("rope_parameters",) if version == 4 else ("rope_theta", "rope_scaling"):
        theirs.pop(name, None)
    found = families.to_ours(json.loads(json.dumps(theirs)), "config.json")
    assert from_plain(ARCHITECTURES[shape.kind].Config, found, "config.json") == shape


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "theirs.Model"}}, "auto_map names Python code to run"),
        (
            {"model_type": "mamba"},
            'model_type "mamba" is not one we can compute. Known: gpt2, llama, mistral, qwen2, qwen3, olmo2, qwen3_moe.',
        ),
        ({"model_type": None}, "model_type null is not one we can compute"),
        ({"quantization_config": {"bits": 4}}, "these weights are quantised"),
        ({"attention_bias": True}, "attention_bias: true will not do: here it can only be false"),
        ({"mlp_bias": True}, "mlp_bias: true will not do"),
        ({"hidden_act": "gelu"}, 'hidden_act: "gelu" will not do: here it can only be "silu"'),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5 will not do"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping: 30.0 will not do"),
        ({"rope_parameters": {"rope_type": "longrope"}}, 'rope_type: "longrope" will not do'),
        ({"rope_parameters": {"full_attention": {}, "sliding_attention": {}}}, "here all layers rotate alike"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}, "rope_scaling": {"type": "linear", "factor": 2.0}}, "disagrees"),
        ({"hidden_size": "wide"}, 'hidden_size: "wide" will not do: a whole number'),
        ({"hidden_size": True}, "hidden_size: true will not do"),
        ({"num_hidden_layers": -1}, "num_hidden_layers: -1 will not do"),
        ({"num_hidden_layers": 10**400}, "num_hidden_layers: 1000"),
        ({"rms_norm_eps": "x" * 1000}, "rms_norm_eps: "),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings: 1 will not do: true or false"),
    ],
)
def test_another_function_is_refused_by_its_field(changes: dict[str, Any], told: str):
    with pytest.raises(UsageError) as caught:
        families.to_ours(LLAMA | changes, "config.json")
    assert told in str(caught.value)
    assert str(caught.value).startswith("config.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_windows_on_some_layers_only_are_refused():
    mixed = {"layer_types": ["sliding_attention", "full_attention", "full_attention", "full_attention"], "sliding_window": 9}
    older = {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": 9, "layer_types": None}
    for changes in (mixed, older):
        with pytest.raises(UsageError, match="a window is on all layers or on none"):
            families.to_ours(QWEN3 | changes, "config.json")


def test_a_field_that_is_missing_is_named():
    for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"):
        with pytest.raises(UsageError, match=f"{name}: it is not there"):
            families.to_ours({key: value for key, value in LLAMA.items() if key != name}, "config.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([families.to_theirs(to_plain(shape)) for shape in SHAPES]), st.data())
def test_any_config_is_a_shape_or_one_line(config: dict[str, Any], data: st.DataObject):
    told = ""
    changed = config | {data.draw(st.sampled_from(sorted(config))): data.draw(JSON) for _ in range(2)}
    try:
        shape = families.to_ours(changed, "config.json")
        from_plain(ARCHITECTURES[shape["kind"]].Config, shape, "config.json")
    except UsageError as error:
        told = str(error)
    assert "\n" not in told


def weights_of(shape: AnyConfig) -> dict[str, torch.Tensor]:
    row = ARCHITECTURES[shape.kind]
    names = Names(row.HF_NAMES or {}, getattr(row, "HF_TRANSPOSED", frozenset()))
    generator = torch.Generator().manual_seed(1)
    made = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in shape_only(shape).state_dict().items()}
    return {their_name(name, names.theirs): (x.T if is_transposed(name, names) else x).contiguous() for name, x in made.items()}


def directory(path: Path, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    path.mkdir(exist_ok=True)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(config))
    return path


def read(path: Path, shape: AnyConfig) -> dict[str, torch.Tensor]:
    row = ARCHITECTURES[shape.kind]
    names = Names(row.HF_NAMES or {}, getattr(row, "HF_TRANSPOSED", frozenset()))
    expected = {name: tuple(tensor.shape) for name, tensor in shape_only(shape).state_dict().items()}
    return dict(Pretrained.open(path).tensors(expected.items(), names))


@pytest.mark.parametrize(("shape", "prefix"), [(SHAPES[0].model_copy(update={"tied": True}), "transformer."), (SHAPES[6], "model.")])
def test_a_bare_model_with_its_buffers_is_read_too(shape: AnyConfig, prefix: str, tmp_path: Path):
    whole = weights_of(shape)
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 4, 4), "layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)}
    buffer = {name: tensor for name, tensor in buffers.items() if name.startswith("h") == (shape.kind == "gpt2")}
    bare = {name.removeprefix(prefix): tensor for name, tensor in whole.items()}
    config = families.to_theirs(to_plain(shape))
    found = read(directory(tmp_path / "bare", bare | buffer, config), shape)
    expected = read(directory(tmp_path / "whole", whole, config), shape)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_head_that_is_the_embedding_may_be_there_twice(tmp_path: Path):
    whole = weights_of(SHAPES[6])
    twice = whole | {"lm_head.weight": whole["model.embed_tokens.weight"].clone()}
    assert "head.weight" not in read(directory(tmp_path, twice, QWEN3), SHAPES[6])
    twice["lm_head.weight"][0, 0] += 1
    with pytest.raises(UsageError, match=r"lm_head\.weight differs from the embedding"):
        read(directory(tmp_path, twice, QWEN3), SHAPES[6])


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("model.layers.1.mlp.up_proj.weight", None, "no file here holds model.layers.1.mlp.up_proj.weight"),
        ("model.layers.1.mlp.up_proj.weight", torch.zeros(3, 5), "its shape is [3, 5], where config.json asks for [768, 256]"),
        ("model.norm.weight", torch.zeros(256, dtype=torch.int32), "its dtype is I32, where weights are one of F32, F16, BF16"),
        ("model.layers.0.extra.weight", torch.zeros(2), "this architecture has no such tensor"),
    ],
)
def test_a_tensor_that_will_not_do_is_named(name: str, tensor: torch.Tensor | None, told: str, tmp_path: Path):
    weights = weights_of(SHAPES[6])
    weights.pop(name, None)
    with pytest.raises(UsageError) as caught:
        read(directory(tmp_path, weights | ({name: tensor} if tensor is not None else {}), QWEN3), SHAPES[6])
    assert told in str(caught.value)
    assert name in str(caught.value)


def test_a_config_of_a_billion_layers_builds_nothing(tmp_path: Path):
    with pytest.raises(UsageError, match="1,000,000,000 layers"):
        read(directory(tmp_path, weights_of(SHAPES[6]), QWEN3 | {"num_hidden_layers": 10**9, "layer_types": None}), SHAPES[6])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_a_pickle_is_refused_with_the_way_out(name: str, tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UsageError, match=f"{name}: a pickle, which can run code.*save_pretrained"):
        Pretrained.open(tmp_path)


def test_a_directory_without_a_model_says_what_is_missing(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no such directory"):
        Pretrained.open(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"config\.json: cannot be read"):
        Pretrained.open(tmp_path)
    for text in ("[1]", "{", "\xff", "[" * 100_000):
        (tmp_path / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(UsageError, match=r"config\.json: "):
            Pretrained.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(QWEN3))
    with pytest.raises(UsageError, match=r"neither model\.safetensors nor"):
        Pretrained.open(tmp_path)


def raw(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[Any], start: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        raw({}, length=2**63),
        raw({}, length=200),
        raw(b"[]"),
        raw(b"{" * 10),
        raw(b'{"a":' * 3000),
        raw(b"\xff\xff"),
        raw(b'{"a":1,"a":2}'),
        raw({"a": 7}),
        raw({"a": entry([2], 0, 8, "F99")}, bytes(8)),
        raw({"a": entry([2], 0, 8, None)}, bytes(8)),
        raw({"a": entry([-2], 0, 8)}, bytes(8)),
        raw({"a": entry([True, 2], 0, 8)}, bytes(8)),
        raw({"a": entry(["2"], 0, 8)}, bytes(8)),
        raw({"a": entry([1] * 9 + [2], 0, 8)}, bytes(8)),
        raw({"a": entry([2**61, 2**61], 0, 8)}, bytes(8)),
        raw({"a": entry([2], 0, 12)}, bytes(12)),
        raw({"a": entry([2], 0, 800)}, bytes(8)),
        raw({"a": entry([2], 8, 0)}, bytes(8)),
        raw({"a": entry([2], 4, 12)}, bytes(12)),
        raw({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        raw({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}, bytes(8)),
        raw({"a": entry([2], 0, 8)}, bytes(9)),
        raw({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 9]}}, bytes(8)),
    ],
)
def test_a_lying_header_is_refused_in_one_line(data: bytes, tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(UsageError, match=r"model\.safetensors: ") as caught:
        safetensors_reader.open_weights(tmp_path)
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 400), value=st.binary(min_size=1, max_size=9), cut=st.integers(0, 60))
def test_a_damaged_file_is_read_or_refused_and_never_more(tmp_path_factory: pytest.TempPathFactory, place: int, value: bytes, cut: int):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.mkdir(exist_ok=True)
    whole = raw({"a": entry([2, 3], 0, 24), "b": entry([4], 24, 32, "BF16"), "c": entry([], 32, 36)}, bytes(36))
    data = (whole[:place] + value + whole[place + len(value) :])[: len(whole) - cut]
    (path / "model.safetensors").write_bytes(data)
    try:
        found = safetensors_reader.open_weights(path)
        sizes = [tensor.numel() * tensor.element_size() for tensor in found.values()]
    except UsageError:
        return
    assert sum(sizes) <= len(data)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "is no safetensors file of this directory"),
        ({"weight_map": {"a": "/etc/model.safetensors"}}, "is no safetensors file of this directory"),
        ({"weight_map": {"a": "..\\x.safetensors"}}, "is no safetensors file of this directory"),
        ({"weight_map": {"a": "x.bin"}}, "is no safetensors file of this directory"),
        ({"weight_map": {"a": 7}}, "is no safetensors file of this directory"),
        ({"weight_map": {"a": "gone.safetensors"}}, "but not there"),
        ({"weight_map": {"a": "one.safetensors"}}, "does not say that it is here"),
        ({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "one.safetensors"}}, "but it is not"),
        ({"weight_map": {}}, "it has no weight_map"),
        ({"weight_map": [1]}, "it has no weight_map"),
        ({}, "it has no weight_map"),
        ([], "a mapping is expected"),
    ],
)
def test_an_index_leads_nowhere_else(index: Any, told: str, tmp_path: Path):
    save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "one.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError) as caught:
        safetensors_reader.open_weights(tmp_path)
    assert told in str(caught.value)


@pytest.mark.parametrize("most", [None, 100])
def test_what_is_written_is_read_by_the_library_and_by_us(most: int | None, tmp_path: Path):
    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    weights = {f"t{place}": torch.randn(place + 1, 7).to(dtypes[place % 3]) for place in range(5)} | {"empty": torch.zeros(0, 3)}
    entries = {name: Entry(tensor.dtype, tuple(tensor.shape)) for name, tensor in weights.items()}
    safetensors_writer.write(tmp_path, entries, lambda name: weights[name], most=most)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert (len(files) > 1) == (most is not None)
    theirs = {name: tensor for file in files for name, tensor in load_file(file).items()}
    ours = safetensors_reader.open_weights(tmp_path)
    assert list(ours) == list(weights)
    for name, tensor in weights.items():
        assert torch.equal(theirs[name], tensor)
        assert torch.equal(ours[name], tensor)
        assert ours[name].dtype == tensor.dtype
    with safe_open(files[0], "pt") as file:  # pyright: ignore[reportPrivateImportUsage]
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ('---\nlanguage: en\nlicense: "other"\nlicense_name: tongyi\nlicense_link: https://x.y/z\n---\ntext', "other tongyi https://x.y/z"),
        ("# No header\nlicense: mit\n", None),
        ("---\nlicence: mit\n---", None),
        ("---\nlicense:\n---", None),
    ],
)
def test_the_licence_is_what_the_card_says(card: str, licence: str | None, tmp_path: Path):
    assert licence_of(tmp_path) is None
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == licence


class InParts:
    """A file that gives at most seven bytes at a time, as an operating system gives at most 2 GiB."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __enter__(self) -> "InParts":
        return self

    def __exit__(self, *_: object) -> None:
        self.inner.close()

    def seek(self, place: int) -> None:
        self.inner.seek(place)

    def readinto(self, view: memoryview) -> int:
        return self.inner.readinto(view[:7])


def test_a_tensor_that_comes_in_parts_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = torch.arange(23, dtype=torch.float32)
    save_file({"a": values, "b": values + 1}, tmp_path / "model.safetensors")
    weights = safetensors_reader.open_weights(tmp_path)
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *more, **options: InParts(opened(self, *more, **options)))
    assert torch.equal(weights["b"], values + 1)
    monkeypatch.setattr(InParts, "readinto", lambda self, view: 0)
    with pytest.raises(UsageError, match="a: the file was cut while it was read"):
        weights["a"]


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({}, 4096),
        ({"sliding_window": None}, None),
        ({"sliding_window": 77}, 77),
    ],
)
def test_a_mistral_that_names_no_window_has_that_of_transformers(changes: dict[str, Any], window: int | None):
    config = {name: value for name, value in LLAMA.items() if name not in ("attention_bias", "mlp_bias")} | {"model_type": "mistral"}
    assert families.to_ours(config | changes, "config.json")["window"] == window
    assert their_windows("mistral", config | changes) == {window}


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "qwen3_moe"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_sliding_window": True},
        {"use_sliding_window": True, "num_hidden_layers": 28},
        {"use_sliding_window": True, "max_window_layers": 0},
        {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 9},
        {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": None},
        {"use_sliding_window": False, "max_window_layers": 0, "sliding_window": 9},
    ],
)
def test_windows_that_a_config_leaves_out_are_those_of_transformers(model_type: str, changes: dict[str, Any]):
    shape = SHAPES[7] if model_type == "qwen3_moe" else SHAPES[6] if model_type == "qwen3" else SHAPES[3]
    told = families.to_theirs(to_plain(shape)) | {"model_type": model_type}
    config = {name: value for name, value in told.items() if "window" not in name and name != "layer_types"} | changes
    assert {families.to_ours(config, "config.json")["window"]} == their_windows(model_type, config)


def their_windows(model_type: str, config: dict[str, Any]) -> set[int | None]:
    """The window of each layer as transformers has it."""
    transformers = pytest.importorskip("transformers", reason="transformers, which says what a config means, is not installed")
    found = transformers.AutoConfig.for_model(**config)
    kinds = getattr(found, "layer_types", None) or ["sliding_attention"] * found.num_hidden_layers
    return {found.sliding_window if kind == "sliding_attention" else None for kind in kinds}


def test_layers_with_a_window_that_is_switched_off_are_refused_as_transformers_cannot_compute_them():
    config = QWEN3 | {"layer_types": ["sliding_attention"] * QWEN3["num_hidden_layers"], "sliding_window": 9}
    assert families.to_ours(config | {"use_sliding_window": True}, "config.json")["window"] == 9
    with pytest.raises(UsageError, match="these layers have a window, but use_sliding_window or sliding_window says that there is none"):
        families.to_ours(config | {"use_sliding_window": False}, "config.json")


@pytest.mark.parametrize(("given", "heads"), [({"num_key_value_heads": None}, 32), ({}, 32)])
def test_heads_that_a_config_leaves_out_are_those_of_transformers(given: dict[str, Any], heads: int):
    plain = {name: value for name, value in QWEN3.items() if name != "num_key_value_heads"} | {"num_attention_heads": 32}
    assert families.to_ours(plain | given, "config.json")["kv_heads"] == heads
    more = plain | {"num_attention_heads": 64} | given
    assert families.to_ours(more, "config.json")["kv_heads"] == (64 if given else 32)


def test_what_an_olmo2_leaves_out_is_as_in_transformers():
    told = families.to_theirs(to_plain(SHAPES[9]))
    config = {name: value for name, value in told.items() if name not in ("rms_norm_eps", "num_key_value_heads", "tie_word_embeddings")}
    found = families.to_ours(config, "config.json")
    transformers = pytest.importorskip("transformers", reason="transformers, which says what a config means, is not installed")
    theirs = transformers.AutoConfig.for_model(**config)
    expected = (theirs.rms_norm_eps, theirs.num_key_value_heads, theirs.tie_word_embeddings)
    assert (found["norm_eps"], found["kv_heads"], found["tied"]) == expected == (1e-5, 4, False)
    with pytest.raises(UsageError, match="attention_bias: true will not do: here it can only be false"):
        families.to_ours(told | {"attention_bias": True}, "config.json")


def hostile(path: Path, tensors: dict[str, list[int]], config: dict[str, Any]) -> Path:
    """A directory whose tensors are claimed and empty."""
    header = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in tensors.items()}
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_config_of_huge_matrices_is_one_line(tmp_path: Path):
    huge = QWEN3 | {"hidden_size": 1 << 40, "vocab_size": 1 << 40}
    empty = {f"t{number}": [1 << 40, 0] for number in range(50)}
    with pytest.raises(UsageError, match=r"config\.json: it asks for 1,208,925,819,614,629,174,706,176 numbers of embedding alone"):
        Pretrained.open(hostile(tmp_path, empty, huge))


def test_a_hundred_thousand_empty_tensors_are_compared_and_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adopt, "shape_only", lambda config: shape_only(config) if config.layers == 1 else pytest.fail("all were built"))
    config = families.to_theirs(to_plain(SHAPES[7])) | {"num_hidden_layers": 100, "num_experts": 1000, "num_local_experts": 1000}
    config |= {"vocab_size": 8, "hidden_size": 8, "moe_intermediate_size": 1, "head_dim": 2}
    path = hostile(tmp_path, {}, config)
    header = {"x": {"dtype": "F32", "shape": [9000], "data_offsets": [0, 36000]}}
    header |= {f"model.t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [36000, 36000]} for number in range(100_000)}
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(36000))
    begun = time.process_time()
    with pytest.raises(UsageError, match=r"no file here holds model\.embed_tokens\.weight"):
        adopt.tensors_of(Pretrained.open(path))
    assert time.process_time() - begun < 20


def test_what_strangers_wrote_cannot_move_the_cursor(tmp_path: Path):
    weights = weights_of(SHAPES[6]) | {"model.\x1b[2J\nx": torch.zeros(2)}
    with pytest.raises(UsageError) as caught:
        read(directory(tmp_path, weights, QWEN3), SHAPES[6])
    assert "model.?[2J?x" in str(caught.value)
    assert str(caught.value).isprintable()
    (tmp_path / "README.md").write_text("---\nlicense: mit\x1b[31m\x07\n---\n")
    assert licence_of(tmp_path) == "mit?[31m?"


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"model\.safetensors: a file\. Give the directory it lies in"):
        Pretrained.open(tmp_path / "model.safetensors")


def test_every_parameter_is_told_from_one_layer():
    for shape in SHAPES:
        assert dict(adopt.shapes_of(shape)) == {name: tuple(tensor.shape) for name, tensor in shape_only(shape).state_dict().items()}
