"""Tokens a second of a ten-million-weight model, beside others' models as shipped and at their best, step by step in turn.

    python -m benchmarks.throughput [--nanogpt FOLDER] [--rounds 7]

Six layers, 384 wide, rows of 256 characters, 4,096 tokens a step, on all cores. The others: a GPT-2 in plain PyTorch
(`benchmarks/baseline.py`), which everybody has; nanoGPT (https://github.com/karpathy/nanoGPT, a checkout); the Llama of transformers and
of litgpt where these are installed. What is as shipped and what at its best, `benchmarks/peers.py` says. Each is a process of its own
that takes three steps when it is its turn, so that a busy machine slows all alike; medians over the rounds, ratios of pairs in a round.
The peak is the fastest square product of the same run; memory is what a process held at most, torch and all it loaded included.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

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
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        with tempfile.TemporaryDirectory() as scratch:
            serve(lambda: BUILDERS[asked.work](LOAD, Given(Path(scratch), asked.nanogpt)), LOAD.device, STEPS)
        return
    if asked.nanogpt and not (asked.nanogpt / "model.py").is_file():
        parser.error(f"--nanogpt {asked.nanogpt}: no model.py is there. Give a checkout of https://github.com/karpathy/nanoGPT.")
    print(where(), flush=True)
    reasons = {name: missing(name, asked.nanogpt) for name in BUILDERS if name not in (COMPILED, CHOSEN, FLOAT8)}
    again = [sys.executable, "-m", "benchmarks.throughput", *(["--nanogpt", str(asked.nanogpt)] if asked.nanogpt else []), "--work"]
    found = in_turn({name: [*again, name] for name, reason in reasons.items() if reason is None}, asked.rounds)
    print("\n".join(table(found, LOAD)))
    for name, reason in reasons.items():
        if name not in found:
            print(f"{name}: left out; {reason or 'it failed, as said above'}")


def where() -> str:
    """The machine, the versions and the commit."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, commit {commit}"


def table(found: dict[str, Told], load: Load) -> list[str]:
    """The peak, and a line for each who trained."""
    peaks = {name: product_speed(load, min(found[name].seconds)) for name in PRODUCTS if name in found}
    peak = max(peaks.values())
    said = ", ".join(f"{speed:,.0f} GF/s of a {name}" for name, speed in peaks.items())
    lines = [f"peak: {said}", f"{'':26} {'tokens/s':>9} {'of the peak':>11}  {'ours to it':20} {'ready, s':>9} {'memory, MB':>11}"]
    for name, told in found.items():
        if name in PRODUCTS:
            continue
        speed = load.tokens / statistics.median(told.seconds)
        ratios = [theirs / own for own, theirs in zip(found[OURS].seconds, told.seconds, strict=True)] if OURS in found else []
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        share = speed * load.flops * 1e-9 / peak
        lines.append(f"{name:26} {speed:9,.0f} {share:11.0%}  {ratio:20} {told.set_up + told.first:9.1f} {told.memory / 1e6:11,.0f}")
    return lines


if __name__ == "__main__":
    main()
