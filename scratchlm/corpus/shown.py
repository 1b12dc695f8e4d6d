"""A text as others may see it: with placeholders for its private values, though it is a title, an address or a beginning that was cut off.

The text that is learned from is masked by ``selection.py``, which knows all of it; this is for what is told of a document beside its text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from scratchlm.privacy import pii
from scratchlm.privacy.pii_contacts import REGIONS
from scratchlm.sources.found import EXCERPT

LEAST_PART = 4
"""Characters of a value that is cut off by which it is still known."""
MARGIN = 80
"""Characters before the place where a text was cut off that are not shown: a value could begin there and not be known by its beginning."""
AROUND = 48
"""Characters that are shown on each side of a placeholder."""
WORD_AT_END = re.compile(r"[!-~]{1,1000}\Z")
FREE_TEXT = ("title", "licence_evidence")
"""Facts of a document that may say anything."""


@dataclass(frozen=True)
class Mask:
    """What is masked: these kinds of private values, and values that are known from elsewhere."""

    kinds: Sequence[str] = pii.DEFAULT
    regions: Sequence[str] = REGIONS
    values: Mapping[str, str] = field(default_factory=dict)
    """The placeholder of each."""

    def knowing(self, text: str, spans: Sequence[pii.Span]) -> "Mask":
        """The mask that also knows the values that were found in a text, where nothing around them says what they are."""
        values = {" ".join(text[span.start : span.end].split()): pii.KINDS[span.kind].placeholder for span in spans}
        return Mask(self.kinds, self.regions, values)

    def text(self, text: str) -> str:
        """A text with placeholders; a known value is replaced too where the text ends within it."""
        made, _ = pii.replace(text, pii.find(text, self.kinds, regions=self.regions))
        for value in sorted(self.values, key=len, reverse=True):
            made = made.replace(value, self.values[value])
        for value, placeholder in self.values.items():
            cut = next((size for size in range(len(value) - 1, LEAST_PART - 1, -1) if made.endswith(value[:size])), 0)
            made = made[: len(made) - cut] + placeholder if cut else made
        return made

    def address(self, url: str) -> str:
        """A web address; one that holds a private value is shown without percent signs."""
        plain = unquote(url)
        made = self.text(plain)
        return url if made == plain else made

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """A document's facts, of which title, address and what a source had beside them may hold anything."""
        made = dict(facts)
        made |= {name: self.text(str(facts[name])) for name in FREE_TEXT if facts.get(name)}
        if facts.get("url"):
            made["url"] = self.address(str(facts["url"]))
        if facts.get("extra"):
            made["extra"] = json.dumps(self._nested(json.loads(str(facts["extra"]))), ensure_ascii=False)
        return made

    def _nested(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._nested(inner) for key, inner in value.items()}
        return [self._nested(inner) for inner in value] if isinstance(value, list) else value


def excerpt(text: str, mask: Mask | None = None) -> str:
    """How a text begins, or a part of one that was cut off after ``EXCERPT`` characters: at most so many, and none of a private value."""
    mask, start = mask or Mask(), text[:EXCERPT]
    end = len(start)
    spans = pii.find(start, mask.kinds, regions=mask.regions)
    if end == EXCERPT:
        end = len(WORD_AT_END.sub("", start[: EXCERPT - MARGIN]))
        end = max([end, *(span.end for span in spans if span.start < end)])
    return pii.replace(start[:end], [span for span in spans if span.end <= end])[0]


def context(text: str, start: int, end: int) -> str:
    """What stands around a placeholder, in one line."""
    before, behind = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return " ".join(f"{'…' if start > AROUND else ''}{before}{text[start:end]}{behind}{'…' if end + AROUND < len(text) else ''}".split())
