"""Dumps of wikis and of question-and-answer sites: each record becomes text or is refused with its reason, whatever the bytes hold."""

import io
import json
import random
import re
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import read as made_read
from made import rules as made_rules
from made import zipped

from scratchlm.core.records import Document
from scratchlm.sources import beat, buckets, elements, mediawiki, sevenzip, stackexchange, wikitables, wikitemplates
from scratchlm.sources.file import Input, Limits, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.streams import unpacked
from scratchlm.sources.wikitext import Names, plain
from scratchlm.units import storage

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en"><siteinfo><sitename>Wikipedia</sitename>
<dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base><namespaces><namespace key="0" />
<namespace key="1">Talk</namespace><namespace key="6">Ficheroj</namespace><namespace key="14">Kategorioj</namespace></namespaces>
</siteinfo>"""


def read(reader: object, data: bytes, name: str = "dump.xml", reading: Reading | None = None) -> list[Document | Dropped]:
    """All that a reader finds in ``data``, and what ended it."""
    file = Input(name, lambda: io.BytesIO(data), len(data))
    found: list[Document | Dropped] = []
    items: Found = reader(file, reading or Reading())  # pyright: ignore[reportCallIssue]
    try:
        found.extend(items)
    except Unreadable as fault:
        found.append(file.refuse("file", "unreadable", str(fault)))
    return found


def documents(found: list[Document | Dropped]) -> list[Document]:
    return [item for item in found if isinstance(item, Document)]


def rules(found: list[Document | Dropped]) -> Counter[str]:
    return Counter(item.rule for item in found if isinstance(item, Dropped))


def page(title: str, text: str, number: int = 7, *, ns: str = "<ns>0</ns>", more: str = "", date: str = "2016-04-22") -> str:
    return (
        f"<page><title>{escape(title)}</title>{ns}<id>{number}</id>{more}<revision><id>{number}00</id>"
        f"<timestamp>{date}T10:19:33Z</timestamp><contributor><username>A</username><id>1</id></contributor>"
        f'<model>wikitext</model><text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def wiki(*pages: str) -> bytes:
    return (HEAD + "".join(pages) + "</mediawiki>").encode()


def words_of(text: str) -> str:
    return plain(text, "Title", Names()).text


# ---- wikitext

WRITTEN = {
    "'''Albedo''' is a ''measure''.": "Albedo is a measure.",
    "the [[ohm]]s of [[Mercury (planet)|Mercury]]": "the ohms of Mercury",
    "[[Mercury (planet)|]] and [[:Category:Art]]": "Mercury and Category:Art",
    "a[[Category:Art]] b [[fr:Art]] [[File:A.jpg|thumb|a [[b]] c]]d": "a b d",
    "[[Datei:A.jpg|mini|x]] [[Bild:B.png]] e": "e",
    "1<ref>no {{cite|a}}</ref> 2<ref name=x /> 3<ref name='y'>z</ref>4": "1 2 34",
    "{{Infobox\n| name = {{nested|{{deep}}}}\n}}text": "text",
    "It is {{convert|1300|km|mi}} long, {{convert|5|to|10|m2}} wide.": "It is 1,300 km long, 5 to 10 m² wide.",
    "{{lang|fr|texte}} {{lang-de|Wort}} {{nowrap|a b}} {{frac|1|2}} {{chem|H|2|O}}": "texte Wort a b 1/2 H₂O",
    "x ({{IPAc-en|a|b}}; {{lang|fr|y}}) z ({{IPAc-en|a}})": "x (y) z",
    "{{quote|To be|Hamlet}}": "To be\n— Hamlet",
    "H<sub>2</sub>O, 10<sup>6</sup>, 19<sup>th</sup>": "H₂O, 10⁶, 19th",
    "a<!-- no -->b\n<!-- alone -->\nc": "ab\nc",
    "a &amp; b&nbsp;c &lt;d&gt; &#8211; &#99999999999;": "a & b c <d> – &#99999999999;",
    "<nowiki>[[as]] ''it'' {{is}}</nowiki>": "[[as]] ''it'' {{is}}",
    "where <math>a^{{2}}</math> is": "where $a^{{2}}$ is",
    '<math display="block">a\n= b</math>': "$$a = b$$",
    '<syntaxhighlight lang="python">\ndef f():\n\treturn [[1]]\n</syntaxhighlight>': "```python\ndef f():\n\treturn [[1]]\n```",
    "<pre>a &lt; b</pre>": "```\na < b\n```",
    "a <code>x = 1</code> b": "a `x = 1` b",
    "__NOTOC__a __TOC__b": "a b",
    "[http://a.b label] and [http://c.d] and http://e.f": "label and and http://e.f",
    "<gallery>\nA.jpg|no\n</gallery>yes": "yes",
    "-{zh-hans:计算机;zh-hant:電腦;}-": "计算机",
    "== A ==\ntext\n=== B ===\nmore\n== References ==\n{{reflist}}": "## A\n\ntext\n\n### B\n\nmore",
    "== Empty ==\n== Full ==\nx": "## Full\n\nx",
    "* a\n** b\n* c": "- a\n  - b\n- c",
    "# a\n# b\n#* c\n# d\n\n# e": "1. a\n2. b\n   - c\n3. d\n\n1. e",
    "; term\n: meaning": "term\nmeaning",
    " code\n  more\ntext": "```\ncode\n more\n```\n\ntext",
    "a<br />b": "a\nb",
    "{|\n! A !! B\n|-\n| 1 || [[x|2]]\n|-\n| colspan=2 | 3\n|}": "| A | B |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |",
    "{|\n|+ Title\n! A\n! B\n|-\n| rowspan=2 | 1 || 2\n|-\n| 3\n|}": "Title\n\n| A | B |\n| --- | --- |\n| 1 | 2 |\n| 1 | 3 |",
    '{| class="infobox"\n| a || b\n|-\n| c || d\n|}text': "text",
    "{|\n| one column of a layout with some words\n* in a list\n|}": "one column of a layout with some words\n\n- in a list",
    "{|\n|colspan=9007199254740991|a||b\n|-\n|c\n|}x": "x",
    "{{#if:a|b}}c {{PAGENAME}}": "c Title",
    "open {{never closed\nand on": "open and on",
    "open [[never closed": "open never closed",
    "a <unknown>b</unknown> < c": "a <unknown>b</unknown> < c",
}


@pytest.mark.parametrize(("wikitext", "text"), WRITTEN.items())
def test_wikitext_becomes_what_a_reader_sees(wikitext: str, text: str):
    assert words_of(wikitext) == text


def test_what_is_left_out_is_counted():
    made = plain("a<ref>b</ref><ref>c</ref> {{unknown}} [[File:A.jpg]] [[Category:B]]", "T", Names())
    assert made.left_out == {"references": 2, "templates": 1, "files": 1, "categories": 1}


def test_a_table_that_is_no_reading_is_left_out_and_counted():
    rows = "\n|-\n".join(f"| {n} || {n * n}" for n in range(200))
    made = plain(f"a\n{{|\n{rows}\n|}}\nb", "T", Names())
    assert (made.text, made.left_out) == ("a\n\nb", {"tables": 1})


def test_every_template_with_words_of_its_own_takes_any_values():
    for name in [*wikitemplates.WRITTEN, *wikitemplates.FIRST, *wikitemplates.LAST, *wikitemplates.SIGNS]:
        for fields in ([], ["a=b"], ["x", "y", "z", "e=1", "u=km"], ["-"] * 9):
            assert wikitemplates.words(name, fields, "T") is None or "{{" not in words_of("{{" + "|".join([name, *fields]) + "}}")


def check_structure(text: str, structure: list[dict[str, str | int]]) -> None:
    starts = {"heading": "#", "list": ("- ", "1. ", " "), "table": "|", "code": ("`", "$$")}
    for part in structure:
        inside = text[int(part["start"]) : int(part["end"])]
        assert inside.startswith(starts[str(part["kind"])]), (part, inside[:80])
        assert inside == inside.strip("\n")


def prose_of(text: str, structure: list[dict[str, str | int]]) -> str:
    """The text without code and formulas, in which brackets are no markup."""
    for part in structure:
        if part["kind"] == "code":
            start, end = int(part["start"]), int(part["end"])
            text = text[:start] + " " * (end - start) + text[end:]
    return re.sub(r"\$[^$\n]{1,2000}\$", " ", text)


MARKUP = st.sampled_from(
    ["{{", "}}", "{{{", "}}}", "[[", "]]", "{|", "|}", "|-", "|", "||", "!", "\n", "\n\n", "==", "''", "'''''", "*", "#", ":", ";", " ",
     "a", "<ref>", "</ref>", "<ref/>", "<math>", "</math>", "<nowiki>", "</nowiki>", "<!--", "-->", "<pre>", "</pre>",
     "<br>", "<b", "<", ">",
     "File:", "Category:", "convert|1|km", "quote|", "=", "[http://a ", "&#1;", "&amp;", "-{", "}-", "__TOC__", "(", ")", ", ",
     "\x021\x03", "<gallery>", "class=infobox", "rowspan=3|", "colspan=99|", "`", "```", "$", "\t", "\r", "lang|fr|", "é"]
)  # fmt: skip


@QUICK
@given(st.lists(MARKUP, max_size=60).map("".join))
def test_no_markup_is_left_whatever_its_brackets(wikitext: str):
    check_no_markup(wikitext)


def check_no_markup(wikitext: str) -> None:
    made = plain(wikitext, "T", Names())
    check_structure(made.text, made.structure)
    if "<nowiki>" not in wikitext and "$" not in wikitext:
        assert not re.search(r"\[\[|\]\]|\{\{|\}\}|<ref|[\x00-\x08]", prose_of(made.text, made.structure)), made.text


HOSTILE = [
    "{{", "[[", "{|\n", "''", "<b>", "[http://a ", "<ref>", "==a\n", "{{a|", "[[a|", "{{{", '<b a="', "\n|-", "<!--", "\n* ", "-{",
    "<math>", "( ", "(,", " ,", "&#1", "\n{|\n|rowspan=50|a", "|rowspan=50|a\n", "{{convert|1|", "}}", "\n a", "\n```\n", "'", "\n:",
    "[[File:a|", "<ref name=",
]  # fmt: skip


def markers(number: int, depth: int) -> str:
    """List markers that are others for every number below ``4 ** depth``."""
    return "".join("*#:;"[number // 4**place % 4] for place in range(depth - 1)) + "#"


SHAPES: dict[str, Callable[[int], object]] = {
    "a cell of many lines": lambda size: wikitables.parsed("|a" + "\na" * (20 * size)),
    "a caption of many lines": lambda size: wikitables.parsed("|+a" + "\na" * (20 * size)),
    "lists under ever other markers": lambda size: words_of("".join(f"{markers(n, 10)}a\n" for n in range(size))),
    "lists that go down and up": lambda size: words_of("".join(f"{markers(n, 9)}a\n{markers(n, 9)}#b\n" for n in range(size // 2))),
}
"""Work whose worst is not one sign again and again."""


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("unit", HOSTILE[::2])
def test_hostile_wikitext_costs_no_more_than_its_length(unit: str):
    short, long = (min(seconds(partial(words_of, unit * (size // len(unit)))) for _ in range(2)) for size in (3_000, 12_000))
    # Four times the length takes four times as long, and 16 times in a parser that takes its square; 0.05 s are for what else goes on.
    assert long < 9 * short + 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_a_page_costs_the_square_of_its_length(shape: str):
    short, long = (min(seconds(partial(SHAPES[shape], size)) for _ in range(2)) for size in (2_000, 16_000))
    assert long < 20 * short + 0.05  # 8 times the length; the square would be 64 times


@pytest.mark.soak
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_hostile_wikitext_is_read(unit: str):
    for sign in (unit, unit.strip()):
        assert seconds(partial(words_of, sign * (1_000_000 // len(sign)))) < 30


# ---- MediaWiki dumps


def test_an_article_carries_where_it_came_from():
    (found,) = documents(read(mediawiki.read, wiki(page("C++ & more", "Text [[Ficheroj:A.jpg|x]]about it."))))
    assert found.text == "Text about it."
    assert found.facts["locator"] == "dump.xml#page=7,rev=700"
    assert found.facts["url"] == "https://en.wikipedia.org/wiki/C%2B%2B_%26_more"
    assert found.facts["published_at"] == "2016-04-22T10:19:33Z"
    assert (found.facts["lang"], found.facts["doc_type"], found.facts["host"]) == ("en", "wiki", "en.wikipedia.org/7")
    assert json.loads(str(found.facts["extra"])) == {"left_out": {"files": 1}}


def test_the_licence_is_that_of_the_day_and_the_site():
    old, new = documents(read(mediawiki.read, wiki(page("A", "a", 1), page("B", "b", 2, date="2023-06-07"))))
    assert (old.facts["licence"], new.facts["licence"]) == ("CC-BY-SA-3.0", "CC-BY-SA-4.0")
    assert "2016-04-22" in str(old.facts["licence_evidence"])
    (other,) = documents(read(mediawiki.read, wiki(page("A", "a")).replace(b"en.wikipedia.org", b"wiki.example.com")))
    assert other.facts["licence"] == "unknown"


def test_pages_that_are_no_articles_are_refused_one_by_one():
    found = read(
        mediawiki.read,
        wiki(
            page("A", "kept", 1),
            page("Talk:A", "x", 2, ns="<ns>1</ns>"),
            page("Talk:B", "x", 3, ns=""),
            page("C", "#REDIRECT [[A]]", 4, more='<redirect title="A" />'),
            page("D", "#WEITERLEITUNG [[A]]", 5),
            page("E", "'''E''' may be:\n* [[A]]\n{{disambiguation|geo}}", 6),
            page("F (disambiguation)", "* [[A]]", 7),
            page("G", "  ", 8),
            page("H", "{{only|templates}}", 9),
            page("I", "x", 10).replace("<model>wikitext", "<model>javascript"),
            page("J", "x", 11).replace('<text xml:space="preserve">', '<text deleted="deleted">'),
            page("", "x", 12),
        ),
    )
    assert [document.text for document in documents(found)] == ["kept"]
    assert rules(found) == {
        "other namespace": 2, "redirect": 2, "disambiguation": 2, "nothing in it": 2, "other model": 1, "deleted": 1, "broken record": 1,
    }  # fmt: skip


def test_of_several_revisions_the_last_is_read():
    older = "<revision><id>1</id><timestamp>2001-01-01T00:00:00Z</timestamp><text>old</text></revision>"
    (found,) = documents(read(mediawiki.read, wiki(page("A", "new").replace("<revision>", older + "<revision>", 1))))
    assert (found.text, found.facts["locator"]) == ("new", "dump.xml#page=7,rev=700")


def test_a_page_is_left_out_when_a_worker_died_on_it():
    seen: list[str] = []

    def at(locator: str) -> bool:
        seen.append(locator)
        return "page=1," not in locator

    found = read(mediawiki.read, wiki(page("A", "a", 1), page("B", "b", 2)), reading=Reading(at=at))
    assert [document.text for document in documents(found)] == ["b"]
    assert rules(found) == {"quarantined": 1}
    assert seen == ["dump.xml#page=1,rev=100", "dump.xml#page=2,rev=200"]


def test_pages_larger_than_allowed_are_refused_and_the_next_is_read():
    tight = Reading(limits=Limits(record_bytes=5_000, document_characters=2_000))
    found = read(mediawiki.read, wiki(page("A", "a " * 50_000, 1), page("B", "b " * 1_500, 2), page("C", "c", 3)), reading=tight)
    assert [document.text for document in documents(found)] == ["c"]
    assert rules(found) == {"too large": 2}


def test_a_clipped_dump_is_read_up_to_the_break():
    data = wiki(*(page(f"P{n}", f"text {n} &é", n) for n in range(1, 6)))
    whole = [document.text for document in documents(read(mediawiki.read, data))]
    for cut in range(len(HEAD), len(data), 37):
        found = read(mediawiki.read, data[:cut])
        texts = [document.text for document in documents(found)]
        assert texts == whole[: len(texts)]
        assert rules(found) == {"clipped": 1}


def test_broken_markup_costs_one_page():
    data = wiki(page("A", "a", 1), page("B", "b", 2).replace("<revision>", "<revision><oops>", 1), page("C", "c", 3), page("D", "d", 4))
    found = read(mediawiki.read, data)
    assert [document.text for document in documents(found)] == ["a", "c", "d"]
    assert rules(found) == {"broken markup": 1}


def test_forbidden_characters_cost_themselves():
    data = wiki(page("A", "one", 1), page("B", "two", 2)).replace(b"one", b"o\x00n\xffe &nbsp; & &#1; &#xD800; &#65;")
    found = documents(read(mediawiki.read, data))
    assert [document.text for document in found] == ["o\ufffdn\ufffde & \ufffd \ufffd A", "two"]


@pytest.mark.parametrize("at", [0, 40])
def test_declared_entities_are_refused(at: int):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    data = wiki(page("A", "a"))
    found = read(mediawiki.read, data[:at] + bomb + data[at:])
    assert documents(found) == []
    assert sum(rules(found).values()) == 1


def test_a_tag_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(elements, "LONGEST_TAG", 100_000)
    found = read(mediawiki.read, HEAD.encode() + b'<page a="' + b"x" * 500_000)
    assert "a tag is longer" in str(found[-1])


def test_elements_without_text_count_what_they_take():
    many = "".join(f"<a{n} b=''/>" for n in range(9_000))
    data = wiki(page("A", "a", 1, more=many), page("B", "b", 2))
    tracemalloc.start()
    found = read(mediawiki.read, data, reading=Reading(limits=Limits(record_bytes=100_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [document.text for document in documents(found)] == ["b"]
    assert rules(found) == {"too large": 1}
    assert peak < 2_000_000  # all of them take 4 MB


def test_names_without_end_are_refused():
    found = read(mediawiki.read, HEAD.encode() + b"<page>" + b"".join(b"<a%d/>" % n for n in range(30_000)))
    assert "more than 10,000 names" in str(found[-1])


def test_elements_in_each_other_without_an_end_are_refused():
    found = read(mediawiki.read, HEAD.encode() + b"<page>" + b"<a>" * 1_000)
    assert "nested more than 256 levels deep" in str(found[-1])


def test_older_revisions_do_not_count():
    older = f"<revision><id>1</id><text>{'old ' * 1_000}</text></revision>" * 9
    data = wiki(page("A", "new").replace("<revision>", older + "<revision>", 1))
    (found,) = documents(read(mediawiki.read, data, reading=Reading(limits=Limits(record_bytes=7_000))))
    assert found.text == "new"


def listened(reader: object, data: bytes, name: str) -> Counter[str]:
    """How often a reader says that it is at a place."""
    said: Counter[str] = Counter()
    found = read(reader, data, name, Reading(at=lambda locator: (said.update([locator]), True)[1]))
    assert documents(found)
    return said


def test_a_dump_that_is_only_long_says_that_it_is_being_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beat, "EVERY", 2**16)
    rows = posts(*(ask(n) if n == 1 else reply(n, 1) for n in range(1, 2_000)))
    talk = wiki(page("A", "kept", 1), *(page(f"Talk:{n}", "x" * 500, n, ns="<ns>1</ns>") for n in range(2, 500)))
    for reader, data, name in ((stackexchange.read, rows, "Posts.xml"), (mediawiki.read, talk, "a.xml")):
        assert listened(reader, data, name)[f"{name}#file"] >= len(data) // 2**17
    packed = site(posts(ask(1)), before={"Badges.xml": random.Random(0).randbytes(4 * 2**20)})
    assert listened(sevenzip.read, packed, "a.7z")["a.7z#file"] >= 4


def test_concatenated_dumps_are_both_read():
    found = read(mediawiki.read, wiki(page("A", "a", 1)) + wiki(page("B", "b", 2)))
    assert [document.text for document in documents(found)] == ["a", "b"]


DAMAGE = st.lists(
    st.tuples(st.integers(0, 10_000), st.binary(max_size=40), st.sampled_from(["over", "insert", "cut"])), min_size=1, max_size=3
)
LONG = settings(max_examples=5_000, deadline=None)


def damaged(data: bytes, places: list[tuple[int, bytes, str]]) -> bytes:
    for place, new, way in places:
        at = place % (len(data) + 1)
        data = data[:at] + (b"" if way == "cut" else new) + data[at if way == "insert" else at + len(new) :]
    return data


def check_damaged(kind: str, places: list[tuple[int, bytes, str]]) -> None:
    """Something is told of whatever is read, no text is empty, and the same bytes give the same."""
    reader, make = DUMPS[kind]
    data = damaged(make(), places)
    found = read(reader, data)
    assert found
    assert all(isinstance(item, Dropped) or item.text for item in found)
    assert read(reader, data) == found


DUMPS: dict[str, tuple[object, Callable[[], bytes]]] = {
    "wiki": (mediawiki.read, lambda: wiki(*(page(f"P{n}", f"''text'' [[{n}]] {{{{x|{n}}}}}", n) for n in range(1, 6)))),
    "posts": (stackexchange.read, lambda: posts(ask(1), reply(2, 1), ask(3, "<p>a <b>c</b></p>"), reply(4, 3))),
    "site": (sevenzip.read, lambda: site(posts(ask(1), reply(2, 1)))),
}


@pytest.mark.parametrize("kind", DUMPS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(places=DAMAGE)
def test_damage_to_a_dump_is_told(kind: str, places: list[tuple[int, bytes, str]]):
    check_damaged(kind, places)


@pytest.mark.soak
@pytest.mark.parametrize("kind", DUMPS)
@LONG
@given(places=DAMAGE)
def test_damage_to_a_dump_is_told_for_long(kind: str, places: list[tuple[int, bytes, str]]):
    check_damaged(kind, places)


@pytest.mark.soak
@LONG
@given(st.lists(MARKUP, max_size=200).map("".join))
def test_no_markup_is_left_whatever_its_brackets_for_long(wikitext: str):
    check_no_markup(wikitext)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes):
    for reader in (mediawiki.read, stackexchange.read, sevenzip.read):
        found = read(reader, data)
        assert found
        assert documents(found) == []


# ---- Stack Exchange


def row(**attributes: object) -> str:
    return "  <row " + " ".join(f"{name}={quoteattr(str(value))}" for name, value in attributes.items()) + " />\n"


def ask(number: int, body: str = "<p>Why?</p>", **more: object) -> str:
    own = {"Id": number, "PostTypeId": 1, "CreationDate": "2016-08-02T15:39:14.947", "Score": 5, "Title": f"T{number}", "Tags": "<a><b-c>"}
    return row(**{**own, "Body": body, **more})


def reply(number: int, parent: int, body: str = "", **more: object) -> str:
    own = {"Id": number, "PostTypeId": 2, "ParentId": parent, "CreationDate": "2016-08-03T00:00:00.000", "Score": 1}
    return row(**{**own, "Body": body or f"<p>A{number}</p>", **more})


def posts(*rows: str) -> bytes:
    return ("\ufeff<?xml version='1.0' encoding='utf-8'?>\n<posts>\n" + "".join(rows) + "</posts>").encode()


def test_answers_stand_under_their_question_the_accepted_one_first():
    data = posts(reply(4, 1, Score=9), ask(1, AcceptedAnswerId=3), reply(2, 1, Score=-1), reply(3, 1), reply(6, 5), ask(5))
    first, second = documents(read(stackexchange.read, data, "ai.stackexchange.com/Posts.xml"))
    assert first.text == "# T1\n\nWhy?\n\n## Accepted answer\n\nA3\n\n## Answer\n\nA4\n\n## Answer\n\nA2"
    assert second.text == "# T5\n\nWhy?\n\n## Answer\n\nA6"
    extra = json.loads(str(first.facts["extra"]))
    assert extra["tags"] == ["a", "b-c"]
    assert [(answer["post"], answer["score"], answer["accepted"]) for answer in extra["answers"]] == [
        (3, 1, True),
        (4, 9, False),
        (2, -1, False),
    ]
    assert [first.text[answer["start"] : answer["end"]] for answer in extra["answers"]] == ["A3", "A4", "A2"]
    assert first.facts["url"] == "https://ai.stackexchange.com/questions/1"
    assert (first.facts["host"], first.facts["score"]) == ("ai.stackexchange.com/1", 5.0)


def test_code_and_lists_of_a_post_are_kept():
    body = "<p>Do:</p><pre><code>def f(x):\n    return [x &lt; 1]\n</code></pre><ul><li>a</li><li>b <code>c</code></li></ul>"
    (found,) = documents(read(stackexchange.read, posts(ask(1, body))))
    assert found.text == "# T1\n\nDo:\n\n```\ndef f(x):\n    return [x < 1]\n```\n\n- a\n- b `c`"
    structure = json.loads(str(found.facts["structure"]))
    assert {part["kind"] for part in structure} == {"heading", "code", "list"}
    check_structure(found.text, structure)


@pytest.mark.parametrize(
    ("dates", "licence"),
    [(("2010-01-01", "2011-04-07"), "2.5"), (("2011-04-08", "2018-05-01"), "3.0"), (("2018-05-02", "2024-01-01"), "4.0")],
)
def test_the_licence_is_that_of_the_days_of_the_posts(dates: tuple[str, str], licence: str):
    data = posts(ask(1, CreationDate=f"{dates[0]}T00:00:00.000"), reply(2, 1, CreationDate=f"{dates[1]}T00:00:00.000"))
    assert documents(read(stackexchange.read, data))[0].facts["licence"] == f"CC-BY-SA-{licence}"


def test_posts_of_several_licences_need_all_of_them():
    data = posts(ask(1, ContentLicense="CC BY-SA 3.0"), reply(2, 1, ContentLicense="CC BY-SA 4.0"))
    (found,) = documents(read(stackexchange.read, data))
    assert (found.facts["licence"], found.facts["licence_evidence"]) == ("CC-BY-SA-3.0 AND CC-BY-SA-4.0", "ContentLicense of its posts")


def test_posts_without_a_place_are_refused_one_by_one():
    found = read(
        stackexchange.read,
        posts(
            ask(1), reply(2, 99), reply(3, 1, "<p> </p>"), reply(4, 1), reply(4, 1, "<p>again</p>"), ask(1, "<p>again</p>"),
            ask(7, "<p></p>"), reply(8, 7), row(Id=9, PostTypeId=5, Body="wiki"), row(PostTypeId=1, Body="x"),
            row(Id=10, PostTypeId=2, Body="x"), ask(11, ""), ask(12, DeletionDate="2016"),
        ),
    )  # fmt: skip
    assert [document.text for document in documents(found)] == ["# T1\n\nWhy?\n\n## Answer\n\nA4"]
    assert rules(found) == {"no question": 3, "nothing in it": 3, "repeated": 2, "other post": 1, "broken record": 1, "deleted": 1}


def used(found: list[Document | Dropped]) -> list[int]:
    """The numbers of all posts in documents and refusals."""
    numbers = [int(item.locator.partition("post=")[2] or 0) for item in found if isinstance(item, Dropped)]
    for document in documents(found):
        numbers.append(int(str(document.facts["locator"]).partition("post=")[2]))
        numbers += [answer["post"] for answer in json.loads(str(document.facts["extra"]))["answers"]]
    return numbers


POSTS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 14), st.sampled_from(["<p>a</p>", "", "<p></p>", "a <b>c", "<pre>x"])),
    max_size=14,
)


@QUICK
@given(POSTS)
def test_every_post_is_in_one_document_or_refused(made: list[tuple[bool, int, int, str]]):
    rows = [ask(number, body) if is_question else reply(number, parent, body or " ") for is_question, number, parent, body in made]
    found = read(stackexchange.read, posts(*rows))
    assert sorted(used(found)) == sorted(number for _, number, _, _ in made)


def test_what_is_put_away_on_disk_comes_back_the_same(monkeypatch: pytest.MonkeyPatch):
    rows = [ask(n, f"<p>Q{n} é</p>") if n % 3 == 1 else reply(n, n % 30 // 3 * 3 + 1) for n in range(1, 400)]
    held = read(stackexchange.read, posts(*rows))
    monkeypatch.setattr(buckets, "WIDTH", 50)
    monkeypatch.setattr(buckets, "HELD", 5_000)
    assert read(stackexchange.read, posts(*rows)) == held
    assert len(documents(held)) == 133


def test_many_small_posts_do_not_stay_in_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buckets, "WIDTH", 100)
    monkeypatch.setattr(buckets, "HELD", 200_000)
    tracemalloc.start()
    with buckets.buckets() as held:
        assert all(held.put(buckets.Post(number, number, 0, 0, "", "", "", "", "x" * (number % 9))) for number in range(1, 12_000))
        numbers = [thread[0].number for thread in held.joined()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers == list(range(1, 12_000))
    assert peak < 2_000_000  # all posts at once take 5 MB


def test_posts_that_no_memory_could_hold_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buckets, "MOST_IN_BUCKET", 20_000)
    found = read(stackexchange.read, posts(ask(1), *(reply(n, 1) for n in range(2, 100)), ask(900_000)))
    first, second = documents(found)
    assert 10 < len(json.loads(str(first.facts["extra"]))["answers"]) < 40
    assert second.text == "# T900000\n\nWhy?"
    assert set(rules(found)) == {"too large"}
    assert sorted(used(found)) == [*range(1, 100), 900_000]


def ours() -> int:
    """How many files and folders of this process lie in the temporary folder."""
    return len(list(Path(tempfile.gettempdir()).glob(f"{storage.temporary()}*")))


def test_what_waits_in_a_temporary_folder_can_be_swept_away():
    there: list[int] = []
    before = ours()
    reading = Reading(at=lambda locator: (there.append(ours() - before), True)[1])
    read(stackexchange.read, posts(ask(1)), reading=reading)
    read(sevenzip.read, site(posts(ask(1))), reading=reading)
    assert there == [1, 2]
    assert ours() == before


def test_a_clipped_dump_gives_its_threads():
    data = posts(ask(1), reply(2, 1), ask(3))
    found = read(stackexchange.read, data[: data.index(b'Id="3"') + 20])
    assert [document.text for document in documents(found)] == ["# T1\n\nWhy?\n\n## Answer\n\nA2"]
    assert rules(found) == {"clipped": 1}


def test_a_thread_is_left_out_when_a_worker_died_on_it():
    found = read(stackexchange.read, posts(ask(1), reply(2, 1), ask(3)), reading=Reading(at=lambda locator: not locator.endswith("=1")))
    assert [document.facts["locator"] for document in documents(found)] == ["dump.xml#post=3"]
    assert rules(found) == {"quarantined": 2}


def test_a_thread_ends_where_a_document_is_full():
    tight = Reading(limits=Limits(document_characters=300))
    found = read(stackexchange.read, posts(ask(1), reply(2, 1, "a " * 60), reply(3, 1, "b " * 140), reply(4, 1)), reading=tight)
    assert [answer["post"] for answer in json.loads(str(documents(found)[0].facts["extra"]))["answers"]] == [2, 4]
    assert rules(found) == {"too large": 1}


@pytest.mark.parametrize(
    "unit", ["<b>", "<div>", "<ul><li>", "<pre>", "<table><tr><td>", "&lt;", "<", "<blockquote>", "<a href='", "<!--", "</p>"]
)
def test_hostile_bodies_are_read(unit: str):
    found = read(stackexchange.read, posts(ask(1, "x" + unit * (100_000 // len(unit))), ask(2)))
    assert sorted(used(found)) == [1, 2]


@pytest.mark.parametrize("levels", [300, 1_500])
def test_text_is_not_lost_however_deep_it_lies(levels: int):
    (found,) = documents(read(stackexchange.read, posts(ask(1, "<p>first</p>" + "<div>" * levels + "deep"))))
    assert found.text == "# T1\n\nfirst\n\ndeep"


@pytest.mark.parametrize(
    "body", ["<p>first</p>" + "<div>" * 3_000 + "deep", "<p " + " ".join(f"a{n}=''" for n in range(20_000)) + ">x</p>"]
)
def test_a_body_that_no_parser_would_finish_is_refused_alone(body: str):
    found = read(stackexchange.read, posts(ask(1), reply(2, 1, body), ask(3)))
    assert len(documents(found)) == 2
    assert rules(found) == {"bomb": 1}


def site(data: bytes, *, before: Mapping[str, bytes] | None = None, after: Mapping[str, bytes] | None = None) -> bytes:
    """A packed site: ``Posts.xml``, and what lies before and behind it."""
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed")
    packed = io.BytesIO()
    with py7zr.SevenZipFile(packed, "w") as archive:
        for name, content in {**(before or {}), "Posts.xml": data, **(after or {})}.items():
            archive.writestr(content, name)
    return packed.getvalue()


def test_a_whole_site_gives_its_threads_and_tells_of_the_rest():
    data = posts(ask(1), reply(2, 1))
    found = read(sevenzip.read, site(data, after={"Users.xml": b"<users/>", "Votes.xml": b"<votes/>"}), "ai.stackexchange.com.7z")
    (document,) = documents(found)
    assert document.text == documents(read(stackexchange.read, data))[0].text
    assert document.facts["locator"] == "ai.stackexchange.com.7z!Posts.xml#post=1"
    assert document.facts["host"] == "ai.stackexchange.com/1"
    assert rules(found) == {"other table": 2}


def test_a_site_that_unpacks_to_too_much_is_a_bomb():
    tight = Reading(limits=Limits(unpacked_bytes=1_000))
    found = read(sevenzip.read, site(posts(*(ask(n) for n in range(1, 50)))), reading=tight)
    assert documents(found) == []
    assert "unpacks to more than" in str(found[0])


def test_a_site_in_an_archive_spends_what_its_archive_may():
    data = posts(*(ask(n) for n in range(1, 300)))
    whole = zipped({f"{n}.7z": site(data) for n in range(9)})
    assert len(documents(made_read("a.zip", whole, unpacked_bytes=10 * len(data)))) == 9 * 299
    found = made_read("a.zip", whole, unpacked_bytes=3 * len(data))
    assert made_rules(found)["a.zip#file"] == "bomb"
    assert 299 <= len(documents(found)) < 4 * 299


def test_what_must_be_unpacked_on_the_way_counts():
    packed = site(posts(ask(1)), before={"Badges.xml": b" " * 500_000})
    assert len(documents(read(sevenzip.read, packed, reading=Reading(limits=Limits(unpacked_bytes=600_000))))) == 1
    found = read(sevenzip.read, packed, reading=Reading(limits=Limits(unpacked_bytes=400_000)))
    assert documents(found) == []
    assert "unpacks to more than 400,000 bytes" in str(found[-1])


def test_without_py7zr_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    (found,) = read(sevenzip.read, b"7z\xbc\xaf'\x1c")
    assert isinstance(found, Dropped)
    assert found.reason == "a .7z file needs py7zr: pip install 'scratchlm[sevenzip]'"


# ---- real dumps


def real(real_data: Path, name: str) -> Path:
    path = next(iter(sorted(real_data.glob(name))), None)
    if path is None:
        pytest.skip(f"{real_data / name}: not here")
    return path


@dataclass
class Wikipedia:
    """A real dump: what is found in it, and its pages as they stand in it by their titles."""

    found: list[Document | Dropped]
    pages: dict[str, str]


@pytest.fixture(scope="module")
def wikipedia(real_data: Path) -> Wikipedia:
    path = real(real_data, "wikixml/*.bz2")
    file, _ = unpacked(Input(path.name, lambda: path.open("rb"), path.stat().st_size), Limits())
    with file.open() as stream:
        pages = [item for item in elements.read(stream, elements.Elements(("page",), 2**26), ignore) if isinstance(item, elements.Element)]
    return Wikipedia(list(mediawiki.read(file, Reading())), {page.values["title"]: page.values["revision/text"] for page in pages})


def ignore(count: int) -> None:
    """Hear of bytes and do nothing."""


def test_no_markup_is_left_in_a_real_wikipedia(wikipedia: Wikipedia):
    found = wikipedia.found
    left_out = rules(found)
    assert (len(found), left_out["redirect"], left_out["other namespace"]) == (206, 99, 1)
    articles = documents(found)
    assert (len(articles), left_out["disambiguation"]) == (98, 8)
    for article in articles:
        structure = json.loads(str(article.facts["structure"]))
        check_structure(article.text, structure)
        prose = prose_of(article.text, structure)
        junk = re.search(
            r"thumb\||(?:File|Image|Category):|\[\[|\]\]|\{\{|\}\}|\{\||\|\}|<ref|''|px\||style=|__[A-Z]+__|&nbsp;|\|-\s", prose
        )
        assert not junk, (article.facts["title"], prose[max(0, junk.start() - 60) : junk.end() + 60])


BACK = re.compile(r"^==+\s*(?:references|notes|external links|see also|further reading|bibliography|sources|citations)[^=]*==", re.M | re.I)
ITEM = re.compile(r"^[*#]+\s*([A-Za-z0-9 ,.()]{25,})\s*$", re.M)
TABLE = re.compile(r"^\{\|[^\n]*wikitable.*?^\|\}", re.M | re.S)
CELL = re.compile(r"^[|!]\s*([A-Za-z][A-Za-z ]{3,30})\s*$", re.M)


def test_lists_and_tables_of_a_real_wikipedia_are_kept(wikipedia: Wikipedia):
    """Items and cells without markup of their own are in the text, but for tables that are left out and counted."""
    items = kept_items = tables = kept_tables = left_out = cells = kept_cells = 0
    for article in documents(wikipedia.found):
        source = re.sub(r"<!--.*?-->|<ref[^>/]*/>|<ref.*?</ref>", "", wikipedia.pages[str(article.facts["title"])], flags=re.DOTALL)
        found = [" ".join(item.split()) for item in ITEM.findall(BACK.split(source)[0])]
        items, kept_items = items + len(found), kept_items + sum(item in article.text for item in found)
        found = [" ".join(cell.split()) for table in TABLE.findall(source) for cell in CELL.findall(table)]
        cells, kept_cells = cells + len(found), kept_cells + sum(cell in article.text for cell in found)
        tables += len(TABLE.findall(source))
        kept_tables += sum(part["kind"] == "table" for part in json.loads(str(article.facts["structure"])))
        left_out += json.loads(str(article.facts["extra"]))["left_out"].get("tables", 0)
    assert (items, kept_items) == (67, 67)
    assert (tables, kept_tables, left_out) == (81, 65, 13)
    assert kept_cells > 0.95 * cells > 150


@pytest.mark.soak
def test_prose_that_another_parser_finds_is_kept(wikipedia: Wikipedia):
    """Nine in ten of the word quadruples of long lines: the rest are references, bibliographies and tables, left out on purpose."""
    mwparserfromhell = pytest.importorskip("mwparserfromhell", reason="mwparserfromhell is not installed")
    hits = total = 0
    for article in documents(wikipedia.found):
        source = wikipedia.pages[str(article.facts["title"])]
        if len(source) > 20_000:
            continue
        have = quadruples(article.text)
        bare = re.sub(r"<ref[^>/]*>.*?</ref>", "", source.partition("==References")[0], flags=re.DOTALL)
        for line in mwparserfromhell.parse(bare).strip_code().split("\n"):
            if len(line) >= 200 and "thumb" not in line:
                theirs = quadruples(line)
                hits += len(theirs & have)
                total += len(theirs)
    assert hits > 0.9 * total > 5_000


def quadruples(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(words, words[1:], words[2:], words[3:], strict=False))


def test_a_real_site_gives_all_its_posts(real_data: Path):
    path = real(real_data, "stackexchange/Posts.xml")
    data = path.read_bytes()
    found = read(stackexchange.read, data, "ai.stackexchange.com/Posts.xml")
    assert len(used(found)) == len(set(used(found))) == data.count(b"<row ")
    assert rules(found) == {"other post": 107}
    for document in documents(found):
        check_structure(document.text, json.loads(str(document.facts["structure"])))
        prose = prose_of(document.text, json.loads(str(document.facts["structure"])))
        assert not re.search(r"</?(?:p|a|pre|code|li|em|strong|img|br)\b|&(?:lt|gt|amp|quot|nbsp);", re.sub(r"`[^`]*`", "", prose)), prose


def test_threads_of_a_real_site_are_what_its_rows_say(real_data: Path):
    """Each answer stands under its question with its score, the accepted one first; lists and code blocks are all there."""
    path = real(real_data, "stackexchange/Posts.xml")
    with path.open("rb") as stream:
        rows = list(elements.read(stream, elements.Elements(("row",), 2**26), ignore))
    posts = {int(row.attributes["Id"]): row.attributes for row in rows if isinstance(row, elements.Element)}
    answered = count = 0
    marks: Counter[str] = Counter()
    for document in documents(read(stackexchange.read, path.read_bytes())):
        number = int(str(document.facts["locator"]).partition("post=")[2])
        answers = json.loads(str(document.facts["extra"]))["answers"]
        theirs = {key: int(row["Score"]) for key, row in posts.items() if row.get("ParentId") == str(number)}
        assert {answer["post"]: answer["score"] for answer in answers} == theirs
        assert document.facts["score"] == float(posts[number]["Score"])
        accepted = posts[number].get("AcceptedAnswerId")
        assert [answer["post"] for answer in answers if answer["accepted"]] == ([int(accepted)] if accepted else [])
        rest = answers[1:] if accepted else answers
        assert [answer["score"] for answer in rest] == sorted((answer["score"] for answer in rest), reverse=True)
        answered, count = answered + bool(accepted), count + len(answers)
        bodies = "".join(posts[key]["Body"] for key in (number, *theirs))
        marks.update(part["kind"] for part in json.loads(str(document.facts["structure"])))
        marks.subtract({"list": len(re.findall("<[uo]l[ >]", bodies)), "code": bodies.count("<pre>")})
    assert (count, answered > 50, marks["list"], marks["code"]) == (415, True, 0, 0)


@pytest.mark.parametrize("declared", ["tf-8", "iso-8859-1", "utf-16"])
def test_what_a_dump_declares_of_its_encoding_is_not_believed(declared: str):
    data = posts('<row Id="1" PostTypeId="1" Score="2" Title="Ünder" Body="&lt;p&gt;Ünder way at last.&lt;/p&gt;" />')
    data = f'<?xml version="1.0" encoding="{declared}"?>\n'.encode() + data[data.index(b"<posts") :]
    (document,) = documents(read(stackexchange.read, data, "Posts.xml"))
    assert "Ünder way" in document.text
