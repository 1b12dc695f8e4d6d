"""gigatoken gives the ids that `tokenizers` gives: on real text, on made text, on every Unicode character; and only where that is shown."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from scratchlm.core.errors import ArtifactError
from scratchlm.tokenizer import bpe, fast, splits, store
from scratchlm.tokenizer.bytelevel import ALPHABET, ByteLevel, byte_level, spelled, with_control
from scratchlm.tokenizer.interface import CONTROL, FILE, UNKNOWN, Ragged

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=100)
FOLDERS = ("novels", "peps", "tinyshakespeare", "the_verdict", "stackexchange")
TEXTS = ["It's 12 o'clock; the naïve cat sat.\r\n\n\tHe'LL go, won't he? 日本語 12345 -----\n"] * 5
# Each split by either engine.
MADE = {split: (plain := bpe.train(TEXTS, 400, split), bpe.read_fast(plain.spec()) or plain) for split in splits.SPLITS}
# Around a character stands what patterns tell apart: letters, digits, signs, blanks, line ends, a contraction.
PLACES = ("a{}b", " {} ", "1{}2", ".{}.", "\n{}", "{}\n", " {}a", "'{}s")
KINDS_OF_CHARACTER = (
    "abcXYZ _.,;:!?'\"()[]{}<>/\\|@#$%^&*-+=~`",
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u180e\u200b\ufeff",
    "'sStTrReEvVmMlLdD\u017f\u2019",
    "0123456789²½٠١३௧Ⅷⅷ〇一①㉈𝟘",
    "éàñß\u0301\u0323ิ\u200d👩👨💻🏽🎈🇬🇧ﬁǅʰªあア漢한اَבְðŁ",
    "\x00\x01\x7f\ufffd\ufffe\U0010ffff\ue000\U000e0001\ufe0f",
)
pytestmark = pytest.mark.skipif(not fast.installed(), reason="gigatoken is not installed")
every_split = pytest.mark.parametrize("split", splits.SPLITS)


def real(folder: Path, every: int = 1) -> Iterator[str]:
    """Texts as they stand in the files at hand, line ends and all."""
    files = [path for name in FOLDERS for path in sorted((folder / name).rglob("*")) if path.is_file()]
    for path in files[::every]:
        with path.open(encoding="utf-8", newline="") as file:
            yield file.read()


def made(count: int, seed: int) -> Iterator[str]:
    """Texts of characters that patterns treat in different ways, in runs of one kind."""
    draw = random.Random(seed)
    for _ in range(count):
        kinds = draw.choices(KINDS_OF_CHARACTER, k=draw.randint(0, 12))
        yield "".join(letter for kind in kinds for letter in draw.choices(kind, k=draw.randint(1, 6)))


def border_shower(split: str) -> ByteLevel:
    """A tokenizer that merges what stands before and behind a character with its first and its last byte: ids show where text was cut."""
    around = sorted({spelled(letter.encode()) for letter in "".join(PLACES).replace("{}", "")})
    firsts, lasts = ([spelled(bytes([byte])) for byte in bytes_] for bytes_ in (range(0xC2, 0xF5), range(0x80, 0xC0)))
    merges = [*((one, two) for one in around for two in firsts), *((one, two) for one in lasts for two in around)]
    ids = {piece: id for id, piece in enumerate([*ALPHABET, *map("".join, merges)])}
    return ByteLevel(with_control(byte_level(models.BPE(ids, merges), split)), "bpe")


def both(split: str, path: Path, texts: list[str]) -> tuple[ByteLevel, ByteLevel]:
    """A tokenizer by either engine."""
    plain = bpe.train(texts, 1500, split)
    plain.save(path)
    quick = bpe.read_fast((path / FILE).read_text())
    assert quick is not None
    return plain, quick


def test_every_split_has_been_shown_to_be_equal():
    assert all(fast.encoder(bpe.train(TEXTS, 300, split).spec()) for split in splits.SPLITS)


@every_split
def test_real_text_has_the_same_ids(split: str, real_data: Path, tmp_path: Path):
    texts = [text[:100_000] for text in real(real_data, every=30)]
    plain, quick = both(split, tmp_path, texts[::4])
    assert quick.encode_batch(texts).lists() == [plain.encode(text) for text in texts]


@every_split
@pytest.mark.soak
def test_all_real_text_has_the_same_ids(split: str, real_data: Path, tmp_path: Path):
    texts = list(real(real_data))
    assert sum(map(len, texts)) > 30_000_000
    plain, quick = both(split, tmp_path, texts[::9])
    assert quick.encode_batch(texts).lists() == plain.encode_batch(texts).lists()


@every_split
def test_made_text_has_the_same_ids(split: str, tmp_path: Path):
    texts = list(made(2000, seed=1))
    plain, quick = both(split, tmp_path, texts)
    assert quick.encode_batch(texts).lists() == plain.encode_batch(texts).lists()


@every_split
@pytest.mark.parametrize("step", [199, pytest.param(1, marks=pytest.mark.soak)])
def test_every_character_in_every_place_has_the_same_ids(split: str, step: int):
    plain = border_shower(split)
    quick = bpe.read_fast(plain.spec())
    assert quick is not None
    characters = [chr(code) for code in [*range(0xD800), *range(0xE000, 0x110000)][::step]]
    for place in PLACES:
        texts = [place.format(character) for character in characters if fast.cut_alike(character)]
        assert quick.encode_batch(texts).lists() == plain.encode_batch(texts).lists()


@every_split
def test_characters_that_the_engines_know_differently_have_the_same_ids(split: str):
    plain = border_shower(split)
    quick = bpe.read_fast(plain.spec())
    assert quick is not None
    for text in ("a\u088fb", "ok", "1\U00016ff4", "a\U00033479", "日本 🎈 a\U0001f600"):
        assert quick.encode_batch(["ok", text]).lists() == [plain.encode("ok"), plain.encode(text)]
    assert (plain.left, quick.left) == (0, 6)  # three batches of two
    assert not fast.cut_alike("a\u088fb")
    assert fast.cut_alike("naïve ก 日本 🎈")


@LAW
@given(
    text=st.lists(st.one_of(st.text(), st.sampled_from([*CONTROL, "<|im_", "start|>"]))).map("".join),
    split=st.sampled_from(sorted(splits.SPLITS)),
)
def test_text_never_becomes_a_control_token(text: str, split: str):
    plain, quick = MADE[split]
    [ids] = quick.encode_batch([text]).lists()
    assert ids == plain.encode(text)
    assert not set(ids) & set(quick.control.values())


def test_half_a_character_becomes_a_replacement():
    _, quick = MADE["qwen2"]
    assert quick.decode(quick.encode_batch(["a\ud83c"]).lists()[0]) == "a" + UNKNOWN
    assert quick.encode_batch([]).lists() == []


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"added_tokens": []},
    ],
)
def test_what_is_not_shown_to_be_equal_is_left_to_the_other_engine(change: dict):
    spec = json.loads(MADE["qwen2"][0].spec())
    assert fast.encoder(json.dumps(spec)) is not None
    assert fast.encoder(json.dumps(spec | change)) is None


@pytest.mark.parametrize("option", ["ignore_merges", "byte_fallback", "dropout", "fuse_unk"])
def test_a_model_with_other_options_is_left_to_the_other_engine(option: str):
    spec = json.loads(MADE["qwen2"][0].spec())
    spec["model"][option] = 0.5 if option == "dropout" else True
    assert fast.encoder(json.dumps(spec)) is None


def test_a_tokenizer_is_loaded_with_the_engine_that_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = bpe.train(TEXTS, 400)
    plain.save(tmp_path)
    assert store.engine_of(tmp_path) == fast.PLAIN
    (tmp_path / store.DECISIONS).write_text(json.dumps({"encoding": fast.NAME}))
    assert store.engine_of(tmp_path) == fast.NAME
    used = []
    monkeypatch.setattr(fast, "encoder", lambda text: used.append(text) or (lambda texts: Ragged.of([7] for _ in texts)))
    assert store.load(tmp_path).encode_batch(["x"]).lists() == [[7]]
    assert used == [plain.spec()]


def test_without_gigatoken_the_other_engine_gives_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = bpe.train(TEXTS, 400)
    plain.save(tmp_path)
    (tmp_path / store.DECISIONS).write_text(json.dumps({"encoding": fast.NAME}))
    quick = store.load(tmp_path).encode_batch(TEXTS).lists()
    monkeypatch.setattr(fast, "installed", lambda: False)
    assert fast.encoder(plain.spec()) is None
    assert store.load(tmp_path).encode_batch(TEXTS).lists() == quick


def test_a_gigatoken_that_cannot_be_loaded_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    def broken(name: str) -> None:
        raise ImportError("libgigatoken.so: wrong ELF class")

    monkeypatch.setattr(fast.importlib, "import_module", broken)
    assert fast.trouble() == "installed but cannot be loaded (libgigatoken.so: wrong ELF class)"
    assert fast.encoder(MADE["qwen2"][0].spec()) is None
    monkeypatch.setattr(fast.importlib.util, "find_spec", lambda name: None)
    assert fast.trouble() == fast.ABSENT


@pytest.mark.parametrize("text", ["{", "[]", '{"encoding": "other"}'])
def test_a_damaged_choice_is_no_choice(text: str, tmp_path: Path):
    bpe.train(TEXTS, 400).save(tmp_path)
    (tmp_path / store.DECISIONS).write_text(text)
    assert store.load(tmp_path).encode_batch(["x"]).lists() == [store.load(tmp_path).encode("x")]
    with pytest.raises(ArtifactError):
        store.load(tmp_path / "elsewhere")
