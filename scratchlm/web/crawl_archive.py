"""The WARC files of a crawl: pages in files of a size that one worker likes, robots.txt in a file of its own, which nobody learns from."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

from scratchlm.core.errors import ArtifactError
from scratchlm.web.crawl_log import Answer
from scratchlm.web.warc_writer import Record, WarcFile

LARGEST = 256 * 2**20
"""Bytes after which a new file of pages begins."""
PAGES, ROBOTS = "pages-{:05d}.warc.gz", "robots.warc.gz"


def pages_in(folder: Path) -> list[Path]:
    """The files with the pages of a crawl, in the order of their fetching."""
    return sorted(folder.glob("pages-*.warc.gz"))


class Archive:
    """The files of one crawl, open at the places that its log knows; what lies behind these was never logged, and is cut off."""

    def __init__(self, folder: Path, agent: str, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._info = {"software": agent, "format": "WARC File Format 1.1", "robots": "classic"}
        self._now = now
        self._ends: dict[str, int] = {}
        self._open: dict[str, WarcFile] = {}
        self._number = 0

    def replay(self, answers: Sequence[Answer]) -> None:
        """Take note of where logged records end."""
        for answer in answers:
            if answer.file:
                self._ends[answer.file] = answer.end
                self._number = max(self._number, int("0" + "".join(filter(str.isdigit, answer.file))))

    def write(self, is_page: bool, records: Sequence[Record]) -> tuple[str, int, int, str]:
        """Append the records of one request: the file, where the first starts and the last ends in it, and the first one's id."""
        file = self._file(PAGES.format(self._number) if is_page else ROBOTS)
        if is_page and file.end > LARGEST:
            self._open.pop(file.path.name).close()
            self._number += 1
            file = self._file(PAGES.format(self._number))
        start = file.end
        first = file.write(*records)
        self._ends[file.path.name] = file.end
        return file.path.name, start, file.end, first

    def sync(self) -> None:
        """Have all that was written on the disk."""
        for file in self._open.values():
            file.sync()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._open.values():
            file.close()

    def finish(self) -> None:
        """Cut what a kill left behind the last logged record, also in files that were not opened again."""
        for path in [*pages_in(self._folder), self._folder / ROBOTS]:
            if path.name in self._ends:
                self._file(path.name)
            elif path.name not in self._open and path.exists():
                path.unlink()

    def _file(self, name: str) -> WarcFile:
        path, end = self._folder / name, self._ends.get(name, 0)
        if name not in self._open:
            if end and (not path.exists() or path.stat().st_size < end):
                raise ArtifactError(f"{path}: shorter than the log of the crawl says. Remove the folder to crawl anew.")
            self._open[name] = WarcFile(path, self._info, self._now(), end)
        return self._open[name]
