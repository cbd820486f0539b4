"""Results as Markdown: docs/benchmarks.md, the section of README, and a summary for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from statistics import mode
from textwrap import fill

from tests.bench.goals import NGINX, OURS, Verdict, verdicts
from tests.bench.machine import ROOT
from tests.bench.measuring import Row
from tests.bench.results import Results
from tests.bench.workloads import kind_of

PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: make bench -->\n", "<!-- end of figures -->\n"
# Above, the core that the proxy is pinned to was the limit.
SATURATED = 0.9
_QUIET_LOAD = 1.0


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; all columns but the first *left* are numbers."""
    lines = [f"| {' | '.join(head)} |", "|" + "|".join(["---"] * left + ["---:"] * (len(head) - left)) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def _number(value: float) -> str:
    """Three figures or so."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _times(row: Row, reference: Row | None, value: str) -> str:
    if reference is None or row is reference or not getattr(reference, value) or not getattr(row, value):
        return ""
    return f"{getattr(row, value) / getattr(reference, value):.2f}"


def workloads(results: Results) -> str:
    """A table a workload, with its heading."""
    parts = []
    for name in dict.fromkeys(row.workload for row in results.rows):
        rows = [row for row in results.rows if row.workload == name]
        # nginx knows no resumable streams and no sessions: there it is the workload that this one is a kind of.
        reference = results.row(name, NGINX) or results.row(kind_of(name), NGINX)
        cells = [
            (
                row.target,
                _number(row.cpu_us_a_request) if row.cpu_us_a_request else "nothing answered",
                _number(row.cpu_us_an_event) if row.cpu_us_an_event else "",
                _times(row, reference, "cpu_us_an_event"),
                _number(row.redis_us_a_request) if row.redis_us_a_request else "",
                f"{row.busy:.0%}",
                f"{row.events_a_second:,.0f}",
                f"{_number(row.age_p50_ms)} / {_number(row.age_p99_ms)}",
                f"{_number(row.first_p50_ms)} / {_number(row.first_p99_ms)}",
                f"{row.errors}" + (f" ({row.unfinished} unfinished)" if row.unfinished else ""),
            )
            for row in rows
        ]
        head = ("", "µs/request", "µs/event", "× nginx", "Redis µs/request", "busy", "events/s")
        head += ("age ms p50 / p99", "first event ms p50 / p99", "errors")
        parts.append(f"### {name}: {rows[0].what}\n\n{table(head, cells)}\n")
    return "\n".join(parts)


def goals(results: Results) -> str:
    """Every goal and whether it is met."""
    words = {True: "met", False: "**not met**", None: ""}
    found = verdicts(results)
    in_rounds = any(v.rounds_text for v in found)

    def cells(v: Verdict) -> tuple[str, ...]:
        rounds = (v.rounds_text,) if in_rounds else ()
        return v.what, v.must_text, v.aim_text, v.found_text, *rounds, words[v.met], words[v.aimed]

    rounds = ("rounds",) if in_rounds else ()
    return table(("", "must", "aim", "found", *rounds, "must", "aim"), map(cells, found))


def memory(results: Results) -> str:
    """Open streams."""
    cells = [
        (
            m.target,
            f"{m.streams:,}",
            _number(m.before_mib),
            _number(m.highest_mib),
            _number(m.kib_a_stream),
            f"{m.errors}",
        )
        for m in results.memory
    ]
    return table(("", "streams", "MiB before", "MiB open", "KiB a stream", "errors"), cells)


def slow(results: Results) -> str:
    """Readers that take less than is offered."""
    cells = [(s.target, _number(s.begin_mib), _number(s.highest_mib), _number(s.growth_mib)) for s in results.slow]
    return table(("", "MiB at the beginning", "MiB at the most", "grown by"), cells)


def moments(results: Results) -> str:
    """Single things that take a time."""
    cells = [
        (m.what, m.target, f"{m.count}", f"{m.missing}", _number(m.p50_ms), _number(m.p99_ms)) for m in results.moments
    ]
    return table(("", "", "measured", "never seen", "p50 ms", "p99 ms"), cells, left=2)


def curve(results: Results) -> str:
    """From few streams to many."""
    cells = [
        (
            p.target,
            f"{p.streams:,}",
            f"{p.events_a_second_offered:,.0f}",
            f"{p.events_a_second:,.0f}",
            _number(p.cpu_us_an_event),
            _number(p.redis_us_an_event) if p.redis_us_an_event else "",
            f"{p.busy:.0%}",
            f"{_number(p.age_p50_ms)} / {_number(p.age_p99_ms)}",
            _number(p.memory_mib),
            f"{p.errors}",
        )
        for p in results.curve
    ]
    head = ("", "streams", "events/s due", "events/s", "µs/event", "Redis µs/event", "busy", "age ms p50 / p99", "MiB")
    return table((*head, "errors"), cells)


def agreement(results: Results) -> str:
    """This load generator and mock beside others."""
    cells = [
        (a.workload, a.target, a.unit, _number(a.ours), _number(a.other), f"{a.difference:+.1%}")
        for a in results.agreement
    ]
    return table(("", "", "", "ours", "other", "difference"), cells, left=3)


def profiles(results: Results) -> str:
    """Where a worker's time went, workload by workload: packages beside functions."""
    parts = []
    for p in results.profiles:
        pairs = zip_longest(p.packages, p.callers, fillvalue=("", 0.0))
        cells = [
            (_code(package), f"{a:.1%}" if a else "", _code(caller), f"{b:.1%}" if b else "")
            for (package, a), (caller, b) in pairs
        ]
        head = ("what ran", "share", "for this function of streamproxy", "share")
        parts.append(f"### {p.workload}: {p.kernel:.0%} in the kernel\n\n{table(head, cells)}\n")
    return "\n".join(parts)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _circumstances(results: Results) -> str:
    rows = list(results.circumstances.items())
    rows.append(("measured for", f"{results.seconds / 60:.0f} min"))
    rows += [(name, version) for name, version in results.versions.items()]
    rows += [(name, f"not measured: {_one_line(reason)}") for name, reason in results.missing.items()]
    return table(("", ""), rows, left=2)


_RATIOS = """ The goals' ratios are those of the
  median round: the machine is slower in one minute than in another, and in a round a workload's targets follow each
  other. Two workers and the one beside them, whose core mock and load share by chance, have twice as many rounds."""
_PAGE = """# Benchmarks

*Written by `{command}`; the figures are in [benchmarks.json](benchmarks.json).*

Everything in one run, on one machine, over the loopback. streamproxy has everything on: bearer verified, windows of
requests and tokens checked and session loaded in Redis, session appended, usage and history written, access line and
metrics recorded. The peers only relay. nginx is no peer but the limit of what C can do: it relays unbuffered and does
nothing else.

{disturbed}## The goals

{goals}

{wrong}
## The machine

{circumstances}

## The workloads

{rounds}{saturated}

{workloads}
## Memory of open streams

Each has one event a second; resident memory of the process tree, before the first and at the most.

{memory}

{slow}## How long it takes until

{moments}

{curve}{profiles}{agreement}## How to read it

- **CPU** is the scheduler's time of the proxy's process tree within the measured seconds, divided by what was answered
  in them. Redis runs on the other core; its CPU is a column of its own.{ratios}
- **busy** is the share of one core that the proxy used. Near 100 % the rate is the proxy's limit, and ages are the
  length of a queue.
- **age** is what lies between the making of an event in the mock and its reading in the load generator: the proxy and
  two hops over the loopback. **first event** counts from when a request was sent, or due.
- **errors**: the load generator checks status, framing, order and number of events, and `[DONE]`, in every answer.
  *Unfinished* are answers that had not ended seconds after the window: that proxy could not keep up.
- The proxy is pinned to one core; mock, Redis and load generator share another. Two workers have a core each
  (`server.pin_workers`), so that one of them is with mock, Redis and load generator; *not pinned*, the kernel moves
  them. They are measured in turn with one worker: with as many clients in all as it has, which is what the goal asks
  for, and with as many for each of them (*W1 doubled*), since a worker that does less at once does each for more.
- Contexts are really loaded: a round of a workload has 1,000 sessions of its own, in turn, each of which has had a turn
  before anything is measured; in W1 each takes some ten more. What the first turn of a session costs is a workload of
  its own, and so is what a turn costs after fifty (*W1 long conversations*): each sends all that was said before.

The mock upstream, the load generator and the run are in [`tests/bench`](../tests/bench). `make bench` needs gcc, nginx
and redis-server, and installs the peers into a cache folder; `make bench-quick` measures nginx and streamproxy in less
than two minutes; `make profile` prints where the time goes.
"""


def page(results: Results) -> str:
    """docs/benchmarks.md."""
    load = _load(results)
    limited = [row for row in results.rows if row.busy > SATURATED and "worker" not in row.target]
    names = ", ".join(f"{row.workload} {row.target}" for row in limited)
    rounds = mode(row.rounds for row in results.rows) if results.rows else 0
    return _PAGE.format(
        command=results.circumstances["command"],
        disturbed=_DISTURBED.format(load=load) if load >= _QUIET_LOAD else "",
        goals=goals(results),
        wrong="".join(f"- {_one_line(text)}\n" for text in results.own_errors()) + "\n" if results.own_errors() else "",
        circumstances=_circumstances(results),
        ratios=_RATIOS if any(row.rounds_us for row in results.rows) else "",
        rounds=f"Medians of {rounds} rounds." if rounds > 1 else "One round.",
        saturated="\n\n" + fill(f"The proxy's core was the limit in: {names}.", 118) if names else "",
        workloads=workloads(results),
        memory=memory(results),
        slow=f"{_slow_text(results)}\n\n{slow(results)}\n\n" if results.slow else "",
        moments=moments(results),
        curve=f"## From few streams to many\n\nTen events a second each, one worker.\n\n{curve(results)}\n\n"
        if results.curve
        else "",
        profiles=f"## Where the time goes\n\n{_PROFILES}\n\n{profiles(results)}\n" if results.profiles else "",
        agreement=f"## Another load generator\n\n{_AGREEMENT}\n\n{agreement(results)}\n\n" if results.agreement else "",
    )


_DISTURBED = """**Other work ran on this machine at the same time** (load average {load:.1f} before the run): CPU hardly
suffers from that; latencies and rates do.

"""
_PROFILES = """Samples of the loaded worker's event loop, as `make profile` takes them: by the package that ran, and by
the innermost function of streamproxy for whom it ran. The thread that writes usage and history into SQLite is not among
them (`make profile` names it); its time is in the CPU above.

A request (W1, W5) has no peak that could be taken off: it is many steps (bearer, limits and session, budget, the
upstream's request, settlement, ledger, log line, metrics), each of a few percent at most: some 550 calls of Python
and C together, which `make calls` lists. An event of a paced stream (W3) comes alone: what the kernel and the loop do
for one read and one write is done for each, and the data of its stream are in no near cache. The new requests are in
its price, too: a stream lasts five seconds, so that a hundred of them begin and end in each second, among so much else
that their code is cold as well. *W3 lasting* is the same without them.

What a request costs is not the interpreter's doing, but that of so many steps whose code and data are in no near cache
when their turn comes. Tried with `make bench-pair` against a copy of the tree, five to eight rounds of W1 each: the
modules on the way compiled as they are cost 1.22 times (Cython) and 1.07 times (mypyc) what they cost interpreted; the
heap in huge pages 0.96 times, for 90 MiB more a worker; a Python built with profile and link-time optimisation, as
distributions do, 0.92 times, and LiteLLM gains more by it. None of them is taken.

W3 beside nginx: what the kernel does for an event is nearly all that nginx costs, and it does the same for us. The rest
is the loop, the parser and four frames of Python; what is handed on only at the end of a turn of the loop, stage by
stage for all streams, costs 1.01 times as much. The goals beside LiteLLM and Portkey were set where they cost 44 and
1.8 ms a request and bare Starlette 0.24 to 0.29 ms, so that 1/80, 1/4 and 1.6 times meant the same; on this machine
LiteLLM costs less than that, and bare Starlette more.

Three rounds lie on either side of a goal by chance. Nine of W1 alone at commit 5a70130 gave 0.0117 of LiteLLM in the
median (0.0078 to 0.0177), 0.30 of Portkey (0.20 to 0.42) and 1.30 times bare Starlette (0.98 to 1.64), no errors:
`python -m tests.bench.run --kind full --only W1 --rounds 9`, broken off behind the rounds of W1."""
_AGREEMENT = """The same targets, measured in turn with another load generator and another mock upstream: CPU in
microseconds."""


def _slow_text(results: Results) -> str:
    found = results.slow[0]
    return f"Slow readers: {found.clients} clients that read 1 kB/s of endless answers, for {found.seconds:.0f} s."


def section(results: Results) -> str:
    """What README says of speed."""
    wanted = [
        ("20-event answer, µs", "W1", "cpu_us_a_request"),
        ("event in a long answer, µs", "W2", "cpu_us_an_event"),
        ("event of 500 streams at 40/s, µs", "W3", "cpu_us_an_event"),
        ("answer without stream, µs", "W5", "cpu_us_a_request"),
    ]
    targets = [
        name for name in dict.fromkeys(row.target for row in results.rows) if "worker" not in name and name != "direct"
    ]
    cells = []
    for what, workload, value in wanted:
        found = [results.row(workload, target) for target in targets]
        cells.append((what, *(_number(getattr(row, value)) if row and getattr(row, value) else "" for row in found)))
    head = ("CPU of the proxy", *(f"**{name}**" if name == OURS else name for name in targets))
    return f"{BEGIN}\n{table(head, cells)}\n\n{_cautions(results)}{END}"


def _cautions(results: Results) -> str:
    """What a reader of README's figures must know, each a paragraph."""
    wrong, load = len(results.own_errors()), _load(results)
    texts = [f"Other work ran on the machine at the same time: its load was {load:.0f}."] if load >= _QUIET_LOAD else []
    texts += [f"In {wrong} measurements of this run streamproxy erred: the page says in which."] if wrong else []
    return "".join(f"{text}\n\n" for text in texts)


def _load(results: Results) -> float:
    return float(results.circumstances["load average before"])


def publish(results: Results) -> None:
    """Write the page, and README's figures between their marks."""
    PAGE.write_text(page(results))
    text = README.read_text()
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    README.write_text(text[:begin] + section(results) + text[end:])


def summary(results: Results) -> str:
    """For the terminal."""
    return "\n".join(["", workloads(results), goals(results), ""])
