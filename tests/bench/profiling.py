"""``make profile``: where the time of a loaded worker goes, by py-spy, as tables that one can read.

py-spy looks at the worker a few hundred times a second from outside: nothing in it is changed or slowed much. A
sample is a stack; *own* counts where it ended, *with all below* every function on it. The kernel's share (sockets,
mostly) is the scheduler's count of the same seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import click

from tests.bench.machine import Cores, allow_many_files, build
from tests.bench.targets.mock import mock_upstream
from tests.bench.targets.ours import streamproxy
from tests.bench.targets.target import Target
from tests.bench.workloads import FIRST, RESUMABLE, W1, W2, W2W, W3, W5, Workload

_WORKLOADS = {w.name.replace(" ", "-"): w for w in (W1, W2, W2W, W3, W5, RESUMABLE, FIRST)}
# How a path in a stack is told shortly: from behind the first of these on.
_ROOTS = ("site-packages/", "/lib/python3", "streamproxy/")
_GRACE_SECONDS = 60
# What is under the loop's thread in every sample, and no news.
_LOOP = ("Runner.run ", "BaseEventLoop.run_forever ", "BaseEventLoop._run_once ", "Handle._run ")


@dataclass(frozen=True, slots=True)
class Profile:
    """Stacks of the event loop's thread, each a tuple of frames from the outermost, with how often each was seen.

    *threads* counts the samples of other threads, by the function they run. CPU seconds are the worker's.
    """

    stacks: Counter[tuple[str, ...]]
    threads: Counter[str]
    user_seconds: float
    system_seconds: float
    seconds: float
    events: int
    errors: int

    @property
    def samples(self) -> int:
        return self.stacks.total()

    def own(self) -> Counter[str]:
        """By the function in which a stack ends."""
        return _counted((stack[-1:], count) for stack, count in self.stacks.items())

    def inclusive(self) -> Counter[str]:
        """By every function on a stack, once."""
        return _counted((dict.fromkeys(stack), count) for stack, count in self.stacks.items())

    def asked_by(self) -> Counter[str]:
        """By the innermost function of streamproxy: whose line it was that all below it was done for."""
        found = [([f for f in stack if "(streamproxy/" in f][-1:], count) for stack, count in self.stacks.items()]
        return _counted((frames or ["(none of streamproxy: loop, parsers, threads)"], count) for frames, count in found)

    def tables(self) -> tuple[Counter[str], Counter[str]]:
        """By package, and by the function of streamproxy for whom it ran."""
        return self.packages(), self.asked_by()

    def largest(self, counted: Counter[str], count: int) -> list[tuple[str, float]]:
        """The *count* largest, as shares of all samples of the loop."""
        return [(what, round(seen / max(self.samples, 1), 4)) for what, seen in counted.most_common(count)]

    def packages(self) -> Counter[str]:
        """By the package in which a stack ends."""
        return _counted(([_package(stack[-1])], count) for stack, count in self.stacks.items())


def _counted(pairs) -> Counter[str]:  # type: ignore[no-untyped-def]
    counter: Counter[str] = Counter()
    for frames, count in pairs:
        for frame in frames:
            counter[frame] += count
    return counter


def _package(frame: str) -> str:
    path = frame.partition("(")[2]
    parts = path.rpartition(":")[0].split("/")
    return "/".join(parts[:2]) if parts[0] == "streamproxy" else parts[0] or frame


def parse(raw: str) -> tuple[Counter[tuple[str, ...]], Counter[str]]:
    """The stacks of the loop's thread without what starts the loop, and the samples of other threads.

    py-spy's raw format: frames from the outermost, separated by semicolons, a blank, a count.
    """
    stacks: Counter[tuple[str, ...]] = Counter()
    threads: Counter[str] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        kept = [_short(frame) for frame in frames.split(";") if frame and not frame.startswith("process ")]
        loop = [i for i, frame in enumerate(kept) if frame.startswith(_LOOP)]
        if loop:
            stacks[tuple(kept[loop[-1] :])] += int(count)
        elif kept:
            threads[kept[-1]] += int(count)
    return stacks, threads


def _short(frame: str) -> str:
    name, opened, path = frame.partition(" (")
    for root in _ROOTS:
        _, found, rest = path.partition(root)
        if found:
            path = (
                f"streamproxy/{rest}"
                if root == "streamproxy/"
                else rest.partition("/")[2]
                if "python3" in root
                else rest
            )
            break
    return f"{name}{opened}{path}"


def _seconds(pid: int) -> tuple[float, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def profiled(load: Path, target: Target, workload: Workload, *, rate: int, native: bool, raw: Path) -> Profile:
    """Load *target* with *workload* and look at its worker in the measured window; RuntimeError when that fails."""
    (worker,) = target.workers
    command = [str(load), *workload.arguments(target)]
    spy = [str(Path(sys.executable).with_name("py-spy")), "record", "-p", str(worker), "-r", str(rate), "-f", "raw"]
    spy += ["-d", f"{workload.seconds:.0f}", "-o", str(raw), "--full-filenames", "--function"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        try:
            running.wait(workload.ramp + workload.warm)
            raise RuntimeError("the load generator ended early")
        except subprocess.TimeoutExpired:
            before = _seconds(worker)
        limit = workload.seconds + _GRACE_SECONDS
        done = subprocess.run(spy + ["--native"] * native, capture_output=True, text=True, timeout=limit, check=False)
        after = _seconds(worker)
        if done.returncode:
            raise RuntimeError(f"py-spy could not look into process {worker}: {done.stderr.strip()}; run it as root")
        import msgspec

        said = msgspec.json.decode(running.communicate(timeout=limit)[0])
    finally:
        running.kill()
        running.wait()
    user, system = (b - a for a, b in zip(before, after, strict=True))
    return Profile(*parse(raw.read_text()), user, system, workload.seconds, said["events"], said["errors"])


def text(profile: Profile, workload: Workload, top: int) -> str:
    """What is printed."""
    spent = profile.user_seconds + profile.system_seconds
    lines = [
        f"{workload.name}: {workload.what}",
        f"{profile.seconds:.0f} s, {profile.events:,} events, {profile.errors} errors",
        f"CPU {spent:.2f} s, of which in the kernel {profile.system_seconds / spent:.0%}",
        f"{profile.samples:,} samples of the event loop",
    ]
    sections = (
        ("By the package that ran", profile.packages()),
        ("By the function of streamproxy for whom it ran", profile.asked_by()),
        ("By function, own time", profile.own()),
        ("By function, with all below", profile.inclusive()),
    )
    for title, counted in sections:
        lines += ["", title]
        lines += [f"  {share:6.1%}  {what}" for what, share in profile.largest(counted, top)]
    lines += ["", "Other threads, in samples (they also count while they wait for the interpreter)"]
    lines += [f"  {count:6,}  {what}" for what, count in profile.threads.most_common(5)]
    return "\n".join(lines)


@click.command(
    epilog="""\b
    make profile                                  W3: 500 streams of 40 events a second
    make profile ARGS="W1"                        short streams: what a request costs
    make profile ARGS="W2 --native --top 40"      C functions too; more lines
    make profile ARGS="W1 --raw stacks.txt"       the stacks themselves, for a flame graph
"""
)
@click.argument("name", type=click.Choice(list(_WORKLOADS)), default="W3")
@click.option("--seconds", default=8.0, show_default=True, help="How long the worker is looked at.")
@click.option("--rate", default=250, show_default=True, help="Samples a second.")
@click.option("--top", default=25, show_default=True, help="Lines a table.")
@click.option("--native", is_flag=True, help="Also functions of C libraries.")
@click.option("--raw", type=click.Path(dir_okay=False, path_type=Path), help="Keep the stacks there.")
def main(name: str, seconds: float, rate: int, top: int, native: bool, raw: Path | None) -> None:
    """Print where the time of a worker goes while workload NAME runs (W3 when none is named)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    workload = replace(_WORKLOADS[name], seconds=seconds)
    cores = Cores()
    allow_many_files()
    cores.load()
    with tempfile.TemporaryDirectory(prefix="profile") as folder_name:
        folder = Path(folder_name)
        with mock_upstream(folder) as mock, streamproxy(folder / "ours", mock.port, cores) as target:
            print(
                f"loading a worker for {workload.ramp + workload.warm + seconds:.0f} s ...", file=sys.stderr, flush=True
            )
            stacks = raw or folder / "stacks"
            try:
                profile = profiled(build("load", folder), target, workload, rate=rate, native=native, raw=stacks)
            except RuntimeError as fault:
                sys.exit(str(fault))
    print(text(profile, workload, top))


if __name__ == "__main__":
    main()
