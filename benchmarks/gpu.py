"""The set for one GPU: first whether what it computes is right, then how fast 124 million and a billion weights train on it.

    python -m benchmarks.gpu [--nanogpt FOLDER] [--rounds 5]
    python -m benchmarks.gpu --small --device cpu

Rows of 1,024 and 2,048 tokens, bfloat16; ours as a stage sets it up for a short run, compiled, and with the fastest of all ways as for a
long one, at a billion weights in float8, too. Beside them what others have at their best (bfloat16, compiled, fused AdamW, flash
attention): GPT-2 in plain PyTorch, nanoGPT (a checkout), the Llama of transformers where it is installed. The share of the peak is of the
fastest square product of the same run, by 6 N + 12 L H C T. Those of 124 million take turns; of a billion each is alone on the device. A
row is added to `benchmarks/results/gpu.md`. The second line tries the whole script on models of a few thousand weights, on any machine,
and adds nothing. Without a CUDA device the first says so, and that is all.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.baseline import positive
from benchmarks.gpu_checks import checks
from benchmarks.peers import BUILDERS, CHOSEN, COMPILED, FLOAT8, OURS, PRODUCTS, Given, Load, missing, product_speed
from benchmarks.turns import Told, in_turn, serve
from scratchlm.model import gpt2, llama, qwen3

RESULTS = Path(__file__).parent / "results" / "gpu.md"
LOADS = {
    "124M": Load(gpt2.Config(vocab=50304), rows=16, device="cuda", dtype="bfloat16"),
    # Llama 3.2 1B as published (1.24 billion weights), and Qwen3's proportions at 1.07 billion.
    "1B llama": Load(
        llama.Config(vocab=128_256, context=2048, layers=16, width=2048, heads=32, kv_heads=8, head_dim=64, hidden=8192, tied=True),
        rows=8, device="cuda", dtype="bfloat16",
    ),
    "1B qwen3": Load(
        qwen3.Config(vocab=32_768, context=2048, layers=20, width=2048, heads=16, kv_heads=8, head_dim=128, hidden=6144, tied=True),
        rows=8, device="cuda", dtype="bfloat16",
    ),
}  # fmt: skip
SMALL = {
    "124M": gpt2.Config(vocab=96, context=32, layers=2, width=32, heads=2, hidden=128),
    "1B llama": llama.Config(vocab=96, context=32, layers=2, width=32, heads=4, kv_heads=2, head_dim=16, hidden=48, tied=True),
    "1B qwen3": qwen3.Config(vocab=96, context=32, layers=2, width=32, heads=4, kv_heads=2, head_dim=16, hidden=48, tied=True),
}
TOGETHER = "124M"
"""Whose programs take turns; with them the products that measure the peak."""
WHO = {
    "124M": (OURS, COMPILED, CHOSEN, "plain PyTorch at its best", "nanoGPT at its best"),
    "1B llama": (OURS, COMPILED, CHOSEN, FLOAT8, "transformers at its best"),
    "1B qwen3": (OURS, COMPILED, CHOSEN, FLOAT8),
}
STEPS = 5
"""Of a turn."""
INTRODUCTION = "# One GPU\n\n`make gpu`: tokens a second, share of the measured peak, memory, seconds of the first two steps.\n\n"
COLUMNS = [(load, name) for load, names in WHO.items() for name in names]


def load_of(name: str, device: str, *, small: bool) -> Load:
    """The load of that name; a small one is compiled without making kernels, which would take longer than all else."""
    load = replace(LOADS[name], device=device)
    return replace(load, config=SMALL[name], rows=3, backend="aot_eager") if small else load


def main(arguments: list[str] | None = None) -> int:
    """Check, measure, and add a row; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path)
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a few thousand weights, to try the script")
    parser.add_argument("--work", nargs=2, metavar=("LOAD", "NAME"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work:
        load = load_of(asked.work[0], asked.device, small=asked.small)
        with tempfile.TemporaryDirectory() as scratch:
            serve(lambda: BUILDERS[asked.work[1]](load, Given(Path(scratch), asked.nanogpt)), load.device, STEPS)
        return 0
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(f"the GPU set was not run: torch {torch.__version__} finds no CUDA device on this machine")
        return 0
    if asked.nanogpt and not (asked.nanogpt / "model.py").is_file():
        parser.error(f"--nanogpt {asked.nanogpt}: no model.py is there. Give a checkout of https://github.com/karpathy/nanoGPT.")
    where = f"{torch.cuda.get_device_name() if asked.device == 'cuda' else 'CPU'}, {machine.where()}"
    print(where, flush=True)
    if not right(asked.device, "aot_eager" if asked.small else "inductor"):
        print("not all is right, so speed was not measured")
        return 1
    loads = {name: load_of(name, asked.device, small=asked.small) for name in LOADS}
    found = measured(asked)
    print("\n".join(lines(found, loads)))
    if not asked.small:
        append(RESULTS, row(found, loads, where))
        print(f"a row was added to {RESULTS}")
    return 0


def right(device: str, backend: str) -> bool:
    """Print every check; whether all hold."""
    held = True
    for check in checks(device, backend):
        print(check, flush=True)
        held = held and check.holds
    return held


def measured(asked: argparse.Namespace) -> dict[str, dict[str, Told]]:
    """What each program of each load says of itself."""
    rest = ["--device", asked.device, *(["--small"] if asked.small else []), *(["--nanogpt", str(asked.nanogpt)] if asked.nanogpt else [])]
    found: dict[str, dict[str, Told]] = {}
    for load, names in WHO.items():
        names = [name for name in names if missing(name, asked.nanogpt) is None] + list(PRODUCTS if load == TOGETHER else ())
        commands = {name: [sys.executable, "-m", "benchmarks.gpu", *rest, "--work", load, name] for name in names}
        groups = [commands] if load == TOGETHER else [{name: command} for name, command in commands.items()]
        found[load] = {name: told for group in groups for name, told in in_turn(group, asked.rounds).items()}
    return found


def peak_of(found: Mapping[str, Mapping[str, Told]], load: Load) -> float:
    """GFLOP/s of the fastest product; not a number where none was measured."""
    speeds = [product_speed(load, min(told.seconds)) for name, told in found[TOGETHER].items() if name in PRODUCTS]
    return max(speeds, default=float("nan"))


def cell(told: Told | None, load: Load, peak: float) -> str:
    """Tokens a second, share of the peak, memory, and how long until the first two steps were done."""
    if told is None:
        return "–"
    speed = load.tokens / statistics.median(told.seconds)
    memory = f"{told.device_memory / 1e9:.1f} GB" if told.device_memory else f"{told.memory / 1e9:.1f} GB resident"
    return f"{speed:,.0f} tokens/s, {speed * load.flops * 1e-9 / peak:.1%}, {memory}, first steps {told.first:.1f} s"


def lines(found: Mapping[str, Mapping[str, Told]], loads: Mapping[str, Load]) -> list[str]:
    """A line for the peak and for each who trained, with ours as multiples of theirs where they took turns."""
    peak = peak_of(found, loads[TOGETHER])
    said = [f"peak: {peak:,.0f} GF/s"]
    for load, name in COLUMNS:
        told = found[load].get(name)
        own = {name: found[load][name] for name in (OURS, COMPILED, CHOSEN) if name in found[load]}
        ratios = [f"{_ratio(mine, told):.2f} ({which})" for which, mine in own.items() if told and load == TOGETHER and name not in own]
        tail = f"; ours to it: {', '.join(ratios)}" if ratios else ""
        said.append(f"{load}, {name}: {cell(told, loads[load], peak)}{tail}")
    return said


def _ratio(own: Told, theirs: Told) -> float:
    return statistics.median(other / mine for mine, other in zip(own.seconds, theirs.seconds, strict=True))


def row(found: Mapping[str, Mapping[str, Told]], loads: Mapping[str, Load], where: str) -> list[str]:
    """What the table holds of a run."""
    peak = peak_of(found, loads[TOGETHER])
    cells = [cell(found[load].get(name), loads[load], peak) for load, name in COLUMNS]
    return [machine.today(), where, f"{peak * 1e-3:,.1f} TF/s", *cells]


def append(path: Path, cells: list[str]) -> None:
    """Add a row; where there is no table yet, its head first."""
    head = ["date", "machine and commit", "peak", *(f"{load}, {name}" for load, name in COLUMNS)]
    if not path.exists():
        path.write_text(INTRODUCTION + _line(head) + _line(["---"] * len(head)), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(cells))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    raise SystemExit(main())
