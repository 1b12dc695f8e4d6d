"""The embedded corpus: what the Python on this machine says of itself, so that a fresh machine without a network has real text.

Docstrings are read from source; members written in C, and public names, come from a subprocess (``members.py``); the language
reference is ``pydoc_data.topics``. The same versions give the same documents: no text holds a path or an address of this machine.
"""

import importlib.metadata
import importlib.util
import inspect
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from scratchlm.core.errors import DataError
from scratchlm.core.records import Document
from scratchlm.sources import members, pieces, python_source, record
from scratchlm.sources.found import EXCERPT, Dropped
from scratchlm.sources.markup import plain_roles
from scratchlm.sources.python_source import Entry

PACKAGES = (
    "numpy", "matplotlib", "pydantic", "pydantic_core", "typer", "click", "rich", "jinja2", "pygments", "packaging", "filelock", "fsspec",
    "werkzeug", "markdown", "pyparsing", "dateutil", "fastapi", "starlette", "uvicorn", "anyio",
)  # fmt: skip
"""Core dependencies and what they bring everywhere; never torch, sympy or networkx, whose presence and size differ between machines."""

IMPORTED = ("numpy", "numpy.linalg", "numpy.fft", "numpy.random")
"""Modules of PACKAGES whose members in C are documented well enough to import them."""

LONG_TOPIC = 12_000
LONGEST_IMPORT_S = 300
PackageFacts = dict[str, str | None]
CREDITS = re.compile(r"^[ \t]*:(?:copyright|license|licence|author):.*\n?", re.MULTILINE)


def documents(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> Iterator[Document | Dropped]:
    """Every documented object of the standard library and of ``packages``; public names first, then what only the source shows."""
    facts = _facts_of(packages)
    present = [package for package in packages if facts[package]["version"]]
    with _Members([module for module in IMPORTED if module.split(".")[0] in present]) as subprocess_:
        from_source, used = python_source.read(present, progress)
        public = subprocess_.entries()
    entries = sorted((entry for entry in public if isinstance(entry, Entry)), key=_rank)
    seen = {_key(entry) for entry in entries}
    entries += [entry for entry in from_source if _key(entry) not in seen]
    yield from (item for item in public if isinstance(item, Dropped))
    yield from (_refusal(package, "not installed", "it is not part of this installation") for package in packages if package not in present)
    yield from _once_each(entries, used, facts)
    yield from _topics(facts["python"])


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """What decides the embedded corpus: Python's version and system, and each package's version (None where it is absent)."""
    return {"system": platform.system()} | {package: facts["version"] for package, facts in _facts_of(packages).items()}


class _Members:
    """The subprocess that imports; it works while this process reads source."""

    def __init__(self, more: Sequence[str]) -> None:
        self._more = more
        self._folder = tempfile.TemporaryDirectory()
        self._output, self._errors = Path(self._folder.name, "out"), Path(self._folder.name, "errors")

    def __enter__(self) -> "_Members":
        command = [sys.executable, "-I", "-B", "-W", "ignore", str(Path(members.__file__).resolve()), *self._more]
        with self._output.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, cwd=self._folder.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def entries(self) -> list[Entry | Dropped]:
        """What it found, once it is done; DataError when it failed or hangs."""
        try:
            code = self._process.wait(timeout=LONGEST_IMPORT_S)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            last = (self._errors.read_text("utf-8", "replace").strip().splitlines() or ["it took too long"])[-1]
            raise DataError(f"corpus: the standard library could not be read in a subprocess ({last}). Give a folder of text with --data.")
        return _public_entries(self._output.read_text("utf-8").splitlines(), self._more)


def _public_entries(lines: Sequence[str], more: Sequence[str]) -> list[Entry | Dropped]:
    """One entry for each thing, under the name that a user types."""
    found: dict[tuple[str, str, str], Entry | Dropped] = {}
    for line in lines:
        row = json.loads(line)
        if "failed" in row:
            found["", "", row["failed"]] = _refusal(row["failed"], "cannot be imported", "this Python lacks what it needs")
            continue
        package = row["module"].split(".")[0] if row["module"] in more else "python"
        entry = Entry(row["module"], row["name"], row["kind"], row["signature"], row["text"], package)
        key = (row["origin"], entry.package, entry.text)
        other = found.get(key)
        if not isinstance(other, Entry) or _commonness(entry) < _commonness(other):
            found[key] = entry
    return list(found.values())


def _commonness(entry: Entry) -> tuple[int, int, str]:
    """Of two names for one thing, a user types the shorter path."""
    return (entry.name.count("."), len(entry.name), entry.name)


def _rank(entry: Entry) -> tuple[bool, bool, int, str]:
    """Of two entries that say the same, the earlier is kept: what needs no import, then functions before methods."""
    return (entry.package != "python", entry.module != "builtins", entry.name.count("."), entry.name)


def _key(entry: Entry) -> tuple[str, str, str]:
    """The same for one thing found twice: top-level package, last name and text."""
    top = entry.module.split(".")[0].strip("_") if entry.module not in sys.builtin_module_names else entry.module
    return (top, entry.name.rpartition(".")[2], " ".join(entry.text.split()))


def _once_each(entries: Sequence[Entry], used: Counter[str], facts: Mapping[str, PackageFacts]) -> Iterator[Document | Dropped]:
    """One document per name; the plain Python twin of a C function, or a branch for another system, is the second to describe it."""
    times: Counter[str] = Counter()
    for entry in entries:
        times[entry.name] += 1
        if times[entry.name] == 1:
            yield _document(entry, used, facts[entry.package])
        else:
            name = f"{entry.name}#{times[entry.name]}"
            yield _refusal(name, "described already", "another entry has this name", entry.text)


def heading_and_body(entry: Entry) -> tuple[str, str]:
    """The signature and the text below it; docstrings of C functions often begin with what belongs into the heading."""
    body = CREDITS.sub("", plain_roles(inspect.cleandoc(entry.text))).strip()
    last = re.escape(entry.name.rpartition(".")[2])
    body = re.sub(rf"\A({last}\([^\n'\"]*\))[ \t]*-{{1,2}}>[ \t]*([A-Z][^\n]*\.)\n", r"\1\n\n\2\n", body)  # zip(...) --> Yield tuples ...
    own = re.match(rf"(?:(?:\w+\.)*{last}\([^\n'\"]*\)(?:[ \t]*->[^\n]{{1,60}})?[ \t]*(?:\n|$))+(?:[ \t]*\n)*(?=\S)", body)
    if own is None:
        return entry.signature, body
    first = re.match(rf"(?:\w+\.)*{last}([^\n]*)", body)
    return entry.signature or (first.group(1).rstrip() if first else ""), body[own.end() :]


def _document(entry: Entry, used: Counter[str], package: PackageFacts) -> Document:
    locator = f"python:{entry.name}"
    prefix = {"class": "class ", "module": "module "}.get(entry.kind, "")
    signature, body = heading_and_body(entry)
    source = "python" if entry.package == "python" else "python-packages"
    extra = {"package": entry.package, "version": package["version"], "kind": entry.kind}
    facts = {
        "locator": locator,
        "host": entry.module,
        "title": entry.name,
        "lang": "en",
        "licence": package["licence"],
        "licence_evidence": package["evidence"],
        "doc_type": "reference",
        "extractor": "docstring",
        "score": float(used[entry.name]) if entry.package == "python" else 0.0,
        "extra": json.dumps(extra),
    }
    return Document(text=f"{prefix}{entry.name}{signature}\n\n{body}", id=record.identify(source, locator), source=source, facts=facts)


def _topics(package: PackageFacts) -> Iterator[Document]:
    """The language reference as ``help()`` shows it; a long chapter is several documents of one group."""
    from pydoc_data import topics

    extra = {"package": "python", "version": package["version"], "kind": "topic"}
    for name, text in sorted(topics.topics.items()):
        whole = plain_roles(text.strip())
        parts = pieces.split(whole) if len(whole) > LONG_TOPIC else [pieces.Piece(whole, "")]
        for number, part in enumerate(parts):
            locator = f"python:topics.{name}" + (f"#{number}" if len(parts) > 1 else "")
            facts = {
                "locator": locator,
                "host": f"topics.{name}",
                "title": name,
                "lang": "en",
                "licence": package["licence"],
                "licence_evidence": package["evidence"],
                "doc_type": "topic",
                "extractor": "pydoc_data",
                "score": 0.0,
                "extra": json.dumps(extra | {"part": number, "parts": len(parts)}),
            }
            yield Document(text=part.text, id=record.identify("python", locator), source="python", facts=facts)


def _facts_of(packages: Sequence[str]) -> dict[str, PackageFacts]:
    """Version and licence of Python and of each package; all None for a package that is absent."""
    facts: dict[str, PackageFacts] = {
        "python": {"version": platform.python_version(), "licence": "PSF-2.0", "evidence": "the licence of Python"}
    }
    distributions = importlib.metadata.packages_distributions()
    for package in packages:
        names = distributions.get(package)
        if not names or importlib.util.find_spec(package) is None:
            facts[package] = {"version": None, "licence": None, "evidence": None}
            continue
        about = importlib.metadata.metadata(names[0])
        classified = (c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License ::"))
        licence = next(iter(about.get_all("License-Expression") or []), None) or next(classified, "unknown")
        facts[package] = {"version": about["Version"], "licence": licence, "evidence": f"metadata of {names[0]}"}
    return facts


def _refusal(name: str, rule: str, reason: str, text: str = "") -> Dropped:
    locator = f"python:{name}#{rule}"
    return Dropped(
        record.identify("python", locator), locator, "python", "read", rule, reason, characters=len(text), excerpt=text[:EXCERPT]
    )
