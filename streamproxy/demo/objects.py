"""The demo model's answers that are one object: pictures and embeddings, so that both can be tried."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from streamproxy.demo.base import DemoHandler
from streamproxy.demo.models import DEMO
from streamproxy.demo.pictures import picture
from streamproxy.demo.vectors import DIMENSIONS, packed, vector
from streamproxy.domain.tokens import TokenCounters
from streamproxy.errors import BadRequestError
from streamproxy.wire.plain import PlainRequest, parse_embeddings, parse_images

DEFAULT_SIZE = "512x512"
# A side of this many pixels is drawn in some ten milliseconds.
LONGEST_SIDE = 2048
MOST_DIMENSIONS = 4096


class ImagesHandler(DemoHandler):
    """Pictures of nothing: ``url`` is a data: URL, because there is nowhere to fetch them from."""

    def initialize(self, pause: Callable[[float], Awaitable[None]]) -> None:
        self._pause = pause

    async def post(self) -> None:
        request = parse_images(self.request.body, default_model=DEMO.id)
        async with self.while_client_listens():
            width, height = _size(request)
            await self._pause(DEMO.first_piece_after)
            drawn = [
                picture(str(request.fields["prompt"]), number, width=width, height=height)
                for number in range(request.fields.get("n") or 1)
            ]
            as_base64 = request.fields.get("response_format") == "b64_json"
            data = [_picture_object(png, as_base64=as_base64) for png in drawn]
            self.finish(msgspec.json.encode({"created": int(time.time()), "data": data}))


class EmbeddingsHandler(DemoHandler):
    """Vectors that mean nothing."""

    def initialize(self, counters: TokenCounters) -> None:
        self._counters = counters

    async def post(self) -> None:
        request = parse_embeddings(self.request.body)
        dimensions = request.fields.get("dimensions") or DIMENSIONS
        if dimensions > MOST_DIMENSIONS:
            raise BadRequestError(f"dimensions must be at most {MOST_DIMENSIONS} here", param="dimensions")
        given = request.fields["input"]
        texts = [str(one) for one in given] if isinstance(given, list) and type(given[0]) is not int else [str(given)]
        counter = await self._counters.counter(request.model)
        tokens = request.tokens or sum(map(counter.count, texts))
        encode: Callable[[list[float]], Any] = packed if request.fields.get("encoding_format") == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": encode(vector(text, dimensions))}
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self.finish(msgspec.json.encode({"object": "list", "data": data, "model": request.model, "usage": usage}))


def _size(request: PlainRequest) -> tuple[int, int]:
    asked = request.fields.get("size")
    width, _, height = (DEFAULT_SIZE if asked in (None, "auto") else str(asked)).partition("x")
    if max(int(width), int(height)) > LONGEST_SIDE:
        raise BadRequestError(f"size must be at most {LONGEST_SIDE}x{LONGEST_SIDE} here", param="size")
    return int(width), int(height)


def _picture_object(png: bytes, *, as_base64: bool) -> dict[str, str]:
    encoded = base64.b64encode(png).decode()
    return {"b64_json": encoded} if as_base64 else {"url": f"data:image/png;base64,{encoded}"}
