"""Addresses of the web: one spelling for each page, whose it is, and which of them lead a crawler round in circles."""

import ipaddress
from collections import Counter

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for an IPv4 address, in their last 32 bits (RFC 6052)."""

KINDS = {
    ending: kind
    for kind, endings in {
        "image": "jpg jpeg png gif svg webp ico bmp tif tiff avif",
        "audio": "mp3 ogg wav flac m4a",
        "video": "mp4 webm avi mov mkv mpg mpeg",
        "archive": "zip gz bz2 xz 7z rar tar tgz iso dmg exe msi deb rpm apk jar",
        "style or script": "css js mjs woff woff2 ttf eot",
        "application/pdf": "pdf",
        "application/epub+zip": "epub",
    }.items()
    for ending in endings.split()
}
"""By the ending of a path. Only kinds with a '/' can be asked for."""


def normal(url: str, base: str | None = None) -> str | None:
    """The one spelling of an http or https address, without its fragment; None when it is none, or names a user.

    Changed is only what cannot change the page: case of scheme and host, default ports, dot segments, an empty path, characters that must
    be escaped. Nothing is sorted, nothing is cut from a query.
    """
    import httpx  # heavy: 0.1 s

    wanted = "".join(url.split("\n")).replace("\r", "").replace("\t", "").strip()
    try:
        found = httpx.URL(base).join(wanted) if base else httpx.URL(wanted)
        if found.scheme not in ("http", "https") or not found.host or found.userinfo or not 0 < (found.port or 80) < 2**16:
            return None
        host = found.netloc.decode("ascii").removesuffix(":80" if found.scheme == "http" else ":443")
        return f"{found.scheme}://{host}{found.raw_path.decode('ascii')}"
    except (httpx.InvalidURL, ValueError):
        return None


def kind_by_name(url: str) -> str | None:
    """The content type that the ending of a path promises, for the kinds that fill the web besides pages; None when it promises none."""
    _, dot, ending = path_of(url).rpartition("/")[2].rpartition(".")
    return KINDS.get(ending.lower()) if dot else None


def site_of(url: str) -> str:
    """Scheme, host and port of a normal address: what one robots.txt speaks for."""
    return "/".join(url.split("/", 3)[:3])


def host_of(url: str) -> str:
    """Host and port of a normal address: what one server answers to; default ports are not named."""
    return url.split("/", 3)[2]


def path_of(url: str) -> str:
    """A normal address without its query."""
    return url.partition("?")[0]


def allows(patterns: tuple[str, ...], host: str) -> bool:
    """Whether ``host`` is one of ``patterns``; ``*.example.org`` stands for all below ``example.org`` and for itself."""
    return any(host == pattern.removeprefix("*.") or (pattern.startswith("*.") and host.endswith(pattern[1:])) for pattern in patterns)


def is_loopback(host: str) -> bool:
    """Whether the name of a host, with or without a port, can only mean this machine."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; an IPv4 address inside an IPv6 one is looked at itself."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        found = inner or found
    return found.is_global and not found.is_multicast and not found.is_reserved


def trap(url: str, most_characters: int, most_repeats: int) -> str | None:
    """Why an address is likely one of endlessly many, such as ``/a/b/a/b/a/b``; None when nothing speaks for it."""
    if len(url) > most_characters:
        return "address too long"
    segments = Counter(part for part in path_of(url).split("/")[3:] if part)
    return "path repeats itself" if segments and max(segments.values()) > most_repeats else None
