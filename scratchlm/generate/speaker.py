"""A model with its tokenizer and template: messages in, text out."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlm.core.records import Message
from scratchlm.generate.engine import Engine, Finish
from scratchlm.generate.sample import Sampling
from scratchlm.model import store as models
from scratchlm.model.architectures import Model
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer import template
from scratchlm.tokenizer.interface import Tokenizer, begin_of_text, ends_of

BATCH = 256
"""Prompts answered at once: beyond this a batch gains little and its cache grows."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token added; ``text`` is empty while the bytes of a character are incomplete."""

    text: str
    id: int
    logprob: float
    finish: Finish | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    text: str
    finish: Finish
    prompt_tokens: int
    answer_tokens: int


class Speaker:
    """Answers messages and continues texts with one model."""

    def __init__(self, model: Model, tokenizer: Tokenizer, name: str) -> None:
        self.name, self.tokenizer, self.model = name, tokenizer, model
        self.context = model.config.context
        self.engine = Engine(model, self.context, frozenset(ends_of(tokenizer)))

    @classmethod
    def load(cls, path: Path) -> "Speaker":
        """The speaker of a model directory, named after it; it computes in float32, however the weights are stored."""
        _, model = models.load(path)
        return cls(model.float(), tokenizers.load(path / "tokenizer"), path.name)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The conversation so far, as ids, up to where the answer begins."""
        return template.encode(self.tokenizer, messages, ask=True)[0]

    def text_ids(self, text: str) -> list[int]:
        """A text to be continued, as ids."""
        return [begin_of_text(self.tokenizer), *self.tokenizer.encode(text)]

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """The continuation of ``ids`` as it comes; the last piece says how it ended."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        control = set(self.tokenizer.control.values())
        for token in self.engine.tokens([ids], sampling):
            raw = b"" if token.id in control else self.tokenizer.piece(token.id)
            yield Piece(decoder.decode(raw, final=token.finish is not None), token.id, token.logprob, token.finish)

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """The answer to one conversation."""
        return self.replies([messages], sampling)[0]

    def replies(self, many: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """The answers to many conversations, batched by length so that little is padded."""
        prompts = [self.prompt_ids(messages) for messages in many]
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        made: dict[int, Reply] = {}
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            answers = self.engine.generate([prompts[place] for place in places], sampling)
            for place, answer in zip(places, answers, strict=True):
                assert answer.finish is not None
                text = self.tokenizer.decode(answer.ids)
                made[place] = Reply(text, answer.finish, len(prompts[place]), len(answer.ids))
        return [made[place] for place in range(len(prompts))]
