"""Street addresses as they are written in the English-, German-, Dutch-, French-, Spanish-, Portuguese-, Italian- and Polish-speaking
countries, and boxes at a post office.
"""

import re

from scratchlm.privacy.pii_pattern import Pattern, always, before, column


# Words that seldom mean anything but a street, and words that often do ("A Smooth Drive", "Centre Court").
def in_capitals(words: str) -> str:
    """The words and, of those with three letters or more, the same in capitals."""
    return "|".join([*words.split("|"), *(word.upper() for word in words.split("|") if len(word) > 2)])


STREET = in_capitals(
    "Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Bvd|Lane|Ln|Terrace|Parkway|Pkwy|Crescent|Cres|Mews|Grove|Esplanade|Turnpike|Embankment"
)
PLACE = in_capitals(
    "Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Way|Circle|Cir|Close|Gardens|Row|Walk|Hill|Trail|Trl|Highway|Hwy|Parade|Pde|Promenade|Quay|Wharf"
    "|Rise|Alley|Broadway|Croft|Villas|Heights|Green|Loop|Cove|Plaza|Vale|Park"
)
NO_NAME = "A|An|And|At|By|For|From|Home|How|In|Of|On|Or|The|To|With|Your|Yard|Mile|Supreme|High Court"
COUNTED = "Car|Hour|Day|Week|Month|Year|Minute|Man|Men|Door|Bed|Bedroom|Bath|Piece|Player|Lap|Level|Foot|Feet|Ft|Inch|Acre|Pound|Million"
"""What a number before it counts: "2 Car Court" is no address."""
NAME = rf"(?:(?!(?:{NO_NAME})\b)[A-Z][\w'’]{{0,20}}\.?|\d{{1,3}}(?:st|nd|rd|th))"
FLAT = rf",? (?:{in_capitals('Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room')})\b\.? ?(?:\d[\w-]{{0,5}}|[A-Z]\d{{0,4}}\b)"
UNIT = rf"(?:{FLAT}|,? #\w{{1,6}})"
POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}"
CITY = r"[A-Z][A-Za-z.'’-]{1,20}(?: [A-Z][A-Za-z.'’-]{1,20}){0,3}"
OF_STATE = (
    r"[A-Z]{2} \d{5}(?:-\d{4})?|[A-Z]{2},? [A-Z]\d[A-Z] ?\d[A-Z]\d|(?:NSW|VIC|QLD|SA|WA|TAS|ACT|NT),? \d{4}|[A-Z]\d[\dW] [A-Z\d]{4}"
    r"|(?:New |North |South |West |Rhode )?[A-Z][a-z]{3,12} \d{5}(?:-\d{4})?"
)
"""A state of America, Canada or Australia with a town's code; an Irish code."""
BEHIND = rf"(?:(?:,\s{{0,2}}|\n){CITY}){{1,2}}(?:,?[ \n]{POSTCODE}|,? (?:{OF_STATE}))(?!\w)"
BARE_CODE = rf"(?:(?:,\s{{0,2}}|\n){CITY}){{1,2}}(?: (?!19|20)\d{{4}}| ?[ –-] ?[1-9]\d{{2}} ?\d{{3}})(?![\w-])"
"""A town with the code of New Zealand or India, which is a number alone."""
TOWN = rf"(?P<town>{BEHIND})"
NUMBER = (
    r"[0-9](?<![\w./-].)(?<!\d[,:].)[0-9]{0,4}(?:/\d{1,4})?(?:[-–][0-9]{1,5})?[A-Za-z]? "
    rf"(?!(?:{COUNTED})s?\b)(?:[NSEW]\.? )?(?:{NAME} )"
)
DOTTED = "(?:" + "|".join(f"(?<={word})" for word in ("St", "Rd", "Ave", "Blvd", "Ln", "Dr", "Ct", "Pl", "Sq", "Hwy", "Pkwy", "Cir")) + ")"
SIDE = r"(?: (?:NW|NE|SW|SE|[NSEW])\b)?"
ENGLISH = re.compile(
    rf"{NUMBER}{{1,4}}(?:(?P<sure>{STREET})|{PLACE})\b(?:{DOTTED}\.(?=[.,;\"'<)]| \d))?{SIDE}{UNIT}?(?P<town>{BEHIND}|{BARE_CODE})?"
)
# Whatever the street is called, a flat or a town with its code after it will do.
UNNAMED = re.compile(rf"{NUMBER}{{0,3}}{NAME}(?:{UNIT}?{TOWN}|{FLAT})")

LED = re.compile(
    r"(?:^|\n)[ \t>*|-]{0,4}$|[:;,(\"'=>|][ \t]{0,2}$"
    r"|(?<![A-Za-z])(?:[Aa]t|[Tt]o|[Nn]ear|[Aa]ddress|[Aa]ddr|[Ll]ives|[Oo]f|[Ii]n|[Ff]rom|on|is|[Nn]umber|[Nn]o\.|[Vv]isit(?:ed)?"
    r"|[Oo]utside|[Oo]pposite"
    r"|[Bb]ehind|[Bb]eside|[Ii]nside|[Aa]round|[Pp]ast|[Bb]ought|[Ss]old|[Rr]ented|[Rr]ents|[Oo]wns|[Ll]eft|[Rr]eached|[Ss]earched"
    r"|[Nn]ow|[Ff]ormerly"
    r"|[Ss]tayed|[Mm]oved|[Ll]ocated|[Ss]ituated|between|via|for|with|and|called|[Ww]as)[ \t]$|(?<![A-Za-z])(?:[Aa]t|[Ii]n|[Oo]f"
    r"|[Tt]o|[Ff]rom|[Nn]ear|[Oo]utside) the $"
)
ENDED = re.compile(r"[ \t]{0,2}(?:$|[\n,;<)\"'|.&?!(–—]|[-–—] )")
SENTENCE = re.compile(r"(?<!\bNos)(?<!\bvs)(?<!\bch)(?<!\bpp)(?<!\bVol)(?<!\bFig)[.!?] $")
CHAPTER = re.compile(
    r"(?i)(?<![a-z])(?:chapter|section|rule|page|track|part|step|level|figure|table|episode|lesson|unit|side|act|scene|bus|route)\.? $"
)
MANY = re.compile(r"(?:^|[^A-Za-z])[Nn]os\.? ?$")
"""Houses of a whole street follow."""
HOUR, YEAR = re.compile(r"(?:^|[.!?\n] ?)At (?:1[0-2]|\d) $"), re.compile(r"(?:^|[^A-Za-z])(?:[Ii]n|[Bb]y) (?:1[5-9]|20)\d\d $")


def is_street(text: str, start: int, end: int) -> bool:
    """With a town and its code, yes. Else it must stand where addresses stand: a line of its own, after a mark, after "at" or "to".

    A word that seldom means anything but a street may also stand alone between two marks, at the beginning of a sentence.
    """
    match = ENGLISH.match(text, start)
    if match is None or match["town"]:
        return match is not None
    lead = before(text, start, 20)
    if MANY.search(lead) or CHAPTER.search(lead):
        return False
    if match["sure"] and SENTENCE.search(lead) and ENDED.match(text, end):
        return True
    if match["sure"] and ENDED.match(text, end) and text[start:end].count(" ") < 4 and re.search(r"[a-z] $", lead):
        return True
    led, with_number = LED.search(lead), text[max(0, start - 5) : text.index(" ", start) + 1]
    if not led or HOUR.search(with_number) or YEAR.search(with_number):
        return False
    if led.group().endswith(" the "):
        return text[start : start + 3].isdigit()
    # A word such as "at" leads an address into a sentence; elsewhere the line or the cell ends with it.
    return led.group().strip(" \t.").isalpha() or bool(ENDED.match(text, end))


HOUSE_MORE = (
    r"(?: ?[a-zA-Z](?!\w))?(?: ?[-–/] ?\d{1,3}[a-z]?){0,3}(?:[-/][A-Z]{1,3}\b| (?:hs|bis|huis|I{1,3})\b)?"
    r"(?!\w|\.\d|[.,]? ?(?:Uhr|Euro|km|Meter|Minuten|Jahre))"
)
"""What follows the first digits of a house: 12 a, 12-14, 12/3/5, 88-B, 12 hs."""
WORD = r"[A-ZÄÖÜ][\wäöüß]{1,20}"
TOWN_AFTER = (
    r"(?:,\s{0,2}|\n)(?:[A-Z]{1,2}-)?(?:\d{5}|\d{4} ?[A-Z]{2}\b|(?!19|20)\d{4}|(?<=-)\d{4}) "
    r"(?!(?:Fans|Zuschauer|Besucher|Einwohner|Menschen|Personen|Teilnehmer|Mitglieder|Soldaten|Exemplare|Stück|Euro|Spectators|People"
    r"|Meter)\b)(?:(?:Bad|Sankt|St\.|Den|Groß|Klein|Neu|Alt) |'s-)?"
    rf"[A-ZÄÖÜ][\wäöüß-]{{1,25}}(?: (?:im|am|an der|in|aan de|aan den|op) {WORD}| \([A-Z][a-z]{{1,4}}\))?"
)
ONE_WORD = rf"[A-ZÄÖÜ][\wäöüß.-]{{1,30}}|(?:{WORD}er|Alte|Neue|Große|Kleine|Obere|Untere|Lange|Kurze|Breite|Hohe) (?:{WORD})?"
"""What stands before the ending in "Lindenweg", "Karl-Marx-Str.", "Berliner Straße", "Untere Badgasse"."""


def ending(lead: str, endings: str) -> str:
    """Streets whose name ends so, behind what ``lead`` describes."""
    return rf"(?:{lead})(?i:{'|'.join(map(re.escape, endings.split()))})"


NAMED = "|".join((
    ending(ONE_WORD, "straße strasse str. weg platz allee gasse damm ufer chaussee stieg steig pfad stiege twiete gässle gässchen zeile"),
    ending(rf"{ONE_WORD}|(?:{WORD} )?[Vv]an (?:der |den |de )?{WORD}", "straat laan plein gracht kade dijk singel steeg dreef plantsoen"),
    ending(rf"(?:Am|Im|Zum|An der|Auf dem) (?:{WORD} )?(?:{WORD})?", "berg markt hof wald bach see hafen graben anger tor"),
    rf"(?:Straße|Platz|Allee) de[rs] (?:\d\d?\. )?{WORD}|Unter den {WORD}|Laan van {WORD}",
))  # fmt: skip
"""Names of streets that end as only they do."""
ANY_NAME = (
    r"(?:(?:Am|Im|Zum|Zur|An de[rn]|Auf de[rm]|In de[rn]|Unter den|Hinter de[rm]|Vor de[rm]|Bei de[rm]) )?"
    rf"(?:(?:{WORD}er|(?:Alt|Neu|Groß|Klein|Ober|Unter|Lang|Kurz|Breit|Hoh)e[rns]?|Sint|Jan|Van) )?[A-ZÄÖÜ][\wäöüß-]{{2,30}}"
)
"""What a street may be called where a town with its code follows."""
HOUSE = rf"[0-9](?:(?<=[^\W\d_] .)|(?<=[rR]\. .))[0-9]{{0,2}}{HOUSE_MORE}"
NO_STREET = re.compile(
    r"(?:(?:Arbeits|Park|Stell|Sitz|Tabellen|Start|Lager|Steck|Liege)platz|(?:Um|Heim|Rück|Hin|Lebens|Schul|Ab)weg|Absatz|Kapitel"
    r"|Seite|Version|Artikel|Kreis|Tel|Nr|Fax|Band|Zeile|Spalte)\b|(?:Platz|Rang|Weg)(?= \d)"
    r"|(?:[A-ZÄÖÜ]\w{0,12})?(?:[Ww]ander|[Rr]ad|[Rr]und|[Pp]ilger|Jakobs|[Rr]eit|Lehr|[Ll]ern|Ski|Höhen|Trimm|Bildungs|Verkehrs"
    r"|Liefer|Fahr|Arbeits|Aus)(?:weg|steig|pfad)"
    r"|(?:Höhen|Kletter)steig|(?:Tabellen|Kopf|Fuß|Schluss|Vers|Text|Melde)zeile|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|(?:Mon"
    r"|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch"
    r"|(?:January|February|March|April|May|June|July|August|September|October|November|December|Januar|Februar|März|Mai|Juni|Juli"
    r"|Oktober|Dezember|Januari|Maart|Mei)\b"
)
ARTICLE = re.compile(r"(?:^|[.!?\n\"„] ?)(?:Der|Den|Einen?) $")
MASCULINE = re.compile(r"[\w-]*(?:weg|platz|damm|steig|stieg|pfad) \d")
TYPE_FOLLOWS = re.compile(rf"(?: [A-Z][\w'’]{{1,20}}){{0,2}} (?:{STREET}|{PLACE})\b")
"""An English street goes on: "8-2, 4117 Quail Run Court"."""


def is_germanic_street(text: str, start: int, end: int) -> bool:
    """Not a seat, a place in a table, a way home, a trail or a day, and not the beginning of an English street."""
    if NO_STREET.match(text, start) or TYPE_FOLLOWS.match(text, end):
        return False
    return not (MASCULINE.match(text, start) and ARTICLE.search(before(text, start, 8)))


SCORE = re.compile(r"[^\d\n]*(\d{1,3})-(\d{1,3})\b")


def is_with_town(text: str, start: int, end: int) -> bool:
    """Whatever the street is called; houses from one to another count upwards, unlike scores and hours."""
    span = SCORE.match(text, start, end)
    return is_germanic_street(text, start, end) and not (span and int(span[1]) >= int(span[2]))


CAPITAL = "A-ZÀ-ÖØ-ÞĄĆĘŁŃŚŹŻŠŽČ"
TITLED = rf"[{CAPITAL}][\w'’-]{{1,24}}"
PART = (
    r"(?:(?:de|DE|De) (?:las?|los|LAS?|LOS) |(?:[Dd](?:e|u|es|el|ella|elle|egli|ei|o|a|os|as|i)|DE|DU|DES|DEL|DA|DO|[Ll](?:a|es?)|LA|LES?) "
    r"|[DdLl]['’]|[Dd]ell['’]|(?:ks|św|gen|płk|dr|prof|marsz|bp|abp|kard|inż|mjr)\. ?)"
)
"""What may stand before a proper name in a street's: "de la", "del", "d'", "św."."""
NAMES = (
    rf"{PART}{{0,2}}(?:{TITLED}|[{CAPITAL}]\.(?= )|[IVX\d]{{1,3}}(?= \w))(?: {PART}{{0,2}}(?:{TITLED}|[{CAPITAL}]\.(?= )|II?I?\b)){{0,4}}"
)
CODE = (
    rf"(?:[A-Z]{{1,2}}-)?(?:\d{{4,5}}(?:-\d{{3}})?|\d\d-\d{{3}}) (?:[AOÀ] )?{TITLED}(?:[ -]{PART}?{TITLED}){{0,3}}"
    rf"(?: \([A-Z]{{2}}\)|(?<=(?i:cedex)) \d{{1,2}}\b)?"
)
AT_CODE = rf"(?: ?[,–-] ?|\s{{1,2}}|,\n){CODE}"
DISTRICT = rf"(?:(?: [–-] |, ){TITLED}(?: {PART}?{TITLED}){{0,3}}){{1,3}}(?: ?[–/-] ?|, )[A-Z]{{2}},? (?:CEP:? ?)?\d{{5}}-?\d{{3}}(?!\d)"
"""A quarter, a town and a state of Brazil with the code behind them."""

FRENCH_WORDS = (
    "rue avenue av. ave boulevard bd bld boul. chemin impasse allée allee quai route place square faubourg sentier ruelle cours passage"
    " esplanade promenade villa montée"
)
INSIDE = r"(?:,? (?:[Bb]ât(?:iment|\.)?|[Aa]ppt?\.?|[Aa]ppartement|BP|[ÉéEe]tage) ?\w{1,5})?"
LOWER = rf"(?<=(?:rue|nue|ard|min|sse|lée|uai) ){PART}{{1,2}}[a-zà-ÿ]{{3,20}}(?:[ '’-][a-zà-ÿ]{{3,20}})?"
"""A name in small letters, as in "rue de la gare"."""
FRENCH = re.compile(
    r"[0-9](?<![\w./-].)(?<!\d[,:].)[0-9]{0,3}(?: ?(?:bis|ter|quater|BIS|TER|[A-D])\b)?,? "
    rf"(?i:{'|'.join(map(re.escape, FRENCH_WORDS.split()))}) (?:{NAMES}|{LOWER}){INSIDE}(?:{AT_CODE})?"
)
SOUTHERN_WORDS = (
    "calle c/ camino corso avenida avda. avda alameda plaza pza. plza. paseo pº piazza piazzale p.za praça viale v.le vicolo rua"
    " rúa ronda largo travessa travesía estrada glorieta carretera ctra. rambla carrer avinguda passeig cuesta pasaje lungomare lungotevere"
    " salita contrada c.so p.le praceta calçada rodovia ul. ulica ulicy al. aleja aleje alei plac placu"
    " osiedle osiedlu os. rondo bulwar skwer"
)
SHORT_WORDS = f"{SOUTHERN_WORDS} c. av. av r. pl. via strada {FRENCH_WORDS} chaussée ch. pl. cité"
"""Words that often mean something else: "C. Smith 5" is a name, "via USB 3" no place. A town with its code must follow."""
DOOR_WORDS = "piso|bajo|puerta|int\\.|interno|scala|apto\\.?|sala|esc\\.|m\\.|lok\\.|lokal|andar"
DOOR = rf"(?:,? (?:\d{{1,2}}\.? ?[ºª°](?: ?[A-Z]\b| (?:izq|dcha|dto|esq|andar)\w{{0,7}}\.?)?|(?:{DOOR_WORDS}) ?\w{{0,3}})){{0,3}}"
NUMBERED = r",? ?(?:n\.? ?[º°]?\.? ?|nº ?|núm\. ?|nr\.? ?)?$"
SOUTHERN = (
    r"[0-9](?:(?<=[^\W\d_] .)|(?<=[^\W\d_],.)|(?<=[^\W\d_], .)|(?<=[nNº°r.] .)|(?<=[º°.].))"
    r"[0-9]{0,3}(?:[/-]?[A-Za-z]\b| [A-Z]\b|/\d{1,3}[a-z]?)?"
    rf"(?![\w%€$]|[.:,]\d){DOOR}"
)


def led_by(words: str) -> re.Pattern[str]:
    """One of the words, a name and what may stand before a number."""
    return re.compile(rf"(?<![\w/.-])(?i:{'|'.join(map(re.escape, words.split()))})(?: |(?<=/)|(?<=[uU]l\.)){NAMES}{NUMBERED}")


VIA = re.compile(
    r"(?<![\w/.-])(?:Via|VIA|(?:(?<=in )|(?<=In )|(?<=presso )|(?<=[,:;] ))via) (?!Rail\b|USB|HDMI|Bluetooth|Wi-?Fi|HTTPS?|TCP|API)"
    rf"{NAMES}{NUMBERED}"
)
BOX_WORDS = (
    *("p.o. box", "po box", "p.o.box", "p. o. box", "post office box", "postfach", "postbus", "apartado de correos", "apartado postal"),
    *("apartado", "boîte postale", "boite postale", "casella postale", "caixa postal", "skrytka pocztowa", "skr. poczt."),
)
BOX = re.compile(
    r"[PpABbCcSs](?<!\w.)(?:" + "|".join(rf"(?<=(?i:{word[0]}))(?i:{re.escape(word[1:])})" for word in BOX_WORDS) + ")"
    rf" (?:n[º°o]\.? ?)?\d{{1,4}}(?:[ .]?\d{{2,3}}){{0,2}}(?![\w-])(?:{BEHIND}|{AT_CODE})?"
)

CALLED = (
    "stra(?:ß|ss)e|straat|street|addr(?:ess)?|adress?e?|adres|anschrift|domicilio|direcci[oó]n|calle|indirizzo|morada|endere[cç]o"
    "|r[uú]a|rue|ulica"
)
FIELD = re.compile(
    rf"(?i)(?<![a-zà-ż])(?:[\w-]{{0,20}}[_-])?(?:{CALLED}|wohnhaft|residence|wohnort|zamieszka\w*)(?:[_ -]?(?:line)?[_ -]?\d|nr|_?name)?"
    r"[\"'\]]{0,2}\s{0,2}(?:[:=>]|=>)\s{0,3}[\"']?$"
)
STREET_HEAD = re.compile(rf"(?i)(?:^|[ _-])(?:{CALLED}|str|via)(?:[_ ]?1)?$")
"""What a form and the head of a table call a street."""
FIELD_HINTS = (
    *("straß", "strass", "straat", "street", "addr", "adres", "anschrift", "domicilio", "direcci", "indirizzo", "endere", "morada", "wohn"),
    *("ulica", "zamieszk"),
)
CLOSED = re.compile(r"[ \t]{0,2}(?:$|[\n,;<\"'|&\t])")
ANY_STREET = re.compile(
    rf"(?:^|(?<=[\n;,\t|:=>\"']))(?:{TITLED}|{PART})(?:[ -]?(?:{PART}|{TITLED}|[a-zà-ż]{{2,12}}))?(?:[ -](?:{PART}?{TITLED})){{0,3}} $"
    rf"|(?<=[:=>] ){TITLED}(?:[ -]{PART}?{TITLED}){{0,3}} $"
)
"""Whatever a street is called, from the beginning of its field."""


def in_field(text: str, start: int, end: int) -> bool:
    """Whether the whole of a field or a cell for a street's name is meant."""
    if not CLOSED.match(text, end):
        return False
    return FIELD.search(before(text, start, 50)) is not None or STREET_HEAD.search(column(text, start, end)) is not None


FORM = re.compile(rf"[+%](?:(?<=\+)|20)(?:{STREET}|{PLACE})(?=[&\s\"'<;+%]|$)")
FORMED = re.compile(r"(?<==)\d{1,5}[a-z]?(?:(?:\+|%20)[A-Z][\w'.]{0,20}){1,4}$")
"""A street in a query, where signs stand for blanks."""


def hints(words: str) -> tuple[str, ...]:
    """Each with the blank that follows it."""
    return tuple(f"{word} " for word in words.split())


REACH = 90
"""Characters before a number in which the name of its street begins."""
STREET_ADDRESS = (
    Pattern(ENGLISH, is_street),
    Pattern(UNNAMED, always),
    Pattern(FORM, always, ("=",), left=FORMED, reach=REACH),
    Pattern(
        re.compile(r"[0-9](?<=[^\W\d_] .)[0-9]{0,3}(?: ?[a-zA-Z](?!\w))?(?:[-/]\d{1,4}[a-z]?)?(?!\w|[.,]\d)"),
        in_field,
        FIELD_HINTS,
        left=ANY_STREET,
        reach=60,
    ),
    Pattern(FRENCH, always, hints(FRENCH_WORDS)),
    Pattern(re.compile(f"{SOUTHERN}(?:{AT_CODE}|{DISTRICT})?"), always, left=led_by(SOUTHERN_WORDS), reach=REACH),
    Pattern(re.compile(f"{SOUTHERN}(?:{AT_CODE}|{DISTRICT})"), always, left=led_by(SHORT_WORDS), reach=REACH),
    Pattern(re.compile(f"{SOUTHERN}(?:{AT_CODE})?"), always, ("via ",), left=VIA, reach=REACH),
    Pattern(BOX, always, BOX_WORDS),
    Pattern(re.compile(f"{HOUSE}(?:{TOWN_AFTER})?"), is_germanic_street, left=re.compile(rf"(?<![\w-])(?:{NAMED}) $"), reach=REACH),
    Pattern(re.compile(HOUSE + TOWN_AFTER), is_with_town, left=re.compile(rf"(?<![\w-])(?:{ANY_NAME}) $"), reach=REACH),
)
