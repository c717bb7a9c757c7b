"""The event stream over a real database, without a socket, with clocks that are set by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support_daemon import (
    FakeClock,
    a_database,
    a_recorder,
    a_report,
    a_state,
    change,
    in_transaction,
    our_log,
    record,
    result_of,
)
from twisted.internet.defer import Deferred
from web.doubles import VIEWERS_MAX, Fixture

from overc.daemon.alerting import attending
from overc.daemon.store import silences
from overc.daemon.store.errors import StorageError
from overc.model import AlertReport, Report, State
from overc.web import live as live_module
from overc.web.live import HEARTBEAT_S, LEAST_S, SLOW_S, TICK_S
from overc.web.live_rows import Board

LIVE = "/ui/api/live"


class Event(NamedTuple):
    kind: str
    id: int
    data: Any


class Stream:
    """An open page."""

    def __init__(self, desk: Desk, query: str = "", *headers: str, method: str = "GET") -> None:
        self.wire = desk.web.wire()
        lines = [f"{method} {LIVE}{query} HTTP/1.1", "Host: x", *headers, "", ""]
        self.wire.send("\r\n".join(lines).encode())
        head, _, _ = self.wire.value().partition(b"\r\n\r\n")
        status, *named = head.decode().split("\r\n")
        self.code = int(status.split(" ")[1])
        self.headers = {one.partition(": ")[0].lower(): one.partition(": ")[2] for one in named}
        self._read = 0

    @property
    def text(self) -> str:
        """All that came in the chunks of the body."""
        _, _, data = self.wire.value().partition(b"\r\n\r\n")
        found = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            found += data[: int(size, 16)]
            data = data[int(size, 16) + 2 :]
        return found.decode()

    @property
    def ended(self) -> bool:
        return bool(self.wire.value().endswith(b"\r\n0\r\n\r\n"))

    def new(self, *kinds: str) -> list[Event]:
        """Return the events that came since the last call, those of `kinds` if any are given."""
        blocks = [block for block in self.text.split("\n\n") if block.startswith("event:")]
        blocks, self._read = blocks[self._read :], len(blocks)
        found = []
        for block in blocks:
            named = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append(Event(named["event"], int(named["id"]), json.loads(named["data"])))
        return [one for one in found if one.kind in kinds or not kinds]

    def kinds(self) -> list[str]:
        return [one.kind for one in self.new()]

    @property
    def producer(self) -> Any:
        return self.wire.producer


class Desk:
    """web1 (1) with disk (1), which warns, and cpu (2); web2 (2) with disk (3)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.recorder = a_recorder("mail")
        self.web = Fixture(path)
        self.clock: FakeClock = self.web.clock
        self.record(a_report(a_state("disk", State.WARN, "90 %"), a_state("cpu")))
        self.record(a_report(a_state("disk"), name="web2"))

    def record(self, *reports: Report) -> None:
        """Store reports; their commit is not told."""
        record(self.path, self.recorder, self.clock, *reports)

    def report(self, *reports: Report) -> None:
        self.record(*reports)
        self.web.live.nudge()

    def acknowledge(self, service_id: int) -> None:
        now_at = self.clock.wall()
        in_transaction(self.path, attending.acknowledge, service_id, "ann", "mine", now_at)
        self.web.live.care_changed()

    def silence(self, servers: str, services: str, in_s: float = 0.0) -> None:
        at = self.clock.wall() + in_s
        in_transaction(self.path, silences.add, servers, services, "bob", "work", at, at + 3600, at)
        self.web.live.care_changed()

    def try_to_send(self, service_id: int) -> None:
        """Have an attempt to send the last alert of a service."""
        change(
            self.path,
            "insert into attempts (outbox_id, tried_at, took_s, delivered, words)"
            " select max(id), 1, 1, 0, 'no' from outbox where service_id = ?",
            service_id,
        )

    def stream(self, query: str = "", *headers: str, method: str = "GET") -> Stream:
        return Stream(self, query, *headers, method=method)

    def opened(self, query: str = "", *headers: str) -> Stream:
        """Open a stream, and let it hear how things stand."""
        stream = self.stream(query, *headers)
        self.wait(TICK_S)
        stream.new()
        return stream

    def wait(self, span_s: float) -> None:
        """Let time pass, in small steps as it does."""
        left_s = span_s
        while left_s > 0:
            step_s = min(left_s, LEAST_S)
            self.clock.advance(step_s)
            self.web.reactor.advance(step_s)
            left_s -= step_s

    def reads(self) -> int:
        return len(self.web.store.calls)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(a_database(tmp_path))


def counts(**found: int) -> dict[str, int]:
    return {"FAIL": 0, "late": 0, "WARN": 0, "UNK": 0, "OK": 0, "none": 0, **found}


def test_a_stream_begins_with_how_things_stand(desk: Desk) -> None:
    stream = desk.stream()
    assert stream.code == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in stream.headers
    assert stream.text.startswith("retry: 2000\n\n")
    [now] = stream.new()
    assert now.kind == "now"
    assert now.data == {
        "at": desk.clock.wall(), "counts": counts(WARN=1, OK=2), "attention": 1, "banners": [],
    }  # fmt: skip


def test_a_commit_shows_soon(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")
    desk.report(a_report(a_state("cpu", State.FAIL, "hot")))
    desk.wait(LEAST_S)
    rows, now = stream.new()
    assert rows.kind == "rows"
    [row] = rows.data["services"]
    assert (row["id"], row["condition"], row["info"]) == (2, "FAIL", "hot")
    assert rows.data.keys() == {"services"}
    assert now.data["counts"] == counts(WARN=1, FAIL=1, OK=1)
    assert now.data["attention"] == 2
    assert rows.id == now.id


def test_what_nobody_tells_shows_with_the_next_tick(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")
    desk.record(a_report(a_state("cpu", State.FAIL)))
    desk.wait(TICK_S)
    assert stream.kinds() == ["rows", "now"]


def test_rounds_keep_their_distance(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")
    desk.wait(TICK_S)
    before = desk.web.store.calls.count("read the status")
    for number in range(100):
        desk.report(a_report(a_state("cpu", info=str(number))))
    assert desk.web.store.calls.count("read the status") <= before + 1
    desk.wait(2 * LEAST_S)
    assert desk.web.store.calls.count("read the status") <= before + 3
    assert stream.new("rows")[-1].data["services"][0]["info"] == "99"


def test_nothing_is_done_while_nobody_looks(desk: Desk) -> None:
    desk.report(a_report(a_state("cpu", State.FAIL)))
    desk.wait(60)
    assert desk.reads() == 0
    stream = desk.opened()
    assert desk.reads() > 0
    stream.wire.hang_up()
    desk.wait(TICK_S)
    before = desk.reads()
    desk.report(a_report(a_state("cpu", State.OK)))
    desk.wait(60)
    assert desk.reads() == before
    assert desk.web.reactor.getDelayedCalls() == []


def test_all_viewers_of_a_version_get_the_same_bytes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    delta = Board.delta

    def counted(board: Any, version: int, most: int) -> Any:
        made.append(version)
        return delta(board, version, most)

    streams = [desk.opened("?rows=yes") for _ in range(VIEWERS_MAX)]
    monkeypatch.setattr(Board, "delta", counted)
    desk.report(a_report(a_state("cpu", State.FAIL)))
    desk.wait(LEAST_S)
    assert len(made) == 1
    found = [stream.new() for stream in streams]
    assert found[0][0].kind == "rows"
    assert all(one == found[0] for one in found)


def test_a_viewer_hears_something_in_any_case(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")
    desk.wait(3 * (HEARTBEAT_S + TICK_S))
    beats = stream.new()
    assert {one.kind for one in beats} == {"now"}
    assert len(beats) == 3
    assert beats[0].data["at"] < beats[1].data["at"]


def test_how_things_stand_is_told_when_it_changes(desk: Desk) -> None:
    stream = desk.opened()
    desk.acknowledge(1)
    desk.wait(LEAST_S)
    [now] = stream.new()
    assert now.data["attention"] == 0
    desk.web.watch.lag = 10.0
    desk.wait(TICK_S)
    [now] = stream.new()
    [banner] = now.data["banners"]
    assert banner["kind"] == "lag"
    assert "The watchdog is 10 s behind." in banner["text"]
    desk.web.watch.lag = 0.0
    desk.wait(TICK_S)
    assert [one.data["banners"] for one in stream.new()] == [[]]


def test_who_was_away_gets_what_he_missed(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")
    desk.report(a_report(a_state("cpu", State.FAIL)))
    desk.wait(LEAST_S)
    seen = stream.new()[-1].id
    stream.wire.hang_up()
    desk.report(a_report(a_state("disk", State.UNK), name="web2"))
    in_transaction(desk.path, desk.recorder.delete_service, 1)
    desk.wait(100)
    again = desk.stream("?rows=yes&since=1", f"Last-Event-ID: {seen}")
    rows, now = again.new()
    assert [row["id"] for row in rows.data["services"]] == [3]
    assert rows.data["gone"] == {"services": [1]}
    assert now.data["counts"] == counts(FAIL=1, UNK=1)


def test_a_page_that_was_loaded_before_gets_what_came_since(desk: Desk) -> None:
    version = desk.web.ask("GET", "/ui/api/rows").json["version"]
    desk.record(a_report(a_state("cpu", State.FAIL)))
    stream = desk.stream(f"?rows=yes&since={version}")
    assert [row["id"] for row in stream.new("rows")[0].data["services"]] == [2]


@pytest.mark.parametrize("since", [0, 1, 10**17])
def test_a_version_that_is_not_known(desk: Desk, since: int) -> None:
    for stream in (
        desk.stream(f"?rows=yes&since={since}"),
        desk.stream("?service=1", f"Last-Event-ID: {since}"),
    ):
        reset, now = stream.new()
        assert (reset.kind, reset.data) == ("reset", {})
        desk.report(a_report(a_state("disk", State.FAIL, str(since))))
        desk.wait(LEAST_S)
        # From there on it goes on.
        assert stream.new()[0].kind in ("rows", "changed")
        assert now.kind == "now"
        stream.wire.hang_up()


def test_a_last_event_that_is_none_of_ours(desk: Desk) -> None:
    assert desk.stream("?rows=yes", "Last-Event-ID: a7-\xe9").kinds() == ["reset", "now"]


def test_more_than_is_worth_telling(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "ROWS_MAX", 1)
    stream = desk.opened("?rows=yes")
    desk.report(a_report(a_state("disk"), a_state("cpu")))
    desk.wait(LEAST_S)
    assert stream.kinds() == ["reset", "now"]


SELECTIONS = ("service=1", "service=2", "server=1", "server=2", "topic=alerts", "topic=silences")


@pytest.mark.parametrize(
    "happens, told",
    [
        (lambda desk: desk.report(a_report(a_state("cpu"))), {"service=2", "server=1"}),
        (
            lambda desk: desk.report(a_report(a_state("disk", State.FAIL))),
            {"service=1", "server=1", "topic=alerts", "topic=silences"},
        ),
        (
            lambda desk: desk.report(a_report(name="web2", alerts=[AlertReport("x")])),
            {"server=2", "topic=alerts", "topic=silences"},
        ),
        (lambda desk: desk.try_to_send(1), {"service=1", "server=1", "topic=alerts"}),
        (lambda desk: desk.acknowledge(1), {"service=1", "server=1", "topic=silences"}),
        (
            lambda desk: desk.silence("web1", "cpu"),
            {"service=2", "server=1", "topic=silences"},
        ),
        (lambda desk: desk.silence("web1", "cpu", in_s=500), {"topic=silences"}),
        (
            lambda desk: in_transaction(desk.path, desk.recorder.delete_service, 2),
            {"service=2", "server=1"},
        ),
        (
            lambda desk: change(desk.path, "update servers set title = 'T' where id = 2"),
            {"server=2"},
        ),
        (lambda desk: None, set()),
    ],
)
def test_who_shows_something_is_told_that_it_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Desk], Any], told: set[str]
) -> None:
    monkeypatch.setattr(desk.web.live, "_viewers_max", len(SELECTIONS))
    streams = {one: desk.opened(f"?{one}") for one in SELECTIONS}
    desk.wait(2 * TICK_S)
    for stream in streams.values():
        stream.new()
    happens(desk)
    desk.wait(2 * TICK_S)
    found = {one: stream.new("changed") for one, stream in streams.items()}
    assert {one for one, events in found.items() if events} == told
    assert all(event.data == {} for events in found.values() for event in events)


def test_a_page_without_a_topic_asks_for_no_attempts(desk: Desk) -> None:
    desk.opened("?rows=yes")
    desk.wait(5)
    assert "look what became of alerts" not in desk.web.store.calls


def test_an_attempt_while_nobody_looked_is_told_to_who_comes_back(desk: Desk) -> None:
    stream = desk.opened("?service=1")
    desk.wait(TICK_S)
    seen = desk.web.ask("GET", "/ui/api/rows").json["version"]
    stream.wire.hang_up()
    desk.try_to_send(1)
    desk.wait(60)
    assert "changed" in desk.stream("?service=1", f"Last-Event-ID: {seen}").kinds()


def test_where_nobody_knows_what_became_of_alerts_anything_may_have_changed(desk: Desk) -> None:
    seen = desk.web.ask("GET", "/ui/api/rows").json["version"]
    assert desk.stream(f"?service=3&since={seen}").kinds() == ["changed", "now"]
    seen = desk.web.ask("GET", "/ui/api/rows").json["version"]
    stream = desk.stream(f"?service=3&since={seen}")
    desk.wait(LEAST_S)
    assert stream.kinds() == ["now"]


def test_a_viewer_that_does_not_read_is_passed_over_and_then_let_go(desk: Desk) -> None:
    slow, quick = desk.opened("?rows=yes"), desk.opened("?rows=yes")
    slow.producer.pauseProducing()
    for number in range(3):
        desk.report(a_report(a_state("cpu", info=str(number))))
        desk.wait(LEAST_S)
    assert slow.new() == []
    assert len(quick.new("rows")) == 3
    slow.producer.resumeProducing()
    desk.wait(TICK_S)
    # All that came meanwhile is one change.
    [rows] = slow.new("rows")
    assert [row["info"] for row in rows.data["services"]] == ["2"]
    slow.producer.pauseProducing()
    desk.wait(SLOW_S - TICK_S)
    assert not slow.wire.aborted
    desk.wait(2 * TICK_S)
    assert slow.wire.aborted
    assert not quick.wire.aborted


def test_there_is_an_end_to_viewers(desk: Desk) -> None:
    streams = [desk.opened() for _ in range(VIEWERS_MAX)]
    refused = desk.stream()
    assert refused.code == 503
    assert refused.headers["retry-after"] == "5"
    streams[0].wire.hang_up()
    assert desk.stream().code == 200


def test_before_the_start_and_after_the_end(desk: Desk) -> None:
    streams = [desk.opened("?rows=yes"), desk.opened()]
    streams[1].producer.pauseProducing()
    result_of(desk.web.live.stopService())
    assert streams[0].ended
    assert streams[0].wire.disconnecting
    # What waits for a client that does not read would wait for ever.
    assert streams[1].wire.aborted
    assert desk.web.reactor.getDelayedCalls() == []
    assert desk.stream().code == 503
    desk.web.live.startService()
    assert desk.stream().code == 200


def test_a_stop_waits_for_the_round_under_way(desk: Desk) -> None:
    turn: Deferred[None] = Deferred()
    desk.web.store.fault = lambda description: turn
    desk.stream()
    stopping = Deferred.fromCoroutine(desk.web.live.stopService())
    assert not stopping.called
    turn.callback(None)
    assert stopping.called


def test_a_database_that_is_away_is_told_and_comes_back(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")

    def away(description: str) -> None:
        raise StorageError("Unable to read the status: gone")

    desk.web.store.fault = away
    desk.wait(TICK_S)
    [now] = stream.new()
    [banner] = now.data["banners"]
    assert banner["kind"] == "database"
    assert banner["text"].startswith("Unable to read the status: gone.")
    desk.wait(HEARTBEAT_S + TICK_S)
    assert stream.kinds() == ["now"]
    desk.web.store.fault = lambda description: None
    desk.record(a_report(a_state("cpu", State.FAIL)))
    desk.wait(TICK_S)
    rows, now = stream.new()
    assert [row["id"] for row in rows.data["services"]] == [2]
    assert now.data["banners"] == []


def test_a_fault_of_ours_is_logged_and_does_not_end_it(desk: Desk) -> None:
    stream = desk.opened("?rows=yes")

    def broken(description: str) -> None:
        raise KeyError("broken")

    desk.web.store.fault = broken
    with our_log() as lines:
        desk.wait(TICK_S)
    assert any("open pages could not be told" in line for line in lines)
    desk.web.store.fault = lambda description: None
    desk.record(a_report(a_state("cpu", State.FAIL)))
    desk.wait(TICK_S)
    assert "rows" in stream.kinds()


def test_a_stream_is_not_cut_by_limits(desk: Desk) -> None:
    stream = desk.opened()
    desk.wait(200)
    assert not stream.wire.disconnecting
    assert not stream.ended
