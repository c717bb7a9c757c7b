"""What goes where, who is reminded, and who takes care, in the database."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.desk import Desk
from contract.nodes import WALL_AT, Database, Node, Rows, a_report, a_state

from overc.daemon.alerting import attending
from overc.daemon.alerting.attention import take_up_reminders
from overc.daemon.alerting.routing import Route
from overc.daemon.patterns import Patterns
from overc.daemon.store import standing
from overc.daemon.store.records import RaisedAlert
from overc.daemon.store.standing import Problem
from overc.model import Alert, AlertReport, Channel, State

OK, WARN, FAIL = State.OK, State.WARN, State.FAIL
MAIL, CHAT = Route("mail"), Route("chat")


@pytest_twisted.ensureDeferred
async def test_names_decide_where_alerts_go(database: Database, node: Node) -> None:
    desk = Desk(
        node,
        database,
        MAIL,
        Route("web", servers=Patterns("web*")),
        Route("disk", services=Patterns("disk")),
        Route("fail", events=Patterns("service:state/FAIL")),
    )
    for server in ("web1", "db1"):
        await node.record(
            a_report(
                a_state("disk", FAIL),
                a_state("cpu", WARN),
                name=server,
                alerts=[AlertReport("of the server")],
            )
        )
    rows = database.rows(
        "select servers.name, services.name, plugin from outbox"
        " join alerts on alerts.id = alert_id join servers on servers.id = outbox.server_id"
        " left join services on services.id = outbox.service_id order by outbox.id"
    )
    assert rows == [
        *(("web1", "disk", plugin) for plugin in ("mail", "web", "disk", "fail")),
        *(("web1", "cpu", plugin) for plugin in ("mail", "web")),
        *(("web1", None, plugin) for plugin in ("mail", "web")),
        *(("db1", "disk", plugin) for plugin in ("mail", "disk", "fail")),
        ("db1", "cpu", "mail"),
        ("db1", None, "mail"),
    ]
    assert len(desk.standing()) == 10


@pytest_twisted.ensureDeferred
async def test_what_is_recorded_of_an_alert(database: Database, node: Node) -> None:
    Desk(node, database, MAIL)
    await node.record(a_report(a_state("disk", OK)))
    await node.record(a_report(a_state("disk", WARN)))
    await node.record(a_report(alerts=[AlertReport("as sent")]))
    assert database.rows("select phase, topic, previous_state from alerts order by id") == [
        ("problem", "state", "OK"),
        ("note", "", None),
    ]


@pytest_twisted.ensureDeferred
async def test_a_problem_over_before_its_delay_is_never_sent(
    database: Database, node: Node
) -> None:
    desk = Desk(node, database, MAIL, Route("chat", delay_s=300))
    await desk.report(FAIL)
    assert await desk.deliver() == ["mail FAIL"]
    desk.wait(299)
    await desk.report(OK)
    assert await desk.deliver() == ["mail OK"]
    assert desk.outbox() == [
        ("FAIL", "mail", "sent", 0),
        ("FAIL", "chat", "cancelled", 300),
        ("OK", "mail", "sent", 299),
    ]
    assert desk.standing() == []
    # The next one lasts, and its recovery goes to both.
    await desk.report(WARN)
    desk.wait(300)
    assert await desk.deliver() == ["mail WARN", "chat WARN"]
    await desk.report(FAIL)
    assert await desk.deliver() == ["mail FAIL", "chat FAIL"]
    await desk.report(OK)
    assert await desk.deliver() == ["mail OK", "chat OK"]
    assert desk.standing() == []


@pytest_twisted.ensureDeferred
async def test_what_was_tried_may_have_arrived(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.report(FAIL)
    # The plugin failed: the next try is in ten minutes.
    database.rows("update outbox set tries = 1, due_at = ?", WALL_AT + 600)
    desk.wait(60)
    await desk.report(OK)
    assert desk.outbox() == [("FAIL", "mail", "pending", 600), ("OK", "mail", "pending", 600)]
    # Another node may have it under way, before it is due by our clock.
    database.rows("update outbox set status = 'sent'")
    await desk.report(FAIL)
    database.rows(
        "update outbox set claimed_until = ?, due_at = ? where status = 'pending'",
        WALL_AT + 90, desk.now_at + 0.1,
    )  # fmt: skip
    await desk.report(OK)
    assert desk.statuses()[2:] == [("FAIL", "pending"), ("OK", "pending")]


@pytest_twisted.ensureDeferred
async def test_kinds_of_problems_stand_side_by_side(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.report(FAIL)
    await desk.late("disk")
    await desk.deliver()
    at = desk.now_at
    assert desk.standing() == [
        ("disk", "late", "mail", "offline", at, None),
        ("disk", "state", "mail", "FAIL", at, None),
    ]
    await desk.report(FAIL)
    assert await desk.deliver() == ["mail online"]
    assert [row[1] for row in desk.standing()] == ["state"]


@pytest_twisted.ensureDeferred
async def test_many_late_services_at_once(database: Database, node: Node) -> None:
    names = [f"s{n}" for n in range(1200)]
    desk = Desk(node, database, MAIL, Route("chat", services=Patterns("s1*"), delay_s=60))
    await node.record(a_report(*(a_state(name) for name in names)))
    await desk.late(*names)
    with_one = sum(name.startswith("s1") for name in names)
    count = "select plugin, count(*), count(distinct alert_id) from {} group by plugin order by 1"
    expected = [("chat", with_one, with_one), ("mail", 1200, 1200)]
    assert database.rows(count.format("outbox")) == expected
    assert database.rows(count.format("standing")) == expected
    await node.record(a_report(*(a_state(name) for name in names)))
    assert database.rows("select * from standing") == []
    assert database.rows(
        "select plugin, status, event, count(*) from outbox"
        " join alerts on alerts.id = alert_id group by plugin, status, event order by 1, 2, 3"
    ) == [
        ("chat", "cancelled", "offline", with_one),
        ("mail", "pending", "offline", 1200),
        ("mail", "pending", "online", 1200),
    ]


@pytest_twisted.ensureDeferred
async def test_a_notice_goes_to_all_but_the_plugin_that_it_is_about(
    database: Database, node: Node
) -> None:
    desk = Desk(node, database, MAIL, Route("chat", servers=Patterns("db1")), Route("sms"))
    notice = Alert(Channel.ALERT_PLUGIN, "failed", "mail failed", FAIL)
    raised = [RaisedAlert(notice, None, None, None)]
    for without in ("mail", None):
        await node.store.write("raise", desk.raiser.raise_alerts, raised, WALL_AT, without)
    assert [plugin for _, plugin, _, _ in desk.outbox()] == ["chat", "sms", "mail", "chat", "sms"]
    assert await node.store.write("raise", desk.raiser.raise_alerts, [], WALL_AT) == 0


@pytest_twisted.ensureDeferred
async def test_what_is_told_late_of_an_ended_problem(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", delay_s=60, remind_s=3600))
    await desk.report(FAIL)
    [(service_id, first)] = database.rows("select service_id, alert_id from standing")
    database.rows("update outbox set tries = 1")
    await desk.report(OK)
    await desk.report(FAIL)
    # The first one is delivered only now: of the second one nobody was told.
    problem = Problem(service_id, "state", first)
    await node.store.write("tell", standing.told, "mail", [problem], WALL_AT + 5, 3600)
    assert desk.standing() == [("disk", "state", "mail", "FAIL", None, None)]
    await node.store.write("drop", standing.drop_untold, "mail", [problem], WALL_AT + 5, 3600)
    assert len(desk.standing()) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_given_up_stands_no_longer(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", remind_s=3600), CHAT)
    await desk.report(WARN)
    await desk.report(FAIL)
    [(service_id,)] = database.rows("select id from services")
    first, second = (id_ for (id_,) in database.rows("select id from alerts order by id"))

    async def give_up(alert_id: int) -> Rows:
        sql = "update outbox set status = 'undelivered' where plugin = 'mail' and alert_id = ?"
        database.rows(sql, alert_id)
        problem = Problem(service_id, "state", alert_id)
        await node.store.write("drop", standing.drop_untold, "mail", [problem], WALL_AT + 5, 3600)
        return desk.standing()

    both = [("disk", "state", plugin, "WARN", None, None) for plugin in ("chat", "mail")]
    # FAIL still waits.
    assert await give_up(first) == both
    assert await give_up(second) == both[:1]
    # What was told before stands, and is reminded of.
    await desk.report(OK)
    await desk.report(WARN)
    await desk.deliver()
    await desk.report(FAIL)
    assert desk.standing()[1][4:] == (WALL_AT, None)
    [(third,)] = database.rows("select max(id) from alerts")
    assert (await give_up(third))[1][4:] == (WALL_AT, WALL_AT + 5 + 3600)


@pytest_twisted.ensureDeferred
async def test_reminders(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", remind_s=600), CHAT)
    await desk.report(WARN)
    assert await desk.deliver() == ["mail WARN", "chat WARN"]
    desk.wait(300)
    await desk.report(FAIL)
    # More of it is about to be told.
    desk.wait(301)
    assert await desk.look() == 0
    assert await desk.deliver() == ["mail FAIL", "chat FAIL"]
    desk.wait(599)
    assert await desk.look() == 0
    desk.wait(1)
    assert await desk.look() == 1
    # One at a time, however long it takes to send it.
    desk.wait(5000)
    assert await desk.look() == 0
    assert await desk.deliver() == ["mail FAIL again"]
    desk.wait(600)
    await desk.report(OK)
    assert await desk.look() == 0
    assert await desk.deliver() == ["mail OK", "chat OK"]


@pytest_twisted.ensureDeferred
async def test_reminders_of_what_was_told_before_there_was_a_rule(
    database: Database, node: Node
) -> None:
    desk = Desk(node, database, MAIL, CHAT)
    await desk.report(FAIL)
    await desk.report(FAIL, "cpu")
    await desk.deliver()
    await desk.report(WARN, "cpu")
    routes = [Route("mail", remind_s=60), CHAT]
    await node.store.write("take up", take_up_reminders, routes, desk.now_at)
    # Of cpu more is about to be told.
    assert [row[:3] for row in desk.standing() if row[5] is not None] == [("disk", "state", "mail")]


@pytest_twisted.ensureDeferred
async def test_acknowledged(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", remind_s=600), Route("boss", delay_s=900))
    await desk.report(FAIL)
    assert await desk.deliver() == ["mail FAIL"]
    assert await desk.acknowledge() is None
    assert database.rows("select author, reason, acked_at from acks") == [
        ("bob", "I am on it", WALL_AT)
    ]
    # Somebody takes care: who was to hear of it later need not, and nobody is reminded.
    assert desk.statuses() == [("FAIL", "sent"), ("FAIL", "cancelled")]
    assert [row[2] for row in desk.standing()] == ["mail"]
    for _ in range(3):
        desk.wait(600)
        assert await desk.look() == 0
    # A worse problem is news.
    await desk.report(WARN)
    desk.wait(900)
    assert await desk.deliver() == ["mail WARN", "boss WARN"]
    # Acknowledged again, by another one.
    assert await desk.acknowledge() is None
    await desk.report(OK)
    assert await desk.deliver() == ["mail OK", "boss OK"]
    [(service_id,)] = database.rows("select id from services")
    await node.store.write("clear", attending.clear_acks, [service_id, service_id + 1])
    assert database.rows("select * from acks") == []


@pytest_twisted.ensureDeferred
async def test_an_acknowledgement_taken_back(database: Database, node: Node) -> None:
    desk = Desk(node, database, Route("mail", remind_s=600))
    await desk.report(FAIL)
    await desk.deliver()
    await desk.acknowledge()
    desk.wait(600)
    assert await desk.look() == 0
    [(service_id,)] = database.rows("select service_id from acks")
    await node.store.write("clear", attending.clear_acks, [service_id])
    desk.wait(600)
    assert await desk.look() == 1


@pytest_twisted.ensureDeferred
async def test_what_can_not_be_acknowledged(database: Database, node: Node) -> None:
    desk = Desk(node, database, MAIL)
    await desk.report(OK)
    assert await desk.acknowledge() == (
        'Nothing is wrong with "disk": only a problem can be acknowledged'
    )
    assert await desk.acknowledge(99) == (
        "There is no service 99: it may have been deleted, look for its new id"
    )
    with pytest.raises(ValueError, match="a reason is missing"):
        await node.store.write("ack", attending.acknowledge, 1, "bob", " \n", WALL_AT)
    with pytest.raises(ValueError, match="an author has 500 characters at most, this one has 501"):
        await node.store.write("ack", attending.acknowledge, 1, "b" * 501, "mine", WALL_AT)
    assert database.rows("select * from acks") == []
    await desk.late("disk")
    assert await desk.acknowledge() is None
