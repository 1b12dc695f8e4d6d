"""How a conversation becomes text and ids: ChatML, as Qwen writes it.

    <|im_start|>user
    What does `len` do?<|im_end|>
    <|im_start|>assistant
    It returns the number of items.<|im_end|>

A conversation is rendered in segments: only the template emits control tokens, so nobody can forge a turn by writing one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.core.records import Message, Role
from scratchlm.tokenizer.interface import TURN_END, TURN_START, Tokenizer, begin_of_chat

ROLES: tuple[str, ...] = get_args(Role)

JINJA = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""The same template for other runtimes (``chat_template``); equal by test."""


def jinja(tokenizer: Tokenizer) -> str:
    """The template with what the model expects before all it reads."""
    return ("" if begin_of_chat(tokenizer) is None else "{{- bos_token -}}") + JINJA


@dataclass(frozen=True)
class Segment:
    """A stretch of a rendered conversation that is encoded by itself."""

    text: str
    control: bool
    """``text`` names a control token."""
    trained: bool
    """A model learns to say it: what the assistant says, and that its turn is over."""


def segments(messages: Sequence[Message], *, ask: bool) -> list[Segment]:
    """``messages`` in order; with ``ask``, the opening of the answer that is asked for at the end."""
    if not messages:
        raise UsageError("conversation: it has no message. Give at least one.")
    found = [segment for message in messages for segment in _turn(message)]
    return [*found, _control(TURN_START), _text("assistant\n")] if ask else found


def encode(tokenizer: Tokenizer, messages: Sequence[Message], *, ask: bool = False) -> tuple[list[int], list[bool]]:
    """The ids of a conversation, and for each whether it is trained on."""
    begin = begin_of_chat(tokenizer)
    ids = [] if begin is None else [begin]
    trained = [False] * len(ids)
    for segment in segments(messages, ask=ask):
        more = [tokenizer.control[segment.text]] if segment.control else tokenizer.encode(segment.text)
        ids += more
        trained += [segment.trained] * len(more)
    return ids, trained


def _turn(message: Message) -> list[Segment]:
    if message.role not in ROLES:
        raise UsageError(f"conversation: no role '{message.role}'.{nearest(message.role, ROLES)}")
    if message.role == "assistant":
        # Cut after the opening, where generation starts, so that training and generation see the same ids.
        said = [_text("assistant\n"), _text(message.content, trained=True)]
        return [_control(TURN_START), *said, _control(TURN_END, trained=True), _text("\n")]
    # Not cut: other runtimes encode a turn's opening and content as one text.
    return [_control(TURN_START), _text(f"{message.role}\n{message.content}"), _control(TURN_END), _text("\n")]


def _control(name: str, *, trained: bool = False) -> Segment:
    return Segment(name, control=True, trained=trained)


def _text(text: str, *, trained: bool = False) -> Segment:
    return Segment(text, control=False, trained=trained)
