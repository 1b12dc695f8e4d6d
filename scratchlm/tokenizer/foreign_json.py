"""A ``tokenizer.json`` from elsewhere, looked through before any of it is run: what it is made of, and whether its ids and merges hold.

Its ``model`` knows the pieces; before it a ``normalizer`` rewrites text and a ``pre_tokenizer`` cuts it. Only parts listed here pass.
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign_charsmap, foreign_patterns

Spec = dict[str, Any]
MOST_PIECES = 1 << 21
"""Ids; the largest vocabulary in use has 262,144."""
BLANK = "\u2581"
"""What stands for a blank in pieces of the SentencePiece style."""
NORMALIZERS = (
    "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend", "Precompiled",
    "BertNormalizer",
)  # fmt: skip
CUTTERS = (
    "Sequence", "ByteLevel", "Split", "Metaspace", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "BertPreTokenizer",
)  # fmt: skip
MOST_PARTS = 16
"""Of a normaliser or a cutter; those in use have at most five."""
MOST_IN_FRONT = 8
"""Characters that a normaliser may put before a text; those in use put one."""
MODELS = ("BPE", "Unigram", "WordPiece")
WORDS = ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")
"""Cutters that leave the blanks out."""
_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can carry and UTF-8 cannot."""
INNER = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}


def parsed(text: str, where: str) -> Spec:
    """The object a JSON text holds; UsageError when it is none, or has a number that is not finite."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON that can be read ({' '.join(str(error).split())[:80]}). Fetch the file again.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{where}: it holds no JSON object. Give the file as its makers published it.")
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"it says {name} where a number belongs")


def checked(spec: Spec, where: str) -> Spec:
    """``spec`` with only what decides ids: its parts known, its ids without holes, its merges among its pieces. Else UsageError."""
    model = _object(spec, "model", where)
    kind = model.get("type") or ("WordPiece" if "max_input_chars_per_word" in model else "BPE" if "merges" in model else "Unigram")
    if kind not in MODELS:
        raise UsageError(f"{where}: its model is a '{kind}'; this version reads {', '.join(MODELS)}. Give a model with one of these.")
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(spec, where),
        "normalizer": spec.get("normalizer"),
        "pre_tokenizer": spec.get("pre_tokenizer"),
        "post_processor": None,
        "decoder": None,
        "model": {**model, "type": kind, "dropout": None} if kind == "BPE" else {**model, "type": kind},
    }
    for key, allowed in (("normalizer", NORMALIZERS), ("pre_tokenizer", CUTTERS)):
        found = list(parts(whole, key))
        if len(found) > MOST_PARTS or [part.get("type") for part in found].count("Precompiled") > 1:
            raise UsageError(f"{where}: its {key} has {len(found)} parts; at most {MOST_PARTS}, and one Precompiled, are read.")
        for part in found:
            _known(part, allowed, where)
            _harmless(part, where)
    names(whole, where)
    _CHECKS[kind](whole["model"], where)
    if not _blanks_are_kept(whole):
        raise UsageError(
            f"{where}: nothing in it says how blanks are kept, so text would not come back. Give a model with ByteLevel or Metaspace."
        )
    return whole


def parts(spec: Spec, key: str) -> Iterator[Mapping[str, Any]]:
    """The ``normalizer`` or ``pre_tokenizer`` part by part, sequences within sequences opened."""
    waiting: list[Any] = [spec.get(key)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and part.get("type") == "Sequence" and isinstance(part.get(INNER[key]), list):
            waiting += reversed(part[INNER[key]])
        elif part is not None:
            yield part if isinstance(part, dict) else {"type": f"{type(part).__name__}"}


def names(spec: Spec, where: str) -> list[str]:
    """Every piece by its id, added tokens among them."""
    vocab, model = spec["model"].get("vocab"), spec["model"]
    if model["type"] == "Unigram":
        rows = vocab if isinstance(vocab, list) else []
        pairs = [(row[0] if isinstance(row, list) and row else None, id) for id, row in enumerate(rows)]
    else:
        pairs = list(vocab.items()) if isinstance(vocab, dict) else []
    within = {(name, id) for name, id in pairs if isinstance(name, str) and isinstance(id, int)}
    added = [(token["content"], token["id"]) for token in spec["added_tokens"]]
    return by_id([*pairs, *(pair for pair in added if pair not in within)], where)


def by_id(pairs: Sequence[tuple[Any, Any]], where: str) -> list[str]:
    """Names in the order of their ids, which must be 0, 1, 2 and so on, each for one name."""
    if not pairs:
        raise UsageError(f"{where}: it has no pieces. Fetch the file again.")
    if len(pairs) > MOST_PIECES:
        raise UsageError(f"{where}: it has {len(pairs):,} pieces; at most {MOST_PIECES:,} are read. Give a smaller vocabulary.")
    found: dict[int, str] = {}
    for name, id in pairs:
        if not isinstance(name, str) or type(id) is not int:
            raise UsageError(
                f"{where}: the piece {_short(name)} has the id {_short(id)}, where a text and a number belong. Fetch the file again."
            )
        if id in found:
            raise UsageError(f"{where}: {_short(found[id])} and {_short(name)} have the same id {id}. Fetch the file again.")
        if not 0 <= id < len(pairs):
            raise UsageError(
                f"{where}: {_short(name)} has the id {id}, but there are {len(pairs):,} pieces: ids must leave no hole. Fetch it again."
            )
        found[id] = name
    listed = [found[id] for id in range(len(pairs))]
    if any(not name.isascii() and _HALF.search(name) for name in listed):
        raise UsageError(f"{where}: a piece holds half of a character, which no text does. Fetch the file again.")
    (twice, times), *_ = Counter(listed).most_common(1)
    if times > 1:
        raise UsageError(f"{where}: the piece {_short(twice)} has {times} ids. Fetch the file again.")
    return listed


def merges_of(model: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    """The merges of a BPE, each as its two halves, whichever way they are written."""
    rows = model.get("merges")
    if not isinstance(rows, list):
        raise UsageError(f"{where}: it has no list of merges. Fetch the file again.")
    halves = [tuple(row.split(" ")) if isinstance(row, str) else tuple(row) if isinstance(row, list) else () for row in rows]
    known = model["vocab"]
    for place, pair in enumerate(halves):
        if len(pair) != 2 or not all(isinstance(half, str) and half in known for half in pair) or pair[0] + pair[1] not in known:
            raise UsageError(
                f"{where}: merge {place + 1} is {_short(rows[place])}, which are not pieces of its vocabulary. Fetch the file again."
            )
    return halves  # pyright: ignore[reportReturnType]


def _check_bpe(model: Mapping[str, Any], where: str) -> None:
    merges_of(model, where)
    for option in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise UsageError(f"{where}: it marks words with {option} '{model[option]}', which this version does not read.")


def _check_unigram(model: Mapping[str, Any], where: str) -> None:
    for row in model["vocab"]:
        if len(row) != 2 or isinstance(row[1], bool) or not isinstance(row[1], int | float) or not math.isfinite(row[1]):
            raise UsageError(f"{where}: the piece {_short(row[0])} has no finite score. Fetch the file again.")
    unknown = model.get("unk_id")
    if type(unknown) is not int or not 0 <= unknown < len(model["vocab"]):
        raise UsageError(f"{where}: unk_id is {_short(unknown)}, so a character it never saw would have no id. Fetch the file again.")


def _check_wordpiece(model: Mapping[str, Any], where: str) -> None:
    if not isinstance(model.get("unk_token"), str) or model["unk_token"] not in model["vocab"]:
        raise UsageError(f"{where}: unk_token {_short(model.get('unk_token'))} is none of its pieces. Fetch the file again.")
    if model.get("continuing_subword_prefix", "##") != "##":
        raise UsageError(
            f"{where}: pieces within a word begin with {_short(model['continuing_subword_prefix'])}; this version reads '##' only."
        )
    if type(model.get("max_input_chars_per_word", 100)) is not int or not 0 < model.get("max_input_chars_per_word", 100) <= 1000:
        raise UsageError(f"{where}: max_input_chars_per_word is not a number from 1 to 1000. Fetch the file again.")


_CHECKS = {"BPE": _check_bpe, "Unigram": _check_unigram, "WordPiece": _check_wordpiece}


def _known(part: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    """UsageError for a part that this version would not run, or must not."""
    kind = part.get("type")
    if kind not in allowed:
        raise UsageError(
            f"{where}: no part '{kind}' is known to this version.{nearest(str(kind), allowed)} It reads: {', '.join(allowed)}."
        )


def _harmless(part: Mapping[str, Any], where: str) -> None:
    """UsageError for a part that could hang, or make a text grow without bound."""
    kind = part["type"]
    pattern = part.get("pattern")
    written = next(iter(pattern.values()), "") if isinstance(pattern, dict) else ""
    if kind in ("Split", "Replace") and (not isinstance(written, str) or not written):
        raise UsageError(f"{where}: {kind} has the pattern {_short(pattern)}, which finds nothing. Fetch the file again.")
    if isinstance(pattern, dict) and "String" not in pattern and not foreign_patterns.is_safe(written):
        raise UsageError(f"{where}: it cuts text by a pattern that is not in our table: {_short(written)}. Add it there after trying it.")
    if kind == "Replace" and len(str(part.get("content"))) > (len(written) if "String" in (pattern or {}) else 1):
        raise UsageError(
            f"{where}: Replace writes {_short(part.get('content'))}, which is longer than what it stands for. Fetch the file again."
        )
    if kind == "Prepend" and len(str(part.get("prepend"))) > MOST_IN_FRONT:
        raise UsageError(f"{where}: it puts {len(str(part.get('prepend')))} characters before each text; at most {MOST_IN_FRONT} are read.")
    if kind == "Metaspace" and part.get("replacement") != BLANK:
        raise UsageError(f"{where}: Metaspace writes blanks as {_short(part.get('replacement'))}; this version reads '{BLANK}' only.")
    if kind == "Precompiled":
        try:
            table = base64.b64decode(str(part.get("precompiled_charsmap")), validate=True)
        except binascii.Error:
            raise UsageError(f"{where}: its table of characters is no base64. Fetch the file again.") from None
        foreign_charsmap.check(table, where)


def _added(spec: Spec, where: str) -> list[dict[str, Any]]:
    rows = spec.get("added_tokens") or []
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, dict) or not isinstance(row.get("content"), str) or not row["content"] or type(row.get("id")) is not int:
            raise UsageError(f"{where}: an added token is {_short(row)}, without its text or its id. Fetch the file again.")
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return [{"id": row["id"], "content": row["content"], **{flag: row.get(flag) is True for flag in flags}} for row in rows]


def _blanks_are_kept(spec: Spec) -> bool:
    """Whether the pieces say where blanks were, and no plain blank reaches the model: names that text must not reach have one."""
    cutters = {part["type"] for part in parts(spec, "pre_tokenizer")}
    if spec["model"]["type"] == "WordPiece":
        return bool(cutters & {*WORDS})
    if cutters & {"ByteLevel", "Metaspace"}:
        return True
    rewriters = list(parts(spec, "normalizer"))
    places = [n for n, part in enumerate(rewriters) if part["type"] == "Replace" and part.get("pattern") == {"String": " "}]
    if not places or cutters & {*WORDS}:
        return False
    behind = rewriters[places[-1] :]
    return all(part["type"] in ("Replace", "Prepend") and " " not in str(part.get("content", part.get("prepend"))) for part in behind)


def _object(spec: Spec, key: str, where: str) -> dict[str, Any]:
    found = spec.get(key)
    if not isinstance(found, dict):
        raise UsageError(f"{where}: it has no '{key}', so it is no tokenizer. Give the file as its makers published it.")
    return found


def _short(value: Any) -> str:
    return repr(value)[:40]
