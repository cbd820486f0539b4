"""The link on good days and bad ones: every failure is one error, and a Redis that is away costs no waiting."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from streamproxy.errors import ConfigurationError, StoreUnavailableError
from streamproxy.stores.redis.breaker import Breaker
from streamproxy.stores.redis.connect import MAX_CONNECTIONS, RedisLink, open_redis
from streamproxy.stores.redis.piped import Address, PipedClient, _Connection
from streamproxy.stores.redis.scripts import Script
from streamproxy.stores.redis.servers import Server
from tests.support.redis_server import RedisServer

ECHO = Script.of("echo", "-- no time here\nreturn {KEYS[1], ARGV[1]}")
COUNT = Script.of("count", "-- no time here\nreturn redis.call('INCR', KEYS[1])")


@asynccontextmanager
async def opened(url: str, timeout_seconds: float = 10) -> AsyncIterator[RedisLink]:
    link = await open_redis(url, timeout_seconds=timeout_seconds)
    try:
        yield link
    finally:
        await link.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that this test may kill and pause."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["", "?max_connections=64"], ids=["piped", "pooled"])
def way(request: pytest.FixtureRequest) -> str:
    """What makes of a server's URL one for our own connection, and one for redis-py's pool."""
    option: str = request.param
    return option


async def back(link: RedisLink) -> None:
    """Return when the link works again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await link.ping()
            except StoreUnavailableError:
                await asyncio.sleep(0.01)


async def test_a_script_that_redis_forgot_is_loaded_again(link: RedisLink) -> None:
    for _ in range(2):
        assert await link.run(ECHO, ["k"], ["v"]) == [b"k", b"v"]
        await link.command("SCRIPT", "FLUSH")
    key = uuid4().hex
    assert await link.run_many([(COUNT, [key], []), (COUNT, [key], []), (ECHO, ["k"], [1])]) == [1, 2, [b"k", b"1"]]
    assert await link.run_many([]) == []


async def test_what_a_script_has_done_is_read_behind_it(link: RedisLink) -> None:
    """In one round trip, and also where Redis has to be told the script first."""
    key = uuid4().hex
    for count in (1, 2, 3):
        assert await link.run_and_read((COUNT, [key], []), ("GET", key)) == (count, b"%d" % count)
        await link.command("SCRIPT", "FLUSH")
    with pytest.raises(StoreUnavailableError):
        await link.run_and_read((COUNT, [key], []), ("LLEN", key))


async def test_who_leaves_between_the_two_answers_leaves_nothing_behind(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither does a server that leaves: no future's error stays unseen."""
    async with opened(own_server.url) as link:
        await link.run(COUNT, ["k"], [])
        for end in ("cancelled", "killed"):
            own_server.send_signal(signal.SIGSTOP)
            step = asyncio.ensure_future(link.run_and_read((COUNT, ["k"], []), ("GET", "k")))
            await asyncio.sleep(0)
            if end == "cancelled":
                step.cancel()
                own_server.send_signal(signal.SIGCONT)
                with pytest.raises(asyncio.CancelledError):
                    await step
                assert await link.run_and_read((COUNT, ["k"], []), ("GET", "k")) == (3, b"3")
            else:
                own_server.kill()
                with pytest.raises(StoreUnavailableError):
                    await step
    del step
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_burst_waits_instead_of_failing(link: RedisLink) -> None:
    """More calls at once than connections: all are served, and the link stays closed to nobody."""
    key = uuid4().hex
    answers = await asyncio.gather(*(link.run(COUNT, [key], []) for _ in range(3 * MAX_CONNECTIONS)))
    assert sorted(answers) == list(range(1, 3 * MAX_CONNECTIONS + 1))
    assert link.available


async def test_cancelled_calls_never_cross_answers(link: RedisLink) -> None:
    """Requests end in mid-call all the time; nobody may read another one's answer."""
    for wave in range(10):
        calls = [asyncio.create_task(link.run(ECHO, [f"k{wave}"], [n])) for n in range(30)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for n, answer in enumerate(answers):
            assert isinstance(answer, asyncio.CancelledError) or answer == [b"k%d" % wave, b"%d" % n]


async def test_a_redis_that_is_not_there_is_no_reason_not_to_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The link opens, says that the store is away, and after three failures says so at once."""
    caplog.set_level(logging.ERROR, logger="streamproxy")
    async with opened(f"unix://{tmp_path}/nobody.sock") as link:
        for _ in range(5):
            with pytest.raises(StoreUnavailableError):
                await link.ping()
        assert not link.available


async def test_a_killed_redis_is_noticed_and_found_again(
    own_server: RedisServer, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every call fails with our error while it is away; after its return the same link works."""
    caplog.set_level(logging.ERROR, logger="streamproxy")
    async with opened(own_server.url + way) as link:
        await asyncio.gather(*(link.ping() for _ in range(10)))
        own_server.kill()
        results = await asyncio.gather(*(link.run(ECHO, ["k"], ["v"]) for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailableError}
        assert not link.available
        own_server.start()
        await back(link)
        assert link.available
        assert await link.run(ECHO, ["k"], ["v"]) == [b"k", b"v"]


async def test_a_restart_between_two_calls_goes_unnoticed(own_server: RedisServer, way: str) -> None:
    """Stale pooled connections are replaced by the one retry."""
    async with opened(own_server.url + way) as link:
        await asyncio.gather(*(link.ping() for _ in range(10)))
        own_server.kill()
        own_server.start()
        await asyncio.gather(*(link.run(ECHO, ["k"], ["v"]) for _ in range(10)))


async def test_a_redis_that_hangs_costs_the_time_limit_and_no_more(
    own_server: RedisServer, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped by a signal it accepts connections and says nothing: one call gives up, and the next does not wait."""
    caplog.set_level(logging.ERROR, logger="streamproxy")
    async with opened(own_server.url + way, timeout_seconds=0.25) as link:
        own_server.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailableError):
                await link.run(ECHO, ["k"], ["v"])
            assert not link.available
        finally:
            own_server.send_signal(signal.SIGCONT)
        await back(link)


async def test_a_call_that_fails_while_others_are_answered_is_one_failure(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Something holds up this one's connection of a pool, and not Redis."""
    caplog.set_level(logging.ERROR, logger="streamproxy")
    async with opened(f"{own_server.url}?max_connections=64", timeout_seconds=0.25) as link:
        blocked = asyncio.create_task(link.command("BLPOP", "nothing", 0))
        while not blocked.done():
            await link.ping()
        with pytest.raises(StoreUnavailableError):
            await blocked
        assert link.available


async def test_a_loop_that_was_held_up_does_not_take_redis_for_dead(
    own_server: RedisServer, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is there when the loop comes back to listen."""
    async with opened(own_server.url + way, timeout_seconds=0.25) as link:
        calls = [asyncio.create_task(link.run(ECHO, ["k"], ["v"])) for _ in range(5)]
        for _ in range(3):
            await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - the fault
        assert await asyncio.gather(*calls) == [[b"k", b"v"]] * 5
        assert link.available
    assert caplog.records == []


async def test_a_call_that_waits_behind_a_dead_one_is_sent_again(own_server: RedisServer) -> None:
    """One connection carries all calls: those that are not yet due survive it."""
    client = PipedClient(Address(path=str(own_server.socket_path)), timeout_seconds=1.5)
    try:
        assert await client.execute_command("PING") == b"PONG"
        own_server.send_signal(signal.SIGSTOP)
        old = asyncio.create_task(client.execute_command("PING"))
        await asyncio.sleep(1)
        young = asyncio.create_task(client.execute_command("PING"))
        with pytest.raises(TimeoutError):
            await old
        own_server.send_signal(signal.SIGCONT)
        assert await young == b"PONG"
    finally:
        own_server.send_signal(signal.SIGCONT)
        await client.aclose()


class Recording(asyncio.Transport):
    """A way out that notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.writes.append(b"".join(list_of_data))

    def abort(self) -> None: ...


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_as_one_write() -> None:
    """A system call costs as much as all else that a command needs here."""
    client = PipedClient(Address(), timeout_seconds=10)
    transport = Recording()
    client._connection = connection = _Connection(asyncio.get_running_loop(), client._lost)
    connection.connection_made(transport)
    for turn in range(2):
        asked = [asyncio.ensure_future(client.send(("ECHO", f"{turn}{n}"))) for n in range(3)]
        await asyncio.sleep(0)
        assert len(transport.writes) == turn + 1
        connection.data_received(b"".join(b"$2\r\n%d%d\r\n" % (turn, n) for n in range(3)))
        assert await asyncio.gather(*asked) == [b"%d%d" % (turn, n) for n in range(3)]
    asked_last = client.send(("PING",))
    await client.aclose()
    # Who is not answered is asked for once more, on a connection of its own.
    assert not asked_last.done()
    asked_last.cancel()
    await client.aclose()


async def test_closing_leaves_nobody_waiting_for_a_connection(own_server: RedisServer) -> None:
    own_server.send_signal(signal.SIGSTOP)
    # It accepts, and never answers the greeting.
    client = PipedClient(Address(path=str(own_server.socket_path), password="any"), timeout_seconds=30)
    try:
        asking = asyncio.create_task(client.execute_command("PING"))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(RedisConnectionError):
            await asyncio.wait_for(asking, 5)
    finally:
        own_server.send_signal(signal.SIGCONT)


async def test_who_needs_a_password_or_another_database_gets_there(own_server: RedisServer) -> None:
    """Every connection begins with what the URL says."""
    async with opened(own_server.url) as link:
        await link.command("ACL", "SETUSER", "worker", "on", ">a:b@c", "~*", "+@all")
        await link.command("CONFIG", "SET", "requirepass", "p%w")
    async with opened(f"{own_server.url}?db=3&password=p%25w") as link:
        await link.command("SET", "here", 1)
        assert await link.run(COUNT, ["here"], []) == 2
    async with opened(f"unix://worker:a%3Ab%40c@{own_server.socket_path}?db=3") as link:
        assert await link.run(COUNT, ["here"], []) == 3
    async with opened(own_server.url) as link:
        with pytest.raises(StoreUnavailableError):
            await link.ping()


class Failing:
    """A client whose every command fails, as redis-py fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def execute_command(self, *_: object) -> object:
        raise self.error

    async def aclose(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("refused"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        ReadOnlyError("You can't write against a read only replica."),
        RedisError("anything"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
async def test_every_failure_of_redis_is_our_error(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Full, read-only, gone or slow: callers see one error, and neither they nor the log see the driver's text."""
    client = Failing(error)
    server = Server(client, client.aclose)  # type: ignore[arg-type]
    link = RedisLink(server, timeout_seconds=1, breaker=Breaker(clock=lambda: 0.0))
    for _ in range(4):
        with pytest.raises(StoreUnavailableError) as raised:
            await link.ping()
        assert str(error) not in raised.value.message or not str(error)
    assert [record.getMessage() for record in caplog.records] == [
        f"Redis is away ({type(error).__name__}); the settings say how requests go on without it"
    ]
    caplog.clear()
    await link.close()


async def test_a_cancelled_probe_leaves_the_way_open(caplog: pytest.LogCaptureFixture) -> None:
    """The request that probed is given up by its client: the next one probes."""
    caplog.set_level(logging.ERROR, logger="streamproxy")
    client = Failing(TimeoutError())
    clock = iter([0.0, 0.0, 10.0, 10.0])
    breaker = Breaker(clock=lambda: next(clock), failures=1)
    link = RedisLink(Server(client, client.aclose), timeout_seconds=1, breaker=breaker)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailableError):
        await link.ping()
    with pytest.raises(StoreUnavailableError):
        await link.ping()
    client.error = asyncio.CancelledError()
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await link.ping()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host",
        "redis+cluster://",
        "redis+cluster://:secret@host:port",
        "redis+sentinel://host:26379",
        "redis://:secret@host:99999999/0",
        "redis://:secret@host/0?socket_timeout=soon",
        "redis://:secret@host/0?no_such_option=1",
        "localhost:6379",
    ],
)
async def test_a_url_that_names_no_redis_is_a_configuration_error(url: str) -> None:
    """The remedy is in the message, the password is not."""
    with pytest.raises(ConfigurationError, match=r"redis://host:6379/0") as raised:
        await open_redis(url)
    assert "secret" not in raised.value.message


async def test_the_password_stays_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong port with a password in the URL: nothing that is raised or logged carries it."""
    caplog.set_level(logging.DEBUG)
    async with opened("redis://user:hunter2-secret@127.0.0.1:1/0") as link:
        for _ in range(4):
            with pytest.raises(StoreUnavailableError) as raised:
                await link.ping()
            assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__!r} {raised.value.__cause__}"
    assert "hunter2" not in caplog.text
    caplog.clear()


async def test_memory_is_shared_by_name() -> None:
    name = uuid4().hex
    async with opened(f"memory://{name}") as one, opened(f"memory://{name}") as other, opened("memory://") as third:
        await one.command("SET", name, "here")
        assert await other.command("GET", name) == b"here"
        assert await third.command("GET", name) is None


def test_every_script_says_its_unit_of_time() -> None:
    lua = Path(__file__).parents[3] / "streamproxy/stores/redis/lua"
    first_lines = {path.name: path.read_text().partition("\n")[0] for path in lua.glob("*.lua")}
    assert len(first_lines) >= 9
    assert set(first_lines.values()) == {
        "-- Time is in microseconds in this script.",
        "-- Time is in milliseconds in this script.",
    }
