"""The relay as it would be without any shortcut: every event decoded, every payload taken apart. The oracle."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from streamproxy.wire import sse
from tests.support.relaying import COUNTED, IDENTITY

SHARED = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
TOKENS = ("prompt_tokens", "completion_tokens")
PRELUDES = 8


@dataclass
class SlowRelay:
    """Feed it the whole stream at once; then look at it."""

    include_usage: bool
    taken: frozenset[str]
    shown: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    preludes: list[dict[str, Any]] = field(default_factory=list)
    usage_chunk: dict[str, Any] | None = None
    id: str = ""
    done: bool = False
    error: str | None = None

    def feed(self, data: bytes) -> None:
        for event in sse.Decoder().feed(data):
            if not (self.done or self.error):
                self._event(event.data)
        if not (self.done or self.error) and self.finish_reason is None:
            self.error = "upstream_incomplete"

    def _event(self, data: str) -> None:
        if not data:
            return
        if data.strip() == "[DONE]":
            self.done = True
            return
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.error = "upstream_malformed"
        elif value.get("error") or value.get("object") == "error":
            self.error = "upstream_error_event"
        elif isinstance(value.get("choices"), list):
            self._chunk(value)

    def _chunk(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if not self.id:
            if not chunk.get("id") and not chunk["choices"] and usage is None and len(self.preludes) < PRELUDES:
                self.preludes.append(chunk)
                return
            own = chunk.get("id")
            self.id = own if isinstance(own, str) and own and own not in self.taken else IDENTITY.fallback_id
            self.shown += map(self._completed, self.preludes)
        if chunk.get("id") != self.id:
            chunk = self._completed(chunk)
        self.kept.append(chunk)
        if usage is None:
            self.shown.append(chunk)
            return
        if _means_something(usage):
            shared = {name: chunk[name] for name in SHARED if name in chunk}
            rest = shared if chunk["choices"] else {k: v for k, v in chunk.items() if k not in ("choices", "usage")}
            self.usage_chunk = {**rest, "choices": [], "usage": usage}
        if chunk["choices"]:
            self.shown.append({name: value for name, value in chunk.items() if name != "usage"})

    def _completed(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = [
            {**c, "delta": {}} if isinstance(c, dict) and "delta" not in c and "message" not in c else c
            for c in chunk["choices"]
        ]
        return {
            **chunk,
            "id": self.id,
            "object": chunk.get("object") or "chat.completion.chunk",
            "created": chunk.get("created") or IDENTITY.created,
            "model": chunk.get("model") or IDENTITY.model,
            "choices": choices,
        }

    @property
    def choices(self) -> list[dict[str, Any]]:
        """Choice 0 of every chunk that has one."""
        return [c for chunk in self.kept for c in chunk["choices"][:1] if isinstance(c, dict) and not c.get("index")]

    @property
    def text(self) -> str:
        return "".join((c.get("delta") or {}).get("content") or "" for c in self.choices)

    @property
    def finish_reason(self) -> str | None:
        reasons = [c["finish_reason"] for c in self.choices if c.get("finish_reason")]
        return reasons[-1] if reasons else None

    @property
    def usage(self) -> tuple[int, int] | None:
        told = [c["usage"] for c in self.kept if _means_something(c.get("usage"))]
        return (told[-1]["prompt_tokens"], told[-1]["completion_tokens"]) if told else None

    def ending(self) -> list[dict[str, Any]]:
        """The chunks between what was shown and the end mark of a good stream."""
        if not self.include_usage:
            return []
        prompt, completion = COUNTED
        counted = {
            "id": self.id or IDENTITY.fallback_id,
            "object": "chat.completion.chunk",
            "created": IDENTITY.created,
            "model": IDENTITY.model,
            "choices": [],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        }
        return [self.usage_chunk or counted]


def _means_something(usage: object) -> bool:
    if not isinstance(usage, dict):
        return False
    counts = [usage.get(name) for name in TOKENS]
    return all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 10**9 for n in counts)
