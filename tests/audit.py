"""``make audit``: pip-audit over constraints.txt, believed only as far as it looked.

Where its service cannot be reached pip-audit skips every package and says "No known vulnerabilities found". Here a
package that was skipped is a failure like one that is vulnerable. Exit code 0: every package was looked up, and
nothing is known against any.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The versions are pinned: nothing has to be resolved or installed for looking them up.
ARGUMENTS = ("--format", "json", "--progress-spinner", "off", "--disable-pip", "--no-deps", "-r", "constraints.txt")


def faults(report: Mapping[str, Any], wanted: int) -> list[str]:
    """What speaks against the *wanted* packages, in lines for a person; none when nothing does."""
    found, looked_up = [], 0
    skipped: list[str] = []
    for dependency in report.get("dependencies", []):
        if "skip_reason" in dependency:
            skipped.append(dependency["name"])
            continue
        looked_up += 1
        for known in dependency["vulns"]:
            fixed = ", ".join(known.get("fix_versions") or ()) or "no version yet"
            found.append(f"{dependency['name']} {dependency['version']}: {known['id']}, fixed in {fixed}")
    if skipped:
        names = ", ".join(skipped[:5]) + (" …" if len(skipped) > 5 else "")
        found.append(
            f"{len(skipped)} of {wanted} packages were not looked up ({names}): the advisory service cannot be reached "
            "from here, or does not know them. Run it where it can be."
        )
    if looked_up + len(skipped) < wanted:
        found.append(f"the report names {looked_up + len(skipped)} of {wanted} packages")
    return found


def pinned(constraints: str) -> list[str]:
    """The lines of constraints.txt that pin a package."""
    return [line for line in constraints.splitlines() if "==" in line and not line.startswith("#")]


def main(arguments: Sequence[str]) -> int:
    """*arguments*: where pip-audit is."""
    wanted = len(pinned((ROOT / "constraints.txt").read_text()))
    run = subprocess.run([arguments[0], *ARGUMENTS], cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        report = json.loads(run.stdout)
    except ValueError:
        print(f"pip-audit gave no report:\n{run.stderr[-2000:]}", file=sys.stderr)
        return 1
    against = faults(report, wanted)
    print("\n".join(against) or f"{wanted} packages were looked up: nothing is known against them")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
