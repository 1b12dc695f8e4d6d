"""How much of a page's article is found, and how much besides? Precision, recall, F1 and pages per second of CPU time of each reader.

    python -m benchmarks.extraction --gold DIR

DIR holds ``ground-truth.json`` (``{name: {"articleBody": text, "url": url}}``) and ``html/NAME.html.gz``. Texts are compared as
multisets of runs of four words; the shares of true, false and missed runs of each page are summed, so that long pages count no more
than short ones.
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text
from trafilatura import extract as trafilatura_extract

from scratchlm.sources import charset, html

WORD = re.compile(r"\w+")
RUN = 4
"""Words that are compared together."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A page, and the text of its article as people marked it."""

    name: str
    markup: str
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Score:
    """How well texts were found; shares of 1, and pages per second of one core."""

    precision: float
    recall: float
    pages_per_s: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def gold_pages(folder: Path) -> Iterator[Gold]:
    """The pages of a folder in the order of their names."""
    for name, row in sorted(json.loads((folder / "ground-truth.json").read_text(encoding="utf-8")).items()):
        data = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        yield Gold(name, charset.decoded(data, is_markup=True)[0], row.get("url", ""), row["articleBody"])


def runs(text: str) -> Counter[tuple[str, ...]]:
    """Every four words in a row; a shorter text is one run."""
    words = WORD.findall(text)
    return Counter(tuple(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1))) if words else Counter()


def shares(found: str, gold: str) -> tuple[float, float, float]:
    """Of all runs of both texts: those in both, those only in ``found``, those only in ``gold``."""
    ours, theirs = runs(found), runs(gold)
    both = (ours & theirs).total()
    total = ours.total() + theirs.total() - both
    return (both / total, (ours.total() - both) / total, (theirs.total() - both) / total) if total else (1.0, 0.0, 0.0)


def score(pages: Iterable[Gold], reader: Callable[[Gold], str]) -> Score:
    """What ``reader`` makes of the pages, against what people marked."""
    pages = list(pages)
    begun = time.process_time()
    texts = [reader(page) for page in pages]
    spent = time.process_time() - begun
    true, false, missed = (sum(part) for part in zip(*map(shares, texts, (page.text for page in pages)), strict=True))
    return Score(true / (true + false) if true else 0.0, true / (true + missed) if true else 0.0, len(pages) / spent)


READERS: dict[str, Callable[[Gold], str]] = {
    "quality": lambda page: html.extract(page.markup, "quality", page.url).text,
    "bulk": lambda page: html.extract(page.markup, "bulk", page.url).text,
    "trafilatura, markdown": lambda page: trafilatura_extract(page.markup, fast=True, output_format="markdown") or "",
    "trafilatura, text": lambda page: trafilatura_extract(page.markup, fast=True, include_comments=False) or "",
    "resiliparse, main content": lambda page: extract_plain_text(page.markup, main_content=True),
    "resiliparse, all text": lambda page: extract_plain_text(page.markup),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gold", type=Path, required=True)
    pages = list(gold_pages(parser.parse_args().gold))
    READERS["quality"](pages[0])  # the libraries are imported before any clock runs
    print(f"{len(pages)} pages\n{'reader':28} precision  recall      F1  pages/s")
    for name, reader in READERS.items():
        found = score(pages, reader)
        print(f"{name:28} {found.precision:9.4f} {found.recall:7.4f} {found.f1:7.4f} {found.pages_per_s:8.0f}")


if __name__ == "__main__":
    main()
