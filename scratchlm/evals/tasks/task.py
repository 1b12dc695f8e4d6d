"""What a task is: problems with checkable answers, phrasings to ask them in, a score, and plausible mistakes.

What is tested was never trained: skills keep one problem in five for the test, whatever the seed; recall asks what was taught,
in words that were not. Both hold back one phrasing.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from scratchlm.core import seeds
from scratchlm.core.records import Conversation, Message, Preference

T = TypeVar("T")
ROUNDS = 16
"""How often a problem is asked at most in training, so that a few facts do not become the whole lesson."""

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to ask about, before it is put in words."""

    key: str
    """Names the problem whatever the phrasing; the split depends on it alone."""
    facts: Mapping[str, str]
    """What phrasings mention and the verifier needs."""
    answer: str


@dataclass(frozen=True, slots=True)
class Example:
    """A question, the reference answer, and what the verifier needs to know."""

    messages: tuple[Message, ...]
    answer: str
    facts: Mapping[str, str]

    def conversation(self, task: str) -> Conversation:
        """The question with its answer, to learn from."""
        return Conversation((*self.messages, Message("assistant", self.answer)), {"task": task})


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The words to ask in: several to learn from, one to be tested in."""

    train: tuple[str, ...]
    test: str


Problems = Callable[[Split, random.Random, int], list[Problem]]
"""(split, source of chance, count) -> at most ``count`` problems; in the test split, no problem twice."""

Mistake = Callable[[Example, random.Random], str]


@dataclass(frozen=True, slots=True)
class Task:
    """A row of ``TASKS`` made for one body of knowledge."""

    name: str
    phrasings: Phrasings
    problems: Problems
    judge: Callable[[Mapping[str, str], str], float]
    """(facts of the example, reply) -> 0 to 1; 1 is exactly right."""
    mistake: Mistake
    recall: bool = False
    """Whether the test asks what was taught, in a new phrasing, instead of problems never trained."""

    def train(self, seed: int, count: int) -> list[Example]:
        """At most ``count`` examples to learn from (none when there is nothing to ask); a problem that returns comes in other words."""
        seen: Counter[str] = Counter()
        examples = []
        for problem in self.problems("train", self._chance(seed, "train"), count):
            turn = seeds.derive(seed, "phrasing", key=problem.key) + seen[problem.key]
            seen[problem.key] += 1
            examples.append(_asked(problem, self.phrasings.train[turn % len(self.phrasings.train)]))
        return examples

    def test(self, seed: int, count: int) -> list[Example]:
        """At most ``count`` examples in the phrasing that was held back, no problem twice."""
        return [_asked(problem, self.phrasings.test) for problem in self.problems("test", self._chance(seed, "test"), count)]

    def score(self, example: Example, reply: str) -> float:
        """How right ``reply`` is, 0 to 1."""
        return self.judge(example.facts, reply)

    def wrong_answer(self, example: Example, seed: int) -> str:
        """A plausible mistake in the form of an answer; its score is below 1."""
        return self.mistake(example, random.Random(seeds.derive(seed, "mistake", task=self.name, asked=example.messages[-1].content)))

    def preference(self, example: Example, seed: int) -> Preference:
        """The reference answer against a plausible mistake."""
        return Preference(example.messages, example.answer, self.wrong_answer(example, seed), {"task": self.name})

    def _chance(self, seed: int, split: Split) -> random.Random:
        return random.Random(seeds.derive(seed, "problems", task=self.name, split=split))


def held_out(key: str) -> bool:
    """Whether the problem belongs to the test: one in five, the same for every seed."""
    return seeds.derive(0, "held out", key=key) % 5 == 0


def rounds(split: Split) -> int:
    """How often a problem may be asked: once in the test."""
    return ROUNDS if split == "train" else 1


def cycled(items: Sequence[T], count: int, most: int) -> list[T]:
    """``count`` items, all of them before any comes again, none more than ``most`` times."""
    return [item for _ in range(most) for item in items][:count]


def normal(text: str) -> str:
    """Case, runs of whitespace and a final period aside."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def _asked(problem: Problem, phrasing: str) -> Example:
    return Example((Message("user", phrasing.format_map(problem.facts)),), problem.answer, problem.facts)
