"""A process that dies is started again at once; one that keeps dying is given longer and longer pauses."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from streamproxy.supervisor import LONGEST_PAUSE_SECONDS, pause_after
from tests.e2e.facts import until, until_gone

DEATHS = 3
# Slots 0 and 1; the first writes down when it is born and dies of it *DEATHS* times, the other lives.
PROGRAM = f"""
import os, signal, sys, time
from streamproxy.log import setup_logging
from streamproxy.supervisor import Supervisor

def body(slot, ready):
    if slot == 0:
        with open(sys.argv[1], "a") as births:
            print(time.monotonic(), file=births)
        if sum(1 for _ in open(sys.argv[1])) <= {DEATHS}:
            raise ConnectionError("no way to sql://host?password=canary")
    ready()
    print(f"slot {{slot}} lives as {{os.getpid()}}", flush=True)
    signal.sigwait({{signal.SIGTERM}})

setup_logging("INFO", "text")
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
Supervisor(body, count=2, stop_seconds=5, tend=lambda: None, stopping=lambda: None).run()
"""


@pytest.mark.parametrize(("lives", "seconds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (6, 16), (7, 30), (10**6, 30)])
def test_pauses_grow_to_a_bound(lives: int, seconds: float) -> None:
    """Not the first time, which may have been bad luck; half a minute at most, for a remedy may come any time."""
    assert pause_after(lives) == seconds <= LONGEST_PAUSE_SECONDS


async def test_a_process_that_dies_at_each_start_is_given_pauses_and_the_log_says_so(tmp_path: Path) -> None:
    """The other one is left in peace, and all is well when the cause is gone."""
    births, out = tmp_path / "births", tmp_path / "out"
    with out.open("wb") as log:
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, births, stdout=log, stderr=log)
    try:
        await until(lambda: "slot 0 lives" in out.read_text(), "it lives", 30)
    finally:
        parent.send_signal(signal.SIGTERM)
        assert await parent.wait() == 0
    said = out.read_text()
    times = [float(line) for line in births.read_text().splitlines()]
    assert len(times) == DEATHS + 1
    pauses = [later - earlier for earlier, later in pairwise(times)]
    for pause, least in zip(pauses, map(pause_after, range(1, DEATHS + 1)), strict=True):
        assert pause >= least
    assert re.findall(r"worker (\d) ended with 1; starting it again (.*)", said) == [
        ("0", "at once"),
        ("0", "in 1 s"),
        ("0", "in 2 s"),
    ]
    assert said.count("slot 1 lives") == 1
    assert len(re.findall(r"worker 0 failed\n +Traceback", said)) == DEATHS
    assert "password=***" in said
    assert "canary" not in said


# One slot. Each process says when it is asked to stop, and ends after the second time, or after two seconds.
STOPPING = """
import os, signal, sys, time
from streamproxy.supervisor import Supervisor

def body(slot, ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print(f"{os.getpid()} lives", flush=True)
    if os.path.exists(sys.argv[1]):
        time.sleep(float(open(sys.argv[1]).read()))
    ready()
    print(f"{os.getpid()} is ready", flush=True)
    asked, deadline = 0, None
    while asked < 2 and (deadline is None or time.monotonic() < deadline):
        found = signal.sigtimedwait({signal.SIGTERM}, 0.05)
        if found is not None:
            asked += 1
            deadline = deadline or time.monotonic() + 2
            print(f"{os.getpid()} is asked", flush=True)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
Supervisor(body, count=1, stop_seconds=10, tend=lambda: None, stopping=lambda: None).run()
"""


class Family:
    """A parent with one slot, in a process group of its own, and what its processes say."""

    def __init__(self, folder: Path) -> None:
        self.delay, self._out = folder / "delay", folder / "out"
        with self._out.open("wb") as log:
            command = [sys.executable, "-c", STOPPING, str(self.delay)]
            self.parent = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def said(self, what: str) -> list[str]:
        return re.findall(rf"(\d+) {what}", self._out.read_text())

    async def lives(self, count: int) -> list[str]:
        await until(lambda: len(self.said("lives")) >= count, f"{count} have lived", 30)
        return self.said("lives")

    async def ended(self) -> None:
        assert await asyncio.to_thread(self.parent.wait, 20) == 0


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    found = Family(tmp_path)
    yield found
    if found.parent.poll() is None:
        os.killpg(found.parent.pid, signal.SIGKILL)
        found.parent.wait()


async def test_who_is_being_replaced_takes_the_end_of_all_for_no_second_request(family: Family) -> None:
    """The second one means: hurry."""
    (old,) = await family.lives(1)
    family.parent.send_signal(signal.SIGHUP)
    await until(lambda: family.said("is asked"), "the old one is asked to stop", 30)
    family.parent.send_signal(signal.SIGTERM)
    await family.ended()
    assert family.said("is asked").count(old) == 1


async def test_ctrl_c_is_heard_once(family: Family) -> None:
    """A terminal sends it to the whole group."""
    (only,) = await family.lives(1)
    os.killpg(family.parent.pid, signal.SIGINT)
    await family.ended()
    assert family.said("is asked") == [only]


async def test_a_second_signal_hurries_all(family: Family) -> None:
    (only,) = await family.lives(1)
    family.parent.send_signal(signal.SIGTERM)
    await until(lambda: family.said("is asked"), "it is asked to stop", 30)
    family.parent.send_signal(signal.SIGTERM)
    await family.ended()
    assert family.said("is asked") == [only, only]


async def test_one_that_dies_while_its_replacement_starts_gets_no_second_one(family: Family) -> None:
    (old,) = await family.lives(1)
    family.delay.write_text("1.5")
    family.parent.send_signal(signal.SIGHUP)
    await family.lives(2)
    os.kill(int(old), signal.SIGKILL)
    await until_gone(int(old), 10)
    await until(lambda: len(family.said("is ready")) == 2, "the replacement is ready", 30)
    family.parent.send_signal(signal.SIGTERM)
    await family.ended()
    assert len(family.said("lives")) == 2
