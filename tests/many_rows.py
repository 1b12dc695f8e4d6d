"""The recipe `smoke` with rows and heads that many processes can share out."""

from scratchlm.core.config import with_sets
from scratchlm.recipes import smoke as usual
from scratchlm.recipes.recipe import Recipe

SETS = [
    "pretrain.rows=96",
    "sft.rows=96",
    "prefer.pairs_per_step=96",
    "reinforce.prompts=96",
    'pretrain.model={"context": 96, "heads": 12, "kv_heads": 12, "hidden": 96}',
]


def smoke() -> Recipe:
    """As small, and broader."""
    return with_sets(usual.smoke(), SETS)
