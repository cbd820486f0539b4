"""Redis is killed, paused and started again while the proxy runs: what goes on, what is refused, who says so."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, acknowledged, ask, assistant, begin, told, user
from tests.support.http import Client, Reply
from tests.support.processes import readiness, wait_until
from tests.support.proxy import USUAL_PATIENCE
from tests.support.redis_server import limit_key
from tests.support.steps import done, finish, gate, say, usage
from tests.support.upstream import ScriptedUpstream

WORKERS = 2
COUNT = 6
SHARE = COUNT // WORKERS
# A request waits for a Redis that is away three times 250 ms, then nobody does; the rest is this machine's.
BOUND = 5


def launched(launch: Launch, mode: str, *, workers: int) -> Server:
    limits = {"LIMITS__REQUESTS": f"{COUNT}/min", "LIMITS__ON_REDIS_DOWN": mode}
    return launch(workers=workers, port_per_worker=True, **USUAL_PATIENCE, **limits)


@pytest.fixture(scope="module")
def local(launch: Launch) -> Server:
    return launched(launch, "local", workers=WORKERS)


@pytest.fixture(scope="module")
def closed(launch: Launch) -> Server:
    return launched(launch, "closed", workers=1)


@pytest.fixture(scope="module")
def opened(launch: Launch) -> Server:
    return launched(launch, "open", workers=1)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The one that the test's parameter names."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def healthy(local: Server, closed: Server, opened: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    """Every test begins and ends with a Redis that answers, and a log without faults."""
    upstream.script(acknowledge())
    yield
    for server in (local, closed, opened):
        if not all_well(server):
            assert server.redis_server is not None
            server.redis_server.send_signal(signal.SIGCONT)
            server.redis_server.kill()
            server.redis_server.start()
            wait_until(lambda server=server: all_well(server), "all workers are ready again")  # type: ignore[misc]
        server.check_log()


def all_well(server: Server) -> bool:
    return all(readiness(port) == (200, {"status": "ready", "away": {}}) for port in server.ports)


def away(server: Server, how: int) -> None:
    """Kill (SIGKILL) or pause (SIGSTOP) the server's Redis."""
    assert server.redis_server is not None
    if how == signal.SIGKILL:
        server.redis_server.kill()
    else:
        server.redis_server.send_signal(how)


async def back(server: Server, how: int) -> None:
    """Bring it back, and wait until every worker knows."""
    assert server.redis_server is not None
    if how == signal.SIGKILL:
        await asyncio.to_thread(server.redis_server.start)
    else:
        server.redis_server.send_signal(signal.SIGCONT)
    await until(lambda: all_well(server), "all workers are ready again")


async def timely(client: Client, text: str, session: str | None = None) -> Reply:
    """Ask; the answer must come within the bound."""
    began = time.monotonic()
    answer = await ask(client, text, session)
    assert time.monotonic() - began < BOUND
    return answer


both_ways = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
each_setting = pytest.mark.parametrize(
    ("server", "how"),
    [
        ("local", signal.SIGKILL),
        ("local", signal.SIGSTOP),
        ("closed", signal.SIGSTOP),
        ("opened", signal.SIGKILL),
    ],
    indirect=["server"],
    ids=["local-killed", "local-paused", "closed-paused", "open-killed"],
)


@both_ways
async def test_with_local_each_worker_admits_its_share_at_once(
    local: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    """All together stay within the limit."""
    (person,) = await local.people(1)
    away(local, how)
    for worker in range(WORKERS):
        answers = [await timely(speak(local, person, worker=worker), "x") for _ in range(SHARE + 2)]
        assert [answer.status for answer in answers] == [200] * SHARE + [429] * 2
        assert int(answers[-1].head.get("Retry-After") or "missing") >= 1
    assert len(upstream.requests) == COUNT


@both_ways
async def test_with_closed_everybody_is_refused_at_once(
    closed: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    """An unmetered request costs money. The refusal says when to come back, and readiness takes the worker out."""
    (person,) = await closed.people(1)
    away(closed, how)
    for session in (None, "s", None, "s", None):
        answer = await timely(speak(closed, person), "x", session)
        assert answer.status == 503
        assert answer.json["error"]["code"] == "store_unavailable"
        assert int(answer.head.get("Retry-After") or "missing") >= 1
    assert not upstream.requests


@both_ways
async def test_with_open_everybody_is_admitted_at_once(
    opened: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    (person,) = await opened.people(1)
    away(opened, how)
    for number in range(2 * COUNT):
        assert (await timely(speak(opened, person, worker=number), "x")).status == 200


@each_setting
async def test_running_answers_go_on_and_are_recorded(
    server: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    (person,) = await server.people(1)
    go_on = asyncio.Event()
    upstream.once(say("Before, "), gate(go_on), say("after."), finish(), usage(), done())
    stream = await begin(speak(server, person), "Talk.", "running")
    await stream.head()
    first = await stream.frame()
    away(server, how)
    go_on.set()
    async with asyncio.timeout(5):
        rest = b"".join([frame async for frame in stream.frames()])
    assert (b"Before, " in first, b"after." in rest, b'"error"' in rest) == (True, True, False)
    assert rest.endswith(b"data: [DONE]\n\n")
    assert [row["end_reason"] for row in await server.usage(person)] == ["finish"]
    assert (await server.history(person))[-1]["message"] == assistant("Before, after.")


@each_setting
async def test_limits_come_back_by_themselves(
    server: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    """What is counted is counted by Redis again, on every worker."""
    before, person = await server.people(2)
    away(server, how)
    for number in range(WORKERS * 4):
        await ask(speak(server, before, worker=number), "x")
    await back(server, how)
    for number in range(COUNT):
        assert (await ask(speak(server, person, worker=number), "x")).status == 200
    assert (await ask(speak(server, person), "x")).status == 429
    assert await counted(server, person) == COUNT


async def counted(server: Server, person: Person) -> int:
    async with server.redis() as redis:
        return int(await redis.llen(limit_key(person.id, "ring", "60")))


@each_setting
async def test_readiness_says_so(
    server: Server, closed: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    (person,) = await server.people(1)
    away(server, how)
    for worker, port in enumerate(server.ports):
        began = time.monotonic()
        status, body = await asyncio.to_thread(readiness, port)
        assert time.monotonic() - began < BOUND
        assert status == (503 if server is closed else 200)
        assert list(body["away"]) == ["redis"]
        assert (await ask(speak(server, person, worker=worker), "x")).status in (200, 503)
        assert (await speak(server, person, worker=worker).ask("GET", "/healthz")).status == 200


async def test_a_metric_says_so(local: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    (person,) = await local.people(1)
    away(local, signal.SIGKILL)
    for _ in range(4):
        await ask(speak(local, person), "x")
    metrics = (await speak(local, person).ask("GET", "/metrics")).body.decode()
    assert [line for line in metrics.splitlines() if "redis" in line and not line.startswith("#")]


@both_ways
async def test_while_redis_is_away_a_session_lives_on_from_history(
    local: Server, speak: Speak, upstream: ScriptedUpstream, how: int
) -> None:
    (person,) = await local.people(1)
    # The first session of a worker loads the tokenizer: not what is measured here.
    await ask(speak(local, person, worker=1), "x", "another")
    await ask(speak(local, person), "one", "history")
    await local.usage(person, 2)
    away(local, how)
    await timely(speak(local, person, worker=1), "two", "history")
    assert told(upstream.requests[-1]) == [user("one"), assistant(acknowledged("one")), user("two")]


async def test_after_a_restart_of_redis_a_session_knows_what_was_said_without_it(
    local: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    await meanwhile(local, speak, upstream, signal.SIGKILL, asked_last=1)


async def test_after_an_interruption_a_session_knows_what_was_said_meanwhile(
    local: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Redis was out of reach and has lost nothing: the worker that spoke meanwhile puts it in at once."""
    await meanwhile(local, speak, upstream, signal.SIGSTOP, asked_last=0)


async def meanwhile(local: Server, speak: Speak, upstream: ScriptedUpstream, how: int, *, asked_last: int) -> None:
    (person,) = await local.people(1)
    await ask(speak(local, person), "one", "gap")
    await local.usage(person)
    away(local, how)
    await ask(speak(local, person), "two", "gap")
    await local.usage(person, 2)
    await back(local, how)
    await ask(speak(local, person, worker=asked_last), "three", "gap")
    said = [message["content"] for message in told(upstream.requests[-1])]
    assert said == ["one", acknowledged("one"), "two", acknowledged("two"), "three"]
