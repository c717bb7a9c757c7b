"""What a daemon of ours tells its supervisor: see `overc.sd_notify`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from overc.logging import get_logger
from overc.sd_notify import Notifier

log = get_logger(__name__)


class Supervision(Service):
    """Says that the daemon is alive as long as `alive` says so, and that it stops.

    Who knows when the daemon is ready calls `ready`.
    """

    def __init__(self, reactor: Any, notifier: Notifier, alive: Callable[[], bool]) -> None:
        self._reactor = reactor
        self._notifier = notifier
        self._alive = alive
        self._timer: Any = None
        self._silent = False

    def startService(self) -> None:
        super().startService()
        if self._notifier.watchdog_s is not None:
            self._look()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._notifier.stopping()

    def ready(self, status: str) -> None:
        """Say that the start, or a reload, is done, and in a sentence how it is now."""
        self._notifier.ready(status)

    def reloading(self) -> None:
        """Say that a reload has begun."""
        self._notifier.reloading()

    def _look(self) -> None:
        assert self._notifier.watchdog_s is not None
        # Three times as often as is asked for: one that comes late does no harm.
        self._timer = self._reactor.callLater(self._notifier.watchdog_s / 3, self._look)
        if self._is_alive():
            self._silent = False
            self._notifier.alive()
        elif not self._silent:
            self._silent = True
            log.error("the work is not being done: systemd may restart this service")

    def _is_alive(self) -> bool:
        try:
            return self._alive()
        except Exception:
            log.failure("nobody can tell whether the work is being done")
            return False


@implementer(IStreamServerEndpoint)
class AnnouncedEndpoint:
    """An endpoint that tells when it listens."""

    def __init__(self, endpoint: IStreamServerEndpoint, listening: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._listening = listening

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        def tell(port: IListeningPort) -> IListeningPort:
            self._listening()
            return port

        listened: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listened.addCallback(tell)
