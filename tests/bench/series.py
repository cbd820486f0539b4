"""The whole run, in its order: all targets side by side, in turn within every round.

What counts is CPU time of a proxy's process tree: it hardly depends on what else the machine does. Targets take turns
within a round, so that what disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.goals import ONE_BESIDE, TWO_FREE
from tests.bench.installs import PeerMissingError
from tests.bench.machine import Cores
from tests.bench.measuring import Measurement, measure, row
from tests.bench.moments import REPEATS, cancelling, leaving, resuming
from tests.bench.profiling import profiled
from tests.bench.results import Memory, Point, ProfileLines, Results, Slow
from tests.bench.targets.mock import Mock
from tests.bench.targets.nginx import nginx
from tests.bench.targets.ours import streamproxy, streamproxy_ports
from tests.bench.targets.peers import litellm, portkey, starlette
from tests.bench.targets.target import Target
from tests.bench.workloads import (
    FIRST,
    LASTING,
    LEAVING,
    LONG,
    NEW_SESSIONS,
    RESUMABLE,
    SLOW,
    SMALL_W3,
    W1,
    W1_DOUBLED,
    W2,
    W2W,
    W3,
    W5,
    Workload,
    idle_streams,
    kind_of,
    many_streams,
)

Starter = Callable[[Path, int, Cores], AbstractContextManager[Target]]
PEERS: tuple[Starter, ...] = (starlette, portkey, litellm)
# The first targets are nginx and streamproxy; peers follow.
_OWN = 2
# Where a request takes as long as with LiteLLM, more would take minutes to open.
_FEW_STREAMS, _SLOW_MILLIS = 200, 20
_PROFILE_RATE, _PROFILE_LINES = 250, 12
_WARM_UP = Workload("warm-up", "", "bench-n20", 16, seconds=1.5, warm=0, first_session=20_000_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. *window* is a factor for the length of the measured windows.

    *own* is for streamproxy alone, *beside_nginx* for both of them: each in turn with the workload it is a kind of.
    """

    rounds: int = 5
    window: float = 1
    peers: tuple[Starter, ...] = PEERS
    workloads: tuple[Workload, ...] = (W1, W2, W2W, W3, W5)
    memory_streams: int = 2000
    first_turns: bool = True
    own: tuple[Workload, ...] = (RESUMABLE, NEW_SESSIONS, LONG)
    beside_nginx: tuple[Workload, ...] = (LASTING,)
    profiles: bool = True
    slow: bool = True
    repeats: int = REPEATS
    curve: tuple[int, ...] = (50, 100, 250, 500, 1000, 2500, 5000)
    workers: bool = True


QUICK = Plan(
    rounds=1,
    window=0.6,
    peers=(),
    workloads=(W1, W2, replace(W3, ramp=3, drain=6), W5),
    memory_streams=500,
    own=(),
    beside_nginx=(),
    profiles=False,
    slow=False,
    repeats=20,
    curve=(),
    workers=False,
)
_SMOKE_W3 = replace(SMALL_W3, model="bench-n20-r40", expected=20, clients=5, ramp=0.1, warm=0.1)
SMOKE = Plan(
    rounds=1,
    window=0.1,
    first_turns=False,
    peers=(),
    workloads=(replace(W1, warm=0.1), _SMOKE_W3, replace(W5, warm=0.1)),
    memory_streams=0,
    own=(),
    beside_nginx=(),
    profiles=False,
    slow=False,
    repeats=2,
    curve=(),
    workers=False,
)


class Series:
    """One run of *plan*, with the load generator *load* and the *mock*; what it finds is in ``results``."""

    def __init__(self, folder: Path, load: Path, mock: Mock, cores: Cores, plan: Plan, results: Results) -> None:
        self.folder, self.load, self.mock, self.cores = folder, load, mock, cores
        self.plan, self.results = plan, results
        self.targets: list[Target] = []
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Progress, with the minutes since the beginning."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)

    def run(self) -> None:
        """Everything. What cannot be measured is a fault of the run, and the rest is measured all the same."""
        with ExitStack() as stack:
            stack.callback(self._collect_faults)
            self._start(stack)
            own = self.targets[1]
            for part in (
                self._memory,
                self._rounds,
                self._first_events,
                lambda: self._profiles(own),
                self._slow_readers,
                lambda: self._moments(own),
                self._curve,
            ):
                self._attempt(part)
        if self.plan.workers:
            self._attempt(self._two_workers)
        self.results.seconds = round(time.monotonic() - self._began)

    def _attempt(self, part: Callable[[], None]) -> None:
        try:
            part()
        except (RuntimeError, OSError, subprocess.SubprocessError) as fault:
            self.say(f"could not be measured: {fault}")
            self.results.faults.append(f"could not be measured: {fault}")

    def _collect_faults(self) -> None:
        self.results.faults += [fault for target in self.targets for fault in target.faults]

    def _start(self, stack: ExitStack) -> None:
        for start in (nginx, streamproxy, *self.plan.peers):
            name = start.__name__
            self.say(f"starting {name}")
            try:
                target = stack.enter_context(start(self.folder / name, self.mock.port, self.cores))
            except (PeerMissingError, RuntimeError) as fault:
                if start not in self.plan.peers:
                    raise
                self.say(f"{name} is left out: {fault}")
                self.results.missing[name] = str(fault)
                continue
            self.targets.append(target)
            self.results.versions[target.name] = target.version
            self._measure(target, _WARM_UP.shorter(self.plan.window))

    def _measure(self, target: Target, workload: Workload) -> Measurement:
        with self._alone(target):
            return measure(self.load, target, workload)

    @contextmanager
    def _alone(self, target: Target) -> Iterator[None]:
        """Once *target* has worked off what it was asked before, with all other peers held.

        One that is slower than it was asked goes on for a minute, on the core and in the caches of whoever is next.
        """
        held = [peer for peer in self.targets[_OWN:] if peer is not target]
        for peer in held:
            peer.hold()
        try:
            target.settle()
            yield
        finally:
            for peer in held:
                peer.go_on()

    def _in_turn(self, pairs: Sequence[tuple[Workload, Target]], rounds: int = 0) -> None:
        """All *rounds* (the plan's, where none are given) of *pairs*, no two of which have both names in common."""
        rounds = rounds or self.plan.rounds
        found: dict[tuple[str, str], list[Measurement]] = {}
        for number in range(1, rounds + 1):
            for workload, target in pairs:
                asked = workload.in_round(number).shorter(self.plan.window)
                if self.plan.first_turns and target.people and workload.sessions:
                    self._measure(target, asked.first_turns())
                m = self._measure(target, asked)
                found.setdefault((workload.name, target.name), []).append(m)
                self.say(f"round {number}/{rounds} {_line(workload, target, m)}")
        self.results.rows += [row(workload, target, found[workload.name, target.name]) for workload, target in pairs]

    def _rounds(self) -> None:
        kinds = [(kind, self.targets[:_OWN]) for kind in self.plan.beside_nginx]
        kinds += [(kind, self.targets[1:_OWN]) for kind in self.plan.own]
        groups = [
            (workload, targets)
            for asked in self.plan.workloads
            for workload, targets in [(asked, self.targets), *kinds]
            if kind_of(workload.name) == asked.name
        ]
        self._in_turn([(workload, target) for workload, targets in groups for target in targets])

    def _first_events(self) -> None:
        self._in_turn([(FIRST, target) for target in (self.mock.direct, *self.targets)])

    def _memory(self) -> None:
        if not self.plan.memory_streams:
            return
        for target in self.targets:
            count = _FEW_STREAMS if target.millis > _SLOW_MILLIS else self.plan.memory_streams
            m = self._measure(target, idle_streams(count, target))
            before, highest = m.rss_kib.before, m.rss_kib.highest
            kib = (highest - before) / m.most_running
            self.say(f"{target.name}: {m.most_running:,} open streams: {kib:.1f} KiB a stream, {m.errors} errors")
            found = (target.name, m.most_running, round(before / 1024, 1), round(highest / 1024, 1), round(kib, 1))
            self.results.memory.append(Memory(*found, m.errors))

    def _profiles(self, own: Target) -> None:
        for workload in self.plan.workloads if self.plan.profiles else ():
            raw, shorter = self.folder / "stacks", workload.shorter(self.plan.window)
            try:
                self._measure(own, shorter.first_turns())
                with self._alone(own):
                    profile = profiled(self.load, own, shorter, rate=_PROFILE_RATE, native=False, raw=raw)
            except RuntimeError as fault:
                self.results.missing[f"profile of {workload.name}"] = str(fault)
                continue
            self.say(f"looked into {workload.name}")
            spent = max(profile.user_seconds + profile.system_seconds, 1e-9)
            packages, callers = (profile.largest(counted, _PROFILE_LINES) for counted in profile.tables())
            kernel = round(profile.system_seconds / spent, 3)
            self.results.profiles.append(ProfileLines(workload.name, kernel, packages, callers))

    def _slow_readers(self) -> None:
        if not self.plan.slow:
            return
        for target in self.targets[:_OWN]:
            m = self._measure(target, SLOW)
            begin, highest = round(m.rss_kib.begin / 1024, 1), round(m.rss_kib.highest / 1024, 1)
            self.say(f"{target.name}: slow readers: {begin} → {highest} MiB, {m.errors} errors")
            self.results.slow.append(Slow(target.name, SLOW.clients, SLOW.seconds, begin, highest))

    def _moments(self, own: Target) -> None:
        repeats = self.plan.repeats
        found = self.results.moments
        for target in self.targets:
            with self._alone(target):
                found.append(leaving(self.load, target, self.mock, LEAVING.shorter(self.plan.window)))
            last = found[-1]
            self.say(f"{target.name}: {last.what} p50 {last.p50_ms} p99 {last.p99_ms} ms, {last.missing} never seen")
        with self._alone(own):
            found += [cancelling(own, self.mock, repeats), resuming(own, repeats)]
            if self.plan.workers:
                with streamproxy_ports(self.folder / "ports", self.mock.port, self.cores) as (one, other):
                    found += [cancelling(one, self.mock, repeats, other), resuming(one, repeats, other)]
                self.results.faults += one.faults
        self.say("cancelled and resumed")

    def _curve(self) -> None:
        for count in self.plan.curve:
            for target in self.targets[:_OWN]:
                workload = many_streams(count, target).shorter(self.plan.window)
                m = self._measure(target, workload)
                self.say(_line(workload, target, m))
                found = row(workload, target, [m])
                self.results.curve.append(
                    Point(
                        target=target.name,
                        streams=m.most_running,
                        events_a_second_offered=count * 10,
                        events_a_second=found.events_a_second,
                        cpu_us_an_event=found.cpu_us_an_event,
                        redis_us_an_event=found.redis_us_an_event,
                        busy=found.busy,
                        age_p50_ms=found.age_p50_ms,
                        age_p99_ms=found.age_p99_ms,
                        memory_mib=found.memory_mib,
                        errors=m.errors,
                    )
                )

    def _two_workers(self) -> None:
        """Beside one worker, in turn: the one of the rounds was measured many minutes ago."""
        with (
            streamproxy(self.folder / "one", self.mock.port, self.cores) as single,
            streamproxy(self.folder / "two", self.mock.port, self.cores, workers=2, pinned=True) as two,
            streamproxy(self.folder / "free", self.mock.port, self.cores, workers=2) as pair,
        ):
            one, free = replace(single, name=ONE_BESIDE), replace(pair, name=TWO_FREE)
            for target in (one, two, free):
                self._measure(target, _WARM_UP)
            names = {w.name for w in self.plan.workloads}
            if "W1" in names:
                # Who shares its core with mock and load varies from round to round more than anything else here.
                self._in_turn([(W1, one), (W1, two), (W1, free)], rounds=2 * self.plan.rounds)
                self._in_turn([(W1_DOUBLED, two)])
            if "W3" in names:
                self._in_turn([(W3, two)])
        self.results.faults += single.faults + two.faults + pair.faults


def _line(workload: Workload, target: Target, m: Measurement) -> str:
    """One measurement for who watches."""
    cpu = m.cpu_us[0] if m.cpu_us else 0.0
    text = f"{workload.name:12} {target.name:22} {cpu / max(m.events, 1):8.2f} µs an event"
    text += f"  busy {cpu / 1e6 / m.seconds:4.0%}  age p99 {m.age_us.p99 / 1e3:8.2f} ms  {m.errors} errors"
    text += f": {m.first_error}" if m.errors else ""
    return text + (f", {m.unfinished} unfinished" if m.unfinished and workload.drain else "")
