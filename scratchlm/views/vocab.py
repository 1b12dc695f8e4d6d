"""How a text falls into pieces, in colour: each piece above its id, with blanks, line ends and lone bytes made visible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from scratchlm.core.artifact import Home
from scratchlm.tokenizer import store
from scratchlm.tokenizer.interface import Tokenizer, well_formed
from scratchlm.tokenizer.visible import VISIBLE, visible

STYLES = ("black on bright_cyan", "black on bright_yellow")
"""In turn, so that every border is seen; without colours a blank between pieces shows it, since blanks in them are dots."""


@dataclass(frozen=True)
class Cell:
    """A piece as it is shown, with what stands below it."""

    shown: str
    below: str
    style: str

    @property
    def width(self) -> int:
        return max(cell_len(self.shown), cell_len(self.below))


def show(home: Home, *, inspect: str) -> None:
    """Print the pieces of the text ``inspect`` under the run's own tokenizer."""
    tokenizer = store.load(home.open("tokenizer").path)
    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    inspected(console, tokenizer, well_formed(inspect))


def inspected(console: Console, tokenizer: Tokenizer, text: str) -> None:
    """Pieces over ids, then how many there are, and what a reader could be mistaken about."""
    ids = tokenizer.encode(text)
    for row in rows(cells(tokenizer, ids, console.width), console.width):
        console.print(Text(" ").join(Text(cell.shown, style=cell.style) + " " * (cell.width - cell_len(cell.shown)) for cell in row))
        console.print(" ".join(cell.below + " " * (cell.width - cell_len(cell.below)) for cell in row).rstrip(), style="dim")
    size = len(text.encode())
    rate = f", {size / len(ids):.2f} bytes per token" if ids else ""
    console.print(f"{len(text):,} characters, {size:,} bytes, {len(ids):,} tokens{rate}")
    for line in remarks(tokenizer, text, ids):
        console.print(line)


def cells(tokenizer: Tokenizer, ids: Sequence[int], width: int) -> Iterator[Cell]:
    """A cell for each piece; one wider than the terminal goes on in cells without an id."""
    for place, id in enumerate(ids):
        below = str(id)
        for part in cut(visible(tokenizer.piece(id)), width):
            yield Cell(part, below, STYLES[place % len(STYLES)])
            below = ""


def rows(found: Iterator[Cell], width: int) -> Iterator[list[Cell]]:
    """As many cells on a line as fit; a line of the text ends a line here."""
    row: list[Cell] = []
    used = 0
    for cell in found:
        if row and used + 1 + cell.width > width:
            yield row
            row, used = [], 0
        row.append(cell)
        used += cell.width + (1 if len(row) > 1 else 0)
        if cell.shown.endswith(VISIBLE["\n"]):
            yield row
            row, used = [], 0
    if row:
        yield row


def cut(shown: str, width: int) -> Iterator[str]:
    """``shown`` in parts of at most ``width`` columns."""
    part = ""
    for letter in shown:
        if part and cell_len(part + letter) > width:
            yield part
            part = ""
        part += letter
    yield part


def remarks(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> Iterator[str]:
    """What a reader could be mistaken about: names of control tokens stay text, some characters are unknown, some texts change."""
    for name in tokenizer.control:
        if name in text:
            told = visible(name.encode())
            yield f"{told} in it stays text: only a conversation's own frame gives the control token {tokenizer.control[name]}."
    if tokenizer.unknown is not None and (unknown := list(ids).count(tokenizer.unknown)):
        yield f"{unknown:,} of the tokens {'stands' if unknown == 1 else 'stand'} for characters that it does not know."
    if (back := tokenizer.decode(ids)) != text:
        yield f"It does not come back as it was, but as: {visible(back.encode())}"
