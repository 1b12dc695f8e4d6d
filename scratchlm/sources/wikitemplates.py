"""Templates that stand for words of a sentence, and which words; all others are left out of the text.

The names are those of the English Wikipedia and of what other wikis took over from it.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from scratchlm.sources.wikilines import BREAK

FIRST = frozenset({
    "nowrap", "nobr", "nobold", "noitalic", "small", "smaller", "big", "bigger", "larger", "resize", "math", "mvar", "var", "bigmath",
    "mono", "tt", "angbr", "angbr ipa", "ipa", "angle bracket", "vr", "abbr", "tooltip", "visible anchor", "vanchor", "poem",
    "poemquote", "verse", "sic", "as written", "sup", "sub", "unicode", "nastaliq", "strong", "em", "bold", "italic", "underline",
    "overline", "smallcaps", "sc", "linktext", "ill", "interlanguage link", "iw", "flag", "flagu", "flagcountry", "country", "center",
    "left", "right", "block indent", "blockindent", "in5", "plainlist", "plain list", "flatlist", "ruby", "dfn", "annotated link",
    "anl", "gloss", "oldstyledate", "bartable", "ceil", "floor", "abs", "norm",
})  # fmt: skip
"""The first value is the text."""
LAST = frozenset({
    "lang", "transl", "transliteration", "tlit", "rtl-lang", "rtl lang", "script", "script/hebrew", "script/arabic", "wikt-lang",
    "audio", "langx", "langue", "idioma", "sort", "color", "font color", "align", "lsj", "native name", "url", "columns-list",
})  # fmt: skip
"""The last value is the text."""
SIGNS = {
    "!": "|", "=": "=", "·": " · ", "•": " • ", "dot": " · ", "middot": " · ", "bullet": " • ", "snd": " – ", "spnd": " – ",
    "sndash": " – ", "spaced ndash": " – ", "spaced en dash": " – ", "snds": " – ", "ndash": "–", "en dash": "–", "en-dash": "–",
    "mdash": "—", "em dash": "—", "mdashb": "—", "nbsp": " ", "spaces": " ", "space": " ", "sp": " ", "thinsp": " ", "pipe": "|",
    "'": "'", "'s": "'s", "'\"": "'\"", "' \"": "'\"", "\"'": "\"'", "\" '": "\"'", "-\"": "\"", "-'": "'", "pi": "π", "okina": "ʻ",
    "hamza": "ʼ", "br": BREAK, "break": BREAK, "crlf": BREAK, "clear": "\n", "minus": "−", "times": "×", "plusminus": "±", "±": "±",
    "half": "½", "yes": "Yes", "no": "No", "ya": "Yes", "na": "N/A", "n/a": "N/A", "tick": "Yes", "cross": "No", "dagger": "†",
    "double-dagger": "‡", "ellipsis": "…", "won": "Won", "nom": "Nominated", "tba": "TBA", "tbd": "TBD", "bce": " BCE", "ce": " CE",
    "bc": " BC", "ad": " AD",
}  # fmt: skip
"""Templates that stand for a sign or one word."""
MUSIC = {"flat": "♭", "b": "♭", "sharp": "♯", "#": "♯", "natural": "♮"}
UNITS = {
    "km2": "km²", "m2": "m²", "cm2": "cm²", "mm2": "mm²", "sqkm": "km²", "sqmi": "sq mi", "sqm": "m²", "sqft": "sq ft", "mi2": "sq mi",
    "ft2": "sq ft", "km3": "km³", "m3": "m³", "cm3": "cm³", "cumi": "cu mi", "cuft": "cu ft", "c": "°C", "f": "°F", "k": "K",
    "kph": "km/h", "km/h": "km/h", "/km2": "/km²", "/sqkm": "/km²", "/sqmi": "/sq mi", "m/s2": "m/s²", "lb": "lb", "lbf": "lbf",
    "foot": "ft", "inch": "in", "g/cm3": "g/cm³", "kg/m3": "kg/m³", "ha": "ha", "acre": "acres", "mpg": "mpg", "usgal": "US gal",
    "impgal": "imp gal", "long ton": "long tons",
}  # fmt: skip
RANGES = {
    "-": "–", "–": "–", "to": " to ", "and": " and ", "or": " or ", "by": " by ", "x": " × ", "×": " × ", "to(-)": " to ", "+/-": " ± ",
    "±": " ± ", "+": " + ", ",": ", ",
}  # fmt: skip
LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
HIGH = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
NAME = re.compile(r"[\w][\w .-]{0,40}")
NUMBER = re.compile(r"[+−-]?[\d.,/⁄ ]{1,30}")
DISAMBIGUATION = frozenset({
    "disambig", "disamb", "dab", "disambiguation", "hndis", "geodis", "numberdis", "mathdab", "letter-disambig", "begriffsklärung",
    "homonymie", "desambiguación", "desambig", "desambiguação", "disambigua", "dp", "doorverwijspagina", "ujednoznacznienie",
    "неоднозначность", "多義", "曖昧さ回避", "消歧义", "消歧義", "disambigpage", "동음이의", "توضيح", "פירושונים", "förgrening",
    "flertydig", "rozcestník", "egyértelműsítés", "anlam ayrımı", "disambiguasi", "trang định hướng",
})  # fmt: skip


def named(text: str) -> str:
    """A template's name as it is looked up."""
    name = " ".join(text.replace("_", " ").split()).lower()
    return name.removeprefix("template:").strip()


def is_disambiguation(name: str) -> bool:
    """Whether a page with this template only tells pages of the same name apart."""
    return name in DISAMBIGUATION or name.endswith((" disambiguation", " disambig"))


def words(name: str, fields: Sequence[str], title: str) -> str | None:
    """The words that a template stands for on the page ``title``; None when it is none of those known here."""
    values, options = arguments(fields)
    if name in FIRST and fields:
        return values[0] if values else fields[0].partition("=")[2] or fields[0]
    if (name in LAST or name.startswith("lang-")) and values:
        return values[-1]
    if name in ("pagename", "fullpagename", "basepagename", "subpagename"):
        return title
    function, colon, value = name.partition(":")
    if colon and function in ("formatnum", "lc", "uc", "lcfirst", "ucfirst", "plural", "nowiki"):
        return value.upper() if function == "uc" else value
    if write := WRITTEN.get(name):
        return write(values, options)
    return SIGNS.get(name)


def arguments(fields: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Values by their position, and those with a name."""
    values: list[str] = []
    options: dict[str, str] = {}
    for text in fields:
        key, sign, value = text.partition("=")
        key = key.strip()
        if sign and key.isdecimal() and len(key) < 3 and int(key) == len(values) + 1:
            values.append(value.strip())
        elif sign and NAME.fullmatch(key):
            options[key.lower()] = value.strip()
        else:
            values.append(text.strip())
    return values, options


def _converted(values: list[str], options: Mapping[str, str]) -> str:
    """``{{convert|5|to|10|km|mi}}`` is 5 to 10 km: as the author measured."""
    said, unit = "", ""
    for at, value in enumerate(values):
        word = RANGES.get(value.lower())
        if NUMBER.fullmatch(value) or (word is None and not at):
            said += f"{int(value):,}" if value.isdecimal() and len(value) > 3 else value.replace("+", " ") if "/" in value else value
        elif word is not None and at and not unit and at + 1 < len(values) and NUMBER.fullmatch(values[at + 1]):
            said += word
        else:
            unit = UNITS.get(value.lower(), value)
            more = values[at + 1 : at + 3]  # {{convert|5|ft|10|in}}: one length in two units
            if len(more) == 2 and NUMBER.fullmatch(more[0]):
                unit += f" {more[0]} {UNITS.get(more[1].lower(), more[1])}"
            break
    return f"{said}{'' if unit.startswith(('/', '°')) else ' '}{unit}".strip()


def _quoted(values: list[str], options: Mapping[str, str]) -> str:
    text = options.get("text") or options.get("quote") or (values[0] if values else "")
    by = options.get("author") or options.get("sign") or (values[1] if len(values) > 1 else "")
    work = options.get("source") or options.get("title") or (values[2] if len(values) > 2 else "")
    origin = ", ".join(filter(None, [by, work]))
    return f"\n\n{text}\n— {origin}\n\n" if text and origin else f"\n\n{text}\n\n" if text else ""


def _fraction(values: list[str], options: Mapping[str, str]) -> str:
    if len(values) > 2:
        return f"{values[0]} {values[1]}/{values[2]}"
    return "/".join(values) if len(values) > 1 else f"1/{values[0]}" if values else ""


def _measured(values: list[str], options: Mapping[str, str]) -> str:
    power = f"×10{options['e'].translate(HIGH)}" if options.get("e") else ""
    spread = f" ± {values[1]}" if len(values) > 1 and values[1] else ""
    unit = options.get("u") or options.get("ul") or ""
    return f"{values[0] if values else ''}{spread}{power}{' ' if unit else ''}{unit}"


def _japanese(values: list[str], options: Mapping[str, str]) -> str:
    foreign = ", ".join(filter(None, values[1:3]))
    shown = values[0] if values else ""
    return f"{shown} ({foreign})" if shown and foreign else shown or foreign


def _formula(values: list[str], options: Mapping[str, str]) -> str:
    return "".join(value if not at else value.translate(LOW) for at, value in enumerate(values))


def _dated(values: list[str], options: Mapping[str, str]) -> str:
    numbers = [value for value in values if value.isdecimal()][:3]
    return "-".join(value.zfill(2) for value in numbers) if numbers else " ".join(values)


def _as_of(values: list[str], options: Mapping[str, str]) -> str:
    start = "as of" if "lc" in options else "As of"
    return options.get("alt") or f"{start} {_dated(values, options)}"


def _ship(values: list[str], options: Mapping[str, str]) -> str:
    return " ".join(values[:2])


def _joined(values: list[str], options: Mapping[str, str]) -> str:
    return ", ".join(filter(None, values))


def _listed(values: list[str], options: Mapping[str, str]) -> str:
    return "".join(f"\n* {value}" for value in values if value) + "\n"


def _around(before: str, after: str = "") -> Callable[[list[str], Mapping[str, str]], str]:
    return lambda values, options: f"{before}{values[0]}{after}" if values else before.strip()


WRITTEN: dict[str, Callable[[list[str], Mapping[str, str]], str]] = {
    **dict.fromkeys(("convert", "cvt", "unité", "unit", "height", "railgauge"), _converted),
    **dict.fromkeys(
        ("quote", "blockquote", "cquote", "quotation", "quote box", "rquote", "bquote", "bq", "centered pull quote", "zitat"), _quoted
    ),
    **dict.fromkeys(("frac", "sfrac", "fraction", "tfrac", "fract"), _fraction),
    **dict.fromkeys(("val", "value"), _measured),
    **dict.fromkeys(("nihongo", "nihongo2", "nihongo3", "korean", "nihongo foot"), _japanese),
    **dict.fromkeys(("chem", "chem2", "chemf"), _formula),
    **dict.fromkeys(
        (
            "start date",
            "end date",
            "date",
            "dts",
            "film date",
            "start-date",
            "birth date",
            "death date",
            "birth date and age",
            "death date and age",
            "start date and age",
            "release date",
            "dtsh",
        ),
        _dated,
    ),
    **dict.fromkeys(("as of", "asof"), _as_of),
    **dict.fromkeys(("uss", "hms", "hmas", "hmcs", "ss", "rms", "mv", "sms", "ms"), lambda values, options: ""),
    **dict.fromkeys(("ship", "sclass", "sclass-"), _ship),
    **dict.fromkeys(("hlist", "csv", "cslist", "comma separated entries"), _joined),
    **dict.fromkeys(("ubl", "unbulleted list", "vunblist", "ublist", "bulleted list", "ordered list", "bullet list", "flowlist"), _listed),
    **dict.fromkeys(("us$", "usd"), _around("US$")),
    **dict.fromkeys(("gbp", "£"), _around("£")),
    **dict.fromkeys(("eur", "euro", "€"), _around("€")),
    **dict.fromkeys(("inr", "indian rupee"), _around("₹")),
    **dict.fromkeys(("code", "codett", "kbd", "samp", "tl", "tlx"), _around("`", "`")),
    **dict.fromkeys(("circa", "c.", "ca."), _around("c. ")),
    **dict.fromkeys(("nts", "number", "nombre", "num"), _around("")),
    "e": lambda values, options: "×10" + "".join(values[:1]).translate(HIGH),
    "sqrt": _around("√"),
    "keypress": lambda values, options: "+".join(values),
    "key press": lambda values, options: "+".join(values),
    "pow": lambda values, options: "".join(values[:1]) + "".join(values[1:2]).translate(HIGH),
    "isbn": _around("ISBN "),
    "floruit": _around("fl. "),
    "fl.": _around("fl. "),
    "respell": lambda values, options: "-".join(values),
    "columns": lambda values, options: "\n".join(options[name] for name in sorted(options) if re.fullmatch(r"col[1-9]", name)),
    "music": lambda values, options: MUSIC.get("".join(values[:1]), ""),
    "reign": lambda values, options: "r. " + "–".join(values[:2]),
    "born": _around("born "),
    "died": _around("died "),
    "sortname": lambda values, options: " ".join(values[:2]),
    "zh": lambda values, options: options.get("t") or options.get("s") or options.get("c") or "",
    "simplenuclide2": lambda values, options: f"{''.join(values[1:2]).translate(HIGH)}{''.join(values[:1])}",
    "nuclide2": lambda values, options: f"{''.join(values[1:2]).translate(HIGH)}{''.join(values[:1])}",
}
