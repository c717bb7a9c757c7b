"""Reports that come again, out of order, or late: what a spool's numbers and times are for."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_daemon import (
    STEADY_AT,
    WALL_AT,
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    in_transaction,
    record,
    rows,
)

from overc.daemon import keys
from overc.daemon.recording import Recorded, Submission, WrongKey
from overc.daemon.store import status
from overc.model import AlertReport, Report, State

HISTORY = "select id, previous_id, seen_at, received_at, state, info from states order by id"
PRESENT = (
    "select state, period_s, deadline_at, timed_out, state_id, since_at, seen_at, last_state_id"
    " from services join latest on service_id = id order by id"
)


class Book:
    """Records batches into one database, as the intake would."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder()

    def record(self, *reports: Report) -> Recorded:
        return record(self.path, self.recorder, self.clock, *reports)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return rows(self.path, sql)

    def infos(self) -> list[str]:
        return [info for (info,) in self.rows("select info from states order by id")]

    def shown(self, service_id: int = 1) -> list[str]:
        """Return the infos of a service's history as people see it, newest first."""
        found = in_transaction(self.path, status.history, service_id, 0.0)
        return [state.info for state in found]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(a_database(tmp_path))


def spooled(
    seq: int, info: str = "", *, seen_at: float | None = None, state: State = State.OK, **more: Any
) -> Report:
    one = a_state("disk", state, info or str(seq), seen_at=seen_at)
    return a_report(one, spooled=(more.pop("spool", "s"), seq), **more)


def seqs(book: Book) -> list[tuple[Any, ...]]:
    return book.rows("select server_id, spool, seqs from spools order by server_id, spool")


def test_a_report_that_comes_again_is_answered_and_not_stored(book: Book) -> None:
    first = book.record(spooled(1, state=State.FAIL, alerts=[AlertReport("x")]))
    book.clock.advance(10)
    before = book.rows(PRESENT)
    again = book.record(spooled(1, "changed", state=State.OK, alerts=[AlertReport("y")]))
    assert again.outcomes == first.outcomes
    assert (first.alerts, again.alerts) == (2, 0)
    assert book.infos() == ["1"]
    assert book.rows(PRESENT) == before
    assert seqs(book) == [(1, "s", "1")]


def test_within_one_batch_too(book: Book) -> None:
    recorded = book.record(*(spooled(seq) for seq in (1, 2, 1, 2, 3, 3)))
    assert len(recorded.outcomes) == 6
    assert book.infos() == ["1", "2", "3"]
    assert seqs(book) == [(1, "s", "1-3")]


def test_in_whatever_order_they_come(book: Book) -> None:
    book.record(spooled(5), spooled(2))
    book.record(spooled(4), spooled(5))
    book.record(spooled(1), spooled(3), spooled(2), spooled(4))
    assert sorted(book.infos()) == ["1", "2", "3", "4", "5"]
    assert seqs(book) == [(1, "s", "1-5")]


def test_alerts_alone_come_once(book: Book) -> None:
    for _ in range(2):
        book.record(a_report(alerts=[AlertReport("x")], spooled=("s", 1)))
    assert book.rows("select message from alerts") == [("x",)]


def test_another_process_knows_them_too(book: Book) -> None:
    book.record(spooled(1))
    book.recorder = a_recorder()
    book.record(spooled(1), spooled(2))
    assert book.infos() == ["1", "2"]


def test_what_was_rolled_back_is_not_taken_for_stored(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("overc.daemon.store.records.save_seqs", None)
        with pytest.raises(TypeError):
            book.record(spooled(1))
    book.record(spooled(1))
    assert book.infos() == ["1"]


def test_a_spool_belongs_to_its_server(book: Book) -> None:
    book.record(spooled(1, "a"), spooled(1, "b", name="web2"), spooled(1, "c", spool="t"))
    book.record(spooled(1, "a"), spooled(1, "b", name="web2"), spooled(1, "c", spool="t"))
    assert book.infos() == ["a", "b", "c"]
    assert seqs(book) == [(1, "s", "1"), (1, "t", "1"), (2, "s", "1")]


def test_a_refused_report_uses_no_number(book: Book) -> None:
    right, wrong = keys.derive("secret"), keys.derive("wrong")

    def submit(report: Report, derivation: str) -> str | WrongKey:
        submissions = [Submission(report, derivation)]
        recorder, now = book.recorder, book.clock.times()
        return in_transaction(book.path, recorder.record, submissions, now).outcomes[0]

    submit(spooled(1), right)
    assert isinstance(submit(spooled(2, "forged", key="wrong"), wrong), WrongKey)
    assert seqs(book) == [(1, "s", "1")]
    assert submit(spooled(2), right) == right
    assert book.infos() == ["1", "2"]


def test_reports_without_a_spool_are_never_the_same(book: Book) -> None:
    for _ in range(2):
        book.record(a_report(a_state("disk", seen_at=WALL_AT - 5)))
    assert len(book.infos()) == 2
    assert seqs(book) == []


def test_when_a_spool_was_used_last(book: Book) -> None:
    book.record(spooled(1))
    book.clock.advance(7)
    book.record(spooled(2))
    assert book.rows("select used_at from spools") == [(WALL_AT + 7,)]


def test_a_state_of_a_backlog_goes_to_the_history_only(book: Book) -> None:
    book.record(spooled(9, "now", seen_at=WALL_AT - 1, state=State.WARN))
    [before] = book.rows(PRESENT)
    book.clock.advance(10)
    recorded = book.record(spooled(3, "old", seen_at=WALL_AT - 500, state=State.FAIL))
    assert recorded.alerts == 0
    assert book.rows("select count(*) from alerts") == [(1,)]
    # But for the chain, whose beginning it is, nothing of the service changed.
    assert book.rows(PRESENT) == [(*before[:-1], 2)]
    assert book.rows(HISTORY) == [
        (1, None, WALL_AT - 1, WALL_AT, "WARN", "now"),
        (2, 1, WALL_AT - 500, WALL_AT + 10, "FAIL", "old"),
    ]
    assert book.shown() == ["now", "old"]


def test_a_backlog_does_not_bring_a_late_service_back(book: Book) -> None:
    book.record(spooled(9, seen_at=WALL_AT - 1))
    book.clock.advance(60)
    assert in_transaction(book.path, book.recorder.mark_late, [1], book.clock.times()) == 1
    assert book.record(spooled(3, seen_at=WALL_AT - 500)).alerts == 0
    assert book.rows(
        "select timed_out, deadline_at from services join latest on service_id = id"
    ) == [(1, None)]
    assert book.record(spooled(10)).alerts == 1


def test_after_a_backlog_the_present_goes_on(book: Book) -> None:
    book.record(
        spooled(9, "now", seen_at=WALL_AT - 1, state=State.FAIL),
        spooled(3, "old", seen_at=WALL_AT - 500, state=State.OK),
        spooled(10, "next", seen_at=WALL_AT, state=State.FAIL),
    )
    assert book.rows("select event from alerts") == [("FAIL",)]
    assert book.rows(
        "select state, state_id, since_at, last_state_id"
        " from services join latest on service_id = id"
    ) == [("FAIL", 3, WALL_AT - 1, 3)]
    assert book.shown() == ["next", "now", "old"]


def test_the_newest_by_number_is_the_present_whatever_its_time(book: Book) -> None:
    """The agent's clock was set back; its count was not."""
    book.record(spooled(1, seen_at=WALL_AT - 1))
    recorded = book.record(spooled(2, seen_at=WALL_AT - 3600, state=State.FAIL))
    assert recorded.alerts == 1
    assert book.rows(
        "select state, state_id, seen_at, since_at from services join latest on service_id = id"
    ) == [("FAIL", 2, WALL_AT - 3600, WALL_AT - 3600)]
    # And what is older by its count is compared with that.
    book.record(spooled(5, seen_at=WALL_AT - 3600), spooled(4, seen_at=WALL_AT - 3500))
    assert book.rows("select state_id from services join latest on service_id = id") == [(4,)]


def test_an_older_number_with_a_newer_time_is_the_present(book: Book) -> None:
    book.record(spooled(9, seen_at=WALL_AT - 100))
    book.record(spooled(3, seen_at=WALL_AT - 50, state=State.FAIL))
    assert book.rows("select state, state_id from services join latest on service_id = id") == [
        ("FAIL", 2)
    ]


@pytest.mark.parametrize("ahead_s", [0.5, 3600.0, 1e9])
def test_a_time_in_the_future_is_now(book: Book, ahead_s: float) -> None:
    book.record(a_report(a_state("disk", State.FAIL, seen_at=WALL_AT + ahead_s)))
    assert book.rows("select seen_at, received_at from states") == [(WALL_AT, WALL_AT)]
    assert book.rows("select seen_at, since_at from services join latest on service_id = id") == [
        (WALL_AT, WALL_AT)
    ]
    book.clock.advance(1)
    # So it does not hide what comes next.
    book.record(a_report(a_state("disk", State.OK, seen_at=WALL_AT + 1)))
    assert book.rows("select state, state_id from services join latest on service_id = id") == [
        ("OK", 2)
    ]


@pytest.mark.parametrize(
    "seen_at, present",
    [(WALL_AT - 100.5, "FAIL"), (WALL_AT - 100, "OK"), (WALL_AT - 5, "OK"), (None, "OK")],
)
def test_a_time_without_a_spool(book: Book, seen_at: float | None, present: str) -> None:
    book.record(a_report(a_state("disk", State.FAIL, seen_at=WALL_AT - 100)))
    book.record(a_report(a_state("disk", State.OK, seen_at=seen_at)))
    assert book.rows("select state from services") == [(present,)]


def test_a_time_has_no_say_in_deadlines(book: Book) -> None:
    book.record(spooled(1, seen_at=WALL_AT - 10_000))
    assert book.rows(
        "select deadline_at, timed_out from services join latest on service_id = id"
    ) == [(STEADY_AT + 60, 0)]


def test_the_first_state_of_a_service_is_its_present_one_however_old(book: Book) -> None:
    book.record(spooled(9), spooled(1, seen_at=5.0, spool="other", name="web2"))
    assert book.rows(
        "select seen_at from services join latest on service_id = id where server_id = 2"
    ) == [(5.0,)]


def test_an_alert_of_a_backlog_hangs_on_the_present_state(book: Book) -> None:
    book.record(spooled(9, "now"))
    old = a_state("disk", info="old", seen_at=WALL_AT - 500)
    book.record(a_report(old, alerts=[AlertReport("x", "disk")], spooled=("s", 3)))
    assert book.rows("select state_id from alerts") == [(1,)]


def test_the_same_service_three_times_in_a_batch(book: Book) -> None:
    book.record(a_report(a_state("disk", info="0"), a_state("cpu", info="a")))
    book.record(
        a_report(a_state("disk", info="1"), a_state("disk", info="2"), a_state("cpu", info="b")),
        a_report(a_state("disk", info="3")),
    )
    history = {id_: (previous, info) for id_, previous, _, _, _, info in book.rows(HISTORY)}
    [(disk, disk_last), (cpu, cpu_last)] = book.rows(
        "select state_id, last_state_id from latest order by service_id"
    )
    assert (disk, cpu) == (disk_last, cpu_last)

    def chain(id_: int | None) -> list[str]:
        return [history[id_][1], *chain(history[id_][0])] if id_ else []

    assert chain(disk_last) == ["3", "2", "1", "0"]
    assert chain(cpu_last) == ["b", "a"]
    assert book.shown(1) == ["3", "2", "1", "0"]


def test_a_history_is_in_the_order_in_which_it_was_seen(book: Book) -> None:
    order = [(5, 50), (2, 20), (4, 40), (1, 10), (3, 30), (6, 60)]
    for seq, seen_s in order:
        book.clock.advance(1)
        book.record(spooled(seq, seen_at=WALL_AT - 100 + seen_s))
    assert book.shown() == ["6", "5", "4", "3", "2", "1"]
    assert book.infos() == ["5", "2", "4", "1", "3", "6"]


@pytest.mark.parametrize("what", ["server", "service"])
def test_what_is_deleted_takes_its_history_and_spools_with_it(book: Book, what: str) -> None:
    for seq in range(1, 6):
        book.record(spooled(seq), spooled(seq, name="web2"), spooled(seq + 50, seen_at=1.0 + seq))
    delete = getattr(book.recorder, f"delete_{what}")
    assert in_transaction(book.path, delete, 1) is not None
    assert book.rows("select distinct service_id from states") == [(2,)]
    assert book.rows("select count(*) from states") == [(5,)]
    if what == "server":
        assert seqs(book) == [(2, "s", "1-5")]
        # Its name is free again, and nothing of it is known.
        book.record(spooled(1))
        assert book.rows("select count(*) from states") == [(6,)]


NAMES = st.sampled_from(["a", "b", "c"])
ONE = st.tuples(NAMES, st.sampled_from(list(State)), st.none() | st.integers(-100, 20))
REPORT = st.tuples(
    st.sampled_from(["web1", "web2"]),
    st.lists(ONE, max_size=5),
    st.none() | st.tuples(st.sampled_from("st"), st.integers(1, 9)),
)
BATCHES = st.lists(st.lists(REPORT, max_size=4), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(BATCHES)
def test_every_chain_is_whole(batches: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = Book(a_database(Path(folder)))
        counter = itertools.count()
        sent: dict[tuple[str, str], list[str]] = {}
        known: set[tuple[object, ...]] = set()
        for batch in batches:
            book.clock.advance(7)
            reports = []
            for server, states, place in batch:
                said = [
                    a_state(
                        name,
                        state,
                        str(next(counter)),
                        seen_at=None if ago is None else book.clock.wall_at + ago,
                    )
                    for name, state, ago in states
                ]
                reports.append(a_report(*said, name=server, spooled=place))
                if place and (server, place) in known:
                    continue
                known.add((server, place))
                for one in said:
                    sent.setdefault((server, one.name), []).append(one.info)
            book.record(*reports)
        previous = {id_: (before, info) for id_, before, _, _, _, info in book.rows(HISTORY)}
        services = book.rows(
            "select servers.name, services.name, services.id, state_id, last_state_id,"
            " latest.seen_at, services.state from services join servers on servers.id = server_id"
            " join latest on latest.service_id = services.id"
        )
        assert {(server, name) for server, name, *_ in services} == set(sent)
        for server, name, service_id, state_id, last_id, seen_at, state in services:
            chain = []
            while last_id is not None:
                chain.append(last_id)
                last_id = previous[last_id][0]
            assert [previous[id_][1] for id_ in reversed(chain)] == sent[server, name]
            assert state_id in chain
            present = f"select seen_at, state, service_id from states where id = {state_id}"
            assert book.rows(present) == [(seen_at, state, service_id)]
            shown = in_transaction(book.path, status.history, service_id, 0.0)
            assert sorted(one.id for one in shown) == sorted(chain)
            assert [(one.seen_at, one.id) for one in shown] == sorted(
                ((one.seen_at, one.id) for one in shown), reverse=True
            )
