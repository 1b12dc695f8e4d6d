"""sft: learn to answer. Chats made from the corpus itself, or from a file; only answers are trained on. Leaves ``sft/``."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from scratchlm.batches.chat import ChatRows, Encoded, read_chats
from scratchlm.core.artifact import Artifact, Draft, Home, sha256_of
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Conversation, Message
from scratchlm.core.tensors import Every
from scratchlm.evals.knowledge import KNOWLEDGE, Knowledge, learn
from scratchlm.evals.mixture import SIZES, check_sizes, first_questions, mixture, talks
from scratchlm.export.fields import ORIGIN
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import store
from scratchlm.serve.choose import EXAMPLES
from scratchlm.sources import record
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer import template
from scratchlm.tokenizer.interface import Tokenizer
from scratchlm.train.loop import Probe
from scratchlm.train.objectives import NextToken
from scratchlm.train.session import Session
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState


class Config(Training):
    """Which chats, and how often each is seen."""

    chats: str | None = None
    """File of conversations, one JSON object per line; None: made from the corpus."""
    epochs: float = Field(default=4.0, gt=0)
    """How often each chat is seen: the horizon."""
    rows: int = Field(default=16, ge=1)
    """Packed rows of the model's context in a step."""
    facts: int = Field(default=600, ge=0)
    """How many facts are taught: the most used functions, or the first headings of a folder."""
    sizes: dict[str, int] = SIZES
    """Chats of each task."""
    sample_steps: int | None = Field(default=100, ge=1)
    """Steps from one answer that is shown to the next; None: none is."""

    @field_validator("sizes")
    @classmethod
    def _known(cls, sizes: dict[str, int]) -> dict[str, int]:
        return check_sizes(sizes, SIZES)


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Fine-tune the base model on conversations."""
    base, taught = home.open("base"), home.find("sft")
    if config.chats is None and taught is not None and (taught.path / ORIGIN).exists():
        journal.event("chats", note="the adopted model converses already and stays as it is; --chats FILE teaches it more")
        return taught
    corpus = home.open("corpus") if config.chats is None else home.find("corpus")
    inputs = {made.name: made.fingerprint for made in (base, corpus) if made} | _digest(config.chats)
    if config.chats is not None:  # refused before an earlier model makes room
        packed_rows(list(read_chats(Path(config.chats))), tokenizers.load(base.path / "tokenizer"), context_of(base), config)
    return home.build("sft", config, inputs, lambda out: train(config, out, base, corpus, journal), together=True)


def train(config: Config, out: Draft, base: Artifact, corpus: Artifact | None, journal: Journal) -> None:
    """All of fine-tuning: conversations in, a model out."""
    tokenizer = tokenizers.load(base.path / "tokenizer")
    origin = store.Stored(base.path)
    session = Session.open(out, config, journal, origin, rows=config.rows)
    chats = conversations(config, out, corpus)
    rows = packed_rows(chats, tokenizer, origin.config.context, config)
    tell(rows, chats, session.journal)
    steps = max(1, round(rows.steps(1) * config.epochs))
    objective = NextToken(session.model, session.crew.among)
    probes = (sample(tokenizer, chats, config.sample_steps),) if config.sample_steps else ()
    state = session.train(lambda step: [rows.batch(step)], objective, steps=steps, probes=probes)
    session.leave(state, base.path / "tokenizer")
    out.count(chats=len(rows.kept), dropped_chats=rows.dropped, cut_chats=rows.cut)


def conversations(config: Config, out: Draft, corpus: Artifact | None) -> list[Conversation]:
    """The chats to learn from; what is taught is written down beside the model. An adopted model may learn from a file without a corpus."""
    knowledge = Knowledge(kind="folder")
    if corpus is not None:
        kind = "python" if corpus.manifest.config.get("data") is None else "folder"
        documents = record.read(corpus.path / "train.parquet")
        knowledge = learn(documents, kind, facts=config.facts if config.chats is None else 0)  # a file's chats teach none of them
    out.write_text(KNOWLEDGE, knowledge.model_dump_json(indent=1))
    out.write_json(EXAMPLES, first_questions(knowledge, config.seed))
    if config.chats is not None:
        return list(read_chats(Path(config.chats)))
    return talks(mixture(knowledge, config.seed, sizes=config.sizes), config.seed)


def packed_rows(chats: list[Conversation], tokenizer: Tokenizer, context: int, config: Config) -> ChatRows:
    """Chats as rows of the model's context."""
    encoded: list[Encoded] = [template.encode(tokenizer, chat.messages) for chat in chats]
    return ChatRows(encoded, context=context, rows_per_batch=config.rows, seed=config.seed, pad=tokenizer.end_of_text)


def tell(rows: ChatRows, chats: list[Conversation], journal: Journal) -> None:
    """What is learned from, and what did not fit."""
    trained = sum(sum(mask) for _, mask in rows.kept)
    kinds = Counter(chat.facts.get("task", "file") for chat in chats)
    journal.event("chats", kept=len(rows.kept), dropped=rows.dropped, cut=rows.cut, answer_tokens=trained, kinds=dict(kinds))


def context_of(model: Artifact) -> int:
    """How much it reads at once, without loading its weights."""
    return json.loads((model.path / store.SHAPE).read_text(encoding="utf-8"))["context"]


def sample(tokenizer: Tokenizer, chats: list[Conversation], steps: int) -> Probe:
    """A greedy answer to the opening of another chat each time, to see what is being learnt; one too long to read is passed over."""
    openings = [opening(chat) for chat in chats]

    def measure(state: TrainState) -> dict[str, Any]:
        if (model := state.crew.whole()) is None:
            return {}
        speaker = Speaker(model, tokenizer, "sft")
        asked = openings[state.step // steps % len(openings)]
        if len(speaker.prompt_ids(asked)) >= speaker.context:
            return {"prompt": "(too long to show)", "text": ""}
        return {"prompt": asked[-1].content, "text": f"\n{speaker.reply(asked, Sampling(max_tokens=64)).text}"}

    return Probe("sample", Every(steps), measure)


def opening(chat: Conversation) -> list[Message]:
    """All that stands before the first answer."""
    return list(itertools.takewhile(lambda message: message.role != "assistant", chat.messages)) or list(chat.messages[:1])


def _digest(chats: str | None) -> dict[str, str]:
    if chats is None:
        return {}
    path = Path(chats)
    if not path.is_file():
        raise UsageError(f"{path}: no such file. Give --chats a file of conversations, one JSON object per line.")
    return {"chats": sha256_of(path)}
