"""Raises alerts: what is recorded, and what goes where, in one transaction with what caused it.

For use in the writer's thread only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from overc.daemon.alerting import routing
from overc.daemon.alerting.routing import (
    Key,
    Maintenance,
    Plan,
    Route,
    Row,
    Silence,
    Standing,
    Subject,
    Waiting,
)
from overc.daemon.patterns import Patterns
from overc.daemon.store import alerts, silences, standing
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert
from overc.daemon.store.silences import SilenceRow
from overc.daemon.store.standing import Problem
from overc.model import Alert, Phase


class Raiser:
    """Writes alerts, and what goes where of them."""

    def __init__(self, routes: Sequence[Route], maintenances: Sequence[Maintenance] = ()) -> None:
        self._routes = tuple(routes)
        self._windows = _Windows(maintenances)

    def raise_alerts(
        self,
        tx: Transaction,
        raised: Sequence[RaisedAlert],
        now_at: float,
        without: str | None = None,
    ) -> int:
        """Record alerts and write to the outbox what goes where; return how many were raised.

        `now_at` is on the wall clock. `without`: an alert plugin that gets none of them, since it
        is what they are about.
        """
        if not raised:
            return 0
        ids = alerts.add_alerts(tx, raised, now_at)
        routes = [route for route in self._routes if route.name != without]
        if not routes:
            return len(raised)
        in_force: Sequence[Silence] = ()
        if any(one.server_id is not None for one in raised):
            in_force = [as_silence(row) for row in self.in_force(tx, now_at)]
        named = bool(in_force) or any(route.asks_names for route in routes)
        subjects = _subjects(tx, raised, ids, named=named)
        about = {
            one.service_id
            for one in raised
            if one.service_id is not None and one.alert.phase is not Phase.NOTE
        }
        plan = routing.plan(subjects, routes, in_force, _standing(tx, about), now_at)
        _apply(tx, plan)
        return len(raised)

    def tell(self, tx: Transaction, alert: Alert, plugins: Collection[str], now_at: float) -> None:
        """Record an alert of OverC itself that is for these plugins, whatever their rules say."""
        [alert_id] = alerts.add_alerts(tx, [RaisedAlert(alert, None, None, None)], now_at)
        rows = [
            Row(alert_id, plugin, None, None, routing.PENDING, now_at) for plugin in sorted(plugins)
        ]
        add_rows(tx, rows)

    def in_force(self, tx: Transaction, now_at: float) -> list[SilenceRow]:
        """Return the silences of now. Windows of maintenance that have begun become silences."""
        found = silences.in_force(tx, now_at)
        for window in self._windows.open(now_at):
            if any(row.author == window.author for row in found):
                continue
            # One that is over was ended before its time.
            if not silences.has_window(tx, window.name, window.begun_at):
                id_ = silences.add(
                    tx, window.servers, window.services, window.author, window.reason,
                    window.begun_at, window.ends_at, now_at,
                )  # fmt: skip
                found += filter(None, [silences.find(tx, id_)])
        return found


def hush(tx: Transaction, in_force: Sequence[Silence], now_at: float) -> int:
    """Keep back what was raised before silences began and is due in their time; return how much."""
    rows, problems = [], []
    for row in alerts.undue(tx, now_at):
        silence = routing.find_silence(in_force, row.server, row.service or "")
        if silence is not None and row.due_at < silence.ends_at:
            rows.append((row.id, silence.id))
            if row.service_id is not None and row.phase == Phase.PROBLEM:
                problem = Problem(row.service_id, row.topic, row.alert_id)
                problems.append((row.plugin, problem))
    alerts.keep_back(tx, rows)
    forget(tx, problems, now_at)
    return len(rows)


def take_care(tx: Transaction, service_id: int, now_at: float) -> None:
    """Cancel what is not due yet of a service's problems: somebody has been told."""
    found = [
        row
        for row in alerts.waiting(tx, [service_id])
        if row.tries == 0 and (row.due_at > now_at or row.reminder)
    ]
    alerts.cancel(tx, [row.id for row in found], routing.ACKED)
    problems = [(row.plugin, Problem(row.service_id, row.topic, row.alert_id)) for row in found]
    forget(tx, problems, now_at)


def forget(tx: Transaction, problems: Iterable[tuple[str, Problem]], now_at: float) -> None:
    """Let problems stand no longer at plugins that will not hear of them."""
    by_plugin: dict[str, list[Problem]] = {}
    for plugin, problem in problems:
        by_plugin.setdefault(plugin, []).append(problem)
    for plugin, found in by_plugin.items():
        # When to remind of what it was told before is decided when that is looked at, now.
        standing.drop_untold(tx, plugin, found, now_at, 0.0)


def add_rows(tx: Transaction, rows: Iterable[Row]) -> None:
    alerts.add_rows(tx, [(*row[:7], int(row.reminder), row.outcome) for row in rows])


def let_stand(tx: Transaction, began: Iterable[tuple[Key, int]]) -> None:
    standing.add(tx, [(*key, alert_id) for key, alert_id in began])


def as_silence(row: SilenceRow) -> Silence:
    servers, services = Patterns(row.servers), Patterns(row.services)
    return Silence(row.id, servers, services, row.starts_at, row.ends_at)


def _subjects(
    tx: Transaction, raised: Sequence[RaisedAlert], ids: Sequence[int], *, named: bool
) -> list[Subject]:
    servers: dict[int, str] = {}
    services: dict[int, str] = {}
    if named:
        servers = alerts.server_names(tx, {one.server_id for one in raised if one.server_id})
        services = alerts.service_names(tx, {one.service_id for one in raised if one.service_id})
    return [
        Subject(
            id_,
            one.alert,
            one.server_id,
            one.service_id,
            "" if one.server_id is None else servers.get(one.server_id, ""),
            "" if one.service_id is None else services.get(one.service_id, ""),
        )
        for id_, one in zip(ids, raised, strict=True)
    ]


def _standing(tx: Transaction, service_ids: Collection[int]) -> list[Standing]:
    found = standing.find(tx, service_ids)
    if not found:
        return []
    # Of a problem that ended before something may still wait, to be told before its recovery.
    began = {Key(row.service_id, row.topic, row.plugin): row.alert_id for row in found}
    waiting: dict[Key, list[Waiting]] = {}
    for row in alerts.waiting(tx, {row.service_id for row in found}):
        key = Key(row.service_id, row.topic, row.plugin)
        if key in began and row.alert_id >= began[key]:
            one = Waiting(row.id, row.due_at, row.tries, row.reminder)
            waiting.setdefault(key, []).append(one)
    return [
        Standing(key, row.alert_id, row.told_at is not None, tuple(waiting.get(key, ())))
        for key, row in zip(began, found, strict=True)
    ]


def _apply(tx: Transaction, plan: Plan) -> None:
    alerts.cancel(tx, plan.cancelled, routing.OVER)
    standing.remove(tx, {(key.service_id, key.topic) for key in plan.over})
    standing.set_remind_at(tx, ((key, None) for key in plan.again))
    add_rows(tx, plan.rows)
    let_stand(tx, plan.began)


class _Window(NamedTuple):
    """A window of maintenance that is open."""

    name: str
    reason: str
    servers: str
    services: str
    begun_at: float
    ends_at: float

    @property
    def author(self) -> str:
        return silences.WINDOW_AUTHOR + self.name


class _Windows:
    """Knows which windows are open. They begin and end with whole seconds."""

    def __init__(self, maintenances: Sequence[Maintenance]) -> None:
        self._maintenances = tuple(maintenances)
        self._second: int | None = None
        self._open: list[_Window] = []

    def open(self, now_at: float) -> list[_Window]:
        if not self._maintenances or self._second == int(now_at):
            return self._open
        self._second, self._open = int(now_at), []
        for one in self._maintenances:
            begun_at, ends_at = one.windows.begun_at(now_at), one.windows.until(now_at)
            if begun_at is not None and ends_at is not None:
                self._open.append(
                    _Window(
                        one.name, one.reason, one.servers.text, one.services.text, begun_at, ends_at
                    )
                )
        return self._open
