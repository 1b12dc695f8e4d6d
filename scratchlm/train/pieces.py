"""Parts on disk: each process writes the numbers that it counts as its own, and reads those that it needs from whichever files hold them.

A file is plain safetensors. Its header says of each tensor which blocks of which whole tensor it is, so that processes which share a
model out in another way find in it what is theirs; nothing whole is ever held.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from scratchlm.core.errors import ArtifactError
from scratchlm.parallel.parts import Part, Piece, Range, at, divided, whole_piece

Remembered = tuple[Part, str, Tensor]
"""What an optimizer keeps of a parameter under a name: a tensor of no dims, or of those of ``part.own``."""
Block = tuple[Range, ...]


@dataclass(frozen=True)
class Kept:
    """What a tensor of a file is."""

    name: str
    """Of the parameter."""
    entry: str | None
    """Under which name an optimizer remembers it; None: the weights themselves."""
    shape: tuple[int, ...]
    """Of the whole tensor."""
    pieces: tuple[Piece, ...]
    """Where its blocks lie in the tensor of the file, and where in the whole."""


HEADER, HEADER_NAME = TypeAdapter(dict[str, Kept]), "pieces"
AGAIN = "Start the stage anew with --again."


def write(path: Path, parts: Iterable[Part], remembered: Iterable[Remembered]) -> bool:
    """Write what this process owns of weights and of what optimizers remember; whether that is anything, for else there is no file."""
    tensors: dict[str, Tensor] = {}
    header: dict[str, Kept] = {}
    for part, entry, tensor in (*((part, None, part.own) for part in parts), *remembered):
        if part.owner and part.pieces:
            key = part.name if entry is None else f"{part.name}:{entry}"
            header[key] = Kept(part.name, entry, *_extent(part, tensor))
            tensors[key] = tensor.detach().cpu().contiguous()
    if tensors:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, {HEADER_NAME: HEADER.dump_json(header).decode()})
    return bool(tensors)


def _extent(part: Part, tensor: Tensor) -> tuple[tuple[int, ...], tuple[Piece, ...]]:
    """Shape of the whole tensor, and which blocks of it are in ``tensor``: those of the part, or all where there are no dims."""
    if tensor.ndim == 0:
        return (), whole_piece(())
    assert tensor.shape == part.own.shape, f"what an optimizer remembers of {part.name} has a shape of its own"
    return tuple(part.shape), part.pieces


@dataclass(frozen=True)
class Source:
    """A tensor of an open file."""

    file: Path
    opened: Any
    key: str
    kept: Kept

    def read(self, block: Block) -> Tensor:
        """Some of it; nothing else is read."""
        return self.opened.get_slice(self.key)[tuple(slice(*each) for each in block)] if block else self.opened.get_tensor(self.key)

    @property
    def dtype(self) -> torch.dtype:
        return self.read(((0, 0),) * len(self.kept.shape)).dtype


@dataclass
class Wanted:
    """A tensor that is being filled from files."""

    part: Part
    entry: str | None
    tensor: Tensor
    missing: list[Piece]
    met: bool = False
    """Whether a file had anything of it: an optimizer counts the steps of a parameter even where a process has no number of it."""

    @property
    def called(self) -> str:
        """It, in an error's words."""
        return f"'{self.part.name}'" if self.entry is None else f"'{self.entry}' of '{self.part.name}'"

    def take(self, source: Source) -> None:
        """Copy what is still missing, of all that is there; ArtifactError where that is of another shape or dtype."""
        shape, _ = _extent(self.part, self.tensor)
        if (source.kept.shape, source.dtype) != (shape, self.tensor.dtype):
            there, here = f"{list(source.kept.shape)} in {source.dtype}", f"{list(shape)} in {self.tensor.dtype}"
            raise ArtifactError(f"{source.file}: {self.called} is {there} there and {here} in this run. {AGAIN}")
        self.met = True
        for piece in source.kept.pieces:
            missing, self.missing = self.missing, []
            for each in missing:
                inside, rest = divided(each, piece.there)
                self.missing += rest
                if inside is not None:
                    at(self.tensor, inside.here).copy_(source.read(_place_in(piece, inside)))


def _place_in(piece: Piece, inside: Piece) -> Block:
    """Where a block that is ``inside`` a piece lies in the tensor that holds the piece."""
    moves = (here[0] - there[0] for here, there in zip(piece.here, piece.there, strict=True))
    return tuple((first + move, last + move) for (first, last), move in zip(inside.there, moves, strict=True))


def fill_(parts: Sequence[Part], files: Iterable[Path]) -> list[Remembered]:
    """Copy into every part its weights; what optimizers remembered of it comes back.

    Files are opened one after the other, and those behind the last that is needed not at all. ArtifactError where a file has something
    as another kind of tensor, or none has it.
    """
    by_name = {part.name: part for part in parts}
    assert len(by_name) == len(parts), "a process holds two parts of one name"
    wanted: dict[tuple[str, str | None], Wanted] = {}
    for part in parts:
        wanted[part.name, None] = Wanted(part, None, part.own.detach(), list(part.pieces))
    for file in files:
        if all(each.met and not each.missing for each in wanted.values()):
            break
        with safe_open(file, "pt") as opened:
            header = HEADER.validate_json(opened.metadata()[HEADER_NAME])
            for source in (Source(file, opened, key, kept) for key, kept in header.items() if kept.name in by_name):
                called = source.kept.name, source.kept.entry
                if called not in wanted:
                    wanted[called] = _empty(by_name[source.kept.name], source)
                wanted[called].take(source)
    for each in wanted.values():
        if each.missing:
            block = ", ".join(f"{first}:{last}" for first, last in each.missing[0].there)
            raise ArtifactError(f"{each.called}: its numbers [{block}] are in no file of the checkpoint. {AGAIN}")
    return [(each.part, each.entry, each.tensor) for each in wanted.values() if each.entry is not None]


def _empty(part: Part, source: Source) -> Wanted:
    """What an optimizer remembered of a part, before any number of it is read."""
    tensor = torch.zeros(part.own.shape if source.kept.shape else (), dtype=source.dtype, device=part.own.device)
    return Wanted(part, source.kept.entry, tensor, list(_extent(part, tensor)[1]))
