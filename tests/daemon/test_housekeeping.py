from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    WALL_AT,
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
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from overc.daemon import archiving
from overc.daemon.archiving import BUCKETS_MAX, DAY_ROWS_MAX, SERIES_MAX, SIZE_MAX, STATES_MAX
from overc.daemon.calendars import Calendar
from overc.daemon.expectations import Expectations, Rule
from overc.daemon.housekeeping import (
    BATCH_TIMEOUT_S,
    PAUSE_S,
    RESCAN_S,
    REST,
    ROUND_S,
    ROWS_MAX,
    Housekeeping,
    Retention,
)
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.rollups import DAY_S, HOUR_S, Durations
from overc.daemon.store.archive import PERF_BUCKETS, Progress
from overc.daemon.store.errors import StorageError
from overc.model import ServiceReport, State

FOLD = "store roll-ups"
TODAY_AT = WALL_AT // DAY_S * DAY_S


class House:
    """Housekeeping whose reactor and clock go together."""

    def __init__(self, path: str, *rules: Rule) -> None:
        self.path = path
        self.store = SteppedStore(path)
        self.reactor = Clock()
        self.clock = FakeClock()
        self.recorder = a_recorder("mail", rules=rules)
        self.keep = Retention(30 * DAY_S, 365 * DAY_S, 5 * 365 * DAY_S)
        self.service = Housekeeping(
            self.reactor, self.store, self.clock, self.keep, Expectations(rules)
        )

    def start(self) -> None:
        self.service.startService()

    def pass_time(self, span_s: float) -> None:
        """Let time pass, in steps as long as the shortest pause."""
        for _ in range(round(span_s / PAUSE_S)):
            self.clock.advance(PAUSE_S)
            self.reactor.advance(PAUSE_S)

    def settle(self) -> None:
        """Let everything be done that there is to do: what is new is taken up in the next round."""
        self.pass_time(3 * ROUND_S)

    def jump(self, span_s: float) -> None:
        """Let time pass in which this process did not run."""
        self.clock.advance(span_s)

    def report(self, *states: ServiceReport) -> None:
        record(self.path, self.recorder, self.clock, a_report(*states))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return rows(self.path, sql)

    def count(self, table: str) -> int:
        [(found,)] = self.rows(f"select count(*) from {table}")
        return int(found)

    def fill(self, at_and_states: Sequence[tuple[float, int, str, str]]) -> None:
        """Put rows into the history: seconds since now, service, state, info."""
        for after_s, service_id, state, info in at_and_states:
            at = self.clock.wall_at + after_s
            change(
                self.path,
                "insert into states (service_id, received_at, seen_at, state, info)"
                " values (?, ?, ?, ?, ?)",
                service_id, at, at, state, info,
            )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(a_database(tmp_path))


def test_states_are_rolled_up(house: House) -> None:
    house.start()
    for load in (1, 2, 6):
        house.report(a_state("load", info=f"OK | load={load};5;9"), a_state("disk"))
        house.jump(20)
    house.settle()
    assert house.rows("select * from state_hours") == [
        (WALL_AT, 1, 40_000, 0, 0, 0),
        (WALL_AT, 2, 40_000, 0, 0, 0),
    ]
    assert house.rows("select service_id, label, uom from perf_series") == [(1, "load", "")]
    assert house.rows("select * from perf_hours") == [(WALL_AT, 1, 3, 9.0, 1.0, 6.0)]
    assert house.count("state_days") == house.count("perf_days") == 0
    house.settle()
    assert house.rows("select n from perf_hours") == [(3,)]
    # It goes on with what comes later.
    house.report(a_state("load", State.FAIL, info="FAIL | load=11"), a_state("disk"))
    house.settle()
    assert house.rows("select n, total from perf_hours") == [(4, 20.0)]
    assert house.rows("select ok_ms > 40000 from state_hours") == [(1,), (1,)]


def test_a_state_counts_until_the_time_of_its_calendar(tmp_path: Path) -> None:
    calendar = Calendar.parse("0 14 * * *", timezone.utc)
    rule = Rule("at two", EVERYTHING, Patterns("backup"), {"calendar": calendar})
    house = House(a_database(tmp_path), rule)
    house.start()
    for _ in range(2):
        house.report(a_state("backup", period_s=60), a_state("disk", period_s=60))
        house.jump(5 * HOUR_S)
    house.settle()
    sums = "select service_id, sum(ok_ms) / 1000 from state_hours group by service_id"
    assert house.rows(sums) == [(1, 4 * HOUR_S), (2, 60)]


def test_what_is_new_is_left_to_settle(house: House) -> None:
    house.start()
    house.report(a_state("a", info="| a=1"))
    house.pass_time(ROUND_S + 1)
    assert house.count("perf_hours") == 0
    house.pass_time(ROUND_S)
    assert house.count("perf_hours") == 1


def test_a_day_is_summed_up_when_it_is_over(house: House) -> None:
    house.start()
    for _ in range(8):
        house.report(a_state("a", info="| a=2", period_s=HOUR_S))
        house.jump(HOUR_S / 2)
    house.settle()
    assert house.count("state_days") == house.count("perf_days") == 0
    house.jump(DAY_S)
    house.settle()
    [day] = house.rows("select * from state_days")
    assert day == (TODAY_AT, 1, 7 * HOUR_S * 500, 0, 0, 0)
    assert house.rows("select * from perf_days") == [(TODAY_AT, 1, 8, 16.0, 2.0, 2.0)]
    assert house.count("state_hours") > 1


def test_what_comes_after_its_day_was_summed_up_is_added(house: House) -> None:
    house.report(a_state("a", period_s=600))
    house.start()
    house.settle()
    house.jump(2 * DAY_S)
    house.report(a_state("a", info="| a=1", period_s=600))
    house.settle()
    assert house.rows("select * from state_days") == [(TODAY_AT, 1, 600_000, 0, 0, 0)]
    # A backlog: half an hour later on the first day, of a service that knew no such label then.
    into_day_s = WALL_AT + 1800 - house.clock.wall_at
    house.fill([(into_day_s, 1, "FAIL", "| a=5 b=7"), (into_day_s + 60, 1, "OK", "| b=8")])
    house.settle()
    assert house.rows("select * from state_hours where fail_ms > 0") == [
        (WALL_AT, 1, 600_000 + 600_000, 0, 60_000, 0)
    ]
    assert house.rows(
        "select * from state_days where starts_at < ?".replace("?", str(WALL_AT))
    ) == [(TODAY_AT, 1, 1_200_000, 0, 60_000, 0)]
    assert house.rows(
        "select perf_days.starts_at, label, n, total from perf_days"
        " join perf_series on perf_series.id = series_id order by label"
    ) == [(TODAY_AT, "a", 1, 5.0), (TODAY_AT, "b", 2, 15.0)]


def test_days_of_many_services(house: House) -> None:
    names = [f"service {number}" for number in range(DAY_ROWS_MAX + 50)]
    house.report(*(a_state(name) for name in names))
    house.jump(60)
    house.report(*(a_state(name) for name in names))
    house.start()
    house.jump(3 * DAY_S)
    house.settle()
    assert house.rows("select starts_at, sum(ok_ms), count(*) from state_days") == [
        (TODAY_AT, 60_000 * len(names), len(names))
    ]


def test_it_catches_up_in_small_batches(house: House) -> None:
    house.report(a_state("a"))
    house.jump(-40 * DAY_S)
    house.fill([(60.0 * number, 1, "OK", "| a=1") for number in range(5 * STATES_MAX)])
    house.jump(40 * DAY_S)
    house.start()
    house.settle()
    assert house.store.calls.count(FOLD) == 6
    assert house.rows("select sum(n) from perf_hours") == [(5 * STATES_MAX,)]
    assert house.rows("select sum(n) from perf_days") == [(5 * STATES_MAX,)]
    # Older than 30 days, except the one that the service points at.
    assert house.rows("select id from states") == [(1,)]


def test_large_infos_make_batches_smaller(house: House) -> None:
    house.report(a_state("a"))
    house.fill([(-40 * DAY_S, 1, "OK", "x" * 60_000) for _ in range(3 * SIZE_MAX // 60_000)])
    house.start()
    house.settle()
    assert house.store.calls.count(FOLD) == 4
    assert house.store.calls.count("delete old states") == 4
    assert house.count("states") == 1


def test_many_hours_make_batches_smaller(house: House) -> None:
    house.report(a_state("a", period_s=31 * DAY_S))
    states_of_days = [(number * 20 * DAY_S, 1, "OK", "") for number in range(1, 6)]
    house.fill(states_of_days)
    house.start()
    house.settle()
    assert BUCKETS_MAX < 5 * 20 * 24
    assert house.store.calls.count(FOLD) == 2
    assert house.rows("select sum(ok_ms) from state_hours") == [(5 * 20 * DAY_S * 1000,)]


def test_states_that_are_not_rolled_up_are_not_deleted(house: House) -> None:
    house.fill([(-40 * DAY_S, 1, "OK", ""), (-40 * DAY_S, 1, "OK", "")])
    house.start()
    house.pass_time(ROUND_S - 1)
    assert house.count("states") == 2
    house.settle()
    assert house.count("states") == 0


def test_young_states_stay(house: House) -> None:
    day_s = [-31 * DAY_S, -31 * DAY_S, -29 * DAY_S, -1]
    house.fill([(after_s, 1, "OK", "") for after_s in day_s])
    house.start()
    house.settle()
    assert house.rows("select id from states") == [(3,), (4,)]


def test_what_was_kept_once_is_looked_at_again(house: House) -> None:
    house.report(a_state("a"))
    house.jump(40 * DAY_S)
    house.start()
    house.settle()
    house.report(a_state("a"))
    house.pass_time(3 * ROUND_S)
    assert house.rows("select id from states") == [(1,), (2,)]
    house.clock.advance(RESCAN_S)
    house.reactor.advance(RESCAN_S)
    house.settle()
    assert house.rows("select id from states") == [(2,)]


def test_other_things_that_are_old(house: House) -> None:
    for state in (State.FAIL, State.OK) * ROWS_MAX:
        house.report(a_state("a", state, info="| a=1"))
    change(house.path, "update outbox set status = 'sent'")
    for used_at in (WALL_AT - 31 * DAY_S, WALL_AT):
        sql = "insert into spools (server_id, spool, seqs, used_at) values (1, ?, '1', ?)"
        change(house.path, sql, str(used_at), used_at)
    house.start()
    house.settle()
    assert house.count("alerts") == 2 * ROWS_MAX
    assert house.rows("select used_at from spools") == [(WALL_AT,)]
    house.jump(366 * DAY_S)
    house.settle()
    assert house.count("alerts") == house.count("outbox") == house.count("spools") == 0
    assert house.count("perf_series") == house.count("perf_hours") == 1
    assert house.count("state_days") <= 1
    house.jump(4 * 366 * DAY_S)
    house.settle()
    for table in ("perf_series", "perf_hours", "perf_days", "state_hours", "state_days"):
        assert house.count(table) == 0


def test_a_label_stays_for_as_long_as_it_is_used(house: House) -> None:
    house.start()
    for _ in range(3):
        house.report(a_state("a", info="| a=1"))
        house.settle()
        house.jump(4 * 365 * DAY_S)
    # As one that was not used for 5 years would not.
    assert house.rows("select id, label from perf_series") == [(1, "a")]
    [(used_at,)] = house.rows("select used_at from perf_series")
    assert used_at == TODAY_AT + 8 * 365 * DAY_S


def test_the_labels_of_a_service_are_bounded(house: House) -> None:
    house.report(a_state("a"), a_state("b", info="| pid=1"))
    infos = [f"| pid{number}=1 pid{number + 1000}=2" for number in range(SERIES_MAX)]
    house.fill([(0, 1, "OK", info) for info in infos])
    house.start()
    house.settle()
    assert house.rows("select service_id, count(*) from perf_series group by service_id") == [
        (1, SERIES_MAX), (2, 1),
    ]  # fmt: skip
    assert house.rows("select sum(n) from perf_hours") == [(SERIES_MAX + 1,)]


def test_a_service_that_is_deleted_meanwhile(house: House) -> None:
    house.report(a_state("a", info="| a=1"), a_state("b", info="| b=1"))

    def delete(description: str) -> None:
        if description == FOLD:
            change(house.path, "delete from services where id = 1")

    house.store.fault = delete
    house.start()
    house.settle()
    assert house.rows("select service_id, label from perf_series") == [(2, "b")]
    assert house.rows("select service_id from timelines") == [(2,)]


@pytest.mark.parametrize("description", [FOLD, "store a day"])
def test_two_nodes_do_not_count_twice(house: House, description: str) -> None:
    house.report(a_state("a", info="| a=1"))
    house.jump(2 * DAY_S)
    other = House(house.path)
    other.clock = other.service._clock = house.clock
    other.start()

    def be_second(now: str) -> None:
        if now == description:
            house.store.fault = lambda _: None
            other.reactor.pump([PAUSE_S] * round(3 * ROUND_S / PAUSE_S))

    house.store.fault = be_second
    with our_log() as log:
        house.start()
        house.settle()
    assert log == []
    assert other.count("perf_hours") == 1
    assert house.rows("select n from perf_hours") == [(1,)]
    assert house.rows("select n from perf_days") == [(1,)]


def test_what_another_node_has_done_is_not_done_again(house: House) -> None:
    path = house.path
    house.report(a_state("a", info="| a=1"))
    batch = in_transaction(path, archiving.find_states, Expectations(), 99)
    assert batch is not None
    assert in_transaction(path, archiving.store_states, batch)
    change(path, "delete from perf_hours")
    assert not in_transaction(path, archiving.store_states, batch)
    assert house.count("perf_hours") == 0
    day = in_transaction(path, archiving.find_day, PERF_BUCKETS, WALL_AT)
    assert day is not None
    assert in_transaction(path, archiving.store_day, PERF_BUCKETS, day)
    assert not in_transaction(path, archiving.store_day, PERF_BUCKETS, day)


def test_which_part_of_a_day_is_late() -> None:
    starts = (TODAY_AT - 1, TODAY_AT, TODAY_AT + DAY_S - 1, TODAY_AT + DAY_S)
    sums = {(int(at), id_): Durations(1) for at in starts for id_ in (4, 5, 6)}
    late = archiving._late(Progress(int(TODAY_AT), 5), sums)
    assert late == {
        (TODAY_AT - DAY_S, 4): Durations(1),
        (TODAY_AT - DAY_S, 5): Durations(1),
        (TODAY_AT - DAY_S, 6): Durations(1),
        (TODAY_AT, 4): Durations(2),
        (TODAY_AT, 5): Durations(2),
    }


def test_the_writer_is_left_alone_for_longer_than_it_was_held(house: House) -> None:
    house.report(a_state("a"))
    house.fill([(0, 1, "OK", "") for _ in range(3 * STATES_MAX)])
    house.start()
    house.pass_time(ROUND_S - 1)
    writes: list[tuple[str, float]] = []

    def take_long(description: str) -> Deferred[None] | None:
        if description != FOLD:
            return None
        writes.append(("begin", self_s()))
        done: Deferred[None] = Deferred()

        def end() -> None:
            writes.append(("end", self_s()))
            done.callback(None)

        house.reactor.callLater(2, end)
        return done

    def self_s() -> float:
        return round(house.reactor.seconds(), 3)

    house.store.fault = take_long
    house.pass_time(2 * ROUND_S)
    ends = [at for what, at in writes if what == "end"]
    begins = [at for what, at in writes if what == "begin"]
    assert len(begins) == 4
    for end, begin in zip(ends, begins[1:], strict=False):
        assert begin - end >= 2 * REST


def test_a_failure_is_logged_once_and_the_next_round_runs(house: House) -> None:
    def fail(description: str) -> None:
        raise StorageError(f"Unable to {description}: disk full")

    house.store.fault = fail
    house.report(a_state("a", info="| a=1"))
    with our_log() as log:
        house.start()
        house.pass_time(5 * ROUND_S)
        assert log == ["critical: housekeeping failed, its next round follows"]
        house.store.fault = lambda _: None
        house.settle()
        assert log[1:] == ["info: housekeeping works again"]
    assert house.count("perf_hours") == 1


def test_a_batch_that_hangs_is_given_up(house: House) -> None:
    house.store.fault = lambda _: Deferred()
    house.start()
    with our_log() as log:
        house.pass_time(BATCH_TIMEOUT_S + ROUND_S)
        assert log == ["critical: housekeeping failed, its next round follows"]
    house.store.fault = lambda _: None
    house.report(a_state("a", info="| a=1"))
    house.settle()
    assert house.count("perf_hours") == 1


def test_stopping_waits_for_the_batch_and_begins_no_other(house: House) -> None:
    house.report(a_state("a", info="| a=1"))
    house.start()
    house.pass_time(ROUND_S - 1)
    house.store.held = True
    house.pass_time(2)
    assert len(house.store.waiting) == 1
    stopped = ensureDeferred(house.service.stopService())
    assert not stopped.called
    before = len(house.store.calls)
    house.store.step()
    result_of(stopped)
    assert house.count("perf_hours") == 1
    assert len(house.store.calls) == before + 1
    assert house.reactor.getDelayedCalls() == []


def test_stopping_ends_a_pause(house: House) -> None:
    house.start()
    assert house.reactor.getDelayedCalls() != []
    result_of(house.service.stopService())
    assert house.reactor.getDelayedCalls() == []
    # It can be started again.
    house.report(a_state("a", info="| a=1"))
    house.start()
    house.settle()
    assert house.count("perf_hours") == 1


@pytest.mark.parametrize(
    "sizes, last",
    [
        ([], 0),
        ([(5, 10)], 5),
        ([(5, 99)], 5),
        ([(5, 10), (6, 10), (7, 1)], 6),
        ([(5, 10), (6, 11), (7, 1)], 5),
    ],
)
def test_how_much_is_read(sizes: list[tuple[int, int]], last: int) -> None:
    assert archiving._within(20, sizes) == last
