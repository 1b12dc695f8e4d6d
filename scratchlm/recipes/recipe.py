"""A recipe is one typed value: every number of every stage, written down before the first one runs."""

from pydantic import model_validator

from scratchlm.core.config import Settings
from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.stages.corpus import Config as Corpus
from scratchlm.stages.evaluate import Config as Evaluate
from scratchlm.stages.export import Config as Export
from scratchlm.stages.prefer import Config as Prefer
from scratchlm.stages.pretrain import Config as Pretrain
from scratchlm.stages.reinforce import Config as Reinforce
from scratchlm.stages.report import Config as Report
from scratchlm.stages.sft import Config as Sft
from scratchlm.stages.tokenize import Config as Tokenize
from scratchlm.stages.vocab import Config as Vocab


class Recipe(Settings):
    """The stages of a run in their order; None means that this recipe has no such stage."""

    name: str
    seed: int = 0
    """The one source of randomness; each stage's own ``seed`` is filled from it."""
    corpus: Corpus
    vocab: Vocab | None = None
    tokenize: Tokenize | None = None
    pretrain: Pretrain | None = None
    sft: Sft | None = None
    prefer: Prefer | None = None
    reinforce: Reinforce | None = None
    evaluate: Evaluate | None = None
    export: Export | None = None
    report: Report = Report()

    @model_validator(mode="after")
    def _pieces_have_rows(self) -> "Recipe":
        if self.vocab and self.pretrain and self.pretrain.model.vocab < self.vocab.size:
            size = self.vocab.size
            raise ValueError(f"pretrain.model.vocab ({self.pretrain.model.vocab}) is below vocab.size: set pretrain.model.vocab={size}")
        return self

    @model_validator(mode="after")
    def _can_be_exported(self) -> "Recipe":
        kind = self.pretrain.model.kind if self.pretrain else None
        if kind is not None and self.export is not None and ARCHITECTURES[kind].HF_NAMES is None:
            raise ValueError(f"no other runtime can read a '{kind}' model: set export=null, or pretrain 'qwen3'")
        return self
