"""How a text falls into pieces, as a reader sees it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from scratchlm import cli
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.tokenizer import store
from scratchlm.tokenizer.interface import TURN_START, Tokenizer
from scratchlm.views import vocab

LINES = ["the cat and the hat sat there\n", "def add(one, two):\n    return one + two\n"] * 8
BPE = store.train("bpe", LINES, size=300)


class Nothing(Settings):
    pass


def printed(text: str, tokenizer: Tokenizer = BPE, *, width: int = 80, **options) -> str:
    out = io.StringIO()
    vocab.inspected(Console(file=out, width=width, highlight=False, markup=False, soft_wrap=True, **options), tokenizer, text)
    return out.getvalue()


def test_each_piece_stands_above_its_id():
    ids = BPE.encode("the cat")
    pieces, below, counts = printed("the cat").splitlines()
    assert pieces.split() == [BPE.piece(id).decode().replace(" ", "·") for id in ids]
    assert below.split() == [str(id) for id in ids]
    assert [pieces.index(piece) for piece in pieces.split()][1] == below.index(below.split()[1])
    assert counts == f"7 characters, 7 bytes, {len(ids)} tokens, {7 / len(ids):.2f} bytes per token"


def test_neighbours_have_different_colours_unless_colours_are_unwanted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = printed("the cat", force_terminal=True, color_system="standard")
    assert "\x1b[30;106mthe" in coloured
    assert "\x1b[30;103m·cat" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[30" not in printed("the cat", force_terminal=True, color_system="standard")
    assert "\x1b" not in printed("the cat")


def test_blanks_line_ends_and_lone_bytes_are_visible():
    shown = printed("a b\n\n\té€\x07\u200d\r")
    for mark in ("·", "↵", "⇥", "␍", "<e2>", "<82>", "<U+0007>"):
        assert mark in shown
    assert "\x07" not in shown
    assert vocab.visible(b"\x1b[31m") == "<U+001B>[31m"
    assert vocab.visible("e\u0301".encode()) == "e\u0301"
    assert vocab.visible("\u0301".encode()) == "<U+0301>"
    assert vocab.visible(b"") == "∅"


def test_a_line_of_the_text_ends_a_line_here():
    first, _, second, *_ = printed("the cat\nthe hat").splitlines()
    assert first.rstrip().endswith("↵")
    assert second.startswith("the")


@pytest.mark.parametrize("width", [4, 9, 30])
def test_a_narrow_terminal_loses_nothing(width: int):
    text = "return one + two, and the cat sat there 🎈 日本"
    lines = printed(text, width=width).splitlines()
    ids = BPE.encode(text)
    body = lines[:-1]
    assert max(map(cell_len, body)) <= width
    assert [int(id) for line in body[1::2] for id in line.split()] == ids
    assert "".join(part for line in body[::2] for part in line.split()) == "".join(vocab.visible(BPE.piece(id)) for id in ids)


def test_a_text_that_looks_like_control_stays_text_and_says_so():
    shown = printed(f"{TURN_START}user")
    assert f"{TURN_START} in it stays text: only a conversation's own frame gives the control token {BPE.control[TURN_START]}." in shown
    assert str(BPE.control[TURN_START]) not in shown.splitlines()[1].split()
    assert "stays text" not in printed("user")


def test_what_is_unknown_or_comes_back_changed_is_told():
    letters = store.train("char", LINES, size=60)
    shown = printed("the Ж", letters)
    assert "1 of the tokens stands for characters that it does not know." in shown
    assert "It does not come back as it was, but as: the·�" in shown
    assert "come back" not in printed("the", letters)


def test_nothing_at_all_has_no_tokens():
    assert printed("") == "0 characters, 0 bytes, 0 tokens\n"


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], Home]:
    def make() -> Home:
        home = Home(tmp_path / "runs" / "smoke")
        home.build("tokenizer", Nothing(), {}, lambda draft: _save(draft))
        return home

    return make


def _save(draft: Draft) -> None:
    BPE.save(draft.path)
    draft.count(size=BPE.size)


def test_the_command_shows_the_tokenizer_of_a_home(made: Callable[[], Home], capsys: pytest.CaptureFixture[str]):
    home = made()
    assert cli.answer(["vocab", "smoke", "--home", str(home.path), "--inspect", "the cat\ud83c"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:2] == ["the", "·cat"]
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("more", "said"), [(["--set", "vocab.size=9"], "--set"), (["--again", "--seed", "0"], "--again and --seed"), (["--json"], "--json")]
)
def test_what_a_question_would_lose_is_refused(more: list[str], said: str, made: Callable[[], Home]):
    with pytest.raises(UsageError, match=f"--inspect: it shows what is there and builds nothing, so {said} would be lost"):
        cli.answer(["vocab", "smoke", "--home", str(made().path), "--inspect", "the", *more])


def test_a_tokenizer_asked_for_before_there_is_text_leaves_no_home(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no finished 'corpus'"):
        cli.answer(["vocab", "smoke", "--home", str(tmp_path / "new"), "--set", "vocab.kind=unigram", "--json"])
    assert not (tmp_path / "new").exists()


def test_a_home_without_a_tokenizer_says_what_to_run(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no finished 'tokenizer'"):
        cli.answer(["vocab", "smoke", "--home", str(tmp_path), "--inspect", "the"])
