"""Streams of upstreams, good and bad, made from a seed: chunks in many spellings, noise, cuts anywhere.

A seed and not Hypothesis' own strategies: a stream takes some hundred choices, which cost those twenty times what
the relay costs. Left out, because reading every event is what the relay's fast path is there to avoid: JSON that is
broken between its braces, and chunks with a second ``"id"`` equal to their own or a second ``"choices"`` inside.
"""

from __future__ import annotations

import json
from itertools import accumulate
from random import Random
from typing import Any, TypeAlias

Stream: TypeAlias = tuple[bytes, list[int]]
"""The bytes of a whole stream, and where they are cut."""

ID = "chatcmpl-a"
OTHER_IDS = ("chatcmpl-b", "a/b", "你", "", None, 7)
TEXTS = (
    *("a", " b", "你好", "🚀 ", "", "x" * 50, "\u2028", "\r\n", "\\", '"', None),
    *('a "usage":{} b', '"error"', "data: [DONE]", "\n\ndata: {}\n\n", f'"id":"{ID}"', '"choices":[', "}\n\ndata: {"),
)
USAGES: tuple[Any, ...] = (
    None,
    {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
    {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}},
    {"prompt_tokens": -1, "completion_tokens": 5},
    {"prompt_tokens": "7", "completion_tokens": 5},
    {},
    "none",
)
NOISE = ("[DONE]", " [DONE] ", "", " ", "42", "null", "{broken", "<html>", '{"object":"error"}', "{}")
LINES = (": ping", ":", "id: 7", "event: error", "retry: 5", "foo", "data")


class StreamMaker:
    """Draws one stream. ``_one_in(n)`` is true once in *n*."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def stream(self) -> Stream:
        body = b"".join(self._event() for _ in range(self._random.randint(1, 12)))
        body += self._random.choice(
            [b"data: [DONE]\n\n"] * 6 + [b"", b"data: [DONE]", b"data: {", b"data: [DONE]\n\ndata: {}\n\n"]
        )
        if self._one_in(30):
            body = b"\xef\xbb\xbf" + body
        return body, [self._random.randint(0, len(body)) for _ in range(self._random.randint(0, 8))]

    def talk(self) -> Stream:
        """Events that differ in their text, and some others; cut between them, so that what is known of them counts."""
        separators = self._random.choice([(",", ":"), (", ", ": ")])
        usage = self._random.choice([{}, {"usage": None}])
        events = []
        for _ in range(self._random.choice([5, 20, 150])):
            text = self._random.choice(TEXTS if self._one_in(10) else ("a", " b", "你好", "🚀 ", "x" * 50, "\n"))
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            chunk = {"id": ID, "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice]}
            spelled = json.dumps(chunk | usage, separators=separators, ensure_ascii=self._one_in(2))
            events.append(f"data: {spelled}\n\n".encode() if not self._one_in(15) else self._event())
        events.append(b"data: [DONE]\n\n")
        ends = list(accumulate(map(len, events)))
        return b"".join(events), self._random.sample(ends, self._random.randrange(len(ends)))

    def _one_in(self, times: int) -> bool:
        return self._random.randrange(times) == 0

    def _event(self) -> bytes:
        """One event in some spelling, usually the plain one."""
        lines = [f"data: {line}" for line in self._payload().split("\n")]
        kind = self._random.randrange(30)
        if kind == 0:
            lines = [line.replace("data: ", "data:", 1) for line in lines]
        elif kind == 1:
            lines.insert(self._random.randint(0, 1), self._random.choice(LINES))
        elif kind == 2:
            lines += ["", ": alone"]
        elif kind == 3:
            lines.append("")
        newline = self._random.choice(["\n"] * 20 + ["\r\n", "\r"])
        return (newline.join(lines) + newline * 2).encode()

    def _payload(self) -> str:
        """What stands behind ``data:``."""
        chunk = self._chunk()
        separators = self._random.choice([(",", ":"), (", ", ": ")])
        text = json.dumps(chunk, separators=separators, ensure_ascii=self._one_in(2))
        odd = self._random.randrange(60)
        if odd == 0:
            return self._random.choice(NOISE)
        if odd == 1:
            return self._random.choice([f"[{text}]", f"x{text}", f"{text}x", f" {text} "])
        return json.dumps(chunk, indent=1) if odd == 2 else text

    def _chunk(self) -> dict[str, Any]:
        chunk: dict[str, Any] = {"id": ID, "object": "chat.completion.chunk", "created": 5, "model": "m"}
        chunk["choices"] = self._choices()
        if self._one_in(12):
            chunk["id"] = self._random.choice(OTHER_IDS)
        if self._one_in(20):
            del chunk[self._random.choice(["id", "choices", "object", "created", "model"])]
        if self._one_in(5):
            chunk["usage"] = self._random.choice(USAGES)
        if self._one_in(25):
            chunk["error"] = self._random.choice([None, {"message": "x"}, "x", {}, False])
        if self._one_in(20):
            chunk["extra"] = self._random.choice([{"usage": 1}, {"error": "in here"}, [1, 2.5, None], "x"])
        names = list(chunk)
        if self._one_in(10):
            self._random.shuffle(names)
        return {name: chunk[name] for name in names}

    def _choices(self) -> Any:
        delta: dict[str, Any] = {"content": self._random.choice(TEXTS)}
        if self._one_in(10):
            delta = {"tool_calls": [{"index": 0, "id": self._random.choice(["call_1", "call_2"]), "function": {}}]}
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
        if self._one_in(8):
            choice["finish_reason"] = self._random.choice(["stop", "length", "content_filter"])
        if self._one_in(20):
            del choice["delta"]
        return self._random.choice([*[[choice]] * 12, [], [choice, {**choice, "index": 1}], None, 5])


def stream_of(seed: int) -> Stream:
    return StreamMaker(seed).stream()


def talk_of(seed: int) -> Stream:
    return StreamMaker(seed).talk()
