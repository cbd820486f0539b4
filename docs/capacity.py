# ruff: noqa: INP001  # a script beside the page that tells of it, no package
"""How much it takes to run so many streams at once, and where it bends.

``python -m docs.capacity`` prints what docs/capacity.md explains: first the sizes (processor, memory, network, Redis,
PostgreSQL), then a worker that is given more and more streams until its events are late. The costs are measured ones:
those of docs/benchmarks.json when it is there, or of --figures FILE, else the ones that stand here with their origin.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from heapq import heappop, heappush
from pathlib import Path
from random import Random

FIGURES = Path(__file__).parent / "benchmarks.json"
SIZES = (10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Costs:
    """What one thing costs. Microseconds of a core, KiB, bytes, as named.

    The defaults were measured on two cores that eight others were using too; CPU is disturbed by that less than time
    is, but it is: take them for upper bounds, and those of docs/benchmarks.json where they are there.
    """

    # make bench-quick: W1 twice (2,095 and 2,222 a stream of 20 events), W3 (25.5, and 41.6 in a run that was starved),
    # 500 open streams twice (32.5 and 32.3).
    worker_us_a_stream: float = 2200.0
    worker_us_an_event: float = 25.5
    worker_kib_a_stream: float = 32.5
    # Measured at a prototype of the recorder, with a hundred appends in one round trip, and the same for a tail's poll.
    worker_us_an_append: float = 25.0
    redis_us_an_append: float = 16.0
    redis_us_a_poll: float = 10.0
    # Redis' own CPU over 800 streams: 93 without a session, 173 with one, of which 17 are what a worker asks anyway.
    redis_us_a_stream: float = 156.0
    # An event of 24 bytes of text, and what its log keeps of it; as a frame of OpenAI's it is 316.
    redis_bytes_an_event: float = 34.0
    wire_bytes_an_event: float = 316.0
    # A ring of time stamps for 1,000 requests, a session of some ten turns.
    redis_bytes_a_user: float = 20_000.0
    # Ethernet, IP and TCP around each packet.
    packet_overhead_bytes: float = 78.0


@dataclass(frozen=True, slots=True)
class Load:
    """What people do: events a second and an answer, seconds until the first, the share that may be resumed."""

    rate: float = 40.0
    length: float = 500.0
    first_seconds: float = 1.0
    resumable: float = 0.3
    # Readers that came back and were given to another worker than their stream's, as a share of the resumable ones.
    elsewhere: float = 0.05
    replay_seconds: float = 300.0
    append_seconds: float = 0.1

    @property
    def seconds(self) -> float:
        """How long a stream runs."""
        return self.first_seconds + self.length / self.rate

    @property
    def events(self) -> float:
        """Events a second of a running stream, its waiting for the first one included."""
        return self.length / self.seconds


@dataclass(frozen=True, slots=True)
class Room:
    """How full things may be: a share of a core, of Redis' one thread; a worker's own memory (its share of what it
    has in common with the others counted once, as measured) and how many files it may open."""

    worker: float = 0.6
    redis: float = 0.5
    worker_mib: float = 120.0
    files: int = 65_536


@dataclass(frozen=True, slots=True)
class Need:
    """What a number of running streams takes."""

    streams: int
    starts: float
    events: float
    cores: float
    workers: int
    streams_a_worker: int
    memory_gib: float
    redis_cores: float
    shards: int
    redis_gib: float
    gigabit: float
    rows: float


def need(streams: int, load: Load, costs: Costs, room: Room) -> Need:
    """The fluid model: every stream costs what an average one does, and costs add up."""
    starts, events = streams / load.seconds, streams * load.events
    recorded = streams * load.resumable
    appends = recorded * min(load.events, 1 / load.append_seconds)
    polls = recorded * load.elsewhere / load.append_seconds
    used = starts * costs.worker_us_a_stream + events * costs.worker_us_an_event
    used += appends * costs.worker_us_an_append + polls * costs.worker_us_an_append
    cores = used / 1e6
    redis = starts * costs.redis_us_a_stream + appends * costs.redis_us_an_append + polls * costs.redis_us_a_poll
    workers = max(math.ceil(cores / room.worker), math.ceil(2.2 * streams / room.files))
    kept = recorded * load.length / 2 + starts * load.resumable * load.replay_seconds * load.length
    return Need(
        streams=streams,
        starts=starts,
        events=events,
        cores=cores,
        workers=workers,
        streams_a_worker=streams // workers,
        memory_gib=(workers * room.worker_mib * 1024 + streams * costs.worker_kib_a_stream) / 1024**2,
        redis_cores=redis / 1e6,
        shards=max(math.ceil(redis / 1e6 / room.redis), 1),
        redis_gib=(kept * costs.redis_bytes_an_event + streams * costs.redis_bytes_a_user) / 1024**3,
        # In from the upstream and out to the client, each event a packet of its own at this rate.
        gigabit=2 * events * (costs.wire_bytes_an_event + costs.packet_overhead_bytes) * 8 / 1e9,
        # A row of usage, the question and the answer.
        rows=3 * starts,
    )


@dataclass(frozen=True, slots=True)
class Point:
    """A worker with so many streams: how busy, and how late events leave (milliseconds)."""

    streams: int
    busy: float
    median_ms: float
    p99_ms: float


def bend(load: Load, costs: Costs, *, seconds: float, seed: int) -> Iterator[Point]:
    """One worker with more and more streams, event by event, until it cannot keep up."""
    one = need(1, load, costs, Room()).cores
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.1):
        yield simulate(max(int(share / one), 1), load, costs, seconds=seconds, random=Random(seed))


def simulate(streams: int, load: Load, costs: Costs, *, seconds: float, random: Random) -> Point:
    """A discrete-event run of *seconds*: one loop serves what is due in the order in which it came.

    Upstreams speak with a jitter of a third of their pace; streams begin as others end, at random moments. An append
    round takes the loop for all of its streams at once, which is what a group commit costs others in lateness.
    """
    due: list[tuple[float, int]] = []
    for _ in range(streams):
        # Somewhere in its life already.
        left = random.randrange(int(load.length)) + 1
        heappush(due, (random.random() / load.rate, left))
    recorded = int(streams * load.resumable)
    append_at = load.append_seconds
    free, busy, late = 0.0, 0.0, list[float]()
    while due and due[0][0] < seconds:
        at, left = heappop(due)
        if append_at < at:
            work = recorded * costs.worker_us_an_append * (1 + load.elsewhere) / 1e6
            free = max(free, append_at) + work
            busy += work
            append_at += load.append_seconds
            heappush(due, (at, left))
            continue
        work = (costs.worker_us_an_event if left else costs.worker_us_a_stream) / 1e6
        free = max(free, at) + work
        busy += work
        if left:
            late.append(free - at)
        pause = (0.67 + 0.66 * random.random()) / load.rate
        if left == 0:
            # It was asked; the model thinks.
            heappush(due, (at + load.first_seconds, int(load.length)))
        else:
            heappush(due, (at + pause, left - 1))
    # The first third fills the queue; what counts is what comes after.
    settled = sorted(late[len(late) // 3 :])
    return Point(streams, busy / seconds, _quantile(settled, 0.5), _quantile(settled, 0.99))


def _quantile(ordered: Sequence[float], share: float) -> float:
    return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def measured(path: Path) -> Costs:
    """The costs of a run of ``make bench``; what it did not measure stays as it is."""
    found = json.loads(path.read_text())
    rows = {row["workload"]: row for row in found["rows"] if row["target"] == "streamproxy" and not row["errors"]}
    costs = Costs()
    if "W1" in rows:
        costs = replace(costs, worker_us_a_stream=rows["W1"]["cpu_us_a_request"])
        costs = replace(costs, redis_us_a_stream=rows["W1"]["redis_us_a_request"] or costs.redis_us_a_stream)
    if "W3" in rows:
        costs = replace(costs, worker_us_an_event=rows["W3"]["cpu_us_an_event"])
    if "W3" in rows and "W3 resumable" in rows:
        # At 40 events and 10 rounds a second, an append carries four events.
        events = 4 * (rows["W3 resumable"]["cpu_us_an_event"] - rows["W3"]["cpu_us_an_event"])
        costs = replace(costs, worker_us_an_append=max(events, 0.0))
        costs = replace(costs, redis_us_an_append=4 * rows["W3 resumable"]["redis_us_an_event"])
    memory = [m["kib_a_stream"] for m in found.get("memory", []) if m["target"] == "streamproxy" and not m["errors"]]
    return replace(costs, worker_kib_a_stream=memory[0]) if memory else costs


def sizes(needs: Sequence[Need]) -> str:
    """The first table."""
    lines: list[tuple[str, ...]] = [("running streams", *(f"{n.streams:,}" for n in needs))]
    lines.append(("streams begun a second", *(f"{n.starts:,.0f}" for n in needs)))
    lines.append(("events a second", *(f"{n.events:,.0f}" for n in needs)))
    lines.append(("cores in use", *(f"{n.cores:,.1f}" for n in needs)))
    lines.append(("workers", *(f"{n.workers:,}" for n in needs)))
    lines.append(("streams a worker", *(f"{n.streams_a_worker:,}" for n in needs)))
    lines.append(("memory of workers, GiB", *(f"{n.memory_gib:,.1f}" for n in needs)))
    lines.append(("Redis, cores in use", *(f"{n.redis_cores:,.2f}" for n in needs)))
    lines.append(("Redis, shards", *(f"{n.shards:,}" for n in needs)))
    lines.append(("Redis, memory, GiB", *(f"{n.redis_gib:,.1f}" for n in needs)))
    lines.append(("network, Gbit/s", *(f"{n.gigabit:,.1f}" for n in needs)))
    lines.append(("SQL, rows a second", *(f"{n.rows:,.0f}" for n in needs)))
    return _table(lines)


def bends(points: Sequence[Point]) -> str:
    """The second table."""
    lines = [("streams on a worker", "busy", "an event is late by, p50", "p99")]
    lines += [(f"{p.streams:,}", f"{p.busy:.0%}", f"{p.median_ms:,.1f} ms", f"{p.p99_ms:,.1f} ms") for p in points]
    return _table(lines)


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    return "\n".join([rows[0], "-" * len(rows[0]), *rows[1:]])


def main(arguments: Sequence[str]) -> int:
    load = Load()
    parser = argparse.ArgumentParser(prog="python -m docs.capacity", description=__doc__)
    add = parser.add_argument
    add("--streams", type=int, nargs="+", default=SIZES, help="how many run at once (default: %(default)s)")
    add("--rate", type=float, default=load.rate, help="events a second (default: %(default)s)")
    add("--length", type=float, default=load.length, help="events an answer (default: %(default)s)")
    add("--resumable", type=float, default=load.resumable, help="their share (default: %(default)s)")
    add("--seconds", type=float, default=3.0, help="how long a worker is simulated (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the simulation (default: %(default)s)")
    add("--figures", type=Path, help="the JSON of make bench (default: docs/benchmarks.json, if there)")
    add("--built-in", action="store_true", help="the costs in this file, whatever was measured since")
    chosen = parser.parse_args(arguments)
    load = replace(load, rate=chosen.rate, length=chosen.length, resumable=chosen.resumable)
    path = chosen.figures or (FIGURES if FIGURES.exists() and not chosen.built_in else None)
    costs = Costs() if path is None else measured(path)
    print(f"An answer: {load.length:g} events, {load.rate:g} a second; {load.resumable:.0%} may be resumed.")
    print(f"Costs: {'those in docs/capacity.py' if path is None else path.name}")
    print("".join(f"  {f.name.replace('_', ' ')}: {getattr(costs, f.name):g}\n" for f in fields(costs)))
    print(sizes([need(n, load, costs, Room()) for n in chosen.streams]))
    print("\nOne worker, given more and more:\n")
    print(bends(list(bend(load, costs, seconds=chosen.seconds, seed=chosen.seed))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
