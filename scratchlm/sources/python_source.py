"""Docstrings read from Python source, without importing it."""

import ast
import importlib.util
import os
import sysconfig
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scratchlm.sources import usage

SKIPPED_FOLDERS = {"site-packages", "test", "tests", "testing", "_vendor", "__pycache__", "lib-dynload", "f2py", "lexers", "v1"}
"""Test suites, other people's copies, and in pygments and pydantic hundreds of near-empty modules and an old version."""
SKIPPED_MODULES = {
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "pydoc_data",
    "ntpath",
    "__phello__",
    "__hello__",
}
"""Of the standard library: jokes, programs, data, and the twin of posixpath."""
PUBLIC_NAMES = {
    "posixpath": "os.path", "genericpath": "os.path", "_collections_abc": "collections.abc", "_pydecimal": "decimal", "_pyio": "io",
    "_pydatetime": "datetime", "_weakrefset": "weakref", "_strptime": "time", "_py_abc": "abc",
}  # fmt: skip
"""Where the standard library documents under one name what is used under another."""
LARGEST_DEFAULT = 40
"""Characters of a default value that is still shown."""

Described = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


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
    """Folder of the package, or "python" for the standard library."""


def read(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> tuple[list[Entry], Counter[str]]:
    """The entries of the standard library and of ``packages``, and how often the former's source uses each name."""
    entries: list[Entry] = []
    count: Counter[str] = Counter()
    for package, path, base in files(packages, progress):
        tree = parsed(path, is_counted=package == "python")
        if tree is None:
            continue
        module = module_name(path, base)
        if package == "python":
            for name, number in usage.uses(tree, module, is_package=path.name == "__init__.py").items():
                count[public(name)] += number
        entries += entries_of(tree, module, package)
    return entries, count


def files(packages: Sequence[str], progress: Callable[[str, int, int], None]) -> Iterator[tuple[str, Path, Path]]:
    """Package, file and the folder that module names count from, in the order of names."""
    roots = [("python", Path(sysconfig.get_paths()["stdlib"]))]
    for package in packages:
        spec = importlib.util.find_spec(package)
        roots += [(package, Path(folder)) for folder in (spec.submodule_search_locations or [])[:1]] if spec else []
    for done, (package, root) in enumerate(roots):
        progress("documentation", done, len(roots))
        base = root if package == "python" else root.parent
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
            if package == "python" and Path(folder) == root:
                folders[:] = [name for name in folders if name not in SKIPPED_MODULES]
                names = [name for name in names if name.removesuffix(".py") not in SKIPPED_MODULES]
            yield from ((package, Path(folder, name), base) for name in sorted(names) if name.endswith(".py"))


def parsed(path: Path, *, is_counted: bool) -> ast.Module | None:
    """The tree of a file; None where nothing in it is wanted, or for the few templates and files of another Python that do not parse."""
    try:
        data = path.read_bytes()
        if not is_counted and b'"""' not in data and b"'''" not in data:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, OSError):
        return None


def module_name(path: Path, base: Path) -> str:
    """``xml.dom`` for ``xml/dom/__init__.py``."""
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public(name: str) -> str:
    """``os.path.join`` for ``posixpath.join``."""
    top, dot, rest = name.partition(".")
    return PUBLIC_NAMES.get(top, top) + dot + rest


def entries_of(tree: ast.Module, module: str, package: str) -> Iterator[Entry]:
    """The docstrings of a module, its functions, its classes and their members; what a function defines inside itself is left out."""
    shown = public(module)
    todo: list[tuple[Described, str, str]] = [(tree, "", "module")]
    while todo:
        node, inner, kind = todo.pop(0)
        if text := ast.get_docstring(node):
            signature = signature_of(node.args) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and kind != "attribute" else ""
            yield Entry(shown, f"{shown}.{inner}" if inner else shown, kind, signature, text, package)
        for child in [] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.body:
            if isinstance(child, ast.ClassDef):
                todo.append((child, f"{inner}.{child.name}".lstrip("."), "class"))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                is_value = any(isinstance(mark, ast.Name) and mark.id in ("property", "cached_property") for mark in child.decorator_list)
                below = "attribute" if is_value else "method" if inner else "function"
                todo.append((child, f"{inner}.{child.name}".lstrip("."), below))


def signature_of(arguments: ast.arguments) -> str:
    """``(path, *paths)``: no types, no ``self``, and no default too long to read."""
    first = arguments.posonlyargs or arguments.args
    has_self = bool(first) and first[0].arg in ("self", "cls")
    posonly = [ast.arg(a.arg) for a in arguments.posonlyargs]
    plain = [ast.arg(a.arg) for a in arguments.args]
    if has_self:
        (posonly or plain).pop(0)
    defaults = [_short(value) for value in arguments.defaults][-(len(posonly) + len(plain)) or len(arguments.defaults) :]
    bare = ast.arguments(
        posonlyargs=posonly,
        args=plain,
        vararg=ast.arg(arguments.vararg.arg) if arguments.vararg else None,
        kwonlyargs=[ast.arg(a.arg) for a in arguments.kwonlyargs],
        kw_defaults=[value and _short(value) for value in arguments.kw_defaults],
        kwarg=ast.arg(arguments.kwarg.arg) if arguments.kwarg else None,
        defaults=defaults,
    )
    return f"({ast.unparse(bare)})"


def _short(value: ast.expr) -> ast.expr:
    return value if len(ast.unparse(value)) <= LARGEST_DEFAULT else ast.Constant(...)
