from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support_daemon import (
    STEADY_AT,
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    in_transaction,
    record,
    rows,
)

from overc.daemon.recording import Submission
from overc.daemon.services import BATCHES_DISTRUSTED, ServiceCache
from overc.daemon.store import alerts, records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import Stale
from overc.model import AlertReport, ServiceReport, State

READS = ("find_services", "find_services_by_id")


class SharedTransaction(Transaction):
    """Of a database that other processes write to as well."""

    sole_writer = False


@contextmanager
def a_transaction(
    path: str, kind: type[Transaction] = Transaction, *, fails: bool = False
) -> Iterator[Transaction]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin immediate")
    yield kind(connection.cursor())
    if fails:
        connection.rollback()
    else:
        connection.commit()
    connection.close()


def use(
    path: str, cache: ServiceCache, *, kind: type[Transaction] = Transaction, fails: bool = False
) -> int:
    """Give disk another period and one more state, as a batch does; return its former period."""
    with a_transaction(path, kind, fails=fails) as tx:
        cache.begin(tx)
        disk = cache.find_names(tx, 1, ["disk"])["disk"]
        before = disk.status.period_s or 0
        disk.status = disk.status._replace(period_s=before + 1)
        [disk.state_id] = records.add_states(tx, [(disk.id, None, 5.0, 5.0, State.OK, "")])
        records.save_services(tx, [disk.row()])
        cache.end(tx)
    return before


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = a_database(tmp_path)
    in_transaction(path, records.add_server, "web1", "key", "ip", 1.0)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read from the database, for each time."""
    done: list[str] = []

    def counted(name: str) -> None:
        real = getattr(records, name)

        def call(tx: Transaction, *args: object) -> object:
            found = real(tx, *args)
            if args[-1]:
                done.append(name)
            return found

        monkeypatch.setattr(records, name, call)

    for name in READS:
        counted(name)
    return done


def test_a_service_is_read_once(path: str, reads: list[str]) -> None:
    cache = ServiceCache()
    assert [use(path, cache) for _ in range(3)] == [0, 1, 2]
    assert reads == ["find_services"]


def test_a_transaction_that_was_rolled_back_is_forgotten(path: str, reads: list[str]) -> None:
    cache = ServiceCache()
    assert use(path, cache) == 0
    assert use(path, cache, fails=True) == 1
    # In memory it is 2 by now.
    assert use(path, cache) == 1
    assert use(path, cache) == 2
    assert reads == ["find_services"] * 2


def test_a_service_that_was_created_in_vain_is_created_again(path: str) -> None:
    cache = ServiceCache()
    assert use(path, cache, fails=True) == 0
    assert use(path, cache) == 0
    assert rows(
        path,
        "select name, period_s, state_id from services join latest on service_id = id",
    ) == [("disk", 1, 1)]


def test_a_transaction_that_ended_halfway_is_forgotten(path: str) -> None:
    cache = ServiceCache()
    use(path, cache)
    with a_transaction(path, fails=True) as tx:
        cache.begin(tx)
        disk = cache.find_names(tx, 1, ["disk"])["disk"]
        disk.status = disk.status._replace(period_s=77)
    assert use(path, cache) == 1


def test_another_process_that_writes_to_the_same_file(path: str) -> None:
    ours, theirs = ServiceCache(), ServiceCache()
    assert [use(path, cache) for cache in (ours, theirs, theirs, ours, theirs)] == [0, 1, 2, 3, 4]


def test_by_id_it_is_the_same_service(path: str, reads: list[str]) -> None:
    cache = ServiceCache()
    use(path, cache)
    with a_transaction(path) as tx:
        cache.begin(tx)
        [disk] = cache.find_ids(tx, [1, 99])
        assert cache.find_names(tx, 1, ["disk"])["disk"] is disk
        cache.end(tx)
    # Only of the one that is not known anything is read.
    assert reads == ["find_services", "find_services_by_id"]


def test_the_same_name_on_two_servers(path: str) -> None:
    in_transaction(path, records.add_server, "web2", "key", "ip", 1.0)
    cache = ServiceCache()
    with a_transaction(path) as tx:
        cache.begin(tx)
        one = cache.find_names(tx, 1, ["disk", "cpu"])
        two = cache.find_names(tx, 2, ["disk"])
        cache.end(tx)
    assert sorted(one) == ["cpu", "disk"]
    assert sorted(two) == ["disk"]
    assert one["disk"] is not two["disk"]


class Node:
    """One of several processes that write to a database."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder()

    def say(self, *states: ServiceReport) -> int:
        """Store a report at the first try, or raise Stale; return how many alerts it raised."""
        self.clock.advance(1)
        submissions = [Submission(a_report(*states), "key")]
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            connection.execute("begin immediate")
            tx = SharedTransaction(connection.cursor())
            alerts = self.recorder.record(tx, submissions, self.clock.times()).alerts
            connection.commit()
        finally:
            connection.close()
        return alerts

    def mark_late(self) -> int:
        self.clock.advance(3600)
        with a_transaction(self.path, SharedTransaction) as tx:
            return self.recorder.mark_late(tx, [1], self.clock.times())


@pytest.fixture
def ours(path: str) -> Node:
    return Node(path)


@pytest.fixture
def theirs(path: str) -> Node:
    return Node(path)


CHAIN = "select id, previous_id, state from states order by id"


def test_a_node_that_is_not_disturbed_reads_each_service_once(ours: Node, reads: list[str]) -> None:
    for _ in range(3):
        ours.say(a_state("disk"), a_state("cpu"))
    ours.say(a_state("disk", State.FAIL))
    assert reads == ["find_services"]


@pytest.mark.parametrize("state", [State.OK, State.FAIL])
def test_a_state_that_another_node_stored(ours: Node, theirs: Node, state: State) -> None:
    ours.say(a_state())
    theirs.say(a_state())
    before = rows(ours.path, CHAIN)
    with pytest.raises(Stale):
        ours.say(a_state(state=state))
    assert rows(ours.path, CHAIN) == before
    ours.say(a_state(state=state))
    assert rows(ours.path, CHAIN) == [(1, None, "OK"), (2, 1, "OK"), (3, 2, state.value)]
    assert rows(
        ours.path,
        "select state_id, last_state_id from services join latest on service_id = id",
    ) == [(3, 3)]


@pytest.mark.parametrize("state", [State.OK, State.FAIL])
def test_a_service_that_another_node_found_late(ours: Node, theirs: Node, state: State) -> None:
    ours.say(a_state())
    assert theirs.mark_late() == 1
    with pytest.raises(Stale):
        ours.say(a_state(state=state))
    assert ours.say(a_state(state=state)) == 1 + (state is State.FAIL)
    assert rows(ours.path, "select timed_out, state from services") == [(0, state.value)]


def test_a_service_that_another_node_deleted(ours: Node, theirs: Node) -> None:
    ours.say(a_state())
    in_transaction(ours.path, theirs.recorder.delete_service, 1)
    with pytest.raises(Stale):
        ours.say(a_state())
    ours.say(a_state())
    assert rows(ours.path, "select id, name from services") == [(2, "disk")]


def test_a_service_that_reported_to_another_node_is_not_late(ours: Node, theirs: Node) -> None:
    ours.say(a_state(period_s=60))
    theirs.say(a_state(period_s=7200))
    assert ours.mark_late() == 0


def test_after_a_disturbance_nothing_is_kept_for_a_while(
    ours: Node, theirs: Node, reads: list[str]
) -> None:
    ours.say(a_state())
    theirs.say(a_state())
    with pytest.raises(Stale):
        ours.say(a_state())
    reads.clear()
    for _ in range(BATCHES_DISTRUSTED + 5):
        ours.say(a_state())
    assert reads == ["find_services"] * (BATCHES_DISTRUSTED + 1)


class Book:
    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder()

    def say(self, state: State = State.OK, name: str = "disk") -> int:
        return record(self.path, self.recorder, self.clock, a_report(a_state(name, state))).alerts


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(a_database(tmp_path))


@pytest.mark.parametrize("delete", ["delete_server", "delete_service"])
def test_what_was_deleted_is_unknown(book: Book, delete: str) -> None:
    book.say(State.FAIL)
    assert in_transaction(book.path, getattr(book.recorder, delete), 1) in {"web1", "disk"}
    assert book.say(State.FAIL) == 1
    assert rows(book.path, "select id, state from services") == [(2, "FAIL")]


def test_a_delete_that_is_rolled_back(book: Book) -> None:
    book.say(State.FAIL)

    def delete(tx: Transaction) -> None:
        book.recorder.delete_service(tx, 1)
        raise KeyError("disk full")

    with pytest.raises(KeyError):
        in_transaction(book.path, delete)
    assert book.say(State.FAIL) == 0
    assert rows(book.path, "select id, state from services") == [(1, "FAIL")]


def test_a_batch_that_fails_at_its_end_leaves_nothing_in_memory(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.say(State.OK)
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "add_alerts", None)
        with pytest.raises(TypeError):
            book.say(State.FAIL)
    assert book.say(State.FAIL) == 1
    assert rows(
        book.path,
        "select state, state_id, last_state_id from services join latest on service_id = id",
    ) == [("FAIL", 2, 2)]


def test_a_commit_that_fails_leaves_nothing_in_memory(book: Book) -> None:
    def spoil(tx: Transaction) -> None:
        record_in(tx)
        raise KeyError("disk full")

    def record_in(tx: Transaction) -> None:
        submission = Submission(a_report(a_state("disk", State.FAIL)), "key")
        assert book.recorder.record(tx, [submission], book.clock.times()).alerts == 1

    book.say(State.OK)
    for _ in range(2):
        with pytest.raises(KeyError):
            in_transaction(book.path, spoil)
    assert book.say(State.FAIL) == 1


def test_an_alert_that_created_a_service(book: Book) -> None:
    asked = a_report(alerts=[AlertReport("x", "job")])
    for _ in range(2):
        record(book.path, book.recorder, book.clock, asked)
    assert book.say(State.OK, "job") == 0
    assert rows(book.path, "select name from services") == [("job",)]


def test_periods_that_were_granted_are_not_taken_back(book: Book) -> None:
    """A state from a backlog saves its service, with the deadline that is in memory."""
    book.say()
    book.clock.advance(1000)
    in_transaction(book.path, book.recorder.grant_periods, book.clock.times())
    old = a_state("disk", seen_at=book.clock.wall() - 5000)
    record(book.path, book.recorder, book.clock, a_report(old))
    assert rows(book.path, "select deadline_at from services join latest on service_id = id") == [
        (STEADY_AT + 1060,)
    ]
    assert in_transaction(book.path, book.recorder.mark_late, [1], book.clock.times()) == 0
