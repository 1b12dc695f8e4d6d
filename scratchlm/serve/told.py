"""What goes back: OpenAI's response objects, whole or as a stream of events."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from scratchlm.serve.speech import Part

DONE = "data: [DONE]\n\n"


@dataclass
class Told:
    """One answer under way: its name and date, and how many tokens went in and came out."""

    model: str
    prompt_tokens: int
    chat: bool
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))
    answer_tokens: int = 0

    def usage(self) -> dict[str, int]:
        """Tokens so far."""
        total = self.prompt_tokens + self.answer_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.answer_tokens, "total_tokens": total}

    def whole(self, text: str, finish: str) -> dict[str, Any]:
        """The response to a request that did not stream."""
        said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        return self._frame(kind, [{"index": 0, **said, "logprobs": None, "finish_reason": finish}]) | {"usage": self.usage()}

    def first(self) -> Iterator[str]:
        """A chat stream opens by saying who speaks."""
        if self.chat:
            yield self._event({"delta": {"role": "assistant", "content": ""}}, None)

    def part(self, part: Part) -> Iterator[str]:
        """The events of one token: its text if it shows any, then the end if it is the end."""
        self.answer_tokens += 1
        if part.text:
            yield self._event({"delta": {"content": part.text}} if self.chat else {"text": part.text}, None)
        if part.finish:
            yield self._event({"delta": {}} if self.chat else {"text": ""}, part.finish)

    def last(self, *, usage: bool) -> Iterator[str]:
        """The counts, if they are wanted, and the end of the stream."""
        if usage:
            yield sse(self._frame(self._chunk(), []) | {"usage": self.usage()})
        yield DONE

    def _event(self, said: dict[str, Any], finish: str | None) -> str:
        return sse(self._frame(self._chunk(), [{"index": 0, **said, "logprobs": None, "finish_reason": finish}]))

    def _chunk(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        name = ("chatcmpl-" if self.chat else "cmpl-") + self.id
        return {"id": name, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def sse(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
