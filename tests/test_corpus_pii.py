"""Private values: found, told apart from what only looks like them, replaced, and never kept."""

import hashlib
import random
import re
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import UsageError
from scratchlm.privacy import pii, pii_contacts, pii_labelled, pii_numbers
from scratchlm.privacy.pii import KINDS, Span, find, replace

GOAL = (0.98, 0.95)
"""Least precision and recall."""
MEASURED = {
    "api_key": (1.0, 0.92), "secret": (0.95, 0.68), "credit_card": (0.88, 1.0), "us_ssn": (1.0, 0.92), "ipv4_private": (0.97, 1.0),
    "street_address": (0.91, 0.91), "phone": (0.97, 0.93),
}  # fmt: skip
"""Where the part that was never looked at while the patterns were written shows less: what its first run showed."""
ROWS = pii_labelled.labelled()


def mask(text: str) -> str:
    return replace(text, find(text))[0]


def surrogate(text: str, seed: int = 3) -> str:
    return replace(text, find(text), "surrogate", seed)[0]


def kinds_in(text: str) -> list[str]:
    return [span.kind for span in find(text)]


@pytest.mark.parametrize("part", ["tune", "held"])
def test_every_kind_is_found_and_little_else(part: pii_labelled.Part):
    for kind, found in pii_labelled.measure([row for row in ROWS if row.part == part]).items():
        precision, recall = MEASURED.get(kind, GOAL) if part == "held" else GOAL
        assert found.n_positive >= 24
        assert found.precision >= precision, (kind, found)
        assert found.recall >= recall, (kind, found)
        assert 8 <= found.precision_sentences <= found.n_found
        assert 8 <= found.recall_sentences <= found.n_positive


def test_the_held_part_is_the_one_that_was_first_run():
    lines = pii_labelled.LABELLED.read_bytes().splitlines(keepends=True)
    held = b"".join(line for line in lines if line.startswith(b'{"part": "held"'))
    assert hashlib.sha256(held).hexdigest() == "289343dd4bab2c6e403ca54f9af6b76c2747cbeab50fed6f6b6713b62578a424"


def test_the_labelled_set_is_large_and_its_parts_share_no_sentence():
    assert sum(len(row.spans) for row in ROWS if row.part == "held") >= 300
    assert sum(row.tempts is not None for row in ROWS) >= 1000
    assert all(not row.spans for row in ROWS if row.tempts)
    tune, held = ({row.sentence for row in ROWS if row.part == part} for part in ("tune", "held"))
    assert not tune & held
    assert len(held) > 400
    assert {row.tempts for row in ROWS if row.part == "held"} >= set(KINDS)


def test_look_alikes_pass_the_check_of_their_kind():
    tempting = [(row.tempts, digits) for row in ROWS if row.part == "held" for digits in re.findall(r"\b\d{14,16}\b", row.text)]
    assert sum(kind == "credit_card" and pii_numbers.luhn(digits) for kind, digits in tempting) >= 15
    assert any(len(row.text) > 1500 for row in ROWS if row.part == "held")
    assert sum("\n" in row.text for row in ROWS if row.part == "held") >= 50


def test_clones_count_as_one_sentence():
    assert pii_labelled.worth([]) == 0
    assert pii_labelled.worth("abcd") == 4
    assert pii_labelled.worth("aaab") == 1
    assert pii_labelled.worth("aabb") == 2
    one, other = (row for row in ROWS if row.text.startswith("radvd: sending RA from fe80::"))
    assert one.text != other.text
    assert one.sentence == other.sentence


def test_a_worse_finder_would_fail(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pii_labelled, "find", lambda text: [Span(0, 3, kind) for kind in KINDS])
    measured = pii_labelled.measure([row for row in ROWS if row.part == "held"])
    assert max(found.precision for found in measured.values()) < 0.2


def test_what_is_kept_for_scanners_is_taken_out_on_reading():
    assert not any(mark in row.text for row in ROWS for mark in "¦⟦⟧")
    assert {kind for row in ROWS for span in row.spans for kind in [span.kind]} == set(KINDS)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to jane.doe+x@mail.example.org.", "write to <email>."),
        ("at 8.8.8.8, not 127.0.0.1 or 255.255.255.0", "at <ip>, not 127.0.0.1 or 255.255.255.0"),
        ("2606:4700:4700::1111 but a[::2] and std::cout", "<ip> but a[::2] and std::cout"),
        ("@property and x @ y and version 1.2.3", "@property and x @ y and version 1.2.3"),
        ("git@github.com:a/b.git and logo@2x.png", "git@github.com:a/b.git and logo@2x.png"),
        ("card 4111 1111 1111 1111, not 4111 1111 1111 1112", "card <card>, not 4111 1111 1111 1112"),
        ("call +44 20 7946 0018 in 2019-2020", "call <phone> in 2019-2020"),
        ("ISBN 978-3-16-148410-0 and 10.5281/zenodo.1234567", "ISBN 978-3-16-148410-0 and 10.5281/zenodo.1234567"),
        ("GB82 WEST 1234 5698 7654 32 THE BANK", "<iban> THE BANK"),
        ("Visit 221B Baker Street, London NW1 6XE today", "Visit <address> today"),
        ("字jane@example.org字 und jörg@müller.example.de", "字<email>字 und <email>"),
    ],
)
def test_values_go_and_what_looks_like_them_stays(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize("digits", ["4111111111111111", "378282246310005", "6011111111111117"])
def test_one_wrong_digit_is_no_card(digits: str):
    assert pii_numbers.is_card(digits)
    for place, digit in enumerate(digits):
        other = digits[:place] + str((int(digit) + 1) % 10) + digits[place + 1 :]
        assert not pii_numbers.luhn(other)


@pytest.mark.parametrize(
    ("holds", "value", "wrong"),
    [
        (pii_numbers.is_iban, "DE89 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        (pii_numbers.is_dni, "12345678Z", "12345678A"),
        (pii_numbers.is_dni, "X1234567L", "Y1234567L"),
        (pii_numbers.is_cpf, "529.982.247-25", "111.111.111-11"),
        (pii_numbers.is_nir, "2 55 08 14 168 025 38", "2 55 08 14 168 025 39"),
        (pii_numbers.is_codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        (pii_numbers.is_bsn, "111222333", "111222334"),
        (pii_numbers.is_pesel, "44051401359", "44051401358"),
        (pii_numbers.is_aadhaar, "2363", "2364"),
        (pii_numbers.is_ssn, "123-45-6789", "666-45-6789"),
    ],
)
def test_checks_agree_with_published_examples(holds, value: str, wrong: str):
    assert holds(value)
    assert not holds(wrong)


@given(st.lists(st.sampled_from([*(row.text for row in ROWS[::37]), " word ", "\n", "x", "1", "@", "+1 "]), max_size=12))
@settings(deadline=None, max_examples=60)
def test_spans_are_in_order_apart_and_the_same_again(parts: list[str]):
    text = " ".join(parts)
    spans = find(text)
    assert spans == sorted(spans) == find(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(earlier.end <= later.start for earlier, later in pairwise(spans))


@given(st.lists(st.sampled_from(["a@b.org", "8.8.8.8", "2606:4700::1", "+1 212-555-0123", " word ", "\n", "x"])))
@settings(deadline=None)
def test_masking_leaves_nothing_to_mask(parts: list[str]):
    after = mask(" ".join(parts))
    assert mask(after) == after


@pytest.mark.parametrize("mode", ["placeholder", "surrogate"])
def test_edits_in_places_of_the_original_make_the_new_text(mode: pii.Mode):
    for row in ROWS[::11]:
        after, edits = replace(row.text, row.spans, mode, seed=5)
        rebuilt, moved = row.text, 0
        for edit in edits:
            start, end = int(edit["start"]) + moved, int(edit["end"]) + moved
            rebuilt, moved = rebuilt[:start] + str(edit["repl"]) + rebuilt[end:], moved + len(str(edit["repl"])) - (end - start)
        assert rebuilt == after
        assert [edit["op"] for edit in edits] == [f"pii:{span.kind}" for span in sorted(row.spans)]


def test_an_edit_tells_the_place_and_kind_but_not_the_secret():
    after, edits = replace("to a@b.org now", find("to a@b.org now"))
    assert after == "to <email> now"
    assert edits == [{"op": "pii:email", "start": 3, "end": 10, "repl": "<email>", "stage": "pii"}]


def test_a_value_has_one_surrogate_in_a_text_and_another_under_another_seed():
    text = "jane@corp.example wrote to joe@corp.example; jane@corp.example did."
    (one, edits), (other, _) = (replace(text, find(text), "surrogate", seed) for seed in (1, 2))
    first, second, third = (edit["repl"] for edit in edits)
    assert first == third != second
    assert one != other
    assert replace(text, find(text), "surrogate", 1)[0] == one


@pytest.mark.parametrize("kind", KINDS)
def test_a_surrogate_keeps_the_form_and_is_no_ones(kind: str):
    for row in [row for row in ROWS if any(span.kind == kind for span in row.spans)][:12]:
        span = next(span for span in row.spans if span.kind == kind)
        value = row.text[span.start : span.end]
        _, (edit,) = replace(row.text, [span], "surrogate", seed=3)
        put = str(edit["repl"])
        assert put != value
        if kind not in ("email", "phone", "street_address") and not kind.startswith("ip"):
            assert len(put) == len(value)
            assert [letter.isalnum() for letter in put] == [letter.isalnum() for letter in value]
        held_by_someone = {"iban": pii_numbers.is_iban, "credit_card": pii_numbers.is_card, "us_ssn": pii_numbers.is_ssn}.get(kind)
        assert held_by_someone is None or not held_by_someone(put)


def test_only_the_wanted_kinds_and_regions_are_looked_for():
    text = "Tel 020 7946 0018, a@b.org"
    assert [span.kind for span in find(text)] == ["phone", "email"]
    assert [span.kind for span in find(text, ("email",))] == ["email"]
    assert [span.kind for span in find(text, regions=("US",))] == ["email"]
    with pytest.raises(UsageError, match="email"):
        find(text, ("mail",))


def test_where_two_kinds_overlap_the_upper_one_is_meant():
    assert kinds_in("postgres://app:Kr7%aab9!x@db.example.org/x") == ["secret"]
    assert kinds_in("IBAN DE89370400440532013000") == ["iban"]


def test_a_letter_that_is_longer_in_lower_case_moves_nothing():
    text = "İİİ password=Kabc123!XYdef45 İ a@b.org"
    assert [text[span.start : span.end] for span in find(text)] == ["Kabc123!XYdef45", "a@b.org"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("_jane@example.com_ or -jane@example.com", "_<email>_ or -<email>"),
        ("mailto:?cc=%20jane@example.com&bcc=jane%40example.com", "mailto:?cc=%20<email>&bcc=<email>"),
        ("bounce-" + "x" * 90 + "@example.com", "<email>"),
        ("jane@example.com(work), not A@B.sum(1)", "<email>(work), not A@B.sum(1)"),
        ("o'brien@example.org; u'jane@example.com'", "<email>; u'<email>'"),
    ],
)
def test_an_address_is_found_whole_within_mark_up(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("rule 12 DROP 85.214.132.117", "rule 12 DROP <ip>"),
        ("Release notes from 85.214.132.117, driver at 85.214.132.117", "Release notes from <ip>, driver at <ip>"),
        ('5.9.12.8 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200', '<ip> - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200'),
        ("driver version 31.0.101.21, release 85.214.132.117", "driver version 31.0.101.21, release 85.214.132.117"),
    ],
)
def test_a_word_about_versions_says_so_of_its_own_number_only(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("card_id=4111111111111111", "card_id=<card>"),
        ("card reference no. 4111111111111111", "card reference no. <card>"),
        ("Patient ID: 123-45-6789, SSN case 123-45-6789", "Patient ID: <ssn>, SSN case <ssn>"),
        ("4111 1111 1111 1111 2024", "<card> 2024"),
        ("4111 1111 1111 1111 2024 3000", "4111 1111 1111 1111 2024 3000"),
        ("case 123-45-6789, session id 4111111111111111", "case 123-45-6789, session id 4111111111111111"),
        ("SIM card 8944110068256270054", "SIM card 8944110068256270054"),
    ],
)
def test_a_value_is_what_its_own_word_says(text: str, left: str):
    assert mask(text) == left


BODY = ("MIIEabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567", "Tail12+/a==")


@pytest.mark.parametrize("joint", ["\n", "\\n", '\\n" +\n    "', "\\n'\n  b'", "\n> ", "\n# "])
def test_a_private_key_goes_whole_wherever_it_stands(joint: str):
    key = joint.join(["-----BEGIN RSA PRIVATE KEY-----", BODY[0], BODY[0], BODY[1], "-----END RSA PRIVATE KEY-----"])
    assert mask(f"«{key}» bye") == "«<private-key>» bye"


def test_a_key_on_one_line_and_one_that_is_cut_off_go_whole():
    assert mask(f"-----BEGIN PRIVATE KEY-----\\n{BODY[0] * 25}\\n-----END PRIVATE KEY-----") == "<private-key>"
    assert mask(f"-----BEGIN PRIVATE KEY-----\n{BODY[0]}\n{BODY[1]}\nThen we stopped") == "<private-key>\nThen we stopped"


REGISTERED = {
    "BI": 27, "DJ": 27, "FK": 18, "HN": 28, "MN": 20, "NI": 28, "OM": 23, "RU": 33, "SD": 18, "SO": 23, "ST": 25, "SV": 28, "TL": 23,
    "YE": 30, "DE": 22, "GB": 22,
}  # fmt: skip


@pytest.mark.parametrize(("country", "length"), REGISTERED.items())
def test_an_account_of_every_registered_country_is_found(country: str, length: int):
    account = next(made for check in range(2, 99) if pii_numbers.is_iban(made := f"{country}{check:02}" + "4" * (length - 4)))
    grouped = re.findall(".{1,4}", account)
    for written in (account, account.lower(), " ".join(grouped), "-".join(grouped)):
        assert mask(f"to {written}, today") == "to <iban>, today"


def test_a_hexadecimal_number_is_no_account():
    assert not pii_numbers.is_small_iban("be71a9612345676f")
    assert mask("be71096123456769") == "<iban>"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("password = Tr0ub4dor&3", "password = <secret>"),
        ("?token=Kx81tub4dor99x&page=1", "?token=<secret>&page=1"),
        ('password="a,b;c(9Xq4r&t"', 'password="<secret>"'),
        ('{\\"password\\": \\"Kx9,f3(aQz71\\"}', '{\\"password\\": \\"<secret>\\"}'),
        ("password: Summer2024, pwd=Harley#77", "password: <secret>, pwd=<secret>"),
        ("password = password2", "password = password2"),
        ("password: Sha256Hasher(x)", "password: Sha256Hasher(x)"),
        ("colour: Summer2024", "colour: Summer2024"),
    ],
)
def test_a_secret_is_found_to_its_end(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    "address",
    ["12 bis, rue de la Paix, 75002 Paris", "3 RUE DU GÉNÉRAL DE GAULLE 67000 STRASBOURG", "C/ Mayor, 12, 3º B, 28013 Madrid",
     "Avenida de la Constitución, 8, 41001 Sevilla", "Via Giuseppe Verdi, 8\n20121 Milano (MI)", "Rua das Flores, 123",
     "Keizersgracht 123, 1015 CJ Amsterdam", "Bahnhofstrasse 12, 8001 Zürich", "P.O. Box 1234, Springfield, IL 62704",
     "Postfach 10 20 30, 60001 Frankfurt", "Postbus 1234, 1000 AB Amsterdam", "Apartado de Correos 12, 28080 Madrid",
     "123 MAIN STREET, SPRINGFIELD, IL 62704"],
)  # fmt: skip
def test_streets_of_many_countries_are_found(address: str):
    assert mask(f"to: {address}; thanks") == "to: <address>; thanks"


@pytest.mark.parametrize("text", ["via USB 3 and via Bluetooth 5", "C. Smith 5", "12 route handlers", "the 14 places"])
def test_numbers_beside_other_words_are_no_addresses(text: str):
    assert mask(text) == text


@pytest.mark.parametrize(("holds", "value"), [(pii_numbers.is_bsn, "000000000"), (pii_numbers.is_dni, "00000000T")])
def test_noughts_are_no_ones_number(holds, value: str):
    assert not holds(value)


def test_a_surrogate_holds_no_part_of_the_value():
    secret = "password = Kr7%aab9qW"
    assert not any(secret[11:][start : start + 3] in surrogate(secret, seed) for start in range(8) for seed in range(5))
    assert surrogate("key AKIAIOSF7DNN7QX4MPLW").startswith("key AKIA")
    assert "glpat-" + "QWERtyui" not in surrogate("glpat-QWERtyui1234asdfZXCV")
    block = "-----BEGIN PRIVATE KEY-----\n" + "\n".join([BODY[0], BODY[1]]) + "\n-----END PRIVATE KEY-----"
    lines = surrogate(block).split("\n")
    assert [lines[0], lines[-1]] == ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]
    assert [len(line) for line in lines[1:-1]] == [len(line) for line in BODY]
    assert not any(body[:4] in line for body, line in zip(BODY, lines[1:-1], strict=True))
    assert not any(part in surrogate("codice fiscale RSSMRA85T10A562S") for part in ("RSSMRA", "A562S"))
    assert "ü" not in surrogate("password: Gr7%üab9qW!4x")


def test_a_number_from_corsica_has_a_surrogate_too():
    for number in ("1 85 05 2A 123 456 33", "1 85 05 2b 123 456 60"):
        put, _ = replace(number, [Span(0, len(number), "fr_nir")], "surrogate")
        assert put != number
        assert not pii_numbers.is_nir(put)


def test_spans_are_merged_in_time_of_their_number():
    # 0.02 s; putting each in its place among the others took 1.4 s.
    taken, found = ([Span(start, start + 3, kind) for start in range(low, 1_000_000, 10)] for low, kind in ((0, "email"), (4, "ipv4")))
    start = time.process_time()
    both = pii.merged(taken, found)
    assert time.process_time() - start < 0.5
    assert both == sorted([*taken, *found])
    assert pii.merged(taken, [Span(2, 5, "ipv4"), Span(7, 9, "ipv4"), Span(8, 12, "ipv4")]) == [taken[0], Span(7, 9, "ipv4"), *taken[1:]]


HOSTILE = (
    "a", "1", "@", "a@a.", "1 ", "1.", "+1", "a:", "::", "AA11 ", "key=a1", "token:", "://a:", "eyJ", "sk-proj-", "M", "1 A ",
    "1 Oak Street, ", "Aa straße 1 ", "weg 1 ", "call 12 345 67 8 ", "tel: 1-2 ", "(1", "<a at ", "a [at] a [dot] ", "4111-1111-", "DE00",
    "-----BEGIN PRIVATE KEY-----\nA: b\n", "-----BEGIN PRIVATE KEY-----" + "A" * 50 + '"+\n', "o'a@a.aa ", "a%40a.aa", "a@b.co 8.8.8.8 ",
    "1 rue A ", "calle A ", "C/A 1, ", "via De La A ", "PO box 1 ", "password=A1&", "de00-",
)  # fmt: skip


def seconds(text: str) -> float:
    start = time.process_time()
    find(text)
    return time.process_time() - start


def test_hostile_text_costs_no_more_than_its_length():
    # 30 ms for 20 kB of the worst unit; a quadratic pattern would need minutes.
    assert {unit: took for unit in HOSTILE if (took := seconds((unit * 20_000)[:20_000])) > 1.0} == {}


@pytest.mark.soak
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_the_worst_text_is_read_in_time(unit: str):
    assert seconds((unit * 1_000_000)[:1_000_000]) < 60


def test_random_text_holds_next_to_nothing_private():
    chance = random.Random(3)
    text = "".join(chance.choice("abcdefgh0123456789 .,-:\n") for _ in range(100_000))
    assert sum(Counter(span.kind for span in find(text)).values()) < 5


def test_a_national_number_begins_as_its_country_has_it():
    asked = (("+12125550123", None), ("020 7946 0018", "GB"), ("20 7946 0018", "GB"))
    assert [pii_contacts.is_phone(value, region) for value, region in asked] == [True, True, False]
