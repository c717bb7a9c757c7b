"""GET /healthz: whether this server does its work. For balancers and for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.errors import StorageError
from overc.web.answers import Answer

LAG_MAX_S = 30.0
"""A watchdog that is further behind does not do its work."""


class Health:
    """Open to all: it tells no names and no secrets."""

    def __init__(self, store: Store, lag_s: Callable[[], float]) -> None:
        self._store = store
        self._lag_s = lag_s

    async def answer(self) -> Answer:
        """Return 200, or 503 with what is wrong."""
        lag_s = self._lag_s()
        try:
            await self._store.read("use the database", _check)
            database = "ok"
        except StorageError as e:
            database = str(e)
        watchdog = "ok" if lag_s <= LAG_MAX_S else f"behind by {lag_s:g} s"
        healthy = database == watchdog == "ok"
        body = {
            "status": "ok" if healthy else "failing",
            "database": database,
            "watchdog": watchdog,
            "watchdog_lag_s": lag_s,
        }
        return Answer(msgspec.json.encode(body), code=200 if healthy else 503)


def _check(tx: Transaction) -> None:
    tx.fetch("select 1 from servers limit 1")
