"""What streamproxy keeps in Redis: limits, sessions, states of provider keys.

Every name in Redis is made here. The braces are a cluster's hash tag: whatever one script touches
carries the same tag and so lies in the same slot. The kind stands before the free part of a name, so
that no session or request id can spell another key.

::

    sp:{scope}:ring:<seconds>[.n]      LIST    stamps of admitted requests, newest first (µs)
    sp:{scope}:cells:<seconds>[.n]     HASH    tokens by bucket of time
    sp:{scope}:requests-day:<start>[.n]  STRING  requests of the calendar day that began at epoch second start
    sp:{scope}:tokens-day:<start>[.n]  STRING  tokens of that day
    sp:{scope}:places                  ZSET    running streams by the end of their lease (µs)
    sp:{scope}:request:<id>            STRING  what a request took, for 60 s, so that a repeated step counts once
    sp:{principal}:session:<id>        HASH    system message as JSON; a line a turn ("tokens messages id"), and sums
    sp:{principal}:said:<id>           LIST    messages of each turn as JSON, oldest first
    sp:{principal}:lock:<id>           HASH    whose turn it is, and until when (µs)
    sp:{principal}:queue:<id>          ZSET    waiting turns by arrival (µs)
    sp:{principal}:waiting:<id>        HASH    when each waiting turn counts as dead (µs)
    sp:{keys}:states                   HASH    states of provider keys as JSON
    sp:{stream}:head                   HASH    owner, lease (µs), state, last number, template, what is known of it
    sp:{stream}:log                    STREAM  its events, an entry a batch, "<last number>-0"
    sp:{stream}:ticket:<id>            STRING  a ticket that was used in time
    sp:{streams}:running               ZSET    running streams by the end of their leases (µs)
    sp:{cancellations}:asked           ZSET    "stream principal" to be cancelled, until (µs)
    sp:{principal}:idempotency:<hash>  STRING  the stream that a client's key stands for
    sp:{board}:streams                 HASH    by worker: when it was written, and its running streams, as JSON
    sp:{keys}:tallies                  HASH    <id>:requests, :errors, :last (code), :at of provider keys
    sp:{keys}:probe:<id>               STRING  somebody probes this key, or has done so lately
    sp:{key:<id>}:…                    limits of one provider key, kinds as above

``.n`` tells apart several limits of one length in one policy.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamproxy.domain.sessions import SessionRef

KEY_STATES = "sp:{keys}:states"
STREAM_BOARD = "sp:{board}:streams"
KEY_TALLIES = "sp:{keys}:tallies"


def limit_ending(kind: str, place: str) -> str:
    """What the key of one limit's count ends with, the same in every scope.

    *kind* is ring, cells, requests-day or tokens-day; *place* as listed above.
    """
    return f":{kind}:{place}"


def places_key(scope: str) -> str:
    return f"sp:{{{scope}}}:places"


def request_key(scope: str, request_id: str) -> str:
    return f"sp:{{{scope}}}:request:{request_id}"


def request_keys(scope: str, request_id: str, endings: Iterable[str]) -> tuple[str, ...]:
    """What a step of a request through the limits touches: what it took, the running places, counts by *endings*."""
    start = f"sp:{{{scope}}}"
    return f"{start}:request:{request_id}", f"{start}:places", *map(start.__add__, endings)


def probe_key(key_id: str) -> str:
    return f"sp:{{keys}}:probe:{key_id}"


def session_keys(ref: SessionRef) -> tuple[str, str]:
    """A session: what is known of its turns, what was said in them."""
    return _of_session(ref, "session"), said_key(ref)


def said_key(ref: SessionRef) -> str:
    return _of_session(ref, "said")


def turn_keys(ref: SessionRef) -> tuple[str, str, str, str, str]:
    """All that a turn touches: lock, arrivals, deadlines, content, said."""
    start, name = f"sp:{{{ref.principal_id}}}", ref.session_id
    return (
        f"{start}:lock:{name}",
        f"{start}:queue:{name}",
        f"{start}:waiting:{name}",
        f"{start}:session:{name}",
        f"{start}:said:{name}",
    )


def lock_key(ref: SessionRef) -> str:
    return _of_session(ref, "lock")


def queue_keys(ref: SessionRef) -> tuple[str, str]:
    """Who waits for a session: arrivals, deadlines."""
    return _of_session(ref, "queue"), _of_session(ref, "waiting")


def _of_session(ref: SessionRef, kind: str) -> str:
    return f"sp:{{{ref.principal_id}}}:{kind}:{ref.session_id}"


RUNNING_STREAMS = "sp:{streams}:running"
CANCELLATIONS = "sp:{cancellations}:asked"


def stream_keys(stream_id: str) -> tuple[str, str]:
    """Head and log of a resumable stream."""
    return f"sp:{{{stream_id}}}:head", f"sp:{{{stream_id}}}:log"


def ticket_key(stream_id: str, ticket_id: str) -> str:
    return f"sp:{{{stream_id}}}:ticket:{ticket_id}"


def idempotency_key(principal: str, digest: str) -> str:
    return f"sp:{{{principal}}}:idempotency:{digest}"
