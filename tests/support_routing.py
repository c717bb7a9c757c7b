"""The whole of routing without a network and a clock, and what people may expect of it."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from overc.daemon.alerting import attending
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.attention import Attend
from overc.daemon.alerting.outcomes import Outcomes, Retry
from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.patterns import Patterns
from overc.daemon.store import deliveries
from overc.daemon.store.deliveries import Due, Tried
from overc.daemon.store.engine import Transaction
from overc.daemon.store.migrations import migrate_sqlite
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, Phase, State, Topic

BEGIN_AT = 1_000_000.0
PLUGINS = ("mail", "chat")
SERVICES = {1: ("web1", "disk"), 2: ("web2", "cpu")}
RETRY_FOR_S = 500.0


class Span(NamedTuple):
    """A time that does not come again: quiet hours, or a window of maintenance."""

    begins_at: float
    ends_at: float

    def until(self, now_at: float) -> float | None:
        return self.ends_at if self.begins_at <= now_at < self.ends_at else None

    def begun_at(self, now_at: float) -> float | None:
        return self.begins_at if self.begins_at <= now_at < self.ends_at else None


class Sent(NamedTuple):
    """What a plugin was tried with."""

    plugin: str
    alert_id: int
    service_id: int | None
    phase: str
    topic: str
    reminder: bool
    arrived: bool
    """Otherwise nobody can know whether it did."""


class Silenced(NamedTuple):
    servers: Patterns
    services: Patterns
    starts_at: float
    ends_at: float

    def covers(self, service_id: int) -> bool:
        server, service = SERVICES[service_id]
        return self.servers.match(server) and self.services.match(service)


@functools.cache
def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("pragma foreign_keys = on")
    migrate_sqlite(connection, ":memory:")
    for id_, (server, _) in {1: ("web1", ""), 2: ("web2", "")}.items():
        connection.execute(
            "insert into servers (id, name, title, key_derivation, ip, registered_at)"
            " values (?, ?, ?, '', '', 0)",
            (id_, server, server),
        )
    for id_, (server, service) in SERVICES.items():
        connection.execute(
            "insert into services (id, server_id, name, title, state) values (?, ?, ?, ?, 'OK')",
            (id_, int(server[-1]), service, service),
        )
    return connection


@contextmanager
def a_transaction() -> Iterator[Transaction]:
    """Nothing of a history is left for the next one."""
    connection = _connection()
    connection.execute("begin")
    try:
        yield Transaction(connection.cursor())
    finally:
        connection.execute("rollback")


class World:
    """A server without its network and its clock, and what people see of it."""

    def __init__(
        self, tx: Transaction, routes: list[Route], maintenances: list[Maintenance]
    ) -> None:
        self.tx = tx
        self.now_at = BEGIN_AT
        self.routes = {route.name: route for route in routes}
        raiser = Raiser(routes, maintenances)
        self.raiser = raiser
        self.attend = Attend(raiser, routes)
        self.maintenances = maintenances
        self.outcomes = {
            route.name: Outcomes(
                AlertPlugin(route.name, ("true",), route=route, retry_for_s=RETRY_FOR_S), raiser
            )
            for route in routes
        }
        self.states = dict.fromkeys(SERVICES, State.OK)
        self.late = dict.fromkeys(SERVICES, False)
        self.acked: dict[int, tuple[float, int]] = {}
        """When, and the newest alert of then."""
        self.silences: dict[int, Silenced] = {}
        self.raised_under: dict[int, set[int]] = {}
        """The silences that were in force when each alert was raised."""
        self.sent: list[Sent] = []
        self.given_up: set[tuple[str, int | None, str, str]] = set()
        """What plugins gave up: of a service and topic a problem or a recovery."""

    # What happens.

    def change(self, changes: list[tuple[int, State | bool]]) -> None:
        """Services change their states, or fall late and come back, in one transaction."""
        raised = []
        for service_id, to in changes:
            alert = self._alert(service_id, to)
            if alert is not None:
                raised.append(self._about(alert, service_id))
        self._raise(raised)
        well = [id_ for id_ in SERVICES if self.states[id_] is State.OK and not self.late[id_]]
        attending.clear_acks(self.tx, well)
        for id_ in well:
            self.acked.pop(id_, None)

    def note(self, service_id: int) -> None:
        self._raise([self._about(Alert(Channel.API, "alert", "as sent", State.FAIL), service_id)])

    def silence(self, servers: str, services: str, starts_s: float, lasts_s: float) -> None:
        starts_at = self.now_at + starts_s
        ends_at = starts_at + lasts_s
        id_ = attending.silence(
            self.tx, servers, services, "alice", "work", starts_at, ends_at, self.now_at
        )
        self.silences[id_] = Silenced(Patterns(servers), Patterns(services), starts_at, ends_at)
        if starts_s == 0:
            self._check_hushed({id_})

    def end_silence(self, place: int) -> None:
        if self.silences:
            id_ = sorted(self.silences)[place % len(self.silences)]
            refused = attending.end_silence(self.tx, id_, self.now_at)
            assert (refused is not None) == (self.silences[id_].ends_at <= self.now_at)
            self.silences[id_] = self.silences[id_]._replace(
                ends_at=min(self.silences[id_].ends_at, self.now_at)
            )

    def acknowledge(self, service_id: int) -> None:
        refused = attending.acknowledge(self.tx, service_id, "bob", "mine", self.now_at)
        wrong = self.states[service_id] is not State.OK or self.late[service_id]
        assert (refused is None) is wrong
        if wrong:
            self.acked[service_id] = self.now_at, max(self.raised_under, default=0)
            assert self._undue(service_id) == []

    def look(self) -> None:
        """Attention's round."""
        newest = self._newest_row()
        self.attend.silences(self.tx, self.now_at)
        self._check_hushed(set(self.silences))
        self.attend.reminders(self.tx, self.now_at)
        rows = self.tx.fetch(
            "select plugin, outbox.service_id, topic, reminder"
            " from outbox join alerts on alerts.id = alert_id"
            " where outbox.id > ? and status = 'pending' and outbox.service_id is not null",
            newest,
        )
        for plugin, service_id, topic, reminder in rows:
            assert service_id not in self.acked
            assert not self._keeps_back(service_id)
            if reminder:
                quiet = self.routes[plugin].quiet
                assert quiet is None or quiet.until(self.now_at) is None
                # Nobody is reminded of what he is about to be told.
                [(waiting,)] = self.tx.fetch(
                    "select count(*) from outbox join alerts on alerts.id = alert_id"
                    " where status = 'pending' and phase = 'problem'"
                    " and plugin = ? and outbox.service_id = ? and topic = ?",
                    plugin, service_id, topic,
                )  # fmt: skip
                assert waiting == 1

    def deliver(self, outcomes: list[bool]) -> None:
        """Each plugin is tried with some messages, one after the other; it works or not."""
        for plugin in self.routes:
            self._deliver(plugin, outcomes)

    def _deliver(self, plugin: str, outcomes: list[bool]) -> None:
        self.outcomes[plugin].give_up(self.tx, self.now_at, 100)
        self._note_given_up()
        for works in outcomes:
            due = deliveries.due(self.tx, plugin, self.now_at, 1)
            if not due:
                break
            [row] = due
            self._check_first_try(plugin, row)
            self.sent.append(
                Sent(
                    plugin, row.alert_id, row.service_id, row.phase, row.topic, row.reminder, works
                )
            )
            tried = Tried(self.now_at, 0.1, "words")
            if works:
                self.outcomes[plugin].sent(self.tx, [row], tried, works_again=False, hurry=False)
            else:
                retry = Retry(row.alert_id, self.now_at + 15, False, False)
                self.outcomes[plugin].failed(self.tx, [row], tried, retry)
                self._note_given_up()

    def settle(self) -> None:
        """All silences end, every plugin works, and all that waits is sent."""
        # Nothing is so late that it is given up.
        for _ in range(8):
            self.now_at += 90
            self.look()
            self.deliver([True] * 1000)
        assert self.tx.fetch("select * from outbox where status = 'pending'") == []

    def recover(self) -> None:
        """All is well again."""
        self.change([(id_, to) for id_ in SERVICES for to in (State.OK, False)])

    # What is expected.

    def check(self) -> None:
        for plugin in self.routes:
            self._check_plugin(plugin)

    def _check_plugin(self, plugin: str) -> None:
        tries = [one for one in self.sent if one.plugin == plugin]
        # Each alert once.
        told = [one.alert_id for one in tries if one.arrived and not one.reminder]
        assert len(set(told)) == len(told)
        for service_id in SERVICES:
            for topic in (Topic.STATE, Topic.LATE):
                about = service_id, topic.value
                mine = [one for one in tries if (one.service_id, one.topic) == about]
                self._check_topic(plugin, service_id, topic, mine)

    def _check_topic(self, plugin: str, service_id: int, topic: Topic, tries: list[Sent]) -> None:
        # In the order in which they were raised.
        ids = [one.alert_id for one in tries if not one.reminder]
        assert ids == sorted(ids)
        down = maybe_down = False
        for one in tries:
            if one.phase == Phase.RECOVERY:
                # Never an UP without a DOWN.
                assert down
                if one.arrived:
                    down = maybe_down = False
            else:
                # Nobody is reminded of what he does not know, or what is over.
                assert down or not one.reminder
                maybe_down = True
                down = down or one.arrived
        lost = {phase for *about, phase in self.given_up if about == [plugin, service_id, topic]}
        bad = self.late[service_id]
        event = "plugin/offline"
        if topic is Topic.STATE:
            bad = self.states[service_id] is not State.OK
            event = f"service:state/{self.states[service_id].value}"
        # Nothing is lost: who knows of a problem hears of its end.
        if not bad:
            assert not down or Phase.RECOVERY in lost
            assert not maybe_down or lost
        elif self._expects_problem(plugin, service_id, event):
            [(newest,)] = self.tx.fetch(
                "select max(id) from alerts where service_id = ? and topic = ?",
                service_id,
                topic.value,
            )
            assert (down and ids[-1] == newest) or Phase.PROBLEM in lost

    def _expects_problem(self, plugin: str, service_id: int, event: str) -> bool:
        """The newest alert of a problem has to have been told."""
        route, (server, service) = self.routes[plugin], SERVICES[service_id]
        return (
            route.servers.match(server)
            and route.services.match(service)
            and route.events.match(event)
            and service_id not in self.acked
        )

    def _check_first_try(self, plugin: str, row: Due) -> None:
        if row.tries or row.service_id is None or row.phase == Phase.RECOVERY or row.reminder:
            return
        [(due_at,)] = self.tx.fetch("select due_at from outbox where id = ?", row.id)
        for silence_id in self.raised_under[row.alert_id]:
            # What a silence kept back is not sent as long as it is in force.
            assert self.silences[silence_id].ends_at <= self.now_at
        if row.phase == Phase.PROBLEM:
            # It was not over before it was due.
            over = self.tx.fetch(
                "select 1 from alerts where service_id = ? and topic = ? and phase = 'recovery'"
                " and id > ? and raised_at < ?",
                row.service_id, row.topic, row.alert_id, due_at,
            )  # fmt: skip
            assert not over
        if row.phase == Phase.PROBLEM and row.service_id in self.acked:
            acked_at, newest = self.acked[row.service_id]
            assert row.alert_id > newest or due_at <= acked_at

    def _check_hushed(self, ids: set[int]) -> None:
        """Nothing waits that is due in silences."""
        rows = self.tx.fetch(
            "select outbox.service_id, due_at from outbox join alerts on alerts.id = alert_id"
            " where status = 'pending' and due_at > ? and tries = 0 and phase <> 'recovery'"
            " and outbox.service_id is not null",
            self.now_at,
        )
        for service_id, due_at in rows:
            for silence in [self.silences[id_] for id_ in ids]:
                if silence.covers(service_id) and silence.starts_at <= self.now_at:
                    assert not self.now_at < due_at < silence.ends_at

    def _undue(self, service_id: int) -> list[Any]:
        return self.tx.fetch(
            "select outbox.id from outbox join alerts on alerts.id = alert_id"
            " where outbox.service_id = ? and status = 'pending' and tries = 0 and due_at > ?"
            " and phase = 'problem'",
            service_id,
            self.now_at,
        )

    def _keeps_back(self, service_id: int) -> set[int]:
        return {
            id_
            for id_, one in self.silences.items()
            if one.covers(service_id) and one.starts_at <= self.now_at < one.ends_at
        }

    # How it is done.

    def _alert(self, service_id: int, to: State | bool) -> Alert | None:
        """Return what the judge would say."""
        if isinstance(to, State):
            before, self.states[service_id] = self.states[service_id], to
            self.tx.execute("update services set state = ? where id = ?", to.word, service_id)
            if before is to:
                return None
            phase = Phase.RECOVERY if to is State.OK else Phase.PROBLEM
            return Alert(Channel.SERVICE_STATE, to.word, "changed", to, phase, Topic.STATE)
        before_late, self.late[service_id] = self.late[service_id], to
        self.tx.execute("update services set timed_out = ? where id = ?", int(to), service_id)
        if before_late is to:
            return None
        event, state, phase = "online", State.OK, Phase.RECOVERY
        if to:
            event, state, phase = "offline", State.FAIL, Phase.PROBLEM
        return Alert(Channel.PLUGIN, event, "late", state, phase, Topic.LATE)

    def _about(self, alert: Alert, service_id: int) -> RaisedAlert:
        return RaisedAlert(alert, int(SERVICES[service_id][0][-1]), service_id, None)

    def _raise(self, raised: list[RaisedAlert]) -> None:
        [(newest,)] = self.tx.fetch("select coalesce(max(id), 0) from alerts")
        row = self._newest_row()
        assert self.raiser.raise_alerts(self.tx, raised, self.now_at) == len(raised)
        for id_, service_id in self.tx.fetch(
            "select id, service_id from alerts where id > ?", newest
        ):
            self.raised_under[id_] = self._keeps_back(service_id)
        found = self.tx.fetch(
            "select plugin, due_at, status, silence_id, service_id, phase, alert_id from outbox"
            " join alerts on alerts.id = alert_id where outbox.id > ?".replace(
                "service_id", "outbox.service_id"
            ),
            row,
        )
        assert len({(plugin, alert_id) for plugin, *_, alert_id in found}) == len(found)
        for plugin, due_at, status, silence_id, service_id, phase, _ in found:
            quiet = self.routes[plugin].quiet
            assert due_at >= self.now_at
            if status == "pending":
                assert quiet is None or quiet.until(due_at) is None
                assert phase == Phase.RECOVERY or not self._keeps_back(service_id)
            assert (status == "silenced") == (silence_id is not None)

    def _newest_row(self) -> int:
        [(newest,)] = self.tx.fetch("select coalesce(max(id), 0) from outbox")
        return int(newest)

    def _note_given_up(self) -> None:
        self.given_up.update(
            self.tx.fetch(
                "select plugin, outbox.service_id, topic, phase"
                " from outbox join alerts on alerts.id = alert_id where status = 'undelivered'"
            )
        )
