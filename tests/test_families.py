"""Models of others, random weights and all, computed here: the same scores as in transformers."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny import logits
from torch import Tensor
from torch.testing import assert_close

from scratchlm.model import gpt2, llama, moe, olmo2, qwen3
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, shape_only
from scratchlm.model.rotary import Linear, Llama3, Yarn

VOCAB, CONTEXT, LENGTH = 61, 64, 40
SIZE = {"vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 3, "max_position_embeddings": CONTEXT}
GROUPED = {**SIZE, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 36, "rms_norm_eps": 1e-6}
OURS: dict[str, Any] = {"vocab": VOCAB, "context": CONTEXT, "layers": 3, "width": 24, "heads": 6, "kv_heads": 2}
DENSE: dict[str, Any] = OURS | {"hidden": 36, "norm_eps": 1e-6}
EXPERTS = {"num_experts": 5, "num_local_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "decoder_sparse_step": 1}
MIXED: dict[str, Any] = OURS | {"experts": 5, "experts_per_token": 3, "expert_hidden": 20}
NARROW = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}


def rope(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 500.0} | parameters}


FAMILIES: dict[str, tuple[str, dict[str, Any], AnyConfig]] = {
    "gpt2": (
        "GPT2",
        {"vocab_size": VOCAB, "n_positions": CONTEXT, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_inner": 36},
        gpt2.Config(vocab=VOCAB, context=CONTEXT, layers=3, width=24, heads=4, hidden=36),
    ),
    "gpt2, a head of its own": (
        "GPT2",
        {
            "vocab_size": VOCAB, "n_positions": CONTEXT, "n_embd": 24, "n_layer": 3, "n_head": 4, "tie_word_embeddings": False,
            "layer_norm_epsilon": 1e-3,
        },
        gpt2.Config(vocab=VOCAB, context=CONTEXT, layers=3, width=24, heads=4, hidden=96, tied=False, norm_eps=1e-3),
    ),
    "llama": ("Llama", GROUPED | {"head_dim": 10}, llama.Config(**DENSE, head_dim=10)),
    "llama, tied": ("Llama", GROUPED | {"head_dim": 10, "tie_word_embeddings": True}, llama.Config(**DENSE, head_dim=10, tied=True)),
    "qwen2": ("Qwen2", GROUPED, llama.Config(**DENSE, head_dim=4, attention_bias=True)),
    "qwen2, window": ("Qwen2", GROUPED | NARROW, llama.Config(**DENSE, head_dim=4, attention_bias=True, window=7)),
    "mistral, window": ("Mistral", GROUPED | {"head_dim": 10, "sliding_window": 7}, llama.Config(**DENSE, head_dim=10, window=7)),
    "qwen3": ("Qwen3", GROUPED | {"head_dim": 10}, qwen3.Config(**DENSE, head_dim=10)),
    "qwen3, window": ("Qwen3", GROUPED | {"head_dim": 10} | NARROW, qwen3.Config(**DENSE, head_dim=10, window=7)),
    "olmo2": ("Olmo2", GROUPED, olmo2.Config(**DENSE, head_dim=4)),
    "olmo2, wide heads, tied": (
        "Olmo2", GROUPED | {"head_dim": 10, "tie_word_embeddings": True}, olmo2.Config(**DENSE, head_dim=10, tied=True),
    ),
    "olmo2, yarn": (
        "Olmo2",
        GROUPED | rope(**YARN),
        olmo2.Config(**DENSE, head_dim=4, rope_theta=500, rope_scaling=Yarn(factor=4, original_context=16)),
    ),
    "qwen3_moe": (
        "Qwen3Moe", GROUPED | EXPERTS | {"head_dim": 10, "norm_topk_prob": True}, moe.Config(**MIXED, head_dim=10),
    ),
    "qwen3_moe, as likely as they are": (
        "Qwen3Moe",
        GROUPED | EXPERTS | {"head_dim": 10, "norm_topk_prob": False},
        moe.Config(**MIXED, head_dim=10, normalised_routing=False),
    ),
    "linear": (
        "Llama",
        GROUPED | {"head_dim": 10} | rope(rope_type="linear", factor=4.0),
        llama.Config(**DENSE, head_dim=10, rope_theta=500, rope_scaling=Linear(factor=4)),
    ),
    "llama3": (
        "Llama",
        GROUPED | {"head_dim": 10} | rope(**LLAMA3),
        llama.Config(**DENSE, head_dim=10, rope_theta=500, rope_scaling=Llama3(factor=4, original_context=16)),
    ),
    "yarn": (
        "Qwen3",
        GROUPED | {"head_dim": 10} | rope(**YARN),
        qwen3.Config(**DENSE, head_dim=10, rope_theta=500, rope_scaling=Yarn(factor=4, original_context=16)),
    ),
    "yarn, told": (
        "Qwen3Moe",
        GROUPED | EXPERTS | {"head_dim": 10, "norm_topk_prob": True} | rope(**YARN, beta_fast=8.0, beta_slow=2.0, attention_factor=1.3),
        moe.Config(
            **MIXED, head_dim=10, rope_theta=500,
            rope_scaling=Yarn(factor=4, original_context=16, fast=8, slow=2, attention_factor=1.3),
        ),
    ),
}  # fmt: skip


def theirs(kind: str, fields: dict[str, Any]) -> Any:
    """A transformers model whose every weight was drawn, biases and gains too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its deprecations are not what is tested
        config = getattr(transformers, f"{kind}Config")(**fields, attn_implementation="eager")
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def in_our_names(model: Model, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a Hugging Face file under our names."""
    row = ARCHITECTURES[model.config.kind]
    assert row.HF_NAMES is not None
    transposed = getattr(row, "HF_TRANSPOSED", frozenset())
    found = {}
    for name in model.state_dict():
        pattern = re.sub(r"(?<=\.)\d+", "{}", name)
        tensor = stored[row.HF_NAMES[pattern].format(*re.findall(r"(?<=\.)\d+", name))]
        found[name] = tensor.T.contiguous() if pattern in transposed else tensor
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_others_says_the_same_here(family: str, tmp_path: Path):
    kind, fields, shape = FAMILIES[family]
    model = theirs(kind, fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    ours = shape_only(shape)
    ours.load_state_dict(in_our_names(ours, stored), assign=True)
    assert len(stored) == len(ours.state_dict())
    tokens_BT = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(12))
    with torch.no_grad():
        expected_BTV = model(tokens_BT).logits
        found_BTV = logits(ours, tokens_BT)
    assert expected_BTV.std() > 0.5
    assert_close(found_BTV, expected_BTV, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["mistral, window", "qwen3, window", "qwen2, window", "linear", "llama3", "yarn"])
def test_the_option_makes_a_difference(family: str):
    """So the equality above is about it."""
    _, _, shape = FAMILIES[family]
    plain = shape.model_copy(update={"window": None, "rope_scaling": None})
    tokens_BT = torch.randint(VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(12))
    one, other = (shape_only(each).to_empty(device="cpu") for each in (shape, plain))
    generator = torch.Generator().manual_seed(13)
    for parameter in one.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert (logits(one, tokens_BT) - logits(other, tokens_BT)).abs().max() > 0.01
