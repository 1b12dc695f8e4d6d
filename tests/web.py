"""Small web servers on this machine for tests, and a clock that only moves when somebody sleeps."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = tuple[int, dict[str, str], bytes] | str | Callable[["Handler"], None]
"""Status, headers and body; or the body of an HTML page; or a function that does the talking."""


class Clock:
    """Time that stands still until somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


class Site:
    """A server: what it says, what it was asked, and when."""

    def __init__(self, clock: Clock) -> None:
        self.pages: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[datetime] = []
        self.clock = clock
        self.over = threading.Event()
        """Set at the end, so that a page that dawdles comes to its end."""
        self.address = ""

    def url(self, path: str = "/") -> str:
        return f"http://{self.address}{path}"

    @property
    def fetched(self) -> list[str]:
        """Pages asked for, without robots.txt."""
        return [path for path in self.asked if path != "/robots.txt"]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what many tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet: two cost 40 ms of waiting for each other
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append(self.path)
        site.headers.append({name.lower(): value for name, value in self.headers.items()})
        site.times.append(site.clock.now())
        reply = site.pages.get(self.path, (404, {}, b"nothing here"))
        if callable(reply):
            reply(self)
            return
        status, headers, body = (200, {"Content-Type": "text/html; charset=utf-8"}, reply.encode()) if isinstance(reply, str) else reply
        self.say(status, {"Content-Length": str(len(body))} | headers, body)

    def say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def hang_up(self) -> None:
        """Close the connection in the middle of a word."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


@contextmanager
def served(clock: Clock) -> Iterator[Site]:
    """A site on a free port of this machine, as long as the block lasts."""
    site = Site(clock)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.site = site
        site.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.over.set()
            server.shutdown()
            thread.join()


def page(*links: str, text: str = "Some words.", head: str = "") -> str:
    """An HTML page that leads to ``links``."""
    anchors = "".join(f'<a href="{link}">{link}</a>' for link in links)
    return f"<!doctype html><html><head><title>t</title>{head}</head><body><p>{text}</p>{anchors}</body></html>"
