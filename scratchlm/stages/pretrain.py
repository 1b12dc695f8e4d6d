"""pretrain: learn to continue text. Leaves ``base/``."""

from typing import Any

from pydantic import Field

from scratchlm.batches.rows import TokenRows
from scratchlm.batches.shards import open_split
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import with_sets
from scratchlm.core.errors import DataError
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Every
from scratchlm.evals import bits
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import architectures, qwen3
from scratchlm.model.architectures import ModelConfig
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.interface import Tokenizer, begin_of_text
from scratchlm.train.loop import Probe
from scratchlm.train.objectives import NextToken, head_parameters
from scratchlm.train.session import Session, Training, steps_for
from scratchlm.train.state import TrainState


class Config(Training):
    """What to train, on how many tokens, in which steps."""

    model: ModelConfig = qwen3.Config()
    """``vocab`` is an upper bound: the model gets as many rows as the tokenizer has pieces."""
    tokens: int = Field(default=4_000_000, ge=1)
    """Tokens to train on: the horizon, whatever the clock says."""
    rows: int = Field(default=16, ge=1)
    """Rows of ``model.context`` tokens in a step; how many are computed at once is found by trying."""
    validation_steps: int = Field(default=100, ge=1)
    validation_tokens: int = Field(default=30_000, ge=1)
    """Of the validation split, measured every so many steps."""
    sample_steps: int = Field(default=200, ge=1)
    sample_prompt: str = "The "
    """Continued greedily every so many steps, to see what was learnt."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Train a base model on the shards."""
    shards, tokenizer = home.open("shards"), home.open("tokenizer")
    return home.build("base", config, [shards, tokenizer], lambda out: train(config, out, shards, tokenizer, journal))


def train(config: Config, out: Draft, shards: Artifact, vocabulary: Artifact, journal: Journal) -> None:
    """All of pre-training: rows in, a model out."""
    tokenizer = tokenizers.load(vocabulary.path)
    model = architectures.build(sized(config, tokenizer), seed=config.seed)
    session = Session.open(out, config, journal, model)
    split = open_split(shards.path, "train", tokenizer=tokenizers.facts_of(vocabulary.path).sha256)
    rows = TokenRows(split, model.config.context, config.rows, config.seed)
    steps = steps_for(config.tokens, per_step=config.rows * model.config.context)
    objective = NextToken(model.logits, head_parameters(model))
    probes = (validation(config, session, shards, tokenizer), sample(config, tokenizer))
    state = session.train(model, lambda step: [rows.batch(step)], objective, steps=steps, probes=probes)
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
    found = bits.windows(open_split(shards.path, "validation"), config.model.context, most_tokens=config.validation_tokens)
    if not found.encoded:
        raise DataError("shards: the validation split is empty. Give more text, or a larger corpus.validation.")

    def measure(state: TrainState) -> dict[str, Any]:
        words = {"pad": tokenizer.end_of_text, "unknown": tokenizer.unknown}
        costs = bits.bits_of_documents(state.model, found, session.precision, attend=session.attend, **words)
        return {"bits_per_byte": round(bits.bits_per_byte(costs, found).value, 5)}

    return Probe("validation", Every(config.validation_steps), measure)


def sample(config: Config, tokenizer: Tokenizer) -> Probe:
    """A greedy continuation of the prompt."""

    def measure(state: TrainState) -> dict[str, Any]:
        speaker = Speaker(state.model, tokenizer, "base")
        prompt = [begin_of_text(tokenizer), *tokenizer.encode(config.sample_prompt)]
        (answer,) = speaker.engine.generate([prompt], Sampling(max_tokens=48))
        return {"prompt": config.sample_prompt, "text": tokenizer.decode(answer.ids)}

    return Probe("sample", Every(config.sample_steps), measure)
