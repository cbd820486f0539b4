"""Which rendering of a stream a request asks for by ``?format=``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from streamproxy.errors import BadRequestError
from streamproxy.handlers.base import BaseHandler
from streamproxy.wire.aisdk import HEADERS, UiMessageStream

AI_SDK: Final = "ai-sdk"


def rendering(handler: BaseHandler, stream_id: str, *, seen: int = 0) -> UiMessageStream | None:
    """The rendering for a reader who has *seen* so many events; None for events as they are.

    BadRequestError for a format that nobody knows.
    """
    chosen = handler.get_query_argument("format", None)
    if chosen is None:
        return None
    if chosen != AI_SDK:
        raise BadRequestError(f'format must be "{AI_SDK}".', param="format")
    return UiMessageStream(stream_id, seen=seen)


def fields_and_render(
    chosen: UiMessageStream | None,
) -> tuple[Mapping[str, str], Callable[[bytes], bytes] | None]:
    """What an event stream of the *chosen* rendering needs: its own header fields, and the rendering itself."""
    return ({}, None) if chosen is None else (HEADERS, chosen.feed)
