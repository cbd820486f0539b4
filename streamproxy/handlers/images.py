"""POST /v1/images/generations: passed on, with the limits, keys and usage of every other request."""

from __future__ import annotations

from streamproxy.handlers.answering import AnsweringHandler
from streamproxy.wire.plain import parse_images


class ImagesHandler(AnsweringHandler):
    """The upstream's answer as it came: ``data`` with a ``url`` or ``b64_json`` a picture."""

    async def post(self) -> None:
        request = parse_images(self.json_body, default_model=self.environment.default_image_model)
        await self.relay(self.order(request, endpoint="/v1/images/generations"))


ROUTES = [(r"/v1/images/generations", ImagesHandler)]
