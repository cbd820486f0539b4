"""Documents as scripts: every fence that says ``run`` is run as it is written, in one shell a document.

Fences that say ``page`` make a page of the reader's own; the last of them serves it. ``browser`` is for a page, and
``from FILE`` quotes a file.

What is changed is one thing: the port, because a test cannot count on 8888 being free. ``.venv/bin``
holds the interpreter that runs the tests; ``python`` and ``js`` fences go to it and to node on standard
input, in the order of the document and with what the shell has exported by then.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import find_program

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+) (run|page|browser|from \S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A command that hangs must fail its test, not the run.
LONGEST_SECONDS = 200
_MARK = "=== next snippet ==="


@dataclass(frozen=True, slots=True)
class Snippet:
    """One runnable fence: *language* is ``sh``, ``python`` or ``js``."""

    language: str
    text: str


def snippets(document: Path, kind: str = "run") -> list[Snippet]:
    """The fences of *document* that say *kind*, in their order."""
    found = [match.groups() for match in FENCE.finditer(document.read_text())]
    return [Snippet(language, text) for language, said, text in found if said == kind]


def quotations(document: Path) -> list[tuple[Path, str]]:
    """The fences of *document* that quote a file of the project, with that file."""
    found = [match.groups() for match in FENCE.finditer(document.read_text())]
    return [(ROOT / said.removeprefix("from "), text) for _, said, text in found if said.startswith("from ")]


def script(parts: list[Snippet], *, port: int) -> str:
    """One bash script that runs *parts* against the server on *port*; it ends at the first command that fails."""
    lines = ["set -euo pipefail"]
    node = find_program("node", package="nodejs")
    programs = {"python": ".venv/bin/python -", "js": f"{shlex.quote(node)} --input-type=module -"}
    for part in parts:
        lines.append(f"echo; echo '{_MARK}'")
        text = part.text.replace("127.0.0.1:8888", f"127.0.0.1:{port}")
        if part.language == "sh":
            lines.append(text)
        else:
            lines += [f"{programs[part.language]} <<'END OF SNIPPET'", text, "END OF SNIPPET"]
    return "\n".join([*lines, ""])


def start(folder: Path, text: str, stderr: int | None = None) -> subprocess.Popen[str]:
    """Start the script *text* in *folder*; standard error goes where pytest's goes, or to *stderr*."""
    bash = find_program("bash", package="bash")
    return subprocess.Popen(
        ["timeout", str(LONGEST_SECONDS), bash, "-c", text],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def run(folder: Path, text: str) -> list[str]:
    """Run the script *text* in *folder* and return what each snippet printed; AssertionError when one fails."""
    with start(folder, text, subprocess.STDOUT) as shell:
        printed, _ = shell.communicate()
    assert shell.returncode == 0, f"exit code {shell.returncode}:\n{printed[-4000:]}"
    return printed.split(f"\n{_MARK}\n")[1:]


def environment() -> dict[str, str]:
    """What a newcomer's shell has: nothing of ours and nothing of OpenAI's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("STREAMPROXY_", "OPENAI_"))}


def furnish(folder: Path, node_modules: Path) -> None:
    """Make *folder* look like a clone in which ``make run`` has been called and openai was installed."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, arguments in {"python": "", "streamproxy": "-m streamproxy "}.items():
        path = programs / name
        here, python = shlex.quote(str(ROOT)), shlex.quote(sys.executable)
        path.write_text(f'#!/bin/sh\nPYTHONPATH={here} exec {python} {arguments}"$@"\n')
        path.chmod(0o755)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    (folder / "node_modules").symlink_to(node_modules)
