"""A model on disk: ``model.safetensors`` for the weights, ``model.json`` for the shape. No pickle is ever read."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from scratchlm.core.artifact import write_atomically
from scratchlm.core.config import to_plain
from scratchlm.core.errors import ArtifactError
from scratchlm.model.architectures import AnyConfig, Model, ModelConfig, Take, shape_only

WEIGHTS, SHAPE = "model.safetensors", "model.json"


def save_shape(config: AnyConfig, path: Path) -> None:
    """Write a model's shape into the directory ``path``, where its weights are."""
    write_atomically(path / SHAPE, (json.dumps(to_plain(config), indent=1) + "\n").encode())


def shape_in(path: Path) -> AnyConfig:
    """The shape of the model in a model's directory; ArtifactError says what is wrong with it."""
    try:
        return TypeAdapter(ModelConfig).validate_json((path / SHAPE).read_bytes())
    except (OSError, ValidationError) as error:
        raise _unreadable(path, error) from None


def load(path: Path) -> tuple[AnyConfig, Model]:
    """(config, model ready to speak) from a model's directory; ArtifactError says what is wrong with it."""
    config = shape_in(path)
    try:
        model = shape_only(config)
        model.load_state_dict(load_file(path / WEIGHTS), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: weights of another shape
        raise _unreadable(path, error) from None
    return config, model.eval()


@dataclass(frozen=True)
class Stored:
    """The weights in a model's directory, as an ``Origin``: only what is taken of a parameter is read."""

    path: Path

    @property
    def config(self) -> AnyConfig:
        """Of the model."""
        return shape_in(self.path)

    def give(self, take: Take) -> None:
        """Hand every parameter over; ArtifactError where they are not those of the model's shape."""
        wanted = {name: list(parameter.shape) for name, parameter in shape_only(self.config).named_parameters()}
        try:
            with safe_open(self.path / WEIGHTS, framework="pt") as file:
                if {name: file.get_slice(name).get_shape() for name in file.keys()} != wanted:  # noqa: SIM118  (it is no mapping)
                    raise ValueError("other parameters than its shape has")
                for name in wanted:
                    take(name, file.get_tensor(name))
        except (OSError, SafetensorError, ValueError) as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{path}: no model can be read here ({type(error).__name__}). Train it again with --again.")
