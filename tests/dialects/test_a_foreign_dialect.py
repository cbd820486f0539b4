"""A dialect whose requests, events, answers and errors are none of OpenAI's takes one class and one registry entry.

This one is a tenth of Anthropic's Messages (https://docs.anthropic.com/en/api/messages-streaming), enough to show
that nothing else has to know: events with names, a text block cut into deltas, usage in two places, its own errors.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec
import pytest

from streamproxy.dialects import DIALECTS
from streamproxy.dialects.base import Call, Failure, Translator
from streamproxy.dialects.failures import Meaning, Rule, classify
from streamproxy.domain.keypool import Candidate, Key, Upstream, candidates
from streamproxy.domain.quirks import Quirks
from streamproxy.errors import UpstreamRejectedError
from streamproxy.services.calls import Calls
from streamproxy.services.deadlines import Timeouts
from streamproxy.services.failover import Attempts, Failover
from streamproxy.services.keys import KeyPool
from streamproxy.services.prompt import Prompt
from streamproxy.upstream.client import AiohttpTransport
from streamproxy.wire.chat import ChatRequest, Message, ReportedUsage, Transcript, parse_request
from streamproxy.wire.plain import PlainRequest
from streamproxy.wire.sse import Event
from tests.support.relaying import IDENTITY, assert_family_a, cut_at, seen
from tests.support.steps import raw, reply
from tests.support.upstream import ScriptedUpstream, own_upstream_socket

upstream_socket = own_upstream_socket

RULES = (
    Rule(Meaning.KEY_DEAD, statuses={401}),
    Rule(Meaning.TOO_MANY, words={"rate_limit_error"}),
    Rule(Meaning.OVERLOADED, words={"overloaded_error"}),
    Rule(Meaning.CALLERS_FAULT, words={"invalid_request_error"}),
    Rule(Meaning.BROKEN),
)


@dataclass
class MessagesTranslator:
    """Remembers the id of the message and the tokens of its prompt."""

    base: dict[str, Any] = field(default_factory=dict)
    prompt_tokens: int = 0

    def payloads(self, event: Event) -> Sequence[bytes]:
        said = json.loads(event.data)
        match event.event:
            case "message_start":
                message = said["message"]
                self.base = {"id": message["id"], "object": "chat.completion.chunk", "model": message["model"]}
                self.prompt_tokens = message["usage"]["input_tokens"]
                return [self._chunk({"role": "assistant", "content": ""})]
            case "content_block_delta":
                return [self._chunk({"content": said["delta"]["text"]})]
            case "message_delta":
                usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": said["usage"]["output_tokens"]}
                return [self._chunk({}, "stop"), json.dumps({**self.base, "choices": [], "usage": usage}).encode()]
            case "message_stop":
                return [b"[DONE]"]
            case "error":
                return [event.data.encode()]
        return []

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return json.dumps({**self.base, "choices": [choice]}).encode()


@dataclass(frozen=True, slots=True)
class MessagesDialect:
    """See the module."""

    quirks: Quirks

    def chat(self, request: ChatRequest, *, model: str, messages: Sequence[Message], secret: str) -> Call:
        body = {
            "model": model,
            "system": [m["content"] for m in messages if m["role"] == "system"],
            "messages": [m for m in messages if m["role"] != "system"],
            "max_tokens": request.reply_tokens or 1024,
            "stream": request.stream,
        }
        # The scripted upstream plays its scripts to paths with this end only.
        return Call("/v1/messages/chat/completions", {"x-api-key": secret}, (json.dumps(body).encode(),))

    def plain(self, request: PlainRequest, *, model: str, secret: str) -> Call:
        raise NotImplementedError

    def models(self, *, secret: str) -> Call:
        return Call("/v1/models", {"x-api-key": secret}, None)

    def translator(self) -> Translator:
        return MessagesTranslator()

    def completion(self, body: bytes) -> bytes:
        message = json.loads(body)
        if message.get("type") != "message":
            return body
        text = "".join(block["text"] for block in message["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        told = message["usage"]
        usage = {"prompt_tokens": told["input_tokens"], "completion_tokens": told["output_tokens"]}
        return json.dumps({"id": message["id"], "choices": [choice], "usage": usage}).encode()

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        return classify(RULES, status, headers, body)


def named(name: str, **fields: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()


START = named("message_start", message={"id": "msg_01", "model": "claude-x", "usage": {"input_tokens": 25}})
HELLO = [
    named("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in ("Grüß", " dich", "!")
]
END = named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15}) + named("message_stop")
STREAM = START + named("ping") + b"".join(HELLO) + named("content_block_stop", index=0) + END


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_its_stream_is_a_stream_of_family_a(size: int, *, include_usage: bool) -> None:
    batches = cut_at(STREAM, range(0, len(STREAM), size))
    view = seen(batches, include_usage=include_usage, translator=MessagesTranslator())
    assert_family_a(view, include_usage=include_usage)
    assert (view.text, view.finish_reason, view.usage, view.error) == ("Grüß dich!", "stop", (25, 15, 0), None)
    assert {chunk["id"] for chunk in view.chunks} == {"msg_01"}


def test_its_error_event_ends_the_stream_as_any_other() -> None:
    broken = START + HELLO[0] + named("error", error={"type": "overloaded_error", "message": "Overloaded"})
    view = seen([broken], translator=MessagesTranslator())
    assert_family_a(view, include_usage=False)
    assert (view.text, view.error) == ("Grüß", "upstream_error_event")


def test_a_stream_that_is_cut_is_noticed() -> None:
    assert seen([START + HELLO[0]], translator=MessagesTranslator()).error == "upstream_incomplete"


class OneUpstream:
    """What ``Calls`` asks of a key pool when the caller brings the key."""

    def __init__(self, origin: str) -> None:
        self._upstream = Upstream("foreign", "messages", origin, {"*": "claude-x"}, allow_private=True)

    def offered(self, model: str) -> list[Candidate]:
        return candidates([replace(self._upstream, keys=(Key("k", "unused"),))], model)


@asynccontextmanager
async def calls_to(sock: socket.socket) -> AsyncIterator[Calls]:
    origin = f"http://127.0.0.1:{sock.getsockname()[1]}"
    pool = cast("KeyPool", OneUpstream(origin))
    async with AiohttpTransport(connect_timeout=5, private_origins=[origin]) as transport:
        yield Calls(
            pool,
            transport,
            timeouts=Timeouts(first_event=10, idle=10, total=20),
            failover=Failover(pool, max_attempts=1, retry_timeouts=False, clock=time.monotonic),
            max_bytes=1 << 20,
        )


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one registry entry."""
    monkeypatch.setitem(DIALECTS, "messages", MessagesDialect)


ASKED = parse_request(
    b'{"model":"m","stream":true,"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":"Hi"}]}'
)
PROMPT = Prompt(messages=ASKED.messages, said=ASKED.messages[1:])


async def test_it_is_spoken_over_the_wire(upstream: ScriptedUpstream, upstream_socket: socket.socket) -> None:
    upstream.script(raw(STREAM))
    async with calls_to(upstream_socket) as calls:
        answer = await calls.stream(ASKED, PROMPT, identity=IDENTITY, attempts=Attempts(), own_key="sk-theirs")
        frames = answer.frames
        while not answer.relay.ended:
            frames += answer.relay.feed(await answer.reply.batch())
        answer.reply.close()
    assert Transcript(frames).read().text == "Grüß dich!"
    request = await upstream.request()
    assert request.header("X-Api-Key") == "sk-theirs"
    assert request.json["system"] == ["Be kind."]
    assert request.json["messages"] == [{"role": "user", "content": "Hi"}]


async def test_its_whole_answer_is_a_chat_completion(
    upstream: ScriptedUpstream, upstream_socket: socket.socket
) -> None:
    told = {"input_tokens": 25, "output_tokens": 15}
    content = [{"type": "text", "text": "Grüß dich!"}]
    upstream.script(reply(200, {"type": "message", "id": "msg_01", "content": content, "usage": told}))
    async with calls_to(upstream_socket) as calls:
        asked = msgspec.structs.replace(ASKED, stream=False)
        answer = await calls.whole(asked, PROMPT, attempts=Attempts(), own_key="sk-theirs")
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Grüß dich!"
    assert answer.transcript.read().text == "Grüß dich!"
    assert answer.transcript.read().usage == ReportedUsage(25, 15, 0)


async def test_its_errors_are_read_by_its_own_table(upstream: ScriptedUpstream, upstream_socket: socket.socket) -> None:
    error = {"type": "invalid_request_error", "message": "max_tokens: must be less than 4096"}
    upstream.script(raw(named("error", error=error)))
    async with calls_to(upstream_socket) as calls:
        with pytest.raises(UpstreamRejectedError, match="max_tokens: must be less than 4096"):
            await calls.stream(ASKED, PROMPT, identity=IDENTITY, attempts=Attempts(), own_key="sk-theirs")
