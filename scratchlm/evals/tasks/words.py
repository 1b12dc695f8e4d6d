"""Skills on the letters of a word: reverse them, sort them, count one.

A tokenizer sees pieces of several letters, but a letter after a space is a piece of its own. So the words are asked letter by letter: with
whole words, a model of three million parameters learnt addition in a minute and none of these (0 to 3 %). Letter counts go through the
word letter by letter, and are balanced: before, "1", right three times in four, was said always.
"""

import random
import re
from collections.abc import Callable, Mapping
from itertools import accumulate

from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks.task import Example, Phrasings, Problem, Problems, Split, Task, cycled, held_out, rounds

REVERSE = Phrasings(
    train=(
        "Reverse the letters {letters}",
        "reverse {letters}",
        "Write {letters} in reverse.",
        "What is {letters} in reverse?",
        "Say the letters {letters} from last to first.",
        "Give me {letters} backwards.",
        "Turn {letters} around.",
    ),
    test="Give me the reverse of {letters}",
)
SORT = Phrasings(
    train=(
        "Sort the letters {letters}",
        "sort {letters}",
        "Put the letters {letters} in alphabetical order.",
        "What are the letters {letters} in alphabetical order?",
        "Sort {letters} by the alphabet.",
        "Arrange the letters {letters} from a to z.",
        "Give me {letters} in order.",
    ),
    test="Arrange {letters} in alphabetical order.",
)
COUNT = Phrasings(
    train=(
        "How many times does {letter} occur in {letters}?",
        "how many {letter} are in {letters}?",
        "Count the letter {letter} in {letters}",
        "How often is {letter} among {letters}?",
        "How many times is the letter {letter} in {letters}?",
        "Count {letter} among the letters {letters}",
        "Tell me how many {letter} there are in {letters}",
    ),
    test="Count how often {letter} occurs in {letters}",
)
LONGEST = 5
"""Letters to reverse or sort at most: asked up to seven, a fifth of the sorted words came out right after the same training."""
MOST = 3
"""Largest count asked for."""


def reverse(knowledge: Knowledge) -> Task:
    """The letters from last to first, of words of up to five."""
    return Task("reverse", REVERSE, _word_problems("reverse", knowledge, _reversed), _same_letters, _mistaken)


def sort(knowledge: Knowledge) -> Task:
    """The letters in alphabetical order, of words of up to five."""
    return Task("sort", SORT, _word_problems("sort", knowledge, _sorted), _same_letters, _mistaken)


def count(knowledge: Knowledge) -> Task:
    """How often a letter occurs, by a running count: ``'e' in 'keep' -> 'k0 e1 e2 p2: 2'``."""
    return Task("letters", COUNT, _count_problems(knowledge), _same_number, _miscounted)


def running_count(word: str, letter: str) -> str:
    """Each letter with how many have been met so far, then the total."""
    counts = list(accumulate(int(found == letter) for found in word))
    return f"{' '.join(f'{found}{so_far}' for found, so_far in zip(word, counts, strict=True))}: {counts[-1]}"


def _reversed(word: str) -> tuple[str, str]:
    return " ".join(word[::-1]), word[::-1]


def _sorted(word: str) -> tuple[str, str]:
    ordered = "".join(sorted(word))
    return " ".join(ordered), ordered


def _split_words(knowledge: Knowledge, *, test: bool) -> list[str]:
    """Words of the split; one in which all letters are the same leaves no room for a mistake."""
    return [word for word in knowledge.words if held_out(f"word {word}") == test and len(set(word)) > 1]


def _word_problems(name: str, knowledge: Knowledge, solve: Callable[[str], tuple[str, str]]) -> Problems:
    """Problems of one word each; words come round again when there are fewer than asked for."""

    def problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
        words = [word for word in _split_words(knowledge, test=split == "test") if len(word) <= LONGEST]
        chance.shuffle(words)
        return [_word_problem(name, word, solve) for word in cycled(words, count, rounds(split))]

    return problems


def _word_problem(name: str, word: str, solve: Callable[[str], tuple[str, str]]) -> Problem:
    answer, result = solve(word)
    return Problem(f"{name} {word}", {"word": word, "letters": " ".join(word), "result": result}, answer)


def _count_problems(knowledge: Knowledge) -> Problems:
    """Counts 0, 1 and 2 equally often; 3 as far as there are words for it, up to a tenth."""

    def problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
        words = _split_words(knowledge, test=split == "test")
        chance.shuffle(words)
        found = [[(word, letter) for word in words if (letter := _letter(word, wanted, chance))] for wanted in range(MOST + 1)]
        chosen = cycled(found[MOST], count // 10, rounds(split))
        for wanted in range(MOST):
            chosen += cycled(found[wanted], (count - len(chosen)) // (MOST - wanted), rounds(split))
        chance.shuffle(chosen)
        return [_count_problem(word, letter) for word, letter in chosen]

    return problems


def _letter(word: str, wanted: int, chance: random.Random) -> str | None:
    """A letter that occurs ``wanted`` times in the word, None when there is none."""
    alphabet = "abcdefghijklmnopqrstuvwxyz" if wanted == 0 else "".join(sorted(set(word)))
    fitting = [letter for letter in alphabet if word.count(letter) == wanted]
    return chance.choice(fitting) if fitting else None


def _count_problem(word: str, letter: str) -> Problem:
    facts = {"word": word, "letters": " ".join(word), "letter": letter, "result": str(word.count(letter))}
    return Problem(f"letters {letter} {word}", facts, running_count(word, letter))


def _same_letters(facts: Mapping[str, str], reply: str) -> float:
    return float(re.sub(r"[\s.]", "", reply.rpartition(":")[2]).casefold() == facts["result"])


def _same_number(facts: Mapping[str, str], reply: str) -> float:
    numbers = re.findall(r"\d+", reply.rpartition(":")[2])
    return float(bool(numbers) and numbers[-1] == facts["result"])


def _mistaken(example: Example, chance: random.Random) -> str:
    """The answer with two neighbouring, different letters of the result exchanged."""
    steps, colon, result = example.answer.rpartition(": ")
    letters = result.split(" ")
    place = chance.choice([i for i in range(len(letters) - 1) if letters[i] != letters[i + 1]])
    letters[place : place + 2] = letters[place + 1], letters[place]
    return f"{steps}{colon}{' '.join(letters)}"


def _miscounted(example: Example, chance: random.Random) -> str:
    """A running count that misses one, or counts one letter too many."""
    word, letter = example.facts["word"], example.facts["letter"]
    flags = [int(found == letter) for found in word]
    place = chance.randrange(len(word))
    flags[place] = 1 - flags[place]
    counts = list(accumulate(flags))
    return f"{' '.join(f'{found}{so_far}' for found, so_far in zip(word, counts, strict=True))}: {counts[-1]}"
