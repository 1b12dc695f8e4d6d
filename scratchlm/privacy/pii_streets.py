"""Street addresses as they are written in the United States, Britain, the German-, Dutch-, French-, Spanish-, Portuguese- and
Italian-speaking countries, and boxes at a post office.
"""

import re

from scratchlm.privacy.pii_pattern import Pattern, always, before


# Words that seldom mean anything but a street, and words that often do ("A Smooth Drive", "Centre Court").
def in_capitals(words: str) -> str:
    """The words and, of those with three letters or more, the same in capitals."""
    return "|".join([*words.split("|"), *(word.upper() for word in words.split("|") if len(word) > 2)])


STREET = in_capitals("Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Lane|Ln|Terrace|Parkway|Pkwy|Crescent|Mews|Grove")
PLACE = in_capitals("Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Circle|Cir|Close|Gardens|Row|Walk|Hill|Trail|Highway|Hwy")
NO_NAME = "A|An|And|At|By|For|From|Home|How|In|Of|On|Or|The|To|With|Your|Yard|Mile|Supreme|High Court"
NAME = rf"(?:(?!(?:{NO_NAME})\b)[A-Z][\w'’]{{0,20}}\.?|\d{{1,3}}(?:st|nd|rd|th))"
FLAT = rf",? (?:{in_capitals('Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room')})\b\.? ?(?:\d[\w-]{{0,5}}|[A-Z]\d{{0,4}}\b)"
UNIT = rf"(?:{FLAT}|,? #\w{{1,6}})"
POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}"
CITY = r"[A-Z][A-Za-z.'’-]{1,20}(?: [A-Z][A-Za-z.'’-]{1,20}){0,3}"
BEHIND = rf"(?:,\s{{0,2}}|\n){CITY}(?:,? {POSTCODE}|,? [A-Z]{{2}} \d{{5}}(?:-\d{{4}})?)(?!\w)"
TOWN = rf"(?P<town>{BEHIND})"
NUMBER = rf"[0-9](?<![\w./-].)(?<!\d[,:].)[0-9]{{0,4}}(?:[-–][0-9]{{1,5}})?[A-Za-z]? (?:[NSEW]\.? )?(?:{NAME} )"
DOTTED = "(?:" + "|".join(f"(?<={word})" for word in ("St", "Rd", "Ave", "Blvd", "Ln", "Dr", "Ct", "Pl", "Sq", "Hwy", "Pkwy", "Cir")) + ")"
SIDE = r"(?: (?:NW|NE|SW|SE|[NSEW])\b)?"
ENGLISH = re.compile(rf"{NUMBER}{{1,4}}(?:(?P<sure>{STREET})|{PLACE})\b(?:{DOTTED}\.(?=[.,;\"'<)]| \d))?{SIDE}{UNIT}?{TOWN}?")
# Whatever the street is called, a flat or a town with its code after it will do.
UNNAMED = re.compile(rf"{NUMBER}{{0,3}}{NAME}(?:{UNIT}?{TOWN}|{FLAT})")

AFTER = (
    r"[0-9]{1,3}(?: ?[a-z])?(?: ?[-–] ?\d{1,3}[a-z]?)?(?!\w|\.\d|[.,]? ?(?:Uhr|Euro|km|Meter))"
    r"(?:(?:,\s{0,2}|\n)(?:[A-Z]{1,2}-)?(?:\d{5}|\d{4}(?: ?[A-Z]{2})?) [A-ZÄÖÜ][\wäöüß.-]{1,25}"
    r"(?: (?:im|am|an der|in) [A-ZÄÖÜ][\wäöüß]{2,20})?)?"
)
WORD = r"[A-ZÄÖÜ][\wäöüß]{1,20}"
ONE_WORD = rf"[A-ZÄÖÜ][\wäöüß.-]{{1,30}}|(?:{WORD}er|Alte|Neue|Große|Kleine|Obere|Untere|Lange|Kurze|Breite|Hohe) (?:{WORD})?"
"""What stands before the ending in "Lindenweg", "Karl-Marx-Str.", "Berliner Straße", "Untere Badgasse"."""


def german(endings: str, lead: str) -> Pattern:
    """Streets whose name ends so, behind what ``lead`` describes."""
    words = endings.split()
    behind = "|".join(f"(?<=(?i:{re.escape(word)}) )" for word in words)
    left = re.compile(rf"(?<![\w-])(?:{lead})(?i:{'|'.join(map(re.escape, words))}) $")
    shape = re.compile(f" (?=[0-9])(?:{behind})(?P<value>{AFTER})")
    return Pattern(shape, is_german_street, tuple(f"{word} " for word in words), left=left)


NO_STREET = re.compile(r"(?:Arbeits|Park|Stell|Sitz|Tabellen|Start|Lager|Steck|Liege)platz|(?:Um|Heim|Rück|Hin|Lebens|Schul)weg|Absatz")

LED = re.compile(
    r"(?:^|\n)[ \t>*|-]{0,4}$|[:;,(\"'=>|][ \t]{0,2}$"
    r"|(?<![A-Za-z])(?:[Aa]t|[Tt]o|[Nn]ear|[Aa]ddress|[Aa]ddr|[Ll]ives|[Oo]f|[Ii]n|[Ff]rom|on|is|[Nn]umber|[Vv]isit)[ \t]$"
)
ENDED = re.compile(r"[ \t]{0,2}(?:$|[\n,;<)\"'|.])")
SENTENCE = re.compile("[.!?] $")
HOUR, YEAR = re.compile(r"(?:^|[.!?\n] ?)At (?:1[0-2]|\d) $"), re.compile(r"(?:^|[^A-Za-z])(?:[Ii]n|[Bb]y) (?:1[5-9]|20)\d\d $")


def is_street(text: str, start: int, end: int) -> bool:
    """With a town and its code, yes. Else it must stand where addresses stand: a line of its own, after a mark, after "at" or "to".

    A word that seldom means anything but a street may also stand alone between two marks, at the beginning of a sentence.
    """
    match = ENGLISH.match(text, start)
    if match is None or match["town"]:
        return match is not None
    if match["sure"] and SENTENCE.search(before(text, start, 2)) and ENDED.match(text, end):
        return True
    led, with_number = LED.search(before(text, start, 20)), text[max(0, start - 5) : text.index(" ", start) + 1]
    if not led or HOUR.search(with_number) or YEAR.search(with_number):
        return False
    # A word such as "at" leads an address into a sentence; elsewhere the line or the cell ends with it.
    return led.group().strip().isalpha() or bool(ENDED.match(text, end))


def is_german_street(text: str, start: int, end: int) -> bool:
    """Not a seat, a place in a table or a way home."""
    return not NO_STREET.match(text, start)


CAPITAL = "A-ZÀ-ÖØ-Þ"
TITLED = rf"[{CAPITAL}][\w'’-]{{1,24}}"
PART = (
    r"(?:(?:de|DE|De) (?:las?|los|LAS?|LOS) |(?:[Dd](?:e|u|es|el|ella|egli|ei|o|a|os|as|i)|DE|DU|DES|DEL|DA|DO|[Ll](?:a|es?)|LA|LES?) "
    r"|[DdLl]['’]|[Dd]ell['’])"
)
"""What may stand before a proper name in a street's: "de la", "del", "d'"."""
NAMES = rf"{PART}{{0,2}}(?:{TITLED}|[{CAPITAL}]\.(?= )|[IVX\d]{{1,3}}(?= \w))(?: {PART}{{0,2}}(?:{TITLED}|[{CAPITAL}]\.(?= ))){{0,4}}"
CODE = rf"(?:[A-Z]{{1,2}}-)?\d{{4,5}}(?:-\d{{3}})? {TITLED}(?:[ -]{PART}?{TITLED}){{0,3}}(?: \([A-Z]{{2}}\))?"
AT_CODE = rf"(?: ?[,–-] ?|\s{{1,2}}|,\n){CODE}"


def begun(words: str) -> str:
    """One of the words in any case, nothing joined to it before; the shape starts with their first letters."""
    firsts = "".join(sorted({letter for word in words.split() for letter in (word[0], word[0].upper())}))
    return rf"[{firsts}](?<![\w/.-].)(?:" + "|".join(rf"(?<=(?i:{word[0]}))(?i:{re.escape(word[1:])})" for word in words.split()) + ")"


FRENCH_WORDS = "rue avenue av. boulevard bd boul. chemin impasse allée allee quai route place square faubourg sentier ruelle"
FRENCH = re.compile(
    r"[0-9](?<![\w./-].)(?<!\d[,:].)[0-9]{0,3}(?: ?(?:bis|ter|quater|BIS|TER|[A-D])\b)?,? "
    rf"(?i:{'|'.join(map(re.escape, FRENCH_WORDS.split()))}) {NAMES}(?:{AT_CODE})?"
)
SOUTHERN_WORDS = (
    "calle c/ c. camino corso avenida avda. avda av. alameda plaza pza. paseo pº piazza piazzale p.za praça via viale v.le vicolo rua r."
    " ronda largo travessa travesía estrada glorieta"
)
SHORT = re.compile(r"[CcRr]\.|[Aa][Vv]\.|via")
DOOR_WORDS = "piso|bajo|puerta|int\\.|interno|scala|apto|sala|esc\\."
DOOR = rf"(?:,? (?:\d{{1,2}} ?[ºª°](?: ?[A-Z]\b| (?:izq|dcha)\w{{0,7}}\.?)?|(?:{DOOR_WORDS}) ?\w{{0,3}})){{0,3}}"
SOUTHERN = re.compile(
    rf"{begun(SOUTHERN_WORDS)} ?{NAMES},? (?:n\.? ?[º°]?\.? ?|nº ?|núm\. ?)?[0-9]{{1,4}}(?:[/-]?[A-Za-z]\b| [A-Z]\b|/\d{{1,3}})?"
    rf"(?![\w%€$]|[.:,]\d){DOOR}(?P<town>{AT_CODE})?"
)
BOX_WORDS = (
    *("p.o. box", "po box", "p.o.box", "p. o. box", "post office box", "postfach", "postbus", "apartado de correos", "apartado postal"),
    *("apartado", "boîte postale", "boite postale", "casella postale", "caixa postal"),
)
BOX = re.compile(
    r"[PpABbCc](?<!\w.)(?:" + "|".join(rf"(?<=(?i:{word[0]}))(?i:{re.escape(word[1:])})" for word in BOX_WORDS) + ")"
    rf" (?:n[º°o]\.? ?)?\d{{1,4}}(?:[ .]?\d{{2,3}}){{0,2}}(?![\w-])(?:{BEHIND}|{AT_CODE})?"
)


def is_southern(text: str, start: int, end: int) -> bool:
    """A whole word for a street, or a short or common one with a town and its code: "C. Smith 5" is a name, "via USB 3" no place."""
    match = SOUTHERN.match(text, start)
    return match is not None and (match["town"] is not None or not SHORT.match(text, start))


def hints(words: str) -> tuple[str, ...]:
    """Each with the blank that follows it."""
    return tuple(f"{word} " for word in words.split())


STREET_ADDRESS = (
    Pattern(ENGLISH, is_street),
    Pattern(UNNAMED, always),
    Pattern(FRENCH, always, hints(FRENCH_WORDS)),
    Pattern(SOUTHERN, is_southern, (*hints(SOUTHERN_WORDS), "c/")),
    Pattern(BOX, always, BOX_WORDS),
    german("straße strasse str. weg platz allee gasse damm ufer chaussee", ONE_WORD),
    german("straat laan plein gracht kade dijk singel steeg dreef", rf"{ONE_WORD}|(?:{WORD} )?[Vv]an (?:der |den |de )?{WORD}"),
    german("berg markt hof wald bach see hafen graben anger tor", rf"(?:Am|Im|Zum|An der|Auf dem) (?:{WORD} )?(?:{WORD})?"),
)
