"""What a Hugging Face ``config.json`` means in our terms, and what ours means in theirs: both directions of one table.

Pure functions on plain mappings. A field that would change the computed function into one we do not have is refused in one line;
``auto_map``, which names Python files for the reader to execute, always is. Where transformers 4 and 5 spell a field differently
(rope, dtype), both are written and either is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.export.fields import Fields
from scratchlm.export.rope import rope_fields, rope_of

WINDOW, WINDOW_LAYERS = 4096, 28
"""What transformers takes where a config names neither a window nor the layer from which it counts."""
Shape = Mapping[str, Any]
"""The fields of our ``model.json``."""


@dataclass(frozen=True)
class Family:
    """One of our kinds of model and how Hugging Face writes it."""

    reads: tuple[str, ...]
    """Their ``model_type``s that are this kind."""
    theirs: Callable[[Shape], dict[str, Any]]
    ours: Callable[[Fields], dict[str, Any]]
    prefix: str
    """What precedes the names of the bare model's tensors; a checkpoint of the bare model leaves it out."""
    published: str
    """What of that they are published with: GPT-2 came as the bare model, and MLX expects it so."""
    buffers: str
    """Names that some checkpoints hold beside the weights and no reader needs: masks and angles (a regular expression)."""


def to_theirs(shape: Shape) -> dict[str, Any]:
    """The part of ``config.json`` that says which function is computed."""
    if shape["kind"] not in FAMILIES:
        raise ArtifactError(f"a '{shape['kind']}' model has no name in Hugging Face's format. It can be one of: {', '.join(FAMILIES)}.")
    return FAMILIES[shape["kind"]].theirs(shape)


def to_ours(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of our ``model.json``, its ``kind`` among them; UsageError when the model is none of ours."""
    fields = Fields(config, where)
    if "auto_map" in config:
        raise UsageError(
            f"{where}: auto_map names Python code to run, and no code from a model's directory is ever run here. "
            "Take a model whose architecture is built into transformers."
        )
    if config.get("quantization_config") is not None:
        raise UsageError(f"{where}: quantization_config: these weights are quantised. Take the copy in bfloat16, float16 or float32.")
    model_type = config.get("model_type")
    kinds = {reads: kind for kind, family in FAMILIES.items() for reads in family.reads}
    if not isinstance(model_type, str) or model_type not in kinds:
        raise UsageError(f"{where}: model_type {fields.shown('model_type')} is not one we can compute. Known: {', '.join(kinds)}.")
    for name in ("final_logit_softcapping", "attn_logit_softcapping", "logits_soft_cap"):
        fields.must(name, None)
    kind = kinds[model_type]
    return {"kind": kind} | FAMILIES[kind].ours(fields)


def _gpt2(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": shape["vocab"],
        "n_positions": shape["context"],
        "n_ctx": shape["context"],
        "n_embd": shape["width"],
        "n_layer": shape["layers"],
        "n_head": shape["heads"],
        "n_inner": shape["hidden"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": shape["norm_eps"],
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "tie_word_embeddings": shape["tied"],
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "use_cache": True,
    }


def _from_gpt2(fields: Fields) -> dict[str, Any]:
    fields.must("activation_function", "gelu_new", "gelu_pytorch_tanh")
    fields.must("scale_attn_weights", True)
    fields.must("scale_attn_by_inverse_layer_idx", False)
    fields.must("add_cross_attention", False)
    width = fields.whole("n_embd")
    return {
        "vocab": fields.whole("vocab_size"),
        "context": fields.whole("n_positions"),
        "layers": fields.whole("n_layer"),
        "width": width,
        "heads": fields.whole("n_head"),
        "hidden": fields.whole("n_inner", 4 * width),
        "norm_eps": fields.number("layer_norm_epsilon", 1e-5),
        "tied": fields.flag("tie_word_embeddings", True),
    }


def _rotary(shape: Shape, architecture: str, model_type: str) -> dict[str, Any]:
    """What Llama and its descendants have in common."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": shape["vocab"],
        "hidden_size": shape["width"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["kv_heads"],
        "head_dim": shape["head_dim"],
        "hidden_act": "silu",
        "max_position_embeddings": shape["context"],
        "rms_norm_eps": shape["norm_eps"],
        "tie_word_embeddings": shape["tied"],
        "attention_dropout": 0.0,
        "use_cache": True,
        **rope_fields(shape),
    }


def _from_rotary(fields: Fields, *, kv_heads: int | None = None) -> dict[str, Any]:
    """``kv_heads``: what transformers takes where the file does not name them; None: as many as heads."""
    fields.must("hidden_act", "silu")
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    return {
        "vocab": fields.whole("vocab_size"),
        "context": fields.whole("max_position_embeddings"),
        "layers": fields.whole("num_hidden_layers"),
        "width": width,
        "heads": heads,
        "kv_heads": fields.whole("num_key_value_heads", heads if "num_key_value_heads" in fields.values else kv_heads or heads),
        "head_dim": fields.whole("head_dim", width // heads),
        "norm_eps": fields.number("rms_norm_eps", 1e-6),
        "tied": fields.flag("tie_word_embeddings", False),
        **rope_of(fields),
    }


def _llama(shape: Shape) -> dict[str, Any]:
    """Three names of one function: biases make it Qwen2's, a window without them Mistral's."""
    hidden = {"intermediate_size": shape["hidden"]}
    if shape["attention_bias"]:
        return _rotary(shape, "Qwen2ForCausalLM", "qwen2") | hidden | _window_fields(shape)
    if shape["window"] is not None:
        return _rotary(shape, "MistralForCausalLM", "mistral") | hidden | {"sliding_window": shape["window"]}
    return _rotary(shape, "LlamaForCausalLM", "llama") | hidden | {"attention_bias": False, "mlp_bias": False}


def _from_llama(fields: Fields) -> dict[str, Any]:
    model_type = fields.values["model_type"]
    found = _from_rotary(fields, kv_heads={"llama": None, "mistral": 8, "qwen2": 32}[model_type])
    found |= {"hidden": fields.whole("intermediate_size"), "attention_bias": model_type == "qwen2"}
    if model_type == "llama":
        fields.must("attention_bias", False)  # there it means a bias on the output too
        fields.must("mlp_bias", False)
        return found | {"window": None}
    if model_type == "mistral":
        return found | {"window": _width_of_window(fields)}
    return found | {"window": _window_of(fields, found["layers"])}


def _qwen3(shape: Shape) -> dict[str, Any]:
    own = {"intermediate_size": shape["hidden"], "attention_bias": False}
    return _rotary(shape, "Qwen3ForCausalLM", "qwen3") | own | _window_fields(shape)


def _from_qwen3(fields: Fields) -> dict[str, Any]:
    fields.must("attention_bias", False)
    found = _from_rotary(fields, kv_heads=32) | {"hidden": fields.whole("intermediate_size")}
    found["head_dim"] = fields.whole("head_dim", 128)
    return found | {"window": _window_of(fields, found["layers"])}


def _olmo2(shape: Shape) -> dict[str, Any]:
    return _rotary(shape, "Olmo2ForCausalLM", "olmo2") | {"intermediate_size": shape["hidden"], "attention_bias": False}


def _from_olmo2(fields: Fields) -> dict[str, Any]:
    fields.must("attention_bias", False)
    found = _from_rotary(fields) | {"hidden": fields.whole("intermediate_size")}
    return found | {"norm_eps": fields.number("rms_norm_eps", 1e-5)}


def _moe(shape: Shape) -> dict[str, Any]:
    return _rotary(shape, "Qwen3MoeForCausalLM", "qwen3_moe") | {
        "intermediate_size": shape["expert_hidden"],
        "moe_intermediate_size": shape["expert_hidden"],
        "num_experts": shape["experts"],
        "num_local_experts": shape["experts"],
        "num_experts_per_tok": shape["experts_per_token"],
        "norm_topk_prob": shape["normalised_routing"],
        "router_aux_loss_coef": shape["balance"],
        "output_router_logits": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "attention_bias": False,
        "use_sliding_window": shape["window"] is not None,
        "sliding_window": shape["window"],
        "max_window_layers": 0,
    }


def _from_moe(fields: Fields) -> dict[str, Any]:
    fields.must("attention_bias", False)
    fields.must("decoder_sparse_step", 1)
    fields.must("mlp_only_layers", [], None)
    found = _from_rotary(fields, kv_heads=4)
    experts = "num_local_experts" if "num_local_experts" in fields.values else "num_experts"
    found["head_dim"] = fields.whole("head_dim", found["head_dim"])
    return found | {
        "experts": fields.whole(experts),
        "experts_per_token": fields.whole("num_experts_per_tok"),
        "expert_hidden": fields.whole("moe_intermediate_size"),
        "normalised_routing": fields.flag("norm_topk_prob", False),
        "balance": fields.number("router_aux_loss_coef", 0.001),
        "window": _width_of_window(fields) if fields.flag("use_sliding_window", False) else None,
    }


def _window_fields(shape: Shape) -> dict[str, Any]:
    """A window on all layers or on none, as Qwen2 and Qwen3 tell it."""
    narrow = shape["window"] is not None
    return {
        "use_sliding_window": narrow,
        "sliding_window": shape["window"],
        "max_window_layers": 0 if narrow else shape["layers"],
        "layer_types": ["sliding_attention" if narrow else "full_attention"] * shape["layers"],
    }


def _width_of_window(fields: Fields) -> int | None:
    """Null is none; a config that does not say has the one that transformers takes then."""
    return fields.whole_or_none("sliding_window") if "sliding_window" in fields.values else WINDOW


def _window_of(fields: Fields, layers: int) -> int | None:
    types, window = fields.values.get("layer_types"), _width_of_window(fields) if fields.flag("use_sliding_window", False) else None
    if types is None:
        from_layer = layers if window is None else fields.whole("max_window_layers", WINDOW_LAYERS, least=0)
        narrow = max(0, layers - from_layer)
    else:
        if not isinstance(types, list) or len(types) != layers or not set(map(str, types)) <= {"full_attention", "sliding_attention"}:
            raise fields.refuse("layer_types", "give 'full_attention' or 'sliding_attention' for each layer")
        narrow = types.count("sliding_attention")
    if narrow not in (0, layers):
        raise fields.refuse("layer_types" if types is not None else "max_window_layers", "here a window is on all layers or on none")
    if narrow and window is None:  # transformers reads such a config and then cannot compute it
        raise fields.refuse("layer_types", "these layers have a window, but use_sliding_window or sliding_window says that there is none")
    return window if narrow else None


_ANGLES = r"(.*\.)?rotary_emb\.inv_freq"

FAMILIES: dict[str, Family] = {
    "gpt2": Family(("gpt2",), _gpt2, _from_gpt2, "transformer.", "", r"(.*\.)?attn\.(bias|masked_bias)"),
    "llama": Family(("llama", "mistral", "qwen2"), _llama, _from_llama, "model.", "model.", _ANGLES),
    "qwen3": Family(("qwen3",), _qwen3, _from_qwen3, "model.", "model.", _ANGLES),
    "olmo2": Family(("olmo2",), _olmo2, _from_olmo2, "model.", "model.", _ANGLES),
    "moe": Family(("qwen3_moe",), _moe, _from_moe, "model.", "model.", _ANGLES),
}
"""Our kinds that others can read, and whose weights we read."""
