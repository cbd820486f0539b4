"""The shortest relay that Starlette and aiohttp allow: no bearer, no limits, no session, no record. Run by uvicorn."""

import contextlib
import os

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ["UPSTREAM"]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette):
    """One session for the life of the server; no limits that could slow it down."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        app.state.session = session
        yield


async def relay(request: Request) -> Response:
    """Bytes as they come from the upstream, in pieces as they come."""
    headers = {"Content-Type": "application/json"}
    url = UPSTREAM + request.url.path
    answer = await request.app.state.session.post(url, data=await request.body(), headers=headers)
    if answer.content_type != "text/event-stream":
        async with answer:
            return Response(await answer.read(), answer.status, media_type=answer.content_type)

    async def pieces():
        try:
            async for piece in answer.content.iter_any():
                yield piece
        finally:
            answer.close() if not answer.content.at_eof() else answer.release()

    return StreamingResponse(pieces(), answer.status, media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])], lifespan=lifespan)
