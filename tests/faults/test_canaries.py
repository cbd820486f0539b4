"""Secrets planted in every place (RELIABILITY I6): none comes out in logs, metrics, errors, tracebacks or Redis.

Provider keys, passwords, bearers, API tokens, tickets, prompts and answers, in bodies, headers, queries and settings,
by every family of endpoints, on good days and on bad ones. What may know a secret is not searched for it: the history
knows prompts, a stream's readers get its answer, who asks for a token gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.identity import Role
from tests.e2e.launching import Launch
from tests.e2e.server import Server
from tests.faults.canaries import Canaries
from tests.streams.events import open_events, start
from tests.support.http import Client, chat
from tests.support.postgres_server import USER, PostgresServer
from tests.support.redis_machines import Machines, TcpServer
from tests.support.steps import Step, completion_of, done, drop, error_of, event, finish, raw, reply, say, usage
from tests.support.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
MODELS = "gpt-3.5-turbo,gpt-4o-mini,scripted"
LISTS = ("/admin/keys", "/admin/users", "/admin/tokens", "/admin/streams", "/admin/usage")
SECRETS = ("key", "password", "bearer", "token", "ticket", "secret", "wrong", "query", "header")


@dataclass(frozen=True, slots=True)
class Site:
    """An installation whose every password and key is a canary."""

    server: Server
    redis: TcpServer
    postgres: PostgresServer
    canaries: Canaries


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, canaries: Canaries) -> Iterator[TcpServer]:
    machines = Machines(tmp_path_factory.mktemp("redis"))
    yield machines.start(password=canaries.plant("password of Redis"))
    machines.stop()


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, redis: TcpServer, canaries: Canaries, launch: Launch) -> Site:
    planted = canaries.plant
    database = postgres.create_database("canaries").replace(USER, f"{USER}:{planted('password of SQL')}", 1)
    server = launch(
        embedded=True,
        DATABASE__URL=database,
        REDIS__URL=f"redis://:{canaries.planted['password of Redis 0']}@127.0.0.1:{redis.port}/0",
        AUTH__SECRET=planted("secret of bearers", "0123456789"),
        AUTH__ENCRYPTION_KEY=planted("secret of keys", "0123456789"),
        UPSTREAM__API_KEYS=",".join(planted("key of the settings", "sk-") for _ in range(40)),
        UPSTREAM__MODELS=MODELS,
        LOG__LEVEL="DEBUG",
    )
    return Site(server, redis, postgres, canaries)


@pytest.fixture
def caller(io_loop: IOLoop, site: Site) -> Iterator[Callable[[str | None], Client]]:
    clients: list[Client] = []

    def make(bearer: str | None) -> Client:
        clients.append(Client(site.server.port, bearer))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@dataclass(frozen=True, slots=True)
class Somebody:
    """A user, whose every credential is known as a canary."""

    name: str
    password: str
    bearer: str
    token: str


@asynccontextmanager
async def somebody(site: Site, role: Role) -> AsyncIterator[Somebody]:
    """A new user."""
    name, canaries = f"user-{len(site.canaries.planted)}", site.canaries
    async with site.server.accounts() as accounts:
        password = canaries.plant("password of a user")
        user = await accounts.auth.add_user(name, password=password, role=role, openid=f"openid-{name}", questions=99)
        bearer = canaries.know(f"bearer of {name}", await accounts.auth.issue_bearer(user, days=1))
        token = canaries.know(f"token of {name}", (await accounts.auth.issue_api_token(user))[0])
        yield Somebody(name, password, bearer, token)


def scripts(canaries: Canaries) -> dict[str, tuple[Step, ...]]:
    """What an upstream says, good and bad; it quotes the key that it was asked with, and much else."""
    said = f"Incorrect API key: {canaries.planted['key of the settings 4']}, {canaries.plant('prompt quoted')}"
    answer = canaries.plant("prompt answered")
    return {
        "good": (say(answer), finish(), usage(), done()),
        "cut": (say(answer), drop()),
        "error event": (say(answer), event(error_of(said))),
        "garbage": (say(answer), raw(f"data: {said}\n\n".encode())),
        "400": (reply(400, error_of("no", code=said)),),
        "401": (reply(401, error_of(said, code="invalid_api_key")),),
        "429": (reply(429, error_of(said), retry_after=canaries.plant("header of the upstream")),),
        "500": (reply(500, error_of(said)),),
        "html": (reply(200, said.encode(), content_type="text/html"),),
        "whole": (reply(200, completion_of(answer)),),
    }


async def everything_asked(site: Site, caller: Callable[[str | None], Client], upstream: ScriptedUpstream) -> None:
    """Every family of endpoints, with good credentials and bad ones, whatever the upstream says."""
    canaries = site.canaries
    async with somebody(site, Role.USER) as user:
        for wrong in (canaries.plant("wrong bearer"), canaries.plant("wrong token", "sk-sp-")):
            await family_a("not asked", caller(wrong), canaries)
        for number, (what, script) in enumerate(scripts(canaries).items()):
            upstream.script(*script)
            await family_a(what, caller((user.bearer, user.token)[number % 2]), canaries)
            await older_systems(what, user, caller(user.bearer), canaries)
        await signing_in("wrong", user.name, caller(None), canaries)
        upstream.script(*scripts(canaries)["good"])
        await family_b(caller(user.bearer), canaries)
        await resumed_by_an_sdk(caller(user.token), canaries)
        await the_page(user, caller(None), canaries)


async def family_a(what: str, client: Client, canaries: Canaries) -> None:
    query = f"?api_key={canaries.plant('query')}&x={canaries.plant('query')}"
    headers = {"cookie": f"streamproxy={canaries.plant('header')}", "x_api_key": canaries.plant("header")}
    for stream in (True, False):
        body = chat(canaries.plant("prompt"), stream=stream, user=canaries.plant("prompt"))
        answer = await client.ask("POST", CHAT + query, body, x_session_id="canaries", **headers)
        canaries.take_answer(f"chat, upstream {what}", answer)
    picture = f"data:image/png;base64,{canaries.plant('prompt')}"
    parts = [{"type": "text", "text": canaries.plant("prompt")}, {"type": "image_url", "image_url": {"url": picture}}]
    tool = {"name": canaries.plant("prompt"), "description": canaries.plant("prompt"), "parameters": {}}
    for body in (
        {"messages": [{"role": "user", "content": parts}], "tools": [{"type": "function", "function": tool}]},
        {"messages": [{"role": canaries.plant("prompt"), "content": parts}]},
        {"messages": canaries.plant("prompt"), canaries.plant("prompt"): 1, "n": canaries.plant("prompt")},
    ):
        answer = await client.ask("POST", CHAT, {"model": "scripted", **body})
        canaries.take_answer(f"parts and tools, upstream {what}", answer)
    for path, field in (("/v1/embeddings", "input"), ("/v1/images/generations", "prompt")):
        answer = await client.ask("POST", path, {"model": "scripted", field: canaries.plant("prompt")})
        canaries.take_answer(f"{path}, upstream {what}", answer)
    answer = await client.ask("POST", CHAT, f'{{"model": "{canaries.plant("prompt")}"'.encode())
    canaries.take_answer("broken JSON", answer)


async def family_b(client: Client, canaries: Canaries) -> None:
    key = canaries.plant("secret of idempotency")
    stream = await start(client, canaries.plant("prompt"), headers={"idempotency_key": key})
    ticket = canaries.know("ticket", stream["events_url"].partition("ticket=")[2])
    stranger = Client(client.port)
    try:
        await (await open_events(stranger, stream["events_url"])).to_the_end()
        for path in (f"/v1/streams/{stream['id']}/events?ticket={ticket}x", f"/v1/nowhere?ticket={ticket}"):
            canaries.take_answer("a ticket that is wrong", await stranger.ask("GET", path))
    finally:
        stranger.close()


async def resumed_by_an_sdk(client: Client, canaries: Canaries) -> None:
    """A stream with ids on the chat endpoint; its events asked for behind nonsense; its end."""
    answer = await client.ask("POST", CHAT, chat(canaries.plant("prompt")), x_resumable="1")
    canaries.take_answer("a resumable chat", answer)
    assert answer.status == 200
    path = f"/v1/streams/{answer.head.get('X-Stream-Id')}"
    nonsense = await client.ask("GET", f"{path}/events", last_event_id=canaries.plant("header"))
    canaries.take_answer("a made-up event id", nonsense)
    canaries.take_answer("cancelling", await client.ask("DELETE", path))


async def the_page(user: Somebody, client: Client, canaries: Canaries) -> None:
    """In with a password, on with the cookie that comes of it, out again."""
    own = {"sec_fetch_site": "same-origin"}
    for password in (canaries.plant("wrong password"), user.password):
        answer = await client.ask("POST", "/signin", {"name": user.name, "password": password}, **own)
        canaries.take("/signin", answer.body)
    cookie, _, bearer = (answer.head.get("Set-Cookie") or "").partition(";")[0].partition("=")
    canaries.know("bearer in a cookie", bearer)
    assert bearer
    for value in (bearer, canaries.plant("wrong cookie")):
        asked = {"cookie": f"{cookie}={value}", **own}
        canaries.take_answer("/v1/me", await client.ask("GET", "/v1/me", **asked))
        canaries.take_answer("/v1/me with a query", await client.ask("GET", f"/v1/me?ticket={value}", **asked))
        canaries.take_answer("chat by cookie", await client.ask("POST", CHAT, chat(canaries.plant("prompt")), **asked))
        canaries.take("/signout", (await client.ask("POST", "/signout", {}, **asked)).body)


async def older_systems(what: str, user: Somebody, client: Client, canaries: Canaries) -> None:
    plant, token = canaries.plant, user.token
    asked: list[tuple[str, str, object]] = [
        ("POST", "/message", {"msg": plant("prompt"), "openid": f"openid-{user.name}"}),
        ("GET", f"/api?q={plant('prompt')}", None),
        ("POST", "/llm/message", {"message": plant("prompt")}),
        ("POST", "/pro/chat/completions", {"apiKey": token, "sessionId": "s", "content": plant("prompt")}),
        ("POST", "/pro/chat/completions", {"apiKey": plant("wrong key"), "sessionId": "s", "content": plant("prompt")}),
        ("GET", f"/pro/balance?apiKey={token}", None),
        ("GET", f"/pro/balance?apiKey={plant('wrong key')}", None),
    ]
    for method, path, body in asked:
        answer = await client.ask(method, path, body)
        canaries.take_answer(f"{path.partition('?')[0]}, upstream {what}", answer)


async def signing_in(what: str, name: str, client: Client, canaries: Canaries) -> None:
    plant = canaries.plant
    asked: list[tuple[str, object]] = [
        ("/token", {"u": name, "p": plant("wrong password")}),
        ("/token", {"username": name, "password": plant("wrong password")}),
        ("/user/", {"username": name, "email": f"{plant('header')}@x.y", "password": plant("password")}),
    ]
    for path, body in asked:
        canaries.take_answer(f"{path}, {what}", await client.ask("POST", path, body))


async def administered(site: Site, caller: Callable[[str | None], Client]) -> None:
    canaries = site.canaries
    async with somebody(site, Role.ADMIN) as user:
        admin = caller(user.bearer)
        new = {"upstream": "default", "key": canaries.plant("key of the admin API", "sk-")}
        for body in (new, new, {"upstream": "nobody", "key": canaries.plant("key", "sk-")}):
            answer = await admin.ask("POST", "/admin/keys", body)
            canaries.take("/admin/keys", answer.body)
        password = {"name": "made", "password": canaries.plant("password by the admin")}
        canaries.take("/admin/users", (await admin.ask("POST", "/admin/users", password)).body)
        for path in (*LISTS, "/admin/failures", "/admin/limits", "/v1/models"):
            canaries.take(path, (await admin.ask("GET", path)).body)
    for command in (("key", "list"), ("user", "list"), ("check-config",)):
        run = await asyncio.to_thread(site.server.run, *command)
        canaries.take(" ".join(command), run.stdout + run.stderr)


async def outages(site: Site, caller: Callable[[str | None], Client], upstream: ScriptedUpstream) -> None:
    """Redis and SQL are gone while secrets are on their way to them: what drivers say of it may quote them."""
    async with somebody(site, Role.USER) as user:
        upstream.script(*scripts(site.canaries)["good"])
        site.redis.kill()
        await family_a("good, without Redis", caller(user.bearer), site.canaries)
        await asyncio.to_thread(site.postgres.halt)
        for _ in range(2):
            await family_a("good, without SQL", caller(user.token), site.canaries)
            await older_systems("good, without SQL", user, caller(user.bearer), site.canaries)
            await signing_in("without SQL", user.name, caller(None), site.canaries)
        await asyncio.to_thread(site.postgres.launch)


def in_redis(site: Site) -> bytes:
    """Names of all keys, and what they hold."""
    client = site.redis.client
    names = list(client.scan_iter())
    readers = {b"hash": client.hgetall, b"list": lambda n: client.lrange(n, 0, -1), b"string": client.get}
    held = [repr(readers.get(client.type(name), client.type)(name)).encode() for name in names]
    assert names
    site.canaries.take("names of Redis keys", b"\n".join(names))
    return b"\n".join(held)


async def in_sql(site: Site) -> str:
    names = await site.server.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    rows = [await site.server.rows(f'SELECT * FROM "{row["name"]}"') for row in names]  # noqa: S608 - our own names
    return repr(rows)


@pytest.mark.timeout(300)
@pytest.mark.gen_test(timeout=240)
async def test_no_planted_secret_comes_out(
    site: Site, caller: Callable[[str | None], Client], upstream: ScriptedUpstream
) -> None:
    canaries = site.canaries
    await everything_asked(site, caller, upstream)
    await administered(site, caller)
    canaries.take("/metrics", (await caller(None).ask("GET", "/metrics")).body)
    asked = b"".join(request.body for request in upstream.requests)
    assert sum(value.encode() in asked for value in canaries.planted.values()) > 50, "the canaries were not used"
    held = in_redis(site)
    sql = await in_sql(site)
    await outages(site, caller, upstream)
    canaries.take("/metrics", (await caller(None).ask("GET", "/metrics")).body)
    canaries.take("the log", site.server.log())
    assert not (found := canaries.found()), "\n".join(found)
    # Sessions and history hold what was said, and nothing else.
    canaries.take("Redis", held)
    canaries.take("SQL", sql)
    assert canaries.found(SECRETS) == []
    assert [line for line in canaries.found(["prompt"]) if line.endswith("SQL")], "nothing can be found at all"


def test_the_files_of_the_installation_hold_no_secret(site: Site) -> None:
    """Nothing is left in the folder that the server runs in."""
    files = Canaries(site.canaries.planted)
    for path in Path(site.server.folder).rglob("*"):
        if path.is_file():
            files.take(f"the file {path.name}", path.read_bytes())
    assert files.seen
    assert not (found := files.found()), "\n".join(found)
