"""Serves the status pages that the INI file names, each rendered once in a few seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

from overc.clock import Clock
from overc.daemon.page_settings import StatusPage
from overc.daemon.store import past
from overc.daemon.store.archive import STATE_BUCKETS
from overc.daemon.store.engine import Store, Transaction
from overc.web import compression
from overc.web.access import Refusal
from overc.web.answers import HTML, Answer
from overc.web.public import strips
from overc.web.public.sight import LOOK_S, Sight
from overc.web.public.strips import DAY_S, DAYS, Strip, Sums
from overc.web.public.view import View, as_json, chosen, view
from overc.web.words import span_words, undirected, utc_text

MAX_AGE_S = 10
STRIPS_S = 300.0
"""So often the strips are drawn anew: all but one of their days are over."""

STRIPS_MAX = 200
"""A page of more services has no strips."""

LAG_SHOWN_S = 30.0


class _Rendered(NamedTuple):
    at: float
    html: Answer
    json: Answer


class Days(NamedTuple):
    """How services were on the days of a strip."""

    days: list[Sums]
    hours: list[Sums]
    """Of the last two days: they may not be summed up yet."""


class _Strips(NamedTuple):
    at: float
    ids: frozenset[int]
    strips: Mapping[int, Strip]


class StatusPages:
    """For the reactor's thread only."""

    def __init__(
        self,
        pages: Iterable[StatusPage],
        sight: Sight,
        store: Store,
        clock: Clock,
        lag_s: Callable[[], float],
    ) -> None:
        """`lag_s`: by how much the watchdog is behind."""
        self._pages = {page.name: page for page in pages}
        self._sight = sight
        self._store = store
        self._clock = clock
        self._lag_s = lag_s
        self._rendered: dict[str, _Rendered] = {}
        self._strips: dict[str, _Strips] = {}
        self._waiting: dict[str, list[Deferred[_Rendered]]] = {}
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(undirected=undirected, utc=utc_text)

    async def page(self, name: str) -> Answer:
        return (await self._current(name)).html

    async def json(self, name: str) -> Answer:
        return (await self._current(name)).json

    def error_page(self, refusal: Refusal) -> Answer:
        """Return what somebody sees in place of a page. It tells nothing of what there is."""
        missing = refusal.code == 404
        title = "There is no status page here" if missing else "The status can't be read just now"
        page = self._templates.get_template("status_error.html").render(title=title)
        return Answer(page.encode(), HTML, refusal.code, refusal.headers)

    async def _current(self, name: str) -> _Rendered:
        page = self._pages.get(name)
        if page is None:
            raise Refusal(404, "there is no status page of this name")
        rendered = self._rendered.get(name)
        if rendered is not None and 0 <= self._clock.steady() - rendered.at < LOOK_S:
            return rendered
        mine: Deferred[_Rendered] = Deferred()
        waiting = self._waiting.setdefault(name, [])
        waiting.append(mine)
        if len(waiting) == 1:
            # Not the first one's own: he may go away while others wait.
            ensureDeferred(self._render(page))
        return await mine

    async def _render(self, page: StatusPage) -> None:
        """Render a page and give it to all who wait for it."""
        try:
            rendered = await self._rendering(page)
        except Exception as error:
            for one in self._waiting.pop(page.name):
                one.errback(error)
        else:
            self._rendered[page.name] = rendered
            for one in self._waiting.pop(page.name):
                one.callback(rendered)

    async def _rendering(self, page: StatusPage) -> _Rendered:
        looked_at = self._clock.steady()
        found = chosen(page, await self._sight.servers())
        ids = frozenset(row.id for _, rows in found for row in rows)
        known = self._known_strips(page, ids, looked_at)
        sums = await self._sums(ids) if known is None else Days([], [])
        now_at, is_behind = self._clock.wall(), self._lag_s() > LAG_SHOWN_S

        def render() -> tuple[Answer, Answer, Mapping[int, Strip]]:
            drawn = _draw(sums, now_at) if known is None else known
            shown = view(page, found, drawn, now_at, is_behind=is_behind)
            json = msgspec.json.encode(as_json(shown))
            html = self._html(shown).encode()
            return _answer(html, HTML), _answer(json, "application/json"), drawn

        # All of it together takes a good part of a second: not on the reactor.
        html, json, drawn = await deferToThread(render)
        if known is None:
            self._strips[page.name] = _Strips(looked_at, ids, drawn)
        return _Rendered(looked_at, html, json)

    def _known_strips(
        self, page: StatusPage, ids: frozenset[int], now_at: float
    ) -> Mapping[int, Strip] | None:
        """Return strips of just these services that are fresh enough."""
        kept = self._strips.get(page.name)
        if kept is None or kept.ids != ids or not 0 <= now_at - kept.at < STRIPS_S:
            return None
        return kept.strips

    async def _sums(self, ids: frozenset[int]) -> Days:
        if len(ids) > STRIPS_MAX:
            return Days([], [])
        now_at = self._clock.wall()
        return await self._store.read("read how days were", _read, sorted(ids), now_at)

    def _html(self, shown: View) -> str:
        return self._templates.get_template("status_page.html").render(
            view=shown, days=DAYS, span=lambda at: span_words(shown.now_at - at)
        )


def _draw(sums: Days, now_at: float) -> dict[int, Strip]:
    found = strips.by_service(sums.days, sums.hours)
    return {id_: strips.strip(of_service, now_at) for id_, of_service in found.items()}


def _read(tx: Transaction, ids: Sequence[int], now_at: float) -> Days:
    begins_at = strips.first_day(now_at)
    days = [begins_at + number * DAY_S for number in range(DAYS)]
    hours = range(days[-2], days[-1] + DAY_S, 3600)
    return Days(
        [Sums(*row) for row in past.sums(tx, STATE_BUCKETS, STATE_BUCKETS.days, ids, days)],
        [Sums(*row) for row in past.sums(tx, STATE_BUCKETS, STATE_BUCKETS.hours, ids, [*hours])],
    )


def _answer(body: bytes, content_type: str) -> Answer:
    tag = hashlib.sha256(body).hexdigest()[:16]
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}"}
    packed = compression.compress(body) if len(body) >= compression.LEAST_BYTES else None
    return Answer(body, content_type, headers=headers, etag=f'"{tag}"', packed=packed)
