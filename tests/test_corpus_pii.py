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
    "secret": (0.98, 0.77), "es_dni": (1.0, 0.93), "pl_pesel": (1.0, 0.92), "ipv4_private": (0.92, 0.98), "street_address": (0.98, 0.94),
    "phone": (0.96, 0.89),
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
    assert hashlib.sha256(held).hexdigest() == "747a23bf96fdfbdf40f1c87b5a566c325d3d02131a9db71acad5f35b1231be04"


def test_the_labelled_set_is_large_and_its_parts_share_no_sentence():
    assert sum(len(row.spans) for row in ROWS if row.part == "held") >= 300
    assert sum(row.tempts is not None for row in ROWS) >= 1000
    assert all(not row.spans for row in ROWS if row.tempts)
    tune, held = ({row.sentence for row in ROWS if row.part == part} for part in ("tune", "held"))
    assert not tune & held
    assert len(held) > 400
    assert {row.tempts for row in ROWS if row.part == "held"} >= set(KINDS)


def test_look_alikes_pass_the_check_of_their_kind():
    tempting = [(row.tempts, digits) for row in ROWS if row.part == "held" for digits in re.findall(r"\b\d{13,19}\b", row.text)]
    assert sum(kind == "credit_card" and pii_numbers.luhn(digits) for kind, digits in tempting) >= 15
    assert any(len(row.text) > 1500 for row in ROWS if row.part == "held")
    assert sum("\n" in row.text for row in ROWS if row.part == "held") >= 50


def test_clones_count_as_one_sentence():
    assert pii_labelled.worth([]) == 0
    assert pii_labelled.worth("abcd") == 4
    assert pii_labelled.worth("aaab") == 1
    assert pii_labelled.worth("aabb") == 2
    one, other = (row for row in ROWS if row.text.startswith("DD-214 service number"))
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


@pytest.mark.parametrize("joint", ["<br>\n", "<br/>", "&#10;", "\n", "\\n", '\\n" +\n    "', "\\n'\n  b'", "\n> ", "\n# "])
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


SECRET = "vK8mQ2xz7LpR4tBn"


@pytest.mark.parametrize(
    "layout",
    ["DB_PASS={}", "password: {} # rotate", "password = {}", "'password' => '{}',", "define('DB_PASSWORD', '{}');", "setPassword(\"{}\");",
     "<entry key=\"smtp.password\">{}</entry>", "<add key=\"DbPassword\" value=\"{}\" />", "<b>Password:</b> {}<br>", "| password | {} |",
     "<td>Password</td><td>{}</td>", "<key>Password</key>\n\t<string>{}</string>", "val password: String = \"{}\"",
     "var password string = \"{}\"",
     "const password: string = '{}';", "let token: &'static str = \"{}\";", "Server=db;User Id=sa;Password={};Encrypt=yes",
     "jdbc:mysql://db/shop?user=app&password={}&useSSL=false", "jdbc:oracle:thin:scott/{}@db:1521/XE", "tool --password {} --user x",
     "tool --token={}", "mysql -u root -p{} shop", "sshpass -p '{}' ssh me@host", "docker login -u bob -p {} example.org",
     "curl -u admin:{} https://example.org", "curl -H \"Authorization: Bearer {}\"", "machine example.org login bob password {}",
     "example.org:5432:shop:app:{}", "redis://:{}@cache:6379/0", "amqp://worker:{}@queue:5672/jobs", "requirepass {}", "bindpw {}",
     "CREATE USER 'app' IDENTIFIED BY '{}';", "- name: DB_PASSWORD\n  value: \"{}\"", "{{\"name\": \"DB_PASSWORD\", \"value\": \"{}\"}}",
     "variable \"db_password\" {{\n  default = \"{}\"\n}}", "os.getenv(\"DB_PASSWORD\", \"{}\")", "ENV DB_PASSWORD {}", "_authToken={}",
     "AWS secret access key: {}",
     "El usuario es juan y la contraseña {}", "password: |\n  {}",
     "ENV['SECRET_KEY_BASE'] ||= '{}'", "the password for the guest wifi is {}, enjoy", "Password for wifi (guest): {}", "creds: bob / {}",
     "Das Kennwort lautet {}.", "Das Passwort für das WLAN ist {}", "mon mot de passe est {}", "mdp : {}", "la clave del wifi es {}",
     "a senha é {}", "het wachtwoord is {}", "hasło do wifi to {}", "La password è {}", "пароль: {}", "密码：{}"],
)  # fmt: skip
def test_a_secret_is_found_wherever_it_stands(layout: str):
    assert mask(layout.format(SECRET)) == layout.format("<secret>")


@pytest.mark.parametrize(
    "password",
    ["hunter2horse", "Sunny42day", "gr33nTea!", "p4ssionFruit9", "correct-horse-battery-staple", "Swordfish!", "Tulip7field", "#kF9d!Lw2"],
)
def test_what_people_choose_is_a_password(password: str):
    assert mask(f"password: {password}") == "password: <secret>"


def test_what_people_choose_is_no_token():
    assert mask("token: Sunny42day, secret: hunter2horse") == "token: Sunny42day, secret: hunter2horse"


def test_the_name_and_password_of_basic_access_are_a_secret():
    assert mask("Authorization: Basic Ym9iOmtyN2FhYjlxVw==") == "Authorization: Basic <secret>"
    assert mask("Authorization: Basic authentication") == "Authorization: Basic authentication"
    assert mask('passphrase: "walnut harbour violin ladder"') == 'passphrase: "<secret>"'


@pytest.mark.parametrize(
    "text",
    ["password = args.password2", "password: ENC[AES256_GCM,data:xx1]", "passwordPolicy: \"min8chars\"",
     "password_expires_at: 2021-03-04T05:06:07",
     "password: 'required|min:8|max:64'", "The password is SHA-256 hashed", "secretName: db-creds-2024", "tokenizer = \"gpt2-large-v1\"",
     "token = tokens[12]", "\"password\": \"Passwort2\"", "<input type=\"password\" id=\"pwd2\" name=\"pwd2\">",
     "password: $2b$12$KIXQ1x2yzA3bC4dE5",
     "fields = (\"password1\", \"password2\")", "https://user:password@example.org/", "docker run -p 8080:80 x", "passed=12345678",
     "password: •••• or *****",
     "passphrase: \"enter your new passphrase\"", "compass: n0rth-by-w3st", "password: https://example.org/reset1"],
)  # fmt: skip
def test_names_types_hashes_and_rules_are_no_secrets(text: str):
    assert mask(text) == text


CHANCE = "qW8eR5tY2uI7oP4aS9dF6gH3jK1lZ0xC8vB5nM2qW7eR4tY9uI6oP3aS1dF0gH8jK5lZ2xC7vB4nM"
HEX = "9f3b7c1e5a8d2046e17b3c9a5f8d2e60417b9c3f5a1d8e2604b7c9f3a5d1e860"


@pytest.mark.parametrize(
    "key",
    ["ABSK" + CHANCE * 2, "LTAI" + CHANCE[:20], "xoxe-1-" + CHANCE * 2, "sk-or-v1-" + HEX, "secret_" + CHANCE[:43],
     "re_" + CHANCE[:8] + "_" + CHANCE[8:32],
     "NRAK-" + CHANCE[:27].upper(), "pat" + CHANCE[:14] + "." + HEX, "HRKU-AA" + CHANCE[:58],
     "tskey-auth-" + CHANCE[:12] + "-" + CHANCE[:32],
     CHANCE[:3] + "8Q~" + CHANCE[:34], CHANCE[:14] + ".atlasv1." + CHANCE[:67], HEX[:32] + "-us12",
     "dt0c01." + CHANCE[:24].upper() + "." + HEX.upper(),
     "https://discord.com/api/webhooks/839201746582930174/" + CHANCE[:68], "glpat-" + CHANCE[:27] + ".01.0a1b2c3d4"],
)  # fmt: skip
def test_keys_of_many_issuers_are_found(key: str):
    assert mask(f"see {key}, please") == "see <key>, please"


def test_a_key_is_found_behind_a_path_and_an_escaped_line_end():
    assert mask("https://api.telegram.org/bot519464260:AA" + CHANCE[:33] + "/getUpdates") == "https://api.telegram.org/bot<key>/getUpdates"
    assert mask("\\nAKIA44HP7XUU3GPM4A7H\\n") == "\\n<key>\\n"
    assert mask("key%3DAIza" + CHANCE[:35]) == "key%3D<key>"
    assert mask("xAKIA44HP7XUU3GPM4A7H") == "xAKIA44HP7XUU3GPM4A7H"
    cut, counted = "ghp_" + CHANCE[:36] + "...", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    assert mask(f"{cut} {counted}") == f"{cut} {counted}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("library card 4111111111111111", "library card 4111111111111111"),
        ("Kundenkarte 4111111111111111", "Kundenkarte 4111111111111111"),
        ("Visa gift card 4111111111111111", "Visa gift card <card>"),
        (
            "Rechnungsnummer: 4111111111111111, facture n° 4111111111111111",
            "Rechnungsnummer: 4111111111111111, facture n° 4111111111111111",
        ),
        ("pan,parcel\n4111111111111111,4111111111111111", "pan,parcel\n<card>,4111111111111111"),
        ("name,ssn\nDoe,283673600\n" + "Roe,283673601\n" * 20, "name,ssn\nDoe,<ssn>\n" + "Roe,<ssn>\n" * 20),
        ('applicant.social_security = "283673600"', 'applicant.social_security = "<ssn>"'),
        ("SSN 283‑67‑3600, policy 283-67-3600", "SSN <ssn>, policy 283-67-3600"),
        ("the SSN is 283673600 for sure", "the SSN is <ssn> for sure"),
        ("social security paid 283673600 people", "social security paid 283673600 people"),
    ],
)
def test_the_word_before_a_number_and_the_head_of_its_column_say_what_it_is(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("iOS 10.3.3.7 build", "iOS 10.3.3.7 build"),
        ("upgrade to Oracle 10.2.0.4 or 10.2.0.5 beta", "upgrade to Oracle 10.2.0.4 or 10.2.0.5 beta"),
        ("10.1.1.2 Introduction", "10.1.1.2 Introduction"),
        ("ping 10.0.0.5, Windows host 192.168.1.20", "ping <ip>, Windows host <ip>"),
    ],
)
def test_a_product_has_a_version_and_a_machine_an_address(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Müller, 0171 3920084; Büro 030/23125060", "Müller, <phone>; Büro <phone>"),
        ("Dr Martin 04 72 00 31 12", "Dr Martin <phone>"),
        ("Winning: 03 12 25 33 43; 01 02 03 04 05 06", "Winning: 03 12 25 33 43; 01 02 03 04 05 06"),
        ("| Bob | 212 555 0177 | x |", "| Bob | <phone> | x |"),
        ("name,phone\nBob,2125550177\n" + "Ann,4155550123\n" * 20, "name,phone\nBob,<phone>\n" + "Ann,<phone>\n" * 20),
        ("name,order\nBob,2125550177\n", "name,order\nBob,2125550177\n"),
        ("Llámame al 810 12 33 44 luego", "Llámame al <phone> luego"),
        ("07700 900 593 is mine", "<phone> is mine"),
        ("003  1-800-22-11      7", "003  1-800-22-11      7"),
        ("Kundennummer 030/23125060", "Kundennummer 030/23125060"),
    ],
)
def test_a_number_in_the_layout_of_its_country_is_a_phone(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    "address",
    ["12 bis, rue de la Paix, 75002 Paris", "3 RUE DU GÉNÉRAL DE GAULLE 67000 STRASBOURG", "C/ Mayor, 12, 3º B, 28013 Madrid",
     "Avenida de la Constitución, 8, 41001 Sevilla", "Via Giuseppe Verdi, 8\n20121 Milano (MI)", "Rua das Flores, 123",
     "Keizersgracht 123, 1015 CJ Amsterdam", "Bahnhofstrasse 12, 8001 Zürich", "P.O. Box 1234, Springfield, IL 62704",
     "Postfach 10 20 30, 60001 Frankfurt", "Postbus 1234, 1000 AB Amsterdam", "Apartado de Correos 12, 28080 Madrid",
     "123 MAIN STREET, SPRINGFIELD, IL 62704", "4400 Queen St W, Toronto, ON M5V 2T6", "5/12 Smith St, Carlton VIC 3053",
     "12 High Street, Hampton, Middlesex TW12 2SA", "17 Lambton Quay, Wellington 6011", "742 Evergreen Terrace, Springfield, Oregon 97403",
     "Rosental 5, 53111 Bonn", "Straße des 17. Juni 135, 10623 Berlin", "Mariahilfer Straße 12/3/14, 1070 Wien",
     "Hauptstraße 12, 61348 Bad Homburg",
     "Herengracht 88-B, 1015 BS Amsterdam", "Laan van Meerdervoort 70, 2517 AN Den Haag", "ul. Marszałkowska 12/34, 00-590 Warszawa",
     "ul. Długa 5 m. 3", "os. Tysiąclecia 14/5, 31-603 Kraków", "12 rue de la gare, 67000 Strasbourg",
     "25 avenue Montaigne, 75008 Paris Cedex 08",
     "Rue de la Loi 16, 1000 Bruxelles", "Carrer de Mallorca 401, 08013 Barcelona", "Via Garibaldi n. 15, 00153 Roma",
     "Rua Augusta, 1200 - Consolação, São Paulo - SP, 01304-001", "Rua da Prata, 45, 2.º andar, 1100-414 Lisboa"],
)  # fmt: skip
def test_streets_of_many_countries_are_found(address: str):
    assert mask(f"to: {address}; thanks") == "to: <address>; thanks"


def test_an_address_ends_where_its_sentence_does():
    assert mask("Das Paket liegt bei Gartenweg 5b, 4020 Linz.") == "Das Paket liegt bei <address>."
    assert mask("stolen outside 205 West Elm St on Tuesday") == "stolen outside <address> on Tuesday"
    assert mask("Abito in via Mazzini 12 a Parma") == "Abito in <address> a Parma"


@pytest.mark.parametrize(
    "text",
    ["via USB 3 and via Bluetooth 5", "C. Smith 5", "12 route handlers", "the 14 places", "Nos. 12 Baker Street",
     "24 Hour Drive Thru; 2 Car Court",
     "Er belegte Platz 81, 12000 Zuschauer sahen zu.", "open(fd, os.O_RDONLY, 0)", "Porsche Carrera 4, Via Rail 60"],
)  # fmt: skip
def test_numbers_beside_other_words_are_no_addresses(text: str):
    assert mask(text) == text


@pytest.mark.parametrize(("holds", "value"), [(pii_numbers.is_bsn, "000000000"), (pii_numbers.is_dni, "00000000T")])
def test_noughts_are_no_ones_number(holds, value: str):
    assert not holds(value)


@pytest.mark.parametrize(
    "text",
    ["Your case number is {}; quote it", "Stock number {}: table", "Requisition {}, approved", "Accession {}, sheet 2",
     "Drawing {} sheet 2",
     "Microfilm reel {}, frame 12", "Ann's number {} in the choir list", "Gasket set {} fits all models", "Parts list\n{}  gasket, head",
     "name,part_no\nbolt,{}", "{{\"part\":\"{}\",\"name\":\"bolt\"}}", "The thermostat ({}) is out of production."],
)  # fmt: skip
def test_a_dashed_number_beside_a_thing_is_no_ones(text: str):
    assert mask(text.format("318-44-2201")) == text.format("318-44-2201")


@pytest.mark.parametrize(
    "text",
    ["SSN/ID: {}", "Jane Whitlock, {}", "WHITE, CAROL {} seat 4A", "the veteran's number, {}, was typed", "W-2 box a: {}",
     "Mine is {}, and yours?",
     "Bill Tarr   {}   03/04/1961", "Spouse: Linda, {}, born 1962", "{{\"name\":\"Tom Hale\",\"ssn\":\"{}\"}}"],
)  # fmt: skip
def test_a_dashed_number_beside_a_person_is_somebodys(text: str):
    assert mask(text.format("318-44-2201")) == text.format("<ssn>")


def test_nine_digits_stand_right_behind_their_name():
    told = "Social Security paid benefits to 412339981 accounts; order 412339981, SSN required"
    assert mask(told) == told
    assert mask("SSN of the applicant: 412339981") == "SSN of the applicant: <ssn>"


@pytest.mark.parametrize(
    "text",
    ["Vertragskonto {}", "Número de seguimiento: {}", "Loyalty membership: {}", "Numéro de dossier : {}", "numero di polizza: {}",
     "Numer zamówienia: {}", "Stromzähler {}", "Conto contrattuale {}", "Frequent flyer number {}", "Klubkarte {}",
     "Nº de cuenta de gas {}",
     "asset tag {}", "Numer karty bibliotecznej {}"],
)  # fmt: skip
def test_a_number_of_something_is_no_card(text: str):
    assert mask(text.format("4539 1488 0343 6467")) == text.format("4539 1488 0343 6467")


@pytest.mark.parametrize("text", ["Kartennummer {}", "Nº de tarjeta: {}", "Bezahlt mit {}", "numéro de carte {}", "debit {} 12/26"])
def test_a_number_of_a_card_is(text: str):
    assert mask(text.format("4539 1488 0343 6467")) == text.format("<card>")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("NIR 1 58 01 69 304 068 / 41, <numeroSS>292124432506997</numeroSS>", "NIR <national-id>, <numeroSS><national-id></numeroSS>"),
        ("S21.G00.30.001,'294124420311722'; assuré 297062B08213618", "S21.G00.30.001,'<national-id>'; assuré <national-id>"),
        ("Commande 294124420311722, facture 294124420311722", "Commande 294124420311722, facture 294124420311722"),
        ("1. Abad Cruz, Noa - 73161737W; Vecino 56349404W", "1. Abad Cruz, Noa - <national-id>; Vecino <national-id>"),
        ("56349404W - Ana Pérez; 56349404W (DNI)", "<national-id> - Ana Pérez; <national-id> (DNI)"),
        ("Lote 56349404W, serie 56349404W del motor", "Lote 56349404W, serie 56349404W del motor"),
        (
            "P 57020314301 (PESEL); paczka 57020314301, PESEL 44051401359",
            "P <national-id> (PESEL); paczka 57020314301, PESEL <national-id>",
        ),
        ("deelnemer 346704558 (BSN)", "deelnemer <national-id> (BSN)"),
        ("fattura a Sala, lnmdvo85h23a080s; CF: RSS MRA 85T10 A562S", "fattura a Sala, <national-id>; CF: <national-id>"),
        (
            "sócio 529982247-25; 529 982 247 25 (CPF); protocolo 529982247-25",
            "sócio <national-id>; <national-id> (CPF); protocolo 529982247-25",
        ),
        ("uid;no\n" + "4;346704558\n" * 3, "uid;no\n" + "4;346704558\n" * 3),
    ],
)
def test_the_name_of_a_national_number_stands_before_or_behind_it_or_its_check_is_strong(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    "text",
    ["Absatz {}", "Le chapitre {} traite", "paragrafo {}, tabella", "Sprint {}: Abnahme", "rozdział {} opisuje serwer",
     "apartado {} del pliego",
     "zie onderdeel {}", "secção {}", "gnome-shell {}-4.el7.x86_64.rpm", "libpq_{}-1ubuntu2_amd64.deb", "AutoCAD hotfix {} for R19",
     "router firmware upgraded from {} to 10.3.2.2", "Blender add-on {}", "{} Scope of supply"],
)  # fmt: skip
def test_small_numbers_need_a_machine_beside_them(text: str):
    assert mask(text.format("10.3.2.1")) == text.format("10.3.2.1")


@pytest.mark.parametrize(
    "text",
    ["der Drucker hat {}", "ssh bob@{}", "el router es {}", "serwer {} nie odpowiada", "-h {} -u reader", "{}:5432", "<ip>{}</ip>",
     "x = \"{}\"",
     "db.internal -> {}", "default via {} dev eth0", "La caméra est sur {}", "backup to {}:/export", "{}, 10.3.2.7, 10.3.2.9"],
)  # fmt: skip
def test_a_machine_beside_them_makes_small_numbers_an_address(text: str):
    assert mask(text.format("10.3.2.1")) == re.sub(r"10\.3\.2\.\d", "<ip>", text.format("<ip>"))


@pytest.mark.parametrize("text", ["bump zlib from 1.2.11.0 to 1.2.12.1", "update of 2.3.0.1 to 2.3.0.4"])
def test_what_changes_is_a_version(text: str):
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("v=spf1 ip6:2001:db8:1f0::25 -all; [IPv6:2001:db8::1]", "v=spf1 ip6:<ip> -all; [IPv6:<ip>]"),
        ("bind 2001:db8:40::443:443 ssl", "bind <ip>:443 ssl"),
        ("route 2001:db8:40::443:443 up", "route <ip> up"),
        ("a:1:2:fdb6:2f12:3aa3::ee", "a:1:2:fdb6:2f12:3aa3::ee"),
    ],
)
def test_an_address_of_eight_groups_is_cut_from_word_and_port(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    "address",
    ["mira [dot] falk [at] example [dot] net", "mira.falk (at) example (dot) org", "mira.falk [arroba] example.es",
     "mira.falk(@)example.de",
     "mira.falk at example dot org"],
)  # fmt: skip
def test_an_address_that_is_spelled_out_goes_whole(address: str):
    assert mask(f"mail: {address}, please") == "mail: <email>, please"


@pytest.mark.parametrize(
    "text",
    ["ship_to_street={}&city=Dayton", "She moved to {} last June.", "called Rose Cottage, now {}.", "a complaint in the {} duplex",
     "{} - Sunday 1-4",
     "Garage sale Saturday 8-2, {}, tools", "name;street;zip\nAnn;{};02139", "{{\"street\":\"{}\"}}"],
)  # fmt: skip
def test_a_street_is_found_in_prose_and_forms(text: str):
    assert mask(text.format("640 Sycamore Drive")) == text.format("<address>")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("q=1&street=640+Sycamore+Blvd&b=640%20Elm%20St", "q=1&street=<address>&b=<address>"),
        ("strasse;plz\nAm Rain 16;22397", "strasse;plz\n<address>;22397"),
        ("adres: Polna 7, Wohnhaft: Birkenstieg 16", "adres: <address>, Wohnhaft: <address>"),
        ("NIF 80024254D\nCalle Real 12, 15003 A Coruña\nTotal", "NIF <national-id>\n<address>\nTotal"),
        ("Der Wanderweg 7 ist gesperrt, Radweg 12 und Lehrpfad 3 offen", "Der Wanderweg 7 ist gesperrt, Radweg 12 und Lehrpfad 3 offen"),
        ("Aberdeen v Hull 3-2, 4000 Fans", "Aberdeen v Hull 3-2, 4000 Fans"),
    ],
)
def test_a_field_for_streets_holds_one_and_a_trail_is_none(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("call the office, 919-555-0103 ext. 4", "call the office, <phone> ext. 4"),
        ('"sorry, 801 555 0123, Greg"', '"sorry, <phone>, Greg"'),
        ("Notdienst: (089) 99998-712, Dr. Weber 030 23125060", "Notdienst: <phone>, Dr. Weber <phone>"),
        ("Se vende moto, 655 01 22 87, Toni", "Se vende moto, <phone>, Toni"),
        ("bij Kees, 06 12345167, of mail", "bij Kees, <phone>, of mail"),
        ("Sprzedam rower, 601 555 019", "Sprzedam rower, <phone>"),
        ("Affittasi bilocale, 338 5550127, ore pasti", "Affittasi bilocale, <phone>, ore pasti"),
        ("PDR 00881234567890; values 655 01 22 87 90", "PDR 00881234567890; values 655 01 22 87 90"),
    ],
)
def test_a_number_stands_alone_in_the_layout_of_its_country(text: str, left: str):
    assert mask(text) == left


@pytest.mark.parametrize(
    "layout",
    ["Utente: bob  Password: {}", "Inloggen en wachtwoord {}.", "sshpass -p '{}' ssh me@host", "nuova password {} da cambiare",
     "wpa-password {}",
     "la password provvisoria è {}", "mot de passe provisoire : {}", "contraseña temporal {}", "clé wifi : {}", "WLAN-Schlüssel: {}",
     "identifiants : admin / {}", "net user bob {} /add", "echo \"bob:{}\" | chpasswd"],
)  # fmt: skip
@pytest.mark.parametrize("password", ["Stro0pwafel#6", "Verano#2023"])
def test_a_password_is_found_behind_many_names(layout: str, password: str):
    assert mask(layout.format(password)) == layout.format("<secret>")


def test_a_password_is_found_by_how_it_is_made():
    assert mask("sshpass -p 'gr4nitE.boat' ssh pi@kiosk") == "sshpass -p '<secret>' ssh pi@kiosk"
    assert mask("Password: M4ndorla_rosa\nwpa-password heron-on-the-pond-1974") == "Password: <secret>\nwpa-password <secret>"
    assert mask("X-Auth-Token: itrisbz8fkxeqbtxvbcedbbmduoj3fvelbcvf5rz") == "X-Auth-Token: <secret>"
    assert mask("Set-Cookie: a=b; session=" + CHANCE[:32] + "; Path=/") == "Set-Cookie: a=b; session=<secret>; Path=/"
    salt = "F$nNbETcF!elV-Ih%gc3 qw%*gT%Uxw76MlQM0smfThp8i8M!Pbc4e1QJvrPpS9N"
    assert mask(f"define('AUTH_KEY',         '{salt}');") == "define('AUTH_KEY',         '<secret>');"
    assert mask("https://x:x-oauth-basic@example.org; pass tol=0.05 to it") == "https://x:x-oauth-basic@example.org; pass tol=0.05 to it"


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
    "1 rue A ", "calle A ", "C/A 1, ", "via De La A ", "PO box 1 ", "password=A1&", "de00-", "password for a (", "password for a b c d ",
     "pass-",
    'password" {\n a\n', "api key", "-u a:b", "creds: a/", "4111111111111111,", "a,4111111111111111\n", "call 2125550177,",
     "Aa 1, 1234 A ", "ul. A 1 ",
    "Ana Ana ", "Ana, Ana - ", "123-45-6789 ", "name 123-45-6789,", "10.1.1.1 ", "::1:443 bind ", "bind 2001::", "A dot a ", "a at a dot ",
    "=1+A+A", "street: A ", "a;street\n1;A 1\n", "cookie: a=b; ", "password temporal ", "numéro de a ", "wlan key ", "655 01 22 ",
    "12345678Z ",
    "social security number ", "aaaa nummer ", "x_y_z_", "1 85 05 ", "2850507459457", "ssn of of ",
    "0171/1 ", "01 02 ", "basic aaaa", "1 A A A A ", ":AA", "glpat-a",
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
