"""Chat completions as values, https://platform.openai.com/docs/api-reference/chat

``request`` what the client asks and what the upstream is asked, ``messages`` a conversation's, as values or as JSON,
``chunk`` the pieces of a streamed answer that we make or take apart, ``shapes`` how they are read, ``transcript`` an
answer as it grows, ``reading`` what was said in it, ``toolcall`` calls put together from their pieces. Fields that
nobody here knows are kept as they came.
"""

from streamproxy.wire.chat.chunk import ReportedUsage, completed_chunk, finish_chunk, split_usage, usage_chunk
from streamproxy.wire.chat.messages import Message, SpelledMessages
from streamproxy.wire.chat.reading import Reading
from streamproxy.wire.chat.request import MAX_MESSAGES, ChatRequest, encode_request, new_request, parse_request
from streamproxy.wire.chat.shapes import Envelope, envelope_decoder, plain_text
from streamproxy.wire.chat.transcript import Transcript

__all__ = [
    "MAX_MESSAGES",
    "ChatRequest",
    "Envelope",
    "Message",
    "Reading",
    "ReportedUsage",
    "SpelledMessages",
    "Transcript",
    "completed_chunk",
    "encode_request",
    "envelope_decoder",
    "finish_chunk",
    "new_request",
    "parse_request",
    "plain_text",
    "split_usage",
    "usage_chunk",
]
