"""``make calls``: how many calls one request costs, Python's and C's, and for whom they were made.

The time of a request is spread over all of its calls, none of which is large: their number says what it costs, and
unlike a time it is the same on any machine, whatever else runs there. Requests come one by one, so that what is shared
under load (a commit of the ledger, a flush of the log) is counted whole.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from tests.bench.machine import Cores, allow_many_files
from tests.bench.soaking import INSIDE
from tests.bench.targets.mock import mock_upstream
from tests.bench.targets.ours import streamproxy
from tests.bench.targets.target import Target
from tests.bench.workloads import W1, W5, Workload
from tests.support.processes import wait_until

_WORKLOADS = {w.name: w for w in (W1, W5)}
_SIGNAL = signal.SIGRTMIN + 2
_REQUESTS, _WARM_UP, _EARLIER_TURNS = 10, 20, 4
_ANSWER_SECONDS = 30
# Where a path is cut so that it is told shortly.
_ROOTS = ("site-packages/", f"/lib/python3.{sys.version_info.minor}/", "/streamproxy/")
# Where a task or a callback begins that runs without any request.
_BY_THE_CLOCK = (
    "CallTrace.",
    "_insist",
    "Cancellation.",
    "Janitor.",
    "Recorder.",
    "_set_result_unless_cancelled",
    "noop",
)
# Where a request begins.
_ARRIVAL = ("streamproxy/connections/connection.py", "Connection.data_received")


class Call(NamedTuple):
    """One call: how deep, "P" for Python or "C", in which file or module, its name, the caller's line."""

    depth: int
    kind: str
    file: str
    name: str
    line: int

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.kind} {self.name}  [{self.file}] from line {self.line}"


@dataclass(frozen=True, slots=True)
class Calls:
    """What *request* cost: everything from its arrival to the next one's, without what runs by the clock."""

    request: Sequence[Call]

    def total(self) -> int:
        return len(self.request)

    def by_kind(self) -> Counter[str]:
        """Python's and C's."""
        return Counter(call.kind for call in self.request)

    def by_file(self) -> Counter[str]:
        """By the file of streamproxy for whose function they were made."""
        return Counter(file for file, _ in owners(self.request))

    def by_function(self) -> Counter[str]:
        """By the innermost function of streamproxy: its own call, and those that it made outside of streamproxy."""
        return Counter(f"{name}  [{file}]" for file, name in owners(self.request))


def middle(calls: Sequence[Call]) -> Calls:
    """The request in the middle of all in *calls* by the number of its calls; ValueError when there is none.

    The middle one, as what other tasks do every few seconds (keys that are read again, say) falls into some of them:
    into the more, the busier the machine.
    """
    arrivals = [i for i, call in enumerate(calls) if (call.file, call.name) == _ARRIVAL]
    if not arrivals:
        raise ValueError("no request has arrived")
    requests = [calls[start:end] for start, end in zip(arrivals, [*arrivals[1:], len(calls)], strict=True)]
    return Calls(sorted(requests, key=len)[len(requests) // 2])


def owners(calls: Sequence[Call]) -> Iterator[tuple[str, str]]:
    """For each call the file and name of the innermost function of streamproxy that is or made it."""
    stack: list[tuple[str, str]] = []
    for call in calls:
        del stack[call.depth :]
        around = stack[-1] if stack else ("(none of streamproxy)", "(none)")
        owner = (call.file, call.name) if call.kind == "P" and _is_own(call.file) else around
        stack += [owner] * (call.depth + 1 - len(stack))
        yield owner


def _is_own(file: str) -> bool:
    return file.startswith("streamproxy/")


def _short(file: str) -> str:
    for root in _ROOTS:
        _, found, rest = file.rpartition(root)
        if found:
            return f"streamproxy/{rest}" if root == "/streamproxy/" else rest
    return file


def parsed(raw: bytes) -> list[Call]:
    """What inside/calltrace.py has written, without what runs by the clock."""
    found = msgspec.json.decode(raw)
    # The loop itself is on the stack already.
    root = min((depth for depth, *_ in found), default=0)
    calls = [Call(depth - root, kind, _short(file), name, line) for depth, kind, file, name, line in found]
    kept, counts = [], True
    for call in calls:
        if call.depth == 0:
            counts = not call.name.startswith(_BY_THE_CLOCK)
        if counts:
            kept.append(call)
    return kept


class _Tracer:
    """A worker whose calls are written to *place* between two signals."""

    def __init__(self, worker: int, place: Path) -> None:
        self._worker, self._place = worker, place

    def calls(self, during: Callable[[], None]) -> list[Call]:
        """What the worker called while *during* ran."""
        self._place.unlink(missing_ok=True)
        os.kill(self._worker, _SIGNAL)
        during()
        os.kill(self._worker, _SIGNAL)
        wait_until(self._place.exists, "the worker has written its calls", _ANSWER_SECONDS)
        return parsed(self._place.read_bytes())


def _ask(target: Target, workload: Workload, session: str, count: int) -> None:
    """*count* requests of one *session*, one after the other on one connection."""
    headers = {"Content-Type": "application/json", "X-Session-Id": session}
    headers |= dict(line.split(": ", 1) for line in target.headers)
    messages = [{"role": "user", "content": "What does a request cost?"}]
    body = json.dumps({"model": workload.model, "stream": workload.stream, "messages": messages})
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=_ANSWER_SECONDS)
    try:
        for _ in range(count):
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200 or (b"[DONE]" in said) != workload.stream:
                raise RuntimeError(f"{workload.name} was answered with {answer.status}: {said[:300]!r}")
    finally:
        connection.close()


def counted(workload: Workload, requests: int = _REQUESTS) -> Calls:
    """Start a worker with everything on, and count what the middle one of *requests* costs.

    RuntimeError when one of them fails.
    """
    cores = Cores()
    allow_many_files()
    try:
        with tempfile.TemporaryDirectory(prefix="calls") as name:
            folder = Path(name)
            env = {"PYTHONPATH": str(INSIDE), "CALLS_FILE": str(folder / "calls")}
            # A bearer that is looked up again in between is not what a request costs.
            env["STREAMPROXY_AUTH__CACHE_SECONDS"] = "60"
            with mock_upstream(folder) as mock, streamproxy(folder / "ours", mock.port, cores, env=env) as target:
                tracer = _Tracer(target.workers[0], folder / "calls")
                _ask(target, workload, "warming", _WARM_UP)
                _ask(target, workload, "counting", _EARLIER_TURNS)
                target.settle()

                def load() -> None:
                    _ask(target, workload, "counting", requests)
                    target.settle()

                return middle(tracer.calls(load))
    finally:
        cores.release()


def text(calls: Calls, workload: Workload, top: int) -> str:
    """What is printed."""
    kinds = calls.by_kind()
    lines = [
        f"{workload.name}: one request, the middle one of {_REQUESTS} that came one at a time",
        f"{calls.total():,} calls: {kinds['P']:,} of Python, {kinds['C']:,} of C",
    ]
    for title, found in (("By file", calls.by_file()), ("By function", calls.by_function())):
        lines += ["", title, *(f"  {count:5,}  {what}" for what, count in found.most_common(top))]
    return "\n".join(lines)


@click.command(
    epilog="""\b
    make calls                                    a streamed request of 20 events
    make calls ARGS="W5 --top 60"                 without streaming; more lines
    make calls ARGS="--tree calls.txt"            every call of one request, in order and nested
"""
)
@click.argument("name", type=click.Choice(list(_WORKLOADS)), default="W1")
@click.option("--top", default=30, show_default=True, help="Lines a table.")
@click.option("--tree", type=click.Path(dir_okay=False, path_type=Path), help="Write the calls of that request there.")
def main(name: str, top: int, tree: Path | None) -> None:
    """Count the calls that one request of workload NAME makes (W1 when none is named)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    workload = _WORKLOADS[name]
    try:
        calls = counted(workload)
    except RuntimeError as fault:
        sys.exit(str(fault))
    if tree:
        tree.write_text("".join(f"{call}\n" for call in calls.request))
    print(text(calls, workload, top))


if __name__ == "__main__":
    main()
