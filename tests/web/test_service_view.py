from __future__ import annotations

import pytest
from web.page_doubles import (
    BASE_URL,
    HOSTILE,
    NOW_AT,
    PAGES,
    Page,
    alert,
    history,
    server,
    service,
    state,
    status,
)

from overc.daemon.alerting import explaining
from overc.daemon.alerting.explaining import Explanation
from overc.daemon.rollups import Hold
from overc.daemon.store.explain import Facts, ServiceFacts
from overc.web import service_view, timeline
from overc.web.graphs import Graph, Line, Point
from overc.web.service_view import Attempt, Promised, ServerView, ServiceView
from overc.web.words import overcli_line

HOUR_S = 3600


def strip(*states: tuple[float, str], hours: float = 24, late: bool = False) -> timeline.Strip:
    seen = [(NOW_AT - ago_s, word) for ago_s, word in states]
    return timeline.from_states(timeline.grid(hours, NOW_AT), seen, Hold(7200), late=late)


STRIP = strip((7 * HOUR_S, "OK"), (5 * HOUR_S, "FAIL"), (4.9 * HOUR_S, "WARN"), (600, "UNK"))


def test_problems_stand_taller() -> None:
    view = service_view.strip_view(STRIP)
    tops = {bar.mark: bar.y for bar in view.bars}
    assert tops["fail"] < tops["warn"] < tops["ok"] < tops["gap"] < tops["none"]
    assert tops["unk"] == tops["warn"]
    assert len(view.bars) * service_view.TICK_WIDTH == view.width
    assert [key.mark for key in view.legend] == ["fail", "warn", "unk", "ok", "gap", "none"]
    assert dict(view.paths).keys() == set(tops)
    assert view.words[-1] == "nothing known"


@pytest.mark.parametrize(
    "states, rest",
    [
        # A quarter of an hour, from 09:30.
        ([(HOUR_S, "OK")], 0),
        ([(HOUR_S, "OK"), (1800, "FAIL"), (900, "OK")], 0),
        ([(HOUR_S, "OK"), (1800, "FAIL"), (1350, "OK")], 20),
        ([(HOUR_S, "OK"), (1800, "FAIL"), (1799, "OK")], 24),
        ([(HOUR_S, "OK"), (1800, "WARN"), (1350, "OK")], 16),
    ],
)
def test_a_short_problem_looks_short(states: list[tuple[float, str]], rest: float) -> None:
    view = service_view.strip_view(strip(*states))
    [bar] = [bar for bar in view.bars if bar.at == NOW_AT - 1800]
    assert bar.rest == rest
    assert bar.y + bar.height + bar.rest == service_view.STRIP_HEIGHT


@pytest.mark.parametrize(
    "hours, first, labels",
    [
        (24, "2026-02-28 10:15-10:30", ["10:15", "16:15", "22:15", "04:15"]),
        (168, "2026-02-22 12:00-14:00", ["22 Feb", "24 Feb", "26 Feb", "27 Feb"]),
        (2160, "2025-12-02", ["2 Dec", "24 Dec", "16 Jan", "7 Feb"]),
    ],
)
def test_times_below_a_strip(hours: int, first: str, labels: list[str]) -> None:
    view = service_view.strip_view(strip(hours=hours))
    assert (view.bars[0].when, [one.words for one in view.labels]) == (first, labels)
    assert view.availability is None


def facts(**known: object) -> Explanation:
    usual = {
        "id": 1, "name": "s", "server_id": 1, "server": "h", "period_s": 300, "grace_s": 0.0,
        "due_at": None, "deadline_at": None, "timed_out": False, "state": "OK", "since_at": 0.0,
        "info": "", "received_at": 0.0,
    }  # fmt: skip
    deadline_at, late_at = known.pop("at", None), known.pop("late_at", None)
    found = Facts(ServiceFacts(**{**usual, **known}), (), (), None)  # type: ignore[arg-type]
    return Explanation(found, deadline_at, late_at, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "why, expected",
    [
        (facts(period_s=None), Promised("nothing, it can't be late")),
        (facts(), Promised("every 5 min")),
        (
            facts(at=NOW_AT + 40),
            Promised("every 5 min", "2026-03-01 10:00:40", "40 s"),
        ),
        (
            facts(at=NOW_AT - 40),
            Promised("every 5 min", "2026-03-01 09:59:20", "0 s", is_over=True),
        ),
        (facts(grace_s=120.0), Promised("every 5 min, with 2 min of grace")),
        # A calendar decides, whatever the period.
        (
            facts(due_at=NOW_AT + 7200, grace_s=60.0, at=NOW_AT + 7260),
            Promised("by its calendar, with 60 s of grace", "2026-03-01 12:01:00", "2 h"),
        ),
        (facts(timed_out=True, late_at=NOW_AT - 180), Promised("every 5 min", late_for="3 min")),
        (facts(timed_out=True, at=NOW_AT), Promised("every 5 min")),
    ],
)
def test_what_is_promised_in_words(why: Explanation, expected: Promised) -> None:
    assert service_view.promised(why, NOW_AT) == expected


@pytest.mark.parametrize(
    "info, said",
    [
        ("fine | a=1;2;3", "OK: fine."),
        ("fine | no figures", "OK: fine | no figures."),
        ("| a=1", "OK: | a=1."),
        ("a | b\nmore | c=1", "OK: a."),
    ],
)
def test_why_leaves_out_what_is_for_graphs(info: str, said: str) -> None:
    why = facts(info=info, since_at=None, received_at=None)
    assert explaining.sentences(why, NOW_AT)[0] == said


def test_a_delivery_log_is_by_alert() -> None:
    rows = [
        (2, "mail", 0, NOW_AT, 0.26, 1, "sent"),
        (1, "sms", 1, NOW_AT - 60, 75.0, 0, "away"),
        (2, "sms", 0, NOW_AT - 90, 1.0, 0, ""),
    ]
    assert service_view.log(rows) == {
        2: [
            Attempt("2026-03-01 10:00:00", "mail", True, False, "0.3 s", "sent"),
            Attempt("2026-03-01 09:58:30", "sms", False, False, "1.0 s", ""),
        ],
        1: [Attempt("2026-03-01 09:59:00", "sms", False, True, "75 s", "away")],
    }


@pytest.mark.parametrize(
    "info, version",
    [
        ("OverC 1.2.3, 4 services", "1.2.3"),
        ("OverC 1.2.3rc1+x", "1.2.3rc1+x"),
        ("OverC <b>", None),
        ("", None),
        ("something else", None),
    ],
)
def test_the_version_of_an_agent(info: str, version: str | None) -> None:
    own = service(1, "overc-agent", state("OK", info=info))
    assert service_view.agent_version(status(server(1, "h", own))) == version
    assert service_view.agent_version(status(server(1, "h", {**own, "state": None}))) is None
    assert service_view.agent_version(status(server(1, "h"))) is None


def test_the_availability_of_several_services() -> None:
    some = [strip((HOUR_S, "OK")), strip((HOUR_S, "FAIL")), strip()]
    assert service_view.overall(some) == "50 %"
    assert service_view.overall([]) is None


def view_of(text: str) -> ServiceView:
    graph = Graph(text, (Line(text, (Point(1, 1.0, 1.0, 1.0),)),))
    return ServiceView(
        service_view.strip_view(STRIP),
        service_view.graph_views([graph]),
        {1: [Attempt("2026-03-01 10:00:00", text, False, True, "1 s", text)]},
        Promised("every 5 min", "2026-03-01 10:00:40", "40 s"),
        99,
        is_cut=True,
    )


def pages(text: str) -> list[Page]:
    shown = status(server(1, text, service(11, text, state("FAIL", info=text))))
    alerts = {"alerts": [alert(1, text)]}
    of_server = ServerView(
        {11: service_view.strip_view(STRIP)}, "50 %", "2026-03-01 10:00:00", "1.2", 99
    )
    return [
        Page(
            PAGES.service(
                shown, history(text), alerts, now_at=NOW_AT, base_url=BASE_URL, hours=168,
                view=view_of(text),
            )
        ),
        Page(PAGES.server(shown, alerts, now_at=NOW_AT, hours=168, view=of_server)),
    ]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_stays_text(text: str) -> None:
    for page in pages(text):
        for tag, attrs in page.elements:
            assert tag not in {"style", "iframe", "object", "base", "c", "b onclick=alert(1)"}
            assert tag != "script" or "src" in attrs
            assert not [name for name in attrs if name.startswith("on") or name == "style"]


def test_a_page_says_what_there_is() -> None:
    page, of_server = pages("plain")
    assert "due in 40 s" in page.text
    assert "every 5 min" in page.text
    assert "The newest 1 of 99" in page.text
    assert "These are the newest 10 reports. All of the 7 days as JSON" in page.text
    assert "Delivery log, 1 attempt" in page.text
    assert "(reminder) failed after 1 s: plain" in page.text
    assert "../api/graphs/service/11?hours=168" in page.values("data-source")
    current = [attrs["href"] for _, attrs in page.elements if "aria-current" in attrs]
    assert "?hours=168#section-timeline" in current
    assert "OverC 1.2" in of_server.text
    assert "50 % OK or WARN" in of_server.text


@pytest.mark.parametrize(
    "server_name, service_name, line",
    [
        (
            "web1", "disk /",
            "overcli -s http://m/ -i web1:KEY service-status 60 'disk /' OK 'reported by overcli'",
        ),
        (
            "web 1", "-x",
            "overcli -s http://m/ -i 'web 1:KEY' service-status -- 60 -x OK 'reported by overcli'",
        ),
        ("a:b", "x", "# overcli can't be told these names on a line: use curl"),
        ("a", "x\ny", "# overcli can't be told these names on a line: use curl"),
        ("a", "x\u202ey", "# overcli can't be told these names on a line: use curl"),
    ],
)  # fmt: skip
def test_a_line_for_overcli(server_name: str, service_name: str, line: str) -> None:
    assert overcli_line("http://m", server_name, service_name, 60, "OK") == line
