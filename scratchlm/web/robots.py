"""What a site asks of crawlers: robots.txt (RFC 9309), Crawl-delay, Retry-After, and the directives of single pages."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from protego import Protego

LARGEST = 500 * 1024
"""Bytes of a robots.txt that are read (RFC 9309, 2.5)."""
LIFE = timedelta(hours=24)
"""A robots.txt is asked for again after that (RFC 9309, 2.4)."""
HOPS = 5
"""Redirects that are followed to a robots.txt; one with more is taken as not there (RFC 9309, 2.3.1.2)."""
VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
"""Directives that have a value of their own after a colon; any other word before a colon is the name of a crawler."""
AGENT = re.compile(r"[a-z_*-]{1,40}")


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one site for us."""

    asked_at: datetime
    delay_s: float = 0.0
    """Between two requests, as the site asks for it."""
    closed: str | None = None
    """Why the whole site is left alone; None when its rules decide."""
    rules: Protego | None = None
    agent: str = "*"

    def allows(self, url: str) -> bool:
        """Whether the site lets us fetch ``url``."""
        return self.closed is None and (self.rules is None or self.rules.can_fetch(url, self.agent))


def read(text: str, agent: str, asked_at: datetime) -> Robots:
    """The rules in a robots.txt for the crawler that calls itself ``agent``."""
    rules = Protego.parse(text.removeprefix("\ufeff"))
    rate = rules.request_rate(agent)
    delays = [float(rules.crawl_delay(agent) or 0.0), rate.seconds / rate.requests if rate else 0.0]
    return Robots(asked_at, max(delays), None, rules, agent)


def answered(status: int, body: bytes, agent: str, asked_at: datetime) -> Robots | None:
    """The rules that follow from the answer to a request for robots.txt; None when it must be asked again (RFC 9309, 2.3.1).

    Found: its rules. 4xx: there are none. 429 is asked again: the RFC counts it among the 4xx, but a site that is overrun has not said yes.
    """
    if 200 <= status < 300:
        return read(body[:LARGEST].decode("utf-8", "replace"), agent, asked_at)
    if 400 <= status < 500 and status != 429:
        return Robots(asked_at, agent=agent)
    return None


def directives(value: str, agent: str) -> frozenset[str]:
    """The words for us in an X-Robots-Tag header or a robots meta element, lower case; ``none`` is told as its two parts.

    ``noai`` (no use for training) counts as ``noindex``: what we fetch is trained on.
    """
    found: set[str] = set()
    for_us = True
    for part in value.lower().split(","):
        name, colon, rest = (side.strip() for side in part.partition(":"))
        if colon and name not in VALUED and AGENT.fullmatch(name):
            for_us, name = name in ("*", agent.lower()), rest
        if for_us:
            found.add(name)
    if "none" in found:
        found |= {"noindex", "nofollow"}
    return frozenset(found | {"noindex"} if "noai" in found else found)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from ``now`` that a Retry-After header asks us to wait, whether it gives seconds or a date; None when it says nothing."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())
