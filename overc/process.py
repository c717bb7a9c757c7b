"""Run commands: each in a session of its own, a time limit, an output cap, nothing left behind.

Note [Process groups]
~~~~~~~~~~~~~~~~~~~~~
A plugin may start children, and these may ignore its end and hold its output open. So each command
becomes the leader of a session, and so of a process group, of its own: signals go to the group, and
what is left of the group is killed once its leader has ended. A plugin that wants to leave a daemon
behind has to give it a session of its own, as daemons do.

Twisted can't ask for a new session without a terminal, so the command is started through setsid(1),
which execs it in place: same process id, and `reactor.spawnProcess` may still use posix_spawn.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

KEEP_BYTES = 64 * 1024
"""How much of a command's output is kept."""

KILL_BYTES = 16 * 1024 * 1024
"""A command that has printed this much is killed: it will not stop by itself."""

TERM_GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""

LINGER_S = 0.5
"""How long output is still read after the command has ended, while a child of it holds the pipe."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. Exactly one of `exit_code`, `signal` and `error` is not None."""

    output: bytes = b""
    """Standard output and standard error together, at most `keep_bytes` of it."""
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    """Why the command could not be started, as a sentence."""
    timed_out: bool = False
    flooded: bool = False
    """It was killed for printing without an end."""
    truncated: bool = False
    """It printed more than is kept."""
    duration_s: float = 0.0


class _Run(ProcessProtocol):
    """One command from start to end. `done` fires once, with an Outcome, and never fails."""

    def __init__(self, reactor: Any, stdin: bytes, timeout_s: float, keep_bytes: int) -> None:
        self.done: Deferred[Outcome] = Deferred()
        self._reactor = reactor
        self._stdin = stdin
        self._keep_bytes = keep_bytes
        self._kept = bytearray()
        self._seen_bytes = 0
        self._started_at = reactor.seconds()
        self._timed_out = False
        self._flooded = False
        self._ended = False
        self._pid: int | None = None
        self._timers = [reactor.callLater(timeout_s, self._out_of_time)]

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._pid = self.transport.pid
        if self._stdin:
            self.transport.write(self._stdin)
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._seen_bytes += len(data)
        room = self._keep_bytes - len(self._kept)
        if room > 0:
            self._kept += data[:room]
        if self._seen_bytes > KILL_BYTES and not self._flooded:
            self._flooded = True
            self._signal_group(signal.SIGKILL)

    def end(self) -> None:
        """Ask the whole group to end, and make it after a grace."""
        self._signal_group(signal.SIGTERM)
        self._timers.append(
            self._reactor.callLater(TERM_GRACE_S, self._signal_group, signal.SIGKILL)
        )

    def processExited(self, reason: Failure) -> None:
        self._signal_group(signal.SIGKILL)
        self._timers.append(self._reactor.callLater(LINGER_S, self._stop_reading))

    def processEnded(self, reason: Failure) -> None:
        self._ended = True
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        if self.done.called:
            return
        value: Any = reason.value
        self.done.callback(
            Outcome(
                output=bytes(self._kept),
                exit_code=value.exitCode,
                signal=value.signal,
                timed_out=self._timed_out,
                flooded=self._flooded,
                truncated=self._seen_bytes > self._keep_bytes,
                duration_s=self._reactor.seconds() - self._started_at,
            )
        )

    def abandon(self) -> None:
        """Forget a run that never started."""
        for timer in self._timers:
            timer.cancel()

    def _out_of_time(self) -> None:
        self._timed_out = True
        self.end()

    def _stop_reading(self) -> None:
        if not self._ended and self.transport is not None:
            self.transport.loseConnection()

    def _signal_group(self, number: int) -> None:
        if self._pid is None or self._ended:
            return
        try:
            os.killpg(self._pid, number)
        except ProcessLookupError:
            # Either nobody is left, or setsid(1) has not run yet and there is no such group.
            assert self.transport is not None
            if self.transport.pid is not None:
                os.kill(self._pid, number)
        except PermissionError:
            # Some member changed its user, by sudo for one: the others got the signal.
            pass


def _new_session(argv: Sequence[str]) -> list[str]:
    setsid = shutil.which("setsid")
    if setsid is not None:
        return [setsid, *argv]
    code = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-I", "-S", "-c", code, *argv]


def locate(program: str, folder: str, env: Mapping[str, str]) -> str:
    """Return the path of a program, searched as a shell in `folder` would.

    Raises OSError with a sentence when there is none, or when it can't be run.
    """
    if "/" in program:
        path = os.path.join(folder, program)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{program}: no such file in {folder}")
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            raise PermissionError(f"{program}: not an executable file: chmod +x it")
        return os.path.normpath(path)
    found = shutil.which(program, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(f"{program}: command not found in PATH")
    return os.path.abspath(found)


class Runner(Service):
    """Runs commands. Stopping the service ends those that still run, and waits for their end."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._running: set[_Run] = set()
        self._all_ended: Deferred[None] | None = None

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
        keep_bytes: int = KEEP_BYTES,
    ) -> Outcome:
        """Run a command in a folder (an absolute path) and return how it ended.

        Whatever the command does, this returns within `timeout_s` + TERM_GRACE_S + LINGER_S, and no
        process of its group is left. Raises nothing: a failure is an Outcome too.
        """
        if not self.running:
            return Outcome(error="not started: shutting down")
        try:
            if any("\0" in word for word in argv):
                raise ValueError("a command can't hold a NUL character")
            program = locate(argv[0], folder, env)
        except (OSError, ValueError) as e:
            return Outcome(error=str(e))
        command = _new_session([program, *argv[1:]])
        run = _Run(self._reactor, stdin, timeout_s, keep_bytes)
        # Without a path Twisted may use posix_spawn, which is several times as fast as a fork.
        path = None if folder == os.getcwd() else folder
        try:
            self._reactor.spawnProcess(run, command[0], command, env=dict(env), path=path)
        except (OSError, ValueError) as e:
            run.abandon()
            return Outcome(error=f"{argv[0]}: can't be started: {e}")
        self._running.add(run)
        try:
            return await run.done
        finally:
            self._running.discard(run)
            if self._all_ended is not None and not self._running:
                self._all_ended.callback(None)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for run in self._running:
            run.end()
        all_ended: Deferred[None] = Deferred()
        if self._running:
            self._all_ended = all_ended
        else:
            all_ended.callback(None)
        return all_ended
