"""Books and letters: EPUB and DOCX are read whatever their makers wrote into them, and what is broken in them costs no more than itself."""

import json
import tracemalloc
import zipfile
from io import BytesIO

import hypothesis
import made
import pytest
from hypothesis import strategies as st
from made import docx, epub, paragraph, read, rules, texts, zipped
from test_sources_hostile import check

from scratchlm.core.records import Document
from scratchlm.sources import layout
from scratchlm.sources.tree import tree_of

RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. " * 9


def book(page: bytes, about: str = "") -> bytes:
    """A book of one chapter, whose file is ``page``."""
    return replaced(epub({"c.xhtml": ""}, {}, about), "OPS/c.xhtml", page)


def replaced(archive: bytes, name: str, data: bytes) -> bytes:
    """A zip file with other bytes in one of its members."""
    with zipfile.ZipFile(BytesIO(archive)) as old:
        return zipped({info.filename: data if info.filename == name else old.read(info) for info in old.infolist()})


def chapter(text: str, declared: str = "", charset: str = "utf-8") -> bytes:
    start = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    return f'{start}<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><p>{text}</p></body></html>'.encode(charset)


@pytest.mark.parametrize(
    ("declared", "charset"), [("", "utf-8"), ("utf-8", "utf-8-sig"), ("UTF-16", "utf-16"), ("windows-1251", "cp1251"), ("koi8-r", "koi8-r")]
)
def test_chapters_of_any_charset_are_read(declared: str, charset: str):
    (document,) = read("a.epub", book(chapter(RUSSIAN, declared, charset)))
    assert isinstance(document, Document)
    assert document.text == RUSSIAN.strip()
    assert str(document.facts["charset"]).replace("_", "-").startswith(charset.removesuffix("-sig"))


def test_a_chapter_that_is_empty_or_no_text_is_told():
    pages = {"a.xhtml": "<p>words</p>", "b.xhtml": '<img src="x.png"/>', "c.xhtml": "x", "d.xhtml": "x"}
    data = replaced(replaced(epub(pages), "OPS/c.xhtml", b""), "OPS/d.xhtml", bytes(range(256)) * 9)
    found = read("a.epub", data)
    assert texts(found) == ["words"]
    assert rules(found) == {"a.epub#OPS/b.xhtml": "nothing in it", "a.epub#OPS/c.xhtml": "nothing in it", "a.epub#OPS/d.xhtml": "not text"}


@pytest.mark.parametrize("levels", [300, 1_500])
def test_text_is_not_lost_however_deep_it_lies(levels: int):
    assert texts(read("a.epub", epub({"a.xhtml": "<p>first</p>" + "<div>" * levels + "deep"}))) == ["first\n\ndeep"]


def test_a_chapter_that_no_parser_would_finish_is_refused_alone():
    pages = {"a.xhtml": "<p>a</p>" + "<div>" * 3_000 + "x", "b.xhtml": "<p " + " ".join(f"a{n}=''" for n in range(20_000)) + ">x</p>"}
    found = read("a.epub", epub(pages | {"c.xhtml": "<p>good</p>"}))
    assert texts(found) == ["good"]
    assert rules(found) == {"a.epub#OPS/a.xhtml": "bomb", "a.epub#OPS/b.xhtml": "bomb"}


@pytest.mark.parametrize("declared", ["est", "swe", "German", "pt-BR"])
def test_what_a_book_declares_as_its_language_is_kept_and_decides_nothing(declared: str):
    (document,) = read("a.epub", book(chapter("words"), f"<dc:language>{declared}</dc:language>"))
    assert isinstance(document, Document)
    assert "lang" not in document.facts
    assert json.loads(str(document.facts["extra"])) == {"lang_declared": declared}
    about = f'<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:language>{declared}</dc:language></c>'
    (document,) = read("a.docx", docx(paragraph("words"), {"docProps/core.xml": about}))
    assert isinstance(document, Document)
    assert ("lang" in document.facts, json.loads(str(document.facts["extra"]))) == (False, {"lang_declared": declared})


# ---- layout


def test_lists_in_lists_are_indented_up_to_a_bound():
    tree, _ = tree_of("<ol><li>" * 84 + "<pre>" + "a\n" * 10_000 + "</pre>")
    text, _ = layout.write(tree)
    assert len(text) < 25 * 20_000
    tree, _ = tree_of("".join(f"<ul><li>{n}" for n in range(12)))
    assert layout.write(tree)[0] == "\n".join(f"{'  ' * n}- {n}" for n in range(12))


# ---- DOCX


@pytest.mark.parametrize("element", ["<w:tbl>" + "<w:tr/>" * 5_000 + "</w:tbl>", "<w:tbl><w:tr>" + "<w:tc/>" * 5_000 + "</w:tr></w:tbl>"])
def test_rows_and_cells_without_text_count(element: str):
    assert rules(read("a.docx", docx(element), document_characters=20_000)) == {"a.docx#file": "too large"}


@pytest.mark.parametrize("sign", ["tab", "br", "noBreakHyphen", 'footnoteReference w:id="1"'])
def test_signs_count(sign: str):
    body = f"<w:p><w:r>{f'<w:{sign}/>' * 5_000}</w:r></w:p>"
    assert rules(read("a.docx", docx(body), document_characters=20_000)) == {"a.docx#file": "too large"}


def test_a_file_of_nothing_but_rows_takes_no_memory():
    data = docx("<w:tbl>" + "<w:tr/>" * 400_000 + "</w:tbl>")
    read("a.docx", docx(paragraph("words")))
    tracemalloc.start()
    found = read("a.docx", data, document_characters=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(rules(found).values()) == ["too large"]
    assert peak < 12_000_000  # 26 MB when each is held


@pytest.mark.parametrize("part", ["docProps/core.xml", "word/styles.xml", "word/footnotes.xml", "word/endnotes.xml"])
@pytest.mark.parametrize("data", ["", "<no", "\0\0"])
def test_a_broken_part_beside_the_text_costs_itself(part: str, data: str):
    found = read("a.docx", docx(paragraph("words"), {part: data}))
    assert texts(found) == ["words"]
    assert rules(found) == {f"a.docx#{part}": "unreadable"}


def test_a_text_that_breaks_off_is_read_up_to_the_break():
    row = f"<w:tr><w:tc>{paragraph('a')}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr>"
    body = f"{paragraph('before')}<w:tbl>{row}{row}<w:tr><w:tc>{paragraph('c')}</w:oops>"
    found = read("a.docx", docx(body, {"word/footnotes.xml": f"<w:footnotes {made.W}/>"}))
    assert texts(found) == ["before\n\n| a | b |\n| --- | --- |\n| a | b |\n| c |  |"]
    assert rules(found) == {"a.docx#file": "unreadable"}


def test_the_number_of_a_note_is_not_written_without_end():
    note = f'<w:footnote w:id="{"9" * 100_000}">{paragraph("a") * 100}</w:footnote>'
    (text,) = texts(read("a.docx", docx(paragraph("words"), {"word/footnotes.xml": f"<w:footnotes {made.W}>{note}</w:footnotes>"})))
    assert len(text) < 10_000


# ---- damage inside the parts, which damage to the packed bytes seldom reaches

PIECES = [
    "<w:p>", "</w:p>", "<w:r>", "</w:r>", "<w:t>", "</w:t>", "<w:tbl>", "</w:tbl>", "<w:tr>", "<w:tc>", "</w:tc>", "<w:br/>", "<w:tab/>",
    '<w:pStyle w:val="x"/>', '<w:ilvl w:val="99999999999999999999"/>', '<w:numId w:val="3"/>', "<w:moveFrom>", "</w:moveFrom>",
    '<w:footnoteReference w:id=""/>', "<ul>", "<li>", "<ol>", "<table>", "<tr>", "<td colspan=9999>", "<pre>", "<h1>", "</h1>", "<nav>",
    "<a href='#'>", "<!--", "-->", "<![CDATA[", "]]>", "<?x ?>", "&amp;", "&nbsp;", "&#0;", "&#xD800;", "\ud83d\ude00", "\u200b", "\0",
    "text ", "<item", "<itemref idref='i1'/>", "<reference type='toc' href='c0.xhtml'/>", "href='../../../etc/passwd'", "]]", '"', "<", ">",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good book or letter with pieces of markup put into, over or instead of places of some of its parts."""
    name, packed = draw(st.sampled_from(sorted(GOOD.items())))
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    for _ in range(draw(st.integers(1, 5))):
        part = draw(st.sampled_from(sorted(parts)))
        data, new = parts[part], "".join(draw(st.lists(st.sampled_from(PIECES), max_size=6))).encode("utf-8", "replace")
        at = draw(st.integers(0, len(data)))
        parts[part] = data[:at] + new * draw(st.sampled_from([1, 1, 1, 400])) + data[at + draw(st.integers(0, 30)) :]
    return name, zipped(parts)


GOOD: dict[str, bytes] = {"a.docx": made.letter(), "a.epub": made.SAMPLES["a.epub"]()}


@hypothesis.settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@hypothesis.given(damaged())
def test_no_markup_breaks_the_reader_of_a_book(sample: tuple[str, bytes]):
    check(*sample)


@pytest.mark.soak
@hypothesis.settings(max_examples=10_000, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@hypothesis.given(damaged())
def test_no_markup_breaks_the_reader_of_a_book_for_long(sample: tuple[str, bytes]):
    check(*sample)


def test_a_comment_before_the_text_of_a_letter_costs_nothing():
    body = made.paragraph("After a comment.")
    part = f"<!-- made by hand --><w:document {made.W}><w:body>{body}</w:body></w:document>"
    data = made.zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": part})
    assert texts(read("a.docx", data)) == ["After a comment."]
