"""A directory as Hugging Face writes it: what model it holds, under which licence, and its weights under our names."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scratchlm.core.errors import UsageError
from scratchlm.export import families, safetensors_reader
from scratchlm.export.families import FAMILIES
from scratchlm.export.fields import read_json, shown
from scratchlm.export.huggingface import Names, is_transposed, their_name
from scratchlm.export.safetensors_reader import INDEX, ONE, Weights

CONFIG, CARD = "config.json", "README.md"
MOST_CARD = 1 << 20
EMBEDDING = "embedding.weight"


@dataclass(frozen=True)
class Pretrained:
    """A model that somebody else trained."""

    path: Path
    shape: dict[str, Any]
    """The fields of our ``model.json``."""
    weights: Weights

    @classmethod
    def open(cls, path: Path) -> "Pretrained":
        """Read the config and the headers of the weights; UsageError says what cannot be read here."""
        if path.is_file():
            raise UsageError(f"{path}: a file. Give the directory it lies in, which holds config.json and model.safetensors.")
        if not path.is_dir():
            raise UsageError(f"{path}: there is no such directory. Give one that holds config.json and model.safetensors.")
        where = path / CONFIG
        config = read_json(where)
        shape = families.to_ours(config, str(where))
        weights = safetensors_reader.open_weights(path)
        # A model is laid out before its tensors are compared, so the config may not claim more of them than the file has.
        parts = shape["layers"] * shape.get("experts", 1)
        if parts > len(weights):
            raise UsageError(
                f"{where}: {parts:,} layers (with their experts), but the file has {len(weights):,} tensors. Take another copy."
            )
        held = sum(math.prod(place.shape) for place in weights.places.values())
        for name, size in _matrices(shape).items():
            if size > held:
                raise UsageError(f"{where}: it asks for {size:,} numbers of {name} alone; the files hold {held:,}. Take another copy.")
        return cls(path, shape, weights)

    @property
    def files(self) -> list[Path]:
        """What was read of it and decides what it is here: config, weights, their index and the card."""
        weights = {place.file for place in self.weights.places.values()}
        beside = [CONFIG, CARD] if self.path / ONE in weights else [CONFIG, CARD, INDEX]
        return sorted({*weights, *(self.path / name for name in beside if (self.path / name).is_file())})

    def tensors(self, expected: Iterable[tuple[str, tuple[int, ...]]], names: Names) -> "Renamed":
        """The weights under our names; UsageError names the first tensor that is missing, superfluous or of another shape.

        ``expected``: each of our parameters in a model of ``shape`` and its shape, asked for one by one.
        """
        family = FAMILIES[self.shape["kind"]]
        bare = not any(name.startswith(family.prefix) for name in self.weights)
        found: dict[str, str] = {}
        for ours, size in expected:
            name = their_name(ours, names.theirs)
            found[ours] = name.removeprefix(family.prefix) if bare else name
            self._check(found[ours], size[::-1] if is_transposed(ours, names) else size)
        self._no_others(set(found.values()), found[EMBEDDING], family.buffers)
        return Renamed(self.weights, found, names)

    def _check(self, name: str, expected: tuple[int, ...]) -> None:
        if name not in self.weights:
            raise UsageError(f"{self.path}: no file here holds {name}, which this architecture needs. Take a complete copy of the model.")
        place = self.weights.places[name]
        if place.shape != expected:
            found, asked = list(place.shape), list(expected)
            raise UsageError(f"{place.file}: {name}: its shape is {found}, where config.json asks for {asked}. Take another copy.")
        self.weights.dtype(name)

    def _no_others(self, wanted: set[str], embedding: str, buffers: str) -> None:
        for name, place in self.weights.places.items():
            if name in wanted or re.fullmatch(buffers, name):
                continue
            if name == "lm_head.weight" and self.shape["tied"]:
                if torch.equal(self.weights[name], self.weights[embedding]):
                    continue
                raise UsageError(
                    f"{place.file}: {name} differs from the embedding that config.json ties it to. Set tie_word_embeddings to false."
                )
            raise UsageError(f"{place.file}: {shown(name)}: this architecture has no such tensor. Take a model that config.json describes.")


def _matrices(shape: Mapping[str, Any]) -> dict[str, int]:
    """How many numbers the largest matrices have, before any of them is laid out."""
    width = shape["width"]
    inner = shape["heads"] * shape.get("head_dim", 0)
    experts = shape.get("experts", 0) * width
    sizes = {"embedding": shape["vocab"] * width, "attention": inner * width, "router": experts}
    sizes["feed-forward"] = shape.get("hidden", shape.get("expert_hidden", 0)) * width
    return sizes | ({"positions": shape["context"] * width} if shape["kind"] == "gpt2" else {})


class Renamed(Mapping[str, Tensor]):
    """Weights by our names, turned to our orientation, each read when it is asked for."""

    def __init__(self, weights: Weights, found: Mapping[str, str], names: Names) -> None:
        self._weights, self._found, self._names = weights, found, names

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._weights[self._found[name]]
        return tensor.T.contiguous() if is_transposed(name, self._names) else tensor

    def dtype(self, name: str) -> torch.dtype:
        """What a tensor is stored in."""
        return self._weights.dtype(self._found[name])

    def where(self, name: str) -> str:
        """The file that holds a tensor and what it is called there."""
        theirs = self._found[name]
        return f"{self._weights.places[theirs].file}: {shown(theirs)}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def licence_of(path: Path) -> str | None:
    """The licence that the model's card names in its header, None when there is none."""
    card = path / CARD
    if not card.is_file():
        return None
    with card.open("rb") as file:
        text = file.read(MOST_CARD).decode("utf-8", "replace")
    header = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    told = dict(re.findall(r"^(license|license_name|license_link):[ \t]*[\"']?([^\r\n\"']+)", header[1], re.MULTILINE)) if header else {}
    parts = [told[key].strip() for key in ("license", "license_name", "license_link") if told.get(key, "").strip()]
    return shown(" ".join(parts), 200) or None
