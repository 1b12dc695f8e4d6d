"""Where a person or a machine is reached: e-mail addresses, IP addresses, phone numbers, street addresses."""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from scratchlm.privacy.pii_pattern import Pattern, always, before, is_thing

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
"""Endings of hosts that are no names of methods: an opening bracket may follow."""
NO_BOX_BEFORE = re.compile(
    r"://[^\s/@]{0,100}$|@$|(?i:message-id|references|in-reply-to):\s{0,3}(?:<[^<>\s]{0,90}>\s{0,3}){0,3}<(?:[^<>\s]{0,60})$"
)
"""What an address is a part of: the user within a URL, a handle such as @jane@example.com, the number of a message."""


def is_email(text: str, start: int, end: int) -> bool:
    """Not a file, a system unit, a method of a matrix product, the target of a copy, or the user within a URL."""
    if NOT_TOP.search(text[start:end]) or text.startswith(("git@", "hg@"), start):
        return False
    if PATH_AFTER.match(text, end) or (text.startswith("(", end) and not SURE_TOP.search(text[start:end])):
        return False
    return not NO_BOX_BEFORE.search(before(text, start, 110))


AT, DOT = r"[(\[{](?:at|AT)[)\]}] {0,2}", r" {0,2}[(\[{](?:dot|DOT)[)\]}] {0,2}"
END = rf"(?![{LETTER}@]|[_-]{{1,9}}[{LETTER}])"
HOST = rf"(?:{LABEL}\.){{1,8}}{TOP}{END}"
EMAIL = (
    Pattern(re.compile(rf"@{HOST}"), is_email, left=re.compile(LOCAL + "$")),
    Pattern(re.compile(rf"@{HOST}(?!')"), is_email, ("'",), left=re.compile(WITH_APOSTROPHE + "$")),
    Pattern(re.compile(rf"%40{HOST}"), is_email, ("%40",), left=re.compile(LOCAL + "$")),
    Pattern(
        re.compile(rf"{AT}(?:{LABEL}(?:\.|{DOT})){{1,8}}{TOP}{END}"), always, ("(at)", "[at]", "{at}"), left=re.compile(LOCAL + " {0,2}$")
    ),
    Pattern(re.compile(rf"<(?P<value>{LOCAL} at (?:{LABEL}\.){{1,8}}{TOP})>"), always, (" at ",)),
)

PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"))
)
"""Ranges for use within one house. Loopback, netmasks, multicast and the like are the same on every machine and are no one's."""
EXAMPLES = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))
VERSION = re.compile(
    r"(?i)(?:(?<![a-z])(?:v|ver|version|versie|firmware|release|build|driver|section|clause|chapter|article|rule|oid|kernel)s?"
    r"(?: (?:no|number|is|was|to))?[\s.:=#\"'(]{0,4}"
    r"|version\W{1,4}|[a-z]/|[a-z]-|==|>=|~=|§ ?)$"
)
ADDRESSED = re.compile(
    r"(?i)(?<![a-z])(?:ip|addr|address|host|server|from|dns|ping|client|peer|at|port|[\w-]{0,20}_ip)\b[^\n]{0,20}$|[@/\[]$"
)
LOGGED = re.compile(r" \S{1,40} \S{1,40} \[\d")
"""User and time in the log of a web server."""
RESOLVERS = frozenset(("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"))


def address_of(value: str) -> str | None:
    """``public``, ``private``, or None for what is no address or belongs to no machine. Ranges for examples count as public."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if value.endswith("::"):
        return None
    if any(address in network for network in PRIVATE):
        return None if address.version == 4 and value.endswith((".0", ".255")) else "private"
    meant = address.is_global and not address.is_multicast
    return "public" if meant or any(address in network for network in EXAMPLES) else None


NETWORK = re.compile(r"/\d{1,3}(?!\d)")


def is_network(text: str, start: int, end: int) -> bool:
    """Whether a prefix length follows and the address has no bits beyond it, as in 10.0.0.0/8; one with /32 is a machine's."""
    prefix = NETWORK.match(text, end)
    try:
        return prefix is not None and ipaddress.ip_network(text[start : prefix.end()]).num_addresses > 1
    except ValueError:
        return False


def ipv4(reach: str) -> Callable[[str, int, int], bool]:
    """Whether four numbers are an address of that reach, and not a version, a section or an outline: those are small and stand alone."""

    def meant(text: str, start: int, end: int) -> bool:
        value = text[start:end]
        if address_of(value) != reach or is_network(text, start, end) or VERSION.search(before(text, start, 30)):
            return False
        outline = before(text, start, 1) in ("", "\n") and text[end : end + 2].lstrip(" ").istitle()
        parts = [int(part) for part in value.split(".")]
        small = (parts[0] < 30 and sum(part < 30 for part in parts) > 2) or parts[3] == 0
        small = small and reach == "public" and (outline or value not in RESOLVERS)
        return not small or text.startswith(":", end) or bool(LOGGED.match(text, end) or ADDRESSED.search(before(text, start, 30)))

    return meant


def ipv6(reach: str) -> Callable[[str, int, int], bool]:
    """Whether it is an address of that reach, and not a slice such as x[2000::2]."""

    def meant(text: str, start: int, end: int) -> bool:
        sliced = text[start - 1 : start] == "[" and text[max(0, start - 2) : start - 1].isalnum()
        if text.count(":", start, end) == 7 and end - start < 7 + 8 * 2.5:
            return False  # eight pairs are the number of a disc or a part of a fingerprint
        return not sliced and address_of(text[start:end]) == reach and not is_network(text, start, end)

    return meant


FOUR = re.compile(r"[0-9](?<![\w.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9]|-[A-Za-z])")
HEX = r"(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])"
# Eight groups of mostly three or four digits are unmistakable, whatever range they are from.
EIGHT = r"[0-9a-fA-F](?<![\w:.].)[0-9a-fA-F]{0,3}(?::[0-9a-fA-F]{1,4}){7}(?![\w:])"
IPV4, IPV4_PRIVATE = (Pattern(FOUR, ipv4("public")),), (Pattern(FOUR, ipv4("private")),)
IPV6 = (Pattern(re.compile(r"[23](?<![\w:.].)[0-9a-fA-F]{3}" + HEX), ipv6("public")), Pattern(re.compile(EIGHT), ipv6("public")))
IPV6_PRIVATE = (Pattern(re.compile(r"[fF](?<![\w:.].)(?:[cCdD][0-9a-fA-F]{2}|[eE][89abAB][0-9a-fA-F])" + HEX), ipv6("private"), ("f",)),)

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
    r"(?:tel|call|calls|fax|cell|ring|reach|dial|desk|handy|sms|pager|ph|bel|ruf|fixe|tlf|kom|cel|message|messages|answering|ligue|liga|port|dom|fisso)(?![a-zà-ÿ])"
    r"|teleph|telef|teléf|telèf|phone|mobil|móvil|whatsapp|cellul|celul|hotline|msisdn|tél|appel|portable|llam|chiam|anruf|rufnummer|zadzwoń|komórk|fone"
    r"|contact[ _]number|kontakt|contact|erreichbar|joignable|reserva|dzwoń|☎|тел|संपर्क|电话|手机|電話|携帯|फ़ोन|전화"
)
CALLED = re.compile(rf"(?i)(?:(?<![a-z])(?:{CALL})|phone|_tel|(?:my|his|her|our|your)\b[\w ]{{0,20}}number)(?! number)[^\d+]{{0,30}}$")
CALL_HINTS = ("number", "☎", *re.findall(r"[^\W_]+", CALL.partition(")")[0] + CALL.partition("ÿ])")[2]))
LABELLED = re.compile(
    r"(?i)(?<![a-z])(?:tel(?:e(?:ph|f)on[eo]?)?|phone|ph|mobile?|móvil|cell(?:ular|ulare)?|fax|desk|whatsapp|handy|tél|portable)"
    r"(?:[ _]?(?:no|nr|number))?\.?\s{0,2}[:=.]\s{0,3}$"
)
NAMED_AFTER = re.compile(r"(?i)[ ,(-]{1,3}(?:office|fax|mobile|cell|phone)\b")
EXTENSION = r"(?:,? ?(?:x|ext\.? ?)\d{1,6})?(?!\w)"
PLUS = re.compile(r"[+0](?<![\w+.].)(?:(?<=\+) ?|(?<=0)0)[1-9][\d ().\-/\xa0]{6,22}\d" + EXTENSION)
NANP = re.compile(
    r"[(1-9](?<![\w.+/=-].)(?:(?<=1)[-. ]\(?|)(?:(?<=\()[2-9]\d{2}\)[ -]?[2-9]\d{2}[-. ]|(?<=[2-9])\d{2}([-.])[2-9]\d{2}\1"
    r"|(?<=1[-. ])[2-9]\d{2}([-. ])[2-9]\d{2}\2)\d{4}(?!-\w|\.\d)" + EXTENSION
)
BRITISH = re.compile(r"[(0](?<![\w./+#-].)(?:(?<=0)|0)\d{2,4}\)? \d{3,4}(?: \d{3,4}|\d{2,3})(?![\w-]|\.\d| \d)")
NATIONAL = re.compile(r"[(0-9](?<![\w./+#-].)(?:(?<=\d)|\d)[\d ().\-/\xa0]{5,20}\d" + EXTENSION)


def phones(text: str, lower: str, regions: Sequence[str] = REGIONS) -> Iterator[tuple[int, int]]:
    """Numbers with a country's code, those in the very form of North America or Britain, and others beside a word such as "call".

    Behind a label such as "Tel.:" the library need not know the number: seven to fifteen digits that are no date will do.
    """
    if "+" in text or "00" in text:
        yield from _valid(text, PLUS, (None,))
    if "US" in regions or "CA" in regions:
        yield from _valid(text, NANP, ("US",))
    if "GB" in regions:
        yield from ((start, end) for start, end in _valid(text, BRITISH, ("GB",)) if is_grouped(text[start:end], "GB"))
    if any(hint in lower for hint in CALL_HINTS):
        yield from _valid(text, NATIONAL, regions, near=CALLED)


def _valid(
    text: str, shape: re.Pattern[str], regions: Sequence[str | None], near: re.Pattern[str] | None = None
) -> Iterator[tuple[int, int]]:
    for match in shape.finditer(text):
        start, end = match.span()
        lead = before(text, start)
        named = NAMED_AFTER.match(text, end) is not None
        if (near and not named and not near.search(lead)) or DATE.match(match.group()) or is_thing(lead):
            continue
        length = _length_of_number(match.group(), regions)
        if length or ((named or LABELLED.search(lead)) and is_dialled(match.group())):
            yield start, start + (length or end - start)


# A day, or a decimal fraction: one dot alone parts no number that people dial.
DATE = re.compile(r"[^.]*\d\.\d[^.]*$|(?:1[5-9]|20)\d\d[-/.]|\d{1,2}[-/.]\d{1,2}[-/.](?:1[5-9]|20)?\d\d$")


def is_dialled(value: str) -> bool:
    """Whether it has as many digits as a number that can be dialled, and is no date."""
    return 7 <= sum(letter.isdigit() for letter in value) <= 15 and not DATE.match(value)


SEPARATORS = " ./-(\xa0"


def _length_of_number(value: str, regions: Sequence[str | None]) -> int:
    """Characters of the longest valid number at the start, 0 if there is none: what follows a blank may be another number."""
    while sum(letter.isdigit() for letter in value) >= 7:
        if any(is_phone(value, region) for region in regions):
            return len(value)
        value = value[: max(value.rfind(mark) for mark in SEPARATORS) + 1].rstrip(SEPARATORS)
    return 0


def is_grouped(value: str, region: str) -> bool:
    """Whether blanks part the digits just where the country's own directories part them."""
    import phonenumbers

    own = phonenumbers.format_number(phonenumbers.parse(value, region), phonenumbers.PhoneNumberFormat.NATIONAL)
    return re.findall(r"\d+", value) == re.findall(r"\d+", own)


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
