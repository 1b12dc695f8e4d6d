"""reinforce: practise a skill whose answers can be checked, and do more of what was right (GRPO). Leaves ``reinforced/``.

Strictly on-policy: answers are sampled at temperature 1 and used for one step, so the importance ratio is one and its clip never binds.
"""

from collections.abc import Sequence

import torch
from pydantic import Field

from scratchlm.batches.chat import batch_of
from scratchlm.core import seeds
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch
from scratchlm.evals.knowledge import KNOWLEDGE, read_knowledge
from scratchlm.evals.tasks import TASKS, Example, Task
from scratchlm.generate.engine import Answer
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.losses.policy import group_advantages
from scratchlm.model import store
from scratchlm.parallel.layout import ROWS
from scratchlm.serve.choose import EXAMPLES
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.interface import Tokenizer
from scratchlm.train.crew import Crew
from scratchlm.train.objectives import Rewarded, Rollouts
from scratchlm.train.session import Session
from scratchlm.train.settings import Training


class Config(Training):
    """Which skill, and how it is practised."""

    task: str = "letters"
    """A row of TASKS whose score is the reward."""
    steps: int = Field(default=60, ge=1)
    """Updates of the model."""
    prompts: int = Field(default=16, ge=1)
    """Problems in a step."""
    group: int = Field(default=8, ge=2)
    """Answers sampled to each problem; they are compared with each other."""
    max_tokens: int = Field(default=48, ge=1)
    """Of an answer at most."""
    kl: float = Field(default=0.05, ge=0)
    """Weight of the divergence from the model at the start."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Reinforce the newest of preferred and sft."""
    if config.task not in TASKS:
        raise UsageError(f"reinforce.task: no task '{config.task}'.{nearest(config.task, TASKS)}")
    start = home.find("preferred") or home.open("sft")
    return home.build("reinforced", config, [start], lambda out: train(config, out, start, journal), together=True)


def train(config: Config, out: Draft, start: Artifact, journal: Journal) -> None:
    """All of reinforcement: problems in, a model out."""
    tokenizer = tokenizers.load(start.path / "tokenizer")
    origin = store.Stored(start.path)
    session = Session.open(out, config, journal, origin)
    frozen = session.beside(origin)
    task = TASKS[config.task](read_knowledge(start.path))
    problems = task.train(config.seed, config.steps * config.prompts)
    if not problems:
        raise UsageError(f"reinforce.task: '{config.task}' has nothing to ask about this text. Choose another task.")

    def items(step: int) -> list[Rollouts]:
        places = own_prompts(config, session)
        asked = [problems[(step * config.prompts + place) % len(problems)] for place in places]
        policy = Speaker(session.crew.whole_everywhere(), tokenizer, "policy")
        return [rollouts(config, task, asked, policy, frozen, session, seeds.derive(config.seed, "rollout", step=step))]

    state = session.train(items, Rewarded(session.model.logits, config.kl), steps=config.steps, shared=True)
    session.leave(state, start.path / "tokenizer", start.path / KNOWLEDGE, start.path / EXAMPLES)
    out.count(task=config.task, rollouts=config.steps * config.prompts * config.group)


def own_prompts(config: Config, session: Session) -> range:
    """Which of a step's problems this process asks."""
    each, place = session.world.share(config.prompts, "prompts"), session.world.place_along(*ROWS)
    return range(place * each, (place + 1) * each)


def rollouts(config: Config, task: Task, asked: Sequence[Example], policy: Speaker, frozen: Crew, session: Session, seed: int) -> Rollouts:
    """Answers of the policy to each problem, several times each, with their rewards."""
    examples = [example for example in asked for _ in range(config.group)]
    prompts, first = [policy.prompt_ids(example.messages) for example in examples], own_prompts(config, session).start * config.group
    answers = policy.engine.generate(prompts, Sampling(temperature=1, max_tokens=config.max_tokens, seed=seed, first_row=first))
    rewards = [reward(task, example, answer, policy.tokenizer) for example, answer in zip(examples, answers, strict=True)]
    batch = answered(prompts, answers, pad=policy.tokenizer.end_of_text)
    advantages_PG = group_advantages(torch.tensor(rewards).view(len(asked), config.group))
    sampled_BT, reference_BT = session.crew.logprobs(batch), frozen.logprobs(batch)
    weight, count = session.world.sums([batch.weight, float(len(rewards))], *ROWS)
    return Rollouts(batch, sampled_BT, reference_BT, advantages_PG.view(-1, 1), torch.tensor(rewards), weight / count)


def reward(task: Task, example: Example, answer: Answer, tokenizer: Tokenizer) -> float:
    """The task's own score; nothing for an answer that did not end by itself."""
    return task.score(example, tokenizer.decode(answer.ids)) if answer.finish == "stop" else 0.0


def answered(prompts: Sequence[Sequence[int]], answers: Sequence[Answer], *, pad: int) -> Batch:
    """Each prompt with its answer in a row of its own; only sampled tokens weigh."""
    rows = [
        [([*prompt, *answer.ids], [False] * len(prompt) + [True] * len(answer.ids))]
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return batch_of(rows, length=max(len(row[0][0]) for row in rows) - 1, pad=pad)
