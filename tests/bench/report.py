"""What was measured, as Markdown: for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_HEAD = (
    "| | proxy | µs a request | µs an event | × nginx | Redis, µs a request | busy | events/s | age p50/p99 ms |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|",
)
# Above, the core that the proxy is pinned to was the limit.
SATURATED = 0.9

_PAGE = """# Benchmarks

*Written by `make bench`.*

{table}

{workloads}

{circumstances}

How to read it:

- **CPU** is the scheduler's time of the proxy's process tree (its worker and its parent) within the measured
  seconds, divided by what was answered in them; the median of three rounds, W3 one round. *× nginx* compares
  CPU. nginx relays unbuffered and does nothing else: it is the limit of what C can do, not a peer. streamproxy has
  everything on: bearer verified, limits on requests, tokens and streams and the session in Redis, usage and history
  written to SQLite, one access line a request. Redis runs on the other core; its CPU is a column of its own.
- **busy** is the share of its core that the proxy used. Where it is near 100 %, the rate is the proxy's limit and the
  age of events is the length of a queue.{saturated}
- **age** is what lies between the making of an event in the mock and its reading in the load generator: the proxy and
  two hops over the loopback.
- Every answer was checked for the order and number of its events, for `stop` and for `[DONE]`; one error would have
  ended the run without this page.
- The proxy is pinned to one core; mock, Redis and load generator share another.{disturbed}

The mock upstream, the load generator and the run are in [`tests/bench`](../tests/bench). It needs gcc, nginx and
redis-server, and takes less than two minutes.
"""
_DISTURBED = """
- **Other work ran on this machine at the same time** (load average {load} on {cores} before the run). CPU time hardly
  suffers from that; rates and ages do, and are worth little here."""
_SATURATED = " Here that is: {names}."


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one workload against one target. CPU in microseconds, *busy* as a share of one core."""

    workload: str
    what: str
    target: str
    cpu_a_request: float
    cpu_an_event: float
    redis_a_request: float
    busy: float
    events_a_second: float
    p50_ms: float
    p99_ms: float


def table(rows: Sequence[Row], *, head: bool = True) -> list[str]:
    """Lines of Markdown. *rows* must hold, for each workload, nginx first."""
    lines = list(_HEAD) if head else []
    reference = {row.workload: row.cpu_an_event for row in rows if row.target == "nginx"}
    for row in rows:
        cells = (
            row.workload,
            row.target,
            f"{row.cpu_a_request:,.0f}",
            f"{row.cpu_an_event:,.2f}",
            f"{row.cpu_an_event / reference[row.workload]:.1f}",
            f"{row.redis_a_request:,.0f}" if row.redis_a_request else "",
            f"{row.busy:.0%}",
            f"{row.events_a_second:,.0f}",
            f"{row.p50_ms:.1f}, {row.p99_ms:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def page(rows: Sequence[Row], circumstances: Mapping[str, str]) -> str:
    """docs/benchmarks.md."""
    workloads = dict.fromkeys(f"**{row.workload}**: {row.what}" for row in rows)
    load, cores = circumstances["load average before"], circumstances["machine"].split(", ")[-2]
    saturated = ", ".join(f"{row.workload} {row.target}" for row in rows if row.busy > SATURATED)
    return _PAGE.format(
        table="\n".join(table(rows)),
        workloads=" · ".join(workloads) + ".",
        circumstances="| | |\n|---|---|\n"
        + "\n".join(f"| {name} | {value} |" for name, value in circumstances.items()),
        saturated=_SATURATED.format(names=saturated) if saturated else "",
        disturbed=_DISTURBED.format(load=load, cores=cores) if float(load) >= 0.5 else "",
    )
