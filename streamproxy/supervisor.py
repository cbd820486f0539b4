"""Keeps a number of forked processes alive: starts them, brings back what dies, stops them, replaces them in turn.

It runs no event loop and no thread, it only waits for signals, so that forking is safe. A process says that it
is ready by calling what it was given; a rolling restart starts each replacement and waits for that before the
old process is asked to stop. Should this process be killed, the kernel sends its children SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
# One that lived shorter than this may die again at once: each in a row is started again after twice the pause.
SHORT_LIFE_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
POLL_SECONDS = 0.2

Body = Callable[[int, Callable[[], None]], None]
"""What a process does: called with its slot and with what to call when it is ready; returning ends it."""


@dataclass(slots=True)
class _Process:
    pid: int
    slot: int
    started: float
    ready_pipe: int
    ready: bool = False
    asked_to_stop: float | None = None


class Supervisor:
    """*count* processes of *body*. *stop_seconds* after it was asked to stop, a process is killed.

    *tend* is called at every turn of the loop, for whatever else has to be kept alive; *stopping* once, when the
    end begins.
    """

    def __init__(
        self,
        body: Body,
        *,
        count: int,
        stop_seconds: float,
        tend: Callable[[], None],
        stopping: Callable[[], None],
    ) -> None:
        self._body = body
        self._count = count
        self._stop_seconds = stop_seconds
        self._tend = tend
        self._on_stopping = stopping
        self._processes: dict[int, _Process] = {}
        self._due = dict.fromkeys(range(count), 0.0)
        self._to_replace: list[int] = []
        self._short_lives = dict.fromkeys(range(count), 0)
        self._stopping = False

    def run(self) -> None:
        """Return when SIGTERM or SIGINT came and every process has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while self._processes or not self._stopping:
            self._start_due()
            self._tend()
            self._replace_next()
            self._kill_overdue()
            received = signal.sigtimedwait(_SIGNALS, POLL_SECONDS)
            if received is not None:
                self._handle(received.si_signo)
            self._reap()

    def _handle(self, number: int) -> None:
        if number == signal.SIGHUP and not self._stopping:
            log.info("restarting the workers one after another")
            self._to_replace = [p.pid for p in self._processes.values() if p.asked_to_stop is None]
        elif number in (signal.SIGTERM, signal.SIGINT):
            again = self._stopping
            if not again:
                self._on_stopping()
            self._stopping = True
            # A replacement would be given sockets that are closed by now.
            self._to_replace.clear()
            for process in self._processes.values():
                # Who is being replaced has been asked already, and must not take this for the second time.
                if again or process.asked_to_stop is None:
                    self._ask_to_stop(process)

    def _start_due(self) -> None:
        for slot in [] if self._stopping else [s for s, due in self._due.items() if due <= time.monotonic()]:
            del self._due[slot]
            self._start(slot)

    def _start(self, slot: int) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._run_child(slot, writer)
        os.close(writer)
        self._processes[pid] = _Process(pid, slot, time.monotonic(), reader)

    def _run_child(self, slot: int, ready_pipe: int) -> None:
        """The child's whole life; never returns."""
        code = 1
        try:
            _die_with(os.getppid())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # Ctrl-C in a terminal reaches all of us: the parent hears it, and asks each worker once.
            for number in (signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._body(slot, partial(_say_ready, ready_pipe))
            code = 0
        except BaseException:
            # The last frame of this process: nobody above could report it. By the log, which masks secrets.
            log.critical("worker %d failed", slot, exc_info=True)
        finally:
            # What atexit would do, which os._exit does not.
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _replace_next(self) -> None:
        """Start a replacement, and stop the old process once the replacement is ready: one at a time."""
        while self._to_replace and self._to_replace[0] not in self._processes:
            self._to_replace.pop(0)
        if not self._to_replace:
            return
        old = self._processes[self._to_replace[0]]
        fresh = next((p for p in self._processes.values() if p.slot == old.slot and p.started > old.started), None)
        if fresh is None:
            if old.slot not in self._due:
                self._start(old.slot)
        elif self._is_ready(fresh):
            self._to_replace.pop(0)
            self._ask_to_stop(old)

    @staticmethod
    def _is_ready(process: _Process) -> bool:
        if not process.ready:
            try:
                process.ready = os.read(process.ready_pipe, 1) == b"1"
            except BlockingIOError:
                process.ready = False
        return process.ready

    @staticmethod
    def _ask_to_stop(process: _Process) -> None:
        """SIGTERM; a second one tells the worker to hurry."""
        process.asked_to_stop = process.asked_to_stop or time.monotonic()
        os.kill(process.pid, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        for process in self._processes.values():
            asked = process.asked_to_stop
            if asked is not None and time.monotonic() - asked > self._stop_seconds:
                log.error("worker %d did not stop and is killed", process.slot)
                os.kill(process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for process in list(self._processes.values()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                self._ended(process, status)

    def _ended(self, process: _Process, status: int) -> None:
        del self._processes[process.pid]
        os.close(process.ready_pipe)
        replaced = any(p.slot == process.slot and p.asked_to_stop is None for p in self._processes.values())
        if process.asked_to_stop is not None or self._stopping or replaced:
            return
        pause = self._pause(process)
        when = f"in {pause:g} s" if pause else "at once"
        log.error(
            "worker %d ended with %d; starting it again %s", process.slot, os.waitstatus_to_exitcode(status), when
        )
        self._due[process.slot] = time.monotonic() + pause

    def _pause(self, process: _Process) -> float:
        """Seconds before a slot gets its next process: one that keeps dying must not keep the machine busy."""
        if time.monotonic() - process.started >= SHORT_LIFE_SECONDS:
            self._short_lives[process.slot] = 0
            return 0.0
        self._short_lives[process.slot] += 1
        return pause_after(self._short_lives[process.slot])


def pause_after(short_lives: int) -> float:
    """Seconds to wait after so many short lives in a row: none after the first, which may have been bad luck."""
    if short_lives < 2:
        return 0.0
    # No power of what nothing bounds: a worker may die for weeks.
    return min(FIRST_PAUSE_SECONDS * (1 << min(short_lives - 2, 16)), LONGEST_PAUSE_SECONDS)


def _say_ready(pipe: int) -> None:
    # Nobody reads any more when the parent was killed meanwhile; the kernel's SIGTERM is on its way then.
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, b"1")


def _die_with(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent is gone (prctl(2), Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
