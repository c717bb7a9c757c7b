"""Looking for alerts: what a request asks, and what the page makes of it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from support_daemon import a_database, a_recorder, a_report, a_state, record, rows
from twisted.internet.defer import maybeDeferred
from web.doubles import Fixture
from web.page_doubles import NOW_AT, PAGES, Page, alert

from overc.daemon.store.alert_log import TEXT_MAX, TOLD
from overc.model import State
from overc.web import alert_log as alert_log_module
from overc.web import dashboard as dashboard_module
from overc.web.access import Refusal
from overc.web.alert_log import COUNTED_MAX, AlertSearch, Found
from overc.web.dashboard import Query

URL = "http://mon.example.com/"


def query(**args: str) -> Query:
    return Query({name.encode(): [value.encode()] for name, value in args.items()}, URL)


@pytest.mark.parametrize(
    "args, found",
    [
        ({}, AlertSearch()),
        ({"hours": "168", "server": " web* "}, AlertSearch(168, server="web*")),
        ({"service": "disk", "event": "FAIL"}, AlertSearch(service="disk", event="FAIL")),
        ({"plugin": "mail", "told": "sent"}, AlertSearch(plugin="mail", told="sent")),
        ({"told": "all", "before": "0"}, AlertSearch()),
        ({"before": "12"}, AlertSearch(before=12)),
        # As it was asked for once.
        ({"lost": "yes"}, AlertSearch(told="lost")),
    ],
)
def test_what_is_asked(args: dict[str, str], found: AlertSearch) -> None:
    assert query(**args).alerts() == found


@pytest.mark.parametrize(
    "args, sentence",
    [
        ({"told": "x"}, f"told: expected all, {', '.join(TOLD)}, got 'x'"),
        ({"before": "-1"}, "before: expected a number up to 1000000000000000000, got '-1'"),
        ({"before": "9" * 30}, "before: expected a number up to"),
        ({"server": "x" * 201}, f"server: expected at most {TEXT_MAX} characters, got 201"),
        ({"hours": "x"}, "hours: expected a number from 1 to 87840, got 'x'"),
        ({"lost": "x"}, "lost: expected yes or no, got 'x'"),
    ],
)
def test_what_cannot_be_asked(args: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refusal) as raised:
        query(**args).alerts()
    assert raised.value.code == 400
    assert str(raised.value).startswith(sentence)


EVERYTHING = AlertSearch(0.5, "a&b", "ü*", "FAIL", "m=l", "lost", 7)


@pytest.mark.parametrize("search", [AlertSearch(), AlertSearch(before=7), EVERYTHING])
@pytest.mark.parametrize("other", [{}, {"hours": 168}, {"server": ""}, {"before": 3}])
def test_links_ask_the_same_but_for_one_thing(
    search: AlertSearch, other: dict[str, float | str]
) -> None:
    link = search.link(**other)
    fields = {name.encode(): [v.encode() for v in of] for name, of in parse_qs(link[1:]).items()}
    asked = Query(fields, URL).alerts()
    before = other.get("before")
    expected = {name: getattr(search, name) for name in AlertSearch.__slots__}
    assert asked == AlertSearch(**{**expected, "before": before, **other})


def page(found: Found, search: AlertSearch | None = None) -> Page:
    shown = search or AlertSearch()
    return Page(PAGES.alerts(found, now_at=NOW_AT, search=shown, plugins=["mail", "chat"]))


def test_the_form_has_what_was_asked() -> None:
    asked = AlertSearch(168, '"web', "disk", "odd event", "gone", "lost")
    shown = page(Found({"alerts": []}), asked)
    fields = {attrs["name"]: attrs.get("value") for tag, attrs in shown.elements if tag == "input"}
    assert fields == {"hours": "168", "server": '"web', "service": "disk"}
    chosen = [attrs["value"] for _, attrs in shown.elements if "selected" in attrs]
    # What is not offered and was asked for is among the choices.
    assert chosen == ["odd event", "gone", "lost"]
    options = [attrs["value"] for tag, attrs in shown.elements if tag == "option"]
    assert {"mail", "chat", "problems", "offline"} <= set(options)
    assert "No alert like this in the last 7 days." in shown.text
    assert "?hours=168" in shown.values("href")


@pytest.mark.parametrize(
    "found, search, words, links",
    [
        (Found({"alerts": []}), AlertSearch(), "No alert in the last 24 hours.", []),
        (Found({"alerts": [alert(9)]}, 1), AlertSearch(), "1 alert in the last 24 hours", []),
        (
            Found({"alerts": [alert(9)]}, 5, older=9),
            AlertSearch(720, told="lost"),
            "5 alerts like this in the last 30 days, newest first.",
            ["?hours=720&told=lost&before=9"],
        ),
        (
            Found({"alerts": [alert(9)]}, COUNTED_MAX + 1),
            AlertSearch(before=12),
            "More than 10,000 alerts in the last 24 hours, newest first; these are older ones.",
            ["?hours=24"],
        ),
        (
            Found({"alerts": []}, 0),
            AlertSearch(5, before=12),
            "No alert is older in the last 5 hours.",
            [],
        ),
    ],
)
def test_how_many_and_where_to_go_on(
    found: Found, search: AlertSearch, words: str, links: list[str]
) -> None:
    shown = page(found, search)
    assert words in shown.text
    pager = [attrs["href"] for _, attrs in shown.elements if attrs.get("class") == "button"]
    assert [href for href in pager if href != f"?hours={round(search.hours)}" or links] == (
        links if not search.is_narrowed else [f"?hours={round(search.hours)}", *links]
    )
    # An older page stands still.
    live = shown.element("body")["data-live"]
    assert live == ("topic=alerts" if search.before is None else "")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    """With web1/disk (1), and five alerts of it."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    monkeypatch.setattr(alert_log_module, "PAGE", 2)
    path = a_database(tmp_path)
    fixture = Fixture(path)
    for state in (State.FAIL, State.OK, State.FAIL, State.OK, State.WARN):
        record(path, a_recorder(), fixture.clock, a_report(a_state("disk", state)))
    return fixture


def events(web: Fixture, **asked: str) -> list[str]:
    for path in ("", "service/1", "server/1"):
        answer = web.ask("GET", f"/ui/api/status/alerts/{path}?{urlencode(asked)}")
        assert answer.code == 200
        found = [one["event"] for one in answer.json["alerts"]]
    return found


def test_the_json_may_be_narrowed(web: Fixture) -> None:
    assert events(web) == ["WARN", "OK", "FAIL", "OK", "FAIL"]
    assert events(web, event="FAIL") == ["FAIL", "FAIL"]
    assert events(web, event="problems", limit="2") == ["WARN", "FAIL"]
    assert events(web, before="3") == ["OK", "FAIL"]
    assert events(web, server="web", service="di*", told="nobody", limit="1") == ["WARN"]
    assert events(web, server="db") == []
    assert web.ask("GET", "/ui/api/status/alerts/?told=x").code == 400
    assert web.ask("GET", "/ui/api/status/alerts/service/9?event=FAIL").code == 404


def test_pages_lead_through_all_alerts(web: Fixture) -> None:
    link, seen = "", []
    for _ in range(9):
        answer = web.ask("GET", f"/ui/alerts{link}")
        shown = Page(answer.body.decode())
        seen += [attrs["id"] for _, attrs in shown.elements if attrs.get("id", "").startswith("al")]
        assert "5 alerts in the last 24 hours" in shown.text
        older = [attrs["href"] for _, attrs in shown.elements if attrs.get("rel") == "next"]
        if not older:
            break
        [link] = older
    ids = [id_ for (id_,) in rows(web.path, "select id from alerts order by id desc")]
    assert seen == [f"alert-{id_}" for id_ in ids]
