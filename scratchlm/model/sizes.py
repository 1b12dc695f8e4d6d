"""Shapes by size, from one that a laptop can train to one that fills a cluster: the same code with other numbers.

GPT-2 as published; LLaMA at 1B, 7B and 70B is Llama 3.2 1B, Llama 2 7B and Llama 3.1 70B, OLMo 2 OLMo-2-1124-7B, the mixture of
experts Qwen3-30B-A3B. The others are ours: 124M and 350M for a vocabulary of 50,304, Qwen3 in the proportions of its published sizes.
"""

from scratchlm.model import gpt2, llama, moe, olmo2, qwen3
from scratchlm.model.architectures import AnyConfig
from scratchlm.model.rotary import Llama3

VOCAB = 50_304
"""GPT-2's 50,257 pieces, up to the next multiple of 128."""
LLAMA3_VOCAB, QWEN3_VOCAB = 128_256, 151_936


def _llama3_scaling(factor: float) -> Llama3:
    return Llama3(factor=factor, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=8192)


SIZES: dict[str, AnyConfig] = {
    "gpt2-124m": gpt2.Config(),
    "llama-124m": llama.Config(
        vocab=VOCAB, context=2048, layers=12, width=768, heads=12, kv_heads=12, head_dim=64, hidden=2048, tied=True
    ),
    "llama-350m": llama.Config(
        vocab=VOCAB, context=2048, layers=24, width=1024, heads=16, kv_heads=16, head_dim=64, hidden=2736, tied=True
    ),
    "llama-1b": llama.Config(
        vocab=LLAMA3_VOCAB, context=131_072, layers=16, width=2048, heads=32, kv_heads=8, head_dim=64, hidden=8192,
        rope_theta=500_000.0, rope_scaling=_llama3_scaling(32.0), tied=True,
    ),
    "llama-7b": llama.Config(vocab=32_000, context=4096, layers=32, width=4096, heads=32, kv_heads=32, head_dim=128, hidden=11_008),
    "llama-70b": llama.Config(
        vocab=LLAMA3_VOCAB, context=131_072, layers=80, width=8192, heads=64, kv_heads=8, head_dim=128, hidden=28_672,
        rope_theta=500_000.0, rope_scaling=_llama3_scaling(8.0),
    ),
    "qwen3-124m": qwen3.Config(
        vocab=VOCAB, context=2048, layers=12, width=768, heads=12, kv_heads=4, head_dim=64, hidden=2432, tied=True
    ),
    "qwen3-350m": qwen3.Config(
        vocab=VOCAB, context=2048, layers=24, width=1024, heads=16, kv_heads=8, head_dim=64, hidden=3072, tied=True
    ),
    "qwen3-1b": qwen3.Config(
        vocab=QWEN3_VOCAB, context=40_960, layers=28, width=1536, heads=16, kv_heads=8, head_dim=128, hidden=4608,
        rope_theta=1_000_000.0, tied=True,
    ),
    "qwen3-7b": qwen3.Config(
        vocab=QWEN3_VOCAB, context=40_960, layers=32, width=4096, heads=32, kv_heads=8, head_dim=128, hidden=11_008,
        rope_theta=1_000_000.0,
    ),
    "qwen3-70b": qwen3.Config(
        vocab=QWEN3_VOCAB, context=40_960, layers=80, width=8192, heads=64, kv_heads=8, head_dim=128, hidden=28_672,
        rope_theta=1_000_000.0,
    ),
    "olmo2-7b": olmo2.Config(
        vocab=100_352, context=4096, layers=32, width=4096, heads=32, kv_heads=32, head_dim=128, hidden=11_008, rope_theta=500_000.0
    ),
    "moe-30b-a3b": moe.Config(
        vocab=QWEN3_VOCAB, context=40_960, layers=48, width=2048, heads=32, kv_heads=4, head_dim=128, experts=128, experts_per_token=8,
        expert_hidden=768, rope_theta=1_000_000.0,
    ),
}  # fmt: skip
"""Each is constructible on the meta device (``architectures.shape_only``) without memory."""
