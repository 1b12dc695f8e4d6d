"""What the assistant learns from, mixed: facts in several phrasings, skills, refusals, and a few words about itself."""

import random
from collections.abc import Mapping, Sequence

from scratchlm.core import seeds
from scratchlm.core.config import nearest
from scratchlm.core.records import Conversation, Preference
from scratchlm.evals.knowledge import Kind, Knowledge
from scratchlm.evals.tasks import TASKS

IDENTITY = "identity"
SIZES = {
    "facts": 3600,
    "modules": 1800,
    "unknown": 1200,
    "addition": 1600,
    "reverse": 3000,
    "sort": 3400,
    "letters": 2000,
    IDENTITY: 100,
}
"""Chats of each kind in the laptop recipe; a kind with nothing to ask gives fewer."""
# No pairs of letters: right and wrong answers share all but two of them, and preferring cost letters 12 points and sort 18.
PAIRS = {"facts": 600, "modules": 200, "addition": 300}

SHOWN = ("facts", "modules", "addition", "sort", "reverse")

KNOWS = {"python": "I know some of Python's library", "folder": "I know some of the texts I was trained on"}
EXAMPLES = {
    "python": "Ask me what a Python function does, which module has it, or to add, reverse, sort or count letters.",
    "folder": "Ask me what stands under a heading, which document has it, or to add, reverse, sort or count letters.",
}
EXCHANGES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
"""How many questions a talk has, drawn from these: taught one by one only, a model fails the second that it is asked."""
TALK = "talk"
LONGEST_TALK = 500
"""Characters; with the words around it, some 200 tokens."""

WHO = (
    "Who are you?",
    "who are you",
    "What are you?",
    "What is your name?",
    "Introduce yourself.",
    "Tell me about yourself.",
    "Are you a human?",
    "Who made you?",
    "How were you made?",
    "What is scratchLM?",
)
HELLO = ("Hello", "Hello!", "hi", "Hi!", "Hi there", "Good morning", "hey", "Good evening!", "Hello, how are you?")
HELP = ("Help", "help", "What can you do?", "what can I ask you?", "What do you know?", "How can you help me?", "What should I ask?")
THANKS = ("Thanks", "thank you", "Thank you!", "Thanks a lot.", "Great, thanks!")
BYE = ("Bye", "Goodbye", "bye!", "See you.")


def check_sizes(sizes: dict[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """``sizes`` as they are; ValueError for a name that is no row or a count below zero."""
    for name, size in sizes.items():
        if name not in known:
            raise ValueError(f"no chats of '{name}'.{nearest(name, known).rstrip('.')}")
        if size < 0:
            raise ValueError(f"{name}: {size} is below 0")
    return sizes


def mixture(knowledge: Knowledge, seed: int, *, sizes: Mapping[str, int] = SIZES) -> list[Conversation]:
    """About ``sizes[task]`` conversations of each task from its training side, shuffled together."""
    chats = identity(knowledge.kind, sizes.get(IDENTITY, 0))
    for name, size in sizes.items():
        if name != IDENTITY:
            chats += [example.conversation(name) for example in TASKS[name](knowledge).train(seed, size)]
    random.Random(seeds.derive(seed, "mixture")).shuffle(chats)
    return chats


def talks(chats: Sequence[Conversation], seed: int) -> list[Conversation]:
    """The same exchanges in the same order, some of them two or three to a conversation."""
    chance = random.Random(seeds.derive(seed, "talks"))
    found, start = [], 0
    while start < len(chats):
        group = chats[start : start + chance.choice(EXCHANGES)]
        while len(group) > 1 and sum(len(message.content) for chat in group for message in chat.messages) > LONGEST_TALK:
            group = group[:-1]
        messages = tuple(message for chat in group for message in chat.messages)
        found.append(group[0] if len(group) == 1 else Conversation(messages, {"task": TALK}))
        start += len(group)
    return found


def pairs(knowledge: Knowledge, seed: int, *, sizes: Mapping[str, int] = PAIRS, test: bool = False) -> list[Preference]:
    """About ``sizes[task]`` pairs of each task, the reference answer against a plausible mistake, shuffled together.

    ``test`` takes problems (for recall: phrasings) that training never sees.
    """
    found = []
    for name, size in sizes.items():
        task = TASKS[name](knowledge)
        examples = task.test(seed, size) if test else task.train(seed, size)
        found += [task.preference(example, seed) for example in examples]
    random.Random(seeds.derive(seed, "pairs", test=test)).shuffle(found)
    return found


def first_questions(knowledge: Knowledge, seed: int) -> list[str]:
    """One question of each skill in a phrasing never trained, the most used fact first: what to try on the finished model."""
    asked = [TASKS[name](knowledge).test(seed, 1) for name in SHOWN]
    return [example.messages[-1].content for examples in asked for example in examples]


def identity(kind: Kind, count: int) -> list[Conversation]:
    """``count`` short exchanges about the assistant itself and the manners of a chat."""
    answers = {
        WHO: f"I am a small assistant made with scratchLM. {KNOWS[kind]}.",
        HELLO: f"Hello! {EXAMPLES[kind]}",
        HELP: f"{KNOWS[kind]}. {EXAMPLES[kind]}",
        THANKS: "You are welcome.",
        BYE: "Goodbye!",
    }
    every = [Conversation.ask(question, answer, task=IDENTITY) for questions, answer in answers.items() for question in questions]
    return (every * -(-count // len(every)))[:count]
