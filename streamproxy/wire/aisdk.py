"""A stream as the Vercel AI SDK's ``useChat`` reads it: the UI message stream, version 1.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol: one JSON object an event, ``start``, then parts that begin, grow and
end under an id of their own, ``finish``, and ``[DONE]``. The message's id is the stream's, so that a replay replaces
what a page shows of it, and a page that keeps its messages knows what to resume or cancel.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamproxy.wire import sse
from streamproxy.wire.chat.toolcall import ToolCalls

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
# Our own events, which are no larger than what the upstream sent and we encoded anew.
_MAX_EVENT_SIZE: Final = 4 * sse.MAX_EVENT_SIZE
_FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}
_CALLS_COMPLETE: Final = frozenset({"tool_calls", "function_call", "stop"})


class UiMessageStream:
    """Takes the frames of any of our event streams and returns those of the UI message stream.

    Of a resumed stream it is fed everything from the first event on, because a part that grows must have begun, and
    returns nothing for the events up to number *seen*.
    """

    def __init__(self, message_id: str, *, seen: int = 0) -> None:
        self._message_id = message_id
        self._seen = seen
        self._decoder = sse.Decoder(_MAX_EVENT_SIZE)
        self._begun = False
        self._end = b""  # the end mark, once there is one
        self._open: str | None = None  # the kind of the part that grows: text or reasoning
        self._parts = 0
        self._calls = ToolCalls()
        self._finish_reason: str | None = None

    def feed(self, frames: bytes) -> bytes:
        """The frames for whole events; b"" when they show nothing. The last one of an event has its ``id:``."""
        return b"".join(self._rendered(event) for event in self._decoder.feed(frames))

    def _rendered(self, event: sse.Event) -> bytes:
        if self._end:
            return b""
        parts = [*self._beginning(), *self._taken(event)]
        frames = [*(sse.frame(msgspec.json.encode(part)) for part in parts), *filter(None, [self._end])]
        if event.id is None or not frames:
            return b"".join(frames)
        if int(event.id.rpartition(".")[2]) <= self._seen:
            return b""
        return b"".join([*frames[:-1], b"id: ", event.id.encode(), b"\n", frames[-1]])

    def _beginning(self) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        return [{"type": "start", "messageId": self._message_id}, {"type": "start-step"}]

    def _taken(self, event: sse.Event) -> list[dict[str, Any]]:
        if event.event == "done" or event.data == "[DONE]":
            return self._ending()
        if event.event == "gap":
            return self._failing({"message": "A part of this answer is no longer held."})
        value = _object(event.data)
        if "error" in value:
            return self._failing(_object(value["error"]))
        choices = value.get("choices")
        first = [
            choice for choice in map(_object, choices if isinstance(choices, list) else ()) if not choice.get("index")
        ]
        return [part for choice in first for part in self._chosen(choice)]

    def _chosen(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self._finish_reason = reason
        delta = _object(choice.get("delta") or choice.get("message"))
        self._calls.add(delta.get("tool_calls"))
        return [
            *self._grown("reasoning", delta.get("reasoning_content") or delta.get("reasoning")),
            *self._grown("text", delta.get("content")),
            *self._grown("text", delta.get("refusal")),
        ]

    def _grown(self, kind: str, text: object) -> list[dict[str, Any]]:
        if not isinstance(text, str) or not text:
            return []
        beginning = []
        if self._open != kind:
            beginning = self._closed()
            self._open, self._parts = kind, self._parts + 1
            beginning.append({"type": f"{kind}-start", "id": str(self._parts)})
        return [*beginning, {"type": f"{kind}-delta", "id": str(self._parts), "delta": text}]

    def _closed(self) -> list[dict[str, Any]]:
        kind, self._open = self._open, None
        return [] if kind is None else [{"type": f"{kind}-end", "id": str(self._parts)}]

    def _ending(self) -> list[dict[str, Any]]:
        self._end = sse.DONE
        calls = [_call(call, whole=self._finish_reason in _CALLS_COMPLETE) for call in self._calls.merged()]
        parts = [*self._closed(), *calls, {"type": "finish-step"}]
        if self._finish_reason is None:
            # A finish that no model gave is never made up: who was stopped is told so.
            return [*parts, {"type": "abort", "reason": "cancelled"}]
        return [*parts, {"type": "finish", "finishReason": _FINISH_REASONS.get(self._finish_reason, "other")}]

    def _failing(self, error: dict[str, Any]) -> list[dict[str, Any]]:
        self._end = sse.DONE
        return [*self._closed(), {"type": "error", "errorText": str(error.get("message"))}]


def _object(value: object) -> dict[str, Any]:
    """*value*, or what it is as JSON; {} for everything that is no object: upstreams send what they like."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _call(call: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """A tool call. Where its input was cut, or is no JSON, it says so instead of being called."""
    body = _object(call.get("function") or call.get("custom"))
    part = {"toolCallId": str(call.get("id")), "toolName": str(body.get("name"))}
    given: object = body.get("input") if "custom" in call else _arguments(body.get("arguments"))
    if whole and given is not None:
        return {"type": "tool-input-available", **part, "input": given}
    text = body.get("input") or body.get("arguments") or ""
    return {"type": "tool-input-error", **part, "input": text, "errorText": "The input of this call is not whole."}


def _arguments(text: object) -> object:
    """The JSON that a function is to be called with, {} for none; None when it is not whole."""
    try:
        return msgspec.json.decode(text) if isinstance(text, str) and text else {}
    except (msgspec.DecodeError, RecursionError):
        return None
