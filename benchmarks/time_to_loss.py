"""How long until the same loss? Characters of tinyshakespeare, beside nanoGPT as its README runs it on a CPU, whole processes in turn.

    python -m benchmarks.time_to_loss --text input.txt --nanogpt FOLDER [--rounds 3] [--tokens N ...]

FOLDER is a checkout of nanoGPT (https://github.com/karpathy/nanoGPT); it is copied and left as it is. Both learn from the first nine tenths
of the text and are measured on the rest, all of it, in windows of 64 characters that do not overlap, in nats. Wall time runs from the
start of the process to its end, kernels built anew each time. `--tokens` gives the horizons to run ours with: the first is the one that
is to reach nanoGPT's loss, a later one may take as long as nanoGPT does.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from scratchlm.batches.shards import Encoded, Layout, open_split, write_split
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.model import attention, store
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.char import Characters

WINDOW = 64
NANOGPT = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=100", "--block_size=64",
    "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0",
)  # fmt: skip
"""As in its README, but for the interval of its log."""
MEASURE = """
import pickle, sys, torch
from model import GPT, GPTConfig
saved = torch.load("out-shakespeare-char/ckpt.pt", map_location="cpu", weights_only=False)
model = GPT(GPTConfig(**saved["model_args"])); model.load_state_dict(saved["model"]); model.eval()
import numpy as np
ids = torch.from_numpy(np.fromfile("data/shakespeare_char/val.bin", dtype=np.uint16).astype(np.int64))
count = (len(ids) - 1) // 64
x, y = ids[: count * 64].view(count, 64), ids[1 : count * 64 + 1].view(count, 64)
with torch.no_grad():
    total = sum(float(model(a, b)[1]) * a.numel() for a, b in zip(x.split(128), y.split(128)))
print(total / (count * 64))
"""


def prepared(text: str, home: Home) -> None:
    """The artifacts that ``pretrain`` starts from: a character tokenizer and shards of one document each."""
    characters = Characters("".join(sorted(set(text))))
    cut = int(0.9 * len(text))
    parts = {"train": text[:cut], "validation": text[cut:], "test": text[cut:]}
    vocabulary = home.build("tokenizer", Settings(), {}, lambda draft: characters.save(draft.path))

    def make(draft: Draft) -> None:
        layout = Layout(tokenizers.facts_of(vocabulary.path).sha256, characters.end_of_text, characters.size, 2**26, 0)
        for split, part in parts.items():
            ids = np.array(characters.encode(part), np.uint32)
            write_split(draft.path / split, [Encoded(f"{split:0>32}", ids, "shakespeare", len(part.encode()))], layout)

    home.build("shards", Settings(), [vocabulary], make)


def ours(home: Path, scratch: Path, seed: int, sets: list[str]) -> tuple[float, float, float, float]:
    """Wall seconds of the whole command, seconds of training, and the loss in windows of 64 and in windows as long as the context."""
    run = scratch / f"run-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    kernels = scratch / "kernels"
    shutil.rmtree(kernels, ignore_errors=True)
    given = [f"--from={name}={home / name}" for name in ("tokenizer", "shards")]
    command = [sys.executable, "-m", "scratchlm", "pretrain", "shakespeare", "--home", str(run), "--seed", str(seed), *given]
    begun = time.perf_counter()
    subprocess.run(
        [*command, *(word for each in sets for word in ("--set", each))],
        check=True, stdout=subprocess.DEVNULL, env=os.environ | {"SCRATCHLM_KERNELS": str(kernels)},
    )  # fmt: skip
    wall = time.perf_counter() - begun
    events = [json.loads(line) for line in (run / "base" / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    training = sum(event["seconds"] for event in events if event["event"] == "step")
    model = store.load(run / "base")[1]
    ids = torch.from_numpy(open_split(home / "shards", "validation").window(1, open_split(home / "shards", "validation").tokens - 1)[0])
    return wall, training, loss_of(model, ids, WINDOW), loss_of(model, ids, model.config.context)


def loss_of(model: store.Model, ids: torch.Tensor, length: int) -> float:
    """Nats per character of all of ``ids``, in windows that do not overlap."""
    count = (len(ids) - 1) // length
    x_BT, y_BT = ids[: count * length].view(count, length), ids[1 : count * length + 1].view(count, length)
    total = 0.0
    model.eval()
    with torch.inference_mode():
        for x, y in zip(x_BT.split(128), y_BT.split(128), strict=True):
            segments = torch.zeros_like(x)
            logits = model.logits(model.features(x, torch.arange(length).expand_as(x), attention.packed(segments)))
            total += float(F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="sum"))
    return total / (count * length)


def nanogpt(folder: Path) -> tuple[float, float]:
    """Wall seconds of its whole training command, and its loss."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "train.py", *NANOGPT], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begun
    found = subprocess.run([sys.executable, "-c", MEASURE], cwd=folder, check=True, capture_output=True, text=True)
    return wall, float(found.stdout.split()[-1])


def main() -> None:
    """Print each run, then the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="of the recipe, as on the command line")
    parser.add_argument("--tokens", type=int, nargs="+", default=[0], help="horizons; 0: the recipe's own")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, commit {commit}")
    walls: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text = asked.text.read_text(encoding="utf-8")
        prepared(text, Home(scratch / "home"))
        if asked.nanogpt:
            shutil.copytree(asked.nanogpt, scratch / "nanogpt", ignore=shutil.ignore_patterns(".git"))
            (scratch / "nanogpt" / "data" / "shakespeare_char" / "input.txt").write_text(text, encoding="utf-8")
            subprocess.run(
                [sys.executable, "prepare.py"], cwd=scratch / "nanogpt/data/shakespeare_char", check=True, stdout=subprocess.DEVNULL
            )
        for seed in range(asked.rounds):
            for tokens in asked.tokens:
                sets = asked.set + ([f"pretrain.tokens={tokens}"] if tokens else [])
                wall, training, short, whole = ours(scratch / "home", scratch, seed, sets)
                walls.setdefault(f"ours, {tokens or 'all'} tokens", []).append(wall)
                print(
                    f"ours, seed {seed}: {wall:.1f} s, training {training:.2f} s, {short:.4f} nats ({whole:.4f} in its context)", flush=True
                )
            if asked.nanogpt:
                wall, loss = nanogpt(scratch / "nanogpt")
                walls.setdefault("nanoGPT", []).append(wall)
                print(f"nanoGPT: {wall:.1f} s, {loss:.4f} nats", flush=True)
    medians = {name: statistics.median(found) for name, found in walls.items()}
    for name, wall in medians.items():
        ratio = f", {medians['nanoGPT'] / wall:.2f} times as fast" if "nanoGPT" in medians and name != "nanoGPT" else ""
        print(f"{name}: {wall:.1f} s{ratio}")


if __name__ == "__main__":
    main()
