"""Runs a checked ``tokenizer.json`` on text: the `tokenizers` library, and two things that it does otherwise than SentencePiece.

A piece that a user asked for is cut out of byte pairs before anything is merged; and a character that Unigram does not know becomes its
bytes here, so that the pieces of single bytes need no name that a text could spell.
"""

import json
import re
from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers import Encoding

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign_patterns
from scratchlm.tokenizer.foreign_json import Spec

BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class Reader:
    """Text to ids, for a whole that never changes."""

    def __init__(self, spec: Spec, names: Sequence[str], where: str) -> None:
        """``names`` are those of all pieces by their ids; UsageError when the library refuses ``spec`` or counts its ids otherwise."""
        model = spec["model"]
        own = own_pieces(spec)
        id_of = {name: id for id, name in enumerate(names)}
        self._own = {name: id_of[name] for name in own}
        self._cut = re.compile(f"({foreign_patterns.any_of(own)})") if own else None
        falls_back = model["type"] == "Unigram" and model.get("byte_fallback") is True
        self._bytes = {int(found[1], 16): id for id, name in enumerate(names) if falls_back and (found := BYTE_PIECE.fullmatch(name))}
        self._unknown = model.get("unk_id") if len(self._bytes) == 256 else None
        if own:
            spec = spec | {"pre_tokenizer": None, "model": model | {"ignore_merges": False}}
        self._inner = _engine(spec if self._unknown is None else spec | {"model": model | {"byte_fallback": False}}, len(names), where)
        self._rewriter = self._inner.normalizer if own else None
        if own:
            self._inner.normalizer = None  # pyright: ignore[reportAttributeAccessIssue]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text."""
        if self._cut is None:
            return [self._with_bytes(found) for found in self._inner.encode_batch(list(texts), add_special_tokens=False)]
        return [list(self._around_own(text)) for text in texts]

    def _around_own(self, text: str) -> Iterator[int]:
        assert self._cut is not None
        for part in self._cut.split(self._rewriter.normalize_str(text) if self._rewriter else text):
            if part in self._own:
                yield self._own[part]
            elif part:
                yield from self._inner.encode(part, add_special_tokens=False).ids

    def _with_bytes(self, found: Encoding) -> list[int]:
        if self._unknown is None or self._unknown not in found.ids:
            return found.ids
        ids: list[int] = []
        for id, text in zip(found.ids, found.tokens, strict=True):
            ids += [self._bytes[byte] for byte in text.encode()] if id == self._unknown else [id]
        return ids


def own_pieces(spec: Spec) -> list[str]:
    """The pieces that are cut out of byte pairs before anything is merged, as ``foreign_sentencepiece`` writes them."""
    cutter = spec["pre_tokenizer"] or {}
    pattern = cutter.get("pattern") or {}
    if cutter.get("type") != "Split" or "Regex" not in pattern or spec["model"].get("ignore_merges") is not True:
        return []
    found = foreign_patterns.texts_in(pattern["Regex"]) or []
    return found if set(found) <= set(spec["model"]["vocab"]) else []


def _engine(spec: Spec, size: int, where: str) -> tokenizers.Tokenizer:
    try:
        inner = tokenizers.Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # noqa: BLE001 - the library raises no other
        raise UsageError(f"{where}: the tokenizers library refuses it: {' '.join(str(error).split())[:120]}") from None
    inner.encode_special_tokens = True
    found = inner.get_vocab(with_added_tokens=True)
    if len(found) != size or any(found.get(row["content"]) != row["id"] for row in spec["added_tokens"]):
        raise UsageError(f"{where}: the tokenizers library gives its tokens other ids than the file says. Fetch the file again.")
    return inner
