"""A thread of our own for a file that may be slow, and what stands in for it without a file."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Worker(Protocol):
    """Runs functions one after the other."""

    def call(self, run: Callable[[], T]) -> Deferred[T]: ...

    def stop(self) -> None:
        """Run nothing more after what was asked for already."""


class Here:
    """Runs them at once, where they are asked for."""

    def call(self, run: Callable[[], T]) -> Deferred[T]:
        return maybeDeferred(run)

    def stop(self) -> None:
        """There is nothing to stop."""


class Thread:
    """Runs them in a thread, which does not keep the process from ending.

    A disk that hangs holds up the thread, and whoever waits for it, but not the reactor.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, run: Callable[[], T]) -> Deferred[T]:
        answer: Deferred[T] = Deferred(lambda _: None)

        def job() -> None:
            try:
                outcome: Any = run()
            except Exception:
                outcome = Failure()
            self._reactor.callFromThread(deliver, outcome)

        def deliver(outcome: Any) -> None:
            # Whoever asked may have given up meanwhile.
            if not answer.called:
                answer.callback(outcome)

        self._jobs.put(job)
        return answer

    def stop(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
