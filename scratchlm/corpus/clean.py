"""Text that is safe to learn from: one Unicode form, one kind of line end, no control characters, no addresses of people or machines."""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from scratchlm.core.records import Document

LARGEST = 20_000_000
"""Characters; a longer document is refused, because one row must fit a worker's memory several times."""

# Everything of category Cc but tab and newline, the byte order mark, and halves of surrogate pairs that no UTF-8 can hold.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
TRAILING = re.compile(r"[ \t\xa0]+$", re.MULTILINE)
MANY_BLANK_LINES = re.compile(r"\n{4,}")

EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w@-])"
)
IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
# Only 2000::/3 is in public use; the short forms would catch slices such as a[::2] and names such as dead::beef.
IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")


def normalise(text: str) -> str:
    """``text`` in NFC, with ``\\n`` line ends, no control characters, no trailing blanks and at most two empty lines in a row.

    Applying it twice changes nothing.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = unicodedata.normalize("NFC", CONTROL.sub("", text))
    text = TRAILING.sub("", text)
    return MANY_BLANK_LINES.sub("\n\n\n", text).strip("\n")


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP address that reaches somebody: private, reserved and example ranges do not."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def always(text: str) -> bool:
    """Whatever the pattern found is meant."""
    return bool(text)


MASKS: dict[str, tuple[re.Pattern[str], Callable[[str], bool], str]] = {
    "email": (EMAIL, always, "<email>"),
    "ipv4": (IPV4, is_address, "<ip>"),
    "ipv6": (IPV6, is_address, "<ip>"),
}
"""What is masked: the pattern, what a find must be, and what stands in its place."""


def mask(document: Document) -> Document:
    """``document`` with every address of a person or machine replaced by its kind; ``edits`` records each place, not what stood there."""
    text = document.text
    found = []
    if "@" in text:
        found += _spans(text, "email")
    if "." in text:
        found += _spans(text, "ipv4")
    if "::" in text or text.count(":") > 3:
        found += _spans(text, "ipv6")
    if not found:
        return document
    found = _apart(sorted(found))
    parts, position = [], 0
    for start, end, kind in found:
        parts += [text[position:start], MASKS[kind][2]]
        position = end
    edits = [{"op": kind, "start": start, "end": end, "repl": MASKS[kind][2], "stage": "mask"} for start, end, kind in found]
    return replace(document, text="".join([*parts, text[position:]]), facts={**document.facts, "edits": json.dumps(edits)})


def _spans(text: str, kind: str) -> list[tuple[int, int, str]]:
    pattern, is_meant, _ = MASKS[kind]
    return [(*match.span(), kind) for match in pattern.finditer(text) if is_meant(match.group())]


def _apart(spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The spans without those that begin inside the one before."""
    return spans[:1] + [later for earlier, later in pairwise(spans) if later[0] >= earlier[1]]


def masked(document: Document) -> list[tuple[str, int]]:
    """For each masked place its kind and how many characters it took away."""
    edits = json.loads(str(document.facts.get("edits") or "[]"))
    return [(edit["op"], edit["end"] - edit["start"] - len(edit["repl"])) for edit in edits if edit["stage"] == "mask"]
