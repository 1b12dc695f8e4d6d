"""gigatoken, a second engine that encodes byte pairs some twenty times as fast, id for id as `tokenizers` does.

Only for tokenizers cut by a pattern of ``SPLITS``: for each of them the tests compare the ids of all real texts at hand, of made ones, and
of every Unicode character in several places. A batch with one of the newest characters is left to `tokenizers`. It does not train: it can
cut by GPT-2's pattern only, goes on merging pairs seen once, and writes to the console. https://github.com/marcelroed/gigatoken
"""

import importlib
import importlib.util
import json
import re
from importlib.metadata import version
from typing import Any

from scratchlm.tokenizer.bytelevel import Batch
from scratchlm.tokenizer.interface import CONTROL, Ragged
from scratchlm.tokenizer.splits import SPLITS

NAME, PLAIN = ENGINES = ("gigatoken", "tokenizers")
ABSENT = "not installed"
SHOWN_EQUAL = {"gigatoken": "0.10.", "tokenizers": "0.23."}
"""What the tests compare; other versions may know other characters."""
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_CHANGES = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges")
"""Options of a model that change what it does, all of them off in ours."""
# Letters and numbers since Unicode 17, which gigatoken 0.10 cuts as such; `tokenizers` 0.23 does not know them yet.
_NEWEST = re.compile(
    "[\u088f\u0c5c\u0cdc\ua7ce\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U00010959\U00010ec5-\U00010ec7\U00011db0-\U00011ddb"
    "\U00011de0-\U00011de9\U00016ea0-\U00016eb8\U00016ebb-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff\U00018d09-\U00018d1e"
    "\U00018d80-\U00018df2\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002cea2-\U0002cead\U000323b0-\U00033479]"
)
_FIRST = (b"\xe0", b"\xea", b"\xf0")
"""With which one of those begins in UTF-8: looked for first, which is twenty times as fast."""


def trouble() -> str | None:
    """Why this Python cannot use it; None where it can."""
    if importlib.util.find_spec(NAME) is None:
        return ABSENT
    try:
        importlib.import_module(NAME)
    except Exception as error:  # noqa: BLE001 - a wheel for another machine may fail in any way
        return f"installed but cannot be loaded ({' '.join(str(error).split())[:80]})"
    if strange := [f"{name} {version(name)}" for name, known in SHOWN_EQUAL.items() if not version(name).startswith(known)]:
        return f"not shown to be equal with {' and '.join(strange)}"
    return None


def installed() -> bool:
    """Whether this Python can use it."""
    return trouble() is None


def encoder(text: str) -> Batch | None:
    """What encodes batches as the ``tokenizer.json`` in ``text`` does; None where gigatoken is absent or not shown to be equal."""
    plain = _without_control(json.loads(text))
    if plain is None or not installed():
        return None
    import awkward
    import gigatoken

    engine = gigatoken.Tokenizer.from_json(json.dumps(plain))

    def batch(texts: list[str]) -> Ragged | None:
        if not all(map(cut_alike, texts)):
            return None
        found = engine.encode_batch(texts)
        return Ragged(awkward.to_numpy(awkward.flatten(found)), awkward.to_numpy(awkward.num(found))) if texts else Ragged.of([])

    return batch


def cut_alike(text: str) -> bool:
    """Whether each character of ``text`` is a letter, a number or neither to both engines."""
    data = text.encode()
    return not (any(first in data for first in _FIRST) and _NEWEST.search(text))


def _without_control(spec: dict[str, Any]) -> dict[str, Any] | None:
    """``spec`` without its control tokens, so that text never becomes one; None unless it is built as ours are."""
    model, cutter = spec["model"], spec["pre_tokenizer"]
    ours = model["type"] == "BPE" and spec["normalizer"] is None and not any(model.get(name) for name in _CHANGES)
    if not ours or [token["content"] for token in spec["added_tokens"]] != list(CONTROL):
        return None
    found = [name for name, pattern in SPLITS.items() if cutter == _ours(pattern)]
    if not found:
        return None
    # gigatoken knows GPT-2's pattern only as the one that a ByteLevel without a Split has.
    return spec | {"added_tokens": [], "pre_tokenizer": _GPT2 if found == ["gpt2"] else cutter}


def _ours(pattern: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _GPT2 | {"use_regex": False}]}
