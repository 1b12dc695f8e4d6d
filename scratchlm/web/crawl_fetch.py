"""Requests to servers, bounded in every direction: time, bytes before and after unpacking, and the addresses they may reach.

They run in an event loop rather than in threads: only there can a time limit for a whole page, headers included, cut off a server that
sends a byte now and then.
"""

import asyncio
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any

import httpx

from scratchlm.web import urls, warc_writer
from scratchlm.web.crawl_config import CrawlConfig, user_agent


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a server."""

    url: str
    most_bytes: int
    types: tuple[str, ...] | None
    """Kinds of content whose body is read; None: any."""
    etag: str = ""
    modified: str = ""
    """Of the copy that we have; the server says 304 when it is still good."""


@dataclass(slots=True)
class Reply:
    """What came back, as much as did."""

    ask: Ask
    at: datetime
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    mime: str = ""
    charset: str | None = None
    body: bytearray = field(default_factory=bytearray)
    truncated: str = ""
    failure: str = ""
    """Why there is no answer, or only a part of one."""
    forbidden: bool = False
    """The failure is ours: the address must not be reached."""
    address: str = ""
    request: bytes = b""
    response: Callable[[int | None], bytes] = lambda length: b""
    """Status line and headers as they are kept, for a body of so many bytes (None: without one)."""


class Forbidden(Exception):
    """A host of the open internet was about to lead us into a private network."""


class Fetcher:
    """The connections of one crawl; who is at a private address is remembered, so that no host moves there later."""

    def __init__(self, config: CrawlConfig, now: Callable[[], datetime]) -> None:
        self._config = config
        self._now = now
        self._seeds = {urls.host_of(seed) for seed in config.seeds}
        self._private: dict[str, bool] = {}
        self._loop = asyncio.Runner()
        self._client = httpx.AsyncClient(
            headers={"User-Agent": user_agent(config), "Accept": f"{', '.join(config.types)}, */*;q=0.1", "Accept-Encoding": "gzip"},
            timeout=httpx.Timeout(config.read_s, connect=config.connect_s),
            # A page must not depend on those before it.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            verify=_authorities(),
            trust_env=False,
            follow_redirects=False,
        )

    def fetch(self, asks: Sequence[Ask]) -> list[Reply]:
        """The replies to ``asks``, which go out at the same time; what a server or a network can do is never an exception."""

        async def all_of_them() -> list[Reply]:
            return await asyncio.gather(*map(self._fetch, asks))

        return self._loop.run(all_of_them())

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()

    async def _fetch(self, ask: Ask) -> Reply:
        reply = Reply(ask, self._now())
        try:
            async with asyncio.timeout(self._config.page_s):
                await self._take(ask, reply)
        except TimeoutError:
            reply.truncated = "time" if reply.body else ""
            reply.failure = "" if reply.body else f"no page within {self._config.page_s:g} s"
        except Forbidden as error:
            reply.failure, reply.forbidden = str(error), True
        except httpx.TimeoutException:
            reply.failure = "the server fell silent" if reply.status else "the server does not answer"
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error, OSError, ValueError) as error:
            reply.failure = f"{type(error).__name__}: {error}"[:200].rstrip(": ")
        reply.at = self._now()
        return reply

    async def _take(self, ask: Ask, reply: Reply) -> None:
        conditions = {"If-None-Match": ask.etag, "If-Modified-Since": ask.modified}
        request = self._client.build_request("GET", ask.url, headers={name: value for name, value in conditions.items() if value})
        request.extensions["trace"] = self._guard(urls.host_of(ask.url))
        reply.request = _request_bytes(request)
        response = await self._client.send(request, stream=True)
        try:
            _note_head(reply, response)
            if response.status_code == 200 and (ask.types is None or not reply.mime or reply.mime in ask.types):
                await _take_body(reply, response)
        finally:
            await response.aclose()

    def _guard(self, host: str) -> Callable[[str, Mapping[str, Any]], Any]:
        """A hook that looks where a connection has led before anything is sent over it, whatever the name was resolved to."""

        async def look(event: str, info: Mapping[str, Any]) -> None:
            if event != "connection.connect_tcp.complete":
                return
            stream = info["return_value"]
            private = not urls.is_public(stream.get_extra_info("server_addr")[0])
            # A seed may lie in a private network, if it does so from the start: the user named it.
            if private and not (host in self._seeds and self._private.get(host, True)):
                await stream.aclose()
                raise Forbidden("the host leads to a private address")
            self._private.setdefault(host, private)

        return look


@cache
def _authorities() -> ssl.SSLContext:
    """Whose certificates we believe; read once, since it takes 0.1 s."""
    return httpx.create_ssl_context(trust_env=False)


def _note_head(reply: Reply, response: httpx.Response) -> None:
    raw = response.headers.raw
    version = str(response.http_version)
    reason = bytes(response.extensions.get("reason_phrase", b""))
    reply.status = response.status_code
    reply.headers = {name.lower(): value for name, value in response.headers.items()}
    mime, _, parameters = reply.headers.get("content-type", "").partition(";")
    reply.mime = mime.strip().lower()
    pairs = (parameter.partition("=") for parameter in parameters.split(";"))
    reply.charset = next((value.strip(" \"'") for name, _, value in pairs if name.strip().lower() == "charset"), None)
    reply.address = response.extensions["network_stream"].get_extra_info("server_addr")[0]
    reply.response = lambda length: warc_writer.http_head(version, response.status_code, reason, raw, length)


async def _take_body(reply: Reply, response: httpx.Response) -> None:
    """Read the body as far as it may go."""
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        reply.failure = f"packed as '{encoding[:40]}', which we did not ask for"
        return
    unpack = _Unpacker() if encoding not in ("identity", "") else None
    most, received = reply.ask.most_bytes, 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        room = most + 1 - len(reply.body)
        reply.body += unpack(chunk, room) if unpack else chunk[:room]
        if len(reply.body) > most or received > most:
            del reply.body[most:]
            reply.truncated = "length"
            return
    if unpack and not unpack.done:
        reply.failure = "the packed body breaks off"


class _Unpacker:
    """gzip or zlib, never giving more than it is asked for."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self.done = True

    def __call__(self, data: bytes, most: int) -> bytes:
        found = b""
        while data and len(found) < most:
            found += self._stream.decompress(data, most - len(found))
            self.done = self._stream.eof
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if self._stream.eof:
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
        return found


def _request_bytes(request: httpx.Request) -> bytes:
    lines = [b"GET " + request.url.raw_path + b" HTTP/1.1", *(name + b": " + value for name, value in request.headers.raw)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
