"""CONTRACTS C3's middle-out on the OpenAI path: what is sent fits the window, what is kept is what was said."""

from __future__ import annotations

import pytest

from streamproxy.tokenizer import DEFAULT_ENCODING, SHIPPED, EncodingCounter, read_encoding
from tests.e2e.conftest import Launch, Speak
from tests.e2e.server import Server
from tests.e2e.talk import acknowledge, ask, newest, system, told
from tests.support.upstream import ScriptedUpstream


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    """Its model is in no table: the window is 8,192 tokens."""
    return launch()


@pytest.fixture(scope="module")
def counter() -> EncodingCounter:
    """tiktoken itself, with the encoding that stands for models nobody knows."""
    return EncodingCounter(read_encoding(DEFAULT_ENCODING, SHIPPED))


def text_of(count: int, what: str, counter: EncodingCounter) -> str:
    """Numbered sentences about *what* of *count* tokens or a few more."""
    sentences: list[str] = []
    size = 0
    while size < count:
        # The space stands in front, where the encoding makes it a part of the word.
        sentences.append(f" Sentence {len(sentences)} of the {what} says 你好 and café 🙂.")
        size += counter.count(sentences[-1])
    return "".join(sentences)


async def test_twelve_thousand_tokens_are_sent_as_seven_to_eight_thousand_and_kept_whole(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    upstream.script(acknowledge())
    (person,) = await server.people(1)
    original = text_of(12_000, "report", counter)
    assert 11_900 <= counter.count(original) <= 12_100
    answer = await ask(speak(server, person), original, "long")
    assert answer.head.get("X-Context-Truncated") == "1"
    sent = newest(upstream.requests[0])
    assert 7_000 <= counter.count(sent) <= 8_000
    head = next(i for i, (a, b) in enumerate(zip(sent, original, strict=False)) if a != b)
    assert original.endswith(sent[head:])
    assert 0.4 < head / len(sent) < 0.6
    await server.usage(person)
    assert (await server.history(person))[0]["message"]["content"] == original


async def test_what_fits_is_sent_as_it_is(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    upstream.script(acknowledge())
    (person,) = await server.people(1)
    original = text_of(5_000, "report", counter)
    answer = await ask(speak(server, person), original, "short")
    assert answer.head.get("X-Context-Truncated") is None
    assert newest(upstream.requests[0]) == original


async def test_a_long_conversation_is_sent_within_the_window_with_its_system_message_and_newest_turn(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    """Its middle turns leave, whole, and the answer says how many messages that were."""
    upstream.script(acknowledge())
    (person,) = await server.people(1)
    client = speak(server, person)
    questions = [text_of(500, f"part {number}", counter) for number in range(8)]
    instruction = system("Be brief.")
    await ask(client, "", "chat", messages=[instruction, {"role": "user", "content": questions[0]}])
    for question in questions[1:]:
        answer = await ask(client, question, "chat")
    sent = told(upstream.requests[-1])
    left_out = int(answer.head.get("X-Context-Truncated") or "missing")
    assert left_out == 16 - 1 + 1 - len(sent)
    assert left_out % 2 == 0
    assert sum(counter.count(message["content"]) for message in sent) <= 8_192 - 1_024
    assert sent[0] == instruction
    assert [sent[1]["content"], sent[-3]["content"], sent[-1]["content"]] == [questions[0], *questions[-2:]]


async def test_what_may_not_be_cut_and_does_not_fit_is_refused(
    server: Server, speak: Speak, upstream: ScriptedUpstream, counter: EncodingCounter
) -> None:
    (person,) = await server.people(1)
    instruction = system(text_of(9_000, "rules", counter))
    answer = await ask(speak(server, person), "", "chat", messages=[instruction, {"role": "user", "content": "Well?"}])
    assert answer.status == 400
    assert answer.json["error"]["code"] == "context_length_exceeded"
    assert not upstream.requests
    upstream.script(acknowledge())
    await ask(speak(server, person), "And now?", "chat")
    assert [message["content"] for message in told(upstream.requests[0])] == ["And now?"]
