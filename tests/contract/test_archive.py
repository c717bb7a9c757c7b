"""Roll-ups and retention promise the same on every engine."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest_twisted
from contract.conftest import Stores
from contract.nodes import Database, Node, a_report, a_state

from overc.daemon import archiving
from overc.daemon.expectations import Expectations
from overc.daemon.rollups import DAY_S
from overc.daemon.store import archive
from overc.daemon.store.archive import PERF_BUCKETS, STATE_BUCKETS
from overc.daemon.store.engine import Store
from overc.model import State

ALL = 10**9
NO_RULES = Expectations()


async def roll_up(store: Store, now_at: float, expectations: Expectations = NO_RULES) -> None:
    """Do all that there is to do, in batches."""
    while batch := await store.read("fold", archiving.find_states, expectations, ALL):
        assert await store.write("store", archiving.store_states, batch)
    for kind in (STATE_BUCKETS, PERF_BUCKETS):
        while day := await store.read("sum up", archiving.find_day, kind, now_at):
            assert await store.write("store", archiving.store_day, kind, day)


@pytest_twisted.ensureDeferred
async def test_hours_and_days(database: Database, node: Node) -> None:
    first_at = node.clock.wall_at
    for load in (1, 2, 6):
        await node.record(a_report(a_state("load", info=f"OK | 'lo ad'={load}.5s"), a_state("é")))
        node.clock.advance(20)
        await roll_up(node.store, node.clock.wall_at)
    assert database.rows("select * from state_hours order by service_id") == [
        (first_at, 1, 40_000, 0, 0, 0),
        (first_at, 2, 40_000, 0, 0, 0),
    ]
    assert database.rows("select * from perf_hours") == [(first_at, 1, 3, 10.5, 1.5, 6.5)]
    node.clock.advance(2 * DAY_S)
    await roll_up(node.store, node.clock.wall_at)
    day_at = first_at // DAY_S * DAY_S
    assert database.rows("select starts_at, ok_ms from state_days") == [(day_at, 40_000)] * 2
    # A backlog from the day that is summed up already.
    late = a_state("load", State.FAIL, "| 'lo ad'=3s new=1", 60, first_at + 50)
    await node.record(a_report(a_state("load"), a_state("é")))
    await node.record(a_report(late))
    await roll_up(node.store, node.clock.wall_at)
    sql = "select starts_at, ok_ms, fail_ms from state_days where service_id = 1"
    assert database.rows(sql) == [(day_at, 50_000, 60_000)]
    sql = (
        "select label, uom, n, total, low, high from perf_days"
        " join perf_series on perf_series.id = series_id order by label"
    )
    assert database.rows(sql) == [
        ("lo ad", "s", 4, 13.5, 1.5, 6.5),
        ("new", "", 1, 1.0, 1.0, 1.0),
    ]


@pytest_twisted.ensureDeferred
async def test_one_of_two_nodes_stores_a_batch(
    database: Database, stores: Stores, node: Node
) -> None:
    await node.record(a_report(a_state("a", info="| a=1")))
    batch = await node.store.read("fold", archiving.find_states, NO_RULES, ALL)
    assert batch is not None
    other = await stores.open(database) if database.shared else node.store
    assert await other.write("store", archiving.store_states, batch)
    assert not await node.store.write("store", archiving.store_states, batch)
    assert database.rows("select n from perf_hours") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_service_deleted_between_the_steps(database: Database, node: Node) -> None:
    await node.record(a_report(a_state("a", info="| a=1"), a_state("b", info="| b=1")))
    batch = await node.store.read("fold", archiving.find_states, NO_RULES, ALL)
    assert batch is not None
    await node.store.write("delete", node.recorder.delete_service, 1)
    assert await node.store.write("store", archiving.store_states, batch)
    assert database.rows("select service_id from timelines") == [(2,)]
    await node.store.write("delete", node.recorder.delete_service, 2)
    assert database.rows("select count(*) from timelines") == [(0,)]
    assert database.rows("select count(*) from perf_series") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_what_is_old_goes(database: Database, node: Node) -> None:
    for state in (State.FAIL, State.OK, State.FAIL):
        await node.record(a_report(a_state("a", state, "| a=1"), spooled=("spool", 1 + len(state))))
        node.clock.advance(60)
    now_at = node.clock.wall_at
    store = node.store
    assert await store.read("look", archiving.find_old_states, 0, now_at) is None
    await roll_up(store, now_at)
    found = await store.read("look", archiving.find_old_states, 0, now_at)
    assert found is not None
    deleted = await store.write("delete", archive.prune_states, *found)
    left = database.rows("select id from states")
    assert left == database.rows("select state_id from services join latest on service_id = id")
    assert deleted >= 1
    # Nothing that is still to be sent goes.
    assert await store.read("look", archive.old_alerts, now_at, 9) == []
    database.rows("update outbox set status = 'sent' where alert_id = 1")
    ids = await store.read("look", archive.old_alerts, now_at, 9)
    assert ids == [1]
    await store.write("delete", archive.prune_alerts, ids)
    assert database.rows("select count(*) from outbox where alert_id = 1") == [(0,)]
    keys = await store.read("look", archive.old_spools, now_at + 1, 9)
    assert await store.write("delete", archive.prune_spools, now_at + 1, keys) == 1
    for kind in (STATE_BUCKETS, PERF_BUCKETS):
        while hours := await store.read(
            "look", archive.old_buckets, kind, kind.hours, now_at + 1, 1
        ):
            assert await store.write("delete", archive.prune_buckets, kind, kind.hours, *hours) == 1
        assert database.rows(f"select count(*) from {kind.hours}") == [(0,)]
    old = await store.read("look", archive.old_series, now_at + 1, 9)
    await store.write("delete", archive.prune_series, old)
    assert database.rows("select count(*) from perf_series") == [(0,)]
