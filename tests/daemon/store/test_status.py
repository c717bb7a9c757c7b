from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import pytest
from support_daemon import a_database, change, in_transaction, rows

from overc.daemon.store import alerts, records, status
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert, ServiceRow
from overc.daemon.store.status import AlertView, Changes, ServerRow, StateView
from overc.daemon.store.status import ServiceRow as PresentRow
from overc.model import Alert, Channel, ServiceStatus, State

WARNED = Alert(Channel.SERVICE_STATE, "WARN", "changed", State.WARN)
ASKED = Alert(Channel.API, "alert", "asked", State.FAIL)
OWN = Alert(Channel.ALERT_PLUGIN, "failed", "own", State.FAIL)

SINCE_AT = 1000.0
Ids = tuple[int | None, int | None]
ALL: Ids = (None, None)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = a_database(tmp_path)
    in_transaction(path, populate)
    return path


def populate(tx: Transaction) -> None:
    """web2 (2) has disk (1) with two states; web1 (1) has cpu (2) and never heard of a (3)."""
    web1 = records.add_server(tx, "web1", "k", "192.0.2.1", 1.0)
    web2 = records.add_server(tx, "web2", "k", "192.0.2.2", 1.0)
    records.add_services(tx, web2.id, ["disk"])
    records.add_services(tx, web1.id, ["cpu", "a"])
    records.add_states(
        tx,
        [
            (1, None, 900.0, 890.0, State.OK, "old"),
            (1, 1, 1500.0, 1500.0, State.WARN, "new"),
            (2, None, 1600.0, 1600.0, State.OK, ""),
        ],
    )
    records.save_services(
        tx,
        [
            ServiceRow(1, 2, "disk", ServiceStatus(State.WARN, 60, 99.0), 2, 1500.0, 1500.0, 2),
            ServiceRow(
                2, 1, "cpu", ServiceStatus(State.OK, 30, None, timed_out=True), 3, 7.0, 1600.0, 3
            ),
        ],
    )
    alerts.add_alerts(tx, [RaisedAlert(WARNED, 2, 1, 1)], 999.0)
    alerts.add_alerts(
        tx,
        [
            RaisedAlert(WARNED, 2, 1, 2),
            RaisedAlert(ASKED, 2, 1, 2),
            RaisedAlert(ASKED, 2, None, None),
            RaisedAlert(ASKED, 1, 3, None),
            RaisedAlert(OWN, None, None, None),
        ],
        1000.0,
    )


DISK = PresentRow(1, 2, "disk", "disk", 60, 0, "WARN", 1500.0, 2, 1500.0, "new")
CPU = PresentRow(2, 1, "cpu", "cpu", 30, 1, "OK", 7.0, 3, 1600.0, "")
A = PresentRow(3, 1, "a", "a", None, 0, None, None, None, None, None)
WEB1 = ServerRow(1, "web1", "web1", "192.0.2.1")
WEB2 = ServerRow(2, "web2", "web2", "192.0.2.2")
RECENT = [
    (2, 1000.0, 2, 1),
    (3, 1000.0, 2, 1),
    (4, 1000.0, 2, None),
    (5, 1000.0, 1, 3),
    (6, 1000.0, None, None),
]


def changes(
    path: str,
    state_id: int = 3,
    alert_id: int = 6,
    servers: Set[int] = frozenset({1, 2}),
    services: int = 3,
    since_at: float = SINCE_AT,
    *,
    full: bool = False,
) -> Changes:
    found = in_transaction(
        path, status.changes, state_id, alert_id, servers, services, since_at, full=full
    )
    return found._replace(
        servers=sorted(found.servers), services=sorted(found.services, key=lambda row: row.id)
    )


ALL_THERE_IS = Changes(True, [WEB1, WEB2], [DISK, CPU, A], RECENT, 3)


def test_all_there_is(path: str) -> None:
    assert changes(path, 0, 0, frozenset(), 0, full=True) == ALL_THERE_IS
    # It is the same whatever is known already.
    assert changes(path, full=True) == ALL_THERE_IS


def test_only_recent_alerts(path: str) -> None:
    assert [one[0] for one in changes(path, since_at=999.0, full=True).alerts] == [1, 2, 3, 4, 5, 6]
    assert changes(path, since_at=1000.1, full=True).alerts == []


def test_nothing_new(path: str) -> None:
    assert changes(path) == Changes(False, [WEB1, WEB2], [], [], 3)


def test_new_states(path: str) -> None:
    assert changes(path, state_id=2) == Changes(False, [WEB1, WEB2], [CPU], [], 3)
    assert changes(path, state_id=1).services == [DISK, CPU]
    assert changes(path, state_id=0).services == [DISK, CPU]


def test_a_service_that_has_a_new_alert(path: str) -> None:
    # A service that fell late has no new state, and one may have none at all.
    found = changes(path, alert_id=2)
    assert found.alerts == RECENT[1:]
    assert found.services == [DISK, A]
    assert changes(path, alert_id=5).services == []


@pytest.mark.parametrize(
    "servers, services",
    [({1, 2}, 2), ({1, 2}, 4), ({1, 2, 3}, 3), ({3}, 3)],
)
def test_all_there_is_when_something_came_or_went(
    path: str, servers: set[int], services: int
) -> None:
    assert changes(path, servers=servers, services=services) == ALL_THERE_IS


def test_a_new_server_alone_is_told(path: str) -> None:
    assert changes(path, servers={1}) == Changes(False, [WEB1, WEB2], [], [], 3)


@pytest.mark.parametrize("new, full", [(1000, False), (1001, True)])
def test_all_there_is_when_so_much_is_new(path: str, new: int, full: bool) -> None:
    history = [(1, 2, 1700.0, 1700.0, State.OK, "") for _ in range(new)]
    in_transaction(path, records.add_states, history)
    assert changes(path).full is full


def test_an_empty_database(tmp_path: Path) -> None:
    path = a_database(tmp_path)
    assert changes(path, 0, 0, frozenset(), 0, full=True) == Changes(True, [], [], [], 0)
    assert in_transaction(path, status.alerts, *ALL, 0.0) == []


def test_a_history_newest_first(path: str) -> None:
    new = StateView(2, 1500.0, 1500.0, "WARN", "new")
    old = StateView(1, 890.0, 900.0, "OK", "old")
    assert in_transaction(path, status.history, 1, 0.0) == [new, old]
    # What counts is when it was seen.
    assert in_transaction(path, status.history, 1, 890.0) == [new, old]
    assert in_transaction(path, status.history, 1, 890.1) == [new]
    assert in_transaction(path, status.history, 3, 0.0) == []


def alert(id_: int, server_id: int | None, service_id: int | None) -> AlertView:
    server = f"web{server_id}" if server_id else None
    service = {None: None, 1: "disk", 3: "a"}[service_id]
    state = (2, "WARN", "new") if service_id == 1 else (None, None, None)
    what = {3: ASKED, 4: ASKED, 5: ASKED, 6: OWN}.get(id_, WARNED)
    said = (what.channel.value, what.event, what.severity.value, what.message)
    return AlertView(
        id_, server, server_id, service, service_id, state[0], 1000.0, *said, state[1], state[2]
    )


@pytest.mark.parametrize(
    "selected, ids",
    [
        (ALL, [6, 5, 4, 3, 2]),
        ((1, None), [5]),
        ((2, None), [4, 3, 2]),
        ((None, 1), [3, 2]),
        ((None, 2), []),
    ],
)
def test_alerts_newest_first(path: str, selected: Ids, ids: list[int]) -> None:
    all_of_them = {
        2: alert(2, 2, 1),
        3: alert(3, 2, 1),
        4: alert(4, 2, None),
        5: alert(5, 1, 3),
        6: alert(6, None, None),
    }
    found = in_transaction(path, status.alerts, *selected, SINCE_AT)
    assert found == [all_of_them[id_] for id_ in ids]


def test_alerts_since_then(path: str) -> None:
    found = in_transaction(path, status.alerts, None, 1, 999.0)
    assert found is not None
    assert [one.id for one in found] == [3, 2, 1]


@pytest.mark.parametrize("selected", [(9, None), (None, 9)])
def test_alerts_of_nobody(path: str, selected: Ids) -> None:
    assert in_transaction(path, status.alerts, *selected, SINCE_AT) is None


def test_alerts_that_hang_on_recent_states(path: str) -> None:
    found = in_transaction(path, status.alerts_of_service, 1, SINCE_AT)
    assert [(one.id, one.state_id) for one in found] == [(2, 2), (3, 2)]
    assert in_transaction(path, status.alerts_of_service, 1, 890.1) == found
    found = in_transaction(path, status.alerts_of_service, 1, 890.0)
    assert [(one.id, one.state_id) for one in found] == [(1, 1), (2, 2), (3, 2)]
    assert in_transaction(path, status.alerts_of_service, 3, 0.0) == []


def test_the_name_of_a_service(path: str) -> None:
    assert in_transaction(path, status.service_name, 2) == "cpu"
    assert in_transaction(path, status.service_name, 9) is None


def test_delete_a_server(path: str) -> None:
    assert in_transaction(path, status.delete_server, 2) == "web2"
    assert rows(path, "select name from servers order by id") == [("web1",)]
    assert rows(path, "select id from services order by id") == [(2,), (3,)]
    assert rows(path, "select id from states order by id") == [(3,)]
    assert rows(path, "select id from alerts order by id") == [(5,), (6,)]
    assert in_transaction(path, status.delete_server, 2) is None


def test_delete_a_service(path: str) -> None:
    assert in_transaction(path, status.delete_service, 1) == "disk"
    assert rows(path, "select name from servers order by id") == [("web1",), ("web2",)]
    assert rows(path, "select id from services order by id") == [(2,), (3,)]
    assert rows(path, "select id from states order by id") == [(3,)]
    assert rows(path, "select id from alerts order by id") == [(4,), (5,), (6,)]
    assert in_transaction(path, status.delete_service, 1) is None


def test_a_long_chain_is_read_and_deleted_to_its_end(path: str) -> None:
    """Recursion has limits in some databases and in some ways of writing it."""
    history = [
        (1, before, 2000.0 + before, 2000.0, State.OK, "") for before in [2, *range(4, 3003)]
    ]
    ids = in_transaction(path, records.add_states, history)
    change(path, "update latest set last_state_id = ? where service_id = 1", ids[-1])
    found = in_transaction(path, status.history, 1, 0.0)
    assert [one.id for one in found] == [*reversed(ids), 2, 1]
    in_transaction(path, status.delete_service, 1)
    assert rows(path, "select id from states") == [(3,)]


def test_a_history_in_the_order_in_which_it_was_seen(path: str) -> None:
    """A backlog that comes later belongs between what is there already."""
    late = [(1, 2, 1600.0, 1200.0, State.FAIL, "late"), (1, 4, 1600.0, 1200.0, State.UNK, "later")]
    in_transaction(path, records.add_states, late)
    change(path, "update latest set last_state_id = 5 where service_id = 1")
    found = in_transaction(path, status.history, 1, 0.0)
    assert [(one.id, one.seen_at) for one in found] == [(2, 1500), (5, 1200), (4, 1200), (1, 890)]
    # It ends where nothing of it can be asked for, not at the first that is too old.
    found = in_transaction(path, status.history, 1, 1300.0)
    assert [one.id for one in found] == [2]


def test_a_history_whose_beginning_was_pruned(path: str) -> None:
    change(path, "delete from states where id = 1")
    assert [one.id for one in in_transaction(path, status.history, 1, 0.0)] == [2]
    assert in_transaction(path, status.delete_service, 1) == "disk"
