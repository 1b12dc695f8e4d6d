"""Nothing disappears silently: every document that came in is kept or dropped for a reason, and the books must balance."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scratchlm.core.errors import CheckFailed
from scratchlm.core.records import Document
from scratchlm.sources.found import EXCERPT, Dropped, Number

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a rule refuses a document: the sentence, the number it found and the number it wanted."""

    reason: str
    value: Number
    threshold: Number


@dataclass
class Ledger:
    """Counts of what came in, what was edited and what was dropped. Characters are counted after cleaning and before masking."""

    entered: dict[str, str] = field(default_factory=dict)
    """Id -> source of everything that came in."""
    dropped: list[Dropped] = field(default_factory=list)
    characters_in: Counter[str] = field(default_factory=Counter)
    edited: Counter[str] = field(default_factory=Counter)
    """Edits by kind: ``normalise`` counts documents, the masks count places."""
    removed_by_edits: int = 0
    """Characters that masking took away (negative when it added some)."""

    def enter(self, item: Document | Dropped) -> None:
        """Book one item that a source gave; an id may come once."""
        if item.id in self.entered:
            raise CheckFailed(f"corpus: the id {item.id} ({item.source}) came twice. Two documents share a locator: please report it.")
        self.entered[item.id] = item.source
        self.characters_in[item.source] += item.characters if isinstance(item, Dropped) else len(item.text)
        if isinstance(item, Dropped):
            self.dropped.append(item)

    def drop(self, document: Document, stage: str, rule: str, verdict: Verdict, *, dup_of: str | None = None) -> None:
        """Book a document as dropped."""
        self.dropped.append(
            Dropped(
                id=document.id,
                locator=str(document.facts.get("locator", "")),
                source=document.source,
                stage=stage,
                rule=rule,
                reason=verdict.reason,
                value=verdict.value,
                threshold=verdict.threshold,
                characters=len(document.text),
                excerpt=document.text[:EXCERPT],
                dup_of=dup_of,
            )
        )

    def by_stage(self) -> dict[str, list[dict[str, Any]]]:
        """Dropped rows by stage, in the order they were dropped."""
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for item in self.dropped:
            rows[item.stage].append(asdict(item))
        return dict(rows)

    def check(self, kept: Iterable[Document]) -> dict[str, int]:
        """The balance sheet; CheckFailed when a document or a character is neither kept nor dropped."""
        kept = list(kept)
        kept_ids, dropped_ids = Counter(document.id for document in kept), Counter(item.id for item in self.dropped)
        accounted = kept_ids + dropped_ids
        if accounted != Counter(self.entered.keys()):
            astray = sorted((Counter(self.entered.keys()) - accounted) + (accounted - Counter(self.entered.keys())))
            raise CheckFailed(
                f"corpus: {len(self.entered)} documents came in, {len(kept)} were kept and {len(self.dropped)} dropped; "
                f"{len(astray)} are not accounted for, the first is {astray[0]}. Please report it."
            )
        characters_in = self.characters_in.total()
        kept_characters, dropped_characters = sum(len(d.text) for d in kept), sum(d.characters for d in self.dropped)
        if characters_in != kept_characters + dropped_characters + self.removed_by_edits:
            raise CheckFailed(
                f"corpus: {characters_in} characters came in, {kept_characters} were kept, {dropped_characters} dropped and "
                f"{self.removed_by_edits} masked away, which does not add up. Please report it."
            )
        return {
            "documents_in": len(self.entered),
            "documents_kept": len(kept),
            "documents_dropped": len(self.dropped),
            "characters_in": characters_in,
            "characters_kept": kept_characters,
            "characters_dropped": dropped_characters,
            "characters_masked_away": self.removed_by_edits,
        }

    def rules(self) -> dict[str, dict[str, Any]]:
        """For each stage and rule: documents, characters, and up to ten examples."""
        found: dict[str, dict[str, Any]] = {}
        for item in self.dropped:
            row = found.setdefault(f"{item.stage}: {item.rule}", {"documents": 0, "characters": 0, "examples": []})
            row["documents"] += 1
            row["characters"] += item.characters
            if len(row["examples"]) < EXAMPLES:
                names = ("locator", "reason", "value", "threshold", "excerpt", "dup_of")
                row["examples"].append({name: value for name, value in asdict(item).items() if name in names and value is not None})
        return dict(sorted(found.items(), key=lambda pair: -pair[1]["documents"]))

    def sources(self, splits: Mapping[str, list[Document]]) -> dict[str, dict[str, int]]:
        """For each source: documents and characters in, kept and dropped."""
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for source in self.entered.values():
            rows[source]["documents_in"] += 1
        for source, characters in self.characters_in.items():
            rows[source]["characters_in"] = characters
        for documents in splits.values():
            for document in documents:
                rows[document.source] += Counter(documents_kept=1, characters_kept=len(document.text))
        for item in self.dropped:
            rows[item.source] += Counter(documents_dropped=1, characters_dropped=item.characters)
        return {source: dict(row) for source, row in sorted(rows.items())}
