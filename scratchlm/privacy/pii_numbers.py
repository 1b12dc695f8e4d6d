"""Numbers that belong to one person: cards, accounts, social security and national identity numbers, each with its own check.

Cards: ISO/IEC 7812 (Luhn). IBAN: ISO 13616 with the lengths of its registry. Aadhaar: Verhoeff 1969. The other checks are those that the
issuing offices publish. A bare number without a check of its own counts only where a word before it says what it is.
"""

import re

from scratchlm.privacy.pii_pattern import PERSON, Pattern, before, called, is_thing, on_value, unless_thing


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
CARD_WORDS, CARD_CALLED = re.compile(f"(?i){CARD}"), called(CARD)


def card(text: str, start: int, end: int) -> bool:
    """Digits in one run may be any identifier, so no thing's name stands before them; after a word about cards every bank's will do."""
    value, lead = text[start:end], before(text, start)
    if is_thing(lead, CARD_CALLED):
        return False
    if CARD_WORDS.search(lead):
        return luhn(digits_of(value)) and len(set(digits_of(value))) > 1 and value[0] in "23456"
    common = not value.isdigit() or len(value) in (14, 15, 16)
    return common and is_card(value)


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
    r"[A-Z](?<![A-Za-z0-9].)(?=[A-Z][0-9]{2})(?:"
    + "|".join(
        f"(?:{'|'.join(f'(?<={country[0]}){country[1]}' for country, own in IBAN_LENGTHS.items() if own == length)})"
        f"[0-9]{{2}}(?:[ \\xa0-]?[A-Z0-9]){{{length - 4}}}"
        for length in sorted(set(IBAN_LENGTHS.values()))
    )
    + ")(?![A-Za-z0-9])"
)


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
    value = value.replace(" ", "").upper()
    digits = value[:5] + {"2A": "19", "2B": "18"}.get(value[5:7], value[5:7]) + value[7:]
    return digits.isdigit() and 97 - int(digits[:13]) % 97 == int(digits[13:])


ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
ODD_LETTERS = (*ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*ODD_DIGITS, *ODD_LETTERS), strict=True))


def is_codice_fiscale(value: str) -> bool:
    """Italy's codice fiscale: letters on odd places have values of their own, on even ones their order."""
    value = value.upper()
    even = sum(int(letter) if letter.isdigit() else ord(letter) - 65 for letter in value[1:15:2])
    return (even + sum(ODD[letter] for letter in value[0:15:2])) % 26 == ord(value[15]) - 65


def is_bsn(value: str) -> bool:
    """The Netherlands' BSN: weights 9 to 2 and -1, a multiple of 11."""
    digits = [int(digit) for digit in digits_of(value)]
    return any(digits) and sum(digit * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True)) % 11 == 0


def is_pesel(value: str) -> bool:
    """Poland's PESEL: weights 1, 3, 7, 9, and a date of birth whose month carries the century."""
    month, day = int(value[2:4]) % 20, int(value[4:6])
    check = sum(int(digit) * weight for digit, weight in zip(value, (1, 3, 7, 9) * 2 + (1, 3, 1), strict=True))
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


SSN = r"(?<![a-z])ssn|social sec(?:urity)?|(?:my|his|her|your|their) social(?! media)|soc\.? sec|ss#|seguro social|taxpayer id"
DNI = r"(?<![a-z])(?:dni|d\.n\.i|nif|n\.i\.f|nie|n\.i\.e|identidad|identificad)"
SSN_WORDS, DNI_WORDS = re.compile(f"(?i){SSN}"), re.compile(f"(?i){DNI}")
CPF_WORDS = re.compile(r"(?i)(?<![a-z])cpf|contribuinte")
NIR_WORDS = re.compile(r"(?i)(?<![a-z])(?:nir|n° ?ss|insee|vitale)(?![a-z])|s[ée]cu|social security")
BSN_WORDS = re.compile(r"(?i)(?<![a-z])bsn|burgerservice|sofi-?nummer|citizen service")
AADHAAR_WORDS = re.compile(r"(?i)aadha+r|uidai|(?<![a-z])uid(?![a-z])|आधार")

# A year may follow a card, but no further group of digits: that is a longer number.
CARD_END = r"(?!-?\w| (?!(?:19|20)\d\d(?! ?\d))\d{4}\b|\.\d)"
GROUPS = r"[2-6](?<![\w.+-].)(?<!\d[ -].)\d{3}([ -]?)(?:\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|\d{6}\1\d{4,5})"
CREDIT_CARD = (Pattern(re.compile(GROUPS + CARD_END, re.ASCII), card), Pattern(shape(r"\d{11,18}"), card))
ACCOUNT = (
    Pattern(re.compile(IBAN), on_value(is_iban)),
    Pattern(re.compile(IBAN, re.IGNORECASE), on_value(is_small_iban)),
    Pattern(re.compile(IBAN, re.IGNORECASE), on_value(is_iban), ("iban",), re.compile("(?i)iban")),
)
US_SSN = (
    Pattern(shape(r"\d{2}-\d{2}-\d{4}(?!/\d)"), unless_thing(is_ssn, called(f"{SSN}|{PERSON}"))),
    Pattern(shape(r"\d{2}([ .]?)\d{2}\1\d{4}"), on_value(is_ssn), ("ssn", "social", "soc", "ss#"), SSN_WORDS),
)
ES_DNI = (
    Pattern(
        shape(r"(?:(?<=\d)\d\.\d{3}\.\d{3}[ -]?[A-Z]|(?<=[X-Z])-?\d{7}-?[A-Z])", r"[0-9X-Z](?<![\w.+-].)"),
        unless_thing(is_dni, called(f"{DNI}|{PERSON}")),
    ),
    Pattern(
        shape(r"(?:(?<=\d)\d{7}|(?<=[X-Zx-z])\d{7})[ -]?[A-Za-z]", r"[0-9X-Zx-z](?<![\w.+-].)"),
        on_value(is_dni),
        ("dni", "d.n.i", "nif", "n.i.f", "nie", "n.i.e", "identi"),
        DNI_WORDS,
    ),
)
BR_CPF = (
    Pattern(shape(r"\d{2}\.\d{3}\.\d{3}-\d{2}"), on_value(is_cpf)),
    Pattern(shape(r"\d{10}"), on_value(is_cpf), ("cpf", "contribuinte"), CPF_WORDS),
)
NIR = r"{0}\d\d{0}(?:0[1-9]|1[0-2]|[2-9]\d){0}(?:\d\d|2[ABab]){0}\d{{3}}{0}\d{{3}}{0}\d\d"
FR_NIR = (
    Pattern(shape(NIR.format(" "), r"[12](?<![\w.+-].)"), on_value(is_nir)),
    Pattern(
        shape(NIR.format(""), r"[12](?<![\w.+-].)"),
        on_value(is_nir),
        ("nir", "°ss", "° ss", "insee", "vitale", "sécu", "secu", "social sec"),
        NIR_WORDS,
    ),
)
PLACE = r"[0-9LMNP-V]"
"""A digit of a codice fiscale: of two people with the same one, the second has letters for digits."""
CODICE = rf"[A-Z]{{5}}{PLACE}{{2}}[ABCDEHLMPRST]{PLACE}{{2}}[A-Z]{PLACE}{{3}}[A-Z](?![^\W_]|-\w)"
IT_CODICE_FISCALE = (
    Pattern(re.compile(r"[A-Z](?<![^\W_].)" + CODICE), on_value(is_codice_fiscale)),
    Pattern(
        re.compile(r"[A-Z](?<![^\W_].)" + CODICE, re.IGNORECASE),
        on_value(is_codice_fiscale),
        ("fiscal", "c.f.", "cf"),
        re.compile(r"(?i)codice ?fiscale|fiscal code|(?<![a-z])c\.?f(?![a-z])"),
    ),
)
NL_BSN = (
    Pattern(shape(r"(?:\d{8}|\d{3}\.\d{2}\.\d{3})"), on_value(is_bsn), ("bsn", "burgerservice", "sofi", "citizen service"), BSN_WORDS),
)
PL_PESEL = (Pattern(shape(r"\d{10}"), on_value(is_pesel), ("pesel",), re.compile(r"(?i)pesel")),)
IN_AADHAAR = (
    Pattern(shape(r"\d{3}([ -]?)\d{4}\1\d{4}", r"[2-9](?<![\w.+-].)"), on_value(is_aadhaar), ("aadha", "uid", "आधार"), AADHAAR_WORDS),
)
