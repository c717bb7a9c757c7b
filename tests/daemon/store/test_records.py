from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from support_daemon import a_database, change, in_transaction, rows

from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import Stale
from overc.daemon.store.records import RaisedAlert, ServerRow, ServiceRow
from overc.model import Alert, Channel, ServiceStatus, State

WARNED = Alert(Channel.SERVICE_STATE, "WARN", "changed", State.WARN)
ASKED = Alert(Channel.API, "alert", "as sent", State.FAIL)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database that knows web1 with disk and cpu, and web2 with disk."""
    path = a_database(tmp_path)
    in_transaction(path, populate)
    return path


def populate(tx: Transaction) -> None:
    web1 = records.add_server(tx, "web1", "key1", "192.0.2.1", 10.0)
    web2 = records.add_server(tx, "web2", "key2", "192.0.2.2", 20.0)
    records.add_services(tx, web1.id, ["disk", "cpu"])
    records.add_services(tx, web2.id, ["disk"])


def test_a_server(path: str) -> None:
    assert rows(path, "select * from servers order by id") == [
        (1, "web1", "web1", "key1", "192.0.2.1", 10.0),
        (2, "web2", "web2", "key2", "192.0.2.2", 20.0),
    ]
    found = in_transaction(path, records.find_servers, ["web2", "nobody"])
    assert found == [ServerRow(2, "web2", "key2", "192.0.2.2")]
    in_transaction(path, records.set_ip, 2, "::1")
    assert rows(path, "select ip from servers order by id") == [("192.0.2.1",), ("::1",)]


@pytest.mark.parametrize("name", ["WEB1", "web1 ", " web1", "wéb1"])
def test_names_are_exact(path: str, name: str) -> None:
    assert in_transaction(path, records.find_servers, [name]) == []
    assert in_transaction(path, records.add_server, name, "k", "ip", 0.0).id == 3


def test_services_belong_to_their_server(path: str) -> None:
    found = in_transaction(path, records.find_services, 1, ["cpu", "disk", "nothing"])
    assert sorted(found, key=lambda row: row.id) == [
        ServiceRow(1, 1, "disk", ServiceStatus(), None, None, None, None),
        ServiceRow(2, 1, "cpu", ServiceStatus(), None, None, None, None),
    ]
    assert [row.id for row in in_transaction(path, records.find_services, 2, ["disk"])] == [3]
    assert in_transaction(path, records.find_services, 2, ["cpu"]) == []
    assert [row.name for row in in_transaction(path, records.find_services_by_id, [3, 2, 9])] == [
        "cpu",
        "disk",
    ]
    assert rows(path, "select title from services where id = 2") == [("cpu",)]


@pytest.mark.parametrize(
    "status",
    [
        ServiceStatus(State.WARN, 60, 1234.5),
        ServiceStatus(State.OK, 60, None, timed_out=True),
        ServiceStatus(),
    ],
)
def test_a_service_comes_back_as_it_was_saved(path: str, status: ServiceStatus) -> None:
    saved = ServiceRow(2, 1, "cpu", status, 77, 99.5, 98.5, 78)
    in_transaction(path, records.save_services, [saved])
    [disk, cpu] = in_transaction(path, records.find_services_by_id, [1, 2])
    assert cpu == saved
    assert disk == ServiceRow(1, 1, "disk", ServiceStatus(), None, None, None, None)


def test_states_have_ids_in_order(path: str) -> None:
    history = [
        (1, None, 5.0, 4.5, State.OK, ""),
        (2, None, 6.0, 6.0, State.FAIL, "ё 🦉"),
        (1, 1, 7.0, 7.0, State.UNK, "x"),
    ]
    assert in_transaction(path, records.add_states, history) == [1, 2, 3]
    assert rows(path, "select * from states order by id") == [
        (1, 1, None, 5.0, 4.5, "OK", ""),
        (2, 2, None, 6.0, 6.0, "FAIL", "ё 🦉"),
        (3, 1, 1, 7.0, 7.0, "UNK", "x"),
    ]


def test_alerts_go_to_the_outbox_of_each_plugin(path: str) -> None:
    raised = [RaisedAlert(WARNED, 1, 2, 33), RaisedAlert(ASKED, 1, None, None)]
    in_transaction(path, records.add_alerts, raised, 50.0, ["mail", "log"])
    assert rows(path, "select * from alerts order by id") == [
        (1, 1, 2, 33, 50.0, "service:state", "WARN", "WARN", "changed"),
        (2, 1, None, None, 50.0, "api", "alert", "FAIL", "as sent"),
    ]
    assert rows(path, "select * from outbox order by id") == [
        (1, 1, "mail", "pending", None, None),
        (2, 1, "log", "pending", None, None),
        (3, 2, "mail", "pending", None, None),
        (4, 2, "log", "pending", None, None),
    ]


def test_alerts_without_plugins_and_no_alerts(path: str) -> None:
    in_transaction(path, records.add_alerts, [RaisedAlert(ASKED, 1, None, None)], 5.0, [])
    in_transaction(path, records.add_alerts, [], 5.0, ["mail"])
    assert rows(path, "select count(*) from alerts") == [(1,)]
    assert rows(path, "select count(*) from outbox") == [(0,)]


def test_overdue_takes_the_longest_overdue_first(path: str) -> None:
    late = ServiceStatus(State.OK, 60, None, timed_out=True)
    in_transaction(
        path,
        records.save_services,
        [
            ServiceRow(1, 1, "disk", ServiceStatus(State.OK, 60, 200.0), None, None, None, None),
            ServiceRow(2, 1, "cpu", ServiceStatus(State.OK, 60, 100.0), None, None, None, None),
            ServiceRow(3, 2, "disk", late, None, None, None, None),
        ],
    )

    def overdue(now_at: float, limit: int) -> list[int]:
        return in_transaction(path, records.overdue, now_at, limit)

    assert overdue(99.9, 10) == []
    assert overdue(100.0, 10) == [2]
    assert overdue(200.0, 10) == [2, 1]
    assert overdue(999.0, 1) == [2]


def test_overdue_uses_its_index(path: str) -> None:
    sql = (
        "explain query plan select id from services"
        " where deadline_at is not null and deadline_at <= 5 order by deadline_at limit 9"
    )
    plan = " ".join(row[3] for row in rows(path, sql))
    assert "services_by_deadline" in plan
    assert "TEMP B-TREE" not in plan


def test_grace_is_for_those_that_are_awaited(path: str) -> None:
    in_transaction(
        path,
        records.save_services,
        [
            ServiceRow(1, 1, "disk", ServiceStatus(State.OK, 60, 200.0), None, None, None, None),
            ServiceRow(2, 1, "cpu", ServiceStatus(State.OK, 10, 5000.0), None, None, None, None),
            ServiceRow(
                3, 2, "d", ServiceStatus(State.OK, 10, None, timed_out=True), None, None, None, None
            ),
        ],
    )
    in_transaction(path, records.grant_periods, 1000.0)
    deadlines = rows(path, "select deadline_at, timed_out from services order by id")
    assert deadlines == [(1060.0, 0), (1010.0, 0), (None, 1)]


def test_what_is_deleted_takes_everything_but_the_history_with_it(path: str) -> None:
    """The history has no foreign key: `status.delete_server` and its like follow the chains."""
    states = [(1, None, 5.0, 5.0, State.OK, ""), (3, None, 5.0, 5.0, State.OK, "")]
    in_transaction(path, records.add_states, states)
    raised = [
        RaisedAlert(WARNED, 1, 1, 1),
        RaisedAlert(ASKED, 1, None, None),
        RaisedAlert(WARNED, 2, 3, 2),
        RaisedAlert(ASKED, None, None, None),
    ]
    in_transaction(path, records.add_alerts, raised, 50.0, ["mail"])
    for server_id in (1, 2):
        in_transaction(path, records.save_seqs, server_id, "s", "1", 50.0, known=False)
    change(path, "delete from servers where id = 1")
    assert rows(path, "select id from services order by id") == [(3,)]
    assert rows(path, "select id from alerts order by id") == [(3,), (4,)]
    assert rows(path, "select alert_id from outbox order by id") == [(3,), (4,)]
    assert rows(path, "select server_id from spools") == [(2,)]
    change(path, "delete from services where id = 3")
    assert rows(path, "select id from alerts order by id") == [(4,)]


STATUS = ServiceStatus(State.WARN, 60, 100.0)


def test_reports_that_say_the_same_again(path: str) -> None:
    saved = ServiceRow(2, 1, "cpu", STATUS, 7, 50.0, 60.0, 7)
    in_transaction(path, records.save_services, [saved])
    ids = in_transaction(path, records.add_states, [(2, 7, 130.0, 120.0, "WARN", "")])
    in_transaction(path, records.renew, ids, 100.0)
    [disk, cpu] = in_transaction(path, records.find_services_by_id, [1, 2])
    status = STATUS._replace(deadline_at=160.0)
    assert cpu == ServiceRow(2, 1, "cpu", status, ids[0], 50.0, 120.0, ids[0])
    assert disk == ServiceRow(1, 1, "disk", ServiceStatus(), None, None, None, None)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(ServiceRow(2, 1, "cpu", STATUS, 7, 50.0, 60.0, 8), id="another state"),
        pytest.param(ServiceRow(2, 1, "cpu", STATUS, 7, 50.0, 60.0, None), id="no state"),
        pytest.param(
            ServiceRow(2, 1, "cpu", STATUS._replace(timed_out=True), 7, 50.0, 60.0, 7), id="late"
        ),
        pytest.param(ServiceRow(99, 1, "gone", STATUS, 7, 50.0, 60.0, 7), id="deleted"),
    ],
)
def test_a_service_that_is_not_as_it_was_is_not_renewed(path: str, row: ServiceRow) -> None:
    in_transaction(path, records.save_services, [row])
    ids = in_transaction(path, records.add_states, [(row.id, 7, 130.0, 120.0, "WARN", "")])
    with pytest.raises(Stale):
        in_transaction(path, records.renew, ids, 100.0)


@pytest.mark.parametrize(
    ("known", "same"),
    [
        ({}, True),
        ({1: (None, False), 2: (7, False)}, True),
        ({2: (None, False)}, False),
        ({2: (7, True)}, False),
        ({2: (7, False), 99: (None, False)}, False),
    ],
)
def test_services_are_compared_with_what_is_known(
    path: str, known: dict[int, tuple[int | None, bool]], same: bool
) -> None:
    in_transaction(path, records.save_services, [ServiceRow(2, 1, "cpu", STATUS, 7, 5.0, 6.0, 7)])
    with nullcontext() if same else pytest.raises(Stale):
        in_transaction(path, records.check, known)


def test_the_seqs_of_a_spool(path: str) -> None:
    assert in_transaction(path, records.stored_seqs, 1, "s") is None
    in_transaction(path, records.save_seqs, 1, "s", "1-5", 10.0, known=False)
    in_transaction(path, records.save_seqs, 1, "t", "7", 20.0, known=False)
    in_transaction(path, records.save_seqs, 2, "s", "9", 30.0, known=False)
    in_transaction(path, records.save_seqs, 1, "s", "1-6", 40.0, known=True)
    assert in_transaction(path, records.stored_seqs, 1, "s") == "1-6"
    assert rows(path, "select * from spools order by server_id, spool") == [
        (1, "s", "1-6", 40.0),
        (1, "t", "7", 20.0),
        (2, "s", "9", 30.0),
    ]


def test_the_mark_follows_states_and_alerts(path: str) -> None:
    marks = [in_transaction(path, records.mark)]
    in_transaction(path, records.add_states, [(1, None, 5.0, 5.0, State.OK, "")])
    marks.append(in_transaction(path, records.mark))
    in_transaction(path, records.add_alerts, [RaisedAlert(ASKED, 1, None, None)], 5.0, [])
    marks.append(in_transaction(path, records.mark))
    assert len({str(one) for one in marks}) == 3
    # Pruned rows do not take it back to a value that it had before.
    change(path, "delete from states")
    change(path, "delete from alerts")
    assert in_transaction(path, records.mark) == marks[-1]


def test_ids_are_never_used_again(path: str) -> None:
    change(path, "delete from servers where id = 2")
    assert in_transaction(path, records.add_server, "web3", "k", "ip", 0.0).id == 3
