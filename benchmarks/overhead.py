"""What the division of labour costs where nothing is divided: time inside its own calls, as a share of a step, on one process.

    python -m benchmarks.overhead

Every call that a step makes of `train/crew.py` and `parallel/world.py` is timed, less the model's own work inside it; the norm of the
gradient, which every trainer computes, is told apart.
"""

import argparse
import functools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from scratchlm.core.tensors import Batch, ModelInputs, positions_of
from scratchlm.model import architectures, qwen3
from scratchlm.optim import muon
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.crew import Crew
from scratchlm.train.loop import Plan, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.state import TrainState

SHAPES = {
    "smoke": (qwen3.Config(vocab=512, context=64, layers=2, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64), 4),
    "laptop": (qwen3.Config(vocab=4096, context=256, layers=4, width=256, heads=4, kv_heads=2, head_dim=64, hidden=768), 4),
}
"""A model, and rows of a step."""
CALLS = {Crew: ("own", "announce", "settle", "forget", "even_rows"), World: ("sum", "sums", "sum_", "told")}


def timed(spent: Counter[str], name: str, act: Callable[..., Any]) -> Callable[..., Any]:
    """``act``, whose seconds are added to ``spent``; what it calls of the others is counted once, with the outermost."""

    @functools.wraps(act)
    def call(*given: Any, **named: Any) -> Any:
        if spent["inside"]:
            return act(*given, **named)
        spent["inside"], begun = 1, time.perf_counter()
        try:
            return act(*given, **named)
        finally:
            spent[name] += time.perf_counter() - begun  # pyright: ignore[reportArgumentType]
            spent["inside"] = 0

    return call


def measured(name: str, steps: int) -> dict[str, Any]:
    """Shares of so many steps."""
    shape, rows = SHAPES[name]
    state = TrainState.begin(architectures.build(shape, seed=0), muon.Config(), seed=0)
    spent: Counter[str] = Counter()
    for kind, calls in CALLS.items():
        for call in calls:
            setattr(kind, call, timed(spent, call, getattr(kind, call)))
    Crew.squares = timed(spent, "norm", Crew.squares)
    tokens_BS = torch.randint(shape.vocab, (rows, shape.context + 1), generator=torch.Generator().manual_seed(0))
    segments_BT = torch.zeros(rows, shape.context, dtype=torch.long)
    inputs = ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT)
    batch = Batch(inputs, tokens_BS[:, 1:], torch.ones(rows, shape.context))
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(steps, lambda _: 1e-3, Precision("float32"), Keeper(Path(folder)))
        objective = NextToken(state.model)
        update(state, [batch], objective, plan)
        spent.clear()
        begun = time.perf_counter()
        for _ in range(steps):
            update(state, [batch], objective, plan)
        seconds = time.perf_counter() - begun
    own = sum(value for call, value in spent.items() if call not in ("inside", "norm"))
    return {
        "step_ms": round(1e3 * seconds / steps, 3),
        "own_share": round(own / seconds, 6),
        "norm_share": round(spent["norm"] / seconds, 6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--shape", choices=SHAPES, default="smoke")
    parser.add_argument("--out", type=Path, default=machine.BENCH, help="the file that a row is added to")
    given = parser.parse_args()
    print(machine.where(), flush=True)
    found = measured(given.shape, given.steps)
    shares = f"{100 * found['own_share']:.3f} % in our own calls, {100 * found['norm_share']:.2f} % norm"
    print(f"{given.shape}: {found['step_ms']:.2f} ms a step, {shares}")
    machine.append(given.out, "overhead", settings={"shape": given.shape, "steps": given.steps}, measured=found, left_out={})


if __name__ == "__main__":
    main()
