"""Do shorter rows or smaller steps at first, or an average of weights at last, learn more from the same tokens? A trial of each, in seeds.

    python -m benchmarks.warm_up HOME [--tokens 800000] [--seeds 3] [--trials average batch length] [--shares 0.2 0.4 0.6]

HOME has the tokenizer and shards of a run. All train `laptop`'s model with its optimizer and schedule, 2,048 tokens a step. `length`: what
`pretrain.length_warmup` does, for each of the shares (Li et al. 2022, arXiv:2108.06084). `short`: the same for .4, with rows of that length
drawn anew in place of pieces of rows. `batch`: steps of half as many rows for the first third of the tokens (Smith et al. 2018,
arXiv:1711.00489). `average`: the run without either, measured with moving averages of its weights (Morales-Brotons et al. 2024,
arXiv:2411.18704).
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from scratchlm.batches.rows import TokenRows
from scratchlm.batches.shards import Shards, open_split
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch, Every
from scratchlm.evals import bits
from scratchlm.model.architectures import Drawn
from scratchlm.recipes.laptop import laptop
from scratchlm.stages.pretrain import sized
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train.loop import Probe
from scratchlm.train.objectives import NextToken
from scratchlm.train.session import Session
from scratchlm.train.state import TrainState

CONTEXT, ROWS = 256, 8
DECAYS = (0.9, 0.97, 0.99)
VALIDATION = 200_000
Course = tuple[int, Callable[[int], Sequence[Batch]]]
"""How many steps, and what each learns from."""


def course(trial: str, split: Shards, tokens: int, seed: int) -> Course:
    """The steps of a trial."""

    def rows(context: int, count: int, number: int) -> list[Batch]:
        return [TokenRows(split, context, count, seed).batch(number)]

    per_step = CONTEXT * ROWS
    if trial == "batch":
        first = tokens // 3 // (per_step // 2)
        steps = first + (tokens - tokens // 3) // per_step
        return steps, lambda step: rows(CONTEXT, ROWS // 2, step) if step < first else rows(CONTEXT, ROWS, first // 2 + step - first)
    steps = tokens // per_step
    if trial == "short":
        lengths = [CONTEXT // (4 if step < steps // 5 else 2 if step < 2 * (steps // 5) else 1) for step in range(steps)]
        return steps, lambda step: rows(lengths[step], per_step // lengths[step], step)
    grown = TokenRows(split, CONTEXT, ROWS, seed, warmup=round(float(trial.partition(" ")[2] or 0) * steps))
    return steps, lambda step: [grown.batch(step)]


def run(home: Home, trial: str, tokens: int, seed: int) -> dict[str, float]:
    """Bits per byte of the held-out text, by what was measured."""
    shards, vocabulary = home.open("shards"), home.open("tokenizer")
    tokenizer, recipe = tokenizers.load(vocabulary.path), laptop().pretrain
    assert recipe
    config = recipe.model_copy(update={"seed": seed, "tokens": tokens, "checkpoint_minutes": None})
    found = bits.windows(open_split(shards.path, "validation"), CONTEXT, most_tokens=VALIDATION)

    def follow(state: TrainState) -> dict[str, float]:
        for decay, kept in averages.items():
            for name, parameter in state.model.named_parameters():
                kept[name].lerp_(parameter.detach(), 1 - decay)
        return {}

    with tempfile.TemporaryDirectory() as folder:
        session = Session.open(Draft(Path(folder)), config, Journal(), Drawn(sized(config, tokenizer), seed))
        steps, items = course(trial, open_split(shards.path, "train"), tokens, seed)
        learned, objective = list(session.model.named_parameters()), NextToken(session.model)
        averages = {decay: {name: p.detach().clone() for name, p in learned} for decay in DECAYS if trial == "average"}
        state = session.train(items, objective, steps=steps, probes=(Probe("average", Every(1), follow),))

    def measured() -> float:
        costs = bits.bits_of_documents(
            state.model, found, session.precision, attend=session.attend, pad=tokenizer.end_of_text, unknown=tokenizer.unknown
        )
        return bits.bits_per_byte(costs, found).value

    told = {"plain" if trial == "average" else trial: measured()}
    for decay, kept in averages.items():
        for name, parameter in state.model.named_parameters():
            parameter.data.copy_(kept[name])
        told[f"average {decay}"] = measured()
    return told


def main() -> None:
    """Print each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--tokens", type=int, default=800_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", nargs="+", default=["average", "batch", "length"], choices=["average", "batch", "length", "short"])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.4, 0.6])
    asked = parser.parse_args()
    trials = [each for trial in asked.trials for each in ([f"length {share}" for share in asked.shares] if trial == "length" else [trial])]
    for seed in range(asked.seeds):
        for trial in trials:
            for name, value in run(Home(asked.home), trial, asked.tokens, seed).items():
                print(f"seed {seed}, {name}: {value:.4f} bits per byte", flush=True)


if __name__ == "__main__":
    main()
