"""Clean documents to learn from: the documentation of this Python, a folder, a crawl, public data sets; in three splits, with the books."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from scratchlm.core.artifact import Artifact, Draft, Home, fingerprint_of
from scratchlm.core.config import FREE, Settings, nearest
from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import classifier, decontaminate, eval_sets, mixing, pii, pii_labelled, reading
from scratchlm.corpus.copies import CopyRules
from scratchlm.corpus.copying import every
from scratchlm.corpus.filters import RULES
from scratchlm.corpus.funnel import Funnel, report
from scratchlm.corpus.lines import LineRules
from scratchlm.corpus.mix import MixConfig
from scratchlm.corpus.pii_contacts import REGIONS
from scratchlm.corpus.reading import Place
from scratchlm.corpus.road import Choices, Gathered, Road, gather
from scratchlm.corpus.split import SPLITS
from scratchlm.corpus.substrings import PassageRules
from scratchlm.evals.tasks import fixed_questions
from scratchlm.sources import crawl, datasets, folder, python_docs, record
from scratchlm.sources.crawl_config import CrawlConfig
from scratchlm.sources.file import Reading
from scratchlm.sources.pinned import PINNED
from scratchlm.sources.python_docs import PACKAGES
from scratchlm.units import storage
from scratchlm.units.engine import Engine
from scratchlm.units.unit import Unit

Named = Literal["text", "title", "url", "host", "licence", "lang", "lang_score", "score", "published_at"]
"""What the columns of a table may be named for."""


class Extra(Settings):
    """A source beside ``data``: a folder here or in a store, a crawl, or a public data set. One of the three is given."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,60}$")
    """What its documents are booked under."""
    folder: str | None = None
    crawl: CrawlConfig | None = None
    dataset: str | None = None
    """A row of DATASETS; it is downloaded once."""
    files: int | None = Field(default=None, ge=1)
    """Of a dataset, only so many of its files, the first ones."""
    previous: str | None = None
    """Of a crawl, the folder of an earlier one: its pages are asked for on condition that they have changed, and read as NAME-earlier."""
    columns: dict[Named, str] = Field(default_factory=dict)
    """Of tables in the folder, our column by theirs: {"text": "body", "url": "meta.source"}."""
    licence: str | None = None
    """Of documents that bring none of their own, as an SPDX name."""

    @model_validator(mode="after")
    def _is_one(self) -> "Extra":
        if sum(given is not None for given in (self.folder, self.crawl, self.dataset)) != 1:
            raise ValueError("give one of folder, crawl and dataset")
        if self.columns and "text" not in self.columns:
            raise ValueError("columns: name the one that is the text, too")
        return self


class Quality(Settings):
    """Text like this, not like that: a classifier trained on two folders."""

    like: str
    """Folder of good examples."""
    unlike: str
    """Folder of bad ones."""
    least: float = Field(default=0.5, ge=0.0, le=1.0)
    """Documents below this probability are dropped."""


class Private(Settings):
    """What is done about personal data."""

    kinds: tuple[str, ...] = pii.DEFAULT
    """Rows of KINDS that are looked for."""
    mode: pii.Mode = "placeholder"
    """A word such as <email> in the place of each, or an invented value of the same form."""
    regions: tuple[str, ...] = REGIONS
    """Whose national phone numbers count, by ISO code."""


class Config(Settings):
    """Which text, and what of it is kept."""

    data: str | None = None
    """Folder or URL (s3://bucket/folder) of files of any kind in READERS; None: the documentation of the installed Python."""
    columns: dict[Named, str] = Field(default_factory=dict)
    """Of tables in it, our column by theirs, a dot leads into a nested one: {"text": "body", "title": "meta.name"}; empty: by name."""
    more: tuple[Extra, ...] = ()
    """Sources beside it."""
    packages: tuple[str, ...] = PACKAGES
    """Packages whose docstrings join the embedded documentation; those not installed are counted and left out."""
    pinned: tuple[str, ...] = PINNED
    """Groups (modules, files, hosts) that always train."""
    extraction: Literal["quality", "bulk"] = "quality"
    """Of web pages: the best main text, or eight times the speed."""
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


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Gather, measure, judge, select; the artifact holds the documents, the dropped ones with reasons, every verdict, and a report."""
    for name in config.thresholds:
        if name not in RULES:
            raise UsageError(f"corpus.thresholds: no rule '{name}'.{nearest(name, RULES)}")
    if config.private and (unknown := [kind for kind in config.private.kinds if kind not in pii.KINDS]):
        raise UsageError(f"corpus.private.kinds: no kind '{unknown[0]}'.{nearest(unknown[0], pii.KINDS)}")
    road = Road(config.engine, config.store or str(home.path / "units"), journal)
    units, prints = look(config, road, home.path / "fetched", journal)
    return home.build("corpus", config, {"data": fingerprint_of(prints)}, lambda out: make(config, out, (road, units), journal))


def look(config: Config, road: Road, fetched: Path, journal: Journal) -> tuple[list[Unit], list[Any]]:
    """The units that read every source, and what its contents are known by. Crawls and downloads are done first, into ``fetched``."""
    units: list[Unit] = []
    prints: list[Any] = []
    if config.data is None and not config.more:
        versions = python_docs.versions(config.packages)
        units.append(road.unit("read", "reading:python", [], packages=list(config.packages), versions=versions))
        prints.append(versions)
    places = [replace(reading.place("folder", config.data), columns=config.columns)] if config.data is not None else []
    for place in [*places, *(place for extra in config.more for place in found(extra, fetched / extra.name, journal))]:
        units += reading.plan(road, place, Reading(extraction=config.extraction))
        prints.append([place.source, dict(place.columns), dict(place.facts), reading.digest_of(place)])
    return units, prints


def found(extra: Extra, target: Path, journal: Journal) -> list[Place]:
    """Where the files of a source lie; a crawl and a public data set are first fetched into ``target``."""

    def progress(label: str, done: int, total: int) -> None:
        journal.progress(label, done, total, "pages" if extra.crawl else "bytes")

    facts = {"licence": extra.licence} if extra.licence else {}
    if extra.crawl is not None:
        previous = Path(extra.previous) if extra.previous else None
        pages = crawl.run(extra.crawl, target, previous=previous, progress=progress)
        if not pages:
            raise DataError(f"{extra.name}: the crawl found no page. {target}/crawl.jsonl tells what every address answered.")
        places = [(extra.name, target, pages), *([(f"{extra.name}-earlier", previous, crawl.pages_in(previous))] if previous else [])]
        return [replace(reading.place(name, str(root), [path.name for path in paths]), facts=facts) for name, root, paths in places]
    if extra.dataset is not None:
        paths = datasets.fetch(extra.dataset, target, most_files=extra.files, progress=progress)
        row = datasets.DATASETS[extra.dataset]
        names = [path.relative_to(target).as_posix() for path in paths]
        return [replace(reading.place(extra.name, str(target), names), columns=row.columns, facts=row.facts() | facts)]
    assert extra.folder is not None, "one of the three is given"
    return [replace(reading.place(extra.name, extra.folder), columns=extra.columns, facts=facts)]


def make(config: Config, out: Draft, work: tuple[Road, list[Unit]], journal: Journal) -> None:
    """Do all steps and write the artifact from what they left."""
    road, units = work
    choices = choose(config, out.path.parent)
    gathered = gather(road, units, choices)
    train, plan = every(gathered.selected, "train.parquet"), None
    if config.mix is not None:
        train, plan = mixing.mixed(road, gathered.selected, config.mix, config.seed)
    parts = {"train": train} | {split: every(gathered.selected, f"{split}.parquet") for split in SPLITS[1:]}
    for split, urls in parts.items():
        record.joined(out.path / f"{split}.parquet", map(storage.open_ranges, urls))
    for name, (step, file) in TABLES.items():
        record.joined(out.path / f"{name}.parquet", map(storage.open_ranges, every(getattr(gathered, step), file)))
    facts = tell(config, out, gathered, choices) | ({"mix": plan.model_dump()} if plan else {})
    out.write_json("report.json", facts)
    check(config, facts)
    account(out, facts, gathered, journal)


def choose(config: Config, home: Path) -> Choices:
    """The settings of every step, and what documents are measured with."""
    private = config.private or Private(kinds=())
    beside = {"evals": contaminants(config, home)} | ({"quality": trained(config.quality, home, config.seed)} if config.quality else {})
    least = config.quality.least if config.quality else None
    policy = config.decontamination.model_dump()
    judge = {
        "pinned": sorted(config.pinned), "languages": config.languages, "blocklists": list(config.blocklists), "quality": least,
        "thresholds": config.thresholds, "decontamination": policy,
    }  # fmt: skip
    fractions = {"validation": config.validation, "test": config.test}
    return Choices(
        judge=judge,
        pii=private.kinds,
        pii_mode=private.mode,
        regions=private.regions,
        copies=config.copies,
        lines=config.lines,
        passages=config.passages,
        decontamination=policy,
        split={"fractions": fractions, "pinned": sorted(config.pinned), "seed": config.seed},
        least_words=1,
        least_characters=config.minimum_bytes // 4,  # bytes of a character at most
        where=named(config),
        seed=config.seed,
        beside=beside,
    )


def contaminants(config: Config, home: Path) -> str:
    """The index of all questions that must not be learned from: of our own tasks, where they need no corpus, and of the named files."""
    own = [eval_sets.EvalSet(name, [[text] for text in asked]) for name, asked in fixed_questions(config.seed).items()]
    index = decontaminate.Index.build([*own, *eval_sets.read_all(map(Path, config.evals))])
    return str(index.save(_aside(home, "evals") / "evals.parquet"))


def trained(rules: Quality, home: Path, seed: int) -> str:
    """The weights of a classifier that tells text like the one folder from text like the other."""
    texts = []
    for root in (rules.like, rules.unlike):
        found = [item.text for item in folder.documents(root, lambda label, done, total: None) if isinstance(item, Document)]
        if not found:
            raise DataError(f"{root}: no text in it to learn from. Give a folder of examples.")
        texts.append(found)
    made = classifier.train(*texts, seed=seed, like=Path(rules.like).name, unlike=Path(rules.unlike).name)
    aside = _aside(home, "quality")
    made.save(aside)
    return str(aside / classifier.FILES[0])


def _aside(home: Path, name: str) -> Path:
    path = home / "units" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def tell(config: Config, out: Draft, gathered: Gathered, choices: Choices) -> dict[str, Any]:
    """The funnel of this corpus, and how well personal data is found."""
    tables = {"documents": every(gathered.read, "documents.parquet"), "refused": every(gathered.read, "refused.parquet")}
    tables |= {"attributes": every(gathered.measured, "attributes.parquet"), "verdicts": every(gathered.selected, "verdicts.parquet")}
    funnel = Funnel({name: storage.dataset(urls) for name, urls in tables.items()}, str(out.path / "spill"))
    crowded = Counter({name: sum(int(done.facts[name]) for done in gathered.links) for name in ("crowded_buckets", "pairs_left_out")})
    told = report(funnel, config.thresholds)
    hits = {row["set"]: row for row in told["contamination"]}
    nothing = {"found": 0, "documents": 0}
    known = decontaminate.Index.load(Path(choices.beside["evals"])).coverage()
    coverage = [
        {"set": name, "items": each.items, "findable": each.items - each.nothing} | {key: hits.get(name, nothing)[key] for key in nothing}
        for name, each in known.items()
    ]
    private = pii_labelled.table() if config.private and config.private.kinds else {}
    return told | {"near_copies": dict(crowded), "private": private, "coverage": coverage}


def named(config: Config) -> str:
    """The source's name for a reader."""
    extra = [source.name for source in config.more]
    return ", ".join([*([config.data] if config.data else []), *extra]) or "the documentation of the installed Python"


def check(config: Config, facts: Mapping[str, Any]) -> None:
    """DataError when a split is empty or there is too little to learn from, with what became of the rest."""
    where = named(config)
    reasons = ", ".join(f"{row['first']} × {row['rule']}" for row in facts["rules"][:4])
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
    reasons = {row["rule"]: row["first"] for row in facts["rules"]}
    journal.event("corpus", **books, **counts, reasons=reasons, parts=gathered.costs)


TABLES = {
    "dropped/unread": ("read", "refused.parquet"),
    "dropped/documents": ("selected", "dropped.parquet"),
    "verdicts": ("selected", "verdicts.parquet"),
    "attributes": ("measured", "attributes.parquet"),
}
"""What the artifact keeps beside the text: the step and the file that each table is joined from."""
