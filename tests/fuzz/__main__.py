"""``python -m tests.fuzz``: runs one generator, or all of them, for a count and by a seed."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable

from tests.fuzz import http, json_bodies, raw, sse, through_nginx
from tests.fuzz.report import Report

RUNS: dict[str, tuple[Callable[[Report], None], int]] = {
    "sse": (sse.run, 1_000_000),
    "http": (http.run, 200_000),
    "nginx": (through_nginx.run, 20_000),
    "raw": (raw.run, 200_000),
    "json": (json_bodies.run, 100_000),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="{sse,http,nginx,raw,json}", help="which generators (default: all)")
    parser.add_argument("--count", type=int, help="how many inputs (default: the long profile of each)")
    parser.add_argument("--seed", type=int, help="repeat the run of that seed (default: a new one, printed)")
    arguments = parser.parse_args()
    for name in arguments.what or RUNS:
        if name not in RUNS:
            parser.error(f"no generator {name!r}: choose from {', '.join(RUNS)}")
        run, long = RUNS[name]
        seed = secrets.randbelow(1 << 32) if arguments.seed is None else arguments.seed
        report = Report(name, count=arguments.count or long, seed=seed)
        try:
            run(report)
        except BaseException:
            print(f"FOUND: {report}", file=sys.stderr)
            raise
        print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
