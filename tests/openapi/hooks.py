"""What schemathesis has to know beside the document: the formats of our own, and which credential is its own."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

# As str.isprintable reads Unicode: no control, format, surrogate, private or unassigned characters, no blank but " ".
_CHARACTERS = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
_WORDS = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"), min_size=1, max_size=12)

schemathesis.openapi.format("line", st.text(_CHARACTERS, min_size=1, max_size=64).filter(str.isprintable))
schemathesis.openapi.format(
    "trimmed-line",
    st.text(_CHARACTERS, min_size=1, max_size=20).filter(lambda text: text.isprintable() and text == text.strip()),
)
schemathesis.openapi.format("address", st.builds("{}@{}.example".format, _WORDS, _WORDS))
schemathesis.openapi.format("limits", st.sampled_from(["", "60/min", "3/30s,20/calendar-day", "1000/24h"]))


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Not the token that all these requests are sent with: without it every answer is a 401."""
    return (case.path_parameters or {}).get("token_id") != os.environ["FUZZ_TOKEN_ID"]


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Whole numbers are sent as every client writes them: we refuse ``1.0`` for an integer, and say so."""
    case.body = _whole(case.body)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole(member) for member in value]
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if exact else value
