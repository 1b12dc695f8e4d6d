"""How good is a tokenizer on given text? Facts for the report, beside those of another tokenizer on the same text where there is one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scratchlm.core.records import Document
from scratchlm.tokenizer.interface import Tokenizer, well_formed
from scratchlm.tokenizer.visible import visible

SHOWN = 40
"""Rows in each list."""
CHUNK_CHARACTERS = 1_000_000
"""Encoded at once."""
COLUMNS = ("languages", "sources")
"""Of what is measured, those with a row for each part of the text."""
IN_NO_TEXT = (0xC0, 0xC1, *range(0xF5, 0x100))
"""Bytes that UTF-8 never uses."""


@dataclass
class Tally:
    """Documents, their bytes and their tokens; ``others`` are those of the tokenizer compared with."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    others: int = 0

    def add(self, size: int, tokens: int, others: int) -> None:
        """Count one more document."""
        self.documents += 1
        self.bytes += size
        self.tokens += tokens
        self.others += others

    def row(self, compared: bool) -> dict[str, Any]:
        """The counts and the bytes per token."""
        row = {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens, "bytes_per_token": _ratio(self.bytes, self.tokens)}
        return row | {"other_tokens": self.others, "other_bytes_per_token": _ratio(self.bytes, self.others)} if compared else row


@dataclass
class Found:
    """All that is counted while documents pass by."""

    whole: Tally = field(default_factory=Tally)
    languages: dict[str, Tally] = field(default_factory=dict)
    sources: dict[str, Tally] = field(default_factory=dict)
    used: Counter[int] = field(default_factory=Counter)
    characters: int = 0
    lost: list[str] = field(default_factory=list)
    """Ids of documents that do not come back as they were."""


def measured(tokenizer: Tokenizer, documents: Iterable[Document], other: Tokenizer | None = None) -> dict[str, Any]:
    """How well ``tokenizer`` shortens ``documents``, by language and source, what its pieces are, and what is lost.

    ``coverage`` is the share of characters that have ids of their own. ``round_trip`` counts what does not come back: documents, and bytes,
    each in a character of its own. With ``other``, each row of bytes per token says also how many tokens that one takes.
    """
    found = Found()
    for chunk in chunks(documents, CHUNK_CHARACTERS):
        texts = [document.text for document in chunk]
        others = other.encode_batch(texts).lengths.tolist() if other else [0] * len(chunk)
        for document, ids, theirs in zip(chunk, tokenizer.encode_batch(texts), others, strict=True):
            _count(found, tokenizer, document, ids.tolist(), theirs)
    ordinary = [id for id in range(tokenizer.size) if id not in tokenizer.control.values()]
    longest = sorted(ordinary, key=lambda id: (-len(tokenizer.piece(id)), id))
    frequent = sorted(found.used, key=lambda id: (-found.used[id], id))[:SHOWN]
    unknown = 0 if tokenizer.unknown is None else found.used[tokenizer.unknown]
    return found.whole.row(other is not None) | {
        "pieces_used": len(found.used),
        "never_used": sum(not found.used[id] for id in ordinary),
        "coverage": {"characters": found.characters, "unknown": unknown, "share": 1 - _ratio(unknown, found.characters, 6)},
        "round_trip": {
            "documents": found.whole.documents,
            "documents_lost": found.lost,
            "bytes": 256 - len(IN_NO_TEXT),
            "bytes_lost": [f"{byte:02x}" for byte in bytes_lost(tokenizer)],
            "bytes_in_no_text": len(IN_NO_TEXT),
        },
        "languages": _rows(found.languages, other is not None),
        "sources": _rows(found.sources, other is not None),
        "longest": [_row(tokenizer, id, found.used) for id in longest[:SHOWN]],
        "most_frequent": [_row(tokenizer, id, found.used) for id in frequent],
        "idle": [_row(tokenizer, id, found.used) for id in longest if not found.used[id] and len(tokenizer.piece(id)) > 1][:SHOWN],
    }


def own(report: Mapping[str, Any]) -> dict[str, Any]:
    """What ``measured`` says of the tokenizer alone."""
    kept = {name: value for name, value in report.items() if not name.startswith("other_")}
    return kept | {column: {name: own(row) for name, row in report[column].items()} for column in COLUMNS if column in report}


def beside(report: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of ``measured`` that say how many tokens the other one takes."""
    return {name: report[name] for name in (*Tally().row(True), *COLUMNS)}


def bytes_lost(tokenizer: Tokenizer) -> list[int]:
    """The bytes that do not come back, each tried in a character of its own."""
    tried = {byte: character_with(byte) for byte in range(256) if byte not in IN_NO_TEXT}
    return [byte for byte, text in tried.items() if tokenizer.decode(tokenizer.encode(text)) != text]


def character_with(byte: int) -> str:
    """The first character whose UTF-8 begins with ``byte``, or ends with it where it begins none."""
    if byte < 0xC0:  # itself, or of U+0080 to U+00BF the one that ends with it
        return chr(byte)
    if byte < 0xE0:
        return chr((byte & 0x1F) << 6)
    return chr(max((byte & 0x0F) << 12, 0x800) if byte < 0xF0 else max((byte & 0x07) << 18, 0x10000))


def _count(found: Found, tokenizer: Tokenizer, document: Document, ids: list[int], others: int) -> None:
    size = len(document.text.encode("utf-8", "surrogatepass"))
    language = str(document.facts.get("lang") or "unknown")
    for tally in (
        found.whole,
        found.languages.setdefault(language, Tally()),
        found.sources.setdefault(document.source, Tally()),
    ):
        tally.add(size, len(ids), others)
    found.used.update(ids)
    found.characters += len(document.text)
    if tokenizer.decode(ids) != well_formed(document.text):
        found.lost.append(document.id)


def _rows(tallies: dict[str, Tally], compared: bool) -> dict[str, dict[str, Any]]:
    """The largest first."""
    return {name: tallies[name].row(compared) for name in sorted(tallies, key=lambda name: (-tallies[name].bytes, name))}


def _row(tokenizer: Tokenizer, id: int, used: Counter[int]) -> dict[str, Any]:
    return {"id": id, "piece": tokenizer.piece(id).decode("utf-8", "replace"), "shown": visible(tokenizer.piece(id)), "times": used[id]}


def _ratio(part: int, whole: int, decimals: int = 4) -> float:
    return round(part / whole, decimals) if whole else 0.0


def chunks(documents: Iterable[Document], characters: int) -> Iterator[list[Document]]:
    """Documents in lists of about as many characters."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
