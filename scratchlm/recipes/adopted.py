"""A model that somebody else trained: how its home is made, and which numbers later verbs follow there."""

import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scratchlm.core import machine
from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.config import binding, with_sets
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal, written_to
from scratchlm.export.fields import ORIGIN
from scratchlm.optim import adamw
from scratchlm.optim.schedule import Cosine
from scratchlm.recipes import store
from scratchlm.recipes.recipe import Recipe
from scratchlm.report import console
from scratchlm.stages import adopt, corpus, evaluate, export, prefer, reinforce, sft, tokenize

RECIPE = f"{__name__}:adopted"
# What was learned at length is easily lost: steps are those of published recipes for whole models, far below those for new ones.
# 2e-5: Tunstall et al. 2023 (Zephyr), arXiv:2310.16944; 5e-7 there and 1e-6 in Rafailov et al. 2023, arXiv:2305.18290.
TEACH, TUNE = 2e-5, 1e-6


def adopted() -> Recipe:
    """No vocabulary and no pre-training: both came with the model."""
    return Recipe(
        name="adopted",
        corpus=corpus.Config(),
        tokenize=tokenize.Config(),
        sft=sft.Config(epochs=2, rows=8, optimizer=adamw.Config(lr=TEACH, weight_decay=0.0), schedule=Cosine(warmup=0.1)),
        prefer=prefer.Config(optimizer=adamw.Config(lr=TUNE, weight_decay=0.0)),
        reinforce=reinforce.Config(steps=50, optimizer=adamw.Config(lr=TUNE, weight_decay=0.0), schedule=Cosine(warmup=0.1)),
        evaluate=evaluate.Config(),
        export=export.Config(),
    )


def home_of(directory: Path) -> Path:
    """``runs/NAME`` for a directory of that name."""
    return Path("runs") / re.sub(r"[^\w.-]+", "-", directory.resolve().name)


def make_home(directory: Path, home: Path | None, *, sets: Sequence[str] = (), again: bool = False, as_json: bool = False) -> int:
    """Adopt the model in ``directory`` into ``home`` and write the recipe that later verbs follow there; the exit code."""
    path = home or home_of(directory)
    config = with_sets(adopt.Config(directory=str(directory.resolve())), sets)
    stored = store.stored_in(path)
    if stored is not None and stored.asked.recipe != RECIPE:
        raise UsageError(f"{path}: a run of '{stored.asked.recipe}' is here. Choose another folder with --home.")
    place, new = Home(path), not path.exists()
    if not again and (found := place.find("base")) and not _is_of(found, config):
        raise UsageError(
            f"{path}: another model is here, or the same with other settings. Choose another folder with --home, or add --again."
        )
    with place.lock(), store.change(path, new=new) as change, console.view(as_json=as_json) as shown:
        journal = Journal(written_to(path / store.JOURNAL), shown, stage="adopt")
        journal.event("command", argv=["scratchlm", *sys.argv[1:]], versions=machine.versions(), machine=machine.described())
        for name in ("tokenizer", "base", "sft") if again else ():
            place.renew(name)
        journal.event("stage", name="adopt", state="started")
        begun = time.monotonic()
        try:
            made = adopt.run(config, place, journal)
        except UsageError:
            for part in path.glob("*/") if new else ():  # a file that went bad on the way
                shutil.rmtree(part)
            raise
        if made.name != "sft" and (path / "sft" / ORIGIN).exists():
            shutil.rmtree(path / "sft")  # it was adopted as a model that converses before
        change.stands = True
        facts = {"artifact": made.name, "fingerprint": made.fingerprint, "counts": made.counts}
        journal.event("stage", name="adopt", state="finished", seconds=round(time.monotonic() - begun, 3), **facts)
        store.settle(path, store.Asked(recipe=RECIPE), again=True, whole=again)
    learn = shlex.join(["scratchlm", "sft", str(path), "--chats", "FILE"])
    console.show_end(path, [*store.next_commands(place, str(path), ["sft"]), learn], verb="adopt", as_json=as_json)
    return 0


def _is_of(found: Artifact, config: adopt.Config) -> bool:
    """Whether a model in a home was adopted from that directory with those settings."""
    origin = found.path / ORIGIN
    if not origin.exists() or found.manifest.config != binding(config):
        return False
    return json.loads(origin.read_text(encoding="utf-8"))["name"] == Path(config.directory).name
