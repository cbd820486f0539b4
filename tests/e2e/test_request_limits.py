"""Requests in sliding windows and calendar days, counted over all workers and measured at the upstream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.server import Person, Server
from tests.e2e.talk import acknowledge, acknowledged, ask, newest
from tests.support.http import Reply
from tests.support.proxy import USUAL_PATIENCE
from tests.support.redis_server import limit_key
from tests.support.steps import Answer, Step, done, drop, error_of, finish, reply, say
from tests.support.upstream import ScriptedUpstream

WORKERS = 4
COUNT, WINDOW = 20, 2
CLIENTS = 64
# Three windows and a bit.
ADMISSIONS = 3 * COUNT + 4
A_MINUTE = 5


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Twenty requests in any two seconds, by Redis alone.

    On a machine so busy that a worker takes Redis for away, ``local`` would count what the worker admits by itself.
    """
    limits = {"LIMITS__REQUESTS": f"{COUNT}/{WINDOW}s", "LIMITS__ON_REDIS_DOWN": "closed"}
    return launch(workers=WORKERS, port_per_worker=True, **limits)


@pytest.fixture(scope="module")
def slow(launch: Launch) -> Server:
    """So few in so long a time that no window ends inside a test."""
    return launch(workers=2, port_per_worker=True, LIMITS__REQUESTS=f"{A_MINUTE}/min")


@pytest.fixture(scope="module")
def zone() -> str:
    """Where it is about noon, so that no test runs over midnight."""
    hours = datetime.now(UTC).hour - 12
    return f"Etc/GMT{hours:+d}"


@pytest.fixture(scope="module")
def daily(launch: Launch, zone: str) -> Server:
    """Three requests a day."""
    return launch(workers=2, port_per_worker=True, LIMITS__REQUESTS="3/calendar-day", LIMITS__TIMEZONE=zone)


@pytest.fixture(autouse=True)
def sound(server: Server, slow: Server, daily: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    for each in (server, slow, daily):
        each.check_log()


async def admissions_in_redis(server: Server, person: Person, done: asyncio.Event) -> list[int]:
    """The stamps (µs, Redis's clock) that the ring held until *done*, looked at often enough to miss hardly any."""
    seen: set[int] = set()
    async with server.redis() as redis:
        while not done.is_set():
            seen |= {int(stamp) for stamp in await redis.lrange(limit_key(person.id, "ring", str(WINDOW)), 0, -1)}
            await asyncio.sleep(WINDOW / 20)
    return sorted(seen)


def narrowest(stamps: Sequence[int]) -> int:
    """The shortest time in which one request more than allowed was admitted."""
    return min(later - earlier for earlier, later in zip(stamps, stamps[COUNT:], strict=False))


def most_in_a_window(lives: Collection[tuple[float, float]]) -> int:
    """How many of *lives*, each from being sent to arriving at the upstream, lie inside one window.

    A request was admitted somewhere between the two, so this many were admitted in it, however long they travelled.
    """
    return max(sum(1 for sent, arrived in lives if start <= sent and arrived < start + WINDOW) for start, _ in lives)


async def test_sixty_four_clients_on_four_workers_never_get_more_than_the_limit_in_any_window(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Half of them obey Retry-After, the others ask again at once; nobody is answered anything but 200 and 429.

    Where the machine keeps Redis from answering in time it is 503, and nobody knows whether Redis counted that request.
    """
    (person,) = await server.people(1)
    sent: dict[str, float] = {}
    arrived: dict[str, float] = {}
    uncertain: list[str] = []
    enough = asyncio.Event()

    async def arrive(answer: Answer) -> None:
        arrived[newest(answer.request)] = time.monotonic()

    upstream.script(arrive, acknowledge())
    watch = asyncio.create_task(admissions_in_redis(server, person, enough))

    async def insist(number: int) -> None:
        client = speak(server, person, worker=number)
        while len(arrived) < ADMISSIONS:
            text = f"{number} for the time {len(sent)}"
            sent[text] = time.monotonic()
            answer = await ask(client, text)
            if answer.status == 503 and "Redis is away" in server.log():
                uncertain.append(text)
            else:
                assert answer.status in (200, 429), answer
            if answer.status != 200:
                obeyed = int(answer.head.get("Retry-After") or "missing")
                await asyncio.sleep(obeyed if number % 2 else 0.1)

    await asyncio.gather(*(insist(number) for number in range(CLIENTS)))
    enough.set()
    stamps = await watch
    assert len(upstream.requests) == len(arrived) >= ADMISSIONS
    assert COUNT < len(stamps) <= len(arrived) + len(uncertain)
    assert narrowest(stamps) >= WINDOW * 1_000_000
    assert most_in_a_window([(sent[text], at) for text, at in arrived.items()]) <= COUNT


async def test_the_first_burst_at_workers_that_have_just_started_is_counted_like_any_other(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Whatever a worker has to load first (here to count the answer) must not look as if Redis were away."""
    upstream.script(say("Well."), finish(), done())
    server = launch(workers=WORKERS, port_per_worker=True, LIMITS__REQUESTS=f"{COUNT}/min", **USUAL_PATIENCE)
    (person,) = await server.people(1)
    answers = await asyncio.gather(*(ask(speak(server, person, worker=i), "x") for i in range(CLIENTS)))
    assert sorted(answer.status for answer in answers) == [200] * COUNT + [429] * (CLIENTS - COUNT)
    assert len(upstream.requests) == COUNT


async def test_who_obeys_retry_after_is_admitted_by_any_worker(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    burst = await asyncio.gather(*(ask(speak(server, person, worker=number), "x") for number in range(COUNT + 4)))
    refused = [answer for answer in burst if answer.status == 429]
    assert len(refused) == 4
    await asyncio.sleep(max(int(answer.head.get("Retry-After") or "missing") for answer in refused))
    assert (await ask(speak(server, person, worker=2), "again")).text() == acknowledged("again")


async def test_a_refused_request_costs_nothing_and_never_reaches_the_upstream(
    slow: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await slow.people(1)
    key = limit_key(person.id, "ring", "60")
    for number in range(A_MINUTE):
        assert remaining(await ask(speak(slow, person, worker=number), f"admitted {number}")) == A_MINUTE - 1 - number
    async with slow.redis() as redis:
        before = await redis.lrange(key, 0, -1)
        refused = [await ask(speak(slow, person, worker=number), "refused") for number in range(4)]
        assert await redis.lrange(key, 0, -1) == before
    assert [answer.status for answer in refused] == [429] * 4
    assert [answer.head.get("x-ratelimit-remaining-requests") for answer in refused] == ["0"] * 4
    assert [newest(request) for request in upstream.requests] == [f"admitted {number}" for number in range(A_MINUTE)]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("script", [reply(500, error_of("x")), drop()], ids=["500", "drop"])
async def test_a_failure_of_the_upstream_before_the_first_event_gives_the_request_back(
    slow: Server, speak: Speak, upstream: ScriptedUpstream, script: Step, *, stream: bool
) -> None:
    (person,) = await slow.people(1)
    upstream.script(script)
    for number in range(3):
        assert (await ask(speak(slow, person, worker=number), "x", stream=stream)).status == 502
    upstream.script(acknowledge())
    assert remaining(await ask(speak(slow, person), "x")) == A_MINUTE - 1


async def test_a_failure_after_the_first_event_is_counted(
    slow: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await slow.people(1)
    upstream.once(say("Something"), drop())
    await ask(speak(slow, person), "x")
    assert remaining(await ask(speak(slow, person), "x")) == A_MINUTE - 2


async def test_each_principal_is_counted_alone(slow: Server, speak: Speak, upstream: ScriptedUpstream) -> None:
    greedy, other = await slow.people(2)
    for number in range(A_MINUTE):
        await ask(speak(slow, greedy, worker=number), "x")
    assert (await ask(speak(slow, greedy), "x")).status == 429
    assert remaining(await ask(speak(slow, other), "x")) == A_MINUTE - 1


async def test_a_days_quota_is_counted_over_all_workers_and_ends_at_midnight_of_its_zone(
    daily: Server, zone: str, speak: Speak, upstream: ScriptedUpstream
) -> None:
    (person,) = await daily.people(1)
    answers = await asyncio.gather(*(ask(speak(daily, person, worker=number), "x") for number in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json["error"]["code"] == "daily_limit_exceeded"
    now = datetime.now(ZoneInfo(zone))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert abs(int(refused.head.get("Retry-After") or "missing") - (midnight - now).total_seconds()) < 30
    assert len(upstream.requests) == 3


def remaining(answer: Reply) -> int:
    """What an admitted answer says is left of the limit."""
    assert answer.status == 200
    return int(answer.head.get("x-ratelimit-remaining-requests") or "missing")
