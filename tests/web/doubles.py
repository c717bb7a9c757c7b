"""The routes over a real database, without a socket and with an intake that obeys."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping

from support_daemon import FakeClock, Reply, SteppedStore, Wire, a_report, a_state, record
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from overc.daemon.recording import Recorder
from overc.daemon.settings import Credentials
from overc.daemon.snapshot import Snapshot
from overc.model import Report, State
from overc.web.dashboard import Dashboard
from overc.web.health import Health
from overc.web.limits import LimitedSite
from overc.web.pages import Pages
from overc.web.reporting import Reporting
from overc.web.site import Routes

PING = json.dumps({"server": {"name": "web1", "key": "k"}}).encode()
API = Credentials("api", "one")
UI = Credentials("ui", "two")
CROSS = {"Sec-Fetch-Site": "cross-site"}
BODY_MAX = 10_000
TIMEOUT_S = 5.0
"""A request may take so long once it has arrived."""


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def post(path: str, body: bytes = PING, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def populate(path: str) -> None:
    """Add web1 (1) with disk (1), which warns."""
    report = a_report(a_state("disk", State.WARN, "90 %"))
    record(path, Recorder([]), FakeClock(), report)


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
    ) -> None:
        self.path = path
        self.lag_s = 0.0
        self.reactor = Clock()
        self.intake = FakeIntake()
        self.store = SteppedStore(path)
        self.clock = FakeClock()
        self.snapshot = Snapshot(self.store, self.clock)
        dashboard = Dashboard(
            self.store,
            Recorder([]),
            self.snapshot,
            self.clock,
            lambda: self.lag_s,
            lambda name: None,
            Pages(),
        )
        reporting = Reporting(self.intake, api_auth)
        routes = Routes(
            self.reactor,
            reporting,
            dashboard,
            Health(self.store, lambda: self.lag_s),
            api_auth=api_auth,
            ui_auth=ui_auth,
            timeout_s=TIMEOUT_S,
        )
        exact = reporting.exact() if short_way else None
        self.site = LimitedSite(routes.resource(), self.reactor, BODY_MAX, 30.0, exact)

    def wire(self, peer: IAddress | None = None) -> Wire:
        return Wire(self.site) if peer is None else Wire(self.site, peer)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str | bytes] = {}
    ) -> Reply:
        return self.wire().ask(method, path, body, headers)
