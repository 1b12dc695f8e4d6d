"""Every rule measures every document, equal to the published definitions; profiles decide; blocklists; noise."""

import gzip
import json
import math
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import DataError, UsageError
from scratchlm.core.records import Document
from scratchlm.rules import blocklist, filters, gibberish, profiles
from scratchlm.rules.filters import RULES, failing, values
from scratchlm.rules.language import LANGUAGES
from scratchlm.rules.words import Words, prose

GOLDEN = json.loads(Path(__file__).with_name("golden_rules.json").read_text(encoding="utf-8"))
SENTENCE = "The {} of the house is near to the river, and that we have seen with a lamp."
PAGE = "\n".join(SENTENCE.format(f"side{n} wall{n * 7} door{n * 3} roof{n * 5} yard{n * 11} gate{n * 13}") for n in range(9))

FINNISH = (
    "Talo oli suuri ja joki virtasi sen ohi hiljaa. Kukaan ei nähnyt sitä enää sen jälkeen, kun tuli pimeä ja lumi peitti pellot ja metsät."
)


def document(text: str, doc_type: str = "web", **facts: str | float) -> Document:
    return Document(text=text, id="0" * 32, source="test", facts={"doc_type": doc_type, "host": "a", "locator": "a", **facts})


def refused(made: Document, overrides: dict[str, float] | None = None, lang: str = "en") -> list[str]:
    """The names of the rules that refuse a document."""
    return [each.rule for each in failing(values(made, lang), profiles.of(made, lang), overrides or {})]


def disagreements(text: str, expected: dict[str, float]) -> dict[str, tuple[float, float]]:
    found = values(document(text), "en")
    # The file holds six decimals.
    return {rule: (found[rule], number) for rule, number in expected.items() if abs(found[rule] - number) > 2e-6}


@pytest.mark.parametrize("row", GOLDEN["texts"], ids=lambda row: row["name"])
def test_the_rules_measure_what_datatrove_measures(row: dict[str, Any]):
    assert len(row["values"]) >= 20
    assert disagreements(row["text"], row["values"]) == {}


@pytest.mark.parametrize("row", GOLDEN["passages"], ids=lambda row: row["file"])
def test_the_rules_measure_what_datatrove_measures_in_novels(row: dict[str, Any], real_data: Path):
    file = real_data / "novels" / row["file"]
    if not file.is_file():
        pytest.skip(f"{file}: not here")
    passage = file.read_text(encoding="utf-8")[row["start"] : row["end"]]
    text = "\n".join(line.strip() for line in passage.split("\n")).strip()
    assert disagreements(text, row["values"]) == {}


@given(st.text(max_size=300), st.sampled_from(["en", "ru", "fi", "und", ""]), st.sampled_from([*profiles.LIMITS]))
@settings(max_examples=80, deadline=None)
def test_every_rule_has_a_number_for_every_document(text: str, lang: str, kind: str):
    found = values(document(text, kind), lang)
    assert list(found) == list(RULES)
    unknown = {rule for rule, number in found.items() if math.isnan(number)}
    assert unknown <= {"unsure_language", "gibberish"} | ({"no_stop_words"} if lang not in LANGUAGES else set())
    profile = profiles.of(document(text, kind), lang)
    causes = [refused.rule for refused in failing(found, profile, {})]
    assert causes == sorted(causes, key=list(RULES).index)
    assert set(causes) <= set(profile.limits)


def test_every_limit_belongs_to_a_rule_and_lowering_the_bar_lets_a_text_pass():
    assert {rule for limits in [*profiles.LIMITS.values(), *profiles.BY_CHARACTERS.values()] for rule in limits} <= set(RULES)
    measured, profile = values(document("Home. About. Contact."), "en"), profiles.of(document("Home. About. Contact."), "en")
    refused = failing(measured, profile, {})
    assert [cause.rule for cause in refused] == ["too_few_words", "no_stop_words", "short_lines"]
    assert failing(measured, profile, {"too_few_words": 3, "no_stop_words": 0, "short_lines": 1}) == []


def test_profiles_by_characters_ask_nothing_of_words_or_language():
    for limits in [*profiles.BY_CHARACTERS.values(), profiles.PROSE_CHARACTERS]:
        assert {RULES[rule].judges for rule in limits} == {"characters"}


def test_a_plain_page_passes_every_rule():
    overrides = {"top_2_gram": 0.3, "top_3_gram": 0.3, "top_4_gram": 0.3, **{f"duplicate_{n}_gram": 0.9 for n in range(5, 11)}}
    assert refused(document(PAGE), overrides) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("too_few_words", "The cat sat."),
        ("too_many_words", "word " * 100_001),
        ("words_too_short", "a b c d e f"),
        ("words_too_long", "aGVsbG8gd29ybGQhISEhISEh" * 4),
        ("too_many_hashes", "# a # b # c"),
        ("too_many_dots", "wait... what... no"),
        ("too_many_bullets", "- one\n- two\n- three"),
        ("too_many_ellipses", "read more...\nand more..."),
        ("too_few_letters", "12 34 the 56 78 || 90 -- == 1"),
        ("no_stop_words", "colourless green ideas sleep furiously"),
        ("duplicate_lines", "this\nthat\nthis\nthis"),
        ("duplicate_paragraphs", "this\n\nthat\n\nthis\n\nthis"),
        ("duplicate_line_characters", "this very line\n" * 3),
        ("duplicate_paragraph_characters", "this very line\n\n" * 3),
        ("top_2_gram", "buy now " * 20),
        ("top_3_gram", "so buy now " * 20),
        ("top_4_gram", "and so buy now " * 20),
        *((f"duplicate_{n}_gram", "one two three four five six seven eight nine ten eleven twelve " * 4) for n in range(5, 11)),
        ("javascript_lines", "Please enable JavaScript.\nThe end."),
        ("policy_lines", "This site uses cookies.\nThe end."),
        ("placeholder_text", "Lorem ipsum dolor"),
        ("curly_brackets", "function f() { return 1 }"),
        ("too_few_sentences", "One sentence. And another"),
        ("lines_without_end", "home\nabout\ncontact"),
        ("short_lines", "home.\nabout.\ncontact."),
        ("echoed_lines", "this very line is longer than thirty\n" * 5),
        ("more_lines_than_text", "a\n\nb\n\nc\n\nd"),
        ("gibberish", "xqzjv kwpfh bzxqk vjwqz hgfkd qpwzx vbnjk xzqwp kfjdh zxqvb mnbvc qzxwj kdjfh gqpxz"),
    ],
)
def test_a_rule_says_what_it_found_and_where_its_limit_is(rule: str, text: str):
    refused = {cause.rule: cause for cause in failing(values(document(text), "en"), profiles.of(document(text), "en"), {})}
    limit = profiles.of(document(text), "en").limits[rule]
    assert refused[rule].limit == limit
    assert refused[rule].value != limit
    assert "{" not in refused[rule].reason


def test_a_closing_quote_is_no_end_of_a_line_to_fineweb():
    assert values(document('He said: "No."\nHe went.\nWhy?”'), "en")["lines_without_end"] == pytest.approx(1 / 3)


def test_c4_is_the_version_that_made_the_published_data():
    found = values(document("One two three four five.\nOne two three four.\nIt was the dogs'"), "en")
    assert (found["bad_lines"], found["open_lines"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_an_override_adds_a_rule_wherever_it_can_be_judged():
    menu = "Home\nAbout us\nThe whole of this line says something more than the others do."
    assert "bad_lines" not in refused(document(menu), {"short_lines": 1})
    for kind in ("web", "book", "code"):
        assert "bad_lines" in refused(document(menu, kind), {"bad_lines": 0.3})
    assert "open_lines" in refused(document("Home\nAbout", "book"), {"open_lines": 0.3})
    assert "open_lines" not in refused(document("Home\nAbout", "code"), {"open_lines": 0.3})
    assert "bad_lines" not in refused(document(menu), {"bad_lines": 0.3}, lang="fi")


def test_an_override_can_be_for_one_profile():
    menu = "Home.\nAbout us.\nThe end."
    overrides = {"web.short_lines": 1.0, "short_lines": 0.5, "web/characters.too_few_characters": 5}
    assert "short_lines" not in refused(document(menu), overrides)
    assert "short_lines" in refused(document(menu, "book"), overrides)
    assert refused(document("短い文章だ。"), overrides, lang="ja") == []
    assert list(filters.limits(profiles.of(document(menu, "reference"), "en"), {"bad_lines": 0.3})) == [
        "too_few_words", "too_few_letters", "bad_lines",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("short_line", r"no rule 'short_line'\. Did you mean 'short_lines'\?"),
        ("wep.short_lines", r"no profile 'wep'\. Did you mean 'web'\?"),
        ("web.short_line", r"no rule 'short_line'\. Did you mean 'short_lines'\?"),
        ("web/characters.short_lines", r"web/characters\.short_lines: .* does not know the words of its texts"),
        ("code.no_stop_words", r"code\.no_stop_words: the profile 'code' does not know the language,"),
    ],
)
def test_a_threshold_for_nothing_is_answered_at_once(key: str, message: str):
    filters.checked({"short_lines": 0.5, "web.bad_lines": 0.3, "pdf/characters.duplicate_lines": 0.1})
    with pytest.raises(UsageError, match=message):
        filters.checked({key: 0.5})


BASE64 = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0"


@pytest.mark.parametrize(
    ("line", "least"),
    [
        (f'"{BASE64}",', 0.9),
        (f"    b'{BASE64}'", 0.8),
        ('"' + "\\u009f\\u2a1b\\u0041" * 9 + '",', 0.9),
        (r"'\x1f\x8b\x08\x00\x9f\xc3\x41\x02\x7f'", 0.9),
        ("# " + "-" * 76, 0.0),
        ("# https://example.org/a/path/that/goes/on/and/on/and_has_long_names/in/it/until-the-end.html", 0.0),
        ("def test_that_every_document_of_the_whole_corpus_is_measured_by_every_rule_once():", 0.0),
    ],
)
def test_encoded_data_is_found_in_quotes_too(line: str, least: float):
    found = values(document("\n".join([line] * 40), "code"), "und")["data_like"]
    assert found >= least if least else found == 0


def test_a_large_document_is_measured_in_bounded_memory_and_time():
    words = " ".join(f"word{n * 7919 % 30_011}" for n in range(30_000))
    text = "\n".join([words] * 25)  # 6 million characters
    tracemalloc.start()
    found = values(document(text, "book"), "en")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6
    assert found["too_few_words"] == pytest.approx(25 * 30_000, rel=0.01)
    assert found["duplicate_10_gram"] > 0.5
    assert found["words_too_long"] == pytest.approx(values(document(words, "book"), "en")["words_too_long"], rel=0.01)


@pytest.mark.parametrize("code", ["en", "eng", "eng_Latn", "en_US", "EN", "en-US"])
def test_a_language_has_the_same_rules_however_its_code_is_written(code: str):
    assert profiles.of(document(PAGE), code).name == "web"
    assert values(document(PAGE), code)["no_stop_words"] == values(document(PAGE), "en")["no_stop_words"] > 3


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("longest_line", "x = 1\n" * 5 + "y = '" + "ab " * 400 + "'"),
        ("long_lines", "call(one, two, three)  # " + "and so on, " * 9 + "\n" + "z = 1;" * 30),
        ("too_few_alphanumerics", "/*--==**##@@!!..,,;;::||\\\\(){}[]<>-----*/ a b c d e"),
        ("data_like", "key = \\\n" + "\n".join("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg" for _ in range(9))),
        ("data_like", "table = [\n" + "\n".join(f"    {n}, 0x1f, 23, 0x8b, {n}, 17, 4, 99, 3, 12," for n in range(100, 120)) + "\n]"),
    ],
)
def test_code_has_rules_of_its_own(rule: str, text: str):
    assert refused(document(text, "code"))[0] == rule
    assert refused(document("def add(one, other):\n    return one + other\n\nprint(add(1, 2))", "code")) == []


def test_rules_for_prose_do_not_read_code_blocks():
    block = "if (a) {\n  b[0] = {1};\n}\n" * 9
    text = f"{PAGE}\n\n{block}\n{PAGE[::-1][:99]}."
    start = text.index("if (a)")
    spans = json.dumps([{"kind": "code", "start": start, "end": start + len(block)}, {"kind": "code", "start": 4, "end": 9}])
    marked, plain = (values(document(text, structure=facts), "en") for facts in (spans, "[]"))
    assert (marked["curly_brackets"], plain["curly_brackets"]) == (0, 18)
    assert marked["duplicate_lines"] == 0 < plain["duplicate_lines"]
    assert block not in prose(document(text, structure=spans))
    assert PAGE[4:9] in prose(document(text, structure=spans))


def test_a_one_line_entry_of_a_reference_is_kept_where_a_web_page_is_not():
    text = "math.sqrt(x)\n\nReturn the square root of x."
    assert refused(document(text, "reference")) == []
    assert refused(document(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("这是一个关于河流和房子的长故事，" + "".join(chr(0x4E00 + n * 7) for n in range(150)) + "。", "web/characters"),
        (FINNISH, "web/characters"),
        ("Der Hund und die Katze sind nicht in dem Haus, das ist mit Holz gebaut.", "web"),
    ],
)
def test_other_languages_are_not_judged_by_english_words(text: str, name: str):
    lang = {"这": "zh", "T": "fi", "D": "de"}[text[0]]
    profile = profiles.of(document(text), lang)
    assert profile.name == name
    assert "/" in name or values(document(text), lang)["no_stop_words"] >= 6
    assert not {"words_too_long", "no_stop_words"} & {cause.rule for cause in failing(values(document(text), lang), profile, {})}
    if "/" in name:
        assert failing(values(document(text), lang), profile, {}) == []


def test_chinese_that_is_taken_for_english_is_still_judged_by_characters():
    assert profiles.of(document("河边的房子" * 30), "en").name == "web/characters"


@pytest.mark.parametrize("sign", [" ", "\n", ".", "#", "a", "…", "- ", "\\u0041", "0x1f, ", "'", "\u0301", "A" * 64 + " "])
def test_a_megabyte_of_one_sign_is_measured_in_time(sign: str):
    found = values(document(sign * (1_000_000 // len(sign)) + "x"), "en")
    assert len(found) == len(RULES)


def keys(seed: int, rows: tuple[str, ...] = ("qwertyuiop", "asdfghjkl", "zxcvbnm")) -> str:
    chance = random.Random(seed)
    return " ".join("".join(chance.choice(chance.choice(rows)) for _ in range(chance.randint(3, 9))) for _ in range(80))


def test_noise_needs_more_bits_than_any_language():
    real = [row["text"] for row in GOLDEN["texts"] if row["name"] in ("plain", "lower", "verse")] + [
        "Der Müller hatte eine Mühle am Fluss, und jedes Frühjahr stieg das Wasser bis zur Tür hinauf.",
        "Le meunier avait un moulin au bord de la rivière, et chaque printemps l'eau montait jusqu'à la porte.",
        "Młynarz miał młyn nad rzeką, a każdej wiosny woda podchodziła aż pod drzwi jego starego domu.",
        "У мельника была мельница у реки, и каждую весну вода поднималась до самой двери старого дома.",
        "Ο μυλωνάς είχε έναν μύλο δίπλα στο ποτάμι, και κάθε άνοιξη το νερό ανέβαινε μέχρι την πόρτα.",
    ]  # fmt: skip
    assert max(map(gibberish.bits, real)) < 5.5 < 7.0 < min(gibberish.bits(keys(seed)) for seed in range(20))
    assert math.isnan(gibberish.bits("短い"))
    assert math.isnan(gibberish.bits("这是一个关于河流和房子的长故事" * 20))


def test_accents_and_case_do_not_change_the_bits():
    plain = "Ou est la cle de l'armoire dans laquelle l'ete s'etait cache ?"
    assert gibberish.bits("Où est la clé de l'armoire dans laquelle l'été s'était caché ?") == gibberish.bits(plain.upper()) < 5.5


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://ads.example.org/x", "the host example.org is on the list"),
        ("HTTPS://user@EXAMPLE.org.:8080", "the host example.org is on the list"),
        ("http://notexample.org/", None),
        ("http://shop.net/forum?page=2", "shop.net/forum is on the list"),
        ("http://www.shop.net/forum/9", "shop.net/forum is on the list"),
        ("http://shop.net/forums", None),
        ("http://x.com/best-casino_bonus", "the address holds the word 'casino'"),
        ("http://x.com/occasinoally", None),
        ("http://x.com/%63asino", "the address holds the word 'casino'"),
        ("http://tracker.io/", "the host tracker.io is on the list"),
        ("http://[::1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_blocklist_names_what_it_found(tmp_path: Path, url: str | None, reason: str | None):
    (tmp_path / "a.txt").write_text("# ours\nexample.org\nshop.net/forum/  # a part\nCasino\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"0.0.0.0 tracker.io\n127.0.0.1 localhost\n"))
    assert blocklist.read([tmp_path / "a.txt", tmp_path / "b.txt.gz"]).reason(url) == reason


def test_a_line_that_is_no_entry_is_named(tmp_path: Path):
    (tmp_path / "a.txt").write_text("example.org\n*.bad\n")
    with pytest.raises(DataError, match=r"a.txt:2: '\*.bad' is neither"):
        blocklist.read([tmp_path / "a.txt"])


def test_the_addresses_of_a_file_of_hosts_are_passed_over(tmp_path: Path):
    lines = [
        "127.0.0.1 localhost", "255.255.255.255 broadcasthost", "fe80::1%lo0 localhost", "ff02::1\tip6-allnodes", "0.0.0.0 0.0.0.0",
        "192.0.2.7 ads.example.net tracker.example.net  # two", "2001:db8::1 mirror.example.net", "192.0.2.9",
    ]  # fmt: skip
    (tmp_path / "hosts").write_text("\n".join(lines))
    found = blocklist.read([tmp_path / "hosts"])
    assert found.hosts == {"ads.example.net", "tracker.example.net", "mirror.example.net", "192.0.2.9"}
    assert (found.paths, found.words) == ({}, frozenset())


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00example", gzip.compress(b"example.org", mtime=0)[:-9], b"\x1f\x8b\x08junk"])
def test_a_blocklist_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(DataError, match=r"list: this blocklist cannot be read \(") as caught:
        blocklist.read([tmp_path / "list"])
    assert "\n" not in str(caught.value)


@given(st.text())
@settings(deadline=None)
def test_any_text_can_be_asked_for(url: str):
    assert blocklist.Blocklist(frozenset(), {}, frozenset()).reason(url) is None


def test_words_are_counted_once_and_agree_with_python():
    words = Words("Ein  Wort\tund – 12 mehr…\n", "Ein  Wort\tund – 12 mehr…\n")
    assert [words.text[start] for start in words.starts] == [word[0] for word in words.all]
    assert words.plain.tolist() == [3, 4, 3, 2, 5]
    assert filters.values(document("Ein Wort"), "de")["too_few_words"] == 2
