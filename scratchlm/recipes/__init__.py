"""Which numbers do we stand behind? Each module holds a function of its own name that returns a Recipe.

Names only, so that listing the recipes imports none of them.
"""

RECIPES = {
    "laptop": "scratchlm.recipes.laptop",
    "shakespeare": "scratchlm.recipes.shakespeare",
    "minillm": "scratchlm.recipes.minillm",
    "one_gpu": "scratchlm.recipes.one_gpu",
    "smoke": "scratchlm.recipes.smoke",
}
