"""What is taught: facts from documentation and from the headings of plain texts."""

import json

import pytest

from scratchlm.core.records import Document
from scratchlm.evals.headings import headings
from scratchlm.evals.knowledge import Knowledge, learn
from scratchlm.evals.sentences import after_signature, first_sentence

PEP = """PEP: 8
Title: Style Guide for Code
Author: A Person <a@example.org>,
        Another Person
Status: Active


Introduction
============

This document gives coding conventions.  Please see the
companion document.

A Foolish Consistency
---------------------

.. note:: Skipped.

One of the key insights is that ``code`` is read more often than written [1]_.
"""
NOVEL = """THE WHITE PEACOCK

D. H. LAWRENCE

CHAPTER I.

I stood watching the shadowy fish slide through the gloom of the mill-pond. They were grey.

CHAPTER II.

Mr. Smith came late. 'YES, sir?' he said.
"""


def python(name: str, text: str, score: float = 1.0, kind: str = "function") -> Document:
    facts = {"title": name, "host": name.rpartition(".")[0] or "builtins", "score": score, "extra": json.dumps({"kind": kind})}
    return Document(text, name, "python", facts)


def page(text: str, name: str) -> Document:
    return Document(text, name, "folder", {"locator": name})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("math.sqrt(x, /)\n\nReturn the square root of x.", "Return the square root of x."),
        ("os.link(a, b)\n\nMake ``a`` a link to :func:`~os.b`,\ne.g. a hard one. More.", "Make `a` a link to `b`, e.g. a hard one."),
        ("class dict\n\ndict() -> new empty dictionary\ndict(mapping) -> new dictionary", "New empty dictionary."),
        ("f(x)\n\nf(x) -> string\n\nTell what *x* is about", "Tell what *x* is about."),
        ("No signature here at all.", "No signature here at all."),
        ("f()\n\nToo short.", None),
        ("f()\n\n>>> f()\n3", None),
        ("f()\n\n" + "very " * 40 + "long.", None),
    ],
)
def test_the_first_sentence_of_a_docstring(text: str, sentence: str | None):
    assert first_sentence(after_signature(text)) == sentence


def test_the_most_used_names_are_taught_and_the_rest_are_unknown():
    documents = [python(f"lib.part{at}.do_{at}", f"do_{at}()\n\nDo the thing numbered {at}.", score=at) for at in range(30)]
    documents += [python("len", "len(x)\n\nReturn the number of items.", 99), python("lib._hidden", "x()\n\nDo what none may see.", 99)]
    documents += [python("lib.Kind.method", "x()\n\nDo what methods often do.", 99, kind="method")]
    knowledge = learn(documents, "python", facts=11)
    assert [fact.name for fact in knowledge.facts[:2]] == ["len", "lib.part29.do_29"]
    assert (knowledge.facts[0].module, knowledge.facts[1].module, knowledge.facts[1].bare) == ("builtins", "lib.part29", "do_29")
    assert "lib.part3.do_3" in knowledge.unknown_names
    assert not {fact.name for fact in knowledge.facts} & set(knowledge.unknown_names)
    assert set(knowledge.unknown("train")).isdisjoint(knowledge.unknown("test"))


def test_headings_of_a_document_with_fields_and_underlines():
    found = {heading.name: heading.sentence for heading in headings(page(PEP, "peps/pep-0008.rst"))}
    assert found == {
        "Style Guide for Code": "This document gives coding conventions.",
        "Introduction": "This document gives coding conventions.",
        "A Foolish Consistency": "One of the key insights is that `code` is read more often than written.",
    }


def test_headings_of_a_novel():
    found = [(heading.name, heading.sentence) for heading in headings(page(NOVEL, "Lawrence.txt"))]
    assert found == [
        ("CHAPTER I", "I stood watching the shadowy fish slide through the gloom of the mill-pond."),
        ("CHAPTER II", "Mr. Smith came late."),
    ]


def test_a_heading_of_several_documents_is_told_apart():
    knowledge = learn([page(NOVEL, "Lawrence.txt"), page(NOVEL, "Copy.txt"), page("# Notes\n\nA line of notes here.", "n.md")], "folder")
    names = {fact.name: fact.module for fact in knowledge.facts}
    assert names["Notes"] == "n"
    assert names["CHAPTER I, Lawrence"] == "" == names["CHAPTER II, Copy"]


def test_the_title_stands_over_the_first_piece_of_a_text_only():
    facts = [{"title": "Peacock", "host": "a/The_Peacock.txt", "extra": json.dumps({"part": part})} for part in (0, 1)]
    found = [headings(Document(NOVEL, "id", "folder", own)) for own in facts]
    assert [heading.name for heading in found[0]] == ["Peacock", "CHAPTER I", "CHAPTER II"]
    assert [heading.name for heading in found[1]] == ["CHAPTER I", "CHAPTER II"]
    assert found[1][0].document == "The Peacock"


def test_a_text_without_headings_gives_fewer_facts_but_words():
    knowledge = learn([page("First Citizen:\nspeak, speak. We speak on.\n", "play.txt")], "folder")
    assert (knowledge.facts, knowledge.unknown_names) == ((), ())
    assert knowledge.words == ("speak",)


def test_knowledge_survives_json():
    knowledge = learn([page(PEP, "a/pep-0008.rst"), page(NOVEL, "b.txt")], "folder")
    assert Knowledge.model_validate_json(knowledge.model_dump_json()) == knowledge
