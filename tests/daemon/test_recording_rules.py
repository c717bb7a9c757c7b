"""Reports of services of which rules expect something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    STEADY_AT,
    WALL_AT,
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    in_transaction,
    record,
    rows,
)

from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.expectations import Flapping, Grace, Rule
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.model import AlertReport, State

OK, WARN, FAIL = State.OK, State.WARN, State.FAIL
NIGHTLY = Calendar.parse("0 3 * * *", parse_timezone("UTC"))
DUE_AT = WALL_AT + 17 * 3600  # 2026-03-02 03:00:00


def rule(services: str = "*", **options: Any) -> Rule:
    return Rule("some", EVERYTHING, Patterns(services), options)


SERVICES = "services join latest on service_id = id"


class Book:
    """Records one report after another, each a minute after the one before."""

    def __init__(self, path: str, *rules: Rule) -> None:
        self.path = path
        self.clock = FakeClock()
        self.rules = rules
        self.recorder = a_recorder("mail", rules=rules)

    def restart(self, *rules: Rule) -> None:
        self.recorder = a_recorder("mail", rules=rules)

    def say(self, state: State, name: str = "disk", info: str = "", **more: Any) -> int:
        self.clock.advance(60)
        said = a_state(name, state, info)._replace(**more)
        return record(self.path, self.recorder, self.clock, a_report(said)).alerts

    def events(self) -> list[str]:
        return [event for (event,) in rows(self.path, "select event from alerts order by id")]

    def one(self, columns: str) -> tuple[Any, ...]:
        [row] = rows(self.path, f"select {columns} from {SERVICES} where name = 'disk'")
        return row

    def mark_late(self) -> int:
        return in_transaction(self.path, self.recorder.mark_late, [1], self.clock.times())


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


def test_alerts_are_stored_with_what_they_are_about(path: str) -> None:
    book = Book(path)
    for state in (OK, WARN, FAIL):
        book.say(state)
    book.clock.advance(60)
    assert book.mark_late() == 1
    book.say(OK)
    record(path, book.recorder, book.clock, a_report(alerts=[AlertReport("hot", "disk")]))
    began_at = WALL_AT + 120
    assert rows(
        path, "select event, phase, topic, previous_state, since_at from alerts order by id"
    ) == [
        ("WARN", "problem", "state", "OK", began_at),
        ("FAIL", "problem", "state", "WARN", began_at),
        ("offline", "problem", "late", None, WALL_AT + 240),
        ("online", "recovery", "late", None, WALL_AT + 240),
        ("OK", "recovery", "state", "FAIL", began_at),
        ("alert", "note", "", None, None),
    ]


def test_a_healthy_service_has_no_memory_and_a_problem_does(path: str) -> None:
    book = Book(path)
    book.say(OK)
    assert book.one("grace_s, due_at, memory") == (0.0, None, None)
    book.say(FAIL)
    assert book.one("memory") == (f'{{"told": "FAIL", "since_at": {WALL_AT + 120}}}',)
    book.say(OK)
    assert book.one("memory") == (None,)


def test_the_rules_ask_for_names(path: str) -> None:
    book = Book(path, rule("disk", after=2), rule("cpu*", quiet_states=frozenset({FAIL})))
    assert [book.say(FAIL), book.say(FAIL)] == [0, 1]
    assert [book.say(FAIL, "cpu1"), book.say(WARN, "cpu1")] == [0, 1]
    assert [book.say(FAIL, "load")] == [1]


def test_a_row_of_bad_reports_outlasts_a_restart(path: str) -> None:
    book = Book(path, rule(after=3))
    book.say(FAIL, info="disk full")
    book.restart(rule(after=3))
    book.say(FAIL)
    book.restart(rule(after=3))
    assert book.say(FAIL) == 1
    [(message,)] = rows(path, "select message from alerts")
    assert message == 'State changed: "(?)" -> "FAIL" (3 in a row, first: disk full)'


def test_flapping_outlasts_a_restart(path: str) -> None:
    flapping = rule(flapping=Flapping(3, 3600.0))
    book = Book(path, flapping)
    for state in (OK, FAIL, OK, FAIL):
        book.say(state)
    book.restart(flapping)
    book.say(OK)
    book.clock.advance(1800)
    book.say(OK)
    assert book.events() == ["FAIL", "OK", "flapping", "steady"]


def test_a_problem_of_an_earlier_version_ends_with_its_beginning(path: str) -> None:
    book = Book(path)
    book.say(FAIL)
    change(path, "update services set memory = null")
    book.restart()
    book.clock.advance(600)
    book.say(FAIL)
    book.say(OK)
    assert rows(path, "select event, since_at from alerts where phase = 'recovery'") == [
        ("OK", WALL_AT + 60)
    ]


def test_rules_that_came_with_a_restart_are_asked_at_once(path: str) -> None:
    book = Book(path)
    book.say(WARN)
    book.restart(rule(quiet_states=frozenset({WARN}), grace=Grace(30.0)))
    assert book.say(WARN) == 1
    assert book.one("deadline_at, grace_s") == (STEADY_AT + 120 + 60 + 30, 30.0)
    book.restart()
    assert [book.say(WARN), book.say(WARN), book.say(OK)] == [1, 0, 1]
    assert book.events() == ["WARN", "OK", "WARN", "OK"]
    assert book.one("grace_s") == (0.0,)


def test_the_grace_of_a_report_wins_and_goes_with_it(path: str) -> None:
    book = Book(path, rule(grace=Grace(share=0.5)))
    expected = [(None, 30.0), (None, 30.0), (7.0, 7.0), (7.0, 7.0), (None, 30.0), (0.0, 0.0)]
    for asked_s, grace_s in expected:
        book.say(OK, grace_s=asked_s)
        deadline_at = book.clock.steady_at + 60 + grace_s
        assert book.one("grace_s, deadline_at") == (grace_s, deadline_at)
    assert rows(path, "select count(*) from states") == [(len(expected),)]


def test_within_its_grace_nobody_is_late(path: str) -> None:
    book = Book(path, rule(grace=Grace(30.0)))
    book.say(OK)
    book.say(OK)
    book.clock.advance(89)
    assert book.mark_late() == 0
    book.clock.advance(1)
    assert book.mark_late() == 1


def test_a_calendar_is_asked_for_each_report(path: str) -> None:
    book = Book(path, rule(calendar=NIGHTLY, grace=Grace(600.0)))
    book.say(OK)
    due = (DUE_AT, STEADY_AT + 17 * 3600 + 600)
    assert book.one("due_at, deadline_at") == due
    book.say(OK)
    assert book.one("due_at, deadline_at") == due
    book.clock.advance(17 * 3600)
    book.say(OK)
    assert book.one("due_at") == (DUE_AT + 86400,)


def test_a_deadline_that_was_moved_is_stored(path: str) -> None:
    book = Book(path, rule(calendar=NIGHTLY))
    book.say(OK)
    book.clock.advance(18 * 3600)
    book.clock.wall_at -= 7200
    assert book.mark_late() == 0
    assert book.one("deadline_at, timed_out") == (book.clock.steady_at + 60, 0)


def test_a_deadline_that_could_not_be_stored_is_not_in_memory_either(path: str) -> None:
    book = Book(path, rule(calendar=NIGHTLY))
    book.say(OK)
    book.clock.advance(18 * 3600)
    book.clock.wall_at -= 7200

    def fail(tx: Any) -> None:
        book.recorder.mark_late(tx, [1], book.clock.times())
        raise KeyError("disk full")

    with pytest.raises(KeyError):
        in_transaction(path, fail)
    book.clock.wall_at += 7200
    assert book.mark_late() == 1


def test_a_step_of_the_wall_clock(path: str) -> None:
    book = Book(path, rule("disk", calendar=NIGHTLY))
    book.say(OK)
    book.say(OK, "other")
    before_at = book.clock.wall_at
    book.clock.wall_at += 3600
    in_transaction(path, book.recorder.follow_step, before_at, book.clock.times())
    assert book.one("due_at, deadline_at") == (DUE_AT, STEADY_AT + 16 * 3600)
    # What is in memory knows of it.
    book.clock.advance(16 * 3600 - 120)
    assert book.mark_late() == 1
    assert rows(
        path,
        "select deadline_at from services join latest on service_id = id where name = 'other'",
    ) == [(STEADY_AT + 180,)]


ACK = "insert into acks values (1, 'ann', 'on it', 5)"


def test_with_the_last_problem_its_acknowledgement_goes(path: str) -> None:
    book = Book(path)
    book.say(FAIL)
    change(path, ACK)
    book.clock.advance(60)
    book.mark_late()
    # Back, and as bad as it was.
    book.say(FAIL)
    assert rows(path, "select author from acks") == [("ann",)]
    book.say(WARN)
    assert rows(path, "select author from acks") == [("ann",)]
    book.say(OK)
    assert rows(path, "select author from acks") == []
    change(path, ACK)
    book.clock.advance(60)
    book.mark_late()
    book.say(OK)
    assert rows(path, "select author from acks") == []


def test_while_it_flaps_a_problem_that_was_told_is_not_over(path: str) -> None:
    book = Book(path, rule(flapping=Flapping(2, 3600.0)))
    book.say(FAIL)
    change(path, ACK)
    book.say(OK)
    assert rows(path, "select author from acks") == [("ann",)]
    book.clock.advance(1800)
    book.say(OK)
    assert book.events() == ["FAIL", "flapping", "steady", "OK"]
    assert rows(path, "select author from acks") == []
