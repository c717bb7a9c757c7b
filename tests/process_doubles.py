"""What tests of real processes need: timers moved by hand, and word of who is still there."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from overc.process import Outcome, Runner

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
real_reactor: Any = global_reactor
PATIENCE_S = 30.0
"""How long a test waits before it fails; no test that succeeds waits by the clock."""


class HandReactor(Clock):
    """Starts real processes, but its timers wait for `advance()`."""

    def __init__(self) -> None:
        super().__init__()
        self._awaited: list[tuple[float, Deferred[None]]] = []

    def spawnProcess(self, *args: Any, **kwargs: Any) -> Any:
        return real_reactor.spawnProcess(*args, **kwargs)

    def addReader(self, reader: IReadDescriptor) -> None:
        real_reactor.addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        real_reactor.removeReader(reader)

    def callLater(self, delay: float, *args: Any, **kwargs: Any) -> Any:
        for wanted, fired in self._awaited:
            if wanted == delay and not fired.called:
                real_reactor.callLater(0, fired.callback, None)
        return super().callLater(delay, *args, **kwargs)

    def scheduled(self, delay_s: float) -> Deferred[None]:
        """Return what fires when a timer of just this length has been set."""
        fired: Deferred[None] = Deferred()
        self._awaited.append((delay_s, fired))
        return fired.addTimeout(PATIENCE_S, real_reactor)


@implementer(IReadDescriptor)
class Tether:
    """A FIFO that scripts hold open: says when they are up, and when the last one is gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self.lines: list[str] = []
        self.pids: list[int] = []
        self.gone: Deferred[None] = Deferred()
        self.gone.addTimeout(PATIENCE_S, real_reactor)
        self._awaited: list[tuple[int, Deferred[None]]] = []
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        real_reactor.addReader(self)

    def up(self, count: int) -> Deferred[None]:
        """Return what fires when this many lines, each a process id, have been written."""
        fired: Deferred[None] = Deferred()
        self._awaited.append((count, fired))
        return fired.addTimeout(PATIENCE_S, real_reactor)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "tether"

    def doRead(self) -> None:
        self.pids += map(int, os.read(self._fd, 4096).split())
        for count, fired in self._awaited:
            if count <= len(self.pids) and not fired.called:
                fired.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        if not self.gone.called:
            self.gone.callback(None)

    def close(self) -> None:
        real_reactor.removeReader(self)
        os.close(self._fd)
        self.gone.addErrback(lambda _failure: None)
        self.gone.cancel()
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def shell(code: str, *args: str) -> list[str]:
    return ["sh", "-c", code, "sh", *args]


def run(
    runner: Runner, argv: list[str], folder: Path, timeout_s: float = PATIENCE_S, **more: Any
) -> Deferred[Outcome]:
    options = {"folder": str(folder), "env": ENV, **more}
    return ensureDeferred(runner.run(argv, timeout_s=timeout_s, **options))
