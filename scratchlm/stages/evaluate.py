"""evaluate: how good is every model of the run, with a 95 % interval on every number? Leaves ``scores/``."""

import json
import random
from pathlib import Path
from typing import Any

from pydantic import Field

from scratchlm.batches.chat import encode_preference
from scratchlm.batches.shards import open_split
from scratchlm.core import seeds
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Message
from scratchlm.evals import baselines, bits, mixture, preference
from scratchlm.evals.intervals import paired, proportion
from scratchlm.evals.knowledge import Knowledge, read_knowledge
from scratchlm.evals.tasks import EXAM, TASKS, Task
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import steady
from scratchlm.sources import record
from scratchlm.tokenizer.store import facts_of

MODELS = ("base", "sft", "preferred", "reinforced")
NOTES = {
    "facts": "Recall of taught facts in a phrasing never trained: not knowledge of functions outside the taught set.",
    "known": "Share of taught names that are not refused.",
    "talk": "Questions of all tasks, each asked second: after another question and its true answer.",
    "preference": "Share of pairs not trained on whose right answer the model finds likelier than the plausible mistake; "
    "pairs of facts and modules ask what was taught, in a new phrasing.",
    "implicit": "The same, measured against the fine-tuned model that preference tuning started from: what it added.",
    "ngram": "The n-gram and the compressors read the whole test split; models read its first {tokens} tokens.",
}


class Config(Settings):
    """What is measured, and on how much."""

    test_tokens: int | None = Field(default=None, ge=1)
    """Of the test split, for bits per byte; None: all of it."""
    examples: int = Field(default=300, ge=1)
    """Questions of each task."""
    pairs: int = Field(default=60, ge=1)
    """Held-out preference pairs of each task that has them."""
    baseline_bytes: int = Field(default=16_000_000, ge=1)
    """Training text that the n-gram and the compressors may read, at most."""
    max_tokens: int = Field(default=80, ge=1)
    """Of an answer at most."""
    shown: int = Field(default=3, ge=0)
    """Answers of each task and model that are kept for reading."""
    seed: int = 0


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Measure every model on the same test text and questions."""
    models = [made for name in MODELS if (made := home.find(name))]
    if not models:
        raise ArtifactError(f"{home.path}: no model to measure among {', '.join(MODELS)}. Run `scratchlm pretrain` first.")
    if home.find("corpus") is None or home.find("shards") is None:
        raise ArtifactError(
            f"{home.path}: no text to measure on. Make one with `scratchlm corpus {home.path} --data FOLDER`, then tokenize."
        )
    corpus, shards = home.open("corpus"), home.open("shards")
    taught = home.find("sft")
    knowledge = read_knowledge(taught.path) if taught else None
    return home.build(
        "scores", config, [*models, corpus, shards], lambda out: measure(config, out, models, (corpus, shards), knowledge, journal)
    )


def measure(
    config: Config, out: Draft, models: list[Artifact], text: tuple[Artifact, Artifact], knowledge: Knowledge | None, journal: Journal
) -> None:
    """Baselines, then model by model; what a killed run had finished is not measured again."""
    steady()
    corpus, shards = text
    scores: dict[str, Any] = {"baselines": once(out, "baselines", lambda: compare(config, corpus, journal)), "models": {}}
    answers: list[dict[str, Any]] = []
    for made in models:
        found = once(out, made.name, lambda made=made: examine(config, made, shards, knowledge, journal))
        scores["models"][made.name] = found["scores"]
        answers += found["answers"]
        journal.event("scores", model=made.name, **{name: round(each["value"], 4) for name, each in found["scores"].items()})
    scores["notes"] = _notes(config, scores["models"])
    _implicit(out, scores, [made.name for made in models])
    scores["changes"] = _changes(out, [made.name for made in models])
    out.write_json("scores.json", scores)
    out.write_json("answers.json", answers)
    out.count(models=len(models), examples=config.examples)


def once(out: Draft, name: str, work: Any) -> Any:
    """The result of ``work``, read back if an interrupted run had finished it."""
    path = out.path / "parts" / f"{name}.json"
    if not path.exists():
        out.write_json(f"parts/{name}.json", work())
    return json.loads(path.read_text(encoding="utf-8"))


def compare(config: Config, corpus: Artifact, journal: Journal) -> dict[str, Any]:
    """What predicts the same test text without a neural network."""
    train = _texts(corpus.path / "train.parquet", config.baseline_bytes)
    test = _texts(corpus.path / "test.parquet", config.baseline_bytes)
    for name, texts in (("train", train), ("test", test)):
        read, whole = sum(len(text.encode()) for text in texts), int(corpus.counts[f"{name}_bytes"])
        if read < whole:
            message = f"baselines read {read:,} of {whole:,} bytes of the {name} split (evaluate.baseline_bytes)"
            journal.event("baseline_text_cut", split=name, message=message)
    journal.progress("n-gram", 0, 3, "baselines")
    order, best = baselines.best(baselines.ngrams(train, test))
    journal.progress("xz", 1, 3, "baselines")
    xz = baselines.xz(train, test)
    journal.progress("zstd", 2, 3, "baselines")
    return {"ngram": {"order": order, **best.model_dump()}, "xz": xz, "zstd": baselines.zstd(train, test)}


def examine(config: Config, made: Artifact, shards: Artifact, knowledge: Knowledge | None, journal: Journal) -> dict[str, Any]:
    """All scores of one model, and some of its answers."""
    speaker = Speaker.load(made.path)
    test = open_split(shards.path, "test", tokenizer=facts_of(made.path / "tokenizer").sha256)
    found = bits.windows(test, speaker.context, most_tokens=config.test_tokens)
    costs = bits.bits_of_documents(
        speaker.model,
        found,
        Precision("float32"),
        pad=speaker.tokenizer.end_of_text,
        unknown=speaker.tokenizer.unknown,
        progress=lambda done, total: journal.progress(f"{made.name}: bits per byte", done, total, "batches"),
    )
    scores = {"bits_per_byte": bits.bits_per_byte(costs, found).model_dump()}
    answers: list[dict[str, Any]] = []
    rights: dict[str, list[float]] = {}
    for number, (name, task) in enumerate(_tasks(knowledge).items()):
        journal.progress(f"{made.name}: {name}", number, len(TASKS), "tasks")
        right, shown = ask(config, speaker, task)
        if right:
            scores[name], rights[name] = proportion(right).model_dump(), right
            answers += [{"model": made.name, "task": name, **each} for each in shown]
    if talk := ask_later(config, speaker, _tasks(knowledge)):
        scores["talk"] = proportion(talk).model_dump()
    margins = _margins(config, speaker, knowledge)
    if margins:
        scores["preference"] = proportion([float(margin > 0) for margin in margins]).model_dump()
    return {"scores": scores, "answers": answers, "margins": margins, "right": rights}


def ask(config: Config, speaker: Speaker, task: Task) -> tuple[list[float], list[dict[str, Any]]]:
    """The score of each greedy answer, and the first few in words."""
    examples = task.test(EXAM, config.examples)
    replies = speaker.replies([example.messages for example in examples], Sampling(max_tokens=config.max_tokens))
    right = [task.score(example, reply.text) for example, reply in zip(examples, replies, strict=True)]
    shown = [
        {"question": example.messages[-1].content, "answer": reply.text, "expected": example.answer, "right": score == 1}
        for example, reply, score in list(zip(examples, replies, right, strict=True))[: config.shown]
    ]
    return right, shown


def ask_later(config: Config, speaker: Speaker, tasks: dict[str, Task]) -> list[float]:
    """The score of test questions of all tasks, each asked second: after another one and its true answer."""
    each = -(-config.examples // max(1, len(tasks) - 1))  # "known" is right for a model that never refuses, taught or not
    asked = [(task, example) for name, task in tasks.items() if name != "known" for example in task.test(EXAM, each)]
    random.Random(seeds.derive(config.seed, "talk")).shuffle(asked)
    before = [(*example.messages, Message("assistant", example.answer)) for _, example in asked[-1:] + asked[:-1]]
    talks = [(*earlier, *example.messages) for earlier, (_, example) in zip(before, asked, strict=True)]
    fitting = [place for place, talk in enumerate(talks) if len(speaker.prompt_ids(talk)) < speaker.context]
    replies = speaker.replies([talks[place] for place in fitting], Sampling(max_tokens=config.max_tokens))
    return [asked[place][0].score(asked[place][1], reply.text) for place, reply in zip(fitting, replies, strict=True)]


def _tasks(knowledge: Knowledge | None) -> dict[str, Task]:
    return {} if knowledge is None else {name: build(knowledge) for name, build in TASKS.items()}


def _margins(config: Config, speaker: Speaker, knowledge: Knowledge | None) -> list[float]:
    if knowledge is None:
        return []
    sizes = dict.fromkeys(mixture.PAIRS, config.pairs)
    pairs = [encode_preference(speaker.tokenizer, pair) for pair in mixture.pairs(knowledge, EXAM, sizes=sizes, test=True)]
    fitting = [pair for pair in pairs if all(len(ids) <= speaker.context + 1 for ids, _ in pair)]
    return preference.margins(speaker.model, fitting, Precision("float32"), pad=speaker.tokenizer.end_of_text)


def _implicit(out: Draft, scores: dict[str, Any], names: list[str]) -> None:
    """Accuracy of the preferred model's margins beyond those of the model it was tuned from."""
    if {"sft", "preferred"} <= set(names):
        start, tuned = (_part(out, name)["margins"] for name in ("sft", "preferred"))
        scores["models"]["preferred"]["implicit"] = proportion([float(a > b) for a, b in zip(tuned, start, strict=True)]).model_dump()


def _changes(out: Draft, names: list[str]) -> dict[str, Any]:
    """What tuning changed in each skill: the same questions, model against the fine-tuned one, paired."""
    if "sft" not in names:
        return {}
    start = _part(out, "sft")["right"]
    tuned = {name: _part(out, name)["right"] for name in names if name in ("preferred", "reinforced")}
    return {name: {task: paired(start[task], right).model_dump() for task, right in found.items()} for name, found in tuned.items()}


def _part(out: Draft, name: str) -> dict[str, Any]:
    return json.loads((out.path / "parts" / f"{name}.json").read_text(encoding="utf-8"))


def _notes(config: Config, models: dict[str, Any]) -> list[str]:
    """What a reader must know about the measures that are there."""
    measured = {name for found in models.values() for name in found} | ({"ngram"} if config.test_tokens else set())
    return [f"{name}: {note.format(tokens=config.test_tokens)}" for name, note in NOTES.items() if name in measured]


def _texts(path: Path, most: int) -> list[str]:
    texts, size = [], 0
    for document in record.read(path, facts=()):
        if size >= most:
            break
        texts.append(document.text)
        size += len(document.text.encode())
    return texts
