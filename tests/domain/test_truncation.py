"""Middle-out: what stays, what goes, in which order, and when it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamproxy.domain.sessions import EMPTY, Context, KeptTurns, Message, Turn
from streamproxy.domain.tokens import TOKENS_FOR_REPLY, count_message, count_messages
from streamproxy.domain.truncation import LEAST_TOKENS, Fitted, fit, whole
from streamproxy.errors import ContextLengthError
from streamproxy.tokenizer import SHIPPED, EncodingCounter, read_encoding
from streamproxy.wire.chat import SpelledMessages

AMPLE = 1_000_000
SYSTEM: Message = {"role": "system", "content": "s" * 10}


class Letters:
    """A counter that a reader can check: one token a letter."""

    def count(self, text: str) -> int:
        return len(text)

    def cut_middle(self, text: str, budget: int) -> str:
        if len(text) <= budget:
            return text
        return text[: budget - budget // 2] + text[len(text) - budget // 2 :]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def call(number: int) -> Message:
    function = {"name": "look", "arguments": "{}"}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": f"call_{number}", "function": function}]}


def result(number: int, text: str = "found") -> Message:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}


def size(messages: Sequence[Message]) -> int:
    return sum(count_message(m, Letters()) for m in messages)


def turn(name: str, *messages: Message) -> Turn:
    return Turn(name, messages, size(messages))


def as_kept(turns: Sequence[Turn]) -> KeptTurns:
    """As a store has them."""
    lines = "\n".join(f"{t.tokens} {len(t.messages)} {t.id}" for t in turns)
    known = all(t.tokens for t in turns)
    said = [msgspec.json.encode(t.messages)[1:-1] for t in turns]
    return KeptTurns(lines.encode(), sum(t.tokens for t in turns) if known else 0, said)


def turns(count: int, length: int = 42) -> tuple[Turn, ...]:
    """Turns of 100 tokens each unless *length* says otherwise."""
    return tuple(turn(str(n), user(str(n) * length), answer(str(n) * 50)) for n in range(count))


def fitted(context: Context, *new: Message, budget: int = AMPLE, context_budget: int = AMPLE, **more: Any) -> Fitted:
    more = {"system": None, "counter": Letters(), **more}
    return fit(context, new, budget=budget, context_budget=context_budget, **more)


def kept(prompt: Fitted) -> str:
    """The turns that stayed, by their numbers."""
    return "".join(m["content"][0] for m in prompt.messages if m["role"] == "user")[:-1]


def test_what_fits_is_sent_as_it_is() -> None:
    context = Context(SYSTEM, turns(2))
    prompt = fitted(context, user("?"))
    whole = (SYSTEM, *context.turns[0].messages, *context.turns[1].messages, user("?"))
    assert prompt == Fitted(whole, 0, count_messages(whole, Letters()))


def test_the_requests_system_message_replaces_the_stored_one() -> None:
    other = {"role": "developer", "content": "other"}
    assert fitted(Context(SYSTEM), user("?"), system=other).messages == (other, user("?"))
    assert fitted(Context(SYSTEM), user("?")).messages == (SYSTEM, user("?"))


@pytest.mark.parametrize(
    ("room", "stay"),
    [(500, "01234"), (499, "0234"), (399, "034"), (299, "04"), (199, "4"), (99, "")],
)
def test_the_middle_leaves_first_then_the_first_turn_then_the_newest(room: int, stay: str) -> None:
    context = Context(None, turns(5))
    assert kept(fitted(context, user("?"), context_budget=room)) == stay
    around = TOKENS_FOR_REPLY + size([user("?")])
    prompt = fitted(context, user("?"), budget=room + around)
    assert kept(prompt) == stay
    assert prompt.left_out == 2 * (5 - len(stay))
    assert prompt.tokens == around + 100 * len(stay)


def test_a_first_turn_too_long_to_stay_beside_the_newest_leaves_its_room_to_the_others() -> None:
    long = turn("long", user("L" * 400), answer("L"))
    context = Context(None, (long, *turns(4)))
    assert kept(fitted(context, user("?"), context_budget=410)) == "0123"


def test_no_older_turn_stays_when_the_newest_has_to_go() -> None:
    context = Context(None, (*turns(2), turn("long", user("L" * 400), answer("L"))))
    assert kept(fitted(context, user("?"), context_budget=300)) == ""


def test_a_turn_that_answers_a_call_leaves_with_the_turn_that_called() -> None:
    calling = turn("calling", user("a" * 80), call(1))
    answering = turn("answering", result(1), answer("b"))
    context = Context(None, (*turns(1), calling, answering, *turns(1)))
    whole = calling.tokens + answering.tokens + 200
    assert fitted(context, user("?"), context_budget=whole).left_out == 0
    assert fitted(context, user("?"), context_budget=whole - 1).left_out == 4


def test_turns_whose_call_the_new_messages_answer_stay_and_may_be_cut() -> None:
    asking = turn("asking", user("a" * 500), call(1))
    context = Context(None, (*turns(2), asking))
    prompt = fitted(context, result(1), budget=200, context_budget=100)
    assert [m["role"] for m in prompt.messages] == ["user", "assistant", "tool"]
    assert prompt.messages[1:] == (call(1), result(1))
    assert prompt.left_out == 5
    assert prompt.tokens <= 200


def test_a_result_whose_call_is_gone_is_left_out() -> None:
    """A store that drops old turns may have dropped the caller; providers refuse a result alone."""
    context = Context(None, (turn("answering", result(1), answer("b")), *turns(1)))
    prompt = fitted(context, user("?"))
    assert kept(prompt) == "0"
    assert prompt.left_out == 2


def test_a_turn_of_unknown_size_is_counted() -> None:
    context = Context(None, tuple(Turn(t.id, t.messages, 0) for t in turns(3)))
    assert kept(fitted(context, user("?"), context_budget=299)) == "02"


def test_the_longest_texts_lose_their_middle_and_short_ones_stay() -> None:
    long, longer = "a" * 300 + "b" * 300, "c" * 600 + "d" * 600
    prompt = fitted(EMPTY, user(long), user("short"), user(longer), budget=800)
    assert prompt.left_out == 2
    assert 790 <= prompt.tokens <= 800
    assert prompt.messages[1] == user("short")
    first, last = prompt.messages[0]["content"], prompt.messages[2]["content"]
    assert len(first) == len(last)
    assert (first[0], first[-1], last[0], last[-1]) == ("a", "b", "c", "d")


def test_only_the_longest_is_cut_where_that_is_enough() -> None:
    prompt = fitted(EMPTY, user("a" * 300), user("b" * 600), budget=800)
    assert prompt.messages[0] == user("a" * 300)
    assert prompt.left_out == 1


def test_text_parts_are_cut_beside_pictures_that_stay() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "a" * 900}], "name": "me"}
    prompt = fitted(EMPTY, message, budget=1000)
    cut = prompt.messages[0]
    assert (cut["role"], cut["name"], cut["content"][0]) == ("user", "me", picture)
    assert 0 < len(cut["content"][1]["text"]) < 900
    assert prompt.tokens <= 1000


def test_the_original_messages_are_not_changed() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "a" * 900}]}
    fitted(EMPTY, message, budget=100)
    assert message == {"role": "user", "content": [{"type": "text", "text": "a" * 900}]}


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_message_is_never_cut(role: str) -> None:
    rules = {"role": role, "content": "r" * 300}
    assert rules in fitted(EMPTY, rules, user("a" * 900), budget=500).messages
    with pytest.raises(ContextLengthError):
        fitted(EMPTY, rules, user("a" * 900), budget=300)
    with pytest.raises(ContextLengthError):
        fitted(EMPTY, user("a" * 900), system=rules, budget=300)


def test_the_refusal_says_the_numbers() -> None:
    with pytest.raises(ContextLengthError) as refused:
        fitted(EMPTY, call(1), user("a" * 900), system=SYSTEM, budget=40)
    least = size([call(1), user("a" * LEAST_TOKENS)])
    left = 40 - TOKENS_FOR_REPLY - size([SYSTEM])
    assert f"at least {least} tokens" in refused.value.message
    assert f"leaves {left} " in refused.value.message
    assert (refused.value.status, refused.value.code, refused.value.param) == (
        400,
        "context_length_exceeded",
        "messages",
    )


@pytest.mark.parametrize("encoding", ["cl100k_base", "o200k_base"])
def test_twelve_thousand_tokens_against_a_window_of_8192_send_7000_to_8000(encoding: str) -> None:
    counter = EncodingCounter(read_encoding(encoding, SHIPPED))
    text = "".join(f" {n} bottles of beer 啤酒," for n in range(3000))
    text = counter.cut_middle(text, 12_000)
    assert counter.count(text) > 11_900
    prompt = fitted(EMPTY, user(text), budget=8192 - 1024, counter=counter)
    sent = prompt.messages[0]["content"]
    assert 7000 <= counter.count(sent) <= prompt.tokens == count_messages(prompt.messages, counter) <= 7168
    assert sent.startswith(text[:5000])
    assert sent.endswith(text[-5000:])


WORDS = st.text("abc ", max_size=60)
PLAIN_TURN = st.tuples(WORDS.map(user), WORDS.map(answer))


@st.composite
def conversations(draw: st.DrawFn) -> Context:
    """Turns as sessions keep them: plain ones, and calls answered within a turn or by the next one."""
    made: list[tuple[Message, ...]] = []
    for number in range(draw(st.integers(0, 6))):
        question, reply = draw(PLAIN_TURN)
        shape = draw(st.sampled_from(["plain", "plain", "within", "across"]))
        if shape == "plain":
            made.append((question, reply))
        elif shape == "within":
            made.append((question, call(number), result(number), reply))
        else:
            made += [(question, call(number)), (result(number), reply)]
    system = draw(st.none() | st.just(SYSTEM))
    return Context(system, tuple(turn(str(n), *messages) for n, messages in enumerate(made)))


BUDGETS = st.integers(0, 800)
NEW = st.lists(WORDS.map(user), min_size=1, max_size=3)


def try_fit(context: Context, new: list[Message], budget: int, context_budget: int) -> Fitted | None:
    try:
        return fitted(context, *new, budget=budget, context_budget=context_budget)
    except ContextLengthError:
        return None


@given(conversations(), NEW, BUDGETS, BUDGETS)
def test_nothing_is_ever_over_budget(context: Context, new: list[Message], budget: int, context_budget: int) -> None:
    prompt = try_fit(context, new, budget, context_budget)
    if prompt is None:
        least = sum(min(len(m["content"]), LEAST_TOKENS) for m in new) + 4 * len(new)
        assert TOKENS_FOR_REPLY + size([context.system] if context.system else []) + least > budget
        return
    head = 1 if context.system else 0
    assert prompt.tokens == count_messages(prompt.messages, Letters()) <= budget
    assert size(prompt.messages[head : -len(new)]) <= context_budget


@given(conversations(), NEW, BUDGETS, BUDGETS)
def test_order_is_kept_and_the_system_message_is_first(
    context: Context, new: list[Message], budget: int, context_budget: int
) -> None:
    prompt = try_fit(context, new, budget, context_budget)
    assume(prompt is not None)
    assert prompt is not None
    sent = list(prompt.messages)
    if context.system is not None:
        assert sent.pop(0) is context.system
    earlier = [m for t in context.turns for m in t.messages]
    places = [next(i for i, m in enumerate(earlier) if m is message) for message in sent[: -len(new)]]
    assert places == sorted(places)
    assert [m["role"] for m in sent[-len(new) :]] == ["user"] * len(new)
    assert prompt.left_out >= len(earlier) - len(places)


@given(conversations(), NEW, BUDGETS, BUDGETS)
def test_the_newest_turn_stays_longest_and_no_call_is_without_its_result(
    context: Context, new: list[Message], budget: int, context_budget: int
) -> None:
    prompt = try_fit(context, new, budget, context_budget)
    assume(prompt is not None and context.turns)
    assert prompt is not None
    there = {id(m) for m in prompt.messages}
    stay = [all(id(m) in there for m in t.messages) for t in context.turns]
    assert stay == [any(id(m) in there for m in t.messages) for t in context.turns], "a turn stays or goes as a whole"
    assert stay[-1] or not any(stay)
    for before, after, (one, two) in zip(
        stay, stay[1:], zip(context.turns, context.turns[1:], strict=False), strict=False
    ):
        if two.messages[0]["role"] == "tool":
            assert before == after, (one.id, two.id)


@given(conversations(), NEW, BUDGETS, BUDGETS)
def test_the_same_comes_out_for_the_same(
    context: Context, new: list[Message], budget: int, context_budget: int
) -> None:
    assert try_fit(context, new, budget, context_budget) == try_fit(context, new, budget, context_budget)


NEWEST = st.sampled_from([[user("one"), answer("two"), user("three")], [result(0), user("and?")], []])


@given(conversations(), NEW | NEWEST, BUDGETS, BUDGETS, st.integers(0, 3))
def test_what_the_sum_says_fits_is_what_the_closer_look_makes_of_it(
    context: Context, new: list[Message], budget: int, context_budget: int, unknown: int
) -> None:
    """Also where a call is gone, where the newest answers one, and where a turn's size is not known."""
    unsized = (Turn(t.id, t.messages, t.tokens if int(t.id) != unknown else 0) for t in context.turns)
    for turns in (tuple(context.turns), tuple(context.turns[1:]), tuple(unsized)):
        some = Context(context.system, turns)
        tokens = size([*([context.system] if context.system else []), *new])
        bounds: dict[str, Any] = {"system": context.system, "tokens": tokens, "budget": budget}
        bounds |= {"context_budget": context_budget}
        at_once = whole(some, new, **bounds)
        assert at_once in (None, try_fit(some, new, budget, context_budget))
        # The same as a store keeps it, which is not read for it.
        unread = Context(context.system, as_kept(turns) if turns else ())
        assert whole(unread, new, **bounds) == at_once
        assert (unread.turns, try_fit(unread, new, budget, context_budget)) == (
            tuple(turns),
            try_fit(some, new, budget, context_budget),
        )


@pytest.mark.parametrize("said", ["tool", '"tool"', "function", "plain"])
def test_only_words_of_a_result_make_a_store_s_turn_be_read(said: str) -> None:
    context = Context(None, as_kept((turn("0", user(said)), turn("1", answer("x")))))
    prompt = whole(context, [user("?")], system=None, tokens=5, budget=AMPLE, context_budget=AMPLE)
    assert prompt is not None
    assert prompt.messages == (user(said), answer("x"), user("?"))


@pytest.mark.parametrize(
    "first",
    [result(0), dict(reversed(result(0).items())), {"role": "function", "name": "look", "content": "found"}],
    ids=["role first", "role last", "function"],
)
def test_a_result_without_its_call_is_seen_in_a_store_s_turns(first: Message) -> None:
    kept = Context(None, as_kept((turn("0", first, answer("x")), turn("1", user("y")))))
    assert whole(kept, [user("?")], system=None, tokens=5, budget=AMPLE, context_budget=AMPLE) is None


@pytest.mark.parametrize(
    "turns",
    [(turn("0", user("a")), turn("1", user("b"))), (turn("0", dict(reversed(user("a").items()))),)],
    ids=["role first", "role last"],
)
def test_a_store_s_turns_are_sent_without_being_read(turns: tuple[Turn, ...]) -> None:
    kept = as_kept(turns)
    prompt = whole(Context(None, kept), [user("?")], system=None, tokens=5, budget=AMPLE, context_budget=AMPLE)
    assert prompt is not None
    assert isinstance(prompt.messages, SpelledMessages)
    assert prompt.messages.earlier == kept.spelled()
    assert not hasattr(kept, "_values")


def test_of_turns_in_which_nothing_was_said_nothing_is_sent() -> None:
    kept = Context(None, as_kept((Turn("0", (), 1), Turn("1", (), 1))))
    prompt = whole(kept, [user("?")], system=SYSTEM, tokens=5, budget=AMPLE, context_budget=AMPLE)
    assert prompt is not None
    assert prompt.messages == (SYSTEM, user("?"))


@given(conversations(), NEW)
def test_a_conversation_that_fits_exactly_is_whole(context: Context, new: list[Message]) -> None:
    earlier = [m for t in context.turns for m in t.messages]
    everything = (*([context.system] if context.system else []), *earlier, *new)
    budget, context_budget = count_messages(everything, Letters()), size(earlier)
    expected = Fitted(everything, 0, budget)
    assert fitted(context, *new, budget=budget, context_budget=context_budget) == expected
    tokens = size([*everything[: len(everything) - len(earlier) - len(new)], *new])
    bounds = {"budget": budget, "context_budget": context_budget}
    assert whole(context, new, system=context.system, tokens=tokens, **bounds) == expected
    for bound, most in bounds.items():
        tighter = {**bounds, bound: most - 1}
        assert whole(context, new, system=context.system, tokens=tokens, **tighter) is None
