"""export: a model for other runtimes, checked against our own before it counts as finished."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

import scratchlm
from scratchlm.core import seeds
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings, to_plain
from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Message
from scratchlm.core.tensors import positions_of
from scratchlm.export import huggingface, parity
from scratchlm.export.card import Facts, Source, card
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import attention, store
from scratchlm.model.architectures import ARCHITECTURES, Model, parameters_of
from scratchlm.serve.choose import UNTAUGHT, examples, newest_model
from scratchlm.tokenizer.interface import END_OF_TEXT, FILE
from scratchlm.tokenizer.store import facts_of
from scratchlm.tokenizer.template import JINJA

PROMPTS = 10
"""Greedy answers compared."""
LONGEST = 32
"""Tokens of each."""
ROWS, LENGTH = 3, 96
"""Rows of random ids whose logits are compared, and their length."""
PLAIN = (
    "Hello.", "Who are you?", "What is 3 + 4?", "Tell me about lists.", "Why?", "Name a colour.", "How do I open a file?",
    "Reverse the word stone.", "What is a module?", "Good night, and thank you for all of it.",
)  # fmt: skip


class Config(Settings):
    formats: tuple[Literal["hf"], ...] = ("hf",)
    """``hf``: a Hugging Face directory."""
    model: str | None = None
    """reinforced, preferred, sft or base; None: the newest of these."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Write the model in each format and compare what other runtimes make of it."""
    chosen = newest_model(home, config.model)
    if not config.formats:
        raise UsageError("export.formats: none is given. Give at least one of: hf.")
    beside = [found for name in ("corpus", "scores") if (found := home.find(name)) is not None]

    def make(draft: Draft) -> None:
        write_huggingface(draft, chosen, beside={found.name: found for found in beside})
        check(draft, chosen, journal)

    return home.build("export/hf", config, [chosen, *beside], make)


def write_huggingface(draft: Draft, chosen: Artifact, *, beside: Mapping[str, Artifact]) -> None:
    """All files of the directory; UsageError when nobody else could read this kind of model or tokenizer."""
    shape, model = store.load(chosen.path)
    names = ARCHITECTURES[shape.kind].HF_NAMES
    words = facts_of(chosen.path / "tokenizer")
    if names is None:
        portable = " or ".join(f"'{kind}'" for kind, row in ARCHITECTURES.items() if row.HF_NAMES is not None)
        example = '--set pretrain.model=\'{"kind": "qwen3"}\''
        raise UsageError(f"{chosen.path}: no other runtime can read a '{shape.kind}' model. Train with {portable}: {example}.")
    tokenizer = (chosen.path / "tokenizer" / FILE).read_bytes()
    huggingface.write(
        draft.path,
        model=huggingface.Model(to_plain(shape), model.state_dict(), names),
        words=huggingface.Words(tokenizer, words.control, END_OF_TEXT, JINJA),
    )
    facts = Facts(
        name=f"{chosen.path.parent.name}-{chosen.name}",
        version=scratchlm.__version__,
        parameters=parameters_of(model),
        shape=to_plain(shape),
        recipe=chosen.manifest.config,
        sources=sources_of(beside["corpus"].path / "train.parquet") if "corpus" in beside else (),
        scores=_scores(beside["scores"].path / "scores.json") if "scores" in beside else None,
    )
    draft.write_text("README.md", card(facts))
    draft.count(model=chosen.name, parameters=facts.parameters)


def sources_of(path: Path) -> list[Source]:
    """Documents and characters of each source and licence in a split."""
    if not path.exists():
        return []
    table = pq.read_table(path, columns=["source", "licence", "n_chars"])
    plain = pa.table({"source": table["source"].cast("string"), "licence": table["licence"].cast("string"), "size": table["n_chars"]})
    groups = plain.group_by(["source", "licence"]).aggregate([("size", "count"), ("size", "sum")]).to_pylist()
    found = [Source(row["source"], row["licence"] or "unknown", row["size_count"], row["size_sum"] or 0) for row in groups]
    return sorted(found, key=lambda source: (source.name, source.licence))


def check(draft: Draft, chosen: Artifact, journal: Journal) -> None:
    """Compare transformers' logits and greedy answers with ours; CheckFailed when the logits differ."""
    if not parity.installed():
        journal.event("parity", run=False, reason="transformers is not installed: `pip install transformers`, then export with --again")
        draft.count(parity="not checked")
        return
    shape, model = store.load(chosen.path)
    speaker = Speaker.load(chosen.path)
    chats = chosen.name != UNTAUGHT
    rows = _random_rows(shape.vocab, length=min(LENGTH, shape.context))
    prompts = [*dict.fromkeys([*examples(chosen, most=PROMPTS), *PLAIN])][:PROMPTS]
    theirs = parity.read_by_transformers(draft.path, rows, prompts, chats=chats, most=LONGEST)
    difference = parity.largest_difference([logits_of(model, row) for row in rows], theirs.logits)
    ours = [_greedy(speaker, prompt, chats=chats) for prompt in prompts]
    equal = sum(mine == other for mine, other in zip(ours, theirs.answers, strict=True))
    journal.event("parity", run=True, largest_difference=difference, limit=parity.RELATIVE, equal_answers=equal, prompts=len(prompts))
    draft.count(largest_logit_difference=difference, equal_answers=equal, prompts=len(prompts))
    if difference > parity.RELATIVE:
        found = f"differ from ours by {difference:.1e} of the largest, limit {parity.RELATIVE:.0e}"
        raise CheckFailed(f"{draft.path}: the logits of transformers {found}. Nothing was exported; train the model again with --again.")


def logits_of(model: Model, row: Sequence[int]) -> Tensor:
    """``logits_TV`` of one row, as training computes them."""
    tokens_BT = torch.tensor([list(row)])
    segments_BT = torch.zeros_like(tokens_BT)
    with torch.inference_mode():
        x_BTD = model.features(tokens_BT, positions_of(segments_BT), attention.packed(segments_BT))
        return model.logits(x_BTD)[0]


def _greedy(speaker: Speaker, prompt: str, *, chats: bool) -> parity.Answer:
    words = speaker.tokenizer
    ids = speaker.prompt_ids([Message("user", prompt)]) if chats else [words.end_of_text, *words.encode(prompt)]
    return parity.Answer(list(ids), "".join(piece.text for piece in speaker.stream(ids, Sampling(max_tokens=LONGEST))))


def _random_rows(vocab: int, *, length: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seeds.derive(0, "parity"))
    return torch.randint(vocab, (ROWS, length), generator=generator).tolist()


def _scores(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
