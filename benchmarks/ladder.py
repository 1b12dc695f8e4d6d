"""The scaling ladder: what loss do how many weights and bytes reach? From it comes what `--budget` predicts and chooses.

    python -m benchmarks.ladder run HOME... [--kind qwen3] [--flops 2e12 8e12 3.2e13] [--widths 64 128 192 256 384] [--set PATH=VALUE]
    python -m benchmarks.ladder fit

`run` trains models of several widths with equal arithmetic (isoFLOP: Hoffmann et al. 2022, arXiv:2203.15556, approach 2) on the shards of
each home and appends a line per run to `benchmarks/results/ladder.jsonl`; a run that is there is not done again. `fit` reads all lines
and writes `scratchlm/train/scaling.json`. Horizons are tokens, so that a busy machine changes nothing but the time it takes.
"""

import argparse
import itertools
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from scratchlm.batches.shards import open_split
from scratchlm.core.artifact import Home, fingerprint_of
from scratchlm.core.config import with_sets
from scratchlm.core.journal import Journal
from scratchlm.evals.hardness import hardness
from scratchlm.model import cost, qwen3, swift
from scratchlm.stages import pretrain
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train import scaling
from scratchlm.train.budget import FEWEST_STEPS, MOST_EPOCHS, TUNED, rows_for, shaped

POINTS = Path(__file__).parent / "results" / "ladder.jsonl"
LAWS = Path(scaling.__file__).parent / scaling.FILE
KINDS = {"qwen3": qwen3.Config(context=256), "swift": swift.Config(context=256)}
TUNED_RUN = pretrain.Config(**TUNED)
RECIPE = fingerprint_of(TUNED_RUN.model_dump(include={*TUNED, "seed"}))[:12]
"""What decides a loss beside sizes and text: a run made by other rates or another schedule is another run."""
VALIDATION = 200_000
"""Tokens of the held-out text, or all that there are."""
HUBER = 1e-3
"""Where the loss of the fit turns from squares to absolute values: theirs."""
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Student's t for an interval of 95 % from so many texts."""


def read() -> list[dict[str, Any]]:
    """The runs so far."""
    return [json.loads(line) for line in POINTS.read_text(encoding="utf-8").splitlines()] if POINTS.exists() else []


def run(folder: Path, kind: str, flops: float, width: int, sets: list[str]) -> dict[str, Any] | None:
    """Train one model and tell what came of it; None where it would be too short to be one, or read its text too often."""
    home = Home(folder)
    shards, vocabulary = home.open("shards"), home.open("tokenizer")
    tokenizer = tokenizers.load(vocabulary.path)
    train, held_out = open_split(shards.path, "train"), open_split(shards.path, "validation")
    model = shaped(KINDS[kind].model_copy(update={"vocab": tokenizer.size}), width)
    tokens = int(flops / cost.training_flops(model))
    often = {"validation_steps": tokens, "validation_tokens": VALIDATION, "sample_steps": tokens, "checkpoint_minutes": None}
    sizes = {"model": model, "tokens": tokens, "rows": rows_for(tokens, model.context)}
    config = with_sets(TUNED_RUN.model_copy(update=sizes | often), sets)
    if tokens < FEWEST_STEPS * config.rows * model.context or tokens > MOST_EPOCHS * train.tokens:
        return None
    events: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        sources = {"shards": shards.path, "tokenizer": vocabulary.path}
        made = pretrain.run(config, Home(Path(scratch), sources), Journal(events.append))
    (found,) = (event for event in events if event["event"] == "validation")
    return {
        "text": folder.name,
        "kind": kind,
        "flops": flops,
        "width": width,
        "sets": sets,
        "recipe": RECIPE,
        "weights": cost.body_parameters(model),
        "tokens": made.counts["tokens"],
        "rows": config.rows,
        "bytes": round(float(made.counts["tokens"]) * float(train.sizes.sum()) / train.tokens),
        "unique": int(train.sizes.sum()),
        "hardness": round(hardness(train, held_out, tokenizer), 4),
        "bits_per_byte": found["bits_per_byte"],
        "seconds": round(sum(event["seconds"] for event in events if event["event"] == "step"), 1),
    }


def climb(asked: argparse.Namespace) -> None:
    """Do every run that was not done."""
    names = ("text", "kind", "flops", "width", "sets", "recipe")
    done = {json.dumps([point[name] for name in names]) for point in read()}
    for folder, kind, flops, width in itertools.product(asked.homes, asked.kind, asked.flops, asked.widths):
        if json.dumps([folder.name, kind, flops, width, asked.set, RECIPE]) not in done and (
            point := run(folder, kind, flops, width, asked.set)
        ):
            with POINTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
            print(point, flush=True)


def fitted(points: list[dict[str, Any]]) -> tuple[list[float], dict[str, float]]:
    """log E, log A, alpha, log B and beta, and by how much each text is off them all: zero in the middle.

    They are of least Huber loss of the logarithms, from many beginnings (their appendix D). A text's own factor is found along with them,
    for runs of one size are not of the same texts as those of another.
    """
    told, texts = logarithms(points), sorted({point["text"] for point in points})
    own = torch.tensor([texts.index(point["text"]) for point in points])
    best, least = torch.zeros(5 + len(texts)), math.inf
    for e, (ab, power) in itertools.product((-1.0, 0.0), ((2.0, 0.2), (4.0, 0.4))):
        parameters = torch.tensor([e, ab, power, ab, power, *[0.0] * len(texts)], dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([parameters], max_iter=500, line_search_fn="strong_wolfe")

        def cost_of(parameters: torch.Tensor = parameters, search: torch.optim.LBFGS = search) -> torch.Tensor:
            search.zero_grad()
            offsets = parameters[5:] - parameters[5:].mean()
            lost = torch.nn.functional.huber_loss(log_loss(parameters[:5], told) + offsets[own], told[:, 3], delta=HUBER) * 1e6
            lost.backward()
            return lost

        search.step(cost_of)  # pyright: ignore[reportArgumentType]
        if (lost := float(cost_of().detach())) < least:
            best, least = parameters.detach(), lost
    return best[:5].tolist(), dict(zip(texts, (best[5:] - best[5:].mean()).tolist(), strict=True))


def logarithms(points: list[dict[str, Any]]) -> torch.Tensor:
    """Of weights, worth of the bytes, hardness and loss, a row for each run."""
    rows = [[p["weights"], scaling.worth(float(p["bytes"]), float(p["unique"])), p["hardness"], p["bits_per_byte"]] for p in points]
    return torch.tensor(rows, dtype=torch.float64).log()


def log_loss(parameters: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """The law of `scaling.loss` in logarithms."""
    e, a, alpha, b, beta = parameters
    parts = torch.stack([e.expand(len(told)), a - alpha * told[:, 0], b - beta * told[:, 1]])
    return told[:, 2] + torch.logsumexp(parts, 0)


def law_of(points: list[dict[str, Any]]) -> scaling.Law:
    """The fit of all points, in the middle of the texts; its spread is what a further text would be off, and a run of it."""
    told, (found, offsets) = logarithms(points), fitted(points)
    missed = (told[:, 3] - log_loss(torch.tensor(found), told)).tolist()
    free = max(1, len(points) - len(found) - (len(offsets) - 1))  # runs less what was fitted to them
    within = sum((off - offsets[point["text"]]) ** 2 for point, off in zip(points, missed, strict=True)) / free
    for text, offset in offsets.items():
        print(f"{text}: {math.exp(offset) - 1:+.1%} beside the middle of all, {sum(point['text'] == text for point in points)} runs")
    print(f"within a text: {within**0.5:.1%}")
    sizes = [(float(point["weights"]), float(point["bytes"])) for point in points]
    weights, seen = zip(*sizes, strict=True)
    e, a, alpha, b, beta = found
    return scaling.Law(
        floor=math.exp(e), a=math.exp(a), alpha=alpha, b=math.exp(b), beta=beta,
        spread=STUDENT[len(offsets)] * (statistics.variance(offsets.values()) * (1 + 1 / len(offsets)) + within) ** 0.5,
        points=len(points), least=(min(weights), min(seen)), most=(max(weights), max(seen), max(n * d for n, d in sizes)),
    )  # fmt: skip


def fit(_: argparse.Namespace) -> None:
    """Write the law of every kind that was run, from runs of the newest recipe."""
    plain = told_from(read())
    kinds = sorted({point["kind"] for point in plain})
    laws = {kind: law_of([point for point in plain if point["kind"] == kind]) for kind in kinds}
    told = {kind: {name: rounded(value) for name, value in law.model_dump().items()} for kind, law in laws.items()}
    LAWS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(LAWS.read_text(encoding="utf-8"))


def told_from(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all runs those by the recipe of the last one, with nothing set otherwise."""
    return [point for point in points if not point["sets"] and point["recipe"] == points[-1]["recipe"]]


def rounded(value: Any) -> Any:
    """Four digits of what was fitted: more would be noise of the search."""
    return [int(each) for each in value] if isinstance(value, tuple) else float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    """Run, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    runs = verbs.add_parser("run")
    runs.add_argument("homes", type=Path, nargs="+")
    runs.add_argument("--kind", nargs="+", default=["qwen3"], choices=KINDS)
    runs.add_argument("--flops", type=float, nargs="+", default=[2e12, 8e12, 3.2e13])
    runs.add_argument("--widths", type=int, nargs="+", default=[64, 128, 192, 256, 384])
    runs.add_argument("--set", action="append", default=[], help="of pretrain, such as rows=8 or optimizer.lr=0.01")
    runs.set_defaults(act=climb)
    verbs.add_parser("fit").set_defaults(act=fit)
    asked = parser.parse_args()
    asked.act(asked)


if __name__ == "__main__":
    main()
