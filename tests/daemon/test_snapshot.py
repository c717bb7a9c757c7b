from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
    record,
    result_of,
)
from twisted.internet.defer import Deferred, ensureDeferred

from overc.daemon.snapshot import ALERTS_S, COMPARE_S, Selection, Snapshot
from overc.daemon.store import alerts, records, status
from overc.daemon.store.errors import StorageError
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, AlertReport, Channel, Report, State

OWN = RaisedAlert(Alert(Channel.ALERT_PLUGIN, "failed", "own", State.FAIL), None, None, None)


class Album:
    """A snapshot over a database that is written to behind it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.store = SteppedStore(path)
        self.recorder = a_recorder()
        self.snapshot = Snapshot(self.store, self.clock)

    def record(self, *reports: Report) -> None:
        record(self.path, self.recorder, self.clock, *reports)

    def mark_late(self, *ids: int) -> None:
        in_transaction(self.path, self.recorder.mark_late, ids, self.clock.times())

    def raise_own(self) -> None:
        in_transaction(self.path, alerts.add_alerts, [OWN], self.clock.wall_at)

    def refresh(self) -> None:
        result_of(self.snapshot.refresh())

    def changed(self, version: int) -> list[int]:
        """Return the ids of what changed since then, after a refresh."""
        self.refresh()
        return [entry.row.id for entry in self.snapshot.changed_since(version)]


def shown(snapshot: Snapshot) -> Any:
    """Return all that a snapshot tells, but for its versions."""
    servers = snapshot.servers(Selection())
    assert servers is not None
    tree = [
        (server.row, server.n_alerts, [(one.row, one.n_alerts) for one in services])
        for server, services in servers
    ]
    counts = [snapshot.n_alerts(Selection(server_id=one.row.id)) for one, _ in servers]
    return tree, snapshot.n_alerts(Selection()), counts


def fresh(album: Album) -> Any:
    snapshot = Snapshot(SteppedStore(album.path), album.clock)
    result_of(snapshot.refresh())
    return shown(snapshot)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    """web1 (1) with disk (1) and cpu (2), web2 (2) with disk (3), all well, and looked at."""
    album = Album(a_database(tmp_path))
    album.record(a_report(a_state("disk"), a_state("cpu")))
    album.record(a_report(a_state("disk"), name="web2"))
    album.refresh()
    return album


def test_an_empty_database(tmp_path: Path) -> None:
    album = Album(a_database(tmp_path))
    album.refresh()
    assert shown(album.snapshot) == ([], 0, [])
    assert album.snapshot.servers(Selection(server_id=1)) is None
    assert album.snapshot.servers(Selection(service_id=1)) is None


def test_what_is_selected(album: Album) -> None:
    def names(selected: Selection) -> list[tuple[str, list[str]]]:
        servers = album.snapshot.servers(selected)
        assert servers is not None
        return [(s.row.name, [one.row.name for one in services]) for s, services in servers]

    assert names(Selection()) == [("web1", ["cpu", "disk"]), ("web2", ["disk"])]
    assert names(Selection(server_id=1)) == [("web1", ["cpu", "disk"])]
    assert names(Selection(service_id=3)) == [("web2", ["disk"])]
    assert album.snapshot.servers(Selection(server_id=9)) is None
    assert album.snapshot.servers(Selection(service_id=9)) is None


def test_only_what_changed_is_told(album: Album) -> None:
    before = album.snapshot.version
    assert album.changed(before) == []
    album.record(a_report(a_state("cpu", State.FAIL)))
    assert album.changed(before) == [2]
    middle = album.snapshot.version
    album.record(a_report(a_state("disk"), name="web2"), a_report(a_state("disk")))
    assert set(album.changed(middle)) == {1, 3}
    assert set(album.changed(before)) == {1, 2, 3}
    album.record(a_report(a_state("cpu")))
    # The last change comes first, and each service once.
    assert album.changed(before)[0] == 2
    assert len(album.changed(before)) == 3
    assert album.changed(album.snapshot.version) == []
    assert album.snapshot.complete_since <= before


def test_what_was_shown_of_a_service_is_kept_until_it_changes(album: Album) -> None:
    [(_, [cpu, disk]), _] = album.snapshot.servers(Selection()) or []
    shown_before = b"shown"
    cpu.rendered = disk.rendered = shown_before
    album.record(a_report(a_state("cpu")))
    album.refresh()
    kept = [entry.rendered for entry in (cpu, disk)]
    assert kept == [None, shown_before]


@pytest.mark.parametrize(
    "happens",
    [
        lambda album: album.record(a_report(alerts=[AlertReport("x", "disk")])),
        lambda album: (album.clock.advance(60), album.mark_late(1)),
    ],
)
def test_a_service_that_has_only_a_new_alert(
    album: Album, happens: Callable[[Album], object]
) -> None:
    before = album.snapshot.version
    happens(album)
    assert album.changed(before) == [1]
    assert shown(album.snapshot) == fresh(album)


def test_a_service_that_is_new(album: Album) -> None:
    before = album.snapshot.version
    album.record(a_report(a_state("new"), name="web9"))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    # One more than was known means that everything is read, and who asks is told so.
    assert album.snapshot.complete_since > before


def test_a_server_without_services(album: Album) -> None:
    album.record(a_report(name="bare", alerts=[AlertReport("x")]))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    [bare, *_] = album.snapshot.servers(Selection()) or []
    assert (bare[0].row.name, bare[0].n_alerts, bare[1]) == ("bare", 1, [])


def test_the_address_of_a_server(album: Album) -> None:
    album.record(a_report(ip="203.0.113.5"))
    album.clock.advance(COMPARE_S)
    album.refresh()
    [(web1, _), _] = album.snapshot.servers(Selection()) or []
    assert web1.row.ip == "203.0.113.5"


def test_alerts_count_for_a_day(album: Album) -> None:
    album.record(a_report(a_state("cpu", State.FAIL)))
    album.clock.advance(100)
    album.record(a_report(alerts=[AlertReport("of the server"), AlertReport("x", "cpu")]))
    album.raise_own()
    album.refresh()

    def counts() -> list[int]:
        selections = (Selection(), Selection(server_id=1), Selection(service_id=2), Selection(2))
        return [album.snapshot.n_alerts(one) for one in selections]

    assert counts() == [4, 3, 2, 0]
    album.clock.advance(ALERTS_S - 100)
    assert album.changed(album.snapshot.version) == []
    assert counts() == [4, 3, 2, 0]
    album.clock.advance(1)
    before = album.snapshot.version
    assert album.changed(before) == [2]
    assert counts() == [3, 2, 1, 0]
    album.clock.advance(100)
    album.refresh()
    assert counts() == [0, 0, 0, 0]
    assert shown(album.snapshot) == fresh(album)


def test_a_state_of_a_backlog_changes_nothing(album: Album) -> None:
    before = album.snapshot.version
    old = a_state("disk", State.FAIL, seen_at=WALL_AT - 500)
    album.record(a_report(old))
    assert album.changed(before) == []
    album.record(a_report(a_state("disk", State.WARN)))
    assert album.changed(before) == [1]
    assert shown(album.snapshot) == fresh(album)


@pytest.mark.parametrize(
    "remove",
    [
        lambda tx: status.delete_server(tx, 2),
        lambda tx: status.delete_service(tx, 1),
    ],
)
def test_what_another_node_removed(album: Album, remove: Callable[[Any], object]) -> None:
    before = album.snapshot.version
    in_transaction(album.path, remove)
    album.clock.advance(COMPARE_S)
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    assert album.snapshot.complete_since > before


def test_between_two_comparisons_only_what_came_is_read(album: Album) -> None:
    album.record(a_report(a_state("cpu"), a_state("new")))
    album.record(a_report(name="pinged"))
    album.record(a_report(name="asked", alerts=[AlertReport("x", "unheard")]))
    album.record(a_report(a_state("disk"), name="more"))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    in_transaction(album.path, status.delete_service, 1)
    album.refresh()
    assert shown(album.snapshot) != fresh(album)
    album.clock.advance(COMPARE_S)
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


def test_a_server_that_was_deleted_and_registered_anew(album: Album) -> None:
    in_transaction(album.path, album.recorder.delete_server, 2)
    album.record(a_report(a_state("other"), name="web2"))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


def test_what_has_to_be_read_anew(album: Album) -> None:
    change(album.path, "update services set title = 'Disk'")
    album.refresh()
    assert shown(album.snapshot) != fresh(album)
    before = album.snapshot.version
    album.snapshot.forget()
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    assert album.snapshot.complete_since > before


def test_what_is_removed_during_a_read_is_read_anew_after_it(album: Album) -> None:
    """One service went and another one came, so their number tells nothing."""
    reading: Deferred[None] = Deferred()
    stopped = SlowStore(album.path, reading)
    album.snapshot._store = stopped
    album.record(a_report(a_state("cpu")))
    refreshed = ensureDeferred(album.snapshot.refresh())
    in_transaction(album.path, album.recorder.delete_service, 1)
    album.record(a_report(a_state("new")))
    album.snapshot.forget()
    reading.callback(None)
    result_of(refreshed)
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


class SlowStore(SteppedStore):
    """Its first answer is on its way until `reading` is fired."""

    def __init__(self, path: str, reading: Deferred[None]) -> None:
        super().__init__(path)
        self.reading: Deferred[None] | None = reading

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().read(*args, **kwargs)
        if self.reading is not None:
            reading, self.reading = self.reading, None
            await reading
        return found


def test_many_changes_at_once(album: Album) -> None:
    album.record(*(a_report(a_state("cpu", info=str(number))) for number in range(1100)))
    before = album.snapshot.version
    album.refresh()
    assert shown(album.snapshot) == fresh(album)
    assert album.snapshot.complete_since > before


def test_calls_share_a_read(album: Album) -> None:
    turns: list[Deferred[None]] = []

    def wait(description: str) -> Deferred[None]:
        turns.append(Deferred())
        return turns[-1]

    album.store.fault = wait
    first, *others = [ensureDeferred(album.snapshot.refresh()) for _ in range(5)]
    assert len(turns) == 1
    # What is committed from now on may be missing in the read that is under way.
    album.record(a_report(a_state("cpu", State.FAIL)))
    turns[0].callback(None)
    assert first.called
    assert not any(one.called for one in others)
    assert len(turns) == 2
    turns[1].callback(None)
    for one in others:
        result_of(one)
    assert len(turns) == 2
    assert shown(album.snapshot) == fresh(album)


def test_an_error_reaches_all_who_wait_and_the_next_call_works(album: Album) -> None:
    turn: Deferred[None] = Deferred()
    album.store.fault = lambda description: turn
    first = ensureDeferred(album.snapshot.refresh())
    others = [ensureDeferred(album.snapshot.refresh()) for _ in range(3)]
    album.store.fault = failing
    turn.errback(StorageError("gone"))
    for one in (first, *others):
        with pytest.raises(StorageError, match=r"^gone$"):
            result_of(one)
    album.store.fault = lambda description: None
    album.record(a_report(a_state("cpu", State.FAIL)))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


def failing(description: str) -> None:
    raise StorageError("gone")


def test_who_goes_away_does_not_disturb_the_others(album: Album) -> None:
    turn: Deferred[None] = Deferred()
    album.store.fault = lambda description: turn
    gone, stays = (ensureDeferred(album.snapshot.refresh()) for _ in range(2))
    for one in (gone, stays):
        one.addErrback(lambda failure: None)
    gone.cancel()
    stays.cancel()
    album.store.fault = lambda description: None
    turn.callback(None)
    album.record(a_report(a_state("cpu", State.FAIL)))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


def test_nothing_shows_that_is_not_committed(album: Album) -> None:
    before = shown(album.snapshot)

    def uncommitted(tx: Any) -> None:
        [state] = records.add_states(tx, [(1, 1, WALL_AT, WALL_AT, State.FAIL, "x")])
        tx.execute("update services set state = 'FAIL' where id = 1")
        tx.execute("update latest set state_id = ? where service_id = 1", state)
        album.refresh()
        assert shown(album.snapshot) == before
        raise KeyError("rolled back")

    with pytest.raises(KeyError):
        in_transaction(album.path, uncommitted)
    # The next state has the same id, and it does show.
    album.record(a_report(a_state("disk", State.WARN)))
    album.refresh()
    assert shown(album.snapshot) == fresh(album)


def test_a_later_process_has_later_versions(album: Album) -> None:
    """A page that stayed open while the server started anew is told that it knows nothing."""
    for _ in range(50):
        album.record(a_report(a_state("cpu")))
        album.refresh()
    album.clock.advance(1)
    later = Snapshot(album.store, album.clock)
    result_of(later.refresh())
    assert album.snapshot.version < later.complete_since <= later.version


STATES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(list(State)), st.booleans()), max_size=4
)
STEP = st.one_of(
    st.tuples(st.just("report"), st.sampled_from(["web1", "web2", "web3"]), STATES),
    st.tuples(st.just("alert"), st.sampled_from(["web1", "web2"]), st.sampled_from(["", "a", "z"])),
    st.tuples(st.just("late"), st.integers(1, 9), st.none()),
    st.tuples(st.just("own"), st.none(), st.none()),
    st.tuples(st.just("pass"), st.sampled_from([1, 3600, ALERTS_S - 1, ALERTS_S]), st.none()),
    st.tuples(st.just("delete service"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("delete server"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("look"), st.none(), st.none()),
)


@settings(deadline=None, max_examples=80)
@given(st.lists(STEP, max_size=20))
def test_step_by_step_it_shows_what_is_read_at_once(steps: list[tuple[str, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        album = Album(a_database(Path(folder)))
        seen: dict[int, tuple[Any, int]] = {}
        since = 0
        for kind, what, more in [*steps, ("look", None, None)]:
            if kind == "report":
                said = [
                    a_state(name, state, seen_at=1.0 if is_old else None)
                    for name, state, is_old in more
                ]
                album.record(a_report(*said, name=what))
            elif kind == "alert":
                album.record(a_report(name=what, alerts=[AlertReport("x", more or None)]))
            elif kind == "late":
                album.clock.advance(60)
                album.mark_late(what)
            elif kind == "own":
                album.raise_own()
            elif kind == "pass":
                album.clock.advance(what)
            elif kind.startswith("delete"):
                delete = getattr(album.recorder, kind.replace(" ", "_"))
                in_transaction(album.path, delete, what)
                if more:
                    album.snapshot.forget()
                else:
                    album.clock.advance(COMPARE_S)
            else:
                album.refresh()
                assert shown(album.snapshot) == fresh(album)
                # Who follows the changes knows as much.
                if since < album.snapshot.complete_since:
                    seen.clear()
                    since = 0
                for one in album.snapshot.changed_since(since):
                    seen[one.row.id] = (one.row, one.n_alerts)
                since = album.snapshot.version
                tree, _, _ = shown(album.snapshot)
                now = {row.id: (row, n) for _, _, services in tree for row, n in services}
                assert seen == now
