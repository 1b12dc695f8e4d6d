"""Where the server listens, and under which names it may be called."""

import errno
import ipaddress
import socket

from scratchlm.core.errors import UsageError

REASONS = {
    errno.EADDRINUSE: "something else listens there already. Choose another with --port, or stop the other server",
    errno.EACCES: "this user may not listen there. Choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address. Leave --host out",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> tuple[str, ...]:
    """Host names under which a server on loopback may be called; an IPv6 address comes in brackets or not, as the framework reads it."""
    return ("localhost", "127.0.0.1", host, f"[{host}]")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket (``port`` 0: a free one); UsageError says what is in the way."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        reason = REASONS.get(error.errno or 0, f"{error.strerror}. Choose another with --host or --port")
        raise UsageError(f"{host}:{port}: {reason}.") from None
    return bound
