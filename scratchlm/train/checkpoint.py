"""Checkpoints: a directory per saved step, whole or absent, checked by hash before it is believed.

``step-00001000/`` holds ``weights.safetensors``, ``optimizer.safetensors``, ``state.json`` and, written last, ``manifest.json``.
"""

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save

from scratchlm.core.artifact import FileFact, facts_of, sha256_of, sync_directory, write_atomically
from scratchlm.core.journal import Journal
from scratchlm.train.guard import Guard
from scratchlm.train.state import TrainState

WEIGHTS, OPTIMIZER, STATE, MANIFEST = "weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
WRITTEN = {WEIGHTS, OPTIMIZER, STATE}
FACTS = TypeAdapter(dict[str, FileFact])


@dataclass
class Keeper:
    """Saves a run's state by steps and by minutes, keeps the newest few, and finds the newest good one again."""

    path: Path
    steps: int | None = None
    """Save after every so many steps."""
    minutes: float | None = None
    """Save when so many minutes have passed since the last one."""
    keep: int = 2
    _last: float = field(default_factory=time.monotonic)

    def due(self, step: int) -> bool:
        """Whether to save after ``step`` steps."""
        by_steps = self.steps is not None and step % self.steps == 0
        return by_steps or (self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes)

    def save(self, state: TrainState) -> Path:
        """Write ``state``; the directory appears under its name only when all of it is on disk."""
        final = self.path / f"step-{state.step:08d}"
        draft = final.with_suffix(".partial")
        for stale in (draft, final):
            if stale.exists():
                shutil.rmtree(stale)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.model.state_dict().items()}
        write_atomically(draft / WEIGHTS, save(weights))
        write_atomically(draft / OPTIMIZER, save({name: t.cpu().contiguous() for name, t in state.optimizer_tensors()}))
        write_atomically(draft / STATE, json.dumps(_plain(state)).encode())
        facts = {name: fact.model_dump() for name, fact in facts_of(draft).items()}
        write_atomically(draft / MANIFEST, json.dumps(facts).encode())
        draft.rename(final)
        sync_directory(self.path)
        self._last = time.monotonic()
        for old in self.found()[self.keep :]:
            shutil.rmtree(old)
        return final

    def found(self) -> list[Path]:
        """Saved steps, newest first."""
        return sorted((p for p in self.path.glob("step-*") if p.suffix != ".partial"), reverse=True)

    def restore(self, state: TrainState, journal: Journal) -> bool:
        """Put the newest good checkpoint into ``state``; whether there was one. A damaged one is named, and the one before is taken."""
        for path in self.found():
            if fault := fault_of(path):
                journal.event("damaged", path=path.name, fault=fault, message=f"{path}: {fault}; going back to the checkpoint before it")
                continue
            state.model.load_state_dict(load_file(path / WEIGHTS))
            state.load_optimizer_tensors(load_file(path / OPTIMIZER))
            plain = json.loads((path / STATE).read_text(encoding="utf-8"))
            state.step, state.tokens, state.guard = plain["step"], plain["tokens"], Guard.from_plain(plain["guard"])
            state.rows_at_once = plain["rows_at_once"]
            if state.scaler is not None:
                state.scaler.load_state_dict(plain["scaler"])
            journal.event("resumed", step=state.step, tokens=state.tokens)
            return True
        return False


def fault_of(path: Path) -> str | None:
    """What is wrong with a checkpoint directory, or None."""
    manifest = path / MANIFEST
    if not manifest.exists():
        return "it has no manifest"
    try:
        facts = FACTS.validate_json(manifest.read_bytes())
    except ValidationError:
        return "its manifest is not the one that was written"
    if missing := WRITTEN - facts.keys():
        return f"its manifest does not list {min(missing)}"
    for name, fact in facts.items():
        file = path / name
        if not file.exists():
            return f"{name} is missing"
        if file.stat().st_size != fact.size or sha256_of(file) != fact.sha256:
            return f"{name} is not the file that was written"
    return None


def _plain(state: TrainState) -> dict[str, Any]:
    scaler = None if state.scaler is None else state.scaler.state_dict()
    return {
        "step": state.step,
        "tokens": state.tokens,
        "rows_at_once": state.rows_at_once,
        "seed": state.seed,
        "guard": state.guard.to_plain(),
        "scaler": scaler,
        "torch": torch.__version__,
    }
