"""The corpus in numbers: what came in, what was kept, what was dropped and why, with examples to read."""

import json
from collections import Counter
from typing import Any

from scratchlm.core.records import Document
from scratchlm.corpus.ledger import Ledger
from scratchlm.corpus.prepare import Prepared

TOP = 30


def report(prepared: Prepared) -> dict[str, Any]:
    """A JSON value; raises CheckFailed when the books do not balance."""
    ledger: Ledger = prepared.ledger
    kept = [document for documents in prepared.splits.values() for document in documents]
    return {
        "conservation": ledger.check(kept),
        "splits": {name: sizes(documents) for name, documents in prepared.splits.items()},
        "sources": ledger.sources(prepared.splits),
        "dropped": ledger.rules(),
        "edited": dict(sorted(ledger.edited.items())),
        "largest": dict(_by_package(kept).most_common(TOP)),
        "copies": _clusters(prepared, kept),
    }


def sizes(documents: list[Document]) -> dict[str, int]:
    """Documents, groups, characters and UTF-8 bytes of a split."""
    return {
        "documents": len(documents),
        "groups": len({document.facts.get("host") for document in documents}),
        "characters": sum(len(document.text) for document in documents),
        "bytes": sum(len(document.text.encode()) for document in documents),
    }


def _by_package(documents: list[Document]) -> Counter[str]:
    """Bytes by package, or by file of a folder."""
    count: Counter[str] = Counter()
    for document in documents:
        package = json.loads(str(document.facts.get("extra") or "{}")).get("package")
        count[str(package or document.facts.get("host"))] += len(document.text.encode())
    return count


def _clusters(prepared: Prepared, kept: list[Document]) -> dict[str, Any]:
    """How many documents have how many dropped copies, and the ones with the most."""
    by_id = {document.id: document for document in kept}
    most = Counter(prepared.copies).most_common(TOP)
    largest = [
        {"locator": by_id[key].facts.get("locator"), "copies": n, "excerpt": by_id[key].text[:120]} for key, n in most if key in by_id
    ]
    return {"sizes": {str(size): n for size, n in sorted(Counter(prepared.copies.values()).items())}, "largest": largest}
