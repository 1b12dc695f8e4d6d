"""Where a person is reached: e-mail addresses and phone numbers."""

import re
from collections.abc import Container, Iterator, Sequence

from scratchlm.privacy.pii_pattern import Pattern, always, before, column, is_thing

# Latin letters and digits only: in Chinese or Japanese text an address stands between letters without a blank.
LETTER = "A-Za-z0-9À-ɏ"
LABEL = rf"[{LETTER}](?:[{LETTER}-]{{0,61}}[{LETTER}])?"
# Signs of mark-up and encoded ones before the first letter are no part of it. Mail systems write more than the 64 characters allowed.
LOCAL = rf"(?<!%)(?<!%[0-9A-Fa-f])[{LETTER}][{LETTER}_.+%-]{{0,255}}"
WITH_APOSTROPHE = rf"(?<![{LETTER}'])[{LETTER}][{LETTER}_.+-]{{0,30}}'[{LETTER}][{LETTER}_.+-]{{0,63}}"
TOP = r"[A-Za-zÀ-ɏ]{2,24}"
NOT_TOP = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|js|css|html?|json|xml|ya?ml|txt|toml|lock|exe|dll|service|socket|timer|target|mount|slice|device)$"
)
"""Endings of files and of system units, as in logo@2x.png and getty@tty1.service."""
PATH_AFTER = re.compile(r":[\w.~-]{0,60}/|:[\w.-]{1,60}\.git\b")
SURE_TOP = re.compile(r"\.(?:com|org|net|edu|gov|mil|int|info|(?!to|mm)[a-z]{2})$")
"""Endings of hosts that are no names of methods: an opening bracket or the end of code may follow."""
NO_BOX_BEFORE = re.compile(
    r"://[^\s/@]{0,100}$|@$|(?i:message-id|references|in-reply-to):\s{0,3}(?:<[^<>\s]{0,90}>\s{0,3}){0,3}<(?:[^<>\s]{0,60})$"
)
"""What an address is a part of: the user within a URL, a handle such as @jane@example.com, the number of a message."""


def is_email(text: str, start: int, end: int) -> bool:
    """Not a file, a system unit, a method of a matrix product, the target of a copy, or the user within a URL."""
    if NOT_TOP.search(text[start:end]) or text.startswith(("git@", "hg@"), start):
        return False
    if PATH_AFTER.match(text, end) or (text.startswith(("(", "``"), end) and not SURE_TOP.search(text[start:end])):
        return False
    return not NO_BOX_BEFORE.search(before(text, start, 110))


AT = r"[(\[{<] ?(?:(?i:at|arroba)|@) ?[)\]}>] {0,2}"
DOT = r" {0,2}[(\[{<] ?(?:(?i:dot|punkt|punto|point|ponto|kropka|punt)|\.) ?[)\]}>] {0,2}"
END = rf"(?![{LETTER}@]|[_-]{{1,9}}[{LETTER}])"
HOST = rf"(?:{LABEL}\.){{1,8}}{TOP}{END}"
SPOKEN_TOP = "(?:com|org|net|edu|gov|info|io|de|fr|uk|es|it|nl|pl|pt|br|ca|au|eu|ch|at)"
SPOKEN = re.compile(rf"(?<![{LETTER}.])[{LETTER}][{LETTER}_+-]{{0,40}}(?:(?:\.| dot )[{LETTER}_+-]{{1,40}}){{0,3}}$")
"""What stands before "at example dot org"."""
EMAIL = (
    Pattern(re.compile(rf"@{HOST}"), is_email, left=re.compile(LOCAL + "$")),
    Pattern(re.compile(rf"@{HOST}(?!')"), is_email, ("'",), left=re.compile(WITH_APOSTROPHE + "$")),
    Pattern(re.compile(rf"%40{HOST}"), is_email, ("%40",), left=re.compile(LOCAL + "$")),
    Pattern(
        re.compile(rf"{AT}(?:{LABEL}(?:\.|{DOT})){{1,8}}{TOP}{END}"),
        always,
        (
            "(at)",
            "[at]",
            "{at}",
            "<at>",
            "( at )",
            "[ at ]",
            "(@)",
            "[@]",
            "(ät)",
            "arroba",
            "chiocciola",
            "arobase",
            "małpa",
            "apenstaartje",
        ),
        left=re.compile(rf"(?<![{LETTER}])(?:[{LETTER}][{LETTER}_+-]{{0,40}}{DOT}){{0,3}}{LOCAL} {{0,2}}$"),
    ),
    Pattern(re.compile(rf"(?i) at (?:{LABEL} dot ){{1,4}}{SPOKEN_TOP}(?![{LETTER}])"), always, (" dot ",), left=SPOKEN),
    Pattern(re.compile(rf"<(?P<value>{LOCAL} at (?:{LABEL}\.){{1,8}}{TOP})>"), always, (" at ",)),
)

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "BR", "IN", "AU", "IE", "AT", "CH", "BE", "PT", "SE", "JP", "CN")
"""Whose national numbers are known, tried in this order."""
TRUNK_ZERO = frozenset(("GB", "DE", "FR", "NL", "AU", "IE", "AT", "CH", "BE", "SE", "JP"))
"""Where a national number begins with 0; without it most numbers would be valid somewhere."""
DIGITS = {
    "US": (10, 11),
    "CA": (10, 11),
    "ES": (9, 9),
    "IT": (8, 11),
    "PL": (9, 9),
    "BR": (10, 12),
    "IN": (10, 11),
    "PT": (9, 9),
    "CN": (11, 12),
}
"""How many a national number has where it begins with any digit: most others are told apart without asking the library."""
# Set aside for stories, so that no one is called; the library holds them for invalid.
FICTION = re.compile(r"\+(?:44(?:7700900|1632960)\d{3}|3363998\d{4})$")
CALL = (
    r"(?:tel|call|calls|fax|cell|ring|reach|dial|desk|handy|sms|pager|ph|bel|ruf|fixe|tlf|kom|cel|message|messages|answering|ligue"
    r"|liga|port|dom|fisso|gsm|mob|txt|text|txts|texts|signal|viber|fijo|faks)(?![a-zà-ÿ])"
    r"|teleph|telef|teléf|telèf|phone|mobil|móvil|whatsapp|cellul|celul|hotline|msisdn|tél|appel|portable|llam|llám|chiam|anruf"
    r"|rufnummer|zadzwoń|komórk|fone|contact[ _]number|kontakt|contact|erreichbar|joignable|reserva|dzwoń|☎|тел|संपर्क|电话|手机|電話"
    r"|携帯|फ़ोन|전화"
    r"|festnetz|durchwahl|zentrale|notruf|helpline|helpdesk|switchboard|landline|secrétariat|centralita|centralino|recapito|infolinia"
    r"|contacto|contato"
    r"|telemóvel|telemovel|sprechstunde|notdienst|bereitschaft|störung|storing|pannen|dépannage|urgences|urgencias|emergencia"
    r"|pronto intervento|pogotowie"
    r"|verkaufe|zu vermieten|suche|biete|se vende|vendo|alquil|razón|interesad|pregunta|te koop|te huur|vragen|melden bij|vends|loue"
    r"|renseignements"
    r"|vendesi|affitt|informazioni|sprzedam|kupię|wynajm|informacj|vende-se|alugo|aluga|falar com|busco|cerco |cherche|szukam|procuro"
    r"|gesucht|gezocht|for sale|for rent|to let|ask for|inquir|enquir|rsvp"
    r"|rückfragen|auskunft|bereikbaar|informatie|hausmeister|huisarts|taxi|klempner|plumber|electrician|handyman|babysitter|dentist"
)
CALLED = re.compile(rf"(?i)(?:(?<![a-z])(?:{CALL})|phone|_tel|(?:my|his|her|our|your)\b[\w ]{{0,20}}number)(?! number)[^\d+]{{0,30}}$")
COMMON = ("ring", "tel", "call", "port", "let", "text", "number", "☎")
"""Asked first: most texts hold one of them."""
CALL_HINTS = (
    *COMMON,
    *{max(re.findall(r"[^\W_]+", word), key=len) for word in CALL.replace("(?:", "").split("|") if re.search(r"[^\W_]", word)},
)
LABELLED = re.compile(
    r"(?i)(?<![a-z])(?:t[eé]l(?:[eé](?:ph|f)o{1,2}n[eo]?)?|phone|ph|mobiele?|mobil|mob|m[óo]vil|cell?(?:ular|ulare)?|(?:tele)?fax"
    r"|desk|whatsapp|handy|portable|festnetz|durchwahl|gsm|telem[óo]vel)(?:[ _]?(?:no|nr|number))?\.?\s{0,2}[:=.]\s{0,3}$"
)
NAMED_AFTER = re.compile(
    r"(?i)[ ,(-]{1,3}(?:office|fax|mobile|cell|phone)\b| ?\((?:tel|home|work|direct|main|landline|handy|mobil"
    r"|privat|dienstlich|büro|portable|bureau|domicile"
    r"|fixe|móvil|fijo|casa|oficina|cellulare|ufficio|gsm|whatsapp|telefon)\b| is (?:mine\b|my (?:\w{1,8} )?(?:number|cell|mobile|phone))"
)
ASKED = re.compile(
    r"(?i)(?<![a-z])(?:call|ring|dial|phone|reach|ll[áa]m[ae]\w{0,4}|appele[rz]|chiama\w{0,4}|bel|bellen"
    r"|ligue|zadzwoń|anrufen|rufen sie)(?:[ -]\w{1,8}){0,2} (?:at|on|al|au|le|op|para|pod|unter|sur|il|lo) $"
)
"""Somebody asks for a call."""
END_OF_NUMBER = r"(?:(?!\w)|(?=x\d))"
"""An extension behind the number is no part of it."""
INSIDE = r"(?:[\d().\-/‑]|[ \xa0\u202f](?! ))"
"""What may stand within a number: two blanks part two of them."""
PLUS = re.compile(rf"[+0](?<![\w+.].)(?:(?<=\+) ?|(?<=0)0)[1-9]{INSIDE}{{6,22}}\d" + END_OF_NUMBER)
NANP = re.compile(
    r"[(1-9](?<![\w.+/=-].)(?:(?<=1)[-. ]\(?|)(?:(?<=\()[2-9]\d{2}\)[ -]?[2-9]\d{2}[-. ]|(?<=[2-9])\d{2}([-.‑])[2-9]\d{2}\1"
    r"|(?<=1[-. ])[2-9]\d{2}([-. ])[2-9]\d{2}\2)\d{4}(?!-\w|\.\d)" + END_OF_NUMBER
)
BRITISH = re.compile(r"[(0](?<![\w./+#-].)(?:(?<=0)|0)\d{2,4}\)? \d{3,4}(?: \d{3,4}|\d{2,3})(?![\w-]|\.\d| \d)")
ALONE = re.compile(
    r"[(0](?<![\w./+#:,-].)(?<!\d .)(?:(?<=\()0[1-9]\d{1,4}\) ?[1-9]\d{1,8}(?: ?\d{2,4}){0,3}"
    r"|(?<=0)[1-9]\d{1,4} ?/ ?[1-9]\d{1,8}(?: ?\d{2,4}){0,3}"
    r"|(?<=\()0[1-9]\d{1,4}\) ?[1-9]\d{2,7}-\d{1,4}|(?<=0)[1-9]\d{1,4} ?/ ?[1-9]\d{2,7}-\d{1,4}"
    r"|(?<=0)[1-9]\d{1,3}-[1-9]\d{4,7}|(?<=0)1[5-7]\d{1,2} \d{7,8}|(?<=0)[1-9]([ .\xa0\u202f])\d\d(?:\1\d\d){3})(?![\w/-]|[ .]\d|[.,]\d)"
)
"""How Germany and its neighbours part a town's code from the number, a German mobile, and the five pairs of France."""
CELL = re.compile(r"[2-9](?<![\w.+/=-].)\d{2} [2-9]\d{2} \d{4}(?= {0,3}(?:$|[\n|·•;<\"\t,)?!]|\.(?!\d)))")
CELL_BEGUN = re.compile(r"(?:^|[\n|·•;>\"\t,(:“]|[^\W\d]{2}) {0,3}$")
"""North America's form with blanks, where neither number nor sign stands before and a mark or the end of the line behind."""
OWN = re.compile(
    r"[(0-9](?<![\w.+/=-].)(?:(?<=[6-9])\d{2}([ .])\d{2}\1\d{2}\1\d{2}"
    r"|(?<=0)(?:6[- ]?[1-9]\d{7}|6[- ]\d{2}(?: \d{2}){3}|[1-9]\d[- ]\d{3} ?\d{4}|[1-9]\d{2}[- ]\d{6}|[1-9]\d \d{3} \d{2} \d{2}"
    r"|\d{3}[ /]\d{2}([ .])\d{2}\2\d{2})"
    r"|(?<=3)\d{2}[ ./-]\d{6,7}|(?<=0)4\d{2} \d{3} \d{3}|(?<=\()0[2378]\) \d{4} \d{4}|(?<=\()\d{2}\) ?9?\d{4}-\d{4}"
    r"|(?<=[4-8])\d{2}-\d{3}-\d{3}|(?<=0)[1-9]\d{1,3} [1-9]\d{5,7})(?![\w/-]| ?\d|[.,]\d)"
)
"""How numbers, most of them of mobiles, are written in Germany, Spain, the Netherlands, Switzerland, Belgium, Italy, Australia, Brazil and
Poland, and little else is."""
OWNERS = ("DE", "ES", "NL", "CH", "BE", "IT", "AU", "IE", "BR", "PL")
FREE_OF_DIGITS = re.compile(r"(?:^|[^\d\s.,]|[^\d\s][.,]|\n)\s{0,3}[\"'“«(]?$")
NATIONAL = re.compile(rf"[(0-9](?<![\w./+#-].)(?:(?<=\d)|\d){INSIDE}{{5,20}}\d" + END_OF_NUMBER)


def phones(text: str, hints: Container[str], regions: Sequence[str] = REGIONS) -> Iterator[tuple[int, int]]:
    """Numbers with a country's code, those in the very form of some countries, and others beside a word such as "call".

    Behind a label such as "Tel.:" the library need not know the number: seven to fifteen digits that are no date will do.
    """
    if "+" in text or "00" in text:
        yield from (place for place in _valid(text, PLUS, (None,)) if is_parted(text, *place))
    if "US" in regions or "CA" in regions:
        yield from _valid(text, NANP, ("US",))
        yield from _valid(text, CELL, ("US",), near=CELL_BEGUN)
    if "GB" in regions:
        yield from ((start, end) for start, end in _valid(text, BRITISH, ("GB",)) if is_grouped(text[start:end], "GB"))
    if own := [region for region in OWNERS if region in regions]:
        yield from _valid(text, OWN, own, near=FREE_OF_DIGITS)
    if own := [region for region in ("DE", "FR", "AT", "CH", "BE") if region in regions]:
        yield from ((start, end) for start, end in _valid(text, ALONE, own) if is_whole(text[start:end]))
    if any(hint in hints for hint in CALL_HINTS):
        yield from _valid(text, NATIONAL, regions, near=CALLED)


def _valid(
    text: str, shape: re.Pattern[str], regions: Sequence[str | None], near: re.Pattern[str] | None = None
) -> Iterator[tuple[int, int]]:
    for match in shape.finditer(text):
        start, end = match.span()
        lead = before(text, start)
        if DATE.match(match.group()) or is_thing(lead):
            continue
        named = NAMED_AFTER.match(text, end) is not None
        if near and not named and not near.search(lead) and not CALLED.search(column(text, start, end)):
            continue
        length = _length_of_number(match.group(), regions)
        if length or ((named or LABELLED.search(lead) or ASKED.search(lead)) and is_dialled(match.group())):
            yield start, start + (length or end - start)


def is_parted(text: str, start: int, end: int) -> bool:
    """Whether a number with 00 before its country is more than a row of digits, or stands where a call is spoken of."""
    value = text[start:end]
    return not (value.startswith("00") and value.isdigit()) or CALLED.search(before(text, start)) is not None


def is_whole(value: str) -> bool:
    """Whether it has ten digits at least, and not as five pairs in rising order: so winning numbers are printed."""
    parts = re.findall(r"\d+", value)
    return sum(map(len, parts)) > 9 and (len(parts) != 5 or parts != sorted(parts))


# A day, or a decimal fraction: one dot alone parts no number that people dial.
DATE = re.compile(r"[^.]*\d\.\d[^.]*$|(?:1[5-9]|20)\d\d[-/.]|\d{1,2}[-/.]\d{1,2}[-/.](?:1[5-9]|20)?\d\d$")


def is_dialled(value: str) -> bool:
    """Whether it has as many digits as a number that can be dialled, and is no date."""
    return 7 <= sum(letter.isdigit() for letter in value) <= 15 and not DATE.match(value)


SEPARATORS = " ./-(\xa0\u202f‑"


def _length_of_number(value: str, regions: Sequence[str | None]) -> int:
    """Characters of the longest valid number at the start, 0 if there is none: what follows a blank may be another number."""
    while sum(letter.isdigit() for letter in value) >= 7:
        if any(is_phone(value, region) for region in regions):
            return len(value)
        value = value[: max(value.rfind(mark) for mark in SEPARATORS) + 1].rstrip(SEPARATORS)
    return 0


def is_grouped(value: str, region: str) -> bool:
    """Whether blanks part the digits just where the country's own directories part them; a mobile's may part anywhere."""
    import phonenumbers

    own = phonenumbers.format_number(phonenumbers.parse(value, region), phonenumbers.PhoneNumberFormat.NATIONAL)
    return value.startswith("07") or re.findall(r"\d+", value) == re.findall(r"\d+", own)


def is_phone(value: str, region: str | None) -> bool:
    """Whether the number can exist, in ``region`` when it has no country's code."""
    digits = sum(letter.isdigit() for letter in value.replace("e", "x").partition("x")[0])
    least, most = DIGITS.get(region or "", (0, 99))
    if (region in TRUNK_ZERO and value.lstrip("(")[0] != "0") or not least <= digits <= most:
        return False
    import phonenumbers  # heavy: a twentieth of a second, and only where something looks like a number

    if region is None and value.startswith("00"):
        value = "+" + value[2:]
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) or bool(
        FICTION.match(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    )
