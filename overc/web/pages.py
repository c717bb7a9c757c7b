"""The dashboard's pages: replies of the dashboard API in, HTML out. Pure.

Every link is relative to the page's own address, so that the dashboard works under any path of a
proxy: `root` is the way from the page to the folder of the overview (`./`, `../`).
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Reply = Mapping[str, Any]
"""A decoded reply of the dashboard API."""

HOURS_CHOICES = {24: "24 hours", 168: "7 days", 720: "30 days"}
"""How far back the pages offer to look."""

_REFRESH_S = 5
# A service's page reads its history anew, which costs the server more than a status.
_SERVICE_REFRESH_S = 15
_LAG_SHOWN_S = 5
_LISTED_CHARS = 200
# The marks that the page has, in the order of the counts, and how far up each is listed.
_RANKS = {"FAIL": 0, "late": 0, "WARN": 1, "UNK": 2, "OK": 3, "none": 4}
_HEALTHY_RANK = _RANKS["OK"]
_EVENT_MARKS = {"offline": "late", "online": "OK"}
_UNITS_S = {86400: "d", 3600: "h", 60: "min"}
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service in the words that the pages print."""

    id: int
    name: str
    title: str
    server: Reply
    n_alerts: int
    period: str | None
    condition: str
    """One of `_RANKS`: each service is counted under one, and lateness hides the last state."""
    state: str | None
    info: str
    rtime: str | None
    seen: str | None
    late_by: str | None
    held_for: str | None
    since: str | None
    due_in: str | None

    @property
    def word(self) -> str:
        return "no state" if self.condition == "none" else self.condition

    @property
    def is_problem(self) -> bool:
        return _RANKS[self.condition] < _HEALTHY_RANK


def span_words(span_s: float) -> str:
    """Return a span as people say it, to the unit that there are at least two of: `3 min`."""
    whole_s = max(0, int(span_s))
    for unit_s, unit in _UNITS_S.items():
        if whole_s >= 2 * unit_s:
            return f"{whole_s // unit_s} {unit}"
    return f"{whole_s} s"


def period_words(period_s: int) -> str:
    """Return a period exactly, in the largest unit that divides it: `5 min`, `90 s`."""
    for unit_s, unit in _UNITS_S.items():
        if period_s % unit_s == 0:
            return f"{period_s // unit_s} {unit}"
    return f"{period_s} s"


def count_words(count: int, noun: str) -> str:
    """Return `1 service`, `1,440 services`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def first_line(text: str) -> str:
    """Return the first line that says something, with an ellipsis for all that is left out."""
    lines = text.strip().splitlines() or [""]
    if len(lines) > 1 or len(lines[0]) > _LISTED_CHARS:
        return lines[0][:_LISTED_CHARS].rstrip() + " …"
    return lines[0]


def attribute_text(text: str) -> str:
    """Return text fit for a tooltip or a tab's title, which no <bdi> can isolate: one line."""
    return _BIDI_CONTROLS.sub("", first_line(text))


def pasteable_json(value: object) -> str:
    """Return JSON on one line for a shell: readable, with all that can't be seen escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char).strip('"') for char in text)


def curl_line(base_url: str, server: str, service: str, period_s: int, state: str) -> str:
    """Return the shell command that reports one state; `KEY` stands for the server's key."""
    report = {
        "server": {"name": server, "key": "KEY"},
        "period": period_s,
        "services": [{"name": service, "state": state, "info": "reported by curl"}],
    }
    url = shlex.quote(base_url.rstrip("/") + "/api/set/service/status")
    return f"curl {url} -d {shlex.quote(pasteable_json(report))}"


class Pages:
    """Renders each page from what the dashboard API replies about the same selection.

    `now_at` is epoch seconds. A server or service may carry more keys than the API promises; of
    those, a service's `since` (epoch seconds since when its state holds) and `deadline_at` show.
    """

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            attribute=attribute_text,
            count=count_words,
            first_line=first_line,
            label=_label,
            alert_mark=_alert_mark,
        )
        self._environment.globals.update(hours_choices=HOURS_CHOICES)

    def overview(self, status: Reply, *, now_at: float, base_url: str, root: str = "./") -> str:
        """Render what needs attention, then all servers; without any, how to begin."""
        rows = list(_rows(status, now_at))
        by_server: dict[int, list[ServiceRow]] = {server["id"]: [] for server in status["servers"]}
        for row in rows:
            by_server[row.server["id"]].append(row)
        return self._render(
            "overview",
            root,
            now_at,
            status=status,
            refresh_s=_REFRESH_S,
            counts=_counts(rows),
            problems=[row for row in _troubled_first(rows) if row.is_problem],
            servers=[(server, by_server[server["id"]]) for server in status["servers"]],
            curl_line=curl_line(base_url, "web1", "disk", 60, "OK"),
            shell_url=shlex.quote(base_url.rstrip("/") + "/"),
        )

    def services(self, status: Reply, *, now_at: float, root: str = "./") -> str:
        """Render all services as one table: problems first, otherwise in the reply's order."""
        rows = _troubled_first(_rows(status, now_at))
        return self._render(
            "services",
            root,
            now_at,
            status=status,
            refresh_s=_REFRESH_S,
            counts=_counts(rows),
            rows=rows,
        )

    def server(
        self, status: Reply, alerts_reply: Reply, *, now_at: float, root: str = "../"
    ) -> str:
        """Render one server: the status has it alone, the alerts are those of 24 hours."""
        rows = _troubled_first(_rows(status, now_at))
        server = status["servers"][0]
        return self._render(
            "server",
            root,
            now_at,
            status=status,
            refresh_s=_REFRESH_S,
            server=server,
            counts=_counts(rows),
            rows=rows,
            alerts=alerts_reply["alerts"],
            n_alerts=server["n_alerts"] + sum(row.n_alerts for row in rows),
        )

    def service(
        self,
        status: Reply,
        states: Sequence[Reply],
        alerts_reply: Reply,
        *,
        now_at: float,
        base_url: str,
        hours: int = 24,
        expand: Sequence[tuple[int, int]] = (),
        root: str = "../",
    ) -> str:
        """Render one service: the status has it alone, `states` is its folded history.

        `hours` and `expand` are what the history was asked for with, and links keep them.
        """
        row = next(_rows(status, now_at))
        period_s = status["servers"][0]["services"][0]["period"]
        return self._render(
            "service",
            root,
            now_at,
            status=status,
            refresh_s=_SERVICE_REFRESH_S if hours <= min(HOURS_CHOICES) else None,
            row=row,
            alerts=alerts_reply["alerts"],
            history=[_with_expand_link(item, hours, expand) for item in states],
            n_states=sum(item.get("group_count", 1) for item in states),
            hours=hours,
            expand=expand,
            curl_line=curl_line(base_url, row.server["name"], row.name, period_s or 60, "OK"),
        )

    def alerts(
        self, alerts_reply: Reply, *, now_at: float, hours: int = 24, root: str = "./"
    ) -> str:
        """Render all alerts, newest first as they came."""
        return self._render(
            "alerts", root, now_at, refresh_s=None, alerts=alerts_reply["alerts"], hours=hours
        )

    def error(self, code: int, sentence: str, *, root: str = "./") -> str:
        """Render a refusal: the status code, and one sentence that says what to do."""
        return self._render("error", root, None, refresh_s=None, code=code, sentence=sentence)

    def _render(self, page: str, root: str, now_at: float | None, **values: object) -> str:
        status = values.get("status")
        lag_s = status["stats"]["supervisor_lag"] if isinstance(status, Mapping) else 0
        return self._environment.get_template(f"{page}.html").render(
            page=page,
            root=root,
            rendered_at=None if now_at is None else _utc_text(now_at),
            lag=span_words(lag_s) if lag_s > _LAG_SHOWN_S else None,
            **values,
        )


def _rows(status: Reply, now_at: float) -> Iterator[ServiceRow]:
    for server in status["servers"]:
        for service in server["services"]:
            yield _row(server, service, now_at)


def _row(server: Reply, service: Reply, now_at: float) -> ServiceRow:
    now: Reply = service["state"] or {}
    period_s: int | None = service["period"]
    age_s = now_at - _epoch(now["rtime"]) if now else None
    since_at, deadline_at = service.get("since"), service.get("deadline_at")
    is_late = bool(now) and bool(now["timed_out"])
    overdue_s = None
    if is_late and age_s is not None and period_s:
        overdue_s = now_at - deadline_at if deadline_at else age_s - period_s
    return ServiceRow(
        id=service["id"],
        name=service["name"],
        title=_label(service),
        server=server,
        n_alerts=service["n_alerts"],
        period=None if not period_s else period_words(period_s),
        condition="late" if is_late else _condition(now.get("state")),
        state=now.get("state"),
        info=now.get("info") or "",
        rtime=now.get("rtime"),
        seen=None if age_s is None else span_words(age_s),
        late_by=None if overdue_s is None else span_words(overdue_s),
        held_for=None if since_at is None else span_words(now_at - since_at),
        since=None if since_at is None else _utc_text(since_at),
        due_in=None if is_late or not deadline_at else span_words(deadline_at - now_at),
    )


def _condition(state: str | None) -> str:
    if state is None:
        return "none"
    return state if state in _RANKS else "UNK"


def _troubled_first(rows: Iterator[ServiceRow] | list[ServiceRow]) -> list[ServiceRow]:
    return sorted(rows, key=lambda row: _RANKS[row.condition])


def _label(item: Reply) -> str:
    # A link needs something to hit, and white space is a legal name.
    return first_line(item["title"]) or first_line(item["name"]) or "(blank)"


def _counts(rows: Sequence[ServiceRow]) -> list[tuple[str, int]]:
    found = Counter(row.condition for row in rows)
    return [(mark, found[mark]) for mark in _RANKS if mark != "none" or found[mark]]


def _alert_mark(alert: Reply) -> str:
    event = alert["event"]
    return event if event in _RANKS else _EVENT_MARKS.get(event, "alert")


def _with_expand_link(item: Reply, hours: int, expand: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if "group" not in item:
        return dict(item)
    ranges = [f"{lowest}-{highest}" for lowest, highest in expand] + [item["group"]]
    query = urlencode({"hours": hours, "expand": ranges}, doseq=True)
    return {**item, "expand_link": f"?{query}#state-{item['group'].partition('-')[2]}"}


def _epoch(text: str) -> float:
    whole_seconds = text[:19]
    return datetime.fromisoformat(whole_seconds).replace(tzinfo=timezone.utc).timestamp()


def _utc_text(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
