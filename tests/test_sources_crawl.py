"""A crawl takes what it may, at the pace it may, writes it down as WARC, and goes on after a kill as if nothing had been."""

import gzip
import io
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator as WarcioIterator
from web import Clock, Handler, Site, page, served

from scratchlm.core.config import from_plain
from scratchlm.core.errors import ArtifactError, ScratchError, UsageError
from scratchlm.web import crawl, links, robots, urls
from scratchlm.web.crawl_config import CrawlConfig, user_agent
from scratchlm.web.crawl_frontier import Frontier
from scratchlm.web.crawl_log import Answer, answers_in

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
ROBOTS = "/robots.txt"
PATIENT = {"connect_s": 900, "read_s": 900, "page_s": 900}
"""A machine that is busy with other things must not look like a server that is."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> Iterator[Site]:
    with served(clock) as found:
        yield found


@pytest.fixture
def other(clock: Clock) -> Iterator[Site]:
    with served(clock) as found:
        yield found


def crawled(folder: Path, *sites: Site, previous: Path | None = None, **settings: Any) -> dict[str, Answer]:
    """What came of each address in a crawl that starts at the roots of ``sites``; of several requests the last."""
    clock = sites[0].clock
    config = CrawlConfig(**{"seeds": tuple(site.url() for site in sites)} | PATIENT | settings)
    crawl.run(config, folder, previous=previous, now=clock.now, sleep=clock.sleep)
    return {answer.url: answer for answer in answers_in(folder / crawl.LOG)}


def left_out(folder: Path) -> dict[str, str]:
    """Addresses that were queued and never asked for, and why."""
    lines = map(json.loads, (folder / crawl.LOG).read_text().splitlines()[1:])
    return {line["left_out"]: line["why"] for line in lines if "left_out" in line}


def counts(folder: Path) -> dict[str, int]:
    return json.loads((folder / crawl.SUMMARY).read_text())["counts"]


def kept(folder: Path) -> list[tuple[str, bytes]]:
    """Address and body of all pages in the WARC files, as another reader sees them."""
    return [
        (str(record.headers["WARC-Target-URI"]), record.reader.read())
        for path in sorted(folder.glob("pages-*.warc.gz"))
        for record in ArchiveIterator(io.BytesIO(path.read_bytes()), record_types=WarcRecordType.response)
    ]


def robots_txt(*lines: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "text/plain"}, "\n".join(lines).encode()


# Addresses


def test_what_cannot_change_a_page_is_written_in_one_way_and_nothing_else_is_touched():
    assert urls.normal("HTTP://EXAMPLE.org:80") == "http://example.org/"
    assert urls.normal("https://a.b:443/c?z=1&a=2#d") == "https://a.b/c?z=1&a=2"
    assert urls.normal("http://a/../b/./c%2f//d;e?") == "http://a/b/c%2f//d;e?"
    assert urls.normal("http://münchen.de/ä b") == "http://xn--mnchen-3ya.de/%C3%A4%20b"
    assert urls.normal("../x", "http://a/b/c/d?e") == "http://a/b/x"
    for none in ("mailto:a@b", "javascript:x()", "http://u:p@h/", "http:///x", "http://h:99999/", "ftp://h/", "", "http://[::1/"):
        assert urls.normal(none) is None


@given(st.text(max_size=60), st.sampled_from(["", "http://h", "https://h:8/", "//", "?", "http://h/a/../", "HTTP://h:80"]))
@settings(max_examples=150, deadline=None)
def test_the_normal_form_of_any_address_is_its_own_normal_form(text: str, start: str):
    found = urls.normal(start + text, "http://base.org/a/b")
    assert found is None or (urls.normal(found) == found and "#" not in found and found.count("/") >= 3)


def test_only_addresses_of_the_open_internet_are_public():
    private = (
        "10.0.0.1 127.0.0.1 ::1 ::ffff:10.1.1.1 2002:0a00:0001::1 64:ff9b::7f00:1 fe80::1%eth0 169.254.169.254 100.64.0.1 224.0.0.1 0.0.0.0"
    )
    assert not any(urls.is_public(address) for address in private.split())
    assert all(urls.is_public(address) for address in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"))


def test_addresses_that_lead_in_circles_are_known():
    assert urls.trap("http://h/a/b/a/b/a/b/a", 2_000, 3) == "path repeats itself"
    assert urls.trap("http://h/" + "x" * 2_000, 2_000, 3) == "address too long"
    assert urls.trap("http://h/2026/01/01/01?a/a/a/a", 2_000, 3) is None


def test_a_pattern_of_hosts_means_all_below_it_and_nothing_beside_it():
    assert urls.allows(("*.example.org",), "a.example.org")
    assert urls.allows(("*.example.org",), "example.org")
    assert not urls.allows(("*.example.org", "b.org"), "badexample.org")
    assert not urls.allows(("b.org",), "b.org:8080")


# Links and robots


def test_links_are_found_where_a_reader_would_find_them():
    body = b"""<base href="/d/"><a href=x>1<A rel='x NoFollow' HREF="y">2<!-- <a href=no> --><script>'<a href=no>'</script>
    <a title="a > b" href='http://o/?a=1&amp;b=2#z'>3<area href=//q/w><frame src=f>
    <meta http-equiv=Refresh content="0; url='/r'"><a href=x>"""
    found = links.read(body, "http://h/p", None, "scratchlm")
    assert found.links == ("http://h/d/x", "http://o/?a=1&b=2", "http://q/w", "http://h/d/f", "http://h/r")


@pytest.mark.parametrize("charset", ["utf-16", "nonsense", "base64", "punycode", "idna", None])
def test_a_wrong_charset_hides_no_link(charset: str | None):
    assert links.read("<p>é<a href=/ü>".encode(), "http://h/", charset, "a").links == ("http://h/%C3%BC",)


@pytest.mark.parametrize(
    "piece", ["<div>", "<a ", "<a href='", "<!--", "<script>", '<a x="', "<a a=a ", "<a " + "a" * 1000, "<a>", "<", "İ</script"]
)
def test_no_page_keeps_the_scan_for_links_busy(piece: str):
    body = (piece * (1_000_000 // len(piece))).encode()
    start = time.process_time()
    links.read(body, "http://h/", None, "a")
    assert time.process_time() - start < 2  # a tenth of that on an idle core; a quadratic scan takes minutes


def test_a_directive_is_for_us_when_it_names_us_or_nobody():
    assert "noindex" in robots.directives("noarchive, NOINDEX", "me")
    assert "noindex" not in robots.directives("otherbot: noindex, nofollow", "me")
    assert robots.directives("otherbot: noindex, Me: nofollow", "me") == {"nofollow"}
    assert {"noindex", "nofollow"} <= robots.directives("none", "me")
    assert "noindex" in robots.directives("noai", "me")
    assert "noindex" in robots.directives("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", "me")


def test_retry_after_is_seconds_or_a_date():
    assert robots.retry_after("120", NOON) == 120
    assert robots.retry_after("Wed, 04 Mar 2026 12:01:30 GMT", NOON) == 90
    assert robots.retry_after("Wed, 04 Mar 2025 12:01:30 GMT", NOON) == 0
    assert robots.retry_after("soon", NOON) is None
    assert robots.retry_after(None, NOON) is None
    assert (robots.retry_after("9" * 5_000, NOON) or 0) > 1e8


def test_rules_are_read_as_the_rfc_says():
    found = robots.answered(
        200, b"\xef\xbb\xbfUser-agent: *\nDisallow: /\n\nUser-Agent: Me\nAllow: /a\nDisallow: /a/b*c$\nCrawl-delay: 7", "me", NOON
    )
    assert found is not None
    assert (found.allows("http://h/x"), found.allows("http://h/a/bxc"), found.allows("http://h/a/bxcd"), found.delay_s) == (
        True,
        False,
        True,
        7,
    )
    for status, allowed in ((404, True), (403, True), (200, True)):
        rules = robots.answered(status, b"", "me", NOON)
        assert rules is not None
        assert rules.allows("http://h/") == allowed
    assert robots.answered(500, b"", "me", NOON) is None
    assert robots.answered(429, b"", "me", NOON) is None


def test_no_robots_txt_keeps_us_busy():
    hostile = b"User-agent: *\n" + b"Disallow: /" + b"*a" * 5_000 + b"b\n" + b"Disallow: /*x*y\n" * 20_000
    start = time.process_time()
    rules = robots.answered(200, hostile, "me", NOON)
    assert rules is not None
    assert rules.allows("http://h/" + "a" * 2_000)
    assert time.process_time() - start < 5


# Politeness


def test_every_page_is_taken_once_breadth_first(tmp_path: Path, site: Site):
    site.pages = {"/": page("/a", "/b#x", "/a"), "/a": page("/c", "/"), "/b": page("/a"), "/c": page("/d"), "/d": page()}
    found = crawled(tmp_path, site)
    assert site.asked == [ROBOTS, "/", "/a", "/b", "/c", "/d"]
    assert [url for url, _ in kept(tmp_path)] == [site.url(path) for path in ("/", "/a", "/b", "/c", "/d")]
    assert all(answer.outcome == "kept" for url, answer in found.items() if not url.endswith(ROBOTS))


def test_a_host_is_given_its_time_between_two_requests(tmp_path: Path, site: Site, other: Site):
    site.pages = {ROBOTS: robots_txt("User-agent: scratchlm", "Crawl-delay: 30"), "/": page("/a"), "/a": page("/b"), "/b": page()}
    other.pages = {"/": page("/a"), "/a": page("/b"), "/b": page("/c"), "/c": page()}
    crawled(tmp_path, site, other, delay_s=2)
    gaps = [[(b - a).total_seconds() for a, b in pairwise(s.times)] for s in (site, other)]
    assert gaps == [[30, 30, 30], [2, 2, 2, 2]]
    assert max(other.times) < site.times[1]  # the fast one does not wait for the slow one


def test_one_request_at_a_time_goes_to_a_host(tmp_path: Path, site: Site, other: Site):
    running: dict[str, int] = {"now": 0, "most": 0}

    def slowly(handler: Handler) -> None:
        running["now"] += 1
        running["most"] = max(running["most"], running["now"])
        handler.server.site.over.wait(0.02)
        running["now"] -= 1
        handler.say(200, {"Content-Type": "text/html", "Content-Length": "0"})

    site.pages = {"/": page(*(f"/{n}" for n in range(5)))} | {f"/{n}": slowly for n in range(5)}
    crawled(tmp_path, site, delay_s=0)
    assert running["most"] == 1
    assert len(site.fetched) == 6


def test_what_robots_txt_forbids_is_never_asked_for_and_the_log_says_so(tmp_path: Path, site: Site):
    site.pages = {ROBOTS: robots_txt("User-agent: *", "Disallow: /no", "Allow: /no/but"), "/": page("/no/x", "/no/but", "/yes")}
    crawled(tmp_path, site)
    assert site.asked == [ROBOTS, "/", "/no/but", "/yes"]
    assert left_out(tmp_path) == {site.url("/no/x"): "robots.txt"}
    assert counts(tmp_path)["left out: robots.txt"] == 1


def test_a_site_whose_robots_txt_fails_is_left_alone(tmp_path: Path, site: Site, other: Site):
    site.pages = {ROBOTS: (503, {}, b""), "/": page()}
    other.pages = {ROBOTS: (404, {}, b""), "/": page()}
    crawled(tmp_path, site, other)
    assert site.asked == [ROBOTS] * 3
    assert site.times[2] - site.times[1] > site.times[1] - site.times[0] > timedelta(0)
    assert left_out(tmp_path) == {site.url(): "robots.txt cannot be reached"}
    assert other.fetched == ["/"]


def test_robots_txt_is_looked_for_where_the_site_sends_us(tmp_path: Path, site: Site, other: Site):
    site.pages = {ROBOTS: (301, {"Location": "/rules"}, b""), "/rules": robots_txt("User-agent: *", "Disallow: /no"), "/": page("/no")}
    other.pages = {ROBOTS: (302, {"Location": ROBOTS}, b""), "/": page()}  # round and round: taken as not there
    crawled(tmp_path, site, other)
    assert site.asked == [ROBOTS, "/rules", "/"]
    assert other.asked == [ROBOTS] * 6 + ["/"]


def test_robots_txt_is_asked_for_again_after_a_day(tmp_path: Path, site: Site):
    site.pages = {
        ROBOTS: robots_txt("User-agent: *", "Crawl-delay: 50000"),
        "/": page("/a"),
        "/a": page("/b"),
        "/b": page("/c"),
        "/c": page(),
    }
    crawled(tmp_path, site, longest_wait_s=60_000)
    assert site.asked == [ROBOTS, "/", "/a", ROBOTS, "/b", "/c"]
    assert {b - a for a, b in pairwise(site.times)} == {timedelta(seconds=50_000)}


def test_a_site_that_wants_longer_waits_than_we_have_is_left_alone(tmp_path: Path, site: Site):
    site.pages = {ROBOTS: robots_txt("User-agent: *", "Crawl-delay: 500"), "/": page()}
    crawled(tmp_path, site)
    assert left_out(tmp_path) == {site.url(): "the site asks for 500 s between requests"}


def test_a_server_that_asks_for_time_gets_it(tmp_path: Path, site: Site):
    def busy(handler: Handler) -> None:
        first = handler.server.site.asked.count("/") == 1
        handler.say(429 if first else 200, {"Retry-After": "77", "Content-Length": "0", "Content-Type": "text/html"})

    site.pages = {"/": busy}
    assert crawled(tmp_path, site)[site.url()].outcome == "kept"
    assert site.times[2] - site.times[1] == timedelta(seconds=77)


def test_a_server_that_asks_for_too_much_time_or_keeps_failing_is_given_up(tmp_path: Path, site: Site, other: Site):
    site.pages = {"/": (503, {"Retry-After": "9999"}, b"")}
    other.pages = {"/": page("/a", "/b", "/c", "/d")} | {f"/{name}": (500, {}, b"") for name in "abcd"}
    crawled(tmp_path, site, other)
    assert site.fetched == ["/"]
    assert other.fetched == ["/", "/a", "/a", "/a", "/b", "/b"]
    assert left_out(tmp_path) == {
        site.url(): "the site asks to wait 9999 s",
        **{other.url(path): "the site does not answer" for path in ("/b", "/c", "/d")},
    }


def test_we_say_who_we_are(tmp_path: Path, site: Site):
    site.pages = {"/": page()}
    crawled(tmp_path, site, contact="me@example.org")
    assert {headers["user-agent"] for headers in site.headers} == {user_agent(CrawlConfig(seeds=(site.url(),), contact="me@example.org"))}
    assert "me@example.org" in site.headers[0]["user-agent"]
    with pytest.raises(UsageError, match=r"contact.*reach you"):
        from_plain(CrawlConfig, {"seeds": ["http://example.org/"]}, "crawl")
    with pytest.raises(UsageError, match="web page"):
        from_plain(CrawlConfig, {"seeds": ["http://example.org/"], "contact": "a@b\r\nX: y"}, "crawl")
    with pytest.raises(UsageError, match="no http"):
        from_plain(CrawlConfig, {"seeds": ["file:///etc/passwd"]}, "crawl")


def test_pages_that_ask_not_to_be_kept_or_followed_are_not(tmp_path: Path, site: Site):
    html = {"Content-Type": "text/html"}
    site.pages = {
        "/": page("/meta", "/header", "/nofollow", "/theirs"),
        "/meta": page("/a", head='<meta name="ROBOTS" content="noindex">'),
        "/header": (200, html | {"X-Robots-Tag": "noindex, nofollow"}, page("/b").encode()),
        "/nofollow": page("/b", head='<meta name="scratchlm" content="nofollow">'),
        "/theirs": (200, html | {"X-Robots-Tag": "otherbot: none"}, page().encode()),
        "/a": page(),
        "/b": page(),
    }
    found = crawled(tmp_path, site)
    assert site.fetched == ["/", "/meta", "/header", "/nofollow", "/theirs", "/a"]
    assert [url for url, _ in kept(tmp_path)] == [site.url(path) for path in ("/", "/nofollow", "/theirs", "/a")]
    assert found[site.url("/meta")].why == found[site.url("/header")].why == "noindex"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 39), max_size=5)), min_size=40, max_size=40),
    st.integers(1, 3),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_every_address_is_asked_for_once_or_left_out_whatever_the_web_looks_like(pages: list[Any], parallel: int, fate: Any):
    """Forty pages on four hosts, linked at random, some of which fail: no network, only the frontier."""
    where = [f"http://127.0.0.{host + 1}/{n}" for n, (host, _) in enumerate(pages)]
    frontier = Frontier(
        CrawlConfig(seeds=tuple(where[:2]), hosts=tuple(f"127.0.0.{n}" for n in range(1, 5)), parallel=parallel, max_depth=99)
    )
    fails = {url for url in where if fate.random() < 0.2}
    asked, left_out, found = Counter[str](), set[str](), set(where[:2])
    while (wave := frontier.wave()).entries or wave.left_out:
        assert len({urls.host_of(entry.url) for entry in wave.entries}) == len(wave.entries) <= parallel
        left_out |= {url for url, _ in wave.left_out}
        for entry in wave.entries:
            page = Answer(entry.url, "rules", NOON.isoformat(), status=404)
            if entry.rules_of is None:
                asked[entry.url] += 1
                to = tuple(where[n] for n in pages[where.index(entry.url)][1])
                page = Answer(
                    entry.url, "failed" if entry.url in fails else "kept", NOON.isoformat(), links=() if entry.url in fails else to
                )
                found |= set(page.links)
            frontier.settle(entry, page)
    assert frontier.waiting == 0
    assert set(asked) | left_out == found
    assert all(count == (3 if url in fails else 1) for url, count in asked.items() if url not in left_out)


# Ways out of the garden


def test_redirects_are_new_addresses_that_keep_all_rules(tmp_path: Path, site: Site, other: Site):
    def to(target: str) -> tuple[int, dict[str, str], bytes]:
        return 302, {"Location": target}, b""

    site.pages = {
        ROBOTS: robots_txt("User-agent: *", "Disallow: /private"),
        "/": page("/one", "/loop", "/far", "/in", "/file", "/nowhere", "/chain0"),
        "/one": to("/two?x#y"),
        "/two?x": page(text="arrived"),
        "/loop": to("/loop"),
        "/far": to(other.url("/secret")),
        "/in": to("/private"),
        "/file": to("file:///etc/passwd"),
        "/nowhere": (301, {}, b""),
    } | {f"/chain{n}": to(f"/chain{n + 1}") for n in range(9)}
    found = crawled(tmp_path, site, max_redirects=3)
    assert site.asked == [
        ROBOTS,
        "/",
        "/one",
        "/two?x",
        "/loop",
        "/far",
        "/in",
        "/file",
        "/nowhere",
        "/chain0",
        "/chain1",
        "/chain2",
        "/chain3",
    ]
    assert other.asked == []
    assert left_out(tmp_path) == {site.url("/private"): "robots.txt"}
    assert found[site.url("/one")].location == site.url("/two?x")
    assert counts(tmp_path)["links left out: another host"] == 1
    assert counts(tmp_path)["links left out: too many redirects"] == 1


def test_no_redirect_and_no_link_leads_into_a_private_network(tmp_path: Path, site: Site, other: Site):
    inside = f"localhost:{other.address.rpartition(':')[2]}"
    site.pages = {"/": page(f"http://{inside}/linked", "/jump"), "/jump": (302, {"Location": f"http://{inside}/secret"}, b"")}
    other.pages = {"/secret": page(), "/linked": page()}
    found = crawled(tmp_path, site, hosts=(site.address, inside))
    assert other.asked == []
    assert site.fetched == ["/", "/jump"]
    assert found[f"http://{inside}/robots.txt"].outcome == "refused"
    assert left_out(tmp_path) == {f"http://{inside}/{name}": "the host leads to a private address" for name in ("linked", "secret")}


def test_a_seed_that_moves_into_a_private_network_is_not_followed(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch):
    site.pages = {ROBOTS: (200, {"Connection": "close"}, b""), "/": page()}
    told = iter([True, False, False, False])
    monkeypatch.setattr(urls, "is_public", lambda address: next(told))
    found = crawled(tmp_path, site)
    assert site.asked == [ROBOTS]
    assert (found[site.url()].outcome, found[site.url()].why) == ("refused", "the host leads to a private address")


def test_only_wanted_kinds_of_content_are_taken(tmp_path: Path, site: Site):
    site.pages = {
        "/": page("/pdf", "/plain", "/none", "/x.JPG", "/x.zip?a=b", "/gone"),
        "/pdf": (200, {"Content-Type": "application/pdf"}, b"%PDF" * 1000),
        "/plain": (200, {"Content-Type": "Text/Plain; charset=latin-1"}, b"plain <a href=/no>"),
        "/none": (200, {}, b"no type at all"),
    }
    found = crawled(tmp_path, site)
    assert site.fetched == ["/", "/pdf", "/plain", "/none", "/gone"]
    assert [body for _, body in kept(tmp_path)][1:] == [b"plain <a href=/no>", b"no type at all"]
    assert [found[site.url(path)].why for path in ("/pdf", "/gone")] == ["it is application/pdf", "status 404"]
    assert counts(tmp_path)["links left out: by its name image"] == 1


def test_depth_pages_and_bytes_are_bounded(tmp_path: Path, site: Site):
    site.pages = {"/": page("/1")} | {f"/{n}": page(f"/{n + 1}", text="x" * 1_000) for n in range(1, 30)}
    crawled(tmp_path / "a", site, max_depth=3)
    assert site.fetched == ["/", "/1", "/2", "/3"]
    site.asked.clear()
    crawled(tmp_path / "b", site, max_pages=2)
    assert site.fetched == ["/", "/1"]
    assert counts(tmp_path / "b")["addresses left in the queue"] == 1
    site.asked.clear()
    found = crawled(tmp_path / "c", site, max_bytes=3_000, max_depth=99)
    assert sum(len(body) for _, body in kept(tmp_path / "c")) == 3_000
    assert [answer.truncated for answer in found.values()][-1] == "length"


def test_a_path_has_only_so_many_queries(tmp_path: Path, site: Site):
    site.pages = {"/": page(*(f"/calendar?day={n}" for n in range(30)))} | {f"/calendar?day={n}": page() for n in range(30)}
    crawled(tmp_path, site, max_queries=4)
    assert site.fetched == ["/", *(f"/calendar?day={n}" for n in range(4))]
    assert counts(tmp_path)["links left out: too many queries of one path"] == 26


# Servers that misbehave


def test_a_body_without_end_and_a_bomb_are_cut_at_the_limit(tmp_path: Path, site: Site):
    def endless(handler: Handler) -> None:
        handler.say(200, {"Content-Type": "text/html", "Transfer-Encoding": "chunked"})
        for _ in range(10_000):
            handler.wfile.write(b"400\r\n" + b"y" * 1_024 + b"\r\n")

    bomb = gzip.compress(b"z" * 30_000_000)
    site.pages = {"/": page("/endless", "/bomb"), "/endless": endless}
    site.pages["/bomb"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, bomb)
    found = crawled(tmp_path, site, max_page_bytes=50_000)
    assert [body for _, body in kept(tmp_path)][1:] == [b"y" * 50_000, b"z" * 50_000]
    assert {found[site.url(path)].truncated for path in ("/endless", "/bomb")} == {"length"}


def test_packed_bodies_are_kept_unpacked(tmp_path: Path, site: Site):
    text = page("/two", text="packed" * 100).encode()
    site.pages = {
        "/": (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, gzip.compress(text[:70]) + gzip.compress(text[70:])),
        "/two": (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, gzip.compress(text)[:-20]),
        "/robots.txt": (200, {"Content-Encoding": "br"}, b"?"),
    }
    del site.pages[ROBOTS]
    found = crawled(tmp_path, site)
    assert kept(tmp_path) == [(site.url(), text)]
    assert (found[site.url("/two")].outcome, found[site.url("/two")].why) == ("failed", "the packed body breaks off")


def test_slow_servers_cost_no_more_than_their_time(tmp_path: Path, site: Site):
    def drip(handler: Handler) -> None:
        handler.say(200, {"Content-Type": "text/html", "Content-Length": "500"}, b"slow...")
        while not handler.server.site.over.wait(0.02):
            handler.wfile.write(b".")
            handler.wfile.flush()

    def drip_head(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not handler.server.site.over.wait(0.02):
            handler.wfile.write(b".")
            handler.wfile.flush()

    site.pages = {"/": page("/body", "/head"), "/body": drip, "/head": drip_head}
    found = crawled(tmp_path, site, page_s=0.3)
    assert found[site.url("/body")].truncated == "time"
    assert dict(kept(tmp_path))[site.url("/body")].startswith(b"slow...")
    assert found[site.url("/head")].outcome == "failed"
    assert [answer.url for answer in answers_in(tmp_path / crawl.LOG)].count(site.url("/head")) == 3


def test_what_is_no_http_fails_three_times_and_the_rest_goes_on(tmp_path: Path, site: Site):
    def says(data: bytes) -> Any:
        def talk(handler: Handler) -> None:
            handler.wfile.write(data)
            handler.hang_up()

        return talk

    site.pages = {
        "/": page("/nothing", "/good", "/noise", "/better", "/short"),
        "/nothing": says(b""),
        "/noise": says(b"\x00\xff not http\r\n\r\n"),
        "/short": says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/html\r\n\r\nbreaks off"),
        "/good": page(),
        "/better": page(),
    }
    found = crawled(tmp_path, site)
    assert {found[site.url(path)].outcome for path in ("/nothing", "/noise", "/short")} == {"failed"}
    assert [site.asked.count(path) for path in ("/nothing", "/noise", "/short")] == [3, 3, 3]
    assert [url for url, _ in kept(tmp_path)] == [site.url(path) for path in ("/", "/good", "/better")]


def test_a_host_that_is_not_there_ends_as_one_line(tmp_path: Path, site: Site, clock: Clock):
    with served(clock) as gone:
        pass
    site.pages = {"/": page()}
    crawled(tmp_path, site, gone)
    assert left_out(tmp_path) == {gone.url(): "robots.txt cannot be reached"}
    assert site.fetched == ["/"]


# WARC


def test_two_other_readers_agree_with_every_record(tmp_path: Path, site: Site):
    html = {"Content-Type": "text/html"}
    site.pages = {
        ROBOTS: robots_txt("User-agent: *", "Allow: /"),
        "/": page("/packed", "/wrong", "/empty"),
        "/packed": (200, html | {"Content-Encoding": "gzip", "X-Odd": "a\tb"}, gzip.compress(b"<p>packed")),
        "/wrong": (200, {"Content-Type": "text/html; charset=utf-16"}, "<p>ünïcode".encode()),
        "/empty": (200, html, b""),
    }
    crawled(tmp_path, site)
    for path in sorted(tmp_path.glob("*.warc.gz")):
        data = path.read_bytes()
        raw = [(record, record.verify_block_digest()) for record in ArchiveIterator(io.BytesIO(data), parse_http=False)]
        assert all(right for _, right in raw)
        assert all(record.verify_payload_digest() for record in ArchiveIterator(io.BytesIO(data), record_types=WarcRecordType.response))
        kinds = []
        for record in WarcioIterator(io.BytesIO(data), check_digests="raise"):
            record.content_stream().read()
            assert record.digest_checker.passed is not False
            kinds.append(record.rec_type)
        assert kinds == ["warcinfo"] + ["response", "request"] * ((len(kinds) - 1) // 2)
    assert kept(tmp_path)[1:] == [
        (site.url("/packed"), b"<p>packed"),
        (site.url("/wrong"), "<p>ünïcode".encode()),
        (site.url("/empty"), b""),
    ]


def test_the_log_knows_where_each_record_lies(tmp_path: Path, site: Site):
    site.pages = {"/": page("/a"), "/a": page(text="found by its place")}
    answer = crawled(tmp_path, site)[site.url("/a")]
    with (tmp_path / answer.file).open("rb") as file:
        file.seek(answer.start)
        record = next(iter(ArchiveIterator(file)))
        assert record.record_id == answer.record
        assert b"found by its place" in record.reader.read()


def test_the_same_answers_give_the_same_bytes(tmp_path: Path, site: Site, other: Site):
    site.pages = {"/": page("/a", other.url("/x")), "/a": page("/b"), "/b": page()}
    other.pages = {"/": page("/x", site.url("/b")), "/x": page()}
    taken = []
    for name in "ab":
        site.clock.time = NOON
        crawled(tmp_path / name, site, other)
        taken.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert taken[0] == taken[1]
    assert set(taken[0]) == {"crawl.json", "crawl.jsonl", "pages-00000.warc.gz"}


def test_large_crawls_are_cut_into_files(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch):
    from scratchlm.web import crawl_archive

    monkeypatch.setattr(crawl_archive, "LARGEST", 1_000)
    site.pages = {"/": page("/1", "/2", "/3")} | {f"/{n}": page() for n in (1, 2, 3)}
    crawled(tmp_path, site)
    assert len(crawl.pages_in(tmp_path)) > 1
    assert [url for url, _ in kept(tmp_path)] == [site.url(path) for path in ("/", "/1", "/2", "/3")]


# A second time


def test_what_has_not_changed_is_not_sent_again(tmp_path: Path, site: Site):
    def dated(handler: Handler) -> None:
        same = handler.headers.get("If-Modified-Since") == "Thu, 01 Jan 2026 00:00:00 GMT"
        handler.say(
            304 if same else 200, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": "0", "Content-Type": "text/html"}
        )

    def tagged(handler: Handler) -> None:
        body = b"" if handler.headers.get("If-None-Match") == '"v1"' else page("/leaf").encode()
        head = {"ETag": '"v1"', "Content-Type": "text/html"} | ({"Content-Length": str(len(body))} if body else {})
        handler.say(200 if body else 304, head, body)

    site.pages = {"/": page("/tagged", "/dated"), "/tagged": tagged, "/dated": dated, "/leaf": page()}
    first = crawled(tmp_path / "1", site)
    site.clock.sleep(1_000)
    second = crawled(tmp_path / "2", site, previous=tmp_path / "1")
    third = crawled(tmp_path / "3", site, previous=tmp_path / "2")
    assert [second[site.url(path)].outcome for path in ("/", "/tagged", "/dated", "/leaf")] == ["kept", "unchanged", "unchanged", "kept"]
    assert third[site.url("/leaf")].outcome == "kept"  # found through the links of a page that was never sent again
    for folder in ("2", "3"):
        (path,) = crawl.pages_in(tmp_path / folder)
        revisits = [dict(record.headers) for record in ArchiveIterator(io.BytesIO(path.read_bytes()), record_types=WarcRecordType.revisit)]
        assert [visit["WARC-Target-URI"] for visit in revisits] == [site.url("/tagged"), site.url("/dated")]
        assert revisits[0]["WARC-Profile"] == "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
        assert revisits[0]["WARC-Refers-To"] == first[site.url("/tagged")].record
        assert revisits[0]["WARC-Refers-To-Date"] < revisits[0]["WARC-Date"]


class Enough(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_a_crawl_that_was_stopped_goes_on_where_it_was(tmp_path: Path, site: Site, other: Site, after: int):
    site.pages = {
        "/": page("/a", "/b", other.url("/x")),
        "/a": page("/c"),
        "/b": page("/no"),
        "/c": page(),
        ROBOTS: robots_txt("User-agent: *", "Disallow: /no"),
    }
    other.pages = {
        "/": page("/x", "/y"),
        "/x": page(),
        "/y": (301, {"Location": site.url("/c?")}, b""),
        ROBOTS: robots_txt("User-agent: *", "Crawl-delay: 3"),
    }
    whole = list(crawled(tmp_path / "whole", site, other))
    asked = sorted(site.asked), sorted(other.asked)
    site.asked.clear()
    other.asked.clear()
    waves = iter(range(100))

    def stop(label: str, done: int, total: int) -> None:
        if next(waves) == after:
            raise Enough

    config, folder = CrawlConfig(seeds=(site.url(), other.url()), **PATIENT), tmp_path / "stopped"
    with pytest.raises(Enough):
        crawl.run(config, folder, progress=stop, now=site.clock.now, sleep=site.clock.sleep)
    with (folder / crawl.LOG).open("a") as log:  # and a kill in the middle of the next wave
        log.write('{"left_out": "http://never/", "why": "killed"}\n{"url": "http://ne')
    for path in folder.glob("*.warc.gz"):
        path.write_bytes(path.read_bytes() + b"\x1f\x8b half a record")
    (folder / "pages-00009.warc.gz").write_bytes(b"\x1f\x8b begun, never logged")
    assert list(crawled(folder, site, other)) == whole
    assert (sorted(site.asked), sorted(other.asked)) == asked
    assert kept(folder) == kept(tmp_path / "whole")
    assert not (folder / "pages-00009.warc.gz").exists()


def test_a_killed_process_leaves_a_crawl_that_goes_on(tmp_path: Path, site: Site):
    site.pages = {"/": page(*(f"/{n}" for n in range(8)))} | {f"/{n}": page(text=f"page {n}") for n in range(8)}
    program = """
import os, signal, sys
from pathlib import Path
from scratchlm.web import crawl
def stop(label, done, total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
crawl.run(crawl.CrawlConfig(seeds=(sys.argv[1],), delay_s=0, connect_s=900, read_s=900, page_s=900), Path(sys.argv[2]), progress=stop)
"""
    ended = subprocess.run([sys.executable, "-c", program, site.url(), str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    crawled(tmp_path, site, delay_s=0)
    assert sorted(site.asked) == sorted([ROBOTS, "/", *(f"/{n}" for n in range(8))])
    assert len(kept(tmp_path)) == 9


def test_a_finished_crawl_is_not_made_again_and_another_one_needs_another_folder(tmp_path: Path, site: Site):
    site.pages = {"/": page()}
    crawled(tmp_path, site)
    crawled(tmp_path, site)
    assert site.asked == [ROBOTS, "/"]
    with pytest.raises(UsageError, match="other settings"):
        crawled(tmp_path, site, max_depth=1)
    (tmp_path / crawl.SUMMARY).unlink()
    with pytest.raises(UsageError, match="other settings"):
        crawled(tmp_path, site, max_depth=1)


def test_a_damaged_folder_is_said_to_be_one(tmp_path: Path, site: Site):
    site.pages = {"/": page("/a"), "/a": page()}
    crawled(tmp_path, site)
    (tmp_path / crawl.SUMMARY).unlink()
    path = tmp_path / "pages-00000.warc.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="shorter than the log"):
        crawled(tmp_path, site)
    with pytest.raises(ScratchError, match="no log"):
        crawled(tmp_path / "new", site, previous=tmp_path / "nowhere")


def test_a_seed_that_the_limits_forbid_is_an_error(tmp_path: Path, site: Site):
    with pytest.raises(UsageError, match="another host"):
        crawled(tmp_path, site, hosts=("example.org",), contact="me@example.org")
