"""Keys come back by themselves: one worker asks, when it is time, and only what is out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.keypool import KeyState, Upstream, Verdict
from streamproxy.services.probes import Prober, probe
from streamproxy.stores.sql.keys import SqlKeys
from streamproxy.upstream.client import AiohttpTransport
from tests.services.keys.conftest import Clock, NewWorker, Worker, upstream_with
from tests.support.steps import error_of, fin, reply, wire
from tests.support.upstream import ScriptedUpstream, own_upstream_socket

upstream_socket = own_upstream_socket

EVERY = 300.0
DEAD = Verdict(KeyState.DISABLED, None, "invalid_api_key")
BROKE = Verdict(KeyState.PARKED, 3600, "insufficient_quota")
REFUSED = reply(401, error_of("no", code="invalid_api_key"))


@pytest.fixture
def provider(upstream: ScriptedUpstream, upstream_socket: object) -> Upstream:
    """The scripted upstream as one of ours, with one key."""
    port = upstream_socket.getsockname()[1]  # type: ignore[attr-defined]
    return replace(upstream_with("aaaa"), base_url=f"http://127.0.0.1:{port}/v1", allow_private=True)


@pytest.fixture
def transport(io_loop: IOLoop, provider: Upstream) -> Iterator[AiohttpTransport]:
    opened = AiohttpTransport(connect_timeout=5, private_origins=[provider.base_url])
    io_loop.run_sync(opened.__aenter__)
    yield opened
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None))


def prober(worker: Worker, transport: AiohttpTransport, clock: Clock) -> Prober:
    return Prober(worker.pool, transport, states=worker.states, every=EVERY, clock=clock)


async def found_out(worker: Worker, verdict: Verdict) -> None:
    await (await worker.pool.lease(worker.offered)).give_back(verdict, error="upstream_key_refused")


async def test_a_parked_key_is_asked_when_its_time_ends(
    new_worker: NewWorker, provider: Upstream, upstream: ScriptedUpstream, transport: AiohttpTransport, clock: Clock
) -> None:
    worker = await new_worker(provider)
    await found_out(worker, BROKE)
    clock.now += 3599
    await prober(worker, transport, clock).look()
    assert upstream.listed == []
    clock.now += 1
    assert await worker.state("aaaa") is KeyState.PARKED
    await prober(worker, transport, clock).look()
    assert await worker.state("aaaa") is KeyState.HEALTHY


async def test_a_disabled_key_is_asked_every_few_minutes_until_it_answers(
    new_worker: NewWorker, provider: Upstream, upstream: ScriptedUpstream, transport: AiohttpTransport, clock: Clock
) -> None:
    answers, upstream.listing = upstream.listing, REFUSED
    worker = await new_worker(provider)
    await found_out(worker, DEAD)
    looking = prober(worker, transport, clock)
    for times in (1, 2):
        clock.now += EVERY - 1
        await looking.look()
        clock.now += 1
        await worker.states.claim("somebody else's", 1)
        await _forget_claims(worker)
        await looking.look()
        assert len(upstream.listed) == times
        assert await worker.state("aaaa") is KeyState.DISABLED
    upstream.listing = answers
    clock.now += EVERY
    await _forget_claims(worker)
    await looking.look()
    assert await worker.state("aaaa") is KeyState.HEALTHY


async def _forget_claims(worker: Worker) -> None:
    """Redis's own time goes on by itself: let it be later there too."""
    await worker.states._link.command("DEL", f"sp:{{keys}}:probe:{worker.pool.everything()[0].key.id}")


async def test_one_worker_at_a_time_asks(
    new_worker: NewWorker, provider: Upstream, upstream: ScriptedUpstream, transport: AiohttpTransport, clock: Clock
) -> None:
    upstream.listing = REFUSED
    workers = [await new_worker(provider) for _ in range(4)]
    await found_out(workers[0], DEAD)
    for worker in workers:
        await worker.pool.refresh()
    clock.now += EVERY
    await asyncio.gather(*(prober(worker, transport, clock).look() for worker in workers))
    assert len(upstream.listed) == 1


async def test_a_parked_key_that_turns_out_dead_is_disabled(
    new_worker: NewWorker, provider: Upstream, upstream: ScriptedUpstream, transport: AiohttpTransport, clock: Clock
) -> None:
    upstream.listing = REFUSED
    worker = await new_worker(provider)
    await found_out(worker, BROKE)
    clock.now += 3600
    await prober(worker, transport, clock).look()
    assert await worker.state("aaaa") is KeyState.DISABLED


async def test_a_key_that_a_person_disabled_is_left_alone(
    new_worker: NewWorker,
    provider: Upstream,
    upstream: ScriptedUpstream,
    transport: AiohttpTransport,
    clock: Clock,
    key_store: SqlKeys,
) -> None:
    worker = await new_worker(provider)
    await found_out(worker, DEAD)
    await key_store.hold(provider.keys[0].id)
    await worker.pool.reload()
    clock.now += EVERY
    await prober(worker, transport, clock).look()
    assert upstream.listed == []


@pytest.mark.parametrize("listing", [fin(), wire(b"NOT HTTP\r\n\r\n"), reply(500, b"<html>"), reply(307, b"")])
async def test_whatever_answers_a_probe_it_ends_with_a_code_of_ours(
    provider: Upstream, upstream: ScriptedUpstream, transport: AiohttpTransport, new_worker: NewWorker, listing: object
) -> None:
    upstream.listing = listing  # type: ignore[assignment]
    worker = await new_worker(provider)
    failure = await probe(transport, worker.pool.everything()[0])
    assert failure is not None
    assert failure.error.code.startswith("upstream_")
    assert failure.verdict is None
