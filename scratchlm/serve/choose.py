"""Which model speaks: the newest one of a run, or the one that was asked for; and what one might ask it."""

import json

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.config import nearest
from scratchlm.core.errors import ArtifactError, UsageError

MODELS = ("reinforced", "preferred", "sft", "base")
"""Artifacts that hold a model, the newest first."""
EXAMPLES = "examples.json"
UNTAUGHT = "base"
"""It continues text; it was never shown a conversation."""


def newest_model(home: Home, wanted: str | None) -> Artifact:
    """The artifact ``wanted``, or the newest model of the run; ArtifactError when there is none yet."""
    if wanted is not None:
        if wanted not in MODELS:
            raise UsageError(f"--model: no model '{wanted}'.{nearest(wanted, MODELS)}")
        return home.open(wanted)
    found = home.find(*MODELS)
    if found is None:
        raise ArtifactError(f"{home.path}: there is no trained model here yet. Run `scratchlm run` first, or choose a run with --home.")
    return found


def examples(model: Artifact, *, most: int = 4) -> list[str]:
    """Good first questions, as the stage that taught the model wrote them beside it; none for a base model."""
    path = model.path / EXAMPLES
    return json.loads(path.read_text(encoding="utf-8"))[:most] if path.exists() else []
