"""What a crawl may do: where it starts, which hosts it may enter, how much it takes and how politely."""

from typing import Any

from pydantic import Field, field_validator

import scratchlm
from scratchlm.core.config import Settings
from scratchlm.web import urls


class CrawlConfig(Settings):
    """The rules that a crawl keeps."""

    seeds: tuple[str, ...] = Field(min_length=1)
    """Pages to start from."""
    hosts: tuple[str, ...] | None = None
    """Hosts that may be entered, with their port if it is not the usual one; ``*.example.org`` means all below it. None: those of the
    seeds, with and without ``www.``."""
    contact: str | None = None
    """An e-mail address or a page about you, sent with every request; needed unless all is on this machine."""
    agent: str = Field("scratchlm", pattern=r"^[A-Za-z_-]{1,40}$")
    """The name that robots.txt knows us by."""
    max_pages: int = Field(1_000, ge=1)
    """Requests for pages, whatever comes of them; those for robots.txt are not counted."""
    max_page_bytes: int = Field(4 * 2**20, ge=1_024)
    """Of one page, unpacked; the rest is cut off and the record says so. The median page of the web is some 30 KB."""
    max_bytes: int = Field(2**30, ge=1_024)
    """Of all pages together, unpacked."""
    max_depth: int = Field(5, ge=0)
    """Links from a seed."""
    max_redirects: int = Field(5, ge=0)
    """In a row."""
    max_url: int = Field(2_000, ge=20)
    """Characters of an address; longer ones are mostly made by mistake."""
    max_repeats: int = Field(3, ge=1)
    """Times that one part may occur in a path."""
    max_queries: int = Field(200, ge=1)
    """Different queries of one path: calendars and filters never end."""
    delay_s: float = Field(1.0, ge=0)
    """Between an answer and the next request to the same host; a site's own Crawl-delay counts when it is longer."""
    longest_wait_s: float = Field(120.0, ge=0)
    """A site that asks for longer waits than this is left alone."""
    connect_s: float = Field(10.0, gt=0)
    """To reach a host."""
    read_s: float = Field(20.0, gt=0)
    """Without a single byte."""
    page_s: float = Field(60.0, gt=0)
    """For a whole page."""
    types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")
    """Kinds of content that are kept."""
    parallel: int = Field(8, ge=1, le=64)
    """Hosts that are asked at the same time; each has one request under way at most."""

    @field_validator("seeds")
    @classmethod
    def _are_addresses(cls, seeds: tuple[str, ...]) -> tuple[str, ...]:
        if bad := next((seed for seed in seeds if urls.normal(seed) is None), None):
            raise ValueError(f"'{bad}' is no http or https address")
        return tuple(dict.fromkeys(url for seed in seeds if (url := urls.normal(seed))))

    @field_validator("contact")
    @classmethod
    def _names_someone(cls, contact: str | None, info: Any) -> str | None:
        reached = [urls.host_of(seed) for seed in info.data.get("seeds", ())] + list(info.data.get("hosts") or ())
        if contact is None and not all(urls.is_loopback(host) for host in reached):
            raise ValueError("the sites that you visit must be able to reach you, so give an e-mail address or a web page of yours")
        if contact is not None and not (contact.isascii() and contact.isprintable() and ("@" in contact or "://" in contact)):
            raise ValueError("it must be an e-mail address or a web page")
        return contact


def user_agent(config: CrawlConfig) -> str:
    """How we name ourselves to servers."""
    contact = f" (+{config.contact})" if config.contact else ""
    return f"{config.agent}/{scratchlm.__version__}{contact}"


def allowed_hosts(config: CrawlConfig) -> tuple[str, ...]:
    """Patterns of the hosts that may be entered."""
    if config.hosts is not None:
        return tuple(host.lower() for host in config.hosts)
    hosts = [urls.host_of(seed) for seed in config.seeds]
    return tuple(dict.fromkeys(name for host in hosts for name in (host, f"www.{host}", host.removeprefix("www."))))
