"""A program on a terminal of its own: what it shows is read as it comes, keys are typed as by a person."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import termios
from collections.abc import Mapping, Sequence
from typing import Self

from tests.support.processes import find_program

CTRL_C, CTRL_D = b"\x03", b"\x04"
# Colours, cursor movements and window titles.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
ROWS, COLUMNS = 40, 100


class Terminal:
    """Runs *command* on a new terminal of 40 by 100. Use as ``async with`` in a running loop."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = {**environment, "TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"}
        self._received = asyncio.Event()
        self.raw = b""

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        # setsid makes it the controlling terminal: only that turns Ctrl-C into a signal.
        command = [find_program("setsid", package="util-linux"), "--ctty", "--wait", *self._command]
        # Under nohup, or behind an & of a script, tests inherit that these are ignored.
        command = [find_program("env", package="coreutils"), "--default-signal=HUP,INT", *command]
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a process of asyncio has no terminal
            command, env=self._environment, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._receive)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)  # hangs up on whatever still runs
        await asyncio.to_thread(self._process.wait, 10)

    @property
    def text(self) -> str:
        """All that was shown, without the sequences that colour and move it."""
        return _SEQUENCE.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    async def until(self, text: str, *, times: int = 1, seconds: float = 20) -> None:
        """Wait until *text* was shown, so many *times*."""
        try:
            async with asyncio.timeout(seconds):
                while self.text.count(text) < times:
                    self._received.clear()
                    await self._received.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} was not shown, but:\n{self.text[-3000:]}") from None

    async def ended(self) -> int:
        """Wait until the program has ended; its exit code."""
        return await asyncio.to_thread(self._process.wait, 20)

    def _receive(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the program has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += data
        self._received.set()
