"""The embedded corpus: what the Python on this machine says of itself, so that a fresh machine without a network has real text.

Docstrings are read from source; members written in C, and public names, come from a subprocess (``members.py``); the language
reference is ``pydoc_data.topics``. The same versions give the same documents: no text holds a path or an address of this machine.
"""

import ast
import importlib.metadata
import importlib.util
import inspect
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlm.core.errors import DataError
from scratchlm.core.records import Document
from scratchlm.corpus import members, pieces, record, usage
from scratchlm.corpus.ledger import EXCERPT, Dropped

PACKAGES = (
    "numpy", "matplotlib", "pydantic", "pydantic_core", "typer", "click", "rich", "jinja2", "pygments", "packaging", "filelock", "fsspec",
    "werkzeug", "markdown", "pyparsing", "dateutil", "fastapi", "starlette", "uvicorn", "anyio",
)  # fmt: skip
"""Core dependencies and what they bring everywhere; never torch, sympy or networkx, whose presence and size differ between machines."""

IMPORTED = ("numpy", "numpy.linalg", "numpy.fft", "numpy.random")
"""Modules of PACKAGES whose members in C are documented well enough to import them."""

SKIPPED_FOLDERS = {"site-packages", "test", "tests", "testing", "_vendor", "vendored", "__pycache__", "lib-dynload"}
PUBLIC_NAMES = {
    "posixpath": "os.path", "genericpath": "os.path", "_collections_abc": "collections.abc", "_pydecimal": "decimal", "_pyio": "io",
    "_pydatetime": "datetime", "_weakrefset": "weakref", "_strptime": "time", "_py_abc": "abc",
}  # fmt: skip
"""Where the standard library documents under one name what is used under another."""

ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`(?:[^`<]*<)?[~!]?([^`>]+)>?`")
LONG_TOPIC = 12_000
LONGEST_IMPORT_S = 300
PackageFacts = dict[str, str | None]
LARGEST_DEFAULT = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is documented."""

    module: str
    name: str
    """As a user types it."""
    kind: str
    signature: str
    text: str
    package: str
    """Distribution folder, or "python" for the standard library."""


def documents(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> Iterator[Document | Dropped]:
    """Every documented object of the standard library and of ``packages``; public names first, then what only the source shows."""
    facts = _facts_of(packages)
    present = [package for package in packages if facts[package]["version"]]
    with _Members([module for module in IMPORTED if module.split(".")[0] in present]) as subprocess_:
        from_source, used = _read_source(present, progress)
        public = subprocess_.entries()
    entries = sorted((entry for entry in public if isinstance(entry, Entry)), key=lambda entry: (entry.package != "python", entry.name))
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


def _read_source(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> tuple[list[Entry], Counter[str]]:
    """The entries in the source of the standard library and ``packages``, and how often the former uses each name."""
    entries: list[Entry] = []
    count: Counter[str] = Counter()
    for package, path, root in _files(packages, progress):
        tree = _parsed(path)
        if tree is None:
            continue
        module = _module_name(path, root)
        if package == "python":
            for name, number in usage.uses(tree, module, is_package=path.name == "__init__.py").items():
                count[_public(name)] += number
        entries += _from_source(tree, module, package)
    return entries, count


def _public_entries(lines: Sequence[str], more: Sequence[str]) -> list[Entry | Dropped]:
    """One entry for each thing, under the name that a user types."""
    found: dict[tuple[str, str, str], Entry | Dropped] = {}
    for line in lines:
        row = json.loads(line)
        if "failed" in row:
            found["", "", row["failed"]] = _refusal(row["failed"], "cannot be imported", "this Python lacks what the module needs")
            continue
        package = row["module"].split(".")[0] if row["module"] in more else "python"
        entry = Entry(row["module"], row["name"], row["kind"], row["signature"], row["text"], package)
        other = found.get(_key(entry))
        if not isinstance(other, Entry) or _commonness(entry) < _commonness(other):
            found[_key(entry)] = entry
    return list(found.values())


def _commonness(entry: Entry) -> tuple[int, int, str]:
    """Of two names for one thing, a user types the shorter path."""
    return (entry.name.count("."), len(entry.name), entry.name)


def _key(entry: Entry) -> tuple[str, str, str]:
    """The same for one thing found twice: top-level package, last name and text."""
    top = entry.module.split(".")[0].strip("_") if entry.module not in sys.builtin_module_names else entry.module
    return (top, entry.name.rpartition(".")[2], " ".join(entry.text.split()))


def _files(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> Iterator[tuple[str, Path, Path]]:
    """Package, file and the folder that module names count from, sorted."""
    roots = [("python", Path(sysconfig.get_paths()["stdlib"]))]
    for package in packages:
        spec = importlib.util.find_spec(package)
        roots += [(package, Path(folder)) for folder in (spec.submodule_search_locations or [])[:1]] if spec else []
    for done, (package, root) in enumerate(roots):
        progress("documentation", done, len(roots))
        base = root if package == "python" else root.parent
        for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
            parts = path.relative_to(root).parts
            if not SKIPPED_FOLDERS & set(parts) and not (package == "python" and parts[0].removesuffix(".py") in _NOT_LIBRARY):
                yield package, path, base


_NOT_LIBRARY = {"antigravity", "this", "idlelib", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "ntpath", "__phello__", "__hello__"}


def _parsed(path: Path) -> ast.Module | None:
    """The tree of a file; None for the few templates and files of another Python that do not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return None


def _module_name(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _public(name: str) -> str:
    """``os.path.join`` for ``posixpath.join``."""
    top, dot, rest = name.partition(".")
    return PUBLIC_NAMES.get(top, top) + dot + rest


def _from_source(tree: ast.Module, module: str, package: str) -> Iterator[Entry]:
    """The docstrings of a module, its functions, its classes and their members; what a function defines inside itself is left out."""
    shown = _public(module)
    todo: list[tuple[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str, str]] = [(tree, "", "module")]
    while todo:
        node, inner, kind = todo.pop(0)
        if text := ast.get_docstring(node):
            signature = "" if isinstance(node, ast.Module | ast.ClassDef) or kind == "attribute" else _signature(node.args)
            name = f"{shown}.{inner}" if inner else shown
            yield Entry(shown, name, kind, signature, text, package)
        for child in [] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.body:
            if isinstance(child, ast.ClassDef):
                todo.append((child, f"{inner}.{child.name}".lstrip("."), "class"))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                is_value = any(isinstance(d, ast.Name) and d.id in ("property", "cached_property") for d in child.decorator_list)
                below = "attribute" if is_value else "method" if inner else "function"
                todo.append((child, f"{inner}.{child.name}".lstrip("."), below))


def _signature(arguments: ast.arguments) -> str:
    """``(path, *paths)``: no types, and no default too long to read."""
    positional = arguments.posonlyargs or arguments.args
    if positional and positional[0].arg in ("self", "cls"):
        positional.pop(0)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    shorten = [d if d is None or len(ast.unparse(d)) <= LARGEST_DEFAULT else ast.Constant(...) for d in arguments.kw_defaults]
    arguments.kw_defaults = shorten
    arguments.defaults = [d if len(ast.unparse(d)) <= LARGEST_DEFAULT else ast.Constant(...) for d in arguments.defaults]
    return f"({ast.unparse(arguments)})"


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


def _document(entry: Entry, used: Counter[str], package: PackageFacts) -> Document:
    locator = f"python:{entry.name}"
    prefix = {"class": "class ", "module": "module "}.get(entry.kind, "")
    body = ROLE.sub(r"`\1`", inspect.cleandoc(entry.text).strip())
    source = "python" if entry.package == "python" else "python-packages"
    extra = {"package": entry.package, "version": package["version"], "kind": entry.kind}
    facts = {
        "locator": locator,
        "host": entry.module,
        "title": entry.name,
        "lang": "en",
        "licence": package["licence"],
        "licence_evidence": package["evidence"],
        "doc_type": "code",
        "extractor": "docstring",
        "score": float(used[entry.name]) if entry.package == "python" else 0.0,
        "extra": json.dumps(extra),
    }
    return Document(
        text=f"{prefix}{entry.name}{entry.signature}\n\n{body}", id=record.identify(source, locator), source=source, facts=facts
    )


def _topics(package: PackageFacts) -> Iterator[Document]:
    """The language reference as ``help()`` shows it; a long chapter is several documents of one group."""
    from pydoc_data import topics

    extra = {"package": "python", "version": package["version"], "kind": "topic"}
    for name, text in sorted(topics.topics.items()):
        whole = ROLE.sub(r"`\1`", text.strip())
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
        licence = about.get("License-Expression") or next(classified, "unknown")
        facts[package] = {"version": about["Version"], "licence": licence, "evidence": f"metadata of {names[0]}"}
    return facts


def _refusal(name: str, rule: str, reason: str, text: str = "") -> Dropped:
    locator = f"python:{name}#{rule}"
    return Dropped(
        record.identify("python", locator), locator, "python", "read", rule, reason, characters=len(text), excerpt=text[:EXCERPT]
    )
