"""The tables between documents and corpus: what each document was found to be, what was decided on it, and its whole story.

One row per document in the order of the documents; texts stay where they were read.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from scratchlm.rules.filters import RULES

WORD = pa.dictionary(pa.int32(), pa.string())
MEASURE = "v_"
"""Begins the name of the column that holds a rule's value."""
SPAN = pa.list_(pa.struct([("op", pa.string()), ("start", pa.int64()), ("end", pa.int64())]))
HIT = pa.list_(pa.struct([("set", pa.string()), ("item", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("kind", pa.string())]))
CAUSE = [(name, pa.string()) for name in ("stage", "rule", "reason")] + [("value", pa.float64()), ("threshold", pa.float64())]

ATTRIBUTES = pa.schema(
    [(name, pa.string()) for name in ("doc_id", "locator", "url", "fetched_at")]
    + [(name, WORD) for name in ("source", "host", "doc_type", "lang", "profile", "limits")]
    + [
        ("quarantined", pa.bool_()),
        ("parents", pa.list_(pa.string())),
        ("lang_score", pa.float64()),
        ("score", pa.float32()),
        ("quality", pa.float32()),
    ]
    + [("n_chars", pa.int64()), ("n_words", pa.int64())]
    + [(MEASURE + name, pa.float64()) for name in RULES]
    + [("substance_high", pa.uint64()), ("substance_low", pa.uint64()), ("enough", pa.bool_())]
    + [("named", pa.string()), ("address", pa.string()), ("cuts", SPAN), ("pii", SPAN), ("hits", HIT)]
)
"""What is known of a document. ``limits``: those of its profile, as JSON; ``quarantined``: workers died on it, so all else is unknown;
``substance``: two halves of a hash of what it says; ``enough``: it says enough to have near copies; ``named`` and ``address``: digests of
the last word of its title and of its page's address, which are compared; ``cuts``: lines that leave before anything is measured; ``pii``
and ``hits`` count from the text without them. Private values in ``url`` are masked."""

JUDGED = pa.schema([("doc_id", pa.string()), *CAUSE, ("failing", pa.list_(pa.string()))])
"""What the rules say of a document; no ``rule`` when none refuses it."""

RANKED = pa.schema(
    [("doc_id", pa.string()), ("row", pa.int64()), ("pinned", pa.bool_()), ("held_out", pa.bool_())]
    + [("score", pa.float32()), ("quality", pa.float32()), ("fetched_at", pa.string()), ("characters", pa.int64())]
    + [(name, WORD) for name in ("source", "host", "lang")]
    + [("substance_high", pa.uint64()), ("substance_low", pa.uint64()), ("enough", pa.bool_())]
    + [("named", pa.string()), ("address", pa.string())]
)
"""What decides between copies, of documents that no rule refuses; ``row`` counts through all documents of the corpus."""

DECISIONS = pa.schema([("row", pa.int64()), *CAUSE, ("dup_of", pa.string()), ("cluster", pa.string())])
"""Copies that go, by the row of the document."""

MASKED = pa.list_(pa.struct([("op", pa.string()), ("shown", pa.string())]))
VERDICTS = pa.schema(
    [("doc_id", pa.string()), ("locator", pa.string())]
    + [(name, WORD) for name in ("source", "host", "lang", "profile", "split")]
    + [("times", pa.int32()), *CAUSE, ("dup_of", pa.string()), ("cluster", pa.string()), ("failing", pa.list_(pa.string()))]
    + [("n_chars", pa.int64()), ("kept_chars", pa.int64()), ("kept_bytes", pa.int64())]
    + [("edits", pa.list_(pa.struct([("op", pa.string()), ("places", pa.int64()), ("characters", pa.int64())])))]
    + [("masked", MASKED), ("excerpt", pa.string())]
)
"""What became of a document: kept in a split, so many ``times``, or dropped by a rule (the first that did; ``failing`` has all).
``kept_chars`` is ``n_chars`` less what edits took away, and 0 where it was dropped. ``masked``: of each kind of private value the first,
with what stands around it; ``excerpt``: how the document begins. Neither holds a private value."""


def dropped_row(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The row of ``sources.record.DROPPED`` that a verdict makes."""
    names = ("stage", "rule", "reason", "value", "threshold", "dup_of", "locator", "source", "excerpt")
    return {name: verdict.get(name) for name in names} | {"id": verdict["doc_id"], "characters": verdict["n_chars"]}
