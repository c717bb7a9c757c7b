"""What silences keep back, and what is said when they end, in the database."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.desk import Desk, Window
from contract.nodes import WALL_AT, Database, Node

from overc.daemon.alerting import attending
from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.patterns import Patterns
from overc.daemon.store import kept_back
from overc.model import State

OK, WARN, FAIL = State.OK, State.WARN, State.FAIL
MAIL = Route("mail")


@pytest_twisted.ensureDeferred
async def test_a_silence_and_its_summary(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL, Route("chat", events=Patterns("*/FAIL")))
    id_ = await desk.silence("web*")
    for service in ("disk", "cpu", "load"):
        await desk.report(WARN, service)
        await desk.report(FAIL, service)
    await desk.report(OK, "load")
    await desk.report(FAIL, "disk", "db1")
    assert await desk.deliver() == ["mail FAIL", "chat FAIL"]
    assert desk.statuses().count(("FAIL", "silenced")) == 6
    assert database.rows("select distinct silence_id from outbox where status = 'silenced'") == [
        (id_,)
    ]
    desk.wait(599.9)
    await desk.look()
    await desk.deliver()
    desk.wait(0.1)
    # The newest of each problem that is still there, to each plugin: one message each.
    assert await desk.look() == 4
    assert database.rows(
        "select plugin, services.name, event, silence_id from outbox"
        " join alerts on alerts.id = alert_id"
        " join services on services.id = outbox.service_id"
        " where status = 'pending' order by outbox.id"
    ) == [
        ("mail", "disk", "FAIL", id_),
        ("chat", "disk", "FAIL", id_),
        ("mail", "cpu", "FAIL", id_),
        ("chat", "cpu", "FAIL", id_),
    ]
    assert desk.own_alerts()[-1] == (
        "silence-ended",
        f"Silence {id_} by alice (new disks) has ended; still wrong: web1 disk, web1 cpu",
    )
    assert await desk.look() == 0
    # From now on they stand, and their recoveries come.
    await desk.deliver()
    await desk.report(OK, "disk")
    assert await desk.deliver() == ["mail OK", "chat OK"]
    assert await desk.end_silence(id_) == f"Silence {id_} is over already"


@pytest_twisted.ensureDeferred
async def test_a_silence_that_kept_nothing_back(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.report(FAIL, "disk")
    await desk.silence()
    await desk.report(FAIL, "cpu")
    # Told before the silence: it is waited for.
    await desk.report(OK, "disk")
    await desk.report(OK, "cpu")
    assert await desk.deliver() == ["mail FAIL", "mail OK"]
    desk.wait(600)
    assert await desk.look() == 0
    assert desk.own_alerts() == []
    assert database.rows("select closed_at from silences") == [(WALL_AT + 600,)]


@pytest_twisted.ensureDeferred
async def test_what_was_raised_before_a_silence_and_is_due_in_it(
    database: Database, node: Node
) -> None:
    desk = Desk(node, database, Route("mail", delay_s=60), Route("chat", delay_s=700))
    await desk.report(FAIL)
    desk.wait(30)
    await desk.silence("web*")
    assert desk.statuses() == [("FAIL", "silenced"), ("FAIL", "pending")]
    assert [row[2] for row in desk.standing()] == ["chat"]
    desk.wait(600)
    assert await desk.look() == 1
    assert await desk.deliver() == ["mail FAIL"]
    # A silence that begins later has the same effect.
    await desk.silence("web*", starts_s=60)
    await desk.look()
    assert desk.statuses()[1] == ("FAIL", "pending")
    desk.wait(60)
    await desk.look()
    assert desk.statuses()[1] == ("FAIL", "silenced")


@pytest_twisted.ensureDeferred
async def test_silences_that_overlap(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.silence(lasts_s=1000)
    await desk.report(FAIL)
    desk.wait(500)
    second = await desk.silence("web1", lasts_s=1000)
    desk.wait(500)
    # The second one keeps it back from now on.
    assert await desk.look() == 0
    assert desk.own_alerts() == []
    desk.wait(500)
    assert await desk.look() == 1
    assert database.rows("select distinct silence_id from outbox") == [(second,)]


@pytest_twisted.ensureDeferred
async def test_silences_that_ended_while_nobody_looked(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.silence(lasts_s=100)
    await desk.report(WARN)
    desk.wait(150)
    await desk.silence("web1", lasts_s=100)
    await desk.report(FAIL)
    desk.wait(5000)
    # One message, of what is still there.
    assert await desk.look() == 1
    assert await desk.deliver() == ["mail FAIL"]
    assert [event for event, _ in desk.own_alerts()] == ["silence-ended"]


@pytest_twisted.ensureDeferred
async def test_after_a_silence_nothing_is_told_that_is_older_than_what_was_told(
    database: Database, node: Node
) -> None:
    desk = Desk(node, database, MAIL)
    id_ = await desk.silence()
    await desk.report(FAIL)
    desk.wait(60)
    assert await desk.end_silence(id_) is None
    await desk.report(WARN)
    assert await desk.deliver() == ["mail WARN"]
    assert await desk.look() == 0


@pytest.mark.parametrize(
    "lasts_s, warned_s, left", [(600, 540, "1m"), (1200, 1080, "2m"), (86400, 85800, "10m")]
)
@pytest_twisted.ensureDeferred
async def test_a_silence_tells_before_it_ends(
    database: Database, node: Node, lasts_s: float, warned_s: float, left: str
) -> None:
    desk = Desk(node, database, MAIL, Route("chat", services=Patterns("cpu")), Route("no"))
    id_ = await desk.silence(lasts_s=lasts_s)
    for n in range(12):
        await desk.report(FAIL, f"disk{n}")
    await desk.report(FAIL, "cpu")
    desk.wait(warned_s - 0.1)
    assert await desk.look() == 0
    desk.wait(0.1)
    assert await desk.look() == 3
    assert sorted(await desk.deliver()) == [
        "chat silence-ending", "mail silence-ending", "no silence-ending",
    ]  # fmt: skip
    ends = f"Silence {id_} by alice (new disks) ends in {left}; still wrong: "
    disks = ", ".join(f"web1 disk{n}" for n in range(10))
    assert desk.own_alerts() == [
        ("silence-ending", f"{ends}{disks} and 3 more"),
        ("silence-ending", f"{ends}web1 cpu"),
    ]
    # Once.
    assert await desk.look() == 0


@pytest_twisted.ensureDeferred
async def test_a_silence_that_ends_with_all_well_says_nothing(
    database: Database, node: Node
) -> None:
    quiet = Window(WALL_AT, WALL_AT + 6000)
    desk = Desk(node, database, MAIL, Route("chat", quiet=quiet))
    await desk.silence()
    await desk.report(FAIL)
    await desk.report(OK)
    desk.wait(590)
    assert await desk.look() == 0
    # In its quiet hours a plugin is not told.
    await desk.silence()
    await desk.report(FAIL)
    desk.wait(590)
    assert await desk.look() == 1
    assert await desk.deliver() == ["mail silence-ending"]


@pytest_twisted.ensureDeferred
async def test_reminders_and_silences(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", remind_s=600))
    await desk.report(FAIL)
    await desk.deliver()
    desk.wait(500)
    id_ = await desk.silence(lasts_s=5000)
    desk.wait(600)
    assert await desk.look() == 0
    await desk.end_silence(id_)
    desk.wait(500)
    assert await desk.look() == 0
    desk.wait(100)
    assert await desk.look() == 1


@pytest_twisted.ensureDeferred
async def test_a_window_of_maintenance_is_a_silence(database: Database, node: Node) -> None:
    window = Window(WALL_AT + 100, WALL_AT + 700)
    maintenances = [Maintenance("nightly", window, Patterns("web*"), reason="dumps")]
    desk = Desk(node, database, MAIL, maintenances=maintenances)
    assert await desk.look() == 0
    assert database.rows("select * from silences") == []
    desk.wait(101)
    await desk.report(FAIL)
    assert desk.statuses() == [("FAIL", "silenced")]
    desk.wait(1)
    await desk.look()
    assert database.rows("select servers, services, author, reason, ends_at from silences") == [
        ("web*", "*", "maintenance nightly", "dumps", WALL_AT + 700)
    ]
    # It comes again, so nobody need be told before it ends.
    desk.wait(590)
    assert await desk.look() == 0
    desk.wait(9)
    assert await desk.look() == 1
    assert await desk.deliver() == ["mail FAIL"]
    assert desk.own_alerts() == [
        ("silence-ended", "Maintenance nightly has ended; still wrong: web1 disk")
    ]


@pytest_twisted.ensureDeferred
async def test_a_window_that_is_ended_before_its_time(database: Database, node: Node) -> None:
    maintenances = [Maintenance("nightly", Window(WALL_AT, WALL_AT + 700))]
    desk = Desk(node, database, MAIL, maintenances=maintenances)
    await desk.look()
    [(id_,)] = database.rows("select id from silences")
    assert await desk.end_silence(id_) is None
    desk.wait(1)
    await desk.report(FAIL)
    assert await desk.deliver() == ["mail FAIL"]


@pytest_twisted.ensureDeferred
async def test_windows_among_silences(database: Database, node: Node) -> None:
    windows = [Window(WALL_AT, WALL_AT + 700), Window(WALL_AT, WALL_AT + 100)]
    maintenances = [Maintenance(name, window) for name, window in zip("ab", windows, strict=True)]
    desk = Desk(node, database, MAIL, maintenances=maintenances)
    await desk.look()
    await desk.silence()

    async def found(since_s: float, *names: str) -> list[str]:
        rows = await node.store.read("read", kept_back.of_windows, names, WALL_AT + since_s)
        return sorted(row.author for row in rows)

    assert await found(0, "a", "b") == ["maintenance a", "maintenance b"]
    assert await found(100, "a", "b") == ["maintenance a", "maintenance b"]
    assert await found(101, "a", "b") == ["maintenance a"]
    assert await found(0, "b", "alice") == ["maintenance b"]
    assert await found(0) == []


@pytest_twisted.ensureDeferred
async def test_a_silence_taken_back_before_it_begins(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    id_ = await desk.silence(starts_s=100)
    await desk.report(FAIL, "disk")
    assert await desk.deliver() == ["mail FAIL"]
    assert await desk.end_silence(id_) is None
    desk.wait(100)
    await desk.report(FAIL, "cpu")
    assert await desk.deliver() == ["mail FAIL"]
    assert await desk.end_silence(id_ + 7) == (
        f"There is no silence {id_ + 7}: look at the list of silences for its number"
    )


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"servers": " "}, "servers: expected names such as"),
        ({"services": "!"}, "services: expected names such as"),
        ({"services": "s" * 2001}, "services: expected 2000 characters at most"),
        # It is not looked into.
        ({"services": "," * 2001}, "services: expected 2000 characters at most"),
        ({"author": ""}, "an author is missing"),
        ({"reason": "\t"}, "a reason is missing"),
        ({"reason": "r" * 501}, "a reason has 500 characters at most"),
        ({"ends_at": WALL_AT}, "the silence would end before it starts"),
        ({"starts_at": WALL_AT - 60, "ends_at": WALL_AT - 30}, "would end before it starts"),
        ({"starts_at": WALL_AT + 60}, "would end before it starts"),
        ({"ends_at": float("nan")}, "a silence needs a time when it starts"),
        ({"ends_at": float("inf")}, "a silence needs a time when it starts"),
        ({"ends_at": WALL_AT + 367 * 86400}, "a silence lasts 366d at most"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_silence_that_is_refused(
    database: Database, node: Node, changes: dict[str, object], sentence: str
) -> None:
    arguments: dict[str, object] = {
        "servers": "*", "services": "*", "author": "alice", "reason": "work",
        "starts_at": WALL_AT, "ends_at": WALL_AT + 60, "now_at": WALL_AT,
    }  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        await node.store.write("silence", attending.silence, **(arguments | changes))  # type: ignore[arg-type]
    assert database.rows("select * from silences") == []


@pytest_twisted.ensureDeferred
async def test_a_silence_ends_at_another_time(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    id_ = await desk.silence("web*")
    await desk.report(FAIL)
    desk.wait(590)
    # It is said that it ends soon, and once more when it ends later.
    assert await desk.look() == 1

    async def change(span_s: float, silence_id: int = id_) -> str | None:
        ends_at = desk.now_at + span_s
        return await node.store.write(
            "change", attending.change_silence, silence_id, ends_at, desk.now_at
        )

    assert await change(3600) is None
    assert database.rows("select ends_at, warned_at from silences") == [(WALL_AT + 4190, None)]
    desk.wait(3590)
    assert await desk.look() == 1
    assert await change(5) is None
    for span_s in (0, -1, 367 * 86400):
        with pytest.raises(ValueError, match=r"give a (later|sooner) end"):
            await change(span_s)
    assert "There is no silence 99" in (await change(60, 99) or "")
    desk.wait(5)
    assert await desk.look() == 1
    assert await change(60) == f"Silence {id_} is over already: begin another one"
