"""What was said in one answer, read from its frames when somebody asks.

Adding costs hardly more than keeping the bytes, so that the way of a stream needs no JSON; reading takes
well under a microsecond an event. Reading never raises: an event that is no chunk is counted as
unreadable and skipped, a field of the wrong type is as good as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from streamproxy.wire.body import UNREADABLE
from streamproxy.wire.chat.chunk import ReportedUsage
from streamproxy.wire.chat.reading import Reading
from streamproxy.wire.chat.shapes import Chunk, chunk_decoder, plain_decoder, text_decoder

# Behind the last events of text come the finish reason and the usage.
_ENDING_EVENTS = 3
_ENDING_BYTES = 2048
_FINISHED = b'"finish_reason":"'


class Transcript:
    """The answer so far. ``read`` says what all of it is; ``reading`` is what of it was read already."""

    __slots__ = ("_foreseen", "_spelled", "_unread", "add_texts", "reading")

    def __init__(self, frames: bytes = b"") -> None:
        self.reading = Reading()
        # Frames, and behind them texts as JSON spells them, one an event.
        self._unread = [frames] if frames else []
        self._spelled: list[bytes] = []
        # Appends events that are known to say these texts, spelled as in JSON, and nothing else. Called for every
        # event, and so without a frame of Python.
        self.add_texts: Callable[[Iterable[bytes]], None] = self._spelled.extend
        self._foreseen: tuple[bytes, Transcript] | None = None

    @classmethod
    def of_completion(cls, body: bytes) -> Transcript:
        """What a whole ``chat.completion`` object says."""
        transcript = cls()
        completion = transcript._decoded_one(body)
        if completion is not None:
            transcript.reading.take(completion)
        return transcript

    def add(self, frames: bytes) -> None:
        """Append whole events as they go to the client: each ``data: <one line>`` and a blank line."""
        foreseen, self._foreseen = self._foreseen, None
        said = foreseen[1] if foreseen is not None and foreseen[0] is frames else None
        if said is not None and self.read().append(said.reading):
            return
        if self._spelled:
            self.read()
        if frames:
            self._unread.append(frames)
        if said is not None:
            # Whoever foresaw it has counted the text alone, and frames are some ten times as long.
            self.read()

    def foresee(self, frames: bytes, said: Transcript | None = None) -> Reading:
        """What *frames* say (*said* where that is known), which may be added next: then they are not read again."""
        if self._foreseen is None or self._foreseen[0] is not frames:
            if said is None:
                said = Transcript(frames)
            said.read()
            self._foreseen = frames, said
        return self._foreseen[1].reading

    def report(self, usage: ReportedUsage) -> None:
        """Note a usage that does not stand in the frames: a client that did not ask for it does not get it."""
        self.reading.usage = usage

    def read(self) -> Reading:
        """All of it. Text is kept from now on instead of frames, which are some ten times as long."""
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
                    self.reading.take(chunk)
        if self._spelled:
            texts = self._spelled.copy()
            self._spelled.clear()
            spelled = b"".join(texts)
            # Half an escape in each of two events is text in neither, whenever they are read.
            if spelled.find(b"\\u") >= 0 or not self._took_texts(spelled, len(texts)):
                for text in texts:
                    self.reading.unreadable += not self._took_texts(text, 1)
        return self.reading

    def _took_texts(self, spelled: bytes, count: int) -> bool:
        """Whether *spelled*, what *count* events say, is the inside of a JSON string: then it is taken."""
        try:
            text = text_decoder.decode(b'"%b"' % spelled)
        except UNREADABLE:
            return False
        self.reading.take_text(text, count)
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
        text = "".join([text for chunk in chunks if (text := chunk.choices[0].delta.content)])
        self.reading.take_text(text, len(chunks))
        return True

    def _decoded_by_itself(self, lines: bytes) -> list[Chunk]:
        """Each line that is a chunk, where not all of them are."""
        payloads = [line.removeprefix(b"data:").strip() for line in lines.split(b"\n")]
        return [chunk for payload in payloads if (chunk := self._decoded_one(payload)) is not None]

    def _decoded_one(self, payload: bytes) -> Chunk | None:
        try:
            return chunk_decoder.decode(payload)
        except UNREADABLE:
            self.reading.unreadable += payload not in (b"", b"[DONE]")
            return None
