"""Invented values in the form of real ones, which are no one's: from ranges set aside for examples, or with a check that cannot hold."""

import re
import string
from collections.abc import Callable
from random import Random

from scratchlm.core import seeds
from scratchlm.privacy import secrets

Invent = Callable[[str, Random], str]


def drawn(seed: int, kind: str, value: str) -> Random:
    """The source of chance for a value: the same value under the same seed draws the same."""
    return Random(seeds.derive(seed, f"pii {kind}", value=value))


def alike(value: str, random: Random) -> str:
    """Digits for digits, letters for letters, all else as it was."""
    return "".join(random.choice(letters) if (letters := _like(letter)) else letter for letter in value)


def _like(letter: str) -> str:
    if letter.isdigit():
        return string.digits
    return (string.ascii_uppercase if letter.isupper() else string.ascii_lowercase) if letter.isalpha() else ""


def unchecked(holds: Callable[[str], bool]) -> Invent:
    """Digits and letters drawn anew until ``holds`` says that no such number can be given out."""

    def invent(value: str, random: Random) -> str:
        while True:
            other = alike(value, random)
            if not holds(other):
                return other

    return invent


def ssn(value: str, random: Random) -> str:
    """Of the area 000, which is never given out."""
    return "000" + alike(value[3:], random)


def iban(value: str, random: Random) -> str:
    """The country stays; the check digits 00 are never given out."""
    return value[:2] + "00" + alike(value[4:], random)


def email(value: str, random: Random) -> str:
    """Somebody at example.com."""
    return f"user{random.randrange(10**6):06}@example.com"


def ipv4(value: str, random: Random) -> str:
    """From 192.0.2.0/24, which is for examples."""
    return f"192.0.2.{random.randint(1, 254)}"


def ipv4_private(value: str, random: Random) -> str:
    """From 10.0.0.0/8, which everybody uses."""
    return f"10.{random.randint(0, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def ipv6(value: str, random: Random) -> str:
    """From 2001:db8::/32, which is for examples."""
    return f"2001:db8:{random.randint(1, 0xFFFF):x}::{random.randint(1, 0xFFFF):x}"


def ipv6_private(value: str, random: Random) -> str:
    """A link-local address."""
    return f"fe80::{random.randint(1, 0xFFFF):x}:{random.randint(1, 0xFFFF):x}"


def phone(value: str, random: Random) -> str:
    """A number of 555-0100 to 555-0199, poured into the original's form where it has as many digits."""
    digits = f"20255501{random.randint(0, 99):02}"
    count = sum(letter.isdigit() for letter in value)
    if count not in (10, 11):
        return f"+1 202-555-01{digits[-2:]}"
    numbers = iter("1" + digits if count == 11 else digits)
    return "".join(next(numbers) if letter.isdigit() else letter for letter in value)


def street(value: str, random: Random) -> str:
    """A number in a street of examples, in the order of the original."""
    number = random.randint(1, 200)
    return f"{number} Example Street" if value[0].isdigit() else f"Musterstraße {number}"


def key(value: str, random: Random) -> str:
    """What every key of that provider begins with stays; all else is drawn."""
    own = max((len(prefix) for prefix in secrets.PREFIXES if value.lower().startswith(prefix)), default=0)
    return value[:own] + alike(value[own:], random)


FRAME = re.compile(r"-----(?:BEGIN|END) [A-Z ]{0,40}-----|\\[nr]|[A-Za-z-]{2,20}: |(?P<drawn>[A-Za-z0-9]+)")
"""The lines around a key, escaped line ends, names of headers; and what must go."""


def key_block(value: str, random: Random) -> str:
    """The first and the last line, with another body between."""
    return FRAME.sub(lambda match: alike(match.group(), random) if match["drawn"] else match.group(), value)
