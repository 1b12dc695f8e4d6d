"""A Hugging Face directory that stock transformers, vLLM, llama.cpp's converter and MLX read without custom code.

Which architecture it names and with which fields is in ``families``. Where transformers 4 and 5 differ (rope, dtype, where the chat
template stands), both are written.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scratchlm.core.artifact import write_atomically
from scratchlm.core.errors import ArtifactError
from scratchlm.export import safetensors_writer
from scratchlm.export.families import FAMILIES, to_theirs
from scratchlm.export.safetensors_reader import Weights
from scratchlm.export.safetensors_writer import Entry

TURN_END = "<|im_end|>"


@dataclass(frozen=True)
class Names:
    """How one kind of ours spells its parameters in a Hugging Face directory."""

    theirs: Mapping[str, str]
    """Our name of each parameter -> theirs; ``{}`` stands for a number."""
    transposed: frozenset[str] = frozenset()
    """Our names whose tensor is theirs transposed."""


@dataclass(frozen=True)
class Model:
    """What is exported, in our own terms."""

    shape: Mapping[str, Any]
    """The fields of its ``model.json``."""
    weights: Weights
    names: Names


@dataclass(frozen=True)
class Words:
    """How text goes in and comes out."""

    tokenizer_json: bytes
    """In the format of the `tokenizers` library."""
    control: Mapping[str, int]
    end_of_text: str
    template: str
    """The chat template, in Jinja."""
    ends: tuple[int, ...]
    """Every id at which an answer ends."""
    begin: str | None = None
    """What the model expects before all it reads, if anything."""


def write(out: Path, *, model: Model, words: Words) -> None:
    """Write every file a reader needs into the directory ``out``."""
    family = FAMILIES[model.shape["kind"]]
    named = {their_name(name, model.names.theirs): name for name in model.weights}
    ours = {re.sub(f"^{re.escape(family.prefix)}", family.published, theirs): name for theirs, name in named.items()}
    entries = {theirs: _entry(model, name) for theirs, name in ours.items()}
    safetensors_writer.write(out, entries, lambda theirs: _tensor(model, ours[theirs]))
    dtypes = {str(entry.dtype).removeprefix("torch.") for entry in entries.values()}
    _write_json(out / "config.json", config_of(model.shape, words, dtype=min(dtypes)))
    _write_json(out / "generation_config.json", generation_of(words))
    write_atomically(out / "tokenizer.json", tokenizer_of(words))
    _write_json(out / "tokenizer_config.json", tokenizer_config_of(words, context=model.shape["context"]))
    _write_json(out / "special_tokens_map.json", specials_of(words))
    write_atomically(out / "chat_template.jinja", words.template.encode())


def is_mistral(shape: Mapping[str, Any]) -> bool:
    """Whether it goes out under Mistral's name, whose window some readers ignore."""
    return to_theirs(shape)["model_type"] == "mistral"


def is_transposed(name: str, names: Names) -> bool:
    """Whether their tensor is the transpose of ours."""
    return pattern_of(name)[0] in names.transposed


def _entry(model: Model, name: str) -> Entry:
    place = model.weights.places[name]
    return Entry(model.weights.dtype(name), place.shape[::-1] if is_transposed(name, model.names) else place.shape)


def _tensor(model: Model, name: str) -> Tensor:
    tensor = finite(name, model.weights[name])
    return tensor.T.contiguous() if is_transposed(name, model.names) else tensor


def finite(name: str, tensor: Tensor) -> Tensor:
    """The weights of that name; ArtifactError when one is not finite."""
    if not bool(tensor.isfinite().all()):
        raise ArtifactError(f"{name}: a weight is not a finite number, so the model says nothing. Take one that does.")
    return tensor


def pattern_of(name: str) -> tuple[str, list[str]]:
    """``layers.3.feed.up.weight -> layers.{}.feed.up.weight, ["3"]``."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "{}", name), re.findall(r"(?<=\.)\d+(?=\.)", name)


def their_name(name: str, names: Mapping[str, str]) -> str:
    """``layers.3.feed.up.weight -> model.layers.3.mlp.up_proj.weight``."""
    pattern, numbers = pattern_of(name)
    if pattern not in names:
        raise ArtifactError(f"{name}: this weight has no name in other runtimes. Write it with this version again.")
    return names[pattern].format(*numbers)


def config_of(shape: Mapping[str, Any], words: Words, *, dtype: str) -> dict[str, Any]:
    """``config.json``: the function, then how it is fed and stored."""
    return to_theirs(shape) | {
        "bos_token_id": words.control[words.begin or words.end_of_text],
        "eos_token_id": words.control[TURN_END],
        "pad_token_id": words.control[words.end_of_text],
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def generation_of(words: Words) -> dict[str, Any]:
    """``generation_config.json``: greedy unless asked otherwise; the end of a turn, the end of a text and all other ends stop."""
    begin, pad = words.control[words.begin or words.end_of_text], words.control[words.end_of_text]
    return {"bos_token_id": begin, "pad_token_id": pad, "eos_token_id": list(words.ends), "do_sample": False}


def tokenizer_of(words: Words) -> bytes:
    """``tokenizer.json``, which puts what the model expects before a text, as ours does when it is asked to continue one."""
    if words.begin is None:
        return words.tokenizer_json
    token = {"id": words.begin, "ids": [words.control[words.begin]], "tokens": [words.begin]}
    first = {"SpecialToken": {"id": words.begin, "type_id": 0}}
    single = [first, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"SpecialToken": {"id": words.begin, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    added = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {words.begin: token}}
    return json.dumps(json.loads(words.tokenizer_json) | {"post_processor": added}, ensure_ascii=False, indent=1).encode()


def specials_of(words: Words) -> dict[str, Any]:
    """``special_tokens_map.json``."""
    others = [name for name in words.control if name not in (TURN_END, words.end_of_text, words.begin)]
    begin = {"bos_token": words.begin} if words.begin else {}
    return begin | {"eos_token": TURN_END, "pad_token": words.end_of_text, "additional_special_tokens": others}


def tokenizer_config_of(words: Words, *, context: int) -> dict[str, Any]:
    """``tokenizer_config.json``; the template stands here too, where transformers 4 looks for it."""
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {str(id): {"content": name} | flags for name, id in words.control.items()},
        "bos_token": None,
        **specials_of(words),
        "unk_token": None,
        "add_bos_token": words.begin is not None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": words.template,
    }


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
