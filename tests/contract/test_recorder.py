"""What becomes of reports in the database."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.nodes import STEADY_AT, WALL_AT, Database, Node, a_report, a_state, derive

from overc.daemon import keys
from overc.daemon.recording import Submission, WrongKey
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.model import AlertReport, Report, State

SERVICES = (
    "select name, state, period_s, deadline_at, timed_out"
    " from services join latest on service_id = id order by id"
)
HISTORY = (
    "select services.name, states.state, info from states"
    " join services on services.id = service_id order by states.id"
)
ALERTS = "select channel, event, message from alerts order by id"


@pytest_twisted.ensureDeferred
async def test_the_whole_effect_of_a_first_report(database: Database, node: Node) -> None:
    report = a_report(
        a_state("disk", State.FAIL, "full"), a_state("load"), alerts=[AlertReport("hot", "cpu")]
    )
    recorded = await node.record(report)
    assert (recorded.outcomes, recorded.alerts) == ((derive("secret"),), 2)
    assert database.rows("select name, title, key_derivation, ip, registered_at from servers") == [
        ("web1", "web1", "derived$secret", "192.0.2.1", WALL_AT)
    ]
    assert sorted(database.rows(SERVICES)) == [
        ("cpu", None, None, None, 0),
        ("disk", "FAIL", 60, STEADY_AT + 60, 0),
        ("load", "OK", 60, STEADY_AT + 60, 0),
    ]
    assert database.rows(HISTORY) == [("disk", "FAIL", "full"), ("load", "OK", "fine")]
    assert database.rows(
        "select alerts.channel, event, states.info, services.name, servers.name, raised_at"
        " from alerts join services on services.id = alerts.service_id"
        " join servers on servers.id = alerts.server_id"
        " left join states on states.id = alerts.state_id order by alerts.id"
    ) == [
        ("service:state", "FAIL", "full", "disk", "web1", WALL_AT),
        ("api", "alert", None, "cpu", "web1", WALL_AT),
    ]
    assert database.rows(
        "select alert_id - (select min(id) from alerts), plugin, status from outbox order by id"
    ) == [
        (0, "mail", "pending"),
        (0, "log", "pending"),
        (1, "mail", "pending"),
        (1, "log", "pending"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_batch_is_judged_in_order(database: Database, node: Node) -> None:
    states = [State.OK, State.FAIL, State.FAIL, State.OK, State.WARN]
    batch = [a_report(a_state("disk", state, str(n))) for n, state in enumerate(states)]
    recorded = await node.record(*batch)
    assert recorded.alerts == 3
    expected = [("disk", state.value, str(n)) for n, state in enumerate(states)]
    assert database.rows(HISTORY) == expected
    assert database.rows("select event from alerts order by id") == [("FAIL",), ("OK",), ("WARN",)]
    # Each state names the one before it, the service the last one.
    chain = database.rows("select id, previous_id from states order by id")
    assert [before for _, before in chain] == [None, *(id_ for id_, _ in chain[:-1])]
    assert database.rows(
        "select state_id, last_state_id from services join latest on service_id = id"
    ) == [(chain[-1][0],) * 2]


@pytest_twisted.ensureDeferred
async def test_many_reports_of_many_services(database: Database, node: Node) -> None:
    for round_ in range(3):
        await node.record(
            *(
                a_report(
                    *(a_state(f"s{n}", info=f"{host} {n} {round_}") for n in range(70)), name=host
                )
                for host in ("a", "b", "c", "d", "e", "f", "g", "h", "i")
            )
        )
    found = database.rows(
        "select servers.name, services.name, states.info, prior.info from services"
        " join latest on latest.service_id = services.id"
        " join servers on servers.id = server_id join states on states.id = state_id"
        " join states as prior on prior.id = states.previous_id"
    )
    assert len(found) == 630
    for host, service, info, before in found:
        assert info == f"{host} {service[1:]} 2"
        assert before == f"{host} {service[1:]} 1"


@pytest_twisted.ensureDeferred
async def test_a_wrong_key_leaves_no_trace(database: Database, node: Node) -> None:
    await node.record(a_report(a_state()))
    before = database.rows("select * from servers")
    # A derivation of our stand-in can't be verified, so the real one is asked for.
    database.rows("update servers set key_derivation = ?", keys.derive("secret"))
    recorded = await node.record(
        a_report(a_state("new"), key="other", ip="192.0.2.66", spooled=("spool", 1)),
        a_report(a_state("disk", info="good")),
    )
    assert isinstance(recorded.outcomes[0], WrongKey)
    assert database.rows("select ip from servers") == [(before[0][4],)]
    assert database.rows("select name from services") == [("disk",)]
    assert database.rows("select * from spools") == []
    assert database.rows("select info from states order by id") == [("fine",), ("good",)]


@pytest_twisted.ensureDeferred
async def test_a_resent_report_is_stored_once(database: Database, node: Node) -> None:
    def report(seq: int, spool: str = "one") -> Report:
        return a_report(a_state("disk", info=f"{spool} {seq}"), spooled=(spool, seq))

    # Within a batch, in the next one, in any order, and for each spool anew.
    for seqs in ([1, 2, 2], [2, 1, 5], [4, 5, 3, 4], [6, 1], [7, 6]):
        await node.record(*(report(seq) for seq in seqs))
    await node.record(report(3, "two"), report(3, "two"))
    infos = [info for (info,) in database.rows("select info from states order by id")]
    assert infos == [*(f"one {n}" for n in (1, 2, 5, 4, 3, 6, 7)), "two 3"]
    assert database.rows("select spool, seqs from spools order by spool") == [
        ("one", "1-7"),
        ("two", "3"),
    ]


@pytest_twisted.ensureDeferred
async def test_an_old_state_changes_nothing_but_the_history(database: Database, node: Node) -> None:
    await node.record(a_report(a_state("disk", State.FAIL, "now", seen_at=WALL_AT - 1)))
    node.clock.advance(1)
    await node.record(a_report(a_state("disk", State.OK, "long ago", seen_at=WALL_AT - 500)))
    assert database.rows("select state, info from states order by id") == [
        ("FAIL", "now"),
        ("OK", "long ago"),
    ]
    assert database.rows(
        "select services.state, info from services"
        " join latest on latest.service_id = services.id join states on states.id = state_id"
    ) == [("FAIL", "now")]
    assert database.rows("select count(*) from alerts") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_late_service_and_its_return(database: Database, node: Node) -> None:
    await node.record(a_report(a_state("disk"), a_state("load", period_s=600)))
    node.clock.advance(61)

    async def overdue() -> list[int]:
        return (await node.store.read("look", records.look, node.clock.steady(), 10)).overdue

    [late] = await overdue()
    assert await node.mark_late(late) == 1
    assert await overdue() == []
    assert await node.mark_late(late) == 0
    assert database.rows(SERVICES)[0] == ("disk", "OK", 60, None, 1)
    await node.record(a_report(a_state("disk")))
    assert database.rows(SERVICES)[0] == ("disk", "OK", 60, STEADY_AT + 121, 0)
    assert [event for _, event, _ in database.rows(ALERTS)] == ["offline", "online"]
    # Ids of services that are gone do no harm.
    assert await node.mark_late(late + 1000) == 0


@pytest_twisted.ensureDeferred
async def test_overdue_services_come_longest_first(node: Node) -> None:
    periods = [50, 10, 40, 20, 30]
    await node.record(a_report(*(a_state(f"s{n}", period_s=n) for n in periods)))
    await node.record(a_report(alerts=[AlertReport("no period", "alerted")]))

    def names(tx: Transaction, now_at: float, limit: int) -> list[str]:
        ids = records.look(tx, now_at, limit).overdue
        by_id = {row.id: row.name for row in records.find_services_by_id(tx, ids)}
        return [by_id[id_] for id_ in ids]

    # find_services_by_id locks what it finds, which a read may not.
    assert await node.store.write("look", names, STEADY_AT + 40, 10) == ["s10", "s20", "s30", "s40"]
    assert await node.store.write("look", names, STEADY_AT + 40, 2) == ["s10", "s20"]
    assert await node.store.write("look", names, STEADY_AT + 9.9, 2) == []


@pytest_twisted.ensureDeferred
async def test_granted_periods_start_now(database: Database, node: Node) -> None:
    await node.record(
        a_report(a_state("short"), a_state("long", period_s=600), alerts=[AlertReport("a", "none")])
    )
    [late] = [id_ for id_, name in database.rows("select id, name from services") if name == "long"]
    node.clock.advance(601)
    await node.mark_late(late)
    now_at = node.clock.steady()
    await node.store.write("grant", records.grant_periods, node.clock.wall(), now_at)
    assert sorted(
        database.rows(
            "select name, deadline_at, timed_out from services join latest on service_id = id"
        )
    ) == [
        ("long", None, 1),
        ("none", None, 0),
        ("short", now_at + 60, 0),
    ]


@pytest_twisted.ensureDeferred
async def test_a_failed_transaction_is_forgotten(database: Database, node: Node) -> None:
    await node.record(a_report(a_state("disk", State.OK)))

    def record_and_fail(tx: Transaction) -> None:
        report = a_report(a_state("disk", State.FAIL), a_state("new"), spooled=("s", 1))
        node.recorder.record(tx, [Submission(report, derive("secret"))], node.times())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await node.store.write("fail", record_and_fail)
    assert database.rows("select name, state from services") == [("disk", "OK")]
    # What the recorder has in memory is of what was rolled back.
    report = a_report(a_state("disk", State.FAIL), a_state("new"), spooled=("s", 1))
    assert (await node.record(report)).alerts == 1
    assert sorted(database.rows("select name, state from services")) == [
        ("disk", "FAIL"),
        ("new", "OK"),
    ]
