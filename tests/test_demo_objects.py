"""The demo model draws and embeds, so that both can be tried without a provider."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest
from tornado.ioloop import IOLoop

from streamproxy.demo import DemoServer, start_demo
from streamproxy.demo.pictures import SIGNATURE, picture
from streamproxy.demo.vectors import vector
from tests.support.http import Client
from tests.test_demo import QUICK, Pace


@pytest.fixture
def demo(io_loop: IOLoop) -> Iterator[DemoServer]:
    server = io_loop.run_sync(lambda: start_demo(pause=Pace(), counters=QUICK))
    yield server
    io_loop.run_sync(server.close)


@pytest.fixture
def client(demo: DemoServer) -> Iterator[Client]:
    port = urlsplit(demo.base_url).port
    assert port is not None
    client = Client(port)
    yield client
    client.close()


def chunks(png: bytes) -> dict[bytes, bytes]:
    """The parts of a PNG, each with a valid checksum."""
    assert png.startswith(SIGNATURE)
    found, at = {}, len(SIGNATURE)
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size) == (zlib.crc32(kind + data),)
        found[kind] = data
        at += size + 12
    return found


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1792, 1024), (1, 1), (1, 300), (300, 1)])
def test_a_picture_is_a_png_of_the_size_asked(width: int, height: int) -> None:
    parts = chunks(picture("a cat", 0, width=width, height=height))
    assert list(parts) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", parts[b"IHDR"]) == (width, height, 8, 3, 0, 0, 0)
    assert len(parts[b"PLTE"]) == 768
    assert len(zlib.decompress(parts[b"IDAT"])) == height * (width + 1)


def test_a_picture_belongs_to_its_prompt() -> None:
    one, again, other, next_one = (
        picture(prompt, number, width=8, height=8) for prompt, number in (("a", 0), ("a", 0), ("b", 0), ("a", 1))
    )
    assert one == again
    assert len({one, other, next_one}) == 3


async def test_openais_client_gets_pictures_as_it_wants_them(demo: DemoServer) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=demo.base_url) as client:
        linked = await client.images.generate(prompt="a cat", n=2, size="256x256", response_format="url")
        packed = await client.images.generate(prompt="a cat", size="256x256", response_format="b64_json")
    assert len(linked.data or []) == 2
    [first, *_], [same] = linked.data or [], packed.data or []
    assert first.url == f"data:image/png;base64,{same.b64_json}"
    chunks(base64.b64decode(same.b64_json or ""))


async def test_openais_client_gets_vectors(demo: DemoServer) -> None:
    """In base64, as it asks by itself: one a text, of length 1, the same for the same text."""
    async with openai.AsyncOpenAI(api_key="any", base_url=demo.base_url) as client:
        answer = await client.embeddings.create(input=["a cat", "a dog", "a cat"], model="demo", dimensions=24)
    one, two, three = (entry.embedding for entry in answer.data)
    assert one == three != two
    assert len(one) == 24
    assert sum(value * value for value in one) == pytest.approx(1, abs=1e-4)
    assert one == pytest.approx(vector("a cat", 24))
    assert answer.usage.prompt_tokens > 0


@pytest.mark.parametrize(("tokens", "count"), [([1, 2, 3], 1), ([[1, 2], [3]], 2)])
async def test_tokens_are_embedded_as_texts_are(client: Client, tokens: object, count: int) -> None:
    answer = await client.ask("POST", "/v1/embeddings", {"model": "demo", "input": tokens})
    assert len(answer.json["data"]) == count
    assert answer.json["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/images/generations", {"prompt": "x", "size": "4096x4096"}, "size"),
        ("/v1/images/generations", {"prompt": ""}, "prompt"),
        ("/v1/embeddings", {"model": "demo", "input": "x", "dimensions": 5000}, "dimensions"),
    ],
)
async def test_what_it_cannot_do_it_refuses(client: Client, path: str, body: object, param: str) -> None:
    refused = await client.ask("POST", path, body)
    assert refused.status == 400
    assert refused.json["error"]["param"] == param
