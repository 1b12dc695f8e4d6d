"""Addition of two numbers of up to two digits, worked column by column with the carry spelled out.

Why worked: a small model asked for the sum at once learned a tenth of what it learned with the columns written down.
"""

import random
import re
from collections.abc import Mapping

from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks.task import Example, Phrasings, Problem, Split, Task, held_out

PHRASINGS = Phrasings(
    train=(
        "What is {a}+{b}?",
        "{a}+{b}",
        "{a}+{b}=",
        "Add {a} and {b}.",
        "what is {a} plus {b}?",
        "What is {a} + {b}?",
        "Compute {a} + {b}.",
        "How do I add {a} and {b}?",
        "How many are {a} plus {b}?",
        "Tell me {a}+{b}.",
        "Give me the sum of {a} and {b}.",
    ),
    test="How much is {a}+{b}?",
)
LARGEST = 99
SHORT = 0.15
"""Share of sums in which a number may have one digit."""


def addition(knowledge: Knowledge) -> Task:
    """Sums of two numbers up to 99; a pair and its mirror image are one problem."""
    return Task("addition", PHRASINGS, _problems, _judge, _mistake)


def worked(a: int, b: int, *, carries: bool = True) -> str:
    """Columns from the right, then the sum: ``22, 99 -> '2+9=11, 2+9+1=12: 121'``; ``carries=False`` forgets to carry."""
    columns, digits, carry = [], [], 0
    width = max(len(str(a)), len(str(b)))
    for place in range(width):
        parts = [number // 10**place % 10 for number in (a, b) if place < len(str(number))] + [1] * carry
        total = sum(parts)
        columns.append(f"{'+'.join(map(str, parts))}={total}")
        digits.append(str(total if place == width - 1 else total % 10))
        carry = int(carries and total > 9)
    return f"{', '.join(columns)}: {''.join(reversed(digits))}"


def _problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
    """Mostly two digits each; in the test no pair twice, mirror images included."""
    found: dict[str, Problem] = {}
    for at in range(20 * count):
        if len(found) == count:
            break
        low = 0 if chance.random() < SHORT else 10
        problem = _problem(chance.randint(low, LARGEST), chance.randint(low, LARGEST))
        if held_out(problem.key) == (split == "test"):
            found[problem.key if split == "test" else str(at)] = problem
    return list(found.values())


def _problem(a: int, b: int) -> Problem:
    return Problem(f"addition {min(a, b)} {max(a, b)}", {"a": str(a), "b": str(b), "result": str(a + b)}, worked(a, b))


def _judge(facts: Mapping[str, str], reply: str) -> float:
    numbers = re.findall(r"\d+", reply.rpartition(":")[2])
    return float(bool(numbers) and numbers[-1] == facts["result"])


def _mistake(example: Example, chance: random.Random) -> str:
    a, b = int(example.facts["a"]), int(example.facts["b"])
    forgetful = worked(a, b, carries=False)
    if forgetful != example.answer and chance.random() < 0.5:
        return forgetful
    steps, _, result = example.answer.rpartition(": ")
    slip = chance.choice([1, -1, 10]) if int(result) else 1
    return f"{steps}: {int(result) + slip}"
