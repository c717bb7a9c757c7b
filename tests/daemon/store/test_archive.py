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
    in_transaction,
    record,
    rows,
)

from overc.daemon.store import archive
from overc.daemon.store.archive import PERF_BUCKETS, STATE_BUCKETS, Buckets, Progress, Promise
from overc.daemon.store.engine import CHUNKS
from overc.model import State

START = {
    "states": Progress(0, 0),
    "state_days": Progress(0, 0),
    "perf_days": Progress(0, 0),
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def report(path: str, clock: FakeClock, *names: str, state: State = State.OK) -> None:
    recorder = a_recorder("mail")
    record(path, recorder, clock, a_report(*(a_state(name, state) for name in names)))


def ids(path: str, table: str) -> list[int]:
    return [row[0] for row in rows(path, f"select id from {table} order by id")]


def test_progress(path: str) -> None:
    assert in_transaction(path, archive.read_progress) == START
    in_transaction(path, archive.set_progress, "perf_days", Progress(86400, 7))
    later = {**START, "perf_days": Progress(86400, 7)}
    assert in_transaction(path, archive.read_progress) == later
    assert in_transaction(path, archive.same_progress, later)
    assert not in_transaction(path, archive.same_progress, START)


def test_reading_the_history(path: str, clock: FakeClock) -> None:
    assert in_transaction(path, archive.newest_state_id) == 0
    report(path, clock, "a", "b")
    change(path, "update states set info = 'OK | a=1', seen_at = 5 where id = 2")
    clock.advance(10)
    report(path, clock, "a")
    assert in_transaction(path, archive.newest_state_id) == 3
    assert in_transaction(path, archive.states_after, 1, 3) == [
        (2, 2, 5.0, "OK", "OK | a=1"),
        (3, 1, WALL_AT + 10, "OK", ""),  # no perfdata, no info
    ]
    assert in_transaction(path, archive.states_after, 0, 1) == [(1, 1, WALL_AT, "OK", "")]
    assert in_transaction(path, archive.state_sizes, 0, 3, 2) == [
        (1, WALL_AT, len("fine")),
        (2, WALL_AT, len("OK | a=1")),
    ]
    assert in_transaction(path, archive.promises, [2, 99]) == {
        2: Promise(2, "web1", "b", 60, 0, False)
    }


def test_timelines_are_written_over(path: str, clock: FakeClock) -> None:
    report(path, clock, "a", "b", "c")
    in_transaction(path, archive.save_timelines, {1: "x", 2: "y"})
    in_transaction(path, archive.save_timelines, {2: "z", 3: ""})
    assert in_transaction(path, archive.timelines, [1, 2, 3, 4]) == {1: "x", 2: "z", 3: ""}
    change(path, "delete from services where id = 1")
    assert in_transaction(path, archive.timelines, [1]) == {}


def test_series(path: str, clock: FakeClock) -> None:
    report(path, clock, "a", "b")
    new = [(1, "time", "s", 86400), (1, "time", "ms", 86400), (1, "Time", "s", 0)]
    new.append((2, "time", "s", 86400))
    assert in_transaction(path, archive.add_series, new) == [1, 2, 3, 4]
    in_transaction(path, archive.use_series, [1, 4], 2 * 86400)
    in_transaction(path, archive.use_series, [], 9 * 86400)
    assert in_transaction(path, archive.series, [2, 3]) == [(4, 2, "time", "s", 2 * 86400)]
    assert sorted(in_transaction(path, archive.series, [1])) == [
        (1, 1, "time", "s", 2 * 86400),
        (2, 1, "time", "ms", 86400),
        (3, 1, "Time", "s", 0),
    ]
    assert in_transaction(path, archive.old_series, 86400, 5) == [3]
    assert in_transaction(path, archive.old_series, 86401, 1) in ([2], [3])
    in_transaction(path, archive.prune_series, [2, 3])
    assert ids(path, "perf_series") == [1, 4]
    change(path, "delete from services where id = 1")
    assert ids(path, "perf_series") == [4]


def test_series_of_many_services_at_once(path: str, clock: FakeClock) -> None:
    many = 2 * CHUNKS[0] + 3
    report(path, clock, "a")
    new = [(1, f"label {number}", "", 0) for number in range(many)]
    found = in_transaction(path, archive.add_series, new)
    in_transaction(path, archive.use_series, found, 86400)
    assert rows(path, "select distinct used_at from perf_series") == [(86400,)]


KINDS_AND_TABLES = [
    (kind, table) for kind in (STATE_BUCKETS, PERF_BUCKETS) for table in (kind.hours, kind.days)
]


@pytest.mark.parametrize("kind, table", KINDS_AND_TABLES)
def test_buckets_are_written_over(path: str, kind: Buckets, table: str) -> None:
    first = {(3600, id_): (id_, 2, 3, 4) for id_ in range(1, 700)}
    in_transaction(path, archive.save_buckets, kind, table, first)
    in_transaction(path, archive.save_buckets, kind, table, {(3600, 5): (9, 9, 9, 9)})
    in_transaction(path, archive.save_buckets, kind, table, {(7200, 5): (8, 8, 8, 8)})
    found = in_transaction(
        path, archive.buckets, kind, table, [(7200, 5), (3600, 5), (3600, 699), (7200, 6)]
    )
    assert {key: tuple(sums) for key, sums in found.items()} == {
        (3600, 5): (9, 9, 9, 9),
        (3600, 699): (699, 2, 3, 4),
        (7200, 5): (8, 8, 8, 8),
    }
    assert rows(path, f"select count(*) from {table}") == [(700,)]


def test_the_hours_of_a_day(path: str) -> None:
    hours = {(at, id_): (at, id_, 0, 0) for at in (0, 3600, 7200) for id_ in (1, 2, 3)}
    del hours[3600, 1]
    in_transaction(path, archive.save_buckets, STATE_BUCKETS, "state_hours", hours)
    found = in_transaction(path, archive.hours_of_day, STATE_BUCKETS, (0, 3600), 0, 2)
    assert [(id_, tuple(sums)) for id_, sums in found] == [
        (1, (0, 1, 0, 0)),
        (2, (0, 2, 0, 0)),
        (2, (3600, 2, 0, 0)),
        (3, (3600, 3, 0, 0)),
    ]
    found = in_transaction(path, archive.hours_of_day, STATE_BUCKETS, (0, 3600), 2, 9)
    assert [id_ for id_, _ in found] == [3, 3]
    for from_at, first in ((0, 0), (1, 3600), (3600, 3600), (7201, None)):
        assert in_transaction(path, archive.first_start, "state_hours", from_at) == first


@pytest.mark.parametrize("kind, table", KINDS_AND_TABLES)
def test_old_buckets(path: str, kind: Buckets, table: str) -> None:
    assert in_transaction(path, archive.old_buckets, kind, table, 1e9, 2) is None
    sums = {(at, id_): (1, 1, 1, 1) for at in (3600, 7200) for id_ in (4, 5, 6)}
    in_transaction(path, archive.save_buckets, kind, table, sums)
    assert in_transaction(path, archive.old_buckets, kind, table, 3600, 2) is None
    assert in_transaction(path, archive.old_buckets, kind, table, 3601, 2) == (3600, 4, 5)
    assert in_transaction(path, archive.prune_buckets, kind, table, 3600, 4, 5) == 2
    assert in_transaction(path, archive.old_buckets, kind, table, 3601, 2) == (3600, 6, 6)
    assert rows(path, f"select starts_at, {kind.id_column} from {table}") == [
        (3600, 6), (7200, 4), (7200, 5), (7200, 6),
    ]  # fmt: skip


def test_states_that_services_point_at_stay(path: str, clock: FakeClock) -> None:
    for _ in range(3):
        report(path, clock, "a", "b")
    assert ids(path, "states") == [1, 2, 3, 4, 5, 6]
    # A backlog came after the present state, and the chain begins with it.
    change(path, "update latest set state_id = 3 where service_id = 1")
    assert rows(
        path,
        "select state_id, last_state_id from services join latest on service_id = id",
    ) == [(3, 5), (6, 6)]
    assert in_transaction(path, archive.prune_states, 1, 6) == 2
    assert ids(path, "states") == [1, 3, 5, 6]
    change(path, "delete from services where id = 2")
    assert in_transaction(path, archive.prune_states, 0, 6) == 2
    assert ids(path, "states") == [3, 5]
    change(path, "update latest set state_id = null, last_state_id = null")
    assert in_transaction(path, archive.prune_states, 0, 4) == 1
    assert ids(path, "states") == [5]


def test_old_alerts(path: str, clock: FakeClock) -> None:
    for state in (State.FAIL, State.OK, State.FAIL, State.OK):
        report(path, clock, "a", state=state)
        clock.advance(100)
    change(path, "update outbox set status = 'sent' where alert_id <> 2")
    assert ids(path, "alerts") == [1, 2, 3, 4]
    old = in_transaction(path, archive.old_alerts, WALL_AT + 300, 9)
    assert old == [1, 3]  # 2 is still to be sent, 4 is not older
    assert in_transaction(path, archive.old_alerts, WALL_AT + 300, 1) == [1]
    in_transaction(path, archive.prune_alerts, old)
    assert ids(path, "alerts") == [2, 4]
    assert rows(path, "select alert_id from outbox order by id") == [(2,), (4,)]


def test_an_old_alert_of_a_problem_that_stands_is_kept(path: str, clock: FakeClock) -> None:
    report(path, clock, "a", state=State.FAIL)
    change(path, "update outbox set status = 'sent'")
    assert in_transaction(path, archive.old_alerts, WALL_AT + 300, 9) == []
    report(path, clock, "a", state=State.OK)
    change(path, "update outbox set status = 'sent'")
    assert in_transaction(path, archive.old_alerts, WALL_AT + 300, 9) == [1, 2]


def test_old_spools(path: str, clock: FakeClock) -> None:
    report(path, clock, "a")
    for name, used_at in (("x", 10), ("y", 20), ("z", 30)):
        sql = "insert into spools (server_id, spool, seqs, used_at) values (1, ?, '1-5', ?)"
        change(path, sql, name, used_at)
    keys = in_transaction(path, archive.old_spools, 30, 9)
    assert sorted(keys) == [(1, "x"), (1, "y")]
    assert len(in_transaction(path, archive.old_spools, 30, 1)) == 1
    # One of them is used meanwhile.
    change(path, "update spools set used_at = 40 where spool = 'x'")
    assert in_transaction(path, archive.prune_spools, 30, keys) == 1
    assert rows(path, "select spool from spools order by spool") == [("x",), ("z",)]
