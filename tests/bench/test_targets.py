"""A target that is not measured just now takes no time from one that is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil  # type: ignore[import-untyped]
import pytest

from tests.bench.targets.target import Target
from tests.support.processes import wait_until

# A parent and a child, both busy for ever; it tells when both are.
_BUSY = """
import os
os.fork()
os.write(1, b"1")
while True:
    pass
"""


@pytest.fixture
def busy() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, bufsize=0) as started:
        tree = [psutil.Process(started.pid)]
        try:
            assert started.stdout is not None
            assert started.stdout.read(1) + started.stdout.read(1) == b"11"
            tree += tree[0].children()
            yield started.pid
        finally:
            for process in tree:
                process.kill()


def test_a_target_that_is_held_works_no_more_until_it_goes_on(busy: int) -> None:
    target, processes = Target("busy", 0, (busy,)), [psutil.Process(busy), *psutil.Process(busy).children()]
    assert len(processes) == 2

    def stopped() -> list[bool]:
        return [process.status() == psutil.STATUS_STOPPED for process in processes]

    # Each stops when it is next looked at by the kernel.
    target.hold()
    wait_until(lambda: all(stopped()), "both are stopped", 10)
    target.go_on()
    assert not any(stopped())
