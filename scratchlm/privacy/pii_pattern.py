"""How one sort of private value is recognised: a shape, what else must be true of it, and which words must stand before it.

Every shape is bounded, so that no text costs more than its length times a constant; lower-case hints tell at once that there is none.
"""

import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

Meant = Callable[[str, int, int], bool]
"""Asked with the text, the start and the end of what has the shape: is it the value itself?"""


class Hints:
    """Which strings a text holds; each is looked for once, however many patterns ask."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, bool] = {}

    def __contains__(self, hint: object) -> bool:
        if hint not in self._known:
            self._known[str(hint)] = str(hint) in self._text
        return self._known[str(hint)]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way in which a value is written; where the shape has a group called ``value``, that alone is the value.

    A shape begins with the character that is searched for, and what must not stand before it comes after: a search for one of a few
    characters is six times as fast as trying a look behind at every place (4 against 27 ms for 1 MB).
    """

    shape: re.Pattern[str]
    meant: Meant
    hints: tuple[str, ...] = ()
    """One of these must be in the lower-case text; none: always look."""
    near: re.Pattern[str] | None = None
    """It must match within ``REACH`` characters before the value."""
    left: re.Pattern[str] | None = None
    """What belongs to the value on the left of the shape, up to its beginning: the shape starts with what is rare."""
    reach: int = 260
    """Characters before the shape in which that is looked for."""
    lowered: bool = False
    """Whether the shape is looked for in the lower-case text."""

    def hinted(self, lower: Container[str]) -> bool:
        """Whether one of the hints is in ``lower``, without which there is no value."""
        return not self.hints or any(hint in lower for hint in self.hints)

    def find(self, text: str, lower: str) -> Iterator[tuple[int, int]]:
        """Where the values are, from left to right; ``lower`` is as long as ``text``."""
        group = "value" if "value" in self.shape.groupindex else 0
        for match in self.shape.finditer(lower if self.lowered else text):
            start, end = match.span(group)
            if self.left is not None:
                lead = self.left.search(before(text, start, self.reach))
                start = start - len(lead.group()) if lead else end
            if start < end and (self.near is None or self.near.search(before(text, start))) and self.meant(text, start, end):
                yield start, end


REACH = 70
"""Characters before a value in which a word such as "IBAN" or the head of a table is looked for."""

LABEL = 50
"""Characters before a value in which its own label ends."""
THINGS = (
    "orders? booking reservation voucher coupon quoting catalog(?:ue)? invoice parts? model ticket tracking case serial sku"
    " isbn(?:-1[03])? issn imei ean"
    " upc id session status ref shipments? package waybill consignment receipt confirmation timestamp ts epoch guid uuid barcode"
    " gtin asin iccid"
    " imsi meid vin meter policy claim docket permit po form request trace nonce checksum hash offset tweet product article asset"
    " seed pmid oclc"
    " lccn reference transaction version lot item batch parcel guild licen[cs]e patent build revision s/n doi oid arxiv stock accession"
    " requisition drawing blueprint specimen exhibit acct account contract folio bin shelf pallet container"
    " certificate deed plat cas nsn fsn mpn p/n pn esn"
    " sendung paket auftrag vorgang vertrag vertragskonto konto kundenkonto rechnung kunden-?nr aktenzeichen geschäftszeichen"
    " zeichnung zähler"
    " beleg lieferschein schadenfall bestellung artikel modell gerät facture colis dossier suivi contrat commande compteur sinistre"
    " devis compte"
    " modèle réf référence factura expediente contrato referencia pedido seguimiento póliza siniestro contador modelo lote albarán cuenta"
    " fattura ordine pratica spedizione polizza contatore modello lotto preventivo conto riferimento bestelling factuur klantnummer zending"
    " kenmerk zaak offerte bon polis zamówieni[ea] faktur[ay] przesyłk[ai] paczk[ai] umow[ay] polis[ay] sprawy? szkod[ay]"
    " licznik encomenda fatura"
    " protocolo apólice rastreio conta processo"
)
"""What numbers are called that are no one's own: an invoice, a part, a parcel, a book."""
COUNTER = r"(?:no|nr|num|numbers?|n[°º]|№|num[eé]ro|número|nummer|numer|id|key|code|tag|label|#)"
LINK = r"(?: (?:is|was|ist|lautet|est|es|è|é|jest|to))?[\s.:=#/\"'_-]{0,4}$"
THING = re.compile(
    rf"(?i)(?<![a-z])(?:{'|'.join(THINGS.split())}"
    r"|(?!\w{0,20}(?:kart|kaart|card|tele|ruf|handy|mobi|fax|gsm|service|hotline|durchwahl|kontakt|sozial"
    r"|sofi))[a-zäöüß]{3,30}(?:nummer|nr|verfolgung|sendung|zähler|konto|vertrag|auftrag|rechnung|bestellung|zeichen|beleg|schein))"
    rf"(?: [a-zà-ż]{{3,12}}(?:al|ale|elle|iel|iv[oa]|ic[oa]|ente))?(?:[\s_-]?{COUNTER})?{LINK}"
)
UNSAID = (
    "my his her our your their its the this that a an new old correct wrong right whole full entire long test same complete of and"
    " or card visa"
    " master mastercard amex credit debit cc pan payment bank security ssn ss social soc sec tax taxpayer tin i\\.?d identification"
    " identifying identity national personal phone telephone cell mobile fax contact"
)
"""Before "number" these do not say that it is a thing's."""
PERSONAL = (
    "tel|tél|card|cart|tarj|s[eé]c|seg|ss|port|mob|móv|celu|cell|fax|cont|what|cpf|dni|nif|nie|ident|fisc|visa|mast|pesel|kart|kom|cb|assur"
    "|immat|soci"
)
"""How words about people, their cards and phones begin."""
OTHER_THINGS = "loyalty|membership|registration|entry|job|bill|estimate|quote|proposal|project|repair|warranty|sample"
"""Things that have numbers and are called up as well."""
COUNTED = re.compile(
    rf"(?i)(?<![a-z.])(?!(?:{'|'.join(UNSAID.split())})\b)[a-z][a-z'’/]{{1,24}}[ _-](?:number|no|nr|num|id|code|tag|#)\.?{LINK}"
    r"|(?:num[eé]ro|número|numer|n[°º]|código|codice|code|kod) (?:(?:de|di|do|da|del|della|du|des) |d['’]|dell['’])?"
    rf"(?!{PERSONAL})[a-zà-ż]{{4,20}}(?: (?:de |di |del |du |des )?[a-zà-ż]{{3,20}})?{LINK}|(?<![a-z])(?:{OTHER_THINGS}){LINK}"
)
"""The number of something, whatever it is: "stock number", "número de seguimiento"."""
PERSON = (
    r"(?<![a-z])(?:patient|member|employee|customer|client|tax ?payer|tax|student|insured|subscriber|applicant|borrower|national|personal"
    r"|staff|person|citizen|claimant|resident|beneficiary|spouse|dependent|veteran|worker|decedent|debtor|partner)(?:['’]?s)?"
)
"""Whose number it is: a patient's ID is no thing's."""


def before(text: str, start: int, reach: int = REACH) -> str:
    """The characters before ``start``."""
    return text[max(0, start - reach) : start]


TABLE = 2000
"""Characters before a value in which the head of its table is looked for."""


def column(text: str, start: int, end: int) -> str:
    """What the head of the table calls the column in which the value is a cell of its own; nothing where there is no such table."""
    mark = text[start - 1 : start] if text[start - 1 : start] in ",;\t|" else text[end : end + 1]
    if not mark or mark not in ",;\t|" or text[end : end + 1] not in (mark, "\n", "\r", ""):
        return ""
    lines = text[max(0, start - TABLE) : start].rsplit("\n\n", 1)[-1].split("\n")
    place = lines[-1].count(mark)
    head = next((line for line in lines[:-1] if line.count(mark) >= max(place, 1)), "").split(mark)
    return head[place].strip(" \"'") if place < len(head) and len(head) > 1 else ""


def lowered(text: str) -> str:
    """Lower case, letter by letter: the Turkish İ, which has two letters below, stays as it is."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def always(text: str, start: int, end: int) -> bool:
    """The shape alone is enough."""
    return start < end <= len(text)


def on_value(holds: Callable[[str], bool]) -> Meant:
    """A test of the value alone."""
    return lambda text, start, end: holds(text[start:end])


def called(words: str) -> re.Pattern[str]:
    """One of the value's own words right before it, as in ``card_id=`` or "SSN reference no. "."""
    return re.compile(rf"(?i)(?:{words})(?:[\s_/-]?(?:no|nr|num|number|id|key|code|ref|reference|case|on file)){{0,2}}\)?{LINK}")


WORDS = re.compile(r"[^\W\d_][\W\d_]{0,12}$")
"""A letter not far from the end, without which nothing is named."""


def is_thing(lead: str, own: re.Pattern[str] | None = None) -> bool:
    """Whether ``lead`` ends in what an order, a part or the like is called; ``own``, made by ``called``, beats that."""
    lead = lead[-LABEL:]
    return WORDS.search(lead) is not None and THING.search(lead) is not None and not (own and own.search(lead))


def is_counted(lead: str, own: re.Pattern[str]) -> bool:
    """Whether ``lead`` ends in "number of" whatever but ``own``."""
    lead = lead[-LABEL:]
    return WORDS.search(lead) is not None and not own.search(lead) and bool(THING.search(lead) or COUNTED.search(lead))


def unless_thing(holds: Callable[[str], bool], own: re.Pattern[str]) -> Meant:
    """A test of the value, which must not be called an order, a part or the like."""
    return lambda text, start, end: holds(text[start:end]) and not is_thing(before(text, start), own)
