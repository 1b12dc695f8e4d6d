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

__all__ = ["TASKS", "Example", "Phrasings", "Problem", "Task"]
