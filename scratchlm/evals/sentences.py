"""The first sentence of a text, plain enough to be learned by heart: one line, no markup, a period at its end."""

import re

LONGEST = 160
SHORTEST_WORDS = 3
SIGNATURE = re.compile(r"^(class |module )?[\w.]+\s*(\(.*\))?(\s*(->|-->)\s*\S+)?:?$")
CALL = re.compile(r"^[\w.]+\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*(?:-{1,2}>|-|:)\s+")
"""``name(arguments) -> `` before words that say what comes back."""
NOT_PROSE = re.compile(r"^\s*(>>>|\.\. |:\w[\w -]*:|[-=~*^#+_|\"'.]{3,}\s*$|\||[A-Z][\w-]{1,20}:\s)")
ROLE = re.compile(r":(?:\w+:)?\w+:`([^`]*)`")
LINK = re.compile(r"`([^`<]+?)\s*<[^>]*>`_{0,2}")
FOOTNOTE = re.compile(r"\s*\[(?:\d+|#\w*)\]_")
ABBREVIATED = r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bcf)(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bSt)"
END = re.compile(ABBREVIATED + r"[.!?][\"'”’)]*(?=\s+[^a-z\s]|\s*$|(?<!\betc\.)(?<!\.\.\.)\s)")


def after_signature(text: str) -> str:
    """The docstring below the line that names the thing; the text as it is where there is no such line."""
    lines = text.strip().split("\n")
    while lines and (not lines[0].strip() or SIGNATURE.match(lines[0].strip())):
        lines.pop(0)
    if lines and (call := CALL.match(first := lines[0].strip())):
        lines[0] = first[call.end() :][:1].upper() + first[call.end() + 1 :]
    return "\n".join(lines)


def first_sentence(text: str, *, cut: bool = False) -> str | None:
    """The sentence that begins the first paragraph of prose whose first sentence has 3 words; None when it is over 160 characters.

    ``cut`` shortens a longer one at a word, with an ellipsis, instead of giving it up.
    """
    for paragraph in re.split(r"\n\s*\n", text):
        plain = simple(" ".join(_prose(paragraph)))
        end = END.search(plain)
        sentence = (plain[: end.end()] if end else plain).rstrip(" :;,")
        if len(sentence.split()) >= SHORTEST_WORDS and re.search(r"[A-Za-z]{2}", sentence):
            return _fitting(sentence, cut)
    return None


def simple(text: str) -> str:
    """One line without the common marks of reStructuredText and Markdown; names stay in single backticks."""
    text = LINK.sub(r"\1", ROLE.sub(_last_part, text)).replace("``", "`")
    text = re.sub(r"(?<![\w*])\*\*(\S.*?\S|\S)\*\*(?![\w*])", r"\1", FOOTNOTE.sub("", text))
    return re.sub(r"\s+", " ", text).strip()


def _last_part(role: re.Match[str]) -> str:
    name = role[1].partition("<")[0].strip()
    return f"`{name.rpartition('.')[2] if name.startswith('~') else name}`"


def _prose(paragraph: str) -> list[str]:
    """The lines up to the first that is code, markup or another way to call; none when the paragraph starts with one."""
    lines = []
    for line in paragraph.split("\n"):
        if NOT_PROSE.match(line) or CALL.match(line.strip()):
            break
        lines.append(line.strip())
    return [line for line in lines if line]


def _fitting(sentence: str, cut: bool) -> str | None:
    if len(sentence) < LONGEST:
        return sentence if re.search(r"[.!?][\"'”’)]*$", sentence) else sentence + "."
    return sentence[: LONGEST - 3].rpartition(" ")[0].rstrip(" ,;:.-") + "..." if cut else None
