"""The chat page: one document with its style and script inside, which asks no other machine for anything."""

import base64
import functools
import hashlib
from importlib import resources

FOLDER = resources.files("scratchlm.serve")


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a content security policy names exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def page() -> str:
    """The whole document; it learns the model's name and the examples from the server when it opens."""
    return _read("page.html").replace("/* page.css */", _read("page.css")).replace("/* page.js */", _read("page.js"))


HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            f"style-src {_source(_read('page.css'))}",
            f"script-src {_source(_read('page.js'))}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""Only the style and script above may run, and they may talk to this server only."""
