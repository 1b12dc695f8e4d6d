"""A conversation in the terminal: what each typed line means (``Session``, no input or output), and the loop around it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from scratchlm.core.artifact import write_atomically
from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.core.records import Message
from scratchlm.generate.sample import Sampling
from scratchlm.serve.speech import Finish, Part, Speaks, fit, parts, plain
from scratchlm.tokenizer.interface import begin_of_text

COMMANDS = {
    "/reset": "forget the conversation",
    "/temperature X": "0 always takes the likeliest word, more is livelier",
    "/system TEXT": "tell the model how to behave; without TEXT, nothing",
    "/save FILE": "write the conversation to FILE",
    "/help": "show this list",
    "/quit": "leave (so do Ctrl-D, and Ctrl-C while nothing is said)",
}
HELP = "\n".join(f"  {command:<15} {meaning}" for command, meaning in COMMANDS.items())


@dataclass(frozen=True)
class Notice:
    """Something to tell the user."""

    text: str


@dataclass(frozen=True)
class Generate:
    """Ids to answer, and how."""

    ids: list[int]
    sampling: Sampling


@dataclass(frozen=True)
class Save:
    """Write ``text`` to ``path``."""

    path: Path
    text: str


@dataclass(frozen=True)
class Leave:
    """The conversation is over."""


Effect = Notice | Generate | Save | Leave


class Session:
    """A conversation so far. ``feed`` a line, do its effects, and tell it what was ``answered``."""

    def __init__(self, speaker: Speaks, *, sampling: Sampling, complete: bool = False) -> None:
        self.speaker = speaker
        self.sampling = sampling
        self.complete = complete
        """Each line is a text to go on with, not a question."""
        self.system: Message | None = None
        self.turns: list[Message] = []

    def feed(self, line: str) -> list[Effect]:
        """What the line asks for."""
        line = line.strip()
        if not line:
            return []
        return self._command(line) if line.startswith("/") else self._say(line)

    def answered(self, text: str) -> None:
        """The model said ``text``, or as much of it as was waited for; nothing at all takes the question back."""
        if self.complete:
            return
        if text:
            self.turns.append(Message("assistant", text))
        elif self.turns:
            self.turns.pop()

    def _say(self, text: str) -> list[Effect]:
        if self.complete:
            return [Generate(self._continuation(text), self.sampling)]
        turns = [*self.turns, Message("user", text)]
        system = [self.system] if self.system else []
        room = min(self.sampling.max_tokens, self.speaker.context // 4)
        fitted = fit(self.speaker, [*system, *turns], room=room)
        self.turns = turns[fitted.dropped :]
        lost = f"The {fitted.dropped} oldest messages were left out: {self.speaker.name} reads {self.speaker.context} tokens at once."
        return [*([Notice(lost)] if fitted.dropped else []), Generate(fitted.ids, self.sampling)]

    def _continuation(self, text: str) -> list[int]:
        ids = [begin_of_text(self.speaker.tokenizer), *self.speaker.tokenizer.encode(text)]
        if len(ids) >= self.speaker.context:
            reads = f"{self.speaker.name} reads {self.speaker.context}"
            raise UsageError(f"The text is too long: {len(ids)} tokens, and {reads}. Shorten it.")
        return ids

    def _command(self, line: str) -> list[Effect]:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        match name:
            case "/reset":
                self.turns = []
                return [Notice("The conversation starts anew.")]
            case "/temperature":
                return [self._temperature(rest)]
            case "/system":
                self.system = Message("system", rest) if rest else None
                return [Notice("The model will be told so." if rest else "The model is told nothing.")]
            case "/save":
                return [Save(Path(rest).expanduser(), self.transcript()) if rest else Notice("/save needs the name of a file.")]
            case "/help":
                return [Notice(HELP)]
            case "/quit" | "/exit":
                return [Leave()]
            case _:
                known = [command.split()[0] for command in COMMANDS]
                begun = [command for command in known if command.startswith(name)]
                return [Notice(f"No command '{name}'.{nearest(begun[0] if len(begun) == 1 else name, known)}")]

    def _temperature(self, text: str) -> Notice:
        try:
            value = float(text)
            if not 0 <= value <= 2:
                raise ValueError
            self.sampling = Sampling.model_validate(self.sampling.model_dump() | {"temperature": value})
        except (ValueError, ValidationError):
            return Notice(f"/temperature takes a number from 0 to 2, not '{text}'. It stays {self.sampling.temperature:g}.")
        return Notice(f"Temperature {value:g}.")

    def transcript(self) -> str:
        """The conversation as text to read."""
        said = [*([self.system] if self.system else []), *self.turns]
        return "".join(f"{message.role}: {message.content}\n\n" for message in said)


def once(speaker: Speaks, text: str, *, sampling: Sampling, complete: bool) -> Iterator[Part]:
    """The answer to one prompt, part by part."""
    session = Session(speaker, sampling=sampling, complete=complete)
    if not text.strip():
        raise UsageError("--prompt: it is empty. Ask something.")
    for effect in session._say(text):
        if isinstance(effect, Generate):
            yield from parts(speaker.stream(effect.ids, effect.sampling))


def talk(session: Session, *, read: Callable[[], str], console: Console) -> None:
    """Read, answer, repeat, until the user leaves. Ctrl-C while an answer comes stops the answer and keeps what came."""
    while True:
        try:
            line = read()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        try:
            effects = session.feed(line)
        except UsageError as error:
            effects = [Notice(str(error))]
        if not perform(effects, session, console):
            return


def perform(effects: Sequence[Effect], session: Session, console: Console) -> bool:
    """Do what a line asked for; False when it asked to leave."""
    for effect in effects:
        match effect:
            case Notice(text):
                say(console, text, style="dim")
            case Generate(ids, sampling):
                session.answered(speak(parts(session.speaker.stream(ids, sampling)), console))
            case Save(path, text):
                say(console, _saved(path, text), style="dim")
            case Leave():
                return False
    return True


def speak(answer: Iterator[Part], console: Console) -> str:
    """Print an answer as it comes; what came, also when Ctrl-C cut it short."""
    said, finish = "", None
    try:
        for part in answer:
            said, finish = said + part.text, part.finish
            console.out(plain(part.text), end="", highlight=False)
    except KeyboardInterrupt:
        console.out("")
        say(console, "(stopped)", style="dim")
        return said
    console.out("")
    if (why := _cut(finish)) is not None:
        say(console, why, style="dim")
    console.out("")
    return said


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """A line of ours, free of anything that could drive the terminal."""
    console.print(plain(text), style=style, markup=False, highlight=False, soft_wrap=True)


def _cut(finish: Finish | None) -> str | None:
    return "(cut at the longest answer allowed, or at the end of what the model reads)" if finish == "length" else None


def _saved(path: Path, text: str) -> str:
    try:
        write_atomically(path, text.encode("utf-8"))
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror}). Choose another file."
    return f"Saved to {path}."
