"""Clean documents to learn from: the documentation of this Python, or a folder of text, in three splits, with what was dropped and why."""

import time

from pydantic import Field

from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings, nearest
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.corpus.filters import FILTERS
from scratchlm.corpus.prepare import Rules, check_size, prepare
from scratchlm.corpus.report import report
from scratchlm.sources import record
from scratchlm.sources.python_docs import PACKAGES
from scratchlm.sources.tables import SOURCES, fingerprint

PINNED = (
    "builtins", "os", "os.path", "math", "json", "re", "random", "itertools", "functools", "collections", "string", "sys", "time",
    "datetime", "pathlib", "shutil", "operator", "copy", "statistics", "textwrap", "subprocess", "threading", "tempfile", "glob", "csv",
    "heapq", "bisect", "contextlib", "logging", "argparse", "inspect", "types", "typing", "enum", "dataclasses", "decimal", "fractions",
    "hashlib", "base64", "struct", "io", "pickle", "socket", "urllib.parse", "urllib.request", "zipfile", "queue", "asyncio", "abc",
    "warnings", "traceback", "unittest", "platform", "getpass", "locale", "calendar", "fnmatch", "secrets", "uuid", "gc", "weakref",
    "importlib", "signal", "select", "ast", "html", "difflib", "pprint", "array", "cmath", "codecs", "unicodedata", "gzip", "zlib",
)  # fmt: skip
"""Modules that the assistant is taught from, so they are never held out."""


class Config(Settings):
    """Which text, and what of it is kept."""

    data: str | None = None
    """Folder of .txt .md .rst .html .jsonl .parquet (.gz .zst .bz2 too); None: the documentation of the installed Python."""
    packages: tuple[str, ...] = PACKAGES
    """Packages whose docstrings join the embedded documentation; those not installed are counted and left out."""
    pinned: tuple[str, ...] = PINNED
    """Groups (modules, files) that always train."""
    validation: float = Field(default=0.04, ge=0.0, lt=0.5)
    """Share of the characters held out for validation."""
    test: float = Field(default=0.04, ge=0.0, lt=0.5)
    """Share of the characters held out for the final test."""
    near_duplicate: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity of five-word shingles from which a document is a copy."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    """Limits of single filters by their names, in place of the profiles' own."""
    minimum_bytes: int = Field(default=20_000, ge=1)
    """UTF-8 bytes of training text below which nothing can be learned."""
    seed: int = 0


def run(config: Config, home: Home, journal: Journal) -> Artifact:
    """Read, clean, split and deduplicate; the artifact holds the documents, the dropped ones with reasons, and a report."""
    for name in config.thresholds:
        if name not in FILTERS:
            raise UsageError(f"corpus.thresholds: no filter '{name}'.{nearest(name, FILTERS)}")
    digest = fingerprint(config.data, config.packages)
    return home.build("corpus", config, {"data": digest}, lambda out: _make(config, out, journal))


def _make(config: Config, out: Draft, journal: Journal) -> None:
    began = time.perf_counter()

    def progress(label: str, done: int, total: int) -> None:
        journal.progress(label, done, total, "files" if config.data else "packages")

    found = SOURCES["folder" if config.data else "python"](config.data, config.packages, progress)
    fractions = {"validation": config.validation, "test": config.test}
    rules = Rules(
        fractions=fractions,
        pinned=frozenset(config.pinned),
        thresholds=config.thresholds,
        near_duplicate=config.near_duplicate,
        minimum_bytes=config.minimum_bytes,
        where=config.data or "the documentation of the installed Python",
        seed=config.seed,
    )
    prepared = prepare(found, rules, journal)
    facts = report(prepared)
    check_size(prepared.splits["train"], prepared.ledger, rules)
    for split, documents in prepared.splits.items():
        record.write(out.path / f"{split}.parquet", documents)
    for stage, rows in prepared.ledger.by_stage().items():
        record.write_dropped(out.path / "dropped" / f"{stage}.parquet", rows)
    out.write_json("report.json", facts)
    books = facts["conservation"]
    counts = {f"{split}_bytes": facts["splits"][split]["bytes"] for split in prepared.splits}
    out.count(documents=books["documents_kept"], dropped=books["documents_dropped"], sources=len(facts["sources"]), **counts)
    reasons = {rule: row["documents"] for rule, row in facts["dropped"].items()}
    journal.event("corpus", **books, **counts, reasons=reasons, seconds=round(time.perf_counter() - began, 1), parts=prepared.seconds)
