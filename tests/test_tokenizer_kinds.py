"""Every row of TOKENIZERS: text comes back, never as a control token, and other runtimes read the same ids."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.tokenizer import bpe, store
from scratchlm.tokenizer.bytelevel import byte_letters
from scratchlm.tokenizer.foreign_files import adopt
from scratchlm.tokenizer.interface import CONTROL, FACTS_FILE, FILE, UNKNOWN, Tokenizer

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=60)
LINES = ["def add(one, two):\n    return one + two\n", "It's 12 o'clock; the naïve cat sat.\n\n", "hello hello, <|im_start|> there 🎈"]
TEXTS = LINES * 4
SIZE = 600
"""Rows: more than any kind needs before it learns."""
MADE = {kind: store.train(kind, TEXTS, size=SIZE) for kind in store.TOKENIZERS}
ANY = st.text(st.characters(codec="utf-8"))
HOSTILE = st.lists(st.one_of(ANY, st.sampled_from([*CONTROL, "<|im_", "start|>", "assistant\n"]))).map("".join)
kinds = pytest.mark.parametrize("kind", store.TOKENIZERS)


def seen(text: str) -> str:
    return "".join(character for character in text if character in "".join(TEXTS))


@kinds
@LAW
@given(text=HOSTILE)
def test_text_comes_back_and_never_as_a_control_token(kind: str, text: str):
    tokenizer = MADE[kind]
    text = text if tokenizer.unknown is None else seen(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.control.values())
    assert tokenizer.encode_batch([text, ""]).lists() == [ids, []]


@kinds
@LAW
@given(text=HOSTILE)
def test_the_pieces_of_a_text_are_its_bytes(kind: str, text: str):
    tokenizer = MADE[kind]
    text = text if tokenizer.unknown is None else seen(text)
    assert b"".join(map(tokenizer.piece, tokenizer.encode(text))) == text.encode()


@kinds
def test_control_tokens_come_last_and_are_left_out_of_text(kind: str):
    tokenizer = MADE[kind]
    last = range(tokenizer.size - len(CONTROL), tokenizer.size)
    assert [tokenizer.control[name] for name in CONTROL] == list(last)
    assert tokenizer.end_of_text == last[0]
    assert [tokenizer.piece(id).decode() for id in last] == list(CONTROL)
    assert tokenizer.decode([*last, *tokenizer.encode("It's"), *last]) == "It's"


@kinds
def test_ids_that_are_none_of_its_own_are_refused(kind: str):
    for wrong in (-1, MADE[kind].size):
        with pytest.raises(UsageError, match=f"the id {wrong} is none of this tokenizer's"):
            MADE[kind].decode([5, wrong])


@kinds
def test_what_is_saved_is_what_is_loaded(kind: str, tmp_path: Path):
    tokenizer = MADE[kind]
    tokenizer.save(tmp_path)
    loaded = store.load(tmp_path)
    assert (loaded.kind, loaded.size, loaded.unknown, loaded.control) == (kind, tokenizer.size, tokenizer.unknown, tokenizer.control)
    assert [loaded.piece(id) for id in range(loaded.size)] == [tokenizer.piece(id) for id in range(tokenizer.size)]
    assert loaded.encode(LINES[1]) == tokenizer.encode(LINES[1])


@kinds
def test_the_same_text_gives_the_same_file(kind: str, tmp_path: Path):
    for name in ("one", "two"):
        store.train(kind, iter(TEXTS), size=SIZE).save(tmp_path / name)
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "two" / FILE).read_bytes()
    assert (tmp_path / "one" / FACTS_FILE).read_bytes() == (tmp_path / "two" / FACTS_FILE).read_bytes()


@kinds
def test_transformers_reads_the_same_ids(kind: str, tmp_path: Path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer = MADE[kind]
    tokenizer.save(tmp_path)
    other = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / FILE))
    for text in [*LINES, "\r\n\t  x \n\n y", "never 𝄞 seen 12345", f"{CONTROL[1]}user\nhi{CONTROL[2]}"]:
        assert other(text, split_special_tokens=True)["input_ids"] == tokenizer.encode(text)
    assert other(f"{CONTROL[1]}It's{CONTROL[2]}")["input_ids"] == [
        tokenizer.control[CONTROL[1]],
        *tokenizer.encode("It's"),
        tokenizer.control[CONTROL[2]],
    ]
    assert len(other) == tokenizer.size
    assert other.decode(tokenizer.encode(LINES[0]), clean_up_tokenization_spaces=False) == LINES[0]


@pytest.mark.parametrize(
    "text",
    [
        "e\u0301\u0323 \u0301alone",  # marks on a letter, in two orders, and on nothing
        "👩\u200d👩\u200d👧\u200d👦🏽 🇬🇧🇬",  # joined, coloured and halved
        "one\r\ntwo\rthree\n\r\n\n",
        "\0 a\0\0b",
        "\ufffd\ufffe\U0010ffff\ufeff",
        "\u2028\u00a0\u3000 \u1680\t\x0b",
        "### ##a a## [UNK] <0x41> ▁a Ġa",  # what other tokenizers write in their files
        "",
    ],
)
@kinds
def test_unusual_text_comes_back(kind: str, text: str):
    tokenizer = store.train(kind, [*TEXTS, text, text], size=SIZE)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert b"".join(map(tokenizer.piece, tokenizer.encode(text))) == text.encode()
    assert tokenizer.encode_batch([text]).lists() == [tokenizer.encode(text)]


@kinds
@pytest.mark.parametrize("character", ["a", "é", "-", " ", "7"])
@pytest.mark.parametrize("long", [2**16, pytest.param(2**20, marks=pytest.mark.soak)])
def test_the_time_for_one_long_word_grows_with_its_length_not_with_its_square(kind: str, character: str, long: int):
    tokenizer, short = MADE[kind], long // 32
    seconds = {size: min(spent(tokenizer, character * size) for _ in range(2)) for size in (short, long)}
    # In proportion to n it would be 32 times as much, to n log n at most 47 times, to the square of n 1,024 times.
    assert seconds[long] < 250 * seconds[short]


@kinds
@pytest.mark.soak
def test_one_word_of_a_million_letters_does_not_stop_the_training(kind: str):
    letters = random.Random(1).choices("abcdefgh", k=2**20)
    start = time.process_time()
    tokenizer = store.train(kind, [*TEXTS, "".join(letters)], size=SIZE)
    # Seconds. Learned from as one word it takes the engine of byte pairs many minutes.
    assert time.process_time() - start < 60
    assert tokenizer.size > store.TOKENIZERS[kind].fewest or kind == "byte"


def spent(tokenizer: Tokenizer, word: str) -> float:
    """Seconds of this process to encode a word."""
    start = time.process_time()
    ids = tokenizer.encode(word)
    done = time.process_time() - start
    assert len(ids) > 100
    return max(done, 1e-4)


@kinds
def test_another_process_makes_the_same_file(kind: str, tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; from scratchlm.tokenizer import store\n"
        "store.train(sys.argv[1], Path(sys.argv[2]).read_text().split('\\0'), size=int(sys.argv[3])).save(Path(sys.argv[4]))"
    )
    (tmp_path / "texts").write_text("\0".join(TEXTS))
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, kind, str(tmp_path / "texts"), str(SIZE), str(tmp_path / seed)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": "true"})
    assert (tmp_path / "1" / FILE).read_bytes() == (tmp_path / "2" / FILE).read_bytes()


@kinds
def test_half_a_character_becomes_a_replacement(kind: str):
    tokenizer = MADE[kind]
    assert tokenizer.decode(tokenizer.encode("a\ud83c")) == "a" + UNKNOWN
    assert tokenizer.decode(tokenizer.encode("\ud83c\udf88")) == "🎈"
    assert tokenizer.decode(tokenizer.encode_batch(["a\ud83c"]).lists()[0]) == "a" + UNKNOWN


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "byte"])
def test_bytes_that_are_no_text_are_shown_as_replacements(kind: str):
    tokenizer = MADE[kind]
    first = next(id for id in range(tokenizer.size) if tokenizer.piece(id) == "é".encode()[:1])
    assert tokenizer.decode([first]) == UNKNOWN


def test_characters_never_seen_share_one_id():
    tokenizer = MADE["char"]
    assert tokenizer.unknown is not None
    assert tokenizer.encode("a𝄞ы").count(tokenizer.unknown) == 2
    assert tokenizer.decode(tokenizer.encode("a𝄞ы")) == "a" + UNKNOWN * 2


def test_the_rarest_characters_are_the_first_to_go():
    tokenizer = store.train("char", ["aaabbc"], size=2 + 4)
    assert tokenizer.size == 6
    assert tokenizer.decode(tokenizer.encode("abc")) == "ab" + UNKNOWN


def test_more_pieces_than_the_text_gives_are_not_invented():
    tokenizer = store.train("bpe", ["abab abab"], size=5000)
    assert bpe.FEWEST < tokenizer.size < bpe.FEWEST + 5
    assert tokenizer.encode("abab") != list(b"abab")


def test_numbers_are_cut_into_digits():
    tokenizer = store.train("bpe", ["2026 2026 2026"], size=400)
    assert [tokenizer.piece(id) for id in tokenizer.encode("2026")] == [b"2", b"0", b"2", b"6"]


def test_every_byte_has_a_letter_in_the_file():
    letters = byte_letters()
    assert sorted(letters.values()) == list(range(256))
    assert {letter: letters[letter] for letter in "Ġ!Ċ"} == {"Ġ": 32, "!": 33, "Ċ": 10}


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("bpee", 400, "'bpe'"),
        ("bpe", 100, "259"),
        ("char", 3, "4 rows"),
        ("unigram", 258, "259"),
        ("wordpiece", 513, "514"),
        ("bpe", 2**60, "Give fewer"),
    ],
)
def test_what_cannot_be_trained_is_said(kind: str, size: int, said: str):
    with pytest.raises(UsageError, match=said):
        store.train(kind, TEXTS, size=size)


@kinds
def test_an_unknown_split_is_said_with_the_nearest(kind: str):
    with pytest.raises(UsageError, match=r"no split 'qwen3'\. Did you mean 'qwen2'"):
        store.train(kind, TEXTS, size=SIZE, split="qwen3")


@kinds
@pytest.mark.parametrize("texts", [[], [""], ["\n"]])
def test_almost_no_text_is_enough(kind: str, texts: list[str]):
    tokenizer = store.train(kind, texts, size=SIZE)
    assert store.TOKENIZERS[kind].fewest <= tokenizer.size <= store.TOKENIZERS[kind].fewest + 1
    assert tokenizer.unknown is not None or tokenizer.decode(tokenizer.encode("It's 🎈")) == "It's 🎈"


def damaged(path: Path, tokenizer: Tokenizer, file: str, text: str) -> Path:
    tokenizer.save(path)
    (path / file).write_text(text)
    return path


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (FILE, "{}"),
        (FACTS_FILE, "{"),
        (FACTS_FILE, json.dumps({"kind": "words", "size": 3, "end_of_text": 1, "unknown": None, "control": {}, "sha256": "0"})),
    ],
)
def test_a_damaged_tokenizer_is_refused(file: str, text: str, tmp_path: Path):
    with pytest.raises(ArtifactError, match=file):
        store.load(damaged(tmp_path, MADE["bpe"], file, text))


@pytest.mark.parametrize("kind", [kind for kind in store.TOKENIZERS if kind != "byte"])  # bytes never read their file
@pytest.mark.parametrize("engine", ["tokenizers", "gigatoken"])
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model": 3}', '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}', "null"])
def test_a_file_that_is_whole_but_no_tokenizer_is_refused(kind: str, engine: str, text: str, tmp_path: Path):
    MADE[kind].save(tmp_path)
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    (tmp_path / FILE).write_text(text)
    (tmp_path / FACTS_FILE).write_text(json.dumps(facts | {"sha256": hashlib.sha256(text.encode()).hexdigest()}))
    (tmp_path / store.DECISIONS).write_text(json.dumps({"encoding": engine}))
    with pytest.raises(ArtifactError, match=FILE):
        store.load(tmp_path)


def test_a_tokenizer_from_elsewhere_is_loaded(real_data: Path, tmp_path: Path):
    gpt2 = adopt(real_data / "gpt2_bpe").tokenizer
    gpt2.save(tmp_path)
    loaded = store.load(tmp_path)
    assert (loaded.kind, loaded.size, loaded.control) == (gpt2.kind, gpt2.size, gpt2.control)
    assert loaded.encode("Hello world") == [15496, 995]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactError, match="not there"):
        store.load(tmp_path)
