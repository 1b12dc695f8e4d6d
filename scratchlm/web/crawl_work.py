"""The loop of a crawl: wave after wave, from the log as far as it goes, then from the servers.

The requests of a wave go to as many hosts and are all awaited before the next, so that the same answers always give the same files.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scratchlm.web import links, robots, urls
from scratchlm.web.crawl_archive import Archive
from scratchlm.web.crawl_config import CrawlConfig, user_agent
from scratchlm.web.crawl_fetch import Ask, Fetcher, Reply
from scratchlm.web.crawl_frontier import Entry, Frontier, Wave
from scratchlm.web.crawl_log import Answer, CrawlLog
from scratchlm.web.warc_writer import UNCHANGED, Record

REDIRECTS = (301, 302, 303, 307, 308)
AGAIN = (408, 429)
"""Statuses that mean: not now. Those from 500 on do too."""
HTML = ("text/html", "application/xhtml+xml", "")


class Crawl:
    """One run over a folder."""

    def __init__(
        self, config: CrawlConfig, folder: Path, known: Mapping[str, Answer], now: Callable[[], datetime], sleep: Callable[[float], None]
    ) -> None:
        self._config = config
        self._folder = folder
        self._known = known
        """Pages of an earlier crawl, by address."""
        self._now = now
        self._sleep = sleep
        self._frontier = Frontier(config)
        self._last: dict[str, tuple[datetime, float]] = {}
        """Of each host: when its last answer was there, and the seconds it has from then on."""
        self._counts: Counter[str] = Counter()

    def run(self, log: Path, plan: Mapping[str, Any], progress: Callable[[str, int, int], None]) -> dict[str, int]:
        """Crawl until nothing is left or enough is taken; how often each thing happened."""
        frontier = self._frontier
        with (
            CrawlLog(log, plan) as lines,
            Archive(self._folder, user_agent(self._config), self._now) as archive,
            Fetcher(self._config, self._now) as fetcher,
        ):
            while (wave := frontier.wave()).entries or wave.left_out:
                answers = lines.replay(wave.left_out, [entry.url for entry in wave.entries])
                if answers is None:
                    answers = self._fetch(wave, fetcher, archive)
                    archive.sync()
                    lines.write(wave.left_out, answers)
                else:
                    archive.replay(answers)
                self._settle(wave, answers)
                progress("crawl", frontier.asked, min(self._config.max_pages, frontier.asked + frontier.waiting))
            archive.finish()
        self._counts["requests for pages"] = frontier.asked
        self._counts["bytes of pages"] = frontier.size
        self._counts["addresses left in the queue"] = frontier.waiting
        return dict(sorted(self._counts.items()))

    def _settle(self, wave: Wave, answers: list[Answer]) -> None:
        """Hand the answers to the frontier in the order of the wave, and count."""
        self._counts.update(f"left out: {why}" for _, why in wave.left_out)
        for entry, answer in zip(wave.entries, answers, strict=True):
            wait_s, left = self._frontier.settle(entry, answer)
            self._last[urls.host_of(entry.url)] = (datetime.fromisoformat(answer.at), wait_s)
            self._counts.update({f"links left out: {why}": count for why, count in left.items()})
            self._counts[f"robots.txt: {answer.outcome}" if entry.rules_of else answer.outcome] += 1

    def _fetch(self, wave: Wave, fetcher: Fetcher, archive: Archive) -> list[Answer]:
        """Wait until every host of the wave may be asked, ask them all, and keep what is to be kept."""
        wait_s = max((self._wait_s(urls.host_of(entry.url)) for entry in wave.entries), default=0.0)
        if wait_s > 0:
            self._sleep(wait_s)
        replies = fetcher.fetch([self._ask(entry) for entry in wave.entries])
        return [self._keep(entry, reply, archive) for entry, reply in zip(wave.entries, replies, strict=True)]

    def _wait_s(self, host: str) -> float:
        """Seconds until ``host`` may be asked; a clock that was set back meanwhile does not make it more than its whole wait."""
        if host not in self._last:
            return 0.0
        at, wait_s = self._last[host]
        return wait_s - max(0.0, (self._now() - at).total_seconds())

    def _ask(self, entry: Entry) -> Ask:
        if entry.rules_of:
            return Ask(entry.url, robots.LARGEST, None)
        known = self._known.get(entry.url)
        return Ask(entry.url, self._frontier.most_bytes(), self._config.types, known.etag if known else "", known.modified if known else "")

    def _keep(self, entry: Entry, reply: Reply, archive: Archive) -> Answer:
        known = self._known.get(entry.url)
        answer = rules_answer(reply) if entry.rules_of else page_answer(reply, self._config, known)
        if answer.outcome not in ("kept", "unchanged") and not (answer.outcome == "rules" and reply.status == 200):
            return answer
        file, start, end, record = archive.write(entry.rules_of is None, records(reply, known if answer.outcome == "unchanged" else None))
        answer = replace(answer, file=file, start=start, end=end)
        return answer if answer.outcome == "unchanged" else replace(answer, record=record, recorded_at=answer.at)


def rules_answer(reply: Reply) -> Answer:
    """What a reply to a request for robots.txt means."""
    answer = _answer(reply)
    if answer.outcome in ("redirect", "failed") or reply.forbidden:
        return answer
    return replace(answer, outcome="rules", why="", text=bytes(reply.body).decode("utf-8", "replace"))


def page_answer(reply: Reply, config: CrawlConfig, known: Answer | None) -> Answer:
    """What a reply to a request for a page means, with the links to follow."""
    answer = _answer(reply)
    if answer.status == 304 and known and answer.outcome != "failed":
        same = {name: getattr(known, name) for name in ("mime", "links", "etag", "modified", "record", "recorded_at")}
        return replace(answer, outcome="unchanged", why="", **same)
    if answer.outcome != "kept":
        return answer
    if reply.mime and reply.mime not in config.types:
        return replace(answer, outcome="refused", why=f"it is {reply.mime[:60]}")
    asked = robots.directives(reply.headers.get("x-robots-tag", ""), config.agent)
    if reply.mime in HTML:
        page = links.read(bytes(reply.body), reply.ask.url, reply.charset, config.agent)
        asked |= page.directives
        answer = replace(answer, links=() if "nofollow" in asked else page.links)
    return replace(answer, outcome="refused", why="noindex") if "noindex" in asked else answer


def records(reply: Reply, known: Answer | None) -> list[Record]:
    """The response (or, when ``known`` is still good, the revisit) and the request as WARC records."""
    body = bytes(reply.body)
    fields = {"WARC-IP-Address": reply.address, "Content-Type": "application/http; msgtype=response"}
    request = Record("request", reply.ask.url, reply.at, reply.request, None, {"Content-Type": "application/http; msgtype=request"})
    if known is None:
        fields |= {"WARC-Truncated": reply.truncated} if reply.truncated else {}
        return [Record("response", reply.ask.url, reply.at, reply.response(len(body)) + body, body, fields), request]
    date = datetime.fromisoformat(known.recorded_at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields |= {
        "WARC-Profile": UNCHANGED,
        "WARC-Refers-To": known.record,
        "WARC-Refers-To-Target-URI": known.url,
        "WARC-Refers-To-Date": date,
    }
    return [Record("revisit", reply.ask.url, reply.at, reply.response(None), None, fields), request]


def _answer(reply: Reply) -> Answer:
    """What is common to all replies; the outcome is "kept" when there is a body to look at."""
    head, status = reply.headers, reply.status
    answer = Answer(
        url=reply.ask.url,
        outcome="kept",
        at=reply.at.astimezone(UTC).isoformat(),
        status=status,
        mime=reply.mime[:100],
        size=len(reply.body),
        truncated=reply.truncated,
        etag=head.get("etag", ""),
        modified=head.get("last-modified", ""),
    )
    if reply.failure or status is None:
        return replace(answer, outcome="refused" if reply.forbidden else "failed", why=reply.failure)
    if status in REDIRECTS:
        return replace(answer, outcome="redirect", location=urls.normal(head.get("location", ""), reply.ask.url))
    if status >= 500 or status in AGAIN:
        return replace(answer, outcome="failed", why=f"status {status}", retry_s=robots.retry_after(head.get("retry-after"), reply.at))
    return answer if status == 200 else replace(answer, outcome="refused", why=f"status {status}")
