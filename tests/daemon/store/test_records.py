from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from support_daemon import a_database, change, in_transaction, rows

from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Route
from overc.daemon.store import alerts, records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import Stale
from overc.daemon.store.records import RaisedAlert, ServerRow, ServiceRow
from overc.model import Alert, Channel, Memory, ServiceStatus, State

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


def test_a_look_takes_the_longest_overdue_first(path: str) -> None:
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
        return in_transaction(path, records.look, now_at, limit).overdue

    assert overdue(99.9, 10) == []
    assert overdue(100.0, 10) == [2]
    assert overdue(200.0, 10) == [2, 1]
    assert overdue(999.0, 1) == [2]


def test_a_look_finds_who_has_reported_since(path: str) -> None:
    saved(path, 1, ServiceStatus(State.OK, 60, 200.0))
    saved(path, 2, ServiceStatus(State.OK, 60, 210.0))
    [first] = in_transaction(path, records.add_states, [(1, None, 5.0, 5.0, State.OK, "")])
    change(path, "update latest set last_state_id = ? where service_id = 1", first)
    again = in_transaction(path, records.add_states, [(1, first, 6.0, 6.0, State.OK, "")])
    in_transaction(path, records.renew, again, 190.0)

    def look(now_at: float) -> tuple[list[int], list[int]]:
        found = in_transaction(path, records.look, now_at, 10)
        return found.overdue, found.renewed

    # The report has left alone when to look.
    assert look(199.0) == ([], [])
    assert look(200.0) == ([], [1])
    assert look(220.0) == ([2], [1])
    # And it is not too late to be found late meanwhile.
    assert look(250.0) == ([2, 1], [])
    in_transaction(path, records.put_looks_off, [1, 99])
    assert look(249.0) == ([2], [])
    assert look(250.0) == ([2, 1], [])


def test_a_look_uses_its_index(path: str) -> None:
    sql = (
        "explain query plan select id, deadline_at from services"
        " join latest on latest.service_id = services.id"
        " where look_at is not null and look_at <= 5 order by look_at limit 9"
    )
    plan = " ".join(row[3] for row in rows(path, sql))
    assert "services_by_deadline" in plan
    assert "TEMP B-TREE" not in plan


def saved(path: str, id_: int, status: ServiceStatus, seen_at: float | None = None) -> None:
    name = {1: "disk", 2: "cpu", 3: "d"}[id_]
    row = ServiceRow(id_, 1, name, status, None, None, seen_at, None)
    in_transaction(path, records.save_services, [row])


def test_grace_is_for_those_that_are_awaited(path: str) -> None:
    saved(path, 1, ServiceStatus(State.OK, 60, 200.0))
    saved(path, 2, ServiceStatus(State.OK, 10, 5000.0, grace_s=5.0))
    saved(path, 3, ServiceStatus(State.OK, 10, None, timed_out=True))
    in_transaction(path, records.grant_periods, 70000.0, 1000.0)
    deadlines = rows(
        path,
        "select deadline_at, timed_out from services join latest on service_id = id order by id",
    )
    assert deadlines == [(1060.0, 0), (1015.0, 0), (None, 1)]


@pytest.mark.parametrize(
    "due_at, left_s", [(70500.0, 500.0), (70061.0, 61.0), (70010.0, 60.0), (60000.0, 60.0)]
)
def test_what_a_calendar_awaits_stays_due(path: str, due_at: float, left_s: float) -> None:
    saved(path, 1, ServiceStatus(State.OK, 10, 200.0, grace_s=5.0, due_at=due_at))
    in_transaction(path, records.grant_periods, 70000.0, 1000.0)
    assert rows(
        path,
        "select deadline_at, due_at from services join latest on service_id = id where id = 1",
    ) == [(1000.0 + left_s + 5, due_at)]


@pytest.mark.parametrize(
    "memory, stored",
    [
        (None, None),
        (Memory(), "{}"),
        (Memory(None, bad=2, first_info="voll: \u00e4"), None),
        (Memory(State.WARN, since_at=5.5), '{"told": "WARN", "since_at": 5.5}'),
        (Memory(late_at=7.0, changes=(1.5, 2.0), flapping=True), None),
    ],
)
def test_memories_come_back(path: str, memory: Memory | None, stored: str | None) -> None:
    status = ServiceStatus(State.OK, 10, 200.0, memory=memory)
    saved(path, 1, status)
    [row] = in_transaction(path, records.find_services_by_id, [1])
    assert row.status == status
    if stored is not None:
        assert rows(path, "select memory from services where id = 1") == [(stored,)]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"told": "BAD"}', '{"told": []}', '{"changes": ["x"]}']
)
def test_a_memory_that_cannot_be_read_is_none(path: str, text: str) -> None:
    change(path, "update services set memory = ? where id = 1", text)
    [row] = in_transaction(path, records.find_services_by_id, [1])
    assert row.status.memory is None


def test_what_a_later_version_remembers_is_left_alone() -> None:
    assert records.load_memory('{"bad": 2, "mood": "sunny"}') == Memory(bad=2)


def test_a_renewed_service_has_its_grace(path: str) -> None:
    saved(path, 1, ServiceStatus(State.OK, 60, 200.0))
    saved(path, 2, ServiceStatus(State.OK, 60, 200.0, grace_s=5.0))
    history: list[tuple[object, ...]] = [(id_, None, 5.0, 5.0, State.OK, "") for id_ in (1, 2)]
    first = in_transaction(path, records.add_states, history)
    change(path, "update latest set last_state_id = service_id")
    again = [(id_, id_, 6.0, 6.0, State.OK, "") for id_ in first]
    ids = in_transaction(path, records.add_states, again)
    in_transaction(path, records.renew, ids, 1000.0)
    assert rows(
        path,
        "select deadline_at from latest where service_id in (1, 2) order by service_id",
    ) == [
        (1060.0,),
        (1065.0,),
    ]


def test_who_is_silent_and_who_is_awaited_by_a_calendar(path: str) -> None:
    late = ServiceStatus(State.OK, 10, None, timed_out=True)
    saved(path, 1, late, 500.0)
    saved(path, 2, late, 900.0)
    saved(path, 3, ServiceStatus(State.OK, 10, 200.0, due_at=7.0), 500.0)

    def silent(before_at: float, after_id: int, limit: int) -> list[tuple[str, int]]:
        found = in_transaction(path, records.silent_services, before_at, after_id, limit)
        return [(one.server, one.service.id) for one in found]

    assert silent(600.0, 0, 9) == [("web1", 1)]
    assert silent(900.0, 0, 9) == [("web1", 1), ("web1", 2)]
    assert silent(900.0, 0, 1) == [("web1", 1)]
    assert silent(900.0, 1, 1) == [("web1", 2)]
    [(server, row)] = in_transaction(path, records.awaited_by_calendar)
    assert (server, row.name, row.status.due_at) == ("web2", "disk", 7.0)
    assert in_transaction(path, records.find_named_service, 3) == (server, row)
    assert in_transaction(path, records.find_named_service, 99) is None


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
    in_transaction(path, Raiser([Route("mail")]).raise_alerts, raised, 50.0)
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
            ServiceRow(
                2, 1, "cpu", STATUS._replace(timed_out=True, deadline_at=None), 7, 50.0, 60.0, 7
            ),
            id="late",
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
    in_transaction(path, alerts.add_alerts, [RaisedAlert(ASKED, 1, None, None)], 5.0)
    marks.append(in_transaction(path, records.mark))
    assert len({str(one) for one in marks}) == 3
    # Pruned rows do not take it back to a value that it had before.
    change(path, "delete from states")
    change(path, "delete from alerts")
    assert in_transaction(path, records.mark) == marks[-1]


def test_ids_are_never_used_again(path: str) -> None:
    change(path, "delete from servers where id = 2")
    assert in_transaction(path, records.add_server, "web3", "k", "ip", 0.0).id == 3
