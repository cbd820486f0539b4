"""The demo model: OpenAI's shapes exactly, honest texts, and no work for a client that has left."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.demo import DemoServer, start_demo
from streamproxy.demo.answers import answer
from streamproxy.demo.chinese import CHINESE
from streamproxy.demo.completion import FINGERPRINT, reply
from streamproxy.demo.english import ENGLISH
from streamproxy.demo.models import DEMO, MODELS
from streamproxy.domain.tokens import count_messages
from streamproxy.errors import ConfigurationError
from streamproxy.tokenizer import EstimatingCounter, Tokenizer
from streamproxy.wire.chat import parse_request
from tests.support.http import Client, Connection

HONEST = {"en": "no language model", "zh": "不是语言模型"}


class Pace:
    """Sets the pace of answers: no pause at all, but the one numbered *held* lasts for ever."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.held = 0
        self.waiting = asyncio.Event()
        self.stopped = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if len(self.asked) != self.held:
            return
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


@pytest.fixture
def pace(io_loop: IOLoop) -> Pace:
    return Pace()


@pytest.fixture
def demo(io_loop: IOLoop, pace: Pace) -> Iterator[DemoServer]:
    server = io_loop.run_sync(lambda: start_demo(pause=pace, counters=QUICK))
    yield server
    io_loop.run_sync(server.close)


@pytest.fixture
def client(demo: DemoServer) -> Iterator[Client]:
    port = urlsplit(demo.base_url).port
    assert port is not None
    client = Client(port)
    yield client
    client.close()


class Quick:
    """Counters without tables, so that each test's server is ready at once."""

    async def counter(self, _: str) -> EstimatingCounter:
        return EstimatingCounter()

    async def off_loop(self, _: object, work: Any) -> Any:
        return work()


QUICK = Quick()


def said(*texts: str, model: str = "demo", **fields: Any) -> str:
    """The demo model's answer to the last of *texts*, each of which it answered."""
    messages: list[dict[str, Any]] = []
    for text in texts:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": f"answer to {text}"}]
    body = {"model": model, "messages": messages[:-1], **fields}
    return answer(parse_request(json.dumps(body).encode()), MODELS.get(model, DEMO))


# --- what goes over the wire


async def test_a_stream_has_exactly_openais_chunks(client: Client) -> None:
    first, *contents, last = (await client.chat("What are you?", model="demo")).chunks()
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{24}", first["id"])
    head = {"id": first["id"], "object": "chat.completion.chunk", "created": first["created"], "model": "demo"}
    head["system_fingerprint"] = FINGERPRINT

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**head, "choices": [choice]}

    assert first == chunk({"role": "assistant", "content": "", "refusal": None})
    assert len(contents) > 50
    assert contents == [chunk({"content": c["choices"][0]["delta"]["content"]}) for c in contents]
    assert last == chunk({}, "stop")


async def test_every_piece_is_written_by_itself(client: Client, pace: Pace) -> None:
    whole = await client.chat("Hello", model="demo")
    contents = [c for c in whole.chunks() if c["choices"][0]["delta"].get("content")]
    assert len(whole.pieces) == len(contents) + 1
    assert pace.asked == [DEMO.first_piece_after] + [1 / DEMO.pace] * (len(contents) + 1)
    assert 30 <= DEMO.pace <= 40


async def test_usage_comes_in_a_last_chunk_when_asked_for_and_is_null_before(client: Client) -> None:
    whole = await client.chat("Hello", model="demo", stream_options={"include_usage": True})
    *before, last = whole.chunks()
    assert [c["usage"] for c in before] == [None] * len(before)
    assert last["choices"] == []
    usage = last["usage"]
    prompt = count_messages([{"role": "user", "content": "Hello"}], EstimatingCounter())
    assert usage["prompt_tokens"] == prompt
    assert usage["completion_tokens"] >= len(before) - 2
    assert usage["total_tokens"] == prompt + usage["completion_tokens"]


async def test_openais_client_reads_streams_and_whole_answers_alike(demo: DemoServer) -> None:
    messages: Any = [{"role": "user", "content": "你是谁?"}]
    async with openai.AsyncOpenAI(base_url=demo.base_url, api_key="anything") as sdk:
        stream = await sdk.chat.completions.create(model="demo", messages=messages, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream])
        whole = await sdk.chat.completions.create(model="demo", messages=messages)
        models = [model.id async for model in sdk.models.list()]
    assert whole.choices[0].message.content == text
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert models == list(MODELS)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_bound_on_the_reply_is_kept(client: Client, field: str) -> None:
    bound: dict[str, Any] = {field: 7}
    whole = await client.chat("Hello", model="demo", stream=False, **bound)
    assert whole.json["choices"][0]["finish_reason"] == "length"
    assert 0 < whole.json["usage"]["completion_tokens"] <= 7


async def test_one_model_can_be_looked_up(client: Client) -> None:
    one = await client.ask("GET", "/v1/models/demo-slow")
    assert one.json in (await client.ask("GET", "/v1/models")).json["data"]
    missing = await client.ask("GET", "/v1/models/gpt-9")
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, None),
        ("POST", "/v1/chat/completions", b"", 400, None),
        ("POST", "/v1/chat/completions", {"model": "demo"}, 400, "messages"),
        ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}]}, 400, "model"),
        (
            "POST",
            "/v1/chat/completions",
            {"model": "demo", "messages": [{"role": "user", "content": 1}]},
            400,
            "content",
        ),
        (
            "POST",
            "/v1/chat/completions",
            {"model": "demo", "n": 2, "messages": [{"role": "user", "content": "?"}]},
            400,
            "n",
        ),
        (
            "POST",
            "/v1/chat/completions",
            {"model": "demo-quick", "messages": [{"role": "user", "content": "?"}]},
            404,
            "model",
        ),
        ("GET", "/v1/chat/completions", None, 405, None),
        ("GET", "/", None, 404, None),
        ("POST", "/v1/audio/speech", {}, 404, None),
        ("DELETE", "/v1/models", None, 405, None),
    ],
)
async def test_errors_have_openais_shape(
    client: Client, method: str, path: str, body: object, status: int, param: str | None
) -> None:
    refused = await client.ask(method, path, body)
    assert refused.status == status
    assert refused.head.get("Content-Type") == "application/json"
    error = refused.json["error"]
    assert set(refused.json) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"] or "").endswith(param or "")
    assert bool(error["param"]) == bool(param)


async def test_the_failing_model_breaks_off_with_an_error_and_no_end(client: Client) -> None:
    whole = await client.chat("Hello", model="demo-fail")
    *chunks, failure = [json.loads(frame[6:]) for frame in whole.frames()]
    assert len(chunks) == 13
    assert all(c["choices"][0]["finish_reason"] is None for c in chunks)
    assert failure["error"]["code"] == "demo_failure"


async def test_the_failing_model_is_a_500_where_nothing_is_streamed(client: Client) -> None:
    assert (await client.chat("Hello", model="demo-fail", stream=False)).status == 500


@pytest.mark.parametrize("stream", [True, False])
async def test_the_busy_model_refuses_and_says_for_how_long(client: Client, stream: bool) -> None:
    refused = await client.chat("Hello", model="demo-busy", stream=stream)
    assert (refused.status, refused.head.get("Retry-After")) == (429, "2")
    assert refused.json["error"]["code"] == "rate_limit_exceeded"


async def test_the_slow_model_thinks_for_seconds_and_the_long_one_says_everything(client: Client, pace: Pace) -> None:
    await client.chat("Hello", model="demo-slow")
    assert pace.asked[0] >= 2
    assert pace.asked[1] > 1 / DEMO.pace
    text = (await client.chat("Hello", model="demo-long")).text()
    assert all(topic.text in text for topic in ENGLISH.topics)


# --- clients that leave


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("leave", [Connection.leave, Connection.reset])
async def test_a_client_that_leaves_before_the_first_piece_stops_the_answer(
    client: Client, pace: Pace, stream: bool, leave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pace.held = 1
    connection = await client.open_chat(model="demo", stream=stream)
    await pace.waiting.wait()
    leave(connection)
    await pace.stopped.wait()
    await client.ask("GET", "/v1/models")
    assert caplog.records == []


async def test_a_client_that_leaves_in_mid_answer_stops_it(
    client: Client, pace: Pace, caplog: pytest.LogCaptureFixture
) -> None:
    pace.held = 6
    connection = await client.open_chat(model="demo")
    await connection.head()
    for _ in range(5):
        assert await connection.piece()
    await pace.waiting.wait()
    connection.leave()
    await pace.stopped.wait()
    await client.ask("GET", "/v1/models")
    assert len(pace.asked) == 6
    assert caplog.records == []


async def test_closing_the_server_ends_running_answers(io_loop: IOLoop, pace: Pace) -> None:
    server = await start_demo(pause=pace, counters=QUICK)
    client = Client(urlsplit(server.base_url).port or 0)
    pace.held = 1
    connection = await client.open_chat(model="demo")
    await pace.waiting.wait()
    await server.close()
    await pace.stopped.wait()
    assert await connection.at_end()
    client.close()


# --- where it listens


async def test_it_listens_on_a_unix_socket_that_only_its_owner_may_open(tmp_path: Path, pace: Pace) -> None:
    path = tmp_path / "demo.sock"
    server = await start_demo(unix_socket=str(path), pause=pace, counters=QUICK)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get(f"{server.base_url}/models") as models,
    ):
        assert models.status == 200
    await server.close()
    assert not path.exists()


async def test_a_port_that_is_taken_is_a_fault_that_says_so(demo: DemoServer) -> None:
    port = urlsplit(demo.base_url).port or 0
    with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1"):
        await start_demo(port=port)


async def test_it_counts_by_itself_when_nobody_lends_it_counters(pace: Pace) -> None:
    server = await start_demo(pause=pace)
    client = Client(urlsplit(server.base_url).port or 0)
    usage = (await client.chat("hello world", model="demo", stream=False)).json["usage"]
    counter = await Tokenizer().counter("demo")
    assert usage["prompt_tokens"] == count_messages([{"role": "user", "content": "hello world"}], counter)
    client.close()
    await server.close()


# --- what it says


@pytest.mark.parametrize("speech", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_text_is_reached_by_asking_for_its_title(speech: Any) -> None:
    for topic in speech.topics:
        assert topic.text in said(topic.title if speech is ENGLISH else f"{topic.title} 吗"), topic.title


@pytest.mark.parametrize("text", ["Hello", "What are you?", "你好", "你是谁?", "Translate this poem", "写一首诗"])
@pytest.mark.parametrize("model", ["demo", "demo-long", "gpt-4o"])
def test_every_answer_says_that_no_language_model_gave_it(text: str, model: str) -> None:
    assert HONEST["zh" if re.search("[一-龥]", text) else "en"] in said(text, model=model)


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("How do I connect a key?", "OPENAI_API_KEY"),
        ("how do sessions work", "X-Session-Id"),
        ("Which limits are there?", "Retry-After"),
        ("How do I put nginx in front?", "proxy_buffering off"),
        ("Which models are there to try?", "demo-slow"),
        ("Show me Markdown and code.", "```python"),
        ("What is streamproxy?", "OpenAI-compatible"),
        ("你是谁?", "演示模型"),
        ("怎么接入密钥?", "OPENAI_API_KEY"),
        ("会话是怎么工作的?", "X-Session-Id"),
        ("nginx怎么配置", "proxy_buffering off"),
        ("有哪些限流?", "Retry-After"),
    ],
)
def test_it_knows_what_a_newcomer_asks(question: str, part: str) -> None:
    assert part in said(question)


def test_it_shows_that_it_sees_the_conversation() -> None:
    third = said("My dog is called Rex", "I like tea", "and now?")
    assert "message 3 of our conversation" in third
    assert "You told me earlier: “My dog is called Rex”, “I like tea”" in third
    assert "message 1 of our conversation" in said("and now?")
    assert "Rex" not in said("and now?")
    assert "第 2 条消息" in said("我喜欢喝茶", "然后呢?")


@pytest.mark.parametrize(
    ("told", "asked", "name"),
    [
        ("My name is Ada.", "What is my name?", "Ada"),
        ("hi, I'm Grace", "do you know my name?", "Grace"),
        ("我叫小明", "我叫什么名字?", "小明"),
        ("My name is Ada", "我是谁?", "Ada"),
        ("我的名字是李雷。", "what's my name", "李雷"),
        ("I'm tired. Call me O'Brien", "What’s my name?", "O'Brien"),
    ],
)
def test_it_knows_the_name_it_was_told_earlier(told: str, asked: str, name: str) -> None:
    assert f"**{name}**" in said(told)
    assert f"**{name}**" in said(told, "and now?", asked)
    assert name not in said(asked)


def test_it_repeats_what_was_said_and_how_its_last_answer_ended() -> None:
    assert "- “I like tea”" in said("I like tea", "What did I say?")
    assert "nothing earlier" in said("What did I say?")
    assert "answer to I like tea" in said("I like tea", "Go on")
    assert "“我喜欢喝茶”" in said("我喜欢喝茶", "我之前说了什么?")


def test_it_says_what_it_cannot_do() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    assert "cannot call them" in said("Hello", tools=tools)
    assert "`gpt-4o`" in said("Hello", model="gpt-4o")
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "What is this?"}]
    body = {"model": "demo", "messages": [{"role": "user", "content": picture}]}
    assert "not text" in answer(parse_request(json.dumps(body).encode()), DEMO)


CONTENTS = (
    st.none()
    | st.text(max_size=300)
    | st.lists(st.fixed_dictionaries({}, optional={"text": st.text() | st.integers()}))
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system", "x"]), "content": CONTENTS}),
    min_size=1,
    max_size=6,
)


@given(MESSAGES, st.sampled_from([*MODELS, "other {0} {name}"]))
def test_a_conversation_of_any_shape_is_answered(messages: list[Any], model: str) -> None:
    body = json.dumps({"model": model, "messages": messages}, ensure_ascii=False).encode(errors="replace")
    assert "language model" in (text := answer(parse_request(body), MODELS.get(model, DEMO))) or HONEST["zh"] in text


@given(st.text("a b\n中文。👨‍👩‍👧 é\t"), st.none() | st.integers(1, 20))
def test_pieces_are_the_text_and_never_over_the_bound(text: str, at_most: int | None) -> None:
    made = reply(text, at_most=at_most, counter=EstimatingCounter())
    assert text.startswith("".join(made.pieces))
    assert (made.finish_reason == "stop") == (text == "".join(made.pieces))
    if at_most is not None:
        assert made.completion_tokens <= at_most
