"""prefer: learn from pairs which answer is the better one (DPO). Leaves ``preferred/``."""

from pathlib import Path

from pydantic import Field, field_validator

from scratchlm.batches.chat import PreferenceRows, encode_preference, read_preferences
from scratchlm.core.artifact import Artifact, Draft, Home, sha256_of
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Preference
from scratchlm.evals import mixture
from scratchlm.evals.knowledge import KNOWLEDGE, read_knowledge
from scratchlm.model import store
from scratchlm.parallel.layout import ROWS
from scratchlm.serve.choose import EXAMPLES
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train.objectives import Better, PairItem, answer_logprobs
from scratchlm.train.session import Session
from scratchlm.train.settings import Training


class Config(Training):
    """Which pairs, and how firmly they are learnt."""

    pairs: str | None = None
    """File of pairs, one JSON object per line; None: reference answers against plausible mistakes."""
    epochs: float = Field(default=1.0, gt=0)
    """How often each pair is seen."""
    pairs_per_step: int = Field(default=16, ge=1)
    """Pairs of answers in a step."""
    beta: float = Field(default=0.1, gt=0)
    """How far the policy may leave the reference for a unit of preference."""
    anchor: float = Field(default=1.0, ge=0)
    """Weight of the chosen answers' own likelihood, which holds the skills in place."""
    sizes: dict[str, int] = mixture.PAIRS
    """Pairs of each task."""

    @field_validator("sizes")
    @classmethod
    def _known(cls, sizes: dict[str, int]) -> dict[str, int]:
        return mixture.check_sizes(sizes, mixture.SIZES)


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Tune the fine-tuned model on preferences, against a frozen copy of itself."""
    start = home.open("sft")
    inputs = {start.name: start.fingerprint} | _digest(config.pairs)
    return home.build("preferred", config, inputs, lambda out: train(config, out, start, journal), together=True)


def train(config: Config, out: Draft, start: Artifact, journal: Journal) -> None:
    """All of preference tuning: pairs in, a model out."""
    tokenizer = tokenizers.load(start.path / "tokenizer")
    origin = store.Stored(start.path)
    session = Session.open(out, config, journal, origin)
    own = session.world.share(config.pairs_per_step, "pairs")
    frozen = session.beside(origin)
    encoded = [encode_preference(tokenizer, pair) for pair in preferences(config, start)]
    rows = PreferenceRows(
        encoded, context=origin.config.context, pairs_per_batch=config.pairs_per_step, seed=config.seed, pad=tokenizer.end_of_text
    )
    session.journal.event("pairs", kept=len(rows.kept), dropped=rows.dropped)

    def items(step: int) -> list[PairItem]:
        batch = rows.batch(step).split(2 * own)[session.world.place_along(*ROWS)]
        return [PairItem(batch, answer_logprobs(frozen.logprobs(batch.rows).cpu(), batch.rows.weights_BT))]

    steps = max(1, round(rows.steps(1) * config.epochs))
    state = session.train(items, Better(session.model.logits, config.beta, config.anchor), steps=steps, shared=True)
    session.leave(state, start.path / "tokenizer", start.path / KNOWLEDGE, start.path / EXAMPLES)
    out.count(pairs=len(rows.kept), dropped_pairs=rows.dropped)


def preferences(config: Config, start: Artifact) -> list[Preference]:
    """The pairs to learn from."""
    if config.pairs is not None:
        return list(read_preferences(Path(config.pairs)))
    return mixture.pairs(read_knowledge(start.path), config.seed, sizes=config.sizes)


def _digest(pairs: str | None) -> dict[str, str]:
    if pairs is None:
        return {}
    path = Path(pairs)
    if not path.is_file():
        raise UsageError(f"{path}: no such file. Give --pairs a file of preference pairs, one JSON object per line.")
    return {"pairs": sha256_of(path)}
