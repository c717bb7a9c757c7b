"""The dashboard: its JSON under /ui/api, and the pages that show the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from twisted.internet.threads import deferToThread

from overc.clock import Clock
from overc.daemon.alerting import explaining
from overc.daemon.snapshot import Selection, Snapshot
from overc.daemon.store.alert_log import TEXT_MAX, TOLD
from overc.daemon.store.engine import Store
from overc.web import status_json
from overc.web.about import About
from overc.web.access import Refusal
from overc.web.alert_log import AlertLog, AlertSearch
from overc.web.answers import HTML, Answer, as_json
from overc.web.folding import fold, parse_range
from overc.web.glance import Glance
from overc.web.histories import Histories
from overc.web.insight import Insight
from overc.web.items import Items, extent_json
from overc.web.items import unknown as _unknown
from overc.web.listing import STATES, Filter, Look
from overc.web.live_rows import PAGE_MAX, Board
from overc.web.pages import Pages
from overc.web.shapes import Json

HOURS_MAX = 24 * 366 * 10
ID_MAX = 10**18
ALERTS_MAX = 10**9
"""A reply has so many unless it is asked for fewer: all of them."""
DAY_S = 86400


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
        if not _is_number(text):
            raise Refusal(400, f"since: expected a version that was given, got {text!r:.40}")
        return int(text)

    def after(self) -> int:
        return self.number("after", 0, ID_MAX)

    def limit(self) -> int:
        return max(1, self.number("limit", PAGE_MAX, PAGE_MAX))

    def server(self) -> int | None:
        return self.number("server", 0, ID_MAX) or None

    def silent_s(self) -> int:
        """Return for how many seconds services are silent that are to be listed."""
        return self.number("silent", DAY_S, 10 * 366 * DAY_S)

    def alerts(self) -> AlertSearch:
        """What alerts are looked for."""
        event, told = self.text("event"), self.text("told")
        if self.lost():
            told = "lost"
        if told == "all":
            told = ""
        if told and told not in TOLD:
            raise Refusal(400, f"told: expected all, {', '.join(TOLD)}, got {told!r:.40}")
        before = self.number("before", 0, ID_MAX)
        return AlertSearch(
            self.hours(),
            self.text("server"),
            self.text("service"),
            event,
            self.text("plugin"),
            told,
            before or None,
        )

    def page(self) -> int:
        return self.number("page", 1, ID_MAX)

    def services(self) -> Filter:
        """Which services are listed."""
        state = self._one_of("state", ("", *STATES))
        care = [self._one_of(name, ("", "yes", "no")) for name in ("acknowledged", "silenced")]
        return Filter(self.text("q"), state, self.text("server"), *care)

    def text(self, name: str) -> str:
        """Return a text to be looked for; what is longer than names are is a mistake."""
        text = self._last(name, "").strip()
        if len(text) > TEXT_MAX:
            raise Refusal(400, f"{name}: expected at most {TEXT_MAX} characters, got {len(text)}")
        return text

    def well(self) -> bool:
        return self._last("well", "") == "yes"

    def groups(self) -> bool:
        return self._is_wanted("groups")

    def lost(self) -> bool:
        return self._is_wanted("lost")

    def expand(self) -> list[tuple[int, int]]:
        try:
            return [parse_range(value.decode()) for value in self._args.get(b"expand", [])]
        except ValueError as e:
            raise Refusal(400, f"expand: {e}") from None

    def number(self, name: str, default: int, most: int) -> int:
        text = self._last(name, str(default))
        if not _is_number(text) or int(text) > most:
            raise Refusal(400, f"{name}: expected a number up to {most}, got {text!r:.40}")
        return int(text)

    def _is_wanted(self, name: str) -> bool:
        text = self._last(name, "no")
        if text not in ("yes", "no"):
            raise Refusal(400, f"{name}: expected yes or no, got {text!r:.40}")
        return text == "yes"

    def _one_of(self, name: str, choices: Sequence[str]) -> str:
        text = self._last(name, "")
        if text not in choices:
            words = ", ".join(filter(None, choices))
            raise Refusal(400, f"{name}: expected one of {words}, got {text!r:.40}")
        return text

    def _last(self, name: str, default: str) -> str:
        values = self._args.get(name.encode())
        return values[-1].decode(errors="replace") if values else default


class Dashboard:
    """Reads the store for people; every method returns an Answer or raises Refusal."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        histories: Histories,
        clock: Clock,
        lag_s: Callable[[], float],
        pages: Pages,
        insight: Insight,
        board: Board,
        items: Items,
        about: About,
    ) -> None:
        """`lag_s`: by how much the watchdog is behind."""
        self._snapshot = snapshot
        self._clock = clock
        self._lag_s = lag_s
        self._pages = pages
        self._insight = insight
        self._histories = histories
        self._alert_log = AlertLog(store, clock)
        self._board = board
        self._items = items
        self._about = about

    def for_readers(self) -> Dashboard:
        """Return one whose pages offer nothing that changes anything."""
        twin = copy.copy(self)
        twin._pages = self._pages.for_readers()
        return twin

    async def status(self, query: Query, **ids: int) -> Answer:
        return Answer(await self._status_json(Selection(**ids)))

    async def changes(self, query: Query) -> Answer:
        await self._snapshot.refresh()
        return Answer(status_json.changes(self._snapshot, query.since(), self._clock.wall()))

    async def rows(self, query: Query) -> Answer:
        after, limit = query.after(), query.limit()
        await self._board.refresh()
        return Answer(self._board.page(after, limit, self._clock.wall()))

    async def states(self, query: Query, service_id: int) -> Answer:
        hours, expand = query.hours(), query.expand() if query.groups() else None
        found = await self._histories.states(service_id, hours, expand)
        if found is None:
            raise _unknown(Selection(service_id=service_id))
        return Answer(found)

    async def timeline(self, query: Query, **ids: int) -> Answer:
        selected = Selection(**ids)
        found = await self._histories.timelines(selected, query.hours())
        if found is None:
            raise _unknown(selected)
        return as_json(found)

    async def graphs(self, query: Query, service_id: int) -> Answer:
        found = await self._histories.graphs(service_id, query.hours())
        if found is None:
            raise _unknown(Selection(service_id=service_id))
        return as_json(found)

    async def alerts(self, query: Query, **ids: int) -> Answer:
        selected = Selection(**ids)
        most = query.number("limit", ALERTS_MAX, ALERTS_MAX)
        found = await self._alert_log.reply(query.alerts(), selected, most)
        if found is None:
            raise _unknown(selected)
        return as_json(found)

    async def overview_page(self, query: Query) -> Answer:
        look, version = await self._look()
        return await self._page(
            self._pages.overview,
            look,
            query.page(),
            with_well=query.well(),
            base_url=query.base_url,
            version=version,
            glance=self._board.glance,
        )

    async def services_page(self, query: Query) -> Answer:
        wanted, number = query.services(), query.page()
        look, version = await self._look()
        return await self._page(
            self._pages.services, look, wanted, number, version=version, glance=self._board.glance
        )

    async def server_page(self, query: Query, server_id: int) -> Answer:
        version = await self._version()
        selected = Selection(server_id=server_id)
        found = await self._status(selected)
        hours = query.hours()
        view, alerts = await self._histories.server_view(server_id, hours, found)
        return await self._page(
            self._pages.server,
            found,
            alerts,
            hours=max(1, round(hours)),
            view=view,
            version=version,
        )

    async def service_page(self, query: Query, service_id: int) -> Answer:
        version = await self._version()
        selected = Selection(service_id=service_id)
        hours, expand = query.hours(), query.expand()
        why = await self._insight.explain(lambda tx: service_id)
        now_at = self._clock.wall()
        found = await self._status(selected)
        shown = await self._histories.service_view(service_id, hours, why)
        if shown is None:
            raise _unknown(selected)
        return await self._page(
            self._pages.service,
            found,
            fold(shown.states, expand),
            shown.alerts,
            base_url=query.base_url,
            why=[] if why is None else explaining.pieces(why, now_at),
            hours=max(1, round(hours)),
            expand=expand,
            view=shown.view,
            version=version,
        )

    async def alerts_page(self, query: Query) -> Answer:
        search = query.alerts()
        version = await self._version()
        found = await self._alert_log.page(search)
        plugins = self._insight.plugins
        return await self._page(
            self._pages.alerts, found, search=search, plugins=plugins, version=version
        )

    async def silences_page(self, query: Query) -> Answer:
        version = await self._version()
        found = await self._insight.silences()
        matched = await self._insight.matched(found)
        asked = {name: query.text(name) for name in ("servers", "services")}
        return await self._page(
            self._pages.silences, found, matched=matched, asked=asked, version=version
        )

    async def settings_page(self, query: Query) -> Answer:
        return await self._page(self._pages.settings, await self._about.tell())

    async def deletion_page(self, query: Query, **ids: int) -> Answer:
        """Ask before a server or a service is deleted."""
        selected = Selection(**ids)
        extent = await self._items.extent_of(selected)
        return await self._page(self._pages.deletion, extent_json(extent), selected)

    async def forget_page(self, query: Query) -> Answer:
        """Ask before services are forgotten that are silent."""
        server_id, span_s = query.server(), query.silent_s()
        found, before_at = await self._items.silent(span_s, server_id)
        return await self._page(self._pages.forget, found, before_at, span_s, server_id)

    async def _look(self) -> tuple[Look, int]:
        """Return all that there is, with its version."""
        # Who has just acknowledged a problem, or silenced it, wants to see that.
        await self._board.refresh(0)
        return self._board.look(), self._board.version

    async def _version(self) -> int:
        """Return a version of what is read from now on."""
        await self._board.refresh()
        return self._board.version

    async def _page(
        self,
        render: Callable[..., str],
        *values: Any,
        version: int | None = None,
        glance: Glance | None = None,
        **named: Any,
    ) -> Answer:
        """`version`: of what is shown, from before it was read. `glance`: if it has been read."""
        if version is None:
            # For the number of problems in the title.
            await self._board.refresh()
        if glance is None:
            glance = await self._insight.glance()
        glance = replace(
            glance, lag_s=self._lag_s(), version=version, attention=self._board.attention
        )
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


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
