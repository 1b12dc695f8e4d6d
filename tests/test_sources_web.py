"""Web pages and their archives: what is content is found, code and lists keep their shape, and no damage or malice stops the reading."""

import gzip
import io
import json
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import file, read, rules, texts
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from benchmarks import extraction
from scratchlm.core.records import Document
from scratchlm.sources import charset, folder, html, layout, page_facts, tree, warc
from scratchlm.sources.file import Input, Limits, Reading
from scratchlm.sources.found import Dropped
from scratchlm.sources.streams import Refused
from scratchlm.sources.warc_frames import Frames

PARAGRAPH = "The keeper of the light walked down to the harbour every evening, and counted the boats that had come home before the storm. "
MENU = "<nav><ul>" + "".join(f'<li><a href="/{n}">Menu entry {n}</a></li>' for n in range(9)) + "</ul></nav>"
SHAPES = f"""<html lang="en-GB"><head><title>The keeper | The Coast</title>
<meta property="article:published_time" content="2021-03-04T05:06:07Z"></head><body>{MENU}
<article><h1>The keeper</h1><p>{PARAGRAPH * 3}</p>
<pre><code>def tide(hour):
    if hour &lt; 6:

        return "low"
</code></pre>
<p>{PARAGRAPH * 2}</p><ul><li>a lamp of brass<ul><li>with oil for nine nights</li></ul></li><li>a rope of forty fathoms</li></ul>
<p>{PARAGRAPH * 2}</p><table><tr><th>Boat</th><th>Men</th></tr><tr><td>Grace</td><td>4 | 5</td></tr></table>
<h2>After the storm</h2><ol><li>They counted again.</li><li>They found one boat more than had left.</li></ol><p>{PARAGRAPH * 3}</p>
</article><footer><p>All rights reserved by the coast guard of the islands, who keep this page.</p></footer></body></html>"""


# Charsets

RUSSIAN = "Смотритель маяка каждый вечер спускался в гавань и считал лодки, вернувшиеся до бури. "
JAPANESE = "灯台守は毎晩港に下りて、嵐の前に帰ってきた船を数えました。それは長い仕事でした。"
GERMAN = "Der Wärter ging jeden Abend zum Hafen und zählte die Boote – für 100 €. "


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((RUSSIAN, name) for name in ("cp1251", "koi8-r", "utf-32")),
        *((JAPANESE, name) for name in ("euc_jp", "cp932", "iso2022_jp")),
        *((GERMAN, name) for name in ("cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")),
    ],
    ids=lambda value: value if value.isascii() else "",
)
def test_a_charset_is_found_without_being_told(text: str, name: str):
    found, _, reason = charset.decoded((text * 8).encode(name))
    assert (found, reason) == (text * 8, "")


def test_utf8_is_believed_before_what_is_declared():
    assert charset.decoded(GERMAN.encode(), declared="iso-8859-1")[:2] == (GERMAN, "utf-8")


@pytest.mark.parametrize("said", ["koi8-r", "KOI8-R", ' "koi8-r" '])
def test_what_is_declared_is_believed_when_the_bytes_are_no_utf8(said: str):
    data = RUSSIAN.encode("koi8-r")
    assert charset.decoded(data, declared=said) == (RUSSIAN, "koi8-r", "")
    assert charset.decoded(b"<meta charset='koi8-r'>" + data, is_markup=True)[1] == "koi8-r"


@pytest.mark.parametrize(
    "said", ["base64", "punycode", "idna", "hex", "unicode_escape", "raw_unicode_escape", "nonsense", "", "\0", "utf-7"]
)
def test_what_is_no_charset_of_texts_is_never_used(said: str):
    assert charset.decoded(GERMAN.encode("cp1252"), declared=said) == (GERMAN, "cp1252", "")


def test_a_few_broken_bytes_do_not_change_the_charset():
    text, name, reason = charset.decoded(GERMAN.encode() * 100 + b"\xff")
    assert (text, name, reason) == (GERMAN * 100 + "\ufffd", "utf-8", "")


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(range(1, 32)) * 9, b"words\0words", bytes(range(128, 256)) * 9])
def test_bytes_that_are_no_text_are_told(data: bytes):
    text, _, reason = charset.decoded(data)
    assert text == ""
    assert reason


def test_a_stray_nul_costs_no_page():
    page = f"<p>{PARAGRAPH * 9}</p>".encode()
    for data in (page[:50] + b"\0" + page[50:], b"<p>a\0b</p>", (page[:999] + b"\0") * 9):
        text, name, reason = charset.decoded(data, is_markup=True)
        assert (text, name, reason) == (data.replace(b"\0", b"").decode(), "utf-8", "")
        assert charset.decoded(data)[2]
    assert charset.decoded(page + b"\0" * 9, is_markup=True)[2]
    assert charset.decoded(f"<p>{GERMAN * 9}</p>".encode("utf-16-le"), is_markup=True)[1] == "utf-16-le"
    assert told(found_in(archive(response(PAGE[:-20] + b"\0" + PAGE[-20:])))) == ["document"]


@given(st.binary(max_size=400), st.sampled_from([None, "utf-16", "big5", "gb18030", "iso2022_jp", "cp932"]), st.booleans())
def test_any_bytes_are_text_or_told(data: bytes, declared: str | None, is_markup: bool):
    text, name, reason = charset.decoded(data, declared=declared, is_markup=is_markup)
    assert not (text and reason)
    assert reason or name


# Pages


@pytest.mark.parametrize("mode", ["quality", "bulk"])
def test_code_lists_and_tables_keep_their_shape(mode: html.Extraction):
    page = html.extract(SHAPES, mode, None)
    for part in (
        '```\ndef tide(hour):\n    if hour < 6:\n\n        return "low"\n```',
        "- a lamp of brass\n  - with oil for nine nights\n- a rope of forty fathoms",
        "| Boat | Men |\n| --- | --- |\n| Grace | 4 \\| 5 |",
        "## After the storm\n\n1. They counted again.\n2. They found one boat more than had left.",
    ):
        assert f"\n\n{part}\n\n" in page.text
    assert "Menu entry" not in page.text
    assert "coast guard" not in page.text
    parts = [(part["kind"], page.text[int(part["start"]) : int(part["end"])]) for part in page.structure]
    assert [kind for kind, _ in parts] == ["code", "list", "list", "table", "heading", "list"]
    assert parts[0][1].startswith("```\ndef")
    assert parts[3][1].endswith("5 |")


def test_the_title_is_a_fact_and_no_part_of_the_text():
    page = html.extract(SHAPES, "quality", None)
    assert (page.title, page.lang_declared, page.published_at) == ("The keeper | The Coast", "en", "2021-03-04")
    assert page.text.startswith("The keeper of the light walked")


def test_an_article_in_several_boxes_of_one_kind_is_read_to_its_end():
    boxes = [f'<div class="row"><div class="body"><p>Part {n}. {PARAGRAPH}</p><p>{PARAGRAPH * 4}{n}.</p></div></div>' for n in range(5)]
    page = html.extract(f"<body>{MENU}<article>{'<aside>Buy a lamp</aside>'.join(boxes)}</article></body>", "quality", None)
    assert [f"Part {n}." in page.text for n in range(5)] == [True] * 5


def test_most_of_the_prose_is_found_in_bulk_too():
    first, rest = f"<section><p>First. {PARAGRAPH * 3}</p></section>", f"<p>Then. {PARAGRAPH * 4}</p><p>Last. {PARAGRAPH * 5}</p>"
    page = html.extract(f"<body>{MENU}<article>{first}<div class='hidden-xs'>{rest}</div></article></body>", "bulk", None)
    assert [word in page.text for word in ("First.", "Then.", "Last.", "Menu")] == [True, True, True, False]


def test_links_below_an_article_are_cut_off():
    links = "".join(f'<li><a href="/{n}">Another story of the coast, number {n}</a></li>' for n in range(4))
    page = html.extract(f"<body><article><p>{PARAGRAPH * 9}</p><h3>More stories</h3><ul>{links}</ul></article></body>", "quality", None)
    assert page.text == (PARAGRAPH * 9).strip()


@pytest.mark.parametrize("mode", ["quality", "bulk"])
@pytest.mark.parametrize("markup", ["", " \n", "<html></html>", "<script>document.write('words')</script>", "<!-- words -->", "\0", "<p>"])
def test_a_page_without_text_gives_none(markup: str, mode: html.Extraction):
    assert html.extract(markup, mode, None).text == ""


@pytest.mark.parametrize("mode", ["quality", "bulk"])
@pytest.mark.parametrize("markup", ["<p>x</p>", "x", "<table><td>x", "<form>x</form>", "\ue0000\ue000<p>x", "<?xml version='1.0'?><p>x"])
def test_a_small_page_is_read_whole(markup: str, mode: html.Extraction):
    assert "x" in html.extract(markup, mode, None).text


def test_preformatted_prose_is_no_code():
    poem = "The boats came home\n   one by one\n      and then the night."
    marked = [f"<body><p>{PARAGRAPH * 5}</p><pre{how}>{poem}</pre><p>{PARAGRAPH * 5}</p></body>" for how in ("", ' class="highlight"')]
    plain, code = (html.extract(markup, "quality", None) for markup in marked)
    assert f"\n\n{poem}" in plain.text
    assert "```" not in plain.text
    assert f"```\n{poem}\n```" in code.text


def test_numbers_beside_code_are_left_out_and_powers_kept():
    code = "<table><tr><td class='linenos'><pre>1\n2</pre></td><td class='code'><pre>x = [0]\ny = {}</pre></td></tr></table>"
    page = html.extract(f"<body><p>{PARAGRAPH * 5} About 10<sup>6</sup> of them.</p>{code}<p>{PARAGRAPH * 5}</p></body>", "bulk", None)
    assert "```\nx = [0]\ny = {}\n```" in page.text
    assert "10^6" in page.text
    assert "1\n2" not in page.text


@pytest.mark.parametrize("mode", ["quality", "bulk"])
def test_a_page_in_a_menu_that_is_never_closed_is_read(mode: html.Extraction):
    open_menu = MENU.removesuffix("</nav>")
    page = html.extract(f"<body>{open_menu}<div><p>{PARAGRAPH * 5}</p></div></body>", mode, None)
    assert (PARAGRAPH * 5).strip() in page.text


@pytest.mark.parametrize("mode", ["quality", "bulk"])
def test_paragraphs_of_small_print_alone_keep_no_footer(mode: html.Extraction):
    lines = "<br>".join([PARAGRAPH * 2] * 6)
    page = html.extract(f"<body>{MENU}<div>{lines}</div><footer><p>All rights reserved.</p></footer></body>", mode, None)
    assert PARAGRAPH.strip() in page.text
    assert "reserved" not in page.text
    assert "Menu entry" not in page.text


def test_elements_without_words_leave_the_blanks_that_they_hold():
    empty = "<div><span> </span><div></div></div><p><b></b></p>"
    page = html.extract(f"<body><p>{PARAGRAPH * 5}The light<span> </span>went<i> </i><b>out</b>.</p>{empty}</body>", "quality", None)
    assert page.text.endswith("The light went out.")


THREAD = {"topic_1": json.dumps({"post_stream": {"posts": [{"cooked": f"<p>{PARAGRAPH * 3}</p>"}]}})}


@pytest.mark.parametrize(
    "markup",
    [
        f"<div id='data-preloaded' data-preloaded='{json.dumps(THREAD)}'></div>",
        f'<script type="application/ld+json">{json.dumps({"articleBody": PARAGRAPH * 3})}</script>',
    ],
)
def test_an_article_that_a_program_would_show_is_found_in_its_data(markup: str):
    page = html.extract(f"<html><head><script>x()</script></head><body>{markup}<div>Wait</div></body></html>", "quality", None)
    assert page.text == (PARAGRAPH * 3).strip()


LICENSED = {
    '<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/deed.de">x</a>': "CC-BY-SA-4.0",
    '<link rel="license" href="http://creativecommons.org/publicdomain/zero/1.0/">': "CC0-1.0",
    '<a href="//creativecommons.org/licenses/by-nc-nd/2.5/">x</a>': "CC-BY-NC-ND-2.5",
    '<a href="https://creativecommons.org/licenses/by/4.0/">x</a><a href="https://creativecommons.org/licenses/by/2.0/">y</a>': "unknown",
    '<meta name="dcterms.license" content="https://creativecommons.org/licenses/by/3.0/">': "CC-BY-3.0",
    '<script type="application/ld+json">{"license": "https://creativecommons.org/licenses/by/4.0/"}</script>': "CC-BY-4.0",
    '<a rel="license" href="https://www.gnu.org/licenses/fdl-1.3.html">x</a>': "GFDL-1.3-only",
    '<a rel="license" href="/terms">x</a>': "unknown",
    '<a href="https://creativecommons.org/licenses/">x</a>': "unknown",
    "<p>Copyright": "unknown",
}


@pytest.mark.parametrize("markup", LICENSED)
def test_a_licence_is_known_by_its_address(markup: str):
    page = html.extract(f"<html><body><p>{PARAGRAPH}</p>{markup}</body></html>", "bulk", None)
    assert page.licence == LICENSED[markup]
    assert page.licence_evidence
    assert (page.licence_evidence == "none given") == (markup in list(LICENSED)[-2:] or "by/2.0" in markup)


@pytest.mark.parametrize("name", ["by-nd-nc", "BY-NC-ND"])
def test_terms_of_a_licence_have_one_order(name: str):
    assert page_facts.spdx_of(f"http://creativecommons.org/licenses/{name}/4.0/") == "CC-BY-NC-ND-4.0"


HOSTILE = {
    "deep": "<div>" * 1900 + f"<p>{PARAGRAPH}</p>",
    "lists in lists": "<ul><li>" * 800 + f"<p>{PARAGRAPH}</p>",
    "a very wide cell": "<table>"
    + "<tr><td colspan=9007199254740991 rowspan=9007199254740991>x<td>y</tr>" * 40
    + f"</table><p>{PARAGRAPH * 5}</p>",
    "many links": f"<p>{PARAGRAPH}</p>" + '<a href="/x">word</a> ' * 12_000,
    "many elements": f"<p>{PARAGRAPH}</p>" + "<b>x</b> " * 70_000,
    "a long attribute": f'<p class="{"a " * 200_000}">x</p><p>{PARAGRAPH}</p>',
    "many line ends": f"<p>{PARAGRAPH}</p>" + "\n" * 300_000 + "x",
    "angle brackets": f"<p>{PARAGRAPH}</p>" + "<" * 300_000,
    "ampersands": f"<p>{PARAGRAPH}</p>" + "&" * 300_000,
    "comments": f"<p>{PARAGRAPH}</p>" + "<!--" * 80_000,
    "entities": '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + f"<p>{PARAGRAPH}&b;</p>",
    "surrogates": f"<p>{PARAGRAPH}\ud800</p>",
    "empty elements before a long text": f"<p>{PARAGRAPH}{'<span></span>' * 9_000}{'word ' * 400_000}</p>",
    "empty elements behind a long text": f"<p>{PARAGRAPH}{'word ' * 400_000}{'<span></span>x' * 9_000}</p>",
    "menus in menus": f"<p>{PARAGRAPH}</p>" + "<nav><p>x" * 900,
}


@pytest.mark.parametrize("mode", ["quality", "bulk"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_is_read_in_bounded_time(name: str, mode: html.Extraction):
    begun = time.process_time()
    text = html.extract(HOSTILE[name], mode, None).text
    assert PARAGRAPH.split(",")[0] in text
    assert "haha" not in text
    assert time.process_time() - begun < 10  # a tenth is usual; the libraries alone would take minutes or for ever


@pytest.mark.parametrize(
    ("markup", "rule"),
    [
        ("<div>" * 3000, "bomb"),
        ("<p " + " ".join(f"a{n}" for n in range(30_000)) + ">", "bomb"),
        ("<b>" * 1_000_001, "bomb"),
        ("x" * (tree.LONGEST + 1), "too large"),
    ],
)
def test_a_page_that_could_not_be_parsed_in_time_is_refused(markup: str, rule: str):
    with pytest.raises(Refused) as told:
        html.extract(markup, "quality", None)
    assert told.value.rule == rule


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"<>/ab&;='\" \n", "<ul>", "<li>", "<table>", "<tr>", "<td>", "<pre>", "</ul>", "<p>", "<a href=x>", PARAGRAPH])
    )
)
def test_any_markup_gives_a_text_and_parts_that_lie_in_it(parts: list[str]):
    for mode in ("quality", "bulk"):
        page = html.extract("".join(parts), mode, None)
        assert all(0 <= int(part["start"]) < int(part["end"]) <= len(page.text) for part in page.structure)
        assert layout.flat(page.text) or not page.structure


def test_a_page_of_a_folder_is_read_by_its_ending():
    (document,) = read("coast.html", SHAPES.encode("utf-16"))
    assert isinstance(document, Document)
    assert document.facts["charset"] == "utf-16"
    assert document.facts["doc_type"] == "web"
    assert json.loads(str(document.facts["structure"]))[0]["kind"] == "code"
    assert rules(read("coast.html", SHAPES.encode(), record_bytes=1000)) == {"coast.html#file": "too large"}


# Archives

PAGE = f"<html><head><title>T</title></head><body><article><p>{PARAGRAPH * 4}</p></article></body></html>".encode()


def response(body: bytes = PAGE, status: str = "200 OK", **headers: str) -> tuple[str, bytes, list[tuple[str, str]], str]:
    named = [(name.replace("_", "-"), value) for name, value in ({"Content_Type": "text/html"} | headers).items()]
    return "response", body, named, status


def archive(*records: tuple[str, bytes, list[tuple[str, str]], str], is_packed: bool = False) -> bytes:
    """A file as another program writes it."""
    written = io.BytesIO()
    writer = WARCWriter(written, gzip=is_packed)
    for number, (kind, body, headers, status) in enumerate(records):
        http = StatusAndHeaders(status, headers, protocol="HTTP/1.1") if kind in ("response", "revisit") else None
        made = {"WARC-Date": "2021-03-04T05:06:07Z", "WARC-Record-ID": f"<urn:uuid:{number:032d}>"}
        about = made | ({} if http else dict(headers))
        uri = f"http://Harbour.example:80/{number}"
        writer.write_record(
            writer.create_warc_record(uri, kind, payload=io.BytesIO(body), http_headers=http, warc_headers_dict=about, length=len(body))
        )
    return written.getvalue()


def found_in(data: bytes, name: str = "a.warc", **limits: int) -> list[Document | Dropped]:
    return list(warc.read(file(name, data), replace(Reading(extraction="bulk"), limits=Limits(**limits))))


def told(found: Sequence[Document | Dropped]) -> list[str]:
    return ["document" if isinstance(item, Document) else item.rule for item in found]


def plain_record(body: bytes = PAGE, length: str = "", kind: str = "resource") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nContent-Type: text/html\r\nContent-Length: {length or len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


@pytest.mark.parametrize("is_packed", [False, True])
def test_each_page_is_a_document_and_every_other_record_has_a_reason(is_packed: bool):
    none: list[tuple[str, str]] = []
    data = archive(
        response(),
        response(status="404 Not Found"),
        response(b"{}", Content_Type="application/json"),
        response(b"%PDF-1.4 ..."),
        response(b"<rss><item/></rss>"),
        response(b"  "),
        response(b"<script>x()</script>"),
        ("request", b"GET / HTTP/1.1\r\n\r\n", none, ""),
        ("metadata", b"a: b", [("Content-Type", "application/warc-fields")], ""),
        ("revisit", b"", none, "200 OK"),
        ("conversion", PARAGRAPH.encode(), [("Content-Type", "text/plain")], ""),
        ("resource", PAGE, [("Content-Type", "text/html")], ""),
        is_packed=is_packed,
    )
    found = found_in(data, "a.warc.gz" if is_packed else "a.warc")
    assert told(found) == [
        "document", "status", "other type", "unreadable", "other type", "nothing in it", "nothing in it", "revisit",
        "document", "document",
    ]  # fmt: skip
    first = found[0]
    assert isinstance(first, Document)
    wanted = {"url": "http://Harbour.example:80/0", "host": "harbour.example", "http_status": 200, "fetched_at": "2021-03-04T05:06:07Z"}
    assert {name: first.facts[name] for name in wanted} == wanted
    assert first.facts["mime"] == "text/html"
    assert texts(found) == [(PARAGRAPH * 4).strip(), PARAGRAPH, (PARAGRAPH * 4).strip()]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_document_is_found_again_at_its_offset(is_packed: bool):
    data = archive(*[response(PAGE.replace(b"light", b"light %d" % n)) for n in range(5)], is_packed=is_packed)
    for name in ("a.warc", "a.warc.gz"):
        whole = file(name, data)
        for document in found_in(data, name):
            assert isinstance(document, Document)
            inside = str(document.facts["locator"]).rpartition("#")[2]
            assert warc.reopen(whole, inside, Reading(extraction="bulk")) == document
    assert [warc.reopen(whole, inside, Reading()) for inside in ("1", "x", "-1", "99999999", "")] == [None] * 5


FETCHED = {"pdf": "application/pdf", "epub": "application/epub+zip", "docx": "application/octet-stream"}


@pytest.mark.parametrize("kind", FETCHED)
def test_a_file_that_was_fetched_is_read_like_one_of_a_folder(kind: str, tmp_path: Path):
    sample = made.SAMPLES[f"a.{kind}"]()
    body = b"\n\n" + sample if kind == "pdf" else sample
    (tmp_path / "a.warc").write_bytes(archive(response(), response(body, Content_Type=FETCHED[kind]), response()))
    found = list(folder.documents(tmp_path, lambda label, done, total: None))
    assert texts(found)[1:-1] == texts(read(f"a.{kind}", sample))
    assert rules(found) == {}
    place = str(found[1].facts["locator"] if isinstance(found[1], Document) else "").split("#")[1]
    for item in found[1:-1]:
        assert isinstance(item, Document)
        assert str(item.facts["locator"]).startswith(f"a.warc#{place}")
        assert (item.facts["host"], item.facts["url"]) == ("harbour.example", "http://Harbour.example:80/1")
        assert item.facts["http_status"] == 200
        assert json.loads(str(item.facts["extra"]))["record"]
        assert folder.reopen(tmp_path, str(item.facts["locator"])) == item
    assert len({item.id for item in found}) == len(found)


def test_other_files_that_were_fetched_are_refused():
    packed = made.zipped({"a.txt": "words"})
    bodies = [packed, packed[:50], b"\x89PNG" + b"x" * 99, b"%PDF-1.4 no more", b"words, not the PDF that is promised"]
    found = found_in(archive(*(response(body, Content_Type="application/pdf") for body in bodies)))
    assert told(found) == ["other type", "other type", "other type", "unreadable", "other type"]


def test_a_record_of_a_folder_is_reopened_without_the_others(tmp_path: Path):
    records = [response(PAGE.replace(b"light", b"light %d" % n)) for n in range(5)]
    for name, is_packed in (("a.warc", False), ("b.warc.gz", True)):
        (tmp_path / name).write_bytes(archive(*records, is_packed=is_packed))
    for document in folder.documents(tmp_path, lambda label, done, total: None):
        assert isinstance(document, Document)
        asked: list[str] = []
        place = str(document.facts["locator"])
        assert folder.reopen(tmp_path, place, Reading(at=lambda locator, asked=asked: not asked.append(locator))) == document
        assert asked == [place]


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:50], body[50:])) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "record",
    [
        response(gzip.compress(PAGE), Content_Encoding="gzip"),
        response(PAGE, Content_Encoding="gzip"),  # the body was unpacked, and its header was left
        response(zlib.compress(PAGE), Content_Encoding="deflate"),
        response(chunked(PAGE), Transfer_Encoding="chunked"),
        response(PAGE, Transfer_Encoding="chunked"),
        response(chunked(gzip.compress(PAGE)), Transfer_Encoding="chunked", Content_Encoding="gzip"),
        response(PAGE, Content_Type="application/octet-stream"),
        response(PAGE, Content_Type=""),
        response(PAGE, Content_Type="text/plain"),
        response(PAGE.decode().replace("keeper", "kéeper").encode("cp1252"), Content_Type="text/html; charset=windows-1252"),
    ],
)
def test_a_page_is_unpacked_as_it_was_sent_or_taken_as_it_is(record: tuple[str, bytes, list[tuple[str, str]], str]):
    (document,) = found_in(archive(record))
    assert isinstance(document, Document)
    assert document.text.replace("é", "e") == (PARAGRAPH * 4).strip()


def test_a_page_that_unpacks_without_end_is_refused():
    bomb = gzip.compress(b"<p>" + b"x" * 3_000_000)
    assert told(found_in(archive(response(bomb, Content_Encoding="gzip"), response()), record_bytes=10_000)) == ["too large", "document"]


@pytest.mark.parametrize("cut", [1, 5, 400])
def test_a_clipped_file_is_read_up_to_the_break_which_is_told(cut: int):
    data = archive(response(), response(), response(), is_packed=True)
    found = found_in(data[:-cut], "a.warc.gz")
    assert told(found)[:2] == ["document", "document"]
    last = found[-1]
    assert isinstance(last, Dropped)
    assert (last.rule, last.locator) == ("clipped", "a.warc.gz#file")
    assert "3 records" in last.reason or "2 records" in last.reason
    assert len(found) == 4 or cut == 400


def test_what_is_there_of_a_clipped_page_is_marked():
    data = archive(response(), response())
    first, second = found_in(data[:-150])
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert "clipped" in json.loads(str(second.facts["extra"]))
    assert "clipped" not in str(first.facts["extra"])


@pytest.mark.parametrize("length", ["7", "100", "99999", "999999999999", "-5", "abc", "", "9" * 40])
def test_a_lying_length_costs_no_other_record(length: str):
    broken = plain_record().replace(b"Content-Length: %d" % len(PAGE), b"Content-Length: " + length.encode())
    found = found_in(plain_record() + broken + plain_record() * 2)
    assert told(found).count("document") >= 3
    assert len(found) == 4
    assert [item.facts["locator"] if isinstance(item, Document) else item.locator for item in found[2:]] == [
        f"a.warc#{len(plain_record() + broken)}", f"a.warc#{len(plain_record() * 2 + broken)}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "junk", [b"junk\r\n" * 9, b"\0" * 5000, b"WARC/1.0\r\nX: y\r\n\r\n", b"WARC/1.0\r\n" + b"x" * 70_000, b"\r\n" * 99, b"x"]
)
def test_what_is_no_record_is_told_and_the_next_one_found(junk: bytes):
    found = found_in(plain_record() + junk + b"\r\n" + plain_record() + junk)
    assert told(found).count("document") == 2
    assert set(told(found)) <= {"document", "broken record", "clipped"}


def test_a_record_that_is_too_long_is_passed_over_in_little_memory():
    found = found_in(plain_record(PAGE + b" " * 500_000) + plain_record(), record_bytes=20_000)
    assert told(found) == ["too large", "document"]
    assert isinstance(found[0], Dropped)
    assert (found[0].value, found[0].threshold) == (len(PAGE) + 500_000, 20_000)


def test_a_record_in_a_record_is_part_of_it():
    inner = plain_record()
    assert told(found_in(plain_record(PAGE + b"\r\n\r\n" + inner) + plain_record())) == ["document", "document"]


def test_line_ends_may_be_short_and_members_may_be_packed_one_by_one_or_all_at_once():
    short = plain_record().replace(b"\r\n", b"\n") * 2
    assert told(found_in(short)) == ["document"] * 2
    for packed in (gzip.compress(plain_record()) * 3, gzip.compress(plain_record() * 3)):
        assert told(read("a.warc.gz", packed)) == ["document"] * 3
    assert told(read("a.wet.gz", gzip.compress(plain_record(PARAGRAPH.encode(), kind="conversion").replace(b"html", b"plain")))) == [
        "document"
    ]


def test_a_record_that_killed_its_worker_is_left_out():
    data = plain_record() * 3
    asked: list[str] = []
    reading = Reading(extraction="bulk", at=lambda place: asked.append(place) or len(asked) != 2)
    assert told(list(warc.read(file("a.warc", data), reading))) == ["document", "quarantined", "document"]
    assert asked == [f"a.warc#{len(plain_record()) * n}" for n in range(3)]


def test_many_records_behind_one_that_lies_are_read_in_time():
    small = plain_record(b"<p>x</p>")
    data = plain_record(b"x", length=str(2**25)) + small * (2**25 // len(small))
    frames = iter(Frames(io.BytesIO(data), 2**26))
    next(frames)
    began = time.process_time()
    assert {len(next(frames).block) for _ in range(3000)} == {8}
    assert time.process_time() - began < 5  # seconds; a tenth is usual, and with a copy of the 32 MiB held for each record it takes 20


SMALL = archive(response(b"<p>one small page</p>"), response(b"<p>two</p>", Content_Encoding="gzip"), ("conversion", b"three", [], ""))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_breaks_the_reader_and_no_record_is_lost_without_a_word(data: st.DataObject):
    damaged = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 40))] = data.draw(
            st.binary(max_size=20) | st.sampled_from([b"WARC/1.0\r\n", b"\r\n\r\n"])
        )
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    frames = list(Frames(io.BytesIO(bytes(damaged)), 10_000))
    found = found_in(bytes(damaged), record_bytes=10_000)
    assert len(found) == len(frames)
    assert [item.facts["locator"] if isinstance(item, Document) else item.locator for item in found] == [
        f"a.warc#{it.offset}" for it in frames
    ]
    assert len({it.offset for it in frames}) == len(frames)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.binary(max_size=60), st.integers(0, 3))
def test_records_do_not_depend_on_the_portions_that_a_stream_gives(portion: int, junk: bytes, place: int):
    parts = [plain_record(b"<p>%d</p>" % n) for n in range(3)]
    data = b"".join([*parts[:place], junk, *parts[place:]])

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(portion)

    assert list(Frames(Slow(data), 5000)) == list(Frames(io.BytesIO(data), 5000))


# Real pages


def test_articles_of_real_pages_are_found(real_data: Path):
    pages = list(extraction.gold_pages(real_data / "html_gold"))
    # Measured: 0.982 and 0.979 (benchmarks/extraction.py).
    assert extraction.score(pages, extraction.READERS["quality"]).f1 > 0.975
    assert extraction.score(pages, extraction.READERS["bulk"]).f1 > 0.97


def test_real_archives_lose_nothing(real_data: Path):
    def counted(name: str) -> Counter[str]:
        path = real_data / "warc" / name
        return Counter(told(list(warc.read(Input(name, lambda: path.open("rb"), path.stat().st_size), Reading(extraction="bulk")))))

    assert counted("warcfile.warc.gz") == counted("warcfile.warc.lz4") == {"document": 16}
    assert counted("clipped.warc.gz") == {"document": 1, "clipped": 1}


def test_runs_of_words_are_counted_by_hand():
    assert extraction.shares("a b c d e", "a b c d") == (0.5, 0.5, 0.0)
    assert extraction.shares("a b", "a b") == (1.0, 0.0, 0.0)
    assert extraction.shares("", "") == (1.0, 0.0, 0.0)
    assert extraction.shares("", "a b c d") == (0.0, 0.0, 1.0)
