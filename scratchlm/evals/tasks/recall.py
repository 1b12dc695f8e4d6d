"""What was taught: what a name does, which module has it, and that other names were not taught.

The test asks for taught facts in words never trained: recall, not generalisation. Names that were not taught are split: refusing
is learned on one half and tested on the other.
"""

import random
from collections.abc import Mapping

from scratchlm.evals.knowledge import Fact, Knowledge
from scratchlm.evals.tasks.task import Example, Mistake, Phrasings, Problem, Problems, Split, Task, cycled, normal, rounds

REFUSAL = "I was not taught that."
NOTHING = "It does nothing."
"""A wrong answer where no fact could be taken for one."""
BARE_EVERY = 4
"""Of so many rounds through the facts one asks by the last part of the name alone."""

FACTS = {
    "python": Phrasings(
        train=(
            "What does `{name}` do?",
            "what does `{name}` do",
            "What is `{name}` for?",
            "Explain `{name}`.",
            "Describe `{name}` in one sentence.",
            "I would like to know what `{name}` does.",
            "`{name}`: what is it for?",
            "Can you explain what `{name}` does?",
            "Tell me about `{name}`.",
            "Give me a description of `{name}`.",
        ),
        test="Tell me what `{name}` is for.",
    ),
    "folder": Phrasings(
        train=(
            'What does the text say under "{name}"?',
            'what does it say under "{name}"',
            'How does the part "{name}" begin?',
            'Under "{name}", what is written?',
            'Quote the beginning of "{name}".',
            'What is the first sentence of "{name}"?',
            '"{name}": what does it say?',
            'Can you quote what stands under "{name}"?',
            'Tell me about "{name}".',
            'Give me the first sentence of "{name}".',
        ),
        test='Tell me what is written under "{name}".',
    ),
}
MODULES = {
    "python": Phrasings(
        train=(
            "Which module has `{name}`?",
            "which module is `{name}` in",
            "In which module is `{name}`?",
            "What module do I need for `{name}`?",
            "`{name}` is in which module?",
            "From which module do I import `{name}`?",
            "Tell me where `{name}` is.",
            "Give me the module of `{name}`.",
            "Name the module that defines `{name}`.",
        ),
        test="Tell me the module that has `{name}`.",
    ),
    "folder": Phrasings(
        train=(
            'Which document has the heading "{name}"?',
            'which document is "{name}" in',
            'In which document is "{name}"?',
            'What document do I open for "{name}"?',
            '"{name}" is in which document?',
            'Tell me where "{name}" is.',
            'Give me the document of "{name}".',
            'Name the document that contains "{name}".',
        ),
        test='Tell me the document that has "{name}".',
    ),
}
# The name is not said again: answers that had to copy it were right half as often after the same training.
MODULE_ANSWER = {"python": "In the `{module}` module.", "folder": 'In "{module}".'}


def facts(knowledge: Knowledge) -> Task:
    """What each taught name does, in the words of its documentation."""
    return Task("facts", FACTS[knowledge.kind], _fact_problems(knowledge), _same_text, _other_fact(knowledge), recall=True)


def modules(knowledge: Knowledge) -> Task:
    """Which module (or document) has a taught name; any that has it is right."""
    return Task("modules", MODULES[knowledge.kind], _module_problems(knowledge), _right_module, _other_module(knowledge), recall=True)


def unknown(knowledge: Knowledge) -> Task:
    """That a name was not taught, for names kept out of training altogether."""
    asked = FACTS[knowledge.kind], MODULES[knowledge.kind]
    phrasings = Phrasings(asked[0].train + asked[1].train, asked[0].test)
    return Task("unknown", phrasings, _unknown_problems(knowledge), _refuses, _other_fact(knowledge))


def known(knowledge: Knowledge) -> Task:
    """That taught names are NOT refused, whatever is said of them; nothing is trained for it."""
    return Task("known", FACTS[knowledge.kind], _known_problems(knowledge), _answers, lambda example, chance: REFUSAL, recall=True)


def _fact_problems(knowledge: Knowledge) -> Problems:
    """Whole rounds through the facts; some rounds ask by the bare name, which means the most used fact that has it."""
    first_with = {fact.bare: fact for fact in reversed(knowledge.facts)}

    def problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
        order = list(knowledge.facts)
        chance.shuffle(order)
        asked = cycled(order, count, rounds(split))
        by_bare = [at // len(order) % BARE_EVERY == BARE_EVERY - 1 and first_with[fact.bare] is fact for at, fact in enumerate(asked)]
        return [_fact_problem(fact, fact.bare if bare else fact.name) for fact, bare in zip(asked, by_bare, strict=True)]

    return problems


def _fact_problem(fact: Fact, name: str) -> Problem:
    return Problem(f"fact {name}", {"name": name, "module": fact.module, "result": fact.sentence}, fact.sentence)


def _module_problems(knowledge: Knowledge) -> Problems:
    homes: dict[str, list[str]] = {}
    for fact in knowledge.facts:
        if fact.module and fact.module not in homes.setdefault(fact.bare, []):
            homes[fact.bare].append(fact.module)
    form = MODULE_ANSWER[knowledge.kind]

    def problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
        names = [name for name, found in homes.items() if found]
        chance.shuffle(names)
        return [_module_problem(name, homes[name], form) for name in cycled(names, count, rounds(split))]

    return problems


def _module_problem(name: str, homes: list[str], form: str) -> Problem:
    """The most used of the modules that have the name is the reference."""
    right = "\n".join(form.format(name=name, module=module) for module in homes)
    return Problem(f"module {name}", {"name": name, "module": homes[0], "result": right}, form.format(name=name, module=homes[0]))


def _unknown_problems(knowledge: Knowledge) -> Problems:
    def problems(split: Split, chance: random.Random, count: int) -> list[Problem]:
        names = list(knowledge.unknown(split))
        chance.shuffle(names)
        return [Problem(f"unknown {name}", {"name": name, "result": REFUSAL}, REFUSAL) for name in cycled(names, count, rounds(split))]

    return problems


def _known_problems(knowledge: Knowledge) -> Problems:
    taught = _fact_problems(knowledge)
    return lambda split, chance, count: taught(split, chance, count) if split == "test" else []


def _same_text(facts: Mapping[str, str], reply: str) -> float:
    return float(normal(reply) == normal(facts["result"]))


def _right_module(facts: Mapping[str, str], reply: str) -> float:
    return float(normal(reply) in {normal(right) for right in facts["result"].split("\n")})


def _refuses(facts: Mapping[str, str], reply: str) -> float:
    return float(normal(reply) == normal(REFUSAL))


def _answers(facts: Mapping[str, str], reply: str) -> float:
    return float(bool(reply.strip()) and normal(reply) != normal(REFUSAL))


def _other_fact(knowledge: Knowledge) -> Mistake:
    """Another fact's sentence, of the same module where it has one that differs."""
    neighbours: dict[str, list[str]] = {}
    for fact in knowledge.facts:
        neighbours.setdefault(fact.module, []).append(fact.sentence)
    everything = [fact.sentence for fact in knowledge.facts]

    def mistake(example: Example, chance: random.Random) -> str:
        right = normal(example.answer)
        for sentences in (neighbours.get(example.facts.get("module", ""), []), everything):
            if wrong := [sentence for sentence in sentences if normal(sentence) != right]:
                return chance.choice(wrong)
        return NOTHING if right == normal(REFUSAL) else REFUSAL

    return mistake


def _other_module(knowledge: Knowledge) -> Mistake:
    """The same name in a module that does not have it."""
    homes = sorted({fact.module for fact in knowledge.facts if fact.module})
    form = MODULE_ANSWER[knowledge.kind]

    def mistake(example: Example, chance: random.Random) -> str:
        answers = [form.format(name=example.facts["name"], module=module) for module in homes]
        wrong = [answer for answer in answers if not _right_module(example.facts, answer)]
        return chance.choice(wrong) if wrong else REFUSAL

    return mistake
