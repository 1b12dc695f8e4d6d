"""export: a model for other runtimes, checked against our own before it counts as finished. Leaves ``export/hf/``, ``export/gguf/``."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import field_validator
from torch import Tensor

import scratchlm
from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings, from_plain, to_plain
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Message
from scratchlm.core.tensors import positions_of
from scratchlm.export import agreement, gguf, gguf_parity, huggingface, parity, safetensors_reader
from scratchlm.export.agreement import Ours
from scratchlm.export.card import Facts, card, sources_of
from scratchlm.export.fields import ORIGIN
from scratchlm.export.gguf import Quantise
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import attention, store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model
from scratchlm.serve.choose import UNTAUGHT, examples, newest_model
from scratchlm.tokenizer import gguf_fields, template
from scratchlm.tokenizer.interface import FILE, TURN_END, begin_of_text, ends_of
from scratchlm.tokenizer.store import facts_of

PROMPTS = 20
"""Prompts that are read and answered greedily by both."""
LONGEST = 32
"""Tokens of each answer."""


class Config(Settings):
    formats: tuple[Literal["hf", "gguf"], ...] = ("hf",)
    """``hf``: a Hugging Face directory, which MLX reads too; ``gguf``: one file for llama.cpp."""
    quantise: Quantise = "f32"
    """How a GGUF file stores matrices: f32 is exact; f16, q8_0 and q4_0 take a half, a quarter and an eighth, and move the answers."""
    model: str | None = None
    """reinforced, preferred, sft or base; None: the newest of these."""

    @field_validator("formats", mode="before")
    @classmethod
    def _are_separate(cls, formats: Any) -> Any:
        """``hf,gguf``, as it is typed."""
        return formats.split(",") if isinstance(formats, str) else formats


@dataclass(frozen=True)
class Exported:
    """What is exported: the model's directory, its shape, and how others spell its parameters."""

    artifact: Artifact
    shape: AnyConfig
    names: huggingface.Names
    name: str

    @property
    def chats(self) -> bool:
        return self.artifact.name != UNTAUGHT

    @cached_property
    def weights(self) -> safetensors_reader.Weights:
        """Its weights, each read when it is asked for."""
        return safetensors_reader.open_weights(self.artifact.path)

    @cached_property
    def speaker(self) -> Speaker:
        """The model itself, to compare others with."""
        return Speaker.load(self.artifact.path)


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Write the model in each format and compare what other runtimes make of it."""
    chosen = newest_model(home, config.model)
    if not config.formats:
        raise UsageError("export.formats: none is given. Give at least one of: hf, gguf.")
    exported = described(chosen)
    beside = [found for name in ("corpus", "scores") if (found := home.find(name)) is not None]
    origin = next((made.path / ORIGIN for name in ("base", "sft") if (made := home.find(name)) and (made.path / ORIGIN).exists()), None)

    def make(draft: Draft) -> None:
        source = source_of(exported) if "gguf" in config.formats else None
        if source is not None:  # what GGUF cannot hold is found out before anything is written
            gguf.planned(source.model, source.words, config.quantise)
        ours = ours_of(exported)
        if "hf" in config.formats:
            write_huggingface(draft, exported)
            write_card(draft, exported, beside={found.name: found for found in beside}, origin=origin)
            parity.check_transformers(draft, ours, journal)
            parity.check_mlx(draft, ours, journal)
        if source is not None:
            gguf_parity.write(draft, source, ours, config.quantise, journal)

    return home.build("export", config, [chosen, *beside], make)


def described(chosen: Artifact) -> Exported:
    """The model as others will call it; UsageError when nobody else could read its kind."""
    plain = json.loads((chosen.path / store.SHAPE).read_text(encoding="utf-8"))
    shape = from_plain(ARCHITECTURES[plain["kind"]].Config, plain, str(chosen.path / store.SHAPE))
    row = ARCHITECTURES[shape.kind]
    if row.HF_NAMES is None:
        portable = " or ".join(f"'{kind}'" for kind, other in ARCHITECTURES.items() if other.HF_NAMES is not None)
        example = '--set pretrain.model=\'{"kind": "qwen3"}\''
        raise UsageError(f"{chosen.path}: no other runtime can read a '{shape.kind}' model. Train with {portable}: {example}.")
    names = huggingface.Names(row.HF_NAMES, getattr(row, "HF_TRANSPOSED", frozenset()))
    return Exported(chosen, shape, names, f"{chosen.path.parent.name}-{chosen.name}")


def write_huggingface(draft: Draft, exported: Exported) -> None:
    """All files of the directory but the card."""
    words, tokenizer = facts_of(exported.artifact.path / "tokenizer"), exported.speaker.tokenizer
    name_of = {id: name for name, id in words.control.items()}
    huggingface.write(
        draft.path / "hf",
        model=huggingface.Model(to_plain(exported.shape), exported.weights, exported.names),
        words=huggingface.Words(
            tokenizer_json=(exported.artifact.path / "tokenizer" / FILE).read_bytes(),
            control=words.control,
            end_of_text=name_of[words.end_of_text],
            template=template.jinja(tokenizer),
            ends=ends_of(tokenizer),
            begin=None if words.begin is None else name_of[words.begin],
        ),
    )


def write_card(draft: Draft, exported: Exported, *, beside: Mapping[str, Artifact], origin: Path | None) -> None:
    """The model card, and what of it the manifest counts."""
    sizes = [torch.Size(place.shape).numel() for place in exported.weights.places.values()]
    facts = Facts(
        name=exported.name,
        version=scratchlm.__version__,
        parameters=sum(sizes),
        shape=to_plain(exported.shape),
        recipe=exported.artifact.manifest.config,
        sources=sources_of(beside["corpus"].path / "train.parquet") if "corpus" in beside else (),
        scores=_json(beside["scores"].path / "scores.json") if "scores" in beside else None,
        origin=_json(origin) if origin else None,
    )
    draft.write_text("hf/README.md", card(facts))
    draft.count(model=exported.artifact.name, parameters=facts.parameters)


def ours_of(exported: Exported) -> Ours:
    """Our side of every comparison."""
    speaker, tokenizer = exported.speaker, exported.speaker.tokenizer
    asked = agreement.chosen(examples(exported.artifact, most=PROMPTS), most=PROMPTS)
    ids = {prompt: speaker.prompt_ids([Message("user", prompt)]) if exported.chats else speaker.text_ids(prompt) for prompt in asked}
    return Ours(
        shape=to_plain(exported.shape),
        chats=exported.chats,
        begin=begin_of_text(tokenizer),
        ends=frozenset(ends_of(tokenizer)),
        control=frozenset(tokenizer.control.values()),
        prompts={prompt: found for prompt, found in ids.items() if len(found) < exported.shape.context},
        most=LONGEST,
        logits=lambda row: logits_of(speaker.model, row),
        answer=lambda ids, most: speaker.engine.generate([ids], Sampling(max_tokens=most))[0].ids,
    )


def source_of(exported: Exported) -> gguf_parity.Source:
    """What a GGUF file is made of."""
    shape, weights, tokenizer = to_plain(exported.shape), exported.weights, exported.speaker.tokenizer

    def with_weights(values: Mapping[str, Tensor]) -> Callable[[Sequence[int]], Tensor]:
        model = store.load(exported.artifact.path)[1]
        model.load_state_dict(dict(values), assign=True)
        return lambda row: logits_of(model, row)

    return gguf_parity.Source(
        name=exported.name,
        model=gguf.Model(shape, weights, {name: place.shape for name, place in weights.places.items()}, exported.names.theirs),
        words=words_of(exported.artifact.path / "tokenizer", template.jinja(tokenizer)),
        shown=next(id for id in range(exported.shape.vocab) if tokenizer.piece(id).isalnum()),
        with_weights=with_weights,
    )


def words_of(tokenizer: Path, jinja: str) -> gguf.Words:
    """The tokenizer in GGUF's terms; UsageError when llama.cpp has no such tokenizer."""
    fields = gguf_fields.fields(tokenizer)
    return gguf.Words(
        model=fields.model,
        pre=fields.pre,
        tokens=fields.tokens,
        types=fields.types,
        scores=fields.scores,
        merges=fields.merges,
        unknown=fields.unknown,
        space_prefix=fields.space_prefix,
        end_of_text=fields.end_of_text,
        turn_end=fields.control[TURN_END],
        template=jinja,
        begin=fields.begin,
        ends=fields.ends,
    )


def logits_of(model: Model, row: Sequence[int]) -> Tensor:
    """``logits_TV`` of one row, as training computes them."""
    tokens_BT = torch.tensor([list(row)])
    segments_BT = torch.zeros_like(tokens_BT)
    with torch.inference_mode():
        x_BTD = model.features(tokens_BT, positions_of(segments_BT), attention.packed(segments_BT))
        return model.logits(x_BTD)[0].float()


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
