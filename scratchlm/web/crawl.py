"""A polite crawl of the web that writes WARC files: what it takes from a site is what the site's owner would not mind.

In the folder: ``pages-00000.warc.gz`` and so on (what is to be read), ``robots.warc.gz``, ``crawl.jsonl`` (the log, which is the state
too), and at the end ``crawl.json`` (the counts). Killed at any time, the same call goes on where it was; only requests under way are made
again.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from scratchlm.core.artifact import sha256_of, write_atomically
from scratchlm.core.config import to_plain
from scratchlm.core.errors import UsageError
from scratchlm.web.crawl_archive import pages_in
from scratchlm.web.crawl_config import CrawlConfig
from scratchlm.web.crawl_log import answers_in

LOG, SUMMARY = "crawl.jsonl", "crawl.json"
Progress = Callable[[str, int, int], None]
"""Told a label, what is done, and what there is to do as far as is known."""


def run(
    config: CrawlConfig,
    folder: Path,
    *,
    previous: Path | None = None,
    progress: Progress = lambda label, done, total: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """The WARC files with the pages that were found, in the order of their fetching; none when there was nothing to keep.

    ``previous`` is the folder of an earlier crawl: its pages are asked for on condition that they have changed, and one that has not gets a
    revisit record that names the earlier one. ``now`` is the only clock, of the records' dates and of all waits. UsageError when the folder
    holds a crawl with other settings.
    """
    from scratchlm.web.crawl_work import Crawl  # heavy: httpx takes 0.1 s

    known = {answer.url: answer for answer in answers_in(previous / LOG) if answer.etag or answer.modified} if previous else {}
    plan = {"config": to_plain(config), "previous": sha256_of(previous / LOG) if previous else None}
    summary = folder / SUMMARY
    if not summary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        counts = Crawl(config, folder, known, now, sleep).run(folder / LOG, plan, progress)
        write_atomically(summary, json.dumps({"plan": plan, "counts": counts}, indent=1).encode())
    elif json.loads(summary.read_text(encoding="utf-8"))["plan"] != plan:
        raise UsageError(f"{folder}: holds a finished crawl with other settings. Choose another folder, or remove this one.")
    return pages_in(folder)


def counts(folder: Path) -> dict[str, int]:
    """How often each thing happened in a finished crawl: pages kept, addresses left out by why, failures."""
    return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["counts"]
