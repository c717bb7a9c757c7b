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
from overc.daemon.expectations import Expectations
from overc.daemon.page_settings import StatusPage
from overc.daemon.rollups import DAY_S, Durations
from overc.daemon.store import archive
from overc.daemon.store.engine import Store, Transaction
from overc.web import compression
from overc.web.access import Refusal
from overc.web.answers import HTML, Answer
from overc.web.histories import rolled_strips
from overc.web.public import strips
from overc.web.public.sight import LOOK_S, Sight
from overc.web.public.strips import DAYS, Strip
from overc.web.public.view import View, as_json, chosen, view
from overc.web.timeline import Grid
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


Days = Mapping[int, Mapping[int, Durations]]
"""How services were, by their ids and by when the days begin."""


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
        expectations: Expectations,
        lag_s: Callable[[], float],
    ) -> None:
        """`lag_s`: by how much the watchdog is behind."""
        self._pages = {page.name: page for page in pages}
        self._sight = sight
        self._store = store
        self._clock = clock
        self._expectations = expectations
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
        look = await self._sight.look()
        found = chosen(page, look.servers)
        ids = frozenset(row.id for _, rows in found for row in rows)
        known = self._known_strips(page, ids, looked_at)
        sums = await self._sums(ids) if known is None else {}
        now_at, is_behind = self._clock.wall(), self._lag_s() > LAG_SHOWN_S

        def render() -> tuple[Answer, Answer, Mapping[int, Strip]]:
            drawn = _draw(sums, now_at) if known is None else known
            shown = view(page, found, look.windows, drawn, now_at, is_behind=is_behind)
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
            return {}
        now_at = self._clock.wall()
        return await self._store.read(
            "read how days were", _read, sorted(ids), self._expectations, now_at
        )

    def _html(self, shown: View) -> str:
        return self._templates.get_template("status_page.html").render(
            view=shown, days=DAYS, span=lambda at: span_words(shown.now_at - at)
        )


def _draw(days: Days, now_at: float) -> dict[int, Strip]:
    return {id_: strips.strip(of_service, now_at) for id_, of_service in days.items()}


def _read(tx: Transaction, ids: Sequence[int], expectations: Expectations, now_at: float) -> Days:
    """Return the days of the services of which anything is known then."""
    grid = Grid(strips.first_day(now_at), DAY_S, DAYS, now_at)
    promises = list(archive.promises(tx, ids).values())
    return {
        id_: {tick.starts_at: tick.known for tick in strip.ticks}
        for id_, strip in rolled_strips(tx, promises, expectations, grid).items()
        if strip.known_ms
    }


def _answer(body: bytes, content_type: str) -> Answer:
    tag = hashlib.sha256(body).hexdigest()[:16]
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}"}
    packed = compression.compress(body) if len(body) >= compression.LEAST_BYTES else None
    return Answer(body, content_type, headers=headers, etag=f'"{tag}"', packed=packed)
