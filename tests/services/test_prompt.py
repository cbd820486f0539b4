"""What an exchange keeps of its prompt while the answer runs, and what a session is rebuilt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from tornado.ioloop import IOLoop

from streamproxy.domain.sessions import NO_PLACE, Context, Queued, SessionRef, Turn
from streamproxy.domain.streams import HistoryMessage
from streamproxy.domain.tokens import count_message, count_messages
from streamproxy.errors import StoreUnavailableError
from streamproxy.services.prompt import Prompt, PromptPolicy, Prompts
from streamproxy.stores.redis.connect import RedisLink, open_redis
from streamproxy.stores.redis.sessions import RedisSessions
from streamproxy.tokenizer import Tokenizer
from streamproxy.wire.chat import parse_request
from tests.support.redis_server import RedisServer

CONTEXT = ({"role": "user", "content": "x" * 500_000}, {"role": "assistant", "content": "y"})
QUESTION = {"role": "user", "content": "And now?"}


def test_a_context_is_let_go_once_it_was_sent() -> None:
    """Its size is known, and the question is what the session will keep."""
    prompt = Prompt((*CONTEXT, QUESTION), (QUESTION,), system=None, left_out=2, tokens=7)
    assert prompt.sent() == Prompt((), (QUESTION,), system=None, left_out=2, tokens=7)


def test_messages_that_nobody_has_counted_may_have_to_be() -> None:
    prompt = Prompt((QUESTION,), (QUESTION,))
    assert prompt.sent() is prompt


@pytest.mark.parametrize("own", ["", "You are brief."])
@pytest.mark.parametrize("window", [8192, 45], ids=["whole", "cut"])
async def test_a_turn_is_as_large_as_its_messages_whoever_counts_them(link: RedisLink, own: str, window: int) -> None:
    """With its own system message and with the session's, with sizes known before and without, whole and cut."""
    ref = SessionRef("u_1", uuid4().hex)
    sessions = RedisSessions(link, ttl_seconds=60, max_tokens=1000)
    said = ({"role": "user", "content": "Hello " * 8}, {"role": "assistant", "content": "Hi " * 8})
    policy = PromptPolicy({}, window, 10, 4000, 1800, 1, rebuild=False, sessions_need_redis=False)
    prompts = Prompts(policy, sessions=sessions, ledger=Any, counters=Tokenizer(), clock=lambda: 0.0)  # type: ignore[arg-type]
    asked = [*([{"role": "system", "content": own}] if own else []), QUESTION]
    request = parse_request(msgspec.json.encode({"model": "gpt-4o", "messages": asked}))
    counter = await prompts.counter("gpt-4o")
    size = sum(count_message(message, counter) for message in said)
    await sessions.append(ref, Turn("st_1", said, size), {"role": "system", "content": "Be kind."})
    size = await prompts.size(request.model, request.messages)
    assert size == sum(count_message(message, counter) for message in asked)
    for turn_id, known in (("st_2", size), ("st_3", None)):
        prompt = await prompts.in_session(request, ref, turn_id, place=NO_PLACE, size=known)
        await sessions.leave(ref, turn_id)
        kept = said if window > 45 else ()
        assert prompt.messages == ({"role": "system", "content": own or "Be kind."}, *kept, QUESTION)
        assert (prompt.said, prompt.left_out) == ((QUESTION,), 0 if kept else 2)
        assert prompt.tokens == count_messages(prompt.messages, counter)
        answered = (*prompt.said, {"role": "assistant", "content": "Now."})
        turn = await prompts.turn_tokens("gpt-4o", answered, said_tokens=prompt.said_tokens)
        assert turn == sum(count_message(message, counter) for message in answered)
        reported = await prompts.turn_tokens("gpt-4o", answered, said_tokens=prompt.said_tokens, answer_tokens=70)
        assert reported == count_message(QUESTION, counter) + 4 + 70


class UnheardSessions(RedisSessions):
    """Redis does not say who is inside."""

    async def enter(self, *_: object, place: Queued = NO_PLACE) -> Context:  # noqa: ARG002
        raise StoreUnavailableError("away")


@pytest.fixture
def link(redis_server: RedisServer, io_loop: IOLoop) -> Iterator[RedisLink]:
    opened = io_loop.run_sync(lambda: open_redis(redis_server.url, timeout_seconds=10))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.mark.parametrize(("kind", "kept"), [(RedisSessions, True), (UnheardSessions, False)])
async def test_a_history_is_put_back_only_where_the_session_is_known_to_be_empty(
    link: RedisLink, kind: type[RedisSessions], *, kept: bool
) -> None:
    """Behind a session that lives, its oldest turns would count as its newest."""
    ref = SessionRef("u_1", uuid4().hex)
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]

    async def history(user_id: str, *, session_id: str, limit: int) -> Sequence[HistoryMessage]:
        assert (user_id, session_id) == (ref.principal_id, ref.session_id)
        return [
            HistoryMessage(user_id, session_id, "st_1", place, m["role"], msgspec.json.encode(m).decode(), 99.0)
            for place, m in enumerate(said)
        ][:limit]

    sessions = kind(link, ttl_seconds=60, max_tokens=1000)
    policy = PromptPolicy({}, 8192, 100, 4000, 1800, 1, rebuild=True, sessions_need_redis=False)
    ledger: Any = SimpleNamespace(history=history)
    prompts = Prompts(policy, sessions=sessions, ledger=ledger, counters=Tokenizer(), clock=lambda: 100.0)
    request = parse_request(b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "Again"}]}')
    prompt = await prompts.in_session(request, ref, "st_2", place=NO_PLACE)
    assert [m["content"] for m in prompt.messages] == ["Hello", "Hi", "Again"]
    assert (await sessions.read(ref) is not None) == kept
