"""How well and how fast private values are found: precision and recall by kind on the labelled sentences, and what is found in real text.

    python -m benchmarks.pii [--part held] [--text FILE ...] [--show 5]

A file given with --text is searched as it is; what is found in it is counted by kind, and with --show some finds are printed with their
surroundings, so that false alarms can be counted by eye. Speed is that of one core. Intervals are Wilson's on the number of sentences that
a figure is worth, so that clones of a sentence count as one.
"""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from scratchlm.evals import intervals
from scratchlm.privacy.pii import Span, find
from scratchlm.privacy.pii_labelled import Measured, labelled, measure


def line(kind: str, found: Measured) -> str:
    """One row of the table."""
    shares = ((found.precision, found.precision_sentences), (found.recall, found.recall_sentences))
    sure = [intervals.proportion([share] * sentences) for share, sentences in shares]
    precision, recall = (f"{share:.3f} ({each.low:.3f} to {each.high:.3f})" for (share, _), each in zip(shares, sure, strict=True))
    return f"{kind:18} {precision:>24} {recall:>24} {found.n_positive:9} {found.n_negative:9} {found.false_alarms:6}"


def surroundings(text: str, span: Span) -> str:
    """The find between brackets, on one line."""
    around = text[max(0, span.start - 50) : span.start], text[span.start : span.end], text[span.end : span.end + 30]
    return "[".join(around[:2]).replace("\n", " ") + "]" + around[2].replace("\n", " ")


def search(files: Sequence[Path], show: int) -> None:
    """Counts by kind, examples and speed on real text."""
    finds: dict[str, list[str]] = defaultdict(list)
    characters, seconds = 0, 0.0
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        start = time.process_time()
        spans = find(text)
        seconds += time.process_time() - start
        characters += len(text)
        for span in spans:
            finds[span.kind].append(surroundings(text, span))
    print(f"\n{len(files)} files, {characters / 1e6:.1f} million characters, {characters / 1e6 / max(seconds, 1e-9):.1f} million a second")
    for kind, examples in sorted(finds.items()):
        print(f"{kind}: {len(examples)}")
        for example in random.Random(0).sample(examples, min(show, len(examples))):
            print("   ", example)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="held", choices=["tune", "held"])
    parser.add_argument("--text", nargs="*", type=Path, default=[])
    parser.add_argument("--show", type=int, default=0)
    asked = parser.parse_args()
    print(f"{machine.where()}, part {asked.part}")
    print(f"{'kind':18} {'precision (95 %)':>24} {'recall (95 %)':>24} {'positives':>9} {'negatives':>9} {'alarms':>6}")
    for kind, found in measure([row for row in labelled() if row.part == asked.part]).items():
        print(line(kind, found))
    if asked.text:
        search(asked.text, asked.show)


if __name__ == "__main__":
    main()
