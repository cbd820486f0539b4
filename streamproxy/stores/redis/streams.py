"""The shared log of resumable streams: one append-only Redis stream each, with explicit numbers.

There is no pub/sub beside it: what is not in the log was not said. An append that arrives twice counts once, one that
leaves a gap is refused, one by a worker whose stream somebody else has ended is fenced. Payloads of plain text deltas
are kept as their text alone (``domain.streamlog.Template``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from time import monotonic
from typing import Any

import msgspec

from streamproxy.domain.streamlog import (
    LOST_NUMBER,
    NO_TEMPLATE,
    Appended,
    Ending,
    LogPage,
    Piece,
    StreamHead,
    StreamState,
    Template,
    Verdict,
)
from streamproxy.stores.redis import CANCELLATIONS, RUNNING_STREAMS, idempotency_key, stream_keys, ticket_key
from streamproxy.stores.redis.connect import Call, RedisLink
from streamproxy.stores.redis.scripts import load_script

MICROSECONDS = 1_000_000
# Batches a reader gets at once: of 64 events at most each.
MOST_BATCHES = 8
CLAIM_MILLISECONDS = 86_400_000
# How long a key is held for a stream that is only beginning; a worker that dies meanwhile never says so.
BEGINNING_MILLISECONDS = 15_000
# How long somebody has to settle what a dead worker left, before somebody else tries.
SETTLING_MICROSECONDS = 20 * MICROSECONDS
CANCELLATION_SECONDS = 15
_VERDICTS = {0: Verdict.WRITTEN, -1: Verdict.FENCED, -2: Verdict.MISSING, -3: Verdict.GAP}
_MARKS = {StreamState.DONE: b"D", StreamState.FAILED: b"F"}
_STATES = {mark: state for state, mark in _MARKS.items()}


class RedisStreamLog:
    """Fills StreamLog. Seconds: a running stream is kept *running_seconds* after its last append, an ended one
    *replay_seconds*; an owner is dead when it has not appended for *lease_seconds*."""

    def __init__(self, link: RedisLink, *, replay_seconds: float, running_seconds: float, lease_seconds: float) -> None:
        self._link = link
        self._replay = round(replay_seconds * 1000)
        self._running = round(running_seconds * 1000)
        self._lease = round(lease_seconds * MICROSECONDS)
        # Of the streams this worker writes: kept so that every payload is packed as the log says.
        self._templates: dict[str, Template] = {}
        self._listed: dict[str, float] = {}

    async def create(self, head: StreamHead, owner: str) -> None:
        """Begin the log of a new stream; once more with the same owner does nothing."""
        about = msgspec.json.encode(head)
        arguments = (owner, about, self._lease, self._running)
        create = (load_script("create_stream"), stream_keys(head.stream_id), arguments)
        began = monotonic()
        await self._link.run_many([create, self._list([head.stream_id], [])])
        self._listed[head.stream_id] = began

    async def append(self, owner: str, pieces: Sequence[tuple[str, Piece]]) -> Sequence[Appended]:
        """Append to several streams in one round trip. An empty piece renews the owner's lease, as any does."""
        calls = [self._append(owner, *piece) for piece in pieces]
        ended = [stream_id for stream_id, piece in pieces if piece.ending is not None]
        renewed = self._renewed([stream_id for stream_id, piece in pieces if piece.ending is None])
        if renewed or ended:
            calls.append(self._list(renewed, ended))
        answers = (await self._link.run_many(calls))[: len(pieces)]
        for stream_id in ended:
            self._templates.pop(stream_id, None)
            self._listed.pop(stream_id, None)
        return [
            Appended(_VERDICTS[code], last, float("inf") if read < 0 else read / MICROSECONDS)
            for code, last, read in answers
        ]

    def _renewed(self, running: Sequence[str]) -> list[str]:
        """Those whose place in the list of running streams has to be renewed by now."""
        now = monotonic()
        before = now - self._lease / MICROSECONDS / 4
        renewed = [stream_id for stream_id in running if self._listed.get(stream_id, 0.0) <= before]
        self._listed.update(dict.fromkeys(renewed, now))
        return renewed

    def _append(self, owner: str, stream_id: str, piece: Piece) -> Call:
        template = self._template(stream_id, piece)
        lines = [template.pack(payload) for payload in piece.payloads]
        state = StreamState.RUNNING if piece.ending is None else piece.ending.state
        if piece.ending is not None:
            lines.append(_MARKS[piece.ending.state] + piece.ending.payload)
        kept = self._running if state is StreamState.RUNNING else self._replay
        shared = b"" if template is NO_TEMPLATE else msgspec.json.encode((template.before, template.behind))
        arguments = (owner, piece.first, piece.last, state, b"\n".join(lines), shared, self._lease, kept)
        return load_script("append_stream"), stream_keys(stream_id), arguments

    def _template(self, stream_id: str, piece: Piece) -> Template:
        """The stream's template: what the first plain text delta after the opening event looks like."""
        known = self._templates.get(stream_id)
        if known is not None:
            return known
        for number, payload in enumerate(piece.payloads, piece.first):
            # The first event is often alone in also naming the role.
            found = Template.of(payload) if number > 1 else None
            if found is not None:
                self._templates[stream_id] = found
                return found
        return NO_TEMPLATE

    async def read(self, wanted: Sequence[tuple[str, int]]) -> Sequence[LogPage | None]:
        """What came after each (stream id, number), in one round trip; None where there is no such stream."""
        script = load_script("read_stream")
        answers = await self._link.run_many([(script, stream_keys(s), (n, MOST_BATCHES)) for s, n in wanted])
        return [_page(answer, number) for answer, (_, number) in zip(answers, wanted, strict=True)]

    async def head(self, stream_id: str) -> StreamHead | None:
        """What is known of the stream, None when it is unknown or no longer held."""
        about = await self._link.command("HGET", stream_keys(stream_id)[0], "about")
        return None if about is None else msgspec.json.decode(about, type=StreamHead)

    async def reap(self, stream_id: str, ending: Ending) -> None:
        """End the stream in place of an owner that the caller knows to be dead; nothing when its lease says otherwise,
        or somebody was quicker."""
        await self._reap(stream_id, ending, settling=0, patience=0)

    async def inherit(self, stream_id: str, ending: Ending) -> bool:
        """As ``reap``, for callers who ask again and again: only when the owner did not come back meanwhile.

        True when the caller is to settle what the owner left, and nobody else is at it.
        """
        answer = await self._reap(stream_id, ending, settling=SETTLING_MICROSECONDS, patience=self._lease // 2)
        if answer < 0:
            await self.forget_running(stream_id)
        return answer > 0

    async def _reap(self, stream_id: str, ending: Ending, *, settling: int, patience: int) -> int:
        terminal = _MARKS[ending.state] + ending.payload
        arguments = (ending.state, terminal, self._replay, settling, patience, LOST_NUMBER)
        return int(await self._link.run(load_script("reap_stream"), stream_keys(stream_id), arguments))

    async def forget_running(self, stream_id: str) -> None:
        """The stream is settled: nobody need look after it any more."""
        await self._link.run_many([self._list([], [stream_id])])

    async def overdue(self) -> Sequence[str]:
        """Streams whose owner has let its lease run out, and that are not settled."""
        (overdue,) = await self._link.run_many([self._list([], [])])
        return [stream_id.decode() for stream_id in overdue]

    def _list(self, running: Sequence[str], ended: Sequence[str]) -> Call:
        arguments: list[str | int] = [self._lease, len(running), *running, *ended]
        return load_script("list_streams"), (RUNNING_STREAMS,), arguments

    async def claim(self, user_id: str, key: str, stream_id: str, digest: str) -> tuple[str, str]:
        """Bind an Idempotency-Key, for seconds, to a stream and the *digest* of its request: what it is bound to."""
        arguments = (f"{stream_id} {digest}", BEGINNING_MILLISECONDS)
        bound: bytes = await self._link.run(load_script("claim_stream"), (_claim_key(user_id, key),), arguments)
        bound_id, _, bound_digest = bound.decode().partition(" ")
        return bound_id, bound_digest

    async def keep_claim(self, user_id: str, key: str) -> None:
        """The stream has begun: keep its key for a day."""
        await self._link.command("PEXPIRE", _claim_key(user_id, key), CLAIM_MILLISECONDS)

    async def release(self, user_id: str, key: str) -> None:
        """Unbind an Idempotency-Key."""
        await self._link.command("DEL", _claim_key(user_id, key))

    async def ask_to_cancel(self, stream_id: str, user_id: str) -> None:
        """Leave word for whichever worker runs the stream."""
        await self._cancellations(f"{stream_id} {user_id}")

    async def cancellations(self) -> Sequence[tuple[str, str]]:
        """(stream id, user id) of everything that was asked lately."""
        asked = [entry.decode().partition(" ") for entry in await self._cancellations("")]
        return [(stream_id, user_id) for stream_id, _, user_id in asked]

    async def _cancellations(self, asked: str) -> list[bytes]:
        arguments = (asked, CANCELLATION_SECONDS * MICROSECONDS)
        found: list[bytes] = await self._link.run(load_script("ask_to_cancel"), (CANCELLATIONS,), arguments)
        return found

    async def use_ticket(self, stream_id: str, ticket_id: str, *, fresh: bool) -> bool:
        """A *fresh* ticket is good, and noted; an older one only if it was noted while it was fresh."""
        key = ticket_key(stream_id, ticket_id)
        if fresh:
            await self._link.command("SET", key, "1", "PX", self._running + self._replay)
            return True
        return bool(await self._link.command("EXISTS", key))


def _claim_key(user_id: str, key: str) -> str:
    return idempotency_key(user_id, hashlib.sha256(key.encode()).hexdigest())


def _page(answer: Any, number: int) -> LogPage | None:
    if not answer:
        return None
    state, last, overdue, shared, batches = answer
    template = NO_TEMPLATE if not shared else Template(*msgspec.json.decode(shared, type=tuple[bytes, bytes]))
    pieces = [_piece(fields, template).after(number) for _, fields in batches]
    return LogPage(tuple(pieces), StreamState(state.decode()), last, overdue / MICROSECONDS)


def _piece(fields: Any, template: Template) -> Piece:
    values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    *lines, last = values[b"d"].split(b"\n")
    state = _STATES.get(last[:1])
    if state is None:
        return Piece(int(values[b"f"]), tuple(map(template.unpack, [*lines, last])))
    return Piece(int(values[b"f"]), tuple(map(template.unpack, lines)), Ending(state, last[1:]))
