"""How well does a model of byte pairs predict after some minutes of training? Beside nanoGPT's and nanochat's code, processes in turn.

    python -m benchmarks.byte_pairs DATA... --nanogpt FOLDER --nanochat FOLDER [--minutes 4] [--rounds 3] [--settings NAME=JSON ...]

DATA are folders of text. Corpus, vocabulary and shards are made by scratchlm's own stages, once and outside the timed part; whole
documents are held out by their hash. All three learn from the same ids. Each is a process that starts cold (kernels built, graphs compiled
inside its minutes), measures its pace for some seconds, fixes its horizon in tokens and ends before its minutes are up. Then one piece of
code measures all: bits per byte of every document of the test split, in windows as long as the model's context that do not overlap, in
float32. Defaults are the best settings found for each (benchmarks/results/byte_pairs.md); `--settings` puts others beside or in their
place, and a horizon given as `tokens` in them is kept whatever the time.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from benchmarks import byte_pairs_peers as peers
from scratchlm.batches.shards import Shards, open_split
from scratchlm.model import attention, store
from scratchlm.tokenizer import store as tokenizers

Logits = Callable[[Tensor], Tensor]
"""Tokens in rows -> scores of what follows each."""
BEST: dict[str, dict[str, Any]] = {
    "ours": {
        "model": {"kind": "swift", "context": 256, "layers": 3, "width": 192, "heads": 3, "head_dim": 64, "bigrams": 16384},
        "rows": 16,
        "length_warmup": 0.4,
        "optimizer": {"kind": "muon", "lr": 0.02, "embedding_lr": 0.05, "head_lr": 0.01},
        "schedule": {"kind": "wsd", "decay": 0.6},
    },
    "nanogpt": {
        "layers": 3,
        "heads": 3,
        "width": 192,
        "rows": 4,
        "lr": 1.5e-3,
        "warmup": 0.1,
        "floor": 0.02,
        "weight_decay": 0.0,
        "beta2": 0.95,
    },
    "nanochat": {"layers": 3, "heads": 3, "width": 192, "rows": 8, "scale": 1.6, "warmup_steps": 12, "compiled": "none"},
}
"""What differs from the defaults: of `pretrain` in ours, of the classes in `byte_pairs_peers` in theirs."""
CALIBRATION_STEPS = 24
POSITIONS = 8192
"""Measured at once."""


@dataclass(frozen=True)
class Outcome:
    """A finished model, and what it took."""

    logits: Logits
    context: int
    tokens: int
    wall_s: float


@dataclass(frozen=True)
class Ground:
    """What all learn from, and where."""

    home: Path
    ids: Path
    vocab: int
    scratch: Path
    folders: dict[str, str]
    """Checkouts by name."""
    budget_s: float


def scratchlm(*arguments: str, **environment: str) -> None:
    """A command of ours, silent."""
    subprocess.run([sys.executable, "-m", "scratchlm", *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ | environment)


def prepared(folders: list[Path], home: Path, vocab: int) -> None:
    """Corpus, tokenizer and shards of all folders together; what is there already is kept."""
    text = home.with_name(f"{home.name}-text")
    for folder in folders:
        if not (text / folder.name).exists():
            shutil.copytree(folder, text / folder.name)
    sets = [f"--set=vocab.size={vocab}", f"--set=pretrain.model.vocab={vocab}"]
    scratchlm("corpus", "laptop", "--home", str(home), "--data", str(text), *sets)
    scratchlm("vocab", str(home))
    scratchlm("tokenize", str(home))


def written(shards: Shards, path: Path) -> Path:
    """The ids of a split as one file, as the others read them."""
    shards.window(0, shards.tokens)[0].astype(np.uint16).tofile(path)
    return path


def ours(ground: Ground, settings: dict[str, Any], seed: int) -> Outcome:
    """`scratchlm pretrain` for a few steps, that its pace is known, and then for as many as fit."""
    settings = dict(settings)
    kernels = ground.scratch / "kernels"
    shutil.rmtree(kernels, ignore_errors=True)
    per_step = settings["rows"] * settings["model"]["context"]
    begun = time.perf_counter()
    tokens = settings.pop("tokens", None)
    if tokens is None:
        tried = pretrained(ground, settings, seed, kernels, CALIBRATION_STEPS * per_step)
        steps = [event["seconds"] for event in tried]
        pace = statistics.mean(steps[len(steps) // 3 :])
        took = time.perf_counter() - begun
        left = ground.budget_s - took - (took - sum(steps))  # start and end come again
        if left < pace:
            raise SystemExit(
                f"--minutes: {took:.0f} of {ground.budget_s:.0f} s went before the first step; give more, or a quieter machine."
            )
        tokens = int(peers.CAUTION * left / pace) * per_step
    pretrained(ground, settings, seed, kernels, tokens)
    wall = time.perf_counter() - begun
    config, model = store.load(ground.scratch / "run" / "base")

    def logits(tokens_BT: Tensor) -> Tensor:
        positions = torch.arange(tokens_BT.shape[1]).expand_as(tokens_BT)
        return model.logits(model.features(tokens_BT, positions, attention.packed(torch.zeros_like(tokens_BT))))

    return Outcome(logits, config.context, tokens, wall)


def pretrained(ground: Ground, settings: dict[str, Any], seed: int, kernels: Path, tokens: int) -> list[dict[str, Any]]:
    """The events of the steps of one command."""
    run = ground.scratch / "run"
    shutil.rmtree(run, ignore_errors=True)
    quiet = {"tokens": tokens, "validation_steps": 10**9, "sample_steps": 10**9, "checkpoint_minutes": None}
    sets = ["export=null", *(f"pretrain.{name}={json.dumps(value)}" for name, value in (settings | quiet).items())]
    given = [f"--from={name}={ground.home / name}" for name in ("tokenizer", "shards")]
    scratchlm(
        "pretrain", "laptop", "--home", str(run), "--seed", str(seed), *given, *(f"--set={each}" for each in sets),
        SCRATCHLM_KERNELS=str(kernels),
    )  # fmt: skip
    lines = (run / "base" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "step"]


def theirs(name: str, ground: Ground, settings: dict[str, Any], seed: int) -> Outcome:
    """The whole process of a peer, with nothing compiled before."""
    out = ground.scratch / name
    cache = tempfile.mkdtemp(dir=ground.scratch)
    begun = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "benchmarks.byte_pairs_peers",
        name,
        ground.folders[name],
        str(ground.ids),
        str(ground.vocab),
        str(out),
    ]
    asked = ["--settings", json.dumps(settings), "--seed", str(seed), "--until", str(time.time() + ground.budget_s)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
    done = subprocess.run([*command, *asked], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    wall = time.perf_counter() - begun
    model, context = peers.load(name, ground.folders[name], out, ground.vocab)

    def logits(tokens_BT: Tensor) -> Tensor:
        return model(tokens_BT, tokens_BT)[0] if name == "nanogpt" else model(tokens_BT)

    return Outcome(logits, context, json.loads(done.stdout.splitlines()[-1])["tokens"], wall)


def bits_per_byte(outcome: Outcome, shards: Shards, most: int | None = None) -> float:
    """Of a split's documents, each after its separator; ``most``: of so many windows spread over it, by the split's bytes per token."""
    windows: list[np.ndarray] = []
    for start, end in zip(shards.starts.tolist(), [*shards.starts[1:].tolist(), shards.tokens], strict=True):
        ids = shards.window(start, end - start)[0]
        windows += [ids[first : first + outcome.context + 1] for first in range(0, len(ids) - 1, outcome.context)]
    if most is not None:
        windows = windows[:: max(1, len(windows) // most)]
    total, predicted, at_once = 0.0, 0, POSITIONS // outcome.context
    with torch.inference_mode():
        for first in range(0, len(windows), at_once):
            rows_BS = np.full((min(at_once, len(windows) - first), outcome.context + 1), -1)
            for row, ids in zip(rows_BS, windows[first : first + at_once], strict=False):
                row[: len(ids)] = ids
            tokens_BS = torch.from_numpy(rows_BS)
            targets_BT = tokens_BS[:, 1:]
            logits_BTV = outcome.logits(tokens_BS[:, :-1].clamp(min=0))
            total += float(F.cross_entropy(logits_BTV.float().flatten(0, 1), targets_BT.flatten(), ignore_index=-1, reduction="sum"))
            predicted += int((targets_BT >= 0).sum())
    return total / predicted / math.log(2) * (shards.tokens - shards.documents) / shards.bytes


def asked_for(lines: list[str], folders: dict[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """What is to be run: the best of each whose code is at hand, or what was given in their place."""
    if not lines:
        return [(name, settings) for name, settings in BEST.items() if folders.get(name, "here")]
    given = [line.partition("=") for line in lines]
    for name, _, _ in given:
        if not folders.get(name, "here" if name in BEST else ""):
            raise SystemExit(f"--settings {name}: there is no such contender, or no --{name} FOLDER beside it.")
    return [(name, merged(BEST[name], json.loads(text))) for name, _, text in given]


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``settings`` with ``changes``, also inside of model, optimizer and schedule; another ``kind`` takes the place of all of it."""
    made = dict(settings)
    for name, value in changes.items():
        before = made.get(name, {})
        same = isinstance(value, dict) and value.get("kind", before["kind"]) == before["kind"]
        made[name] = merged(before, value) if same else value
    return made


def main() -> None:
    """Print each run, then the medians and their ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--nanogpt", default="")
    parser.add_argument("--nanochat", default="")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--settings", action="append", default=[], metavar="NAME=JSON", help="ours, nanogpt or nanochat; may be repeated")
    parser.add_argument("--split", default="test", choices=("test", "validation"))
    parser.add_argument("--windows", type=int, help="measure on so many only, for a search")
    parser.add_argument("--home", type=Path, help="where corpus, vocabulary and shards are kept from one call to the next")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, commit {commit}")
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as our command line sets it, for all
    folders = {"nanogpt": asked.nanogpt, "nanochat": asked.nanochat}
    runs = asked_for(asked.settings, folders)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        home = (asked.home or scratch / "home").resolve()
        prepared([path.resolve() for path in asked.data], home, asked.vocab)
        train, held = (open_split(home / "shards", split) for split in ("train", asked.split))
        vocab = tokenizers.load(home / "tokenizer").size
        ground = Ground(home, written(train, scratch / "train.bin"), vocab, scratch, folders, 60 * asked.minutes)
        print(f"{train.tokens:,} tokens to learn from, {held.bytes:,} bytes of {held.documents:,} documents held out")
        for seed in range(asked.rounds):
            for number, (name, settings) in enumerate(runs):
                outcome = ours(ground, settings, seed) if name == "ours" else theirs(name, ground, settings, seed)
                bits = bits_per_byte(outcome, held, asked.windows)
                found.setdefault(f"{number}: {name}", []).append(bits)
                print(
                    f"{number}: {name}, seed {seed}: {outcome.wall_s:.1f} s, {outcome.tokens:,} tokens, {bits:.4f} bits per byte",
                    flush=True,
                )
    own = min((statistics.median(values) for title, values in found.items() if title.endswith("ours")), default=None)
    for title, values in found.items():
        median = statistics.median(values)
        ratio = "" if own is None or title.endswith("ours") else f"; ours has {100 * (1 - own / median):.1f} % fewer"
        print(f"{title}: {median:.4f} ({min(values):.4f} to {max(values):.4f}) bits per byte{ratio}")


if __name__ == "__main__":
    main()
