from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_daemon import (
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

from overc.daemon.snapshot import Selection, ServiceEntry, Snapshot
from overc.daemon.store import alerts
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, AlertReport, Channel, Report, State
from overc.web import status_json

ALL = Selection()
STATS = {"n_alerts", "last_state_id", "supervisor_lag", "version"}
SERVER = {"id", "name", "title", "ip", "n_alerts", "services"}
SERVICE = {
    "id", "server_id", "period", "name", "title", "n_alerts", "since", "state",
}  # fmt: skip
STATE = {"rtime", "timed_out", "seen_ago", "state", "info"}


class Wall:
    """A snapshot of a real database, and what is shown of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.recorder = a_recorder()
        self.snapshot = Snapshot(SteppedStore(path), self.clock)

    def record(self, *reports: Report) -> None:
        record(self.path, self.recorder, self.clock, *reports)

    def shown(self, selected: Selection = ALL, lag_s: float = 0.0) -> Any:
        result_of(self.snapshot.refresh())
        found = status_json.status(self.snapshot, selected, self.clock.wall(), lag_s)
        return None if found is None else json.loads(found)

    def straight(self, selected: Selection = ALL, lag_s: float = 0.0) -> Any:
        """Return the same, put together without any shortcut."""
        servers = self.snapshot.servers(selected)
        assert servers is not None
        ids = [one.row.state_id for _, services in servers for one in services if one.row.state_id]
        return {
            "stats": {
                "n_alerts": self.snapshot.n_alerts(selected),
                "last_state_id": max(ids, default=0),
                "supervisor_lag": lag_s,
                "version": self.snapshot.version,
            },
            "servers": [
                {
                    "id": server.row.id,
                    "name": server.row.name,
                    "title": server.row.title,
                    "ip": server.row.ip,
                    "n_alerts": server.n_alerts,
                    "services": [self.straight_service(one) for one in services],
                }
                for server, services in servers
            ],
        }

    def straight_service(self, service: ServiceEntry) -> Any:
        row = service.row
        state = None
        if row.received_at is not None:
            at = datetime.fromtimestamp(row.received_at, timezone.utc)
            ago = timedelta(seconds=max(0, int(self.clock.wall() - row.received_at)))
            state = {
                "rtime": at.strftime("%Y-%m-%d %H:%M:%S.%f"),
                "timed_out": row.timed_out == 1,
                "seen_ago": str(ago),
                "state": row.state,
                "info": row.info,
            }
        return {
            "id": row.id,
            "server_id": row.server_id,
            "period": row.period_s,
            "name": row.name,
            "title": row.title,
            "n_alerts": service.n_alerts,
            "since": row.since_at,
            "state": state,
        }


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(a_database(tmp_path))


def test_nothing_at_all(wall: Wall) -> None:
    assert wall.shown() == {
        "stats": {
            "n_alerts": 0,
            "last_state_id": 0,
            "supervisor_lag": 0,
            "version": wall.snapshot.version,
        },
        "servers": [],
    }


def test_the_whole_shape(wall: Wall) -> None:
    wall.record(a_report(a_state("disk", State.WARN, "90 %"), alerts=[AlertReport("x", "job")]))
    change(wall.path, "update services set title = 'Disk' where id = 1")
    wall.clock.advance(86.9)
    found = wall.shown(lag_s=1.5)
    assert set(found["stats"]) == STATS
    [server] = found["servers"]
    assert set(server) == SERVER
    disk, job = server["services"]
    assert (set(disk), set(job)) == (SERVICE, SERVICE)
    assert set(disk["state"]) == STATE
    assert found == wall.straight(lag_s=1.5)
    assert disk == {
        "id": 1,
        "server_id": 1,
        "period": 60,
        "name": "disk",
        "title": "Disk",
        "n_alerts": 1,
        "since": 1_772_359_200.0,
        "state": {
            "rtime": "2026-03-01 10:00:00.000000",
            "timed_out": False,
            "seen_ago": "0:01:26",
            "state": "WARN",
            "info": "90 %",
        },
    }
    assert (job["state"], job["period"], job["since"], job["n_alerts"]) == (None, None, None, 1)
    assert found["stats"]["supervisor_lag"] == 1.5


@pytest.mark.parametrize(
    "passed_s, seen_ago",
    [
        (0, "0:00:00"),
        (0.9, "0:00:00"),
        (61, "0:01:01"),
        (3599, "0:59:59"),
        (36000, "10:00:00"),
        (86399.9, "23:59:59"),
        (86400, "1 day, 0:00:00"),
        (90000, "1 day, 1:00:00"),
        (400 * 86400 + 1, "400 days, 0:00:01"),
        # The wall clock was set back.
        (-3600, "0:00:00"),
    ],
)
def test_how_long_ago(wall: Wall, passed_s: float, seen_ago: str) -> None:
    wall.record(a_report(a_state()))
    wall.shown()
    wall.clock.advance(passed_s)
    # What was put together before is used again, but for this.
    assert wall.shown()["servers"][0]["services"][0]["state"]["seen_ago"] == seen_ago
    assert wall.shown() == wall.straight()


def test_who_is_late(wall: Wall) -> None:
    wall.record(a_report(a_state()))
    wall.shown()
    wall.clock.advance(60)
    in_transaction(wall.path, wall.recorder.mark_late, [1], wall.clock.times())
    assert wall.shown()["servers"][0]["services"][0]["state"]["timed_out"] is True


def test_what_is_selected(wall: Wall) -> None:
    asked = [AlertReport("x"), AlertReport("y", "disk")]
    wall.record(a_report(a_state("disk", State.WARN), a_state("cpu"), alerts=asked))
    wall.record(a_report(a_state("disk"), name="web2"))
    own = Alert(Channel.ALERT_PLUGIN, "failed", "own", State.FAIL)
    raised = [RaisedAlert(own, None, None, None)]
    in_transaction(wall.path, alerts.add_alerts, raised, wall.clock.wall_at)
    counts = {ALL: 4, Selection(server_id=1): 3, Selection(service_id=1): 2, Selection(2): 0}
    for selected, n_alerts in counts.items():
        found = wall.shown(selected)
        assert found == wall.straight(selected)
        assert found["stats"]["n_alerts"] == n_alerts
    assert wall.shown(Selection(service_id=2))["stats"]["last_state_id"] == 2
    for selected in (Selection(server_id=9), Selection(service_id=9)):
        assert wall.shown(selected) is None


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT.filter(bool), TEXT), max_size=4), st.floats(-100, 1e6))
def test_any_text_is_shown_as_a_straightforward_encoder_shows_it(
    said: list[tuple[str, str, str]], passed_s: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wall = Wall(a_database(Path(folder)))
        for server, service, info in said:
            wall.record(a_report(a_state(service, State.FAIL, info), name=server))
        assert wall.shown() == wall.straight()
        wall.clock.advance(passed_s)
        assert wall.shown() == wall.straight()


def test_changes_are_pieces_of_the_status(wall: Wall) -> None:
    wall.record(a_report(a_state("disk"), a_state("cpu", info='":{}"')))
    version = wall.shown()["stats"]["version"]
    wall.clock.advance(86400)
    wall.record(a_report(a_state("disk"), alerts=[AlertReport("x", "job")]))
    whole = wall.shown()
    found = json.loads(status_json.changes(wall.snapshot, version, wall.clock.wall()))
    assert set(found) == {"version", "full", "services"}
    assert (found["version"], found["full"]) == (whole["stats"]["version"], True)
    # A service was new, so all of it has to be read; from there on changes are told.
    wall.record(a_report(a_state("cpu", State.WARN)))
    cpu, _, _ = wall.shown()["servers"][0]["services"]
    found = json.loads(
        status_json.changes(wall.snapshot, whole["stats"]["version"], wall.clock.wall())
    )
    assert (found["full"], found["services"]) == (False, [cpu])
