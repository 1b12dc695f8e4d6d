"""The lines of a page whose brackets are already gone: headings, lists, indented code, and the last signs of markup inside a line."""

import html
import re
from collections import Counter
from dataclasses import dataclass

BREAK = "\x04"
"""A line break inside a line: a new line in running text, a blank in a table."""
LINE, BLOCK, END = "\x02", "\x05", "\x03"
"""Signs around the number of a text that is put away: part of a line, or a block of its own."""
HELD = re.compile(rf"[{LINE}{BLOCK}](\d{{1,9}}){END}")
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|&nbsp\b")
"""Bounded: Python refuses to read a number of thousands of digits."""
QUOTES = re.compile(r"'{2,}")
EXTERNAL = re.compile(
    r"\[(?:(?:https?|ftps?|ircs?|news|mailto|git|svn|sftp):|//)[^\s\[\]<>\"]{1,2000}+[ \t]{0,9}+([^\[\]\n]{0,2000}+)\]?", re.IGNORECASE
)
SWITCH = re.compile(r"__[A-Z]{3,30}__")
VARIANTS = re.compile(r"-\{(?:[^{}|\n]{0,20}\|)?([^{}\n]{0,500}+)\}-")
LEFT_BRACKETS = re.compile(r"\{{2,}|\}{2,}|\[{2,}|\]{2,}|\{\||\|\}|</?(?:ref|gallery|math|nowiki)\b[^<>\n]{0,1000}+>?", re.IGNORECASE)
EMPTY = re.compile(r"[ \t]\((?:[\s,;:/–—-]|see also|see|e\.g\.|i\.e\.|cf\.|pronounced|IPA){0,20}\)", re.IGNORECASE)
OPENED = re.compile(r"\((?:[ \t]{0,5}+[,;:])*+[ \t]{1,5}+(?=\S)")
CLOSED = re.compile(r"[ \t,;:]{1,20}+\)")
DOUBLED = re.compile(r"([,;])(?:[ \t]{1,5}[,;]){1,20}(?=[ \t])")
APART = re.compile(r"[ \t]{1,20}+([.,])(?=\s|$)")
BLANKS = re.compile(r"[ \t]{2,}+")
SPACES = re.compile("[\u00a0\u2002\u2003\u2009\u200a\u202f]")
UNSEEN = re.compile("[\u200b\u200e\u200f\u00ad\ufeff\r]")
BACK = frozenset({
    "references", "notes", "footnotes", "citations", "notes and references", "references and notes", "sources and notes",
    "external links", "see also", "further reading", "einzelnachweise", "weblinks", "siehe auch", "références",
    "notes et références", "liens externes", "voir aussi", "referencias", "enlaces externos", "véase también", "note",
    "collegamenti esterni", "voci correlate", "referências", "ligações externas", "ver também", "bronnen", "externe links",
    "zie ook", "przypisy", "linki zewnętrzne", "zobacz też", "примечания", "ссылки", "см. также", "脚注", "関連項目", "外部リンク",
    "参考文献", "参考资料", "外部链接", "参见", "각주", "외부 링크", "같이 보기",
})  # fmt: skip
"""Headings of sections that list other pages and works and hold no text of their own; lower case."""
DEEPEST = 12
"""Levels of a list."""
FEWEST_INDENTED = 2
"""Lines that start with a blank are code when so many stand together; one alone is a slip of the keyboard."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph's line, a list item, a heading, a table or code."""

    kind: str
    text: str
    level: int = 0


class Stash:
    """Text that is put away from the markup around it, and a sign in its place."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def put(self, text: str, kind: str = "", caption: str = "") -> str:
        """A sign that stands for ``text``: inside a line, or on a line of its own when it has a ``kind``."""
        self._blocks.append(Block(kind, text))
        number = len(self._blocks) - 1
        return f"\n{caption}\n{BLOCK}{number}{END}\n" if kind else f"{LINE}{number}{END}"

    def block(self, line: str) -> Block | None:
        """The block whose sign is all of ``line``."""
        match = HELD.fullmatch(line)
        found = self._blocks[int(match.group(1))] if match else None
        return found if found and found.kind else None

    def resolved(self, text: str) -> str:
        """``text`` with what its signs stand for."""
        return HELD.sub(lambda match: self._blocks[int(match.group(1))].text, text) if END in text else text


def layout(text: str, stash: Stash, left_out: Counter[str]) -> tuple[str, list[dict[str, str | int]]]:
    """The page, and where in it headings, lists, tables and code stand; sections without text of their own are left out and counted."""
    parts: list[str] = []
    structure: list[dict[str, str | int]] = []
    length = 0
    for block in _without_empty(_without_back(blocks(inline(text), stash), left_out)):
        gap = "\n\n" if parts else ""
        start = length + len(gap)
        parts += [gap, block.text]
        length = start + len(block.text)
        if block.kind:
            structure.append({"kind": block.kind, "start": start, "end": length})
    return "".join(parts), structure


def inline(text: str) -> str:
    """``text`` without the signs of markup inside its lines."""
    text = QUOTES.sub(lambda match: "'" * max(0, len(match.group()) - 5) if len(match.group()) != 4 else "'", text)
    text = SWITCH.sub("", EXTERNAL.sub(r"\1", text))
    if "-{" in text:
        text = VARIANTS.sub(_first_variant, text)
    return UNSEEN.sub("", SPACES.sub(" ", unescape(LEFT_BRACKETS.sub("", text))))


def unescape(text: str) -> str:
    """``text`` with entities as the characters that they name."""
    return ENTITY.sub(lambda match: html.unescape(match.group()), text) if "&" in text else text


def fenced(code: str, language: str = "") -> str:
    """``code`` between fences longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}+", code)), default=2)
    fence = "`" * (longest + 1)
    lines = "\n".join(line.rstrip() for line in code.split("\n")).strip("\n")
    return f"{fence}{language}\n{lines}\n{fence}"


def blocks(text: str, stash: Stash) -> list[Block]:
    """The lines of ``text`` as blocks."""
    done: list[Block] = []
    kind, held = "", []

    def flush() -> None:
        made = _block(kind, held, stash)
        held.clear()
        if made:
            done.append(made)

    for line in text.split("\n"):
        found = stash.block(line.strip()) or _heading(line, stash)
        new = "" if found else _kind(line)
        if found or new != kind or not new:
            flush()
            kind = new
        if found:
            done.append(found)
        elif new:
            held.append(line)
    flush()
    return done


def _kind(line: str) -> str:
    """What a line is part of: nothing, a list, indented code or running text."""
    bare = line.strip()
    if not bare.strip("-") or bare.startswith(("|-", "|}", "{|", "|+")):
        return ""
    if bare[0] in "*#" or (bare[0] in ":;" and bare.lstrip(":;")[:1] in ("*", "#")):
        return "list"
    return "indented" if line[0] in " \t" else "text"


def _block(kind: str, lines: list[str], stash: Stash) -> Block | None:
    if kind == "list":
        text = "\n".join(_items(lines, stash))
        return Block("list", text) if text else None
    if kind == "indented" and len(lines) >= FEWEST_INDENTED and not any(BREAK in line for line in lines):
        return Block("code", fenced(stash.resolved("\n".join(line[1:] for line in lines))))
    parts = [part for line in lines for part in line.lstrip(":; \t").split(BREAK)]
    text = "\n".join(clean for part in parts if (clean := _clean(part, stash)))
    return Block("", text) if text else None


def _heading(line: str, stash: Stash) -> Block | None:
    """A heading between the same number of ``=`` on both sides."""
    if not line.startswith("="):
        return None
    line = line.rstrip()
    level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6)
    text = _clean(line[level:-level].replace(BREAK, " "), stash) if level and len(line) > 2 * level else ""
    return Block("heading", f"{'#' * level} {text}", level) if text else None


def _items(lines: list[str], stash: Stash) -> list[str]:
    """The items of a list, each behind its marker and the room of the markers it stands under."""
    written: list[str] = []
    numbers: list[dict[str, int]] = [{} for _ in range(DEEPEST + 1)]
    """Of each level, by the markers down to it: how many items it has so far."""
    depth = 0
    for line in lines:
        bare = line.strip()
        marks = bare[: len(bare) - len(bare.lstrip("*#:;"))][:DEEPEST]
        parts = [clean for part in bare.lstrip("*#:;").split(BREAK) if (clean := _clean(part, stash))]
        for deeper in range(len(marks) + 1, depth + 1):
            numbers[deeper].clear()
        depth = len(marks)
        if not parts:
            continue
        level = numbers[depth]
        if marks[-1] == "#":
            level[marks] = level.get(marks, 0) + 1
        own = f"{level[marks]}. " if marks[-1] == "#" else "- " if marks[-1] == "*" else ""
        indent = "".join("   " if mark == "#" else "  " if mark == "*" else "" for mark in marks[:-1])
        written += [indent + own + parts[0], *(indent + " " * len(own) + part for part in parts[1:])]
    return written


def _clean(line: str, stash: Stash) -> str:
    """A line of running text without the holes that left-out templates tore."""
    if "(" in line:
        line = CLOSED.sub(")", OPENED.sub("(", line))
        line = EMPTY.sub("", line)
    line = BLANKS.sub(" ", APART.sub(r"\1", DOUBLED.sub(r"\1", line)))
    return stash.resolved(line.strip())


def _first_variant(match: re.Match[str]) -> str:
    """Chinese and Serbian text in several writings: the first one."""
    first, _, _ = match.group(1).partition(";")
    name, colon, rest = first.partition(":")
    return rest if colon and re.fullmatch(r"[a-z-]{2,12}", name.strip()) else match.group(1)


def _without_back(found: list[Block], left_out: Counter[str]) -> list[Block]:
    kept: list[Block] = []
    skipping = 0
    for block in found:
        if block.kind == "heading" and (not skipping or block.level <= skipping):
            skipping = block.level if block.text.lstrip("# ").casefold().rstrip(":") in BACK else 0
            left_out["back sections"] += bool(skipping)
        if not skipping:
            kept.append(block)
    return kept


def _without_empty(found: list[Block]) -> list[Block]:
    """The blocks without headings that nothing stands under."""
    kept: list[Block] = []
    for block in reversed(found):
        below = kept[-1] if kept else None
        if block.kind != "heading" or (below and (below.kind != "heading" or below.level > block.level)):
            kept.append(block)
    return kept[::-1]
