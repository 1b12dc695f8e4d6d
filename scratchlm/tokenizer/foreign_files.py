"""The tokenizer of a model from elsewhere, in whichever files its makers published it.

    tokenizer.json                        Hugging Face, whatever the kind
    tokenizer.model, *.model              SentencePiece (Llama 2, Mistral, Gemma)
    encoder.json + vocab.bpe              GPT-2 as OpenAI published it; vocab.json + merges.txt is the same under other names
    *.tiktoken                            OpenAI, Llama 3, Qwen: a line for each piece, in base64, with its rank

Small files beside it (`tokenizer_config.json` and others) say which token ends a text.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchlm.core.errors import UsageError
from scratchlm.tokenizer import foreign_json, foreign_patterns, foreign_sentencepiece
from scratchlm.tokenizer.bytelevel import spelled
from scratchlm.tokenizer.foreign import ENDS, FLAGS, Foreign, control_of, with_turns
from scratchlm.tokenizer.foreign_json import Spec
from scratchlm.tokenizer.interface import TURN_END

MOST_BYTES = 256_000_000
"""Of a file; the largest tokenizer in use has 35 MB."""
LONGEST = 256
"""Bytes of a piece in a ``.tiktoken`` file; those in use have at most 128."""
MOST_IDS = 64
"""That end an answer; models in use name at most five."""
BESIDE = ("tokenizer_config.json", "special_tokens_map.json")
IDS_BESIDE = ("generation_config.json", "config.json")
MERGES_OF = {"encoder.json": "vocab.bpe", "vocab.json": "merges.txt"}
"""A file of pieces -> the one of their merges."""
SPLITS_OF = {"GPT2Tokenizer": "gpt2", "Qwen2Tokenizer": "qwen2"}
"""The split pattern of tokenizers whose files do not say it, by the class that their configuration names."""


@dataclass(frozen=True)
class Adopted:
    """A tokenizer from elsewhere and what a model that comes with it needs to know."""

    tokenizer: Foreign
    begin: int | None
    """What the model expects before all it reads, where that is not what ends a text, as it is with ours."""
    ends: tuple[int, ...]
    """Every id at which its makers let an answer end; our own end of a turn is among them."""
    appended: tuple[str, ...]
    """Tokens that it lacked: the model's embedding needs a row for each, from ``tokenizer.size - len(appended)`` on."""
    file: str
    """Where it was read from."""
    files: tuple[str, ...]
    """That one and all others that were read."""


def adopt(folder: Path, *, split: str | None = None) -> Adopted:
    """The tokenizer in ``folder``, with the tokens that our conversations need; UsageError when it cannot be read.

    ``split``: a name in ``foreign_patterns``, for files that do not say where text is cut.
    """
    beside = {name: _beside(folder / name) for name in (*BESIDE, *IDS_BESIDE)}
    file, unchecked, names_within = _read(folder, beside, split)
    spec, appended = with_turns(foreign_json.checked(unchecked, str(file)))
    names = foreign_json.names(spec, str(file))
    ends = _ids(beside, "eos", names, file) or [names.index(name) for name in names_within[1:] if name in names]
    begins = _ids(beside, "bos", names, file) or [names.index(name) for name in names_within[:1] if name in names]
    end = _end_of_text(names, ends)
    if end is None:
        need = '"eos_token", and its id in "added_tokens_decoder" where the file has no control tokens'
        raise UsageError(f"{file}: none of its tokens is known to end a text. Put a tokenizer_config.json beside it, with {need}.")
    control = control_of(spec, more=[names[id] for id in (*ends, *begins, end)])
    if names[end] not in control:
        raise UsageError(f"{file}: '{names[end]}' ends a text, but a text may also become it. Name another in tokenizer_config.json.")
    begin = next((id for id in begins if id != end and _is_put_first(names[id], unchecked, beside["tokenizer_config.json"], file)), None)
    all_ends = tuple(dict.fromkeys([*ends, end, names.index(TURN_END)]))
    words = Foreign(spec, control=control, end_of_text=end, begin=begin, ends=all_ends, where=str(file))
    read = (file.name, MERGES_OF.get(file.name, file.name), *(name for name in beside if (folder / name).is_file()))
    return Adopted(words, begin, all_ends, appended, file.name, tuple(dict.fromkeys(read)))


def _is_put_first(name: str, spec: Spec, config: Spec, file: Path) -> bool:
    """Whether its makers' tokenizer puts ``name`` before a text: many name a token that begins a text and never use it.

    Only a ``tokenizer.json`` says so itself; with the other files it is the custom unless the configuration says no.
    """
    told = config.get("add_bos_token")
    if isinstance(told, bool):
        return told
    return file.name != "tokenizer.json" or name in _texts_in(spec.get("post_processor"))


def _texts_in(part: Any) -> set[str]:
    """Every text that stands in a part of a file, however deep."""
    found, waiting = set(), [part]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            found.add(each)
        elif isinstance(each, dict | list):
            waiting += each.values() if isinstance(each, dict) else each
    return found


def _end_of_text(names: list[str], ends: list[int]) -> int | None:
    """What separates documents: the end of a turn is that only where there is no other."""
    others = [id for id in ends if names[id] != TURN_END]
    known = [names.index(name) for name in ENDS if name in names]
    return next(iter([*others, *known, *ends]), None)


def _read(folder: Path, beside: Mapping[str, Spec], split: str | None) -> tuple[Path, Spec, list[str]]:
    """The file, what it says as an unchecked ``tokenizer.json``, and the names of begin and end that it holds itself."""
    if (file := folder / "tokenizer.json").is_file():
        return file, foreign_json.parsed(_text(file), str(file)), []
    if found := [folder / "tokenizer.model", *sorted(folder.glob("*.model"))]:
        for file in found:
            if file.is_file() and not _is_tiktoken(file):
                spec, begin, end = foreign_sentencepiece.spec_of(_data(file), str(file))
                return file, spec, [name or "" for name in (begin, end)]
    for first, second in MERGES_OF.items():
        if (folder / first).is_file() and (folder / second).is_file():
            file, config = folder / first, beside["tokenizer_config.json"]
            named = split or ("gpt2" if first == "encoder.json" else SPLITS_OF.get(str(config.get("tokenizer_class"))))
            spec = gpt2(_text(file), _text(folder / second), split=_needed(named, file), where=str(file))
            return file, spec | {"added_tokens": [*spec["added_tokens"], *_listed(config)]}, []
    for file in filter(Path.is_file, [*sorted(folder.glob("*.tiktoken")), *sorted(folder.glob("*.model"))]):
        listed = _listed(beside["tokenizer_config.json"])
        specials = {row["content"]: row["id"] for row in listed if isinstance(row.get("content"), str) and row["content"]}
        return file, tiktoken(_data(file), split=_needed(split, file), specials=specials, where=str(file)), []
    raise UsageError(
        f"{folder}: no tokenizer is in it. It needs tokenizer.json, tokenizer.model, vocab.json and merges.txt, or a .tiktoken file."
    )


def gpt2(vocab: str, merges: str, *, split: str, where: str) -> Spec:
    """From a JSON object of pieces and ids and a text with a merge a line, both in the letters that stand for bytes."""
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    pieces = foreign_json.parsed(vocab, where)
    return _byte_level({"type": "BPE", "vocab": pieces, "merges": lines}, split)


def tiktoken(data: bytes, *, split: str, specials: Mapping[str, int], where: str) -> Spec:
    """From a line for each piece: its bytes in base64, and its rank, which is its id and when it is merged.

    Holes in the ids, which the makers of some files left, are filled with control tokens that nothing uses.
    """
    ranks = _ranks(data, where)
    taken = {*ranks.values(), *specials.values()}
    if len(taken) < len(ranks) + len(specials) or any(id < 0 for id in taken) or max(taken) >= foreign_json.MOST_PIECES:
        raise UsageError(f"{where}: two of its pieces and control tokens share an id, or one is out of range. Check tokenizer_config.json.")
    if (missing := max(taken) + 1 - len(taken)) > len(taken):
        raise UsageError(f"{where}: its ids leave {missing:,} holes. Check tokenizer_config.json, and fetch the file again.")
    holes = {f"<|reserved_{id}|>": id for id in range(max(taken)) if id not in taken}
    merges = sorted(
        (rank, ranks[piece[:place]], ranks[piece[place:]], piece[:place], piece[place:])
        for piece, rank in ranks.items()
        for place in range(1, len(piece))
        if piece[:place] in ranks and piece[place:] in ranks
    )
    letters = {piece: spelled(piece) for piece in ranks}
    model = {
        "type": "BPE",
        "ignore_merges": True,  # a piece that is a whole word is taken as it is, merges or not
        "vocab": {letters[piece]: rank for piece, rank in ranks.items()},
        "merges": [[letters[left], letters[right]] for *_, left, right in merges],
    }
    spec = _byte_level(model, split)
    added = [{"id": id, "content": name, **FLAGS, "special": True} for name, id in {**specials, **holes}.items()]
    return spec | {"added_tokens": sorted(added, key=lambda token: token["id"])}


def _ranks(data: bytes, where: str) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        written, _, rank = line.partition(b" ")
        try:
            piece = base64.b64decode(written, validate=True)
        except binascii.Error:
            piece = b""
        if not line:
            continue
        if not piece or len(piece) > LONGEST or not rank.isdigit() or len(rank) > 9 or piece in ranks:
            raise UsageError(f"{where}: line {number} is not a new piece in base64 and its rank: {line[:40]!r}. Fetch the file again.")
        ranks[piece] = int(rank)
    if len(set(ranks.values())) < len(ranks) or not ranks:
        raise UsageError(f"{where}: {'two pieces have the same rank' if ranks else 'it has no pieces'}. Fetch the file again.")
    return ranks


def _byte_level(model: Spec, split: str) -> Spec:
    """A ``tokenizer.json`` around ``model``: text cut by a pattern and spelled in the letters that stand for bytes."""
    cut = {"type": "Split", "pattern": {"Regex": foreign_patterns.named(split)}, "behavior": "Isolated", "invert": False}
    spell = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"added_tokens": [], "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, spell]}, "model": model}


def _needed(split: str | None, file: Path) -> str:
    if split is None:
        known = ", ".join(sorted([*foreign_patterns.PATTERNS, *foreign_patterns.ALIASES]))
        told = " (adopt: --set split=NAME; to compare with it only: --set vocab.compare_split=NAME)"
        raise UsageError(f"{file}: it does not say where text is cut. Name the split pattern: one of {known}{told}.")
    return split


def _listed(config: Spec) -> list[Spec]:
    """Tokens that only ``tokenizer_config.json`` knows."""
    rows = config.get("added_tokens_decoder")
    found = (
        [(id, row) for id, row in rows.items() if isinstance(row, dict) and id.isdecimal() and len(id) < 9]
        if isinstance(rows, dict)
        else []
    )
    return [{**row, "id": int(id)} for id, row in found]


def _ids(beside: Mapping[str, Spec], which: str, names: list[str], file: Path) -> list[int]:
    """The ids that the files beside call ``eos`` or ``bos``, by name and then by number, each once."""
    texts = [
        value.get("content") if isinstance(value, dict) else value for value in (beside[name].get(f"{which}_token") for name in BESIDE)
    ]
    numbers: list[Any] = []
    for name in IDS_BESIDE:
        value = beside[name].get(f"{which}_token_id")
        numbers += value if isinstance(value, list) else [] if value is None else [value]
    if len(numbers) > MOST_IDS:
        raise UsageError(f"{file}: the files beside it name {len(numbers):,} tokens as {which}; at most {MOST_IDS} are read.")
    id_of = {name: id for id, name in enumerate(names)}
    found = [id_of.get(str(text), -1) for text in texts if text is not None]
    found += [number if type(number) is int and number < len(names) else -1 for number in numbers]
    if any(id < 0 for id in found):
        raise UsageError(f"{file}: the files beside it name as {which} a token that it does not have. Fetch them all from one place.")
    return list(dict.fromkeys(found))


def _beside(file: Path) -> Spec:
    return foreign_json.parsed(_text(file), str(file)) if file.is_file() else {}


def _is_tiktoken(file: Path) -> bool:
    """Llama 3 calls its file ``tokenizer.model`` too: its lines begin with base64, a SentencePiece model with the byte 10."""
    with file.open("rb") as opened:
        head = opened.readline(LONGEST)
    return not head.startswith(b"\n") and head.strip().rpartition(b" ")[2].isdigit()


def _text(file: Path) -> str:
    try:
        return _data(file).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file}: not UTF-8 text. Fetch the file again.") from None


def _data(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UsageError(f"{file}: {file.stat().st_size:,} bytes; a tokenizer has at most {MOST_BYTES:,}. Give the tokenizer's own file.")
    return data
