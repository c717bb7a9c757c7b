"""A node with rules of its own, and the people around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contract.nodes import WALL_AT, Database, Node, Rows, a_report, a_state

from overc.daemon.alerting import attending
from overc.daemon.alerting.attention import Attend
from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.recording import Recorder
from overc.daemon.store import standing
from overc.daemon.store.standing import Problem
from overc.model import State

OUTBOX = (
    "select event, plugin, status, due_at from outbox join alerts on alerts.id = alert_id"
    " order by outbox.id"
)
STANDING = (
    "select services.name, standing.topic, plugin, event, told_at, remind_at from standing"
    " join services on services.id = standing.service_id"
    " join alerts on alerts.id = standing.alert_id"
    " order by services.name, standing.topic, plugin"
)


class Window(NamedTuple):
    """A window that opens once."""

    begins_at: float
    ends_at: float

    def until(self, now_at: float) -> float | None:
        return self.ends_at if self.begins_at <= now_at < self.ends_at else None

    def begun_at(self, now_at: float) -> float | None:
        return self.begins_at if self.begins_at <= now_at < self.ends_at else None


class Desk:
    """A node with its rules, and people who tell plugins, silence and acknowledge."""

    def __init__(
        self,
        node: Node,
        database: Database,
        *routes: Route,
        maintenances: Sequence[Maintenance] = (),
    ) -> None:
        self.node = node
        self.database = database
        self.routes = {route.name: route for route in routes}
        self.raiser = Raiser(routes, maintenances)
        node.recorder = Recorder(self.raiser)
        self.attend = Attend(self.raiser, routes)

    @property
    def now_at(self) -> float:
        return self.node.clock.wall()

    def wait(self, span_s: float) -> None:
        self.node.clock.advance(span_s)

    async def report(self, state: State, service: str = "disk", server: str = "web1") -> None:
        await self.node.record(a_report(a_state(service, state), name=server))

    async def late(self, *services: str) -> None:
        marks = ",".join("?" * len(services))
        rows = self.database.rows(f"select id from services where name in ({marks})", *services)
        self.wait(61)
        assert await self.node.mark_late(*(id_ for (id_,) in rows)) == len(rows)

    async def deliver(self) -> list[str]:
        """Send all that is due, as dispatch does; return what was sent."""
        rows = self.database.rows(
            "select outbox.id, plugin, event, reminder, phase, alerts.service_id, topic, alerts.id"
            " from outbox join alerts on alerts.id = alert_id"
            " where status = 'pending' and due_at <= ? order by outbox.id",
            self.now_at,
        )
        sent = []
        for id_, plugin, event, reminder, phase, service_id, topic, alert_id in rows:
            self.database.rows("update outbox set status = 'sent' where id = ?", id_)
            sent.append(f"{plugin} {event}" + (" again" if reminder else ""))
            if phase == "problem":
                await self.node.store.write(
                    "keep what was told", standing.told, plugin,
                    [Problem(service_id, topic, alert_id)], self.now_at,
                    self.routes[plugin].remind_s,
                )  # fmt: skip
        return sent

    async def look(self) -> int:
        store = self.node.store
        told = await store.write("look at silences", self.attend.silences, self.now_at)
        _, reminders = await store.write("remind", self.attend.reminders, self.now_at)
        return told + reminders

    async def silence(
        self, servers: str = "*", services: str = "*", lasts_s: float = 600, starts_s: float = 0
    ) -> int:
        starts_at = self.now_at + starts_s
        return await self.node.store.write(
            "silence", attending.silence, servers, services, "alice", "new disks",
            starts_at, starts_at + lasts_s, self.now_at,
        )  # fmt: skip

    async def end_silence(self, id_: int) -> str | None:
        return await self.node.store.write("end a silence", attending.end_silence, id_, self.now_at)

    async def acknowledge(self, service_id: int | None = None) -> str | None:
        if service_id is None:
            [(service_id,)] = self.database.rows("select id from services")
        return await self.node.store.write(
            "acknowledge", attending.acknowledge, service_id, "bob", " I am\non it ", self.now_at
        )

    def outbox(self) -> list[tuple[str, str, str, float]]:
        """Return event, plugin, status, and in how many seconds from the beginning it is due."""
        return [(*row[:3], row[3] - WALL_AT) for row in self.database.rows(OUTBOX)]

    def statuses(self) -> list[tuple[str, str]]:
        return [(event, status) for event, _, status, _ in self.outbox()]

    def standing(self) -> Rows:
        return self.database.rows(STANDING)

    def own_alerts(self) -> Rows:
        return self.database.rows(
            "select event, message from alerts where channel = 'overc' order by id"
        )
