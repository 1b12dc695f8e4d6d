"""Which language a text is in, and what is said when nobody can tell."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import UsageError
from scratchlm.core.records import Document
from scratchlm.corpus import steps
from scratchlm.corpus.schema import ATTRIBUTES, MEASURE
from scratchlm.rules import blocklist, filters
from scratchlm.rules.language import LANGUAGES, TWO_LETTERS, UNKNOWN, canonical, checked, identify, sampled
from scratchlm.sources import html

SENTENCES = {
    "en": "The miller had a mill by the river, and every spring the water came up to the door.",
    "de": "Der Müller hatte eine Mühle am Fluss, und jedes Frühjahr stieg das Wasser bis zur Tür.",
    "fr": "Le meunier avait un moulin au bord de la rivière, et chaque printemps l'eau montait jusqu'à la porte.",
    "es": "El molinero tenía un molino junto al río, y cada primavera el agua subía hasta la puerta.",
    "it": "Il mugnaio aveva un mulino vicino al fiume, e ogni primavera l'acqua saliva fino alla porta.",
    "pt": "O moleiro tinha um moinho à beira do rio, e todas as primaveras a água subia até à porta.",
    "nl": "De molenaar had een molen aan de rivier, en elk voorjaar kwam het water tot aan de deur.",
    "ru": "У мельника была мельница у реки, и каждую весну вода поднималась до самой двери.",
    "pl": "Młynarz miał młyn nad rzeką, a każdej wiosny woda podchodziła aż pod drzwi.",
    "fi": "Myllärillä oli mylly joen varrella, ja joka kevät vesi nousi ovelle asti.",
    "zh": "磨坊主在河边有一座磨坊，每年春天河水都会涨到门口，谁也不觉得奇怪。",
    "ja": "粉屋は川のほとりに水車小屋を持っていて、毎年春になると水が戸口まで上がってきた。",
}


@pytest.mark.parametrize("lang", SENTENCES)
def test_a_sentence_is_enough(lang: str):
    found, probability = identify(SENTENCES[lang])
    assert found == lang
    assert 0.4 < probability <= 1


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        *((code, "en") for code in ("en", "eng", "eng_Latn", "en_US", "EN", "en-US", " en_GB.UTF-8")),
        *(("ger", "de"), ("cmn_Hani", "zh"), ("zh-Hant-TW", "zh"), ("nob", "no"), ("iw", "he"), ("twi", "tw"), ("yue", "yue")),
        *((code, UNKNOWN) for code in ("", "und", "english", "unknown", "x-default", "C", "qq", "e", "12")),
    ],
)
def test_a_language_has_one_code(code: str, meant: str):
    assert canonical(code) == meant
    assert canonical(meant) == meant


def test_there_is_a_code_for_every_language_with_a_profile():
    assert set(LANGUAGES) <= TWO_LETTERS
    assert len(TWO_LETTERS) >= 180


def test_a_language_that_nobody_knows_is_answered_at_once():
    assert [checked(code) for code in ("en_US", "deu", "und")] == ["en", "de", "und"]
    with pytest.raises(UsageError, match="'english' is no code of a language"):
        checked("english")


@pytest.mark.parametrize("text", ["", "ok", "12 34 56 78 90 11 12 13 14", "Return x.", "--- *** ---" * 9])
def test_of_a_few_letters_nothing_is_said(text: str):
    assert identify(text) == (UNKNOWN, 0.0)


@given(st.text(max_size=2_000))
@settings(max_examples=40, deadline=None)
def test_the_same_text_has_the_same_language_twice(text: str):
    found = identify(text)
    assert found == identify(text)
    assert 0 <= found[1] <= 1


def test_a_long_text_is_judged_by_its_middle_and_end_too():
    long = "\n".join([SENTENCES["en"], *[SENTENCES["de"]] * 200])
    assert identify(long)[0] == "de"


@given(st.text(min_size=1), st.integers(1, 9), st.integers(2, 5))
@settings(deadline=None)
def test_a_sample_has_the_beginning_and_the_end(text: str, size: int, places: int):
    sample = sampled(text, size, places)
    assert sample.startswith(text[:size])
    if len(text) <= size * places:
        assert sample == text
    else:
        assert len(sample) == size * places + places - 1
        assert sample[-size:] in text[-size - places :]


def test_the_languages_that_are_promised_have_a_profile():
    assert {"en", "de", "fr", "es", "it", "pt", "nl", "ru", "pl"} <= set(LANGUAGES)
    for lang, row in LANGUAGES.items():
        assert len(row.stop_words) >= 8, lang
        assert all(word == word.lower() for word in row.stop_words)


def test_every_novel_is_in_english_by_any_part_of_it(real_data: Path):
    novels = sorted((real_data / "novels").glob("*.txt"))
    if not novels:
        pytest.skip(f"{real_data / 'novels'}: not here")
    parts = [novel.read_text(encoding="utf-8")[start : start + 3_000] for novel in novels[:8] for start in (10_000, 60_000)]
    assert {identify(part)[0] for part in parts} == {"en"}
    assert min(identify(part)[1] for part in parts) > 0.9


def measured(text: str, **facts: str | float) -> steps.Row:
    """What is known of a document, as it lies on disk."""
    known: dict[str, str | int | float | None] = {"doc_type": "web", "host": "a", "locator": "a", **facts}
    tools = steps.Tools({"pii": [], "regions": [], "with": []}, None, None, None)
    row = tools.row(Document(text=text, id="0" * 32, source="test", facts=known), []) | {"quarantined": False}
    return pa.Table.from_pylist([row], schema=ATTRIBUTES).to_pylist()[0]


def failing(row: steps.Row, **config: object) -> list[str]:
    whole = {"languages": None, "thresholds": {}, "quality": None, "decontamination": {"action": "cut"}, **config}
    return steps.verdict(row, whole, blocklist.Blocklist(frozenset(), {}, frozenset()))["failing"]


def test_what_a_page_declares_is_not_believed():
    german = f"<p>{SENTENCES['de']}</p>"
    markup = f"<html lang='en'><body><article><h1>Mühle</h1>{german * 9}</article></body></html>"
    page = html.extract(markup, "bulk", None)
    facts = {name: fact for name, fact in html.facts_of(page).items() if fact is not None}
    assert "lang" not in facts
    assert json.loads(str(facts["extra"])) == {"lang_declared": "en"}
    row = measured(page.text, **facts)
    assert (row["lang"], row["lang_score"]) == identify(page.text)
    assert row["lang"] == "de"


def test_what_a_row_says_is_believed_as_far_as_it_is_sure():
    text = SENTENCES["de"] * 20
    assert [measured(text, lang=code)["lang"] for code in ("deu_Latn", "DE", "de-AT")] == ["de"] * 3
    assert [measured(text, lang="en", lang_score=score)["lang_score"] for score in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert measured(text, lang="en")["lang_score"] == 1.0
    assert measured(text, lang="unknown")["lang"] == "de"
    assert "unsure_language" in failing(measured(text, lang="de", lang_score=0.0))


def test_values_are_judged_as_they_were_measured():
    # At rest in single precision 0.65 is a little less than the limit.
    resting = float(np.float32(0.65))
    row = measured(SENTENCES["en"] * 20, lang="en", lang_score=resting)
    assert row["lang_score"] == 0.65
    assert "unsure_language" not in failing(row)
    for name, limit in (("lines_without_end", 0.12), ("duplicate_lines", 0.3), ("more_lines_than_text", 0.3)):
        kept = row | {MEASURE + rule: value for rule, value in {name: limit}.items()}
        on_disk = pa.Table.from_pylist([kept], schema=ATTRIBUTES).to_pylist()[0]
        assert on_disk[MEASURE + name] == limit
        assert name not in failing(on_disk)
    exact = filters.values(Document(SENTENCES["en"] * 20, "0" * 32, "test", {"doc_type": "web", "lang_score": 0.65}), "en")
    assert {rule: row[MEASURE + rule] for rule in exact} == pytest.approx(exact, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("wanted", ["en", "eng", "en-US", "EN"])
def test_wanted_languages_are_known_however_they_are_written(wanted: str):
    row = measured(SENTENCES["en"] * 20)
    assert "other language" not in failing(row, languages=[wanted])
    assert "other language" in failing(row, languages=["deu"])
