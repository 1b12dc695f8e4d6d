"""A program of its own: import the standard library and print what its objects say of themselves, one JSON object per line.

It runs in a subprocess, because importing hundreds of modules changes a process, and by its path, so it needs nothing but Python:
``python -I members.py numpy ...`` (further modules to import). Members written in C have no source to read; their names come from here,
and so do the public names under which a user finds what is defined elsewhere (``json.JSONDecoder``, ``os.path.join``).
"""

import builtins
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

# Opens a browser; prints a poem; programs and test suites rather than libraries; need a display or a terminal; implementations whose
# public name is another (posixpath is os.path).
DENIED = {
    "antigravity", "this", "idlelib", "test", "turtledemo", "lib2to3", "tkinter", "turtle", "ensurepip", "msilib", "pydoc_data",
    "posixpath", "ntpath", "genericpath", "posix", "nt", "__phello__", "__hello__", "sre_compile", "sre_constants", "sre_parse",
    "distutils", "venv", "nturl2path",
}  # fmt: skip
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+|['\"]/[^'\"]{4,}['\"]")


def module_names() -> list[str]:
    """Public modules of the standard library, submodules too, sorted."""
    names = ["builtins", "os.path"]
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in DENIED:
            continue
        names.append(name)
        names += list(submodules(name))
    return sorted(set(names))


def submodules(name: str) -> Iterator[str]:
    """Public submodules of a package, however deep."""
    module = imported(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", None) or []):
        path = f"{name}.{found.name}"
        if not found.name.startswith("_") and found.name not in DENIED | {"tests", "test"}:
            yield path
            if found.ispkg:
                yield from submodules(path)


def imported(name: str) -> types.ModuleType | None:
    """The module, or None where this machine lacks what it needs."""
    try:
        return sys.modules["os"].path if name == "os.path" else importlib.import_module(name)
    except (Exception, SystemExit):  # noqa: BLE001 - a module may raise anything while it is imported; its name is printed
        return None


class Failed:
    """Stands for a member that its module promises and cannot give."""


def public_members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Names that belong to the module: what it exports, or what it defines; ``Failed`` where asking for one raises."""
    exported = getattr(module, "__all__", None)
    for name in sorted(set(exported or dir(module))):
        if not isinstance(name, str) or name.startswith("_"):
            continue
        try:
            member = getattr(module, name)
        except Exception:  # noqa: BLE001 - a module may compute its members, and fail; such a name is printed
            yield name, Failed
            continue
        home = getattr(member, "__module__", None)
        own = module.__name__
        if exported or own == "builtins" or not isinstance(home, str) or home in (own, f"_{own}", f"_{own.rpartition('.')[2]}"):
            yield name, member


def text_of(member: Any) -> str | None:
    """The member's own docstring, not its type's."""
    doc = getattr(member, "__doc__", None)
    is_borrowed = not inspect.isclass(member) and doc == getattr(type(member), "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) and doc.strip() and not is_borrowed else None


def signature_of(member: Any) -> str:
    """``(a, b=1)``, or nothing where Python does not know it or it would show this machine."""
    try:
        signature = inspect.signature(member)
    except (ValueError, TypeError, NameError, AttributeError):
        return ""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    bare = bare[1:] if bare and bare[0].name in ("self", "cls") else bare
    shown = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return "" if ADDRESS.search(shown) or "<" in shown or len(shown) > 300 else shown


def origin_of(member: Any, name: str) -> str:
    """The same for one thing under two names: where it was defined."""
    member = getattr(member, "fget", member)
    qualified = getattr(member, "__qualname__", None)
    return f"{getattr(member, '__module__', None)}:{qualified}" if isinstance(qualified, str) else name


def class_members(owner: type) -> Iterator[tuple[str, str, Any]]:
    """Name, kind and object of what a class itself defines."""
    for name, raw in sorted(vars(owner).items()):
        if name.startswith("_") or inspect.isclass(raw):
            continue
        member = raw.__func__ if isinstance(raw, staticmethod | classmethod) else raw
        is_value = isinstance(member, property | types.GetSetDescriptorType | types.MemberDescriptorType)
        if is_value or callable(member):
            yield name, "attribute" if is_value else "method", member


def records(name: str, module: types.ModuleType) -> Iterator[dict[str, str]]:
    """What is documented in a module: itself, its functions and classes, and their members."""
    prefix = "" if module is builtins else f"{name}."
    if text := text_of(module):
        yield {"module": name, "name": name, "kind": "module", "signature": "", "text": text, "origin": name}
    for short, member in public_members(module):
        if member is Failed:
            yield {"failed": prefix + short}
            continue
        if inspect.ismodule(member) or not callable(member):
            continue
        full, kind = prefix + short, "class" if inspect.isclass(member) else "function"
        if text := text_of(member):
            about = {"kind": kind, "signature": signature_of(member), "text": text, "origin": origin_of(member, full)}
            yield {"module": name, "name": full} | about
        if inspect.isclass(member):
            for inner, kind_, raw in class_members(member):
                if text := text_of(raw):
                    about = {"kind": kind_, "signature": signature_of(raw), "text": text, "origin": origin_of(raw, f"{full}.{inner}")}
                    yield {"module": name, "name": f"{full}.{inner}"} | about


def main(more: list[str]) -> None:
    """Print the records of the standard library and of the modules named in ``more``; what cannot be imported is printed as such."""
    warnings.simplefilter("ignore")
    out = sys.stdout
    sys.stdout = sys.stderr  # what modules print while they are imported is not ours
    for name in module_names() + more:
        module = imported(name)
        if module is None:
            out.write(json.dumps({"failed": name}) + "\n")
            continue
        for record in records(name, module):
            out.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
