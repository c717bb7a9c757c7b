"""The daemon: its parts, started and stopped in the right order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from overc.daemon.rest import Rest
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.logging import get_logger

log = get_logger(__name__)

AWAY_RETRY_S = 2.0
"""How long a database that is away at the start is left alone."""

Endpoint = tuple[str, IStreamServerEndpoint]


class StartError(Exception):
    """The server can't start; the sentence says what to do."""


class Server(Service):
    """Opens the store, then listens, then watches; stops in the opposite order.

    `parts` are services that need the open store; they are
    started in this order and stopped in the opposite one, each only after the one before it has
    stopped. `failed` is called with a StartError when the start does not succeed.
    """

    def __init__(
        self,
        reactor: Any,
        store: Store,
        endpoints: Sequence[Endpoint],
        factory: IProtocolFactory,
        parts: Sequence[Service],
        failed: Callable[[StartError], None],
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._factory = factory
        self._parts = parts
        self._failed = failed
        self._ports: list[IListeningPort] = []
        self._started: list[Service] = []
        self._starting: Deferred[None] | None = None
        self._opened = False
        self._rest = Rest(reactor)

    def startService(self) -> None:
        super().startService()
        self._starting = ensureDeferred(self._start())

    async def stopService(self) -> None:
        super().stopService()
        self._rest.wake()
        if self._starting is not None:
            await self._starting
        stops = [port.stopListening for port in self._ports]
        stops += [part.stopService for part in reversed(self._started)]
        for stop in stops:
            try:
                await maybeDeferred(stop)
            except Exception:
                log.failure("a part of the server did not stop cleanly")
        if self._opened:
            self._store.close()

    async def _start(self) -> None:
        try:
            await self._open()
            for part in self._parts:
                if not self.running:
                    return
                part.startService()
                self._started.append(part)
            if not self._ports:
                await self._listen()
        except StartError as e:
            self._failed(e)
        except StorageError as e:
            self._failed(StartError(str(e)))
        except Exception:
            log.failure("the server could not start")
            self._failed(StartError("the server could not start: its log says why"))

    async def _open(self) -> None:
        """Open the store. One that may be away is waited for, while requests are answered 503."""
        while self.running:
            try:
                await self._store.open()
            except StorageRefused:
                raise
            except StorageError as e:
                if not self._store.may_be_away:
                    raise
                log.error("{error}; the next try is in {pause:g} s", error=e, pause=AWAY_RETRY_S)
                if not self._ports:
                    await self._listen()
                await self._pause(AWAY_RETRY_S)
            else:
                self._opened = True
                return

    async def _pause(self, pause_s: float) -> None:
        if self.running:
            await self._rest.pause(pause_s)

    async def _listen(self) -> None:
        for description, endpoint in self._endpoints:
            try:
                port = await endpoint.listen(self._factory)
            except (CannotListenError, OSError) as e:
                reason = getattr(e, "socketError", e)
                raise StartError(
                    f"can't listen on {description}: {getattr(reason, 'strerror', reason)}"
                ) from e
            self._ports.append(port)
            log.info("listening on {address}", address=shown(port.getHost(), description))


def shown(address: Any, description: str) -> str:
    """Return an address as people write it: a URL where there is one."""
    host = getattr(address, "host", None)
    if host is None:
        return description
    scheme = "https" if description.startswith("ssl:") else "http"
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}:{address.port}/"
