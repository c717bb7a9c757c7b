"""Run one command as if nobody stood between: its output is passed on, and its tail is kept.

Standard library only, and one run for each process: signals are the process's own.

Note [In between]
~~~~~~~~~~~~~~~~~
The command stays in our process group and keeps our standard input, so that job control and
questions to the user work as without us. Signals that we get are passed on, and we go on until the
command has ended; only what the terminal sends (Ctrl-C) is not passed on, since the command has got
it already. A signal that is ignored when we start, as under nohup, is ignored by the command too.

Its output goes through pipes. When nobody reads ours any more, the command is not told: what it
prints is read and dropped. A child that outlives it may hold the pipes open, and is not waited for
longer than LINGER_S.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

TAIL_BYTES = 8 * 1024
LINGER_S = 0.5

NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""What a shell says when a command is not there, can't be executed, was ended by signal N (+ N)."""

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)

# What moves the cursor, colours and titles.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    """As a shell would say it."""
    reason: str
    """In words; empty if it ended with status 0."""
    duration_s: float
    tail: str = ""
    """What it printed last, on both of its streams."""
    started: bool = True


class Tail:
    """Keeps the end of an output that comes in pieces, from several threads.

    Which of two streams was written to first can't be known; but a line of the one never goes on
    with what the other one says.
    """

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit = limit_bytes
        self._kept = bytearray()
        self._cut = False
        self._stream = 0
        self._lock = threading.Lock()

    def add(self, piece: bytes, stream: int = 0) -> None:
        with self._lock:
            if stream != self._stream and self._kept and not self._kept.endswith(b"\n"):
                self._kept += b"\n"
            self._stream = stream
            self._kept += piece[-2 * self._limit :]
            self._cut = self._cut or len(piece) > 2 * self._limit
            if len(self._kept) > 2 * self._limit:
                del self._kept[: -self._limit]
                self._cut = True

    def text(self) -> str:
        """Return what was kept, from the start of a line on, without what only a terminal needs."""
        with self._lock:
            kept, cut = bytes(self._kept), self._cut
        if len(kept) > self._limit:
            kept, cut = kept[-self._limit :], True
        if cut:
            # One line without an end may be all there is.
            kept = kept.partition(b"\n")[2] or kept
        text = _ESCAPE.sub("", kept.decode("utf-8", "replace"))
        # A progress bar overwrites its line, again and again.
        lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
        cleaned = "\n".join(map(_without_controls, lines)).strip("\n")
        return f"(earlier output left out)\n{cleaned}" if cut else cleaned


class Wrapped:
    """One command."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._tail = Tail()
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}
        self._begun_at = time.monotonic()
        self._cannot: Ended | None = None
        self._pumps: list[threading.Thread] = []

    def start(self) -> None:
        """Start it. That it can't be started is what `wait` returns then."""
        _fill_standard_streams()
        for number in map(int, PASSED_ON):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        self._begun_at = time.monotonic()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - it is what the user asks for
                self._argv,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # What our caller has opened for the command is the command's.
                close_fds=False,
            )
        except (OSError, ValueError) as e:
            self._cannot = self._not_started(e)
            return
        # A signal that a pump took would be heeded when this thread next runs, and this one waits
        # for the command: perhaps for ever.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            for pipe, target in ((self._process.stdout, 1), (self._process.stderr, 2)):
                assert pipe is not None
                arguments = (pipe.fileno(), target)
                pump = threading.Thread(target=self._pump, args=arguments, daemon=True)
                pump.start()
                self._pumps.append(pump)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in self._early:
            self._pass_on(number, None)

    def wait(self) -> Ended:
        """Return when it has ended and its output was passed on; give signals their old meaning."""
        try:
            if self._process is None:
                assert self._cannot is not None
                return self._cannot
            status = self._process.wait()
            duration_s = time.monotonic() - self._begun_at
            ends_at = time.monotonic() + LINGER_S
            for pump in self._pumps:
                pump.join(max(0.0, ends_at - time.monotonic()))
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
        tail = self._tail.text()
        if status < 0:
            return Ended(SIGNALLED - status, f"killed by {_name(-status)}", duration_s, tail)
        return Ended(status, f"exit status {status}" if status else "", duration_s, tail)

    def _not_started(self, error: Exception) -> Ended:
        number = getattr(error, "errno", None)
        missing = number in (errno.ENOENT, errno.ENOTDIR)
        reason = getattr(error, "strerror", None) or str(error)
        if missing and "/" not in self._argv[0]:
            reason = "command not found in PATH"
        elif number == errno.ENOEXEC:
            reason = "is no program, and as a script it needs a first line such as #!/bin/sh"
        said = f"{self._argv[0]}: can't be started: {reason}"
        return Ended(NOT_FOUND if missing else NOT_EXECUTABLE, said, 0.0, started=False)

    def _pump(self, source: int, target: int) -> None:
        heard = True
        while piece := os.read(source, 64 * 1024):
            self._tail.add(piece, target)
            while piece and heard:
                try:
                    piece = piece[os.write(target, piece) :]
                except BlockingIOError:
                    # A terminal may be shared with somebody who wants it so.
                    select.select([], [target], [])
                except OSError:
                    heard = False

    def _pass_on(self, number: int, _frame: object) -> None:
        if self._process is None:
            self._early.append(number)
        elif not (number in _OF_THE_TERMINAL and _is_in_foreground()):
            # It may have ended just now.
            with contextlib.suppress(OSError):
                self._process.send_signal(number)


def _is_in_foreground() -> bool:
    """Say whether the terminal sends its signals to our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _fill_standard_streams() -> None:
    """Give what was closed a number of its own, so that no pipe gets it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _without_controls(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in line)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
