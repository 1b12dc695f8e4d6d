"""Hashes that are kept beside files, so that gigabytes are not read again to learn what is known.

``NAME.sha256`` is as ``sha256sum -c`` reads it; a comment below says which size and time of change the file had. While it has both still,
it is taken to be the same, as make and git take it.
"""

import re
from pathlib import Path

from scratchlm.core.artifact import write_atomically

LINES = re.compile(r"([0-9a-f]{64})  [^\n]*\n(?:# (\d{1,19}) bytes, changed at (\d{1,20}) ns\n)?")
LONGEST = 2_000
"""Characters of such a file."""


def keep(path: Path, sha256: str) -> None:
    """Remember that the file at ``path``, as it is now, has this hash (64 hexadecimal digits)."""
    facts = path.stat()
    text = f"{sha256}  {path.name}\n# {facts.st_size} bytes, changed at {facts.st_mtime_ns} ns\n"
    write_atomically(_beside(path), text.encode("utf-8", "surrogateescape"))


def kept(path: Path) -> str | None:
    """The hash that was kept for ``path``, whatever has become of the file since; None when there is none."""
    match = _read(path)
    return match.group(1) if match else None


def known(path: Path) -> str | None:
    """The hash of the file at ``path`` without reading it; None when none was kept, or the file was written to since."""
    match = _read(path)
    if match is None or match.group(2) is None:
        return None
    facts = path.stat()
    return match.group(1) if (str(facts.st_size), str(facts.st_mtime_ns)) == match.group(2, 3) else None


def _read(path: Path) -> re.Match[str] | None:
    try:
        with _beside(path).open(encoding="utf-8", errors="surrogateescape") as file:
            return LINES.fullmatch(file.read(LONGEST))
    except OSError:
        return None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
