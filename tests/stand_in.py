"""A speaker without a model, for tests of everything that is said around one: it repeats the last message, word by word."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scratchlm.core.errors import UsageError
from scratchlm.core.records import Message
from scratchlm.generate.sample import Sampling


@dataclass(frozen=True)
class Word:
    text: str
    id: int
    logprob: float
    finish: Literal["stop", "length"] | None


class Letters:
    """One id per character."""

    end_of_text = 0

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


@dataclass
class Echo:
    """Says the prompt's last line again; ``gate`` holds it before each word while it is closed."""

    name: str = "echo"
    context: int = 400
    tokenizer: Letters = field(default_factory=Letters)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[Sampling] = field(default_factory=list)
    spoken: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        ids = self.tokenizer.encode("\n".join(message.content for message in messages))
        if len(ids) > self.context:
            raise UsageError(f"The prompt has {len(ids)} tokens, the model reads {self.context}.")
        return ids

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Word]:
        self.asked.append(sampling)
        words = "".join(map(chr, ids)).rpartition("\n")[2].split(" ")
        said = [word if n == 0 else " " + word for n, word in enumerate(words)][: sampling.max_tokens]
        for n, word in enumerate(said):
            assert self.gate.wait(10)
            end = None if n < len(said) - 1 else "length" if len(said) == sampling.max_tokens else "stop"
            self.spoken += 1
            yield Word(word, n, -0.5, end)
