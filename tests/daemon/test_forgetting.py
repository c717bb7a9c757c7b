from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    FakeClock,
    SteppedStore,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    in_transaction,
    our_log,
    record,
    result_of,
    rows,
)
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from overc.daemon.expectations import Expectations, Rule
from overc.daemon.forgetting import PAGE, ROUND_S, Forgetting
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.store.errors import StorageError
from overc.model import AlertReport

DAY_S = 86400.0
LOOK = "look for silent services"
FORGET = "forget a silent service"


def rule(services: str = "*", **options: Any) -> Rule:
    return Rule("some", EVERYTHING, Patterns(services), options)


class Cellar:
    """A server that has long been running, over services that are late."""

    def __init__(self, path: str, *rules: Rule) -> None:
        self.path = path
        self.store = SteppedStore(path)
        self.reactor = Clock()
        self.clock = FakeClock()
        self.nudges = 0
        self.recorder = a_recorder("mail", rules=rules)
        self.forgetting = Forgetting(
            self.reactor, self.store, self.clock, self.recorder, Expectations(rules), self._nudge
        )

    def _nudge(self) -> None:
        self.nudges += 1

    def report(self, *names: str, period_s: int = 60) -> None:
        states = [a_state(name, period_s=period_s) for name in names]
        record(self.path, self.recorder, self.clock, a_report(*states))

    def mark_late(self) -> None:
        ids = [id_ for (id_,) in rows(self.path, "select id from services")]
        in_transaction(self.path, self.recorder.mark_late, ids, self.clock.times())

    def pass_time(self, span_s: float) -> None:
        for _ in range(round(span_s / ROUND_S)):
            self.clock.advance(ROUND_S)
            self.reactor.advance(ROUND_S)

    def names(self) -> list[str]:
        return [name for (name,) in rows(self.path, "select name from services order by id")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


def test_a_service_is_forgotten_when_it_was_silent_for_long_enough(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk", "cpu")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S - ROUND_S)
    assert cellar.names() == ["disk", "cpu"]
    cellar.report("cpu")
    cellar.pass_time(ROUND_S)
    assert cellar.names() == ["cpu"]
    assert cellar.nudges == 1
    assert rows(path, "select count(*) from states where service_id = 1") == [(0,)]
    said = rows(
        path,
        "select server_id, service_id, channel, event, severity, phase, topic, message from alerts"
        " where service_id is null",
    )
    message = 'Service "disk" is forgotten: no report for 1d'
    assert said == [(1, None, "plugin", "forgotten", "WARN", "note", "", message)]
    assert rows(path, "select plugin, status from outbox where service_id is null") == [
        ("mail", "pending")
    ]
    cellar.pass_time(DAY_S)
    assert cellar.nudges == 1


def test_who_comes_back_is_somebody_new(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S)
    cellar.report("disk")
    assert rows(path, "select id, name, timed_out from services") == [(2, "disk", 0)]


def test_who_is_not_late_is_not_forgotten(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("yearly", period_s=365 * 86400)
    alerted = a_report(alerts=[AlertReport("hot", "alerted")])
    record(path, cellar.recorder, cellar.clock, alerted)
    cellar.mark_late()
    cellar.pass_time(2 * DAY_S)
    assert cellar.names() == ["yearly", "alerted"]


def test_only_those_of_the_rule(path: str) -> None:
    cellar = Cellar(path, rule("tmp*", expire_after_s=DAY_S), rule(expire_after_s=2 * DAY_S))
    cellar.forgetting.startService()
    cellar.report("tmp1", "disk", "tmp2")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S)
    assert cellar.names() == ["disk"]
    cellar.pass_time(DAY_S)
    assert cellar.names() == []


def test_without_a_rule_nobody_looks(path: str) -> None:
    cellar = Cellar(path, rule(after=2))
    cellar.forgetting.startService()
    cellar.pass_time(2 * DAY_S)
    assert cellar.store.calls == []
    result_of(cellar.forgetting.stopService())


def test_after_a_start_every_service_has_its_period(path: str) -> None:
    """It was late before, and the server was away for as long as it takes to be forgotten."""
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.report("disk", period_s=3600)
    cellar.clock.advance(3600)
    cellar.mark_late()
    cellar.clock.advance(2 * DAY_S)
    cellar.forgetting.startService()
    cellar.pass_time(3600 - ROUND_S)
    assert cellar.names() == ["disk"]
    cellar.pass_time(ROUND_S)
    assert cellar.names() == []


def test_after_a_step_of_the_wall_clock_it_waits_for_a_round(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(3600)
    cellar.clock.wall_at += 365 * DAY_S
    cellar.pass_time(ROUND_S)
    assert cellar.names() == ["disk"]
    cellar.clock.wall_at -= 365 * DAY_S
    cellar.pass_time(3600)
    assert cellar.names() == ["disk"]


def test_who_reports_meanwhile_stays(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S - ROUND_S)
    cellar.store.held = True
    cellar.pass_time(ROUND_S)
    cellar.report("disk")
    cellar.store.step()
    assert cellar.names() == ["disk"]
    assert cellar.nudges == 0


def test_who_is_deleted_meanwhile_is_gone(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S - ROUND_S)
    cellar.store.held = True
    cellar.pass_time(ROUND_S)
    change(path, "delete from services")
    cellar.store.step()
    assert rows(path, "select event from alerts") == []
    assert cellar.nudges == 0


def test_there_may_be_many(path: str) -> None:
    cellar = Cellar(path, rule("s5*", expire_after_s=DAY_S))
    cellar.forgetting.startService()
    names = [f"s{number}" for number in range(PAGE + 100)]
    cellar.report(*names)
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S)
    assert cellar.names() == [name for name in names if not name.startswith("s5")]
    assert cellar.store.calls.count(FORGET) == len(names) - len(cellar.names())


def test_rounds_go_on_after_a_failure(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()

    def fail(description: str) -> None:
        raise StorageError("Unable to look: gone")

    cellar.store.fault = fail
    with our_log() as lines:
        cellar.pass_time(3 * ROUND_S)
    assert lines == ["critical: silent services can't be forgotten, the next try follows"]
    cellar.store.fault = lambda description: None
    with our_log() as lines:
        cellar.pass_time(3 * ROUND_S)
    assert lines == ["info: silent services are forgotten again"]


def test_to_stop_is_to_wait_for_the_one_under_way(path: str) -> None:
    cellar = Cellar(path, rule(expire_after_s=DAY_S))
    cellar.forgetting.startService()
    cellar.report("disk", "cpu")
    cellar.clock.advance(60)
    cellar.mark_late()
    cellar.pass_time(DAY_S - ROUND_S)
    cellar.store.held = True
    cellar.pass_time(ROUND_S)
    ended: list[None] = []
    ensureDeferred(cellar.forgetting.stopService()).addCallback(lambda _: ended.append(None))
    assert ended == []
    cellar.store.step()
    assert ended == [None]
    assert cellar.names() == ["cpu"]
    assert not cellar.reactor.getDelayedCalls()
