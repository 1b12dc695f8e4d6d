"""Numbers that belong to one person, and the check of each: cards, accounts, social security and national identity numbers.

Cards: ISO/IEC 7812 (Luhn). IBAN: ISO 13616 with the lengths of its registry. Aadhaar: Verhoeff 1969. The other checks are those that the
issuing offices publish. Cards and accounts are looked for here, the other numbers in ``pii_national``.
"""

import re

from scratchlm.privacy.pii_pattern import Pattern, before, called, column, is_counted, is_thing, on_value


def digits_of(value: str) -> str:
    """The digits alone."""
    return "".join(letter for letter in value if "0" <= letter <= "9")


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


# Prefix, lengths: Visa, Mastercard (two ranges), American Express, Diners Club, Discover, JCB, UnionPay, Mir.
ISSUERS = tuple(
    (re.compile(prefix), lengths)
    for prefix, lengths in (
        (r"4", (13, 16, 19)),
        (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
        (r"3[47]", (15,)),
        (r"30[0-5]|36|3[89]", (14,)),
        (r"6011|64[4-9]|65", (16, 19)),
        (r"35(?:2[89]|[3-8])", (16, 19)),
        (r"62", (16, 19)),
        (r"220[0-4]", (16,)),
    )
)


def is_card(value: str) -> bool:
    """Luhn, and a prefix and length that an issuer uses."""
    digits = digits_of(value)
    return any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in ISSUERS) and luhn(digits)


CARD = r"card|visa|amex|maestro|(?<![a-z])(?:cc|pan)(?![a-z])|carte|carta|karte|tarjeta|cartão|karty"
OTHER_CARD = re.compile(
    r"(?i)(?:library|loyalty|member(?:ship)?|sim|id|identity|health|insurance|medicare|student|bus|travel|transit|rail"
    r"|gift|store|rewards?|bonus|club|points"
    r"|fuel|phone|calling|business|punch|time|key|access|report|score|memory|sd|graphics?|video|network|sound|smart|resident|donor"
    r"|vaccination|staff|parking"
    r"|green|yellow|red|post|birthday)[ _-]?cards?\b"
    r"|(?!\w{0,12}(?:kredit|bank|debit|zahl|giro|geld|spar|visa|master|prepaid))[a-zäöü-]{3,20}karte"
    r"|carte (?:vitale|sim|grise|navigo|d(?:e |u |es |['’])(?!cr[eé]dit|d[eé]bit|paiement))|tarjeta (?:sanitaria|sim|de (?!cr[eé]dito"
    r"|d[eé]bito|pago|banco))"
    r"|tessera|cartão (?:sim|d[eao] (?!cr[eé]dito|d[eé]bito|banco))|carta d(?:['’]|i |ella |el )(?!credito|debito|pagamento)"
    r"|(?!credit|bank|betaal|debet)[a-z-]{3,15}(?:kaart|pas)(?![a-z])|kart[aąęy] (?!kredyt|płatn|debet|bank|visa|master|na "
    r"|nr)[a-zą-ż]{3,}[ąaęj](?![a-zą-ż])"
)
"""Cards that pay nothing."""
ISSUED = re.compile(r"(?i)visa|master|amex|maestro|diners|discover|debit|credit|kredit|crédit|crédito|credito")
CARD_WORDS, CARD_CALLED = re.compile(f"(?i){CARD}"), called(CARD)


def card(text: str, start: int, end: int) -> bool:
    """Digits in one run may be any identifier, so no thing's name stands before them; after a word about cards every bank's will do."""
    value, lead, head = text[start:end], before(text, start), column(text, start, end)
    if is_thing(head or lead, CARD_CALLED):
        return False
    if OTHER_CARD.search(lead) and not ISSUED.search(lead):
        return False
    if CARD_WORDS.search(lead):
        return luhn(digits_of(value)) and len(set(digits_of(value))) > 1 and value[0] in "23456"
    common = not value.isdigit() or len(value) in (14, 15, 16)
    return common and is_card(value) and not is_counted(head or lead, CARD_CALLED)


IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22,
    "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
    "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27,
    "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "BI": 27, "DJ": 27, "FK": 18,
    "HN": 28, "MN": 20, "NI": 28, "OM": 23, "RU": 33, "SD": 18, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "YE": 30,
}  # fmt: skip
# One shape for each length, so that a word after the account is never taken for a part of it.
IBAN = (
    r"[0-9](?<=[A-Za-z]{2}.)(?<![A-Za-z0-9]...)[0-9](?:"
    + "|".join(
        f"(?:{'|'.join(f'(?<={country}..)' for country, own in IBAN_LENGTHS.items() if own == length)})"
        f"(?:[ \\xa0-]?[A-Z0-9]){{{length - 4}}}"
        for length in sorted(set(IBAN_LENGTHS.values()))
    )
    + ")(?![A-Za-z0-9])"
)
COUNTRY = re.compile("[A-Za-z]{2}$")


def is_iban(value: str) -> bool:
    """The whole, its first four characters moved to the end and letters read as 10 to 35, leaves 1 when divided by 97."""
    value = re.sub("[ \xa0-]", "", value).upper()
    return int("".join(str(int(letter, 36)) for letter in value[4:] + value[:4])) % 97 == 1


def is_small_iban(value: str) -> bool:
    """In small letters it must be more than the hexadecimal number of something."""
    account = re.sub("[ \xa0-]", "", value)[4:]
    return is_iban(value) and (account.isdigit() or not re.fullmatch("[0-9a-f]+", account.lower()))


def is_ssn(value: str) -> bool:
    """An area, a group and a serial number that are given out."""
    digits = digits_of(value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def is_dni(value: str) -> bool:
    """Spain's DNI and, where it begins with X, Y or Z, its NIE."""
    value = re.sub(r"[ .-]", "", value).upper()
    if not re.fullmatch("[0-9XYZ][0-9]{7}[A-Z]", value) or not int(value[1:-1]):
        return False
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(value[:-1].translate({88: "0", 89: "1", 90: "2"})) % 23] == value[-1]


def is_cpf(value: str) -> bool:
    """Brazil's CPF: two check digits; eleven equal ones pass but are never given out."""
    digits = [int(digit) for digit in digits_of(value)]
    return len(set(digits)) > 1 and all(
        sum(digit * weight for digit, weight in zip(digits, range(place + 1, 1, -1), strict=False)) * 10 % 11 % 10 == digits[place]
        for place in (9, 10)
    )


def is_nir(value: str) -> bool:
    """France's NIR: the key is 97 less the remainder; the two parts of Corsica count as 19 and 18."""
    value = re.sub(r"[^0-9AB]", "", value.upper())
    digits = value[:5] + {"2A": "19", "2B": "18"}.get(value[5:7], value[5:7]) + value[7:]
    return len(digits) == 15 and digits.isdigit() and 97 - int(digits[:13]) % 97 == int(digits[13:])


ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
ODD_LETTERS = (*ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*ODD_DIGITS, *ODD_LETTERS), strict=True))


def is_codice_fiscale(value: str) -> bool:
    """Italy's codice fiscale: letters on odd places have values of their own, on even ones their order."""
    value = value.replace(" ", "").upper()
    even = sum(int(letter) if letter.isdigit() else ord(letter) - 65 for letter in value[1:15:2])
    return (even + sum(ODD[letter] for letter in value[0:15:2])) % 26 == ord(value[15]) - 65


def is_bsn(value: str) -> bool:
    """The Netherlands' BSN: weights 9 to 2 and -1, a multiple of 11."""
    digits = [int(digit) for digit in digits_of(value)]
    return any(digits) and sum(digit * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True)) % 11 == 0


def is_pesel(value: str) -> bool:
    """Poland's PESEL: weights 1, 3, 7, 9, and a date of birth whose month carries the century."""
    digits = digits_of(value)
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    check = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9) * 2 + (1, 3, 1), strict=True))
    return check % 10 == 0 and 1 <= month <= 12 and 1 <= day <= 31


# Products in the group of rotations and reflections of a pentagon; a permutation of the digits, applied again at each place.
VERHOEFF = tuple(tuple((5 if (a < 5) != (b < 5) else 0) + (a + b if a < 5 else a - b) % 5 for b in range(10)) for a in range(10))
PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_aadhaar(value: str) -> bool:
    """India's Aadhaar: Verhoeff's check."""
    check = 0
    for place, digit in enumerate(map(int, reversed(digits_of(value)))):
        for _ in range(place % 8):
            digit = PERMUTATION[digit]
        check = VERHOEFF[check][digit]
    return check == 0


# The first digit, with nothing before it that would make it part of something longer, and the same at the end.
FIRST, END = r"[0-9](?<![\w.+-].)", r"(?![\w-]|\.[0-9])"


def shape(rest: str, first: str = FIRST) -> re.Pattern[str]:
    """A number that begins with ``first``; only ASCII digits count."""
    return re.compile(first + rest + END, re.ASCII)


# A year may follow a card, but no further group of digits: that is a longer number.
CARD_END = r"(?!-?\w| (?!(?:19|20)\d\d(?! ?\d))\d{4}\b|\.\d)"
GROUPS = r"[2-6](?<![\w.+-].)(?<!\d[ -].)\d{3}([ -]?)(?:\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{6}\1\d{4,5})"
CREDIT_CARD = (Pattern(re.compile(GROUPS + CARD_END, re.ASCII), card), Pattern(shape(r"\d{11,18}"), card))
ACCOUNT = (
    Pattern(re.compile(IBAN), on_value(is_iban), left=COUNTRY, reach=2),
    Pattern(re.compile(IBAN, re.IGNORECASE), on_value(is_small_iban), left=COUNTRY, reach=2),
    Pattern(re.compile(IBAN, re.IGNORECASE), on_value(is_iban), ("iban",), re.compile("(?i)iban"), left=COUNTRY, reach=2),
)
