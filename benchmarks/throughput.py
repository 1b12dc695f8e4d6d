"""Tokens a second of a ten-million-weight model, beside others' models as shipped and at their best, step by step in turn.

    python -m benchmarks.throughput [--nanogpt FOLDER] [--rounds 5]

Six layers, 384 wide, rows of 256 characters, 4,096 tokens a step, on all cores. The others: a GPT-2 in plain PyTorch
(`benchmarks/baseline.py`), which everybody has; nanoGPT (https://github.com/karpathy/nanoGPT, a checkout); the Llama of transformers and
of litgpt where these are installed, and the Trainer of transformers, which wants accelerate. What is as shipped and what at its best,
`benchmarks/peers.py` says. Each is a process of its own that takes three steps when it is its turn, so that a busy machine slows all alike;
medians over the rounds, ratios of pairs in a round. The peak is the fastest square product of the same run; memory is what a process held
at most, torch and all it loaded included. A row is added to `benchmarks/results/bench.jsonl`.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.baseline import positive
from benchmarks.peers import BUILDERS, CHOSEN, COMPILED, FLOAT8, OURS, PRODUCTS, Given, Load, missing, product_speed
from benchmarks.turns import Told, in_turn, serve
from scratchlm.model import qwen3

LOAD = Load(qwen3.Config(vocab=65, context=256, layers=6, width=384, heads=6, kv_heads=6, head_dim=64, hidden=1024), rows=16)
STEPS = 3
"""Of a turn."""


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--out", type=Path, default=machine.BENCH, help="the file that a row is added to")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        with tempfile.TemporaryDirectory() as scratch:
            serve(lambda: BUILDERS[asked.work](LOAD, Given(Path(scratch), asked.nanogpt)), LOAD.device, STEPS)
        return
    if asked.nanogpt and not (asked.nanogpt / "model.py").is_file():
        parser.error(f"--nanogpt {asked.nanogpt}: no model.py is there. Give a checkout of https://github.com/karpathy/nanoGPT.")
    print(machine.where(), flush=True)
    reasons = {name: missing(name, asked.nanogpt) for name in BUILDERS if name not in (COMPILED, CHOSEN, FLOAT8)}
    again = [sys.executable, "-m", "benchmarks.throughput", *(["--nanogpt", str(asked.nanogpt)] if asked.nanogpt else []), "--work"]
    found = in_turn({name: [*again, name] for name, reason in reasons.items() if reason is None}, asked.rounds)
    print("\n".join(table(found, LOAD)))
    left_out = {name: reason or "it failed, as said above" for name, reason in reasons.items() if name not in found}
    for name, reason in left_out.items():
        print(f"{name}: left out; {reason}")
    settings = {
        "model": LOAD.config.model_dump(mode="json"), "rows": LOAD.rows, "rounds": asked.rounds, "steps_of_a_turn": STEPS,
        "nanogpt": machine.commit(asked.nanogpt) if asked.nanogpt else None,
    }  # fmt: skip
    machine.append(asked.out, "tokens a second", settings=settings, measured=measured(found, LOAD), left_out=left_out)
    print(f"a row was added to {asked.out}")


def measured(found: dict[str, Told], load: Load) -> dict[str, Any]:
    """What a row holds: the speed of every program in each round, and medians; of the products, billions of operations a second."""
    made: dict[str, Any] = {}
    for name, told in found.items():
        speeds = [product_speed(load, seconds) if name in PRODUCTS else load.tokens / seconds for seconds in told.seconds]
        made[name] = {"rounds": speeds, "median": statistics.median(speeds), "ready_s": told.set_up + told.first, "memory": told.memory}
        if ratios := ratios_of(found, name):
            made[name]["ours_to_it"] = statistics.median(ratios)
    return made


def ratios_of(found: dict[str, Told], name: str) -> list[float]:
    """How many times as fast ours was, in each round; nothing for what does not train, or where ours is missing."""
    if OURS not in found or name in PRODUCTS:
        return []
    return [theirs / own for own, theirs in zip(found[OURS].seconds, found[name].seconds, strict=True)]


def table(found: dict[str, Told], load: Load) -> list[str]:
    """The peak, and a line for each who trained."""
    peaks = {name: product_speed(load, min(found[name].seconds)) for name in PRODUCTS if name in found}
    peak = max(peaks.values())
    said = ", ".join(f"{speed:,.0f} GF/s of a {name}" for name, speed in peaks.items())
    lines = [f"peak: {said}", f"{'':31} {'tokens/s':>9} {'of the peak':>11}  {'ours to it':20} {'ready, s':>9} {'memory, MB':>11}"]
    for name, told in found.items():
        if name in PRODUCTS:
            continue
        speed = load.tokens / statistics.median(told.seconds)
        ratios = ratios_of(found, name)
        ratio = f"{statistics.median(ratios):.2f} {machine.spread(ratios, 2)}" if ratios else ""
        share = speed * load.flops * 1e-9 / peak
        lines.append(f"{name:31} {speed:9,.0f} {share:11.0%}  {ratio:20} {told.set_up + told.first:9.1f} {told.memory / 1e6:11,.0f}")
    return lines


if __name__ == "__main__":
    main()
