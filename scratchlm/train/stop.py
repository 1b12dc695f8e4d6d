"""Ctrl-C and SIGTERM, asked for at any moment, obeyed between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Wish:
    """Whether somebody asked to stop."""

    stop: bool = False


@contextmanager
def listening() -> Iterator[Wish]:
    """While inside, a stop signal is remembered instead of raised; a second Ctrl-C is raised at once.

    A second SIGTERM is not: where many processes are started together, more than one of those that watch over them may send it.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if wish.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        wish.stop = True

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
