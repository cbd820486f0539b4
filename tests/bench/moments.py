"""How long single things take: a client that leaves, a stream that is cancelled, one that is read on.

The load generator, this module and the mock read the same clock (CLOCK_MONOTONIC): what lies between a client's act
and what the mock sees of it is the difference of two of their times.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from tests.bench.measuring import measure
from tests.bench.targets.mock import Mock
from tests.bench.targets.target import Target
from tests.bench.workloads import Workload
from tests.support.processes import wait_until

REPEATS = 60
_SEEN_SECONDS = 10
_TIMEOUT_SECONDS = 20
_MODEL = "bench-n2000-r40"
_BEFORE_LEAVING = 5
# Below the resumes and cancellations that streamproxy allows a user in a minute.
_TURNS_A_PERSON = 25


@dataclass(frozen=True, slots=True)
class Moments:
    """*count* durations in milliseconds; *missing* never came to an end that was seen."""

    what: str
    target: str
    count: int
    missing: int
    p50_ms: float
    p99_ms: float


def moments(what: str, target: Target, nanoseconds: Sequence[float], missing: int = 0) -> Moments:
    """The quantiles of *nanoseconds*."""
    cuts = quantiles(nanoseconds, n=100, method="inclusive") if len(nanoseconds) > 1 else [0.0] * 99
    return Moments(what, target.name, len(nanoseconds), missing, round(cuts[49] / 1e6, 3), round(cuts[98] / 1e6, 3))


def leaving(load: Path, target: Target, mock: Mock, workload: Workload) -> Moments:
    """From a client's close to the mock's sight of it, for every client who left in the middle of an answer."""
    before = mock.left()
    left = dict(measure(load, target, workload).left)

    def seen() -> dict[int, int]:
        return {stream: at for stream, at in mock.left().items() if stream in left and stream not in before}

    with suppress(TimeoutError):
        wait_until(lambda: len(seen()) == len(left) and mock.running() == 0, "all were seen", _SEEN_SECONDS)
    at = seen()
    spans = [at[stream] - left[stream] for stream in at]
    return moments("client leaves → upstream closed", target, spans, len(left) - len(at))


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks *target*, with its headers or as one of its *people*."""

    target: Target
    person: int = 0

    @contextmanager
    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Iterator[http.client.HTTPResponse]:
        """A request on a connection of its own; RuntimeError when it is refused."""
        people = self.target.people
        lines = (people[self.person % len(people)],) if people else self.target.headers
        known = dict(line.split(": ", 1) for line in lines)
        connection = http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=_TIMEOUT_SECONDS)
        try:
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, text, {**known, "Content-Type": "application/json", **headers})
            response = connection.getresponse()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {response.read()[:200]!r}")
            yield response
        finally:
            connection.close()

    @contextmanager
    def stream(self) -> Iterator[tuple[str, int]]:
        """A resumable stream that has said a few events: its id, and the number by which the mock knows it."""
        body = {"model": _MODEL, "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
        with self.ask("POST", "/v1/chat/completions", body, **{"X-Resumable": "1"}) as response:
            text = b"".join(_events(response, _BEFORE_LEAVING)).decode()
            number = int(text.split("chatcmpl-bench", 1)[1][:10])
            yield response.headers["X-Stream-Id"], number

    def cancel(self, stream_id: str) -> None:
        """Cancel it and read the answer."""
        with self.ask("POST", f"/v1/streams/{stream_id}/cancel") as response:
            response.read()


def _events(response: http.client.HTTPResponse, count: int) -> Iterator[bytes]:
    while count:
        line = response.readline()
        if not line:
            raise RuntimeError("the stream ended early")
        if line.startswith(b"data: "):
            count -= 1
            yield line


def cancelling(target: Target, mock: Mock, repeats: int = REPEATS, other: Target | None = None) -> Moments:
    """From POST …/cancel (to the *other* worker) to the mock's sight of the closed connection."""
    asked: dict[int, int] = {}
    for i in range(repeats):
        caller, canceller = (Caller(place, i // _TURNS_A_PERSON) for place in (target, other or target))
        with caller.stream() as (stream_id, number):
            asked[number] = time.monotonic_ns()
            canceller.cancel(stream_id)
            wait_until(lambda number=number: number in mock.left(), "the upstream was closed", _SEEN_SECONDS)
    at = mock.left()
    where = "on another worker" if other else "on the same worker"
    return moments(f"cancel {where} → upstream closed", target, [at[number] - asked[number] for number in asked])


def resuming(target: Target, repeats: int = REPEATS, other: Target | None = None) -> Moments:
    """From GET …/events (at the *other* worker) with Last-Event-ID to the first event behind it."""
    spans = []
    for i in range(repeats):
        caller, reader = (Caller(place, i // _TURNS_A_PERSON) for place in (target, other or target))
        with caller.stream() as (stream_id, _):
            pass
        asked = time.monotonic_ns()
        position = {"Last-Event-ID": f"{stream_id}.{_BEFORE_LEAVING - 2}"}
        with reader.ask("GET", f"/v1/streams/{stream_id}/events", **position) as response:
            next(_events(response, 1))
            spans.append(time.monotonic_ns() - asked)
        caller.cancel(stream_id)
    where = "on another worker" if other else "on the same worker"
    return moments(f"resume {where} → first event", target, spans)
