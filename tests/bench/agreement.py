"""Whether another load generator with another mock upstream finds the same: the same targets, turn by turn.

The other two are C sources in a folder: ``sseload.c`` (options as in ``sseload --help``) and ``mockup.c``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from tests.bench.machine import Cores
from tests.bench.measuring import measure, row
from tests.bench.results import Agreement
from tests.bench.targets.mock import Mock
from tests.bench.targets.nginx import nginx
from tests.bench.targets.ours import streamproxy
from tests.bench.targets.peers import starlette
from tests.bench.targets.target import Target, listens
from tests.bench.workloads import SMALL_W3, W1, W5, Workload
from tests.support.processes import find_program, free_port, stop, wait_until

ROUNDS = 2
WORKLOADS = (W1, W5, replace(SMALL_W3, name="W3, 50 streams"))
_SESSION = "X-Session-Id: bench-%d"


def agreement(
    sources: Path, folder: Path, load: Path, mock: Mock, cores: Cores, say: Callable[[str], None]
) -> list[Agreement]:
    """nginx, streamproxy and Starlette, each once behind each mock, measured by either load generator in turn."""
    folder.mkdir()
    for name in ("sseload", "mockup"):
        subprocess.run(
            [find_program("gcc", package="gcc"), "-O2", "-o", folder / name, sources / f"{name}.c", "-lm"], check=True
        )
    port = free_port()
    other_mock = subprocess.Popen([folder / "mockup", "-q", "-p", str(port)])
    found = []
    try:
        wait_until(lambda: listens(port), "the other mock listens")
        for start in (nginx, streamproxy, starlette):
            with ExitStack() as stack:
                one, two = (
                    stack.enter_context(start(folder / f"{start.__name__}-{behind}", behind, cores))
                    for behind in (mock.port, port)
                )
                for workload in WORKLOADS:
                    found.append(_pair(load, folder / "sseload", one, two, workload))
                    say(f"{found[-1]}, {found[-1].difference:+.1%}")
    finally:
        stop(other_mock)
    return found


def _pair(load: Path, sseload: Path, one: Target, two: Target, workload: Workload) -> Agreement:
    rows, others = [], []
    for number in range(1, ROUNDS + 1):
        asked = workload.in_round(number)
        for target in (one, two):
            if target.people:
                measure(load, target, asked.first_turns())
        one.settle()
        rows.append(measure(load, one, asked))
        two.settle()
        others.append(_other(sseload, two, asked))
    mine = row(workload, one, rows)
    if workload.paced:
        return Agreement(
            workload.name, one.name, "µs/event", mine.cpu_us_an_event, median(o["cpu_us_per_event"] for o in others)
        )
    return Agreement(
        workload.name, one.name, "µs/request", mine.cpu_us_a_request, median(o["cpu_us_per_req"] for o in others)
    )


def _other(sseload: Path, target: Target, workload: Workload) -> dict[str, float]:
    options = f"-c {workload.clients} -r {workload.ramp} -W {workload.ramp + workload.warm} -d {workload.seconds} "
    options += f"-D {workload.drain} -i {workload.sessions} -I {workload.first_session} -p {target.pids[0]} "
    options += f"-e {workload.expected} -m {workload.model}" if workload.stream else f"-M {workload.model}"
    command = [str(sseload), *options.split()]
    command += [word for header in (*target.headers, _SESSION) for word in ("-H", header)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{target.port}/v1/chat/completions"], capture_output=True, text=True, check=False
    )
    said: dict[str, float] = json.loads(done.stdout)
    if said["errors"]:
        raise RuntimeError(f"{workload.name}, {target.name}: the other load generator saw errors: {done.stdout[:500]}")
    return said
