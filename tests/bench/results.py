"""Everything a run has found, as docs/benchmarks.json holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.bench.machine import ROOT
from tests.bench.measuring import Row
from tests.bench.moments import Moments

FILE = ROOT / "docs" / "benchmarks.json"


@dataclass(frozen=True, slots=True)
class Memory:
    """*streams* open at once: resident MiB before and at the highest, KiB a stream."""

    target: str
    streams: int
    before_mib: float
    highest_mib: float
    kib_a_stream: float
    errors: int


@dataclass(frozen=True, slots=True)
class Slow:
    """Slow readers of endless answers: resident MiB when they had begun to read, and the highest after that."""

    target: str
    clients: int
    seconds: float
    begin_mib: float
    highest_mib: float

    @property
    def growth_mib(self) -> float:
        return self.highest_mib - self.begin_mib


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curve; CPU in microseconds, latency in milliseconds, *busy* as a share of one core."""

    target: str
    streams: int
    events_a_second_offered: float
    events_a_second: float
    cpu_us_an_event: float
    redis_us_an_event: float
    busy: float
    age_p50_ms: float
    age_p99_ms: float
    memory_mib: float
    errors: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The same target measured by this load generator and by another one: CPU in microseconds."""

    workload: str
    target: str
    unit: str
    ours: float
    other: float

    @property
    def difference(self) -> float:
        """As a share of the other's figure."""
        return self.ours / self.other - 1


@dataclass(frozen=True, slots=True)
class ProfileLines:
    """Where a loaded worker's time went: *kernel* is a share of its CPU, the others shares of its loop's samples.

    *packages* by what ran, *callers* by the function of streamproxy for whom it ran; the largest first.
    """

    workload: str
    kernel: float
    packages: list[tuple[str, float]]
    callers: list[tuple[str, float]]


@dataclass(slots=True)
class Results:
    """*missing*: peers that could not be measured, and why. *faults*: what streamproxy's own log holds of them."""

    circumstances: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    slow: list[Slow] = field(default_factory=list)
    moments: list[Moments] = field(default_factory=list)
    curve: list[Point] = field(default_factory=list)
    agreement: list[Agreement] = field(default_factory=list)
    profiles: list[ProfileLines] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0

    def row(self, workload: str, target: str) -> Row | None:
        """The row of *workload* against *target*, when it was measured."""
        return next((row for row in self.rows if (row.workload, row.target) == (workload, target)), None)

    def own_errors(self) -> list[str]:
        """What streamproxy got wrong anywhere; figures of a proxy that errs mean nothing."""
        rows = [r for r in self.rows if r.target.startswith("streamproxy")]
        found = [f"{r.workload}: {r.errors} errors: {r.first_error}" for r in rows if r.errors]
        found += [f"{r.workload}: {r.unfinished} answers never ended" for r in rows if r.unfinished]
        found += [f"memory: {m.errors} errors" for m in self.memory if m.target == "streamproxy" and m.errors]
        found += [
            f"curve, {p.streams}: {p.errors} errors" for p in self.curve if p.target == "streamproxy" and p.errors
        ]
        found += self.faults
        return found + [
            f"{m.what}: {m.missing} never seen" for m in self.moments if m.target == "streamproxy" and m.missing
        ]

    def write(self, path: Path = FILE) -> None:
        """As JSON, readable and in a steady order."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def read(path: Path = FILE) -> Results:
    """What ``write`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Results)
