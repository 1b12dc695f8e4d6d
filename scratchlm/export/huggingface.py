"""A Hugging Face directory that stock transformers, vLLM, llama.cpp's converter and MLX read without custom code.

Fields are those of `Qwen3ForCausalLM`. Where transformers 4 and 5 differ (rope, dtype, where the chat template stands), both are written.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from scratchlm.core.artifact import write_atomically
from scratchlm.core.errors import ArtifactError

TURN_END = "<|im_end|>"


@dataclass(frozen=True)
class Model:
    """What is exported, in our own terms."""

    shape: Mapping[str, Any]
    """The fields of its ``model.json``."""
    weights: Mapping[str, Tensor]
    names: Mapping[str, str]
    """Our name of each parameter -> theirs; ``{}`` stands for the layer."""


@dataclass(frozen=True)
class Words:
    """How text goes in and comes out."""

    tokenizer_json: bytes
    """In the format of the `tokenizers` library."""
    control: Mapping[str, int]
    end_of_text: str
    template: str
    """The chat template, in Jinja."""


def write(out: Path, *, model: Model, words: Words) -> None:
    """Write every file a reader needs into the directory ``out``."""
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in model.weights.values()}
    config = config_of(model.shape, words, dtype=min(dtypes))
    write_atomically(out / "model.safetensors", save(renamed(model), metadata={"format": "pt"}))
    _write_json(out / "config.json", config)
    _write_json(out / "generation_config.json", generation_of(words))
    write_atomically(out / "tokenizer.json", words.tokenizer_json)
    _write_json(out / "tokenizer_config.json", tokenizer_config_of(words, context=model.shape["context"]))
    _write_json(out / "special_tokens_map.json", specials_of(words))
    write_atomically(out / "chat_template.jinja", words.template.encode())


def renamed(model: Model) -> dict[str, Tensor]:
    """The weights under the names other runtimes expect; ArtifactError when one has none, so that nothing is left out silently."""
    return {their_name(name, model.names): tensor.detach().contiguous() for name, tensor in model.weights.items()}


def their_name(name: str, names: Mapping[str, str]) -> str:
    """``layers.3.feed.up.weight -> model.layers.3.mlp.up_proj.weight``."""
    layers = [part for part in name.split(".") if part.isdigit()]
    pattern = ".".join("{}" if part.isdigit() else part for part in name.split("."))
    if pattern not in names:
        raise ArtifactError(f"{name}: this weight has no name in other runtimes. The model was written by another version; train it again.")
    return names[pattern].format(*layers)


def config_of(shape: Mapping[str, Any], words: Words, *, dtype: str) -> dict[str, Any]:
    """``config.json``."""
    theta = shape["rope_theta"]
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape["vocab"],
        "hidden_size": shape["width"],
        "intermediate_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["head_dim"],
        "hidden_act": "silu",
        "max_position_embeddings": shape["context"],
        "rms_norm_eps": shape["norm_eps"],
        "tie_word_embeddings": shape["tied"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": shape["layers"],
        "layer_types": ["full_attention"] * shape["layers"],
        "rope_theta": theta,
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "bos_token_id": words.control[words.end_of_text],
        "eos_token_id": words.control[TURN_END],
        "pad_token_id": words.control[words.end_of_text],
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def generation_of(words: Words) -> dict[str, Any]:
    """``generation_config.json``: greedy unless asked otherwise; both the end of a turn and the end of a text stop."""
    end = words.control[words.end_of_text]
    return {"bos_token_id": end, "pad_token_id": end, "eos_token_id": [words.control[TURN_END], end], "do_sample": False}


def specials_of(words: Words) -> dict[str, Any]:
    """``special_tokens_map.json``."""
    others = [name for name in words.control if name not in (TURN_END, words.end_of_text)]
    return {"eos_token": TURN_END, "pad_token": words.end_of_text, "additional_special_tokens": others}


def tokenizer_config_of(words: Words, *, context: int) -> dict[str, Any]:
    """``tokenizer_config.json``; the template stands here too, where transformers 4 looks for it."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {str(id): {"content": name} | flags for name, id in words.control.items()},
        **specials_of(words),
        "bos_token": None,
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": words.template,
    }


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
