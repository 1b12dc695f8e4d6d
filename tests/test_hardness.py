"""Before a network sees a text: one that repeats itself is easy, one that nobody can foresee takes all its bits."""

import random
from pathlib import Path

from benchmarks.time_to_loss import prepared
from scratchlm.batches.shards import open_split
from scratchlm.core.artifact import Home
from scratchlm.evals import hardness
from scratchlm.tokenizer import store


def of(text: str, path: Path) -> float:
    prepared(text, Home(path))
    shards = [open_split(path / "shards", split) for split in ("train", "validation")]
    return hardness.hardness(shards[0], shards[1], store.load(path / "tokenizer"))


def test_a_text_is_as_hard_as_it_is_hard_to_foresee(tmp_path: Path):
    noise = random.Random(0)
    dice = "".join(noise.choice("abcdefgh") for _ in range(40_000))
    assert of("over and over again. " * 2000, tmp_path / "same") < 0.1
    assert 3.0 < of(dice, tmp_path / "dice") < 3.6  # eight letters are three bits; both pay a little for not knowing that


def test_only_so_much_is_read_whatever_the_corpus_holds(tmp_path: Path):
    prepared("words in a row, " * 3000, Home(tmp_path))
    train, tokenizer = open_split(tmp_path / "shards", "train"), store.load(tmp_path / "tokenizer")
    assert "".join(hardness.texts(train, tokenizer, 100)) == ("words in a row, " * 7)[:100]
    assert sum(len(text) for text in hardness.texts(train, tokenizer, 10**9)) == 16 * 3000 * 9 // 10
