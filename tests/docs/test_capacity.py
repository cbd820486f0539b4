"""docs/capacity.py: its two models agree, bend where they must, and take what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from docs.capacity import Costs, Load, Room, measured, need, simulate

ROOT = Path(__file__).parents[2]


def test_ten_times_the_streams_take_ten_times_of_everything() -> None:
    """The model is linear; only whole workers and shards are rounded up."""
    small, large = (need(streams, Load(), Costs(), Room()) for streams in (10_000, 100_000))
    for name in ("cores", "redis_cores", "gigabit", "rows", "events"):
        assert getattr(large, name) == pytest.approx(10 * getattr(small, name))
    assert 9 * small.workers < large.workers <= 10 * small.workers


def test_both_models_find_a_worker_as_busy() -> None:
    """What is summed up and what is simulated event by event are two ways to one number."""
    load = Load(resumable=0.3)
    streams = 400
    wanted = need(streams, load, Costs(), Room()).cores
    point = simulate(streams, load, Costs(), seconds=6, random=Random(1))
    assert point.busy == pytest.approx(wanted, rel=0.15)


def test_a_worker_bends_at_its_core() -> None:
    """Half busy, events leave at once; with more than a core's work they are later and later."""
    one = need(1, Load(), Costs(), Room()).cores
    calm, full = (simulate(int(s / one), Load(), Costs(), seconds=3, random=Random(1)) for s in (0.5, 1.2))
    assert calm.p99_ms < 50 < full.median_ms


def test_what_is_not_recorded_costs_redis_no_appends() -> None:
    """And the share of streams that may be resumed is what Redis feels most."""
    plain, all_ = (need(10_000, Load(resumable=share), Costs(), Room()) for share in (0.0, 1.0))
    assert all_.redis_cores > 3 * plain.redis_cores


def test_files_bound_a_worker_that_has_little_else_to_do() -> None:
    """Silent streams cost no processor, but each has two files."""
    silent = need(1_000_000, Load(rate=0.001, length=1), replace(Costs(), worker_us_an_append=0), Room(files=1024))
    assert silent.streams_a_worker * 2 < 1024


def test_the_costs_are_those_that_were_measured(tmp_path: Path) -> None:
    """As ``make bench`` writes them; a run with errors counts for nothing."""
    row = {"target": "streamproxy", "errors": 0, "redis_us_a_request": 50.0, "redis_us_an_event": 0.0}
    rows = [
        {**row, "workload": "W1", "cpu_us_a_request": 400.0, "cpu_us_an_event": 20.0},
        {**row, "workload": "W3", "cpu_us_a_request": 0.0, "cpu_us_an_event": 15.0},
        {**row, "workload": "W3 resumable", "cpu_us_a_request": 0.0, "cpu_us_an_event": 17.0, "redis_us_an_event": 3.0},
    ]
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"rows": rows, "memory": [{"target": "streamproxy", "kib_a_stream": 9.0, "errors": 0}]}))
    costs = measured(path)
    assert (costs.worker_us_a_stream, costs.worker_us_an_event, costs.redis_us_a_stream) == (400, 15, 50)
    assert (costs.worker_us_an_append, costs.redis_us_an_append, costs.worker_kib_a_stream) == (8, 12, 9)
    rows[1]["errors"] = 3
    path.write_text(json.dumps({"rows": rows}))
    assert measured(path).worker_us_an_event == Costs().worker_us_an_event


def test_the_page_shows_what_the_program_prints() -> None:
    """The tables of docs/capacity.md are those of the costs in the program."""
    command = [sys.executable, "-m", "docs.capacity", "--built-in"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    page = (ROOT / "docs" / "capacity.md").read_text()
    tables = printed[printed.index("running streams") :].strip()
    for table in tables.split("\n\nOne worker, given more and more:\n\n"):
        assert table in page, "docs/capacity.md is stale: paste the output of python -m docs.capacity --built-in"
