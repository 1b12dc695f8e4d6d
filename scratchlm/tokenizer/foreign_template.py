"""The chat template that came with a model: is it ours in effect? It is a program of a stranger, so another process renders it.

Three conversations are rendered by both. Theirs may put a system message of its makers before a conversation that has none.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scratchlm.core.errors import UsageError
from scratchlm.core.records import Message
from scratchlm.tokenizer import foreign_json, template
from scratchlm.tokenizer.interface import Tokenizer, begin_of_chat

PATIENCE_S = 20
"""Until the other process is ended; it ends itself after fewer seconds of work."""
MOST_BYTES = 32 << 20
FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
CHATS = (
    (Message("user", "What is 3 + 4?"),),
    (Message("user", "Hello."), Message("assistant", "Good day."), Message("user", "Who are you?")),
    (Message("system", "Be brief."), Message("user", "Why?")),
)


@dataclass(frozen=True)
class Verdict:
    """What a model's own template turned out to be."""

    is_ours: Literal["yes", "no", "none"]
    """``none``: it came without one."""
    system: str | None = None
    """What it tells the model before a conversation that begins without a system message."""


def judge(folder: Path, tokenizer: Tokenizer) -> Verdict:
    """Compare the template in ``folder`` with ours; one that cannot be run within its limits is not ours."""
    written = _written(folder)
    if written is None:
        return Verdict("none")
    begin = begin_of_chat(tokenizer)
    name = "" if begin is None else tokenizer.piece(begin).decode()
    names = {"bos_token": name, "eos_token": tokenizer.piece(tokenizer.end_of_text).decode()}
    theirs = _rendered(written, names)
    if theirs is None:
        return Verdict("no")
    ours = [name + _text(chat) for chat in CHATS]
    if theirs == ours:
        return Verdict("yes")
    before, _, _ = theirs[0].partition(ours[0].removeprefix(name))
    opening, closing = name + "<|im_start|>system\n", "<|im_end|>\n"
    system = before.removeprefix(opening).removesuffix(closing)
    told = [name + _text([Message("system", system), *chat]) for chat in CHATS[:2]]
    return Verdict("yes", system) if [*told, ours[2]] == theirs else Verdict("no")


def _text(chat: Any) -> str:
    return "".join(segment.text for segment in template.segments(chat, ask=True))


def _written(folder: Path) -> str | None:
    """The template as a text, from whichever file has it."""
    for name in FILES:
        if not (folder / name).is_file():
            continue
        with (folder / name).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UsageError(f"{folder / name}: more than {MOST_BYTES:,} bytes. Fetch the file again.")
        text = data.decode("utf-8", "replace")
        found = text if name == FILES[0] else foreign_json.parsed(text, str(folder / name)).get("chat_template")
        if isinstance(found, list):  # several under names
            found = next((row.get("template") for row in found if isinstance(row, dict) and row.get("name") == "default"), None)
        if isinstance(found, str):
            return found
    return None


def _rendered(written: str, names: Mapping[str, str]) -> list[str] | None:
    """The texts of ``CHATS``; None when the template fails, loops or grows."""
    chats = [[{"role": message.role, "content": message.content} for message in chat] for chat in CHATS]
    asked = json.dumps({"template": written, "chats": chats, "names": dict(names)})
    program = [sys.executable, "-I", str(Path(__file__).with_name("foreign_jinja.py"))]
    try:
        done = subprocess.run(program, input=asked, capture_output=True, text=True, encoding="utf-8", timeout=PATIENCE_S, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
    return found if isinstance(found, list) and all(isinstance(text, str) for text in found) else None
