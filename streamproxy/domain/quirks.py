"""What one upstream wants differently from others of its dialect.

Quirks are settings of an upstream, not code: a server that refuses a field, or calls one by another
name, needs no dialect of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirks:
    """*api_version* is what Azure wants in every path.

    *send_stream_options* is false for servers that refuse the field (transformers serve): their usage comes
    unasked, or is estimated. *drop_fields* are request fields that the upstream refuses. *max_tokens_field*
    is the only name it knows for the bound on an answer; empty leaves the client's.
    """

    api_version: str = ""
    send_stream_options: bool = True
    drop_fields: tuple[str, ...] = ()
    max_tokens_field: str = ""


NO_QUIRKS = Quirks()
