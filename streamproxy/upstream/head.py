"""The head of an upstream's answer."""

from __future__ import annotations

import httptools


class Head:
    """The head of an answer while it is parsed, and where its body goes: what ``httptools`` calls."""

    __slots__ = (
        *("begun_again", "body", "complete", "encoding", "fields", "lasting", "names", "on_body", "on_header", "over"),
        *("parser", "status"),
        "__weakref__",  # by which a test sees that it is gone
    )

    def __init__(self) -> None:
        # The last value of each, by the name as it was spelled.
        self.fields: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.complete = self.over = self.begun_again = self.lasting = False
        # All of theirs in lower case, one a line, as they stood in the head.
        self.names = b""
        # Called by the parser, which looks for them when it is made, without a frame of Python in between.
        self.on_header = self.fields.__setitem__
        self.on_body = self.body.append
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.encoding = b""

    def on_message_begin(self) -> None:
        self.begun_again = self.over

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.complete = self.status >= 200
        self.names = names = b"\n".join(self.fields).lower()
        # Mostly it is not there. ``find``, because ``in`` with bytes on its left raises and catches a TypeError.
        self.encoding = self.field(b"content-encoding") if names.find(b"content-encoding") >= 0 else b""

    def on_message_complete(self) -> None:
        if self.complete:
            self.over = True
            # Only here: afterwards the parser has forgotten it.
            self.lasting = self.parser.should_keep_alive()
        else:  # 100 Continue, 103 Early Hints: the answer is still to come
            self.fields.clear()

    def let_go(self) -> None:
        """Nothing more is to be parsed. Parser and head know each other: only the garbage collector would part them."""
        del self.parser

    def field(self, name: bytes) -> bytes:
        """The last value of a field, in lower case; empty when there is none. *name* is in lower case."""
        if self.names.find(name) < 0:
            return b""
        fields = reversed(self.fields.items())
        return next((value for other, value in fields if other.lower() == name), b"").strip().lower()
