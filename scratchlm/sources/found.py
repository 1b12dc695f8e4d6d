"""What a source finds: documents, and what it could not read with the reason."""

from collections.abc import Iterator
from dataclasses import dataclass

from scratchlm.core.records import Document

EXCERPT = 300
"""Characters of a dropped text that are kept for reading."""
Number = float | int
"""What a rule measures: a share or a count."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document or file that is not in the corpus, and why."""

    id: str
    locator: str
    source: str
    stage: str
    rule: str
    reason: str
    value: Number | None = None
    threshold: Number | None = None
    characters: int = 0
    excerpt: str = ""
    dup_of: str | None = None


Found = Iterator[Document | Dropped]
