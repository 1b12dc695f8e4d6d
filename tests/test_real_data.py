"""Real texts, a little of each: books, proposals, a play. Nothing is lost on the way, and what was learned from them reads them."""

import json
import math
import shutil
from pathlib import Path

import pytest
from tiny import fresh
from trainee import objective

from scratchlm.batches.rows import TokenRows
from scratchlm.batches.shards import Shards, open_split
from scratchlm.core.artifact import Home
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.evals.knowledge import learn
from scratchlm.evals.tasks import TASKS
from scratchlm.optim import adamw
from scratchlm.parallel.precision import Precision
from scratchlm.sources import record
from scratchlm.stages import corpus, tokenize, vocab
from scratchlm.tokenizer import store
from scratchlm.tokenizer.bpe import byte_letters
from scratchlm.train.loop import backward
from scratchlm.train.state import TrainState

TEXTS = {
    "novels": ("novels/Haggard_Mines_1885.txt", "novels/Stevenson_Treasure_1883.txt"),
    "peps": ("peps/pep-0001.rst", "peps/pep-0005.rst", "peps/pep-0008.rst", "peps/pep-0020.rst"),
    "tinyshakespeare": ("tinyshakespeare",),
}
QUIET = Journal()


@pytest.fixture(scope="module", params=TEXTS)
def home(request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Corpus, tokenizer and shards of one kind of text."""
    root = tmp_path_factory.mktemp(request.param)
    (root / "data").mkdir()
    for name in TEXTS[request.param]:
        found = [real_data / name] if (real_data / name).is_file() else sorted((real_data / name).glob("*.txt"))
        if not all(file.is_file() for file in found) or not found:
            pytest.skip(f"{real_data / name}: not here")
        for file in found:
            shutil.copy(file, root / "data")
    made = Home(root / "home")
    corpus.run(corpus.Config(data=str(root / "data")), made, QUIET)
    vocab.run(vocab.Config(size=800, max_bytes=200_000), made, QUIET)
    tokenize.run(tokenize.Config(), made, QUIET)
    return made


def documents(home: Home, split: str) -> list[Document]:
    return list(record.read(home.open("corpus").path / f"{split}.parquet"))


def test_every_character_is_kept_or_dropped_for_a_reason(home: Home):
    facts = json.loads((home.open("corpus").path / "report.json").read_text())
    books = facts["conservation"]
    assert books["documents_in"] == books["documents_kept"] + books["documents_dropped"]
    assert books["characters_in"] == books["characters_kept"] + books["characters_dropped"] + books["characters_edited_away"]
    assert books["documents_dropped"] == sum(row["first"] for row in facts["rules"])
    assert books["characters_kept"] > 0.9 * books["characters_in"]


def test_no_document_is_in_two_splits(home: Home):
    texts = [document.text for split in tokenize.SPLITS for document in documents(home, split)]
    assert len(set(texts)) == len(texts)
    assert all(documents(home, split) for split in tokenize.SPLITS)


def test_tokens_are_the_text_and_shorter(home: Home):
    tokenizer = store.load(home.open("tokenizer").path)
    for split in tokenize.SPLITS:
        kept, shards = documents(home, split), open_split(home.open("shards").path, split)
        assert shards.bytes == sum(len(document.text.encode()) for document in kept)
        assert shards.tokens < 0.6 * shards.bytes
        texts = sorted(tokenizer.decode(shards.window(0, shards.tokens)[0][part].tolist()) for part in parts(shards))
        assert texts == sorted(document.text for document in kept)


def parts(shards: Shards) -> list[slice]:
    ends = [*shards.starts[1:].tolist(), shards.tokens]
    return [slice(start, end) for start, end in zip(shards.starts.tolist(), ends, strict=True)]


def test_a_fresh_model_is_as_surprised_by_it_as_by_anything(home: Home):
    size = store.load(home.open("tokenizer").path).size
    state = TrainState.begin(fresh("qwen3", vocab=size), adamw.Config(), seed=0)
    batch = TokenRows(open_split(home.open("shards").path, "train"), context=32, rows=4, seed=0).batch(0)
    loss, _ = backward(state, batch, objective(state), Precision("float32"), scale=1 / batch.weight)
    # Fresh scores are within some 0.1 of zero, so the loss is the logarithm of the vocabulary but for its hundredth part.
    assert loss / batch.weight == pytest.approx(math.log(size), rel=0.01)


def test_something_can_be_asked_about_it(home: Home):
    knowledge = learn(documents(home, "train"), "folder", facts=30)
    assert len(knowledge.words) > 300
    asked = [example for task in TASKS.values() for example in task(knowledge).test(0, 5)]
    assert len(asked) > 20


def test_the_letters_of_bytes_are_those_of_gpt2(real_data: Path):
    file = real_data / "gpt2_bpe" / "encoder.json"
    if not file.is_file():
        pytest.skip(f"{file}: not here")
    theirs = {piece for piece in json.loads(file.read_text(encoding="utf-8")) if len(piece) == 1}
    assert set(byte_letters()) == theirs
