"""The relay: upstream bytes in, frames for the client out. No socket, no clock.

Bytes that are already what a client may see leave as they came: whole events of one ``data:`` line,
the same completion id, no usage, no error, no end. Only what is not so is taken apart and encoded anew.
Whatever happens, what leaves here is whole events, and ``ending``, ``cutting`` or ``failing`` closes
them with exactly one ``[DONE]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

import streamproxy.wire.error as wire_error
from streamproxy.dialects.base import Translator
from streamproxy.errors import StreamProxyError, UpstreamError
from streamproxy.services.completion import Completion, Identity, TakenIds
from streamproxy.services.endings import end_of_event, end_of_text, last_events
from streamproxy.services.plainevents import PlainEvents
from streamproxy.services.textevents import TextEvents
from streamproxy.wire import sse
from streamproxy.wire.chat import Envelope, ReportedUsage, Transcript, envelope_decoder, split_usage

# A fragment longer than this is no longer glued to the next batch byte by byte: the decoder takes over,
# whose work is linear.
LONGEST_TAIL = 1 << 16
# From so many bytes on it is worth its while to take out the texts that stand between other events.
MANY_BYTES = 1 << 14
_CR = ord("\r")


class Relay:
    """The way of one stream's events. *include_usage*: the client asked for a usage chunk.

    With a *translator* every event is read and spelled anew; without one, bytes pass as they are where they can.

    ``feed`` returns frames; when ``over``, look at ``failure`` (an in-stream error or unreadable event: what was
    returned still goes to the client, then the stream fails) and ``ended`` (the upstream said ``[DONE]``).
    ``usage`` is what was reported last, whether the client sees it or not.

    Of what was returned last: ``size`` is how many bytes may be text (most of an event is the same in each);
    ``texts`` is what it says, spelled as in JSON, where all its events say text and nothing else, else None.

    Where it is ``between`` events, nothing waits: a batch of which ``text_events`` tells the texts may go out as it is
    without being fed. Who does that has one step less for nearly every batch.
    """

    __slots__ = (
        *("_begun", "_completion", "_decoder", "_include_usage", "_pending", "_plain", "_said", "_tail"),
        *("_translator", "_usage_chunk"),
        *("between", "ended", "failed_event", "failure", "over", "size", "text_events", "texts", "usage"),
    )

    def __init__(
        self,
        identity: Identity,
        *,
        include_usage: bool,
        taken_ids: TakenIds,
        translator: Translator | None = None,
    ) -> None:
        self.over = self.ended = False
        self.failure: UpstreamError | None = None
        self.failed_event: bytes = b""
        self.usage: ReportedUsage | None = None
        self.size = 0
        self.texts: list[bytes] | None = None
        # What was returned last, read in part.
        self._said: Transcript | None = None
        self._include_usage = include_usage
        self._translator = translator
        self._completion = Completion(identity, taken_ids)
        self._plain = PlainEvents()
        self.text_events = TextEvents()
        # Most streams need none: what it has begun, or fails for, is pending.
        self._decoder: sse.Decoder | None = None
        self._pending = False
        self._tail = b""
        # An event was read without it.
        self._begun = False
        # Nothing is over, or waits for its end: the next batch begins with an event, and not the first one.
        self.between = False
        self._usage_chunk: bytes | None = None

    def feed(self, batch: bytes) -> bytes:
        """Take what the upstream sent; return the frames the client may see now."""
        if self.between:
            events = self.text_events
            self.texts = texts = events.texts(batch)
            if texts is not None:
                self._said = None
                self.size = len(batch) - len(texts) * events.saved
                return batch
            if self._plain.alike(batch):
                self._said = None
                self.size = len(batch) - self._plain.skeleton
                events.study(batch, self._plain.beginning)
                return batch
        self.texts = self._said = None
        self.size = 0
        frames = self._feed(batch)
        self.size = self.size or len(frames)
        self.between = not (self.over or self._tail or self._pending)
        return frames

    def tell(self, transcript: Transcript, frames: bytes) -> None:
        """Add *frames* to the *transcript*, which were returned last."""
        if self.texts is not None:
            transcript.add_texts(self.texts)
            return
        if self._said is not None:
            transcript.foresee(frames, self._said)
        transcript.add(frames)

    def foretell(self, transcript: Transcript, frames: bytes) -> None:
        """Tell the *transcript* what *frames* say, which were returned last and may be added."""
        said = self._said
        if self.texts is not None:
            said = Transcript()
            said.add_texts(self.texts)
        if said is not None:
            transcript.foresee(frames, said)

    def _feed(self, batch: bytes) -> bytes:
        if self.over:
            return b""
        if self._translator is not None:
            return self._decode(batch)
        if self._pending or _CR in batch or (self._tail and len(self._tail) > LONGEST_TAIL):
            data, self._tail = self._tail + batch, b""
            return self._decode(data)
        buffer = self._tail + batch if self._tail else batch
        end = buffer.rfind(b"\n\n") + 2
        if end < 2:
            self._tail = buffer
            return b""
        self._tail = buffer[end:]
        return self._whole_events(buffer[:end])

    def fail(self, error: UpstreamError) -> None:
        """The stream fails for this reason."""
        self.failure = error
        self.over = True
        self.between = False

    def finish_input(self, *, finished: bool) -> None:
        """The upstream's body is at its end: a stream that neither said so nor *finished* its answer was cut."""
        if self.over:
            return
        if not finished:
            self.fail(UpstreamError("the upstream's answer broke off", code="upstream_incomplete"))
        self.ended = self.over = True

    def break_off(self, error: UpstreamError, *, finished: bool) -> None:
        """The connection failed. Where everything had been said, only the upstream's goodbye was lost."""
        self.finish_input(finished=finished)
        if self.failure is not None:
            self.failure = error

    def ending(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The last frames of a finished stream: usage where the client wants it, ``[DONE]``."""
        if not self._include_usage:
            return sse.DONE
        if self._usage_chunk is not None:
            return sse.frame(self._usage_chunk) + sse.DONE
        return self._completion.usage(prompt_tokens, completion_tokens) + sse.DONE

    def cutting(
        self, finish_reason: str, prompt_tokens: int, completion_tokens: int, *, choices: Sequence[int] = (0,)
    ) -> bytes:
        """The last frames of a stream that we end ourselves, validly: an end for each of the *choices*."""
        ends = [self._completion.finish(finish_reason, choice=choice) for choice in choices]
        return b"".join(ends) + self.ending(prompt_tokens, completion_tokens)

    @staticmethod
    def failing(error: StreamProxyError) -> bytes:
        """The last frames of a broken stream: every SDK raises on the first, and the second ends its wait."""
        return wire_error.frame(error) + sse.DONE

    def _whole_events(self, buffer: bytes) -> bytes:
        """The frames for *buffer*, which ends with an event's blank line."""
        before, start, end = b"", 0, len(buffer)
        if self._completion.spelled is None:
            start = buffer.find(b"\n\n") + 2
            before = self._read_event(buffer[:start])
            if start == end or self.over:
                return before
        # Once, and not for what is left behind each marked event: that would be quadratic.
        stop = end_of_text(buffer, start, end)
        plain, texts = (b"", None) if stop == start else self._alike_from(buffer, start, stop)
        # What is not plain is the ending, or may be anything.
        ending = plain != b"" or stop == start
        after = self._read_events(buffer, start + len(plain), end, each=ending)
        if texts is not None:
            self._said = said = Transcript()
            said.add(before)
            said.add_texts(texts)
            said.add(after)
            self.size = len(before) + len(plain) - len(texts) * self.text_events.saved + len(after)
        return before + plain + after

    def _alike_from(self, buffer: bytes, start: int, stop: int) -> tuple[bytes, list[bytes] | None]:
        """The events that are plain at a glance: all from *start* to *stop*, all but those that end a stream, none.

        Where they are many, also what they say.
        """
        if stop - start >= MANY_BYTES:
            self.text_events.study(buffer[start : end_of_event(buffer, start, stop)], self._plain.beginning)
            for end in (len(buffer), last_events(buffer)):
                plain = buffer[start:end]
                texts = self.text_events.texts(plain) if plain else None
                if texts is not None:
                    return plain, texts
        plain = buffer[start:stop]
        if self._plain.alike(plain):
            return plain, None
        plain = buffer[start : last_events(buffer)]
        return plain if self._plain.alike(plain) else b"", None

    def _read_events(self, buffer: bytes, start: int, end: int, *, each: bool) -> bytes:
        """The frames for what may need to be read, from *start* to *end*: only some of it, or *each* event."""
        frames = []
        while start < end and not self.over:
            marked = start if each else self._plain.first_mark(buffer, start, end)
            if marked > start and self._plain.hold(plain := buffer[start:marked]):
                frames.append(plain)
                start = marked
            else:
                # A marked event is read by itself, so that its plain neighbours still leave as they are.
                alone = marked == start or self._completion.spelled is None
                blank = buffer.find(b"\n\n", start, end) if alone else -1
                stop = end if blank < 0 else blank + 2
                if shown := self._read_event(buffer[start:stop]):
                    frames.append(shown)
                start = stop
        return b"".join(frames) if frames else b""

    def _read_event(self, event: bytes) -> bytes:
        """The frames for *event*, or for several at once, which only the decoder takes."""
        if event == sse.DONE:
            self.ended = self.over = True
            return b""
        data = sse.only_data(event)
        if data is None:
            return self._decode(event)
        self._begun = True
        return self._frames_of(data, event)

    def _decode(self, data: bytes) -> bytes:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = sse.Decoder(begun=self._begun)
        try:
            events = decoder.feed(data)
        except UpstreamError as error:
            events = []
            self.fail(error)
        self._pending = decoder.pending
        frames = []
        for event in events:
            for payload in self._payloads(event):
                frames.append(self._frames_of(payload, sse.frame(payload)))
                if self.over:
                    return b"".join(frames)
        return b"".join(frames)

    def _payloads(self, event: sse.Event) -> Sequence[bytes]:
        return (event.data.encode(),) if self._translator is None else self._translator.payloads(event)

    def _frames_of(self, data: bytes, event: bytes) -> bytes:
        """*event* with the payload *data* as frames for the client, ``b""`` where the client does not see it."""
        try:
            chunk = envelope_decoder.decode(data)
            # vLLM's errors have no member of that name.
            if chunk.error or chunk.object == "error":
                self.fail(UpstreamError("the upstream failed while it answered", code="upstream_error_event"))
                self.failed_event = data
                return b""
            if type(chunk.choices) is not list:
                # Whatever it is, no client of this API can read it.
                return b""
            prelude, payload = self._completion.frames_of(data, chunk)
        except (msgspec.DecodeError, RecursionError):
            self._look_at_odd(data)
            return b""
        if not payload:
            return b""
        shown = event if payload is data else sse.frame(payload)
        if chunk.usage is not None:
            shown = self._without_usage(payload, chunk)
        if self._plain.id is None and self._translator is None:
            self._plain.id = self._completion.spelled
            self._plain.learn(shown)
        return prelude + shown

    def _look_at_odd(self, data: bytes) -> None:
        """Note what *data* means, a payload that is no JSON object: the end mark, nothing, or an upstream's mistake."""
        if data.strip() == b"[DONE]":
            self.ended = self.over = True
        elif data:
            self.fail(UpstreamError("the upstream sent an event that is no chunk", code="upstream_malformed"))

    def _without_usage(self, data: bytes, chunk: Envelope) -> bytes:
        """What of a chunk's payload *data* the client sees at once: a usage it sees at the end, or not at all."""
        # Most that have a usage have nothing else.
        rest, usage = split_usage(data) if chunk.choices else (None, data)
        reported = ReportedUsage.read(chunk.usage)
        if reported is not None:
            self.usage, self._usage_chunk = reported, usage
        return b"" if rest is None else sse.frame(rest)
