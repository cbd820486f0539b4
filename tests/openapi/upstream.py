"""An upstream that takes whatever it is sent and answers at once, in a thread of its own.

What a proxy does with a good upstream is what schemathesis looks at: an upstream with opinions would only have its
refusals passed on.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class ChatHandler(RequestHandler):
    """``Hello``, whole or in two chunks."""

    def post(self) -> None:
        request = json.loads(self.request.body)
        head: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": request["model"]}
        if not request.get("stream"):
            message = {"role": "assistant", "content": "Hello"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self.finish({**head, "object": "chat.completion", "choices": choices, "usage": USAGE})
            return
        self.set_header("Content-Type", "text/event-stream")
        chunk = {**head, "object": "chat.completion.chunk"}
        for delta, reason in (({"role": "assistant", "content": "Hel"}, None), ({"content": "lo"}, "stop")):
            choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
            self.write(f"data: {json.dumps({**chunk, 'choices': choices})}\n\n")
        self.write(f"data: {json.dumps({**chunk, 'choices': [], 'usage': USAGE})}\n\n")
        self.finish("data: [DONE]\n\n")


class ObjectsHandler(RequestHandler):
    """A picture or a vector."""

    def post(self) -> None:
        found = {"index": 0, "embedding": [0.5], "url": "https://pictures.example/1.png"}
        self.finish({"object": "list", "created": 1, "data": [found], "usage": USAGE})


class ModelsHandler(RequestHandler):
    """One model, for who asks whether a key works."""

    def get(self) -> None:
        model = {"id": "demo", "object": "model", "created": 1, "owned_by": "tests"}
        self.finish({"object": "list", "data": [model]})


class AgreeableUpstream:
    """Use it as ``with``; *base_url* is where it listens."""

    def __init__(self) -> None:
        self._sockets = bind_sockets(0, "127.0.0.1")
        self.base_url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}/v1"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        paths = [
            (r"/v1/chat/completions", ChatHandler),
            (r"/v1/(?:images/generations|embeddings)", ObjectsHandler),
            (r"/v1/models", ModelsHandler),
        ]
        server = HTTPServer(Application(paths, log_function=lambda _handler: None))
        server.add_sockets(self._sockets)
        self._ready.set()
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()
