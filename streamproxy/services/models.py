"""Which models there are: those the settings name, and for ``*`` those the upstream lists itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from streamproxy.dialects import dialect_of
from streamproxy.domain.keypool import Upstream
from streamproxy.domain.ports import UpstreamTransport
from streamproxy.errors import NoKeyAvailableError, NotFoundError, UpstreamError
from streamproxy.services.keys import KeyPool
from streamproxy.wire.body import UNREADABLE

log = logging.getLogger(__name__)

# Lists change when a provider releases a model; asking once a minute is plenty.
FRESH_SECONDS = 60.0
ASK_SECONDS = 5.0
LONGEST_LIST = 1 << 20
FORMER_DEFAULT = "gpt-3.5-turbo"


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the list. *created* is epoch seconds."""

    id: str
    created: int
    owned_by: str


class _Listed(msgspec.Struct):
    id: str
    created: int = 0
    owned_by: str = ""


class _List(msgspec.Struct):
    data: list[_Listed]


class ModelList:
    """The models of all upstreams, asked for when somebody wants to know."""

    def __init__(self, keys: KeyPool, transport: UpstreamTransport, *, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._transport = transport
        self._clock = clock
        self._started = int(clock())
        self._asked: dict[str, tuple[float, list[Model]]] = {}

    async def all(self) -> list[Model]:
        """Every model once, in order of name."""
        lists = await asyncio.gather(*(self._of(upstream) for upstream in self._keys.upstreams))
        found: Mapping[str, Model] = {model.id: model for models in lists for model in models}
        return [found[name] for name in sorted(found)]

    def default(self) -> str:
        """What is asked where a caller names no model: gpt-3.5-turbo, or the first that an upstream names.

        The systems we replace had the one; an upstream that does not serve it should not fail their callers.
        """
        upstreams = self._keys.upstreams
        if any(upstream.provider_model(FORMER_DEFAULT) is not None for upstream in upstreams):
            return FORMER_DEFAULT
        named = [name for upstream in upstreams for name in upstream.models if not name.endswith("*")]
        return named[0] if named else FORMER_DEFAULT

    async def one(self, model_id: str) -> Model:
        """NotFoundError ``model_not_found`` when nobody serves it."""
        found = next((m for m in await self.all() if m.id == model_id), None)
        if found is not None:
            return found
        for upstream in self._keys.upstreams:
            # An upstream that serves everything need not list everything.
            if upstream.provider_model(model_id) is not None and not await self._of(upstream):
                return Model(model_id, self._started, upstream.name)
        raise NotFoundError(f"The model {model_id!r} does not exist here.", code="model_not_found", param="model")

    async def _of(self, upstream: Upstream) -> list[Model]:
        named = [Model(name, self._started, upstream.name) for name in upstream.models if not name.endswith("*")]
        if len(named) == len(upstream.models):
            return named
        listed = await self._listed(upstream)
        return named + [m for m in listed if upstream.provider_model(m.id) is not None]

    async def _listed(self, upstream: Upstream) -> list[Model]:
        asked_at, models = self._asked.get(upstream.name, (float("-inf"), []))
        if self._clock() - asked_at < FRESH_SECONDS:
            return models
        try:
            async with asyncio.timeout(ASK_SECONDS):
                models = await self._ask(upstream)
        except (UpstreamError, NoKeyAvailableError, TimeoutError, *UNREADABLE):
            log.warning("upstream %s does not list its models; the last known list stands", upstream.name)
        self._asked[upstream.name] = (self._clock(), models)
        return models

    async def _ask(self, upstream: Upstream) -> list[Model]:
        key = self._keys.spokesman(upstream)
        if key is None:
            raise NoKeyAvailableError("No key of this upstream can ask for its models now.")
        call = dialect_of(upstream).models(secret=key.secret)
        reply = await self._transport.open(upstream.base_url + call.path, headers=call.headers, body=call.body)
        try:
            body = b""
            while len(body) < LONGEST_LIST and (batch := await reply.batch()):
                body += batch
        finally:
            reply.close()
        if reply.status != 200:
            raise UpstreamError("the upstream lists no models")
        return [Model(m.id, m.created, m.owned_by) for m in msgspec.json.decode(body, type=_List).data]
