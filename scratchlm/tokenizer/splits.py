"""Where may a word end? The patterns that cut text before pieces are formed, so that no piece reaches over a border of words.

They are regular expressions as `tokenizers` reads them (`\\p{L}` any letter, `\\p{N}` any digit). Each covers every character of a text, so
that its words, one after another, are the text. Named after the models that made them known.
"""

import re
from collections.abc import Iterable, Iterator

from tokenizers import Regex, pre_tokenizers

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.tokenizer.interface import well_formed

ENGLISH = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_THREE_DIGITS = rf"{ENGLISH}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"

SPLITS = {
    # Radford et al. 2019. A number of any length is one word; a contraction is found in small letters only.
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # cl100k, the pattern of GPT-4, as its authors first wrote it. Their later spelling (`++`, `\s++$`) cuts alike where it is run as they
    # run it, but `{1,3}+` and `$` mean something else to Onig, the engine inside `tokenizers`.
    "gpt4": _THREE_DIGITS,
    # One digit per word, which helps arithmetic. llama.cpp knows it by name, so exports need no new code there.
    "qwen2": rf"{ENGLISH}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}",
    # Llama 3 took the pattern of GPT-4 as it was.
    "llama3": _THREE_DIGITS,
}
DEFAULT = "qwen2"
LONGEST_RUN = 4096
"""Characters without a blank, or blanks alone, that are learned from at once. Each merge inside a word moves up all that follows it, so one
word of a million letters, such as a picture written in base64, would keep `tokenizers` busy for minutes."""
# Looked for only where a run begins: tried at each of its places, a run that is almost too long would cost the square of its length.
_RUN = re.compile(rf"(?<!\S)\S{{{LONGEST_RUN + 1},}}|(?<!\s)\s{{{LONGEST_RUN + 1},}}")


def named(name: str) -> str:
    """The pattern called ``name``; UsageError names the nearest."""
    if name not in SPLITS:
        raise UsageError(f"vocab: no split '{name}'.{nearest(name, SPLITS)}")
    return SPLITS[name]


def cutter(name: str) -> pre_tokenizers.Split:
    """What cuts a text into words."""
    return pre_tokenizers.Split(Regex(named(name)), "isolated")


def words(text: str, name: str) -> list[str]:
    """The words of ``text`` in order; together they are the text."""
    return [word for word, _ in cutter(name).pre_tokenize_str(text)]


def to_learn_from(texts: Iterable[str]) -> Iterator[str]:
    """``texts``, well formed, those with a run that is too long in several parts."""
    for text in map(well_formed, texts):
        done = 0
        for run in _RUN.finditer(text):
            for place in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
                yield text[done:place]
                done = place
        yield text[done:]
