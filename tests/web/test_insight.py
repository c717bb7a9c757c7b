"""What the pages and the JSON tell of alerts that are on their way."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    record,
)
from twisted.internet.defer import maybeDeferred
from web.attention_doubles import Always, asked
from web.doubles import Fixture
from web.page_doubles import Page

from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import Patterns
from overc.model import State
from overc.web import dashboard as dashboard_module
from overc.web import insight as insight_module
from overc.web.insight import COUNT_S, TOLD_S
from overc.web.live_rows import GLANCE_S

BANNER = "1 alert was not delivered through mail in the last 24 hours."
TOLD_BY_MAIL = "update standing set told_at = 1 where plugin = 'mail'"
ALERT_LISTS = ["/ui/alerts", "/ui/server/1", "/ui/service/1"]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With web1/disk (1), which fails, of which mail and chat are to be told."""
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    report = a_report(a_state("disk", State.FAIL, "full"))
    record(path, a_recorder("mail", "chat"), FakeClock(), report)
    return path


@pytest.fixture
def web(database: str) -> Fixture:
    return Fixture(database)


def text(web: Fixture, path: str) -> str:
    answer = web.ask("GET", path)
    assert answer.code == 200
    return Page(answer.body.decode()).text


def give_up(web: Fixture) -> None:
    change(
        web.path,
        "update outbox set status = 'undelivered', tries = 3, tried_at = ?, outcome = 'no <route>'"
        " where plugin = 'mail'",
        WALL_AT,
    )


@pytest.mark.parametrize(
    "path", ["/ui/api/status/alerts/", *(f"/ui/api/status/alerts/{of}/1" for of in ("server",))]
)
def test_the_alerts_say_where_they_went(web: Fixture, path: str) -> None:
    give_up(web)
    [alert] = asked(web, "GET", path)["alerts"]
    assert [(one["plugin"], one["status"], one["tries"]) for one in alert["deliveries"]] == [
        ("mail", "undelivered", 3),
        ("chat", "pending", 0),
    ]
    assert alert["deliveries"][0]["outcome"] == "no <route>"
    assert alert["deliveries"][0]["tried_at"] == "2026-03-01 10:00:00.000000"


@pytest.mark.parametrize("path", ALERT_LISTS)
def test_the_pages_say_where_alerts_went(web: Fixture, path: str) -> None:
    give_up(web)
    words = "mail undelivered 2026-03-01 10:00:00, given up after 3 tries: no <route>"
    assert words in text(web, path)
    assert "chat waits for its turn" in text(web, path)


@pytest.mark.parametrize("path", ALERT_LISTS)
def test_an_alert_that_went_nowhere(web: Fixture, path: str) -> None:
    change(web.path, "delete from outbox")
    assert "told nobody" in text(web, path)


def test_many_alerts_are_read_at_once(web: Fixture) -> None:
    for number in range(20):
        state = State.WARN if number % 2 else State.FAIL
        record(web.path, a_recorder("mail"), FakeClock(), a_report(a_state("cpu", state)))
    web.store.calls.clear()
    assert text(web, "/ui/alerts").count("mail waits for its turn") == 21
    assert web.store.calls.count("look for alerts") == 1
    assert len(web.store.calls) <= 4


def test_why(web: Fixture) -> None:
    words = text(web, "/ui/service/1")
    assert "Why? (UTC) FAIL since 2026-03-01 10:00:00: full. Last report" in words
    assert "Alerted: mail waits for its turn; chat waits for its turn. Not silenced." in words


@pytest.mark.parametrize("path", ["/ui/", "/ui/services"])
def test_who_was_told(web: Fixture, path: str) -> None:
    assert "told mail" not in text(web, path)
    change(web.path, TOLD_BY_MAIL)
    web.clock.advance(GLANCE_S)
    assert "told mail" in text(web, path)


def test_who_was_told_of_very_many_problems_is_read_seldom(
    web: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insight_module, "TOLD_MANY", 1)
    change(web.path, TOLD_BY_MAIL)
    assert "told mail" in text(web, "/ui/")
    change(web.path, "update standing set told_at = 1")
    web.clock.advance(TOLD_S - 1)
    assert "told mail" in text(web, "/ui/")
    web.clock.advance(1)
    assert "told chat, mail" in text(web, "/ui/")


@pytest.mark.parametrize("path", ["/ui/", "/ui/services", "/ui/server/1"])
def test_who_takes_care(web: Fixture, path: str) -> None:
    assert "acknowledged by" not in text(web, path)
    asked(web, "POST", "/ui/api/ack", {"service_id": 1, "reason": "on it", "author": "<ann>"})
    asked(web, "POST", "/ui/api/silences", {"for": "1h", "reason": "swap", "servers": "web*"})
    words = text(web, path)
    assert "acknowledged by <ann> silenced until 2026-03-01 11:00:00" in words
    web.clock.advance(3600)
    assert "silenced until" not in text(web, path)


@pytest.mark.parametrize("path", ["/ui/", "/ui/services", "/ui/server/1", "/ui/service/1"])
def test_a_window_that_has_just_opened(database: str, path: str) -> None:
    window = Maintenance("swap", Always(WALL_AT + 60), Patterns("web*"))
    web = Fixture(database, maintenances=[window])
    assert "silenced until 2026-03-01 10:01:00" in text(web, path).lower()
    assert "swap all services on web* open until" in text(web, "/ui/silences")


def test_a_window_that_somebody_ended(database: str) -> None:
    window = Maintenance("swap", Always(WALL_AT + 60), Patterns("web*"))
    web = Fixture(database, maintenances=[window])
    sent = {"servers": "web*", "for": "1h", "reason": "x", "author": "maintenance swap"}
    begun = asked(web, "POST", "/ui/api/silences", sent)
    change(web.path, "update silences set ends_at = ? where id = ?", WALL_AT, begun["id"])
    assert "silenced until" not in text(web, "/ui/").lower()
    assert asked(web, "GET", "/ui/api/explain/service/1")["silenced_by"] == []


def test_silences(web: Fixture) -> None:
    for start, reason in (("2026-03-01 10:00", "first"), ("2026-03-01 12:00", "second")):
        sent = {"servers": "web*", "from": start, "for": "1h", "reason": reason, "author": "ann"}
        asked(web, "POST", "/ui/api/silences", sent)
    change(web.path, "update outbox set status = 'silenced', silence_id = 1")
    words = text(web, "/ui/silences")
    assert "Running" in words
    assert "all services on web* silence 1: 1 service on 1 server" in words
    assert "2026-03-01 10:00:00 to 2026-03-01 11:00:00" in words
    assert "ann first 1 alert 2026-03-01 10:00:00 web1 / disk FAIL" in words
    assert words.index("ann first") < words.index("Coming") < words.index("ann second")
    web.clock.advance(3600)
    words = text(web, "/ui/silences")
    assert "Nothing is silenced." in words
    assert words.index("ann second") < words.index("Ended in the last") < words.index("ann first")
    assert "End it now" not in words
    assert "kept back by silence 1" in text(web, "/ui/alerts")
    web.clock.advance(86401)
    assert "ann first" not in text(web, "/ui/silences")


def test_a_plugin_that_fails(web: Fixture) -> None:
    change(web.path, "insert into failing_plugins values ('chat', ?, 0)", WALL_AT - 60)
    for path in ("/ui/", "/ui/services", "/ui/silences", *ALERT_LISTS):
        assert "Alert plugin chat has been failing for 60 s." in text(web, path)
    change(web.path, "delete from failing_plugins")
    assert "failing" not in text(web, "/ui/")


def test_what_was_not_delivered_is_shown_for_a_day(web: Fixture) -> None:
    give_up(web)
    assert BANNER in text(web, "/ui/")
    web.clock.advance(86400)
    assert BANNER in text(web, "/ui/")
    web.clock.advance(COUNT_S)
    assert BANNER not in text(web, "/ui/")


def test_what_was_not_delivered_is_counted_now_and_then(web: Fixture) -> None:
    assert BANNER not in text(web, "/ui/")
    give_up(web)
    web.clock.advance(COUNT_S - 1)
    assert BANNER not in text(web, "/ui/")
    web.clock.advance(1)
    assert BANNER in text(web, "/ui/")


def test_what_was_not_delivered_alone(web: Fixture) -> None:
    record(web.path, a_recorder("chat"), FakeClock(), a_report(a_state("cpu", State.WARN)))
    assert "No alert like this in the last 24 hours." in text(web, "/ui/alerts?lost=yes")
    give_up(web)
    assert "2 alerts in the last 24 hours, newest first." in text(web, "/ui/alerts")
    words = text(web, "/ui/alerts?lost=yes")
    assert "1 alert like this in the last 24 hours, newest first." in words
    assert ("web1 / disk" in words, "web1 / cpu" in words) == (True, False)
    page = Page(web.ask("GET", "/ui/alerts?lost=yes&hours=168").body.decode())
    choices = [href for href in page.values("href") if href.startswith("?")]
    assert choices == [
        "?hours=24&told=lost", "?hours=168&told=lost", "?hours=720&told=lost", "?hours=168"
    ]  # fmt: skip
