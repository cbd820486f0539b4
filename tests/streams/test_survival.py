"""Whatever happens to workers and Redis, a reader gets every event once, in order, and one ending.

Programs are made by Hypothesis and run on real workers, a real Redis and a real upstream. Short here; ``make soak``
runs as many as SOAK_EXAMPLES says.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tornado.ioloop import IOLoop

from tests.e2e.launching import Launch
from tests.e2e.server import Person, Server
from tests.streams.arena import SETTINGS, WORKERS, Arena
from tests.streams.generation import Generation
from tests.streams.reader import Reader
from tests.support.upstream import ScriptedUpstream

PROGRAMS = int(os.environ.get("SOAK_EXAMPLES", "5"))
STEPS = 12
# Each of them takes seconds.
MOST_FAULTS = 3
MOST_READERS = 6

workers = st.integers(0, WORKERS - 1)
indices = st.integers(0, 99)


class Survival(RuleBasedStateMachine):
    """Two generations, one on each worker; what harms one must not be noticed in the other."""

    server: Server
    person: Person
    upstream: ScriptedUpstream
    loop: IOLoop

    def __init__(self) -> None:
        super().__init__()
        self.faults = 0
        self.arena: Arena

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_sync(lambda: coroutine, timeout=120)

    def generation(self, index: int) -> Generation:
        return self.arena.generations[index % len(self.arena.generations)]

    def reader(self, index: int) -> Reader:
        return self.arena.readers[index % len(self.arena.readers)]

    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed: int) -> None:
        self.arena = Arena(self.server, self.upstream, self.person, random=Random(seed))
        for worker in range(WORKERS):
            self.run(self.arena.begin(worker))

    @rule(index=indices, count=st.integers(1, 90))
    def say(self, index: int, count: int) -> None:
        generation = self.generation(index)
        if not generation.over:
            generation.say(count)

    @rule(index=indices, worker=workers)
    def read(self, index: int, worker: int) -> None:
        if len(self.arena.readers) < MOST_READERS:
            self.run(self.arena.read(self.generation(index), worker))

    @precondition(lambda self: self.arena.readers)
    @rule(index=indices, worker=workers)
    def drop_and_resume(self, index: int, worker: int) -> None:
        reader = self.reader(index)
        self.run(reader.pause(0.15))
        if not reader.over:
            reader.drop()
            self.run(reader.pause(1))
            self.run(self.arena.resume(reader, worker))

    @rule(index=indices)
    def end(self, index: int) -> None:
        self.generation(index).end()

    @rule(index=indices, worker=workers)
    def cancel(self, index: int, worker: int) -> None:
        generation = self.generation(index)
        if not generation.over:
            self.run(self.arena.cancel(generation, worker))

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule(worker=workers)
    def kill_a_worker(self, worker: int) -> None:
        self.faults += 1
        self.run(self.arena.kill(worker))

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule(worker=workers)
    def suspend_a_worker(self, worker: int) -> None:
        self.faults += 2
        self.run(self.arena.suspend(worker))

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule()
    def empty_redis(self) -> None:
        self.faults += 1
        self.run(self.arena.empty_redis())

    @precondition(lambda self: self.faults < MOST_FAULTS)
    @rule()
    def pause_redis(self) -> None:
        self.faults += 1
        self.run(self.arena.pause_redis())

    @rule()
    def cut_connections(self) -> None:
        self.run(self.arena.cut_connections())

    @rule(index=indices)
    def roll_back(self, index: int) -> None:
        self.run(self.arena.roll_back(self.generation(index)))

    def teardown(self) -> None:
        if hasattr(self, "arena"):
            try:
                self.run(self.arena.conclude())
            finally:
                self.run(self.arena.close())
                self.run(self.arena.recover())
            self.server.check_log()


@pytest.fixture(scope="module")
def server(launch: Launch) -> Server:
    return launch(workers=WORKERS, port_per_worker=True, **SETTINGS)


@pytest.fixture
def machine(io_loop: IOLoop, server: Server, upstream: ScriptedUpstream) -> type[Survival]:
    (person,) = io_loop.run_sync(lambda: server.people(1))
    return type("Survival", (Survival,), {"server": server, "person": person, "upstream": upstream, "loop": io_loop})


@pytest.mark.timeout(36_000)
def test_every_reader_gets_every_event_once_and_one_ending(machine: type[Survival]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=PROGRAMS,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            # A program takes seconds: what was found is printed as it is, not shrunk.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
