"""API tokens as OpenAI's SDK uses them, and how fast a credential that was withdrawn stops to work."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import openai
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.e2e.talk import MODEL, acknowledge, acknowledged, ask, told
from tests.support.http import Client
from tests.support.upstream import ScriptedUpstream

# Trusted for so long by a worker that knows it, and a bit for the way.
CACHE_SECONDS = 1
BOUND = CACHE_SECONDS + 10


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=2, port_per_worker=True, AUTH__CACHE_SECONDS=str(CACHE_SECONDS))


@pytest.fixture(autouse=True)
def sound(server: Server, upstream: ScriptedUpstream) -> Iterator[None]:
    upstream.script(acknowledge())
    yield
    server.check_log()


@asynccontextmanager
async def sdk(server: Server, api_key: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """openai-python with the token as its api_key, as its users set it up."""
    async with openai.AsyncOpenAI(
        api_key=api_key, base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0
    ) as client:
        yield client


async def run(server: Server, *arguments: str) -> str:
    """A command of ours; its output."""
    return (await asyncio.to_thread(server.command, *arguments)).strip()


async def works(server: Server, credential: str) -> list[int]:
    """The statuses that every worker answers with."""
    clients = [Client(port, credential) for port in server.ports]
    try:
        return [(await client.ask("GET", "/v1/models")).status for client in clients]
    finally:
        for client in clients:
            client.close()


async def refused(server: Server, credential: str) -> None:
    """Wait until every worker answers 401, which may take as long as they trust what they know."""

    async def everywhere() -> bool:
        return await works(server, credential) == [401] * len(server.ports)

    await until(everywhere, "every worker refuses the credential", BOUND)


async def test_an_api_token_is_the_api_key_of_openais_sdk_and_the_same_principal_as_the_bearer(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """The context that the user began with a bearer goes on with the token."""
    (person,) = await server.people(1)
    token = await run(server, "apitoken", "issue", person.name, "--label", "laptop")
    assert re.fullmatch(r"sk-sp-[A-Za-z0-9_-]{43}", token)
    await ask(speak(server, person), "one", "shared")
    async with sdk(server, token) as client:
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "two"}],
            stream=True,
            extra_headers={"X-Session-Id": "shared"},
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == acknowledged("two")
    assert [message["content"] for message in told(upstream.requests[-1])] == ["one", acknowledged("one"), "two"]
    assert token not in await run(server, "apitoken", "list", person.name)


async def test_a_revoked_api_token_is_refused_within_the_time_of_the_cache(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """On every worker, also on those that have just seen it work; the user's other token goes on."""
    (person,) = await server.people(1)
    revoked, kept = [await server.api_token_of(person) for _ in range(2)]
    assert await works(server, revoked) == await works(server, kept) == [200, 200]
    listed = await run(server, "apitoken", "list", person.name)
    (token_id,) = [line.split()[0] for line in listed.splitlines() if f"…{revoked[-4:]}" in line]
    await run(server, "apitoken", "revoke", token_id)
    await refused(server, revoked)
    assert await works(server, kept) == [200, 200]
    async with sdk(server, revoked) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            await client.models.list()
    assert raised.value.code == "invalid_api_key"


async def test_a_disabled_user_is_refused_within_the_time_of_the_cache_whatever_the_credential(
    server: Server, speak: Speak, upstream: ScriptedUpstream
) -> None:
    person, other = await server.people(2)
    token = await server.api_token_of(person)
    assert await works(server, token) == await works(server, person.bearer) == [200, 200]
    await run(server, "user", "disable", person.name)
    await refused(server, token)
    await refused(server, person.bearer)
    assert await works(server, other.bearer) == [200, 200]


async def test_a_token_of_nobody_is_refused_like_a_wrong_one(server: Server, upstream: ScriptedUpstream) -> None:
    for credential in ("sk-sp-" + 43 * "x", "sk-sp-short", "sk-" + 48 * "x", "x"):
        assert await works(server, credential) == [401, 401]
