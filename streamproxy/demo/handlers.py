"""The demo model's HTTP side: OpenAI's paths, shapes and errors.

A client that leaves stops its answer at once. Credentials are not looked at. Usage is counted in tokens
of o200k_base, which are nobody's real tokens here; ``system_fingerprint`` says whose answer it is.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias, cast

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.web import Application, RequestHandler

from streamproxy.demo.answers import answer
from streamproxy.demo.base import DemoHandler
from streamproxy.demo.completion import Completion, reply
from streamproxy.demo.models import MODELS, DemoModel, model_named
from streamproxy.demo.objects import EmbeddingsHandler, ImagesHandler
from streamproxy.domain.tokens import TokenCounters, count_messages
from streamproxy.errors import BadRequestError, InternalServerError, NotFoundError, RateLimitError
from streamproxy.wire import error as wire_error
from streamproxy.wire import sse
from streamproxy.wire.chat import ChatRequest, parse_request

log = logging.getLogger(__name__)

Pause: TypeAlias = Callable[[float], Awaitable[None]]
# The day the demo models were made; a catalogue's field, nothing depends on it.
MODELS_CREATED = 1_760_000_000


def application(counters: TokenCounters, pause: Pause) -> Application:
    """The routes. *pause* waits that many seconds; it sets the pace of all answers."""
    return Application(
        [
            (r"/v1/chat/completions", ChatHandler, {"counters": counters, "pause": pause}),
            (r"/v1/images/generations", ImagesHandler, {"pause": pause}),
            (r"/v1/embeddings", EmbeddingsHandler, {"counters": counters}),
            (r"/v1/models(?:/([^/]+))?", ModelsHandler),
        ],
        default_handler_class=NothingHereHandler,
        log_function=_log_request,
    )


def _log_request(handler: RequestHandler) -> None:
    # The proxy in front logs every request; with a second line each would look like two.
    log.debug("%s %s %d", handler.request.method, handler.request.path, handler.get_status())


class NothingHereHandler(DemoHandler):
    """Every other path."""

    def prepare(self) -> None:
        paths = "/v1/chat/completions, /v1/images/generations, /v1/embeddings and /v1/models"
        raise NotFoundError(f"The demo model has {paths} only.")


class ModelsHandler(DemoHandler):
    """The catalogue."""

    def get(self, name: str | None) -> None:
        if name is not None and name not in MODELS:
            raise NotFoundError(f"There is no demo model {name!r}.", code="model_not_found", param="model")
        entries = {
            model: {"id": model, "object": "model", "created": MODELS_CREATED, "owned_by": "streamproxy"}
            for model in MODELS
        }
        found = {"object": "list", "data": [*entries.values()]} if name is None else entries[name]
        self.finish(msgspec.json.encode(found))


class ChatHandler(DemoHandler):
    """Chat completions, streamed at a typewriter's pace or whole."""

    def initialize(self, counters: TokenCounters, pause: Pause) -> None:
        self._counters = counters
        self._pause = pause

    def prepare(self) -> None:
        # Pieces go out when they are written: Nagle's algorithm would hold each back until the last was acknowledged.
        cast("HTTP1Connection", self.request.connection).stream.set_nodelay(True)

    async def post(self) -> None:
        request = parse_request(self.request.body)
        model = model_named(request.model)
        _refuse_what_we_cannot(request, model)
        async with self.while_client_listens():
            completion = await self._completion(request, model)
            await (self._stream if request.stream else self._whole)(completion, request, model)

    async def _completion(self, request: ChatRequest, model: DemoModel) -> Completion:
        counter = await self._counters.counter(model.id)
        prompt_tokens = await self._counters.off_loop(
            request.messages, lambda: count_messages(request.messages, counter)
        )
        said = reply(answer(request, model), at_most=request.reply_tokens, counter=counter)
        return Completion(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), model.id, prompt_tokens, said)

    async def _whole(self, completion: Completion, _: ChatRequest, model: DemoModel) -> None:
        await self._pause(model.first_piece_after)
        if model.fails_after is not None:
            raise _failure()
        self.finish(msgspec.json.encode(completion.whole()))

    async def _stream(self, completion: Completion, request: ChatRequest, model: DemoModel) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        await self._pause(model.first_piece_after)
        for frame in _frames(completion, request, model):
            self.write(frame)
            await self.flush()
            await self._pause(1 / model.pace)


def _frames(completion: Completion, request: ChatRequest, model: DemoModel) -> Iterator[bytes]:
    """What is written together: role and first piece, a piece each, the end."""
    asked = request.include_usage
    before = _event(completion.opening(include_usage=asked))
    for number, content in enumerate(completion.contents(include_usage=asked)):
        if number == model.fails_after:
            yield wire_error.frame(_failure())
            return
        yield before + _event(content)
        before = b""
    yield before + b"".join(map(_event, completion.ending(include_usage=asked))) + sse.DONE


def _event(chunk: dict[str, Any]) -> bytes:
    return sse.frame(msgspec.json.encode(chunk))


def _refuse_what_we_cannot(request: ChatRequest, model: DemoModel) -> None:
    if model.busy_for is not None:
        raise RateLimitError(f"{model.id} is always busy; that is what it is for.", retry_after=model.busy_for)
    if request.fields.get("n", 1) not in (1, None):
        raise BadRequestError("The demo model gives one answer: n must be 1.", param="n")


def _failure() -> InternalServerError:
    return InternalServerError("demo-fail fails here; that is what it is for.", code="demo_failure")
