"""The conversation in the terminal, without a terminal."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from stand_in import Echo

from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.core.records import Message
from scratchlm.generate.sample import Sampling
from scratchlm.serve.choose import examples, newest_model
from scratchlm.serve.speech import fit, plain
from scratchlm.serve.terminal import Generate, Leave, Notice, Save, Session, once, talk
from scratchlm.views import chat


def session(speaker: Echo | None = None, **options: Any) -> Session:
    return Session(speaker or Echo(), sampling=Sampling(max_tokens=50), **options)


def typed(*lines: str | type[BaseException], speaker: Echo | None = None, **options: Any) -> tuple[str, Session]:
    """What the screen shows after these lines (or keys, as the exception they raise), and the session."""
    keys = iter(lines)

    def read() -> str:
        line = next(keys, EOFError)
        if isinstance(line, str):
            return line
        raise line

    screen, talked = io.StringIO(), session(speaker, **options)
    talk(talked, read=read, console=Console(file=screen, width=200))
    return screen.getvalue(), talked


def test_a_line_is_asked_with_all_that_was_said_before():
    talk = session()
    talk.feed("hello")
    talk.answered("hi")
    (asked,) = talk.feed("and now?")
    assert isinstance(asked, Generate)
    assert asked.ids == letters("hello\nhi\nand now?")


def letters(text: str) -> list[int]:
    return Echo().tokenizer.encode(text)


def test_the_answer_is_shown_and_remembered():
    shown, talked = typed("good day", "/quit", "never read")
    assert shown == "good day\n\n"
    assert talked.turns == [Message("user", "good day"), Message("assistant", "good day")]


def test_reset_forgets_and_system_stays():
    talk = session()
    talk.feed("/system Be kind.")
    talk.feed("hello")
    talk.answered("hi")
    talk.feed("/reset")
    (asked,) = talk.feed("again")
    assert isinstance(asked, Generate)
    assert asked.ids == letters("Be kind.\nagain")


def test_the_oldest_turns_leave_first_and_it_is_said():
    talk = session(Echo(context=40))
    talk.feed("a" * 20)
    talk.answered("b" * 8)
    lost, asked = talk.feed("c" * 10)
    assert lost == Notice("The 2 oldest messages were left out: echo reads 40 tokens at once.")
    assert isinstance(asked, Generate)
    assert asked.ids == letters("c" * 10)
    assert talk.turns == [Message("user", "c" * 10)]


@pytest.mark.parametrize("sizes", [(3, 4, 5), (30, 4, 5), (10, 20, 5), (9, 9, 9, 9, 9), (1,) * 11])
def test_what_is_kept_begins_with_a_question_and_leaves_room(sizes: Sequence[int]):
    system = Message("system", "s")
    turns = [Message("assistant" if n % 2 else "user", "x" * size) for n, size in enumerate(sizes)]
    fitted = fit(Echo(context=40), [system, *turns], room=12)
    assert fitted.messages == (system, *turns[fitted.dropped :])
    assert fitted.messages[1].role == "user"
    assert len(fitted.ids) + 12 <= 40
    assert fitted.dropped == 0 or fitted.dropped % 2 == 0


def test_a_message_that_can_never_fit_is_refused_and_not_remembered():
    shown, talked = typed("x" * 50, speaker=Echo(context=40))
    assert "The message is too long: echo reads 40 tokens at once." in shown
    assert talked.turns == []


def test_temperature_is_a_number_in_range():
    talk = session()
    assert talk.feed("/temperature 0.5") == [Notice("Temperature 0.5.")]
    for wrong in ("hot", "3", "nan", ""):
        (notice,) = talk.feed(f"/temperature {wrong}")
        assert isinstance(notice, Notice)
        assert "It stays 0.5." in notice.text
    assert talk.sampling.temperature == 0.5


def test_an_unknown_command_names_the_nearest():
    assert session().feed("/rest") == [Notice("No command '/rest'. Did you mean '/reset'?")]
    assert session().feed("/temp 1") == [Notice("No command '/temp'. Did you mean '/temperature'?")]
    assert session().feed("/quit") == [Leave()]
    assert session().feed("  ") == []


def test_a_conversation_is_saved_as_text(tmp_path: Path):
    shown, _ = typed("hello", f"/save {tmp_path / 'talk.txt'}", "/save", f"/save {tmp_path}/talk.txt/no")
    assert (tmp_path / "talk.txt").read_text() == "user: hello\n\nassistant: hello\n\n"
    assert "/save needs the name of a file." in shown
    assert "cannot be written" in shown
    assert isinstance(session().feed("/save x")[0], Save)


def test_ctrl_c_stops_the_answer_and_keeps_what_came():
    class Interrupted(Echo):
        def stream(self, ids: Any, sampling: Any) -> Iterator[Any]:
            yield from list(super().stream(ids, sampling))[:1]
            raise KeyboardInterrupt

    shown, talked = typed("one two", KeyboardInterrupt, "never read", speaker=Interrupted())
    assert "(stopped)" in shown
    assert talked.turns == [Message("user", "one two"), Message("assistant", "one")]


def test_completion_reads_text_and_remembers_nothing():
    talk = session(complete=True)
    (asked,) = talk.feed("Once upon")
    talk.answered("a time")
    assert isinstance(asked, Generate)
    assert asked.ids == [0, *letters("Once upon")]
    assert talk.turns == []
    with pytest.raises(UsageError, match="The text is too long: 401 tokens"):
        talk.feed("x" * 400)


def test_one_prompt_gives_the_answer_and_nothing_else():
    parts = once(Echo(), "/quit is a word", sampling=Sampling(), complete=False)
    assert "".join(part.text for part in parts) == "/quit is a word"
    with pytest.raises(UsageError, match="it is empty"):
        list(once(Echo(), " ", sampling=Sampling(), complete=False))


def test_no_answer_can_drive_the_terminal():
    shown, _ = typed("\x1b[2Jboo [bold]x[/bold] \x07")
    assert shown.startswith("[2Jboo [bold]x[/bold]")
    assert plain("a\tb\nc\x9b") == "a\tb\nc"


def test_an_answer_cut_at_its_longest_says_so():
    shown, _ = typed("a " * 60)
    assert "(cut at the longest answer allowed" in shown


class Made(Settings):
    """Stands for the settings of a stage."""


def home_of(path: Path, *names: str) -> Home:
    """A run with these models, none of which could speak."""
    home = Home(path)

    def make(draft: Draft) -> None:
        draft.write_text("model.json", "{}")

    for name in names:
        home.build(name, Made(), [], make)
    return home


def test_the_newest_model_speaks_unless_another_is_wanted(tmp_path: Path):
    home = home_of(tmp_path, "base", "preferred", "sft")
    assert newest_model(home, None).name == "preferred"
    assert newest_model(home, "base").name == "base"
    with pytest.raises(UsageError, match="Did you mean 'preferred'"):
        newest_model(home, "prefered")
    with pytest.raises(ArtifactError, match="no trained model here yet"):
        newest_model(Home(tmp_path / "nowhere"), None)


def test_examples_are_the_questions_that_stand_beside_the_model(tmp_path: Path):
    model = newest_model(home_of(tmp_path, "sft"), None)
    assert examples(model) == []
    (model.path / "examples.json").write_text('["What is `len`?", "And sum?", "3 + 4?"]')
    assert examples(model, most=2) == ["What is `len`?", "And sum?"]


def test_with_a_prompt_only_the_answer_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(chat.Speaker, "load", lambda _: Echo())
    chat.show(home_of(tmp_path, "sft"), prompt="hello there")
    assert capsys.readouterr().out == "hello there\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("piped in"))
    chat.show(home_of(tmp_path, "sft"))
    assert capsys.readouterr().out == "piped in\n"
