"""Private values in a text: where they are and of which kind; placeholders or invented values in their place. The values are never kept.

`KINDS` says what is looked for; `scratchlm.privacy.pii_labelled` measures how well.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scratchlm.core.errors import UsageError
from scratchlm.privacy import passwords, pii_contacts, pii_hosts, pii_national, pii_numbers, pii_streets, pii_surrogates, secrets
from scratchlm.privacy.pii_pattern import Hints, Pattern, lowered
from scratchlm.privacy.pii_surrogates import Invent

STAGE = "pii"
"""The stage that the edits name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is found, and what can stand in its place."""

    patterns: tuple[Pattern, ...]
    placeholder: str
    invent: Invent
    gate: re.Pattern[str] | None = None
    """Without a match of it anywhere in the text there is nothing of this kind."""
    long: bool = False
    """Whether a value is at least ``LONG`` characters without a blank: then hints are looked for in long words only, which are few."""


SEVEN_DIGITS = re.compile(r"[0-9](?:[ .()/\xa0\u202f‑–-]{0,3}[0-9]){6}")
"""Asked once for all the kinds that are numbers: most texts hold none."""
LONG = 20
"""Characters of a word that only few words have."""


KINDS: dict[str, Kind] = {
    "private_key": Kind(secrets.PRIVATE_KEY, "<private-key>", pii_surrogates.key_block),
    "api_key": Kind(secrets.API_KEY, "<key>", pii_surrogates.key, long=True),
    "secret": Kind(passwords.SECRET, "<secret>", pii_surrogates.alike),
    "email": Kind(pii_contacts.EMAIL, "<email>", pii_surrogates.email),
    "iban": Kind(pii_numbers.ACCOUNT, "<iban>", pii_surrogates.iban),
    "credit_card": Kind(pii_numbers.CREDIT_CARD, "<card>", pii_surrogates.unchecked(pii_numbers.is_card), gate=SEVEN_DIGITS),
    "us_ssn": Kind(pii_national.US_SSN, "<ssn>", pii_surrogates.ssn, gate=SEVEN_DIGITS),
    "br_cpf": Kind(pii_national.BR_CPF, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_cpf), gate=SEVEN_DIGITS),
    "fr_nir": Kind(pii_national.FR_NIR, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_nir), gate=SEVEN_DIGITS),
    "it_codice_fiscale": Kind(pii_national.IT_CODICE_FISCALE, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_codice_fiscale)),
    "es_dni": Kind(pii_national.ES_DNI, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_dni), gate=SEVEN_DIGITS),
    "in_aadhaar": Kind(pii_national.IN_AADHAAR, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_aadhaar), gate=SEVEN_DIGITS),
    "pl_pesel": Kind(pii_national.PL_PESEL, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_pesel), gate=SEVEN_DIGITS),
    "nl_bsn": Kind(pii_national.NL_BSN, "<national-id>", pii_surrogates.unchecked(pii_numbers.is_bsn), gate=SEVEN_DIGITS),
    "ipv6": Kind(pii_hosts.IPV6, "<ip>", pii_surrogates.ipv6),
    "ipv6_private": Kind(pii_hosts.IPV6_PRIVATE, "<ip>", pii_surrogates.ipv6_private),
    "ipv4": Kind(pii_hosts.IPV4, "<ip>", pii_surrogates.ipv4),
    "ipv4_private": Kind(pii_hosts.IPV4_PRIVATE, "<ip>", pii_surrogates.ipv4_private),
    "street_address": Kind(pii_streets.STREET_ADDRESS, "<address>", pii_surrogates.street),
    "phone": Kind((), "<phone>", pii_surrogates.phone, gate=SEVEN_DIGITS),
}
"""By priority: where two overlap, the upper one is meant."""

DEFAULT = tuple(KINDS)
"""Every kind is looked for unless told otherwise."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where a value is."""

    start: int
    end: int
    kind: str


Mode = Literal["placeholder", "surrogate"]


def find(text: str, kinds: Sequence[str] = DEFAULT, *, regions: Sequence[str] = pii_contacts.REGIONS) -> list[Span]:
    """The private values, from left to right, none inside another; ``regions``: whose national phone numbers count, by ISO code."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"There is no kind of private value called {unknown[0]}; known are {', '.join(KINDS)}.")
    lower = lowered(text)
    hints, long = Hints(lower), Hints(" ".join(word for word in lower.split() if len(word) >= LONG))
    taken: list[Span] = []
    asked: dict[re.Pattern[str], bool] = {}
    for name, kind in KINDS.items():
        if kind.gate and kind.gate not in asked:
            asked[kind.gate] = kind.gate.search(text) is not None
        if name in kinds and (kind.gate is None or asked[kind.gate]):
            found = sorted(_places(name, text, lower, long if kind.long else hints, regions), key=lambda place: (place[0], -place[1]))
            taken = merged(taken, [Span(start, end, name) for start, end in found])
    return taken


def _places(name: str, text: str, lower: str, hints: Hints, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    if name == "phone":
        yield from pii_contacts.phones(text, hints, regions)
    for pattern in KINDS[name].patterns:
        if pattern.hinted(hints):
            yield from pattern.find(text, lower)


def merged(taken: Sequence[Span], found: Sequence[Span]) -> list[Span]:
    """Both, from left to right: of ``taken`` all, of ``found`` what overlaps neither those nor an earlier one; in time of their number."""
    both: list[Span] = []
    rest = deque(taken)
    for span in found:
        while rest and rest[0].start < span.end:
            both.append(rest.popleft())
        if not both or both[-1].end <= span.start:
            both.append(span)
    return [*both, *rest]


def replace(text: str, spans: Sequence[Span], mode: Mode = "placeholder", seed: int = 0) -> tuple[str, list[dict[str, str | int]]]:
    """``text`` with something else at each span, and the edits: kind, place in the original and what stands there now.

    A placeholder is the kind in angle brackets. A surrogate is an invented value of the same form that belongs to no one; one value has
    one surrogate throughout the text, another in a text with another ``seed``.
    """
    parts, edits, position = [], [], 0
    for span in sorted(spans):
        kind, value = KINDS[span.kind], text[span.start : span.end]
        put = kind.placeholder if mode == "placeholder" else kind.invent(value, pii_surrogates.drawn(seed, span.kind, value))
        parts += [text[position : span.start], put]
        position = span.end
        edits.append({"op": f"pii:{span.kind}", "start": span.start, "end": span.end, "repl": put, "stage": STAGE})
    return "".join([*parts, text[position:]]), edits
