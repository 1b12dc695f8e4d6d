"""What is still to fetch, and in what order: a queue for each site, breadth first.

The order is a pure function of the answers, whatever the network's speed: sites take turns by a clock that only counts the waits they ask
for, and what is fetched at one time (a wave) is settled in its order. The real waits are kept elsewhere; they change when, never what.
"""

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from datetime import datetime

from scratchlm.core.errors import UsageError
from scratchlm.web import robots, urls
from scratchlm.web.crawl_config import CrawlConfig, allowed_hosts
from scratchlm.web.crawl_log import Answer
from scratchlm.web.robots import Robots

TRIES = 3
"""Requests for one address until it is given up."""
FAILURES = 5
"""Requests in a row without an answer until a whole site is given up."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address that waits."""

    url: str
    depth: int = 0
    """Links from a seed."""
    hops: int = 0
    """Redirects in a row that led to it."""
    tries: int = 0
    rules_of: str | None = None
    """The site that this robots.txt speaks for; None: it is a page."""


@dataclass(slots=True)
class Site:
    """All that is known of one site."""

    name: str
    order: int
    due: float
    """By the clock of waits."""
    queue: deque[Entry] = field(default_factory=deque)
    rules: Robots | None = None
    rules_entry: Entry | None = None
    """Where its robots.txt is looked for next, when it is not where it should be."""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Wave:
    """What is fetched at one time, each from another host, and what was left out on the way to it."""

    entries: tuple[Entry, ...]
    left_out: tuple[tuple[str, str], ...]


class Frontier:
    """The queues of all sites."""

    def __init__(self, config: CrawlConfig) -> None:
        self._config = config
        self._hosts = allowed_hosts(config)
        self._sites: dict[str, Site] = {}
        self._seen: set[str] = set()
        self._queries: Counter[str] = Counter()
        self._now = 0.0
        self.asked = 0
        """Requests for pages that were answered or failed."""
        self.size = 0
        """Bytes of pages that came, kept or not."""
        for seed in config.seeds:
            if reason := self.add(Entry(seed)):
                raise UsageError(f"{seed}: the crawl cannot start there ({reason}). Change the seed, or the limits that forbid it.")

    @property
    def waiting(self) -> int:
        """Addresses in all queues."""
        return sum(len(site.queue) for site in self._sites.values())

    def add(self, entry: Entry, *, first: bool = False) -> str | None:
        """Queue an address that was not seen before, ``first`` before the others of its site; returns why not, if it is left out."""
        if entry.url in self._seen:
            return None
        if reason := self._unwanted(entry):
            return reason
        self._seen.add(entry.url)
        name = urls.site_of(entry.url)
        site = self._sites.setdefault(name, Site(name, len(self._sites), self._now))
        if not site.queue:
            site.due = max(site.due, self._now)
        (site.queue.appendleft if first else site.queue.append)(entry)
        return None

    def wave(self) -> Wave:
        """The next requests; empty when nothing is left or the crawl has taken what it may."""
        config = self._config
        room = config.max_bytes - self.size
        most = min(config.parallel, config.max_pages - self.asked, max(1, room // config.max_page_bytes) if room > 0 else 0)
        entries, left_out, busy = list[Entry](), list[tuple[str, str]](), set[str]()
        start: float | None = None
        for site in sorted((site for site in self._sites.values() if site.queue), key=lambda site: (site.due, site.order)):
            if len(entries) >= most or (start is not None and site.due > start and site.due >= start + config.delay_s):
                break
            entry = self._next(site, left_out)
            if entry and urls.host_of(entry.url) not in busy:
                busy.add(urls.host_of(entry.url))
                entries.append(entry)
                start = site.due if start is None else start
                if entry.rules_of is None:
                    site.queue.popleft()
        return Wave(tuple(entries), tuple(left_out))

    def most_bytes(self) -> int:
        """Bytes that each page of a wave may have."""
        return min(self._config.max_page_bytes, self._config.max_bytes - self.size)

    def delay_s(self, url: str) -> float:
        """Seconds that the host of ``url`` has between two requests."""
        site = self._sites.get(urls.site_of(url))
        return max(self._config.delay_s, site.rules.delay_s if site and site.rules else 0.0)

    def settle(self, entry: Entry, answer: Answer) -> tuple[float, dict[str, int]]:
        """Take in what came of a request: seconds until the next one to its host, and how many links were left out for which reason."""
        site = self._sites[entry.rules_of or urls.site_of(entry.url)]
        self._now = site.due
        at = datetime.fromisoformat(answer.at)
        if entry.rules_of is None:
            self.asked += 1
            self.size += answer.size
            site.failures = site.failures + 1 if answer.outcome == "failed" else 0
        wait = self._backoff(entry, answer) if answer.outcome == "failed" else 0.0
        delay = self.delay_s(site.name + "/")
        left = self._settle_rules(site, entry, answer, at) if entry.rules_of else self._settle_page(site, entry, answer, wait, at)
        if site.rules and site.rules.closed:
            wait = 0.0
        wait = max(wait, delay, self.delay_s(site.name + "/"))
        site.due += wait
        return wait, dict(sorted(left.items()))

    def _next(self, site: Site, left_out: list[tuple[str, str]]) -> Entry | None:
        """What to ask a site for: its rules first; pages that these forbid are passed over."""
        while site.queue:
            if site.rules is None:
                return site.rules_entry or Entry(f"{site.name}/robots.txt", rules_of=site.name)
            entry = site.queue[0]
            if site.rules.allows(entry.url):
                return entry
            left_out.append((site.queue.popleft().url, site.rules.closed or "robots.txt"))
        return None

    def _unwanted(self, entry: Entry) -> str | None:
        config = self._config
        if not urls.allows(self._hosts, urls.host_of(entry.url)):
            return "another host"
        if entry.depth > config.max_depth:
            return "too deep"
        if entry.hops > config.max_redirects:
            return "too many redirects"
        if (kind := urls.kind_by_name(entry.url)) and kind not in config.types:
            return f"by its name {kind}"
        if reason := urls.trap(entry.url, config.max_url, config.max_repeats):
            return reason
        if "?" in entry.url:
            self._queries[urls.path_of(entry.url)] += 1
            if self._queries[urls.path_of(entry.url)] > config.max_queries:
                return "too many queries of one path"
        return None

    def _backoff(self, entry: Entry, answer: Answer) -> float:
        """Seconds to wait after a failure: what the server says, or twice as long each time."""
        return answer.retry_s if answer.retry_s is not None else self.delay_s(entry.url) * 2 ** (entry.tries + 1)

    def _settle_page(self, site: Site, entry: Entry, answer: Answer, wait: float, at: datetime) -> Counter[str]:
        left: Counter[str] = Counter()
        if answer.outcome == "failed":
            if wait > self._config.longest_wait_s:
                site.rules = Robots(at, closed=f"the site asks to wait {wait:g} s")
            elif site.failures >= FAILURES:
                site.rules = Robots(at, closed="the site does not answer")
            if entry.tries + 1 < TRIES:
                site.queue.appendleft(replace(entry, tries=entry.tries + 1))
        for url in answer.links:
            if reason := self.add(Entry(url, entry.depth + 1)):
                left[reason] += 1
        target = Entry(answer.location, entry.depth, entry.hops + 1) if answer.outcome == "redirect" and answer.location else None
        if target and (reason := self.add(target, first=True)):
            left[reason] += 1
        if site.rules and site.rules.closed is None and at - site.rules.asked_at > robots.LIFE:
            site.rules, site.rules_entry = None, None
        return left

    def _settle_rules(self, site: Site, entry: Entry, answer: Answer, at: datetime) -> Counter[str]:
        site.rules_entry = None
        if answer.outcome == "redirect" and answer.location and entry.hops < robots.HOPS:
            site.rules_entry = replace(entry, url=answer.location, hops=entry.hops + 1)
            return Counter()
        if answer.outcome == "refused":
            site.rules = Robots(at, closed=answer.why)
            return Counter()
        wait = self._backoff(entry, answer)
        found = robots.answered(answer.status or 0, answer.text.encode(), self._config.agent, at) if answer.outcome == "rules" else None
        if answer.outcome == "redirect":
            found = Robots(at)
        if found is None and entry.tries + 1 < TRIES and wait <= self._config.longest_wait_s:
            site.rules_entry = replace(entry, tries=entry.tries + 1)
        elif found is None:
            site.rules = Robots(at, closed="robots.txt cannot be reached")
        elif found.delay_s > self._config.longest_wait_s:
            site.rules = Robots(at, closed=f"the site asks for {found.delay_s:g} s between requests")
        else:
            site.rules = found
        return Counter()
