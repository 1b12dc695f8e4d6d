"""What is an assistant taught, and how is it checked? One row per task; a task is made for the knowledge at hand.

A verifiable reward is a task's ``score``.
"""

from collections.abc import Callable

from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks import addition, recall, words
from scratchlm.evals.tasks.task import Example, Phrasings, Problem, Task

TASKS: dict[str, Callable[[Knowledge], Task]] = {
    "facts": recall.facts,
    "modules": recall.modules,
    "unknown": recall.unknown,
    "known": recall.known,
    "addition": addition.addition,
    "reverse": words.reverse,
    "sort": words.sort,
    "letters": words.count,
}

EXAM, QUESTIONS = 0, 1000
"""The seed of all test questions, whatever the seed of a run: they are known before its corpus is made and kept out of it, and two runs
are asked the same; and how many of each task are kept out."""


def fixed_questions() -> dict[str, list[str]]:
    """The test questions of each task that can be known before there is a corpus; those of recall and of words are made from it."""
    nothing = Knowledge(kind="python")
    return {name: [example.messages[-1].content for example in build(nothing).test(EXAM, QUESTIONS)] for name, build in TASKS.items()}


__all__ = ["EXAM", "TASKS", "Example", "Phrasings", "Problem", "Task", "fixed_questions"]
