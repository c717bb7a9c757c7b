from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database
from web.doubles import API, UI, Fixture

from overc.daemon.store.errors import StorageError
from overc.web.health import LAG_MAX_S


@pytest.fixture
def web(tmp_path: Path) -> Fixture:
    return Fixture(a_database(tmp_path), API, UI)


def test_all_is_well_and_nobody_has_to_say_who_he_is(web: Fixture) -> None:
    web.lag_s = 1.2
    answer = web.ask("GET", "/healthz")
    assert (answer.code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "status": "ok",
        "database": "ok",
        "watchdog": "ok",
        "watchdog_lag_s": 1.2,
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
    }
    web.store.fault = lambda description: None
    assert web.ask("GET", "/healthz").code == 200


@pytest.mark.parametrize("lag_s, code", [(LAG_MAX_S, 200), (LAG_MAX_S + 0.1, 503), (3600.0, 503)])
def test_a_watchdog_that_is_behind(web: Fixture, lag_s: float, code: int) -> None:
    web.lag_s = lag_s
    answer = web.ask("GET", "/healthz")
    assert answer.code == code
    behind = f"behind by {lag_s:g} s"
    assert answer.json["watchdog"] == ("ok" if code == 200 else behind)
    assert answer.json["status"] == ("ok" if code == 200 else "failing")
    assert answer.json["watchdog_lag_s"] == lag_s
