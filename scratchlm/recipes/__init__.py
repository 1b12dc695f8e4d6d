"""Which numbers do we stand behind? Each module holds a function of the recipe's name that returns a Recipe.

Names only, so that listing the recipes imports none of them.
"""

RECIPES = {
    "laptop": "scratchlm.recipes.laptop",
    "shakespeare": "scratchlm.recipes.shakespeare",
    "minillm": "scratchlm.recipes.minillm",
    "one_gpu": "scratchlm.recipes.one_gpu",
    "node": "scratchlm.recipes.node",
    "cluster_7b": "scratchlm.recipes.cluster",
    "cluster_70b": "scratchlm.recipes.cluster",
    "smoke": "scratchlm.recipes.smoke",
}
