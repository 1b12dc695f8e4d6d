"""Do two runtimes agree? What is asked of both, which ids they make of it, and when an answer may differ: in a near-tie only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scratchlm.core import seeds
from scratchlm.core.errors import CheckFailed

PLAIN = (
    "Hello.", "Who are you?", "What is 3 + 4?", "Tell me about lists.", "Why?", "It's 2024: isn't 3.14159 + 15 what you'd say?",
    "What does\n\n\tthis  mean?\n", "Naïve café, 你好 🙂!", "Count 1234567 and 89.", "print(x[0])  # ok!?\r\nDONE", "Name a colour.",
    "How do I open a file?", "Reverse the word stone.", "What is a module?", "Ærøskøbing, Ωmega, Привет, नमस्ते.", "SHOUTED WORDS, it'S",
    "__init__.py and a_b-c/d", "What comes after ... ?", "a  b   c    d", "Good night, and thank you for all of it.",
)  # fmt: skip
"""Questions to any model: plain ones, and such as tokenizers cut differently (digits, blanks, contractions, other scripts)."""
ROWS, LENGTH = 3, 96
"""Rows of random ids whose logits are compared, and their length where no window asks for more."""
BEYOND = 32
"""Positions of a row behind the end of the window, if there is one: that is where it begins to matter."""
MOST_LENGTH = 1024
"""Of a row; a wider window is not seen to end."""


@dataclass(frozen=True)
class Ours:
    """Our side: what the model is, what it is asked, and what it makes of that."""

    shape: Mapping[str, Any]
    """The fields of its ``model.json``."""
    chats: bool
    """Prompts are questions, else texts to continue."""
    begin: int
    """What a text begins with."""
    ends: frozenset[int]
    control: frozenset[int]
    prompts: Mapping[str, Sequence[int]]
    """Each with its ids; all leave room for an answer."""
    most: int
    """Tokens of an answer."""
    logits: Callable[[Sequence[int]], Tensor]
    """``logits_TV`` of one row, as training computes them, in float32."""
    answer: Callable[[Sequence[int], int], list[int]]
    """The greedy answer to a prompt, at most so many tokens long."""

    def room(self, ids: Sequence[int]) -> int:
        """Tokens of the answer to a prompt."""
        return min(self.most, self.shape["context"] - len(ids))

    def length(self, *, most: int) -> int:
        """Of the rows that are compared."""
        window = self.shape.get("window")
        return min(most, self.shape["context"], LENGTH if window is None else max(LENGTH, min(window + BEYOND, MOST_LENGTH)))

    def rows(self, *, most: int = MOST_LENGTH) -> list[list[int]]:
        """Random ids, at most ``most`` in a row."""
        generator = torch.Generator().manual_seed(seeds.derive(0, "parity"))
        return torch.randint(self.shape["vocab"], (ROWS, self.length(most=most)), generator=generator).tolist()


def chosen(examples: Sequence[str], *, most: int) -> list[str]:
    """Prompts: up to half of them what the model was taught, then ``PLAIN``."""
    return list(dict.fromkeys([*examples[: most // 2], *PLAIN, *examples[most // 2 :]]))[:most]


def largest(logits: Sequence[Tensor]) -> float:
    """The size of the largest logit; NaN, which Python's ``max`` would pass over, where one is."""
    return float(torch.stack([logits_TV.abs().max() for logits_TV in logits]).max())


def check_prompts(ours: Ours, theirs: Mapping[str, Sequence[int]], where: str) -> None:
    """CheckFailed when a prompt has other ids there: the model would answer another question."""
    for prompt, ids in ours.prompts.items():
        if list(theirs[prompt]) != list(ids):
            place = next(
                (n for n, (a, b) in enumerate(zip(ids, theirs[prompt], strict=False)) if a != b), min(len(ids), len(theirs[prompt]))
            )
            found = f"{list(theirs[prompt])[place : place + 4]} at place {place}, where ours has {list(ids)[place : place + 4]}"
            raise CheckFailed(f"{where} reads the prompt {prompt!r} as other ids: {found}. Nothing was exported.")


def check_answers(ours: Ours, theirs: Mapping[str, Sequence[int]], where: str, *, bound: float | None) -> int:
    """How many greedy answers are equal; CheckFailed for one that differs though our choice there was clear.

    Clear: the token that they took lies more than ``bound`` below our likeliest one. None, for rounded weights: every answer may differ.
    """
    equal = 0
    for prompt, ids in ours.prompts.items():
        mine = ours.answer(ids, ours.room(ids))
        place = _parts_at(_without_end(mine, ours.ends), _without_end(theirs[prompt], ours.ends), ours)
        equal += place is None
        if place is None or bound is None:
            continue
        logits_V = ours.logits([*ids, *mine[:place]])[-1]
        took = list(theirs[prompt])[place : place + 1] or list(ours.ends)
        below = float(logits_V.max() - logits_V[took].max())
        if not below <= bound:  # nor is it where a logit is no number
            raise CheckFailed(
                f"{where} answers {prompt!r} otherwise from token {place} on: what it took lies {below:.1e} below our choice, "
                f"limit {bound:.0e}. Nothing was exported."
            )
    return equal


def _without_end(ids: Sequence[int], ends: frozenset[int]) -> list[int]:
    """Some runtimes give the token that ends an answer, some keep it."""
    return list(ids[:-1]) if ids and ids[-1] in ends else list(ids)


def _parts_at(mine: list[int], theirs: list[int], ours: Ours) -> int | None:
    """The first place where two answers differ, None where they are equal.

    Readers also end an answer at control tokens that they know by their names alone.
    """
    place = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    if mine == theirs or (place == len(theirs) and mine[place] in ours.control):
        return None
    return place
