from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from support_daemon import (
    FakeClock,
    SteppedStore,
    a_database,
    a_recorder,
    a_report,
    a_state,
    in_transaction,
    record,
    result_of,
)
from twisted.internet.defer import maybeDeferred

from overc.daemon.expectations import Expectations
from overc.daemon.snapshot import Snapshot
from overc.daemon.store.errors import StorageError
from overc.model import AlertReport, Report, State
from overc.web import dashboard as dashboard_module
from overc.web.about import About
from overc.web.access import Refusal
from overc.web.answers import Answer
from overc.web.dashboard import HOURS_MAX, Dashboard, Query
from overc.web.histories import Histories
from overc.web.insight import Insight
from overc.web.items import Items
from overc.web.live_rows import Board
from overc.web.pages import Pages

URL = "http://mon.example.com/"
Args = dict[bytes, list[bytes]]


def query(**args: str | list[str]) -> Query:
    lists = {name: [value] if isinstance(value, str) else value for name, value in args.items()}
    return Query({name.encode(): [one.encode() for one in of] for name, of in lists.items()}, URL)


@pytest.mark.parametrize(
    "args, hours",
    [
        ({}, 24),
        ({b"hours": [b"1"]}, 1),
        ({b"hours": [b"0.5"]}, 0.5),
        ({b"hours": [b"7", b"168"]}, 168),
        ({b"hours": [b" 3 "]}, 3),
        ({b"hours": [str(HOURS_MAX).encode()]}, HOURS_MAX),
    ],
)
def test_hours(args: Args, hours: float) -> None:
    assert Query(args, URL).hours() == hours


@pytest.mark.parametrize(
    "value, shown",
    [
        (b"", "''"),
        (b"0", "'0'"),
        (b"-1", "'-1'"),
        (b"day", "'day'"),
        (b"nan", "'nan'"),
        (b"inf", "'inf'"),
        (b"-inf", "'-inf'"),
        (b"1e9", "'1e9'"),
        (b"87841", "'87841'"),
        (b"0x10", "'0x10'"),
        (b"\xff", "'\N{REPLACEMENT CHARACTER}'"),
        (b"1\0", "'1\\x00'"),
        (b"9" * 5000, "'" + "9" * 39),
    ],
)
def test_no_hours(value: bytes, shown: str) -> None:
    with pytest.raises(Refusal) as raised:
        Query({b"hours": [value]}, URL).hours()
    assert raised.value.code == 400
    assert str(raised.value) == f"hours: expected a number from 1 to 87840, got {shown}"


@pytest.mark.parametrize(
    "args, groups",
    [
        ({}, False),
        ({b"groups": [b"yes"]}, True),
        ({b"groups": [b"no"]}, False),
        ({b"groups": [b"no", b"yes"]}, True),
    ],
)
def test_groups(args: Args, groups: bool) -> None:
    assert Query(args, URL).groups() is groups


@pytest.mark.parametrize("value", [b"", b"true", b"1", b"YES", b"\xff"])
@pytest.mark.parametrize("name, ask", [("groups", Query.groups), ("lost", Query.lost)])
def test_neither_yes_nor_no(name: str, ask: Callable[[Query], bool], value: bytes) -> None:
    with pytest.raises(Refusal, match=rf"^{name}: expected yes or no, got '") as raised:
        ask(Query({name.encode(): [value]}, URL))
    assert raised.value.code == 400


def test_expand() -> None:
    assert query().expand() == []
    assert query(expand=["1-5", "7-7"]).expand() == [(1, 5), (7, 7)]


@pytest.mark.parametrize("value", [b"", b"5", b"5-1", b"a-b", b"\xff", b"1-2-3", b"9" * 5000])
def test_no_expand(value: bytes) -> None:
    with pytest.raises(Refusal, match=r"^expand: ") as raised:
        Query({b"expand": [b"1-2", value]}, URL).expand()
    assert raised.value.code == 400


class Desk:
    """A dashboard over web1 (1) with disk (1) and cpu (2), and web2 (2) with disk (3)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder()
        self.store = SteppedStore(path)
        self.snapshot = Snapshot(self.store, self.clock)
        insight = Insight(self.store, self.clock, ())
        self.dashboard = Dashboard(
            self.store,
            self.snapshot,
            Histories(self.store, self.clock, Expectations()),
            self.clock,
            lambda: 1.5,
            Pages(),
            insight,
            Board(self.snapshot, insight, self.clock),
            Mock(spec=Items),
            Mock(spec=About),
        )
        self.record(a_report(a_state("disk", State.FAIL, "full"), a_state("cpu")))
        self.record(a_report(a_state("disk"), name="web2", alerts=[AlertReport("the roof")]))

    def record(self, report: Report) -> None:
        record(self.path, self.recorder, self.clock, report)

    def json(self, answering: Awaitable[Answer]) -> Any:
        answer = result_of(answering)
        assert (answer.code, answer.content_type) == (200, "application/json")
        return json.loads(answer.body)

    def page(self, answering: Awaitable[Answer]) -> str:
        answer = result_of(answering)
        assert (answer.code, answer.content_type) == (200, "text/html; charset=utf-8")
        return answer.body.decode()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(dashboard_module, "deferToThread", maybeDeferred)
    return Desk(a_database(tmp_path))


def refused(answering: Awaitable[Answer]) -> tuple[int, str]:
    with pytest.raises(Refusal) as raised:
        result_of(answering)
    return raised.value.code, str(raised.value)


def test_status(desk: Desk) -> None:
    desk.clock.advance(86)
    found = desk.json(desk.dashboard.status(query()))
    assert found["stats"] == {
        "n_alerts": 2,
        "last_state_id": 3,
        "supervisor_lag": 1.5,
        "version": desk.snapshot.version,
    }
    names = [(one["name"], [s["name"] for s in one["services"]]) for one in found["servers"]]
    assert names == [("web1", ["cpu", "disk"]), ("web2", ["disk"])]
    assert found["servers"][0]["services"][1]["state"] == {
        "rtime": "2026-03-01 10:00:00.000000",
        "timed_out": False,
        "seen_ago": "0:01:26",
        "state": "FAIL",
        "info": "full",
    }


def test_status_of_one(desk: Desk) -> None:
    found = desk.json(desk.dashboard.status(query(), server_id=2))
    assert [one["name"] for one in found["servers"]] == ["web2"]
    found = desk.json(desk.dashboard.status(query(), service_id=2))
    assert [one["name"] for one in found["servers"][0]["services"]] == ["cpu"]


def test_only_alerts_of_the_last_day_are_counted(desk: Desk) -> None:
    desk.clock.advance(24 * 3600)
    assert desk.json(desk.dashboard.status(query()))["stats"]["n_alerts"] == 2
    desk.clock.advance(1)
    assert desk.json(desk.dashboard.status(query()))["stats"]["n_alerts"] == 0


def test_states(desk: Desk) -> None:
    desk.clock.advance(3600)
    desk.record(a_report(a_state("disk", State.OK, "room")))
    found = desk.json(desk.dashboard.states(query(), service_id=1))["states"]
    assert [(one["id"], one["state"], one["info"]) for one in found] == [
        (4, "OK", "room"),
        (1, "FAIL", "full"),
    ]
    assert [[alert["event"] for alert in one["alerts"]] for one in found] == [["OK"], ["FAIL"]]
    found = desk.json(desk.dashboard.states(query(hours="0.5"), service_id=1))["states"]
    assert [one["id"] for one in found] == [4]


def test_states_in_groups(desk: Desk) -> None:
    for _ in range(6):
        desk.record(a_report(a_state("disk", State.FAIL)))
    found = desk.json(desk.dashboard.states(query(groups="yes"), service_id=1))["states"]
    # The oldest has an alert and so is a run of its own.
    assert [one.get("group", one["id"]) for one in found] == [9, "5-8", 4, 1]
    asked = query(groups="yes", expand="8-8")
    found = desk.json(desk.dashboard.states(asked, service_id=1))["states"]
    assert [one["id"] for one in found] == [9, 8, 7, 6, 5, 4, 1]
    # Without groups nothing is folded, and nobody looks at what to unfold.
    asked = query(expand="nonsense")
    assert len(desk.json(desk.dashboard.states(asked, service_id=1))["states"]) == 7


def test_alerts_that_came_while_a_service_was_silent_hang_on_its_last_state(desk: Desk) -> None:
    desk.clock.advance(60)
    in_transaction(desk.path, desk.recorder.mark_late, [1], desk.clock.times())
    [state] = desk.json(desk.dashboard.states(query(), service_id=1))["states"]
    assert [alert["event"] for alert in state["alerts"]] == ["FAIL", "offline"]


def test_alerts(desk: Desk) -> None:
    found = desk.json(desk.dashboard.alerts(query()))["alerts"]
    assert [(one["server"], one["service"], one["event"]) for one in found] == [
        ("web2", None, "alert"),
        ("web1", "disk", "FAIL"),
    ]
    assert desk.json(desk.dashboard.alerts(query(), service_id=2)) == {"alerts": []}
    desk.clock.advance(3601)
    assert desk.json(desk.dashboard.alerts(query(hours="1"))) == {"alerts": []}


def changes(desk: Desk, since: int | str) -> Any:
    return desk.json(desk.dashboard.changes(query(since=str(since))))


def test_changes(desk: Desk) -> None:
    whole = desk.json(desk.dashboard.status(query()))
    version = whole["stats"]["version"]
    assert changes(desk, version) == {"version": version, "full": False, "services": []}
    desk.record(a_report(a_state("cpu", State.WARN, "hot")))
    found = changes(desk, version)
    assert found["version"] > version
    assert found["full"] is False
    whole = desk.json(desk.dashboard.status(query()))
    # What is told is the very thing that stands in the status.
    assert found["services"] == [whole["servers"][0]["services"][0]]
    assert found["services"][0]["state"]["info"] == "hot"
    assert changes(desk, found["version"])["services"] == []


def test_changes_since_what_is_not_known(desk: Desk) -> None:
    version = desk.json(desk.dashboard.status(query()))["stats"]["version"]
    unknown = {"version": version, "full": True, "services": []}
    for since in (0, desk.snapshot.complete_since - 1, version + 1, "9" * 18):
        assert changes(desk, since) == unknown
    assert desk.json(desk.dashboard.changes(query())) == unknown
    assert changes(desk, desk.snapshot.complete_since)["full"] is False


def test_changes_since_before_something_was_removed(desk: Desk) -> None:
    version = desk.json(desk.dashboard.status(query()))["stats"]["version"]
    in_transaction(desk.path, desk.recorder.delete_service, 2)
    desk.snapshot.forget()
    found = changes(desk, version)
    assert (found["full"], found["services"]) == (True, [])
    assert changes(desk, found["version"])["full"] is False


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"x", b"\xff", "٥".encode(), b"9" * 19])
def test_no_since(value: bytes) -> None:
    with pytest.raises(Refusal, match=r"^since: expected a version that was given, got '") as e:
        Query({b"since": [value]}, URL).since()
    assert e.value.code == 400


def test_who_looks_sees_what_was_stored_just_now(desk: Desk) -> None:
    for number in range(3):
        desk.record(a_report(a_state("cpu", State.WARN, str(number))))
        found = desk.json(desk.dashboard.status(query(), service_id=2))
        assert found["servers"][0]["services"][0]["state"]["info"] == str(number)


def test_a_store_that_fails_is_told(desk: Desk) -> None:
    def fail(description: str) -> None:
        raise StorageError("gone")

    desk.store.fault = fail
    for answering in (desk.dashboard.status(query()), desk.dashboard.changes(query())):
        with pytest.raises(StorageError, match=r"^gone$"):
            result_of(answering)


@pytest.mark.parametrize("ids", [{"server_id": 9}, {"service_id": 9}])
@pytest.mark.parametrize("method", [Dashboard.status, Dashboard.alerts])
def test_unknown_ids(
    desk: Desk, method: Callable[..., Awaitable[Answer]], ids: dict[str, int]
) -> None:
    what = "server" if "server_id" in ids else "service"
    sentence = f"there is no {what} 9: it may have been deleted"
    assert refused(method(desk.dashboard, query(), **ids)) == (404, sentence)


def test_pages_of_what_is_not_there(desk: Desk) -> None:
    no_service = (404, "there is no service 9: it may have been deleted")
    assert refused(desk.dashboard.states(query(), service_id=9)) == no_service
    assert refused(desk.dashboard.service_page(query(), service_id=9)) == no_service
    assert refused(desk.dashboard.server_page(query(), server_id=9))[0] == 404


def test_pages(desk: Desk) -> None:
    pages = [
        desk.page(desk.dashboard.overview_page(query())),
        desk.page(desk.dashboard.services_page(query())),
        desk.page(desk.dashboard.server_page(query(), server_id=1)),
        desk.page(desk.dashboard.service_page(query(), service_id=1)),
    ]
    for page in pages:
        assert page.startswith("<!doctype html>")
        assert "full" in page
    assert f"curl {URL}api/set/service/status" in pages[3]
    assert "the roof" in desk.page(desk.dashboard.alerts_page(query()))


def test_a_page_folds_and_unfolds(desk: Desk) -> None:
    for number in range(6):
        desk.record(a_report(a_state("disk", State.FAIL, f"info {number}.")))
    folded = desk.page(desk.dashboard.service_page(query(), service_id=1))
    assert "info 2." not in folded
    unfolded = desk.page(desk.dashboard.service_page(query(expand="5-8"), service_id=1))
    assert "info 2." in unfolded


@pytest.mark.parametrize("hours, linked", [("0.3", 1), ("1.4", 1), ("168", 168)])
def test_links_of_a_page_ask_for_hours_that_are_taken(desk: Desk, hours: str, linked: int) -> None:
    for _ in range(6):
        desk.record(a_report(a_state("disk", State.FAIL)))
    page = desk.page(desk.dashboard.service_page(query(hours=hours), service_id=1))
    assert f"?hours={linked}&amp;expand=5-8" in page


def test_bad_arguments_of_a_page(desk: Desk) -> None:
    assert refused(desk.dashboard.alerts_page(query(hours="x")))[0] == 400
    assert refused(desk.dashboard.alerts_page(query(lost="x")))[0] == 400
    assert refused(desk.dashboard.service_page(query(hours="x"), service_id=1))[0] == 400
    assert refused(desk.dashboard.service_page(query(expand="x"), service_id=1))[0] == 400


def test_an_error_page(desk: Desk) -> None:
    answer = desk.dashboard.error_page(Refusal(401, "who <are> you", {"X": "y"}), "../")
    assert (answer.code, answer.headers) == (401, {"X": "y"})
    assert answer.content_type == "text/html; charset=utf-8"
    assert "Who &lt;are&gt; you" in answer.body.decode()
