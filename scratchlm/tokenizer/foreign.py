"""A tokenizer that somebody else trained: byte-level or SentencePiece-like byte pairs, Unigram, or WordPiece.

Whatever file it came in, it becomes one `tokenizer.json`, which the `tokenizers` library runs. Control tokens keep their names in the
file we write; the copy that reads text has other names in their places, each with a blank in it where no blank ever arrives, so that no
text can spell one.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign_json
from scratchlm.tokenizer.bytelevel import ALPHABET, read_back
from scratchlm.tokenizer.foreign_json import BLANK, Spec
from scratchlm.tokenizer.foreign_reader import BYTE_PIECE, Reader, own_pieces
from scratchlm.tokenizer.interface import FILE, TURN_END, TURN_START, UNKNOWN, Ragged, TokenizerFacts, check_ids, well_formed, write

ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|eot_id|>", "[SEP]")
"""How the end of a text is named where nothing beside the file says so; the first that is there."""
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
"""Of a token that is found in the middle of a text as it stands there."""
_DECODERS = {
    "letters": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "words": {"type": "WordPiece", "prefix": "##", "cleanup": False},
    "blanks": {
        "type": "Sequence",
        "decoders": [{"type": "Replace", "pattern": {"String": BLANK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}],
    },
}


class Foreign:
    """Runs a checked ``tokenizer.json``; ``control`` are the pieces that text can never become."""

    kind = "foreign"

    def __init__(
        self,
        spec: Spec,
        *,
        control: Mapping[str, int],
        end_of_text: int,
        begin: int | None = None,
        ends: Sequence[int] = (),
        where: str = FILE,
    ) -> None:
        """``spec`` comes from ``foreign_json.checked``; UsageError when a text could have no ids in it.

        ``begin`` stands before all that the model reads; ``ends`` are what its makers let answers end with.
        """
        names = foreign_json.names(spec, where)
        if wrong := [name for name, id in control.items() if not 0 <= id < len(names) or names[id] != name]:
            raise UsageError(f"{where}: it has no control token '{wrong[0]}' with that id. Give the file that belongs to the model.")
        if end_of_text not in control.values():
            raise UsageError(
                f"{where}: what ends a text, {end_of_text}, is none of its control tokens. Give the file that belongs to the model."
            )
        if stray := {*ends, begin} - {*control.values(), None}:
            raise UsageError(
                f"{where}: {min(map(str, stray))} begins or ends what it reads, but is none of its control tokens. Fetch it again."
            )
        self.begin, self.ends = begin, tuple(ends)
        if (
            style(spec) == "blanks"
            and spec["model"].get("ignore_merges") is True
            and spec["model"].get("byte_fallback")
            and not own_pieces(spec)
        ):
            raise UsageError(
                f"{where}: it takes words whole and calls bytes by name, so a text could spell one. Set ignore_merges in it to false."
            )
        self.control: Mapping[str, int] = dict(sorted(control.items(), key=lambda pair: pair[1]))
        self.size, self.end_of_text = len(names), end_of_text
        self.spec = _with_decoder(_special(spec, control))
        self.unknown = _unknown(spec, names, where, control)
        hidden = {id: f" {id}" for id in {*control.values(), *_placeholder(spec, names), *_bytes_alone(spec, names)}}
        self._reads = Reader(_renamed(self.spec, names, hidden), names, where)
        own = {token["content"] for token in self.spec["added_tokens"]}
        spelled = style(spec)
        self._pieces = [name.encode() if name in own else _bytes_of(name, spelled) for name in names]
        if self.unknown is not None:
            self._pieces[self.unknown] = UNKNOWN.encode()
        self._controls = frozenset(control.values())
        self._begins_with_blank = begins_with_blank(spec)

    def encode(self, text: str) -> list[int]:
        return self._reads.ids([well_formed(text)])[0]

    def encode_batch(self, texts: Sequence[str]) -> Ragged:
        return Ragged.of(self._reads.ids([well_formed(text) for text in texts]))

    def decode(self, ids: Sequence[int]) -> str:
        """As in the interface; the blank that some kinds put before every text is taken off again."""
        check_ids(ids, self.size)
        text = b"".join(self._pieces[id] for id in ids if id not in self._controls).decode("utf-8", "replace")
        return text.removeprefix(" ") if self._begins_with_blank else text

    def piece(self, id: int) -> bytes:
        return self._pieces[id]

    def save(self, path: Path) -> None:
        write(self, json.dumps(self.spec, ensure_ascii=False, indent=1), path)


def read(text: str, facts: TokenizerFacts) -> Foreign:
    """The tokenizer of a ``tokenizer.json`` that ``save`` wrote; which of its tokens ends a text stands in the facts beside it."""
    spec = foreign_json.checked(foreign_json.parsed(text, FILE), FILE)
    return Foreign(spec, control=facts.control, end_of_text=facts.end_of_text, begin=facts.begin, ends=facts.ends)


def with_turns(spec: Spec) -> tuple[Spec, tuple[str, ...]]:
    """``spec`` with the tokens that our conversations need, and which of them it lacked: those come behind all others.

    A model that adopts it needs as many new rows, unless its embedding has rows to spare.
    """
    names = foreign_json.names(spec, FILE)
    missing = tuple(name for name in (TURN_START, TURN_END) if name not in names)
    rows = [{"id": len(names) + place, "content": name, **FLAGS, "special": True} for place, name in enumerate(missing)]
    return spec | {"added_tokens": [*spec["added_tokens"], *rows]}, missing


def control_of(spec: Spec, more: Sequence[str] = ()) -> dict[str, int]:
    """What text must not become: the tokens marked special and those in ``more``; not what text needs: a byte, or what is unknown."""
    names = foreign_json.names(spec, FILE)
    id_of = {name: id for id, name in enumerate(names)}
    unknown = _unknown(spec, names, FILE)
    needed = _bytes_wanted(spec) if falls_back(spec, names) else frozenset()
    marked = {token["content"]: token["id"] for token in spec["added_tokens"] if token["special"]}
    marked |= {name: id_of[name] for name in (*more, TURN_START, TURN_END) if name in id_of}
    return {name: id for name, id in marked.items() if id != unknown and name not in needed}


def style(spec: Spec) -> str:
    """How pieces spell bytes: ``letters`` (GPT-2), ``words`` (WordPiece), ``blanks`` (SentencePiece)."""
    if spec["model"]["type"] == "WordPiece":
        return "words"
    return "letters" if any(part["type"] == "ByteLevel" for part in foreign_json.parts(spec, "pre_tokenizer")) else "blanks"


def begins_with_blank(spec: Spec) -> bool:
    """Whether a blank is put before every text."""
    if style(spec) == "words" or any(part["type"] == "Prepend" for part in foreign_json.parts(spec, "normalizer")):
        return True
    cutters = list(foreign_json.parts(spec, "pre_tokenizer"))
    if any(part["type"] == "Metaspace" and _prepends(part) for part in cutters):
        return True
    return any(part["type"] == "ByteLevel" and part.get("add_prefix_space", True) for part in cutters)


def _prepends(metaspace: Mapping[str, Any]) -> bool:
    """Files from before 2024 have a switch instead of three schemes."""
    return metaspace.get("prepend_scheme", "always" if metaspace.get("add_prefix_space", True) else "never") != "never"


def falls_back(spec: Spec, names: Sequence[str], control: Collection[str] = ()) -> bool:
    """Whether every byte has a piece of its own, none of them in ``control``, so that no text is unknown."""
    switched_on = style(spec) == "letters" or spec["model"].get("byte_fallback") is True
    hidden = {*control, *(names[id] for id in _placeholder(spec, names))}
    return switched_on and spec["model"]["type"] != "WordPiece" and _bytes_wanted(spec) <= {*names} - hidden


def _bytes_wanted(spec: Spec) -> frozenset[str]:
    """The names of the pieces of single bytes."""
    return frozenset(ALPHABET if style(spec) == "letters" else [f"<0x{byte:02X}>" for byte in range(256)])


def _unknown(spec: Spec, names: Sequence[str], where: str, control: Collection[str] = ()) -> int | None:
    if falls_back(spec, names, control):
        return None
    found = _placeholder(spec, names)
    if not found:
        raise UsageError(
            f"{where}: some characters would have no id: not every byte has a piece that text may become, and no token stands for the rest."
            " Fetch it again."
        )
    return found[0]


def _placeholder(spec: Spec, names: Sequence[str]) -> list[int]:
    """The id that stands for what the model does not know, if it names one."""
    model = spec["model"]
    if model["type"] == "Unigram":
        return [model["unk_id"]]
    return [names.index(model["unk_token"])] if model.get("unk_token") in names else []


def _bytes_alone(spec: Spec, names: Sequence[str]) -> list[int]:
    """Unigram could find a piece such as ``<0x0A>`` spelled out in a text; the reader puts these in by itself."""
    return [id for id, name in enumerate(names) if BYTE_PIECE.fullmatch(name)] if spec["model"]["type"] == "Unigram" else []


def _special(spec: Spec, control: Mapping[str, int]) -> Spec:
    """Every control token marked special, for other runtimes, and no merge that makes one of them, or the piece of a single byte."""
    rows = {name: {"id": id, "content": name, **FLAGS, "special": True} for name, id in control.items()}
    rows |= {token["content"]: token | {"special": token["special"] or token["content"] in control} for token in spec["added_tokens"]}
    if falls_back(spec, foreign_json.names(spec, FILE), control):  # text needs its bytes, also where a file makes special one of them
        rows = {name: row for name, row in rows.items() if not row["special"] or name in control or name not in _bytes_wanted(spec)}
    model = spec["model"]
    if model["type"] == "BPE":
        closed = {*control, *(f"<0x{byte:02X}>" for byte in range(256) if model.get("byte_fallback"))}
        merges = [list(pair) for pair in foreign_json.merges_of(model, FILE) if closed.isdisjoint((*pair, pair[0] + pair[1]))]
        model = model | {"merges": merges}
    return spec | {"added_tokens": sorted(rows.values(), key=lambda token: token["id"]), "model": model}


def _renamed(spec: Spec, names: Sequence[str], hidden: Mapping[int, str]) -> Spec:
    """The copy that reads text: pieces in ``hidden`` have names that no text reaches."""
    new = {names[id]: name for id, name in hidden.items()}
    model = dict(spec["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [[new.get(name, name), score] for name, score in model["vocab"]]
    else:
        model["vocab"] = {new.get(name, name): id for name, id in model["vocab"].items()}
        model["unk_token"] = new.get(str(model.get("unk_token")), model.get("unk_token"))
    if model["type"] == "BPE":
        model["merges"] = [pair for pair in model["merges"] if new.keys().isdisjoint((*pair, pair[0] + pair[1]))]
    return spec | {
        "model": model,
        "added_tokens": [
            row | {"content": new[name], "special": True} if (name := row["content"]) in new else row for row in spec["added_tokens"]
        ],
    }


def _with_decoder(spec: Spec) -> Spec:
    blank = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if begins_with_blank(spec) else []
    decoder = _DECODERS[style(spec)]
    return spec | {"decoder": decoder if style(spec) != "blanks" else {**decoder, "decoders": [*decoder["decoders"], *blank]}}


def _bytes_of(name: str, spelled: str) -> bytes:
    """What a piece stands for; one that no text becomes may be spelled in no known way, and stands for its own name."""
    if spelled == "letters":
        return read_back(name) if set(name) <= set(ALPHABET) else name.encode()
    if spelled == "words":
        return name[2:].encode() if name.startswith("##") else b" " + name.encode()
    if found := BYTE_PIECE.fullmatch(name):
        return bytes([int(found[1], 16)])
    return name.replace(BLANK, " ").encode()
