"""Directories as Hugging Face writes them: a tiny model of each family with random weights, and a tokenizer beside it."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from scratchlm.tokenizer import store as tokenizers

TEXT = "The quick brown fox counts 1 2 3 and jumps over the lazy dog. Naïve café, 你好! " * 5
PADDING = 5
"""Rows of the embedding that belong to no piece."""
COMMON = {
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
ROPES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 16.0, "beta_slow": 1.5},
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 64}),
    "llama": ("llama", COMMON | {"head_dim": 10}),
    "llama-tied-llama3": ("llama", COMMON | {"tie_word_embeddings": True, "rope_scaling": ROPES["llama3"]}),
    "llama-linear": ("llama", COMMON | {"rope_scaling": ROPES["linear"], "rope_theta": 5000.0}),
    "mistral": ("mistral", COMMON | {"sliding_window": 12, "head_dim": 10}),
    "qwen2": ("qwen2", COMMON),
    "qwen2-window": ("qwen2", COMMON | {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 0}),
    "qwen3": ("qwen3", COMMON | {"head_dim": 10}),
    "qwen3-tied-yarn": ("qwen3", COMMON | {"head_dim": 10, "tie_word_embeddings": True, "rope_scaling": ROPES["yarn"]}),
    "olmo2": ("olmo2", COMMON),
    "olmo2-tied-yarn": ("olmo2", COMMON | {"head_dim": 10, "tie_word_embeddings": True, "rope_scaling": ROPES["yarn"]}),
    "qwen3_moe": (
        "qwen3_moe",
        COMMON | {"head_dim": 10, "num_experts": 12, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True},
    ),
    "qwen3_moe-plain": (
        "qwen3_moe",
        COMMON | {"head_dim": 10, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": False},
    ),
}
"""Name of a case -> their ``model_type`` and the arguments of its config."""


def write(path: Path, case: str, *, turns: bool = False, dtype: torch.dtype = torch.float32, shard: str = "1GB") -> Path:
    """The directory of ``case``; with ``turns`` its tokenizer knows how a conversation is written."""
    size = write_tokenizer(path, turns=turns)
    model = model_of(case, size + PADDING).to(dtype)
    model.save_pretrained(path, max_shard_size=shard)
    (path / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    return path


def model_of(case: str, vocab: int) -> Any:
    """The random model, every parameter moved so that none is silent."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model_type, arguments = FAMILIES[case]
    nobody = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        config = transformers.AutoConfig.for_model(model_type, vocab_size=vocab, **arguments, **nobody)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def write_tokenizer(path: Path, *, turns: bool) -> int:
    """A ``tokenizer.json`` of byte pairs with its configuration; how many pieces it has."""
    tokenizers.train("bpe", [TEXT], size=300).save(path)
    (path / "tokenizer_facts.json").unlink()
    spec = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    if not turns:
        spec["added_tokens"] = [token for token in spec["added_tokens"] if "im_" not in token["content"]]
    (path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return len(spec["model"]["vocab"]) + len(spec["added_tokens"])
