"""What the tests of the pages share: replies of the dashboard API, and a reader of pages."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any

from overc.daemon.snapshot import ServerEntry, ServiceEntry
from overc.daemon.store.status import ServerRow, ServiceRow
from overc.web.folding import fold
from overc.web.glance import Glance
from overc.web.listing import Look, label_of, server_order
from overc.web.pages import Pages

NOW_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
BASE_URL = "http://mon.example.com:5000/"
PAGES = Pages()
VOID = {"meta", "link", "br", "hr", "img", "input"}

HOSTILE = {
    "markup": "<b onclick=alert(1)>x</b><script>alert(2)</script>",
    "comment": "<!-- </main></td></table>",
    "quotes": '" onmouseover="alert(3)" \' onfocus=\'alert(4)',
    "template": "{{ 7 * 7 }}{% raw %}",
    "entity": "&lt;i&gt; &amp; &#x27;",
    "url": "javascript:alert(5)//http://evil.example/",
    "bidi": "abc\u202egnp.exe\u2066\u200f",
    "unicode": "Серверная 🦉 e\u0301 日本",
    "lines": "first\nsecond\r\n\tthird\x00\x1b[31m",
    "huge": "ab<c " * (64 * 1024 // 5),
}


class Page(HTMLParser):
    """What a reader of the page gets: its elements in order, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    @property
    def skeleton(self) -> list[tuple[str, list[str]]]:
        return [(tag, list(attrs)) for tag, attrs in self.elements]

    def values(self, *names: str) -> list[str]:
        return [attrs[name] for _, attrs in self.elements for name in names if name in attrs]

    def element(self, tag: str) -> dict[str, str]:
        return next(attrs for name, attrs in self.elements if name == tag)


def state(word: str, *, age_s: int = 10, late: bool = False, info: str = "fine") -> dict[str, Any]:
    hours, seconds = 10 * 3600 - age_s, age_s
    rtime = f"2026-03-01 {hours // 3600:02}:{hours // 60 % 60:02}:{hours % 60:02}.250000"
    seen_ago = f"0:00:{seconds:02}"
    return {"rtime": rtime, "timed_out": late, "seen_ago": seen_ago, "state": word, "info": info}


def service(id_: int, name: str, now: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    known = {"id": id_, "period": 60, "name": name, "title": name, "n_alerts": 0, "state": now}
    return {**known, **more}


def server(id_: int, name: str, *services: dict[str, Any], n_alerts: int = 0) -> dict[str, Any]:
    known = {"id": id_, "name": name, "title": name, "ip": "192.0.2.7", "n_alerts": n_alerts}
    return {**known, "services": list(services)}


def status(*servers: dict[str, Any], lag_s: int = 0) -> dict[str, Any]:
    stats = {"n_alerts": 3, "last_state_id": 9, "supervisor_lag": lag_s}
    return {"stats": stats, "servers": list(servers)}


def look(reply: dict[str, Any], glance: Glance = Glance()) -> Look:  # noqa: B008 - frozen
    """Return what the overview and the services' page are made of, from the reply of a status."""
    servers = []
    for one in reply["servers"]:
        entry = ServerEntry(ServerRow(one["id"], one["name"], one["title"], one["ip"]))
        entry.n_alerts = one["n_alerts"]
        for it in one["services"]:
            now = it["state"] or {}
            service = entry.services[it["id"]] = ServiceEntry(
                ServiceRow(
                    it["id"], one["id"], it["name"], it["title"], it["period"],
                    int(now.get("timed_out", False)), now.get("state"), it.get("since"),
                    it["id"] if now else None, _epoch(now["rtime"]) if now else None,
                    now.get("info"),
                )
            )  # fmt: skip
            service.n_alerts = it["n_alerts"]
        servers.append(entry)
    servers.sort(key=server_order)
    pairs = [
        (entry, service)
        for entry in servers
        for service in sorted(
            entry.services.values(), key=lambda one: (label_of(one).lower(), one.row.id)
        )
    ]
    silences = {
        service.row.id: silence
        for entry, service in pairs
        if (silence := glance.silence_of(entry.row.name, service.row.name))
    }
    n_alerts = reply["stats"]["n_alerts"]
    return Look(servers, pairs, glance.acks, silences, glance.told, n_alerts)


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def overview(reply: dict[str, Any], *more: Any, glance: Glance = Glance(), **named: Any) -> str:  # noqa: B008
    """Render the overview of what a status says."""
    behind = replace(glance, lag_s=reply["stats"]["supervisor_lag"])
    return PAGES.overview(look(reply, glance), *more, glance=behind, **named)


def services(reply: dict[str, Any], *more: Any, glance: Glance = Glance(), **named: Any) -> str:  # noqa: B008
    """Render the services of what a status says."""
    behind = replace(glance, lag_s=reply["stats"]["supervisor_lag"])
    return PAGES.services(look(reply, glance), *more, glance=behind, **named)


def alert(id_: int, text: str = "web1", **more: Any) -> dict[str, Any]:
    source = {"server": text, "server_id": 1, "service": text, "service_id": 11}
    what = {
        "channel": "service:state",
        "event": "WARN",
        "message": text,
        "state_info": text,
        "deliveries": [],
    }
    return {"id": id_, "ctime": "2026-03-01 09:00:00", **source, **what, **more}


def history(text: str) -> list[dict[str, Any]]:
    raised = {"id": 1, "channel": text, "event": "WARN", "message": text, "severity": "WARN"}
    same = {"rtime": "2026-03-01 09:00:00", "state": "WARN", "info": text}
    source = {"service": text, "service_id": 11}
    return fold(
        [{"id": id_, **same, **source, "alerts": [raised][id_ > 41 :]} for id_ in range(50, 40, -1)]
    )


def delivery(plugin: str = "mail", status: str = "sent", **more: Any) -> dict[str, Any]:
    usual = {
        "due_at": "2026-03-01 09:00:00.500000",
        "tries": 1,
        "tried_at": "2026-03-01 09:00:01.500000",
        "outcome": "queued",
        "reminder": False,
        "silence_id": None,
        "reminders": 0,
        "reminded_at": None,
    }
    return {"plugin": plugin, "status": status, **usual, **more}


def every_way(text: str) -> list[dict[str, Any]]:
    """Return deliveries of each kind, with `text` wherever a stranger can put one."""
    later = "2026-03-01 11:00:00.000000"
    return [
        delivery(text, outcome=text, reminders=2, reminded_at=later),
        delivery(text, "pending", tries=0, tried_at=None, outcome=None),
        delivery(text, "pending", tries=0, tried_at=None, outcome=None, due_at=later),
        delivery(text, "pending", tries=2, outcome=text),
        delivery(text, "pending", tries=2, outcome=text, due_at=later),
        delivery(text, "undelivered", tries=3, outcome=text, reminder=True),
        delivery(text, "silenced", tries=0, outcome=None, silence_id=3),
        delivery(text, "silenced", tries=0, outcome=None),
        delivery(text, "cancelled", tries=0, outcome=text),
    ]


def silence(id_: int, status: str = "running", text: str = "web*", **more: Any) -> dict[str, Any]:
    source = {"server": text, "service": text, "service_id": 11}
    what = {"channel": "service:state", "event": "FAIL", "message": text}
    kept_back = {"id": 1, "ctime": "2026-03-01 09:30:00.000000", **source, **what}
    usual = {
        "starts": "2026-03-01 09:00:00.000000",
        "ends": "2026-03-01 11:00:00.000000",
        "created": "2026-03-01 08:00:00.000000",
        "servers": text,
        "services": text,
        "author": text,
        "reason": text,
        "n_alerts": 21,
        "alerts": [kept_back, {**kept_back, "server": None, "service": None, "service_id": None}],
    }
    return {"id": id_, "status": status, **usual, **more}


def window(text: str = "tape*", until: str | None = "2026-03-01 11:00:00.000000") -> dict[str, Any]:
    return {"name": text, "servers": text, "services": text, "running_until": until}
