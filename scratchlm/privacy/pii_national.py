"""Social security and national identity numbers: their layouts, and what beside a number says whose it is.

A layout with a strong check of its own (France, Italy, Brazil, Spain with dots) is enough unless a thing's name stands before it. The
others need the name of the number before or right after them or at the head of their column; an American number with dashes needs some word
about a person, since parts and cases are numbered alike.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from scratchlm.privacy.pii_numbers import (
    is_aadhaar,
    is_bsn,
    is_codice_fiscale,
    is_cpf,
    is_dni,
    is_nir,
    is_pesel,
    is_ssn,
    shape,
)
from scratchlm.privacy.pii_pattern import PERSON, Meant, Pattern, before, called, column, is_counted, is_thing, on_value, unless_thing


def behind(words: str) -> re.Pattern[str]:
    """The name of a number right after it: "(PESEL)", ", NIF", "is my SSN"."""
    return re.compile(
        r"(?i)[\s,;:()/|\"'<>–—-]{0,5}(?:(?:nr|n[°º]|no|numer|número|numéro|numero)\.? )?"
        r"(?:(?:is|ist|est|es|è|é|jest|to) (?:my|mein|mon|mi|il mio|o meu|meu|mój|mijn) )?"
        rf"(?:{words})(?!\w{{0,12}}[\s:.=#(°º-]{{0,4}}(?:n[ro°º]\.? ?)?\d)"
    )


@dataclass(frozen=True, slots=True)
class Name:
    """What a number is called, and the people whose it is."""

    words: re.Pattern[str]
    behind: re.Pattern[str]
    called: re.Pattern[str]

    def beside(self, text: str, start: int, end: int) -> bool:
        """Whether it stands before the number, right after it or at the head of its column, and a thing's name does not."""
        lead = before(text, start)
        if is_thing(lead, self.called):
            return False
        return bool(self.words.search(lead) or self.behind.match(text, end) or self.words.search(column(text, start, end)))


def name(words: str, people: str = PERSON) -> Name:
    """One of the words."""
    return Name(re.compile(f"(?i){words}"), behind(words), called(f"{words}|{people}"))


SSN = (
    r"(?<![a-z])ssn|social[ _-]?sec(?:urity)?|(?:my|his|her|your|their) social(?! media)|soc\.? sec|ss#|seguro social|taxpayer id"
    r"|(?:full|wrong|the|whole) social(?= on|,| \()"
)
SSN_WORDS, SSN_CALLED = re.compile(f"(?i){SSN}"), called(f"{SSN}|{PERSON}|identif(?:ication|ying)|i\\.?d\\.?")
SAID = re.compile(
    rf"(?i)(?:{SSN})(?:[a-z_]{{0,12}}|(?:[\s/#(]{{1,3}}(?:no|nr|number|num|is|was|it|on|file|of|for|the|his|her|my|id|without|dashes|are"
    r"|reads|as|full|shows?|says|still|issued|reported|applicant|employee|taxpayer|patient|claimant|spouse|member|borrower|insured|student"
    r"|deceased|child|holder)\b\.?){0,7})[)\]]?[\s.:=#(\[\"'>,|/-]{0,6}(?:</?t[dh]>|A: (?:Yes\. )?){0,2}$"
)
"""Nothing but the number's own name stands between it and nine digits."""
AMOUNT = re.compile(
    r" (?:[a-z]{1,20} )?(?:people|persons|dollars|euros|famil|claim|benefi|(?!was |is |as |has |this |does |belongs|matches|appears"
    r"|fails)[a-z]{3,}s\b)"
)
"""What nine digits count."""
PEOPLE = re.compile(
    rf"(?i){SSN}|{PERSON}|(?<![a-z])(?:social|tin|taxes|w-?[249]|1099|1040|i-9|fafsa|k-1|dd-?214|cobra|payroll|personnel|wages?|salary"
    rf"|hired?"
    r"|d\.?o\.?b|born|birth|deceased|died|death|widow(?:er)?|husband|wife|son|daughter|mother|father|mom|dad|child(?:ren)?|kid|heir"
    r"|dependants?"
    r"|dependents|beneficiaries|soldier|army|navy|sgt|pvt|enlisted|discharged|medicare|medicaid|pension|retire[de]?|co-?borrower"
    r"|applicants?|tenant|occupants?|plaintiff|defendant|petitioner|respondent|inmate|offender|suspect|witness|passport|licen[cs]e|identity"
    r"|credit (?:report|bureau|check)"
    r"|background check|redact\w*|pii|mask\w*|anonymi\w*|breach|leak(?:ed)?|people|persons?|roster|(?:first|last|full|sur"
    r"|maiden)[ _]?names?|names?"
    r"|mrs?|ms|miss|guardian|partner|guarantor|signature|citizen(?:ship)?|nombre|empleado|marital|married|single)(?![a-z])"
)
"""Words about people: a number with dashes beside them is somebody's."""
PERSON_NAME = r"(?:[A-ZÀ-Ý][a-zà-ÿ'’-]{1,20}|[A-Z]\.|[A-ZÀ-Ý]{3,15})"
NAMED = re.compile(
    rf"{PERSON_NAME} (?:[A-Z]\. )?{PERSON_NAME} ?(?:[,:(–—|\t-] ?|  +){{1,2}}$|{PERSON_NAME}, {PERSON_NAME}(?: [A-Z]\.)? ?[,:(–—"
    rf"|\t-]?[ \t]{{0,3}}$"
)
"""A name before a number, with a mark between them or within the name."""
NAME_BEHIND = re.compile(rf"[ ,;:\t–—-]{{2,4}}{PERSON_NAME},? {PERSON_NAME}")
MINE = re.compile(r"(?i)\b(?:my|mine|his|her|hers|your)\b[^\n]{0,20}$")
DATED = re.compile(r"[\s,;|]{1,4}\d{1,2}[/-]\d{1,2}[/-](?:19|20)?\d\d\b")


def dashed(text: str, start: int, end: int) -> bool:
    """Three, two and four digits that are somebody's: not called a thing's, and with a word about people, a name or a date beside them."""
    lead, head = before(text, start), column(text, start, end)
    if not is_ssn(text[start:end]) or is_counted(head or lead, SSN_CALLED):
        return False
    around = before(text, start, 200) + "\n" + text[end : end + 90]
    return bool(PEOPLE.search(head) or PEOPLE.search(around) or NAMED.search(lead) or MINE.search(lead) or DATED.match(text, end))


def plain(text: str, start: int, end: int) -> bool:
    """Nine digits, in one or with blanks, right behind the number's own name or under it, and no number of things."""
    value, lead = text[start:end], before(text, start)
    if not is_ssn(value) or SSN_WORDS.search(column(text, start, end)):
        return is_ssn(value)
    if value.isdigit():
        return SAID.search(lead) is not None and not AMOUNT.match(text, end)
    return SSN_WORDS.search(lead) is not None


US_SSN = (
    Pattern(shape(r"\d{2}([-‐‑–])\d{2}\1\d{4}(?!/\d)"), dashed),
    Pattern(shape(r"\d{2}([ .]?)\d{2}\1\d{4}"), plain, ("ssn", "social", "soc", "ss#")),
)

DNI = r"(?<![a-z])(?:dni|d\.n\.i|nif|n\.i\.f|nie|n\.i\.e|identidad|identificad)"
DNI_NAME = name(DNI)
SPANISH = re.compile(
    rf"(?i){DNI}|(?<![a-zà-ÿ])(?:contribuyente|interventora?|votante|vecin[oa]|titular|solicitante|interesad[oa]|alumn[oa]s?"
    rf"|pasajer[oa]|paciente"
    r"|trabajador|trabajadora|emplead[oa]|soci[oa]|abonad[oa]|cliente|testigo|denunciante|demandante|demandad[oa]|arrendatari[oa]"
    r"|arrendador|apoderad[oa]"
    r"|representante|firmante|tutora?|padres?|madre|hij[oa]|don|doña|d\.ª?|dña|sra?|nombre|apellidos?|admitid[oa]s|aspirantes?"
    r"|opositor|opositora"
    r"|excluid[oa]s|candidat[oa]|presidente|presidenta|secretari[oa]|vocal|suplente|heredero|heredera|comprador|compradora|vendedora?"
    r"|conductora?"
    r"|asegurad[oa]|becari[oa]|jugadora?|administrador|administradora|notari[oa]|autónom[oa]|profesora?|docente|huésped|inquilin[oa]"
    r"|propietari[oa])(?![a-zà-ÿ])"
)
"""Words about people in Spain."""


def dni(text: str, start: int, end: int) -> bool:
    """Eight digits and their letter: named, or beside a name or a word about people and not called a thing's."""
    value, lead = text[start:end], before(text, start)
    if not is_dni(value):
        return False
    if DNI_NAME.beside(text, start, end):
        return True
    if not value[-1].isupper() or " " in value or is_counted(column(text, start, end) or lead, DNI_NAME.called):
        return False
    return bool(SPANISH.search(lead) or SPANISH.search(text[end : end + 40]) or NAMED.search(lead) or NAME_BEHIND.match(text, end))


LETTERED = r"[0-9X-Zx-z](?<![\w.+-].)"
ES_DNI = (
    Pattern(
        shape(r"(?:(?<=\d)\d\.\d{3}\.\d{3}[ -]?[A-Z]|(?<=[X-Z])-?\d{7}-?[A-Z])", LETTERED),
        unless_thing(is_dni, DNI_NAME.called),
    ),
    Pattern(shape(r"(?:(?<=\d)\d{7}|(?<=[X-Zx-z])\d{7})[ -]?[A-Za-z]", LETTERED), dni),
)

CPF = r"(?<![a-z])c\.?p\.?f(?![a-z])|cpf|contribuinte"
CPF_NAME = name(CPF)


def cpf(text: str, start: int, end: int) -> bool:
    """With the dots and the dash that it is printed with, yes; with a dash alone unless called a thing's; else the name must stand"
    " beside."""
    value = text[start:end]
    if not is_cpf(value):
        return False
    if value[-3] == "-" and value[3] != " ":
        return value[3] == "." or not is_counted(before(text, start), CPF_NAME.called)
    return CPF_NAME.beside(text, start, end)


BR_CPF = (Pattern(shape(r"\d{2}([. ]?)\d{3}\1\d{3}[-/. ]?\d{2}"), cpf),)

NIR = r"(?<![a-z])(?:nir|n° ?ss|insee|vitale)(?![a-z])|num[eé]ro_?ss|s[ée]cu|social security"
NIR_NAME = name(NIR, f"{PERSON}|assurée?|patiente?|matricule|immatriculation")


def nir(text: str, start: int, end: int) -> bool:
    """Its key is strong: parted as it is printed or with a month of birth it needs no name, unless a thing's stands there."""
    value = text[start:end]
    if not is_nir(value):
        return False
    if value.isalnum() and not 1 <= int(value[3:5]) <= 12:
        return NIR_NAME.beside(text, start, end)
    return not is_counted(column(text, start, end) or before(text, start), NIR_NAME.called)


FR_NIR = (
    Pattern(
        shape(
            r"([ .\xa0\u202f-]?)\d\d\1(?:0[1-9]|1[0-2]|[2-9][0-9])\1(?:\d\d|2[ABab])\1\d{3}\1\d{3}(?:\1| ?[/|–-] ?| (?:clé|clef"
            r"|cle) ?:? ?)\d\d",
            r"[12](?<![\w.+-].)",
        ),
        nir,
    ),
)

PLACE = r"[0-9LMNP-V]"
"""A digit of a codice fiscale: of two people with the same one, the second has letters for digits."""
CODICE = rf"[A-Z]{{5}}{PLACE}{{2}}[ABCDEHLMPRST]{PLACE}{{2}}[A-Z]{PLACE}{{3}}[A-Z](?![^\W_]|-\w)"
IT_CODICE_FISCALE = (
    Pattern(
        re.compile(
            r"[0-9](?<=[A-Z ].)[0-9][ABCDEHLMPRST](?:[04][1-9]|[1256][0-9]|[37][01]) ?[A-Z][0-9]{3} ?[A-Z](?![^\W_]|-\w)", re.IGNORECASE
        ),
        on_value(is_codice_fiscale),
        left=re.compile(r"(?<![^\W_])[A-Za-z]{3} ?[A-Za-z]{3} ?$"),
        reach=9,
    ),
    Pattern(
        re.compile(r"[A-Z](?<![^\W_].)" + CODICE, re.IGNORECASE),
        on_value(is_codice_fiscale),
        ("fiscal", "c.f.", "cf"),
        re.compile(r"(?i)codice ?fiscale|fiscal code|(?<![a-z])c\.?f(?![a-z])"),
    ),
)


def named(holds: Callable[[str], bool], words: str) -> Meant:
    """A test of the value, which one of the words must name."""
    own = name(words)
    return lambda text, start, end: holds(text[start:end]) and own.beside(text, start, end)


NL_BSN = (
    Pattern(
        shape(r"(?:\d{8}|\d{3}([. -])\d{2}\1\d{3}|\d{2}([. -])\d{3}\2\d{3})"),
        named(is_bsn, r"(?<![a-z])bsn|burgerservice|sofi-?nummer|citizen service"),
        ("bsn", "burgerservice", "sofi", "citizen service"),
    ),
)
PL_PESEL = (Pattern(shape(r"\d{5}[ -]?\d{5}"), named(is_pesel, "pesel"), ("pesel",)),)
IN_AADHAAR = (
    Pattern(
        shape(r"\d{3}([ -]?)\d{4}\1\d{4}", r"[2-9](?<![\w.+-].)"),
        named(is_aadhaar, r"aadha+r|uidai|(?<![a-z])uid(?![a-z])|आधार"),
        ("aadha", "uid", "आधार"),
    ),
)
