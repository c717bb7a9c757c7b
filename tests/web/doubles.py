"""The routes over a real database, without a socket and with an intake that obeys."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import timezone

from support_daemon import (
    FakeClock,
    Reply,
    SteppedStore,
    Wire,
    a_recorder,
    a_report,
    a_state,
    record,
)
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from overc.daemon.access_settings import Access, Credentials
from overc.daemon.alerting.messages import Message
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.alerting.senders import Attempt
from overc.daemon.alerting.trial import Trial
from overc.daemon.expectations import Expectations, Rule
from overc.daemon.page_settings import PublicPieces
from overc.daemon.snapshot import Snapshot
from overc.daemon.vitals import Pulse
from overc.model import Report, State
from overc.web.about import About, SetUp
from overc.web.access import Gate
from overc.web.actions import Actions
from overc.web.attention import Attention
from overc.web.dashboard import Dashboard
from overc.web.forms import Forms
from overc.web.health import Health
from overc.web.histories import Histories
from overc.web.insight import Insight
from overc.web.items import Items
from overc.web.limits import LimitedSite
from overc.web.live import Live
from overc.web.live_rows import Board
from overc.web.live_topics import Topics
from overc.web.pages import Pages
from overc.web.public.badges import Badges
from overc.web.public.routes import PublicRoutes
from overc.web.public.sight import Sight
from overc.web.public.status_pages import StatusPages
from overc.web.rejected import RejectedKeys
from overc.web.reporting import Reporting
from overc.web.site import Routes

PING = json.dumps({"server": {"name": "web1", "key": "k"}}).encode()
API = Credentials("api", "one")
UI = Credentials("ui", "two")
CROSS = {"Sec-Fetch-Site": "cross-site"}
BODY_MAX = 10_000
VIEWERS_MAX = 3
TIMEOUT_S = 5.0
"""A request may take so long once it has arrived."""

SET_UP = SetUp(
    node="mon1 tcp:5000",
    database="sqlite:////var/lib/overc/overc.db",
    path="/etc/overc/server.ini",
    listen=("tcp:5000",),
    url=None,
    timezone="UTC",
    keep_history_s=30 * 86400,
    keep_alerts_s=365 * 86400,
    keep_rollups_s=5 * 365 * 86400,
    warnings=(),
)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def post(path: str, body: bytes = PING, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def populate(path: str) -> None:
    """Add web1 (1) with disk (1), which warns."""
    report = a_report(a_state("disk", State.WARN, "90 %"))
    record(path, a_recorder(), FakeClock(), report)


class FakeWatch:
    """A watchdog that is as late as the test says."""

    def __init__(self) -> None:
        self.lag = 0.0
        self.tick_age: float | None = 0.125

    def lag_s(self) -> float:
        return self.lag

    def tick_age_s(self) -> float | None:
        return self.tick_age


class FakeSender:
    """Delivers, or does not, as the test says."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.attempt: Attempt | Deferred[Attempt] = Attempt(True, "queued")

    async def send(self, message: Message) -> Attempt:
        self.messages.append(message)
        attempt = self.attempt
        return await attempt if isinstance(attempt, Deferred) else attempt


class FakeIntake:
    """Keeps what was submitted; may fail, or wait, before it answers."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.error: Exception | None = None
        self.waits: Deferred[None] | None = None

    def submit(self, report: Report) -> Deferred[None]:
        self.reports.append(report)
        if self.error is not None:
            return fail(self.error)
        return succeed(None) if self.waits is None else self.waits


class Fixture:
    """All that the server answers with, as it is joined in `overc.server_tap`."""

    def __init__(
        self,
        path: str,
        api_auth: Credentials | None = None,
        ui_auth: Credentials | None = None,
        *,
        short_way: bool = True,
        maintenances: Sequence[Maintenance] = (),
        access: Access | None = None,
        url: str | None = None,
        set_up: SetUp = SET_UP,
        public: PublicPieces | None = None,
        rules: Sequence[Rule] = (),
        is_own_name: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self.path = path
        self.watch = FakeWatch()
        self.senders = {"mail": FakeSender(), "chat": FakeSender()}
        self.changes = 0
        self.reactor = Clock()
        self.intake = FakeIntake()
        self.store = SteppedStore(path)
        self.clock = FakeClock()
        self.snapshot = Snapshot(self.store, self.clock)
        expectations = Expectations(rules)
        insight = Insight(self.store, self.clock, maintenances)
        board = Board(self.snapshot, insight, self.clock)
        topics = Topics(self.store, self.snapshot, board, self.clock)
        self.live = Live(
            self.reactor, self.clock, board, topics, self.watch.lag_s, viewers_max=VIEWERS_MAX
        )
        self.live.startService()
        pulse = Pulse(self.store, self.clock, self.watch)
        self.forgotten: list[str] = []
        self.accepted: list[tuple[int, str]] = []
        items = Items(
            self.store,
            a_recorder(),
            self.snapshot,
            self.clock,
            self.forgotten.append,
            self.live.nudge,
        )
        rejected = RejectedKeys(
            self.store,
            self.clock,
            lambda id_, name: self.accepted.append((id_, name)),
            self.live.care_changed,
        )
        about = About(self.store, self.clock, pulse, rejected, set_up)
        dashboard = Dashboard(
            self.store,
            self.snapshot,
            Histories(self.store, self.clock, expectations),
            self.clock,
            self.watch.lag_s,
            Pages(),
            insight,
            board,
            items,
            about,
        )
        self.trial = Trial(self.clock, self.senders)
        self.trial.startService()
        attention = Attention(
            self.store,
            self.clock,
            self.intake,
            self.trial,
            insight,
            timezone.utc,
            self._count_change,
        )
        public = public or PublicPieces()
        sight = Sight(self.snapshot, self.store, self.clock, maintenances)
        api_gate = Gate(api_auth, access, url, is_api=True)
        reporting = Reporting(self.intake, api_gate, BODY_MAX)
        routes = Routes(
            self.reactor,
            reporting,
            dashboard,
            attention,
            Forms(attention, items, rejected),
            Health(pulse, self.clock),
            Actions(items, rejected, about),
            live=self.live,
            public=PublicRoutes(
                StatusPages(
                    public.pages,
                    sight,
                    self.store,
                    self.clock,
                    expectations,
                    self.watch.lag_s,
                ),
                Badges(public.badges, sight),
            ),
            api_gate=api_gate,
            ui_gate=Gate(ui_auth, access, url, is_own_name=is_own_name),
            timeout_s=TIMEOUT_S,
        )
        exact = reporting.exact() if short_way else None
        self.site = LimitedSite(routes.resource(), self.reactor, BODY_MAX, 30.0, exact)

    def _count_change(self) -> None:
        self.changes += 1

    def wire(self, peer: IAddress | None = None) -> Wire:
        return Wire(self.site) if peer is None else Wire(self.site, peer)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str | bytes] = {}
    ) -> Reply:
        return self.wire().ask(method, path, body, headers)
