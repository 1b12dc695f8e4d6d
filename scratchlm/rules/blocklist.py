"""Addresses that nothing is learned from: hosts, parts of hosts, and words that an address must not hold.

A list is a text file (or its .gz), one entry per line, ``#`` begins a comment. ``example.org`` is the host and everything below it,
``example.org/forum`` whatever starts with this path, a word without a dot is looked for between the signs of the whole address. Lines of
the kind ``0.0.0.0 example.org``, as blockers of advertisements use them, are hosts too: the address before them is passed over, and so are
names without a dot behind it (``127.0.0.1 localhost``).
"""

import gzip
import ipaddress
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from scratchlm.core.errors import DataError

HOST = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,20}")
WORD = re.compile(r"[^\W_]+")
BORDERS = "/?#"


@dataclass(frozen=True)
class Blocklist:
    """What is refused."""

    hosts: frozenset[str]
    paths: Mapping[str, tuple[str, ...]]
    """By host: paths without the slash at their end."""
    words: frozenset[str]

    def reason(self, url: str | None) -> str | None:
        """Why an address is refused, or None; an address that is unknown is not refused."""
        host, path = _parts(url or "")
        above = [host]
        while "." in above[-1]:
            above.append(above[-1].partition(".")[2])
        for name in above:
            if name in self.hosts:
                return f"the host {name} is on the list"
            for prefix in self.paths.get(name, ()):
                if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] in BORDERS):
                    return f"{name}{prefix} is on the list"
        found = sorted(self.words.intersection(WORD.findall(f"{host} {path}".lower()))) if self.words else []
        return f"the address holds the word '{found[0]}'" if found else None


def read(files: Iterable[Path]) -> Blocklist:
    """The entries of all the files together; DataError names the file that cannot be read, or the line that is no entry."""
    hosts, words, paths = set(), set(), defaultdict(set)
    for file in files:
        for number, line in enumerate(_text(file).splitlines(), 1):
            fields = line.partition("#")[0].split()
            if len(fields) > 1 and _is_address(fields[0]):
                fields = [field for field in fields[1:] if "." in field and not _is_address(field)]
            for entry in fields:
                host, path = _parts(entry)
                if WORD.fullmatch(entry):
                    words.add(entry.lower())
                elif HOST.fullmatch(host) and path.strip("/"):
                    paths[host].add(path.rstrip("/"))
                elif HOST.fullmatch(host):
                    hosts.add(host)
                else:
                    raise DataError(f"{file}:{number}: '{entry[:60]}' is neither a host, nor a host with a path, nor a word of letters.")
    return Blocklist(frozenset(hosts), {host: tuple(sorted(found)) for host, found in paths.items()}, frozenset(words))


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{file}: this blocklist cannot be read ({reason}). Give a text file in UTF-8, or its .gz.") from None


def _is_address(field: str) -> bool:
    """Whether this is an IP address, with or without a zone such as ``%lo0``."""
    try:
        ipaddress.ip_address(field.partition("%")[0])
    except ValueError:
        return False
    return True


def _parts(url: str) -> tuple[str, str]:
    """The host in lower case and the path with what follows it, neither escaped; never fails, whatever it is given."""
    rest = url.strip().partition("://")[2] or url.strip()
    end = next((place for place, sign in enumerate(rest) if sign in BORDERS), len(rest))
    host = unquote(rest[:end]).lower().rpartition("@")[2]
    return host.partition(":")[0].strip("."), unquote(rest[end:])
