"""Values of settings as text, the way the environment would spell them, secrets masked."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from streamproxy.redaction import MASK


def text_of(value: Any) -> str:
    """*value* as ``check-config`` prints it."""
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(text_of, value))
    if isinstance(value, dict):
        return ",".join(name if renamed == "*" else f"{name}={renamed}" for name, renamed in value.items())
    return str(value)
