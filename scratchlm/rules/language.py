"""Which language is a text in, and what must be known of a language before its words can be judged.

Identification: py3langid (Lui and Baldwin 2012, langid.py), whose model travels in its wheel. It was chosen on 470 sentences in 47
languages, with .943 of them right at some 900 texts of 2,000 characters a second.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scratchlm.core.errors import UsageError

UNKNOWN = "und"
"""No language could be told (the code of ISO 639-2)."""
FEWEST_LETTERS = 24
"""Of passages from manual pages in ten languages, .43 (of 8 characters) to .66 (of 20) are told right, and .81 to .86 of 30 and more, where
the rest is mostly English that they hold: below this no guess is made."""
SAMPLE, PLACES = 500, 3
"""Characters read at so many places of a long text; the whole of it would say the same at many times the cost."""
# Thai and Lao, Burmese, Khmer, Kana, Chinese (four blocks).
WITHOUT_BLANKS = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)  # fmt: skip
"""First and last code points of scripts that are written without blanks between words."""
SHORT = (
    "aar:aa abk:ab ave:ae afr:af aka:ak amh:am arg:an ara:ar asm:as ava:av aym:ay aze:az bak:ba bel:be bul:bg bis:bi bam:bm ben:bn "
    "bod:bo bre:br bos:bs cat:ca che:ce cha:ch cos:co cre:cr ces:cs chu:cu chv:cv cym:cy dan:da deu:de div:dv dzo:dz ewe:ee ell:el "
    "eng:en epo:eo spa:es est:et eus:eu fas:fa ful:ff fin:fi fij:fj fao:fo fra:fr fry:fy gle:ga gla:gd glg:gl grn:gn guj:gu glv:gv "
    "hau:ha heb:he hin:hi hmo:ho hrv:hr hat:ht hun:hu hye:hy her:hz ina:ia ind:id ile:ie ibo:ig iii:ii ipk:ik ido:io isl:is ita:it "
    "iku:iu jpn:ja jav:jv kat:ka kon:kg kik:ki kua:kj kaz:kk kal:kl khm:km kan:kn kor:ko kau:kr kas:ks kur:ku kom:kv cor:kw kir:ky "
    "lat:la ltz:lb lug:lg lim:li lin:ln lao:lo lit:lt lub:lu lav:lv mlg:mg mah:mh mri:mi mkd:mk mal:ml mon:mn mar:mr msa:ms mlt:mt "
    "mya:my nau:na nde:nd nep:ne ndo:ng nld:nl nno:nn nor:no nbl:nr nav:nv nya:ny oci:oc oji:oj orm:om ori:or oss:os pan:pa "
    "pli:pi pol:pl pus:ps por:pt que:qu roh:rm run:rn ron:ro rus:ru kin:rw san:sa srd:sc snd:sd sme:se sag:sg sin:si slk:sk slv:sl "
    "smo:sm sna:sn som:so sqi:sq srp:sr ssw:ss sot:st sun:su swe:sv swa:sw tam:ta tel:te tgk:tg tha:th tir:ti tuk:tk tgl:tl tsn:tn "
    "ton:to tur:tr tso:ts tat:tt twi:tw tah:ty uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wln:wa wol:wo xho:xh yid:yi yor:yo "
    "zha:za zho:zh zul:zu hbs:sh "
    # The older codes of ISO 639-2 and of ISO 639-1.
    "alb:sq arm:hy baq:eu bur:my chi:zh cze:cs dut:nl fre:fr geo:ka ger:de gre:el ice:is mac:mk mao:mi may:ms per:fa rum:ro slo:sk "
    "tib:bo wel:cy iw:he in:id ji:yi jw:jv mo:ro nob:no nb:no "
    # The usual form of a language that ISO 639-3 has in several, as FLORES-200 and FineWeb-2 write them.
    "cmn:zh arb:ar ekk:et lvs:lv pes:fa swh:sw zsm:ms npi:ne khk:mn uzn:uz azj:az kmr:ku plt:mg ory:or als:sq ydd:yi gaz:om quy:qu "
    "ayr:ay gug:gn knc:kr fuv:ff pbt:ps"
)
"""ISO 639-1 by longer and older codes of the same language."""
SHORTER = {long: short for long, _, short in (pair.partition(":") for pair in SHORT.split())}
TWO_LETTERS = frozenset(code for code in SHORTER.values() if len(code) == 2)
CODE = re.compile(r"[a-z]{2,3}(?=$|[-_.@])")


@dataclass(frozen=True, slots=True)
class Language:
    """What the rules that count words need to know; a language without a row is judged by its characters alone."""

    stop_words: frozenset[str]
    """Some of its commonest words, lower case: any plain text of some length holds two of them."""
    ends: tuple[str, ...] = (".", "!", "?", "…")
    """What the last sentence of a line ends with."""
    bits: float = 5.5
    """More than any passage of real text needs per character (``gibberish.py`` has the measurement)."""


def _language(words: str, ends: str = ".!?…", bits: float = 5.5) -> Language:
    return Language(frozenset(words.split()), tuple(ends), bits)


LANGUAGES: dict[str, Language] = {
    "en": _language("the be to of and that have with"),  # Gopher's own eight
    "de": _language("der die und das nicht ist mit ein"),
    "fr": _language("le la les et des que est une"),
    "es": _language("el los que y por con una las"),
    "it": _language("il che di per una con non della"),
    "pt": _language("o que e os uma com não para"),
    "nl": _language("het een van en niet dat zijn met"),
    "ru": _language("и в не на что с по как", bits=7.0),
    "pl": _language("i w nie na się z do jest"),
    "sv": _language("och att det som en på är inte"),
    "da": _language("og at det som en på er ikke"),
    "cs": _language("a je na se že v to pro"),
    "uk": _language("і в не на що з до як", bits=7.0),
    "el": _language("και το να του η της με την", ends=".!?…;", bits=7.0),
}
"""Languages with spaces between words whose stop words and marks are known here."""


def canonical(code: str) -> str:
    """The code of a language as it is written everywhere here: "en" for EN, en-US, en_GB.UTF-8, eng, eng_Latn.

    Two letters of ISO 639-1 where the language has them, else the three of ISO 639-3; "und" for what is no code of a language.
    """
    match = CODE.match(code.strip().lower())
    found = SHORTER.get(match.group(), match.group()) if match else UNKNOWN
    return found if len(found) == 3 or found in TWO_LETTERS else UNKNOWN


def checked(code: str) -> str:
    """The same, of a code that a user gives; UsageError when it is none."""
    found = canonical(code)
    if found == UNKNOWN != code:
        raise UsageError(f"corpus.languages: '{code}' is no code of a language. Give those of ISO 639, such as en, de, zh or yue.")
    return found


def identify(text: str) -> tuple[str, float]:
    """The language of ``text``, as `canonical` writes it, and its probability, ("und", 0.0) when the text is too short to tell.

    A long text is read at its beginning, middle and end. The same text gives the same answer on every machine.
    """
    sample = sampled(text, SAMPLE, PLACES)
    if sum(map(str.isalpha, sample)) < FEWEST_LETTERS:
        return UNKNOWN, 0.0
    found, probability = _model().classify(sample)
    # Rounded so that the last bits of a sum, which differ between processors, decide nothing.
    return canonical(str(found)), round(float(probability), 4)


def sampled(text: str, size: int, places: int) -> str:
    """A long text's beginning, end and what lies between at even distances; a short one whole."""
    if len(text) <= size * places:
        return text
    step = (len(text) - size) // (places - 1)
    return "\n".join(text[start : start + size] for start in range(0, step * places, step))


@lru_cache(maxsize=1)
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # heavy: unpacks 4 MB, only where text is judged

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
