"""Put a trained model behind an OpenAI-shaped interface and a chat page, on this machine unless told otherwise."""

import socket
import sys
from contextlib import suppress

import uvicorn
from rich.console import Console
from starlette.middleware.trustedhost import TrustedHostMiddleware

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError
from scratchlm.generate.speaker import Speaker
from scratchlm.serve.app import create_app
from scratchlm.serve.choose import UNTAUGHT, examples, newest_model
from scratchlm.serve.net import is_loopback, listen, names_of

CONNECTIONS = 64
"""At once; more are answered with 503."""


def show(home: Home, *, model: str | None = None, host: str = "127.0.0.1", port: int = 8000, api_key: str | None = None) -> None:
    """Serve the newest model of the run, or ``model``, until Ctrl-C."""
    if not is_loopback(host) and not api_key:
        raise UsageError(f"--host {host}: other machines could use the model without asking. Add --api-key, or leave --host out.")
    chosen = newest_model(home, model)
    with listen(host, port) as bound:
        speaker = Speaker.load(chosen.path)
        chats = chosen.name != UNTAUGHT
        app = create_app(speaker, api_key=api_key or None, examples=examples(chosen), chats=chats)
        if is_loopback(host):
            # Another name in the Host header means that a foreign site's name points at this machine.
            app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(names_of(host)))
        _greet(speaker.name, bound, chats=chats, key=bool(api_key))
        config = uvicorn.Config(app, log_level="warning", access_log=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=2)
        with suppress(KeyboardInterrupt):  # uvicorn stops cleanly, then passes the signal on
            uvicorn.Server(config).run(sockets=[bound])


def _greet(name: str, bound: socket.socket, *, chats: bool, key: bool) -> None:
    host, port = bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    body = '{"messages": [{"role": "user", "content": "Hello"}]}' if chats else '{"prompt": "Once", "max_tokens": 40}'
    path = "/v1/chat/completions" if chats else "/v1/completions"
    secret = " -H 'Authorization: Bearer KEY'" if key else ""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(f"{name} answers at {url} (a page to talk to it) and {url}/v1 (the OpenAI interface). Ctrl-C stops.", markup=False)
    console.print(f"Try: curl {url}{path} -H 'Content-Type: application/json'{secret} -d '{body}'", markup=False)
