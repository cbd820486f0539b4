"""Traces over OTLP, received by a collector of our own: who called whom, for how long, and nothing that was said."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, ask, begin
from tests.support.http import Client, chat
from tests.support.listener import listen
from tests.support.processes import free_port
from tests.support.steps import done, finish, reply, say
from tests.support.upstream import ScriptedUpstream

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
SECRET_WORDS = "a-question-nobody-else-may-read"


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as the collector received it; ids in hex."""

    name: str
    trace_id: str
    id: str
    parent: str
    kind: int
    failed: bool
    attributes: dict[str, Any]


class Collector:
    """Takes OTLP over HTTP, as a real one does, and keeps what came."""

    def __init__(self, sock: socket.socket) -> None:
        self.spans: list[Seen] = []
        self.bodies: list[bytes] = []
        self.services: set[str] = set()
        self._server = HTTPServer(Application([("/v1/traces", _Receiver, {"collector": self})]))
        self._server.add_socket(sock)

    def receive(self, body: bytes) -> None:
        self.bodies.append(body)
        for batch in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {a.key: a.value.string_value for a in batch.resource.attributes}
            self.services.add(resource["service.name"])
            self.spans += [_seen(span) for scope in batch.scope_spans for span in scope.spans]

    async def of(self, trace_id: str, count: int) -> list[Seen]:
        """The spans of a trace, once there are *count*."""
        return list(
            await until(
                lambda: found if len(found := [s for s in self.spans if s.trace_id == trace_id]) >= count else None,
                f"{count} spans of {trace_id}",
                40,
            )
        )

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class _Receiver(RequestHandler):
    def initialize(self, collector: Collector) -> None:
        self.collector = collector

    def post(self) -> None:
        assert self.request.headers["Content-Type"] == "application/x-protobuf"
        self.collector.receive(self.request.body)
        self.set_header("Content-Type", "application/x-protobuf")


def _seen(span: Any) -> Seen:
    values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return Seen(span.name, *ids, span.kind, span.status.code == 2, values)


@pytest.fixture(scope="module")
def collector_socket() -> Iterator[socket.socket]:
    with listen() as sock:
        yield sock


@pytest.fixture
def collector(io_loop: IOLoop, collector_socket: socket.socket) -> Iterator[Collector]:
    made = Collector(collector_socket.dup())
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture(scope="module")
def server(launch: Launch, collector_socket: socket.socket) -> Server:
    port = collector_socket.getsockname()[1]
    return launch(TELEMETRY__TRACES_ENDPOINT=f"http://127.0.0.1:{port}/v1/traces")


@pytest.fixture
def person(io_loop: IOLoop, server: Server) -> Person:
    (made,) = io_loop.run_sync(lambda: server.people(1))
    return made


@pytest.fixture
def client(server: Server, speak: Speak, person: Person, upstream: ScriptedUpstream) -> Client:
    upstream.script(acknowledge())
    return speak(server, person)


async def test_a_request_joins_its_trace_and_hands_it_on(
    client: Client, collector: Collector, upstream: ScriptedUpstream
) -> None:
    """The caller's span is ours' parent, ours the call's, and the call's is what the upstream is told."""
    upstream.script(say("Well "), say("said."), finish(), done())
    answer = await client.ask("POST", "/v1/chat/completions", chat(SECRET_WORDS), traceparent=TRACEPARENT)
    assert answer.status == 200
    request, call = sorted(await collector.of(TRACE_ID, 2), key=lambda span: span.kind)
    assert (request.name, request.parent, request.failed) == ("POST /v1/chat/completions", PARENT_ID, False)
    assert (call.name, call.parent) == ("chat gpt-4o-mini", request.id)
    assert upstream.requests[-1].header("traceparent") == f"00-{TRACE_ID}-{call.id}-01"
    assert request.attributes["streamproxy.stream_id"] == answer.head.get("X-Stream-Id")
    assert request.attributes["streamproxy.end_reason"] == "finish"
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert collector.services == {"streamproxy"}


async def test_each_attempt_is_a_span_of_its_own(
    client: Client, collector: Collector, upstream: ScriptedUpstream
) -> None:
    """The one that failed says why; the request that another answered did not fail."""
    trace = f"{7:032x}"
    upstream.script(say("Here."), finish(), done())
    upstream.once(reply(503, {"error": {"message": "busy"}}))
    assert (
        await client.ask("POST", "/v1/chat/completions", chat("Try."), traceparent=f"00-{trace}-{PARENT_ID}-01")
    ).status == 200
    spans = await collector.of(trace, 3)
    calls = {span.attributes["streamproxy.attempt"]: span for span in spans if span.name.startswith("chat ")}
    assert [calls[1].failed, calls[2].failed] == [True, False]
    assert calls[1].attributes["error.type"].startswith("upstream_")
    assert not any(span.failed for span in spans if span.name.startswith("POST"))


async def test_a_trace_that_its_beginner_does_not_record_is_not_sent(
    client: Client, collector: Collector, upstream: ScriptedUpstream
) -> None:
    """It is handed on all the same, still marked as not recorded."""
    unrecorded, recorded = f"{8:032x}", f"{9:032x}"
    for trace, flag in ((unrecorded, "00"), (recorded, "01")):
        await client.ask("POST", "/v1/chat/completions", chat("Hm."), traceparent=f"00-{trace}-{PARENT_ID}-{flag}")
    await collector.of(recorded, 2)
    assert not [span for span in collector.spans if span.trace_id == unrecorded]
    told = upstream.requests[0].header("traceparent") or ""
    assert told.startswith(f"00-{unrecorded}-")
    assert told.endswith("-00")


async def test_no_span_holds_content_or_credentials(
    client: Client, collector: Collector, upstream: ScriptedUpstream, person: Person, server: Server
) -> None:
    """Neither what was asked, nor what was answered, nor who may ask."""
    trace = f"{10:032x}"
    upstream.script(say("an-answer-nobody-else-may-read"), finish(), done())
    await client.ask("POST", "/v1/chat/completions", chat(SECRET_WORDS), traceparent=f"00-{trace}-{PARENT_ID}-01")
    await collector.of(trace, 2)
    sent = b"".join(collector.bodies)
    for secret in (SECRET_WORDS, "an-answer-nobody-else", person.bearer, *server.keys):
        assert secret.encode() not in sent


async def test_without_a_collector_questions_are_answered_and_the_server_stops(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Spans are lost, nothing else; stopping does not wait for who does not answer."""
    upstream.script(acknowledge())
    alone = launch(TELEMETRY__TRACES_ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/traces")
    (person,) = await alone.people(1)
    for _ in range(5):
        assert (await ask(speak(alone, person), "Hello?")).status == 200
    stream = await begin(speak(alone, person), "Hello?")
    assert (await stream.head()).status == 200
    alone.stop()
