"""The history by session, on SQLite and PostgreSQL."""

from __future__ import annotations

from msgspec.structs import replace

from streamproxy.domain.ports import Conversations
from streamproxy.domain.streams import HistoryMessage
from streamproxy.stores.sql.connect import Database
from streamproxy.stores.sql.conversations import SqlConversations
from streamproxy.stores.sql.ledger import SqlLedger
from tests.stores.sql.test_ledger import RECORD


async def say(ledger: SqlLedger, number: int, session: str | None, *, user: str = "u_bob", question: str = "") -> None:
    """A turn of two messages, in stream *number*, at second *number*."""
    stream_id = f"st_{number}"
    asked = f'{{"role":"user","content":"{question or f"question {number}"}"}}'
    answered = f'{{"role":"assistant","content":"answer {number}"}}'
    said = [
        HistoryMessage(user, session, stream_id, place, role, text, float(number))
        for place, (role, text) in enumerate((("user", asked), ("assistant", answered)))
    ]
    record = replace(RECORD, stream_id=stream_id, request_id=f"req_{number}", user_id=user, session_id=session)
    await ledger.write(record, said)


async def test_sessions_are_listed_by_their_newest_word_in_pages(ledger: SqlLedger, database: Database) -> None:
    """Only the user's own, only with a session, the opening question as the title."""
    port: Conversations = SqlConversations(database)
    for number, session in enumerate(["old", "new", "old", None, "new", "last"], 1):
        await say(ledger, number, session)
    await say(ledger, 9, "theirs", user="u_eve")
    first = await port.page("u_bob", limit=2)
    assert first is not None
    assert [(c.session_id, c.title, c.created, c.updated, c.messages) for c in first] == [
        ("last", "question 6", 6.0, 6.0, 2),
        ("new", "question 2", 2.0, 5.0, 4),
    ]
    second = await port.page("u_bob", after="new", limit=2)
    assert second is not None
    assert [c.session_id for c in second] == ["old"]
    assert await port.page("u_bob", after="theirs", limit=2) is None


async def test_a_title_is_one_short_line(ledger: SqlLedger, database: Database) -> None:
    await say(ledger, 1, "s", question="two\\nlines, " + "long " * 40)
    (found,) = await SqlConversations(database).page("u_bob", limit=1) or ()
    assert found.title.startswith("two lines, long long")
    assert len(found.title) <= 80
    assert found.title.endswith("…")


async def test_messages_come_newest_first_with_their_streams_in_pages(ledger: SqlLedger, database: Database) -> None:
    port = SqlConversations(database)
    for number in (1, 2):
        await say(ledger, number, "s")
    await say(ledger, 3, "s", user="u_eve")
    first = await port.messages("u_bob", "s", limit=3)
    assert first is not None
    assert [(m.message.stream_id, m.message.position) for m in first] == [("st_2", 1), ("st_2", 0), ("st_1", 1)]
    assert first[0].stream == replace(RECORD, stream_id="st_2", request_id="req_2", session_id="s")
    rest = await port.messages("u_bob", "s", before=("st_1", 1), limit=3)
    assert rest is not None
    assert [(m.message.stream_id, m.message.position) for m in rest] == [("st_1", 0)]
    assert await port.messages("u_bob", "s", before=("st_3", 1), limit=3) is None


async def test_rewinding_takes_a_turn_and_all_after_it_out_of_the_session(
    ledger: SqlLedger, database: Database
) -> None:
    """The history keeps them, as messages of no session; nobody else's are touched."""
    port = SqlConversations(database)
    for number in (1, 2, 3):
        await say(ledger, number, "s")
    await say(ledger, 4, "s", user="u_eve")
    assert await port.rewind("u_bob", "s", "st_2") == 4
    kept = await port.messages("u_bob", "s", limit=10)
    assert kept is not None
    assert {m.message.stream_id for m in kept} == {"st_1"}
    assert len(await ledger.history("u_bob")) == 6
    assert len(await port.messages("u_eve", "s", limit=10) or ()) == 2
    assert await port.rewind("u_bob", "s", "st_4") == 0
