"""Alerts that people look for: what a page of them asks, and what the store replies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from overc.clock import Clock
from overc.daemon.snapshot import Selection
from overc.daemon.store import alert_log, status, told
from overc.daemon.store.alert_log import Wanted
from overc.daemon.store.engine import Store, Transaction
from overc.web import shapes
from overc.web.shapes import Json

PAGE = 100
"""So many alerts stand on one page."""

COUNTED_MAX = 10_000
"""It is not counted how many there are beyond that."""

DEFAULT_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class AlertSearch:
    """What the alerts page was asked for. See `overc.daemon.store.alert_log.Wanted`."""

    hours: float = DEFAULT_HOURS
    server: str = ""
    service: str = ""
    event: str = ""
    plugin: str = ""
    told: str = ""
    before: int | None = None

    @property
    def is_narrowed(self) -> bool:
        return any((self.server, self.service, self.event, self.plugin, self.told))

    def link(self, **other: str | float | None) -> str:
        """Return the way to the page that asks for something else; other pages begin anew."""
        asked = replace(self, **{"before": None, **other})  # type: ignore[arg-type]
        fields = [(name, getattr(asked, name)) for name in self.__slots__]
        given = [(name, value) for name, value in fields if value not in ("", None)]
        return "?" + urlencode([(name, _brief(value)) for name, value in given])

    def wanted(self, now_at: float, selected: Selection) -> Wanted:
        return Wanted(
            now_at - self.hours * 3600,
            self.server,
            self.service,
            self.event,
            self.plugin,
            self.told,
            selected.server_id,
            selected.service_id,
            self.before,
        )


def _brief(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Found:
    """A page of alerts: the reply of the dashboard API, and what is around it."""

    reply: Json
    count: int = 0
    """How many there are in all, COUNTED_MAX + 1 where there are more than that."""
    older: int | None = None
    """Before which one the next page begins."""


class AlertLog:
    """Reads alerts; nothing is changed here."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def page(self, search: AlertSearch) -> Found:
        """Return a page of alerts, newest first."""
        wanted = search.wanted(self._clock.wall(), Selection())

        def read(tx: Transaction) -> Found:
            found = alert_log.find(tx, wanted, PAGE + 1)
            shown = found[:PAGE]
            reply = shapes.alerts(shown, told.deliveries(tx, [alert.id for alert in shown]))
            n = alert_log.count(tx, wanted, COUNTED_MAX + 1)
            return Found(reply, n, shown[-1].id if len(found) > PAGE else None)

        return await self._store.read("look for alerts", read)

    async def reply(self, search: AlertSearch, selected: Selection, most: int) -> Json | None:
        """Return the reply of the dashboard API; None for an unknown server or service."""
        wanted = search.wanted(self._clock.wall(), selected)

        def read(tx: Transaction) -> Json | None:
            if not status.is_known(tx, *selected):
                return None
            found = alert_log.find(tx, wanted, most)
            return shapes.alerts(found, told.deliveries(tx, [alert.id for alert in found]))

        return await self._store.read("read alerts", read)
