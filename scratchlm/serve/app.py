"""A model behind the HTTP interface that most clients already speak, and one page to talk to it.

``create_app`` takes anything that speaks. Nothing here opens a file or a connection that a request names, no other origin may
call it (no CORS, JSON bodies only), and one thread runs the model.
"""

import asyncio
import hmac
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from scratchlm.core.config import Settings
from scratchlm.core.errors import ScratchError, UsageError
from scratchlm.core.records import Message
from scratchlm.serve.asked import Asked, AskedChat, AskedText, read_body
from scratchlm.serve.page import HEADERS, page
from scratchlm.serve.refusal import Refusal
from scratchlm.serve.speech import Fitted, Speaks, fit, parts
from scratchlm.serve.told import Told, sse
from scratchlm.serve.turns import Turn, Turns
from scratchlm.tokenizer.interface import begin_of_text


class Limits(Settings):
    """What one caller may ask of the machine."""

    body_bytes: int = 1 << 20
    body_s: float = 30.0
    """A body that takes longer to arrive is given up."""
    messages: int = 512
    answer_tokens: int = 1024
    """The most a single answer may have, and what it may have when the request names no number."""
    room_tokens: int = 64
    """Kept free for the answer when the oldest turns are left out."""
    waiting: int = 8
    """Requests in line behind the one being answered."""
    retry_after_s: int = 2


class Service:
    """The handlers; each one reads as: check, get in line, answer."""

    def __init__(self, speaker: Speaks, *, limits: Limits, about: dict[str, Any]) -> None:
        self.speaker = speaker
        self.limits = limits
        self.about = about
        self.turns = Turns(waiting=limits.waiting, retry_after_s=limits.retry_after_s)
        self._numbers = itertools.count()

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [self._model()]}

    async def model(self, model: str) -> dict[str, Any]:
        self._check_model(model)
        return self._model()

    async def facts(self) -> dict[str, Any]:
        return self.about

    async def chat(self, request: Request) -> Response:
        asked = read_body(AskedChat, await self._body(request))
        self._check_model(asked.model)
        if len(asked.messages) > self.limits.messages:
            raise Refusal(f"messages: {len(asked.messages)} of them, at most {self.limits.messages} are read.", param="messages")
        fitted = await asyncio.to_thread(self._fit, [turn.message() for turn in asked.messages], asked.drop_oldest)
        headers = {"X-Dropped-Messages": str(fitted.dropped)}
        return await self._answer(request, asked, fitted.ids, headers, chat=True)

    async def complete(self, request: Request) -> Response:
        asked = read_body(AskedText, await self._body(request))
        self._check_model(asked.model)
        tokenizer = self.speaker.tokenizer
        ids = [begin_of_text(tokenizer), *await asyncio.to_thread(tokenizer.encode, asked.text)]
        if len(ids) >= self.speaker.context:
            raise self._too_long(len(ids), "prompt")
        return await self._answer(request, asked, ids, {}, chat=False)

    async def _answer(self, request: Request, asked: Asked, ids: list[int], headers: dict[str, str], *, chat: bool) -> Response:
        told = Told(self.speaker.name, len(ids), chat)
        sampling = asked.sampling(most=self.limits.answer_tokens, number=next(self._numbers))
        turn = self.turns.take(lambda: parts(self.speaker.stream(ids, sampling), stops=asked.stop))
        if asked.stream:
            return Streamed(turn, told, usage=asked.usage_wanted, headers=headers)
        try:
            text, finish = await _collect(request, turn, told)
        finally:
            turn.stop()
        return JSONResponse(told.whole(text, finish), headers=headers)

    def _fit(self, messages: Sequence[Message], drop_oldest: bool) -> Fitted:
        if drop_oldest:
            room = min(self.limits.room_tokens, self.speaker.context // 2)
            return fit(self.speaker, messages, room=room)
        ids = self.speaker.prompt_ids(messages)
        if len(ids) >= self.speaker.context:
            raise self._too_long(len(ids), "messages")
        return Fitted(ids, tuple(messages), 0)

    def _too_long(self, tokens: int, param: str) -> Refusal:
        reads = f"{self.speaker.name} reads {self.speaker.context} tokens, the answer among them"
        return Refusal(f"{param}: {tokens} tokens; {reads}. Shorten it.", param=param, code="context_length_exceeded")

    async def _body(self, request: Request) -> bytes:
        """The body, as far as the limits let it in. Only JSON: a form of another origin's page can never be that."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal("Send the body as JSON, with the header Content-Type: application/json.", status=415)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self.limits.body_bytes:
                        raise Refusal(f"The body is larger than {self.limits.body_bytes} bytes.", status=413)
        except TimeoutError:
            raise Refusal(f"The body did not arrive within {self.limits.body_s:g} seconds.", status=408) from None
        return bytes(body)

    def _check_model(self, name: str | None) -> None:
        if name is not None and name != self.speaker.name:
            message = f"There is no model '{name[:100]}' here, only '{self.speaker.name}'."
            raise Refusal(message, status=404, param="model", code="model_not_found")

    def _model(self) -> dict[str, Any]:
        return {"id": self.speaker.name, "object": "model", "created": 0, "owned_by": "scratchlm", "context_length": self.speaker.context}


class Streamed(StreamingResponse):
    """An answer as server-sent events; when the reader leaves, however that is noticed, the model is freed."""

    def __init__(self, turn: Turn, told: Told, *, usage: bool, headers: dict[str, str]) -> None:
        super().__init__(_events(turn, told, usage=usage), media_type="text/event-stream", headers=headers | {"Cache-Control": "no-store"})
        self._turn = turn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turn.stop()


async def _events(turn: Turn, told: Told, *, usage: bool) -> AsyncIterator[str]:
    for event in told.first():
        yield event
    try:
        async for part in turn.parts():
            for event in told.part(part):
                yield event
    except ScratchError as error:  # the status line is gone already, so the error travels as an event
        yield sse(Refusal(str(error)).body())
        return
    except Exception:
        yield sse(Refusal("Something went wrong here.", status=500).body())
        raise
    for event in told.last(usage=usage):
        yield event


async def _collect(request: Request, turn: Turn, told: Told) -> tuple[str, str]:
    texts, finish = [], "stop"
    async for part in turn.parts():
        told.answer_tokens += 1
        texts.append(part.text)
        finish = part.finish or finish
        if await request.is_disconnected():
            break
    return "".join(texts), finish


LIMITS = Limits()


def create_app(
    speaker: Speaks,
    *,
    api_key: str | None = None,
    limits: Limits = LIMITS,
    examples: Sequence[str] = (),
    chats: bool = True,
) -> FastAPI:
    """The application. ``chats`` False: the page continues texts instead, for a model that was never taught to converse."""
    about = {"model": speaker.name, "context": speaker.context, "chats": chats, "examples": list(examples)}
    service = Service(speaker, limits=limits, about=about)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.turns.close()

    app = FastAPI(title="scratchLM", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.service = service
    router = APIRouter(prefix="/v1", dependencies=[Depends(_key_check(api_key))])
    router.add_api_route("/models", service.models)
    router.add_api_route("/models/{model:path}", service.model)
    router.add_api_route("/scratchlm/about", service.facts)
    router.add_api_route("/chat/completions", service.chat, methods=["POST"], response_model=None)
    router.add_api_route("/completions", service.complete, methods=["POST"], response_model=None)
    app.include_router(router)
    app.add_api_route("/health", _health)
    app.add_api_route("/", _page, response_model=None)
    _answer_errors_in_one_shape(app)
    return app


def _key_check(api_key: str | None) -> Callable[[Request], None]:
    def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if api_key is None:
            return
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), api_key.encode()):
            raise Refusal("Wrong or missing API key.", status=401, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    return check


def _health() -> dict[str, str]:
    return {"status": "ok"}


def _page() -> HTMLResponse:
    return HTMLResponse(page(), headers=HEADERS)


def _answer_errors_in_one_shape(app: FastAPI) -> None:
    app.add_exception_handler(Refusal, lambda _, error: _said_no(error))
    app.add_exception_handler(UsageError, lambda _, error: Refusal(str(error), code="context_length_exceeded").response())
    app.add_exception_handler(HTTPException, lambda _, error: _said_no(error))
    app.add_exception_handler(Exception, lambda _, error: Refusal("Something went wrong here.", status=500).response())


def _said_no(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return Refusal(f"{error.detail}.", status=error.status_code, headers=dict(error.headers or {})).response()
    assert isinstance(error, Refusal)
    return error.response()
