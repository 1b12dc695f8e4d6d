"""Dumps of wikis and of question-and-answer sites: each record becomes text or is refused with its reason, whatever the bytes hold."""

import io
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.records import Document
from scratchlm.sources import elements, mediawiki, sevenzip, stackexchange, wikitemplates
from scratchlm.sources.file import Input, Limits, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.streams import unpacked
from scratchlm.sources.wikitext import Names, plain

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
    made = plain(wikitext, "T", Names())
    check_structure(made.text, made.structure)
    if "<nowiki>" not in wikitext and "$" not in wikitext:
        assert not re.search(r"\[\[|\]\]|\{\{|\}\}|<ref|[\x00-\x08]", prose_of(made.text, made.structure)), made.text


HOSTILE = [
    "{{", "[[", "{|\n", "''", "<b>", "[http://a ", "<ref>", "==a\n", "{{a|", "[[a|", "{{{", '<b a="', "\n|-", "<!--", "\n* ", "-{",
    "<math>", "( ", "(,", " ,", "&#1", "\n{|\n|rowspan=50|a", "|rowspan=50|a\n", "{{convert|1|", "}}", "\n a", "\n```\n", "'", "\n:",
    "[[File:a|", "<ref name=",
]  # fmt: skip


def seconds(text: str) -> float:
    start = time.process_time()
    plain(text, "T", Names())
    return time.process_time() - start


@pytest.mark.parametrize("unit", HOSTILE[::2])
def test_hostile_wikitext_costs_no_more_than_its_length(unit: str):
    short, long = (min(seconds(unit * (size // len(unit))) for _ in range(2)) for size in (3_000, 12_000))
    # Four times the length takes four times as long, and 16 times in a parser that takes its square; 0.05 s are for what else goes on.
    assert long < 9 * short + 0.05


@pytest.mark.soak
@pytest.mark.parametrize("unit", HOSTILE)
def test_a_megabyte_of_hostile_wikitext_is_read(unit: str):
    assert seconds(unit * (1_000_000 // len(unit))) < 30
    assert seconds(unit.strip() * (1_000_000 // len(unit.strip()))) < 30


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


def test_concatenated_dumps_are_both_read():
    found = read(mediawiki.read, wiki(page("A", "a", 1)) + wiki(page("B", "b", 2)))
    assert [document.text for document in documents(found)] == ["a", "b"]


@QUICK
@given(st.integers(0, 3000), st.binary(max_size=40), st.booleans())
def test_damage_to_a_dump_is_told(at: int, damage: bytes, is_inserted: bool):
    data = wiki(*(page(f"P{n}", f"text {n}", n) for n in range(1, 6)))
    found = read(mediawiki.read, data[:at] + damage + data[at if is_inserted else at + len(damage) :])
    assert found
    assert all(isinstance(item, Dropped) or item.text for item in found)


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
    monkeypatch.setattr(stackexchange, "WIDTH", 50)
    monkeypatch.setattr(stackexchange, "HELD", 300)
    assert read(stackexchange.read, posts(*rows)) == held
    assert len(documents(held)) == 133


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


def site(data: bytes, **more: bytes) -> bytes:
    py7zr = pytest.importorskip("py7zr", reason="py7zr is not installed")
    packed = io.BytesIO()
    with py7zr.SevenZipFile(packed, "w") as archive:
        for name, content in {"Posts.xml": data, **more}.items():
            archive.writestr(content, name)
    return packed.getvalue()


def test_a_whole_site_gives_its_threads_and_tells_of_the_rest():
    data = posts(ask(1), reply(2, 1))
    found = read(sevenzip.read, site(data, **{"Users.xml": b"<users/>", "Votes.xml": b"<votes/>"}), "ai.stackexchange.com.7z")
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


def test_without_py7zr_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    (found,) = read(sevenzip.read, b"7z\xbc\xaf'\x1c")
    assert isinstance(found, Dropped)
    assert found.reason == "a .7z file needs py7zr: pip install 'scratchlm[sevenzip]'"


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_damage_to_a_packed_site_is_told(at: int, damage: bytes):
    data = site(posts(ask(1), reply(2, 1)))
    at %= len(data)
    assert read(sevenzip.read, data[:at] + damage + data[at + len(damage) :])


# ---- real dumps


def real(real_data: Path, name: str) -> Path:
    path = next(iter(sorted(real_data.glob(name))), None)
    if path is None:
        pytest.skip(f"{real_data / name}: not here")
    return path


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.soak)])
def test_no_markup_is_left_in_a_real_wikipedia(real_data: Path, every: int):
    path = real(real_data, "wikixml/*.bz2")
    file, _ = unpacked(Input(path.name, lambda: path.open("rb"), path.stat().st_size), Limits())

    def at(locator: str) -> bool:
        return int(locator.partition("page=")[2].partition(",")[0]) % every == 0

    found = list(mediawiki.read(file, Reading(at=at)))
    left_out = rules(found)
    assert (len(found), left_out["redirect"], left_out["other namespace"]) == (206, 99, 1)
    articles = documents(found)
    assert len(articles) + left_out["disambiguation"] + left_out["quarantined"] == 106
    assert len(articles) > 90 // every
    for article in articles:
        structure = json.loads(str(article.facts["structure"]))
        check_structure(article.text, structure)
        prose = prose_of(article.text, structure)
        junk = re.search(r"thumb\||\[\[|\]\]|\{\{|\}\}|\{\||\|\}|<ref|''|px\||style=|__[A-Z]+__|&nbsp;|\|-\s", prose)
        assert not junk, (article.facts["title"], prose[max(0, junk.start() - 60) : junk.end() + 60])


@pytest.mark.soak
def test_prose_that_another_parser_finds_is_kept(real_data: Path):
    """Nine in ten of the word quadruples of long lines: the rest are references, bibliographies and tables, left out on purpose."""
    mwparserfromhell = pytest.importorskip("mwparserfromhell", reason="mwparserfromhell is not installed")
    path = real(real_data, "wikixml/*.bz2")
    file, _ = unpacked(Input(path.name, lambda: path.open("rb"), path.stat().st_size), Limits())
    ours = {str(item.facts["title"]): item.text for item in documents(list(mediawiki.read(file, Reading())))}
    with file.open() as stream:
        pages = [item for item in elements.read(stream, elements.Elements(("page",), 2**26)) if isinstance(item, elements.Element)]
    hits = total = 0
    for item in pages:
        text = ours.get(item.values["title"])
        if text is None or len(item.values["revision/text"]) > 20_000:
            continue
        have = quadruples(text)
        bare = re.sub(r"<ref[^>/]*>.*?</ref>", "", item.values["revision/text"].partition("==References")[0], flags=re.DOTALL)
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
    found = read(stackexchange.read, path.read_bytes(), "ai.stackexchange.com/Posts.xml")
    assert len(used(found)) == len(set(used(found))) == path.read_bytes().count(b"<row ")
    assert rules(found) == {"other post": 107}
    for document in documents(found):
        check_structure(document.text, json.loads(str(document.facts["structure"])))
        assert not re.search(r"</?(?:p|a|pre|code|li|em|strong)\b", re.sub(r"`[^`]*`", "", document.text)), document.text
