"""``make bench-pair``: what a change costs, to half a percent: this tree and another one, measured at the same time.

Both servers share one core, and each has half of a workload: whatever the machine does in that moment, it does to
both. Measured one after the other, the same code differs by 15 % from minute to minute here.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import click

from tests.bench.machine import ROOT, Cores, allow_many_files, build
from tests.bench.measuring import Measurement, measure
from tests.bench.targets.mock import mock_upstream
from tests.bench.targets.ours import streamproxy
from tests.bench.targets.target import Target
from tests.bench.workloads import W1, W2, W2W, W3, W5, Workload

_WORKLOADS = {w.name: w for w in (W1, W2, W2W, W3, W5)}


@dataclass(frozen=True, slots=True)
class Pair:
    """CPU of one round in microseconds an event, or an answer where nothing is streamed."""

    here: float
    other: float

    @property
    def ratio(self) -> float:
        return self.here / self.other


def halved(workload: Workload) -> Workload:
    """For each of two: both together have as many clients as one has otherwise."""
    return replace(workload, clients=workload.clients // 2)


def said(name: str, pairs: list[Pair]) -> str:
    """The mean ratio and its standard error."""
    ratios = [pair.ratio for pair in pairs]
    error = f" ± {stdev(ratios) / len(ratios) ** 0.5:.3f}" if len(ratios) > 1 else ""
    return f"{name}: this tree costs {fmean(ratios):.3f}{error} times the other"


class Pairing:
    """Two targets, the one of this tree first, and the load generator *load*."""

    def __init__(self, load: Path, targets: tuple[Target, Target]) -> None:
        self._load = load
        self._targets = targets

    def rounds(self, workload: Workload, count: int) -> Iterator[Pair]:
        """*count* rounds of *workload*, of which each target has half; RuntimeError for errors in answers."""
        with ThreadPoolExecutor(len(self._targets)) as pool:
            for number in range(1, count + 1):
                asked = halved(workload).in_round(number)
                for target in self._targets:
                    measure(self._load, target, asked.first_turns())
                for target in self._targets:
                    target.settle()
                running = [pool.submit(measure, self._load, target, asked) for target in self._targets]
                yield Pair(*(_cost(future.result()) for future in running))


def _cost(found: Measurement) -> float:
    if found.errors or not found.events:
        raise RuntimeError(f"{found.events} events, {found.errors} errors: {found.first_error}")
    return found.cpu_us[0] / found.events


@click.command(
    epilog="""\b
    git worktree add /tmp/before HEAD~1
    make bench-pair ARGS="/tmp/before"                 W1 and W3, eight rounds: some five minutes
    make bench-pair ARGS="/tmp/before --only W1"       one workload: a minute
    make bench-pair ARGS=". --only W1"                 this tree beside itself: how exact it is
"""
)
@click.argument("other", type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(list(_WORKLOADS)), help="Only these; may be repeated.")
@click.option("--rounds", type=click.IntRange(1, 100), default=8, show_default=True, help="How often.")
@click.option("--window", type=click.FloatRange(0.05, 10), default=1.0, help="Factor for the length of a round.")
def main(other: Path, only: tuple[str, ...], rounds: int, window: float) -> None:
    """Compare the CPU of this tree with that of OTHER, a folder with another checkout; both use this environment."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not (other / "streamproxy" / "__init__.py").is_file():
        sys.exit(f"{other} is no checkout: it has no streamproxy/__init__.py")
    cores = Cores()
    allow_many_files()
    cores.load()
    with tempfile.TemporaryDirectory(prefix="pair") as name, ExitStack() as stack:
        folder = Path(name)
        mock, load = stack.enter_context(mock_upstream(folder)), build("load", folder)

        def started(label: str, tree: Path) -> Target:
            return stack.enter_context(streamproxy(folder / label, mock.port, cores, env={"PYTHONPATH": str(tree)}))

        pairing = Pairing(load, (started("here", ROOT), started("other", other)))
        for workload in [_WORKLOADS[name].shorter(window) for name in only or ("W1", "W3")]:
            pairs = []
            for pair in pairing.rounds(workload, rounds):
                pairs.append(pair)
                print(
                    f"  {workload.name} {len(pairs)}/{rounds}  here {pair.here:.2f} µs, other {pair.other:.2f} µs, "
                    f"{pair.ratio:.3f}",
                    flush=True,
                )
            print(said(workload.name, pairs))


if __name__ == "__main__":
    main()
