"""A dispatch over a real database, with plugins that end when the test says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support_daemon import WALL_AT, FakeClock, FakeRunner, Run, SteppedStore, in_transaction, rows
from twisted.internet.task import Clock

from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.dispatch import Dispatch, Way
from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.senders.command import CommandSender
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, Phase, State, Topic

OUTBOX = "select status, outcome from outbox where plugin = ? order by id"

OFFLINE = Alert(
    Channel.PLUGIN, "offline", "Monitoring plugin offline", State.FAIL, Phase.PROBLEM, Topic.LATE
)
ONLINE = Alert(
    Channel.PLUGIN, "online", "Monitoring plugin back online", State.OK, Phase.RECOVERY, Topic.LATE
)
FAILED = Alert(Channel.SERVICE_STATE, "FAIL", "it failed", State.FAIL, Phase.PROBLEM, Topic.STATE)
GOOD = Alert(Channel.SERVICE_STATE, "OK", "it works", State.OK, Phase.RECOVERY, Topic.STATE)


def no_jitter() -> float:
    return 0.0


class Post:
    """`plugins`: names, or whole settings of alert plugins. The name is the program, too."""

    def __init__(
        self, path: str, *plugins: str | AlertPlugin, environ: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.plugins = [
            AlertPlugin(one, (one, "an argument"), "/folder", 7.0) if isinstance(one, str) else one
            for one in plugins
        ]
        self.store = SteppedStore(path)
        self.reactor = Clock()
        self.clock = FakeClock()
        self.runner = FakeRunner()
        self.raiser = Raiser([one.route for one in self.plugins])
        ways = [
            Way(one, CommandSender(one, self.runner, self.clock, None, environ or {}))
            for one in self.plugins
        ]
        self.dispatch = Dispatch(
            self.reactor,
            self.store,
            self.clock,
            self.runner,
            ways,
            self.raiser,
            "here",
            lambda: 0.0,
        )

    def start(self) -> None:
        self.dispatch.startService()

    def raise_alerts(self, *messages: str, server: str = "web1") -> None:
        """Raise alerts about a server as a whole: they have an order."""
        for message in messages:
            self.raise_about(None, Alert(Channel.API, "alert", message, State.FAIL), server=server)

    def raise_about(self, *about: Any, server: str = "web1") -> None:
        """Raise alerts about services: `"disk", FAILED, "cpu", GOOD` and so on."""
        pairs = list(zip(about[::2], about[1::2], strict=True))
        in_transaction(self.path, _raise, self.raiser, server, pairs, self.clock.wall())

    def advance(self, span_s: float) -> None:
        """Let time pass, on all clocks alike, from one timer to the next."""
        end_s = self.reactor.seconds() + span_s
        while (left_s := end_s - self.reactor.seconds()) > 0:
            timers = [call.getTime() for call in self.reactor.getDelayedCalls()]
            step_s = min([left_s, *(at - self.reactor.seconds() for at in timers)])
            # Sums of floats are not exact: a timer a little ahead may not be due yet.
            step_s = max(step_s, 0.001)
            self.clock.advance(step_s)
            self.reactor.advance(step_s)

    def runs(self, program: str) -> list[Run]:
        return self.runner.of(program)

    def messages(self, program: str) -> list[str]:
        """Return the first lines of what the runs of a plugin were about, without their heads."""
        texts = [run.stdin.decode() for run in self.runner.of(program)]
        return [text.partition("] ")[2].partition("\n")[0] for text in texts]

    def ids(self, program: str) -> list[int]:
        return [int(run.env["OVERC_ALERT_ID"]) for run in self.runner.of(program)]

    def outbox(self, plugin: str) -> list[tuple[str, str | None]]:
        return [(status, words) for status, words in rows(self.path, OUTBOX, plugin)]

    def statuses(self, plugin: str) -> list[str]:
        return [status for status, _ in self.outbox(plugin)]

    def standing(self, plugin: str) -> list[tuple[str, bool]]:
        """Return the topics that stand for a plugin, and whether it was told of them."""
        sql = "select topic, told_at from standing where plugin = ? order by service_id"
        return [(topic, told_at is not None) for topic, told_at in rows(self.path, sql, plugin)]

    def under_way(self, program: str) -> list[Run]:
        return [run for run in self.runner.under_way if run.argv[0] == program]

    def end_all(self, program: str, exit_code: int = 0, output: bytes = b"") -> None:
        """End a plugin's runs, and those that follow, until there are no more."""
        while going_on := self.under_way(program):
            going_on[0].end(exit_code, output)

    def end_one(self, program: str, exit_code: int = 0, output: bytes = b"") -> None:
        self.under_way(program)[0].end(exit_code, output)


def _raise(
    tx: Transaction,
    raiser: Raiser,
    server: str,
    about: Sequence[tuple[str | None, Alert]],
    now_at: float,
) -> None:
    [host] = records.find_servers(tx, [server]) or [
        records.add_server(tx, server, "k", "ip", WALL_AT)
    ]
    raised = []
    for name, alert in about:
        service_id = None
        if name is not None:
            [service] = records.find_services(tx, host.id, [name]) or records.add_services(
                tx, host.id, [name]
            )
            service_id = service.id
        raised.append(RaisedAlert(alert, host.id, service_id, None))
    raiser.raise_alerts(tx, raised, now_at)


def failure_message(plugin: str, reason: str) -> str:
    return f"Alert plugin `{plugin}` failed: {reason}"


def works_message(plugin: str) -> str:
    return f"Alert plugin `{plugin}` works again"
