"""The log of a crawl is its state: one line for each answer and for each address left out, in the order they happened.

What is still to fetch is not written anywhere: it follows from the answers, so after a kill the crawl is run again from its start with the
log in the place of the servers. Lines come in waves (what was fetched at one time); a wave that a kill cut short is fetched again.
"""

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from scratchlm.core.artifact import write_atomically
from scratchlm.core.errors import ArtifactError, UsageError

FORMAT = 1
LAST = '"last": true}\n'
"""How the last line of a wave ends."""

Outcome = Literal["kept", "unchanged", "redirect", "refused", "failed", "rules"]
"""Of a request: a page in the WARC; one that has not changed since the crawl before; a place to look instead; an answer that is of no use
to us; none, which may be tried again; a robots.txt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request."""

    url: str
    outcome: Outcome
    at: str
    """When it was there, UTC, as ISO 8601."""
    why: str = ""
    """In a few words, when nothing was kept."""
    status: int | None = None
    mime: str = ""
    size: int = 0
    """Bytes of the body, unpacked."""
    truncated: str = ""
    """``length`` or ``time`` when the body was cut."""
    links: tuple[str, ...] = ()
    location: str | None = None
    retry_s: float | None = None
    text: str = ""
    """Of a robots.txt."""
    etag: str = ""
    modified: str = ""
    file: str = ""
    """The WARC file it lies in, with the place of its record."""
    start: int = 0
    end: int = 0
    record: str = ""
    """Id and time of the record that holds the page: for one that has not changed, those of the crawl that fetched it."""
    recorded_at: str = ""


class CrawlLog:
    """The log of one crawl: read from its start as long as it lasts, then written."""

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        """Open the log of the crawl that ``plan`` describes; UsageError when the one at ``path`` is of another."""
        if not path.exists():
            write_atomically(path, (json.dumps({"format": FORMAT, "plan": dict(plan)}) + "\n").encode())
        self._path = path
        self._old = _lines(path, plan)
        self._file = path.open("r+b")
        self._file.truncate(_whole(path))
        self._file.seek(0, os.SEEK_END)

    def replay(self, left_out: Sequence[tuple[str, str]], asked: Sequence[str]) -> list[Answer] | None:
        """The answers to the next wave, if the log has it: it passes over ``left_out`` and asks for ``asked``."""
        due = [url for url, _ in left_out] + list(asked)
        found = list(islice(self._old, len(due)))
        if found and [url for url, _ in found] != due:
            raise ArtifactError(f"{self._path}: does not fit the settings it names. Remove the folder to crawl anew.")
        return [answer for _, answer in found if answer] if found else None

    def write(self, left_out: Sequence[tuple[str, str]], answers: Sequence[Answer]) -> None:
        """Append a wave, and have it on the disk."""
        lines: list[dict[str, Any]] = [{"left_out": url, "why": why} for url, why in left_out]
        lines += [_plain(answer) for answer in answers]
        if lines:
            lines[-1]["last"] = True
            self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> "CrawlLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._old.close()
        self._file.close()


def answers_in(path: Path) -> Iterator[Answer]:
    """All answers in a log; ArtifactError when there is none."""
    if not path.exists():
        raise ArtifactError(f"{path}: there is no log of a crawl here. Give the folder of one.")
    yield from (answer for _, answer in _lines(path, None) if answer)


def _lines(path: Path, plan: Mapping[str, Any] | None) -> Generator[tuple[str, Answer | None], None, None]:
    """Address and answer (None: left out) of every line that belongs to a whole wave."""
    end = _whole(path)
    with path.open("rb") as file:
        head = json.loads(file.readline())
        if head.get("format") != FORMAT:
            raise ArtifactError(
                f"{path}: written by format {head.get('format')}, this version reads {FORMAT}. Remove the folder to crawl anew."
            )
        if plan is not None and head["plan"] != plan:
            raise UsageError(f"{path}: this folder holds a crawl with other settings. Choose another folder, or remove this one.")
        while file.tell() < end:
            line = json.loads(file.readline())
            line.pop("last", None)
            yield (
                (line["left_out"], None) if "left_out" in line else (line["url"], Answer(**line | {"links": tuple(line.get("links", ()))}))
            )


def _whole(path: Path) -> int:
    """Bytes up to the end of the last whole wave."""
    end = place = 0
    with path.open("rb") as file:
        for line in file:
            place += len(line)
            if not end or line.endswith(LAST.encode()):
                end = place
    return end


def _plain(answer: Answer) -> dict[str, Any]:
    """The answer as JSON, without what is not known."""
    defaults = {field.name: field.default for field in fields(Answer)}
    return {name: value for name, value in asdict(answer).items() if value != defaults[name]}
