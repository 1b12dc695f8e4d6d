"""Ask datatrove what it measures in the texts of ``tests/golden_rules.json`` and write its answers there, for the rules we share with it.

Run in an environment of its own: ``pip install datatrove==0.10.1 spacy nltk regex tldextract``, then ``python scripts/golden_rules.py
[FOLDER OF NOVELS]``. Its filters say only whether a text passes, so each number is found by halving the interval of the threshold.
Where we differ on purpose:

* words stand between white space with us, and are cut by a tokenizer there: it is given ours here, so that the formulas are compared;
* empty lines are no lines with us: texts that hold some are not compared in the share of bulleted, cut off and open lines;
* a phrase that stands once is no repetition with us, and the commonest phrase there: such texts are not compared in it;
* stop words are counted in lower case with us: compared in lower-case texts only;
* with us ``*`` is a bullet and ``•`` alone is no word: the texts hold none of these;
* of C4 the version of TensorFlow Datasets is meant: five words of a line at least, and no line ends with an apostrophe; the texts hold no
  such end.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import c4_filters, fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter

FILE = Path(__file__).parent.parent / "tests" / "golden_rules.json"
OFF = {
    gopher_quality_filter.GopherQualityFilter: (
        "min_doc_words max_doc_words min_avg_word_length max_avg_word_length max_symbol_word_ratio max_bullet_lines_ratio "
        "max_ellipsis_lines_ratio max_non_alpha_words_ratio min_stop_words"
    ),
    gopher_repetition_filter.GopherRepetitionFilter: "dup_line_frac dup_para_frac dup_line_char_frac dup_para_char_frac",
}
GOPHER, REPETITION = OFF
FINEWEB = fineweb_quality_filter.FineWebQualityFilter
NEVER = {"line_punct_thr": -1.0, "short_line_thr": 9.0, "char_duplicates_ratio": 9.0, "new_line_ratio": 1e9}
C4_OFF = {
    "remove_citations": False, "filter_no_terminal_punct": False, "min_num_sentences": -1, "min_words_per_line": -1, "max_word_length": -1,
    "filter_lorem_ipsum": False, "filter_javascript": False, "filter_curly_bracket": False, "filter_policy": False,
}  # fmt: skip
FLOORS = {
    "too_few_words": (GOPHER, "min_doc_words"), "words_too_short": (GOPHER, "min_avg_word_length"),
    "too_few_letters": (GOPHER, "max_non_alpha_words_ratio"), "no_stop_words": (GOPHER, "min_stop_words"),
    "lines_without_end": (FINEWEB, "line_punct_thr"),
}  # fmt: skip
CEILINGS = {
    "too_many_bullets": (GOPHER, "max_bullet_lines_ratio"), "too_many_ellipses": (GOPHER, "max_ellipsis_lines_ratio"),
    "duplicate_lines": (REPETITION, "dup_line_frac"), "duplicate_paragraphs": (REPETITION, "dup_para_frac"),
    "duplicate_line_characters": (REPETITION, "dup_line_char_frac"),
    "duplicate_paragraph_characters": (REPETITION, "dup_para_char_frac"), "short_lines": (FINEWEB, "short_line_thr"),
    "echoed_lines": (FINEWEB, "char_duplicates_ratio"), "more_lines_than_text": (FINEWEB, "new_line_ratio"),
}  # fmt: skip
LINES = {
    "open_lines": ({"filter_no_terminal_punct": True}, ("no_terminal_punc",)),
    "javascript_lines": ({"filter_javascript": True}, ("javascript",)),
    "policy_lines": ({"filter_policy": True}, ("policy",)),
    "bad_lines": ({"min_words_per_line": 5, "max_word_length": 1000}, ("too_few_words", "too_long_word")),
}  # fmt: skip


def passes(kind: type, options: dict, text: str) -> bool:
    off = dict.fromkeys(OFF[kind].split()) if kind in OFF else dict(NEVER)
    if kind is REPETITION:
        off |= {"top_n_grams": (), "dup_n_grams": ()}
    return kind(**(off | options)).filter(Document(text=text, id="0")) is True


def value(kind: type, option: str, text: str, *, floor: bool, wrap=lambda limit: limit) -> float:
    """The threshold at which the verdict turns."""
    low, high = 1e-9, 100_000.0 if option in ("min_doc_words", "min_stop_words", "new_line_ratio") else 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(kind, {option: wrap(middle)}, text) == floor else (low, middle)
    return 0.0 if high < 2e-9 else high


def measured(text: str) -> dict[str, float]:
    found, words = {}, text.split()
    for rules, floor in ((FLOORS, True), (CEILINGS, False)):
        found |= {rule: value(kind, option, text, floor=floor) for rule, (kind, option) in rules.items()}
    for n in range(2, 5):
        if max(Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1)).values()) > 1:
            found[f"top_{n}_gram"] = value(REPETITION, "top_n_grams", text, floor=False, wrap=lambda limit, n=n: ((n, limit),))
    for n in range(5, 11):
        found[f"duplicate_{n}_gram"] = value(REPETITION, "dup_n_grams", text, floor=False, wrap=lambda limit, n=n: ((n, limit),))
    for rule, (options, reasons) in LINES.items():
        block = c4_filters.C4QualityFilter(**(C4_OFF | options))
        block.filter(Document(text=text, id="0"))
        count = {name: stat.total for name, stat in block.stats.stats.items()}
        found[rule] = sum(count.get(f"line-filter-{reason}", 0) for reason in reasons) / count["line-total"]
    incomparable = {"too_many_bullets", "too_many_ellipses", *LINES} if "\n\n" in text else set()
    incomparable |= set() if text == text.lower() else {"no_stop_words"}
    return {rule: round(number, 6) for rule, number in sorted(found.items()) if rule not in incomparable}


if __name__ == "__main__":
    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = lambda text, language: text.split()
    golden = json.loads(FILE.read_text(encoding="utf-8"))
    novels = Path(sys.argv[1] if len(sys.argv) > 1 else FILE.parent.parent.parent / "shared" / "data" / "novels")
    for text in golden["texts"]:
        text["values"] = measured(text["text"])
    for passage in golden["passages"]:
        words = (novels / passage["file"]).read_text(encoding="utf-8")[passage["start"] : passage["end"]]
        passage["values"] = measured("\n".join(line.strip() for line in words.split("\n")).strip())
    FILE.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
