"""Street addresses as they are written in the United States, in Britain and in German-speaking countries."""

import re

from scratchlm.corpus.pii_pattern import Pattern, always, before

# Words that seldom mean anything but a street, and words that often do ("A Smooth Drive", "Centre Court").
STREET = r"Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Lane|Ln|Terrace|Parkway|Pkwy|Crescent|Mews|Grove"
PLACE = r"Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Circle|Cir|Close|Gardens|Row|Walk|Hill|Trail|Highway|Hwy"
NO_NAME = "A|An|And|At|By|For|From|Home|How|In|Of|On|Or|The|To|With|Your|Yard|Mile|Supreme|High Court"
NAME = rf"(?:(?!(?:{NO_NAME})\b)[A-Z][\w'’]{{0,20}}\.?|\d{{1,3}}(?:st|nd|rd|th))"
FLAT = r",? (?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room)\b\.? ?(?:\d[\w-]{0,5}|[A-Z]\d{0,4}\b)"
UNIT = rf"(?:{FLAT}|,? #\w{{1,6}})"
POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}"
CITY = r"[A-Z][A-Za-z.'’-]{1,20}(?: [A-Z][A-Za-z.'’-]{1,20}){0,3}"
TOWN = rf"(?P<town>(?:,\s{{0,2}}|\n){CITY}(?:,? {POSTCODE}|,? [A-Z]{{2}} \d{{5}}(?:-\d{{4}})?)(?!\w))"
NUMBER = rf"[0-9](?<![\w./-].)(?<!\d[,:].)[0-9]{{0,4}}(?:[-–][0-9]{{1,5}})?[A-Za-z]? (?:[NSEW]\.? )?(?:{NAME} )"
DOTTED = "(?:" + "|".join(f"(?<={word})" for word in ("St", "Rd", "Ave", "Blvd", "Ln", "Dr", "Ct", "Pl", "Sq", "Hwy", "Pkwy", "Cir")) + ")"
SIDE = r"(?: (?:NW|NE|SW|SE|[NSEW])\b)?"
ENGLISH = re.compile(rf"{NUMBER}{{1,4}}(?:(?P<sure>{STREET})|{PLACE})\b(?:{DOTTED}\.(?=[.,;\"'<)]| \d))?{SIDE}{UNIT}?{TOWN}?")
# Whatever the street is called, a flat or a town with its code after it will do.
UNNAMED = re.compile(rf"{NUMBER}{{0,3}}{NAME}(?:{UNIT}?{TOWN}|{FLAT})")

AFTER = (
    r"[0-9]{1,3}(?: ?[a-z])?(?: ?[-–] ?\d{1,3}[a-z]?)?(?!\w|\.\d|[.,]? ?(?:Uhr|Euro|km|Meter))"
    r"(?:(?:,\s{0,2}|\n)\d{5} [A-ZÄÖÜ][\wäöüß.-]{1,25}(?: (?:im|am|an der|in) [A-ZÄÖÜ][\wäöüß]{2,20})?)?"
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
HOUR, YEAR = re.compile(r"(?:^|[.!?\n] ?)At (?:1[0-2]|\d) $"), re.compile(r"(?:^|[^A-Za-z])(?:[Ii]n|[Bb]y) (?:1[5-9]|20)\d\d $")


def is_street(text: str, start: int, end: int) -> bool:
    """With a town and its code, yes. Else it must stand where addresses stand: a line of its own, after a mark, after "at" or "to"."""
    match = ENGLISH.match(text, start)
    if match is None or match["town"]:
        return match is not None
    led, with_number = LED.search(before(text, start, 20)), text[max(0, start - 5) : text.index(" ", start) + 1]
    if not led or HOUR.search(with_number) or YEAR.search(with_number):
        return False
    # A word such as "at" leads an address into a sentence; elsewhere the line or the cell ends with it.
    return led.group().strip().isalpha() or bool(ENDED.match(text, end))


def is_german_street(text: str, start: int, end: int) -> bool:
    """Not a seat, a place in a table or a way home."""
    return not NO_STREET.match(text, start)


STREET_ADDRESS = (
    Pattern(ENGLISH, is_street),
    Pattern(UNNAMED, always),
    german("straße strasse str. weg platz allee gasse damm ufer chaussee", ONE_WORD),
    german("berg markt hof wald bach see", rf"(?:Am|Im|Zum) (?:{WORD})?"),
)
