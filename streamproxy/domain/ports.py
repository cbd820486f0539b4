"""What the services ask of the outside, each Protocol as small as its use.

The stores fill these; ``app`` introduces them to the services, which never import a store.
Every method translates its driver's failures: callers see only ``streamproxy.errors``, and
``StoreUnavailableError`` means that nothing is known about whether the step took place
(each step may be repeated: all of them are idempotent by the id they carry).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from streamproxy.domain.conversations import Conversation, Remembered
from streamproxy.domain.identity import Role
from streamproxy.domain.keypool import KeyStatus, Upstream
from streamproxy.domain.keystates import Rule, Tally
from streamproxy.domain.limits import NO_LIMITS, Ask, Decision, LimitPolicy, Reservation
from streamproxy.domain.sessions import Context, Message, SessionRef, Turn
from streamproxy.domain.streamlog import Appended, Ending, LogPage, Piece, StreamHead
from streamproxy.domain.streams import HistoryMessage, RunningStream, UsageRecord


class LimitStore(Protocol):
    """Counts against limits. One ask is one atomic step over all limits, all or nothing."""

    async def reserve(self, ask: Ask) -> Decision:
        """Take one request, *ask.tokens* tokens and a running place, or nothing at all.

        Asking twice with one request id takes once and answers the same.
        """

    async def extend(self, reservation: Reservation, tokens: int) -> Reservation | None:
        """Take *tokens* more for a running answer; None when the windows have no room for them."""

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """The stream ended and really used *tokens*: correct the token windows, free its place."""

    async def refund(self, reservation: Reservation) -> None:
        """Nothing was delivered: give back request, tokens and place."""

    async def renew(self, reservations: Sequence[Reservation]) -> None:
        """Prolong the running places of these; a place not renewed for its lease is free again."""


class SessionStore(Protocol):
    """Keeps sessions and the order of their turns."""

    async def enter(self, ref: SessionRef, turn_id: str, wait_seconds: float) -> Context:
        """Wait for this turn's place in the session, first come first served, and load the context.

        SessionBusyError (with retry_after) when earlier turns take longer than *wait_seconds*.
        """

    async def append(self, ref: SessionRef, turn: Turn, system: Message | None) -> None:
        """Add the turn, renew the time to live and let the next turn in. Once per ``turn.id``."""

    async def leave(self, ref: SessionRef, turn_id: str) -> None:
        """The turn produced nothing: let the next one in, leave no trace."""

    async def renew(self, held: Sequence[tuple[SessionRef, str]]) -> None:
        """Prolong these places (session, turn id)."""

    async def read(self, ref: SessionRef) -> Context | None:
        """The context as it stands, without entering; None when there is none (or it expired)."""

    async def rewind(self, ref: SessionRef, turn_id: str) -> bool:
        """Drop this turn and those after it; False when the context has no such turn."""

    async def forget(self, ref: SessionRef) -> bool:
        """Drop the context; False when there was none."""


class KeyStates(Protocol):
    """States and counts of provider keys, shared by all workers."""

    async def load(self, key_ids: Sequence[str]) -> Mapping[str, KeyStatus]:
        """The statuses of these keys; a key nobody reported on is missing from the answer."""

    async def change(self, key_id: str, rule: Rule) -> KeyStatus:
        """Replace the key's status by what *rule* makes of it, atomically, and return it.

        *rule* is called again whenever somebody else was faster.
        """

    async def claim(self, key_id: str, seconds: float) -> bool:
        """Whether the caller is the one to probe this key; nobody else is for *seconds*."""

    async def count(self, tallies: Mapping[str, Tally]) -> None:
        """Add to the counts of these keys."""

    async def tallies(self, key_ids: Sequence[str]) -> Mapping[str, Tally]:
        """The counts of these keys; a key that was never used may be missing."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A provider key as SQL keeps it: *secret* is None when it cannot be decrypted.

    *limits* of None are those of the upstream's keys in general.
    """

    id: str
    upstream: str
    secret: str | None = field(repr=False)
    last4: str
    weight: int = 1
    limits: LimitPolicy | None = None
    created: float = 0.0


class KeyStore(Protocol):
    """Provider keys that people added, and those they took out of use, wherever they came from."""

    async def add(self, key: StoredKey) -> None:
        """Keep it; ConflictError when it is there already."""

    async def all(self) -> Sequence[StoredKey]:
        """Every key, in the order of being added."""

    async def remove(self, key_id: str) -> bool:
        """False when there was none."""

    async def held(self) -> Collection[str]:
        """The ids of the keys that people disabled."""

    async def hold(self, key_id: str) -> None:
        """Take a key out of use until it is released, whatever else is known of it."""

    async def release(self, key_id: str) -> bool:
        """False when it was not held."""


@dataclass(frozen=True, slots=True)
class StoredUpstream:
    """An upstream as SQL keeps it, without keys. *key_limits* hold for each key that has none of its own."""

    upstream: Upstream
    key_limits: LimitPolicy = NO_LIMITS


class UpstreamStore(Protocol):
    """Upstreams that people added."""

    async def put(self, upstream: StoredUpstream) -> None:
        """Keep it under its name, instead of the one that was there."""

    async def all(self) -> Sequence[StoredUpstream]:
        """In order of name."""

    async def remove(self, name: str) -> bool:
        """False when there was none."""


@dataclass(frozen=True, slots=True)
class User:
    """A person or program with an account. *password_hash* is argon2id or None (no password login)."""

    id: str
    name: str
    role: Role
    disabled: bool
    password_hash: str | None = None
    openid: str | None = None
    email: str | None = None
    questions_left: int | None = None
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token as it is kept: never the token, only its hash."""

    id: str
    user_id: str
    user_name: str
    label: str
    last4: str
    created: float
    revoked: bool


class UserChanges(TypedDict, total=False):
    """Fields of a User to change; one that is not there stays."""

    role: Role
    disabled: bool
    password_hash: str
    questions_left: int | None


class UserStore(Protocol):
    """Accounts. Names are unique, ConflictError when taken; NotFoundError when unknown."""

    async def add(self, user: User) -> None: ...

    async def by_name(self, name: str) -> User | None: ...

    async def by_id(self, user_id: str) -> User | None: ...

    async def by_openid(self, openid: str) -> User | None: ...

    async def page(self, *, after: str = "", limit: int = 100) -> Sequence[User]:
        """Users in order of name, those after the name *after*."""

    async def change(self, user_id: str, changes: UserChanges) -> None: ...

    async def set_password_hash(self, user_id: str, password_hash: str, *, replacing: str | None = None) -> None:
        """Keep *password_hash*; with *replacing*, only where that is still the one kept."""


class CredentialStore(Protocol):
    """Bearers by ``jti`` and API tokens by hash. A bearer is live while its row is there."""

    async def add_bearer(self, jti: str, user_id: str, expires: float) -> None: ...

    async def bearer_user(self, jti: str) -> User | None:
        """The user of a live bearer: not revoked, the user not disabled. None otherwise."""

    async def revoke_bearer(self, jti: str) -> bool: ...

    async def revoke_bearers_of(self, user_id: str) -> int: ...

    async def add_api_token(self, token: ApiToken, token_hash: bytes) -> None: ...

    async def api_token_user(self, token_hash: bytes) -> tuple[str, User] | None:
        """Token id and user of a live API token, None otherwise."""

    async def api_tokens(
        self, user_id: str | None = None, *, after: str = "", limit: int | None = None
    ) -> Sequence[ApiToken]:
        """In the order they were made: of one user when given, those after the token *after*, at most *limit*."""

    async def revoke_api_token(self, token_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class KeptBearer:
    """The only bearer that its user has for *purpose*. Times are whole epoch seconds: they are signed."""

    jti: str
    user_id: str
    purpose: str
    issued: int
    expires: int


class KeptBearers(Protocol):
    """Bearers of which a user has one a purpose, handed out again until it expires."""

    async def keep(self, fresh: KeptBearer) -> KeptBearer:
        """The live bearer of that user and purpose: the one kept before, else *fresh*, kept from now on.

        Of calls at the same moment exactly one gets its own back. One that has expired at ``fresh.issued`` is
        no longer live: it is replaced.
        """

    async def kept_user(self, jti: str, purpose: str) -> User | None:
        """The user who has this bearer for *purpose*, not disabled. None otherwise."""


class QuestionStore(Protocol):
    """The number of questions that a user has left (``User.questions_left``), None for any number."""

    async def reserve(self, user_id: str, request_id: str, *, now: float, until: float) -> bool:
        """Hold one question; False when those left are all held or used up. It frees itself at *until*."""

    async def settle(self, user_id: str, request_id: str) -> int | None:
        """The question was answered: use it up. How many are left after it, which no other answer is told.

        None where the user has any number.
        """

    async def refund(self, request_id: str) -> None:
        """Nothing was delivered: hold the question no longer."""


class KeyCalls(Protocol):
    """How often provider keys have answered."""

    async def calls(self, key_ids: Sequence[str]) -> Mapping[str, int]:
        """Answered calls by key id; a key that never answered is missing."""


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """What a user consumed of one model in one UTC day (``day`` is ``YYYY-MM-DD``)."""

    day: str
    model: str
    streams: int
    prompt_tokens: int
    completion_tokens: int
    estimated_streams: int
    cost_nano_usd: int = 0


@dataclass(frozen=True, slots=True)
class UserUsage:
    """A UsageSummary and whose it is; *user_name* is None for a guest."""

    user_id: str
    user_name: str | None
    summary: UsageSummary


class UsageReport(Protocol):
    """Everybody's usage."""

    async def page(
        self, *, first_day: int, last_day: int, user_id: str | None, after: tuple[int, str, str] | None, limit: int
    ) -> Sequence[UserUsage]:
        """By day, user and model, both days included (UTC days since 1970), those after that day, user and model."""


class Ledger(Protocol):
    """The lasting record: usage and history."""

    async def write(self, record: UsageRecord, history: Sequence[HistoryMessage]) -> None:
        """Write both in one transaction; returns when they are committed. Once per ``stream_id``."""

    async def history(
        self, user_id: str, *, session_id: str | None = None, limit: int = 200
    ) -> Sequence[HistoryMessage]:
        """The newest *limit* messages of the user (of one session when given), oldest first."""

    async def usage_by_day(
        self, user_id: str, *, since: float, until: float = float("inf")
    ) -> Sequence[UsageSummary]: ...

    async def usage_of(self, stream_id: str) -> UsageRecord | None:
        """The row of one stream, None while there is none."""

    async def detach(self, user_id: str, session_id: str) -> int:
        """Take the user's messages out of this session: they stay in the history. Returns how many."""

    async def remarks(self, user_id: str, *, limit: int) -> Sequence[HistoryMessage]:
        """The newest *limit* questions and answers of the user, oldest first: no system or tool messages."""

    async def accepted(self, user_id: str, endpoints: Sequence[str], *, since: float, until: float) -> int:
        """The user's requests at *endpoints* that counted: an answer began, or the client left before it."""


class Conversations(Protocol):
    """The history by session, for those who look at it again."""

    async def page(self, user_id: str, *, after: str = "", limit: int) -> Sequence[Conversation] | None:
        """The user's sessions, the one spoken in last first, those after *after*; None if that is unknown."""

    async def messages(
        self, user_id: str, session_id: str, *, before: tuple[str, int] | None = None, limit: int
    ) -> Sequence[Remembered] | None:
        """The newest *limit*, newest first, of those before (stream id, position); None if that is unknown."""

    async def rewind(self, user_id: str, session_id: str, stream_id: str) -> int:
        """Take the messages of this stream and of all after it out of the session. Returns how many."""


class GrantStore(Protocol):
    """Money granted to accounts, in nano-USD."""

    async def add(self, grant_id: str, user_id: str, nano_usd: int, created: float) -> None: ...

    async def total(self, user_id: str) -> int:
        """All that was granted, 0 for somebody unknown."""


class StreamBoard(Protocol):
    """What runs on all workers, each of which pins up its own list."""

    async def pin(self, worker: str, streams: Sequence[RunningStream], now: float) -> None:
        """Replace what *worker* had pinned up; *now* is in epoch seconds."""

    async def take_down(self, worker: str) -> None:
        """*worker* has nothing running any more."""

    async def read(self) -> Mapping[str, tuple[float, Sequence[RunningStream]]]:
        """When each worker pinned up its list, and the list."""


class UpstreamReply(Protocol):
    """An upstream's answer, its head already here. Close it on every way out."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def batch(self) -> bytes:
        """What has arrived since the last call, waiting for at least one byte; ``b""`` at the end.

        UpstreamError when the connection breaks or the bytes are no HTTP.
        """

    def close(self) -> None:
        """Drop the connection at once; a pending ``batch`` raises. The upstream sees it and stops."""

    async def finish(self) -> None:
        """The answer is complete: let the connection serve the next request if it is clean, else drop it."""


class UpstreamTransport(Protocol):
    """Opens calls to upstreams over HTTP."""

    async def open(self, url: str, *, headers: Mapping[str, str], body: bytes | None) -> UpstreamReply:
        """Send a POST (a GET when *body* is None) and wait for the head of the answer.

        UpstreamError with code ``upstream_unreachable`` when no connection came about (nothing was
        sent), UpstreamTimeoutError ``upstream_connect_timeout`` likewise, and
        ``upstream_disconnected`` or ``upstream_malformed`` when the connection failed after that.
        """


class Pingable(Protocol):
    """Something readiness depends on."""

    async def ping(self) -> None:
        """Return when it answers; StoreUnavailableError otherwise."""


class StreamLog(Protocol):
    """The shared copy of resumable streams. One writer a stream, fenced by its owner token."""

    async def create(self, head: StreamHead, owner: str) -> None:
        """Begin the log of a new stream; once more with the same owner does nothing."""

    async def append(self, owner: str, pieces: Sequence[tuple[str, Piece]]) -> Sequence[Appended]:
        """Append to several streams in one round trip. An empty piece renews the owner's lease."""

    async def read(self, wanted: Sequence[tuple[str, int]]) -> Sequence[LogPage | None]:
        """What came after each (stream id, number), in one round trip; None where there is no such stream."""

    async def head(self, stream_id: str) -> StreamHead | None:
        """What is known of the stream, None when it is unknown or no longer held."""

    async def reap(self, stream_id: str, ending: Ending) -> bool:
        """End the stream in place of its dead owner. False when the owner lives, or somebody was quicker."""

    async def overdue(self) -> Sequence[str]:
        """Streams whose owner has not renewed its lease for a while."""

    async def claim(self, user_id: str, key: str, stream_id: str) -> str:
        """Bind an Idempotency-Key to a stream for a day: the id bound before, else *stream_id*."""

    async def release(self, user_id: str, key: str) -> None:
        """Unbind an Idempotency-Key."""

    async def ask_to_cancel(self, stream_id: str, user_id: str) -> None:
        """Leave word for whichever worker runs the stream."""

    async def cancellations(self) -> Sequence[tuple[str, str]]:
        """(stream id, user id) of everything that was asked lately."""

    async def use_ticket(self, stream_id: str, ticket_id: str, *, fresh: bool) -> bool:
        """A *fresh* ticket is good, and noted; an older one only if it was noted while it was fresh."""
