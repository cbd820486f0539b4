"""One run of the load generator, as a value; and the medians of several."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from tests.bench.targets.target import Target
from tests.bench.workloads import Workload

# Beyond what a run takes by its own numbers: load.c ends itself before that.
_GRACE_SECONDS = 60


class Quantiles(msgspec.Struct, frozen=True):
    """Of durations, in microseconds."""

    p50: float
    p99: float
    highest: float


class Memory(msgspec.Struct, frozen=True):
    """Resident KiB of the target's process tree: before anything, at begin and end of the window, at the most."""

    before: int
    begin: int
    end: int
    highest: int


class Measurement(msgspec.Struct, frozen=True):
    """What load.c prints. *cpu_us*: the target's, then its Redis's; *left*: streams that clients left, and when.

    *answered* counts the whole run, *requests* and *events* the window.
    """

    seconds: float
    answered: int
    requests: int
    events: int
    errors: int
    first_error: str
    unfinished: int
    late: int
    most_running: int
    own_busy: float
    cpu_us: list[float]
    rss_kib: Memory
    age_us: Quantiles
    first_age_us: Quantiles
    first_event_us: Quantiles
    total_us: Quantiles
    left: list[tuple[int, int]]


def measure(load: Path, target: Target, workload: Workload) -> Measurement:
    """Run the load generator once; RuntimeError when it could not run."""
    longest = workload.ramp + workload.warm + workload.seconds + workload.drain + _GRACE_SECONDS
    command = [str(load), *workload.arguments(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=longest, check=False)
    if done.returncode:
        raise RuntimeError(f"{workload.name}, {target.name}: load ended with {done.returncode}: {done.stderr[-500:]}")
    return msgspec.json.decode(done.stdout, type=Measurement)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one workload against one target; *answered*, *errors* and *unfinished* are of all rounds.

    CPU in microseconds (0 when nothing was answered), *rounds_us* an event in each round; latencies in milliseconds,
    memory in MiB, *busy* as a share of one core.
    """

    workload: str
    what: str
    target: str
    rounds: int
    cpu_us_a_request: float
    cpu_us_an_event: float
    redis_us_a_request: float
    redis_us_an_event: float
    busy: float
    requests_a_second: float
    events_a_second: float
    age_p50_ms: float
    age_p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    memory_mib: float
    answered: int
    errors: int
    first_error: str
    unfinished: int
    rounds_us: tuple[float, ...] = ()

    def times(self, other: Row) -> list[float]:
        """How many times as much CPU an event costs as at *other*, in each round; one of all where they are not known.

        Why not only the medians' quotient: the machine is slower in one minute than in another by half, and in a round
        both were measured within two minutes. Rounds in which *other* answered nothing are left out.
        """
        pairs = list(zip(self.rounds_us, other.rounds_us, strict=True))
        pairs = pairs or [(self.cpu_us_an_event, other.cpu_us_an_event)]
        return [own / others for own, others in pairs if others]


def row(workload: Workload, target: Target, found: Sequence[Measurement]) -> Row:
    """The medians of *found*."""
    per_request = workload.expected or 1

    def requests(m: Measurement) -> float:
        # Streams that last longer than the window end in it or not by chance: there the events tell their number.
        return m.events / per_request if workload.stream else float(m.requests)

    def share(microseconds: float, count: float) -> float:
        return microseconds / count if count else 0.0

    def own(m: Measurement) -> float:
        return m.cpu_us[0] if m.cpu_us else 0.0

    return Row(
        workload=workload.name,
        what=workload.what,
        target=target.name,
        rounds=len(found),
        cpu_us_a_request=round(median(share(own(m), requests(m)) for m in found), 1),
        cpu_us_an_event=round(median(share(own(m), m.events) for m in found), 3),
        redis_us_a_request=round(median(share(sum(m.cpu_us[1:]), requests(m)) for m in found), 1),
        redis_us_an_event=round(median(share(sum(m.cpu_us[1:]), m.events) for m in found), 3),
        busy=round(median(own(m) / 1e6 / m.seconds for m in found), 3),
        requests_a_second=round(median(requests(m) / m.seconds for m in found), 1),
        events_a_second=round(median(m.events / m.seconds for m in found), 1),
        age_p50_ms=round(median(m.age_us.p50 for m in found) / 1e3, 3),
        age_p99_ms=round(median(m.age_us.p99 for m in found) / 1e3, 3),
        first_p50_ms=round(median(m.first_event_us.p50 for m in found) / 1e3, 3),
        first_p99_ms=round(median(m.first_event_us.p99 for m in found) / 1e3, 3),
        memory_mib=round(max(m.rss_kib.highest for m in found) / 1024, 1),
        answered=sum(m.answered for m in found),
        errors=sum(m.errors for m in found),
        first_error=next((m.first_error for m in found if m.first_error), ""),
        unfinished=sum(m.unfinished for m in found) if workload.drain else 0,
        rounds_us=tuple(round(share(own(m), m.events), 3) for m in found),
    )
