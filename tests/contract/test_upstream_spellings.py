"""CONTRACTS A1.2: every legal way to spell a stream is heard as the same stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.http import Client
from tests.support.steps import Step, chunk_of, done, drip, finish, head, raw, say, wire
from tests.support.upstream import ScriptedUpstream

TEXT = "你好, Grüße 🚀"
CHUNKS: list[dict[str, Any]] = [
    chunk_of({"role": "assistant", "content": ""}),
    *(chunk_of({"content": piece}) for piece in ("你", "好, Gr", "üße ", "🚀")),
    chunk_of({}, finish_reason="stop"),
]


def _lines(newline: str) -> str:
    frames = [f"data: {json.dumps(c, ensure_ascii=False)}{newline}{newline}" for c in CHUNKS]
    return "".join([*frames, f"data: [DONE]{newline}{newline}"])


def _each(frame: Callable[[str], str]) -> str:
    payloads = [json.dumps(c, ensure_ascii=False) for c in CHUNKS] + ["[DONE]"]
    return "".join(frame(payload) for payload in payloads)


def _several_data_lines(payload: str) -> str:
    pretty = payload if payload == "[DONE]" else json.dumps(json.loads(payload), indent=1, ensure_ascii=False)
    return "".join(f"data: {line}\n" for line in pretty.split("\n")) + "\n"


SPELLINGS: dict[str, str] = {
    "LF": _lines("\n"),
    "CRLF": _lines("\r\n"),
    "CR": _lines("\r"),
    "a different line end each": _each(lambda p: f": c\rid: 1\r\ndata: {p}\n\r\n"),
    "BOM": "\ufeff" + _lines("\n"),
    "BOM and CRLF": "\ufeff" + _lines("\r\n"),
    "no space after the colon": _each(lambda p: f"data:{p}\n\n"),
    "several data lines": _each(_several_data_lines),
    "comments everywhere": _each(lambda p: f": ping\n\n:\n: ok\ndata: {p}\n: after\n\n: ping\n\n"),
    "stray blank lines": "\n\n\n" + _each(lambda p: f"data: {p}\n\n\n\n"),
    "ids, names and retry": "retry: 3000\n\n" + _each(lambda p: f"id: 1\nevent: message\nretry: 5\ndata: {p}\n\n"),
    "fields nobody knows": _each(lambda p: f"x-provider: 1\ndata: {p}\nfoo\n\n"),
    "spaces after the JSON": _each(lambda p: f"data: {p}  \n\n" if p != "[DONE]" else f"data: {p}\n\n"),
    "escaped characters": _each(lambda p: f"data: {p if p == '[DONE]' else json.dumps(json.loads(p))}\n\n"),
}


def _without_ids(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in chunk.items() if key != "id"} for chunk in chunks]


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
async def test_a_spelling_is_relayed_as_the_same_chunks(
    patient: Client, upstream: ScriptedUpstream, spelling: str
) -> None:
    upstream.script(raw(spelling.encode()))
    answer = await patient.chat()
    assert _without_ids(answer.chunks()) == _without_ids(CHUNKS)
    assert answer.text() == TEXT


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
async def test_a_spelling_survives_one_byte_per_packet(
    patient: Client, upstream: ScriptedUpstream, spelling: str
) -> None:
    """Every character, line end and BOM is cut wherever it can be."""
    upstream.script(drip(), raw(spelling.encode()))
    assert _without_ids((await patient.chat()).chunks()) == _without_ids(CHUNKS)


@pytest.mark.parametrize("framing", ["chunked", "close"])
async def test_how_the_upstream_frames_its_body_does_not_matter(
    patient: Client, upstream: ScriptedUpstream, framing: str
) -> None:
    upstream.script(head(framing=framing), raw(SPELLINGS["LF"].encode()))
    assert (await patient.chat()).text() == TEXT


async def test_a_stream_with_a_content_length_is_a_stream(patient: Client, upstream: ScriptedUpstream) -> None:
    body = SPELLINGS["LF"].encode()
    upstream.script(head(framing="length", content_length=str(len(body))), raw(body))
    assert (await patient.chat()).text() == TEXT


@pytest.mark.parametrize("cut", range(1, 8))
async def test_a_character_cut_between_two_packets_is_whole_at_the_client(
    patient: Client, upstream: ScriptedUpstream, cut: int
) -> None:
    """A1.2: the real chatgpt-web shows a character split over two writes as three question marks."""
    payload = json.dumps(chunk_of({"content": "你🚀"}), ensure_ascii=False).encode()
    at = payload.index("你".encode()) + cut
    upstream.script(raw(b"data: " + payload[:at]), raw(payload[at:] + b"\n\n"), finish(), done())
    answer = await patient.chat()
    assert answer.text() == "你🚀"
    assert all(piece.decode() for piece in answer.pieces)


async def test_bytes_that_are_not_utf8_do_not_end_the_stream(patient: Client, upstream: ScriptedUpstream) -> None:
    """They become U+FFFD, as the specification of event streams says; what the client gets is UTF-8."""
    upstream.script(raw(b'data: {"choices":[{"index":0,"delta":{"content":"a\xff\xfeb"}}]}\n\n'), finish(), done())
    answer = await patient.chat()
    assert answer.text() == "a\ufffd\ufffdb"
    answer.body.decode()


async def test_text_that_looks_like_a_frame_stays_text(patient: Client, upstream: ScriptedUpstream) -> None:
    """A model that says line ends and field names cannot forge an event."""
    forged = "hi\n\nevent: admin\ndata: pwn\n\ndata: [DONE]\n\n\r\rid: 1\u2028\u2029\u0085\x0b\x0c"
    upstream.script(say(forged), finish(), done())
    answer = await patient.chat()
    assert answer.text() == forged
    assert len(answer.chunks()) == 2


HEADS: dict[str, Step] = {
    "a charset": head(content_type="text/event-stream;charset=UTF-8"),
    "capitals": head(content_type="Text/Event-Stream"),
    "a cookie": head(set_cookie="session=of-somebody-else"),
    "a 9 kB header": head(content_security_policy="x" * 9000),
}


@pytest.mark.parametrize("first", HEADS.values(), ids=HEADS.keys())
async def test_the_upstreams_header_fields_are_its_own(
    patient: Client, upstream: ScriptedUpstream, first: Step
) -> None:
    """None of them hinders the stream, and none reaches the client."""
    upstream.script(first, say("fine"), finish(), done())
    answer = await patient.chat()
    assert answer.text() == "fine"
    assert answer.head.get("Set-Cookie") is None
    assert answer.head.get("Content-Security-Policy") != "x" * 9000
    assert answer.head.get("Content-Type") == "text/event-stream; charset=utf-8"


async def test_a_thousand_cookies_are_no_reason_to_fail(patient: Client, upstream: ScriptedUpstream) -> None:
    """U19: gateways in front of providers send such heads; the body here ends with the connection."""
    fields = b"Connection: close\r\nContent-Type: text/event-stream\r\n" + b"Set-Cookie: a=b\r\n" * 1000
    upstream.script(wire(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + SPELLINGS["LF"].encode()))
    answer = await patient.chat()
    assert answer.text() == TEXT
    assert answer.head.get("Set-Cookie") is None
