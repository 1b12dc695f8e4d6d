"""Laws that every task keeps, whatever it asks."""

import itertools
from collections import Counter

import pytest

from scratchlm.evals.knowledge import Fact, Knowledge
from scratchlm.evals.mixture import IDENTITY, LONGEST_TALK, PAIRS, mixture, pairs, talks
from scratchlm.evals.tasks import TASKS
from scratchlm.evals.tasks.addition import worked
from scratchlm.evals.tasks.recall import REFUSAL
from scratchlm.evals.tasks.words import running_count

WORDS = tuple("".join(letters) for size in (3, 4, 5) for letters in itertools.islice(itertools.product("eabnts", repeat=size), 0, None, 5))
FACTS = tuple(
    Fact(name=f"{module}.make_{at}", module=module, sentence=f"Make {module} number {at} of them.", aliases=(f"make_{at}",))
    for at, module in enumerate(["os.path", "math", "json", "re"] * 5)
)
TWINS = (Fact(name="cmath.make_1", module="cmath", sentence="Make a complex one.", aliases=("make_1",)),)
PYTHON = Knowledge(kind="python", facts=FACTS + TWINS, unknown_names=tuple(f"os.lost_{at}" for at in range(40)), words=WORDS)
FOLDER = PYTHON.model_copy(update={"kind": "folder"})
EMPTY = Knowledge(kind="folder")
cases = pytest.mark.parametrize(("name", "knowledge"), [(name, knowledge) for name in TASKS for knowledge in (PYTHON, FOLDER)])


@cases
def test_nothing_is_asked_in_the_test_that_was_trained(name: str, knowledge: Knowledge):
    task = TASKS[name](knowledge)
    trained = {example.messages for seed in (1, 2) for example in task.train(seed, 400)}
    tested = task.test(3, 100)
    assert tested
    assert trained.isdisjoint(example.messages for example in tested)
    assert task.phrasings.test not in task.phrasings.train


@cases
def test_problems_of_a_skill_are_trained_or_tested_never_both(name: str, knowledge: Knowledge):
    task = TASKS[name](knowledge)
    problems = [{tuple(sorted(e.facts.items())) for e in examples} for examples in (task.train(1, 2000), task.test(2, 200))]
    assert task.recall or problems[0].isdisjoint(problems[1])


@cases
def test_the_reference_is_right_and_each_mistake_is_wrong(name: str, knowledge: Knowledge):
    task = TASKS[name](knowledge)
    for example in task.test(1, 60) + task.train(1, 60):
        assert task.score(example, f" {example.answer}\n") == 1.0
        for seed in range(5):
            assert task.score(example, task.wrong_answer(example, seed)) < 1.0
        assert task.score(example, "") == 0.0


@cases
def test_a_seed_decides_everything(name: str, knowledge: Knowledge):
    task, again = TASKS[name](knowledge), TASKS[name](knowledge)
    assert task.train(5, 50) == again.train(5, 50)
    assert task.test(5, 10) == again.test(5, 10) != task.test(6, 10)


@cases
def test_no_problem_is_tested_twice(name: str, knowledge: Knowledge):
    tested = Counter(example.messages for example in TASKS[name](knowledge).test(1, 300))
    assert tested.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", TASKS)
def test_without_knowledge_there_is_nothing_to_ask_but_sums(name: str):
    assert bool(TASKS[name](EMPTY).train(1, 5)) == (name == "addition") == bool(TASKS[name](EMPTY).test(1, 5))


def test_each_fact_comes_in_several_phrasings_before_one_returns():
    asked = Counter(example.messages for example in TASKS["facts"](PYTHON).train(1, 3 * len(PYTHON.facts)))
    assert set(asked.values()) == {1}


def test_any_module_that_has_a_name_is_right():
    task = TASKS["modules"](PYTHON)
    example = next(e for e in task.test(1, 100) if e.facts["name"] == "make_1")
    assert example.answer == "In the `math` module."
    assert task.score(example, "In the `cmath` module.") == 1.0
    assert task.score(example, "In the `json` module.") == 0.0


def test_refusals_are_right_for_unknown_names_and_wrong_for_taught_ones():
    unknown, known = TASKS["unknown"](PYTHON), TASKS["known"](PYTHON)
    assert unknown.score(unknown.test(1, 1)[0], REFUSAL) == 1.0
    assert known.score(known.test(1, 1)[0], REFUSAL) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (22, 99, "2+9=11, 2+9+1=12: 121"),
        (23, 45, "3+5=8, 2+4=6: 68"),
        (7, 5, "7+5=12: 12"),
        (95, 7, "5+7=12, 9+1=10: 102"),
        (81, 3, "1+3=4, 8=8: 84"),
    ],
)
def test_sums_are_worked_column_by_column(a: int, b: int, answer: str):
    assert worked(a, b) == answer


def test_letters_are_counted_one_by_one():
    assert running_count("keeping", "e") == "k0 e1 e2 p2 i2 n2 g2: 2"


def test_no_count_is_nearly_always_right():
    counts = Counter(example.facts["result"] for example in TASKS["letters"](PYTHON).train(1, 1000))
    assert max(counts.values()) <= 400
    assert set(counts) >= {"0", "1", "2"}


def test_the_mixture_is_what_its_sizes_say_and_never_touches_the_test():
    sizes = {"facts": 60, "addition": 40, "reverse": 30, IDENTITY: 20}
    chats = mixture(PYTHON, 1, sizes=sizes)
    tested = {example.messages[0] for name in TASKS for example in TASKS[name](PYTHON).test(1, 200)}
    assert Counter(chat.facts["task"] for chat in chats) == Counter(sizes)
    assert chats == mixture(PYTHON, 1, sizes=sizes) != mixture(PYTHON, 2, sizes=sizes)
    assert tested.isdisjoint(chat.messages[0] for chat in chats)


def test_pairs_set_the_right_answer_against_a_wrong_one():
    found = pairs(PYTHON, 1, sizes=dict.fromkeys(PAIRS, 10))
    assert len(found) == 10 * len(PAIRS)
    assert all(pair.chosen != pair.rejected for pair in found)
    asked = {pair.prompt for pair in found}
    assert asked.isdisjoint(pair.prompt for pair in pairs(PYTHON, 1, sizes=dict.fromkeys(PAIRS, 10), test=True))


def test_talks_hold_the_same_exchanges_in_the_same_order():
    chats = mixture(PYTHON, 1, sizes={"addition": 60, "sort": 60})
    found = talks(chats, 1)
    assert [message for talk in found for message in talk.messages] == [message for chat in chats for message in chat.messages]
    assert {len(talk.messages) for talk in found} == {2, 4, 6}
    assert all(sum(len(message.content) for message in talk.messages) <= LONGEST_TALK for talk in found if len(talk.messages) > 2)
    assert found == talks(chats, 1) != talks(chats, 2)
