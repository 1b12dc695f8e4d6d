"""Talk to a trained model in the terminal, ask it once, or let it continue a text."""

import sys

from rich.console import Console

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.serve.choose import UNTAUGHT, newest_model
from scratchlm.serve.terminal import Session, once, plain, say, talk

LONGEST = 512
"""Tokens of one answer; the context may leave fewer."""
LIVELY = 0.8
"""Temperature of a continuation: the likeliest word over and over would soon go in circles."""


def show(home: Home, *, model: str | None = None, prompt: str | None = None, complete: bool = False) -> None:
    """Converse with the newest model of the run, or with ``model``; with ``prompt``, or text piped in, print one answer only."""
    chosen = newest_model(home, model)
    untaught = chosen.name == UNTAUGHT and not complete
    complete = complete or untaught
    speaker = Speaker.load(chosen.path)
    sampling = Sampling(max_tokens=LONGEST, temperature=LIVELY if complete else 0.0)
    text = prompt if prompt is not None else None if sys.stdin.isatty() else _piped()
    if text is not None:
        for part in once(speaker, text, sampling=sampling, complete=complete):
            sys.stdout.write(plain(part.text))
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    console = Console()
    say(console, f"{speaker.name} reads {speaker.context} tokens at once. /help shows what else you can type; Ctrl-D leaves.", style="dim")
    if untaught:
        say(console, "It was never taught to converse, so it continues the texts you begin.", style="dim")
    _with_line_editing()
    talk(Session(speaker, sampling=sampling, complete=complete), read=lambda: input("› "), console=console)


def _piped() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise UsageError("standard input: it is not UTF-8 text. Pipe text in, or give --prompt TEXT.") from None


def _with_line_editing() -> None:
    """Arrow keys and a history of lines, where the platform has them: importing the module is what switches them on."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
