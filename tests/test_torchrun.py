"""The command line in several processes, as torchrun starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scratchlm.batches.shards import Encoded, Layout, write_split
from scratchlm.core.artifact import Draft, Home, sha256_of
from scratchlm.core.config import Settings
from scratchlm.core.journal import by_step
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer.char import Characters

TEXT = "what several processes learn together is what one would have learned alone, up to the last places of its numbers. " * 60
SMALL = [
    "--set", "pretrain.model.kv_heads=2", "--set", "pretrain.tokens=3072", "--set", "pretrain.rows=4",
    "--set", "pretrain.checkpoint_steps=3", "--set", "pretrain.checkpoint_minutes=null", "--set", "pretrain.dtype=float32",
    "--set", "pretrain.rows_at_once=1",
]  # fmt: skip
"""Twelve steps of the recipe `smoke`."""
FALLING = Path(__file__).parent / "falling.py"


@pytest.fixture
def prepared(tmp_path: Path) -> list[str]:
    """Options that bring a tokenizer of characters and shards of one text."""
    home, characters = Home(tmp_path / "given"), Characters("".join(sorted(set(TEXT))))
    vocabulary = home.build("tokenizer", Settings(), {}, lambda draft: characters.save(draft.path))

    def make(draft: Draft) -> None:
        layout = Layout(tokenizers.facts_of(vocabulary.path).sha256, characters.end_of_text, characters.size, 2**20, 0)
        for split in ("train", "validation"):
            ids = np.array(characters.encode(TEXT), np.uint32)
            write_split(draft.path / split, [Encoded(f"{split:0>32}", ids, "mine", len(TEXT))], layout)

    home.build("shards", Settings(), [vocabulary], make)
    return [word for name in ("tokenizer", "shards") for word in ("--from", f"{name}={tmp_path / 'given' / name}")]


def together(
    home: Path, options: list[str], *, verb: str = "pretrain", processes: int = 2, program: list[str] | None = None, restarts: int = 0
) -> str:
    """`scratchlm pretrain smoke` by so many processes, or another verb; what they printed."""
    began = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), f"--max-restarts={restarts}"]
    began += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    command = [*began, *(program or ["-m", "scratchlm"]), verb, "smoke", "--home", str(home), *SMALL, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def losses(home: Path, made: str = "base") -> list[float]:
    return [event["loss"] for event in by_step(home / made / "journal.jsonl", "step")]


@pytest.mark.soak
@pytest.mark.parametrize("layout", [{}, {"tensor": 2}, {"pipeline": 2}])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_changes_no_byte(rank: int, layout: dict[str, int], prepared: list[str], tmp_path: Path):
    shared = [word for axis, size in layout.items() for word in ("--set", f"pretrain.parallel.{axis}={size}")]
    together(tmp_path / "whole", prepared + shared)
    told = together(tmp_path / "killed", prepared + shared, program=[str(FALLING), str(rank), "7"], restarts=1)
    assert "resumed" not in told  # the journal has it, and the console needs no word
    events = [json.loads(line) for line in (tmp_path / "killed" / "base" / "journal.jsonl").read_text().splitlines()]
    assert [event["step"] for event in events if event["event"] == "resumed"] == [6]
    assert sha256_of(tmp_path / "killed" / "base" / "model.safetensors") == sha256_of(tmp_path / "whole" / "base" / "model.safetensors")


@pytest.mark.soak
def test_a_run_goes_on_with_another_division_from_where_it_was_stopped(prepared: list[str], tmp_path: Path):
    together(tmp_path / "whole", prepared, processes=1)
    command = [sys.executable, "-m", "scratchlm", "pretrain", "smoke", "--home", str(tmp_path / "moved"), *SMALL, *prepared]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        until = time.monotonic() + 120
        while not list(tmp_path.glob("moved/base.partial/checkpoints/step-*3")) and time.monotonic() < until:
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) in (130, 0)
    together(tmp_path / "moved", [*prepared, "--set", "pretrain.parallel.tensor=2"])
    apart = max(abs(one - other) for one, other in zip(losses(tmp_path / "moved"), losses(tmp_path / "whole"), strict=True))
    assert apart < 1e-3  # Muon's products are rounded to bfloat16: a last place that differs may become one of these


def test_two_processes_build_what_one_does(prepared: list[str], tmp_path: Path):
    together(tmp_path / "one", prepared, processes=1)
    told = together(tmp_path / "two", prepared)
    assert told.count("pretrain: done in") == 1
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 12
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-3
    manifests = [json.loads((tmp_path / name / "base" / "manifest.json").read_text()) for name in ("one", "two")]
    assert manifests[0]["config"] == manifests[1]["config"]
    assert manifests[0]["counts"].keys() == manifests[1]["counts"].keys()
    assert [manifest["counts"]["tokens"] for manifest in manifests] == [3072, 3072]


@pytest.mark.soak
@pytest.mark.parametrize("sft", [[], ["--set", "sft.parallel.pipeline=2"]])
def test_every_stage_after_the_first_trains_by_two_as_by_one(sft: list[str], tmp_path: Path):
    smooth = '{"kind": "sgd", "lr": 0.05}'  # Muon and AdamW make much of the last places of what is next to nothing
    plain = [
        word
        for stage in ("sft", "prefer", "reinforce")
        for word in ("--set", f"{stage}.dtype=float32", "--set", f"{stage}.optimizer={smooth}")
    ]
    together(tmp_path / "one", plain, verb="run", processes=1)
    shared = ("corpus", "tokenizer", "shards", "base")
    given = [word for name in shared for word in ("--from", f"{name}={tmp_path / 'one' / name}")]
    told = together(tmp_path / "two", [*plain, *sft, *given], verb="run")
    for verb, made in (("sft", "sft"), ("prefer", "preferred"), ("reinforce", "reinforced")):
        assert told.count(f"{verb}: done in") == 1
        one, two = losses(tmp_path / "one", made), losses(tmp_path / "two", made)
        assert len(one) == len(two) > 1
        compared = slice(1) if made == "reinforced" else slice(None)  # one other token, and what is learnt from is another answer
        assert max(abs(a - b) for a, b in zip(one[compared], two[compared], strict=True)) < 1e-4
