"""The outbox: what is still to be sent, how sending went, and what is given up."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import WALL_AT, Database, MariaDatabase

from overc.daemon.store import alerts, deliveries, records, status
from overc.daemon.store.deliveries import (
    FIRST_ATTEMPTS,
    LAST_ATTEMPTS,
    Failing,
    Liveness,
    Look,
    Tried,
)
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, Notice, Phase, State, Topic

T0 = WALL_AT
DAY_S = 86400.0

LATE = Alert(
    Channel.PLUGIN, "offline", "late", State.FAIL, Phase.PROBLEM, Topic.LATE, None, T0 - 60
)
ONLINE = Alert(Channel.PLUGIN, "online", "back", State.OK, Phase.RECOVERY, Topic.LATE)
WARNED = Alert(
    Channel.SERVICE_STATE, "WARN", "s\N{LATIN SMALL LETTER E WITH ACUTE} \N{BUG}", State.WARN,
    Phase.PROBLEM, Topic.STATE, State.OK, T0 - 5,
)  # fmt: skip
FAILED = WARNED._replace(event="FAIL", message="worse", severity=State.FAIL)
GOOD = Alert(Channel.SERVICE_STATE, "OK", "good", State.OK, Phase.RECOVERY, Topic.STATE)
ASKED = Alert(Channel.API, "alert", "asked", State.FAIL)
NOTICE = Alert(Channel.ALERT_PLUGIN, "failed", "log failed", State.FAIL)

OUTBOX = "select id, status, tries, due_at, expires_at, message_id from outbox order by id"
STATUS = "select id, status from outbox order by id"


class Post:
    """A store with services, and alerts about them that wait for plugins."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def write(self, interaction: Callable[..., Any], *args: Any) -> Any:
        return await self.store.write("test the outbox", interaction, *args)

    async def populate(self, *services: str, server: str = "web1") -> tuple[int, list[int]]:
        def populate(tx: Transaction) -> tuple[int, list[int]]:
            row = records.add_server(tx, server, "k", "ip", T0)
            return row.id, [one.id for one in records.add_services(tx, row.id, services)]

        found: tuple[int, list[int]] = await self.write(populate)
        return found

    async def raise_alert(
        self,
        alert: Alert,
        server_id: int | None = None,
        service_id: int | None = None,
        *,
        plugin: str = "mail",
        due_at: float = T0,
        status: str = "pending",
    ) -> tuple[int, int]:
        """Return the ids of the alert and of its row."""

        def add(tx: Transaction) -> tuple[int, int]:
            [id_] = alerts.add_alerts(tx, [RaisedAlert(alert, server_id, service_id, None)], T0)
            row = (id_, plugin, server_id, service_id, status, due_at, None, 0, None)
            [row_id] = tx.insert("outbox", alerts.OUTBOX, [row])
            return id_, row_id

        found: tuple[int, int] = await self.write(add)
        return found

    async def look(self, now_at: float = T0, plugin: str = "mail", limit: int = 100) -> Look:
        return await self.store.read("read the outbox", deliveries.look, plugin, now_at, limit)

    async def due(self, now_at: float = T0, plugin: str = "mail", limit: int = 100) -> list[int]:
        return [row.id for row in (await self.look(now_at, plugin, limit)).rows]

    async def fail(
        self, *ids: int, at: float = T0, next_at: float = T0 + 15, retry_for_s: float = DAY_S
    ) -> list[int]:
        tried = Tried(at, 0.5, "exit status 1")
        rows = await self.write(deliveries.mark_failed, ids, ids[0], tried, next_at, retry_for_s)
        return [row.id for row in rows]


@pytest.fixture
def post(store: Store) -> Post:
    return Post(store)


@pytest_twisted.ensureDeferred
async def test_what_is_due_the_oldest_first(database: Database, post: Post) -> None:
    server, [disk] = await post.populate("disk")
    _, first = await post.raise_alert(WARNED, server, disk)
    _, second = await post.raise_alert(ASKED, server)
    _, third = await post.raise_alert(NOTICE, due_at=T0 - 50)
    await post.raise_alert(ASKED, server, status="silenced")
    _, later = await post.raise_alert(ASKED, server, due_at=T0 + 60)
    _, others = await post.raise_alert(ASKED, server, plugin="log")
    found = await post.look()
    assert [row.id for row in found.rows] == [first, second, third]
    assert [row.lane for row in found.rows] == [disk, -server, 0]
    assert found.next_due_at == T0 + 60
    assert await post.due(limit=2) == [first, second]
    assert await post.due(plugin="log") == [others]
    assert await post.due(T0 + 60) == [first, second, third, later]
    assert (await post.look(T0 + 60)).next_due_at is None
    assert await post.due(plugin="nobody") == []
    assert found.shared is database.shared
    row = found.rows[0]
    assert (row.server_id, row.service_id, row.phase, row.topic) == (
        server, disk, "problem", "state",
    )  # fmt: skip
    assert (row.reminder, row.tries, row.message_id, row.claimed_until) == (False, 0, None, None)


@pytest_twisted.ensureDeferred
async def test_about_how_many_servers_something_waits(post: Post) -> None:
    for n in range(4):
        server, [disk] = await post.populate("disk", server=f"web{n}")
        await post.raise_alert(WARNED, server, disk)
        _, second = await post.raise_alert(FAILED, server, disk)
    await post.raise_alert(NOTICE)
    await post.raise_alert(WARNED, server, disk, due_at=T0 + 60)
    assert (await post.look(limit=8)).servers == 4
    # All of it was seen.
    assert (await post.look(limit=10)).servers == 0
    await post.fail(second - 1, second)
    assert (await post.look(limit=7)).servers == 3


@pytest_twisted.ensureDeferred
async def test_what_a_message_says(database: Database, post: Post) -> None:
    server, [disk] = await post.populate("disk")
    database.rows("update servers set title = 'Web server'")
    database.rows("update services set title = 'Disk'")

    def add(tx: Transaction) -> int:
        [state] = records.add_states(tx, [(disk, None, T0, T0, State.WARN.value, "90 %")])
        [id_] = alerts.add_alerts(tx, [RaisedAlert(WARNED, server, disk, state)], T0)
        row = (id_, "mail", server, disk, "pending", T0, None, 1, None)
        [row_id] = tx.insert("outbox", alerts.OUTBOX, [row])
        return row_id

    own_alert, own = await post.raise_alert(NOTICE)
    row_id = await post.write(add)
    found = await post.store.read("read", deliveries.load, [row_id, own, own + 100])
    assert found == {
        own: Notice(
            own_alert, "alert-plugin", "failed", "FAIL", "log failed", T0, "note", "",
            None, None, None, None, None, None, None, None, None, None, False,
        ),
        row_id: Notice(
            own_alert + 1, "service:state", "WARN", "WARN", "sé \N{BUG}", T0, "problem",
            "state", "Web server", server, "Disk", disk, "web1", "disk", "WARN", "90 %", "OK",
            T0 - 5, True,
        ),
    }  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_how_a_server_s_services_stand(database: Database, post: Post) -> None:
    server, ids = await post.populate("a", "b", "c", "never promised")
    other, [lone] = await post.populate("x", server="web2")
    a, b, c, d = ids

    def report(tx: Transaction) -> None:
        for service, at in ((a, T0 - 90), (b, T0 - 70), (c, T0 - 80), (d, T0 - 75)):
            [state] = records.add_states(tx, [(service, None, at, at, "OK", "")])
            tx.execute("update latest set last_state_id = ? where service_id = ?", state, service)

    await post.write(report)
    database.rows("update services set timed_out = 1 where id in (?, ?)", a, b)
    database.rows("update latest set deadline_at = null where service_id in (?, ?)", a, b)
    database.rows("update latest set deadline_at = 5.0 where service_id = ?", c)
    found = await post.store.read("read", deliveries.liveness, [server, other])
    assert found == {server: Liveness(2, 1, T0 - 70), other: Liveness(0, 0, None)}
    # Asked of servers with several services that fell late or came back.
    await post.raise_alert(LATE, server, a)
    await post.raise_alert(LATE, other, lone)
    assert (await post.look()).hosts == {}
    await post.raise_alert(LATE, server, b)
    assert list((await post.look()).hosts) == [server]


@pytest_twisted.ensureDeferred
async def test_what_was_sent_is_not_due(database: Database, post: Post) -> None:
    server, _ = await post.populate("disk")
    rows = [(await post.raise_alert(ASKED, server))[1] for _ in range(70)]
    tried = Tried(T0 + 1, 0.25, "250 OK")
    await post.write(deliveries.mark_sent, rows[:66], tried)
    assert await post.due() == rows[66:]
    sent = "select tries, tried_at, outcome, claimed_until from outbox where status = 'sent'"
    assert database.rows(sent) == [(1, T0 + 1, "250 OK", None)] * 66
    assert database.rows(
        "select outbox_id, tried_at, took_s, delivered, words from attempts order by id"
    ) == [(id_, T0 + 1, 0.25, 1, "250 OK") for id_ in rows[:66]]


@pytest_twisted.ensureDeferred
async def test_what_was_deleted_while_it_was_sent(database: Database, post: Post) -> None:
    server, [disk] = await post.populate("disk")
    _, one = await post.raise_alert(WARNED, server, disk)
    _, two = await post.raise_alert(ASKED, server)
    await post.write(status.delete_service, disk)
    await post.write(deliveries.mark_sent, [one, two], Tried(T0, 0.1, ""))
    assert database.rows(STATUS) == [(two, "sent")]
    assert database.rows("select outbox_id from attempts") == [(two,)]
    await post.write(status.delete_server, server)
    assert await post.fail(one, two) == []
    assert database.rows("select count(*) from attempts") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_what_failed_waits_and_holds_up_its_service(database: Database, post: Post) -> None:
    server, [disk, cpu] = await post.populate("disk", "cpu")
    _, first = await post.raise_alert(WARNED, server, disk, due_at=T0 - 10)
    _, second = await post.raise_alert(FAILED, server, disk)
    _, third = await post.raise_alert(WARNED, server, cpu)
    _, log = await post.raise_alert(WARNED, server, disk, plugin="log")
    assert await post.fail(first, at=T0 + 1, next_at=T0 + 20) == []
    assert await post.due() == [third]
    assert await post.due(plugin="log") == [log]
    assert (await post.look()).next_due_at == T0 + 20
    assert await post.due(T0 + 20) == [first, second, third]
    assert database.rows(OUTBOX)[:2] == [
        (first, "pending", 1, T0 + 20, T0 - 10 + DAY_S, first),
        (second, "pending", 0, T0, None, None),
    ]
    # The end of its time stays where it was.
    await post.fail(first, at=T0 + 21, next_at=T0 + 60)
    assert database.rows(OUTBOX)[0] == (first, "pending", 2, T0 + 60, T0 - 10 + DAY_S, first)


@pytest.mark.parametrize("about", ["server", "overc"])
@pytest_twisted.ensureDeferred
async def test_what_is_about_no_service_has_an_order_too(post: Post, about: str) -> None:
    server, [disk] = await post.populate("disk")
    id_ = server if about == "server" else None
    _, first = await post.raise_alert(ASKED, id_)
    await post.raise_alert(ASKED, id_)
    _, other = await post.raise_alert(WARNED, server, disk)
    await post.fail(first)
    assert await post.due() == [other]


@pytest_twisted.ensureDeferred
async def test_what_is_not_due_yet_holds_up_what_is_about_the_same(post: Post) -> None:
    server, [disk] = await post.populate("disk")
    _, delayed = await post.raise_alert(WARNED, server, disk, due_at=T0 + 300)
    _, asked = await post.raise_alert(ASKED, server, disk)
    _, late = await post.raise_alert(LATE, server, disk)
    _, good = await post.raise_alert(GOOD, server, disk)
    _, later = await post.raise_alert(ASKED, server, disk, due_at=T0 + 300)
    _, also = await post.raise_alert(ASKED, server, disk)
    assert await post.due() == [asked, late, also]
    assert await post.due(T0 + 300) == [delayed, asked, late, good, later, also]


@pytest_twisted.ensureDeferred
async def test_a_row_is_given_up_when_its_time_is_over(database: Database, post: Post) -> None:
    server, [disk, cpu] = await post.populate("disk", "cpu")
    alert, old = await post.raise_alert(WARNED, server, disk, due_at=T0 - 90)
    _, young = await post.raise_alert(WARNED, server, cpu)
    given_up = await post.write(
        deliveries.mark_failed, [old, young], 1, Tried(T0, 1.0, "no"), T0 + 50, 100.0
    )
    assert given_up == []
    # The last try is at the end.
    assert database.rows("select due_at, expires_at from outbox order by id") == [
        (T0 + 10, T0 + 10),
        (T0 + 50, T0 + 100),
    ]
    tried = Tried(T0 + 10, 1.0, "no")
    given_up = await post.write(deliveries.mark_failed, [old, young], 1, tried, T0 + 99, 100.0)
    assert [tuple(row) for row in given_up] == [(old, alert, disk, "problem", "state")]
    assert database.rows(STATUS) == [(old, "undelivered"), (young, "pending")]
    assert await post.due(T0 + 99) == [young]


@pytest_twisted.ensureDeferred
async def test_what_was_never_tried_is_given_up_too(database: Database, post: Post) -> None:
    server, _ = await post.populate("disk")
    old = [(await post.raise_alert(ASKED, server, due_at=T0 - 100))[1] for _ in range(3)]
    _, tried = await post.raise_alert(ASKED, server, due_at=T0 - 99)
    await post.fail(tried, next_at=T0 + 5, retry_for_s=100.0)
    await post.raise_alert(ASKED, server, due_at=T0 - 100, plugin="log")

    async def give_up(now_at: float) -> list[int]:
        rows = await post.write(deliveries.give_up_expired, "mail", now_at, 100.0, 2)
        return [row.id for row in rows]

    assert await give_up(T0) == old[:2]
    assert await give_up(T0) == old[2:]
    assert await give_up(T0) == []
    assert await give_up(T0 + 1) == [tried]
    found = [word for _, word in database.rows(STATUS)]
    assert found == ["undelivered"] * 4 + ["pending"]


@pytest_twisted.ensureDeferred
async def test_no_recovery_of_what_nobody_was_told(database: Database, post: Post) -> None:
    server, [never, told, later, twice] = await post.populate("a", "b", "c", "d")
    statuses: dict[str, int] = {}

    async def add(name: str, alert: Alert, service: int, status: str) -> None:
        statuses[name] = (await post.raise_alert(alert, server, service, status=status))[1]

    await add("never", WARNED, never, "undelivered")
    await add("never: good", GOOD, never, "pending")
    await add("never: asked", ASKED, never, "pending")
    await add("never: late", LATE, never, "sent")
    await add("never: online", ONLINE, never, "pending")
    await add("told: warned", WARNED, told, "sent")
    await add("told: failed", FAILED, told, "undelivered")
    await add("told: good", GOOD, told, "pending")
    await add("later: warned", WARNED, later, "undelivered")
    await add("later: failed", FAILED, later, "pending")
    await add("later: good", GOOD, later, "pending")
    await add("twice: told", WARNED, twice, "sent")
    await add("twice: good", GOOD, twice, "sent")
    await add("twice: again", WARNED, twice, "undelivered")
    await add("twice: good again", GOOD, twice, "pending")
    services = {never, told, later, twice}
    assert await post.write(deliveries.cancel_recoveries, "mail", services) == 2
    assert await post.write(deliveries.cancel_recoveries, "log", services) == 0
    cancelled = database.rows("select id from outbox where status = 'cancelled' order by id")
    assert [id_ for (id_,) in cancelled] == [
        statuses["never: good"], statuses["twice: good again"],
    ]  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_what_waits_need_not_wait_when_a_plugin_works_again(
    database: Database, post: Post
) -> None:
    server, [disk, cpu] = await post.populate("disk", "cpu")
    _, first = await post.raise_alert(WARNED, server, disk)
    await post.raise_alert(WARNED, server, cpu, due_at=T0 + 300)
    _, other = await post.raise_alert(WARNED, server, cpu, plugin="log")
    await post.fail(first, next_at=T0 + 900)
    await post.fail(other, next_at=T0 + 900)
    # What follows it was to be told right after it.
    for alert, due_at in ((GOOD, T0 + 900), (GOOD, T0 + 901), (LATE, T0 + 900)):
        await post.raise_alert(alert, server, disk, due_at=due_at)
    await post.write(deliveries.hurry, "mail", T0 + 2)
    assert [row[3] - T0 for row in database.rows(OUTBOX)] == [2, 300, 900, 2, 901, 900]


@pytest_twisted.ensureDeferred
async def test_a_clock_that_was_set_back_holds_up_nothing(database: Database, post: Post) -> None:
    server, [disk, cpu] = await post.populate("disk", "cpu")
    _, due = await post.raise_alert(ASKED, server, due_at=T0)
    _, waits = await post.raise_alert(WARNED, server, disk)
    await post.raise_alert(WARNED, server, cpu, due_at=T0 + 7200)
    await post.fail(waits, next_at=T0 + 900)
    changed = await post.write(deliveries.stay_due, "mail", T0 + 1, T0 - 3600, 900.0)
    assert changed == 2
    assert await post.due(T0 - 3600) == [due, waits]
    assert database.rows(OUTBOX)[2][3] == T0 + 7200


@pytest_twisted.ensureDeferred
async def test_the_first_and_the_last_attempts_are_kept(database: Database, post: Post) -> None:
    server, _ = await post.populate("disk")
    _, row = await post.raise_alert(ASKED, server)
    _, other = await post.raise_alert(ASKED, server, plugin="log")
    for n in range(40):
        await post.fail(row, at=T0 + n)
    await post.fail(other)
    await post.write(deliveries.mark_sent, [row], Tried(T0 + 40, 0.1, "x" * 5000))
    kept = database.rows(
        "select tried_at, delivered, length(words) from attempts where outbox_id = ? order by id",
        row,
    )
    assert [at - T0 for at, _, _ in kept] == [
        *range(FIRST_ATTEMPTS), *range(41 - LAST_ATTEMPTS, 41),
    ]  # fmt: skip
    assert kept[-1][1:] == (1, 2000)
    assert database.rows("select count(*) from attempts where outbox_id = ?", other) == [(1,)]


@pytest_twisted.ensureDeferred
async def test_what_waits_for_nobody_is_given_up(database: Database, post: Post) -> None:
    server, [disk] = await post.populate("disk")
    alert, _ = await post.raise_alert(WARNED, server, disk)
    await post.raise_alert(ASKED, server, plugin="log")
    await post.raise_alert(ASKED, server, plugin="log", status="sent")
    for plugin in ("mail", "log"):
        await post.write(deliveries.set_failing, Failing(plugin, T0, False))
        database.rows(
            "insert into standing (plugin, service_id, topic, alert_id) values (?, ?, 'state', ?)",
            plugin, disk, alert,
        )  # fmt: skip
    assert await post.write(deliveries.drop_unknown_plugins, ["mail"]) == 1
    assert database.rows("select plugin, status, outcome from outbox order by id") == [
        ("mail", "pending", None),
        ("log", "undelivered", "not configured any more"),
        ("log", "sent", None),
    ]
    assert database.rows("select plugin from standing") == [("mail",)]
    assert database.rows("select plugin from failing_plugins") == [("mail",)]
    assert await post.write(deliveries.drop_unknown_plugins, []) == 1
    assert database.rows("select count(*) from standing") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_which_plugins_fail(post: Post) -> None:
    assert await post.store.read("read", deliveries.failing) == []
    mail, log = Failing("mail", T0, True), Failing("log", T0 + 1, False)
    for failing in (mail, log, mail):
        await post.write(deliveries.set_failing, failing)
    assert await post.store.read("read", deliveries.failing) == [log, mail]
    await post.write(deliveries.clear_failing, "log")
    assert await post.store.read("read", deliveries.failing) == [mail]


@pytest_twisted.ensureDeferred
async def test_only_what_is_pending_can_be_claimed(database: Database, post: Post) -> None:
    server, _ = await post.populate("disk")
    _, one = await post.raise_alert(ASKED, server)
    _, two = await post.raise_alert(ASKED, server)
    assert await post.write(deliveries.claim, [one, two], "here", T0, T0 + 30)
    await post.write(deliveries.release, [one, two], "here", T0 + 30)
    database.rows("update outbox set status = 'cancelled' where id = ?", two)
    assert not await post.write(deliveries.claim, [one, two], "here", T0, T0 + 30)
    assert await post.write(deliveries.claim, [one], "here", T0, T0 + 30)
    assert not await post.write(deliveries.claim, [one, two + 1], "here", T0, T0 + 30)


@pytest_twisted.ensureDeferred
async def test_of_several_nodes_one_sends(maria: MariaDatabase, stores: Stores) -> None:
    here, there = Post(await stores.open(maria)), Post(await stores.open(maria))
    server, [disk] = await here.populate("disk")
    _, one = await here.raise_alert(WARNED, server, disk)
    _, two = await here.raise_alert(ASKED, server)
    both = [one, two]

    async def claim(post: Post, ids: list[int], now_at: float) -> bool:
        node = "here" if post is here else "there"
        taken: bool = await post.write(deliveries.claim, ids, node, now_at, now_at + 30)
        return taken

    assert await claim(here, [one], T0)
    [claimed, _] = (await there.look()).rows
    assert claimed.claimed_until == T0 + 30
    # All of a message or nothing.
    assert not await claim(there, both, T0 + 29)
    assert maria.rows("select claimed_until from outbox order by id") == [(T0 + 30,), (None,)]
    # It is given back only by whom it was claimed.
    await there.write(deliveries.release, [one], "there", T0 + 30)
    await there.write(deliveries.release_all, "there")
    assert not await claim(there, [one], T0 + 29)
    await here.write(deliveries.release, [one], "here", T0 + 30)
    assert await claim(there, both, T0 + 29)
    # A node that is gone holds it up for no longer than it said.
    assert not await claim(here, [one], T0 + 58)
    assert await claim(here, both, T0 + 59)
    # And not at all when it has come back.
    await here.write(deliveries.release_all, "here")
    assert await claim(there, both, T0 + 60)
    await there.write(deliveries.mark_sent, both, Tried(T0 + 61, 1.0, ""))
    assert not await claim(here, [one], T0 + 100)
