"""A worker has no file descriptor left: it takes nobody new, harms nobody who is there, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import resource

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Launch, Speak
from tests.e2e.facts import until
from tests.e2e.talk import acknowledged, ask
from tests.faults.counting import count_until, open_count
from tests.support.upstream import ScriptedUpstream

SPARE = 10
CROWD = 60
PACE = 0.05


@pytest.mark.gen_test(timeout=90)
async def test_a_worker_without_descriptors_goes_on_and_recovers(
    launch: Launch, speak: Speak, upstream: ScriptedUpstream
) -> None:
    """Running streams end well; the crowd waits in the kernel's queue, without a line of the log for each of them."""
    server = launch()
    (person,) = await server.people(1)
    over = asyncio.Event()
    upstream.script(count_until(over, pace=PACE))
    running = [await open_count(speak(server, person)) for _ in range(4)]
    heads = [await stream.head() for stream in running]
    assert {head.status for head in heads} == {200}
    (pid,) = server.worker_pids()
    worker = psutil.Process(pid)
    limits = worker.rlimit(resource.RLIMIT_NOFILE)
    # The highest number in use, not their count, is what the limit is about.
    highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
    worker.rlimit(resource.RLIMIT_NOFILE, (highest + SPARE, limits[1]))
    crowd = speak(server, person)
    connections = [await crowd.connect() for _ in range(CROWD)]
    await until(lambda: "no file descriptor" in server.log(), "the worker says so")
    before = sum(worker.cpu_times()[:2])
    await asyncio.sleep(2)
    assert sum(worker.cpu_times()[:2]) - before < 1, "it asks again and again"
    over.set()
    for stream in running:
        while piece := await stream.piece():
            last = piece
        assert last.endswith(b"data: [DONE]\n\n")
    for connection in connections:
        connection.leave()

    async def answered() -> bool:
        return (await ask(speak(server, person), "Well?")).text() == acknowledged("Well?")

    await until(answered, "questions are answered again", 15)
    assert server.log().count("no file descriptor") < CROWD
    server.check_log()
