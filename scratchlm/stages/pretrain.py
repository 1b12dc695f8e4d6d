"""pretrain: learn to continue text. Leaves ``base/``."""

import json
import math
import time
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from scratchlm.batches.rows import TokenRows
from scratchlm.batches.shards import open_split
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import with_sets
from scratchlm.core.errors import ArtifactError, DataError, UsageError
from scratchlm.core.journal import Journal, by_step
from scratchlm.core.tensors import Every
from scratchlm.evals import bits
from scratchlm.evals.hardness import hardness
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import architectures, cost, qwen3
from scratchlm.model.architectures import Drawn, ModelConfig
from scratchlm.parallel.layout import ROWS
from scratchlm.parallel.precision import measured_speeds
from scratchlm.parallel.world import processes
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.interface import Tokenizer, begin_of_text
from scratchlm.train import budget, devices, scaling
from scratchlm.train.budget import Choice, Text
from scratchlm.train.decisions import REMEDY
from scratchlm.train.loop import Probe
from scratchlm.train.objectives import NextToken
from scratchlm.train.pace import tokens_per_s
from scratchlm.train.session import Session, steps_for
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState

BUDGET = "budget.json"
BESIDE = 2.0
"""Seconds for samples and for the finished model's way to disk."""
LOOKS = 8
"""How often a run with a budget looks at the held-out text."""
FORWARD = 1 / 3
"""Of a step's time, what looking at as many tokens takes."""


class Config(Training):
    """What to train, on how many tokens, in which steps."""

    budget: str | None = None
    """Time that this stage may take, such as 90s, 30m or 2h: then size, tokens, rows and rates are chosen here; None: they are as set."""

    model: ModelConfig = qwen3.Config()
    """``vocab`` is an upper bound: the model gets as many rows as the tokenizer has pieces."""
    tokens: int = Field(default=4_000_000, ge=1)
    """Tokens to train on: the horizon, whatever the clock says."""
    rows: int = Field(default=16, ge=1)
    """Rows of ``model.context`` tokens in a step; how many are computed at once is found by trying."""
    length_warmup: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps whose rows are put together from shorter ones, quarters at first, then halves; 0: none."""
    validation_steps: int = Field(default=100, ge=1)
    validation_tokens: int = Field(default=30_000, ge=1)
    """Of the validation split, measured every so many steps."""
    sample_steps: int | None = Field(default=200, ge=1)
    """Steps from one sample to the next; None: none is drawn, for the main process then holds the whole model."""
    sample_prompt: str = "The "
    """Continued greedily every so many steps, to see what was learnt."""

    @field_validator("budget", mode="before")
    @classmethod
    def _is_a_time(cls, value: object) -> object:
        if value is not None and not budget.seconds_of(str(value)):
            raise ValueError("that is no time; write one such as 90s, 30m or 2h")
        return value

    @model_validator(mode="after")
    def _has_quarters(self) -> "Config":
        if (self.length_warmup or self.budget) and self.model.context % 4:
            cut = "a length_warmup" if self.length_warmup else "a budget"
            raise ValueError(
                f"{cut} cuts rows in four, and a context of {self.model.context} is no multiple of 4; set model.context to one"
            )
        return self

    @model_validator(mode="after")
    def _has_a_ladder(self) -> "Config":
        if self.budget is not None:
            scaling.law_of(self.model.kind)
        return self


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Train a base model on the shards."""
    shards, tokenizer = home.open("shards"), home.open("tokenizer")
    if config.budget is not None:
        if processes() > 1:
            raise UsageError(
                "pretrain.budget: what a time is worth is measured on one process. Start it without torchrun, or leave budget out."
            )
        config = as_on_the_ladder(config, journal)

    def make(out: Draft) -> None:
        if config.budget is None:
            train(config, out, shards, tokenizer, journal)
            return
        begun, fresh = time.monotonic(), not (out.path / BUDGET).exists()
        choice = chosen(config, out, shards, tokenizer, journal)
        train(within(config, choice), out, shards, tokenizer, journal)
        outcome(config, choice, out, journal, seconds=time.monotonic() - begun if fresh else None)

    return home.build("base", config, [shards, tokenizer], make, together=True)


def as_on_the_ladder(config: Config, journal: Journal) -> Config:
    """The settings with those that the ladder's runs were made with, and a line that names what was set otherwise."""
    others = [name for name, value in budget.TUNED.items() if getattr(config, name) != value]
    if others:
        journal.event(
            "rates", note=f"a budget takes {', '.join(others)} from the ladder that its prediction comes from, not from the recipe"
        )
    return config.model_copy(update=budget.TUNED)


def chosen(config: Config, out: Draft, shards: Artifact, vocabulary: Artifact, journal: Journal) -> Choice:
    """What the time is best spent on; decided once, and read again on resume."""
    path, begun = out.path / BUDGET, time.monotonic()
    if path.exists():
        return read_choice(path)
    assert config.budget
    tokenizer, seconds = tokenizers.load(vocabulary.path), budget.seconds_of(config.budget)
    split, held_out = open_split(shards.path, "train"), open_split(shards.path, "validation")
    text = Text(split.tokens, int(split.sizes.sum()), hardness(split, held_out, tokenizer))
    device = devices.chosen(config.device, journal)
    speeds = measured_speeds(device)

    looked_at = bits.windows(held_out, config.model.context, most_tokens=config.validation_tokens, decode=tokenizer.decode).encoded
    idle, longest = LOOKS * FORWARD * sum(len(ids) for ids, _ in looked_at), [0.0]

    def speed(shape: architectures.AnyConfig, tokens: float) -> float:
        started, rows = time.monotonic(), TokenRows(split, shape.context, budget.rows_for(tokens, shape.context), config.seed)
        found = tokens_per_s(shape, config, rows.batch(0), device=device, tokens=round(tokens))
        longest.append(time.monotonic() - started)
        journal.event(
            "timed", width=shape.width, note=f"width {shape.width}: " + (f"{found:,.0f} tokens/s" if found else "memory is short")
        )
        return found

    def spent() -> float:
        return BESIDE + max(longest) + (time.monotonic() - begun)  # the run itself opens as its timing did

    gflops = max(speeds.float32, speeds.bfloat16)
    choice, timed = budget.choose(sized(config, tokenizer), text, left=lambda: seconds - spent(), idle=idle, gflops=gflops, speed=speed)
    told_seconds = spent() + (choice.tokens + idle) / timed[choice.width]
    memory = cost.training_bytes(budget.shaped(sized(config, tokenizer), choice.width), choice.rows, config.optimizer.kind)
    choice = choice.model_copy(update={"seconds": round(told_seconds, 1), "gigabytes": round(sum(memory.values()) / 1e9, 2)})
    out.write_json(BUDGET, json.loads(choice.model_dump_json()))
    journal.event("budget", **choice.model_dump(), hardness=round(text.hardness, 4), tokens_per_s=timed, note=told(config, choice))
    return choice


def read_choice(path: Path) -> Choice:
    """What was chosen when the run began; ArtifactError where another version of this program wrote it."""
    try:
        return Choice.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path}: not a choice that this version understands. {REMEDY}") from None


def told(config: Config, choice: Choice) -> str:
    """The prediction in a line."""
    further = f" ({choice.beyond:.1f} times further than what was measured)" if choice.beyond > 1 else ""
    size = f"{choice.layers} layers of width {choice.width}, {choice.tokens:,} tokens in {choice.steps:,} steps at a rate of {choice.lr:g}"
    expected = f"{choice.bits_per_byte:.3f} [{choice.low:.3f}, {choice.high:.3f}] bits per byte{further}"
    needs = f"{choice.seconds:.0f} s and at most {choice.gigabytes:.2g} GB"
    enough = ", which is all that this text is good for" if choice.epochs > 0.99 * budget.MOST_EPOCHS else ""
    return f"{config.budget}: {size} ({choice.epochs:.2g} epochs{enough}), {needs}; to be expected are {expected}"


def within(config: Config, choice: Choice) -> Config:
    """The settings with what was chosen put in."""
    often = math.ceil(choice.steps / LOOKS)
    steps = {"validation_steps": often, "sample_steps": often}
    shape = budget.shaped(config.model, choice.width)
    return config.model_copy(update={"model": shape, "tokens": choice.tokens, "rows": choice.rows, **steps})


def outcome(config: Config, choice: Choice, out: Draft, journal: Journal, *, seconds: float | None) -> None:
    """The prediction beside what came of it, and the time where all of it was spent at once."""
    reached = by_step(out.path / "journal.jsonl", "validation")[-1]["bits_per_byte"]
    inside = choice.low <= reached <= choice.high
    spent = f" in {seconds:.0f} s of {config.budget}" if seconds is not None else ""
    note = f"{reached:.3f} bits per byte{spent}; to be expected were {choice.bits_per_byte:.3f} [{choice.low:.3f}, {choice.high:.3f}]: " + (
        "as predicted" if inside else "outside the prediction"
    )
    facts = {"predicted": choice.bits_per_byte, "low": choice.low, "high": choice.high, "reached": reached, "seconds": seconds}
    journal.event("outcome", **facts, inside=inside, note=note)
    out.count(bits_per_byte=reached, predicted=choice.bits_per_byte, predicted_low=choice.low, predicted_high=choice.high)


def train(config: Config, out: Draft, shards: Artifact, vocabulary: Artifact, journal: Journal) -> None:
    """All of pre-training: rows in, a model out."""
    tokenizer = tokenizers.load(vocabulary.path)
    shape = sized(config, tokenizer)
    session = Session.open(out, config, journal, Drawn(shape, config.seed), tokens=config.tokens, rows=config.rows)
    split = open_split(shards.path, "train", tokenizer=tokenizers.facts_of(vocabulary.path).sha256)
    steps = steps_for(config.tokens, per_step=config.rows * shape.context)
    rows = TokenRows(split, shape.context, config.rows, config.seed, warmup=round(config.length_warmup * steps))
    objective = NextToken(session.model, session.crew.among)
    samples = [sample(config, tokenizer, config.sample_steps)] if config.sample_steps else []
    probes = (validation(config, session, shards, tokenizer), *samples)
    state = session.train(lambda step: [rows.batch(step)], objective, steps=steps, probes=probes)
    session.leave(state, vocabulary.path)
    out.count(epochs=round(state.tokens / max(1, rows.shards.tokens), 3))


def sized(config: Config, tokenizer: Tokenizer) -> architectures.AnyConfig:
    """The model with a row for every piece; DataError when the tokenizer has more than the model may take."""
    if tokenizer.size > config.model.vocab:
        raise DataError(
            f"pretrain.model.vocab: {config.model.vocab} rows, but the tokenizer has {tokenizer.size} pieces. "
            f"Set pretrain.model.vocab={tokenizer.size} or a smaller vocab.size."
        )
    return with_sets(config.model, [f"vocab={tokenizer.size}"])


def validation(config: Config, session: Session, shards: Artifact, tokenizer: Tokenizer) -> Probe:
    """Bits per byte of the first validation documents."""
    held_out = open_split(shards.path, "validation")
    found = bits.windows(held_out, config.model.context, most_tokens=config.validation_tokens, decode=tokenizer.decode)
    if not found.encoded:
        raise DataError("shards: the validation split is empty. Give more text, or a larger corpus.validation.")

    crew, context = session.crew, config.model.context
    size, place = session.world.size(*ROWS), session.world.place_along(*ROWS)

    def measure(_state: TrainState) -> dict[str, Any]:
        mine = bits.bits_by(crew.logprobs, found, context, pad=tokenizer.end_of_text, unknown=tokenizer.unknown, share=(place, size))
        return {"bits_per_byte": round(bits.bits_per_byte(session.world.sums(mine, *ROWS), found).value, 5)}

    return Probe("validation", Every(config.validation_steps), measure)


def sample(config: Config, tokenizer: Tokenizer, steps: int) -> Probe:
    """A greedy continuation of the prompt every so many steps."""

    def measure(state: TrainState) -> dict[str, Any]:
        if (model := state.crew.whole()) is None:
            return {}
        speaker = Speaker(model, tokenizer, "base")
        prompt = [begin_of_text(tokenizer), *tokenizer.encode(config.sample_prompt)]
        (answer,) = speaker.engine.generate([prompt], Sampling(max_tokens=48))
        return {"prompt": config.sample_prompt, "text": tokenizer.decode(answer.ids)}

    return Probe("sample", Every(steps), measure)
