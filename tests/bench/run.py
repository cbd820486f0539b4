"""Measures nginx and streamproxy in one run, prints the table and writes it to docs/benchmarks.md.

What counts is CPU time of the proxy's process tree: it hardly depends on what else the machine does. Targets take
turns within a round, so that what disturbs the machine disturbs both. Any error of any measurement ends the run
with exit status 1, and the page is left as it was: figures of a proxy that errs mean nothing.

    python -m tests.bench.run
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import getloadavg
from pathlib import Path
from statistics import median

from tests.bench.report import Row, page, table
from tests.bench.targets import Cores, Target, build, mock_upstream, nginx, streamproxy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Workload:
    """Times in seconds; what *model* means is said in mock.c."""

    name: str
    what: str
    model: str
    clients: int
    ramp: float
    warm: float
    seconds: float
    rounds: int
    events_a_request: int = 1


WORKLOADS = (
    Workload("W1", "20-event streams, unpaced, 32 at once", "bench-n20", 32, 0.1, 0.7, 2.5, 3, 20),
    Workload("W2", "2,000-event streams, unpaced, 8 at once", "bench-n2000", 8, 0.1, 0.7, 2.5, 3, 2000),
    Workload("W5", "no stream, 32 at once", "bench", 32, 0.1, 0.7, 2.5, 3),
    Workload("W3", "25 streams of 40 events a second", "bench-n200-r40", 25, 5, 0.5, 6, 1, 200),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One workload against one target, as load.c prints it; *cpu_us* is of the proxy, then of its Redis."""

    cpu_us: list[float]
    requests: int
    events: int
    errors: int
    first_error: str
    seconds: float
    p50_us: float
    p99_us: float


def measure(load: Path, target: Target, workload: Workload) -> Measurement:
    """Run the load generator once; SystemExit when it saw an error or nothing at all."""
    numbers = (target.port, workload.model, workload.clients, workload.ramp, workload.warm, workload.seconds)
    command = [str(load), *map(str, numbers), target.bearer, *map(str, target.pids)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = Measurement(**json.loads(done.stdout))
    if found.errors or not found.events:
        sys.exit(f"{workload.name}, {target.name}: {found.errors} errors, {found.events} events: {found.first_error}")
    return found


def row(workload: Workload, target: Target, found: Sequence[Measurement]) -> Row:
    """The medians of *found*."""
    # Streams that last longer than the window end in it or not by chance: there the events tell their number.
    requests = [m.events / workload.events_a_request for m in found]
    return Row(
        workload=workload.name,
        what=workload.what,
        target=target.name,
        cpu_a_request=median(m.cpu_us[0] / n for m, n in zip(found, requests, strict=True)),
        cpu_an_event=median(m.cpu_us[0] / m.events for m in found),
        redis_a_request=median(sum(m.cpu_us[1:]) / n for m, n in zip(found, requests, strict=True)),
        busy=median(m.cpu_us[0] / 1e6 / m.seconds for m in found),
        events_a_second=median(m.events / m.seconds for m in found),
        p50_ms=median(m.p50_us for m in found) / 1e3,
        p99_ms=median(m.p99_us for m in found) / 1e3,
    )


def measure_all(folder: Path) -> list[Row]:
    """Every workload, the targets in turn."""
    cores = Cores()
    cores.load()
    load = build("load", folder)
    rows = []
    with ExitStack() as stack:
        upstream = stack.enter_context(mock_upstream(folder))
        targets = [
            stack.enter_context(start(folder / start.__name__, upstream, cores)) for start in (nginx, streamproxy)
        ]
        for workload in WORKLOADS:
            rounds = [[measure(load, target, workload) for target in targets] for _ in range(workload.rounds)]
            rows += [
                row(workload, target, found) for target, found in zip(targets, zip(*rounds, strict=True), strict=True)
            ]
            print("\n".join(table(rows[-len(targets) :], head=workload is WORKLOADS[0])), flush=True)
    return rows


def output(*command: str) -> str:
    """What a command prints, on whichever stream, without the line's end."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip()


def circumstances(busy_before: float) -> dict[str, str]:
    """Machine, versions and commit."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    changed = output("git", "status", "--porcelain", "--", "streamproxy")
    return {
        "machine": f"{cpu}, {len(Cores().all)} cores, Linux {platform.release()}",
        "versions": f"Python {platform.python_version()}, {output('nginx', '-v').removeprefix('nginx version: ')}",
        "commit": output("git", "rev-parse", "--short", "HEAD") + (" and changes not yet committed" if changed else ""),
        "load average before": f"{busy_before:.1f}",
    }


def main() -> None:
    """See the module."""
    before = circumstances(getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        rows = measure_all(Path(folder))
    PAGE.write_text(page(rows, before))
    print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
