"""The dashboard: its JSON under /ui/api, and the pages that show the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.threads import deferToThread

from overc.clock import Clock
from overc.daemon.alerting import explaining
from overc.daemon.recording import Recorder
from overc.daemon.snapshot import Selection, Snapshot
from overc.daemon.store import status, told
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.status import AlertView
from overc.web import shapes, status_json
from overc.web.access import Refusal
from overc.web.answers import Answer, as_json
from overc.web.folding import fold, parse_range
from overc.web.insight import Insight
from overc.web.pages import Pages
from overc.web.shapes import Json

HOURS_MAX = 24 * 366 * 10


class Query:
    """What a request asks for beyond its path. Each method raises Refusal for a bad argument."""

    def __init__(self, args: dict[bytes, list[bytes]], base_url: str) -> None:
        """`base_url`: where the client found this server."""
        self._args = args
        self.base_url = base_url

    def hours(self) -> float:
        text = self._last("hours", "24")
        try:
            hours = float(text)
        except ValueError:
            hours = 0
        if not 0 < hours <= HOURS_MAX:
            raise Refusal(400, f"hours: expected a number from 1 to {HOURS_MAX}, got {text!r:.40}")
        return hours

    def since(self) -> int:
        text = self._last("since", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise Refusal(400, f"since: expected a version that was given, got {text!r:.40}")
        return int(text)

    def groups(self) -> bool:
        return self._is_wanted("groups")

    def lost(self) -> bool:
        return self._is_wanted("lost")

    def expand(self) -> list[tuple[int, int]]:
        try:
            return [parse_range(value.decode()) for value in self._args.get(b"expand", [])]
        except ValueError as e:
            raise Refusal(400, f"expand: {e}") from None

    def _is_wanted(self, name: str) -> bool:
        text = self._last(name, "no")
        if text not in ("yes", "no"):
            raise Refusal(400, f"{name}: expected yes or no, got {text!r:.40}")
        return text == "yes"

    def _last(self, name: str, default: str) -> str:
        values = self._args.get(name.encode())
        return values[-1].decode(errors="replace") if values else default


class Dashboard:
    """Reads the store for people; every method returns an Answer or raises Refusal."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        snapshot: Snapshot,
        clock: Clock,
        lag_s: Callable[[], float],
        forget_server: Callable[[str], None],
        pages: Pages,
        insight: Insight,
    ) -> None:
        """`lag_s`: by how much the watchdog is behind. `forget_server` is told deleted names."""
        self._store = store
        self._recorder = recorder
        self._snapshot = snapshot
        self._clock = clock
        self._lag_s = lag_s
        self._forget_server = forget_server
        self._pages = pages
        self._insight = insight

    async def status(self, query: Query, **ids: int) -> Answer:
        return Answer(await self._status_json(Selection(**ids)))

    async def changes(self, query: Query) -> Answer:
        await self._snapshot.refresh()
        return Answer(status_json.changes(self._snapshot, query.since(), self._clock.wall()))

    async def states(self, query: Query, service_id: int) -> Answer:
        found = await self._states(service_id, query.hours())
        if query.groups():
            found = fold(found, query.expand())
        return as_json({"states": found})

    async def alerts(self, query: Query, **ids: int) -> Answer:
        return as_json(await self._alerts(Selection(**ids), query.hours()))

    async def delete(self, query: Query, **ids: int) -> Answer:
        selected = Selection(**ids)
        if selected.server_id is not None:
            name = await self._store.write(
                "delete a server", self._recorder.delete_server, selected.server_id
            )
            if name is not None:
                self._forget_server(name)
        else:
            assert selected.service_id is not None
            name = await self._store.write(
                "delete a service", self._recorder.delete_service, selected.service_id
            )
        if name is None:
            raise _unknown(selected)
        self._snapshot.forget()
        return as_json({"ok": 1})

    async def overview_page(self, query: Query) -> Answer:
        found = await self._status(Selection())
        return await self._page(self._pages.overview, found, base_url=query.base_url)

    async def services_page(self, query: Query) -> Answer:
        found = await self._status(Selection())
        return await self._page(self._pages.services, found)

    async def server_page(self, query: Query, server_id: int) -> Answer:
        selected = Selection(server_id=server_id)
        found = await self._status(selected)
        alerts = await self._alerts(selected, 24)
        return await self._page(self._pages.server, found, alerts)

    async def service_page(self, query: Query, service_id: int) -> Answer:
        selected = Selection(service_id=service_id)
        hours, expand = query.hours(), query.expand()
        why = await self._insight.explain(lambda tx: service_id)
        now_at = self._clock.wall()
        return await self._page(
            self._pages.service,
            await self._status(selected),
            fold(await self._states(service_id, hours), expand),
            await self._alerts(selected, hours),
            base_url=query.base_url,
            why=[] if why is None else explaining.pieces(why, now_at),
            hours=max(1, round(hours)),
            expand=expand,
        )

    async def alerts_page(self, query: Query) -> Answer:
        hours, lost = query.hours(), query.lost()
        found = await self._alerts(Selection(), hours)
        return await self._page(self._pages.alerts, found, hours=max(1, round(hours)), lost=lost)

    async def silences_page(self, query: Query) -> Answer:
        return await self._page(self._pages.silences, await self._insight.silences())

    async def _page(self, render: Callable[..., str], *values: Any, **named: Any) -> Answer:
        glance = await self._insight.glance()
        now_at = self._clock.wall()
        # A page of thousands of services takes a good part of a second: not on the reactor.
        page = await deferToThread(render, *values, now_at=now_at, glance=glance, **named)
        return Answer(page.encode(), HTML)

    def error_page(self, refusal: Refusal, root: str) -> Answer:
        page = self._pages.error(refusal.code, str(refusal), root=root)
        return Answer(page.encode(), HTML, refusal.code, refusal.headers)

    async def _status(self, selected: Selection) -> Json:
        found: Json = msgspec.json.decode(await self._status_json(selected))
        return found

    async def _status_json(self, selected: Selection) -> bytes:
        await self._snapshot.refresh()
        now_at = self._clock.wall()
        found = status_json.status(self._snapshot, selected, now_at, self._lag_s())
        if found is None:
            raise _unknown(selected)
        return found

    async def _states(self, service_id: int, hours: float) -> list[Json]:
        since_at = self._clock.wall() - hours * 3600

        def read(tx: Any) -> list[Json] | None:
            name = status.service_name(tx, service_id)
            if name is None:
                return None
            history = status.history(tx, service_id, since_at)
            raised: dict[int | None, list[AlertView]] = {}
            for alert in status.alerts_of_service(tx, service_id, since_at):
                raised.setdefault(alert.state_id, []).append(alert)
            return shapes.states(history, raised, service_id, name)

        found = await self._store.read("read a history", read)
        if found is None:
            raise _unknown(Selection(service_id=service_id))
        return found

    async def _alerts(self, selected: Selection, hours: float) -> Json:
        since_at = self._clock.wall() - hours * 3600

        def read(tx: Transaction) -> Json | None:
            found = status.alerts(tx, *selected, since_at)
            if found is None:
                return None
            return shapes.alerts(found, told.deliveries(tx, [alert.id for alert in found]))

        found = await self._store.read("read alerts", read)
        if found is None:
            raise _unknown(selected)
        return found


HTML = "text/html; charset=utf-8"


def _unknown(selected: Selection) -> Refusal:
    if selected.service_id is not None:
        return Refusal(404, f"there is no service {selected.service_id}: it may have been deleted")
    return Refusal(404, f"there is no server {selected.server_id}: it may have been deleted")
