"""Messages for programs: as JSON, as Alertmanager's webhook has it, as variables. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from overc.daemon.alerting.messages import (
    OWN_TITLE,
    Message,
    duration_s,
    headline,
    is_single,
    last_of_each,
    render_text,
    since_at,
    title_of,
)
from overc.daemon.alerting.plaintext import clean, iso
from overc.model import Notice, Phase, Topic

JSON_VERSION = 1

TEXT_CHARS = 16 * 1024
"""How much of an info or a message goes into JSON."""

ALERTS_MOST = 500
"""How many alerts go into JSON; of the others it gives the number."""

NAME_BYTES = 1024
INFO_BYTES = 8 * 1024
"""How much of a name, and of an info, goes into a variable: an environment has to stay small."""

NEVER = "0001-01-01T00:00:00Z"
"""Alertmanager's `endsAt` of what goes on."""


def environment(message: Message, now_at: float, base_url: str | None) -> dict[str, str]:
    """Return a message's variables. All of them are always there; what is unknown is empty.

    Of a message that joins alerts they tell what holds for all of them. None has control
    characters in it, and all together are less than 32 KiB.
    """
    notices, first = message.notices, message.notices[0]
    head = headline(message)
    begun_at = since_at(message)
    texts = {
        "ALERT_ID": str(message.alert_id),
        "KIND": str(message.kind),
        "SERVER": _common([notice.server_name for notice in notices]),
        "SERVICE": _common([notice.service_name for notice in notices]),
        "CHANNEL": head.channel,
        "EVENT": head.event,
        "STATE": _common([notice.state for notice in notices]),
        "PREVIOUS_STATE": _common([notice.previous for notice in notices]),
        "SEVERITY": _common([notice.severity for notice in notices]),
        "SINCE": "" if begun_at is None else iso(begun_at),
        "DURATION": str(int(duration_s(message, now_at))),
    }
    # Where there is no state, the message is all that is known.
    info = (first.info or "") if is_single(message) and first.state is not None else head.said
    return {
        **{f"OVERC_{name}": clean(text, NAME_BYTES) for name, text in texts.items()},
        "OVERC_INFO": clean(info, INFO_BYTES),
        "OVERC_URL": message_url(message, base_url) or "",
    }


def render_json(message: Message, now_at: float, base_url: str | None) -> str:
    """Return a message as one JSON object on one line."""
    begun_at = since_at(message)
    shortened = _shortened(message.notices[:ALERTS_MOST])
    short = message._replace(notices=(*shortened, *message.notices[ALERTS_MOST:]))
    return _encode(
        {
            "version": JSON_VERSION,
            "id": message.alert_id,
            "kind": str(message.kind),
            "title": str(headline(message))[:TEXT_CHARS],
            "text": render_text(short, now_at),
            "since": None if begun_at is None else iso(begun_at),
            "duration": int(duration_s(message, now_at)),
            "url": message_url(message, base_url),
            "alerts": [_alert(notice, now_at, base_url) for notice in shortened],
            "alerts_left_out": len(message.notices) - len(shortened),
        }
    )


def render_alertmanager(message: Message, receiver: str, base_url: str | None) -> str:
    """Return a message as the JSON that Alertmanager posts to a webhook.

    An alert's labels say what it is about, and are those of its recovery; what changes with a
    problem, its severity for one, is an annotation.
    """
    last = last_of_each(message.notices)
    notices = _shortened(last[:ALERTS_MOST])
    servers = {notice.server_name or OWN_TITLE for notice in notices}
    group = {"server": servers.pop()} if len(servers) == 1 else {}
    inside = ",".join(f"{name}={_encode(value)}" for name, value in group.items())
    firing = any(notice.phase != Phase.RECOVERY for notice in notices)
    return _encode(
        {
            "version": "4",
            "groupKey": f"{{}}:{{{inside}}}",
            "truncatedAlerts": len(last) - len(notices),
            "status": "firing" if firing else "resolved",
            "receiver": receiver,
            "groupLabels": group,
            "commonLabels": _in_all([_labels(notice) for notice in notices]),
            "commonAnnotations": _in_all([_annotations(notice) for notice in notices]),
            "externalURL": base_url or "",
            "alerts": [_promethean(notice, base_url) for notice in notices],
        }
    )


def message_url(message: Message, base_url: str | None) -> str | None:
    """Return the page that shows what a message is about; None without a base to build on."""
    services = {notice.service_id for notice in message.notices}
    servers = {notice.server_id for notice in message.notices}
    service_id = services.pop() if len(services) == 1 else None
    server_id = servers.pop() if len(servers) == 1 else None
    return _page(server_id, service_id, base_url)


def _page(server_id: int | None, service_id: int | None, base_url: str | None) -> str | None:
    if base_url is None:
        return None
    if service_id is not None:
        return f"{base_url}/ui/service/{service_id}"
    if server_id is not None:
        return f"{base_url}/ui/server/{server_id}"
    return f"{base_url}/ui/"


def _alert(notice: Notice, now_at: float, base_url: str | None) -> dict[str, object]:
    until_at = now_at if notice.reminder else notice.raised_at
    since = notice.since_at
    return {
        "id": notice.alert_id,
        "channel": notice.channel,
        "event": notice.event,
        "severity": notice.severity,
        "phase": notice.phase,
        "topic": notice.topic,
        "reminder": notice.reminder,
        "message": notice.message,
        "raised": iso(notice.raised_at),
        "since": None if since is None else iso(since),
        "duration": 0 if since is None else max(0, int(until_at - since)),
        "server": _named(notice.server_id, notice.server_name, notice.server),
        "service": _named(notice.service_id, notice.service_name, notice.service),
        "state": notice.state,
        "previous_state": notice.previous,
        "info": notice.info,
        "url": _page(notice.server_id, notice.service_id, base_url),
    }


def _named(number: int | None, name: str | None, title: str | None) -> dict[str, object] | None:
    if number is None and name is None and title is None:
        return None
    return {"id": number, "name": name, "title": title}


def _promethean(notice: Notice, base_url: str | None) -> dict[str, object]:
    over = notice.phase == Phase.RECOVERY
    labels = _labels(notice)
    return {
        "status": "resolved" if over else "firing",
        "labels": labels,
        "annotations": _annotations(notice),
        "startsAt": iso(notice.raised_at if notice.since_at is None else notice.since_at),
        "endsAt": iso(notice.raised_at) if over else NEVER,
        "generatorURL": _page(notice.server_id, notice.service_id, base_url) or "",
        "fingerprint": _fingerprint(labels),
    }


def _labels(notice: Notice) -> dict[str, str]:
    labels = {"alertname": _alert_name(notice), "server": notice.server_name or OWN_TITLE}
    if notice.service_name is not None:
        labels["service"] = notice.service_name
    return labels


def _annotations(notice: Notice) -> dict[str, str]:
    annotations = {
        "summary": f"{title_of(notice)}: {notice.message}",
        "description": notice.info or "",
        "severity": notice.severity,
        "channel": notice.channel,
        "event": notice.event,
        "alert_id": str(notice.alert_id),
    }
    if notice.state is not None:
        annotations["state"] = notice.state
    return annotations


def _alert_name(notice: Notice) -> str:
    names = {Topic.STATE.value: "ServiceState", Topic.LATE.value: "ServiceLate"}
    return names.get(str(notice.topic), f"{notice.channel}/{notice.event}")


def _fingerprint(labels: Mapping[str, str]) -> str:
    text = _encode(sorted(labels.items()))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def _in_all(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = each
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def _common(values: Sequence[str | None]) -> str:
    """Return the one value that all have, empty if they differ or there is none."""
    first = values[0]
    return str(first) if first is not None and all(value == first for value in values) else ""


def _shortened(notices: Sequence[Notice]) -> list[Notice]:
    return [
        notice._replace(message=notice.message[:TEXT_CHARS], info=(notice.info or "")[:TEXT_CHARS])
        if len(notice.message) + len(notice.info or "") > TEXT_CHARS
        else notice
        for notice in notices
    ]


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
