"""What streamproxy has set itself, and whether a run has met it. Measured with everything on, one worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.measuring import Row
from tests.bench.results import Results

OURS, NGINX, BARE = "streamproxy", "nginx", "Starlette + aiohttp"
# The one that two workers are compared with: measured in turn with them. Each of the two stays on a core of its own, as
# the one does; where the kernel may move them is told beside.
ONE_BESIDE, TWO, TWO_FREE = (
    "streamproxy, 1 worker beside 2",
    "streamproxy, 2 workers",
    "streamproxy, 2 workers not pinned",
)
# Of resident memory, over twenty seconds of answers that nobody takes: what is more would be a buffer that grows.
FLAT_MIB = 8.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal, as text; *met* and *aimed* are None where there is no such limit or nothing was measured."""

    what: str
    must_text: str
    aim_text: str
    found_text: str
    met: bool | None
    aimed: bool | None
    # From the least to the most of the rounds, where there were several.
    rounds_text: str = ""


def _limit(what: str, found: float | None, must: float | None, aim: float | None, form: str) -> Verdict:
    """*found* may be at most *must* and had better be at most *aim*; *form* says how such a number is written."""

    def text(limit: float | None) -> str:
        return "" if limit is None else f"≤ {form.format(limit)}"

    def holds(limit: float | None) -> bool | None:
        return None if found is None or limit is None else found <= limit

    said = "not measured" if found is None else form.format(found)
    return Verdict(what, text(must), text(aim), said, holds(must), holds(aim))


def _ratio(what: str, found: Sequence[float], must: float | None, aim: float | None, form: str) -> Verdict:
    """``_limit`` for the median round of *found*."""
    verdict = _limit(what, median(found) if found else None, must, aim, form)
    return replace(verdict, rounds_text=_range(found, form))


def _range(found: Sequence[float], form: str) -> str:
    return f"{form.format(min(found))} to {form.format(max(found))}" if len(found) > 1 else ""


def verdicts(results: Results) -> list[Verdict]:
    """Every goal, in the order of the issue that set them."""

    def cpu(workload: str, peer: str, own_workload: str = "") -> list[float]:
        own, other = results.row(own_workload or workload, OURS), results.row(workload, peer)
        return own.times(other) if own and other else []

    def ages(workload: str, peer: str) -> float | None:
        own, other = results.row(workload, OURS), results.row(workload, peer)
        return own.age_p99_ms / other.age_p99_ms if own and other and other.age_p99_ms else None

    def own(workload: str, value: Callable[[Row], float]) -> float | None:
        found = results.row(workload, OURS)
        return value(found) if found else None

    return [
        _limit("streamproxy: measurements with errors", float(len(results.own_errors())), 0, None, "{:.0f}"),
        _ratio("W3: CPU an event, against nginx", cpu("W3", NGINX), 2.0, 1.3, "{:.2f} ×"),
        _limit("W3: added latency, p99", own("W3", lambda r: r.age_p99_ms), 10, None, "{:.1f} ms"),
        _limit("W3: added latency p99, against nginx", ages("W3", NGINX), None, 2, "{:.1f} ×"),
        _limit("W2: CPU an event", own("W2", lambda r: r.cpu_us_an_event), 2.0, 0.8, "{:.2f} µs"),
        _ratio("W1: CPU a request, against bare Starlette", cpu("W1", BARE), 1.6, 0.6, "{:.2f} ×"),
        _ratio("W1: CPU a request, against LiteLLM", cpu("W1", "LiteLLM"), 1 / 80, None, "{:.4f} ×"),
        _ratio("W1: CPU a request, against Portkey", cpu("W1", "Portkey"), 1 / 4, None, "{:.2f} ×"),
        _ratio("W5: CPU a request, against LiteLLM", cpu("W5", "LiteLLM"), 1 / 25, None, "{:.3f} ×"),
        _ratio("W5: CPU a request, against bare Starlette", cpu("W5", BARE), None, 1, "{:.2f} ×"),
        _limit("first event at 100 requests/s, p99", own("first event", lambda r: r.first_p99_ms), 20, 5, "{:.1f} ms"),
        *_memory(results),
        *_leaving(results),
        _ratio("resumable instead of plain, W3", cpu("W3", OURS, "W3 resumable"), 1.6, 1.2, "{:.2f} ×"),
        _scaling(results),
    ]


def _memory(results: Results) -> Iterator[Verdict]:
    stream = next((m.kib_a_stream for m in results.memory if m.target == OURS), None)
    yield _limit("memory an open idle stream", stream, 40, 20, "{:.1f} KiB")
    growth = next((s.growth_mib for s in results.slow if s.target == OURS), None)
    yield _limit("slow readers: memory grows by", growth, FLAT_MIB, None, "{:.1f} MiB")


def _leaving(results: Results) -> Iterator[Verdict]:
    wanted = "client leaves → upstream closed"
    found = next((m.p99_ms for m in results.moments if (m.what, m.target) == (wanted, OURS)), None)
    yield _limit(f"{wanted}, p99", found, 50, 5, "{:.1f} ms")


def _scaling(results: Results) -> Verdict:
    """Two workers do twice the work of one if a request costs them the same CPU."""
    one, two = results.row("W1", ONE_BESIDE), results.row("W1", TWO)
    what, must = "two workers instead of one, W1 by CPU a request", "≥ 1.70 ×"
    found = [2 / times for times in two.times(one) if times] if one and two else []
    if not found:
        return Verdict(what, must, "", "not measured", None, None)
    middle, form = median(found), "{:.2f} ×"
    return Verdict(what, must, "", form.format(middle), middle >= 1.7, None, _range(found, form))
