"""Where text comes from: each source gives documents, and what it could not read with the reason."""

from collections.abc import Callable, Sequence
from pathlib import Path

from scratchlm.core.artifact import fingerprint_of
from scratchlm.sources import folder, python_docs
from scratchlm.sources.found import Found

Progress = Callable[[str, int, int], None]


def from_python(data: str | None, packages: Sequence[str], progress: Progress) -> Found:
    """The documentation of the Python on this machine; ``data`` is not used."""
    return python_docs.documents(packages, progress)


def from_folder(data: str | None, packages: Sequence[str], progress: Progress) -> Found:
    """The text below the folder ``data``; ``packages`` are not used."""
    return folder.documents(Path(data or "."), progress)


SOURCES: dict[str, Callable[[str | None, Sequence[str], Progress], Found]] = {"python": from_python, "folder": from_folder}


def fingerprint(data: str | None, packages: Sequence[str]) -> str:
    """What decides the documents: names and contents of the folder's files, or the versions of Python and its packages."""
    return fingerprint_of(python_docs.versions(packages)) if data is None else folder.digest_of(Path(data))
