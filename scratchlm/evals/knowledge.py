"""What the assistant is taught: the most used names of Python's library, or the headings of the texts in a folder.

A body of facts small enough to be learned by heart in a minute; names it is to say it was not taught; words to practise letters on.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from scratchlm.core import seeds
from scratchlm.core.config import Settings
from scratchlm.core.records import Document
from scratchlm.evals.headings import Heading, headings
from scratchlm.evals.sentences import after_signature, first_sentence

Kind = Literal["python", "folder"]
KNOWLEDGE = "knowledge.json"
"""Where a fine-tuned model keeps what it was taught."""
FACTS, UNKNOWN, MADE_UP, WORDS = 600, 3000, 1000, 8000
TAUGHT_KINDS = {"function", "class"}
EVERYDAY = {
    "bisect", "builtins", "collections", "contextlib", "copy", "csv", "datetime", "functools", "glob", "heapq", "itertools", "json",
    "logging", "math", "os.path", "pathlib", "pprint", "random", "re", "shutil", "statistics", "string", "subprocess", "tempfile",
    "textwrap", "time", "urllib.parse", "uuid",
}  # fmt: skip
"""Modules that programs use more than the standard library's own source does."""
EVERYDAY_USES = 5.0
"""What a name in one of them gains on the score of others: about the score of the 400th name."""
RETIRED = ("distutils", "lib2to3", "audioop", "imp", "cgi", "xdrlib", "asyncore", "asynchat", "smtpd")
"""Modules that newer Pythons no longer have, though their names were used much."""
WORD = re.compile(r"\b[a-z]{3,7}\b")


class Fact(Settings):
    """One thing to know by heart."""

    name: str
    module: str
    """Module of a Python name, document of a heading; empty where the name itself tells."""
    sentence: str
    aliases: tuple[str, ...] = ()
    """Other names for it; the first is the name without its module."""

    @property
    def bare(self) -> str:
        """The name without its module."""
        return self.aliases[0] if self.aliases else self.name


class Knowledge(Settings):
    """All that tasks draw from."""

    kind: Kind
    facts: tuple[Fact, ...] = ()
    """The most used first."""
    unknown_names: tuple[str, ...] = ()
    """Names that are not taught, real and made up."""
    words: tuple[str, ...] = ()
    """Lower-case words of 3 to 7 letters of the training text, the most common first."""

    def unknown(self, split: Literal["train", "test"]) -> tuple[str, ...]:
        """The half of the unknown names that belongs to the split, the same for every seed."""
        return tuple(name for name in self.unknown_names if seeds.derive(0, "unknown", name=name) % 2 == (split == "test"))


def read_knowledge(model: Path) -> Knowledge:
    """What the model in that directory was taught."""
    return Knowledge.model_validate_json((model / KNOWLEDGE).read_bytes())


def learn(documents: Iterable[Document], kind: Kind, *, facts: int = FACTS, words: int = WORDS) -> Knowledge:
    """What is to be taught from the documents of the training split: at most ``facts`` facts and ``words`` words."""
    documents = list(documents)
    vocabulary = common_words(documents, words)
    if kind == "python":
        chosen, others, everything = _python(documents, facts)
        invented = _made_up([fact.name for fact in chosen], everything, MADE_UP)
    else:
        chosen, others = _folder(documents, facts)
        taught = {fact.name for fact in chosen}
        invented = _made_up_headings(chosen, taught | set(others), min(MADE_UP, 2 * len(chosen)))
    unknown = tuple(dict.fromkeys([*sorted(others, key=_shuffling)[:UNKNOWN], *invented]))
    return Knowledge(kind=kind, facts=tuple(chosen), unknown_names=unknown if chosen else (), words=vocabulary)


def common_words(documents: Iterable[Document], most: int) -> tuple[str, ...]:
    """The words that occur at least twice, the most common first."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(WORD.findall(document.text))
    return tuple(word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count > 1)[:most]


def _python(documents: Iterable[Document], most: int) -> tuple[list[Fact], list[str], set[str]]:
    """(facts, public names that are not taught, all names)."""
    ranked = sorted(documents, key=_rank)
    names = {_name(document) for document in ranked}
    chosen: dict[str, Fact] = {}
    others = []
    for document in ranked:
        name = _name(document)
        if _extra(document).get("kind") not in TAUGHT_KINDS or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", name):
            continue
        sentence = first_sentence(after_signature(document.text))
        is_current = name.partition(".")[0] not in RETIRED
        if len(chosen) < most and is_current and sentence and sentence.rstrip(".") not in names and name not in chosen:
            chosen[name] = _fact(name, str(document.facts.get("host") or ""), sentence)
        else:
            others.append(name)
    taught = {fact.bare for fact in chosen.values()}
    return list(chosen.values()), [name for name in others if name.rpartition(".")[2] not in taught], names


def _fact(name: str, host: str, sentence: str) -> Fact:
    prefix = host if name.startswith(f"{host}.") else name.rpartition(".")[0]
    bare = name.removeprefix(f"{prefix}.")
    return Fact(name=name, module=prefix or "builtins", sentence=sentence, aliases=(bare,) if bare != name else ())


def _name(document: Document) -> str:
    return str(document.facts.get("title") or "").removeprefix("builtins.")


def _rank(document: Document) -> tuple[float, int, str]:
    """The most used first; among equals the shortest name, which is the better known more often than not."""
    score = float(document.facts.get("score") or 0) + EVERYDAY_USES * (document.facts.get("host") in EVERYDAY)
    return -score, len(_name(document)), _name(document)


def _extra(document: Document) -> Mapping[str, object]:
    return json.loads(str(document.facts.get("extra") or "{}"))


def _made_up(taught: list[str], taken: set[str], most: int) -> list[str]:
    """Plausible names that do not exist: parts of two taught names joined, in a module of a third."""
    chance = random.Random(seeds.derive(0, "made-up names"))
    parts = sorted({part for name in taught for part in name.rpartition(".")[2].split("_") if part})
    prefixes = [name.rpartition(".")[0] for name in taught]
    known = taken | {name.rpartition(".")[2] for name in taken}
    found: dict[str, None] = {}
    for _ in range(4 * most if parts else 0):
        bare = "_".join(chance.sample(parts, min(2, len(parts))))
        prefix = chance.choice(prefixes)
        name = f"{prefix}.{bare}" if prefix and chance.random() < 0.7 else bare
        if len(found) < most and bare not in known and name not in known:
            found[name] = None
    return list(found)


def _folder(documents: Iterable[Document], most: int) -> tuple[list[Fact], list[str]]:
    """(facts, headings that are not taught). Every document gives its first heading before any gives its second.

    A heading found more than once is told apart by its document's name; where even that is not enough it is left out.
    """
    by_document = [headings(document) for document in documents]
    counts = Counter(heading.name.casefold() for found in by_document for heading in found)
    in_document = Counter((heading.name.casefold(), heading.document) for found in by_document for heading in found)
    turns = [heading for turn in zip_longest(*by_document) for heading in turn if heading]
    single = [heading for heading in turns if counts[heading.name.casefold()] == 1]
    shared = [heading for heading in turns if counts[heading.name.casefold()] > 1 == in_document[heading.name.casefold(), heading.document]]
    facts = [Fact(name=h.name, module=h.document, sentence=h.sentence) for h in single]
    facts += [Fact(name=_told_apart(h), module="", sentence=h.sentence) for h in shared]
    return facts[:most], [fact.name for fact in facts[most:]]


def _told_apart(heading: Heading) -> str:
    return f"{heading.name}, {heading.document}"


def _made_up_headings(facts: list[Fact], taken: set[str], most: int) -> list[str]:
    """Headings that stand nowhere: the first half of one and the second half of another."""
    chance = random.Random(seeds.derive(0, "made-up headings"))
    halves = [fact.name.split() for fact in facts if len(fact.name.split()) > 1]
    found: dict[str, None] = {}
    for _ in range(4 * most if len(halves) > 1 else 0):
        first, second = chance.sample(halves, 2)
        name = " ".join([*first[: (len(first) + 1) // 2], *second[(len(second) + 1) // 2 :]])
        if len(found) < most and name not in taken:
            found[name] = None
    return list(found)


def _shuffling(name: str) -> int:
    return seeds.derive(0, "unknown order", name=name)
