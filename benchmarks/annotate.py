"""How many pages a second does one core take from a WARC file to everything that is known of them, and how many signatures does it make?

    python -m benchmarks.annotate [--gold DIR] [--warc FILE] [--datatrove PYTHON] [--pages N] [--rounds 5]

The pages of DIR (``benchmarks/extraction.py`` says how they lie there) are written into a WARC file, FILE's records behind them. Each chain
reads it in a process of its own, one after the other in every round, and tells the processor time of its steps: texts (records and
extraction), language, all rules on every page, hashes (of the whole text, and a signature). The ratio is that of each round; the one in
the middle is printed with the smallest and the largest. F1 of the extraction is that of the same run, on the pages of DIR.

In datatrove's favour: its model of languages must be downloaded, so its chain goes without; its extraction runs without the process that
guards it; of its signatures what `get_signature` takes is told by itself. PYTHON's environment: ``pip install datatrove==0.10.1
"trafilatura<1.12" "xxhash<4" tokenizers spacy nltk regex tldextract warcio python-magic faust-cchardet lxml_html_clean``.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import extraction, machine
from scratchlm.core.records import Document
from scratchlm.corpus import copies, minhash
from scratchlm.rules import clean, filters, language
from scratchlm.sources import warc
from scratchlm.sources.file import Input, Reading
from scratchlm.web import warc_writer

HOST = "http://gold.invalid/"
"""Before the name of a page, as its address."""
STEPS: tuple[str, ...] = ("texts", "language", "rules", "hashes")
BATCH = 64
"""Documents that are signed together."""
OURS = ("quality", "bulk")
DATATROVE = """
import importlib.metadata, json, sys, tempfile, time
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import WarcReader
from datatrove.utils.hashing import HashConfig, create_hash_func
from pathlib import Path
warc, most, out = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
extractor = Trafilatura(favour_precision=True)
rules = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()]
config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
signer = MinhashDedupSignature(tempfile.mkdtemp(), config)
whole = create_hash_func(config.hash_config)
spent = dict.fromkeys(("texts", "rules", "hashes", "get_signature"), 0.0)
def take(step, work):
    begun = time.process_time()
    done = work()
    spent[step] += time.process_time() - begun
    return done
def extract(page):
    try:
        return extractor.extract(page) or ""
    except Exception:  # as its own loop does: the page is passed over
        return ""
def chain(pages, most):
    found, count = {}, 0
    pages = iter(pages)
    while count < most and (page := take("texts", lambda: next(pages, None))) is not None:
        count += 1
        text = take("texts", lambda: extract(page.text))
        found[page.metadata.get("url") or str(count)] = text
        if not text:
            continue
        take("rules", lambda: [rule.filter(Document(text=text, id="0")) for rule in rules])
        take("hashes", lambda: whole(text))
        shingles = take("hashes", lambda: signer.get_shingles(text))
        if len(shingles):
            begun = spent["hashes"]
            take("hashes", lambda: signer.get_signature(shingles))
            spent["get_signature"] += spent["hashes"] - begun
    return count, found
def read():
    return WarcReader(str(warc.parent), glob_pattern=warc.name).run()
chain(read(), 2)  # libraries and tokenizers are loaded before any clock runs
spent.update(dict.fromkeys(spent, 0.0))
count, found = chain(read(), most)
json.dump(found, open(out, "w", encoding="utf-8", errors="replace"))
print(json.dumps({"pages": count, "texts": sum(map(bool, found.values())), "spent": spent,
                  "versions": {name: importlib.metadata.version(name) for name in ("datatrove", "trafilatura")}}))
"""

Told = Mapping[str, Any]


def write(gold: Path, more: Path | None, target: Path, most: int) -> None:
    """The first pages of a folder as a WARC file, with the records of another one behind them."""
    names = sorted(json.loads((gold / "ground-truth.json").read_text(encoding="utf-8")))[:most]
    fields = {"Content-Type": "application/http; msgtype=response", "WARC-Identified-Payload-Type": "text/html"}
    at = datetime(2024, 1, 1, tzinfo=UTC)
    with warc_writer.WarcFile(target, {"format": "WARC File Format 1.1"}, at) as file:
        for name in names:
            page = gzip.decompress((gold / "html" / f"{name}.html.gz").read_bytes())
            head = warc_writer.http_head("HTTP/1.1", 200, b"OK", [(b"Content-Type", b"text/html")], len(page))
            file.write(warc_writer.Record("response", f"{HOST}{name}", at, head + page, page, fields))
    if more:
        with target.open("ab") as file:
            file.write(more.read_bytes())


def ours(file: Path, mode: str, most: int, out: Path) -> Told:
    """Our chain over a WARC file: pages, processor time of each step; the texts go into ``out``."""
    spent, found = dict.fromkeys(STEPS, 0.0), dict[str, str]()
    _chain(file, mode, 2, dict(spent), {})  # libraries and tables are loaded before any clock runs
    count = _chain(file, mode, most, spent, found)
    out.write_text(json.dumps(found), encoding="utf-8", errors="replace")
    return {"pages": count, "texts": sum(map(bool, found.values())), "spent": spent}


def _chain(file: Path, mode: str, most: int, spent: dict[str, float], found: dict[str, str]) -> int:
    @contextmanager
    def clock(step: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        spent[step] += time.process_time() - begun

    source = Input(file.name, partial(file.open, "rb"), file.stat().st_size)
    items = islice(warc.read(source, Reading(extraction="bulk" if mode == "bulk" else "quality")), most)
    count, batch = 0, list[Document]()

    def sign() -> None:
        with clock("hashes"):
            substances = [minhash.substance(document.text) for document in batch]
            for substance in substances:
                copies.text_key(substance)
            minhash.sign(substances)
        batch.clear()

    while True:
        with clock("texts"):
            item = next(items, None)
            document = clean.normalise_document(item) if isinstance(item, Document) else None
        if item is None:
            break
        count += 1
        if document is None:
            continue
        found[str(document.facts.get("url") or count)] = document.text
        with clock("language"):
            lang, sure = language.identify(document.text)
        with clock("rules"):
            filters.values(replace(document, facts={**document.facts, "lang_score": sure}), lang)
        batch.append(document)
        if len(batch) == BATCH:
            sign()
    sign()
    return count


def run(command: Sequence[str | Path]) -> Told:
    """What a chain prints at its end, run by itself on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{command[0]}: the chain failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def f1(texts: Mapping[str, str], gold: Path, most: int) -> float:
    """Of what was extracted, against what people marked."""
    return extraction.score(islice(extraction.gold_pages(gold), most), lambda page: texts.get(HOST + page.name, "")).f1


def compare(asked: argparse.Namespace) -> None:
    """Run the chains in turn and print their rates, their ratios and where the time went."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.warc.gz"
        write(asked.gold, asked.warc, file, asked.pages)
        most, told = str(10**9), dict[str, list[Told]]()
        chains: dict[str, list[str | Path]] = {
            f"scratchlm, {mode}": [
                sys.executable,
                "-m",
                "benchmarks.annotate",
                "--chain",
                mode,
                "--out",
                f"{folder}/{mode}",
                "--warc",
                file,
            ]
            for mode in OURS
        }
        if asked.datatrove:
            chains["datatrove"] = [asked.datatrove, "-c", DATATROVE, file, most, f"{folder}/datatrove"]
        for _ in range(asked.rounds):
            for name, command in chains.items():
                told.setdefault(name, []).append(run(command))
        scores = {name: f1(json.loads((Path(folder) / name.split()[-1]).read_text("utf-8")), asked.gold, asked.pages) for name in chains}
    show(told, scores)


def show(told: Mapping[str, Sequence[Told]], scores: Mapping[str, float]) -> None:
    """The tables."""
    total = {name: [sum(each["spent"].get(step, 0.0) for step in STEPS) for each in rounds] for name, rounds in told.items()}
    if "datatrove" in told:
        print("datatrove's environment:", ", ".join(f"{name} {version}" for name, version in told["datatrove"][0]["versions"].items()))
    print(f"{'chain':20} {'pages':>6} {'texts':>6} {'F1':>7} {'pages/s':>8}   ms a page: {' '.join(f'{step:>9}' for step in STEPS)}")
    for name, rounds in told.items():
        pages, texts = rounds[0]["pages"], rounds[0]["texts"]
        parts = [1000 * median(each["spent"].get(step, 0.0) for each in rounds) / pages for step in STEPS]
        shown = " ".join(f"{part:9.2f}" for part in parts)
        print(f"{name:20} {pages:6} {texts:6} {scores[name]:7.4f} {pages / median(total[name]):8.1f}              {shown}")
    if "datatrove" not in told:
        return
    theirs = told["datatrove"]
    for name in told.keys() - {"datatrove"}:
        rounds = told[name]
        chain = [
            (mine["pages"] / own) / (other["pages"] / their)
            for mine, own, other, their in zip(rounds, total[name], theirs, total["datatrove"], strict=True)
        ]
        print(f"{name} / datatrove, the whole chain: {_spread(chain)}")
        for step, about in (("hashes", "all of its hashes"), ("get_signature", "its get_signature alone")):
            ratio = [
                (mine["texts"] / mine["spent"]["hashes"]) / (other["texts"] / other["spent"][step])
                for mine, other in zip(rounds, theirs, strict=True)
            ]
            print(f"{name} / datatrove, texts hashed and signed a second, against {about}: {_spread(ratio)}")


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)"


def main() -> None:
    """Compare the chains, or be one of them."""
    data = Path(__file__).parent.parent.parent / "shared/data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path, default=data / "html_gold")
    parser.add_argument("--warc", type=Path, default=data / "warc/warcfile.warc.gz")
    parser.add_argument("--datatrove", type=Path, help="an interpreter whose environment has datatrove, trafilatura and warcio")
    parser.add_argument("--pages", type=int, default=10**9, help="of DIR at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chain", choices=OURS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.chain:
        print(json.dumps(ours(asked.warc, asked.chain, 10**9, asked.out)))
        return
    print(f"{machine.where()}: pages of {asked.gold} and {asked.warc}")
    compare(asked)


if __name__ == "__main__":
    main()
