"""Clean documents to learn from: the documentation of this Python, a folder, a crawl, public data sets; in three splits, with the books."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
from pydantic import Field

from scratchlm.core.artifact import Artifact, Draft, Home, fingerprint_of
from scratchlm.core.config import FREE, Settings, nearest
from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.corpus import decontaminate, mixing
from scratchlm.corpus.beside import Beside, Quality
from scratchlm.corpus.copies import CopyRules
from scratchlm.corpus.copying import every
from scratchlm.corpus.funnel import report
from scratchlm.corpus.gathering import Sources
from scratchlm.corpus.lines import LineRules
from scratchlm.corpus.mix import MixConfig
from scratchlm.corpus.road import Choices, Gathered, Road, gather
from scratchlm.corpus.split import SPLITS
from scratchlm.corpus.substrings import PassageRules
from scratchlm.corpus.tables import READ, Tables, within
from scratchlm.evals import intervals
from scratchlm.evals.tasks import fixed_questions
from scratchlm.privacy import pii, pii_labelled
from scratchlm.privacy.pii_contacts import REGIONS
from scratchlm.rules import filters, language
from scratchlm.sources import record
from scratchlm.sources.pinned import PINNED
from scratchlm.units import storage
from scratchlm.units.engine import Engine
from scratchlm.units.unit import Done, Unit


class Private(Settings):
    """What is done about personal data."""

    kinds: tuple[str, ...] = pii.DEFAULT
    """Rows of KINDS that are looked for."""
    mode: pii.Mode = "placeholder"
    """A word such as <email> in the place of each, or an invented value of the same form."""
    regions: tuple[str, ...] = REGIONS
    """Whose national phone numbers count, by ISO code."""


class Config(Sources):
    """Which text, and what of it is kept."""

    pinned: tuple[str, ...] = PINNED
    """Groups (modules, files, hosts) that always train."""
    languages: tuple[str, ...] | None = None
    """ISO codes of languages to keep; None: all."""
    blocklists: tuple[str, ...] = ()
    """Files of hosts, paths and words that no address may have."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    """Limits of single rules by their names, in place of the profiles' own."""
    quality: Quality | None = None
    copies: CopyRules = CopyRules()
    lines: LineRules | None = LineRules()
    """Boilerplate lines of a host; None keeps them."""
    passages: PassageRules | None = None
    """Repeated passages; None keeps them."""
    private: Private | None = Private()
    """Personal data; None leaves it."""
    evals: tuple[str, ...] = ()
    """Files or folders of questions (JSON lines) that must not be learned from, beside those of our own tasks."""
    decontamination: decontaminate.Policy = decontaminate.Policy()
    mix: MixConfig | None = None
    """Weights of sources and the global order; None: every document once, in the order in which it was found."""
    validation: float = Field(default=0.04, ge=0.0, lt=0.5)
    """Share of the characters held out for validation."""
    test: float = Field(default=0.04, ge=0.0, lt=0.5)
    """Share of the characters held out for the final test."""
    minimum_bytes: int = Field(default=20_000, ge=1)
    """UTF-8 bytes of training text below which nothing can be learned."""
    engine: Engine = Field(default=Engine(), json_schema_extra=FREE)
    """Who does the work; no choice here changes a byte of the result."""
    store: str | None = Field(default=None, json_schema_extra=FREE)
    """Folder or URL for what the engine makes on the way; None: ``units`` in the run's folder."""
    seed: int = 0
    """The recipe's, unless it is set by itself."""


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Gather, measure, judge, select; the artifact holds the documents, the dropped ones with reasons, every verdict, and a report."""
    filters.checked(config.thresholds)
    for code in config.languages or ():
        language.checked(code)
    if config.private and (unknown := [kind for kind in config.private.kinds if kind not in pii.KINDS]):
        raise UsageError(f"corpus.private.kinds: no kind '{unknown[0]}'.{nearest(unknown[0], pii.KINDS)}")
    if config.mix and (names := config.names) and (unknown := sorted(set(config.mix.sources) - set(names))):
        raise UsageError(f"corpus.mix.sources: no source '{unknown[0]}'.{nearest(unknown[0], names)}")
    road = Road(config.engine, config.store or str(home.path / "units"), journal)
    beside = Beside(fixed_questions(), config.evals, config.quality, config.seed)
    units, prints = config.look(road, home.path / "fetched", journal)
    inputs = {
        "data": fingerprint_of(prints),
        "beside": fingerprint_of([beside.prints(), [storage.digest(path) for path in config.blocklists]]),
    }

    def build(out: Draft) -> None:
        make(config, out, (road, units, choose(config, beside.make(road))), journal)

    return home.build("corpus", config, inputs, build)


def make(config: Config, out: Draft, work: tuple[Road, list[Unit], Choices], journal: Journal) -> None:
    """Do all steps and write the artifact from what they left."""
    road, units, choices = work
    journal.event("engine", note=config.engine.told)
    gathered = gather(road, units, choices)
    train, plan = every(gathered.selected, "train.parquet"), None
    if config.mix is not None:
        train, selected, plan = mixing.mixed(road, gathered.selected, config.mix, config.seed)
        gathered = replace(gathered, selected=selected)
    parts = {"train": train} | {split: every(gathered.selected, f"{split}.parquet") for split in SPLITS[1:]}
    for split, urls in parts.items():
        record.joined(out.path / f"{split}.parquet", map(storage.open_ranges, urls))
    for name, (step, file) in TABLES.items():
        record.joined(out.path / f"{name}.parquet", map(storage.open_ranges, every(getattr(gathered, step), file)))
    facts = tell(config, out, gathered, choices) | ({"mix": plan.model_dump()} if plan else {})
    out.write_json("report.json", facts)
    check(config, facts)
    account(out, facts, gathered, journal)


def choose(config: Config, beside: Mapping[str, str]) -> Choices:
    """The settings of every step; ``beside`` has the addresses of what documents are measured with."""
    private = config.private or Private(kinds=())
    least = config.quality.least if config.quality else None
    policy = config.decontamination.model_dump()
    judge = {
        "pinned": sorted(config.pinned), "languages": config.languages, "quality": least, "thresholds": config.thresholds,
        "decontamination": policy,
    }  # fmt: skip
    fractions = {"validation": config.validation, "test": config.test}
    return Choices(
        judge=judge,
        blocklists=config.blocklists,
        pii=private.kinds,
        pii_mode=private.mode,
        regions=private.regions,
        copies=config.copies,
        lines=config.lines,
        passages=config.passages,
        decontamination=policy,
        split={"fractions": fractions, "pinned": sorted(config.pinned), "seed": config.seed},
        least_words=1,
        least_bytes=config.minimum_bytes,
        where=config.where,
        seed=config.seed,
        beside=beside,
    )


def tell(config: Config, out: Draft, gathered: Gathered, choices: Choices) -> dict[str, Any]:
    """The funnel of this corpus, and how well personal data is found."""
    urls = {"documents": every(gathered.read, "documents.parquet"), "refused": every(gathered.read, "refused.parquet")}
    urls |= {"attributes": every(gathered.measured, "attributes.parquet"), "verdicts": every(gathered.selected, "verdicts.parquet")}
    out.write_text(READ, "".join(json.dumps({"documents": within(url, out.path.parent)}) + "\n" for url in urls["documents"]))
    written = {split: pq.read_metadata(out.path / f"{split}.parquet").num_rows for split in SPLITS}
    least = config.quality.least if config.quality else None
    with TemporaryDirectory(dir=out.path) as spill, Tables({name: storage.dataset(own) for name, own in urls.items()}, spill) as tables:
        told = report(tables, written, config.thresholds, least)
    crowded = {name: total(gathered.links, name) for name in ("crowded_buckets", "pairs_left_out")}
    passages = {name: total(gathered.passages, name) for name in ("crowded", "apart", "blocks_in_the_way")} if gathered.passages else {}
    hits = {row["set"]: row for row in told["contamination"]}
    nothing = {"found": 0, "documents": 0, "removed": 0, "gone": 0, "cut": 0}
    with storage.here(choices.beside["evals"]) as evals:
        known = decontaminate.Index.load(evals).coverage()
    coverage = [
        {"set": name, "items": each.items, "findable": each.items - each.nothing} | {key: hits.get(name, nothing)[key] for key in nothing}
        for name, each in known.items()
    ]
    private = {kind: certain(row) for kind, row in pii_labelled.table().items()} if config.private and config.private.kinds else {}
    edges = {"mended": total(gathered.read, "mended"), "sampled": total(gathered.measured, "sampled")}
    return told | edges | {"near_copies": crowded, "passages": passages, "private": private, "coverage": coverage}


def total(units: Sequence[Done], name: str) -> int:
    """A count of all units that have it."""
    return sum(int(done.facts.get(name, 0)) for done in units)


def certain(row: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` with Wilson's 95 % interval of both shares, on the number of sentences that each is worth."""
    sure = {name: intervals.proportion([row[name]] * row[f"{name}_sentences"]) for name in ("precision", "recall")}
    return {**row, **{f"{name}_interval": (each.low, each.high) for name, each in sure.items()}}


def check(config: Config, facts: Mapping[str, Any]) -> None:
    """DataError when a split is empty or there is too little to learn from, with what became of the rest."""
    where = config.where
    reasons = ", ".join(f"{row['first']} × {row['rule']}" for row in facts["rules"][:4] if row["first"])
    dropped = f" (dropped: {reasons})" if reasons else ""
    found = {row["split"]: row for row in facts["splits"]}
    size = found.get("train", {}).get("bytes", 0)
    if size < config.minimum_bytes:
        raise DataError(
            f"{where}: {size:,} bytes of usable text{dropped}, and {config.minimum_bytes:,} are needed. "
            "Add text, or lower corpus.minimum_bytes with --set."
        )
    if empty := [split for split in SPLITS if split not in found]:
        raise DataError(f"{where}: nothing is left for {' and '.join(empty)}{dropped}. Add text.")


def account(out: Draft, facts: Mapping[str, Any], gathered: Gathered, journal: Journal) -> None:
    """What the manifest and the journal keep of it; times and memory stand in the journal only."""
    books = facts["conservation"]
    counts = {f"{row['split']}_bytes": row["bytes"] for row in facts["splits"]}
    sources = len({row["source"] for row in facts["sources"]})
    out.count(documents=books["documents_kept"], dropped=books["documents_dropped"], sources=sources, **counts)
    reasons = {row["rule"]: row["first"] for row in facts["rules"] if row["first"]}
    journal.event("corpus", **books, **counts, reasons=reasons, parts=gathered.costs)
    if said := lost(facts):
        journal.event("dropped", note=said)


def lost(facts: Mapping[str, Any], most: int = 6) -> str:
    """What was dropped, the commonest reasons first, in one line; for files that are not what they seem with an example."""
    rows = sorted((row for row in facts["rules"] if row["first"]), key=lambda row: -row["first"])
    said = ", ".join(f"{row['first']:,} × {row['rule'].replace('_', ' ')}" for row in rows[:most])
    rest = sum(row["first"] for row in rows[most:])
    example = next((f"; such as {row['locator']}: {row['reason']}" for row in facts["dropped"].get("read: unreadable", [])), "")
    return said + (f" and {rest:,} more" if rest else "") + example


TABLES = {
    "dropped/unread": ("read", "refused.parquet"),
    "dropped/documents": ("selected", "dropped.parquet"),
    "verdicts": ("selected", "verdicts.parquet"),
    "attributes": ("measured", "attributes.parquet"),
}
"""What the artifact keeps beside the text: the step and the file that each table is joined from."""
