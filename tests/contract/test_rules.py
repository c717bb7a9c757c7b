"""What rules make of services, in the database."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from datetime import timezone

import pytest_twisted
from contract.nodes import STEADY_AT, WALL_AT, Database, Node, a_report, a_state

from overc.daemon.alerting.raising import Raiser
from overc.daemon.calendars import NEVER_AT, Calendar
from overc.daemon.expectations import Expectations, Flapping, Grace, Rule
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.recording import Recorder
from overc.daemon.store import records
from overc.model import Memory, State

NIGHTLY = Calendar.parse("0 3 * * *", timezone.utc)
OVER = Calendar.parse("2020-01-01", timezone.utc)
DUE_AT = WALL_AT + 17 * 3600
RULES = Expectations(
    [
        Rule("backups", EVERYTHING, Patterns("backup"), {"calendar": NIGHTLY}),
        Rule("over", EVERYTHING, Patterns("over"), {"calendar": OVER}),
        Rule(
            "rest",
            EVERYTHING,
            EVERYTHING,
            {
                "grace": Grace(30.0),
                "after": 2,
                "flapping": Flapping(3, 3600.0),
                "expire_after_s": 86400.0,
            },
        ),
    ]
)
SERVICES = (
    "select name, deadline_at, grace_s, due_at"
    " from services join latest on service_id = id order by name"
)


def with_rules(node: Node) -> None:
    node.recorder = Recorder(Raiser([]), RULES)


@pytest_twisted.ensureDeferred
async def test_memories_outlast_the_process(database: Database, node: Node) -> None:
    with_rules(node)
    info = "voll: ä 🦉 'quoted' \\ \"twice\""
    await node.record(a_report(a_state("disk", State.FAIL, info)))
    with_rules(node)
    recorded = await node.record(a_report(a_state("disk", State.FAIL)))
    assert recorded.alerts == 1
    [(message, since_at, previous)] = database.rows(
        "select message, since_at, previous_state from alerts"
    )
    assert message == f'State changed: "(?)" -> "FAIL" (2 in a row, first: {info})'
    assert (since_at, previous) == (WALL_AT, None)
    [(stored,)] = database.rows("select memory from services")
    assert records.load_memory(stored) == Memory(State.FAIL, since_at=WALL_AT, changes=(WALL_AT,))


@pytest_twisted.ensureDeferred
async def test_deadlines_by_period_and_by_calendar(database: Database, node: Node) -> None:
    with_rules(node)
    states = [a_state(name) for name in ("disk", "backup", "over")]
    await node.record(a_report(*states))
    promised = [
        ("backup", STEADY_AT + 17 * 3600 + 30, 30.0, DUE_AT),
        ("disk", STEADY_AT + 90, 30.0, None),
        ("over", STEADY_AT + (NEVER_AT - WALL_AT) + 30, 30.0, NEVER_AT),
    ]
    assert database.rows(SERVICES) == promised
    node.clock.advance(10)
    await node.record(a_report(*states))
    promised[1] = ("disk", STEADY_AT + 100, 30.0, None)
    assert database.rows(SERVICES) == promised
    # The server was away until long after the backup was due.
    node.clock.advance(20 * 3600)
    now = node.times()
    await node.store.write("grant", node.recorder.grant_periods, now)
    promised[0] = ("backup", now.steady_at + 60 + 30, 30.0, DUE_AT)
    promised[1] = ("disk", now.steady_at + 60 + 30, 30.0, None)
    assert database.rows(SERVICES) == promised


@pytest_twisted.ensureDeferred
async def test_a_step_of_the_wall_clock(database: Database, node: Node) -> None:
    with_rules(node)
    await node.record(a_report(a_state("disk"), a_state("backup")))
    before_at = node.clock.wall()
    node.clock.wall_at += 18 * 3600
    await node.store.write("step", node.recorder.follow_step, before_at, node.times())
    assert database.rows(SERVICES) == [
        ("backup", STEADY_AT + 23 * 3600 + 30, 30.0, DUE_AT + 86400),
        ("disk", STEADY_AT + 90, 30.0, None),
    ]


@pytest_twisted.ensureDeferred
async def test_a_silent_service_is_forgotten_once(database: Database, node: Node) -> None:
    with_rules(node)
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    ids = [id_ for (id_,) in database.rows("select id from services order by name")]
    node.clock.advance(90)
    assert await node.mark_late(*ids) == 2
    node.clock.advance(86400 - 90)
    await node.record(a_report(a_state("cpu")))
    found = await node.store.read("look", records.silent_services, node.clock.wall() - 86400, 0, 10)
    assert [(server, row.name) for server, row in found] == [("web1", "disk")]
    forgotten = [
        await node.store.write("forget", node.recorder.forget_service, id_, node.times())
        for id_ in [*ids, found[0].service.id]
    ]
    assert sorted(forgotten) == [0, 0, 1]
    assert database.rows("select name from services") == [("cpu",)]
    assert database.rows(
        "select servers.name, event from alerts join servers on servers.id = server_id"
        " where service_id is null"
    ) == [("web1", "forgotten")]
