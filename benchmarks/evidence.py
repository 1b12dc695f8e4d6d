"""The runs behind the committed results: `laptop` with three seeds, and its controls.

    python -m benchmarks.evidence --out runs/evidence [--seeds 3] [--data FOLDER]

For each seed: the whole recipe; the architecture that is not the default (`swift`), pre-trained for the same time on the same shards; and
continued fine-tuning for as long as reinforcement took, the control that reinforcement must beat. Everything goes through the command
line, and what is finished is not run again. The table is written to scratchlm/report/evidence.json, which the report of `laptop` shows.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from scratchlm.core.artifact import sha256_of
from scratchlm.core.journal import by_step
from scratchlm.report.page import EVIDENCE

SWIFT = {"kind": "swift", "layers": 3, "width": 192, "heads": 2, "head_dim": 96}
PACE_TOKENS = 150_000
"""Enough for a median speed."""
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for a two-sided 95 % interval by number of seeds."""


def scratchlm(*words: str) -> None:
    """One command, as a user types it."""
    print("$ scratchlm", *words, flush=True)
    subprocess.run([sys.executable, "-m", "scratchlm", *words], check=True)


def tokens_seen(model: Path) -> int:
    """Tokens that a model was trained on."""
    return int(by_step(model / "journal.jsonl", "step")[-1]["tokens"])


def seconds_of(model: Path) -> float:
    """Seconds of training, sampling included: steps times the median one, so that a disturbance decides nothing."""
    steps = [event["seconds"] for event in by_step(model / "journal.jsonl", "step")]
    return len(steps) * statistics.median(steps)


def tokens_per_second(model: Path) -> float:
    """Median over its steps."""
    return statistics.median(event["tokens_per_s"] for event in by_step(model / "journal.jsonl", "step"))


def scores_of(home: Path) -> dict[str, Any]:
    """What evaluation wrote."""
    return json.loads((home / "scores" / "scores.json").read_text(encoding="utf-8"))


def run_seed(out: Path, seed: int, data: list[str]) -> None:
    """The recipe and its controls for one seed."""
    home = out / f"laptop-{seed}"
    scratchlm("run", "laptop", "--seed", str(seed), "--home", str(home), *data)
    swift_control(out, home, seed)
    sft_control(out, home, seed)


def swift_control(out: Path, home: Path, seed: int) -> None:
    """The other architecture for the same seconds on the same shards: tokens in the ratio of their speeds, measured side by side."""
    control = out / f"swift-{seed}"
    given = [f"--from={name}={home / name}" for name in ("corpus", "tokenizer", "shards")]
    swift = ["--set", f"pretrain.model={json.dumps(SWIFT)}"]
    common = ["laptop", "--seed", str(seed), "--set", "export=null", *given]  # nobody else reads it
    if not (control / "base").exists():
        short = ["--set", f"pretrain.tokens={PACE_TOKENS}"]
        scratchlm("pretrain", *common, *short, "--home", str(out / f"pace-default-{seed}"))
        scratchlm("pretrain", *common, *short, *swift, "--home", str(out / f"pace-swift-{seed}"))
        ratio = tokens_per_second(out / f"pace-swift-{seed}" / "base") / tokens_per_second(out / f"pace-default-{seed}" / "base")
        tokens = round(tokens_seen(home / "base") * ratio)
        scratchlm("pretrain", *common, *swift, "--set", f"pretrain.tokens={tokens}", "--home", str(control))
    if not (control / "scores").exists():
        scratchlm("evaluate", "laptop", "--home", str(control), *given)


def sft_control(out: Path, home: Path, seed: int) -> None:
    """Fine-tuning that goes on for as many seconds as reinforcement took, at a tenth of its learning rate."""
    control = out / f"continued-{seed}"
    start = "preferred" if (home / "preferred").exists() else "sft"
    given = [f"--from=base={home / start}", f"--from=corpus={home / 'corpus'}", f"--from=shards={home / 'shards'}"]
    recipe = json.loads((home / "recipe.json").read_text(encoding="utf-8"))["recipe"]["sft"]
    epochs = recipe["epochs"] * seconds_of(home / "reinforced") / seconds_of(home / "sft")
    optimizer = recipe["optimizer"] | {name: value / 10 for name, value in recipe["optimizer"].items() if name.endswith("lr")}
    if not (control / "scores").exists():
        words = ["--set", f"sft.epochs={epochs:.3f}", "--set", f"sft.optimizer={json.dumps(optimizer)}"]
        scratchlm("sft", "laptop", "--seed", str(seed), "--home", str(control), *words, *given)
        scratchlm("evaluate", "laptop", "--home", str(control), *given[1:])


def summary(values: Sequence[float], *, share: bool) -> str:
    """Mean over seeds with its 95 % interval, and the values."""
    mean = statistics.fmean(values)
    half = T95[len(values)] * statistics.stdev(values) / len(values) ** 0.5 if len(values) in T95 else float("nan")
    unit, digits = (100, 1) if share else (1, 3)
    each = ", ".join(f"{unit * value:.{digits}f}" for value in values)
    return f"{unit * mean:.{digits}f} ± {unit * half:.{digits}f}  ({each})"


def table(out: Path, seeds: Sequence[int]) -> list[dict[str, str]]:
    """A row per measure: the mean of every arm over the seeds."""
    runs = [scores_of(out / f"laptop-{seed}") for seed in seeds]
    arms = {name: [run["models"][name] for run in runs] for name in runs[0]["models"]}
    arms["continued sft"] = [scores_of(out / f"continued-{seed}")["models"]["sft"] for seed in seeds]
    arms["swift base"] = [scores_of(out / f"swift-{seed}")["models"]["base"] for seed in seeds]
    measures = list(dict.fromkeys(name for arm in arms.values() for name in arm[0]))
    rows = []
    for measure in measures:
        row = {"measure": measure}
        for arm, found in arms.items():
            values = [each[measure]["value"] for each in found if measure in each]
            row[arm] = summary(values, share=measure != "bits_per_byte") if values else "–"
        rows.append(row)
    for name in ("ngram", "xz", "zstd"):
        values = [run["baselines"][name] for run in runs]
        numbers = [value["value"] if isinstance(value, dict) else value for value in values]
        rows.append({"measure": f"{name} (bits per byte)", **dict.fromkeys(arms, "–"), "base": summary(numbers, share=False)})
    return rows


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--table-only", action="store_true")
    asked = parser.parse_args()
    seeds = range(asked.seeds)
    data = ["--data", str(asked.data)] if asked.data else []
    for seed in () if asked.table_only else seeds:
        run_seed(asked.out, seed, data)
    decisions = json.loads((asked.out / "laptop-0" / "base" / "decisions.json").read_text(encoding="utf-8"))
    found = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {decisions['threads']} threads, {decisions['dtype']}, torch {decisions['torch']}",
        "recipe": sha256_of(asked.out / "laptop-0" / "recipe.json")[:12],
        "rows": table(asked.out, seeds),
    }
    EVIDENCE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in found["rows"]:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
