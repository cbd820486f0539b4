"""JSON bodies at every endpoint of a whole server: depth, huge numbers, NaN, lone surrogates, repeated keys, size."""

from __future__ import annotations

import asyncio
import copy
import io
import json
from random import Random
from typing import Any, Final

import aiohttp

from tests.fuzz.report import Report
from tests.fuzz.served import HANG_SECONDS, REDIS_WAS_SLOW, REFUSED, WARM_UP, served

AT_ONCE: Final = 8
LONGEST: Final = 3 << 20
_SAY: Final = {"role": "user", "content": "hi"}
_CHAT: Final = {
    "model": "demo",
    "messages": [{"role": "system", "content": "Be kind."}, _SAY],
    "stream": False,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "temperature": 0.5,
    "n": 1,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "metadata": {"a": "b"},
}
# Path, a sound body, and how often: a password costs the server fifty milliseconds of a core by design.
ENDPOINTS: Final[tuple[tuple[str, dict[str, Any], int], ...]] = (
    ("/v1/chat/completions", _CHAT, 40),
    ("/v1/chat/completions", {**_CHAT, "stream": True}, 20),
    ("/v1/streams", {**_CHAT, "session_id": "s", "on_disconnect": "cancel"}, 4),
    ("/v1/embeddings", {"model": "demo", "input": ["a", "b"], "dimensions": 3}, 10),
    ("/v1/images/generations", {"prompt": "a cat", "n": 1, "size": "256x256", "response_format": "url"}, 10),
    ("/message", {"msg": "hi", "openid": "x", "conversationid": "c"}, 8),
    ("/pro/chat/completions", {"apiKey": "k", "sessionId": "s", "content": "hi", "stream": False}, 8),
    ("/llm/message", {"message": "hi", "username": "u", "model": "demo"}, 8),
    ("/token", {"u": "fuzz", "p": "wrong"}, 1),
    ("/user/", {"username": "u", "email": "e@example.com", "password": "p"}, 1),
)
SCALARS: Final = (
    *("null", "true", "0", "-0", "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1" + "0" * 400, "2e308", "1.5"),
    *("9223372036854775808", "-9223372036854775809", "18446744073709551616", "01", "+1", ".5", "1.", "0x1", "1_0"),
    *('""', '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x41"', '"\t"', "'a'", '"\ufeff"', '"\u2028"', '"😀"'),
    *("[]", "{}", "[[]]", '{"":{}}', "undefined", "", ",", "/**/1", '"' + "a" * 5000 + '"', "-", '"\\'),
)
BYTES: Final = (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b'"', b"\\", b"]")


def body(random: Random, sound: dict[str, Any]) -> bytes:
    """*sound*, changed in one to three ways, as bytes."""
    value = copy.deepcopy(sound)
    holes: dict[str, str] = {}
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        if _change(random, value, holes):
            # What has grown is not repeated six hundred times as well.
            break
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    for mark, scalar in holes.items():
        text = text.replace(f'"{mark}"', scalar)
    if random.random() < 0.1 and text.startswith("{"):
        text = "{" + f"{json.dumps(random.choice(list(sound)))}: {random.choice(SCALARS)}, " + text[1:]
    # Repeating what was made long before would take longer to send than anybody waits.
    data = text.encode("utf-8", "surrogatepass")[:LONGEST]
    return random.choice(_WHOLE)(random, data) if random.random() < 0.15 else data


def _change(random: Random, value: dict[str, Any], holes: dict[str, str]) -> bool:
    """Put something else at a random place of *value*; True when that is large."""
    node: Any = value
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return False
        place = random.choice(places)
        if not isinstance(node[place], (dict, list)) or random.random() < 0.4:
            break
        node = node[place]
    style = random.randrange(10)
    if style == 0:
        del node[place]
    elif style == 1:
        node[place] = [node[place]] * random.choice((2, 3, 600))
        return True
    elif style == 2 and random.random() < 0.1:
        node[place] = random.choice(("x" * (1 << 20), "你" * 300_000, [_SAY] * 100_000, "\\" * 200_000, ["x"] * 50_000))
        return True
    else:
        mark = f"hole-{len(holes)}"
        holes[mark] = _deep(random) if style == 3 else random.choice(SCALARS)
        node[place] = mark
    return False


def _deep(random: Random) -> str:
    depth = random.choice((5, 60, 63, 64, 65, 70, 500, 2000, 100_000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ("[[", "]]"), ('[{"":', "}]")))
    return opening * depth + random.choice(("1", "")) + (closing * depth if random.random() < 0.9 else "")


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _followed(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"x", b"{}", b"\0", b" " * 100, b"\n{}"))


def _respelled(random: Random, data: bytes) -> bytes:
    others = (b"\xef\xbb\xbf" + data, data.decode("utf-8", "replace").encode("utf-16"), b"[" + data + b"]")
    return random.choice(others)


def _replaced(random: Random, _data: bytes) -> bytes:
    return random.choice((b"", b"null", b"1", b'"x"', b"[]", b"{", b" ", b"\xff\xfe", b"{}" * 1000))


def _changed(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((b"", *BYTES)) + data[at + random.randrange(2) :]


_WHOLE: Final = (_cut, _followed, _respelled, _replaced, _changed, _changed)


def run(report: Report) -> None:
    """Bodies until the report has enough."""
    with served(report) as server:

        async def work(session: aiohttp.ClientSession) -> None:
            for number in inputs:
                path, sound, _ = report.random.choices(ENDPOINTS, [weight for *_, weight in ENDPOINTS])[0]
                await _post(session, path, body(report.random, sound), report)
                if number == WARM_UP:
                    server.warm()

        async def everybody() -> None:
            base, headers = f"http://127.0.0.1:{server.proxy.port}", {"Authorization": f"Bearer {server.bearer}"}
            limit = aiohttp.ClientTimeout(total=HANG_SECONDS)
            async with (
                aiohttp.ClientSession(base, headers=headers, timeout=limit) as session,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(AT_ONCE):
                    group.create_task(work(session))

        inputs = report.inputs()
        asyncio.run(everybody())


async def _post(session: aiohttp.ClientSession, path: str, data: bytes, report: Report) -> None:
    async with session.post(path, data=io.BytesIO(data), headers={"Content-Type": "application/json"}) as answer:
        said = await answer.read()
    report.seen[f"{answer.status}"] += 1
    refused = answer.status == 503 and REDIS_WAS_SLOW in said
    report.seen[REFUSED] += refused
    assert answer.status < 500 or refused, f"{path} {data[:2000]!r}: {answer.status} {said[:500]!r}"
    if answer.content_type != "text/event-stream":
        json.loads(said)
    else:
        assert said.endswith(b"data: [DONE]\n\n"), f"{path} {data[:2000]!r}: {said[-300:]!r}"
