"""``make soak-load``: what must not grow does not grow.

Streams by the hundred for minutes, then thousands in a row. Afterwards memory, open files, threads and tasks must be
back where they were after a warm-up, and nothing may have erred. It takes a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import click

from tests.bench.machine import ROOT, Cores, allow_many_files, build
from tests.bench.measuring import Measurement, measure
from tests.bench.targets.mock import Mock, mock_upstream
from tests.bench.targets.ours import streamproxy
from tests.bench.targets.target import Target
from tests.bench.workloads import W1, W3
from tests.support.processes import wait_until

INSIDE = Path(__file__).parent / "inside"
_COUNT = signal.SIGRTMIN + 1
_COUNT_SECONDS = 15
# Connections are kept for a while, the last rows are being written: all is quiet when nothing changes any more.
_QUIET_SECONDS, _STEADY_SECONDS = 120, 10
MEMORY_SHARE = 0.05
# More than a worker has connections to its database, several times.
_READERS_A_WORKER = 100
P99_MS = 50.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the workers hold together: resident MiB, open files, threads, tasks."""

    memory_mib: float
    files: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        return f"{self.memory_mib:.1f} MiB, {self.files} open files, {self.threads} threads, {self.tasks} tasks"


def held(target: Target, counts: Path) -> Held:
    """Look into /proc, and ask each worker for its tasks (inside/sitecustomize.py)."""
    tasks = 0
    for pid in target.workers:
        place = counts / str(pid)
        place.unlink(missing_ok=True)
        os.kill(pid, _COUNT)
        wait_until(place.exists, f"worker {pid} has counted its tasks", _COUNT_SECONDS)
        tasks += int(place.read_text())
    status = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in target.workers]

    def sums(name: str) -> int:
        return sum(int(line.split()[1]) for lines in status for line in lines if line.startswith(f"{name}:"))

    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in target.workers)
    return Held(sums("VmRSS") / 1024, files, sums("Threads"), tasks)


def quiet(target: Target, counts: Path, before: Held | None = None) -> Held:
    """What is held once nothing changes any more, or no more than *before*, or after _QUIET_SECONDS."""
    deadline = time.monotonic() + _QUIET_SECONDS
    target.settle()
    found = held(target, counts)
    while time.monotonic() < deadline and (before is None or compared(before, found)):
        time.sleep(_STEADY_SECONDS)
        last, found = found, held(target, counts)
        if before is None and (last.files, last.tasks) == (found.files, found.tasks):
            break
    return found


def faults(what: str, m: Measurement) -> Iterator[str]:
    """What a measurement says against the target."""
    if m.errors:
        yield f"{what}: {m.errors} errors: {m.first_error}"
    if m.unfinished:
        yield f"{what}: {m.unfinished} answers never ended"


def compared(before: Held, after: Held) -> list[str]:
    """What is not back where it was."""
    grown = [name for name in ("files", "threads", "tasks") if getattr(after, name) > getattr(before, name)]
    wrong = [f"{name}: {getattr(before, name)} → {getattr(after, name)}" for name in grown]
    if abs(after.memory_mib / before.memory_mib - 1) > MEMORY_SHARE:
        wrong.append(f"memory: {before.memory_mib:.1f} → {after.memory_mib:.1f} MiB, more than {MEMORY_SHARE:.0%}")
    return wrong


async def fill_pools(target: Target) -> None:
    """Have each worker open every connection to its database: they are opened when that many are needed at once, each
    has a thread, and both are kept.
    """
    headers = dict(line.split(": ", 1) for line in target.headers)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{target.port}",
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        raise_for_status=True,
    ) as session:

        async def ask() -> None:
            async with session.get("/v1/sessions") as answer:
                await answer.read()

        await asyncio.gather(*(ask() for _ in range(_READERS_A_WORKER * len(target.workers))))


def soak(load: Path, target: Target, mock: Mock, counts: Path, *, streams: int, minutes: float, row: int) -> list[str]:
    """Both parts; what was wrong."""
    many = replace(W3, clients=streams, seconds=minutes * 60, drain=20)
    # The window ends with the last of them.
    in_a_row = replace(W1, name="in a row", clients=1, seconds=3600, warm=0, ramp=0, requests=row)
    for workload in (replace(W3, clients=streams, seconds=20), replace(W1, seconds=5)):
        measure(load, target, workload)
    asyncio.run(fill_pools(target))
    before = quiet(target, counts)
    print(f"after the warm-up: {before}", flush=True)
    print(f"{streams} streams of 40 events a second for {minutes:g} minutes ...", flush=True)
    m = measure(load, target, many)
    print(f"{m.events:,} events, {m.errors} errors, age p50 {m.age_us.p50 / 1e3:.2f} p99 {m.age_us.p99 / 1e3:.2f} ms")
    wrong = list(faults("many at once", m))
    if m.age_us.p99 / 1e3 > P99_MS:
        wrong.append(f"age p99 {m.age_us.p99 / 1e3:.1f} ms, more than {P99_MS:g}")
    print(f"{row:,} streams in a row ...", flush=True)
    wrong += faults("in a row", measure(load, target, in_a_row))
    after = quiet(target, counts, before)
    print(f"afterwards: {after}; {mock.running()} streams run at the upstream", flush=True)
    return wrong + compared(before, after)


@click.command(
    epilog="""\b
    make soak-load                                         ten minutes of 500 streams, 10,000 in a row
    make soak-load ARGS="--minutes 1 --in-a-row 2000"      a shorter one
"""
)
@click.option("--streams", default=500, show_default=True, help="Streams at once.")
@click.option("--minutes", default=10.0, show_default=True, help="How long they run.")
@click.option("--in-a-row", "row", default=10_000, show_default=True, help="Streams one after the other.")
@click.option("--workers", default=2, show_default=True, help="Workers; two may use every core.")
def main(streams: int, minutes: float, row: int, workers: int) -> None:
    """Load workers for minutes; fail when memory, files, threads or tasks stay grown, or anything errs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = Cores()
    allow_many_files()
    cores.load()
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        folder = Path(name)
        counts = folder / "counts"
        counts.mkdir()
        env = {"SOAK_COUNTS": str(counts), "PYTHONPATH": f"{INSIDE}:{ROOT}"}
        with mock_upstream(folder) as mock:
            with streamproxy(folder / "ours", mock.port, cores, workers=workers, env=env) as target:
                load = build("load", folder)
                wrong = soak(load, target, mock, counts, streams=streams, minutes=minutes, row=row)
            wrong += target.faults
    if wrong:
        sys.exit("not met:\n" + "\n".join(wrong))
    print("met: no error; memory, files, threads and tasks are where they were")


if __name__ == "__main__":
    main()
