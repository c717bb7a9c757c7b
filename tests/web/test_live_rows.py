"""The board behind the live lists, over a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    record,
    result_of,
)
from twisted.internet.defer import Deferred, ensureDeferred

from overc.daemon import snapshot as snapshot_module
from overc.daemon.alerting import attending
from overc.daemon.snapshot import ALERTS_S, COMPARE_S, Snapshot
from overc.daemon.store import silences
from overc.model import AlertReport, Report, State
from overc.web.glance import Glance
from overc.web.insight import Insight
from overc.web.live_rows import GLANCE_S, Board

MANY = 10**6
NOBODY = {"FAIL": 0, "late": 0, "WARN": 0, "UNK": 0, "OK": 0, "none": 0}


class Wall:
    """A board of a real database, and somebody who follows it by its deltas."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.store = SteppedStore(path)
        self.recorder = a_recorder()
        self.snapshot = Snapshot(self.store, self.clock)
        self.board = Board(self.snapshot, Insight(self.store, self.clock, ()), self.clock)

    def record(self, *reports: Report) -> None:
        record(self.path, self.recorder, self.clock, *reports)

    def mark_late(self, *ids: int) -> None:
        in_transaction(self.path, self.recorder.mark_late, ids, self.clock.times())

    def acknowledge(self, service_id: int) -> None:
        in_transaction(
            self.path, attending.acknowledge, service_id, "ann", "on it", self.clock.wall()
        )
        self.board.stale()

    def silence(self, servers: str, services: str, for_s: float = 3600) -> int:
        now_at = self.clock.wall()
        id_ = in_transaction(
            self.path,
            silences.add,
            servers,
            services,
            "bob",
            "work",
            now_at,
            now_at + for_s,
            now_at,
        )
        self.board.stale()
        return id_

    def refresh(self) -> None:
        result_of(self.board.refresh())

    def page(self, after: int = 0, limit: int = MANY) -> Any:
        self.refresh()
        return json.loads(self.board.page(after, limit, self.clock.wall()))

    def rows(self) -> dict[int, Any]:
        return {row["id"]: row for row in self.page()["services"]}

    def delta(self, since: int) -> Any:
        self.refresh()
        assert self.board.knows(since)
        found = self.board.delta(since, MANY)
        assert found is not None
        return json.loads(found)

    def followed(self, page: Any) -> Any:
        """Return what a page that was loaded has become by the delta since then."""
        delta = self.delta(page["version"])
        kinds = {}
        for kind in ("servers", "services"):
            items = {one["id"]: one for one in page[kind]}
            items |= {one["id"]: one for one in delta.get(kind, ())}
            for id_ in delta.get("gone", {}).get(kind, ()):
                items.pop(id_, None)
            kinds[kind] = items
        return kinds

    def straight(self) -> Any:
        """Return what one that has just begun to look sees."""
        board = Board(
            Snapshot(self.store, self.clock), Insight(self.store, self.clock, ()), self.clock
        )
        result_of(board.refresh())
        page = json.loads(board.page(0, MANY, self.clock.wall()))
        return {kind: {one["id"]: one for one in page[kind]} for kind in ("servers", "services")}


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    """web1 (1) with disk (1), which warns, and cpu (2); web2 (2) with disk (3)."""
    wall = Wall(a_database(tmp_path))
    wall.record(a_report(a_state("disk", State.WARN, "90 %\nmore"), a_state("cpu")))
    wall.record(a_report(a_state("disk"), name="web2"))
    return wall


def test_nothing_at_all(tmp_path: Path) -> None:
    wall = Wall(a_database(tmp_path))
    page = wall.page()
    empty = {"at": WALL_AT, "servers": [], "services": [], "next": None}
    assert page == {"version": wall.snapshot.version, **empty}
    assert wall.board.counts() == NOBODY
    assert wall.board.attention == 0


def test_a_row_says_what_a_list_shows(wall: Wall) -> None:
    page = wall.page()
    assert page["servers"] == [
        {"id": 1, "name": "web1", "label": "web1", "alerts": 0},
        {"id": 2, "name": "web2", "label": "web2", "alerts": 0},
    ]
    assert page["services"][0] == {
        "id": 1,
        "server": 1,
        "name": "disk",
        "label": "disk",
        "condition": "WARN",
        "state": "WARN",
        "info": "90 % …",
        "since": WALL_AT,
        "seen": WALL_AT,
        "deadline": WALL_AT + 60,
        "period": 60,
        "alerts": 1,
    }


@pytest.mark.parametrize(
    "name, title, shown",
    [("disk", "The disk", "The disk"), ("disk", " ", "disk"), (" \t", "", "(blank)")],
)
def test_a_label_can_be_hit(tmp_path: Path, name: str, title: str, shown: str) -> None:
    wall = Wall(a_database(tmp_path))
    wall.record(a_report(a_state(name)))
    change(wall.path, "update services set title = ?", title)
    assert wall.rows()[1]["label"] == shown


def test_what_is_not_known_is_left_out(wall: Wall) -> None:
    wall.record(a_report(alerts=[AlertReport("x", "silent")], name="web3"))
    silent = wall.rows()[4]
    assert silent == {
        "id": 4, "server": 3, "name": "silent", "label": "silent", "condition": "none", "alerts": 1,
    }  # fmt: skip


def test_a_late_service_has_no_deadline(wall: Wall) -> None:
    wall.clock.advance(61)
    wall.mark_late(2)
    row = wall.rows()[2]
    assert (row["condition"], row["state"]) == ("late", "OK")
    assert "deadline" not in row


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pages_are_the_whole_in_pieces(wall: Wall, limit: int) -> None:
    found, after, servers = [], 0, []
    while after is not None:
        page = wall.page(after, limit)
        assert len(page["services"]) <= limit
        found += [row["id"] for row in page["services"]]
        servers.append([one["id"] for one in page["servers"]])
        after = page["next"]
    assert found == [1, 2, 3]
    assert len(servers) == -(-3 // limit)
    assert servers == [[1, 2], *([] for _ in servers[1:])]


def test_a_page_has_its_bounds(wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overc.web.live_rows.PAGE_MAX", 2)
    assert len(wall.page()["services"]) == 2


def test_counts_follow(wall: Wall) -> None:
    wall.refresh()
    assert wall.board.counts() == {**NOBODY, "WARN": 1, "OK": 2}
    assert wall.board.attention == 1
    wall.record(a_report(a_state("cpu", State.FAIL), a_state("new", State.UNK)))
    wall.refresh()
    assert wall.board.counts() == {**NOBODY, "WARN": 1, "FAIL": 1, "UNK": 1, "OK": 1}
    assert wall.board.attention == 3
    wall.acknowledge(1)
    wall.refresh()
    assert wall.board.attention == 2
    wall.silence("web1", "cpu")
    wall.refresh()
    assert wall.board.attention == 1
    in_transaction(wall.path, wall.recorder.delete_server, 1)
    wall.snapshot.forget()
    wall.refresh()
    assert wall.board.counts() == {**NOBODY, "OK": 1}
    assert wall.board.attention == 0


def test_who_takes_care_shows_as_a_change(wall: Wall) -> None:
    before = wall.page()["version"]
    wall.acknowledge(1)
    [row] = wall.delta(before)["services"]
    assert (row["id"], row["ack"]) == (1, {"author": "ann", "reason": "on it", "at": WALL_AT})
    before = wall.snapshot.version
    wall.silence("web*", "disk")
    rows = wall.delta(before)["services"]
    assert {row["id"]: row["silence"] for row in rows} == {
        1: {"until": WALL_AT + 3600, "reason": "work"},
        3: {"until": WALL_AT + 3600, "reason": "work"},
    }
    before = wall.snapshot.version
    wall.clock.advance(3601)
    rows = wall.delta(before)["services"]
    assert {row["id"]: "silence" in row for row in rows} == {1: False, 3: False}


def test_who_was_told_shows_as_a_change(wall: Wall) -> None:
    wall.recorder = a_recorder("mail", "chat")
    wall.record(a_report(a_state("new", State.FAIL), name="web9"))
    assert "told" not in wall.rows()[4]
    before = wall.snapshot.version
    change(wall.path, "update standing set told_at = ? where plugin = 'mail'", WALL_AT)
    wall.board.stale()
    assert [(row["id"], row["told"]) for row in wall.delta(before)["services"]] == [(4, ["mail"])]
    # What was told of a problem that is over is no news.
    wall.record(a_report(a_state("new", State.OK), name="web9"))
    assert "told" not in wall.rows()[4]


def test_the_longest_silence_shows(wall: Wall) -> None:
    wall.silence("web1", "*", 60)
    wall.silence("web1", "cpu", 7200)
    wall.silence("*", "*", 600)
    until = {id_: row["silence"]["until"] - WALL_AT for id_, row in wall.rows().items()}
    assert until == {1: 600, 2: 7200, 3: 600}


def test_a_new_service_is_silenced_by_what_is_known(wall: Wall) -> None:
    wall.silence("web9", "*")
    wall.refresh()
    wall.record(a_report(a_state("new", State.FAIL), name="web9"))
    assert "silence" in wall.rows()[4]
    assert wall.board.attention == 1


def test_acknowledgements_are_read_once_in_a_while(wall: Wall) -> None:
    def reads() -> int:
        return wall.store.calls.count("read what happens to alerts")

    wall.refresh()
    wall.refresh()
    assert reads() == 1
    wall.clock.advance(GLANCE_S)
    wall.refresh()
    assert reads() == 2
    wall.board.stale()
    wall.refresh()
    assert reads() == 3
    result_of(wall.board.refresh(0))
    assert reads() == 4


def test_names_are_compared_with_patterns_only_when_something_came(
    wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall.silence("web*", "disk")
    wall.refresh()
    version = wall.snapshot.version
    compared: list[int] = []

    def silenced() -> Iterator[Any]:
        compared.append(1)
        return iter(())

    monkeypatch.setattr(wall.board, "_silenced", silenced)
    wall.clock.advance(GLANCE_S)
    wall.record(a_report(a_state("cpu")))
    wall.refresh()
    assert compared == []
    assert len(wall.delta(version)["services"]) == 1


def test_removals_are_changes(wall: Wall) -> None:
    page = wall.page()
    in_transaction(wall.path, wall.recorder.delete_service, 2)
    in_transaction(wall.path, wall.recorder.delete_server, 2)
    wall.record(a_report(a_state("new"), name="web9"))
    wall.clock.advance(COMPARE_S)
    delta = wall.delta(page["version"])
    assert {kind: sorted(ids) for kind, ids in delta["gone"].items()} == {
        "services": [2, 3], "servers": [2],
    }  # fmt: skip
    assert [row["id"] for row in delta["services"]] == [4]
    assert [one["name"] for one in delta["servers"]] == ["web9"]
    assert wall.followed(page) == wall.straight()


@pytest.mark.parametrize(
    "sql", ["update services set title = 'T' where id = 2", "update servers set title = 'T'"]
)
def test_a_new_title_is_a_change_and_nothing_else(wall: Wall, sql: str) -> None:
    page = wall.page()
    change(wall.path, sql)
    wall.snapshot.forget()
    delta = wall.delta(page["version"])
    assert wall.followed(page) == wall.straight()
    if "services" in sql:
        assert [row["id"] for row in delta["services"]] == [2]
        assert set(delta) == {"services"}
    else:
        assert set(delta) == {"servers"}


def test_to_look_again_finds_the_new_name_of_a_server(wall: Wall) -> None:
    page = wall.page()
    change(wall.path, "update servers set title = 'T' where id = 1")
    assert wall.delta(page["version"]) == {}
    wall.snapshot.look_again()
    assert [one["label"] for one in wall.delta(page["version"])["servers"]] == ["T"]


def test_alerts_of_servers_and_old_ones(wall: Wall) -> None:
    page = wall.page()
    wall.record(a_report(alerts=[AlertReport("x"), AlertReport("y", "cpu")]))
    delta = wall.delta(page["version"])
    assert [(one["id"], one["alerts"]) for one in delta["servers"]] == [(1, 1)]
    assert [(row["id"], row["alerts"]) for row in delta["services"]] == [(2, 1)]
    wall.clock.advance(ALERTS_S + 1)
    assert wall.followed(page) == wall.straight()


def test_when_all_is_read_anew_only_what_differs_has_changed(wall: Wall) -> None:
    page = wall.page()
    wall.snapshot.forget()
    assert wall.delta(page["version"]) == {}
    wall.record(a_report(a_state("cpu", State.FAIL)))
    wall.snapshot.forget()
    assert [row["id"] for row in wall.delta(page["version"])["services"]] == [2]


def test_versions_that_are_not_known(wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    page = wall.page()
    version = page["version"]
    assert wall.board.knows(version)
    assert not wall.board.knows(version + 1)
    assert not wall.board.knows(0)
    # So many removals that the oldest are not remembered.
    monkeypatch.setattr(snapshot_module, "GONE_MAX", 1)
    for id_ in (2, 3):
        in_transaction(wall.path, wall.recorder.delete_service, id_)
    wall.snapshot.forget()
    wall.refresh()
    assert not wall.board.knows(version)
    assert wall.board.knows(wall.snapshot.version)
    assert wall.board.counts() == {**NOBODY, "WARN": 1}


def test_too_much_at_once_is_no_delta(wall: Wall) -> None:
    version = wall.page()["version"]
    wall.record(a_report(a_state("disk"), a_state("cpu")))
    wall.refresh()
    assert wall.board.delta(version, 1) is None
    assert wall.board.delta(version, 2) is not None


def test_alerts_that_came_before_all_is_read_anew_are_a_change(wall: Wall) -> None:
    page = wall.page()
    wall.record(a_report(alerts=[AlertReport("x", "cpu"), AlertReport("y")]))
    wall.snapshot.forget()
    delta = wall.delta(page["version"])
    assert [(row["id"], row["alerts"]) for row in delta["services"]] == [(2, 1)]
    assert [(one["id"], one["alerts"]) for one in delta["servers"]] == [(1, 1)]


def test_what_was_asked_for_before_somebody_took_care_is_not_believed(wall: Wall) -> None:
    wall.refresh()
    wall.board.stale()
    turn: Deferred[None] = Deferred()
    insight = wall.board._insight

    class SlowInsight:
        """Its first answer is on its way until the test says so."""

        async def glance(self) -> Glance:
            found = await insight.glance()
            if not turn.called:
                await turn
            return found

    wall.board._insight = SlowInsight()  # type: ignore[assignment]
    first = ensureDeferred(wall.board.refresh())
    wall.acknowledge(1)
    turn.callback(None)
    result_of(first)
    assert wall.board.attention == 1
    wall.refresh()
    assert wall.board.attention == 0


def test_one_look_at_who_takes_care_does_not_wait_for_the_next(wall: Wall) -> None:
    wall.refresh()
    insight = wall.board._insight
    answers: list[Deferred[None]] = []

    class SlowInsight:
        async def glance(self) -> Glance:
            found = await insight.glance()
            answers.append(Deferred())
            await answers[-1]
            return found

    wall.board._insight = SlowInsight()  # type: ignore[assignment]
    wall.acknowledge(1)
    first, second = [ensureDeferred(wall.board.refresh(0)) for _ in range(2)]
    answers[0].callback(None)
    result_of(first)
    assert wall.board.attention == 0
    answers[1].callback(None)
    result_of(second)
