"""A stream as it ended, and what of it lasts: the row in the ledger, the messages in the history."""

from __future__ import annotations

import msgspec

from streamproxy.domain.sessions import SYSTEM_ROLES, Message
from streamproxy.domain.streams import EndReason, HistoryMessage, UsageRecord
from streamproxy.domain.tokens import message_text
from streamproxy.services.order import Order
from streamproxy.services.prompt import Prompt
from streamproxy.wire.chat import Reading

# Bytes of a token, on the average of a whole text, beyond which a usage is not that of the text.
LONGEST_TOKEN = 32

_json_lines = msgspec.json.Encoder().encode_lines


class Outcome(msgspec.Struct, frozen=True):
    """A stream as it ended. *prompt* is None when it ended before there was one.

    *answer* is the assistant's message, None when nothing was said; *record* is the row in the ledger.
    """

    order: Order
    prompt: Prompt | None
    said: Reading | None
    answer: Message | None
    record: UsageRecord

    def history(self) -> list[HistoryMessage]:
        """What was said in this turn: the system message it set, the new messages, the answer."""
        answer, record = self.answer, self.record
        if self.prompt is None or answer is None or not self.order.lasting:
            return []
        said = [*self.prompt.said, answer]
        if self.order.session_id is not None and self.prompt.system is not None:
            own_system = [m for m in self.order.request.messages if m.get("role") in SYSTEM_ROLES]
            said[:0] = own_system[:1]
        user_id, session_id, stream_id = record.user_id, record.session_id, record.stream_id
        ended = record.created + record.duration_ms / 1000
        # Only the answer may have been cut.
        cut = None if record.end_reason is EndReason.FINISH else answer
        # All in one go: no line of JSON has a newline in it.
        lines = _json_lines(said).decode().split("\n")
        return [
            HistoryMessage(
                user_id,
                session_id,
                stream_id,
                position,
                message["role"],
                lines[position],
                ended,
                complete=message is not cut,
            )
            for position, message in enumerate(said)
        ]

    @property
    def answer_tokens(self) -> int | None:
        """The answer's size as the upstream reported it, None where it has to be counted."""
        if self.said is None or self.answer is None or self.order.request.fields.get("n") not in (None, 1):
            return None
        return reported_tokens(self.said, self.answer)


def reported_tokens(said: Reading, answer: Message) -> int | None:
    """The tokens of *answer*, read from *said*, by the usage; None where that is about something else, or more.

    What the model thought is in its sum too, and not always told apart. No token is shorter than a byte, and no text
    has fewer than one in ``LONGEST_TOKEN`` bytes.
    """
    reported = said.usage
    if reported is None or (said.reasoning and not reported.reasoning_tokens):
        return None
    tokens = reported.completion_tokens - reported.reasoning_tokens
    # Role and content alone, as nearly always: their length is known.
    size = said.text_bytes if len(answer) == 2 else len(message_text(answer).encode(errors="replace"))
    return tokens if size <= tokens * LONGEST_TOKEN <= size * LONGEST_TOKEN else None
