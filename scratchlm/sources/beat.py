"""A sign of life from work that is only long, so that it is not taken for work that hangs."""

from functools import partial

from scratchlm.sources.file import Input, Reading

EVERY = 4 * 2**20
"""Bytes from one sign to the next: less than a second of work."""


class Beat:
    """Told of bytes as they are worked on between two records; ``Reading.at`` hears now and then that the file is still being read."""

    def __init__(self, file: Input, reading: Reading) -> None:
        # The file as a whole, which was asked for before its reader began: the answer is known.
        self._say = partial(reading.at, f"{file.name}#{file.inside}")
        self._silent = 0

    def __call__(self, count: int) -> None:
        """``count`` more bytes are done."""
        self._silent += count
        if self._silent >= EVERY:
            self._silent = 0
            self._say()
