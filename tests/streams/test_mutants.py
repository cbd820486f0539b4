"""The test of the survival test: each mutant takes one guard away, and the same promise has to break.

The programs are fixed ones of what the state machine does at random; without a mutant they pass.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from tests.e2e.facts import until
from tests.e2e.server import Server
from tests.streams import arena
from tests.streams.arena import LEASE_SECONDS, SETTINGS, WORKERS, Arena
from tests.streams.mutants import MUTANTS
from tests.streams.reader import Reader
from tests.support.redis_server import RedisServer
from tests.support.upstream import ScriptedUpstream


class MutantServer(Server):
    """``serve`` through ``tests.streams.mutants``."""

    mutant = "none"

    @property
    def _command(self) -> list[str]:
        _, _, _, *rest = super()._command
        return [sys.executable, "-m", "tests.streams.mutants", self.mutant, *rest]


@contextmanager
def served(folder: Path, upstream: socket.socket, mutant: str) -> Iterator[Server]:
    folder.mkdir()
    store = RedisServer(folder)
    server = MutantServer(
        folder,
        upstream=f"http://127.0.0.1:{upstream.getsockname()[1]}/v1",
        redis_server=store,
        workers=WORKERS,
        port_per_worker=True,
        settings=SETTINGS,
    )
    server.mutant = mutant
    store.start()
    try:
        server.start()
        yield server
    finally:
        if server.running:
            server.process.kill()
            server.process.wait()
        store.stop()


async def has_seen(reader: Reader, count: int) -> None:
    await until(lambda: reader.position >= count or reader.over, f"{count} events are read")


async def the_owner_sleeps(run: Arena) -> None:
    """Others end its stream; then it wakes up and goes on."""
    generation = await run.begin(0)
    generation.say(5)
    await has_seen(await run.read(generation, 1), 5)
    await run.suspend(0)
    generation.say(5)


async def a_reader_comes_back_into_a_batch(run: Arena) -> None:
    generation = await run.begin(0)
    generation.say(30, at_once=True)
    await has_seen(await run.read(generation, 1), 30)
    await run.read(generation, 1, position=7)


async def the_newest_entry_is_lost(run: Arena) -> None:
    generation = await run.begin(0)
    generation.say(5)
    await has_seen(await run.read(generation, 1), 5)
    await run.roll_back(generation)
    generation.say(5)


async def the_owner_dies(run: Arena) -> None:
    generation = await run.begin(0)
    generation.say(5)
    await has_seen(await run.read(generation, 1), 5)
    await run.kill(0)


async def the_owner_dies_with_a_word_that_only_its_reader_has(run: Arena) -> None:
    generation = await run.begin(0)
    generation.say(5)
    reader = await run.read(generation, 0)
    await has_seen(await run.read(generation, 1), 5)
    with run.redis_stopped():
        generation.say(1)
        await has_seen(reader, 6)
        await run.kill(0)
    # The word may have been on its way already: Redis reads what a dead process has sent.
    await run.roll_back(generation, behind=5)


Program: TypeAlias = Callable[[Arena], Awaitable[None]]
# By mutant: a program that shows it, and what is found.
PROGRAMS: dict[str, tuple[Program, type[Exception], str]] = {
    "no-fence": (the_owner_sleeps, AssertionError, "different endings"),
    "no-duplicate-filter": (a_reader_comes_back_into_a_batch, AssertionError, r"\.1 where 8 was due"),
    "no-gap-check": (the_newest_entry_is_lost, AssertionError, "event='gap'"),
    "no-reaper": (the_owner_dies, TimeoutError, "^$"),
    "next-number": (the_owner_dies_with_a_word_that_only_its_reader_has, AssertionError, "without an ending"),
}


async def play(server: Server, upstream: ScriptedUpstream, *programs: Program) -> None:
    (person,) = await server.people(1)
    for program in programs:
        run = Arena(server, upstream, person, random=Random(1))
        try:
            await program(run)
            await run.conclude()
            await run.recover()
        finally:
            await run.close()


def test_every_guard_has_its_program() -> None:
    assert set(PROGRAMS) == set(MUTANTS) - {"none"}


@pytest.mark.timeout(240)
@pytest.mark.gen_test(timeout=200)
async def test_with_all_guards_the_programs_pass(
    tmp_path: Path, upstream_socket: socket.socket, upstream: ScriptedUpstream
) -> None:
    with served(tmp_path / "server", upstream_socket, "none") as server:
        await play(server, upstream, *(program for program, _, _ in PROGRAMS.values()))


@pytest.mark.parametrize("mutant", PROGRAMS)
@pytest.mark.timeout(120)
@pytest.mark.gen_test(timeout=100)
async def test_a_missing_guard_is_noticed(
    tmp_path: Path,
    upstream_socket: socket.socket,
    upstream: ScriptedUpstream,
    mutant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, kind, words = PROGRAMS[mutant]
    if kind is TimeoutError:
        # A stream that never ends is found out when the bound is over.
        monkeypatch.setattr(arena, "BOUND", 6 * LEASE_SECONDS)
    with served(tmp_path / "server", upstream_socket, mutant) as server, pytest.raises(kind, match=words):
        await play(server, upstream, program)
