"""``make bench``: measures streamproxy beside its peers, and writes the figures into the documents."""

from __future__ import annotations

import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from tests.bench import report
from tests.bench.agreement import agreement
from tests.bench.installs import cache_folder
from tests.bench.machine import ROOT, Cores, allow_many_files, build, circumstances
from tests.bench.results import FILE, Results
from tests.bench.series import PEERS, QUICK, SMOKE, Plan, Series
from tests.bench.targets.mock import mock_upstream
from tests.bench.workloads import W1, W2, W2W, W3, W5

_KINDS = {"full": Plan(), "quick": QUICK, "smoke": SMOKE}
_WORKLOADS = {workload.name: workload for workload in (W1, W2, W2W, W3, W5)}


def measured(plan: Plan, command: str, other: Path | None = None) -> Results:
    """Everything that *plan* asks for, and whether the *other* load generator agrees.

    What was started is stopped, also after a fault or SIGTERM.
    """
    cores = Cores()
    results = Results(circumstances(command))
    allow_many_files()
    cores.load()
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as name:
            folder = Path(name)
            with mock_upstream(folder) as mock:
                series = Series(folder, build("load", folder), mock, cores, plan, results)
                if other:
                    results.agreement = agreement(other, folder / "agreement", series.load, mock, cores, series.say)
                series.run()
    finally:
        cores.release()
    return results


@click.command(
    epilog=f"""\b
Measures on 127.0.0.1 only. The proxy under test has the last core for itself; mock upstream, Redis and load
generator share the first. Peers are installed into {cache_folder()}.
A full run takes about forty minutes on a quiet machine; anything else that runs disturbs latencies, hardly CPU.

\b
    make bench                                   everything; writes docs/benchmarks.md, docs/benchmarks.json, README
    make bench-quick                             nginx and streamproxy, under two minutes; writes nothing
    make bench ARGS="--rounds 1 --window 0.5"    the same measurements in less than half the time
    make bench-quick ARGS="--only W3"            one workload
"""
)
@click.option(
    "--kind", type=click.Choice(list(_KINDS)), default="full", show_default=True, help="How much is measured."
)
@click.option("--rounds", type=click.IntRange(1, 20), help="Rounds of which the median is taken.")
@click.option("--window", type=click.FloatRange(0.05, 10), help="Factor for the length of the measured windows.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(_WORKLOADS)), help="Only these workloads; may be repeated."
)
@click.option("--without", multiple=True, type=click.Choice([p.__name__ for p in PEERS]), help="Leave a peer out.")
@click.option(
    "--compare-with",
    "other",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with sseload.c and mockup.c: measure with them too, and tell the difference.",
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Write the page there.")
@click.option(
    "--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there as JSON."
)
def main(
    kind: str,
    rounds: int | None,
    window: float | None,
    only: tuple[str, ...],
    without: tuple[str, ...],
    other: Path | None,
    page: Path | None,
    path: Path | None,
) -> None:
    """Measure what streamproxy costs, beside nginx and its peers, in one run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = _KINDS[kind]
    plan = replace(plan, rounds=rounds or plan.rounds, window=window or plan.window)
    plan = replace(plan, peers=tuple(peer for peer in plan.peers if peer.__name__ not in without))
    plan = replace(plan, workloads=tuple(w for w in plan.workloads if w.name in only) if only else plan.workloads)
    results = measured(plan, _command(kind, rounds, window, only, without), other)
    print(report.summary(results))
    if path:
        results.write(path)
    if page:
        page.write_text(report.page(results))
    if kind == "full" and not only:
        results.write()
        report.publish(results)
        print(f"written to {report.PAGE.relative_to(ROOT)}, {FILE.relative_to(ROOT)} and README.md")
    if wrong := results.own_errors():
        sys.exit("streamproxy erred:\n" + "\n".join(wrong))


def _command(
    kind: str, rounds: int | None, window: float | None, only: tuple[str, ...], without: tuple[str, ...]
) -> str:
    """How to repeat this run."""
    words = [f"--rounds {rounds}"] if rounds else []
    words += [f"--window {window:g}"] if window else []
    words += [f"--only {name}" for name in only] + [f"--without {name}" for name in without]
    target = "make bench" if kind == "full" else f"make bench-{kind}"
    return target + (f' ARGS="{" ".join(words)}"' if words else "")


if __name__ == "__main__":
    main()
