"""The JSON shapes of silences and explanations. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from overc.daemon.alerting.explaining import Explanation
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.store.explain import AlertFacts, DeliveryFacts
from overc.daemon.store.kept_back import KeptBack, SilenceRow
from overc.web.shapes import Json, optional_utc, utc


def begun(silence_id: int, starts_at: float, ends_at: float) -> Json:
    return {"id": silence_id, "starts": utc(starts_at), "ends": utc(ends_at)}


def silence(row: SilenceRow, n_alerts: int, alerts: Iterable[KeptBack], now_at: float) -> Json:
    """`n_alerts`: how many it kept back; `alerts`: the newest of them."""
    status = "coming" if row.starts_at > now_at else "running"
    if row.ends_at <= now_at:
        status = "ended"
    return {
        **begun(row.id, row.starts_at, row.ends_at),
        "status": status,
        "servers": row.servers,
        "services": row.services,
        "author": row.author,
        "reason": row.reason,
        "created": utc(row.created_at),
        "n_alerts": n_alerts,
        "alerts": [
            {
                "id": one.alert_id,
                "server": one.server,
                "service": one.service,
                "service_id": one.service_id,
                "ctime": utc(one.raised_at),
                "channel": one.channel,
                "event": one.event,
                "message": one.message,
            }
            for one in alerts
        ],
    }


def maintenance(window: Maintenance, now_at: float) -> Json:
    return {
        "name": window.name,
        "servers": window.servers.text,
        "services": window.services.text,
        "running_until": optional_utc(window.windows.until(now_at)),
    }


def explanation(why: Explanation) -> Json:
    service, ack = why.facts.service, why.facts.ack
    return {
        "id": service.id,
        "name": service.name,
        "server": service.server,
        "server_id": service.server_id,
        "state": service.state,
        "info": service.info,
        "since": optional_utc(service.since_at),
        "late": service.timed_out,
        "late_since": optional_utc(why.late_at),
        "last_report": optional_utc(service.received_at),
        "period": service.period_s,
        "grace": service.grace_s,
        "due": optional_utc(service.due_at),
        "deadline": optional_utc(why.deadline_at),
        "bad_reports": 0 if service.memory is None else service.memory.bad,
        "flapping": service.memory is not None and service.memory.flapping,
        "alerts": [_alert(one) for one in why.facts.alerts],
        "standing": [
            {
                "plugin": one.plugin,
                "topic": one.topic,
                "alert_id": one.alert_id,
                "told": optional_utc(one.told_at),
                "reminder": optional_utc(one.remind_at),
            }
            for one in why.facts.standing
        ],
        "ack": None
        if ack is None
        else {"author": ack.author, "reason": ack.reason, "time": utc(ack.acked_at)},
        "silenced_by": [
            {
                "name": one.name,
                "until": utc(one.until_at),
                "author": one.author,
                "reason": one.reason,
            }
            for one in why.keeps_back
        ],
    }


def _alert(alert: AlertFacts) -> Json:
    return {
        "id": alert.id,
        "ctime": utc(alert.raised_at),
        "channel": alert.channel,
        "event": alert.event,
        "severity": alert.severity,
        "message": alert.message,
        "phase": alert.phase,
        "topic": alert.topic,
        "since": optional_utc(alert.since_at),
        "deliveries": [_delivery(one) for one in alert.deliveries],
    }


def _delivery(row: DeliveryFacts) -> Json:
    return {
        "plugin": row.plugin,
        "status": row.status,
        "due": utc(row.due_at),
        "tries": row.tries,
        "reminder": row.reminder,
        "silence_id": row.silence_id,
        "outcome": row.outcome,
        "attempts": [
            {
                "time": utc(one.tried_at),
                "took_s": one.took_s,
                "delivered": one.delivered,
                "words": one.words,
            }
            for one in row.attempts
        ],
    }
