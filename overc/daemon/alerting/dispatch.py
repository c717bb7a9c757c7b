"""Sends what is in the outbox.

At least once: a row is marked only after its plugin has ended, so a crash in between sends it
again, under the same id. Each plugin has a worker of its own: a plugin that hangs delays no other
one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.delivering import Slots, Worker
from overc.daemon.alerting.outcomes import Raises
from overc.daemon.alerting.senders import Sender
from overc.daemon.store import deliveries
from overc.daemon.store.engine import Store, Transaction
from overc.logging import get_logger

log = get_logger(__name__)


class Runs(Protocol):
    """What dispatch needs of `overc.process.Runner`."""

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


class Way(NamedTuple):
    """An alert plugin, and what delivers by it."""

    plugin: AlertPlugin
    sender: Sender


class Dispatch(Service):
    """One worker for each alert plugin. It starts and stops the runner that is handed in."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        runner: Runs,
        ways: Sequence[Way],
        raiser: Raises,
        node: str = "",
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`node`: the name of this one among those that share the database; the same after a start.

        `jitter`: something from 0 to 1, another time another one.
        """
        self._store = store
        self._runner = runner
        self._node = node
        self._names = [way.plugin.name for way in ways]
        slots = Slots()
        self._workers = [
            Worker(reactor, store, clock, way.plugin, way.sender, raiser, slots, node, jitter)
            for way in ways
        ]
        for worker in self._workers:
            worker.notices_added = self.nudge
        self._ends: list[Deferred[None]] = []

    def nudge(self) -> None:
        """Say that the outbox has something new. A lost nudge costs RETRY_S, nothing else."""
        for worker in self._workers:
            worker.nudge()

    def startService(self) -> None:
        super().startService()
        self._runner.startService()
        self._ends = [ensureDeferred(self._clear())]
        self._ends += [ensureDeferred(worker.work()) for worker in self._workers]

    async def stopService(self) -> None:
        super().stopService()
        for worker in self._workers:
            worker.stop()
        # Only now: what ends from here on is not the plugins' failure.
        await self._runner.stopService()
        for worker in self._workers:
            worker.cancel()
        await gatherResults(self._ends)

    async def _clear(self) -> None:
        def clear(tx: Transaction) -> int:
            deliveries.release_all(tx, self._node)
            return deliveries.drop_unknown_plugins(tx, self._names)

        try:
            dropped = await self._store.write("clear the outbox", clear)
        except Exception:
            log.failure("the outbox could not be cleared of plugins that are gone")
            return
        if dropped:
            log.warn("{n} alerts waited for plugins that are gone: dropped", n=dropped)
