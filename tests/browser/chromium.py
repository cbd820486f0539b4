"""Debian's Chromium as a process that a test session shares; each test connects and has a context of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import find_program, wait_until

# No sandbox, because CI is root; the rest keeps it from asking the world for anything by itself.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # As on phones: they take no width, and pictures of whole pages are as wide as the page.
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)


class Chromium:
    """A headless Chromium with an empty profile in *folder*; ``endpoint`` is where DevTools clients connect."""

    def __init__(self, folder: Path, switches: Sequence[str] = ()) -> None:
        self._folder = folder
        self._switches = (*SWITCHES, *switches)
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    def start(self) -> None:
        # setpriv: a test run that is killed takes its browser with it.
        program = [find_program("setpriv", package="util-linux"), "--pdeathsig", "KILL"]
        program += [find_program("chromium", package="chromium")]
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*program, *self._switches, f"--user-data-dir={self._folder / 'profile'}"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._listens, "Chromium listens", 40)

    def stop(self) -> None:
        """End it and the processes it started."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "chromium.log").read_text(errors="replace")
        # It writes the port it chose, and the path of its DevTools, when it is ready.
        port = self._folder / "profile" / "DevToolsActivePort"
        lines = port.read_text().split() if port.exists() else []
        if len(lines) == 2:
            self.endpoint = f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        return bool(self.endpoint)
