"""What an upstream says of a failure, read from whatever shape its error body has.

Shapes met: OpenAI's ``{"error": {...}}``, ``{"error": "text"}`` (Ollama, transformers in a stream), FastAPI's
``{"detail": "text"}`` and ``{"detail": [{"loc", "msg"}]}``, vLLM's ``{"object": "error", "message"}``, and
OpenRouter's, whose ``code`` is a status. HTML and noise say nothing. Reading never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from streamproxy.redaction import redact

# Such as context_length_exceeded, invalid_request_error, messages.[0].content[1].image_url.
_NAME = re.compile(r"[A-Za-z0-9_.:/\[\]-]{1,128}")


@dataclass(frozen=True, slots=True)
class Words:
    """The error object of an answer, as far as it could be read. *status* is one that stood in the body, or 0."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    status: int = 0


def read_words(body: bytes) -> Words:
    """The words in *body*."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Words()
    if not isinstance(answer, dict):
        return Words()
    error = answer.get("error", answer.get("detail"))
    if error is None and answer.get("object") == "error":
        error = answer
    if not isinstance(error, dict):
        return Words(message=_details(error) if isinstance(error, list) else _text(error))
    return _of_object(error)


def _of_object(error: dict[str, Any]) -> Words:
    code, metadata = error.get("code"), error.get("metadata")
    return Words(
        message=_text(error.get("message")),
        # OpenRouter's moderation: status 403, which elsewhere is about the key.
        code="content_policy_violation" if _is_flagged(metadata) else _name(code),
        type=_name(error.get("type")),
        param=_name(error.get("param")) or None,
        status=code if isinstance(code, int) and 400 <= code <= 599 else 0,
    )


def _is_flagged(metadata: object) -> bool:
    return isinstance(metadata, dict) and "flagged_input" in metadata


def _details(details: list[Any]) -> str:
    """FastAPI's list of what is wrong with which field."""
    said = []
    for detail in details:
        if isinstance(detail, dict):
            where = detail.get("loc")
            place = ".".join(map(str, where)) if isinstance(where, list) else ""
            said.append(": ".join(part for part in (place, _text(detail.get("msg"))) if part))
    return "; ".join(said)


def _name(value: Any) -> str:
    """A code, type or parameter; "" for what is none, and for a credential that stands in its place."""
    text = _text(value)
    return text if _NAME.fullmatch(text) and redact(text) == text else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
