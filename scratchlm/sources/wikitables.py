"""A wiki table as Markdown where it is small and holds data, as running text where it only lays out a page."""

import re
from dataclasses import dataclass, field

from scratchlm.sources.wikilines import BLOCK, BREAK

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS = 50, 12, 5_000
"""Of a table that is kept; a longer one is a register, not something to read."""
LONGEST_CELL = 300
FEWEST_WORDS = 5
"""Of a table that lays out a page; fewer are labels of what was left out."""
LEAST_FILLED = 0.4
"""Share of cells that hold text: flags, charts and pictures leave empty grids behind."""
BOXES = re.compile(r"\b(?:infobox|navbox|navbar|metadata|[a-z]?mbox|toc|toccolours|sidebar|vertical-navbox|mw-collapsed|gallery)\b")
SPAN = re.compile(r"\b(col|row)span\s{0,5}=\s{0,5}[\"']?\s{0,5}(\d{1,4})", re.IGNORECASE)
ATTRIBUTES = re.compile(r"[\s\w:;=\"'#%.,()/!&-]{0,600}+")
LISTED = re.compile(r"\n[ \t]{0,5}[*#:;]{1,10}+[ \t]{0,5}")


@dataclass(frozen=True, slots=True)
class Table:
    """Either ``markdown`` is filled, or ``text``, or nothing is kept."""

    markdown: str = ""
    caption: str = ""
    text: str = ""


@dataclass(slots=True)
class Cell:
    """What stands in a cell, and over how many columns and rows."""

    lines: list[str] = field(default_factory=list)
    columns: int = 1
    rows: int = 1

    @property
    def text(self) -> str:
        """Its lines one under another."""
        return "\n".join(self.lines)


def table(content: str) -> Table:
    """What stands between ``{|`` and ``|}``, brackets inside it already written out."""
    attributes, _, body = content.partition("\n")
    if BOXES.search(attributes.lower()):
        return Table()
    caption, rows = parsed(body)
    grid = filled(rows)
    if len(grid) > 2 and sum(map(bool, grid[0])) == 1:  # a title over the whole width
        caption = " ".join([caption, *filter(None, grid.pop(0))]).strip()
    cells = [cell for row in grid for cell in row]
    longest = max(map(len, cells), default=0)
    width = max(map(len, grid), default=0)
    if width < 2 or len(grid) < 2 or longest > LONGEST_CELL or any(BLOCK in cell for cell in cells):
        texts = [cell.text.strip() for row in rows for cell in row]
        text = "\n\n".join(filter(None, [caption, *texts]))
        return Table(text=text if BLOCK in text or len(text.split()) > FEWEST_WORDS else "")
    is_small = len(grid) <= MOST_ROWS and width <= MOST_COLUMNS and sum(map(len, cells)) <= MOST_CHARACTERS
    if not is_small or sum(map(bool, cells)) < LEAST_FILLED * width * len(grid):
        return Table()
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in grid]
    lines.insert(1, "|" + " --- |" * width)
    return Table(markdown="\n".join(lines), caption=caption)


def parsed(body: str) -> tuple[str, list[list[Cell]]]:
    """The caption, and the cells row by row."""
    captions: list[str] = []
    rows: list[list[Cell]] = [[]]
    is_caption = False
    for line in body.split("\n"):
        bare = line.strip()
        if bare.startswith("|-"):
            rows.append([])
            is_caption = False
        elif bare.startswith("|+"):
            captions, is_caption = _cell(bare[2:]).lines, True
        elif bare.startswith(("|", "!")):
            inner = bare[1:].replace("!!", "||") if bare[0] == "!" else bare[1:]
            rows[-1] += [_cell(part) for part in inner.split("||")]
            is_caption = False
        elif is_caption:
            captions.append(bare)
        elif rows[-1]:
            rows[-1][-1].lines.append(line)
    return " ".join(" ".join(captions).split()), [row for row in rows if row]


def unclosed(text: str) -> str:
    """Lines of a table that never ends, without those that are its markup."""
    return "\n".join(line for line in text.split("\n")[1:] if not line.lstrip().startswith(("|", "!")))


def filled(rows: list[list[Cell]]) -> list[list[str]]:
    """The rows as a grid: a cell over several rows stands in each, one over several columns in its first; empty rows left out."""
    grid: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for row in rows:
        line: list[str] = []
        for cell in row:
            _fill(line, below)
            if len(line) > MOST_COLUMNS:  # too wide to be kept, and hostile rows must not cost columns times rows
                break
            text = _flat(cell.text)
            for number in range(min(cell.columns, MOST_COLUMNS + 1)):
                if cell.rows > 1:
                    below[len(line)] = (min(cell.rows, MOST_ROWS + 1), text if not number else "")
                line.append(text if not number else "")
        _fill(line, below)
        below = {column: (left - 1, text) for column, (left, text) in below.items() if left > 1}
        grid.append(line)
    return [line for line in grid if any(line)]


def _fill(line: list[str], below: dict[int, tuple[int, str]]) -> None:
    """Go on with cells of the rows above that reach down to here."""
    while len(line) in below:
        line.append(below[len(line)][1])


def _cell(text: str) -> Cell:
    """A cell, its attributes before the first ``|`` read and taken off."""
    head, bar, rest = text.partition("|")
    if not bar or not ATTRIBUTES.fullmatch(head) or ("=" not in head and head.strip()):
        return Cell([text])
    spans = {name.lower(): max(1, int(number)) for name, number in SPAN.findall(head)}
    return Cell([rest], spans.get("col", 1), spans.get("row", 1))


def _flat(text: str) -> str:
    """A cell in one line."""
    return " ".join(LISTED.sub("; ", text).replace(BREAK, " ").split()).strip("; ").replace("|", "\\|")
