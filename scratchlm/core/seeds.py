"""One seed, many independent streams: an integer for each purpose and place, the same on every machine."""

import hashlib


def derive(seed: int, purpose: str, **place: int | str) -> int:
    """A 63-bit seed for ``purpose`` at ``place`` (such as ``step=7, rank=0``); two purposes never share a stream."""
    words = [str(seed), purpose, *(f"{key}={value}" for key, value in sorted(place.items()))]
    digest = hashlib.blake2b("\x1f".join(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
