"""What a request may say: the part of OpenAI's requests that this server answers, with a range on every number.

Unknown fields are ignored, as clients send ever new ones; a field that is known and would change the answer, but is not
supported here, is refused by name.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json

from scratchlm.core.records import Message, Role
from scratchlm.core.seeds import derive
from scratchlm.generate.sample import Sampling
from scratchlm.serve.refusal import Refusal

A = TypeVar("A", bound="Asked")
Stop = Annotated[str, Field(min_length=1, max_length=200)]
HARMLESS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "tools": ([],),
    "functions": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
}
"""Known fields that are not supported, each with the values that ask for nothing (null is always one of them)."""


class Asked(BaseModel):
    """What chat and plain continuation have in common."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, le=2**31)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1, le=2**31)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: list[Stop] = Field([], max_length=4)
    stream: bool = False
    stream_options: "StreamOptions | None" = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value

    @field_validator("stream", mode="before")
    @classmethod
    def _null_is_false(cls, value: Any) -> Any:
        return False if value is None else value

    @property
    def wanted(self) -> int | None:
        """How many tokens the caller asked for at most."""
        return self.max_tokens

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, *, most: int, number: int) -> Sampling:
        """How to sample: at most ``most`` tokens; without a seed of its own the request's ``number`` makes one."""
        seed = derive(0, "serve", request=number) if self.seed is None else self.seed % 2**63
        tokens = min(self.wanted or most, most)
        return Sampling(temperature=self.temperature or 0.0, top_k=self.top_k, top_p=self.top_p, max_tokens=tokens, seed=seed)


class StreamOptions(BaseModel):
    """Extras of a stream."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    include_usage: bool | None = None


class TextPart(BaseModel):
    """A message's content may come in parts; only text is read."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """One message as clients send it."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def message(self) -> Message:
        """The same turn in our own words; a developer speaks as the system."""
        role: Role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role, text)


class AskedChat(Asked):
    """The body of ``POST /v1/chat/completions``."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31)
    drop_oldest: bool = False
    """Ours: leave out the oldest turns of a history that is too long, and say how many in ``X-Dropped-Messages``."""

    @property
    def wanted(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class AskedText(Asked):
    """The body of ``POST /v1/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The one prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


def read_body(kind: type[A], body: bytes) -> A:
    """The request in ``body``; Refusal (400) names the field that will not do."""
    try:
        plain = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(f"The body is not JSON: {error}.") from None
    try:
        asked = kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        raise Refusal(f"{param or 'body'}: {first['msg']}.", param=param) from None
    for field, value in plain.items():
        if field in HARMLESS and value is not None and not _among(value, HARMLESS[field]):
            raise Refusal(f"{field}: this server cannot do what it asks for. Leave it out.", param=field, code="unsupported")
    return asked


def _among(value: Any, harmless: Sequence[Any]) -> bool:
    return any(type(value) is type(plain) and value == plain for plain in harmless)
