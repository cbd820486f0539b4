"""A process that dies is started again at once; one that keeps dying is given longer and longer pauses."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from streamproxy.supervisor import LONGEST_PAUSE_SECONDS, pause_after
from tests.e2e.facts import until

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
