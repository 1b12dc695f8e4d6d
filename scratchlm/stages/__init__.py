"""What can be done? One module per stage, each with ``Config`` and ``run(config, home, journal) -> Artifact``.

Names only, so that listing the stages imports none of them.
"""

STAGES = {
    "corpus": "corpus",
    "vocab": "tokenizer",
    "tokenize": "shards",
    "pretrain": "base",
    "sft": "sft",
    "prefer": "preferred",
    "reinforce": "reinforced",
    "evaluate": "scores",
    "export": "export",
    "report": "report",
}
"""Each stage's verb (its module here) and the artifact it leaves."""
