"""Bytes as text: marks at the start first, then UTF-8, what is declared, what the bytes look like, at last the Western page of Windows.

UTF-8 is asked before a declaration because bytes that pass its rules by chance are rare, while pages that declare something else and are
UTF-8 are common.
"""

import codecs
import re

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 before UTF-16, whose mark is the start of the other's."""
DECLARED = re.compile(
    rb"""<meta[^>]{0,500}?charset\s{0,9}=\s{0,9}["']?\s{0,9}([A-Za-z0-9_:.-]{2,40})|encoding=["']([A-Za-z0-9_:.-]{2,40})""", re.I
)
LOOKED_AT = 4096
"""Bytes in which a page declares its charset; HTML asks for it within 1024."""
CONTROLS = bytes([*range(1, 9), 11, *range(14, 27), *range(28, 32), 127])
"""Bytes that texts do not hold; tab, newlines, form feed and the escape of old Japanese mails are left out of them."""
MOST_CONTROLS = 0.01
SAMPLE = 2**20
"""Bytes at the start that are looked at when bytes are counted or a charset is guessed."""
MOST_WRONG = 0.002
"""Of the characters: more that a charset does not know mean that it is another one. Broken bytes in real pages are fewer."""
MOST_NULS = 0.001
"""Of the bytes of a page, one in any case: programs let one slip in, and browsers pass over it."""
MOST_HIGH = 0.3
"""Of the bytes: a Western text has fewer accents than this."""
ALIASES = {
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
    "iso-8859-9": "cp1254", "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932",
    "sjis": "cp932", "x-sjis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "tis-620": "cp874", "iso-8859-11": "cp874",
    "windows-31j": "cp932", "big5": "big5hkscs", "x-mac-cyrillic": "mac_cyrillic", "macintosh": "mac_roman",
}  # fmt: skip
"""Names that the web uses for the larger page that contains the one they mean (encoding.spec.whatwg.org)."""

HANGUL, BEYOND_ASCII = re.compile("[\uac00-\ud7a3]"), re.compile("[^\x00-\x7f]")
NO_CHARSETS = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7", "mbcs", "oem")
"""What Python can decode beside them."""
WIDE = ("utf-16", "utf-32")


def decoded(data: bytes, *, declared: str | None = None, is_markup: bool = False) -> tuple[str, str, str]:
    """The text, its charset, and why it is no text (empty when it is).

    ``declared`` is what came with the bytes, such as the charset of an HTTP header; with ``is_markup`` what a page says of itself counts.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return _marked(data, name)
    sample = data[:SAMPLE]
    if b"\0" in data:
        wide = _wide(sample) or next((name for name in _declared(sample, declared, False) if name.startswith(WIDE)), "")
        if wide:
            return _marked(data, wide)
        if not is_markup or data.count(b"\0") > max(1, MOST_NULS * len(data)):
            return "", "", "it holds NUL bytes"
        data = data.replace(b"\0", b"")
        sample = data[:SAMPLE]
    if len(sample) - len(sample.translate(None, CONTROLS)) > MOST_CONTROLS * len(sample):
        return "", "", "more than one byte in a hundred is a control character"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _other(data, declared, is_markup)
    if "\x1b" in text and (found := _tried(data, [*_declared(sample, declared, is_markup), "iso2022_jp"], exact=True)):
        return found  # charsets of seven bits are valid UTF-8
    return text, "utf-8", ""


def codec_of(name: str | None) -> str:
    """Python's name for a charset of the web; empty when there is none, or when it is no charset of texts."""
    wanted = (name or "").strip().strip("\"'").lower()
    wanted = ALIASES.get(wanted, wanted)
    try:
        info = codecs.lookup(wanted)
    except (LookupError, ValueError):
        return ""
    is_text = getattr(info, "_is_text_encoding", True) and info.name.replace("_", "-") not in NO_CHARSETS
    return info.name if is_text else ""


def _marked(data: bytes, name: str) -> tuple[str, str, str]:
    text = data.decode(name, "replace")
    if text.count("\ufffd") > MOST_WRONG * len(text) + 1:
        return "", name, f"it starts as {name} and is not"
    return text, name, ""


def _wide(sample: bytes) -> str:
    """UTF-16 without a mark: in most texts every other byte is zero, all on the same side."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if len(sample) < 16 or len(sample) % 2 or max(even, odd) < 0.4 * half or min(even, odd) > 0.02 * half:
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _declared(sample: bytes, declared: str | None, is_markup: bool) -> list[str]:
    """Charsets that are claimed, the one that came from outside first."""
    inside = DECLARED.search(sample[:LOOKED_AT]) if is_markup else None
    claimed = (inside.group(1) or inside.group(2)).decode("ascii") if inside else None
    return [name for name in dict.fromkeys((codec_of(declared), codec_of(claimed))) if name]


def _tried(data: bytes, names: list[str], *, exact: bool) -> tuple[str, str, str] | None:
    """The first of ``names`` that fits: without a wrong byte, or else with few of them."""
    for name in names:
        try:
            text = data.decode(name, "strict" if exact else "replace")
        except (UnicodeError, ValueError):
            continue
        if exact or text.count("\ufffd") <= MOST_WRONG * len(text):
            return text, name, ""
    return None


def _other(data: bytes, declared: str | None, is_markup: bool) -> tuple[str, str, str]:
    """Bytes that are not valid UTF-8: what fits exactly comes before what fits but for a few bytes."""
    names = _declared(data[:SAMPLE], declared, is_markup)
    names = [name for name in names if not name.startswith(WIDE)]  # these hold NUL bytes
    single = [name for name in names if name != "utf-8"]
    if found := _tried(data, single, exact=True):
        return found
    if found := _tried(data, ["utf-8", *single], exact=False):
        return found
    if found := _tried(data, _guessed(data[:SAMPLE]), exact=False):
        return found
    if len(data[:SAMPLE]) - len(data[:SAMPLE].translate(None, bytes(range(128, 256)))) > MOST_HIGH * len(data[:SAMPLE]):
        return "", "", "it is neither UTF-8 nor a Western text"
    return data.decode("cp1252", "replace"), "cp1252", ""


def _guessed(sample: bytes) -> list[str]:
    """What the bytes look like; Korean is asked for by its letters, because the detector takes it for UTF-8."""
    from resiliparse.parse.encoding import detect_encoding  # heavy: only when bytes are not UTF-8

    name = codec_of(detect_encoding(sample))
    if name and not name.startswith(("utf-", "cp1252")):
        return [name]
    korean = sample.decode("cp949", "replace")
    return ["cp949"] if len(HANGUL.findall(korean)) > 0.8 * len(BEYOND_ASCII.findall(korean)) else []
