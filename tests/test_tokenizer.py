"""The tokenizer: exact with the shipped tables, cautious without, never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from streamproxy.domain.sessions import Message
from streamproxy.domain.tokens import TokenCounter, count_message
from streamproxy.tokenizer import (
    LONG_TEXT,
    SHIPPED,
    EncodingCounter,
    EstimatingCounter,
    Tokenizer,
    read_encoding,
)

CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
# Text whose characters are split over several tokens, so that a cut between tokens can fall inside one.
TEXTS = st.text(st.sampled_from("a b\n.é世界𠮷🏳️‍🌈👨‍👩‍👧‍👦ก🇨🇳") | st.characters(exclude_categories=["Cs"]), max_size=120)
ORDINARY = {
    "english": "You may reproduce and distribute copies of the Work, in any medium, with or without changes.",
    "code": "for (int i = 0; i < count; i++) {\n    total += prices[i] * 1.19;  // tax\n}\n",
    "json": '{"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"choices":[{"index":0}]}',
    "chinese": "人工智能正在改变我们的生活方式。今天天气很好,我们去公园散步吧!",
    "russian": "Все люди рождаются свободными и равными в своём достоинстве и правах.",
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი",
    "emoji": "😀 🎉 👨‍👩‍👧‍👦 🇨🇳 ❤️",
    "numbers": "3.14159265 2.71828182 1618033988 -273.15 6.022e23",
}


@pytest.fixture(autouse=True)
def shipped_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the tables that are shipped, whatever the developer's environment says."""
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)


@pytest.fixture(scope="module", params=["cl100k_base", "o200k_base"])
def exact(request: pytest.FixtureRequest) -> EncodingCounter:
    return EncodingCounter(read_encoding(request.param, SHIPPED))


@pytest.fixture(scope="module", params=["cl100k_base", "o200k_base", "estimate"])
def any_counter(request: pytest.FixtureRequest) -> TokenCounter:
    return (
        EstimatingCounter() if request.param == "estimate" else EncodingCounter(read_encoding(request.param, SHIPPED))
    )


class Machine:
    """Counters of a Tokenizer, and what was read and warned about for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[tuple[str, bool]] = []

        def recorded(name: str, folder: Path) -> tiktoken.Encoding:
            self.read.append((name, threading.current_thread() is threading.main_thread()))
            return read_encoding(name, folder)

        monkeypatch.setattr("streamproxy.tokenizer.read_encoding", recorded)


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base", "o200k_harmony"])
def test_the_shipped_tables_encode_as_tiktoken_itself_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(SHIPPED))
    theirs = tiktoken.get_encoding(name)
    ours = read_encoding(name, SHIPPED)
    for text in ORDINARY.values():
        assert ours.encode_ordinary(text) == theirs.encode_ordinary(text)


async def test_counting_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("somebody tried to connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    tokenizer = Tokenizer()
    assert (await tokenizer.counter("gpt-4o")).count("hello world") == 2
    assert (await tokenizer.counter("davinci")).count("hello world") >= 2


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-5-nano", "o200k_base"),
        ("gpt-oss-20b", "o200k_harmony"),
        ("demo", "o200k_base"),
        ("deepseek-chat", "o200k_base"),
        ("", "o200k_base"),
    ],
)
async def test_a_model_has_the_encoding_of_tiktokens_table_and_an_unknown_one_o200k_base(
    model: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    await Tokenizer().counter(model)
    assert [name for name, _ in machine.read] == [encoding]


async def test_an_encoding_is_loaded_once_and_off_the_loop_for_all_who_ask_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    tokenizer = Tokenizer()
    counters = await asyncio.gather(*(tokenizer.counter(f"model-{n}") for n in range(16)))
    assert len({id(counter) for counter in counters}) == 1
    assert machine.read == [("o200k_base", False)]


async def test_a_caller_who_leaves_does_not_take_the_loading_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    tokenizer = Tokenizer()
    leaving = asyncio.ensure_future(tokenizer.counter("gpt-4"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await tokenizer.counter("gpt-4")).count("hello world") == 2
    assert leaving.cancelled()
    assert len(machine.read) == 1


async def test_a_missing_table_is_estimated_with_one_warning_for_its_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokenizer = Tokenizer()
    for model in ("gpt-4", "gpt-4", "gpt-3.5-turbo"):
        assert isinstance(await tokenizer.counter(model), EstimatingCounter)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "cl100k_base" in warnings[0].getMessage()
    assert str(tmp_path) in warnings[0].getMessage()
    caplog.clear()


async def test_a_damaged_table_is_not_used_and_not_touched(tmp_path: Path) -> None:
    damaged = (SHIPPED / CL100K).read_bytes()[:-20]
    (tmp_path / CL100K).write_bytes(damaged)
    assert isinstance(await Tokenizer(tmp_path).counter("gpt-4"), EstimatingCounter)
    assert (tmp_path / CL100K).read_bytes() == damaged


async def test_the_cache_folder_of_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / CL100K).symlink_to(SHIPPED / CL100K)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokenizer = Tokenizer()
    assert isinstance(await tokenizer.counter("gpt-4"), EncodingCounter)
    assert isinstance(await tokenizer.counter("gpt-4o"), EstimatingCounter)


def test_a_special_tokens_spelling_is_ordinary_text(exact: EncodingCounter) -> None:
    assert exact.count("<|endoftext|>") > 1
    assert exact.cut_middle("<|endoftext|>" * 50, 20).startswith("<|endo")


@pytest.mark.parametrize("text", [" " * 1_000_000 + "x", " " * 1_000_000, "\ud800" * 10], ids=["spaces", "end", "half"])
def test_text_that_tiktoken_stumbles_over_is_counted(exact: EncodingCounter, text: str) -> None:
    """A million spaces in one piece make it panic; half a surrogate pair is no UTF-8."""
    assert exact.count(text) > 0
    assert exact.count(exact.cut_middle(text, 4)) <= 4


@pytest.mark.parametrize("kind", ORDINARY)
def test_an_estimate_is_never_under_on_ordinary_text(exact: EncodingCounter, kind: str) -> None:
    assert EstimatingCounter().count(ORDINARY[kind]) >= exact.count(ORDINARY[kind])


@given(text=TEXTS, budget=st.integers(-1, 60))
def test_a_cut_is_head_and_tail_of_the_text_and_fits(any_counter: TokenCounter, text: str, budget: int) -> None:
    cut = any_counter.cut_middle(text, budget)
    if any_counter.count(text) <= budget:
        assert cut == text
        return
    assert any_counter.count(cut) <= max(budget, 0)
    assert any(text.startswith(cut[:n]) and text.endswith(cut[n:]) for n in range(len(cut) + 1))
    assert cut.count("\ufffd") <= text.count("\ufffd")


@pytest.mark.parametrize("budget", [10, 11])
def test_the_head_gets_the_odd_token(exact: EncodingCounter, budget: int) -> None:
    words = [f" {word}" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")]
    assert [exact.count(word) for word in words] == [1] * 10
    text = "".join(words * 5)
    half = budget // 2
    assert exact.cut_middle(text, budget) == "".join([*words[: budget - half], *words[10 - half :]])


def test_a_cut_keeps_nearly_all_that_the_budget_allows(exact: EncodingCounter) -> None:
    text = "The quick brown fox 世界 jumps over 13 lazy dogs. " * 1000
    assert 7000 <= exact.count(exact.cut_middle(text, 7010)) <= 7010


@pytest.mark.parametrize(("size", "on_loop"), [(LONG_TEXT, True), (LONG_TEXT + 1, False)])
def test_only_long_texts_are_counted_in_a_thread(io_loop: IOLoop, size: int, on_loop: bool) -> None:
    async def threads() -> list[threading.Thread]:
        text = "x" * size
        return [
            await Tokenizer().off_loop(size, threading.current_thread),
            await Tokenizer().off_loop(text, threading.current_thread),
            await Tokenizer().off_loop([{"role": "user", "content": text}], threading.current_thread),
        ]

    assert {thread is threading.main_thread() for thread in io_loop.run_sync(threads)} == {on_loop}


@pytest.mark.parametrize("more", [None, {"role": "user", "name": "me", "content": [{"type": "text", "text": "Hi"}]}])
@pytest.mark.parametrize(("length", "on_loop"), [(LONG_TEXT, True), (LONG_TEXT + 1, False)])
def test_a_prompt_is_as_large_as_its_messages(
    io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch, length: int, on_loop: bool, more: Message | None
) -> None:
    """On both sides of what is long, and where one message is more than role and text."""
    unusual = [] if more is None else [more]
    said = length - len(unusual) * len("Hime")
    messages: list[Message] = [
        {"role": "user", "content": "x" * (said - 2)},
        {"role": "user", "content": "yz"},
        *unusual,
    ]
    threads = set()
    encode = EncodingCounter.count

    def count(counter: EncodingCounter, text: str) -> int:
        threads.add(threading.current_thread() is threading.main_thread())
        return encode(counter, text)

    async def size() -> int:
        return await Tokenizer().size("gpt-4o", messages)

    monkeypatch.setattr(EncodingCounter, "count", count)
    found = io_loop.run_sync(size)
    assert threads == {on_loop}
    counter = EncodingCounter(read_encoding("o200k_base", SHIPPED))
    assert found == sum(count_message(message, counter) for message in messages)
