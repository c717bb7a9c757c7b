"""Run commands: each in a session of its own, a time limit, an output cap, nothing left behind.

Note [Process groups]
~~~~~~~~~~~~~~~~~~~~~
A plugin may start children, and these may ignore its end and hold its output open. So each command
becomes the leader of a session, and so of a process group, of its own: signals go to the group, and
what is left of the group is killed once its leader has ended. Where that was not in order, or where
somebody still holds the output, so is the rest of the session: timeout(1), for one, makes a group
of its own. A plugin that wants to leave a daemon behind has to give it a session of its own, as
daemons do.

No signal of ours reaches a process that runs as another user, by sudo for one, or that hangs in the
kernel on a dead disk. Such a run is given up: its caller goes on, Twisted reaps it when it ends.

A command is started by `overc.spawn` where that is possible, by `reactor.spawnProcess` where it is
not: off Linux, with input to be written, as another user. Twisted can't ask for a new session
without a terminal, so it starts the command through setsid(1), which execs it in place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from overc.spawn import here, keep_descriptors_to_ourselves, spawn

KEEP_BYTES = 64 * 1024
"""How much of a command's output is kept."""

KILL_BYTES = 16 * 1024 * 1024
"""A command that has printed this much is killed: it will not stop by itself."""

TERM_GRACE_S = 1.0
"""Between SIGTERM and SIGKILL."""

KILL_GRACE_S = 2.0
"""Between SIGKILL and giving up a process that no signal reaches."""

LINGER_S = 0.5
"""How long output is still read after the command has ended, while a child of it holds the pipe."""

KILL_ROUNDS = 10
"""How often a session is looked through for processes to kill, while there are some."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. Exactly one of `exit_code`, `signal` and `error` is not None."""

    output: bytes = b""
    """Standard output and standard error together, at most `keep_bytes` of it."""
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    """Why there is no end to report, as a sentence: it could not be started, or not be killed."""
    timed_out: bool = False
    flooded: bool = False
    """It was killed for printing without an end."""
    truncated: bool = False
    """It printed more than is kept."""
    duration_s: float = 0.0


class _Run(ProcessProtocol):
    """One command from start to end. `done` fires once, with an Outcome.

    Cancelling `done` ends the command; `on_end` is called when that has come about.
    """

    def __init__(
        self,
        reactor: Any,
        stdin: bytes,
        timeout_s: float,
        keep_bytes: int,
        on_end: Callable[[_Run], None],
    ) -> None:
        self.done: Deferred[Outcome] = Deferred(lambda _done: self.end())
        self._reactor = reactor
        self._stdin = stdin
        self._keep_bytes = keep_bytes
        self._on_end = on_end
        self._kept = bytearray()
        self._seen_bytes = 0
        self._started_at = reactor.seconds()
        self._timed_out = False
        self._flooded = False
        self._asked = False
        """To end."""
        self._exit: Any = None
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
            self._kill()

    def end(self) -> None:
        """Ask the whole group to end, and make it after a grace."""
        if self._exit is None:
            self._asked = True
            self._signal_group(signal.SIGTERM)
            self._later(TERM_GRACE_S, self._kill)

    def processExited(self, reason: Failure) -> None:
        if self._ended:
            return
        self._exit = reason.value
        self._cancel_timers()
        self._signal_group(signal.SIGKILL)
        is_held = getattr(self.transport, "output_is_held", None)
        if self._asked or self._flooded or (is_held is not None and is_held()):
            self._kill_session()
        self._later(LINGER_S, self._finish)

    def processEnded(self, reason: Failure) -> None:
        self._finish()

    def abandon(self) -> None:
        """Forget a run that never started."""
        self._cancel_timers()

    def _out_of_time(self) -> None:
        self._timed_out = True
        self.end()

    def _kill(self) -> None:
        self._signal_group(signal.SIGKILL)
        self._later(KILL_GRACE_S, self._finish)

    def _finish(self) -> None:
        """Report how it ended, whether or not somebody still holds its pipes."""
        if self._ended:
            return
        self._ended = True
        self._cancel_timers()
        assert self.transport is not None
        self.transport.loseConnection()
        if not self.done.called:
            self.done.callback(self._outcome())
        self._on_end(self)

    def _outcome(self) -> Outcome:
        unreachable = "still runs: no signal of ours reaches it"
        return Outcome(
            output=bytes(self._kept),
            exit_code=self._exit.exitCode if self._exit else None,
            signal=self._exit.signal if self._exit else None,
            error=None if self._exit else unreachable,
            timed_out=self._timed_out,
            flooded=self._flooded,
            truncated=self._seen_bytes > self._keep_bytes,
            duration_s=self._reactor.seconds() - self._started_at,
        )

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers.append(self._reactor.callLater(delay_s, call))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()

    def _kill_session(self) -> None:
        """Kill who made a group of its own, and whoever it makes meanwhile, within reason."""
        for _ in range(KILL_ROUNDS):
            if self._pid is None or not (members := members_of(self._pid)):
                return
            for pid in members:
                # It may be gone by now, or be another user's.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        if self._pid is None or self._ended:
            return
        try:
            os.killpg(self._pid, number)
        except ProcessLookupError:
            # Nobody is left; or the session has not begun, nor so has the command, and has nothing
            # to put in order. A fork that is still Twisted's code would take no notice of SIGTERM.
            assert self.transport is not None
            if self.transport.pid is not None:
                os.kill(self._pid, signal.SIGKILL)
        except PermissionError:
            # All of them run as another user.
            pass


# What setsid(1) does, exit status included. Python ignores these two signals, its child must not.
_SETSID = """
import os, signal, sys
os.setsid()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    os.execv(sys.argv[1], sys.argv[1:])
except OSError as e:
    sys.stderr.write(f"failed to execute {sys.argv[1]}: {e.strerror}")
    sys.exit(126)
"""


def members_of(session: int) -> list[int]:
    """Return the processes of a session that have not ended; none where there is no /proc."""
    members = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name before these may hold anything.
                state, _, _, of_session = file.read().rpartition(b")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(of_session) == session and state not in b"ZX":
            members.append(int(name))
    return members


def _new_session(argv: Sequence[str]) -> list[str]:
    setsid = shutil.which("setsid")
    if setsid is not None:
        return [setsid, *argv]
    return [sys.executable, "-I", "-S", "-c", _SETSID, *argv]


def locate(program: str, folder: str, env: Mapping[str, str]) -> str:
    """Return the path of a program, searched as a shell in `folder` would.

    Raises OSError with a sentence when there is none, or when it can't be run.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder")
    if "/" in program:
        path = os.path.join(folder, program)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{program}: no such file in {folder}")
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            raise PermissionError(f"{program}: not an executable file: chmod +x it")
        return os.path.normpath(path)
    folders = env.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(os.path.join(folder, each) for each in folders)
    found = shutil.which(program, path=path)
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
        user: tuple[int, int] | None = None,
        until: Deferred[None] | None = None,
    ) -> Outcome:
        """Run a command in a folder (an absolute path) and return how it ended.

        Whatever the command does, this returns within `timeout_s` and the three graces above, and
        no process of its group is left that we may signal. Raises nothing: a failure is an Outcome
        too. Cancelling ends the command, and so does `until` when it fires; the outcome then still
        comes. `user`: the user's and the group's number to run it as, which takes root.
        """
        if not self.running:
            return Outcome(error="not started: shutting down")
        run = _Run(self._reactor, stdin, timeout_s, keep_bytes, self._forget)
        try:
            if any("\0" in word for word in argv):
                raise ValueError("a command can't hold a NUL character")
            cheaply = not stdin and user is None
            # What has a path needs no search: an attempt to start it tells whether it is there.
            program = argv[0] if cheaply and "/" in argv[0] else locate(argv[0], folder, env)
            if not (cheaply and spawn(self._reactor, run, [program, *argv[1:]], env, folder)):
                program = locate(argv[0], folder, env)
                self._spawn(run, [program, *argv[1:]], env, folder, user)
        except (OSError, ValueError) as e:
            run.abandon()
            reason = getattr(e, "strerror", None)
            return Outcome(error=f"{argv[0]}: can't be started: {reason}" if reason else str(e))
        self._running.add(run)
        if until is not None:
            until.addCallback(lambda _: run.end())
        return await run.done

    def _spawn(
        self,
        run: _Run,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: str,
        user: tuple[int, int] | None,
    ) -> None:
        command = [os.fsencode(word) for word in _new_session(argv)]
        variables = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        # Without a path Twisted may use posix_spawn, which is several times as fast as a fork.
        path = None if folder == here() else folder
        uid, gid = user or (None, None)
        self._reactor.spawnProcess(
            run, command[0], command, env=variables, path=path, uid=uid, gid=gid
        )

    def startService(self) -> None:
        super().startService()
        keep_descriptors_to_ourselves()

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

    def _forget(self, run: _Run) -> None:
        self._running.discard(run)
        if self._all_ended is not None and not self._running:
            all_ended, self._all_ended = self._all_ended, None
            all_ended.callback(None)
