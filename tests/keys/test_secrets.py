"""What an upstream says, quotes or points to never gets out: not in an answer, a log, a metric or a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.keys.conftest import DEAD, NewProxy, command
from tests.support.http import Client, chat
from tests.support.proxy import ProxyProcess
from tests.support.redis_server import RedisServer
from tests.support.steps import Step, done, error_of, event, finish, reply, say
from tests.support.upstream import ScriptedUpstream

Caller = Callable[[ProxyProcess], Client]
# No pattern knows it: it is nobody's key and looks like nothing in particular.
SECRET = "zq7Kp2vX9mWc4Rt8"
SAID = f"Incorrect API key provided: {DEAD}. Internal: {SECRET}, password={SECRET}, Bearer {SECRET}"
HEADERS = {
    "x_request_id": SECRET,
    "www_authenticate": f'Bearer realm="{SECRET}"',
    "set_cookie": f"session={SECRET}",
    "openai_organization": SECRET,
    "x_ratelimit_limit_requests": SECRET,
}
ELSEWHERE = f"http://127.0.0.1:9/{SECRET}?key={DEAD}"


def failing(status: int, code: str, **headers: str) -> Step:
    body = error_of(SAID, code=code, kind=f"kind {SECRET}")
    return reply(status, body, **HEADERS, **headers)


SCRIPTS: dict[str, tuple[Step, ...]] = {
    "401": (failing(401, "invalid_api_key"),),
    "401 with a code of its own": (failing(401, f"code_{SECRET}"),),
    "403": (failing(403, "forbidden"),),
    "429": (failing(429, "rate_limit_exceeded", retry_after=SECRET),),
    "out of quota": (failing(429, "insufficient_quota"),),
    "500": (failing(500, "server_error"),),
    "503 with HTML": (reply(503, f"<h1>{SECRET} {DEAD}</h1>".encode(), content_type="text/html", **HEADERS),),
    "a redirect": (reply(307, b"", location=ELSEWHERE, **HEADERS),),
    "an error in a 200": (event(error_of(SAID, code="server_error")), done()),
    "an error in mid-stream": (say("half"), event(error_of(SAID, code="server_error")), done()),
    "a good answer": (say("fine"), finish(), done()),
}


@pytest.mark.gen_test(timeout=170)
async def test_a_planted_secret_stays_where_it_was_planted(
    new_proxy: NewProxy, caller: Caller, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    keys = [f"{DEAD[:-5]}{n:04d}x{n:04d}" for n in range(60)]
    proxy = new_proxy(*keys, LOG__LEVEL="DEBUG")
    client = caller(proxy)
    seen: dict[str, bytes] = {}
    for name, script in SCRIPTS.items():
        upstream.script(*script)
        for stream in (True, False):
            answer = await client.ask("POST", "/v1/chat/completions", chat(stream=stream), x_session_id="s1")
            fields = "\n".join(f"{key}: {value}" for key, value in answer.head.fields)
            seen[f"the answer to {name}, {stream=}"] = fields.encode() + answer.body
    upstream.listing = SCRIPTS["401"][0]
    last4s = {(request.header("Authorization") or "")[-9:] for request in upstream.requests}
    probed = next(iter(last4s))[-4:]
    run = await asyncio.to_thread(proxy.run, "key", "probe", probed)
    seen["key probe"] = (run.stdout + run.stderr).encode()
    seen["key list"] = (await command(proxy, "key", "list")).encode()
    seen["usage"] = (await command(proxy, "usage", "tester")).encode()
    seen["/metrics"] = (await client.ask("GET", "/metrics")).body
    seen["/v1/models"] = (await client.ask("GET", "/v1/models")).body
    seen["the log"] = proxy.log().encode()
    seen |= await asyncio.to_thread(_files, proxy.folder)
    seen["Redis"] = await asyncio.to_thread(_everything, redis_server)
    for where, text in seen.items():
        assert SECRET.encode() not in text, where
        assert not any(key.encode() in text for key in (DEAD, *keys)), where


def _files(folder: Path) -> dict[str, bytes]:
    """The database with its journal, the log and whatever else the proxy wrote."""
    return {f"the file {path.name}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _everything(server: RedisServer) -> bytes:
    """All that Redis holds, as it holds it."""
    found: list[bytes] = []
    for number in range(16):
        with redis.Redis(unix_socket_path=str(server.socket_path), db=number) as client:
            for name in client.scan_iter():
                found += [name, client.dump(name) or b"", *_plain(client, name)]
    return b"\n".join(found)


def _plain(client: redis.Redis, name: bytes) -> list[bytes]:
    """The fields of a hash: a dump may be compressed."""
    if client.type(name) != b"hash":
        return []
    fields: dict[bytes, bytes] = client.hgetall(name)  # type: ignore[assignment] # str too, by its types
    return [*fields.keys(), *fields.values()]
