"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from streamproxy.handlers.base import BaseHandler
from streamproxy.services.models import Model


class ModelsHandler(BaseHandler):
    """The list."""

    async def get(self) -> None:
        models = await self.environment.models.all()
        self.write_json(msgspec.json.encode({"object": "list", "data": [_shape(m) for m in models]}))


class ModelHandler(BaseHandler):
    """One of them; an id may contain slashes."""

    async def get(self, model_id: str) -> None:
        self.write_json(msgspec.json.encode(_shape(await self.environment.models.one(unquote(model_id)))))


def _shape(model: Model) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}


ROUTES = [(r"/v1/models", ModelsHandler), (r"/v1/models/(.+)", ModelHandler)]
