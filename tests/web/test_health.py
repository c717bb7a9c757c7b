from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import WALL_AT, a_database, change
from web.doubles import API, UI, Fixture, populate

from overc.daemon.store.errors import StorageError
from overc.daemon.vitals import LAG_MAX_S


@pytest.fixture
def web(tmp_path: Path) -> Fixture:
    path = a_database(tmp_path)
    populate(path)
    return Fixture(path, API, UI)


def test_all_is_well_and_nobody_has_to_say_who_he_is(web: Fixture) -> None:
    web.watch.lag = 1.2
    answer = web.ask("GET", "/healthz")
    assert (answer.code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "status": "ok",
        "database": "ok",
        "watchdog": "ok",
        "watchdog_lag_s": 1.2,
        "watchdog_tick_age_s": 0.12,
        "outbox": {"pending": 0, "oldest_s": 0.0},
    }
    assert web.ask("HEAD", "/healthz").code == 200


def test_a_store_that_fails(web: Fixture) -> None:
    def fail(description: str) -> None:
        raise StorageError(f"Unable to {description}: gone")

    web.store.fault = fail
    answer = web.ask("GET", "/healthz")
    assert answer.code == 503
    assert answer.json == {
        "status": "failing",
        "database": "Unable to use the database: gone",
        "watchdog": "ok",
        "watchdog_lag_s": 0.0,
        "watchdog_tick_age_s": 0.12,
        "outbox": None,
    }
    web.store.fault = lambda description: None
    assert web.ask("GET", "/healthz").code == 200


@pytest.mark.parametrize("lag_s, code", [(LAG_MAX_S, 200), (LAG_MAX_S + 0.1, 503), (3600.0, 503)])
def test_a_watchdog_that_is_behind(web: Fixture, lag_s: float, code: int) -> None:
    web.watch.lag = lag_s
    answer = web.ask("GET", "/healthz")
    assert answer.code == code
    behind = f"behind by {lag_s:g} s"
    assert answer.json["watchdog"] == ("ok" if code == 200 else behind)
    assert answer.json["status"] == ("ok" if code == 200 else "failing")
    assert answer.json["watchdog_lag_s"] == lag_s


def test_a_watchdog_that_has_just_started(web: Fixture) -> None:
    web.watch.tick_age = None
    answer = web.ask("GET", "/healthz")
    assert (answer.code, answer.json["watchdog_tick_age_s"]) == (200, None)


def in_outbox(web: Fixture, due_s: float, status: str = "pending", tries: int = 0) -> None:
    """Add a row that is due so many seconds from now."""
    change(
        web.path,
        "insert into outbox (alert_id, plugin, status, due_at, tries) values (1, 'mail', ?, ?, ?)",
        status,
        WALL_AT + due_s,
        tries,
    )


def outbox_of(web: Fixture) -> tuple[int, float]:
    found = web.ask("GET", "/healthz").json["outbox"]
    return found["pending"], found["oldest_s"]


def test_what_waits_in_the_outbox(web: Fixture) -> None:
    in_outbox(web, -5000, "sent")
    in_outbox(web, -5000, "silenced")
    in_outbox(web, 600)
    assert outbox_of(web) == (0, 0.0)
    in_outbox(web, -7)
    in_outbox(web, 0)
    assert outbox_of(web) == (2, 7.0)


def test_what_is_tried_again_has_waited_since_the_first_try(web: Fixture) -> None:
    in_outbox(web, 600, tries=2)
    for ago_s in (90, 30):
        change(
            web.path,
            "insert into attempts (outbox_id, tried_at, took_s, delivered, words)"
            " select max(id), ?, 0.1, 0, 'no' from outbox",
            WALL_AT - ago_s,
        )
    assert outbox_of(web) == (1, 90.0)


def test_a_clock_that_was_set_back(web: Fixture) -> None:
    in_outbox(web, 600, tries=1)
    change(
        web.path,
        "insert into attempts (outbox_id, tried_at, took_s, delivered, words)"
        " select max(id), ?, 0.1, 0, 'no' from outbox",
        WALL_AT + 60,
    )
    assert outbox_of(web) == (1, 0.0)
