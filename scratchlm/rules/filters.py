"""Is this text worth reading? Every rule measures every document; a profile's limits decide which documents a measure refuses.

Gopher: Rae et al. 2021, arXiv:2112.11446, A1.1. C4: Raffel et al. 2020, arXiv:1910.10683, 2.2. FineWeb: Penedo et al. 2024,
arXiv:2406.17557, 3.3. Codex: Chen et al. 2021, arXiv:2107.03374, 3.1. StarCoder2: Lozhkov et al. 2024, arXiv:2402.19173, 4.1.
Where C4's paper, its code and those who follow them differ, c4_utils.py of TensorFlow Datasets is meant, which made the published data.

A value that cannot be measured (the stop words of a language without a list) is not a number and refuses nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.core.records import Document
from scratchlm.rules import gibberish
from scratchlm.rules.profiles import CHARACTERS, LANGUAGE_FREE, LIMITS, Profile
from scratchlm.rules.words import ALPHANUMERIC, CLOSERS, LETTER, SPACE, Words, data_like, repeats, share
from scratchlm.sources.found import Number

BULLETS = ("•", "-", "*", "‣", "◦")
ELLIPSES = ("...", "…")
ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟", "۔", "։", "።", "၊", "။")
"""Ends of sentences in the scripts of the world, for languages without a row of their own."""
LINE_ENDS = tuple("!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡")
"""FineWeb's: the marks that Unicode calls ends of sentences, but for those of extinct scripts. A quotation mark behind one is none."""
C4_ENDS = (".", "?", "!", '"')
FEWEST_WORDS, LONGEST_WORD = 5, 1000
"""Of a line that C4 keeps."""
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
SHORT_LINE = 30
"""Characters of a line that FineWeb calls short."""


def _repeated_lines(words: Words) -> float:
    return share(repeats([line for line in words.lines if len(line) > SHORT_LINE])[1], len(words.text))


def _line_share(words: Words, is_meant: Callable[[str], bool]) -> float:
    return share(sum(map(is_meant, words.lines)), len(words.lines))


def _ends(words: Words) -> tuple[str, ...]:
    return words.language.ends if words.language else ENDS


def _stop_words(words: Words) -> float:
    return float(len(words.language.stop_words.intersection(words.lower.split()))) if words.language else float("nan")


def _is_open(line: str) -> bool:
    return not line.endswith(C4_ENDS) or line.endswith("...")


def _is_bad(line: str) -> bool:
    parts = line.split()
    return len(parts) < FEWEST_WORDS or (len(line) > LONGEST_WORD and max(map(len, parts)) > LONGEST_WORD)


def _lines_with(words: Words, phrases: tuple[str, ...]) -> float:
    if not any(phrase in words.lower for phrase in phrases):
        return 0.0
    return share(sum(any(phrase in line for phrase in phrases) for line in words.lower.split("\n")), len(words.lines))


def _sentences(words: Words) -> float:
    ends = _ends(words)
    found = sum(word.endswith(ends) or (word[-1] in CLOSERS and word.rstrip(CLOSERS).endswith(ends)) for word in words.all)
    return found * words.scale


def _characters(words: Words) -> int:
    """Of the text that is measured, white space aside."""
    return int((words.kinds & SPACE == 0).sum())


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of ``RULES``: what is measured, and which side of a limit a document must be on."""

    measure: Callable[[Words], Number]
    keeps: Literal["at least", "at most"]
    about: str
    """What a document that it refuses is like, after the paper that has the rule."""
    reason: str
    """The sentence for a refused document, with ``{value}`` and ``{limit}``."""
    judges: Literal["characters", "words", "language"] = "words"
    """What it needs: only characters and lines; spaces between words; or a language that is known."""


AT_LEAST, AT_MOST = "at least", "at most"


def _top(n: int) -> Rule:
    about = f"Gopher: one phrase of {n} words makes up much of the text."
    return Rule(lambda words: share(words.commonest_phrase(n), len(words.text)), AT_MOST, about, f"a phrase of {n} words is {{value:.0%}}")


def _duplicate(n: int) -> Rule:
    about = f"Gopher: the text repeats itself in phrases of {n} words."
    reason = f"{{value:.0%}} of the text repeats phrases of {n} words"
    return Rule(lambda words: share(words.repeated_phrases(n), len(words.text)), AT_MOST, about, reason)


RULES: dict[str, Rule] = {
    "too_few_words": Rule(
        lambda words: words.number, AT_LEAST, "Gopher: too short to say anything; words of code count.",
        "{value:.0f} words, fewer than {limit:g}"),
    "too_many_words": Rule(
        lambda words: words.number, AT_MOST, "Gopher: so long that it is no text but a dump.",
        "{value:.0f} words, more than {limit:g}"),
    "words_too_short": Rule(
        lambda words: share(words.plain.sum(), len(words.plain)), AT_LEAST, "Gopher: single letters and digits, such as a table.",
        "words of {value:.1f} letters on average"),
    "words_too_long": Rule(
        lambda words: share(words.plain.sum(), len(words.plain)), AT_MOST, "Gopher: links, keys, encoded data.",
        "words of {value:.1f} letters on average"),
    "too_many_hashes": Rule(
        lambda words: share(words.text.count("#"), len(words.all)), AT_MOST, "Gopher: a hash mark for every tenth word.",
        "{value:.2f} hash marks per word"),
    "too_many_dots": Rule(
        lambda words: share(words.text.count("...") + words.text.count("…"), len(words.all)), AT_MOST,
        "Gopher: an ellipsis for every tenth word.", "{value:.2f} ellipses per word"),
    "too_many_bullets": Rule(
        lambda words: _line_share(words, lambda line: line.lstrip().startswith(BULLETS)), AT_MOST,
        "Gopher: nearly every line is a list item.", "{value:.0%} of the lines start with a bullet", "characters"),
    "too_many_ellipses": Rule(
        lambda words: _line_share(words, lambda line: line.endswith(ELLIPSES)), AT_MOST,
        "Gopher: lines that were cut off, as in a page of teasers.", "{value:.0%} of the lines end with an ellipsis", "characters"),
    "too_few_letters": Rule(
        lambda words: share(words.hold(LETTER).sum(), len(words.all)), AT_LEAST,
        "Gopher: numbers and symbols rather than words; junk named .txt ends here.", "{value:.0%} of the words hold a letter"),
    "no_stop_words": Rule(
        _stop_words, AT_LEAST, "Gopher: without the small words of its language, a text in no language.",
        "{value:.0f} of the commonest words of its language", "language"),
    "duplicate_lines": Rule(
        lambda words: share(words.repeated_lines[0], len(words.lines)), AT_MOST, "Gopher: lines that stood before.",
        "{value:.0%} of the lines stood before", "characters"),
    "duplicate_paragraphs": Rule(
        lambda words: share(words.repeated_paragraphs[0], len(words.paragraphs)), AT_MOST, "Gopher: paragraphs that stood before.",
        "{value:.0%} of the paragraphs stood before", "characters"),
    "duplicate_line_characters": Rule(
        lambda words: share(words.repeated_lines[1], len(words.text)), AT_MOST, "Gopher: characters in lines that stood before.",
        "{value:.0%} of the text is in lines that stood before", "characters"),
    "duplicate_paragraph_characters": Rule(
        lambda words: share(words.repeated_paragraphs[1], len(words.text)), AT_MOST, "Gopher: characters in repeated paragraphs.",
        "{value:.0%} of the text is in paragraphs that stood before", "characters"),
    "repeated_lines": Rule(
        _repeated_lines, AT_MOST, "Of folders: characters in repeated lines; headings and speakers' names are too short to count.",
        "{value:.0%} of the text is in repeated lines", "characters"),
    **{f"top_{n}_gram": _top(n) for n in (2, 3, 4)},
    **{f"duplicate_{n}_gram": _duplicate(n) for n in range(5, 11)},
    "open_lines": Rule(
        lambda words: _line_share(words, _is_open), AT_MOST, "C4: lines that do not end as a sentence does (FineWeb went without).",
        "{value:.0%} of the lines end with no mark", "language"),
    "bad_lines": Rule(
        lambda words: _line_share(words, _is_bad), AT_MOST,
        f"C4: lines of fewer than {FEWEST_WORDS} words, or with a word of a thousand letters.",
        f"{{value:.0%}} of the lines have fewer than {FEWEST_WORDS} words"),
    "javascript_lines": Rule(
        lambda words: _lines_with(words, ("javascript",)), AT_MOST, "C4: what a page says to a browser without scripts.",
        "{value:.0%} of the lines speak of JavaScript", "characters"),
    "policy_lines": Rule(
        lambda words: _lines_with(words, POLICIES), AT_MOST, "C4: cookies, privacy, terms of use.",
        "{value:.0%} of the lines speak of cookies and terms", "characters"),
    "placeholder_text": Rule(
        lambda words: words.lower.count("lorem ipsum") * words.scale, AT_MOST, "C4: nobody has written this page yet.",
        "it holds 'lorem ipsum'", "characters"),
    "curly_brackets": Rule(
        lambda words: words.text.count("{") * words.scale, AT_MOST, "C4: code where prose was expected.",
        "{value:.0f} curly brackets", "characters"),
    "too_few_sentences": Rule(
        _sentences, AT_LEAST, "C4: too few sentences for a page.", "{value:.0f} sentences, fewer than {limit:g}", "language"),
    "lines_without_end": Rule(
        lambda words: _line_share(words, lambda line: line.endswith(LINE_ENDS)), AT_LEAST,
        "FineWeb: hardly a line ends as a sentence does.", "{value:.0%} of the lines end with a mark", "language"),
    "short_lines": Rule(
        lambda words: _line_share(words, lambda line: len(line) <= SHORT_LINE), AT_MOST, "FineWeb: menus and lists of links.",
        f"{{value:.0%}} of the lines have at most {SHORT_LINE} characters"),
    "echoed_lines": Rule(
        lambda words: share(words.repeated_lines[1], len(words.text) - words.text.count("\n")), AT_MOST,
        "FineWeb: characters in lines that stood before, line breaks aside.", "{value:.0%} of the characters stand in repeated lines",
        "characters"),
    "more_lines_than_text": Rule(
        lambda words: share(words.text.count("\n"), len(words.all)), AT_MOST, "FineWeb: a line break for every third word.",
        "{value:.2f} line breaks per word"),
    "longest_line": Rule(
        lambda words: max(map(len, words.code_lines)), AT_MOST, "Codex: minified or generated code.", "a line of {value:.0f} characters",
        "characters"),
    "long_lines": Rule(
        lambda words: share(len(words.whole) - len(words.code_lines) + 1, len(words.code_lines)), AT_MOST,
        "Codex: code that nobody wrote by hand.", "lines of {value:.0f} characters on average", "characters"),
    "too_many_lines": Rule(
        lambda words: len(words.code_lines) * words.whole_scale, AT_MOST, "StarCoder2: so long that it is data.",
        "{value:.0f} lines, more than {limit:g}", "characters"),
    "too_few_alphanumerics": Rule(
        lambda words: share((words.whole_kinds & ALPHANUMERIC > 0).sum(), len(words.whole)), AT_LEAST, "Codex: drawings and binary data.",
        "{value:.0%} of the characters are letters or digits", "characters"),
    "data_like": Rule(
        data_like, AT_MOST, "StarCoder2: encoded data and tables of numbers.", "{value:.0%} of the text is encoded data or numbers",
        "characters"),
    "too_few_characters": Rule(
        lambda words: _characters(words) * words.scale, AT_LEAST, "In place of words: too short to say anything.",
        "{value:.0f} characters, fewer than {limit:g}", "characters"),
    "too_few_letter_characters": Rule(
        lambda words: share((words.kinds & LETTER > 0).sum(), _characters(words)), AT_LEAST,
        "In place of words: numbers and symbols rather than letters.", "{value:.0%} of the characters are letters", "characters"),
    "unsure_language": Rule(
        lambda words: words.lang_score, AT_LEAST, "FineWeb: in no language, or in several.",
        "the language is {value:.0%} sure", "language"),
    "gibberish": Rule(
        lambda words: gibberish.bits(words.text), AT_MOST, "Letters in an order that no language has: keyboard noise, bad scans, keys.",
        "{value:.1f} bits per character", "characters"),
}  # fmt: skip
"""Every rule by its name, in the order they are asked."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that a document breaks."""

    rule: str
    value: Number
    limit: Number
    reason: str


def values(document: Document, lang: str) -> dict[str, float]:
    """What every rule measures in the document, whatever its profile asks."""
    words = Words.of(document, lang)
    return {name: float(rule.measure(words)) for name, rule in RULES.items()}


def checked(thresholds: Mapping[str, Number]) -> None:
    """UsageError for a key that is neither RULE nor PROFILE.RULE, or names a rule that the profile has no means to judge."""
    names = [name for kind in LIMITS for name in ((kind,) if kind in LANGUAGE_FREE else (kind, f"{kind}{CHARACTERS}"))]
    for key in thresholds:
        profile, _, rule = key.rpartition(".")
        if rule not in RULES:
            raise UsageError(f"corpus.thresholds: no rule '{rule}'.{nearest(rule, RULES)}")
        if profile and profile not in names:
            raise UsageError(f"corpus.thresholds: no profile '{profile}'.{nearest(profile, names)}")
        if profile and not _can_ask(profile, rule):
            raise UsageError(
                f"corpus.thresholds: {key}: the profile '{profile}' does not know the {RULES[rule].judges}"
                f"{'' if RULES[rule].judges == 'language' else ' of its texts'}, which this rule judges. Name another rule or profile."
            )


def _can_ask(profile: str, rule: str) -> bool:
    """Whether what a rule needs is known of documents of a profile."""
    if profile.endswith(CHARACTERS):
        return RULES[rule].judges == "characters"
    return profile not in LANGUAGE_FREE or RULES[rule].judges != "language"


def limits(profile: Profile, overrides: Mapping[str, Number]) -> dict[str, Number]:
    """The limit of each rule that a profile asks, in the order of ``RULES``.

    An override replaces the limit of a rule or adds the rule: RULE in every profile that can ask it, PROFILE.RULE in that one.
    """
    own = dict(profile.limits)
    for name in RULES:
        for key in (name, f"{profile.name}.{name}"):
            if key in overrides and _can_ask(profile.name, name):
                own[name] = overrides[key]
    return {name: own[name] for name in RULES if name in own}


def failing(values: Mapping[str, float], profile: Profile, overrides: Mapping[str, Number]) -> list[Refusal]:
    """The rules of a profile that refuse these values, in the order of ``RULES``: the first is the cause that is booked.

    ``overrides`` are those of `limits`.
    """
    refused = []
    for name, limit in limits(profile, overrides).items():
        rule, value = RULES[name], values[name]
        if value < limit if rule.keeps == AT_LEAST else value > limit:
            refused.append(Refusal(name, value, limit, rule.reason.format(value=value, limit=limit)))
    return refused
