"""JSON bodies of requests, read where we rely on them.

Whatever bytes come in, the outcome is a value or a BadRequestError that names the field at fault: no other
exception, no unbounded recursion.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from streamproxy.errors import BadRequestError

MAX_MODEL_LENGTH: Final = 256
# The schemas of tools are the deepest legitimate JSON here, at about a dozen levels. Parsers of upstreams recurse.
MAX_DEPTH: Final = 64
# What msgspec raises for bytes that it cannot read; the latter two are none of its own errors.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object in *body*, which can be encoded again."""
    # msgspec refuses what could not be encoded again: lone surrogates, NaN, Infinity, numbers out of range.
    try:
        fields = msgspec.json.decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise BadRequestError("The body is not valid UTF-8") from None
    except msgspec.DecodeError as exc:
        raise BadRequestError(f"The body is not valid JSON: {exc}") from None
    if type(fields) is not dict:
        raise BadRequestError("The body must be a JSON object")
    # Brackets inside strings count too: that only costs a look at the value.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(fields, MAX_DEPTH):
        raise _too_deep()
    return fields


def model_name(fields: dict[str, Any]) -> str:
    """The field ``model``, which must be there."""
    model = fields.get("model")
    if not isinstance(model, str) or not 1 <= len(model) <= MAX_MODEL_LENGTH or not model.isprintable():
        raise BadRequestError(
            f"model is required: 1 to {MAX_MODEL_LENGTH} characters without control characters", param="model"
        )
    return model


def text(fields: dict[str, Any], name: str, *, most: int) -> str:
    """The field *name*, which must be there: 1 to *most* characters (code points)."""
    value = fields.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise BadRequestError(f"{name} is required: a string of 1 to {most} characters", param=name)
    return value


def typed(fields: dict[str, Any], name: str, kind: type, spelled: str, *, within: str = "") -> Any:
    """The field *name*, None when it is null or absent. *spelled* says in an error what it must be."""
    value = fields.get(name)
    if value is not None and not isinstance(value, kind):
        raise BadRequestError(f"{within}{name} must be {spelled} or null", param=within + name)
    return value


def integer(fields: dict[str, Any], name: str, most: int) -> int | None:
    """The field *name*, from 1 to *most*; None when it is null or absent."""
    value = fields.get(name)
    if value is None:
        return None
    # bool is an int in Python, not in JSON.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadRequestError(f"{name} must be an integer from 1 to {most}, or null", param=name)
    return value


def _too_deep() -> BadRequestError:
    return BadRequestError(f"The body is nested deeper than {MAX_DEPTH} levels")


def _deeper_than(value: Any, depth: int) -> bool:
    """Level by level, because recursion is what the bound protects from."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
