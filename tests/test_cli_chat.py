"""streamproxy chat on a real terminal, against a real server and a scripted upstream."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from streamproxy.cli.terminal.screen import plain, settled
from tests.browser.network import Network
from tests.browser.speech import TwoParts, speak, words
from tests.e2e.facts import until
from tests.e2e.launching import Launch
from tests.e2e.server import Person, Server
from tests.support.steps import done, drop, finish, gate, say, stall
from tests.support.terminal import CTRL_C, CTRL_D, Terminal
from tests.support.upstream import ScriptedUpstream

Open: TypeAlias = Callable[..., Terminal]


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(AUTH__GUEST="true", LIMITS__REQUESTS="3/4s")


@pytest.fixture
def chat(server: Server, tmp_path: Path) -> Open:
    """``chat(person, "--session", …, port=…)``: the command on a terminal; without a person it is a guest."""

    def begin(person: Person | None, *arguments: str, port: int = server.port) -> Terminal:
        url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "SP_TOKEN": person.bearer if person else ""}
        return Terminal([sys.executable, "-m", "streamproxy", "chat", "--url", url, *arguments], environment)

    return begin


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("One par", ""),
        ("One.\n\nTwo", "One.\n\n"),
        ("One.\n\n```py\nx = 1\n\ny", "One.\n\n"),
        ("```py\nx = 1\n\ny = 2\n```\n\nand", "```py\nx = 1\n\ny = 2\n```\n\n"),
    ],
)
def test_only_whole_blocks_outside_of_code_are_settled(text: str, whole: str) -> None:
    assert text[: settled(text)] == whole


def test_text_that_steers_a_terminal_is_taken_out() -> None:
    assert plain("a\x1b[31mb\x07\u202ec\n\td\x9be👩\u200d🚀") == "a[31mbc\n\tde👩\u200d🚀"


async def test_an_answer_is_shown_while_the_upstream_is_still_speaking(
    server: Server, chat: Open, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    parts = TwoParts()
    upstream.once(*parts.script())
    async with chat(person) as terminal:
        await terminal.until("> ")
        terminal.type(b"Talk to me.\n")
        await terminal.until(parts.first[-1].strip())
        assert upstream.running == 1
        parts.go_on()
        await terminal.until(parts.second[-1].strip())
        await terminal.until("tokens")
        await terminal.until("> ", times=2)
        terminal.type(CTRL_D)
        await terminal.until("streamproxy chat --session ")
        assert await terminal.ended() == 0


async def test_ctrl_c_stops_the_answer_at_the_upstream_and_the_talk_goes_on(
    server: Server, chat: Open, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    upstream.once(say("Well, let me think."), stall())
    async with chat(person, "--session", "thinking") as terminal:
        await terminal.until("> ")
        terminal.type(b"Why?\n")
        await terminal.until("let me think.")
        terminal.type(CTRL_C)
        await (await upstream.request()).left
        await terminal.until("stopped")
        await terminal.until("> ", times=2)
        terminal.type(b"again\n")
        await terminal.until("again")
        request = await upstream.request()
        said = [message["content"] for message in request.json["messages"]]
        assert said == ["Why?", "Well, let me think.", "again"]


async def test_a_lost_connection_costs_no_word(server: Server, chat: Open, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    network, cut = Network(server.port), asyncio.Event()
    await network.start()
    upstream.once(speak(words(5, "first"), 0), gate(cut), speak(words(5, "last")), finish(), done())
    async with chat(person, "Talk.", port=network.port) as terminal:
        await terminal.until("first5")
        await network.cut()
        await terminal.until("is being restored")
        cut.set()
        await (await upstream.request()).left
        network.mend()
        assert await terminal.ended() == 0
        for word in (*words(5, "first"), *words(5, "last")):
            assert word.strip() in terminal.text
    await network.stop()


async def test_a_second_ctrl_c_leaves_an_answer_that_cannot_be_stopped(
    server: Server, chat: Open, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    network = Network(server.port)
    await network.start()
    upstream.once(say("Well, let me think."), gate(asyncio.Event()))
    async with chat(person, port=network.port) as terminal:
        await terminal.until("> ")
        terminal.type(b"Why?\n")
        await terminal.until("let me think.")
        await network.cut()
        await terminal.until("is being restored")
        terminal.type(CTRL_C)
        await terminal.until("once more leaves")
        terminal.type(CTRL_C)
        await terminal.until("goes on without you")
        await terminal.until("> ", times=2)
        terminal.type(CTRL_D)
        assert await terminal.ended() == 0
        assert "Traceback" not in terminal.text
    await network.stop()


async def test_a_token_that_is_typed_is_not_shown(server: Server, chat: Open, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    async with chat(None, "--token-stdin", "typed-token") as terminal:
        await terminal.until("Token: ")
        terminal.type(f"{person.bearer}\n".encode())
        assert await terminal.ended() == 0
        assert "typed-token" in terminal.text
        assert person.bearer not in terminal.text


async def test_a_terminal_that_was_closed_in_mid_answer_goes_on_where_the_session_is(
    server: Server, chat: Open, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (person,) = await server.people(1)
    parts = TwoParts()
    upstream.once(*parts.script())
    async with chat(person, "--session", "monday") as terminal:
        await terminal.until("> ")
        terminal.type(b"Talk to me.\n")
        await terminal.until(parts.first[-1].strip())
    async with chat(person, "--session", "monday") as terminal:
        await terminal.until(parts.first[-1].strip())
        parts.go_on()
        await terminal.until(parts.second[-1].strip())
        await terminal.until("tokens")
    notes = tmp_path / "streamproxy"
    assert await until(lambda: not any(notes.iterdir()), "nothing is unfinished")


async def test_a_session_is_shown_again_and_continued(server: Server, chat: Open, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    async with chat(person, "--session", "tuesday", "first-question") as terminal:
        assert await terminal.ended() == 0
    async with chat(person, "--session", "tuesday") as terminal:
        await terminal.until("> first-question\nfirst-question")


async def test_who_asks_too_often_is_told_and_answered_when_it_is_time(
    server: Server, chat: Open, upstream: ScriptedUpstream
) -> None:
    (person,) = await server.people(1)
    async with chat(person) as terminal:
        for number in range(4):
            await terminal.until("> ", times=number + 1)
            terminal.type(f"question-{number}\n".encode())
            if number == 3:
                await terminal.until("It goes on in ")
            await until(lambda n=number: len(upstream.requests) == n + 1, "it was answered", 15)  # type: ignore[misc]


async def test_a_broken_answer_is_said_to_be_broken(server: Server, chat: Open, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    upstream.once(say("Well,"), drop())
    async with chat(person, "Talk.") as terminal:
        assert await terminal.ended() == 1
        assert "Well," in terminal.text
        assert "Error: " in terminal.text
        assert "Traceback" not in terminal.text


async def test_a_guest_needs_no_token(chat: Open, upstream: ScriptedUpstream) -> None:
    async with chat(None, "hello-guest") as terminal:
        assert await terminal.ended() == 0
        assert "hello-guest" in terminal.text


async def test_an_answer_cannot_take_over_the_terminal(server: Server, chat: Open, upstream: ScriptedUpstream) -> None:
    (person,) = await server.people(1)
    upstream.once(say("before\x1b]0;owned\x07\x1b[2J\x9b31m\x08\x08after"), finish(), done())
    async with chat(person, "Talk.") as terminal:
        assert await terminal.ended() == 0
    assert b"\x1b]0;" not in terminal.raw
    assert b"\x1b[2J" not in terminal.raw
    assert b"\x07" not in terminal.raw


async def test_a_wrong_token_and_an_absent_server_say_what_to_do(server: Server, chat: Open) -> None:
    async with chat(Person("", "", "sk-sp-wrong"), "Talk.") as terminal:
        assert await terminal.ended() == 1
        assert "Error: " in terminal.text
    async with chat(None, "Talk.", port=1) as terminal:
        assert await terminal.ended() == 1
        assert "No server answers at http://127.0.0.1:1" in terminal.text


async def test_in_a_pipe_the_answer_is_the_text_and_nothing_else(
    server: Server, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """The token comes first; the file gets what the model said."""
    (person,) = await server.people(1)
    upstream.once(say("# A title\n\n"), say("and *text*"), finish(), done())
    url = f"http://127.0.0.1:{server.port}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streamproxy", "chat", "--url", url, "--token-stdin", "Talk."),
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(f"{person.bearer}\n".encode())
    assert (process.returncode, printed.decode()) == (0, "# A title\n\nand *text*\n")
