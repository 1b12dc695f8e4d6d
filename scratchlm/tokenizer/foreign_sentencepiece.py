"""A SentencePiece ``.model`` as a ``tokenizer.json``: byte pairs or Unigram over text whose blanks are written ``▁``.

Kudo & Richardson 2018, arXiv:1808.06226; Unigram: Kudo 2018, arXiv:1804.10959. The file is a message in Protocol Buffers
(sentencepiece_model.proto); the few fields that decide ids are read by the small reader below, which believes no length.
"""

import base64
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tokenizers.normalizers import Precompiled

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign_charsmap, foreign_patterns
from scratchlm.tokenizer.foreign_json import BLANK, MOST_PIECES, Spec

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE = 1, 2
LONGEST = 256
"""Letters of a piece; SentencePiece makes at most 16 unless told otherwise."""
Value = int | memoryview


@dataclass(frozen=True)
class Piece:
    """One row of the vocabulary."""

    text: str
    score: float
    type: int


@dataclass
class Model:
    """What a file says; defaults are those of the format."""

    pieces: list[Piece] = field(default_factory=list)
    kind: int = UNIGRAM
    suffix: bool = False
    byte_fallback: bool = False
    begin: int = 1
    end: int = 2
    table: bytes = b""
    """Of characters to rewrite."""
    dummy_prefix: bool = True
    trims: bool = True
    """Blanks at both ends are left out, and all but one in a row."""
    escapes: bool = True
    rewrites_back: bool = False


def spec_of(data: bytes, where: str) -> tuple[Spec, str | None, str | None]:
    """An unchecked ``tokenizer.json``, and the names of the tokens that begin and end a text; UsageError for what it could not say."""
    try:
        model = read(memoryview(data))
    except (ValueError, struct.error) as error:
        raise UsageError(f"{where}: no SentencePiece model, or a damaged one ({error}). Fetch the file again.") from None
    if model.table:
        foreign_charsmap.check(model.table, where)
    _readable(model, where)
    name_of = {id: piece.text for id, piece in enumerate(model.pieces) if piece.type == CONTROL}
    added = [
        {"id": id, "content": piece.text, "normalized": False, "special": True}
        for id, piece in enumerate(model.pieces)
        if piece.type in (UNKNOWN, CONTROL)
    ]
    spec = {
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model)},
        "pre_tokenizer": _cutter(model),
        "model": _bpe(model) if model.kind == BPE else _unigram(model),
    }
    return spec, name_of.get(model.begin), name_of.get(model.end)


def _readable(model: Model, where: str) -> None:
    if model.kind not in (UNIGRAM, BPE):
        raise UsageError(f"{where}: a SentencePiece model of type {model.kind}; this version reads Unigram (1) and BPE (2).")
    if not all(math.isfinite(piece.score) for piece in model.pieces):
        raise UsageError(f"{where}: one of its scores is no finite number. Fetch the file again.")
    if len({piece.text for piece in model.pieces}) < len(model.pieces):
        raise UsageError(f"{where}: a piece stands in it twice. Fetch the file again.")
    if [piece.type for piece in model.pieces].count(UNKNOWN) != 1:
        raise UsageError(f"{where}: not exactly one piece stands for what is unknown. Fetch the file again.")
    unread = {
        "blanks at the end of words": model.suffix,
        "blanks as they are": not model.escapes,
        "a table for the way back": model.rewrites_back,
        "unused pieces": any(piece.type == UNUSED for piece in model.pieces),
    }
    own = [piece.text for piece in model.pieces if piece.type == USER_DEFINED]
    if rewritten := [text for text in own if _rewrites(model, text)]:
        unread[f"a piece of its user, {rewritten[0][:20]!r}, that its own table rewrites"] = True
    if found := [said for said, there in unread.items() if there]:
        raise UsageError(
            f"{where}: it has {found[0]}, which this version does not read. Convert it with transformers and give its tokenizer.json."
        )


def _normalizers(model: Model) -> list[dict[str, Any]]:
    """Rewriting, trimming and the blank before a text, in the order of SentencePiece."""
    found: list[dict[str, Any]] = []
    if model.table:
        found.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.table).decode()})
    if model.trims:
        wanted = ((foreign_patterns.FIRST, ""), (foreign_patterns.RUNS, " "), (foreign_patterns.LAST, ""))
        found += [{"type": "Replace", "pattern": {"Regex": pattern}, "content": content} for pattern, content in wanted]
    if model.dummy_prefix:
        found.append({"type": "Prepend", "prepend": BLANK})
    return [*found, {"type": "Replace", "pattern": {"String": " "}, "content": BLANK}]


def _rewrites(model: Model, text: str) -> bool:
    """Whether what comes before the pieces changes ``text``: SentencePiece spares it there, other engines do not."""
    if model.trims and (text.strip(f" {BLANK}") != text or "  " in text or BLANK * 2 in text):
        return True
    return bool(model.table) and Precompiled(model.table).normalize_str(text) != text


def _cutter(model: Model) -> dict[str, Any] | None:
    """Pieces a user asked for are cut out before anything is merged, the longest first; Unigram's scores see to it themselves."""
    own = [piece.text for piece in model.pieces if piece.type == USER_DEFINED]
    if model.kind == UNIGRAM or not own:
        return None
    return {"type": "Split", "pattern": {"Regex": foreign_patterns.any_of(own)}, "behavior": "Isolated", "invert": False}


def _bpe(model: Model) -> dict[str, Any]:
    """Merges are not in the file: SentencePiece joins whichever neighbours make the piece of the highest score."""
    ids = {piece.text: id for id, piece in enumerate(model.pieces)}
    normal = {piece.text for piece in model.pieces if piece.type == NORMAL}
    merges = []
    for text in normal:
        for place in range(1, len(text)):
            left, right = text[:place], text[place:]
            if left in normal and right in normal:
                merges.append((-model.pieces[ids[text]].score, ids[text], ids[left], ids[right], [left, right]))
    merges.sort(key=lambda merge: merge[:4])
    unknown = next(piece.text for piece in model.pieces if piece.type == UNKNOWN)
    return {
        "type": "BPE",
        "unk_token": unknown,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": any(piece.type == USER_DEFINED for piece in model.pieces),
        "vocab": ids,
        "merges": [merge[4] for merge in merges],
    }


def _unigram(model: Model) -> dict[str, Any]:
    """Where two ways to cut a text cost the same, which the library takes may differ: it adds scores in double precision."""
    unknown = next(id for id, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    rows = [[piece.text, _score(piece)] for piece in model.pieces]
    return {"type": "Unigram", "unk_id": unknown, "vocab": rows, "byte_fallback": model.byte_fallback}


def _score(piece: Piece) -> float:
    """A user's own piece is rewarded by its bytes, as in SentencePiece 0.2.3, so that nothing beats it; other kinds are never in text."""
    if piece.type == USER_DEFINED:
        return 0.1 * (len(piece.text.encode()) - 1)
    return piece.score if piece.type == NORMAL else 0.0


def read(data: memoryview) -> Model:
    """The message ``ModelProto``; ValueError where it is cut off or says what cannot be."""
    model = Model()
    for number, value in fields(data):
        if number == 1:
            model.pieces.append(_piece(_bytes(value)))
            if len(model.pieces) > MOST_PIECES:
                raise ValueError(f"more than {MOST_PIECES:,} pieces")
        elif number == 2:
            _trainer(model, _bytes(value))
        elif number == 3:
            _normalizer(model, _bytes(value))
        elif number == 5:
            model.rewrites_back = any(number == 2 and len(_bytes(inner)) > 0 for number, inner in fields(_bytes(value)))
    if not model.pieces:
        raise ValueError("it has no pieces")
    return model


def _piece(data: memoryview) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in fields(data):
        if number == 1:
            text = bytes(_bytes(value)).decode("utf-8")
        elif number == 2:
            (score,) = struct.unpack("<f", _bytes(value))
        elif number == 3:
            kind = _number(value)
    if not 0 < len(text) <= LONGEST or not NORMAL <= kind <= BYTE:
        raise ValueError(f"piece {text[:20]!r} of type {kind}")
    return Piece(text, score, kind)


def _trainer(model: Model, data: memoryview) -> None:
    for number, value in fields(data):
        if number == 3:
            model.kind = _number(value)
        elif number == 24:
            model.suffix = bool(_number(value))
        elif number == 35:
            model.byte_fallback = bool(_number(value))
        elif number == 41:
            model.begin = _number(value)
        elif number == 42:
            model.end = _number(value)


def _normalizer(model: Model, data: memoryview) -> None:
    for number, value in fields(data):
        if number == 2:
            model.table = bytes(_bytes(value))
        elif number == 3:
            model.dummy_prefix = bool(_number(value))
        elif number == 4:
            model.trims = bool(_number(value))
        elif number == 5:
            model.escapes = bool(_number(value))


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Each field's number and value: a whole number, or a view of its bytes. Nothing is copied, and no length is believed unseen."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {place}")
        if size > len(data) - place:
            raise ValueError(f"a field of {size:,} bytes where {len(data) - place:,} are left")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number of more than ten bytes")


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number belongs")
    return value


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value
