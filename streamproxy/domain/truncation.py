"""Middle-out: what of a conversation is sent when all of it does not fit.

Whole turns of the middle leave first, then middles of the longest new texts. The system message is never
cut, a tool's result never separated from its call. What cannot be made to fit is a ContextLengthError.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any

import msgspec

from streamproxy.domain.sessions import SYSTEM_ROLES, Context, KeptTurns, Message, Turn
from streamproxy.domain.tokens import TOKENS_FOR_REPLY, TokenCounter, count_message
from streamproxy.errors import ContextLengthError
from streamproxy.wire.chat import SpelledMessages

_tokens_of, _messages_of = attrgetter("tokens"), attrgetter("messages")
_role_of = methodcaller("get", "role")
RESULT_ROLES = frozenset({"tool", "function"})
# Less than this of a text says nothing: rather refuse than send it.
LEAST_TOKENS = 16


# As JSON spells them where a message has one of them; and how a turn mostly begins, with none.
_RESULT_WORDS = tuple(b'"%b"' % role.encode() for role in sorted(RESULT_ROLES))
_FROM_A_USER = b'{"role":"user"'


class Fitted(msgspec.Struct, frozen=True):
    """A prompt that fits. *left_out* counts messages left out plus texts whose middle was cut.

    *tokens* is its whole size, the priming of the reply included.
    """

    messages: Sequence[Message]
    left_out: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """Turns that stay or leave together."""

    messages: tuple[Message, ...]
    tokens: int


def whole(
    context: Context,
    new: Sequence[Message],
    *,
    system: Message | None,
    tokens: int,
    budget: int,
    context_budget: int,
) -> Fitted | None:
    """What ``fit`` makes of them, in the usual case: all is of a known size and fits. None where it has to be asked.

    *system* is the one that counts. *tokens* is the size of it and of *new*.
    """
    turns = context.turns
    kept = turns if isinstance(turns, KeptTurns) else None
    earlier = _sum_of_known(turns) if kept is None else kept.tokens
    tokens += TOKENS_FOR_REPLY + earlier
    if tokens > budget or earlier > context_budget or (earlier == 0 and turns):
        return None
    oldest = () if kept is not None and kept.said[0].startswith(_FROM_A_USER) else _oldest(turns)
    if not RESULT_ROLES.isdisjoint(map(_role_of, (*oldest, *new[:1]))):
        # They answer a call that is no longer there, or that belongs to what is new.
        return None
    head = () if system is None else (system,)
    if kept is not None and (spelled := kept.spelled()):
        return Fitted(SpelledMessages(head, spelled, new), 0, tokens)
    return Fitted((*head, *chain.from_iterable(map(_messages_of, turns)), *new), 0, tokens)


def _sum_of_known(turns: Sequence[Turn]) -> int:
    """The size of *turns*; 0 when that of one is not known."""
    sizes = [*map(_tokens_of, turns)]
    return 0 if 0 in sizes else sum(sizes)


def _oldest(turns: Sequence[Turn]) -> Sequence[Message]:
    """The first message of *turns*; none as well where nothing in its turn's JSON is a tool's result."""
    if not turns or (isinstance(turns, KeptTurns) and not any(word in turns.said[0] for word in _RESULT_WORDS)):
        return ()
    return turns[0].messages[:1]


def fit(
    context: Context,
    new: Sequence[Message],
    *,
    system: Message | None,
    budget: int,
    context_budget: int,
    counter: TokenCounter,
) -> Fitted:
    """The system message (*system*, else the stored one), the turns that fit, and *new*, in this order.

    *budget* (the model's window less the reply reserve) bounds everything, *context_budget* the earlier turns
    by themselves, both in tokens. Turns whose last call *new* answers belong to *new*: they are kept whatever
    *context_budget* says, and their texts may be cut.

    ContextLengthError, with the numbers, when what cannot be cut is over *budget*.
    """
    first = system if system is not None else context.system
    head = () if first is None else (first,)
    units, orphans = _units(context.turns, counter)
    if units and new and _answers_call(new[0]):
        new = (*units.pop().messages, *new)
    room = budget - TOKENS_FOR_REPLY - sum(count_message(m, counter) for m in head)
    last, tokens, cuts = _cut_to(new, room, counter)
    kept = _kept(units, min(context_budget, room - tokens))
    earlier = [message for unit in kept for message in unit.messages]
    return Fitted(
        messages=(*head, *earlier, *last),
        left_out=orphans + sum(len(unit.messages) for unit in units) - len(earlier) + cuts,
        tokens=budget - room + tokens + sum(unit.tokens for unit in kept),
    )


def _answers_call(message: Message) -> bool:
    return message.get("role") in RESULT_ROLES


def _units(turns: Iterable[Turn], counter: TokenCounter) -> tuple[list[_Unit], int]:
    """*turns* in units, and how many messages had to go because the call they answer is no longer there."""
    units: list[_Unit] = []
    orphans = 0
    for turn in turns:
        # A turn that was rebuilt from history comes without its size.
        unit = _Unit(turn.messages, turn.tokens or sum(count_message(m, counter) for m in turn.messages))
        if not (turn.messages and _answers_call(turn.messages[0])):
            units.append(unit)
        elif units:
            before = units.pop()
            units.append(_Unit(before.messages + unit.messages, before.tokens + unit.tokens))
        else:
            orphans += len(turn.messages)
    return units, orphans


def _kept(units: Sequence[_Unit], room: int) -> Sequence[_Unit]:
    """Those of *units* that stay: the first and as many of the newest as fit, without the first if it must be."""
    if not units:
        return units
    first, rest = units[0], units[1:]
    beside_first = _newest(rest, room - first.tokens)
    if first.tokens <= room and (beside_first or not rest):
        return [first, *beside_first]
    return _newest(rest, room)


def _newest(units: Sequence[_Unit], room: int) -> Sequence[_Unit]:
    start = len(units)
    while start and units[start - 1].tokens <= room:
        start -= 1
        room -= units[start].tokens
    return units[start:]


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that may be cut: a message's content (*part* is None) or one of its parts."""

    message: int
    part: int | None
    text: str
    tokens: int


def _cut_to(messages: Sequence[Message], room: int, counter: TokenCounter) -> tuple[Sequence[Message], int, int]:
    """*messages* within *room* tokens, their size, and how many texts had to be cut for it."""
    size = sum(count_message(m, counter) for m in messages)
    if size <= room:
        return messages, size, 0
    texts = list(_texts(messages, counter))
    uncut = size - sum(text.tokens for text in texts)
    level = _level([text.tokens for text in texts], room - uncut)
    if level < LEAST_TOKENS:
        least = uncut + sum(min(text.tokens, LEAST_TOKENS) for text in texts)
        raise ContextLengthError(
            f"The new messages need at least {least} tokens; the model's window leaves {max(room, 0)} for them "
            "beside the system message and the reply.",
            param="messages",
        )
    changed = [dict(message) for message in messages]
    longer = [text for text in texts if text.tokens > level]
    for text in longer:
        _put(changed[text.message], text.part, counter.cut_middle(text.text, level))
    return changed, sum(count_message(m, counter) for m in changed), len(longer)


def _texts(messages: Sequence[Message], counter: TokenCounter) -> Iterable[_Text]:
    for index, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") in SYSTEM_ROLES:
            continue
        if isinstance(content, str):
            yield _Text(index, None, content, counter.count(content))
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield _Text(index, number, part["text"], counter.count(part["text"]))


def _level(sizes: Sequence[int], spare: int) -> int:
    """Cut at this height, the longest *sizes* lose first and all are *spare* together; 0 when that cannot be."""
    shorter = 0
    for size, longer in zip(sorted(sizes), range(len(sizes), 0, -1), strict=True):
        level = (spare - shorter) // longer
        if size > level:
            return max(level, 0)
        shorter += size
    return 0


def _put(message: dict[str, Any], part: int | None, text: str) -> None:
    if part is None:
        message["content"] = text
    else:
        parts = list(message["content"])
        parts[part] = {**parts[part], "text": text}
        message["content"] = parts
