"""The SQL of the outbox: what is still to be sent, and how sending went.

Note [Lanes]
~~~~~~~~~~~~
For each plugin the rows of one service are sent in order, and so are those about a server as a
whole and those about OverC: each of these is a lane. A row that failed and waits for its next try
holds up the rows behind it in its lane. One that is not due yet, because its plugin speaks after a
delay, holds up only what is about the same problem: nobody has heard of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from overc.daemon.store.engine import Row, Transaction
from overc.model import Notice

FIRST_ATTEMPTS = 1
LAST_ATTEMPTS = 20
"""So many attempts of a row are kept: the first ones and the last ones."""

WORDS_CHARS = 2000


class Due(NamedTuple):
    """A row of the outbox that is due, with what decides in which message it travels."""

    id: int
    alert_id: int
    lane: int
    """The queue in which its order is kept: see Note [Lanes]."""
    server_id: int | None
    service_id: int | None
    phase: str
    topic: str
    reminder: bool
    tries: int
    message_id: int | None
    """The id of the message in which it failed; it is tried again in the same one."""
    silence_id: int | None
    """The silence that has kept it back until now."""
    claimed_until: float | None
    """So long another node sends it."""


class Liveness(NamedTuple):
    """What is known of a server's services that can be late."""

    late: int
    awaited: int
    """Those that are not late."""
    last_sign_at: float | None
    """When the newest report of any of its services came."""


class Look(NamedTuple):
    """What is to be done for a plugin."""

    rows: list[Due]
    hosts: dict[int, Liveness]
    """Of the servers of which several services fell late or came back."""
    next_due_at: float | None
    """When the next one is due of those that are not."""
    servers: int
    """About so many servers there is something that was not tried yet; 0: no more than in `rows`.
    It makes as many messages at least."""
    shared: bool
    """Other nodes may send the same, so it has to be claimed first."""


class Tried(NamedTuple):
    """One attempt to send a message."""

    tried_at: float
    took_s: float
    words: str
    """The plugin's last words, or why it failed."""


class GivenUp(NamedTuple):
    """A row that is not tried any more."""

    id: int
    alert_id: int
    service_id: int | None
    phase: str
    topic: str


class Failing(NamedTuple):
    """A plugin that fails, and was reported."""

    plugin: str
    since_at: float
    by_notice: bool
    """It began with a notice about another plugin."""


def look(tx: Transaction, plugin: str, now_at: float, limit: int) -> Look:
    """Find what a plugin has to send now, the oldest first, and what may hold it together."""
    rows = due(tx, plugin, now_at, limit)
    late = Counter(row.server_id for row in rows if row.topic == "late")
    hosts = liveness(tx, [id_ for id_, n in late.items() if n > 1 and id_ is not None])
    servers = _count_servers(tx, plugin, now_at) if len(rows) == limit else 0
    return Look(rows, hosts, next_due_at(tx, plugin, now_at), servers, not tx.sole_writer)


def _count_servers(tx: Transaction, plugin: str, now_at: float) -> int:
    [(servers,)] = tx.fetch(
        "select count(distinct server_id) from outbox where plugin = ? and status = 'pending'"
        " and due_at <= ? and tries = 0",
        plugin, now_at,
    )  # fmt: skip
    return int(servers)


_DUE = (
    "select o.id, o.alert_id, o.lane, o.server_id, o.service_id, alerts.phase, alerts.topic,"
    " o.reminder, o.tries, o.message_id, o.silence_id, o.claimed_until"
    " from outbox o join alerts on alerts.id = o.alert_id"
    " where o.plugin = ? and o.status = 'pending' and o.due_at <= ?"
    " and not exists (select 1 from outbox held join alerts about on about.id = held.alert_id"
    " where held.plugin = o.plugin and held.status = 'pending' and held.lane = o.lane"
    " and held.id < o.id and held.due_at > ?"
    " and (held.tries > 0 or about.topic <> '' and about.topic = alerts.topic))"
    " order by o.id limit ?"
)


def due(tx: Transaction, plugin: str, now_at: float, limit: int) -> list[Due]:
    """Return the rows that are due, the oldest first, without those that one before holds up."""
    found = tx.fetch(_DUE, plugin, now_at, now_at, limit)
    return [
        Due(id_, alert_id, lane, server_id, service_id, phase, topic, reminder == 1, *rest)
        for id_, alert_id, lane, server_id, service_id, phase, topic, reminder, *rest in found
    ]


def next_due_at(tx: Transaction, plugin: str, now_at: float) -> float | None:
    """Return when the next row is due of those that are not due yet."""
    sql = "select min(due_at) from outbox where plugin = ? and status = 'pending' and due_at > ?"
    [(due_at,)] = tx.fetch(sql, plugin, now_at)
    return None if due_at is None else float(due_at)


def liveness(tx: Transaction, server_ids: Iterable[int]) -> dict[int, Liveness]:
    """Return how many services of servers are late, how many are awaited, and the last sign."""
    rows = tx.fetch_in(
        "select services.server_id, sum(services.timed_out),"
        " sum(case when services.timed_out = 0 and latest.deadline_at is not null"
        " then 1 else 0 end), max(states.received_at)"
        " from services join latest on latest.service_id = services.id"
        " left join states on states.id = latest.last_state_id"
        " where services.server_id in (:keys) group by services.server_id",
        server_ids,
    )
    return {id_: Liveness(int(late), int(awaited), last) for id_, late, awaited, last in rows}


_LOAD = (
    "select outbox.id, alerts.id, alerts.channel, alerts.event, alerts.severity, alerts.message,"
    " alerts.raised_at, alerts.phase, alerts.topic,"
    " servers.title, alerts.server_id, services.title, alerts.service_id,"
    " servers.name, services.name, states.state, states.info,"
    " alerts.previous_state, alerts.since_at, outbox.reminder"
    " from outbox join alerts on alerts.id = outbox.alert_id"
    " left join servers on servers.id = alerts.server_id"
    " left join services on services.id = alerts.service_id"
    " left join states on states.id = alerts.state_id"
    " where outbox.status = 'pending' and outbox.id in (:keys)"
)


def load(tx: Transaction, ids: Sequence[int]) -> dict[int, Notice]:
    """Return what a message says of rows that wait, by their ids."""
    found = tx.fetch_in(_LOAD, ids)
    return {id_: Notice._make((*columns, reminder == 1)) for id_, *columns, reminder in found}


def claim(tx: Transaction, ids: Sequence[int], node: str, now_at: float, until_at: float) -> bool:
    """Take rows for a node; say whether all of them were still there to be taken."""
    taken = tx.execute_in(
        "update outbox set claimed_until = ?, claimed_by = ? where id in (:keys)"
        " and status = 'pending' and (claimed_until is null or claimed_until <= ?)",
        ids,
        until_at,
        node,
        after=[now_at],
    )
    if taken == len(ids):
        return True
    if taken:
        release(tx, ids, node, until_at)
    return False


def release(tx: Transaction, ids: Sequence[int], node: str, until_at: float) -> None:
    """Give back what `claim` took until then, for others to send."""
    tx.execute_in(
        "update outbox set claimed_until = null"
        " where id in (:keys) and claimed_by = ? and claimed_until = ?",
        ids,
        after=[node, until_at],
    )


def release_all(tx: Transaction, node: str) -> None:
    """Give back what a node had claimed when it ended."""
    tx.execute(
        "update outbox set claimed_until = null"
        " where status = 'pending' and claimed_by = ? and claimed_until is not null",
        node,
    )


def mark_sent(tx: Transaction, ids: Sequence[int], tried: Tried) -> None:
    """Keep that a message was delivered."""
    tx.execute_in(
        "update outbox set status = 'sent', tries = tries + 1, tried_at = ?, outcome = ?,"
        " claimed_until = null where id in (:keys)",
        ids,
        tried.tried_at,
        _cut(tried.words),
    )
    _add_attempts(tx, ids, tried, delivered=True)


def mark_failed(
    tx: Transaction,
    ids: Sequence[int],
    message_id: int,
    tried: Tried,
    next_at: float,
    retry_for_s: float,
) -> list[GivenUp]:
    """Keep that a message was not delivered; return the rows whose time is over.

    The others are tried again at `next_at`, or at the end of their time where that is earlier.
    """
    # In this order: MariaDB sets one column after the other.
    tx.execute_in(
        "update outbox set expires_at = coalesce(expires_at, due_at + ?), due_at = ?,"
        " tries = tries + 1, tried_at = ?, outcome = ?, message_id = ?, claimed_until = null"
        " where id in (:keys) and status = 'pending'",
        ids,
        retry_for_s,
        next_at,
        tried.tried_at,
        _cut(tried.words),
        message_id,
    )
    tx.execute_in(
        "update outbox set due_at = expires_at"
        " where id in (:keys) and status = 'pending' and expires_at < due_at",
        ids,
    )
    _add_attempts(tx, ids, tried, delivered=False)
    sql = f"{_GIVEN_UP} and outbox.expires_at <= ? and outbox.id in (:keys)"
    return _give_up(tx, tx.fetch_in(sql, ids, tried.tried_at))


_GIVEN_UP = (
    "select outbox.id, alert_id, outbox.service_id, phase, topic"
    " from outbox join alerts on alerts.id = alert_id where outbox.status = 'pending'"
)


def give_up_expired(
    tx: Transaction, plugin: str, now_at: float, retry_for_s: float, limit: int
) -> list[GivenUp]:
    """Give up rows whose time is over, whether or not they were ever tried; return them."""
    over = tx.fetch(
        f"{_GIVEN_UP} and plugin = ? and (claimed_until is null or claimed_until <= ?)"
        " and coalesce(expires_at, due_at + ?) <= ? order by outbox.id limit ?",
        plugin, now_at, retry_for_s, now_at, limit,
    )  # fmt: skip
    return _give_up(tx, over)


def _give_up(tx: Transaction, rows: Sequence[Row]) -> list[GivenUp]:
    given_up = sorted({GivenUp(*row) for row in rows})
    tx.execute_in(
        "update outbox set status = 'undelivered', claimed_until = null"
        " where id in (:keys) and status = 'pending'",
        [row.id for row in given_up],
    )
    return given_up


_NEEDLESS = (
    "select r.id from outbox r join alerts ra on ra.id = r.alert_id"
    " where r.plugin = ? and r.status = 'pending' and ra.phase = 'recovery'"
    " and r.service_id in (:keys)"
    " and not exists (select 1 from alerts pa join outbox p on p.alert_id = pa.id"
    " where pa.service_id = r.service_id and pa.topic = ra.topic and pa.phase = 'problem'"
    " and pa.id < ra.id and p.plugin = r.plugin and p.status in ('sent', 'pending')"
    " and not exists (select 1 from alerts qa where qa.service_id = r.service_id"
    " and qa.topic = ra.topic and qa.phase = 'recovery' and qa.id > pa.id and qa.id < ra.id))"
)


def cancel_recoveries(tx: Transaction, plugin: str, service_ids: Iterable[int]) -> int:
    """Cancel recoveries that wait, of problems that were given up; return how many."""
    # fetch_in has its other values first.
    needless = tx.fetch_in(_NEEDLESS, set(service_ids), plugin)
    return tx.execute_in(
        "update outbox set status = 'cancelled' where id in (:keys) and status = 'pending'",
        sorted({id_ for (id_,) in needless}),
    )


_FOLLOWING = (
    "select o.id from outbox o join alerts on alerts.id = o.alert_id"
    " where o.plugin = ? and o.status = 'pending' and o.due_at > ? and (o.tries > 0"
    " or exists (select 1 from outbox held join alerts about on about.id = held.alert_id"
    " where held.plugin = o.plugin and held.status = 'pending' and held.lane = o.lane"
    " and held.id < o.id and held.tries > 0 and held.due_at >= o.due_at"
    " and about.topic = alerts.topic)) order by o.id"
)


def hurry(tx: Transaction, plugin: str, now_at: float) -> None:
    """Let everything be due now that waits for its next try, and what is due right after that."""
    ids = [id_ for (id_,) in tx.fetch(_FOLLOWING, plugin, now_at)]
    sql = "update outbox set due_at = ? where id in (:keys) and status = 'pending'"
    tx.execute_in(sql, ids, now_at)


def stay_due(tx: Transaction, plugin: str, was_at: float, now_at: float, retry_max_s: float) -> int:
    """Let what was due at `was_at` be due now, after the clock was set back from then to now.

    What waits for its next try waits for `retry_max_s` at most. Returns how many rows changed.
    """
    return tx.execute(
        "update outbox set due_at = ? where plugin = ? and status = 'pending' and due_at > ?"
        " and (due_at <= ? or tries > 0 and due_at > ?)",
        now_at, plugin, now_at, was_at, now_at + retry_max_s,
    )  # fmt: skip


def drop_unknown_plugins(tx: Transaction, plugins: Sequence[str]) -> int:
    """Give up what waits for plugins that are not configured any more; return how many rows."""
    dropped = 0
    for (plugin,) in tx.fetch("select distinct plugin from outbox where status = 'pending'"):
        if plugin not in plugins:
            dropped += tx.execute(
                "update outbox set status = 'undelivered', outcome = 'not configured any more'"
                " where plugin = ? and status = 'pending'",
                plugin,
            )
    for table in ("standing", "failing_plugins"):
        for (plugin,) in tx.fetch(f"select distinct plugin from {table}"):
            if plugin not in plugins:
                tx.execute(f"delete from {table} where plugin = ?", plugin)
    return dropped


def failing(tx: Transaction) -> list[Failing]:
    """Return the plugins that were reported to fail and have not worked since."""
    rows = tx.fetch("select plugin, since_at, by_notice from failing_plugins order by plugin")
    return [Failing(plugin, since_at, by_notice == 1) for plugin, since_at, by_notice in rows]


def set_failing(tx: Transaction, failing: Failing) -> None:
    clear_failing(tx, failing.plugin)
    columns = ("plugin", "since_at", "by_notice")
    values = [(failing.plugin, failing.since_at, int(failing.by_notice))]
    tx.insert("failing_plugins", columns, values)


def clear_failing(tx: Transaction, plugin: str) -> None:
    tx.execute("delete from failing_plugins where plugin = ?", plugin)


def _add_attempts(tx: Transaction, ids: Sequence[int], tried: Tried, *, delivered: bool) -> None:
    columns = ("outbox_id", "tried_at", "took_s", "delivered", "words")
    words = _cut(tried.words)
    # A row may be gone with its service since it was sent.
    there = sorted(
        {id_ for (id_,) in tx.fetch_in("select id from outbox where id in (:keys)", ids)}
    )
    rows = [(id_, tried.tried_at, tried.took_s, int(delivered), words) for id_ in there]
    tx.insert("attempts", columns, rows)
    kept = FIRST_ATTEMPTS + LAST_ATTEMPTS
    many = tx.fetch_in("select id from outbox where tries > ? and id in (:keys)", ids, kept)
    attempts: dict[int, list[int]] = {}
    for outbox_id, id_ in sorted(
        tx.fetch_in(
            "select outbox_id, id from attempts where outbox_id in (:keys)",
            {id_ for (id_,) in many},
        )
    ):
        attempts.setdefault(outbox_id, []).append(id_)
    tx.delete(
        "attempts",
        [id_ for found in attempts.values() for id_ in found[FIRST_ATTEMPTS:-LAST_ATTEMPTS]],
    )


def _cut(words: str) -> str:
    return words[-WORDS_CHARS:]
