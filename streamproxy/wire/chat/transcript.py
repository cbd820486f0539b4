"""What was said in one answer, read from its frames when somebody asks.

Adding costs hardly more than keeping the bytes, so that the way of a stream needs no JSON; reading takes
well under a microsecond an event. Reading never raises: an event that is no chunk is counted as
unreadable and skipped, a field of the wrong type is as good as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streamproxy.wire.body import UNREADABLE
from streamproxy.wire.chat.chunk import ReportedUsage
from streamproxy.wire.chat.shapes import Choice, Chunk, Spoken, chunk_decoder, plain_decoder, text_decoder
from streamproxy.wire.chat.toolcall import ToolCalls

# After these the model had said all of its calls; ``length``, ``content_filter`` or a cut leave broken arguments.
# A call that ``tool_choice`` names ends with ``stop``, as OpenAI documents.
_CALLS_COMPLETE = frozenset({"tool_calls", "function_call", "stop"})

# Behind the last events of text come the finish reason and the usage.
_ENDING_EVENTS = 3
_ENDING_BYTES = 2048
_FINISHED = b'"finish_reason":"'
_NOT_OURS = Choice()


class Transcript:
    """The answer so far: choice 0 of a stream, or of a whole completion."""

    __slots__ = (
        *("_calls", "_finish_reason", "_foreseen", "_refusal", "_spelled", "_text", "_unread", "_unreadable"),
        *("add_texts", "read_bytes", "read_chunks", "read_reasoning", "read_usage"),
    )

    def __init__(self, frames: bytes = b"") -> None:
        # Frames, and behind them texts as JSON spells them, one an event.
        self._unread = [frames] if frames else []
        self._spelled: list[bytes] = []
        # Appends events that are known to say these texts, spelled as in JSON, and nothing else. Called for every
        # event, and so without a frame of Python.
        self.add_texts: Callable[[Iterable[bytes]], None] = self._spelled.extend
        self._foreseen: tuple[bytes, Transcript] | None = None
        self._text: list[str] = []
        # Of what is read: the length of the content in UTF-8, and what the properties without ``read_`` tell of all.
        self.read_bytes = 0
        self._refusal: list[str] = []
        self.read_reasoning: list[str] = []
        self._calls: ToolCalls | None = None
        self._finish_reason: str | None = None
        self.read_usage: ReportedUsage | None = None
        self.read_chunks = 0
        self._unreadable = 0

    @classmethod
    def of_completion(cls, body: bytes) -> Transcript:
        """What a whole ``chat.completion`` object says."""
        transcript = cls()
        completion = transcript._decoded_one(body)
        if completion is not None:
            transcript._take(completion)
        return transcript

    @classmethod
    def of(cls, frames: bytes) -> Transcript:
        """What whole events say."""
        return cls(frames)

    def add(self, frames: bytes) -> None:
        """Append whole events as they go to the client: each ``data: <one line>`` and a blank line."""
        foreseen, self._foreseen = self._foreseen, None
        said = foreseen[1] if foreseen is not None and foreseen[0] is frames else None
        if said is not None and self._append(said):
            return
        if self._spelled:
            self.read()
        if frames:
            self._unread.append(frames)
        if said is not None:
            # Whoever foresaw it has counted the text alone, and frames are some ten times as long.
            self.read()

    def foresee(self, frames: bytes, said: Transcript | None = None) -> Transcript:
        """What *frames* say (*said* where that is known), which may be added next: then they are not read again."""
        if self._foreseen is None or self._foreseen[0] is not frames:
            if said is None:
                said = Transcript(frames)
            said.read()
            self._foreseen = frames, said
        return self._foreseen[1]

    def _append(self, said: Transcript) -> bool:
        """Add what was *said* behind this; False where that cannot be without reading it again."""
        if self._spelled or self._unread:
            self.read()
        # Pieces of calls belong to those that came before.
        if said._calls is not None:
            return False
        self._text += said._text
        self._refusal += said._refusal
        self.read_reasoning += said.read_reasoning
        self.read_bytes += said.read_bytes
        self._finish_reason = said._finish_reason or self._finish_reason
        self.read_usage = said.read_usage or self.read_usage
        self.read_chunks += said.read_chunks
        self._unreadable += said._unreadable
        return True

    def report(self, usage: ReportedUsage) -> None:
        """Note a usage that does not stand in the frames: a client that did not ask for it does not get it."""
        self.read_usage = usage

    @property
    def text(self) -> str:
        """The content."""
        if self._spelled or self._unread:
            self.read()
        return _joined(self._text)

    @property
    def text_bytes(self) -> int:
        """The length of the content in UTF-8: no tokenizer makes more tokens of it."""
        if self._spelled or self._unread:
            self.read()
        return self.read_bytes

    @property
    def refusal(self) -> str:
        if self._spelled or self._unread:
            self.read()
        return _joined(self._refusal)

    @property
    def reasoning(self) -> str:
        """What the model thought aloud (``reasoning_content`` or ``reasoning``): billed, never part of a context."""
        if self._spelled or self._unread:
            self.read()
        return _joined(self.read_reasoning) if self.read_reasoning else ""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tool calls as far as they have come."""
        if self._spelled or self._unread:
            self.read()
        return [] if self._calls is None else self._calls.merged()

    @property
    def finish_reason(self) -> str | None:
        if self._spelled or self._unread:
            self.read()
        return self._finish_reason

    @property
    def usage(self) -> ReportedUsage | None:
        """The usage reported last, None while there is none that can be meant."""
        if self._spelled or self._unread:
            self.read()
        return self.read_usage

    @property
    def chunks(self) -> int:
        """Events with choices."""
        if self._spelled or self._unread:
            self.read()
        return self.read_chunks

    @property
    def unreadable(self) -> int:
        """Events that were no chunk."""
        if self._spelled or self._unread:
            self.read()
        return self._unreadable

    def message(self) -> dict[str, Any] | None:
        """The assistant's message for the context, None when nothing was said that a context can keep."""
        if self._spelled or self._unread:
            self.read()
        text = "".join(self._text)
        refusal = "".join(self._refusal) if self._refusal else ""
        complete = self._calls is not None and self._finish_reason in _CALLS_COMPLETE
        calls = self.tool_calls if complete else None
        if not (text or refusal or calls):
            return None
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = calls
        if refusal:
            message["refusal"] = refusal
        return message

    def read(self) -> None:
        """Keep the text of the frames added so far instead of the frames, which are some ten times as long."""
        if self._unread:
            # With a line's end before the first one too, all of them begin alike.
            lines = b"".join((b"\n", *self._unread))
            self._unread = []
            # JSON may have blanks before it: as long as it was is the fastest replacement.
            if rest := self._without_plain(lines.replace(b"\ndata: {", b"\n      {")):
                try:
                    chunks = chunk_decoder.decode_lines(rest)
                except UNREADABLE:
                    chunks = self._decoded_by_itself(rest)
                for chunk in chunks:
                    self._take(chunk)
        if self._spelled:
            texts = self._spelled.copy()
            self._spelled.clear()
            spelled = b"".join(texts)
            # Half an escape in each of two events is text in neither, whenever they are read.
            if spelled.find(b"\\u") >= 0 or not self._took_texts(spelled, len(texts)):
                for text in texts:
                    self._unreadable += not self._took_texts(text, 1)

    def _took_texts(self, spelled: bytes, count: int) -> bool:
        """Whether *spelled*, what *count* events say, is the inside of a JSON string: then it is taken."""
        try:
            self._take_text(text_decoder.decode(b'"%b"' % spelled))
        except UNREADABLE:
            return False
        self.read_chunks += count
        return True

    def _without_plain(self, lines: bytes) -> bytes:
        """Take the text of the plain chunks in front, all at once; return the lines that are left."""
        finished = lines.find(_FINISHED, -_ENDING_BYTES)
        stop = len(lines) if finished < 0 else lines.rfind(b"\n\n", 0, finished)
        if stop > 0 and self._took_plain(lines[:stop]):
            return lines[stop:]
        end = len(lines)
        for _ in range(_ENDING_EVENTS + 1):
            end = lines.rfind(b"\n\n", 0, max(end, 0))
        return lines[end:] if end > 0 and self._took_plain(lines[:end]) else lines

    def _took_plain(self, lines: bytes) -> bool:
        """Whether all *lines* are plain chunks: then their text is taken."""
        try:
            chunks = plain_decoder.decode_lines(lines)
        except UNREADABLE:
            return False
        self._take_text("".join([text for chunk in chunks if (text := chunk.choices[0].delta.content)]))
        self.read_chunks += len(chunks)
        return True

    def _take_text(self, text: str) -> None:
        if text:
            self._text.append(text)
            self.read_bytes += len(text) if text.isascii() else len(text.encode())

    def _decoded_by_itself(self, lines: bytes) -> list[Chunk]:
        """Each line that is a chunk, where not all of them are."""
        payloads = [line.removeprefix(b"data:").strip() for line in lines.split(b"\n")]
        return [chunk for payload in payloads if (chunk := self._decoded_one(payload)) is not None]

    def _decoded_one(self, payload: bytes) -> Chunk | None:
        try:
            return chunk_decoder.decode(payload)
        except UNREADABLE:
            self._unreadable += payload not in (b"", b"[DONE]")
            return None

    def _take(self, chunk: Chunk) -> None:
        if chunk.usage is not None:
            self.read_usage = ReportedUsage.read(chunk.usage) or self.read_usage
        if not chunk.choices:
            return
        self.read_chunks += 1
        choice = chunk.choices[0]
        if choice.index:  # not choice 0, which is nearly always alone
            choice = next((other for other in chunk.choices if not other.index), _NOT_OURS)
        if choice.finish_reason and type(choice.finish_reason) is str:
            self._finish_reason = choice.finish_reason
        said = choice.delta or choice.message
        if said is not None:
            self._take_said(said)

    def _take_said(self, said: Spoken) -> None:
        if said.content:
            self._take_text(said.content if isinstance(said.content, str) else _text_of(said.content))
        if said.refusal:
            self._refusal.append(_text_of(said.refusal))
        if said.reasoning_content or said.reasoning:
            self.read_reasoning.append(_text_of(said.reasoning_content or said.reasoning))
        if said.tool_calls:
            if self._calls is None:
                self._calls = ToolCalls()
            self._calls.add(said.tool_calls)


def _text_of(content: object) -> str:
    """The text of a content: a string, or parts with ``text`` (Mistral streams those)."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _joined(parts: list[str]) -> str:
    """The text of *parts*, which keep it as one part: asking again costs nothing."""
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""
