"""What comes from the systems we replace: accounts, keys, history, one row at a time.

A row that is there already, or cannot be taken over, is skipped and reported with its reason; nothing is ever
overwritten, so an import may be repeated. A dry run checks everything and keeps nothing. Reasons carry no
password and no key.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

import msgspec

from streamproxy.domain.keypool import key_id
from streamproxy.domain.ports import Ledger, User, UserStore
from streamproxy.domain.streams import EndReason, HistoryMessage, Usage, UsageRecord
from streamproxy.errors import BadRequestError, ConflictError
from streamproxy.services.accounts import LONGEST_NAME
from streamproxy.services.auth import Authenticator
from streamproxy.services.keyring import Keyring

# How usage rows of turns that never ran here are told from ours.
UPSTREAM = "import"


@dataclass(frozen=True, slots=True)
class FormerUser:
    """An account there. *created* is in epoch seconds, None when it was not kept."""

    place: str
    name: str
    password: str | None = field(default=None, repr=False)
    openid: str | None = None
    questions: int | None = None
    created: float | None = None


@dataclass(frozen=True, slots=True)
class FormerKey:
    """A provider key there. *usable*: it was in use; *calls* were made with it."""

    place: str
    secret: str = field(repr=False)
    usable: bool = True
    calls: int = 0


@dataclass(frozen=True, slots=True)
class FormerTurn:
    """A question with its answer, at an epoch second."""

    place: str
    openid: str
    question: str
    answer: str
    at: float


@dataclass(slots=True)
class Report:
    """What became of the rows: how many were imported by kind, and which were not, with the reason."""

    imported: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)

    def skip(self, kind: str, place: str, reason: str) -> None:
        self.skipped.append((kind, place, reason))

    def skipped_of(self, kind: str) -> int:
        return sum(1 for skipped, _, _ in self.skipped if skipped == kind)


class UserImport:
    """Accounts, their passwords hashed on the way."""

    def __init__(self, auth: Authenticator, users: UserStore, report: Report, *, dry_run: bool) -> None:
        self._auth = auth
        self._users = users
        self._report = report
        self._dry_run = dry_run
        self._names: set[str] = set()

    async def take(self, row: FormerUser) -> None:
        try:
            user = await self._new(row)
            if not self._dry_run:
                await self._users.add(user)
        except (BadRequestError, ConflictError) as exc:
            self._report.skip("users", row.place, exc.message)
            return
        self._names.add(user.name)
        self._report.imported["users"] += 1

    async def _new(self, row: FormerUser) -> User:
        taken = await self._users.by_name(row.name) or (row.openid and await self._users.by_openid(row.openid))
        if taken or row.name in self._names:
            # Before the password is hashed: that is what a repeated import would take its time for.
            raise ConflictError("is there already")
        user = await self._auth.new_user(row.name, password=row.password, openid=row.openid, questions=row.questions)
        return user if row.created is None else replace(user, created=row.created)


class KeyImport:
    """Provider keys for one upstream, with the number of calls they had made."""

    def __init__(self, keyring: Keyring, report: Report, *, upstream: str, dry_run: bool) -> None:
        self._keyring = keyring
        self._report = report
        self._upstream = upstream
        self._dry_run = dry_run
        self._known: set[str] | None = None

    async def take(self, row: FormerKey) -> None:
        if self._known is None:
            self._known = {key.id for key in await self._keyring.all()}
        identity = key_id(self._upstream, row.secret)
        if identity in self._known:
            self._report.skip("keys", row.place, "is there already")
        elif not row.usable:
            self._report.skip("keys", row.place, "was out of use there")
        else:
            await self._add(row)
            self._known.add(identity)

    async def _add(self, row: FormerKey) -> None:
        try:
            if self._dry_run:
                await self._keyring.check(self._upstream, row.secret)
            else:
                added = await self._keyring.add(self._upstream, row.secret)
                if row.calls and not await self._keyring.count(added, row.calls):
                    self._report.skip("counters", row.place, "Redis cannot be reached from here")
        except (BadRequestError, ConflictError) as exc:
            self._report.skip("keys", row.place, exc.message)
            return
        self._report.imported["keys"] += 1


class HistoryImport:
    """Questions and answers, as history of the users whose openids they carry."""

    def __init__(self, users: UserStore, ledger: Ledger, report: Report, *, endpoint: str, dry_run: bool) -> None:
        self._users = users
        self._ledger = ledger
        self._report = report
        self._endpoint = endpoint
        self._dry_run = dry_run
        self._coming: set[str] = set()
        self._seen: set[str] = set()

    def expect(self, openids: set[str]) -> None:
        """In a dry run: users whom the same import would have made."""
        self._coming |= openids

    async def take(self, row: FormerTurn) -> None:
        user = await self._users.by_openid(row.openid)
        if user is None and row.openid not in self._coming:
            self._report.skip("history", row.place, "nobody here has its openid")
            return
        stream_id = _stream_id(row)
        if stream_id in self._seen or await self._ledger.usage_of(stream_id) is not None:
            self._report.skip("history", row.place, "is there already")
            return
        self._seen.add(stream_id)
        if user is not None and not self._dry_run:
            await self._ledger.write(self._record(row, user, stream_id), _messages(row, user, stream_id))
        self._report.imported["history"] += 1

    def _record(self, row: FormerTurn, user: User, stream_id: str) -> UsageRecord:
        """History hangs on a stream; this one cost nothing here."""
        return UsageRecord(
            stream_id=stream_id,
            request_id=stream_id,
            user_id=user.id,
            session_id=None,
            endpoint=self._endpoint,
            model="",
            upstream=UPSTREAM,
            key_last4="",
            created=row.at,
            ttft_ms=None,
            duration_ms=0,
            chunks=0,
            attempts=0,
            usage=Usage(),
            end_reason=EndReason.FINISH,
        )


def name_for(openid: str) -> str:
    """What an account is called of which only the openid is known."""
    if len(openid) <= LONGEST_NAME:
        return openid
    return f"openid-{hashlib.sha256(openid.encode()).hexdigest()[:32]}"


def _stream_id(row: FormerTurn) -> str:
    """The same for the same turn: that is what makes an import repeatable."""
    content = msgspec.json.encode([row.openid, row.at, row.question, row.answer])
    return "st_" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()[:16]).rstrip(b"=").decode()


def _messages(row: FormerTurn, user: User, stream_id: str) -> list[HistoryMessage]:
    return [
        HistoryMessage(
            user_id=user.id,
            session_id=None,
            stream_id=stream_id,
            position=position,
            role=role,
            message=msgspec.json.encode({"role": role, "content": text}).decode(),
            created=row.at,
        )
        for position, (role, text) in enumerate((("user", row.question), ("assistant", row.answer)))
    ]
