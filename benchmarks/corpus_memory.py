"""Does the memory of a step grow with the corpus?

    python -m benchmarks.corpus_memory [--documents 20000] [--ranked 300000]

The largest resident memory of a worker in each step, each unit in a fresh process, for one and for ten times the input. First the whole
road on short made-up web pages with copies, menus and shared passages; then the steps for copies alone on many more documents, of which
only the tables and signatures are made. A step whose units take a file, a run of files, a bucket or a range has reached its size when there
are several of those: 16,384 documents are a file, sixteen files a run.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import copies, minhash, places, reading, whole
from scratchlm.corpus.beside import Beside
from scratchlm.corpus.road import Road, gather
from scratchlm.corpus.schema import RANKED
from scratchlm.corpus.substrings import PassageRules
from scratchlm.rules.filters import RULES
from scratchlm.sources import record
from scratchlm.sources.file import Limits
from scratchlm.stages import corpus
from scratchlm.units.desk import Desk
from scratchlm.units.engine import Engine
from scratchlm.units.unit import Done, Unit

FILE = 16_384
"""Documents of a file."""
BEGINS, ENDS = ("riv", "ston", "lamp", "door", "wind", "cart", "bell", "road"), ("er", "ing", "ful", "ly", "let", "en", "ish")
MENU = "\n".join(f"{word} and the menu of this site" for word in BEGINS)


class Watched(Road):
    """Remembers the largest worker of each kind of unit."""

    def __init__(self, root: str) -> None:
        super().__init__(Engine(workers=1, recycle=1), root, Journal())
        self.peaks: dict[str, int] = {}

    def step(self, name: str, units: Sequence[Unit], *, own: bool = False) -> list[Done]:
        """The units, one at a time in a worker of its own."""
        found = super().step(name, units)
        for unit, done in zip(units, found, strict=True):
            label = f"{name}: {unit.work.rpartition('.')[2]}"
            self.peaks[label] = max(self.peaks.get(label, 0), done.peak_bytes)
        return found


def page(number: int, shared: Sequence[str]) -> Document:
    """A short web page: one in ten a copy, one in ten a near copy of another, some with a passage that others have."""
    chance = random.Random(number)
    kind = chance.random()
    own = random.Random(chance.randrange(number) if kind < 0.2 and number else number)
    said = [[own.choice(BEGINS) + own.choice(ENDS) for _ in range(8)] for _ in range(6)]
    lines = [" ".join([*words, "and", "the", f"x{own.randrange(10**9)}"]) + "." for words in said]
    if 0.1 < kind < 0.2:
        lines[0] += " Indeed."
    if 0.2 < kind < 0.3:
        lines.append(chance.choice(shared))
    host = f"www.site{number // 40}.org"
    facts = {"doc_type": "web", "host": host, "url": f"http://{host}/{number}", "locator": str(number)}
    return Document("\n".join([MENU, *lines]), record.identify("made", str(number)), "made", facts)


def write(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pages of a file, as readers leave them."""
    shared = [page(10**9 + number, [""]).text[-300:] for number in range(200)]
    found = (page(number, shared) for number in range(*config["range"]))
    return reading.book(desk, found, Limits(), lambda facts: facts)


def whole_road(folder: str, size: int) -> dict[str, int]:
    """Every step from pages to splits."""
    road = Watched(folder)
    reads = [Unit("read", "benchmarks.corpus_memory:write", (), {"range": [low, min(low + FILE, size)]}) for low in range(0, size, FILE)]
    off = {name: -1e9 if rule.keeps == "at least" else 1e9 for name, rule in RULES.items()}
    config = corpus.Config(minimum_bytes=1, thresholds=off, passages=PassageRules())
    gather(road, reads, corpus.choose(config, Beside({}, (), None, 0).make(road)))
    return road.peaks


def ranked(folder: Path, size: int) -> Iterator[Done]:
    """Files of documents that no rule refused, one in five a copy; signatures without their texts."""
    for number, low in enumerate(range(0, size, FILE)):
        count, dice = min(FILE, size - low), np.random.default_rng(number)
        signatures = dice.integers(0, 2**32, (count, minhash.SLOTS), dtype=np.uint32)
        near = np.arange(1, count, 10)
        signatures[near] = signatures[near - 1]
        signatures[near, :4] += np.uint32(1)
        high = dice.integers(0, 2**64, count, dtype=np.uint64)
        high[2::10] = high[:-2:10][: len(high[2::10])]
        rows = {
            "doc_id": [f"{n:032x}" for n in range(low, low + count)], "row": np.arange(low, low + count),
            "characters": dice.integers(1, 10**6, count), "score": dice.random(count).astype(np.float32),
            "pinned": np.zeros(count, np.bool_), "held_out": dice.random(count) < 0.04, "enough": np.ones(count, np.bool_),
            "substance_high": high, "substance_low": high,
        }  # fmt: skip
        columns = [rows.get(name, pa.nulls(count, RANKED.field(name).type)) for name in RANKED.names]
        pq.write_table(pa.table(columns, names=RANKED.names).cast(RANKED), folder / f"ranked{number}.parquet")
        np.save(folder / f"signatures{number}.npy", signatures)
        names = {"ranked.parquet": f"{folder}/ranked{number}.parquet", "signatures.npy": f"{folder}/signatures{number}.npy"}
        yield Done(str(number), names, {"left": count}, 0, ())


def copies_alone(folder: str, size: int) -> dict[str, int]:
    """The steps for copies."""
    road, done = Watched(f"{folder}/units"), list(ranked(Path(folder), size))
    whole.find_copies(road, done, places.offsets(each.facts["left"] for each in done).tolist(), copies.CopyRules())
    return road.peaks


def main() -> None:
    """Print one table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000, help="of the whole road; 0 leaves it out")
    parser.add_argument("--ranked", type=int, default=300_000, help="of the steps for copies alone; 0 leaves them out")
    asked = parser.parse_args()
    print(machine.where())
    for work, size in ((whole_road, asked.documents), (copies_alone, asked.ranked)):
        if not size:
            continue
        peaks = []
        for times in (1, 10):
            with tempfile.TemporaryDirectory() as folder:
                peaks.append(work(folder, times * size))
        print(f"\n{size:,} documents, ten times as many; MB of the largest worker")
        print(f"{'step: function':44} {'1x':>6} {'10x':>6} {'ratio':>6}")
        for name, peak in peaks[1].items():
            print(f"{name:44} {peaks[0][name] / 1e6:6.0f} {peak / 1e6:6.0f} {peak / max(1, peaks[0][name]):6.2f}")


if __name__ == "__main__":
    main()
