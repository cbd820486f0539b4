"""POST /v1/embeddings: passed on, with the limits, keys and usage of every other request."""

from __future__ import annotations

from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.wire.plain import parse_embeddings


class EmbeddingsHandler(AnsweringHandler):
    """The upstream's answer as it came."""

    async def post(self) -> None:
        await self.relay(self.order(parse_embeddings(self.json_body), endpoint="/v1/embeddings"))


ROUTES = [(r"/v1/embeddings", EmbeddingsHandler)]
