"""How long until the same loss? Characters of a text, beside others' recipes for a CPU, whole processes in turn.

    python -m benchmarks.time_to_loss [--text FILE] [--nanogpt FOLDER] [--rounds 3] [--tokens N ...]

The others: GPT-2 in plain PyTorch (`benchmarks/baseline.py`); the Trainer of transformers, where that and accelerate are installed;
nanoGPT itself, where FOLDER is a checkout of it (https://github.com/karpathy/nanoGPT; it is copied and left as it is). Each goes through
the recipe that nanoGPT's README gives for a CPU, from its first step to its last; ours through `shakespeare`, each time as many tokens as
`--tokens` says: the fewest are to reach the others' loss, the most may take as long as the others do. All learn from the first nine tenths
of the text and are measured on the rest, all of it, in windows of 64 characters that do not overlap, in nats. Time runs from the start of a
process until that is measured, with kernels built anew. Without a text, what Python's library says of itself is read, as long as
tinyshakespeare. A row is added to `benchmarks/results/bench.jsonl`.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

from benchmarks import machine
from benchmarks.baseline import SHORTEST, Recipe, positive
from benchmarks.peers import missing
from benchmarks.time_to_loss_peers import LEARNERS
from scratchlm.batches.shards import Encoded, Layout, open_split, write_split
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.records import Document
from scratchlm.model import attention, store
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.char import Characters

WINDOW = 64
DEFAULT_LENGTH = 1_115_394
"""Characters of the text where none is given: those of tinyshakespeare."""
NANOGPT = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=100", "--block_size=64",
    "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0",
)  # fmt: skip
"""As in its README, but for the interval of its log; the number of steps is added."""
MEASURE = """
import json, time, numpy, torch
from model import GPT, GPTConfig
saved = torch.load("out-shakespeare-char/ckpt.pt", map_location="cpu", weights_only=True)
model = GPT(GPTConfig(**saved["model_args"])); model.load_state_dict(saved["model"]); model.eval()
ids = torch.from_numpy(numpy.fromfile("data/shakespeare_char/val.bin", dtype=numpy.uint16).astype(numpy.int64))
count = (len(ids) - 1) // 64
x, y = ids[: count * 64].view(count, 64), ids[1 : count * 64 + 1].view(count, 64)
begun = time.perf_counter()
with torch.no_grad():
    total = sum(float(model(a, b)[1]) * a.numel() for a, b in zip(x.split(128), y.split(128)))
print(json.dumps({"loss": total / (count * 64), "evaluation": time.perf_counter() - begun}))
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a process, and what it took."""

    seconds: float
    """From its start until its model is measured."""
    evaluation: float
    """Of them for that measurement."""
    loss: float
    """Nats per character of the last tenth."""
    training: float | None = None
    """Seconds of its steps, where it says."""


def default_text() -> str:
    """What Python's library says of itself, in the order of its documents' ids; the same text for the same version of Python."""
    from scratchlm.sources import python_docs

    found = [item for item in python_docs.documents((), lambda *_: None) if isinstance(item, Document)]
    return "\n".join(item.text for item in sorted(found, key=lambda item: item.id)).replace("\r", "\n")[:DEFAULT_LENGTH]


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


def ours(home: Path, scratch: Path, seed: int, sets: Sequence[str]) -> Run:
    """The whole command, and a measurement of the model that it left."""
    run, kernels = scratch / f"run-{seed}", scratch / "kernels"
    for folder in (run, kernels):
        shutil.rmtree(folder, ignore_errors=True)
    given = [f"--from={name}={home / name}" for name in ("tokenizer", "shards")]
    command = [sys.executable, "-m", "scratchlm", "pretrain", "shakespeare", "--home", str(run), "--seed", str(seed), *given]
    begun = time.perf_counter()
    subprocess.run(
        [*command, *(word for each in sets for word in ("--set", each))],
        check=True, stdout=subprocess.DEVNULL, env=os.environ | {"SCRATCHLM_KERNELS": str(kernels)},
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    model, split = store.load(run / "base")[1], open_split(home / "shards", "validation")
    ids = torch.from_numpy(split.window(1, split.tokens - 1)[0])
    begun = time.perf_counter()  # reading the model again is no part of it: the others measure the one that they have in memory
    loss = loss_of(model, ids, WINDOW)
    evaluation = time.perf_counter() - begun
    events = [json.loads(line) for line in (run / "base" / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    training = sum(event["seconds"] for event in events if event["event"] == "step")
    return Run(seconds=seconds + evaluation, evaluation=evaluation, loss=loss, training=training)


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


def peer(name: str, text: Path, steps: int, seed: int) -> Run:
    """A process of ``benchmarks/time_to_loss_peers.py``, which measures itself."""
    command = [sys.executable, "-m", "benchmarks.time_to_loss_peers", name, str(text), f"--steps={steps}", f"--seed={seed}"]
    begun = time.perf_counter()
    said = subprocess.run(command, cwd=machine.ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(seconds=time.perf_counter() - begun, **json.loads(said.splitlines()[-1]))


def copied(nanogpt: Path, text: Path, to: Path) -> None:
    """A checkout of nanoGPT that has made its own files of the text."""
    shutil.copytree(nanogpt, to, ignore=shutil.ignore_patterns(".git"))
    data = to / "data" / "shakespeare_char"
    shutil.copyfile(text, data / "input.txt")
    subprocess.run([sys.executable, "-X", "utf8", "prepare.py"], cwd=data, check=True, stdout=subprocess.DEVNULL)


def nanogpt(folder: Path, steps: int) -> Run:
    """Its whole training command, and a measurement of the model that it left; its seed is its own."""
    # Its model is saved where it measures itself: every 250 steps, by the config that the README names, so here after the last one, too.
    words = [*NANOGPT, f"--max_iters={steps}", f"--lr_decay_iters={steps}", *([f"--eval_interval={steps}"] if steps % 250 else [])]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "train.py", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    said = json.loads(
        subprocess.run([sys.executable, "-c", MEASURE], cwd=folder, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]
    )
    return Run(seconds=seconds + said["evaluation"], **said)


def in_rounds(programs: Mapping[str, Callable[[int], Run]], rounds: int) -> dict[str, list[Run]]:
    """Every program once a round, with the round as its seed; one of others that fails is left out, and its standard error says of what."""
    found: dict[str, list[Run]] = {name: [] for name in programs}
    for seed in range(rounds):
        for name in list(found):
            try:
                run = programs[name](seed)
            except subprocess.CalledProcessError:
                if is_ours(name):
                    raise SystemExit(f"{name}: it failed, as said above, so there is nothing to compare with") from None
                del found[name]
                continue
            found[name].append(run)
            training = f", training {run.training:.2f} s" if run.training is not None else ""
            print(f"round {seed}, {name}: {run.seconds:.1f} s{training}, {run.loss:.4f} nats", flush=True)
    return found


def is_ours(name: str) -> bool:
    """Ours are named with their horizon."""
    return name.startswith("ours")


def comparisons(found: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """Each of ours with each of the others, in pairs of a round: how many times as fast it was where it reached the other's loss."""
    own, others = {n: r for n, r in found.items() if is_ours(n)}, {n: r for n, r in found.items() if not is_ours(n)}
    made: list[dict[str, Any]] = []
    for name, theirs in others.items():
        for which, mine in own.items():
            pairs = list(zip(mine, theirs, strict=True))
            ratios = [b.seconds / a.seconds for a, b in pairs if a.loss <= b.loss]
            made.append({"ours": which, "to": name, "rounds": len(pairs), "times_as_fast": ratios, "median": median(ratios or [0.0])})
    return made


def medians(found: Mapping[str, Sequence[Run]]) -> dict[str, dict[str, float]]:
    """Over the rounds, of seconds and of loss."""
    return {n: {"seconds": median(run.seconds for run in runs), "loss": median(run.loss for run in runs)} for n, runs in found.items()}


def table(found: Mapping[str, Sequence[Run]]) -> list[str]:
    """Medians with the least and the most of the rounds, then who reached whom."""
    lines = [f"{'':24} {'seconds':22} {'training, s':>11}  nats per character"]
    for name, middle in medians(found).items():
        trained = [run.training for run in found[name] if run.training is not None]
        cells = (
            f"{middle['seconds']:.1f} {machine.spread([run.seconds for run in found[name]], 1)}",
            f"{median(trained):.2f}" if trained else "",
            f"{middle['loss']:.4f} {machine.spread([run.loss for run in found[name]], 4)}",
        )
        lines.append(f"{name:24} {cells[0]:22} {cells[1]:>11}  {cells[2]}")
    for each in comparisons(found):
        ratios = each["times_as_fast"]
        fast = f", {each['median']:.2f} times as fast {machine.spread(ratios, 2)}" if ratios else ""
        lines.append(f"{each['ours']}: reached the loss of {each['to']} in {len(ratios)} of {each['rounds']} rounds{fast}")
    return lines


def options(arguments: list[str] | None) -> tuple[argparse.Namespace, str]:
    """What was asked for, and the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--set", action="append", default=[], help="of our recipe, as on the command line")
    parser.add_argument("--tokens", type=positive, nargs="+", default=[163_840, 1_638_400], help="horizons of ours")
    parser.add_argument("--steps", type=positive, default=Recipe.steps, help="of the others; their README says 2000")
    parser.add_argument("--out", type=Path, default=machine.BENCH, help="the file that a row is added to")
    asked = parser.parse_args(arguments)
    if asked.nanogpt and not (asked.nanogpt / "train.py").is_file():
        parser.error(f"--nanogpt {asked.nanogpt}: no train.py is there. Give a checkout of https://github.com/karpathy/nanoGPT.")
    try:
        text = asked.text.read_text(encoding="utf-8") if asked.text else default_text()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--text {asked.text}: it cannot be read ({error}). Give a file of text in UTF-8.")
    if len(text) < SHORTEST:
        parser.error(f"--text {asked.text}: {len(text)} characters are too few. Give {SHORTEST:,} or more.")
    return asked, text


def main(arguments: list[str] | None = None) -> None:
    """Print each run, then medians and ratios; add a row."""
    asked, text = options(arguments)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode of what is installed is there, for all from the second round on
    print(machine.where(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found, left_out = measured(asked, text, Path(folder))
    print("\n".join(table(found)))
    for name, reason in left_out.items():
        print(f"{name}: left out; {reason}")
    settings = {
        "text": asked.text.name if asked.text else "Python's documentation", "characters": len(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(), "rounds": asked.rounds, "tokens": asked.tokens, "sets": asked.set,
        "steps": asked.steps, "nanogpt": machine.commit(asked.nanogpt) if asked.nanogpt else None,
    }  # fmt: skip
    runs = {name: [asdict(run) for run in each] for name, each in found.items()}
    results = {"runs": runs, "medians": medians(found), "ratios": comparisons(found)}
    machine.append(asked.out, "time to loss", settings=settings, measured=results, left_out=left_out)
    print(f"a row was added to {asked.out}")


def measured(asked: argparse.Namespace, text: str, scratch: Path) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """Runs of all who can, and why the others cannot."""
    path, home = scratch / "text.txt", Home(scratch / "home")
    path.write_text(text, encoding="utf-8", newline="\n")
    prepared(text, home)
    pieces = tokenizers.load(home.path / "tokenizer").size
    sets = [f"vocab.size={pieces}", f"pretrain.model.vocab={pieces}", *asked.set]  # a text may have more characters than the recipe allows
    programs: dict[str, Callable[[int], Run]] = {}
    for tokens in asked.tokens:
        own = [*sets, f"pretrain.tokens={tokens}"]
        programs[f"ours, {tokens:,} tokens"] = lambda seed, own=own: ours(home.path, scratch, seed, own)
    for name in LEARNERS:
        programs[name] = lambda seed, name=name: peer(name, path, asked.steps, seed)
    programs["nanoGPT"] = lambda _: nanogpt(scratch / "nanogpt", asked.steps)
    left_out = {name: reason for name in programs if (reason := missing(name, asked.nanogpt))}
    if "nanoGPT" not in left_out:
        try:
            copied(asked.nanogpt, path, scratch / "nanogpt")
        except subprocess.CalledProcessError:
            left_out["nanoGPT"] = "its prepare.py failed, as said above"
    found = in_rounds({name: program for name, program in programs.items() if name not in left_out}, asked.rounds)
    return found, left_out | {name: "it failed, as said above" for name in programs if name not in left_out and name not in found}


if __name__ == "__main__":
    main()
