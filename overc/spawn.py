"""Start a command without a fork, as the leader of a session of its own. On Linux.

`reactor.spawnProcess` can't ask for a session, so that each command needs another one, setsid(1),
before it; it forks where a command runs in another folder; and it lists all descriptors for each
start. Where a machine runs a thousand commands a minute that is most of what the agent costs. What
is here costs a third of it, and does less: no input, and one pipe for both outputs.

Note [Another folder]
~~~~~~~~~~~~~~~~~~~~~
posix_spawn has no word for a folder, so this process itself goes there and back, which takes about
a tenth of a millisecond. In the meantime no other code of the reactor's thread runs, and none of
the other threads may use a relative path: name resolution doesn't, and databases are opened by
absolute ones.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

READ_BYTES = 64 * 1024

_SIGNALS = tuple(signal.valid_signals())
"""Python ignores some, and who started us may have had others ignored. No command should."""

AVAILABLE = sys.platform == "linux" and hasattr(os, "pidfd_open")


class Watcher(Protocol):
    """What is told of a command: the part of a ProcessProtocol that is needed here."""

    def makeConnection(self, transport: Any) -> None: ...

    def childDataReceived(self, childFD: int, data: bytes) -> None: ...

    def processExited(self, reason: Failure) -> None: ...

    def processEnded(self, reason: Failure) -> None: ...


def spawn(
    reactor: Any, watcher: Watcher, argv: Sequence[str], env: Mapping[str, str], folder: str
) -> bool:
    """Start a command, whose first word is a path. Say whether that was possible.

    If not, nothing is left of the attempt, and `reactor.spawnProcess` knows the reason or the way.
    The command's input is empty.
    """
    if not AVAILABLE:
        return False
    descriptors: list[int] = []
    try:
        output, theirs = os.pipe()
        descriptors += [output, theirs]
        nothing = os.open(os.devnull, os.O_RDONLY)
        descriptors.append(nothing)
        actions = [
            (os.POSIX_SPAWN_DUP2, nothing, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_DUP2, theirs, 2),
        ]
        pid = _spawn_in(folder, argv, env, actions)
        try:
            descriptors.append(os.pidfd_open(pid))
        except OSError:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    except (OSError, ValueError, NotImplementedError):
        # The last one is Python's word for a C library whose posix_spawn knows no session.
        for each in descriptors:
            os.close(each)
        return False
    os.close(nothing)
    os.close(theirs)
    os.set_blocking(output, False)
    watcher.makeConnection(_Spawned(reactor, watcher, pid, output, descriptors[-1]))
    return True


def here() -> str | None:
    """Return the current folder; None when that is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


def keep_descriptors_to_ourselves() -> None:
    """See to it that no command inherits what this process was started with, beyond 0, 1 and 2."""
    if AVAILABLE:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                # The one that listed them is closed already.
                with contextlib.suppress(OSError):
                    os.set_inheritable(int(name), False)


def _spawn_in(
    folder: str, argv: Sequence[str], env: Mapping[str, str], actions: list[tuple[int, int, int]]
) -> int:
    """Start a command in a folder; see Note [Another folder]."""
    if folder == here():
        return _spawn(argv, env, actions)
    back = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir(folder)
        try:
            return _spawn(argv, env, actions)
        finally:
            # Nobody needs the old one who may not go there any more.
            with contextlib.suppress(OSError):
                os.fchdir(back)
    finally:
        os.close(back)


def _spawn(argv: Sequence[str], env: Mapping[str, str], actions: list[tuple[int, int, int]]) -> int:
    return os.posix_spawn(
        argv[0], tuple(argv), env, file_actions=actions, setsid=True, setsigdef=_SIGNALS
    )


class _Spawned:
    """The transport of a command that runs."""

    def __init__(self, reactor: Any, watcher: Watcher, pid: int, output: int, exited: int) -> None:
        self.pid: int | None = pid
        """None once the process is reaped, and the number free for another one."""
        self._watcher = watcher
        self._reason: Failure | None = None
        self._output: _Readable | None = _Readable(reactor, output, self._read, self._read_all)
        self._exit = _Readable(reactor, exited, self._reap, self._end)

    def write(self, data: bytes) -> None:
        """Take no input: there is none."""

    def closeStdin(self) -> None:
        """Do nothing: it is closed."""

    def output_is_held(self) -> bool:
        """Say whether somebody may still write to the output, now that the process has ended."""
        if self._output is None:
            return False
        poll = select.poll()
        poll.register(self._output.fileno(), 0)
        return not any(event & select.POLLHUP for _, event in poll.poll(0))

    def loseConnection(self) -> None:
        """Read no more of the output. The process is still reaped, whenever it ends."""
        if self._output is not None:
            self._output.close()

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            self._watcher.childDataReceived(1, data)
        return bool(data)

    def _read_all(self) -> None:
        self._output = None
        self._end()

    def _reap(self, fd: int) -> bool:
        assert self.pid is not None
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        if found.si_code == os.CLD_EXITED:
            ended = ProcessTerminated(exitCode=found.si_status) if found.si_status else None
        else:
            ended = ProcessTerminated(signal=found.si_status)
        self._reason = Failure(ended or ProcessDone(0))
        # Until it is reaped its number, and so that of its group, is nobody else's.
        self._watcher.processExited(self._reason)
        os.waitpid(self.pid, 0)
        self.pid = None
        return False

    def _end(self) -> None:
        if self._output is None and self._reason is not None:
            self._watcher.processEnded(self._reason)


@implementer(IReadDescriptor)
class _Readable:
    """A descriptor that is read until `read` returns False, or it is closed; `closed` is told."""

    def __init__(
        self, reactor: Any, fd: int, read: Callable[[int], bool], closed: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._fd = fd
        self._read = read
        self._closed = closed
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "command"

    def doRead(self) -> Any:
        # Given a reason, the reactor closes it.
        return None if self._read(self._fd) else CONNECTION_DONE

    def close(self) -> None:
        self._reactor.removeReader(self)
        self.connectionLost(CONNECTION_DONE)

    def connectionLost(self, reason: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._closed()
