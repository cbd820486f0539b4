"""What clients bring (passwords, bearers, tokens, tickets, keys of their own, what they say) is planted everywhere it
can be sent, and looked for everywhere it must not be: log, metrics, refusals, names of Redis' keys.

What providers say is in ``tests/keys/test_secrets.py``; what may be in the log at all in ``test_log.py``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
import redis.asyncio

from tests.e2e.conftest import Launch
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.support.http import Client, Reply, chat
from tests.support.steps import done, drop, error_of, finish, reply, say
from tests.support.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Callers' own keys are allowed, and everything is logged."""
    return launch(COMPAT__PRO_PASSTHROUGH_KEYS="true", COMPAT__SIMPLE_CHAT_REGISTRATION="true", LOG__LEVEL="DEBUG")


@pytest.fixture(autouse=True)
def sound(server: Server) -> Iterator[None]:
    yield
    server.check_log()


class Planted:
    """Secrets by what they are, each unlike anything else."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def __call__(self, what: str, shape: str = "{}") -> str:
        value = self.values[what] = shape.format(f"planted{secrets.token_hex(8)}")
        return value

    def found_in(self, text: bytes) -> list[str]:
        return [what for what, value in self.values.items() if value.encode() in text]


async def test_no_secret_of_a_client_is_where_it_must_not_be(server: Server, upstream: ScriptedUpstream) -> None:
    """Every way in, with answers that are good, refused, broken off and wrong."""
    planted, refusals = Planted(), list[Reply]()
    (person,) = await server.people(1)
    planted.values |= {"bearer": person.bearer, "api token": await server.api_token_of(person), "key": server.keys[0]}
    password, wrong = planted("password"), planted("wrong password")
    prompt, answer = planted("prompt"), planted("answer")
    upstream.script(say(answer), finish(), done())
    client = Client(server.port, person.bearer)
    nobody = Client(server.port)

    async def ask(by: Client, method: str, path: str, body: object = None, **headers: str) -> Reply:
        told = await by.ask(method, path, body, **headers)
        if told.status >= 400:
            refusals.append(told)
        return told

    try:
        # -- signing up and in
        await ask(nobody, "POST", "/user/", {"username": "planted", "email": "p@example.com", "password": password})
        for said in (password, wrong):
            for body in ({"username": "planted", "password": said}, {"u": "planted", "p": said}):
                told = await ask(nobody, "POST", "/token", body)
                if told.status < 400:
                    token = told.json.get("access_token") or told.json["message"]["token"]
                    planted.values[f"bearer of {sorted(body)}"] = token
        # -- asking, in every family, and failing
        for script in ((say(answer), finish(), done()), (say(answer), drop()), (reply(500, error_of(answer)),)):
            upstream.script(*script)
            for stream in (True, False):
                await ask(client, "POST", CHAT, chat(prompt, stream=stream), x_session_id="s")
            await ask(client, "POST", "/llm/message", {"message": prompt})
            await ask(client, "POST", "/message", {"msg": prompt, "openid": "x"})
            await ask(client, "GET", f"/api?q={prompt}")
            await ask(client, "POST", "/pro/chat/completions", {"sessionId": "s", "content": prompt})
        own = planted("key of a caller's own", "sk-{}")
        await ask(client, "POST", "/pro/chat/completions", {"apiKey": own, "sessionId": "s", "content": prompt})
        await ask(client, "GET", f"/pro/balance?apiKey={planted('key in a query', 'sk-{}')}")
        # -- streams and their tickets
        upstream.script(say(answer), finish(), done())
        idempotency = planted("idempotency key")
        begun = (await ask(client, "POST", "/v1/streams", chat(prompt), idempotency_key=idempotency)).json
        ticket = planted.values["ticket"] = begun["events_url"].partition("ticket=")[2]
        assert (await ask(nobody, "GET", begun["events_url"])).status == 200
        await ask(nobody, "GET", f"/v1/streams/{begun['id']}/events?ticket={planted('made-up ticket')}")
        await ask(nobody, "GET", f"/v1/streams/{begun['id']}0/events?ticket={ticket}")
        # -- what is wrong with a request must not be repeated with it
        await ask(client, "POST", CHAT, {"model": "gpt-4o-mini", "messages": prompt})
        await ask(client, "POST", CHAT, f'{{"messages": "{prompt}'.encode())
        await ask(nobody, "GET", "/v1/models", authorization=f"Bearer {planted('wrong bearer')}")
        await ask(nobody, "GET", "/v1/models", cookie=f"streamproxy={planted('wrong cookie')}")
        metrics = (await client.ask("GET", "/metrics")).body
    finally:
        client.close()
        nobody.close()
    assert len(planted.values) > 12
    assert len(refusals) > 12
    for refusal in refusals:
        assert not planted.found_in(json.dumps(refusal.head.fields).encode() + refusal.body), refusal
    assert not planted.found_in(metrics)
    await until(lambda: f"/v1/streams/{begun['id']}0/events" in server.log(), "the last lines are written")
    assert not planted.found_in(server.log().encode())
    assert server.redis_server is not None
    async with redis.asyncio.Redis.from_url(server.redis_server.url) as store:
        names = [name async for name in store.scan_iter()]
    assert names
    assert not planted.found_in(b"\n".join(names))
