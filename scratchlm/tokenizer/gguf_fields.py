"""A tokenizer as a GGUF file says it: llama.cpp knows two families of byte pairs, and cuts text only in ways that it has a name for.

``gpt2``: letters that stand for bytes, merges in their order, and ``pre``, the name of the split pattern.
``llama``: SentencePiece's byte pairs, where the neighbours that make the piece of the highest score are joined first.

It looks at names only, whatever the type of a piece: in ``llama`` any two neighbours that spell one are joined, and where ``gpt2`` takes a
word that is a piece as it is, that piece may be a control token. A tokenizer whose text would say more there than here is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, pre_tokenizers

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign, foreign_json, foreign_patterns
from scratchlm.tokenizer.bytelevel import ALPHABET, read_back, spelled
from scratchlm.tokenizer.foreign_json import BLANK, Spec
from scratchlm.tokenizer.foreign_reader import BYTE_PIECE, own_pieces
from scratchlm.tokenizer.interface import FILE
from scratchlm.tokenizer.store import facts_of

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""``tokenizer.ggml.token_type``."""
# In llama.cpp "llama-bpe" takes a word that is a piece as it is, as `ignore_merges` says; "dbrx" cuts alike and always merges.
PRE = {"gpt2": "gpt-2", "gpt4": "dbrx", "qwen2": "qwen2", "gpt4o": "gpt-4o", "tekken": "tekken"}
PRE_WHOLE_WORDS = PRE | {"gpt4": "llama-bpe"}
WHOLE_WORDS = {"llama-bpe": "gpt4", "tekken": "tekken"}
"""Where llama.cpp takes them so, and the pattern that cuts them."""
WAY_OUT = "Export to Hugging Face with `--format hf`, or train one that has: --set vocab.kind=bpe --set vocab.split=qwen2."


@dataclass(frozen=True)
class Fields:
    """What ``tokenizer.ggml.*`` says."""

    model: str
    """``gpt2`` or ``llama``."""
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None
    """Of each token, for ``llama``."""
    merges: list[str] | None
    """Two pieces with a blank between them, for ``gpt2``."""
    control: Mapping[str, int]
    end_of_text: int
    begin: int | None
    """What stands before all that the model reads."""
    ends: tuple[int, ...]
    unknown: int | None
    space_prefix: bool
    """A blank goes before every text."""


def fields(path: Path) -> Fields:
    """The fields of the tokenizer in the directory ``path``; UsageError for one that llama.cpp would not run as we do."""
    facts, file = facts_of(path), str(path / FILE)
    spec = foreign_json.parsed((path / FILE).read_text(encoding="utf-8"), file)
    model = spec.get("model", {}).get("type")
    if model != "BPE":
        raise UsageError(
            f"{file}: only byte pairs are written for llama.cpp, and this is a tokenizer of kind '{facts.kind}' ({model}). {WAY_OUT}"
        )
    spec = foreign_json.checked(spec, file)
    names = foreign_json.names(spec, file)
    merges = foreign_json.merges_of(spec["model"], file)
    if not merges:
        raise UsageError(f"{file}: llama.cpp needs merges, and this tokenizer has none. {WAY_OUT}")
    letters = foreign.style(spec) == "letters"
    pre = _pre(spec, file) if letters else _plain(spec, file)
    types = _types(spec, names, facts.control, unknown=spec["model"].get("unk_token"), bytes_alone=not letters)
    if reached := _whole_word(spec, names, types, pre) if letters else _joined(names, types, merges):
        raise UsageError(f"{file}: llama.cpp would find {reached!r} in a text where it is not here. {WAY_OUT}")
    return Fields(
        model="gpt2" if letters else "llama",
        pre=pre,
        tokens=names,
        types=types,
        scores=None if letters else _scores(names, merges),
        merges=[" ".join(pair) for pair in merges] if letters else None,
        control=dict(facts.control),
        end_of_text=facts.end_of_text,
        begin=facts.begin,
        ends=facts.ends,
        unknown=facts.unknown,
        space_prefix=foreign.begins_with_blank(spec),
    )


def _pre(spec: Spec, file: str) -> str:
    """The name that llama.cpp has for the way text is cut. NFC before it is left to the caller of llama.cpp, as its own converter does."""
    if others := [part["type"] for part in foreign_json.parts(spec, "normalizer") if part["type"] != "NFC"]:
        raise UsageError(f"{file}: it rewrites text before cutting it ({others[0]}), which llama.cpp does not. {WAY_OUT}")
    cutters = list(foreign_json.parts(spec, "pre_tokenizer"))
    if any(part["type"] == "ByteLevel" and part.get("add_prefix_space", True) for part in cutters):
        raise UsageError(f"{file}: it puts a blank before every text, which llama.cpp does not do for this family. {WAY_OUT}")
    pattern = _pattern(cutters)
    table = PRE_WHOLE_WORDS if spec["model"].get("ignore_merges") is True else PRE
    if pattern == "digits, gpt2":
        return "smollm"
    if pattern not in table:
        raise UsageError(f"{file}: llama.cpp has no name for the way it cuts text. {WAY_OUT}")
    return table[pattern]


def _pattern(cutters: Sequence[Mapping[str, Any]]) -> str | None:
    """The split pattern by its name in our table, also where it is ``ByteLevel``'s own; None for any other way to cut."""
    *before, last = cutters
    own = last["type"] == "ByteLevel" and last.get("use_regex", True)
    if own and len(before) == 1 and before[0]["type"] == "Digits" and before[0].get("individual_digits") is True:
        return "digits, gpt2"
    if own and not before:
        return "gpt2"
    if len(before) == 1 and before[0]["type"] == "Split" and str(before[0].get("behavior")) == "Isolated" and not before[0].get("invert"):
        return foreign_patterns.name_of(str(before[0]["pattern"].get("Regex"))) if last["type"] == "ByteLevel" and not own else None
    return None


def _plain(spec: Spec, file: str) -> str:
    """``default``, where text comes to the pieces as it is: blanks written ``▁`` and perhaps one put in front.

    A text that begins with a blank gets none from Metaspace and one from llama.cpp, as from SentencePiece.
    """
    for part in foreign_json.parts(spec, "normalizer"):
        if part["type"] != "Prepend" and (part["type"], part.get("pattern")) != ("Replace", {"String": " "}):
            raise UsageError(f"{file}: it rewrites text before cutting it ({part['type']}), which llama.cpp does not. {WAY_OUT}")
    for part in foreign_json.parts(spec, "pre_tokenizer"):
        blanks_gone = part["type"] == "Split" and part.get("pattern") == {"String": " "}  # none is left when it comes to it
        if part["type"] != "Metaspace" and not blanks_gone and not own_pieces(spec):
            raise UsageError(f"{file}: it cuts text ({part['type']}) before merging, which llama.cpp does not for this family. {WAY_OUT}")
    # llama.cpp looks for these before it writes blanks as ▁, and puts a blank behind each, where SentencePiece puts one before the text.
    if (own := own_pieces(spec)) and (foreign.begins_with_blank(spec) or BLANK in "".join(own)):
        raise UsageError(f"{file}: its user's own pieces, such as {own[0]!r}, would be cut out otherwise by llama.cpp. {WAY_OUT}")
    return "default"


def _types(spec: Spec, names: Sequence[str], control: Mapping[str, int], *, unknown: str | None, bytes_alone: bool) -> list[int]:
    plain = {token["content"] for token in spec["added_tokens"] if not token["special"]} | set(own_pieces(spec))
    found = []
    for name in names:
        if name == unknown:
            found.append(UNKNOWN)
        elif name in control:
            found.append(CONTROL)
        elif name in plain:
            found.append(USER_DEFINED)
        else:
            found.append(BYTE if bytes_alone and BYTE_PIECE.fullmatch(name) else NORMAL)
    return found


def _joined(names: Sequence[str], types: Sequence[int], merges: Sequence[tuple[str, str]]) -> str | None:
    """The first piece that llama.cpp joins from two neighbours which no merge of ours joins.

    Neighbours are single characters at first, then pieces that were joined themselves; a user's own pieces were cut out before.
    """
    known, formed, longest = set(merges), set(), 1
    order = sorted((name for name, kind in zip(names, types, strict=True) if kind != USER_DEFINED and len(name) > 1), key=len)
    for name in order:
        for place in range(max(1, len(name) - longest), min(longest, len(name) - 1) + 1):
            left, right = name[:place], name[place:]
            if all(len(half) == 1 or half in formed for half in (left, right)):
                if (left, right) not in known:
                    return name
                formed.add(name)
                longest = max(longest, len(name))
    return None


def _whole_word(spec: Spec, names: Sequence[str], types: Sequence[int], pre: str) -> str | None:
    """The first control token, or what stands for the unknown, whose name in letters spells one word, where words are taken whole."""
    if pre not in WHOLE_WORDS:
        return None
    cut = pre_tokenizers.Split(Regex(foreign_patterns.named(WHOLE_WORDS[pre])), "isolated")
    for name, kind in zip(names, types, strict=True):
        if kind in (CONTROL, UNKNOWN) and set(name) <= set(ALPHABET):
            word = read_back(name).decode("utf-8", "ignore")
            if spelled(word.encode()) == name and len(cut.pre_tokenize_str(word)) == 1:
                return name
    return None


def _scores(names: Sequence[str], merges: Sequence[tuple[str, str]]) -> list[float]:
    """The earlier a piece is merged, the higher; those that no merge makes stand below all, where their scores are never asked for."""
    first: dict[str, int] = {}
    for place, (left, right) in enumerate(merges):
        first.setdefault(left + right, place)
    return [-float(first.get(name, len(merges))) for name in names]
