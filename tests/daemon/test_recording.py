from __future__ import annotations

from pathlib import Path

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
    rows,
)

from overc.daemon import keys
from overc.daemon.keys import derive, verify
from overc.daemon.recording import Recorded, Submission, WrongKey
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import ServerRow
from overc.model import AlertReport, Report, State

SERVICES = (
    "select name, state, period_s, deadline_at, timed_out, state_id, since_at"
    " from services join latest on service_id = id order by id"
)
STATES = "select services.name, states.state, info from states join services on services.id = "
STATES += "service_id order by states.id"
ALERTS = "select channel, event, service_id, state_id from alerts order by id"
SECRET = derive("secret")


class Book:
    """Records batches into one database, as the intake would."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder("mail", "log")

    def record(self, *reports: Report) -> Recorded:
        return self.submit(*(Submission(one, SECRET) for one in reports))

    def submit(self, *submissions: Submission) -> Recorded:
        return in_transaction(self.path, self.recorder.record, submissions, self.clock.times())

    def mark_late(self, *ids: int) -> int:
        return in_transaction(self.path, self.recorder.mark_late, ids, self.clock.times())

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return rows(self.path, sql)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(a_database(tmp_path))


def test_a_first_report(book: Book) -> None:
    recorded = book.record(a_report(a_state("disk", State.WARN, "90 %", 60)))
    assert recorded == Recorded((SECRET,), 1)
    assert book.rows("select * from servers") == [(1, "web1", "web1", SECRET, "192.0.2.1", WALL_AT)]
    assert book.rows(SERVICES) == [("disk", "WARN", 60, STEADY_AT + 60, 0, 1, WALL_AT)]
    assert book.rows("select * from states") == [(1, 1, None, WALL_AT, WALL_AT, "WARN", "90 %")]
    assert book.rows("select * from alerts") == [
        (
            1,
            1,
            1,
            1,
            WALL_AT,
            "service:state",
            "WARN",
            "WARN",
            'State changed: "(?)" -> "WARN"',
            "problem",
            "state",
            None,
            WALL_AT,
        )
    ]
    assert book.rows("select alert_id, plugin, status from outbox order by id") == [
        (1, "mail", "pending"),
        (1, "log", "pending"),
    ]


def test_a_ping_registers_and_nothing_else(book: Book) -> None:
    assert book.record(a_report()) == Recorded((SECRET,), 0)
    assert book.rows("select name from servers") == [("web1",)]
    assert book.rows(SERVICES) == []


def test_an_unchanged_state_is_history_and_no_alert(book: Book) -> None:
    book.record(a_report(a_state("disk", State.FAIL)))
    book.clock.advance(10)
    assert book.record(a_report(a_state("disk", State.FAIL, "still"))).alerts == 0
    assert book.rows(STATES) == [("disk", "FAIL", "fine"), ("disk", "FAIL", "still")]
    # In this state since the first report, promised anew by the second.
    assert book.rows(SERVICES) == [("disk", "FAIL", 60, STEADY_AT + 70, 0, 2, WALL_AT)]


def test_a_changed_state_begins_now(book: Book) -> None:
    book.record(a_report(a_state("disk", State.FAIL)))
    book.clock.advance(10)
    book.record(a_report(a_state("disk", State.OK, period_s=5)))
    assert book.rows(SERVICES) == [("disk", "OK", 5, STEADY_AT + 15, 0, 2, WALL_AT + 10)]
    assert book.rows(ALERTS) == [
        ("service:state", "FAIL", 1, 1),
        ("service:state", "OK", 1, 2),
    ]


def test_the_same_service_twice_in_one_report(book: Book) -> None:
    recorded = book.record(
        a_report(a_state("disk", State.WARN, "one", 10), a_state("disk", State.OK, "two", 20))
    )
    assert recorded.alerts == 2
    assert book.rows(STATES) == [("disk", "WARN", "one"), ("disk", "OK", "two")]
    assert book.rows(SERVICES) == [("disk", "OK", 20, STEADY_AT + 20, 0, 2, WALL_AT)]
    assert book.rows(ALERTS) == [("service:state", "WARN", 1, 1), ("service:state", "OK", 1, 2)]
    messages = book.rows("select message from alerts order by id")
    assert messages == [('State changed: "(?)" -> "WARN"',), ('State changed: "WARN" -> "OK"',)]


def test_a_batch_is_recorded_in_order(book: Book) -> None:
    recorded = book.record(
        a_report(a_state("disk", State.FAIL, "1"), a_state("cpu", State.OK, "2")),
        a_report(a_state("disk", State.FAIL, "3"), name="web2"),
        a_report(a_state("disk", State.OK, "4"), ip="192.0.2.9"),
    )
    assert recorded == Recorded((SECRET,) * 3, 3)
    assert book.rows("select name, ip from servers order by id") == [
        ("web1", "192.0.2.9"),
        ("web2", "192.0.2.1"),
    ]
    assert book.rows("select server_id, name, state from services order by id") == [
        (1, "disk", "OK"),
        (1, "cpu", "OK"),
        (2, "disk", "FAIL"),
    ]
    assert book.rows("select service_id, state, info from states order by id") == [
        (1, "FAIL", "1"),
        (2, "OK", "2"),
        (3, "FAIL", "3"),
        (1, "OK", "4"),
    ]
    assert book.rows("select server_id, service_id, event, state_id from alerts order by id") == [
        (1, 1, "FAIL", 1),
        (2, 3, "FAIL", 3),
        (1, 1, "OK", 4),
    ]
    assert book.rows(
        "select state_id from services join latest on service_id = id order by id"
    ) == [(4,), (2,), (3,)]


def test_hundreds_of_services_keep_their_own_states(book: Book) -> None:
    names = [f"service {number}" for number in range(700)]
    for state in (State.OK, State.FAIL):
        book.record(a_report(*(a_state(name, state, f"info of {name}") for name in names)))
    sql = (
        "select services.name, states.state, states.info from services"
        " join latest on latest.service_id = services.id"
        " join states on states.id = state_id order by services.id"
    )
    assert book.rows(sql) == [(name, "FAIL", f"info of {name}") for name in names]
    assert book.rows("select count(*) from outbox") == [(1400,)]


def test_a_wrong_key_in_a_batch_refuses_that_one_only(book: Book) -> None:
    book.record(a_report(ip="192.0.2.1"))
    wrong = Submission(
        a_report(
            a_state("disk", State.FAIL),
            key="wrong",
            ip="203.0.113.1",
            alerts=[AlertReport("boo", "new service")],
        ),
        derive("wrong"),
    )
    right = Submission(a_report(a_state("cpu", State.OK)), SECRET)
    recorded = book.submit(right, wrong, right)
    assert recorded.alerts == 0
    first, refused, last = recorded.outcomes
    assert (first, last) == (SECRET, SECRET)
    assert isinstance(refused, WrongKey)
    assert str(refused) == (
        'Invalid server key for "web1": the name is registered with another key;'
        " use that key, pick another name, or accept this key on the dashboard, in its settings"
    )
    assert book.rows("select name, state from services") == [("cpu", "OK")]
    assert book.rows("select ip from servers") == [("192.0.2.1",)]
    assert book.rows("select count(*) from states") == [(2,)]
    assert book.rows(ALERTS) == []


def test_of_two_keys_for_a_new_name_the_first_wins(book: Book) -> None:
    first = Submission(a_report(a_state("disk", State.OK, "first")), SECRET)
    second = Submission(a_report(a_state("disk", State.FAIL), key="other"), derive("other"))
    recorded = book.submit(first, second, first)
    assert [isinstance(one, WrongKey) for one in recorded.outcomes] == [False, True, False]
    assert book.rows("select key_derivation from servers") == [(SECRET,)]
    assert book.rows(STATES) == [("disk", "OK", "first")] * 2


def test_the_right_key_with_another_derivation_is_accepted(book: Book) -> None:
    """Two first reports of one host were both derived before either was stored."""
    other = derive("secret")
    recorded = book.submit(Submission(a_report(), SECRET), Submission(a_report(), other))
    assert recorded.outcomes == (SECRET, SECRET)
    assert book.rows("select key_derivation from servers") == [(SECRET,)]


def test_a_proved_key_costs_nothing(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.record(a_report())
    monkeypatch.setattr(keys, "verify", None)
    assert book.record(a_report()).outcomes == (SECRET,)


def test_a_deleted_server_registers_anew(book: Book) -> None:
    book.record(a_report(a_state()))
    change(book.path, "delete from servers")
    other = derive("other")
    recorded = book.submit(Submission(a_report(key="other"), other))
    assert recorded.outcomes == (other,)
    assert verify("other", str(book.rows("select key_derivation from servers")[0][0]))


def test_an_alert_about_a_server(book: Book) -> None:
    assert book.record(a_report(alerts=[AlertReport("the roof")])).alerts == 1
    assert book.rows(SERVICES) == []
    sql = "select server_id, service_id, state_id, channel, event, severity, message from alerts"
    assert book.rows(sql) == [(1, None, None, "api", "alert", "FAIL", "the roof")]


def test_an_alert_for_a_service_never_heard_of_creates_it(book: Book) -> None:
    book.record(a_report(alerts=[AlertReport("one", "job"), AlertReport("two", "job")]))
    assert book.rows(SERVICES) == [("job", None, None, None, 0, None, None)]
    assert book.rows(ALERTS) == [("api", "alert", 1, None), ("api", "alert", 1, None)]
    assert book.rows("select count(*) from outbox") == [(4,)]
    book.clock.advance(10_000)
    assert book.mark_late(1) == 0
    # Its first report is like that of any new service.
    book.record(a_report(a_state("job", State.WARN)))
    newest = book.rows("select message from alerts order by id")[-1]
    assert newest == ('State changed: "(?)" -> "WARN"',)


def test_an_alert_hangs_on_the_state_that_its_service_is_in(book: Book) -> None:
    about_disk = a_report(alerts=[AlertReport("x", "disk")])
    book.record(a_report(a_state("disk")))
    book.record(
        about_disk,
        a_report(a_state("disk", info="newer")),
        about_disk,
        a_report(a_state("disk", info="newest"), alerts=[AlertReport("y", "disk")]),
    )
    assert book.rows("select message, state_id from alerts order by id") == [
        ("x", 1),
        ("x", 2),
        ("y", 3),
    ]


def test_an_alert_changes_nothing_of_its_service(book: Book) -> None:
    book.record(a_report(a_state("disk", State.WARN)))
    before = book.rows(SERVICES)
    book.clock.advance(30)
    book.record(a_report(alerts=[AlertReport("x", "disk")]))
    assert book.rows(SERVICES) == before


def test_late(book: Book) -> None:
    book.record(a_report(a_state("disk", State.WARN), a_state("cpu", period_s=61)))
    book.clock.advance(60)
    assert book.mark_late(1, 2, 99) == 1
    assert book.rows(
        "select name, deadline_at, timed_out from services join latest on service_id = id"
        " order by id"
    ) == [
        ("disk", None, 1),
        ("cpu", STEADY_AT + 61, 0),
    ]
    last = "select channel, event, severity, message, service_id, state_id, raised_at from alerts"
    assert book.rows(f"{last} order by id desc limit 1") == [
        ("plugin", "offline", "FAIL", "Monitoring plugin offline", 1, 1, WALL_AT + 60)
    ]
    assert book.rows("select count(*) from outbox") == [(4,)]
    book.clock.advance(60)
    assert book.mark_late(1) == 0


def test_a_service_that_reported_meanwhile_is_not_late(book: Book) -> None:
    book.record(a_report(a_state("disk")))
    book.clock.advance(60)
    book.record(a_report(a_state("disk")))
    assert book.mark_late(1) == 0
    assert book.rows("select timed_out from services") == [(0,)]


def test_a_late_service_reports_again(book: Book) -> None:
    book.record(a_report(a_state("disk", State.OK)))
    book.clock.advance(60)
    book.mark_late(1)
    book.clock.advance(5)
    assert book.record(a_report(a_state("disk", State.FAIL))).alerts == 2
    assert book.rows(ALERTS) == [
        ("plugin", "offline", 1, 1),
        ("plugin", "online", 1, 2),
        ("service:state", "FAIL", 1, 2),
    ]
    messages = [row[0] for row in book.rows("select message from alerts order by id")]
    assert messages[1:] == ["Monitoring plugin back online", 'State changed: "OK" -> "FAIL"']
    assert book.rows(SERVICES) == [("disk", "FAIL", 60, STEADY_AT + 125, 0, 2, WALL_AT + 65)]


def test_back_in_the_same_state(book: Book) -> None:
    book.record(a_report(a_state("disk", State.FAIL)))
    book.clock.advance(60)
    book.mark_late(1)
    assert book.record(a_report(a_state("disk", State.FAIL))).alerts == 1
    assert book.rows(SERVICES) == [("disk", "FAIL", 60, STEADY_AT + 120, 0, 2, WALL_AT)]


def test_the_wall_clock_has_no_say_in_deadlines(book: Book) -> None:
    book.record(a_report(a_state("disk")))
    book.clock.wall_at -= 3600
    book.record(a_report(a_state("disk")))
    book.clock.wall_at += 7200
    assert book.mark_late(1) == 0
    assert book.rows("select deadline_at from services join latest on service_id = id") == [
        (STEADY_AT + 60,)
    ]
    # History is shown by the wall clock, and kept in the order it came in.
    assert book.rows("select id, received_at from states order by id") == [
        (1, WALL_AT),
        (2, WALL_AT - 3600),
    ]


def test_no_plugins_no_outbox(book: Book) -> None:
    book.recorder = a_recorder()
    assert book.record(a_report(a_state("disk", State.FAIL))).alerts == 1
    assert book.rows("select count(*) from outbox") == [(0,)]


def test_a_server_is_looked_up_once_in_a_batch(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def find(tx: Transaction, names: set[str]) -> list[ServerRow]:
        asked.append(names)
        return []

    monkeypatch.setattr(records, "find_servers", find)
    book.record(a_report(), a_report(name="web2"), a_report(), a_report(name="web2"))
    assert asked == [{"web1", "web2"}]


def test_the_newest_address_is_kept(book: Book) -> None:
    book.record(a_report(ip="192.0.2.1"))
    book.record(*(a_report(ip=ip) for ip in ("192.0.2.2", "192.0.2.3", "192.0.2.1")))
    assert book.rows("select ip from servers") == [("192.0.2.1",)]


def test_an_empty_batch(book: Book) -> None:
    assert book.record() == Recorded((), 0)
