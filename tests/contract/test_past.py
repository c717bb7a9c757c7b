"""How services were: read alike on every engine, before and after the history is rolled up."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.nodes import WALL_AT, Database, Node, a_report, a_state
from contract.test_archive import roll_up
from contract.test_status import ids

from overc.daemon import archiving
from overc.daemon.alerting.raising import Raiser
from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.expectations import Expectations, Grace, Rule
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.recording import Recorder
from overc.daemon.rollups import DAY_S, HOUR_S
from overc.daemon.snapshot import Selection
from overc.daemon.store import past
from overc.daemon.store.archive import PERF_BUCKETS, STATE_BUCKETS
from overc.model import AlertReport, State
from overc.web.histories import Histories
from overc.web.shapes import Json

OK, FAIL = State.OK, State.FAIL


async def timelines(histories: Histories, selected: Selection, hours: float) -> Json:
    found = await histories.timelines(selected, hours)
    assert found is not None
    return found


async def record(node: Node, *states: State, step_s: float = 60, perf: str = "") -> int:
    """Report states one after the other, beside those of another service; return the id."""
    for place, state in enumerate(states):
        info = f"{state} {place}{perf.format(place)}"
        await node.record(
            a_report(a_state("disk", state, info), a_state("load", info=f"x|a={place}"))
        )
        node.clock.advance(step_s)
    [disk] = await ids(node.store, "disk")
    return disk


@pytest_twisted.ensureDeferred
async def test_the_newest_states_and_the_one_before(node: Node) -> None:
    disk = await record(node, OK, FAIL, OK, OK, perf="|a={}")

    async def seen(since_at: float, limit: int = 99) -> list[float]:
        rows = await node.store.read("read", past.seen, disk, since_at, limit)
        return sorted(row[1] - WALL_AT for row in rows)

    assert await seen(0) == [0, 60, 120, 180]
    assert await seen(WALL_AT + 120) == [60, 120, 180]
    assert await seen(WALL_AT + 90) == [60, 120, 180]
    assert await seen(WALL_AT + 999) == [180]
    assert await seen(0, limit=2) == [120, 180]
    rows = await node.store.read("read", past.seen, disk, WALL_AT, 99)
    assert sorted(row[2] for row in rows) == ["FAIL", "OK", "OK", "OK"]
    newest = await node.store.read("read", past.newest, disk, WALL_AT + 60, 2)
    assert [(one.state, one.info) for one in newest] == [("OK", "OK 3|a=3"), ("OK", "OK 2|a=2")]
    newest = await node.store.read("read", past.newest, disk, WALL_AT + 60, 99)
    assert [one.seen_at - WALL_AT for one in newest] == [180, 120, 60]
    assert await node.store.read("read", past.newest, disk + 99, 0, 9) == []


@pytest_twisted.ensureDeferred
async def test_a_backlog_takes_its_place(node: Node) -> None:
    disk = await record(node, OK, OK)
    await node.record(a_report(a_state("disk", FAIL, "late", 60, WALL_AT + 30)))
    newest = await node.store.read("read", past.newest, disk, WALL_AT, 9)
    assert [one.seen_at - WALL_AT for one in newest] == [60, 30, 0]
    # What was stored last is not what is newest.
    newest = await node.store.read("read", past.newest, disk, WALL_AT, 1)
    assert [one.seen_at - WALL_AT for one in newest] == [60]
    newest = await node.store.read("read", past.newest, disk, WALL_AT + 60, 1)
    assert [one.seen_at - WALL_AT for one in newest] == [60]


@pytest_twisted.ensureDeferred
async def test_the_state_before_a_range_is_the_one_seen_last(node: Node) -> None:
    """Not the one that came last: a backlog comes behind what is newer."""
    disk = await record(node, OK)

    async def before(since_at: float) -> list[tuple[float, str]]:
        rows = await node.store.read("read", past.seen, disk, since_at, 99)
        return [(row[1] - WALL_AT, row[2]) for row in rows if row[1] < since_at]

    await node.record(a_report(a_state("disk", FAIL, "now", 60)))
    for place in range(3):
        await node.record(a_report(a_state("disk", OK, "late", 60, WALL_AT + 10 * place)))
    assert await before(WALL_AT + 999) == [(60, "FAIL")]
    node.clock.advance(3600)
    # The present state came within the range.
    await record(node, OK)
    assert await before(WALL_AT + 999) == [(60, "FAIL")]


@pytest_twisted.ensureDeferred
async def test_infos_are_read_until_there_are_enough_characters(node: Node) -> None:
    disk = await record(node, OK, OK, OK, perf="|a={}")
    await node.record(a_report(a_state("disk", OK, "no perfdata")))
    rows = await node.store.read("read", past.seen, disk, 0, 99)
    ids_ = sorted((row[0] for row in rows), reverse=True)

    async def infos(most: int) -> list[str]:
        return await node.store.read(
            "read", lambda tx: list(past.newest_perfdata(tx, ids_, most).values())
        )

    assert await infos(999) == ["", "OK 2|a=2", "OK 1|a=1", "OK 0|a=0"]
    assert await infos(8) == ["", "OK 2|a=2"]


@pytest_twisted.ensureDeferred
async def test_long_infos_are_not_all_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "CHARS_MAX", 8)
    disk = await record(node, OK, FAIL, OK, perf="|a={}")
    found = await node.store.read("read", past.unfolded, [disk])
    # All states count, and the newest values.
    assert [row[4] for row in found] == ["", "", "OK 2|a=2"]
    newest = await node.store.read("read", past.newest, disk, WALL_AT, 9)
    assert [one.info for one in newest] == ["OK 2|a=2"]


@pytest_twisted.ensureDeferred
async def test_what_is_not_rolled_up_yet(node: Node) -> None:
    disk = await record(node, OK, FAIL, perf="|a={}")
    found = await node.store.read("read", past.unfolded, [disk])
    assert [(row[1], row[2], row[3], row[4]) for row in found] == [
        (disk, WALL_AT, "OK", "OK 0|a=0"),
        (disk, WALL_AT + 60, "FAIL", "FAIL 1|a=1"),
    ]
    await roll_up(node.store, node.clock.wall())
    assert await node.store.read("read", past.unfolded, [disk]) == []
    await record(node, OK)
    found = await node.store.read("read", past.unfolded, await ids(node.store, "disk", "load"))
    assert sorted(row[4] for row in found) == ["", "x|a=0"]


@pytest_twisted.ensureDeferred
async def test_a_timeline_is_the_same_before_and_after_it_is_rolled_up(node: Node) -> None:
    """Whatever part of it is in days, in hours, and in no roll-up yet."""
    histories = Histories(node.store, node.clock, Expectations())
    node.clock.advance(DAY_S - WALL_AT % DAY_S)
    disk = await record(node, *[OK] * 30, FAIL, *[OK] * 45, step_s=HOUR_S, perf="|used={}KB")
    # What the last report promised is over: it has not come.
    await node.mark_late(disk)

    async def shown() -> object:
        found = [await timelines(histories, Selection(service_id=disk), h) for h in (168, 2160)]
        for one in found:
            assert one["availability"] == pytest.approx(100 * 75 / 76)
        return found, await histories.graphs(disk, 168), await histories.graphs(disk, 2160)

    before = await shown()
    await roll_up(node.store, node.clock.wall() - 2 * DAY_S)
    assert await shown() == before
    await roll_up(node.store, node.clock.wall())
    assert await shown() == before
    await record(node, OK, step_s=0)
    [week, quarter], *_ = await shown_words(histories, disk)
    assert week.count("FAIL") == 1
    assert quarter.count("FAIL") == 1


@pytest_twisted.ensureDeferred
async def test_a_day_that_is_summed_up_in_part_counts_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "DAY_ROWS_MAX", 1)
    histories = Histories(node.store, node.clock, Expectations())
    # Nothing is known of the first hour of the day.
    node.clock.advance(DAY_S - WALL_AT % DAY_S + HOUR_S)
    await record(node, *[OK] * 40, step_s=HOUR_S / 2, perf="|used={}KB")
    both = await ids(node.store, "disk", "load")

    async def shown() -> object:
        return [
            (
                await timelines(histories, Selection(service_id=one), 2160),
                await histories.graphs(one, 2160),
            )
            for one in both
        ]

    before = await shown()
    while batch := await node.store.read("fold", archiving.find_states, Expectations(), 10**9):
        assert await node.store.write("store", archiving.store_states, batch)
    node.clock.advance(2 * DAY_S)
    now_at = node.clock.wall()
    node.clock.advance(-2 * DAY_S)
    for kind in (STATE_BUCKETS, PERF_BUCKETS):
        # Days before the first one are passed over; then comes the first of two services.
        for _ in range(2):
            day = await node.store.read("sum up", archiving.find_day, kind, now_at)
            assert day is not None
            assert await node.store.write("store", archiving.store_day, kind, day)
        assert (await node.store.read("read", past.days_done, kind)).position == 1
        assert await shown() == before


WEEKLY = Expectations(
    [
        Rule(
            "backup",
            EVERYTHING,
            Patterns("backup"),
            {
                "calendar": Calendar.parse("Sun 12:00", parse_timezone("Europe/Helsinki")),
                "grace": Grace(HOUR_S),
            },
        )
    ]
)
"""At ten by the clocks of these tests, which begin on a Sunday at ten. Never the neighbours."""


@pytest_twisted.ensureDeferred
async def test_a_calendar_s_state_holds_until_the_next_time_and_its_grace(node: Node) -> None:
    """In the full history as in what is rolled up, and whatever part is rolled up."""
    node.recorder = Recorder(Raiser([]), WEEKLY)
    histories = Histories(node.store, node.clock, WEEKLY)
    sunday_at = WALL_AT

    async def report_at(after_s: float) -> None:
        node.clock.advance(sunday_at + after_s - node.clock.wall())
        await node.record(a_report(a_state("backup", OK, "done", 60)))

    async def shown() -> list[tuple[str, int]]:
        """Return the states of the ticks and the hours known, by quarters, hours and days."""
        one = Selection(service_id=backup)
        found = [await timelines(histories, one, hours) for hours in (24, 96, 2160)]
        return [
            (" ".join(dict.fromkeys(tick["state"] for tick in one["ticks"])), one["known_s"])
            for one in found
        ]

    await report_at(300)
    [backup] = await ids(node.store, "backup")
    # On Wednesday nothing was promised for days.
    node.clock.advance(3 * DAY_S)
    known_s = 3 * DAY_S
    for _ in range(2):
        assert await shown() == [
            ("OK", DAY_S - 600),
            ("none OK", known_s),
            ("none OK", known_s),
        ]
        await roll_up(node.store, node.clock.wall(), WEEKLY)
    # The next one takes some minutes longer, and the one after it does not come.
    await report_at(7 * DAY_S + 1200)
    known_s = 7 * DAY_S + 900 + 7 * DAY_S - 1200 + HOUR_S
    node.clock.advance(sunday_at + 14 * DAY_S + 14 * HOUR_S + 60 - node.clock.wall())
    await node.mark_late(backup)
    for _ in range(2):
        assert await shown() == [
            ("OK gap", 10 * HOUR_S + 2700),
            ("OK gap", 3 * DAY_S + 10 * HOUR_S),
            ("none OK gap", known_s),
        ]
        await roll_up(node.store, node.clock.wall(), WEEKLY)
    # It came a week later: what it did not keep is a gap, and no more.
    await report_at(21 * DAY_S)
    for _ in range(2):
        assert (await shown())[2] == ("none OK gap", known_s)
        await roll_up(node.store, node.clock.wall(), WEEKLY)


async def shown_words(histories: Histories, disk: int) -> list[list[list[str]]]:
    found = [await timelines(histories, Selection(service_id=disk), h) for h in (168, 2160)]
    return [[[tick["state"] for tick in one["ticks"]] for one in found]]


@pytest_twisted.ensureDeferred
async def test_the_strips_of_a_server(database: Database, node: Node) -> None:
    histories = Histories(node.store, node.clock, Expectations())
    await record(node, OK, FAIL, OK)
    await node.record(a_report(a_state("other"), name="web2", alerts=[AlertReport("x", "silent")]))
    [(web1,)] = database.rows("select id from servers where name = 'web1'")
    [(web2,)] = database.rows("select id from servers where name = 'web2'")
    found = await timelines(histories, Selection(server_id=web1), 24)
    assert found["tick_s"] == HOUR_S
    disk, load = found["services"]
    assert (disk["ticks"][-1], load["ticks"][-1]) == ("F", "O")
    node.clock.advance(30)
    found = await timelines(histories, Selection(server_id=web2), 24)
    assert [one["availability"] for one in found["services"]] == [100, None]
    assert await node.store.read("read", past.registered_at, web1) == WALL_AT
    assert await node.store.read("read", past.registered_at, web1 + 99) is None


@pytest_twisted.ensureDeferred
async def test_the_page_of_a_service(database: Database, node: Node) -> None:
    histories = Histories(node.store, node.clock, Expectations())
    disk = await record(node, OK, FAIL, FAIL, OK, perf="|'u d'={};5;7")
    for at, delivered, words in ((1.0, 0, "no way"), (2.0, 1, "gone")):
        database.rows(
            "insert into attempts (outbox_id, tried_at, took_s, delivered, words)"
            " values ((select max(id) from outbox where plugin = 'mail'), ?, 0.5, ?, ?)",
            WALL_AT + at, delivered, words,
        )  # fmt: skip
    shown = await histories.service_view(disk, 24, None)
    assert shown is not None
    assert [one["state"] for one in shown.states] == ["OK", "FAIL", "FAIL", "OK"]
    assert [len(one["alerts"]) for one in shown.states] == [1, 0, 1, 0]
    assert [one["event"] for one in shown.alerts["alerts"]] == ["OK", "FAIL"]
    assert (shown.view.n_alerts, shown.view.is_cut) == (2, False)
    [attempts] = shown.view.log.values()
    assert [(one.delivered, one.words) for one in attempts] == [(True, "gone"), (False, "no way")]
    [graph] = shown.view.graphs
    assert [one.label for one in graph.figures] == ["u d"]
    assert await histories.service_view(disk + 99, 24, None) is None
    assert await histories.graphs(disk + 99, 24) is None
