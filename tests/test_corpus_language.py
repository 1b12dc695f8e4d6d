"""Which language a text is in, and what is said when nobody can tell."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.corpus.language import LANGUAGES, UNKNOWN, identify, sampled

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
