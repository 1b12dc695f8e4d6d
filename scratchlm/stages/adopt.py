"""adopt: a model that somebody else trained, in our own form. Leaves ``tokenizer/`` and ``base/``, and ``sft/`` where it can converse.

Fine-tuning starts from ``base/``; the ``sft/`` beside it is the same model under the name of one that was taught, its weights a second
link to the same file.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from scratchlm.core.artifact import Artifact, Draft, Home, files_under, sha256_of, write_atomically
from scratchlm.core.config import FREE, Settings, from_plain, to_plain
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.evals.knowledge import KNOWLEDGE, Knowledge
from scratchlm.export import pretrained, safetensors_writer
from scratchlm.export.fields import ORIGIN, shown
from scratchlm.export.huggingface import Names
from scratchlm.export.pretrained import CONFIG, Pretrained, Renamed
from scratchlm.export.safetensors_writer import Entry
from scratchlm.model import store
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, shape_only
from scratchlm.serve.choose import EXAMPLES
from scratchlm.tokenizer import foreign_files, foreign_json, foreign_template
from scratchlm.tokenizer.foreign_files import Adopted
from scratchlm.tokenizer.foreign_json import BLANK
from scratchlm.tokenizer.foreign_template import Verdict

ROWS_OF_WORDS = ("embedding.weight", "head.weight")
"""Parameters with a row for each piece."""
POSITIONS = "position_embedding.weight"
"""Learned positions: a shorter context keeps the first."""


class Config(Settings):
    directory: str = Field(json_schema_extra=FREE)
    """As Hugging Face writes it: config.json, safetensors, a tokenizer."""
    stage: Literal["base", "sft"] | None = None
    """What it counts as here; None: sft where it was taught to converse as we do, which its tokenizer and its template tell, else base."""
    context: int | None = Field(default=None, ge=8)
    """Tokens read at once, at most what it was made for; fewer make fine-tuning cheaper. None: all."""
    dtype: Literal["float32", "kept"] = "float32"
    """How the weights are stored here: ``kept`` as they come, which halves those in half precision."""
    split: str | None = None
    """Where its tokenizer cuts text, for files that do not say: gpt2, gpt4, llama3 or qwen2."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Read somebody else's directory into a home; all that can be refused is looked at before anything is written."""
    path = Path(config.directory)
    found, words = Pretrained.open(path), foreign_files.adopt(path, split=config.split)
    shape, tensors = shape_of(config, found, words), tensors_of(found)
    check_finite(tensors, words, shape)
    theirs = foreign_template.judge(path, words.tokenizer)
    taught = config.stage == "sft" or (config.stage is None and not words.appended and theirs.is_ours != "no")
    inputs = {file.name: sha256_of(file) for file in files_read(found, words)}
    tokenizer = home.build("tokenizer", config, inputs, lambda out: words.tokenizer.save(out.path))

    def make(draft: Draft) -> None:
        for note in (*notes_of(config, found, words, shape), *notes_on_chats(words, theirs)):
            journal.event("adopted", note=note)
        write_model(draft, tensors, words, shape, config)
        for file in files_under(tokenizer.path):
            write_atomically(draft.path / "tokenizer" / file.relative_to(tokenizer.path), file.read_bytes())
        draft.write_json(ORIGIN, origin_of(found, words, inputs))

    base = home.build("base", config, inputs | {tokenizer.name: tokenizer.fingerprint}, make)
    return home.build("sft", config, [base], lambda draft: write_taught(draft, base)) if taught else base


def files_read(found: Pretrained, words: Adopted) -> list[Path]:
    """Every file that decides what comes out; one that is not there is no input, so that it is noticed when it comes."""
    beside = (found.path / name for name in (*words.files, *foreign_template.FILES))
    return sorted({*found.files, *filter(Path.is_file, beside)})


def write_taught(draft: Draft, base: Artifact) -> None:
    """The same model as one that was taught, with what a model that was fine-tuned here keeps of its lessons: none."""
    for file in files_under(base.path):
        copy = draft.path / file.relative_to(base.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        try:
            os.link(file, copy)
        except OSError:  # a file system without links
            shutil.copyfile(file, copy)
    draft.write_text(KNOWLEDGE, Knowledge(kind="folder").model_dump_json(indent=1))
    draft.write_json(EXAMPLES, [])
    draft.count(**base.counts)


def shape_of(config: Config, found: Pretrained, words: Adopted) -> AnyConfig:
    """The model's shape here: a row for each piece, and the context that was asked for; UsageError when it cannot be."""
    kind, most = found.shape["kind"], found.shape["context"]
    size = words.tokenizer.size - len(words.appended)
    if size > found.shape["vocab"]:
        have = f"the embedding has {found.shape['vocab']:,} rows"
        raise UsageError(f"{found.path / words.file}: {size:,} pieces, but {have}. Give the tokenizer that belongs to the model.")
    if config.context is not None and config.context > most:
        raise UsageError(f"context: {config.context:,} asked for, but the model was made for {most:,}. Give at most that.")
    changes = {"vocab": words.tokenizer.size, "context": config.context or most}
    return from_plain(ARCHITECTURES[kind].Config, found.shape | changes, str(found.path / CONFIG))


def tensors_of(found: Pretrained) -> Renamed:
    """Its weights under our names, each compared with what its config asks for."""
    theirs = from_plain(ARCHITECTURES[found.shape["kind"]].Config, found.shape, str(found.path / CONFIG))
    row = ARCHITECTURES[theirs.kind]
    assert row.HF_NAMES is not None, "a family that others read has names"
    return found.tensors(shapes_of(theirs), Names(row.HF_NAMES, getattr(row, "HF_TRANSPOSED", frozenset())))


def shapes_of(config: AnyConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every parameter and its shape, of layers that are all alike: only one is laid out, whatever number a stranger's config claims."""
    first = "layers.0."
    one = {name: tuple(tensor.shape) for name, tensor in shape_only(config.model_copy(update={"layers": 1})).state_dict().items()}
    yield from ((name, size) for name, size in one.items() if first not in name)
    for layer in range(config.layers):
        yield from ((name.replace(first, f"layers.{layer}."), size) for name, size in one.items() if first in name)


def write_model(draft: Draft, tensors: Renamed, words: Adopted, shape: AnyConfig, config: Config) -> None:
    """Weights and shape, tensor by tensor."""
    entries = {name: Entry(torch.float32 if config.dtype == "float32" else tensors.dtype(name), size) for name, size in shapes_of(shape)}

    def read(name: str) -> Tensor:
        return kept(name, tensors, words, shape).to(entries[name].dtype)

    safetensors_writer.write(draft.path, entries, read, most=None)
    draft.write_json(store.SHAPE, to_plain(shape))
    draft.count(parameters=sum(torch.Size(entry.shape).numel() for entry in entries.values()))


def kept(name: str, tensors: Renamed, words: Adopted, shape: AnyConfig) -> Tensor:
    """What is stored here of a tensor."""
    tensor = fitted(tensors[name], words) if name in ROWS_OF_WORDS else tensors[name]
    return tensor[: shape.context] if name == POSITIONS else tensor


def check_finite(tensors: Renamed, words: Adopted, shape: AnyConfig) -> None:
    """UsageError for the first tensor of which something is kept that is no finite number."""
    for name in tensors:
        if not bool(kept(name, tensors, words, shape).isfinite().all()):
            raise UsageError(f"{tensors.where(name)}: a weight is not a finite number, so the model says nothing. Take another copy.")


def fitted(rows_VD: Tensor, words: Adopted) -> Tensor:
    """A row for each piece: padding behind the last one goes, a new token gets the mean of all, so that it is nobody's favourite.

    Hewitt 2021, "Initializing new word embeddings for pretrained language models".
    """
    known_VD = rows_VD[: words.tokenizer.size - len(words.appended)]
    mean_D = known_VD.float().mean(dim=0).to(rows_VD.dtype)
    return torch.cat([known_VD, mean_D.expand(len(words.appended), -1)])


def notes_of(config: Config, found: Pretrained, words: Adopted, shape: AnyConfig) -> Iterator[str]:
    """What is not as it was, and under which licence it came."""
    dropped = found.shape["vocab"] - (words.tokenizer.size - len(words.appended))
    yield f"{found.path.name}: a '{shape.kind}' model, licence: {pretrained.licence_of(found.path) or 'not told by its card'}"
    if dropped:
        yield f"{dropped:,} rows of the embedding belong to no piece: they are left out"
    if words.appended:
        yield f"its tokenizer has no {' and no '.join(words.appended)}: added behind the last piece, each with the mean of all rows"
    if rewriting := rewriters(words):
        told = "what is decoded is not always what was typed"
        yield f"its tokenizer rewrites text before it cuts it ({', '.join(rewriting)}): {told}"
    if shape.context < found.shape["context"]:
        yield f"it reads {shape.context:,} tokens at once, not {found.shape['context']:,}"
    elif config.context is None:
        yield f"it reads {shape.context:,} tokens at once; --set context=N makes fine-tuning cheaper"


def rewriters(words: Adopted) -> list[str]:
    """The parts of its tokenizer that change text; not those that write blanks as ``▁``, which decoding turns back."""
    blanks = ({"type": "Prepend", "prepend": BLANK}, {"type": "Replace", "pattern": {"String": " "}, "content": BLANK})
    return list(dict.fromkeys(part["type"] for part in foreign_json.parts(words.tokenizer.spec, "normalizer") if part not in blanks))


def notes_on_chats(words: Adopted, theirs: Verdict) -> Iterator[str]:
    """How it is spoken to, where that differs from a model that was made here."""
    if words.begin is not None:
        yield f"all that it reads begins with {words.tokenizer.piece(words.begin).decode()}, as its tokenizer has it"
    if theirs.is_ours == "no":
        yield "its own chat template is another than ours and is left out: it continues texts, and learns to converse as ours with sft"
    if theirs.system is not None:
        yield f"its makers' template told it before each conversation: {shown(theirs.system, 200)!r}; here say so with a system message"


def origin_of(found: Pretrained, words: Adopted, files: Mapping[str, str]) -> dict[str, Any]:
    """Where the model came from, for the cards of all that is made of it."""
    return {
        "name": found.path.resolve().name,
        "licence": pretrained.licence_of(found.path),
        "added": list(words.appended),
        "ends": list(words.ends),
        "files": dict(files),
    }
