"""The SQL of looking for alerts among many; nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass

from overc.daemon.store.engine import Transaction
from overc.daemon.store.status import ALERTS, AlertView

TEXT_MAX = 200
"""So many characters of a name can be looked for."""

# What became of an alert, by its rows of the outbox; `nobody` is that there are none.
_TOLD = {
    "sent": "status = 'sent'",
    "lost": "(status in ('undelivered', 'failed') or status = 'pending' and tries > 0)",
    "waits": "status = 'pending' and tries = 0",
    "silenced": "status = 'silenced'",
}
NOBODY = "nobody"
TOLD = (*_TOLD, NOBODY)

_PHASES = {"problems": "problem", "recoveries": "recovery"}
PHASES = tuple(_PHASES)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts are looked for; what is empty or None is not asked about."""

    since_at: float
    server: str = ""
    """A text in the name or the title, in any case; with `*` or `?` a pattern of the whole."""
    service: str = ""
    event: str = ""
    """An event, or one of PHASES."""
    plugin: str = ""
    """An alert plugin that the alert went to."""
    told: str = ""
    """One of TOLD; with a plugin: through that one."""
    server_id: int | None = None
    service_id: int | None = None
    before_id: int | None = None
    """Of these alerts only those that are older than this one."""


def find(tx: Transaction, wanted: Wanted, most: int) -> list[AlertView]:
    """Return the newest alerts of those that are looked for, newest first."""
    where, values = _where(wanted)
    before = "" if wanted.before_id is None else " and alerts.id < ?"
    older = () if wanted.before_id is None else (wanted.before_id,)
    sql = f"{ALERTS} where {where}{before} order by alerts.id desc limit ?"
    return [AlertView(*row) for row in tx.fetch(sql, *values, *older, most)]


def count(tx: Transaction, wanted: Wanted, most: int) -> int:
    """Return how many alerts are looked for in all, wherever a page begins; `most` at most."""
    where, values = _where(wanted)
    [(n,)] = tx.fetch(
        "select count(*) from (select 1 from alerts"
        " left join servers on servers.id = alerts.server_id"
        f" left join services on services.id = alerts.service_id where {where} limit ?) found",
        *values,
        most,
    )
    return int(n)


def _where(wanted: Wanted) -> tuple[str, list[object]]:
    # Ids rise nearly as the time does: from the first one on, the newest are found without sorting
    # all. The plus keeps the time's index out of it.
    where = ["alerts.id >= (select min(id) from alerts where raised_at >= ?)", "+raised_at >= ?"]
    values: list[object] = [wanted.since_at, wanted.since_at]
    for column, id_ in (("server_id", wanted.server_id), ("service_id", wanted.service_id)):
        if id_ is not None:
            where.append(f"alerts.{column} = ?")
            values.append(id_)
    for table, text in (("servers", wanted.server), ("services", wanted.service)):
        if text:
            pattern = _like(text)
            where.append(
                f"(lower({table}.name) like lower(?) escape '|'"
                f" or lower({table}.title) like lower(?) escape '|')"
            )
            values += [pattern, pattern]
    if wanted.event in _PHASES:
        where.append("phase = ?")
        values.append(_PHASES[wanted.event])
    elif wanted.event:
        where.append("event = ?")
        values.append(wanted.event)
    outbox = ["alert_id = alerts.id"]
    if wanted.plugin:
        outbox.append("plugin = ?")
        values.append(wanted.plugin)
    if wanted.told in _TOLD:
        outbox.append(_TOLD[wanted.told])
    negation = "not " if wanted.told == NOBODY else ""
    if len(outbox) > 1 or negation:
        where.append(f"{negation}exists (select 1 from outbox where {' and '.join(outbox)})")
    return " and ".join(where), values


def _like(text: str) -> str:
    """Return the pattern of SQL for a text as people type it."""
    escaped = "".join("|" + char if char in "|%_" else char for char in text[:TEXT_MAX])
    if set("*?") & set(text):
        return escaped.replace("*", "%").replace("?", "_")
    return f"%{escaped}%"
