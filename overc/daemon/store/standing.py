"""The SQL of standing problems: of what each alert plugin was told, or is to be told.

Note [Standing problems]
~~~~~~~~~~~~~~~~~~~~~~~~
A row stands for one problem, of one service and topic, as one plugin knows it: from the alert that
began it to the recovery. A recovery goes to the plugins that have a row, and takes it away.

`alert_id` is the alert with which the problem began for this plugin. What follows before the
recovery (WARN, then FAIL) has greater ids and the same row, so that what is told late, of a problem
that ended since, is never taken for news of the next one.

`told_at` is null as long as nothing of it was delivered. `remind_at` is null when nothing is to be
said again, and while a row of the outbox waits that would say it: a delivery sets it anew.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Sequence
from typing import NamedTuple, TypeVar

from overc.daemon.store.engine import Transaction

K = TypeVar("K")
V = TypeVar("V")


class Problem(NamedTuple):
    """What a row of the outbox tells of: an alert whose phase is `problem`."""

    service_id: int
    topic: str
    alert_id: int


class StandingRow(NamedTuple):
    service_id: int
    topic: str
    plugin: str
    alert_id: int
    told_at: float | None


def find(tx: Transaction, service_ids: Iterable[int]) -> list[StandingRow]:
    """Return all problems that stand of services, to be changed by this transaction."""
    sql = (
        "select service_id, topic, plugin, alert_id, told_at from standing"
        f" where service_id in (:keys) {tx.for_update}"
    )
    return [StandingRow(*row) for row in tx.fetch_in(sql, service_ids)]


def add(tx: Transaction, rows: Sequence[tuple[int, str, str, int]]) -> None:
    """Let problems stand: service, topic, plugin, alert."""
    tx.insert("standing", ("service_id", "topic", "plugin", "alert_id"), rows)


def remove(tx: Transaction, problems: Iterable[tuple[int, str]]) -> None:
    """Forget problems that are over, of services and topics, at all plugins."""
    for topic, ids in _by(((topic, id_) for id_, topic in problems)):
        sql = "delete from standing where topic = ? and service_id in (:keys)"
        tx.execute_in(sql, ids, topic)


def told(
    tx: Transaction,
    plugin: str,
    problems: Sequence[Problem],
    at: float,
    remind_s: float | None,
) -> None:
    """Keep that a plugin was told of problems, for the first time or once more.

    It is reminded of them after `remind_s`, unless more of them waits to be told. To be called when
    the rows of the outbox are not `pending` any more.
    """
    sql = (
        "update standing set told_at = coalesce(told_at, ?), remind_at = ?"
        " where plugin = ? and topic = ? and service_id in (:keys)"
    )
    meant = _meant(tx, plugin, problems)
    waits = _waiting(tx, plugin, {row.service_id for row in meant}) if remind_s else set()
    for (topic, waiting), ids in _by(
        ((row.topic, (row.service_id, row.topic) in waits), row.service_id) for row in meant
    ):
        remind_at = None if remind_s is None or waiting else at + remind_s
        tx.execute_in(sql, ids, at, remind_at, plugin, topic)


def drop_untold(
    tx: Transaction,
    plugin: str,
    problems: Sequence[Problem],
    at: float,
    remind_s: float | None,
) -> None:
    """Forget problems that a plugin will not be told of, for which no recovery may follow.

    Of those that it was told of before, it is reminded after `remind_s`. To be called when the rows
    of the outbox are not `pending` any more; a problem of which others are stays.
    """
    meant = _meant(tx, plugin, problems)
    waits = _waiting(tx, plugin, {row.service_id for row in meant})
    left = [row for row in meant if (row.service_id, row.topic) not in waits]
    for topic, rows in _by((row.topic, row) for row in left if row.told_at is None):
        tx.execute_in(
            "delete from standing where plugin = ? and topic = ? and service_id in (:keys)",
            [row.service_id for row in rows],
            plugin,
            topic,
        )
    if remind_s is None:
        return
    for topic, rows in _by((row.topic, row) for row in left if row.told_at is not None):
        ids = [row.service_id for row in rows]
        _set_remind_at(tx, plugin, topic, ids, at + remind_s)


def _meant(tx: Transaction, plugin: str, problems: Sequence[Problem]) -> list[StandingRow]:
    """Return the rows that problems have; those that ended since have none, or another one's."""
    newest: dict[tuple[int, str], int] = {}
    for service_id, topic, alert_id in problems:
        newest[service_id, topic] = max(alert_id, newest.get((service_id, topic), 0))
    return [
        row
        for row in find(tx, {service_id for service_id, _ in newest})
        if row.plugin == plugin and row.alert_id <= newest.get((row.service_id, row.topic), 0)
    ]


def _waiting(tx: Transaction, plugin: str, service_ids: Iterable[int]) -> set[tuple[int, str]]:
    sql = (
        "select outbox.service_id, alerts.topic"
        " from outbox join alerts on alerts.id = outbox.alert_id"
        " where outbox.plugin = ? and outbox.status = 'pending' and alerts.phase = 'problem'"
        " and outbox.service_id in (:keys)"
    )
    return {(service_id, topic) for service_id, topic in tx.fetch_in(sql, service_ids, plugin)}


class DueRow(NamedTuple):
    """A problem of which it is time to remind."""

    service_id: int
    topic: str
    plugin: str
    alert_id: int
    """The newest that its plugin was told of it."""
    server_id: int
    server: str
    service: str
    acked: bool


def due(tx: Transaction, now_at: float, limit: int) -> list[DueRow]:
    """Return problems of which it is time to remind, the longest due first."""
    sql = (
        "select standing.service_id, standing.topic, standing.plugin,"
        " coalesce((select max(outbox.alert_id) from outbox"
        " join alerts on alerts.id = outbox.alert_id"
        " where alerts.service_id = standing.service_id and alerts.topic = standing.topic"
        " and alerts.phase = 'problem' and alerts.id >= standing.alert_id"
        " and outbox.plugin = standing.plugin and outbox.status = 'sent'), standing.alert_id),"
        " services.server_id, servers.name, services.name, acks.service_id is not null"
        " from standing join services on services.id = standing.service_id"
        " join servers on servers.id = services.server_id"
        " left join acks on acks.service_id = standing.service_id"
        " where standing.remind_at <= ? order by standing.remind_at limit ?"
    )
    return [
        DueRow(service_id, topic, plugin, alert_id, server_id, server, service, acked == 1)
        for service_id, topic, plugin, alert_id, server_id, server, service, acked in tx.fetch(
            sql, now_at, limit
        )
    ]


def lock(tx: Transaction, now_at: float, limit: int) -> None:
    """Keep other nodes from reminding of the same."""
    if tx.for_update:
        sql = "select 1 from standing where remind_at <= ? order by remind_at limit ?"
        tx.fetch(f"{sql} {tx.for_update}", now_at, limit)


def set_remind_at(
    tx: Transaction, times: Iterable[tuple[tuple[int, str, str], float | None]]
) -> None:
    """Set when to think of problems again: service, topic and plugin, with the time."""
    rows = (((plugin, topic, at), id_) for (id_, topic, plugin), at in times)
    for (plugin, topic, at), ids in _by(rows):
        _set_remind_at(tx, plugin, topic, ids, at)


def take_up(tx: Transaction, plugin: str, at: float) -> None:
    """Set when to remind of problems that a plugin was told of when it did not remind yet."""
    tx.execute(
        "update standing set remind_at = ? where plugin = ? and told_at is not null"
        " and remind_at is null and not exists (select 1 from outbox"
        " where outbox.service_id = standing.service_id and outbox.plugin = standing.plugin"
        " and outbox.status = 'pending')",
        at,
        plugin,
    )


def _set_remind_at(
    tx: Transaction, plugin: str, topic: str, service_ids: Iterable[int], at: float | None
) -> None:
    sql = (
        "update standing set remind_at = ? where plugin = ? and topic = ? and service_id in (:keys)"
    )
    tx.execute_in(sql, service_ids, at, plugin, topic)


def _by(pairs: Iterable[tuple[K, V]]) -> ItemsView[K, list[V]]:
    """Return the values of each key, so that many rows take few statements."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found.items()
