"""The dashboard's pages: replies of the dashboard API in, HTML out. Pure.

Every link is relative to the page's own address, so that the dashboard works under any path of a
proxy: `root` is the way from the page to the folder of the overview (`./`, `../`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from overc.daemon.snapshot import Selection
from overc.daemon.store.items import Silent
from overc.web import listing, settings_view
from overc.web.alert_log import COUNTED_MAX, AlertSearch, Found
from overc.web.banners import banners
from overc.web.glance import Glance
from overc.web.icons import icon_name
from overc.web.listing import Filter, Look
from overc.web.matching import Match
from overc.web.problems import problems
from overc.web.rows import (
    Reply,
    alert_mark,
    counts,
    label,
    service_rows,
    troubled_first,
    ways,
)
from overc.web.service_view import (
    NO_SERVER_VIEW,
    NO_VIEW,
    RANGES,
    Attempt,
    ServerView,
    ServiceView,
)
from overc.web.words import (
    as_sentence,
    attribute_text,
    count_words,
    curl_line,
    epoch,
    first_line,
    headline,
    overcli_line,
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

EVENT_CHOICES = {
    "": "any",
    "problems": "problems",
    "recoveries": "recoveries",
    "FAIL": "FAIL",
    "WARN": "WARN",
    "UNK": "UNK",
    "OK": "OK",
    "offline": "offline (late)",
    "online": "online (back)",
}
TOLD_CHOICES = {
    "": "anything",
    "sent": "delivered",
    "lost": "not delivered",
    "waits": "waits",
    "silenced": "silenced",
    "nobody": "told nobody",
}

LONGER_CHOICES = {"1h": "1 hour", "4h": "4 hours", "1d": "1 day"}
"""By how much the pages offer to make a silence longer."""

ERRORS = {
    400: ("That can't be asked", "Go back, and change what was asked for."),
    401: ("Log in", "Reload this page and give your user and password."),
    403: ("Not allowed", "Go back to the page, reload it, and try again from there."),
    404: ("Nothing here", "Look for it on the overview, or among the services."),
    405: ("That can't be done here", "Go back to the page and try again from there."),
    409: ("Not any more", "Go back and reload the page: things have changed meanwhile."),
    429: ("Too many at once", "Wait a moment, then reload this page."),
    500: (
        "The server failed",
        "Reload this page; if it stays like this, look into the server's log.",
    ),
    503: ("The server can't do it now", "This page comes by itself when it can; or reload it."),
}
"""What the pages say of a refusal, and what to do then."""

CALM = Glance()
ANY_SERVICE = Filter()
ANY_ALERT = AlertSearch()
NO_MATCHES: Mapping[int, Match] = MappingProxyType({})
NO_FIELDS: Mapping[str, str] = MappingProxyType({"servers": "", "services": ""})


class Pages:
    """Renders each page from what the dashboard API replies about the same selection.

    `now_at` is epoch seconds. A server or service may carry more keys than the API promises; of
    those, a service's `since` (epoch seconds since when its state holds) and `deadline_at` show.
    """

    def __init__(self, *, can_change: bool = True) -> None:
        """`can_change`: who looks may also change things."""
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
            headline=headline,
            label=label,
            alert_mark=alert_mark,
            undirected=undirected,
            utc=utc_text,
        )
        self._environment.globals.update(
            hours_choices=HOURS_CHOICES, span_choices=SPAN_CHOICES, longer_choices=LONGER_CHOICES
        )
        self._environment.globals.update(range_choices=RANGES)
        self._environment.globals.update(can_change=can_change)

    def for_readers(self) -> Pages:
        """Return pages without what changes things."""
        return Pages(can_change=False)

    def overview(
        self,
        look: Look,
        number: int = 1,
        *,
        with_well: bool = False,
        now_at: float,
        base_url: str,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render what needs attention, then a page of the servers; without any, how to begin.

        `with_well`: all servers, not only the first ones of those where all is well.
        """
        found = problems(look, now_at)
        listed = look.servers if with_well else listing.listed_servers(look)
        query = {"well": "yes"} if with_well else {}
        page = listing.page_of(number, len(listed), listing.SERVERS, query)
        return self._render(
            "overview",
            root,
            now_at,
            glance,
            counts=listing.counts(look),
            care=listing.care(look),
            problems=found,
            servers=listing.server_lines(look, listed, page),
            n_well=len(look.servers) - len(listed),
            with_well=with_well,
            paging=page,
            n_servers=len(look.servers),
            n_services=len(look.services),
            n_alerts=look.n_alerts,
            curl_line=curl_line(base_url, "web1", "disk", 60, "OK"),
            shell_url=shlex.quote(base_url.rstrip("/") + "/"),
        )

    def services(
        self,
        look: Look,
        wanted: Filter = ANY_SERVICE,
        number: int = 1,
        *,
        now_at: float,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render a page of the services that are wanted: problems first."""
        found = listing.find(look, wanted)
        page = listing.page_of(number, len(found), listing.ROWS, wanted._asdict())
        return self._render(
            "services",
            root,
            now_at,
            glance,
            counts=listing.counts(look),
            care=listing.care(look),
            rows=listing.rows(look, page.cut(found, listing.ROWS), now_at),
            filter=wanted,
            paging=page,
            n_found=len(found),
            n_all=len(look.services),
        )

    def server(
        self,
        status: Reply,
        alerts_reply: Reply,
        *,
        now_at: float,
        hours: int = 24,
        view: ServerView = NO_SERVER_VIEW,
        glance: Glance = CALM,
        root: str = "../",
    ) -> str:
        """Render one server: the status has it alone. `view`: what it was in these hours."""
        rows = troubled_first(service_rows(status, glance, now_at))
        server = status["servers"][0]
        return self._render(
            "server",
            root,
            now_at,
            glance,
            server=server,
            hours=hours,
            view=view,
            n_late=sum(row.condition == "late" for row in rows),
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
        view: ServiceView = NO_VIEW,
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
            row=row,
            why=why,
            view=view,
            alerts=_with_ways(alerts_reply["alerts"], now_at, view.log),
            history=[_with_expand_link(item, hours, expand) for item in states],
            n_states=sum(item.get("group_count", 1) for item in states),
            hours=hours,
            expand=expand,
            curl_line=curl_line(base_url, row.server["name"], row.name, period_s or 60, "OK"),
            overcli_line=overcli_line(base_url, row.server["name"], row.name, period_s or 60, "OK"),
        )

    def alerts(
        self,
        found: Found,
        *,
        now_at: float,
        search: AlertSearch = ANY_ALERT,
        plugins: Sequence[str] = (),
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render a page of alerts as it came; `search` is what they were looked for by.

        `plugins`: the alert plugins that are configured.
        """
        return self._render(
            "alerts",
            root,
            now_at,
            glance,
            alerts=_with_ways(found.reply["alerts"], now_at),
            found=found,
            search=search,
            counted_max=COUNTED_MAX,
            hours=max(1, round(search.hours)),
            choices={
                "event": _choices(EVENT_CHOICES, search.event),
                "plugin": _choices({"": "any or none", **{p: p for p in plugins}}, search.plugin),
                "told": _choices(TOLD_CHOICES, search.told),
            },
        )

    def silences(
        self,
        reply: Reply,
        *,
        now_at: float,
        matched: Mapping[int, Match] = NO_MATCHES,
        asked: Mapping[str, str] = NO_FIELDS,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Render the silences by their status, and the windows of the INI file.

        `matched`: what those that are not over match, by the id. `asked`: what the form for another
        one begins with.
        """
        by_status: dict[str, list[Reply]] = {"running": [], "coming": [], "ended": []}
        for one in reply["silences"]:
            end = "starts" if one["status"] == "coming" else "ends"
            left = span_words(epoch(one[end]) - now_at)
            by_status[one["status"]].append({**one, "left": left})
        return self._render(
            "silences",
            root,
            now_at,
            glance,
            silences=by_status,
            matched=matched,
            asked=asked,
            windows=reply["maintenance"],
        )

    def settings(
        self, told: Reply, *, now_at: float, glance: Glance = CALM, root: str = "./"
    ) -> str:
        """Render how the server is set up, and how it does: the reply of /ui/api/settings."""
        view = settings_view.settings(told, now_at)
        return self._render("settings", root, now_at, glance, told=told, view=view)

    def deletion(
        self,
        extent: Reply,
        selected: Selection,
        *,
        now_at: float,
        glance: Glance = CALM,
        root: str = "../../",
    ) -> str:
        """Ask before something is deleted, and say what goes with it."""
        view = settings_view.deletion(extent, selected.service_id, now_at)
        return self._render("deletion", root, now_at, glance, view=view)

    def forget(
        self,
        found: Sequence[Silent],
        before_at: float,
        span_s: int,
        server_id: int | None,
        *,
        now_at: float,
        glance: Glance = CALM,
        root: str = "./",
    ) -> str:
        """Ask before services are forgotten that are late and silent for so long."""
        view = settings_view.forgetting(found, before_at, span_s, server_id, now_at)
        return self._render("forget", root, now_at, glance, view=view)

    def error(self, code: int, sentence: str, *, root: str = "./") -> str:
        """Render a refusal: what happened, one sentence that says why, and what to do."""
        title, advice = ERRORS.get(code, ERRORS[400 if code < 500 else 500])
        # Without a login there is neither a style nor a script to be had.
        template = "login" if code == 401 else "error"
        return self._render(
            template, root, None, CALM,
            code=code, sentence=as_sentence(sentence), title=title, advice=advice,
        )  # fmt: skip

    def _render(
        self, page: str, root: str, now_at: float | None, glance: Glance, **values: object
    ) -> str:
        return self._environment.get_template(f"{page}.html").render(
            page=page,
            root=root,
            rendered_at=None if now_at is None else utc_text(now_at),
            version=glance.version,
            attention=glance.attention,
            icon=icon_name(glance.attention or 0),
            rendered_epoch=None if now_at is None else round(now_at, 3),
            banners=[] if now_at is None else banners(glance, glance.lag_s, now_at),
            **values,
        )


def _with_ways(
    alerts: Iterable[Reply], now_at: float, log: Mapping[int, Sequence[Attempt]] = NO_VIEW.log
) -> list[dict[str, Any]]:
    return [
        {
            **alert,
            "ways": ways(alert["deliveries"], now_at),
            "ago": span_words(now_at - epoch(alert["ctime"])),
            "log": log.get(alert["id"], ()),
        }
        for alert in alerts
    ]


def _choices(offered: Mapping[str, str], chosen: str) -> Mapping[str, str]:
    """Return what a field offers, with what was chosen by hand."""
    return offered if chosen in offered else {**offered, chosen: chosen}


def _with_expand_link(item: Reply, hours: int, expand: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if "group" not in item:
        return dict(item)
    ranges = [f"{lowest}-{highest}" for lowest, highest in expand] + [item["group"]]
    query = urlencode({"hours": hours, "expand": ranges}, doseq=True)
    return {**item, "expand_link": f"?{query}#state-{item['group'].partition('-')[2]}"}
