"""The body of a request in chunks, https://www.rfc-editor.org/rfc/rfc9112#section-7.1, and nothing that it may carry
besides: extensions and trailers are refused, because nobody sends them and parsers disagree about them.
"""

from __future__ import annotations

import re

from tornado.httputil import HTTPInputError

# Sixteen digits are 2**64: a longer one spells zeros in front, or a number that no bound allows.
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,60}")
_LONGEST_LINE = 64


class Chunks:
    """Feed it what arrives; it gives the body's bytes. HTTPInputError for what is no chunk, or over *most* bytes."""

    __slots__ = ("_left", "_line", "_most", "_size", "over", "rest")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        # Of the chunk that is being read, its CRLF included; zero between chunks.
        self._left = 0
        self._line = b""
        self.over = False
        # What came behind the end of the body.
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in *data*, which ends anywhere."""
        parts: list[bytes] = []
        if self._line:
            data, self._line = self._line + data, b""
        at = 0
        while at < len(data) and not self.over:
            at = self._chunk(data, at, parts) if self._left else self._head(data, at)
        self.rest = data[at:] if self.over else b""
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _head(self, data: bytes, at: int) -> int:
        """Read the line of a size at *at*; returns where to go on."""
        end = data.find(b"\r\n", at, at + _LONGEST_LINE)
        if end < 0:
            self._keep(data, at, most=_LONGEST_LINE)
            return len(data)
        if _SIZE.fullmatch(data, at, end) is None:
            raise HTTPInputError("invalid chunk size")
        size = int(data[at:end], 16)
        if size:
            self._size += size
            if self._size > self._most:
                raise HTTPInputError("chunked body too large")
            self._left = size + 2
            return end + 2
        if len(data) < end + 4:
            self._keep(data, at, most=_LONGEST_LINE + 4)
            return len(data)
        if data[end + 2 : end + 4] != b"\r\n":
            raise HTTPInputError("improperly terminated chunked request")
        self.over = True
        return end + 4

    def _keep(self, data: bytes, at: int, *, most: int) -> None:
        """The line is not whole yet."""
        self._line = data[at:]
        if len(self._line) >= most:
            raise HTTPInputError("invalid chunk size")

    def _chunk(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take what is there of a chunk at *at*; returns where to go on."""
        left = self._left
        body = data[at : at + left - 2] if left > 2 else b""
        if body:
            parts.append(body)
            left -= len(body)
            at += len(body)
        if left <= 2:
            end = data[at : at + left]
            if end != b"\r\n"[2 - left : 2 - left + len(end)]:
                raise HTTPInputError("improperly terminated chunk")
            left -= len(end)
            at += len(end)
        self._left = left
        return at
