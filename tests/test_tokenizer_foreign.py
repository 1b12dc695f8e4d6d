"""Tokenizers that others trained: the ids of their own programs, no text that becomes a control token, one line for what is damaged."""

import base64
import io
import json
import struct
import time
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from scratchlm.core.config import to_plain
from scratchlm.core.errors import ScratchError, UsageError
from scratchlm.export import gguf
from scratchlm.model import llama
from scratchlm.model.architectures import build
from scratchlm.stages import export
from scratchlm.tokenizer import foreign, foreign_charsmap, foreign_patterns, foreign_sentencepiece, gguf_fields, store
from scratchlm.tokenizer.foreign_files import Adopted, adopt
from scratchlm.tokenizer.interface import CONTROL, FILE, TURN_END, TURN_START, Tokenizer

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=40)
LINES = [
    "def add(one, two):\n    return one + two\n", "It's 12 o'clock; the naïve cat sat.\n\n", "hello hello, <|im_start|> there 🎈 (x) <sep>",
    "the cat and the hat, 1234567 things", "user assistant system <s> </s> [SEP] <unk> <0x0A>",
] * 6  # fmt: skip
OWN = ["<sep>", "(x)", "▁▁"]
NAMES = [*CONTROL, "<s>", "</s>", "<unk>", "[SEP]", "[UNK]", "[CLS]", "<0x0A>", "<sep>", "(x)"]
HOSTILE = st.lists(st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.sampled_from([*NAMES, " ", "  ", "▁", "<", "|>", " 5"])))


def pieces(kind: str, **options: Any) -> bytes:
    """A SentencePiece model of our lines."""
    spm = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    out = io.BytesIO()
    more = {"vocab_size": 400, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1} | options
    spm.SentencePieceTrainer.train(sentence_iterator=iter(" ".join(LINES).split("\n")), model_writer=out, model_type=kind, **more)
    return out.getvalue()


LLAMA = {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
GEMMA = LLAMA | {"add_dummy_prefix": False, "user_defined_symbols": [*OWN, "\n"]}
MARKS = LLAMA | {"add_dummy_prefix": False, "user_defined_symbols": OWN[:2]}
OPTIONS = {
    "plain": {},
    "llama": LLAMA,
    "gemma": GEMMA,
    "marks": MARKS,
    "own": {"user_defined_symbols": OWN[:2]},
    "folded": {"normalization_rule_name": "nfkc_cf"},
}


def engine(model: Any, trainer: Any, **parts: Any) -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(inner, name, part)
    inner.train_from_iterator(LINES, trainer)
    return inner


def byte_level(pattern: str) -> tokenizers.Tokenizer:
    cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    return engine(models.BPE(), trainer, pre_tokenizer=cut, decoder=decoders.ByteLevel())


def unigram() -> tokenizers.Tokenizer:
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    return engine(models.Unigram(), trainer, pre_tokenizer=pre_tokenizers.Metaspace(), normalizer=normalizers.NFKC())


def wordpiece() -> tokenizers.Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    model = models.WordPiece(unk_token="[UNK]")  # pyright: ignore[reportCallIssue]
    return engine(model, trainer, pre_tokenizer=pre_tokenizers.BertPreTokenizer(), normalizer=normalizers.BertNormalizer())


def mistral() -> tokenizers.Tokenizer:
    """The pieces of a SentencePiece model as newer files have them: blanks written by the cutter, one before the first word only."""
    spec = json.loads(json.dumps(made("bpe-llama")[0].tokenizer.spec)) | {"normalizer": None}
    return tokenizers.Tokenizer.from_str(
        json.dumps(spec | {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}})
    )


ENGINES: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "mistral": mistral,
    "bytes": lambda: byte_level(foreign_patterns.named("gpt4o")), "unigram": unigram, "wordpiece": wordpiece,
}  # fmt: skip


@cache
def made(name: str) -> tuple[Adopted, dict[str, bytes]]:
    """An adopted tokenizer and the files that it came from."""
    if name in ENGINES:
        files = {FILE: ENGINES[name]().to_str().encode()}
    else:
        kind, _, options = name.partition("-")
        files = {"tokenizer.model": pieces(kind, **OPTIONS[options])}
    return read(files), files


def read(files: dict[str, bytes], **options: Any) -> Adopted:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return adopt(Path(folder), **options)


def listed(**specials: int) -> dict[str, bytes]:
    """The file beside a vocabulary that knows its control tokens."""
    rows = {str(id): {"content": name, "special": True} for name, id in specials.items()}
    return {"tokenizer_config.json": json.dumps({"added_tokens_decoder": rows}).encode()}


SENTENCEPIECES = [f"{kind}-{options}" for kind in ("bpe", "unigram") for options in OPTIONS]
ALL = [*ENGINES, *SENTENCEPIECES]
everyone = pytest.mark.parametrize("name", ALL)


def real_lines(real_data: Path) -> list[str]:
    novels = sorted((real_data / "novels").glob("*.txt"))[:2]
    paths = [real_data / "tinyshakespeare" / "input.txt", *novels, *sorted((real_data / "peps").rglob("*.rst"))[:8]]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace")[:150_000] for path in paths)
    return [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("name", SENTENCEPIECES)
def test_sentencepiece_itself_gives_the_same_ids_and_text_on_real_text(name: str, real_data: Path):
    import sentencepiece as spm

    adopted, files = made(name)
    ours, theirs = adopted.tokenizer, spm.SentencePieceProcessor(model_proto=files["tokenizer.model"])
    lines = [*real_lines(real_data)[::2], "", " ", "  a  ", "x\ny", "<0x0A>", "ab<sep>c(x) ", "▁▁ ▁"]
    ids = ours.encode_batch(lines).lists()
    assert ids == theirs.encode(lines)
    for place in range(0, len(lines), 50):
        assert ours.encode(lines[place]) == ids[place]
        assert ours.decode(ids[place]) == theirs.decode(ids[place]).replace(" ⁇ ", "\ufffd")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@LAW
@given(text=HOSTILE.map("".join))
def test_sentencepiece_gives_the_same_ids_on_any_text(kind: str, text: str):
    import sentencepiece as spm

    adopted, files = made(f"{kind}-gemma")
    assert adopted.tokenizer.encode(text) == spm.SentencePieceProcessor(model_proto=files["tokenizer.model"]).encode(text)


def gpt2_of_tiktoken(folder: Path) -> tuple[Any, dict[bytes, int]]:
    """GPT-2's tokenizer as its makers run it, and the rank of each piece."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    ranks = data_gym_to_mergeable_bpe_ranks(str(folder / "vocab.bpe"), str(folder / "encoder.json"))
    pattern = foreign_patterns.named("gpt2")
    return tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={CONTROL[0]: 50256}), ranks


def test_gpt2_is_read_as_tiktoken_reads_it(real_data: Path):
    theirs, ranks = gpt2_of_tiktoken(real_data / "gpt2_bpe")
    lines = [*real_lines(real_data)[::5], "<|endoftext|>", "🎈 naïve\r\n\t  x"]
    wanted = theirs.encode_ordinary_batch(lines)
    ours = adopt(real_data / "gpt2_bpe")
    assert (ours.begin, ours.ends, ours.appended, ours.tokenizer.size) == (None, (50256, 50258), (TURN_START, TURN_END), 50259)
    assert ours.tokenizer.encode_batch(lines).lists() == wanted
    text = b"".join(base64.b64encode(piece) + b" %d\n" % rank for piece, rank in ranks.items())
    again = read({"gpt2.tiktoken": text, **listed(**{CONTROL[0]: 50256, "<|last|>": 50300})}, split="gpt2")
    assert again.tokenizer.encode_batch(lines).lists() == wanted
    assert again.tokenizer.size == 50303
    assert again.tokenizer.piece(50299) == b"<|reserved_50299|>"


@pytest.mark.soak
@pytest.mark.parametrize("folder", ["novels", "peps", "tinyshakespeare"])
def test_gpt2_is_read_as_tiktoken_reads_it_on_all_texts(folder: str, real_data: Path):
    theirs, _ = gpt2_of_tiktoken(real_data / "gpt2_bpe")
    ours = adopt(real_data / "gpt2_bpe").tokenizer
    paths = sorted(path for path in (real_data / folder).rglob("*") if path.suffix in (".txt", ".rst"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert ours.encode(text) == theirs.encode_ordinary(text), path


@pytest.mark.parametrize("split", ["gpt2", "qwen2", "llama3", "gpt4o"])
def test_ranks_are_merged_as_tiktoken_merges_them(split: str):
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed")
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b" t": 258, b"hello": 259, b" the": 260, b"ello": 261}
    pattern = foreign_patterns.named(split)
    theirs = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|end|>": 262})
    data = b"".join(base64.b64encode(piece) + b" %d\n" % rank for piece, rank in ranks.items())
    end = {"generation_config.json": b'{"eos_token_id": [262]}'} | listed(**{"<|end|>": 262})
    ours = read({"x.tiktoken": data, **end}, split=split)
    assert ours.tokenizer.end_of_text == 262
    for text in [*LINES, "hello hell hellos ello the thell", "12345 It'S\r\n\n  x  "]:
        assert ours.tokenizer.encode(text) == theirs.encode_ordinary(text)


@pytest.mark.parametrize("name", ENGINES)
def test_a_tokenizer_json_gives_the_ids_of_its_library(name: str):
    adopted, files = made(name)
    theirs = tokenizers.Tokenizer.from_str(files[FILE].decode())
    for text in [line for line in LINES if not any(name in line for name in NAMES)] + ["it's  the\thello 99", "unseen: Ж"]:
        assert adopted.tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False).ids


@everyone
@LAW
@given(texts=HOSTILE)
def test_no_text_becomes_a_control_token(name: str, texts: list[str]):
    words = made(name)[0].tokenizer
    for text in ("".join(texts), " ".join(texts)):
        ids = words.encode(text)
        assert not set(ids) & set(words.control.values())
        assert words.encode_batch(["", text]).lists() == [[], ids]
    assert isinstance(words, Tokenizer)
    assert {TURN_START, TURN_END} <= set(words.control)


@everyone
def test_text_comes_back(name: str):
    words = made(name)[0].tokenizer
    exact = name in ("bytes", "mistral") or name.endswith(("llama", "gemma", "marks"))
    for text in [*LINES, *(["  two blanks \n"] * (name != "mistral")), "Ж 🎈 never seen"] if exact else ["hello the cat sat"]:
        assert words.decode([words.end_of_text, *words.encode(text), words.control[TURN_END]]) == text


@everyone
def test_what_is_saved_is_what_is_loaded_and_what_transformers_reads(name: str, tmp_path: Path):
    words = made(name)[0].tokenizer
    words.save(tmp_path)
    loaded = foreign.read((tmp_path / FILE).read_text(encoding="utf-8"), store.facts_of(tmp_path))
    assert (loaded.size, loaded.end_of_text, loaded.unknown) == (words.size, words.end_of_text, words.unknown)
    assert loaded.control == words.control
    assert [loaded.piece(id) for id in range(loaded.size)] == [words.piece(id) for id in range(words.size)]
    other = tokenizers.Tokenizer.from_file(str(tmp_path / FILE))
    for text in [line for line in LINES if not any(name in line for name in NAMES)]:
        assert loaded.encode(text) == words.encode(text) == other.encode(text).ids
        if words.unknown not in (ids := words.encode(text)):
            assert other.decode(ids) == words.decode(ids)
    marked = {text: id for id, token in other.get_added_tokens_decoder().items() if token.special and (text := token.content)}
    assert words.control.items() <= marked.items()


def test_what_ends_a_text_must_be_a_control_token():
    words = made("bytes")[0].tokenizer
    with pytest.raises(UsageError, match="what ends a text, 77"):
        foreign.Foreign(words.spec, control=words.control, end_of_text=77)
    with pytest.raises(UsageError, match="no control token '<s>'"):
        foreign.Foreign(words.spec, control={"<s>": 10**9}, end_of_text=10**9)


@pytest.mark.parametrize("name", ["bytes", "bpe-llama"])
def test_the_piece_of_a_byte_that_a_file_calls_special_stays_text(name: str):
    spec = json.loads(json.dumps(made(name)[0].tokenizer.spec))
    byte = "!" if name == "bytes" else "<0x0A>"
    spec["added_tokens"].append({"id": spec["model"]["vocab"][byte], "content": byte, "special": True})
    chat = {"pad_token": byte, "eos_token": spec["added_tokens"][0]["content"] if name == "bytes" else "</s>"}
    words = read({FILE: json.dumps(spec).encode(), "tokenizer_config.json": json.dumps(chat).encode()}).tokenizer
    assert byte not in words.control
    for text in ("Hi! You\n", "!", "\n!\n"):
        assert words.decode(words.encode(text)) == text
        assert words.encode(text) == made(name)[0].tokenizer.encode(text)
    loaded = tokenizers.Tokenizer.from_str(json.dumps(words.spec))
    assert loaded.decode(words.encode("Hi! You"), skip_special_tokens=True) == "Hi! You"
    with pytest.raises(UsageError, match="a text may also become it"):
        read({FILE: json.dumps(spec).encode(), "tokenizer_config.json": json.dumps({"eos_token": byte}).encode()})


def test_bytes_that_no_text_may_become_leave_characters_without_ids():
    words = made("bytes")[0].tokenizer
    byte = words.spec["model"]["vocab"]["!"]
    with pytest.raises(UsageError, match="characters would have no id"):
        foreign.Foreign(words.spec, control={**words.control, "!": byte}, end_of_text=words.end_of_text)


def test_no_text_spells_a_hidden_name():
    spec = llama_like()
    spec["added_tokens"][0]["special"] = False
    words = read({FILE: json.dumps(spec).encode()}).tokenizer
    for text in (" 0", "a 0 b", " 1", "<unk>"):
        assert 0 not in words.encode(text)
        assert words.decode(words.encode(text)) == text
    with pytest.raises(UsageError, match="a text could spell one"):
        read({FILE: json.dumps(llama_like(ignore_merges=True)).encode()})


def test_ids_that_are_none_of_its_own_are_refused():
    words = made("bytes")[0].tokenizer
    for wrong in (-1, words.size):
        with pytest.raises(UsageError, match=f"the id {wrong} is none"):
            words.decode([5, wrong])


def test_turns_that_are_there_are_used_and_others_come_behind():
    there, lacking = made("bytes")[0], made("wordpiece")[0]
    assert there.appended == (TURN_START,)
    assert there.tokenizer.control[TURN_START] == there.tokenizer.size - 1
    assert there.tokenizer.control[TURN_END] == 1
    assert lacking.appended == (TURN_START, TURN_END)
    assert lacking.tokenizer.end_of_text == lacking.tokenizer.control["[SEP]"]


def test_the_files_beside_it_say_what_ends_a_text():
    files = {FILE: made("bytes")[1][FILE]}
    chat = {"eos_token": {"content": TURN_END}, "bos_token": None}
    found = read({**files, "tokenizer_config.json": json.dumps(chat).encode(), "generation_config.json": b'{"eos_token_id": [1, 0]}'})
    assert (found.tokenizer.end_of_text, found.ends, found.begin) == (0, (1, 0), None)
    llama = read({**made("bpe-llama")[1], "config.json": b'{"bos_token_id": 1, "eos_token_id": 2}'})
    assert (llama.begin, llama.tokenizer.end_of_text, llama.tokenizer.piece(2)) == (1, 2, b"</s>")
    with pytest.raises(UsageError, match="name as eos a token"):
        read({**files, "config.json": b'{"eos_token_id": 99999}'})


def test_the_vocabulary_of_a_slow_tokenizer_is_split_as_its_class_says():
    spec = json.loads(made("bytes")[1][FILE])
    files = {
        "vocab.json": json.dumps(spec["model"]["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *(" ".join(pair) for pair in spec["model"]["merges"])]).encode(),
    }
    more = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {"330": {"content": "<x>", "special": True}}}
    found = read({**files, "tokenizer_config.json": json.dumps(more).encode()})
    assert found.tokenizer.control["<x>"] == 330
    assert [found.tokenizer.piece(id) for id in found.tokenizer.encode("12")] == [b"1", b"2"]
    with pytest.raises(UsageError, match=r"Name the split pattern: one of cl100k, gpt-2"):
        read(files)


def test_every_pattern_takes_time_in_proportion_to_the_text():
    for pattern in [*foreign_patterns.HARMLESS, *(spelling for row in foreign_patterns.PATTERNS.values() for spelling in row)]:
        cut = pre_tokenizers.Split(Regex(pattern), "isolated")
        short, long = (min(seconds(cut, size) for _ in range(3)) for size in (500, 8_000))
        # In proportion to the length 16 times as much, to its square 256 times; one that tries again and again takes hours.
        assert long < 80 * short, pattern


def seconds(cut: pre_tokenizers.PreTokenizer, size: int) -> float:
    """Of this process, to cut texts of ``size`` characters of one kind each."""
    begun = time.process_time()
    for unit in ("a", "A", "1", " ", "\n", " \n", "'s", "é", "中", "!", "aA", "ʰ", "\u0301", " a", "\r/", "▁"):
        for end in ("", "a", "!", "\n"):
            cut.pre_tokenize_str(unit * (size // len(unit)) + end)
    return time.process_time() - begun


@pytest.mark.parametrize("name", foreign_patterns.PATTERNS)
def test_all_spellings_of_a_pattern_cut_alike(name: str, real_data: Path):
    text = "\n".join(real_lines(real_data)[:3000]) + "It'S i'M 12345 \r\n\r\n  \t x\n "
    first, *others = foreign_patterns.PATTERNS[name]
    wanted = pre_tokenizers.Split(Regex(first), "isolated").pre_tokenize_str(text)
    assert all(pre_tokenizers.Split(Regex(other), "isolated").pre_tokenize_str(text) == wanted for other in others)


@LAW
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=6, unique=True))
def test_a_list_of_texts_comes_back_from_its_pattern(texts: list[str]):
    pattern = foreign_patterns.any_of(texts)
    assert sorted(foreign_patterns.texts_in(pattern) or []) == sorted(texts)
    joined = "".join(texts)
    cut = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(joined)
    assert "".join(part for part, _ in cut) == joined
    assert cut[0][0] == max((text for text in texts if joined.startswith(text)), key=len)


def test_a_list_of_texts_that_is_too_long_is_no_pattern():
    many = [f"x{number}" for number in range(foreign_patterns.MOST_TEXTS + 1)]
    assert foreign_patterns.texts_in(foreign_patterns.any_of(many[1:])) is not None
    for texts in (many, ["x" * (foreign_patterns.LONGEST_TEXT + 1)]):
        assert not foreign_patterns.is_safe(foreign_patterns.any_of(texts))


def changed(**parts: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda spec: {**spec, **{key: {**spec[key], **value} if isinstance(spec[key], dict) else value for key, value in parts.items()}}


def merges(*rows: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return changed(model={"merges": list(rows)})


def vocab(**rows: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda spec: changed(model={"vocab": {**spec["model"]["vocab"], **rows}})(spec)


def cutter(**part: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda spec: {**spec, "pre_tokenizer": part}


def normalizer(**part: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda spec: {**spec, "normalizer": part}


DAMAGED: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("bytes", lambda spec: [], "no JSON object"),
    ("bytes", lambda spec: {}, "no 'model'"),
    ("bytes", changed(model={"type": "WordLevel"}), "'WordLevel'"),
    ("bytes", cutter(type="Sequence", pretokenizers=[{"type": "ByteLevel"}, {"type": "Mystery"}]), "no part 'Mystery'"),
    ("bytes", cutter(type="Split", pattern={"Regex": "(a+)+$"}, behavior="Isolated", invert=False), "not in our table"),
    ("bytes", cutter(type="Split", pattern={"String": ""}, behavior="Isolated", invert=False), "finds nothing"),
    ("bytes", cutter(type="Whitespace"), "how blanks are kept"),
    ("bytes", cutter(type="Metaspace", replacement=" ", prepend_scheme="always"), "replacement|writes blanks"),
    ("bytes", cutter(type="Sequence", pretokenizers=[{"type": "ByteLevel"}] * 99), "99 parts"),
    ("bytes", normalizer(type="Replace", pattern={"String": "a"}, content="aa"), "longer than"),
    ("bytes", normalizer(type="Prepend", prepend="x" * 99), "99 characters"),
    ("bytes", normalizer(type="Precompiled", precompiled_charsmap="AAAA"), "says it has"),
    ("bytes", normalizer(type="Precompiled", precompiled_charsmap="!"), "no base64"),
    ("bytes", merges("a nonsense"), "merge 1"),
    ("bytes", merges(["a"]), "merge 1"),
    ("bytes", merges(["a", 3]), "merge 1"),
    ("bytes", merges(["h", "Ж"]), "merge 1"),
    ("bytes", vocab(twice=5), "the same id 5"),
    ("bytes", vocab(far=10**12), "leave no hole"),
    ("bytes", vocab(below=-1), "leave no hole"),
    ("bytes", vocab(word="3"), "a text and a number"),
    ("bytes", vocab(**{"\ud83c": 330}), "half of a character"),
    ("bytes", vocab(truth=True), "a text and a number"),
    ("bytes", changed(added_tokens=[{"id": 0}]), "an added token"),
    ("bytes", changed(added_tokens=[{"id": 3, "content": "<x>"}]), "the same id 3"),
    ("bytes", changed(model={"end_of_word_suffix": "</w>"}), "marks words"),
    ("bytes", lambda spec: changed(model={"vocab": {"a": 0, "<|endoftext|>": 1}, "merges": []}, added_tokens=[])(spec), "would have no id"),
    ("unigram", lambda spec: changed(model={"vocab": [*spec["model"]["vocab"], ["new", "b"]]})(spec), "'new' has no finite score"),
    ("unigram", lambda spec: changed(model={"vocab": [*spec["model"]["vocab"], ["bare"]]})(spec), "'bare' has no finite score"),
    ("unigram", changed(model={"unk_id": 10**9}), "unk_id"),
    ("wordpiece", changed(model={"unk_token": "[NO]"}), "unk_token"),
    ("wordpiece", changed(model={"unk_token": []}), "unk_token"),
    ("wordpiece", changed(model={"max_input_chars_per_word": 10**12}), "max_input_chars_per_word"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGED, ids=[said for *_, said in DAMAGED])
def test_a_damaged_tokenizer_json_is_refused_in_one_line(name: str, damage: Callable[[dict[str, Any]], Any], said: str):
    spec = json.loads(made(name)[1][FILE])
    with pytest.raises(UsageError, match=said) as caught:
        read({FILE: json.dumps(damage(spec)).encode()})
    assert "\n" not in str(caught.value)


RANKS = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no tokenizer is in it"),
        ({FILE: b"\xff"}, "not UTF-8"),
        ({FILE: b'{"model": NaN}'}, "it says NaN"),
        ({FILE: b"[" * 100_000}, "not JSON"),
        ({"x.tiktoken": b"!!! 3\n"}, "line 1"),
        ({"x.tiktoken": RANKS + b"YQ== 999\n"}, "line 257"),
        ({"x.tiktoken": RANKS + b"YWI= 5\n"}, "the same rank"),
        ({"x.tiktoken": RANKS + b"YWI= 999999999\n"}, "out of range"),
        ({"x.tiktoken": RANKS + b"YWI= 2000000\n"}, "holes"),
        ({"x.tiktoken": b""}, "no pieces"),
        ({"x.tiktoken": RANKS}, "added_tokens_decoder"),
        ({"x.tiktoken": RANKS, **listed(**{"</s>": 7})}, "share an id"),
        ({"x.tiktoken": RANKS, "config.json": json.dumps({"eos_token_id": [3] * 65}).encode()}, "name 65 tokens as eos"),
        ({"tokenizer.model": b""}, "no pieces"),
        ({"tokenizer.model": b"\n\xff\xff\xff\xff\x03abc"}, "a field of 1,073,741,823 bytes where 3 are left"),
        ({"tokenizer.model": b"\n" + b"\xff" * 20}, "more than ten bytes"),
        ({"tokenizer.model": b"\x0b"}, "wire type 3"),
        ({"vocab.json": b"{}", "merges.txt": b"", "tokenizer_config.json": b'{"tokenizer_class": "GPT2Tokenizer"}'}, "no pieces"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(files: dict[str, bytes], said: str):
    with pytest.raises(UsageError, match=said) as caught:
        read(files, split="gpt2")
    assert "\n" not in str(caught.value)


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A message of Protocol Buffers; numbers below 128 only."""
    return b"".join(
        bytes([number << 3, value]) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def piece(text: str, score: float = 0.0, kind: int = 1) -> tuple[int, bytes]:
    return 1, message((1, text.encode())) + b"\x15" + struct.pack("<f", score) + message((3, kind))


UNKNOWN_PIECE = piece("<unk>", kind=2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((UNKNOWN_PIECE, piece("a", float("nan"))), "no finite number"),
        ((UNKNOWN_PIECE, piece("a", float("inf"))), "no finite number"),
        ((UNKNOWN_PIECE, piece("a"), piece("a")), "twice"),
        ((piece("a"),), "unknown"),
        ((UNKNOWN_PIECE, piece("a", kind=9)), "of type 9"),
        ((UNKNOWN_PIECE, piece("a" * 2000)), "damaged"),
        ((UNKNOWN_PIECE, piece("a", kind=5)), "unused pieces"),
        ((UNKNOWN_PIECE, (2, message((3, 3)))), "of type 3"),
        ((UNKNOWN_PIECE, (2, message((24, 1)))), "damaged|end of words"),
        ((UNKNOWN_PIECE, (3, message((2, bytes(9))))), "says it has"),
        ((UNKNOWN_PIECE, (3, message((5, 0)))), "blanks as they are"),
        ((UNKNOWN_PIECE, (1, message((1, b"\xff")))), "damaged"),
        ((UNKNOWN_PIECE, (1, message((1, 3)))), "a number where bytes"),
        ((UNKNOWN_PIECE, piece("a")), "known to end a text"),
    ],
)
def test_a_sentencepiece_model_that_cannot_be_is_refused(fields: tuple[tuple[int, bytes | int], ...], said: str):
    with pytest.raises(UsageError, match=said):
        read({"tokenizer.model": message(*fields)})


def edits() -> st.SearchStrategy[list[tuple[float, int, bytes]]]:
    """Places, how much is cut there, and what is put in."""
    return st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=4)


@pytest.mark.parametrize("name", ["bytes", "unigram", "wordpiece", "bpe-gemma", "unigram-folded", "tiktoken"])
@LAW
@given(edits=edits())
def test_a_file_with_bytes_changed_is_refused_or_works(name: str, edits: list[tuple[float, int, bytes]]):
    ((file, data),) = ({"x.tiktoken": RANKS} if name == "tiktoken" else made(name)[1]).items()
    damaged = data
    for where, cut, put in edits:
        place = int(where * len(damaged))
        damaged = damaged[:place] + put + damaged[place + cut :]
    try:
        words = read({file: damaged, **(listed(**{"</s>": 256}) if name == "tiktoken" else {})}, split="qwen2").tokenizer
    except ScratchError as error:
        said = str(error)
        assert said.count("\n") == 0
        return
    for text in LINES[:5]:
        ids = words.encode(text)
        assert all(0 <= id < words.size for id in ids)
        assert not set(ids) & set(words.control.values())
        words.decode(ids)


@LAW
@given(changes=st.lists(st.tuples(st.integers(0, 250_000), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_damaged_table_of_characters_never_ends_the_process(changes: list[tuple[int, int]]):
    table = bytearray(foreign_sentencepiece.read(memoryview(made("unigram-folded")[1]["tokenizer.model"])).table)
    for place, value in changes:
        table[place % len(table)] = value
    try:
        foreign_charsmap.check(bytes(table), "x")
    except UsageError:
        return
    normalizers.Precompiled(bytes(table)).normalize_str("①ﬁ… " + "".join(map(chr, range(32, 0xD7FF, 97))))


def saved(name: str, path: Path) -> Path:
    made(name)[0].tokenizer.save(path)
    return path


def test_gguf_is_told_letters_merges_and_the_name_of_the_cut(tmp_path: Path):
    found = gguf_fields.fields(saved("bytes", tmp_path))
    words = made("bytes")[0].tokenizer
    assert (found.model, found.pre, found.scores, found.space_prefix) == ("gpt2", "gpt-4o", None, False)
    assert len(found.tokens) == len(found.types) == words.size
    assert {id for id, kind in enumerate(found.types) if kind == gguf_fields.CONTROL} == set(words.control.values())
    assert found.merges is not None
    assert all(len(merge.split(" ")) == 2 and merge.replace(" ", "") in found.tokens for merge in found.merges)


@pytest.mark.parametrize("split", ["gpt2", "gpt4", "qwen2", "llama3"])
def test_gguf_names_our_own_splits(split: str, tmp_path: Path):
    store.train("bpe", LINES, size=330, split=split).save(tmp_path)
    assert gguf_fields.fields(tmp_path).pre == {"gpt2": "gpt-2", "qwen2": "qwen2"}.get(split, "dbrx")


def test_gguf_is_told_scores_and_types_of_sentencepiece(tmp_path: Path):
    adopted, files = made("bpe-marks")
    found = gguf_fields.fields(saved("bpe-marks", tmp_path))
    model = foreign_sentencepiece.read(memoryview(files["tokenizer.model"]))
    assert (found.model, found.pre, found.merges, found.space_prefix) == ("llama", "default", None, False)
    assert found.types[: len(model.pieces)] == [row.type for row in model.pieces]
    assert found.types[len(model.pieces) :] == [gguf_fields.CONTROL] * len(adopted.appended)
    scores = found.scores
    assert scores is not None
    merged = [id for id, row in enumerate(model.pieces) if row.type == 1 and len(row.text) > 1]
    by_theirs = sorted(merged, key=lambda id: -model.pieces[id].score)
    assert by_theirs == sorted(merged, key=lambda id: -scores[id])


@pytest.mark.parametrize(("kind", "said"), [("char", "only byte pairs"), ("byte", "needs merges"), ("unigram", "only byte pairs")])
def test_gguf_refuses_what_llama_cpp_cannot_run(kind: str, said: str, tmp_path: Path):
    store.train(kind, LINES, size=700).save(tmp_path)
    with pytest.raises(UsageError, match=said):
        gguf_fields.fields(tmp_path)


@pytest.mark.parametrize(("name", "said"), [("bpe-folded", "Precompiled"), ("bpe-gemma", "own pieces"), ("unigram-llama", "Unigram")])
def test_gguf_refuses_what_llama_cpp_would_cut_otherwise(name: str, said: str, tmp_path: Path):
    with pytest.raises(UsageError, match=said):
        gguf_fields.fields(saved(name, tmp_path))


def llama_like(*more: str, **options: Any) -> dict[str, Any]:
    """Byte pairs in SentencePiece's manner: bytes by name, some letters, and ``more`` pieces that nothing merges."""
    letters = ["▁", *"abehlost</>"]
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "he", *more]
    model = {
        "type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
        "vocab": {name: id for id, name in enumerate(vocab)}, "merges": [["h", "e"]],
    }  # fmt: skip
    added = [{"id": id, "content": name, "special": True} for id, name in enumerate(vocab[:3])]
    blanks = {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    return {"added_tokens": added, "normalizer": blanks, "pre_tokenizer": None, "model": model | options}


@pytest.mark.parametrize(
    ("more", "reached"),
    [(("</", "s>"), "'</'"), (("he</s",), None), (("lo",), "'lo'"), (("hel",), "'hel'"), (("<0x",), None), (("tab",), None)],
)
def test_gguf_refuses_pieces_that_llama_cpp_joins_and_we_do_not(more: tuple[str, ...], reached: str | None, tmp_path: Path):
    read({FILE: json.dumps(llama_like(*more)).encode()}).tokenizer.save(tmp_path)
    if reached is None:
        assert gguf_fields.fields(tmp_path).model == "llama"
        return
    with pytest.raises(UsageError, match=f"llama.cpp would find {reached}"):
        gguf_fields.fields(tmp_path)


def test_gguf_refuses_a_control_token_that_llama_cpp_joins(tmp_path: Path):
    merges = [["h", "e"], ["<", "/"], ["</", "s"]]
    read({FILE: json.dumps(llama_like("</", "</s", merges=merges)).encode()}).tokenizer.save(tmp_path)
    with pytest.raises(UsageError, match="would find '</s>'"):
        gguf_fields.fields(tmp_path)


@pytest.mark.parametrize(("name", "refused"), [("eos", True), (" eos", True), ("<eos>", False), ("e os", False)])
def test_gguf_refuses_a_control_token_that_is_a_word_where_words_are_taken_whole(name: str, refused: bool, tmp_path: Path):
    spelling = name.replace(" ", "Ġ") if name.startswith(" ") else name
    files = {"x.tiktoken": RANKS + b"aGU= 256\n", **listed(**{spelling: 257}), "config.json": b'{"eos_token_id": 257}'}
    read(files, split="llama3").tokenizer.save(tmp_path)
    if not refused:
        assert gguf_fields.fields(tmp_path).pre == "llama-bpe"
        return
    with pytest.raises(UsageError, match=f"would find '{spelling}'"):
        gguf_fields.fields(tmp_path)


def cut_by_llama_cpp(tokenizer: Path, texts: list[str]) -> list[list[int]]:
    """The ids of ``texts`` in a GGUF file around a small random model."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    pytest.importorskip("gguf", reason="gguf is not installed")
    words = export.words_of(tokenizer, "{{ messages }}")
    shape = llama.Config(vocab=len(words.tokens), context=64, layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=32)
    weights = build(shape, seed=1).state_dict()
    model = gguf.Model(to_plain(shape), weights, {name: tuple(each.shape) for name, each in weights.items()}, llama.HF_NAMES)
    gguf.write(tokenizer / "m.gguf", model, words, name="m", quantise="f32")
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup, params.verbosity = str(tokenizer / "m.gguf"), 64, 1, False, -1
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)  # it answers as long as somebody holds it
    return [tokenized(server.listening_address, text) for text in texts]


def tokenized(address: str, text: str) -> list[int]:
    body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
    request = urllib.request.Request(f"{address}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["tokens"]


TRICKY = [
    *LINES[:5], *CONTROL, "a </s> b", "<unk>", "[SEP]", "<0x0A>",
    "It'S i'M I'll 12345 x", "  two  blanks \n\n\n\t x", "日本語 🎈 naïve é", "ab<sep>c(x) the", "", " ", "▁▁ a", "\r\n\r\n y",
    "HELLO Hello hELLO ÀÉ",
]  # fmt: skip


@pytest.mark.parametrize("name", ["bytes", "bpe-llama", "bpe-marks", "digits", "llama3", "tekken", "gpt2", "gpt4", "qwen2"])
def test_llama_cpp_cuts_text_as_we_do(name: str, tmp_path: Path):
    if name in ALL:
        words: Tokenizer = made(name)[0].tokenizer
    elif name == "digits":
        spec = json.loads(made("bytes")[1][FILE])
        digits = {"type": "Digits", "individual_digits": True}
        spec["pre_tokenizer"]["pretokenizers"] = [digits, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]
        words = read({FILE: json.dumps(spec).encode()}).tokenizer
    elif name in ("llama3", "tekken"):
        more = [base64.b64encode(piece) + b" %d\n" % (256 + place) for place, piece in enumerate([b"he", b"ll", b" t", b"hello", b"12"])]
        words = read({"x.tiktoken": RANKS + b"".join(more), **listed(**{"</s>": 261})}, split=name).tokenizer
    else:
        words = store.train("bpe", LINES, size=330, split=name)
    words.save(tmp_path)
    assert cut_by_llama_cpp(tmp_path, TRICKY) == [words.encode(text) for text in TRICKY]
