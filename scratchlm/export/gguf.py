"""GGUF: one file that llama.cpp, and all that stands on it, loads and answers with.

Written by the `gguf` package, tensor by tensor, so that at most one tensor more than the file's own pages is ever in memory. Names come
from the package's table of Hugging Face names; what is ours to know is which of their architectures computes our function.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.export.huggingface import finite, pattern_of, their_name
from scratchlm.export.rope import default_attention_factor

Quantise = Literal["f32", "f16", "q8_0", "q4_0"]
Shape = Mapping[str, Any]
BLOCK = 32
"""Weights that share a scale in q8_0 and q4_0: rows of another multiple cannot be cut into blocks."""
LARGEST_HALF = 65504.0
ARCHITECTURES = {"gpt2": "GPT2", "llama": "LLAMA", "qwen3": "QWEN3", "olmo2": "OLMO2", "moe": "QWEN3MOE"}
"""Our kind -> the package's name of its architecture. A llama with biases is LLAMA too: QWEN2 would fix the size of its heads."""
EXPERT = re.compile(r"\.experts\.(\d+)\.")


@dataclass(frozen=True)
class Words:
    """How text goes in and comes out, in GGUF's terms."""

    model: str
    """gpt2: byte pairs; llama: SentencePiece."""
    pre: str
    """The name under which llama.cpp knows the split pattern."""
    tokens: list[str]
    types: list[int]
    scores: list[float] | None
    merges: list[str] | None
    unknown: int | None
    """What a character without a piece becomes."""
    space_prefix: bool
    """A blank goes before every text."""
    end_of_text: int
    turn_end: int
    template: str
    """The chat template, in Jinja."""
    begin: int | None = None
    """What the model expects before all it reads, if anything."""
    ends: tuple[int, ...] = ()
    """At which an answer ends, beside these two."""


@dataclass(frozen=True)
class Model:
    """What is exported, in our own terms."""

    shape: Shape
    weights: Mapping[str, Tensor]
    """Each is asked for once, when it is its turn."""
    sizes: Mapping[str, tuple[int, ...]]
    """The shape of each."""
    names: Mapping[str, str]
    """Our name of each parameter -> its name in a Hugging Face directory."""


@dataclass(frozen=True)
class Entry:
    """One tensor of the file, made of one of ours or, stacked, of one from each expert."""

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str
    """How it is stored: f32, f16, q8_0 or q4_0."""
    stacked: bool = False


def package() -> ModuleType:
    """The `gguf` package; UsageError when it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UsageError("export: GGUF is written by the gguf package, which is not installed: `pip install gguf`.") from None
    return gguf


def planned(model: Model, words: Words, quantise: Quantise) -> list[Entry]:
    """The tensors of the file, none of them read yet; UsageError when llama.cpp has no architecture for this function."""
    entries = list(entries_of(model, quantise))
    if len(words.tokens) != model.shape["vocab"]:
        raise ArtifactError(
            f"the tokenizer has {len(words.tokens)} pieces, the model {model.shape['vocab']} rows. Take the tokenizer that lies beside it."
        )
    return entries


def write(path: Path, model: Model, words: Words, *, name: str, quantise: Quantise) -> list[Entry]:
    """Write the file; what it holds comes back. It is refused as by ``planned``."""
    gguf, entries = package(), planned(model, words, quantise)
    writer = gguf.GGUFWriter(path, architecture_of(model.shape).lower())
    try:
        writer.add_name(name)
        writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if quantise == "f32" else f"MOSTLY_{quantise.upper()}"))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_shape(writer, model.shape)
        _add_words(writer, words)
        for entry in entries:
            kind, shape = _stored_as(entry)
            writer.add_tensor_info(entry.name, shape, kind.dtype, math.prod(shape) * kind.dtype.itemsize, raw_dtype=kind.raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for entry in entries:
            writer.write_tensor_data(stored(entry, values_of(entry, model)))
    finally:
        writer.close()
    return entries


def architecture_of(shape: Shape) -> str:
    """The package's name of the architecture; UsageError when llama.cpp computes another function."""
    kind = shape["kind"]
    if kind not in ARCHITECTURES:
        raise UsageError(f"export: llama.cpp has no architecture for a '{kind}' model. It reads: {', '.join(ARCHITECTURES)}.")
    if kind == "moe" and not shape["normalised_routing"]:
        raise UsageError("export: llama.cpp always lets the chosen experts' weights sum to 1: train with normalised_routing, or export hf.")
    if kind == "olmo2" and shape["tied"]:
        raise UsageError("export: llama.cpp wants an olmo2 with a head of its own: train with tied=false, or export hf.")
    if kind == "olmo2" and shape["heads"] * shape["head_dim"] != shape["width"]:
        raise UsageError("export: llama.cpp wants an olmo2 whose heads are together as wide as the model: train such a one, or export hf.")
    scaling = shape.get("rope_scaling")
    if scaling is not None and scaling["kind"] == "llama3" and kind != "llama":
        raise UsageError("export: llama.cpp knows llama3's rope scaling for llama only. Export hf, or train with another rope_scaling.")
    return ARCHITECTURES[kind]


def context_of(shape: Shape) -> int:
    """Tokens the file claims to read: llama.cpp has no window for these architectures, and up to the window's length none is needed."""
    window = shape.get("window")
    return shape["context"] if window is None else min(window, shape["context"])


def entries_of(model: Model, quantise: Quantise) -> Iterator[Entry]:
    """The tensors of the file, in the order of ours; the experts of a layer are one tensor, by number, as their router has them."""
    gguf, shape = package(), model.shape
    architecture = getattr(gguf.MODEL_ARCH, architecture_of(shape))
    table = gguf.get_tensor_name_map(architecture, shape["layers"])
    stacks: dict[str, list[str]] = {}
    for ours in model.sizes:
        stacks.setdefault(EXPERT.sub(".experts.", their_name(ours, model.names)), []).append(ours)
    for theirs, sources in stacks.items():
        sources.sort(key=lambda ours: [int(number) for number in pattern_of(ours)[1]])
        name = table.get_name(theirs, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ArtifactError(f"{sources[0]}: llama.cpp's {architecture_of(shape).lower()} has no such tensor. Export hf instead.")
        stacked = EXPERT.search(their_name(sources[0], model.names)) is not None
        size = (len(sources),) * stacked + model.sizes[sources[0]]
        yield Entry(name, tuple(sources), size, kind_of(name, size, quantise), stacked)
    if (scaling := shape.get("rope_scaling")) is not None and scaling["kind"] == "llama3":
        yield Entry("rope_freqs.weight", (), (shape["head_dim"] // 2,), "f32")


def kind_of(name: str, size: tuple[int, ...], quantise: Quantise) -> str:
    """How a tensor is stored: vectors, the router and learned positions are few and stay exact; what has no blocks of 32 is float16."""
    if len(size) < 2 or name.startswith("position_embd") or "ffn_gate_inp" in name or quantise == "f32":
        return "f32"
    if quantise == "f16" or size[-1] % BLOCK:
        return "f16"
    # Every token reads the embedding and the head: 8 bits there cost little and keep rare tokens apart.
    return "q8_0" if name.startswith(("token_embd", "output")) else quantise


def values_of(entry: Entry, model: Model) -> NDArray[np.float32]:
    """A tensor's values as llama.cpp wants them ordered; ArtifactError when one is not finite."""
    if not entry.sources:
        return llama3_factors(model.shape)
    tensors = [finite(source, model.weights[source].detach()).float() for source in entry.sources]
    values = torch.stack(tensors) if entry.stacked else tensors[0]
    if entry.kind != "f32" and float(values.abs().max()) > LARGEST_HALF:
        raise UsageError(
            f"{entry.sources[0]}: a weight is beyond what {entry.kind} can hold, {LARGEST_HALF:,.0f}. Export with quantise f32."
        )
    if is_turned(entry, model.shape):
        values = neighbours(values, heads=model.shape["heads" if "attn_q" in entry.name else "kv_heads"])
    return values.contiguous().numpy()


def is_turned(entry: Entry, shape: Shape) -> bool:
    """Whether the rows of a tensor stand in another order than ours: see ``neighbours``."""
    return architecture_of(shape) == "LLAMA" and entry.name.split(".")[-2] in ("attn_q", "attn_k")


def neighbours(rows: Tensor, *, heads: int) -> Tensor:
    """Rows of a query or key projection reordered so that the two channels of a rotated pair stand side by side.

    Ours (as Hugging Face's) pairs channel i of a head with i + C/2; llama.cpp's `llama` pairs 2i with 2i + 1. A model converted
    without this speaks gibberish.
    """
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


def stored(entry: Entry, values: NDArray[np.float32]) -> NDArray[np.generic]:
    """The bytes of a tensor as its kind stores them."""
    gguf = package()
    return np.ascontiguousarray(gguf.quants.quantize(values, getattr(gguf.GGMLQuantizationType, entry.kind.upper())))


def llama3_factors(shape: Shape) -> NDArray[np.float32]:
    """What each pair of channels' rate is divided by: 1 for short waves, ``factor`` for long ones, between them a blend."""
    scaling = shape["rope_scaling"]
    factor, low, high = scaling["factor"], scaling["low_frequency_factor"], scaling["high_frequency_factor"]
    exponents = torch.arange(0, shape["head_dim"], 2, dtype=torch.float32) / shape["head_dim"]
    turns = scaling["original_context"] * shape["rope_theta"] ** -exponents / (2 * math.pi)
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 / ((1 - blend) / factor + blend)).numpy()


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype[np.generic]
    raw: Any


def _stored_as(entry: Entry) -> tuple[_Storage, tuple[int, ...]]:
    """The dtype and shape of the array that ``stored`` gives."""
    gguf = package()
    raw = getattr(gguf.GGMLQuantizationType, entry.kind.upper())
    if entry.kind in ("f32", "f16"):
        return _Storage(np.dtype(np.float32 if entry.kind == "f32" else np.float16), raw), entry.shape
    return _Storage(np.dtype(np.uint8), raw), tuple(gguf.quants.quant_shape_to_byte_shape(entry.shape, raw))


def _add_shape(writer: Any, shape: Shape) -> None:
    writer.add_context_length(context_of(shape))
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_vocab_size(shape["vocab"])
    writer.add_head_count(shape["heads"])
    if shape["kind"] == "gpt2":
        writer.add_feed_forward_length(shape["hidden"])
        writer.add_layer_norm_eps(shape["norm_eps"])
        return
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_layer_norm_rms_eps(shape["norm_eps"])
    writer.add_rope_freq_base(shape["rope_theta"])
    writer.add_rope_dimension_count(shape["head_dim"])
    _add_scaling(writer, shape["rope_scaling"])
    if shape["kind"] == "moe":
        writer.add_feed_forward_length(shape["expert_hidden"])
        writer.add_expert_feed_forward_length(shape["expert_hidden"])
        writer.add_expert_count(shape["experts"])
        writer.add_expert_used_count(shape["experts_per_token"])
    else:
        writer.add_feed_forward_length(shape["hidden"])


def _add_scaling(writer: Any, scaling: Mapping[str, Any] | None) -> None:
    if scaling is None or scaling["kind"] == "llama3":  # that one is a tensor of factors
        return
    gguf = package()
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling["kind"]))
    writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["kind"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_context"])
        writer.add_rope_scaling_yarn_beta_fast(scaling["fast"])
        writer.add_rope_scaling_yarn_beta_slow(scaling["slow"])
        if scaling["attention_factor"] is not None:  # llama.cpp multiplies this by the paper's own factor
            writer.add_rope_scaling_attn_factors(scaling["attention_factor"] / default_attention_factor(scaling["factor"]))


def _add_words(writer: Any, words: Words) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores is not None:
        writer.add_token_scores(words.scores)
    if words.merges is not None:
        writer.add_token_merges(words.merges)
    if words.unknown is not None:
        writer.add_unk_token_id(words.unknown)
    if words.model == "llama":
        writer.add_add_space_prefix(words.space_prefix)
    writer.add_bos_token_id(words.end_of_text if words.begin is None else words.begin)
    writer.add_eos_token_id(words.turn_end)
    others = [id for id in dict.fromkeys([words.end_of_text, *words.ends]) if id != words.turn_end]
    for add, id in zip((writer.add_eot_token_id, writer.add_eom_token_id), others, strict=False):  # the file has room for two more
        add(id)
    writer.add_pad_token_id(words.end_of_text)
    writer.add_add_bos_token(words.begin is not None)
    writer.add_chat_template(words.template)
