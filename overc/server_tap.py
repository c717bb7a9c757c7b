"""`twistd overc-server`: reads the options and builds the server out of its parts."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.endpoints import serverFromString

from overc import lifecycle
from overc.clock import SystemClock, put_on_monotonic_clock
from overc.config import ConfigError
from overc.daemon import keys, settings
from overc.daemon.alerting.attention import Attention as Reminders
from overc.daemon.alerting.dispatch import Dispatch, Way
from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.senders import make_sender
from overc.daemon.alerting.trial import Trial
from overc.daemon.forgetting import Forgetting
from overc.daemon.heartbeat import Heartbeat
from overc.daemon.housekeeping import Housekeeping, Retention
from overc.daemon.intake import Intake
from overc.daemon.node_clocks import NodeClocks
from overc.daemon.recording import Recorder
from overc.daemon.rejections import Rejections
from overc.daemon.server import Endpoint, Server
from overc.daemon.settings import ServerSettings
from overc.daemon.snapshot import Snapshot
from overc.daemon.store import sqlite
from overc.daemon.store.engine import Store
from overc.daemon.store.errors import StorageError
from overc.daemon.store.urls import Database, SqliteDatabase
from overc.daemon.vitals import Pulse
from overc.daemon.watchdog import Watchdog
from overc.logging import get_logger, set_level
from overc.process import Runner
from overc.sd_notify import Notifier
from overc.supervision import AnnouncedEndpoint, Supervision
from overc.twistd_options import TwistdOptions
from overc.web.about import About, SetUp, described_zone
from overc.web.access import Gate
from overc.web.actions import Actions
from overc.web.attention import Attention
from overc.web.dashboard import Dashboard
from overc.web.forms import Forms
from overc.web.health import Health
from overc.web.histories import Histories
from overc.web.hosts import OwnNames
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

NODE_CHARS = 255

BACKLOG = 1024
"""So many connections may wait for the reactor.

All agents come at once after an outage. With Twisted's 50 the kernel drops those beyond, and they
try again after 1, 3, 7 and 15 seconds.
"""

log = get_logger(__name__)


class Options(TwistdOptions):
    """The command line; after parsing `settings` holds the ServerSettings."""

    optParameters = [  # noqa: RUF012 - twisted.python.usage wants a class attribute
        ["config", "c", None, "INI file [default: $OVERC_CONFIG, or built-in defaults]"],
        ["listen", "l", None, "Twisted endpoint strings [default: tcp:5000:interface=127.0.0.1]"],
        ["database", "d", None, "sqlite:///PATH or mysql://USER@HOST/NAME [default: a local file]"],
    ]
    mistakes = (ConfigError, StorageError, OSError)
    settings: ServerSettings

    def read_settings(self) -> None:
        from twisted.internet import reactor

        path = self["config"] or os.environ.get("OVERC_CONFIG") or None
        overrides = {"listen": self["listen"], "database": self["database"]}
        self.settings = settings.load(
            path, os.environ, overrides, lambda text: serverFromString(reactor, text)
        )
        prepare(self.settings)


def prepare(chosen: ServerSettings) -> None:
    """Create the database where there is none, and try the ports, before anything runs.

    What is wrong shows on the terminal this way even when twistd goes to the background. Raises
    StorageError or OSError with a sentence.
    """
    if isinstance(chosen.database, SqliteDatabase):
        path = chosen.database.path
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        except OSError as e:
            raise StorageError(f"the database {path} can't be opened: {e.strerror}") from None
        sqlite.prepare(path)
    for endpoint in chosen.listen:
        kind, _, rest = endpoint.partition(":")
        port = rest.partition(":")[0]
        if kind in ("tcp", "ssl") and port.isdigit():
            _try_port(int(port), settings.interface(endpoint), endpoint)


def _try_port(port: int, interface: str, endpoint: str) -> None:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((interface, port))
        except (OSError, TypeError, ValueError) as e:
            reason = getattr(e, "strerror", None) or e
            raise OSError(
                f"can't listen on {endpoint}: {reason}; choose another one with --listen"
            ) from None


def makeService(options: Options) -> IService:
    """Return the server, ready to start. twistd calls it."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    # The writer's thread and the reactor take turns often: a report waits for several of them.
    sys.setswitchinterval(0.0005)
    # Reports come and go by the thousand and make no cycles: looking for cycles at the usual pace
    # costs a tenth of the time and makes some reports wait.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    lifecycle.exit_cleanly_on_signals(reactor)
    set_level(options.settings.loglevel)
    # It answers as long as the reactor turns: what more there is to know is at /healthz, and no
    # restart of ours brings back a database that is away.
    supervision = Supervision(reactor, Notifier(os.environ), lambda: True)
    server = make_server(reactor, options.settings, lambda: supervision.ready("serving"))
    return lifecycle.together(server, supervision)


def make_store(reactor: Any, database: Database) -> Store:
    if isinstance(database, SqliteDatabase):
        return sqlite.SqliteStore(database.path, partial(lifecycle.fail, reactor))
    # PyMySQL is loaded only where it is used.
    from overc.daemon.store.mysql import MysqlStore

    return MysqlStore(reactor, database, keys.derive)


def with_backlog(endpoint: str) -> str:
    """Return the description of an endpoint with BACKLOG, unless it has a backlog of its own."""
    kind, _, rest = endpoint.partition(":")
    named = any(one.startswith("backlog=") for one in rest.split(":"))
    if named or kind not in ("tcp", "tcp6", "ssl", "unix"):
        return endpoint
    return f"{endpoint}:backlog={BACKLOG}"


def make_server(
    reactor: Any, chosen: ServerSettings, listening: Callable[[], None] = lambda: None
) -> Server:
    """Join the parts. Everything that one part needs of another is handed in here."""
    store = make_store(reactor, chosen.database)
    clock = SystemClock()
    plugin_routes = [plugin.route for plugin in chosen.plugins]
    raiser = Raiser(plugin_routes, chosen.maintenances)
    runner = Runner(reactor)
    ways = [
        Way(plugin, make_sender(plugin, runner, reactor, clock, chosen.url, os.environ))
        for plugin in chosen.plugins
    ]
    node = f"{socket.gethostname()} {' '.join(chosen.listen)}"[:NODE_CHARS]
    dispatch = Dispatch(reactor, store, clock, runner, ways, raiser, node)
    recorder = Recorder(raiser, chosen.expectations)
    trial = Trial(clock, {way.plugin.name: way.sender for way in ways})
    snapshot = Snapshot(store, clock)
    insight = Insight(store, clock, chosen.maintenances, trial.plugins)
    board = Board(snapshot, insight, clock)
    topics = Topics(store, snapshot, board, clock)
    live = Live(reactor, clock, board, topics, lambda: watchdog.lag_s())

    def fell_late() -> None:
        dispatch.nudge()
        live.nudge()

    def care_changed() -> None:
        dispatch.nudge()
        live.care_changed()

    others = NodeClocks(store, clock, node)
    watchdog = Watchdog(reactor, store, clock, recorder, fell_late, others)
    rejections = Rejections(reactor, store, clock)
    intake = Intake(
        reactor, store, clock, recorder, dispatch.nudge, watchdog.excuse,
        key_refused=rejections.note, stored=live.nudge,
    )  # fmt: skip
    retention = Retention(chosen.keep_history_s, chosen.keep_alerts_s, chosen.keep_rollups_s)
    housekeeping = Housekeeping(reactor, store, clock, retention, chosen.expectations)
    pulse = Pulse(store, clock, watchdog)
    attention = Attention(store, clock, intake, trial, insight, chosen.timezone, care_changed)
    warnings = start_warnings(chosen)

    def key_accepted(server_id: int, name: str) -> None:
        rejections.forget(server_id)
        intake.forget(name)

    rejected = RejectedKeys(store, clock, key_accepted, live.care_changed)
    items = Items(store, recorder, snapshot, clock, intake.forget, live.nudge)
    about = About(store, clock, pulse, rejected, set_up(chosen, node, warnings))
    dashboard = Dashboard(
        store,
        snapshot,
        Histories(store, clock, chosen.expectations),
        clock,
        watchdog.lag_s,
        Pages(),
        insight,
        board,
        items,
        about,
    )
    sight = Sight(snapshot, store, clock, chosen.maintenances)
    own_names = OwnNames(socket.gethostname())
    api_gate = Gate(chosen.api_auth, chosen.access, chosen.url, is_api=True)
    reporting = Reporting(intake, api_gate, chosen.max_body_bytes)
    routes = Routes(
        reactor,
        reporting,
        dashboard,
        attention,
        Forms(attention, items, rejected),
        Health(pulse, clock),
        Actions(items, rejected, about),
        live=live,
        public=PublicRoutes(
            StatusPages(
                chosen.public.pages, sight, store, clock, chosen.expectations, watchdog.lag_s
            ),
            Badges(chosen.public.badges, sight),
        ),
        api_gate=api_gate,
        ui_gate=Gate(chosen.ui_auth, chosen.access, chosen.url, is_own_name=own_names.know),
        timeout_s=chosen.request_timeout_s,
    )
    site = LimitedSite(
        routes.resource(),
        reactor,
        chosen.max_body_bytes,
        chosen.request_timeout_s,
        reporting.exact(),
    )
    for warning in warnings:
        log.warn("{warning}", warning=warning)
    parts: list[Service] = [
        dispatch,
        trial,
        Reminders(reactor, store, clock, raiser, plugin_routes, dispatch.nudge),
        rejections,
        intake,
        watchdog,
        Forgetting(reactor, store, clock, recorder, chosen.expectations, dispatch.nudge),
        housekeeping,
        live,
    ]
    if not chosen.has_door:
        parts.append(own_names)
    if chosen.heartbeat_url is not None:
        parts.append(Heartbeat(reactor, pulse, chosen.heartbeat_url, chosen.heartbeat_period_s))
    endpoints: list[Endpoint] = [
        (text, serverFromString(reactor, with_backlog(text))) for text in chosen.listen
    ]
    # They are opened in this order.
    description, last = endpoints[-1]
    endpoints[-1] = (description, AnnouncedEndpoint(last, listening))
    return Server(
        reactor,
        store,
        endpoints,
        site,
        parts,
        lambda error: lifecycle.fail(reactor, str(error)),
    )


def start_warnings(chosen: ServerSettings) -> tuple[str, ...]:
    """Return what is no mistake, but should be told."""
    open_to_all = [
        f"{endpoint} can be reached from other machines and the dashboard is open to all:"
        " set ui-auth=user:password"
        for endpoint in chosen.listen
        if not chosen.has_door and not settings.is_loopback(endpoint)
    ]
    return (*open_to_all, *chosen.warnings)


def set_up(chosen: ServerSettings, node: str, warnings: tuple[str, ...]) -> SetUp:
    """Return what the dashboard tells of the settings."""
    return SetUp(
        node=node,
        database=str(chosen.database),
        path=chosen.path,
        listen=chosen.listen,
        url=chosen.url,
        timezone=described_zone(chosen.timezone),
        keep_history_s=chosen.keep_history_s,
        keep_alerts_s=chosen.keep_alerts_s,
        keep_rollups_s=chosen.keep_rollups_s,
        warnings=warnings,
        plugins=chosen.plugins,
        maintenances=chosen.maintenances,
    )
