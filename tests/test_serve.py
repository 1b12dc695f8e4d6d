"""The HTTP interface, with a stand-in for the model."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import Echo

from scratchlm.core.artifact import Home
from scratchlm.core.errors import UsageError
from scratchlm.serve.app import Limits, create_app
from scratchlm.serve.net import is_loopback, listen
from scratchlm.views import serve

CHAT = "/v1/chat/completions"


def client(speaker: Echo | None = None, **options: Any) -> TestClient:
    return TestClient(create_app(speaker or Echo(), **options), raise_server_exceptions=False)


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def error_of(response: Any) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def events(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_question_is_answered_with_its_counts():
    answer = client().post(CHAT, json=user("one two three")).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "one two three"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 13, "completion_tokens": 3, "total_tokens": 16}


def test_a_stream_says_who_speaks_then_what_then_why_it_ends():
    options = {"stream": True, "stream_options": {"include_usage": True}}
    first, *middle, last, usage = events(client().post(CHAT, json=user("one two", **options)).text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["delta"]["content"] for event in middle] == ["one", " two"]
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2


def test_a_stop_text_is_never_shown_even_when_it_comes_in_pieces():
    answer = client().post(CHAT, json=user("say this END of it", stop=["END of", "x"])).json()
    assert answer["choices"][0]["message"]["content"] == "say this "
    streamed = events(client().post(CHAT, json=user("say this END of it", stop="END of", stream=True)).text)
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in streamed) == "say this "
    assert streamed[-1]["choices"][0]["finish_reason"] == "stop"


def test_what_only_began_like_a_stop_text_is_shown():
    answer = client().post(CHAT, json=user("to the EN", stop=["END"])).json()
    assert answer["choices"][0]["message"]["content"] == "to the EN"


def test_sampling_reaches_the_model_and_long_wishes_are_cut():
    speaker = Echo()
    wish = {"temperature": 0.7, "top_p": 0.9, "seed": 11, "max_completion_tokens": 10**6}
    client(speaker, limits=Limits(answer_tokens=5)).post(CHAT, json=user("a b c d e f g", **wish))
    asked = speaker.asked[0]
    assert (asked.temperature, asked.top_p, asked.seed, asked.max_tokens) == (0.7, 0.9, 11, 5)


def test_without_a_seed_two_requests_draw_differently():
    speaker = Echo()
    server = client(speaker)
    for _ in range(2):
        server.post(CHAT, json=user("a", temperature=1))
    assert speaker.asked[0].seed != speaker.asked[1].seed


def test_an_answer_that_is_cut_says_length():
    answer = client().post(CHAT, json=user("a b c", max_tokens=2)).json()
    assert answer["choices"][0]["message"]["content"] == "a b"
    assert answer["choices"][0]["finish_reason"] == "length"


def test_plain_continuation_reads_the_prompt_as_text():
    answer = client().post("/v1/completions", json={"prompt": "once upon", "max_tokens": 1}).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "\0once"
    assert [e["choices"][0]["text"] for e in events(client().post("/v1/completions", json={"prompt": "a b", "stream": True}).text)][1:] == [
        " b",
        "",
    ]


def test_models_are_listed_and_found_by_name():
    server = client()
    assert [model["id"] for model in server.get("/v1/models").json()["data"]] == ["echo"]
    assert server.get("/v1/models/echo").json()["context_length"] == 400
    assert server.get("/v1/models/other").status_code == 404
    assert server.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (user("a", temperature=3), "temperature"),
        (user("a", top_p=0), "top_p"),
        (user("a", max_tokens=0), "max_tokens"),
        (user("a", max_tokens=1.5), "max_tokens"),
        (user("a", stop=["a", "b", "c", "d", "e"]), "stop"),
        (user("a", stop=[""]), "stop.0"),
        (user("a", n=2), "n"),
        (user("a", tools=[{"type": "function"}]), "tools"),
        (user("a", logprobs=True), "logprobs"),
        (user("a", response_format={"type": "json_object"}), "response_format"),
        ({"messages": []}, "messages"),
        ({}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role"),
        (user("a" * 400), "messages"),
        ({"messages": user("a")["messages"] * 6}, "messages"),
        ([], None),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(body: Any, param: str | None):
    response = client(limits=Limits(messages=5)).post(CHAT, json=body)
    assert response.status_code == 400
    assert error_of(response)["param"] == param


def test_what_asks_for_nothing_special_is_no_reason_to_refuse():
    harmless = {"n": 1, "tools": None, "tool_choice": "none", "logprobs": False, "presence_penalty": 0, "user": "me", "new_field": [1]}
    assert client().post(CHAT, json=user("a", **harmless, response_format={"type": "text"})).status_code == 200


def test_content_may_come_in_parts():
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    answer = client().post(CHAT, json={"messages": [{"role": "user", "content": parts}]}).json()
    assert answer["choices"][0]["message"]["content"] == "a b"


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"\xff", 400), (b"[" * 9000, 400), (b" " * 2000, 413), (b'{"x": NaN}', 400)])
def test_a_body_that_is_no_json_or_too_large_is_refused(body: bytes, status: int):
    server = client(limits=Limits(body_bytes=1000 if status == 413 else 10000))
    response = server.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, error_of(response)["type"]) == (status, "invalid_request_error")


def test_a_form_of_another_site_is_refused():
    assert client().post(CHAT, content=json.dumps(user("a")), headers={"Content-Type": "text/plain"}).status_code == 415


def test_another_model_is_not_found():
    response = client().post(CHAT, json=user("a", model="gpt-9"))
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer no"}, {"Authorization": "secret"}, {"Authorization": "Bearer é".encode()}]
)
def test_without_the_key_nothing_is_answered(headers: Any):
    server = client(api_key="secret")
    response = server.post(CHAT, json=user("a"), headers=headers)
    assert (response.status_code, error_of(response)["type"]) == (401, "authentication_error")
    assert server.get("/v1/models", headers=headers).status_code == 401
    assert server.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_oldest_turns_are_left_out_when_asked_to():
    history = [{"role": role, "content": letter * 150} for role, letter in [("user", "a"), ("assistant", "b"), ("user", "c")]]
    server = client()
    assert error_of(server.post(CHAT, json={"messages": history}))["code"] == "context_length_exceeded"
    response = server.post(CHAT, json={"messages": history, "drop_oldest": True})
    assert response.headers["X-Dropped-Messages"] == "2"
    assert response.json()["choices"][0]["message"]["content"] == "c" * 150


def test_when_the_line_is_full_the_next_one_is_told_when_to_come_back():
    speaker = Echo()
    speaker.gate.clear()
    answers: list[int] = []
    with client(speaker, limits=Limits(waiting=1, retry_after_s=7)) as server:
        service = server.app.state.service  # pyright: ignore[reportFunctionMemberAccess]
        threads = [threading.Thread(target=lambda: answers.append(server.post(CHAT, json=user("a")).status_code)) for _ in range(2)]
        for thread in threads:
            thread.start()
        while len(service.turns.inside) < 2:
            threading.Event().wait(0.002)
        refused = server.post(CHAT, json=user("a"))
        speaker.gate.set()
        for thread in threads:
            thread.join()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert answers == [200, 200]


def test_an_error_of_the_model_is_ours_and_tells_nothing_more():
    class Broken(Echo):
        def stream(self, ids: Any, sampling: Any) -> Any:
            raise RuntimeError("secret path")

    response = client(Broken()).post(CHAT, json=user("a"))
    assert response.status_code == 500
    assert "secret" not in response.text
    assert error_of(response)["type"] == "server_error"


def test_the_page_asks_no_other_machine_for_anything():
    page = client().get("/")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "innerHTML" not in page.text
    for reach in ("https://", "src=", "@import", "url("):
        assert reach not in page.text, reach
    assert page.text.count("http://") == page.text.count("http://www.w3.org/2000/svg")


def test_the_page_learns_what_it_talks_to():
    about = client(examples=["What does `len` do?"]).get("/v1/scratchlm/about").json()
    assert about == {"model": "echo", "context": 400, "chats": True, "examples": ["What does `len` do?"]}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/favicon.ico"])
def test_nothing_else_is_served(path: str):
    assert error_of(client().get(path))["message"] == "Not Found."


def test_a_port_in_use_is_said_in_one_line():
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="something else listens there already"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("me.example", False)]
)
def test_only_this_machine_is_loopback(host: str, loopback: bool):
    assert is_loopback(host) == loopback


def test_other_machines_need_a_key(tmp_path: Path):
    with pytest.raises(UsageError, match="--host 0\\.0\\.0\\.0: other machines could use the model"):
        serve.show(Home(tmp_path), host="0.0.0.0")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
FIELDS = [
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "n",
    "tools",
    "logprobs",
    "prompt",
    "x",
]
TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "assistant", "tool"]), "content": VALUES}), max_size=3)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)


@settings(max_examples=150, deadline=None)
@given(body=BODIES, messages=TURNS | VALUES, path=st.sampled_from([CHAT, "/v1/completions"]))
def test_no_body_whatever_breaks_the_server(body: dict[str, Any], messages: Any, path: str):
    content = json.dumps({"messages": messages} | body).encode()
    response = FUZZED.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (200, 400, 404), response.text
    if response.status_code != 200:
        error_of(response)


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=60))
def test_no_bytes_whatever_break_the_server(body: bytes):
    assert FUZZED.post(CHAT, content=body, headers={"Content-Type": "application/json"}).status_code == 400


FUZZED = client()
