"""What was said in an answer, as far as it was read: choice 0 of a stream, or of a whole completion."""

from __future__ import annotations

from typing import Any

from streamproxy.wire.chat.chunk import ReportedUsage
from streamproxy.wire.chat.shapes import Choice, Chunk, Spoken
from streamproxy.wire.chat.toolcall import ToolCalls

# After these the model had said all of its calls; ``length``, ``content_filter`` or a cut leave broken arguments.
# A call that ``tool_choice`` names ends with ``stop``, as OpenAI documents.
_CALLS_COMPLETE = frozenset({"tool_calls", "function_call", "stop"})
_NOT_OURS = Choice()


class Reading:
    """See the module.

    *usage* is the one reported last, None while there is none that can be meant; *chunks* are events with choices,
    *unreadable* those that were no chunk; *text_bytes* is the length of the content in UTF-8: no tokenizer makes more
    tokens of it.
    """

    __slots__ = (
        *("_calls", "_reasoning", "_refusal", "_text"),
        *("chunks", "finish_reason", "text_bytes", "unreadable", "usage"),
    )

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: ToolCalls | None = None
        self.text_bytes = 0
        self.finish_reason: str | None = None
        self.usage: ReportedUsage | None = None
        self.chunks = 0
        self.unreadable = 0

    @property
    def text(self) -> str:
        """The content."""
        return _joined(self._text)

    @property
    def refusal(self) -> str:
        return _joined(self._refusal)

    @property
    def reasoning(self) -> str:
        """What the model thought aloud (``reasoning_content`` or ``reasoning``): billed, never part of a context."""
        return _joined(self._reasoning)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tool calls as far as they have come."""
        return [] if self._calls is None else self._calls.merged()

    def message(self) -> dict[str, Any] | None:
        """The assistant's message for the context, None when nothing was said that a context can keep."""
        text, refusal = _joined(self._text), _joined(self._refusal)
        complete = self._calls is not None and self.finish_reason in _CALLS_COMPLETE
        calls = self.tool_calls if complete else None
        if not (text or refusal or calls):
            return None
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = calls
        if refusal:
            message["refusal"] = refusal
        return message

    # -- reading on -----------------------------------------------------------------------------------

    def take(self, chunk: Chunk) -> None:
        """Add what *chunk* says."""
        if chunk.usage is not None:
            self.usage = ReportedUsage.read(chunk.usage) or self.usage
        if not chunk.choices:
            return
        self.chunks += 1
        choice = chunk.choices[0]
        if choice.index:  # not choice 0, which is nearly always alone
            choice = next((other for other in chunk.choices if not other.index), _NOT_OURS)
        if choice.finish_reason and type(choice.finish_reason) is str:
            self.finish_reason = choice.finish_reason
        said = choice.delta or choice.message
        if said is not None:
            self._take_said(said)

    def take_text(self, text: str, chunks: int) -> None:
        """Add the content that so many *chunks* had, and nothing else."""
        self._add_text(text)
        self.chunks += chunks

    def append(self, other: Reading) -> bool:
        """Add what was read elsewhere behind this; False where that cannot be without reading it again."""
        # Pieces of calls belong to those that came before.
        if other._calls is not None:
            return False
        self._text += other._text
        self._refusal += other._refusal
        self._reasoning += other._reasoning
        self.text_bytes += other.text_bytes
        self.finish_reason = other.finish_reason or self.finish_reason
        self.usage = other.usage or self.usage
        self.chunks += other.chunks
        self.unreadable += other.unreadable
        return True

    def _add_text(self, text: str) -> None:
        if text:
            self._text.append(text)
            self.text_bytes += len(text) if text.isascii() else len(text.encode())

    def _take_said(self, said: Spoken) -> None:
        if said.content:
            self._add_text(said.content if isinstance(said.content, str) else _text_of(said.content))
        if said.refusal:
            self._refusal.append(_text_of(said.refusal))
        if said.reasoning_content or said.reasoning:
            self._reasoning.append(_text_of(said.reasoning_content or said.reasoning))
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
