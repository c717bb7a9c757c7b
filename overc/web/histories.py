"""Reads how services were: their timelines, their graphs, what a service's page shows of them.

Everything of one answer is read in one transaction, and put together in its thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from overc.clock import Clock
from overc.daemon import archiving, rollups
from overc.daemon.alerting.explaining import Explanation
from overc.daemon.expectations import Expectations
from overc.daemon.rollups import DAY_S, HOUR_S, Durations, Hold, StateRow, Values
from overc.daemon.snapshot import Selection
from overc.daemon.store import archive, past, status, told
from overc.daemon.store.archive import PERF_BUCKETS, STATE_BUCKETS, Buckets, Promise, Sums
from overc.daemon.store.engine import Row, Store, Transaction
from overc.daemon.store.status import AlertView
from overc.web import graphs, service_view, shapes, timeline, timeline_json
from overc.web.access import Refusal
from overc.web.folding import fold
from overc.web.graphs import Graph, TooManyValues
from overc.web.service_view import ServerView, ServiceView
from overc.web.shapes import Json
from overc.web.timeline import Grid, Strip
from overc.web.turns import TooManyWait, Turns
from overc.web.words import utc_text

T = TypeVar("T")

SOON = {"Retry-After": "10"}

SEEN_MAX = 20_000
"""A day with more states of a service is shown as its roll-ups tell it."""

WAITING_MAX = 20
"""Reads that wait for the one that goes on."""

HISTORY_MAX = 2000
"""States that a service's page folds."""

ALERTS_MAX = 50
"""Alerts that a service's or a server's page lists."""

ATTEMPTS_MAX = 200
"""Attempts to deliver these alerts that are told of."""

STRIPS_MAX = 500
"""Services of one server that get a strip."""


class ServicePage(NamedTuple):
    """What a service's page shows of the time before now."""

    view: ServiceView
    states: Sequence[Json]
    """The newest HISTORY_MAX, newest first."""
    alerts: Json
    """The newest ALERTS_MAX, as the dashboard API says it."""


class Histories:
    """For the dashboard. What is asked for by an id that is not there is None."""

    def __init__(self, store: Store, clock: Clock, expectations: Expectations) -> None:
        self._store = store
        self._clock = clock
        self._expectations = expectations
        # These are the longest reads there are, and the watchdog needs a reader too.
        self._turns = Turns(WAITING_MAX)

    async def _read(self, description: str, read: Callable[[Transaction], T]) -> T:
        try:
            return await self._turns.take(lambda: self._store.read(description, read))
        except TooManyWait:
            raise Refusal(503, "too many look at histories at once: try again soon", SOON) from None

    async def service_view(
        self, service_id: int, hours: float, why: Explanation | None
    ) -> ServicePage | None:
        now_at = self._clock.wall()

        def read(tx: Transaction) -> ServicePage | None:
            for promise in past.promises_of_service(tx, service_id):
                return _service_page(tx, promise, self._expectations, hours, now_at, why)
            return None

        return await self._read("read a history", read)

    async def states(
        self, service_id: int, hours: float, expand: Sequence[tuple[int, int]] | None
    ) -> bytes | None:
        """Return the reply of /ui/api/status/service/ID/states.

        `expand`: the ids whose runs are not folded; None: nothing is.
        """
        since_at = self._clock.wall() - hours * HOUR_S

        def read(tx: Transaction) -> bytes | None:
            name = status.service_name(tx, service_id)
            if name is None:
                return None
            raised = _by_state(status.alerts_of_service(tx, service_id, since_at))
            found = shapes.states(
                status.history(tx, service_id, since_at), raised, service_id, name
            )
            return msgspec.json.encode({"states": found if expand is None else fold(found, expand)})

        return await self._read("read a history", read)

    async def server_view(
        self, server_id: int, hours: float, found: Json
    ) -> tuple[ServerView, Json]:
        """`found`: its status. Returns its ServerView, and alerts as the API says it."""
        now_at = self._clock.wall()

        def read(tx: Transaction) -> tuple[ServerView, Json]:
            promises = past.promises_of_server(tx, server_id)[:STRIPS_MAX]
            grid = timeline.grid(hours, now_at, HOUR_S)
            strips = rolled_strips(tx, promises, self._expectations, grid)
            alerts = status.alerts(tx, server_id, None, now_at - hours * HOUR_S) or []
            shown = alerts[:ALERTS_MAX]
            registered_at = past.registered_at(tx, server_id)
            view = ServerView(
                {id_: service_view.strip_view(strip) for id_, strip in strips.items()},
                service_view.overall(strips.values()),
                None if registered_at is None else utc_text(registered_at),
                service_view.agent_version(found),
                len(alerts),
            )
            return view, shapes.alerts(shown, told.deliveries(tx, [one.id for one in shown]))

        return await self._read("read timelines", read)

    async def timelines(self, selected: Selection, hours: float) -> Json | None:
        """Return the reply of /ui/api/timeline."""
        now_at = self._clock.wall()

        def read(tx: Transaction) -> Json | None:
            if not status.is_known(tx, *selected):
                return None
            if selected.service_id is not None:
                grid = timeline.grid(hours, now_at)
                [promise] = past.promises_of_service(tx, selected.service_id)
                return timeline_json.service(read_strip(tx, promise, self._expectations, grid))
            assert selected.server_id is not None
            promises = past.promises_of_server(tx, selected.server_id)[:STRIPS_MAX]
            grid = timeline.grid(hours, now_at, HOUR_S)
            strips = rolled_strips(tx, promises, self._expectations, grid)
            return timeline_json.server(grid, strips)

        return await self._read("read timelines", read)

    async def graphs(self, service_id: int, hours: float) -> Json | None:
        """Return the reply of /ui/api/graphs."""
        now_at = self._clock.wall()

        def read(tx: Transaction) -> Json | None:
            for promise in past.promises_of_service(tx, service_id):
                grid = timeline.grid(hours, now_at)
                found = graphs.as_json(read_graphs(tx, promise, grid))
                return {
                    "starts_at": grid.starts_at,
                    "ends_at": grid.ends_at,
                    "now": round(now_at),
                    "graphs": found,
                }
            return None

        return await self._read("read graphs", read)


def _service_page(
    tx: Transaction,
    promise: Promise,
    expectations: Expectations,
    hours: float,
    now_at: float,
    why: Explanation | None,
) -> ServicePage:
    since_at = now_at - hours * HOUR_S
    # One more says that there are more.
    states = past.newest(tx, promise.id, since_at, HISTORY_MAX + 1)
    shown = states[:HISTORY_MAX]
    # No alert hangs on a state that came after it.
    hung = status.alerts_of_service(tx, promise.id, shown[-1].seen_at) if shown else []
    alerts = status.alerts(tx, None, promise.id, since_at) or []
    listed = alerts[:ALERTS_MAX]
    ids = [alert.id for alert in listed]
    strip = read_strip(tx, promise, expectations, timeline.grid(hours, now_at))
    rolled = _rolled_graphs(tx, promise, timeline.grid(hours, now_at, HOUR_S))
    return ServicePage(
        ServiceView(
            service_view.strip_view(strip),
            service_view.graph_views(rolled),
            service_view.log(past.attempts(tx, ids, ATTEMPTS_MAX)),
            None if why is None else service_view.promised(why, now_at),
            len(alerts),
            len(states) > len(shown) or sum(len(one.info) for one in states) >= past.CHARS_MAX,
        ),
        shapes.states(shown, _by_state(hung), promise.id, ""),
        shapes.alerts(listed, told.deliveries(tx, ids)),
    )


def read_strip(tx: Transaction, promise: Promise, expectations: Expectations, grid: Grid) -> Strip:
    if grid.needs_states:
        rows = past.seen(tx, promise.id, grid.starts_at, SEEN_MAX)
        if len(rows) < SEEN_MAX:
            hold = archiving.hold_of(promise, expectations)
            states = [(seen_at, state) for _, seen_at, state in sorted(rows)]
            return timeline.from_states(grid, states, hold, late=promise.timed_out)
        hours = (grid.ends_at - grid.starts_at) / HOUR_S
        grid = timeline.grid(hours, grid.now_at, HOUR_S)
    return rolled_strips(tx, [promise], expectations, grid)[promise.id]


def read_graphs(tx: Transaction, promise: Promise, grid: Grid) -> list[Graph]:
    """Return the graphs: of single values, or of roll-ups where there would be too many."""
    if grid.needs_states:
        rows = past.seen(tx, promise.id, grid.starts_at, SEEN_MAX)
        if len(rows) < SEEN_MAX:
            times = {id_: at for id_, at, _ in sorted(rows, reverse=True) if at >= grid.starts_at}
            infos = past.newest_perfdata(tx, list(times), past.CHARS_MAX)
            if len(infos) == len(times):
                with contextlib.suppress(TooManyValues):
                    return graphs.of_states(
                        [(times[id_], info) for id_, info in infos.items()],
                        past.newest_info(tx, promise.id),
                        grid.ends_at - grid.starts_at,
                        promise.period_s or 0,
                    )
    return _rolled_graphs(tx, promise, grid)


def rolled_strips(
    tx: Transaction, promises: Sequence[Promise], expectations: Expectations, grid: Grid
) -> dict[int, Strip]:
    ids = [promise.id for promise in promises]
    known = _sums(tx, STATE_BUCKETS, ids, grid)
    new = _by_service(past.unfolded(tx, ids, perfdata=False))
    points = archive.timelines(tx, ids)
    strips = {}
    for promise in promises:
        sums = {at: Durations(*one) for at, one in known.get(promise.id, {}).items()}
        for at, one in timeline.recent_sums(
            promise.id,
            rollups.parse_timeline(points.get(promise.id, "")),
            new.get(promise.id, ()),
            archiving.hold_of(promise, expectations),
            grid.now_at,
            late=promise.timed_out,
        ).items():
            sums[at] = sums.get(at, Durations()).plus(one)
        strips[promise.id] = timeline.from_sums(grid, sums)
    return strips


def _rolled_graphs(tx: Transaction, promise: Promise, grid: Grid) -> list[Graph]:
    series = past.series(tx, [promise.id])
    known = _sums(tx, PERF_BUCKETS, [one.id for one in series], grid)
    bucket_s = DAY_S if grid.of_days else HOUR_S
    values: dict[graphs.Named, dict[int, Values]] = {}
    for one in series:
        values[one.label, one.uom] = rollups.total(
            (at // bucket_s * bucket_s, Values(*of)) for at, of in known.get(one.id, {}).items()
        )
    new = _by_service(past.unfolded(tx, [promise.id])).get(promise.id, ())
    # Its values alone are wanted, and no promise matters to them.
    folded = rollups.fold(new, {promise.id: Hold(None)}, {}, 0, len(new) * HOUR_S)
    for key, one_value in folded.values.items():
        if key.starts_at < grid.starts_at:
            continue
        of_name = values.setdefault((key.label, key.uom), {})
        at = key.starts_at // bucket_s * bucket_s
        of_name[at] = of_name[at].plus(one_value) if at in of_name else one_value
    info = past.newest_info(tx, promise.id)
    return graphs.of_sums(values, info, bucket_s, promise.period_s or 0, grid.now_at)


def _by_state(alerts: Iterable[AlertView]) -> dict[int | None, list[AlertView]]:
    found: dict[int | None, list[AlertView]] = {}
    for alert in alerts:
        found.setdefault(alert.state_id, []).append(alert)
    return found


def _by_service(rows: Sequence[Row]) -> dict[int, list[StateRow]]:
    found: dict[int, list[StateRow]] = {}
    for row in rows:
        one = StateRow(*row)
        found.setdefault(one.service_id, []).append(one)
    return found


def _sums(
    tx: Transaction, kind: Buckets, ids: Sequence[int], grid: Grid
) -> dict[int, dict[int, Sums]]:
    """Return roll-ups by whose they are and by when they start: days as far as there are any."""
    hours: Sequence[int] = grid.hours()
    days: Sequence[int] = ()
    done = past.days_done(tx, kind)
    if grid.of_days:
        days = [at for at in range(grid.starts_at, grid.ends_at, DAY_S) if at <= done.up_to]
        hours = [at for at in hours if at >= done.up_to]
    found: dict[int, dict[int, Sums]] = {}
    for one in past.sums(tx, kind, kind.days, ids, days):
        if (one.starts_at, one.id) <= done:
            found.setdefault(one.id, {})[one.starts_at] = one.sums
    for one in past.sums(tx, kind, kind.hours, ids, hours):
        day_at = one.starts_at // DAY_S * DAY_S
        if not grid.of_days or (day_at, one.id) > done:
            found.setdefault(one.id, {})[one.starts_at] = one.sums
    return found
