"""What a run waits for before its first step: modules that nothing of it needs stay away, and imports are not searched for garbage."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scratchlm import cli
from scratchlm.batches.shards import Encoded, Layout, write_split
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError
from scratchlm.stages import corpus
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.char import Characters
from scratchlm.views import plan

HEAVY = (
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "torch.onnx",
    "tensorboard.summary",
    "boto3",
    "pandas",
    "matplotlib",
    "transformers",
    "ray",
)
"""Compilers, which take more than a second, what draws, what others have models in, and what reaches object stores."""
PROGRAM = """
import json, sys
from scratchlm import cli
try:
    cli.main(sys.argv[2:])
finally:
    print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""
TEXT = "all that a run waits for before it learns is time in which it learns nothing. " * 40


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A home with a tokenizer of characters and shards of one text."""
    home, characters = Home(tmp_path / "given"), Characters("".join(sorted(set(TEXT))))
    vocabulary = home.build("tokenizer", Settings(), {}, lambda draft: characters.save(draft.path))

    def make(draft: Draft) -> None:
        layout = Layout(tokenizers.facts_of(vocabulary.path).sha256, characters.end_of_text, characters.size, 2**20, 0)
        for split in ("train", "validation"):
            ids = np.array(characters.encode(TEXT), np.uint32)
            write_split(draft.path / split, [Encoded(f"{split:0>32}", ids, "mine", len(TEXT))], layout)

    home.build("shards", Settings(), [vocabulary], make)
    return tmp_path / "given"


def test_training_imports_nothing_that_it_does_not_need(prepared: Path, tmp_path: Path):
    given = [f"--from={name}={prepared / name}" for name in ("tokenizer", "shards")]
    small = [
        f"--set=pretrain.{each}" for each in ("tokens=640", "rows=5", "model.trigrams=64", "model.bigrams=64", "checkpoint_minutes=null")
    ]
    words = ["pretrain", "shakespeare", f"--home={tmp_path / 'run'}", *given, *small]
    ended = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(HEAVY), *words], capture_output=True, text=True, check=True)
    assert (tmp_path / "run" / "base" / "manifest.json").exists()
    assert json.loads(ended.stdout.splitlines()[-1]) == []


def test_garbage_is_looked_for_while_a_command_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[bool] = []

    def work(*_: object, **__: object) -> None:
        seen.append(gc.isenabled())
        raise UsageError("seen")

    monkeypatch.setattr(plan, "show", work)
    monkeypatch.setattr(corpus, "run", work)
    for words in (["plan", "smoke"], ["corpus", "smoke", "--home", str(tmp_path / "run")]):
        with pytest.raises(SystemExit):
            cli.main(words)
    assert seen == [True, True]


def test_garbage_is_looked_for_again_after_a_command(capsys: pytest.CaptureFixture[str]):
    for words, code in ((["--version"], 0), (["plan", "smoke"], 0), (["no such verb"], 2)):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert int(ended.value.code or 0) == code
        assert gc.isenabled()
    assert "scratchlm" in capsys.readouterr().out
