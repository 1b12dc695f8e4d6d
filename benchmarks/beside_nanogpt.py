"""Does the plain baseline follow nanoGPT? Its own train.py for the curve, its model and optimizer in turn with ours for the speed.

Both begin with the values that train.py draws and see its batches: the same seed, drawn from in the same order. Ratios are of the pairs
of a round, so that a busy machine slows both alike.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from benchmarks.baseline import GPT, Recipe, Shape, adamw, batch, characters, take

LIMIT = 0.03
"""How far loss and speed may be from nanoGPT's."""
SEED = 1337
"""Of train.py."""
TURN = 20
"""Steps of a turn."""
EVALUATIONS = 1
"""Batches of each split that train.py measures before its first step; they are drawn from the same stream."""


def model_of(folder: Path) -> ModuleType:
    """The ``model.py`` of a checkout, under a name of its own."""
    specification = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert specification is not None, "the path ends in .py"
    assert specification.loader is not None, "a file of Python has a loader"
    module = importlib.util.module_from_spec(specification)
    sys.modules["nanogpt_model"] = module  # torch.compile looks classes up by the name of their module
    specification.loader.exec_module(module)
    return module


def build(folder: Path, shape: Shape) -> nn.Module:
    """Its model, without biases and dropout."""
    theirs = model_of(folder)
    config = theirs.GPTConfig(
        block_size=shape.context, vocab_size=shape.vocab, n_layer=shape.layers, n_head=shape.heads, n_embd=shape.width,
        dropout=0.0, bias=False,
    )  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):  # it says how large it is
        return theirs.GPT(config)


def with_values_of(theirs: nn.Module, shape: Shape) -> GPT:
    """Ours with the weights of theirs: both have them in the same order."""
    model = GPT(shape)
    with torch.no_grad():
        for own, other in zip(model.parameters(), theirs.parameters(), strict=True):
            if own.shape != other.shape:
                raise SystemExit(
                    f"nanoGPT: a weight of {tuple(other.shape)} stands where {tuple(own.shape)} is known. Take its main branch."
                )
            own.copy_(other)
    return model


def its_curve(folder: Path, text: str, shape: Shape, recipe: Recipe) -> list[float]:
    """The loss of every step, as a copy of train.py prints it."""
    sizes = {"block_size": shape.context, "n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width, "dropout": 0.0}
    told = sizes | {
        "device": "cpu", "compile": False, "log_interval": 1, "eval_iters": EVALUATIONS, "eval_interval": 10**9,
        "batch_size": recipe.rows, "max_iters": recipe.steps - 1, "lr_decay_iters": recipe.steps,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "nanogpt"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git"))
        data = copy / "data" / "shakespeare_char"
        (data / "input.txt").write_text(text, encoding="utf-8")
        subprocess.run([sys.executable, "prepare.py"], cwd=data, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "train.py", "config/train_shakespeare_char.py", *(f"--{name}={value}" for name, value in told.items())]
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        printed = subprocess.run(command, cwd=copy, check=True, capture_output=True, text=True, env=os.environ | threads).stdout
    return [float(loss) for loss in re.findall(r"^iter \d+: loss ([\d.]+|nan)", printed, re.MULTILINE)]


def our_curve(folder: Path, learned: Tensor, shape: Shape, recipe: Recipe) -> list[float]:
    """The loss of every step from the values and batches of train.py."""
    torch.manual_seed(SEED)
    theirs = build(folder, shape)
    chance = torch.Generator()
    chance.set_state(torch.get_rng_state())
    model = with_values_of(theirs, shape)
    optimizer, losses = adamw(model, recipe), list[float]()
    inputs, targets = batch(learned, shape.context, recipe.rows, chance)  # train.py draws its first batch before it measures both splits
    for _ in range(2 * EVALUATIONS):
        batch(learned, shape.context, recipe.rows, chance)
    for step in range(recipe.steps):
        losses.append(take(lambda inputs=inputs, targets=targets: model(inputs, targets), optimizer, recipe, step))
        inputs, targets = batch(learned, shape.context, recipe.rows, chance)
    return losses


def turns(folder: Path, learned: Tensor, shape: Shape, recipe: Recipe, *, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds a step of theirs and of ours, in turn on the same batches; who begins changes from round to round."""
    theirs, chance = build(folder, shape), torch.Generator().manual_seed(SEED)
    ours = with_values_of(theirs, shape)
    with contextlib.redirect_stdout(sys.stderr):
        its_own = theirs.configure_optimizers(recipe.weight_decay, recipe.lr, recipe.betas, "cpu")  # pyright: ignore[reportCallIssue]
    peers = [(lambda x, y: theirs(x, y)[1], its_own), (ours, adamw(ours, recipe))]
    found: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        batches = [batch(learned, shape.context, recipe.rows, chance) for _ in range(TURN)]
        seconds = [0.0, 0.0]
        for which in (0, 1) if number % 2 else (1, 0):
            run, optimizer = peers[which]
            begun = time.perf_counter()
            for place, (inputs, targets) in enumerate(batches):
                take(lambda run=run, x=inputs, y=targets: run(x, y), optimizer, recipe, number * TURN + place)
            seconds[which] = (time.perf_counter() - begun) / TURN
        found.append((1e3 * seconds[0], 1e3 * seconds[1]))
    return found[1:]  # in the first round memory is taken for the first time


def show(folder: Path, text: str, *, steps: int, rounds: int) -> int:
    """Print both comparisons; 0 where both are within the limit."""
    learned, _, vocab = characters(text)
    shape, recipe = Shape(vocab), Recipe(steps)
    theirs, ours = its_curve(folder, text, shape, recipe), our_curve(folder, learned, shape, recipe)
    apart = [abs(own - other) / other for own, other in zip(ours, theirs, strict=True)]
    worst = max(range(steps), key=lambda step: apart[step])
    print(f"loss: {theirs[-1]:.4f} by train.py and {ours[-1]:.4f} after {steps} steps; at most {apart[worst]:.3%} apart, at step {worst}")
    pairs = turns(folder, learned, shape, recipe, rounds=rounds)
    medians, ratios = [statistics.median(each) for each in zip(*pairs, strict=True)], [own / other for other, own in pairs]
    ratio = statistics.median(ratios)
    print(
        f"speed: {medians[0]:.2f} and {medians[1]:.2f} ms a step in {rounds} rounds of {TURN}; "
        f"ours takes {ratio:.3f} of its time ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    follows = all(each <= LIMIT for each in apart) and abs(ratio - 1) <= LIMIT  # a loss that is no number is not within
    print(f"{'within' if follows else 'NOT within'} {LIMIT:.0%} in loss and speed")
    return 0 if follows else 1
