"""Workers that die, again and again: what was counted stays, what was said of the dead goes, files do not pile up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORKER = r"""
import os, signal, sys
from streamproxy.metrics import Metrics
from streamproxy.domain.streams import EndReason
metrics = Metrics()
metrics.watch(running=lambda: 3, redis_available=lambda: True)
for _ in range(int(sys.argv[1])):
    metrics.decided("admitted")
text = metrics.exposition().decode()
print(text, flush=True)
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "waits":
    sys.stdin.read()
    print("=== again\n" + metrics.exposition().decode(), flush=True)
metrics.close()
"""


def _start(folder: Path, end: str, count: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(count), end],
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(folder: Path, end: str) -> str:
    return _start(folder, end).communicate(timeout=60)[0]


def _value(text: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_a_worker_that_ends_leaves_its_counts_and_takes_its_gauges(tmp_path: Path, end: str) -> None:
    """Four workers after another: the counter goes on, one runs, and the files are one worker's."""
    for number in range(1, 5):
        text = _told(tmp_path, end)
        assert _value(text, "streamproxy_limit_decisions_total") == number
        assert _value(text, "streamproxy_streams_running") == 3
        assert _value(text, "streamproxy_workers ") == 1
    assert {path.stem.rpartition("_")[2] for path in tmp_path.glob("*.db")} == {"0"}


def _waiting(folder: Path) -> subprocess.Popen[str]:
    """A worker that has counted, and will speak again when its standard input ends."""
    worker = _start(folder, "waits")
    assert worker.stdout is not None
    while not (line := worker.stdout.readline()).startswith("streamproxy_workers "):
        assert line, "the worker ended before it had spoken"
    return worker


def test_a_worker_does_not_count_the_streams_of_a_killed_one(tmp_path: Path) -> None:
    """Two at once are told apart; when the first is killed the second, asked again, knows it is alone."""
    first, second = _waiting(tmp_path), _waiting(tmp_path)
    assert _value(_told(tmp_path, "closed"), "streamproxy_streams_running") == 9
    first.kill()
    first.communicate()
    text = second.communicate(timeout=60)[0].partition("=== again")[2]
    assert _value(text, "streamproxy_streams_running") == 3
    assert _value(text, "streamproxy_workers ") == 1
    assert _value(text, "streamproxy_limit_decisions_total") == 3
