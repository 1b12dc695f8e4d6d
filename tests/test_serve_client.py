"""The real client against a real server on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import openai
import pytest
import uvicorn
from stand_in import Echo

from scratchlm.serve.app import Limits, create_app
from scratchlm.serve.net import listen
from scratchlm.serve.turns import Turns

MESSAGES = [{"role": "user", "content": "one two three"}]


@contextmanager
def serving(speaker: Echo, **options: object) -> Iterator[tuple[openai.OpenAI, Turns]]:
    """A client of a server that runs in a thread and is stopped at the end."""
    app = create_app(speaker, api_key="secret", **options)  # pyright: ignore[reportArgumentType]
    with listen("127.0.0.1", 0) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        try:
            with openai.OpenAI(base_url=url, api_key="secret", max_retries=0, timeout=10) as client:
                yield client, app.state.service.turns
        finally:
            speaker.gate.set()
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


def wait_until(done: object) -> None:
    """Until ``done()`` holds; fails after 10 seconds."""
    for _ in range(5000):
        if done():  # pyright: ignore[reportCallIssue]
            return
        threading.Event().wait(0.002)
    pytest.fail("it never became true")


def test_the_client_lists_asks_and_streams():
    with serving(Echo()) as (client, _):
        assert [model.id for model in client.models.list()] == ["echo"]
        answer = client.chat.completions.create(model="echo", messages=MESSAGES, temperature=0)
        assert answer.choices[0].message.content == "one two three"
        assert client.completions.create(model="echo", prompt="one two").choices[0].finish_reason == "stop"
        chunks = list(client.chat.completions.create(model="echo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "one two three"
    assert chunks[-1].usage.total_tokens == 16


def test_the_client_understands_each_refusal():
    with serving(Echo()) as (client, _):
        with pytest.raises(openai.NotFoundError, match="no model 'other'"):
            client.chat.completions.create(model="other", messages=MESSAGES)
        with pytest.raises(openai.BadRequestError, match="n: this server cannot"):
            client.chat.completions.create(model="echo", messages=MESSAGES, n=2)
        with pytest.raises(openai.AuthenticationError, match="API key"):
            client.with_options(api_key="wrong").models.list()


def test_who_leaves_in_mid_stream_frees_the_model():
    speaker = Echo()
    speaker.gate.clear()
    with serving(speaker, limits=Limits(waiting=0)) as (client, turns):
        stream = client.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="echo", messages=MESSAGES)
        stream.close()
        wait_until(lambda: all(turn.gone.is_set() for turn in turns.inside))
        speaker.gate.set()
        wait_until(lambda: not turns.inside)
        assert speaker.spoken == 1
        assert client.chat.completions.create(model="echo", messages=MESSAGES).choices[0].finish_reason == "stop"


def test_who_leaves_while_in_line_gives_up_the_place():
    speaker = Echo()
    speaker.gate.clear()
    with serving(speaker, limits=Limits(waiting=1)) as (client, turns):
        first = client.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
        second = client.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
        assert len(turns.inside) == 2
        second.close()
        wait_until(lambda: len(turns.inside) == 1)
        speaker.gate.set()
        assert len(list(first)) == 5


def test_an_error_in_mid_stream_reaches_the_client():
    class Breaks(Echo):
        def stream(self, ids: object, sampling: object) -> Iterator[object]:
            raise RuntimeError("secret path")

    with serving(Breaks()) as (client, _), pytest.raises(openai.APIError, match="Something went wrong"):
        list(client.chat.completions.create(model="echo", messages=MESSAGES, stream=True))
