"""The relay: upstream bytes in, frames for the client out. No socket, no clock.

Bytes that are already what a client may see leave as they came: whole events of one ``data:`` line,
the same completion id, no usage, no error, no end. Only what is not so is taken apart and encoded anew.
Whatever happens, what leaves here is whole events, and ``ending``, ``cutting`` or ``failing`` closes
them with exactly one ``[DONE]``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

import streamproxy.wire.error as wire_error
from streamproxy.dialects.base import Translator
from streamproxy.errors import StreamProxyError, UpstreamError
from streamproxy.wire import sse
from streamproxy.wire.chat import ReportedUsage, Transcript, completed_chunk, finish_chunk, split_usage, usage_chunk

# A fragment longer than this is no longer glued to the next batch byte by byte: the decoder takes over,
# whose work is linear.
LONGEST_TAIL = 1 << 16
# Frames of a long answer are some ten times as long as their text: they are kept only so far.
UNREAD_BYTES = 1 << 18
# Azure sends one chunk before the completion has an id; a stream of nothing else must not fill the memory.
LONGEST_PRELUDE = 8
_ID = re.compile(rb'"id" ?: ?"((?:[^"\\]|\\.)*)"')
# What must not pass unread. In a JSON text these byte strings occur as keys only: inside a string value
# the quotes are escaped.
_MARKS = (b'"error"', b'"usage"', b"data: [DONE]")
_NO_USAGE = (b'"usage":null', b'"usage": null')


@dataclass(frozen=True, slots=True)
class Identity:
    """What a chunk of ours says about itself. *fallback_id* is used when the upstream's id will not do."""

    fallback_id: str
    model: str
    created: int


class Relay:
    """The way of one stream's events. *include_usage*: the client asked for a usage chunk. *max_bytes* bounds its text.

    With a *translator* every event is read and spelled anew; without one, bytes pass as they are where they can.

    ``feed`` returns frames; afterwards look at ``failure`` (an in-stream error or unreadable event: what was
    returned still goes to the client, then the stream fails) and ``ended`` (the upstream said ``[DONE]``).
    """

    def __init__(
        self,
        identity: Identity,
        *,
        include_usage: bool,
        taken_ids: TakenIds,
        max_bytes: int,
        translator: Translator | None = None,
    ) -> None:
        self.transcript = Transcript()
        self.failure: UpstreamError | None = None
        self.failed_event: bytes = b""
        self.ended = False
        self._identity = identity
        self._include_usage = include_usage
        self._taken_ids = taken_ids
        self._translator = translator
        self._decoder = sse.Decoder()
        self._tail = b""
        self._usage: bytes | None = None
        self._prelude: list[dict[str, Any]] = []
        self._upstream_id: bytes | None = None
        self._id: str = ""
        self._max_bytes = max_bytes
        self._unread = 0

    def feed(self, batch: bytes) -> bytes:
        """Take what the upstream sent; return the frames the client may see now."""
        if self.ended or self.failure:
            return b""
        if self._translator is not None:
            return self._decode(batch)
        if self._decoder.pending or b"\r" in batch or len(self._tail) > LONGEST_TAIL:
            data, self._tail = self._tail + batch, b""
            return self._decode(data)
        buffer = self._tail + batch if self._tail else batch
        end = buffer.rfind(b"\n\n") + 2
        if end < 2:
            self._tail = buffer
            return b""
        self._tail = buffer[end:]
        return self._whole_events(buffer, end)

    def finish_input(self) -> None:
        """The upstream's body is at its end: a stream that neither said so nor finished was cut."""
        if self.ended or self.failure:
            return
        if self.transcript.finish_reason is None:
            self.failure = UpstreamError("the upstream's answer broke off", code="upstream_incomplete")
        self.ended = True

    def break_off(self, error: UpstreamError) -> None:
        """The connection failed. Where everything had been said, only the upstream's goodbye was lost."""
        self.finish_input()
        if self.failure is not None:
            self.failure = error

    def ending(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The last frames of a finished stream: usage where the client wants it, ``[DONE]``."""
        return self._usage_frame(prompt_tokens, completion_tokens) + sse.DONE

    def cutting(
        self, finish_reason: str, prompt_tokens: int, completion_tokens: int, *, choices: Sequence[int] = (0,)
    ) -> bytes:
        """The last frames of a stream that we end ourselves, validly: an end for each of the *choices*."""
        identity = self._identity
        ends = [
            finish_chunk(
                id=self._own_id(),
                model=identity.model,
                created=identity.created,
                finish_reason=finish_reason,
                choice=choice,
            )
            for choice in choices
        ]
        return b"".join(map(sse.frame, ends)) + self.ending(prompt_tokens, completion_tokens)

    @staticmethod
    def failing(error: StreamProxyError) -> bytes:
        """The last frames of a broken stream: every SDK raises on the first, and the second ends its wait."""
        return wire_error.frame(error) + sse.DONE

    def _whole_events(self, buffer: bytes, end: int) -> bytes:
        """The frames for ``buffer[:end]``, which ends with an event's blank line."""
        frames = []
        start = 0
        while start < end and not (self.ended or self.failure):
            marked = self._first_mark(buffer, start, end)
            if marked > start and self._is_plain(plain := buffer[start:marked]):
                self._keep(plain)
                frames.append(plain)
                start = marked
            else:
                # A marked event is read by itself, so that its plain neighbours still leave as they are.
                alone = marked == start or self._upstream_id is None
                stop = _end_of_event(buffer, start, end) if alone else end
                frames.append(self._decode(buffer[start:stop]))
                start = stop
        return b"".join(frames)

    @staticmethod
    def _first_mark(buffer: bytes, start: int, end: int) -> int:
        """Where the first event begins that must be read, *end* when there is none."""
        first = end
        for mark in _MARKS:
            at = buffer.find(mark, start, first)
            while at >= 0 and buffer.startswith(_NO_USAGE, at):
                at = buffer.find(mark, at + 1, first)
            first = at if at >= 0 else first
        return end if first == end else max(buffer.rfind(b"\n\n", start, first) + 2, start)

    def _is_plain(self, frames: bytes) -> bool:
        if self._upstream_id is None:
            return False
        events = frames.count(b"\n\n")
        return (
            frames.count(self._upstream_id) == events
            # One of the two spellings in every event: a value of another type has to be read.
            and (frames.count(b'"choices":[') == events or frames.count(b'"choices": [') == events)
            and frames.startswith(b"data: {")
            and frames.count(b"}\n\ndata: {") == events - 1
            and frames.endswith(b"}\n\n")
            and sse.is_clean(frames)
        )

    def _decode(self, data: bytes) -> bytes:
        try:
            events = self._decoder.feed(data)
        except UpstreamError as error:
            events, self.failure = [], error
        frames = []
        for event in events:
            for payload in self._payloads(event):
                frames.append(self._frame_of(payload))
                if self.ended or self.failure:
                    return b"".join(frames)
        return b"".join(frames)

    def _payloads(self, event: sse.Event) -> Sequence[bytes]:
        return (event.data.encode(),) if self._translator is None else self._translator.payloads(event)

    def _frame_of(self, data: bytes) -> bytes:
        """One event's payload as the frame for the client, ``b""`` for one that the client does not see."""
        if not data:
            return b""
        if data.strip() == b"[DONE]":
            self.ended = True
            return b""
        try:
            chunk = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            self.failure = UpstreamError("the upstream sent an event that is no chunk", code="upstream_malformed")
            return b""
        # vLLM's errors have no member of that name.
        if chunk.get("error") or chunk.get("object") == "error":
            self.failure = UpstreamError("the upstream failed while it answered", code="upstream_error_event")
            self.failed_event = data
            return b""
        if not isinstance(chunk.get("choices"), list):
            # Whatever it is, no client of this API can read it.
            return b""
        return self._chunk_frame(data, chunk)

    def _chunk_frame(self, data: bytes, chunk: dict[str, Any]) -> bytes:
        if self._is_prelude(chunk):
            self._prelude.append(chunk)
            return b""
        prelude = b""
        if chunk.get("id") != self._id or not self._id:
            data = self._with_our_id(data, chunk)
            prelude = b"".join(sse.frame(self._completed(held)) for held in self._prelude)
            self._prelude.clear()
        elif b"\n" in data:
            data = msgspec.json.encode(chunk)
        self._keep(sse.frame(data))
        if chunk.get("usage") is None:
            return prelude + sse.frame(data)
        rest, usage = split_usage(data)
        if ReportedUsage.read(chunk["usage"]) is not None:
            self._usage = usage
        return prelude + (b"" if rest is None else sse.frame(rest))

    def _is_prelude(self, chunk: dict[str, Any]) -> bool:
        """A chunk without id, choices and usage before the completion has its id: it waits until it can have it."""
        nameless = self._upstream_id is None and not chunk.get("id") and not chunk["choices"]
        return nameless and chunk.get("usage") is None and len(self._prelude) < LONGEST_PRELUDE

    def _with_our_id(self, data: bytes, chunk: dict[str, Any]) -> bytes:
        """The first chunk's id names the completion, unless another completion had it already."""
        if self._upstream_id is None:
            own, spelled = chunk.get("id"), _spelled_id(data, chunk.get("id"))
            if isinstance(own, str) and spelled is not None and self._taken_ids.take(own):
                self._upstream_id, self._id = spelled, own
                return msgspec.json.encode(chunk) if b"\n" in data else data
            # No bytes to look for: from here on every chunk is encoded anew, with our id.
            self._id = self._identity.fallback_id
            self._upstream_id = f'"id":"{self._id}"'.encode()
        return self._completed(chunk)

    def _completed(self, chunk: dict[str, Any]) -> bytes:
        return completed_chunk(chunk, id=self._id, model=self._identity.model, created=self._identity.created)

    def _keep(self, frames: bytes) -> None:
        """Note what was said. Raw frames are read and dropped now and then: only their text is kept, and bounded."""
        self.transcript.add(frames)
        self._unread += len(frames)
        if self._unread > UNREAD_BYTES:
            self._unread = 0
            if len(self.transcript.text) > self._max_bytes:
                self.failure = UpstreamError("the answer is longer than allowed", code="output_too_large")

    def _own_id(self) -> str:
        return self._id or self._identity.fallback_id

    def _usage_frame(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        if not self._include_usage:
            return b""
        if self._usage is not None:
            return sse.frame(self._usage)
        return sse.frame(
            usage_chunk(
                id=self._own_id(),
                model=self._identity.model,
                created=self._identity.created,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
            )
        )


def _end_of_event(buffer: bytes, start: int, end: int) -> int:
    """Where the event at *start* ends, at *end* when nothing but a stray newline is left."""
    at = buffer.find(b"\n\n", start, end)
    return end if at < 0 else at + 2


def _spelled_id(data: bytes, own: object) -> bytes | None:
    """How *data* spells its id *own*, None when that is none. Tool calls have ids too, and may come first."""
    if not isinstance(own, str) or not own:
        return None
    for found in _ID.finditer(data):
        if msgspec.json.decode(b'"' + found[1] + b'"') == own:
            return found[0]
    return None


class TakenIds:
    """The completion ids this worker saw last.

    chatgpt-web keys its memory by the id, and small servers (Ollama draws one of 999) give it twice.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._ids: dict[str, None] = {}

    def take(self, completion_id: str) -> bool:
        """Remember the id; False when it was taken already."""
        if completion_id in self._ids:
            return False
        self._ids[completion_id] = None
        if len(self._ids) > self._size:
            del self._ids[next(iter(self._ids))]
        return True
