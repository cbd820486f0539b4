"""A foreign stream takes the very steps of an unknown one: the time of an answer tells a stranger nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamproxy.domain.streamlog import StreamHead
from streamproxy.domain.streams import EndReason, Usage, UsageRecord
from streamproxy.errors import GoneError, NotFoundError
from streamproxy.services.livestream import LiveStream
from streamproxy.services.sources import Sources

STREAM = "st_AAAAAAAAAAAAAAAAAAAAAA"
HEAD = StreamHead(STREAM, "u_owner", "m", 0.0, "req_1", "/v1/streams")
RECORD = UsageRecord(
    stream_id=STREAM,
    request_id="req_1",
    user_id="u_owner",
    session_id=None,
    endpoint="/v1/streams",
    model="m",
    upstream="default",
    key_last4="1234",
    created=0.0,
    ttft_ms=1,
    duration_ms=2,
    chunks=3,
    attempts=1,
    usage=Usage(),
    end_reason=EndReason.FINISH,
)


class Places:
    """Recorder, log and ledger in one, which note what they are asked."""

    def __init__(self, *, live: LiveStream | None, head: StreamHead | None, record: UsageRecord | None) -> None:
        self.asked: list[str] = []
        self._live, self._head, self._record = live, head, record

    def find(self, _stream_id: str) -> LiveStream | None:
        return self._live

    async def head(self, _stream_id: str) -> StreamHead | None:
        self.asked.append("log")
        return self._head

    async def usage_of(self, _stream_id: str) -> UsageRecord | None:
        self.asked.append("ledger")
        return self._record


def sources(places: Places) -> Sources:
    return Sources(recorder=places, store=places, ledger=places)  # type: ignore[arg-type]


def live(user_id: str) -> LiveStream:
    return LiveStream(replace(HEAD, user_id=user_id), max_bytes=1, changed=lambda _: None)


STATES = {
    "unknown": Places(live=None, head=None, record=None),
    "running here": Places(live=live("u_owner"), head=HEAD, record=None),
    "running elsewhere": Places(live=None, head=HEAD, record=None),
    "ended and held": Places(live=None, head=HEAD, record=RECORD),
    "no longer held": Places(live=None, head=None, record=RECORD),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_stranger_is_refused_after_the_same_look_ups(state: str) -> None:
    places = STATES[state]
    places.asked.clear()
    with pytest.raises(NotFoundError) as refusal:
        await sources(places).find(STREAM, "u_stranger")
    assert places.asked == ["log", "ledger"]
    assert (refusal.value.status, refusal.value.code, refusal.value.message) == (
        404,
        "stream_not_found",
        "No such stream.",
    )


async def test_its_owner_finds_it_in_memory_in_the_log_or_is_told_that_it_is_gone() -> None:
    assert (await sources(STATES["running here"]).find(STREAM, "u_owner")).live is not None
    assert (await sources(STATES["running elsewhere"]).find(STREAM, "u_owner")).live is None
    with pytest.raises(GoneError):
        await sources(STATES["no longer held"]).find(STREAM, "u_owner")
