"""Cleaning, mending, masking and cutting single texts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.records import Document
from scratchlm.rules import clean
from scratchlm.sources import pieces


def document(text: str, **facts: str | float) -> Document:
    return Document(text=text, id="0" * 32, source="test", facts={"doc_type": "web", "host": "a", "locator": "a", **facts})


@given(st.text())
@settings(deadline=None)
def test_normalising_twice_changes_nothing_more(text: str):
    once = clean.normalise(text)
    assert clean.normalise(once) == once


@given(st.text())
@settings(deadline=None)
def test_normalised_text_holds_no_control_character_and_can_be_written(text: str):
    once = clean.normalise(text)
    assert not any((ord(letter) < 32 and letter not in "\t\n") or 127 <= ord(letter) < 160 for letter in once)
    assert once.encode("utf-8").decode() == once


def test_line_ends_and_accents_have_one_form():
    assert clean.normalise("e\u0301a \r\nb\rc\x00d\n\n\n\n\n\ne\ufeff") == "éa\nb\ncd\n\n\ne"


MOJIBAKE = {"cafÃ© au lait": "café au lait", "itâ€™s â€œsoâ€\x9d": "it’s “so”", "Ã¼ber â‚¬ 5": "über € 5", "Ð¼Ð¸Ñ€": "мир"}
MEANT = [
    "“curled” ‘quotes’",
    "&lt;b&gt; &amp;amp;",
    "ﬁne ﬂow",
    "ＷＩＤＥ　letters",
    "naïve café",
    "x² ½ ™",
    "São João",
    "日本語のテキスト",
    "¿qué?",
    "œuvre",
]


def spans(text: str, *marked: tuple[str, str]) -> str:
    found = [{"kind": kind, "start": text.index(part), "end": text.index(part) + len(part)} for kind, part in marked]
    return json.dumps(found)


def marked(document: Document) -> list[tuple[str, str]]:
    return [(span["kind"], document.text[span["start"] : span["end"]]) for span in json.loads(str(document.facts["structure"]))]


@pytest.mark.parametrize("broken", MOJIBAKE)
def test_mojibake_is_mended_and_the_mending_is_recorded(broken: str):
    text = f"A plain line.\nHere {broken} stands.\nAnother."
    mended = clean.normalise_document(document(text))
    assert mended.text == text.replace(broken, MOJIBAKE[broken])
    (edit,) = json.loads(str(mended.facts["edits"]))
    assert (edit["op"], edit["stage"]) == ("mojibake", "clean")
    assert text[edit["start"] : edit["end"]] == f"Here {broken} stands.\n"


@pytest.mark.parametrize("meant", MEANT)
def test_what_a_writer_meant_stays(meant: str):
    whole = document(f"So {meant} it is, and {meant} it stays.")
    assert clean.normalise_document(whole) is whole


@pytest.mark.parametrize("broken", MOJIBAKE)
def test_code_is_never_mended(broken: str):
    text = f"The text {broken} is broken.\n\nprint('{broken}')\n\nSo is {broken}."
    code = f"print('{broken}')"
    mended = clean.normalise_document(document(text, structure=spans(text, ("heading", "The text"), ("code", code))))
    assert mended.text == text.replace(broken, MOJIBAKE[broken]).replace(f"'{MOJIBAKE[broken]}'", clean.normalise(f"'{broken}'"))
    assert marked(mended) == [("heading", "The text"), ("code", clean.normalise(code))]
    assert clean.normalise_document(document(text, doc_type="code")).text == clean.normalise(text)


@given(
    st.lists(
        st.sampled_from(["a", "e\u0301", "\r\n", "\r", "\n", " ", "\t", "\x00", "\f", "\u2028", "\ufeff", "word", "Ã©", "ü"]), max_size=60
    ),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_structure_moves_with_the_text(parts: list[str], data: st.DataObject):
    text = "".join(parts)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    before = document(text, structure=json.dumps([{"kind": "code", "start": start, "end": end}]))
    after = clean.normalise_document(before)
    (span,) = json.loads(str(after.facts["structure"]))
    assert 0 <= span["start"] <= span["end"] <= len(after.text)
    # White space may go at the borders; what is left of the marked part and around it is what it was, cleaned.
    bare = ["".join(clean.normalise(part).split()) for part in (text[:start], text[start:end])]
    if "\u0301" not in (text[start : start + 1], text[end : end + 1]):
        assert "".join(after.text[span["start"] : span["end"]].split()) == bare[1]
    assert clean.normalise(after.text) == after.text
    again = clean.normalise_document(after)
    assert again.text == after.text or "Ã" in text


@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
@settings(deadline=None)
def test_a_document_without_structure_is_normalised_as_its_text(text: str):
    if "\x1b" not in text:
        assert clean.normalise_document(document(text)).text == clean.normalise(text)


def test_an_offset_between_letters_keeps_its_letters():
    text = "One\r\n\r\n\r\n\r\n\r\ncafé e\u0301te\u0301:   \n    x = 1\x00\n    y = 2   \n\nend"
    after = clean.normalise_document(
        document(text, structure=spans(text, ("heading", "One"), ("list", "e\u0301te\u0301"), ("code", "    x = 1\x00\n    y = 2")))
    )
    assert marked(after) == [("heading", "One"), ("list", "été"), ("code", "    x = 1\n    y = 2")]


@pytest.mark.parametrize("sign", [" ", "\t", "\xa0", "\n", "\r", "\x1b[", "\u0301", "Ã", "â€", "é "])
def test_a_megabyte_of_one_sign_is_cleaned_in_time(sign: str):
    text = "x" + sign * (1_000_000 // len(sign)) + "x"
    assert clean.normalise(clean.normalise_document(document(text)).text).startswith("x")


@given(st.text(alphabet="ab \n#I.", max_size=400), st.integers(10, 80))
@settings(deadline=None)
def test_cutting_loses_nothing_but_white_space(text: str, usual: int):
    parts = pieces.split(text, least=usual // 3, usual=usual)
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    assert all(len(part.text) <= 2 * usual for part in parts)


def test_a_novel_is_cut_at_its_chapters():
    chapters = [f"CHAPTER {name}\n\n" + "It was a fine day. " * 150 for name in ("I", "II", "III")]
    parts = pieces.split("\n\n".join(chapters))
    assert [part.heading for part in parts] == ["CHAPTER I", "CHAPTER II", "CHAPTER III"]
