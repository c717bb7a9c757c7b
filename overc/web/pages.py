"""The dashboard's pages: replies of the dashboard API in, HTML out. Pure.

Every link is relative to the page's own address, so that the dashboard works under any path of a
proxy: `root` is the way from the page to the folder of the overview (`./`, `../`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from overc.web.glance import Glance, trouble
from overc.web.rows import (
    Reply,
    ServiceRow,
    alert_mark,
    counts,
    is_lost,
    label,
    service_rows,
    troubled_first,
    ways,
)
from overc.web.words import (
    attribute_text,
    count_words,
    curl_line,
    first_line,
    span_words,
    undirected,
    utc_text,
)

HOURS_CHOICES = {24: "24 hours", 168: "7 days", 720: "30 days"}
"""How far back the pages offer to look."""

SPAN_CHOICES = {
    "30m": "30 minutes",
    "2h": "2 hours",
    "8h": "8 hours",
    "1d": "1 day",
    "7d": "7 days",
}
"""For how long the pages offer to silence a service."""

CALM = Glance()

_REFRESH_S = 5
# A service's page reads its history anew, which costs the server more than a status.
_SERVICE_REFRESH_S = 15
_LAG_SHOWN_S = 5


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
            label=label,
            alert_mark=alert_mark,
            undirected=undirected,
            utc=utc_text,
        )
        self._environment.globals.update(hours_choices=HOURS_CHOICES, span_choices=SPAN_CHOICES)

    def overview(
        self,
        status: Reply,
        *,
        now_at: float,
        base_url: str,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render what needs attention, then all servers; without any, how to begin."""
        rows = list(service_rows(status, glance, now_at))
        by_server: dict[int, list[ServiceRow]] = {server["id"]: [] for server in status["servers"]}
        for row in rows:
            by_server[row.server["id"]].append(row)
        return self._render(
            "overview",
            root,
            now_at,
            glance,
            status=status,
            refresh_s=_REFRESH_S,
            counts=counts(rows),
            problems=[row for row in troubled_first(rows) if row.is_problem],
            servers=[(server, by_server[server["id"]]) for server in status["servers"]],
            curl_line=curl_line(base_url, "web1", "disk", 60, "OK"),
            shell_url=shlex.quote(base_url.rstrip("/") + "/"),
        )

    def services(
        self, status: Reply, *, now_at: float, glance: Glance = CALM, root: str = "./"
    ) -> str:
        """Render all services as one table: problems first, otherwise in the reply's order."""
        rows = troubled_first(service_rows(status, glance, now_at))
        return self._render(
            "services",
            root,
            now_at,
            glance,
            status=status,
            refresh_s=_REFRESH_S,
            counts=counts(rows),
            rows=rows,
        )

    def server(
        self,
        status: Reply,
        alerts_reply: Reply,
        *,
        now_at: float,
        glance: Glance = CALM,
        root: str = "../",
    ) -> str:
        """Render one server: the status has it alone, the alerts are those of 24 hours."""
        rows = troubled_first(service_rows(status, glance, now_at))
        server = status["servers"][0]
        return self._render(
            "server",
            root,
            now_at,
            glance,
            status=status,
            refresh_s=_REFRESH_S,
            server=server,
            counts=counts(rows),
            rows=rows,
            alerts=_with_ways(alerts_reply["alerts"], now_at),
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
        why: Sequence[Sequence[str | float]] = (),
        hours: int = 24,
        expand: Sequence[tuple[int, int]] = (),
        glance: Glance = CALM,
        root: str = "../",
    ) -> str:
        """Render one service: the status has it alone, `states` is its folded history.

        `hours` and `expand` are what the history was asked for with, and links keep them. `why`
        are lines of words and of times in epoch seconds, in turns.
        """
        row = next(service_rows(status, glance, now_at))
        period_s = status["servers"][0]["services"][0]["period"]
        return self._render(
            "service",
            root,
            now_at,
            glance,
            status=status,
            refresh_s=_SERVICE_REFRESH_S if hours <= min(HOURS_CHOICES) else None,
            row=row,
            why=why,
            alerts=_with_ways(alerts_reply["alerts"], now_at),
            history=[_with_expand_link(item, hours, expand) for item in states],
            n_states=sum(item.get("group_count", 1) for item in states),
            hours=hours,
            expand=expand,
            curl_line=curl_line(base_url, row.server["name"], row.name, period_s or 60, "OK"),
        )

    def alerts(
        self,
        alerts_reply: Reply,
        *,
        now_at: float,
        hours: int = 24,
        lost: bool = False,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render all alerts, or those that are lost alone, newest first as they came."""
        alerts = [one for one in alerts_reply["alerts"] if not lost or is_lost(one)]
        return self._render(
            "alerts",
            root,
            now_at,
            glance,
            refresh_s=None,
            alerts=_with_ways(alerts, now_at),
            hours=hours,
            lost=lost,
        )

    def silences(
        self, reply: Reply, *, now_at: float, glance: Glance = CALM, root: str = "./"
    ) -> str:
        """Render the silences by their status, and the windows of the INI file."""
        by_status: dict[str, list[Reply]] = {"running": [], "coming": [], "ended": []}
        for one in reply["silences"]:
            by_status[one["status"]].append(one)
        return self._render(
            "silences",
            root,
            now_at,
            glance,
            refresh_s=_SERVICE_REFRESH_S,
            silences=by_status,
            windows=reply["maintenance"],
        )

    def error(self, code: int, sentence: str, *, root: str = "./") -> str:
        """Render a refusal: the status code, and one sentence that says what to do."""
        return self._render("error", root, None, CALM, refresh_s=None, code=code, sentence=sentence)

    def _render(
        self, page: str, root: str, now_at: float | None, glance: Glance, **values: object
    ) -> str:
        status = values.get("status")
        lag_s = status["stats"]["supervisor_lag"] if isinstance(status, Mapping) else 0
        return self._environment.get_template(f"{page}.html").render(
            page=page,
            root=root,
            rendered_at=None if now_at is None else utc_text(now_at),
            lag=span_words(lag_s) if lag_s > _LAG_SHOWN_S else None,
            trouble=None if now_at is None else trouble(glance, now_at),
            **values,
        )


def _with_ways(alerts: Iterable[Reply], now_at: float) -> list[dict[str, Any]]:
    return [{**alert, "ways": ways(alert["deliveries"], now_at)} for alert in alerts]


def _with_expand_link(item: Reply, hours: int, expand: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if "group" not in item:
        return dict(item)
    ranges = [f"{lowest}-{highest}" for lowest, highest in expand] + [item["group"]]
    query = urlencode({"hours": hours, "expand": ranges}, doseq=True)
    return {**item, "expand_link": f"?{query}#state-{item['group'].partition('-')[2]}"}
